"""A multilayer perceptron in the place of the network that drives the Mountain Car, many cars side by side in numpy.

Position and velocity, scaled from their ranges to [-1, 1], a hidden layer of tanh, three outputs: the largest is the
action. The car is gymnasium's, which observes float32.

Legend: C cars, T environment steps, H hidden units.
"""

import numpy as np
from gymnasium.utils import seeding

from l2l_snn.space import Free
from optimizees.mountain_car.task import ACTIONS, GOAL, POSITIONS, VELOCITIES, Episodes

FORCE = 0.001  # gymnasium's
GRAVITY = 0.0025


def mlp_space(hidden: int) -> dict[str, Free]:
    """Return the parameters, unbounded; random ones (z of N(0, 1)) make use of the range of tanh."""
    return {
        "w_hidden": Free((2, hidden)),
        "b_hidden": Free((hidden,), scale=0.3),
        "w_out": Free((hidden, ACTIONS), scale=hidden**-0.5),
        "b_out": Free((ACTIONS,), scale=0.3),
    }


def multiply_adds(hidden: int) -> int:
    """Return the multiply-adds of a decision."""
    return 2 * hidden + hidden * ACTIONS


def drive_cars(steps: int, net: dict[str, np.ndarray], seeds: np.ndarray) -> Episodes:
    """Drive C cars.

    Args:
        steps: T, the longest episode.
        net: the parameters of `mlp_space`, C leading.
        seeds: (C,) of gymnasium's reset.

    Returns:
        What they did; in the place of counts 1 for the output that acted.
    """
    C = len(seeds)
    position = np.array([seeding.np_random(int(seed))[0].uniform(low=-0.6, high=-0.4) for seed in seeds])
    velocity, over = np.zeros(C), np.zeros(C, bool)
    track, actions = np.full((C, steps + 1, 2), np.nan), np.full((C, steps), -1)
    track[:, 0] = np.stack([position, velocity], axis=1).astype(np.float32)
    low, high = np.array([POSITIONS, VELOCITIES]).T
    for step in range(steps):
        seen = 2 * (track[:, step] - low) / (high - low) - 1  # (C, 2)
        hidden = np.tanh((seen[:, :, None] * net["w_hidden"]).sum(axis=1) + net["b_hidden"])
        chosen = ((hidden[:, :, None] * net["w_out"]).sum(axis=1) + net["b_out"]).argmax(axis=1)
        faster = np.clip(velocity + (chosen - 1) * FORCE - GRAVITY * np.cos(3 * position), *VELOCITIES)
        there = np.clip(position + faster, *POSITIONS)
        faster = np.where((there == POSITIONS[0]) & (faster < 0), 0.0, faster)
        position, velocity = np.where(over, position, there), np.where(over, velocity, faster)
        seen = np.stack([position, velocity], axis=1).astype(np.float32)
        track[:, step + 1] = np.where(over[:, None], np.nan, seen)
        actions[:, step] = np.where(over, -1, chosen)
        over = over | (seen[:, 0] >= GOAL)
        if over.all():
            break
    return Episodes(track, actions, np.eye(ACTIONS, dtype=np.int64)[actions] * (actions >= 0)[:, :, None], None)
