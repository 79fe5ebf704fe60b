"""CartPole by agents of spiking neurons that learn while they act, and evolution of how they learn.

After Hasegan et al. 2022 (Labady 2023, section 2.3), who train one network by evolution of its weights (EVOL) or by
reward-modulated STDP (STDP-RL). The mode says what is inherited and what is learned:

- `weights`: the genome is the weights; nothing learns. Fitness: mean return over the episodes.
- `stdp_rl`: the genome is the learning rule; a life begins with random weights. Fitness: mean return of its last part.
- `both`: the genome is the first weights and the rule.

A return is the number of steps that the pole stayed up in an episode, 500 at most. A life is `episodes` one after the
other, or fewer if the budget of control steps is spent; its weights are carried over. The network is that of
`optimizees/tasks/agent.py`, the life that of `agent_life.py`.

Not Hasegan's: they simulate Hodgkin-Huxley-like neurons on NEURON, in steps of 50 ms, with four separate observations.
Here neurons are NEST's iaf_psc_delta, position and velocity, and angle and angular velocity, are coded jointly, and a
TD error may take the place of their critic, which compares a state with the one before.

Legend: P individuals, N episodes of a life, F fresh episodes after it, T control steps, S simulation steps of each.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from l2l_snn.optimizee import Evaluation, Optimizee
from l2l_snn.space import Real, Space
from l2l_snn.validate import check_choice, check_count, check_range, message

Mode = Literal["weights", "stdp_rl", "both"]
Variant = Literal["standard", "mirrored", "rescaled"]
OBSERVED = 4
ACTIONS = 2


@dataclass(frozen=True)
class CartPole(Optimizee):
    """The agent and its life; what evolution finds is in `space`."""

    fitness_label: ClassVar[str] = "fitness: mean return (steps)"
    mode: Mode = "stdp_rl"
    task: Variant = "standard"  # mirrored: the forces are exchanged; rescaled: another pole and force
    episodes: int = 100  # N; of the mode `weights`: over which the return is averaged
    budget: int = 20_000  # control steps of a life at most, pauses included
    share: float = 0.2  # first and last part of a life that are compared; the fitness is that of the last
    fresh: int = 0  # F, episodes after the life with frozen weights: the metric fresh_return
    plasticity: Literal["on", "frozen"] = "on"  # frozen: a control
    reward: Literal["real", "shuffled"] = "real"  # shuffled: every signal arrives at a random later time; a control
    critic: Literal["td", "improvement"] = "td"
    rule: Literal["r_stdp", "dopamine"] = "r_stdp"  # a signal acts at once, or as dopamine that decays with tau_n
    plastic: tuple[str, ...] = ("sensor_motor",)  # projections that learn
    homeostasis: Literal["off", "scaling"] = "off"  # scaling: synaptic scaling of plastic weights to a target rate
    pause: int = 1  # control steps between episodes
    cells: tuple[int, ...] = (4, 4, 8, 6)  # place cells for position, velocity, angle, angular velocity
    joint: tuple[tuple[int, ...], ...] = ((0, 1), (2, 3))  # observations coded together, by a grid of place cells
    width: float = 0.5  # of a place field, in distances between neighbours
    rate: float = 1000.0  # Hz, all place cells of a group together
    hidden: int = 0  # excitatory neurons between sensors and motor neurons
    motor: int = 3  # neurons of each of the two motor populations, and of each inhibitory pool
    tau_m: float = 10.0  # ms, membrane time constant
    t_ref: float = 2.0  # ms, refractory time
    excitation: float = 20.0  # mV, from motor neurons to the inhibitory ones of their action
    inhibition: float = 10.0  # mV, from inhibitory neurons to the motor neurons of the other action
    delay: float = 1.0  # ms, of all synapses
    noise: float = 0.0  # pA, standard deviation of a random current into each motor population; of the mode `weights`
    resolution: float = 1.0  # ms, simulation step
    step_ms: float = 20.0  # ms simulated for each control step: as long as it lasts for the cart

    def __post_init__(self) -> None:
        for name, kind in CartPole.__annotations__.items():
            if getattr(kind, "__origin__", None) is Literal:
                check_choice(name, getattr(self, name), get_args(kind))
        for name in ("episodes", "motor", "pause"):
            check_count(name, getattr(self, name))
        for name in ("fresh", "hidden"):
            check_count(name, getattr(self, name), 0)
        for name in ("width", "rate", "tau_m", "resolution", "step_ms"):
            check_range(name, getattr(self, name), 0.0, open_low=True)
        for name in ("t_ref", "excitation", "inhibition", "noise"):
            check_range(name, getattr(self, name), 0.0)
        check_range("share", self.share, 0.0, 1.0, open_low=True)
        check_count("budget", self.budget, self._task.steps + self.pause, "an episode has to fit in")
        self._check_sensors()
        for name in ("delay", "step_ms", "t_ref"):
            ratio = getattr(self, name) / self.resolution
            if abs(ratio - round(ratio)) > 1e-6 or (name == "delay" and ratio < 0.5):
                expected = f"a multiple of the resolution, {self.resolution} ms"
                raise ValueError(message(name, expected, getattr(self, name)))
        for name in self.plastic:
            check_choice("plastic", name, tuple(self._body.learned(ACTIONS)), "or change `hidden`")
        if not self.plastic:
            raise ValueError(message("plastic", "at least one projection", "none", "take plasticity: frozen"))

    def _check_sensors(self) -> None:
        if len(self.cells) != OBSERVED:
            raise ValueError(message("cells", f"{OBSERVED} numbers, one an observation", self.cells))
        coded = [k for group in self.joint for k in group]
        if not coded or any(not group for group in self.joint) or set(coded) - set(range(OBSERVED)):
            expected = f"groups of observations, numbered 0 to {OBSERVED - 1}"
            raise ValueError(message("joint", expected, self.joint, "e.g. [[0, 1], [2, 3]]"))
        for k in coded:
            check_count(f"cells[{k}]", self.cells[k], 2, "leave the observation out of `joint` instead")

    @property
    def space(self) -> Space:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The weights (n_pre, n_post) of each projection from the sensors on, mV; the learning rule; or both."""
        from optimizees.tasks.agent_space import rule_space, weight_space

        own: dict[str, Real] = {}
        if self.mode != "stdp_rl":
            own |= weight_space(self._body, ACTIONS)
        if self.mode != "weights":
            scaling = self.homeostasis == "scaling"
            own |= rule_space(self.rule, self.critic, scaling=scaling, inherited=self.mode == "both")
        return Space(**own)

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let P agents live side by side; metrics and artifacts are those of `agent_batch.evaluate`."""
        from optimizees.tasks.agent_batch import evaluate

        return evaluate(self._study, self.space, z, seeds, with_artifacts)

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write the learning curve, the weights before and after, one episode and its spikes; with `video` a film."""
        from optimizees.tasks import cartpole_figures as figures

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        length = int(one["lived_through"].sum())
        state, action = one["state"][: length + 1], one["action"][:length]
        weights = {name: (one[f"before.{name}"], one[f"after.{name}"]) for name in self._body.learned(ACTIONS)}
        spikes = {"place cells": one["sensor"], "left": one["motor"][:, : self.motor]}
        spikes["right"] = one["motor"][:, self.motor :]
        files = [
            figures.returns(one["returns"], folder / "returns.png"),
            figures.weights(weights, folder / "weights.png"),
            figures.episode(state, action, folder / "episode.png"),
            figures.raster(spikes, length, self.step_ms, self.resolution, folder / "raster.png"),
        ]
        if video:
            files.append(
                figures.animation(state, action, one["motor"], self.step_ms / self.resolution, folder / "episode.gif")
            )
        return files

    @property
    def _task(self) -> Any:
        from optimizees.tasks.cartpole import TASKS

        return TASKS[self.task]

    @property
    def _body(self) -> Any:
        from optimizees.tasks.agent import Body

        return Body(*(getattr(self, name) for name in Body._fields))

    @property
    def _study(self) -> Any:
        from optimizees.tasks.agent_batch import Study
        from optimizees.tasks.agent_learning import Plan

        learns = self.mode != "weights" and self.plasticity == "on"
        plan = Plan(
            self.episodes,
            self.budget,
            self.plastic if learns else (),
            self.rule,
            self.critic,
            shuffled=self.reward == "shuffled",
            scaling=learns and self.homeostasis == "scaling",
            pause=self.pause,
        )
        return Study(self._task, self._body, plan, self.mode, self.share, self.fresh, self.noise)
