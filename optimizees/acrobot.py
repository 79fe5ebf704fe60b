"""Acrobot by an agent of spiking neurons: the torque is that of the motor population, of three, that spiked most.

The network, the modes and the metrics are CartPole's (`optimizees/cartpole.py`): `weights` evolves the weights,
`stdp_rl` the rule by which they are learned in a life, `both` the two. A return is minus the number of steps
until the free end is up, -500 at least. The critic is the TD error alone: `improvement` takes the end of an episode for
a failure.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from l2l_snn.optimizee import Evaluation, Optimizee
from l2l_snn.space import Real, Space
from l2l_snn.validate import check_choice, check_count, check_range, check_shape


@dataclass(frozen=True)
class Acrobot(Optimizee):
    """The agent and its life; what evolution finds is in `space`."""

    fitness_label: ClassVar[str] = "fitness: mean return (- steps)"
    mode: Literal["weights", "stdp_rl", "both"] = "weights"
    episodes: int = 10  # of a life; of the mode `weights`: over which the return is averaged
    budget: int = 20_000  # control steps of a life at most
    share: float = 0.2  # last part of a life, whose mean return is the fitness; and first, to compare
    fresh: int = 0  # episodes after the life with frozen weights: the metric fresh_return
    cells: tuple[int, int, int, int] = (6, 6, 5, 5)  # place cells for both angles and both velocities; a grid a rod
    rate: float = 500.0  # Hz, all place cells of a rod together
    motor: int = 2  # neurons of each motor population
    step_ms: int = 20  # ms simulated for each control step

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("weights", "stdp_rl", "both"))
        for name in ("episodes", "motor", "step_ms"):
            check_count(name, getattr(self, name))
        check_shape("cells", self.cells, (4,), "two angles, then two velocities")
        for n in self.cells:
            check_count("cells", n, 2)
        check_count("fresh", self.fresh, 0)
        check_count("budget", self.budget, self._task.steps + 1, "an episode has to fit in")
        check_range("share", self.share, 0.0, 1.0, open_low=True)
        check_range("rate", self.rate, 0.0, open_low=True)

    @property
    def space(self) -> Space:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The weights (n_pre, n_post) of the projection from place cells to motor neurons, mV; the rule; or both."""
        from optimizees.tasks.agent_space import rule_space, weight_space

        own: dict[str, Real] = weight_space(self._body, self._task.actions) if self.mode != "stdp_rl" else {}
        if self.mode != "weights":
            own |= rule_space("r_stdp", "td", inherited=self.mode == "both")
        return Space(**own)

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let P agents live side by side; metrics and artifacts are those of `agent_batch.evaluate`."""
        from optimizees.tasks.agent_batch import Study, evaluate
        from optimizees.tasks.agent_life import Plan

        plastic = tuple(self._body.learned(self._task.actions)) if self.mode != "weights" else ()
        plan = Plan(self.episodes, self.budget, plastic, "r_stdp", "td")
        study = Study(self._task, self._body, plan, self.mode, self.share, self.fresh, noise=0.0)
        return evaluate(study, self.space, z, seeds, with_artifacts)

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write the returns, one episode and its spikes."""
        from optimizees.tasks import pendulum_figures as figures
        from optimizees.tasks.vehicle_figures import raster

        one, M = {name: value[0] for name, value in evaluation.artifacts.items()}, self.motor
        steps = int(one["lived_through"].sum())
        state, action = one["state"][: steps + 1], one["action"][:steps]
        seen = {"upper (rad)": state[:, 0], "lower (rad)": state[:, 1]}
        spikes = {name: one["motor"][:, i * M : (i + 1) * M] for i, name in enumerate(("- torque", "none", "+ torque"))}
        shown = {
            name: values[: steps * self.step_ms] for name, values in ({"place cells": one["sensor"]} | spikes).items()
        }
        return [
            figures.returns(one["returns"], folder / "returns.png"),
            figures.episode(seen, action - 1, "torque (N m)", folder / "episode.png"),
            raster(shown, steps * self.step_ms / 1000, folder / "raster.png"),
        ]

    @property
    def _task(self) -> Any:
        from optimizees.tasks.acrobot import Acrobot

        return Acrobot()

    @property
    def _body(self) -> Any:
        from optimizees.tasks.agent import Body

        return Body(
            cells=self.cells,
            joint=((0, 2), (1, 3)),
            width=0.5,
            rate=self.rate,
            hidden=0,
            motor=self.motor,
            tau_m=10.0,
            t_ref=2.0,
            excitation=20.0,
            inhibition=10.0,
            delay=1.0,
            resolution=1.0,
            step_ms=self.step_ms,
        )
