"""Acrobot by an agent of spiking neurons: the torque is that of the motor population, of three, that spiked most.

Modes, fields and metrics are those of `optimizees/agent/`. A return is minus the number of steps until the free end
is up, -500 at least. The critic is the TD error alone: `improvement` takes the end of an episode for a failure.
"""

from dataclasses import dataclass
from typing import ClassVar

from optimizees.acrobot.task import Acrobot as Task
from optimizees.agent import Agent, Body


@dataclass(frozen=True)
class Acrobot(Agent):
    """The agent and its life; what evolution finds is in `space`."""

    fitness_label: ClassVar[str] = "fitness: mean return (- steps)"
    observations: ClassVar[tuple[str, ...]] = ("upper (rad)", "lower (rad)", "upper (rad/s)", "lower (rad/s)")
    populations: ClassVar[tuple[str, ...]] = ("- torque", "none", "+ torque")
    critics: ClassVar[tuple[str, ...]] = ("td",)

    body: Body = Body(
        cells=(6, 6, 5, 5), joint=((0, 2), (1, 3)), rate=500.0, motor=2
    )  # angles, velocities; a grid a rod

    def make_task(self) -> Task:
        return Task()
