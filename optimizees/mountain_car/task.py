"""The Mountain Car task (Moore 1990; gymnasium's MountainCar-v0), and what its two back ends share.

The car's position lies in [-1.2, 0.6], its velocity in [-0.07, 0.07] a step; the flag stands at 0.5. Actions are 0
left, 1 none, 2 right. The car observes float32.

Legend: C cars, T environment steps, B bins, H hidden neurons.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from l2l_snn.validate import Count, Finite, NotNegative, Positive, check_fields, check_multiple, check_range

GOAL = 0.5  # position of the flag
POSITIONS = (-1.2, 0.6)
VELOCITIES = (-0.07, 0.07)  # per environment step
ACTIONS = 3
NONE = 1  # the action of a tie


@dataclass(frozen=True)
class CarNetwork:
    """The spiking network that drives the car; the published one by default."""

    bins: Count = 30  # B, input neurons for each of position and velocity
    hidden: Count = 5  # H
    model: str = "iaf_psc_alpha"  # NEST neuron model of all layers
    t_ref: NotNegative = 1.0  # ms, refractory time
    drive: Finite = 40000.0  # pA, into the two driven input neurons
    drive_delay: NotNegative = 1.2  # ms from observation to current: a NEST generator's delay and one 0.2 ms step
    delay: Positive = 1.0  # ms, synaptic delay
    resolution: Positive = 0.2  # ms, simulation step
    step_ms: Positive = 20.0  # ms simulated for each environment step

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("drive_delay", self.drive_delay, 0.0, self.step_ms)
        for name in ("drive_delay", "delay", "step_ms", "t_ref"):
            check_multiple(name, getattr(self, name), self.resolution, "the resolution", least=name == "delay")


class Episodes(NamedTuple):
    """What C cars did; after an episode's end nan, -1 and 0."""

    track: np.ndarray  # (C, T + 1, 2) position and velocity before each step and after the last one
    actions: np.ndarray  # (C, T)
    counts: np.ndarray  # (C, T, 3) spikes of the output neurons
    spikes: tuple[np.ndarray, np.ndarray, np.ndarray] | None  # if recorded: times (n,) ms, cars (n,), neurons (n,)
