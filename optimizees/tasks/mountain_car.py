"""The Mountain Car task (Moore 1990; gymnasium's MountainCar-v0), and what its two back ends share.

The car's position lies in [-1.2, 0.6], its velocity in [-0.07, 0.07] a step; the flag stands at 0.5. Actions are 0
left, 1 none, 2 right. The car observes float32.

Legend: C cars, T environment steps, B bins.
"""

from typing import Any, NamedTuple

import numpy as np

GOAL = 0.5  # position of the flag
POSITIONS = (-1.2, 0.6)
VELOCITIES = (-0.07, 0.07)  # per environment step
ACTIONS = 3


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


def bin_of(value: Any, interval: tuple[float, float], bins: int) -> Any:
    """Return which of `bins` equal parts of an interval a float32 value lies in, 0 to bins - 1; outside, the outermost.

    Works for numpy and for jax arrays of any shape.
    """
    edges = np.linspace(*interval, bins + 1)
    if isinstance(value, np.ndarray):
        return (np.searchsorted(edges, value.astype(np.float64), side="right") - 1).clip(0, bins - 1)
    import jax.numpy as jnp

    return (jnp.searchsorted(edges, value.astype(jnp.float64), side="right") - 1).clip(0, bins - 1)
