"""Acrobot by an agent of spiking neurons: the torque is that of the motor population, of three, that spiked most.

Modes, fields and metrics are those of `optimizees/agent/`. A return is minus the number of steps until the free end
is up, -500 at least. The critic is the TD error alone: `improvement` takes the end of an episode for a failure.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from optimizees.agent import Agent

if TYPE_CHECKING:
    from optimizees.acrobot.task import Acrobot as Task


@dataclass(frozen=True)
class Acrobot(Agent):
    """The agent and its life; what evolution finds is in `space`."""

    fitness_label: ClassVar[str] = "fitness: mean return (- steps)"
    observations: ClassVar[tuple[str, ...]] = ("upper (rad)", "lower (rad)", "upper (rad/s)", "lower (rad/s)")
    populations: ClassVar[tuple[str, ...]] = ("- torque", "none", "+ torque")

    critic: Literal["td"] = "td"
    cells: tuple[int, ...] = (6, 6, 5, 5)  # place cells for both angles and both velocities; a grid a rod
    joint: tuple[tuple[int, ...], ...] = ((0, 2), (1, 3))
    rate: float = 500.0  # Hz
    motor: int = 2

    def make_task(self) -> "Task":
        from optimizees.acrobot.task import Acrobot

        return Acrobot()
