"""Pendulum by an agent of spiking neurons: a torque from two motor populations, whose difference in spikes it is.

Modes, fields and metrics are those of `optimizees/agent/`. A return is gymnasium's sum of costs, negated, over 200
steps: about -1200 when nothing is done, -150 when the pendulum is swung up and held.
"""

from dataclasses import dataclass
from typing import ClassVar

from optimizees.agent import Agent, Body
from optimizees.pendulum.task import Pendulum as Task


@dataclass(frozen=True)
class Pendulum(Agent):
    """The agent and its life; what evolution finds is in `space`."""

    observations: ClassVar[tuple[str, ...]] = ("angle (rad)", "velocity (rad/s)")
    populations: ClassVar[tuple[str, ...]] = ("- torque", "+ torque")
    action: ClassVar[str] = "torque (N m)"

    # angle and angular velocity on a grid; the two sides don't silence each other: their difference is a number
    body: Body = Body(cells=(9, 7), joint=((0, 1),), rate=2000.0, motor=1, tau_m=5.0, inhibition=0.0)

    def make_task(self) -> Task:
        return Task()
