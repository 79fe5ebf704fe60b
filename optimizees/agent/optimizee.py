"""Agents that act in a task: a base class for optimizees whose inner loop is one of `optimizees/agent/body.py`.

A subclass says which task, and changes defaults where it has better ones:

    @dataclass(frozen=True)
    class ReachAgent(Agent):
        cells: tuple[int, ...] = (7,)
        joint: tuple[tuple[int, ...], ...] = ((0,),)

        def make_task(self):
            return Reach()                         # a task, as the docstring of optimizees/agent/body.py has one

The mode says what acts, what is inherited and what is learned:

- `weights`: the genome is the weights of a spiking network; nothing learns. Fitness: mean return over the episodes.
- `stdp_rl`: the genome is the learning rule; a life begins with random weights. Fitness: mean return of its last part.
- `both`: the genome is the first weights and the rule.
- `mlp`: the genome is the weights of a small multilayer perceptron that takes the spiking network's place: the baseline
  of artificial neurons, for the mode `weights`.

A life is `episodes` one after the other, or fewer if the budget of control steps is spent; its weights are carried
over. The network is that of `agent.py` in `optimizees/tasks`, the life that of `agent_life.py`, the perceptron that of
`agent_mlp.py`.

Legend: P individuals, K observations, A actions (motor populations), N episodes of a life, F fresh episodes after it,
T control steps, S simulation steps of each.
"""

from abc import abstractmethod
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Free, Real, Space
from l2l_snn.validate import check_choice, check_count, check_finite, check_range, message

if TYPE_CHECKING:
    from optimizees.agent.body import Body, Task
    from optimizees.agent.figures import Episode
    from optimizees.agent.lives import Study

Mode = Literal["weights", "mlp", "stdp_rl", "both"]


@dataclass(frozen=True)
class Agent(BatchOptimizee):
    """An agent and its life; what evolution finds is in `space`."""

    fitness_label: ClassVar[str] = "fitness: mean return"
    observations: ClassVar[tuple[str, ...]] = ()  # (K,) names with units, for pictures
    populations: ClassVar[tuple[str, ...]] = ()  # (A,) what the motor populations stand for, for pictures
    action: ClassVar[str] = "action"  # its name and unit, for pictures

    mode: Mode = "weights"
    episodes: int = 10  # N; of the modes weights and mlp: separate ones, over which the return is averaged
    budget: int = 20_000  # control steps of a life at most, pauses included
    share: float = 0.2  # first and last part of a life that are compared; the fitness is that of the last
    fresh: int = 0  # F, episodes after the life with frozen weights: the metric fresh_return
    plasticity: Literal["on", "frozen"] = "on"  # frozen: a control
    reward: Literal["real", "shuffled"] = "real"  # shuffled: every signal arrives at a random later time; a control
    critic: Literal["td", "improvement"] = "td"
    hope: float = 1.0  # what the critic `td` expects before it has learned anything, in rewards of a step
    rule: Literal["r_stdp", "dopamine"] = "r_stdp"  # a signal acts at once, or as dopamine that decays with tau_n
    plastic: tuple[str, ...] = ("sensor_motor",)  # projections that learn
    homeostasis: Literal["off", "scaling"] = "off"  # scaling: synaptic scaling of plastic weights to a target rate
    pause: int = 1  # control steps between episodes
    cells: tuple[int, ...] = ()  # (K,) place cells of each observation; a subclass says
    joint: tuple[tuple[int, ...], ...] = ()  # observations coded together, each group by a grid; a subclass says
    width: float = 0.5  # of a place field, in distances between neighbours
    rate: float = 1000.0  # Hz, all place cells of a group together
    hidden: int = 0  # excitatory neurons between sensors and motor neurons
    motor: int = 3  # neurons of each motor population, and of each inhibitory pool
    tau_m: float = 10.0  # ms, membrane time constant
    t_ref: float = 2.0  # ms, refractory time
    excitation: float = 20.0  # mV, from motor neurons to the inhibitory ones of their action
    inhibition: float = 10.0  # mV, from inhibitory neurons to the motor neurons of the other actions
    delay: float = 1.0  # ms, of all synapses
    noise: float = 0.0  # pA, standard deviation of a random current into each motor population; of the mode `weights`
    resolution: float = 1.0  # ms, simulation step
    step_ms: float = 20.0  # ms simulated for each control step
    mlp_hidden: int = 16  # hidden units of the perceptron

    @abstractmethod
    def make_task(self) -> "Task":
        """Return the task, a hashable value; of the fields it may read those that the subclass has added."""

    def __post_init__(self) -> None:
        for field in (*fields(Agent), *fields(self)):  # a subclass may allow less
            if get_origin(field.type) is Literal:
                check_choice(field.name, getattr(self, field.name), get_args(field.type))
        for name in ("episodes", "motor", "pause", "mlp_hidden"):
            check_count(name, getattr(self, name))
        for name in ("fresh", "hidden"):
            check_count(name, getattr(self, name), 0)
        for name in ("width", "rate", "tau_m", "resolution", "step_ms"):
            check_range(name, getattr(self, name), 0.0, open_low=True)
        for name in ("t_ref", "excitation", "inhibition", "noise"):
            check_range(name, getattr(self, name), 0.0)
        check_finite("hope", self.hope)
        check_range("share", self.share, 0.0, 1.0, open_low=True)
        task = self.make_task()
        check_count("budget", self.budget, task.steps + self.pause, "an episode has to fit in")
        self._check_sensors(len(task.low))
        for name in ("delay", "step_ms", "t_ref"):
            ratio = getattr(self, name) / self.resolution
            if abs(ratio - round(ratio)) > 1e-6 or (name == "delay" and ratio < 0.5):
                expected = f"a multiple of the resolution, {self.resolution} ms"
                raise ValueError(message(name, expected, getattr(self, name)))
        for name in self.plastic:
            check_choice("plastic", name, tuple(self._body.learned(task.actions)), "or change `hidden`")
        if not self.plastic:
            raise ValueError(message("plastic", "at least one projection", "none", "take plasticity: frozen"))

    def _check_sensors(self, K: int) -> None:
        if len(self.cells) != K:
            raise ValueError(message("cells", f"{K} numbers, one an observation", self.cells))
        coded = [k for group in self.joint for k in group]
        if not coded or any(not group for group in self.joint) or set(coded) - set(range(K)):
            expected, example = f"groups of observations, numbered 0 to {K - 1}", [[k] for k in range(K)]
            raise ValueError(message("joint", expected, self.joint, f"e.g. {example}"))
        for k in coded:
            check_count(f"cells[{k}]", self.cells[k], 2, "leave the observation out of `joint` instead")

    @property
    def space(self) -> Space:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The weights (n_pre, n_post) of each projection from the sensors on, mV; the learning rule; both; the mlp's.

        What the parameters mean stands in `agent_space.py` and `agent_mlp.py`.
        """
        from optimizees.agent.genome import rule_space, weight_space
        from optimizees.agent.perceptron import mlp_space

        task, own = self.make_task(), dict[str, Real | Free]()
        if self.mode == "mlp":
            own |= mlp_space(len(task.low), self.mlp_hidden, task.actions)
        if self.mode in ("weights", "both"):
            own |= weight_space(self._body, task.actions)
        if self.mode in ("stdp_rl", "both"):
            scaling = self.homeostasis == "scaling"
            own |= rule_space(self.rule, self.critic, scaling=scaling, inherited=self.mode == "both")
        return Space(**own)

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let P agents live side by side; metrics and artifacts are those of `agent_batch.evaluate`."""
        from optimizees.agent.lives import evaluate

        return evaluate(self._study, self.space, z, seeds, with_artifacts)

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write the returns, the episode that is kept and, of a spiking network, its weights and spikes."""
        from optimizees.agent import figures

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        length, task = int(one["lived_through"].sum()), self.make_task()
        files = [figures.returns(one["returns"], folder / "returns.png", self.fitness_label.split(": ")[-1])]
        if self.mode == "mlp":
            activity = one["activity"]
        else:
            names = self.populations or [f"population {a}" for a in range(task.actions)]
            spikes = one["motor"].reshape(task.steps, -1, task.actions, self.motor)
            activity = spikes.sum(axis=1).mean(axis=2)
            motor = {name: spikes[..., a, :].reshape(-1, self.motor) for a, name in enumerate(names)}
            shown = min(length, figures.SHOWN) * self._body.substeps
            rows = {name: train[:shown] for name, train in ({"place cells": one["sensor"]} | motor).items()}
            pairs = {name: (one[f"before.{name}"], one[f"after.{name}"]) for name in self._body.learned(task.actions)}
            files += [
                figures.weights(pairs, folder / "weights.png"),
                figures.raster(rows, self.resolution, folder / "raster.png"),
            ]
        episode = figures.Episode(one["state"][: length + 1], one["action"][:length], activity[:length])
        return files + self.draw_episode(episode, folder, video=video)

    def draw_episode(self, episode: "Episode", folder: Path, *, video: bool) -> list[Path]:
        """Write the pictures of one episode; a subclass may have its own, and with `video` a film.

        Args:
            episode: what was seen and done.
            folder: existing folder for the files.
            video: whether a film is asked for.

        Returns:
            The files written.
        """
        from optimizees.agent import figures

        path = folder / "episode.png"
        return [figures.episode(episode, path, self.observations, self.action, self.populations)]

    @property
    def _body(self) -> "Body":
        from optimizees.agent.body import Body

        return Body(*(getattr(self, name) for name in Body._fields))

    @property
    def _study(self) -> "Study":
        from optimizees.agent.learning import Plan
        from optimizees.agent.lives import Study

        learns = self.mode in ("stdp_rl", "both") and self.plasticity == "on"
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
        return Study(self.make_task(), self._body, plan, self.mode, self.share, self.fresh, self.noise, self.hope)
