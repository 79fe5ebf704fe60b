"""Mountain Car policies with a known outcome."""

import numpy as np

from optimizees.mountain_car import MountainCar


def hand_made_z(optimizee: MountainCar) -> np.ndarray:
    """Return the genome of a policy that pushes in the direction of the velocity: it solves the task."""
    bins, hidden = optimizee.network.bins, optimizee.network.hidden
    left = np.arange(bins) < bins // 2
    w_velocity = np.zeros((hidden, bins))
    w_velocity[0, left], w_velocity[1, ~left] = 20.0, 20.0
    w_out = np.zeros((3, hidden))
    w_out[0, 0], w_out[2, 1] = 20.0, 20.0
    return optimizee.space.encode({"w_velocity": w_velocity, "w_position": np.zeros_like(w_velocity), "w_out": w_out})
