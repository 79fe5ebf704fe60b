"""The Mountain Car task (Moore 1990; gymnasium's MountainCar-v0), and what its two back ends share.

The car's position lies in [-1.2, 0.6], its velocity in [-0.07, 0.07] a step; the flag stands at 0.5. Actions are 0
left, 1 none, 2 right. The car observes float32.

Legend: C cars, T environment steps, B bins.
"""

from typing import NamedTuple

import numpy as np

GOAL = 0.5  # position of the flag
POSITIONS = (-1.2, 0.6)
VELOCITIES = (-0.07, 0.07)  # per environment step
ACTIONS = 3
NONE = 1  # the action of a tie


class Network(NamedTuple):
    """The spiking network and how long it drives the car; see the fields of `MountainCar`."""

    bins: int  # B
    hidden: int
    model: str
    t_ref: float  # ms
    drive: float  # pA
    drive_delay: float  # ms
    delay: float  # ms
    resolution: float  # ms
    step_ms: float
    steps: int  # T


class Episodes(NamedTuple):
    """What C cars did; after an episode's end nan, -1 and 0."""

    track: np.ndarray  # (C, T + 1, 2) position and velocity before each step and after the last one
    actions: np.ndarray  # (C, T)
    counts: np.ndarray  # (C, T, 3) spikes of the output neurons
    spikes: tuple[np.ndarray, np.ndarray, np.ndarray] | None  # if recorded: times (n,) ms, cars (n,), neurons (n,)
