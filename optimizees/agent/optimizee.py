"""Agents that act in a task: a base class for optimizees whose inner loop is a life of a network of spiking neurons.

A subclass says which task, and how an agent observes it; other defaults may change with these:

    @dataclass(frozen=True)
    class ReachAgent(Agent):
        body: Body = Body(cells=(7,), joint=((0,),))

        def make_task(self):
            return Reach()                         # a task, as the docstring of task.py has one

The mode says what acts, what is inherited and what is learned:

- `weights`: the genome is the weights of a spiking network; nothing learns. Fitness: mean return over the episodes.
- `stdp_rl`: the genome is the learning rule; a life begins with random weights. Fitness: mean return of its last part.
- `both`: the genome is the first weights and the rule.
- `mlp`: the genome is the weights of a small multilayer perceptron that takes the spiking network's place: the baseline
  of artificial neurons, for the mode `weights`.

A life is `episodes` one after the other, or fewer if the budget of control steps is spent; its weights are carried
over. The network is that of `body.py`, the life that of `life.py`, the perceptron that of `perceptron.py`.

Legend: P individuals, K observations, A actions (motor populations), N episodes of a life, F fresh episodes after it,
T control steps, S simulation steps of each.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Free, Real, Space
from l2l_snn.validate import Count, check_choice, check_count
from optimizees.agent.body import Body
from optimizees.agent.critic import CRITICS
from optimizees.agent.genome import rule_space, weight_space
from optimizees.agent.learning import Learning
from optimizees.agent.life import Life, LifeSetup
from optimizees.agent.lives import Study, evaluate
from optimizees.agent.perceptron import mlp_space
from optimizees.agent.task import Task

if TYPE_CHECKING:
    from optimizees.agent.figures import Episode

Mode = Literal["weights", "mlp", "stdp_rl", "both"]


@dataclass(frozen=True)
class Agent(BatchOptimizee):
    """An agent and its life; what evolution finds is in `space`."""

    fitness_label: ClassVar[str] = "fitness: mean return"
    observations: ClassVar[tuple[str, ...]] = ()  # (K,) names with units, for pictures
    populations: ClassVar[tuple[str, ...]] = ()  # (A,) what the motor populations stand for, for pictures
    action: ClassVar[str] = "action"  # its name and unit, for pictures
    critics: ClassVar[tuple[str, ...]] = CRITICS  # those that suit the task

    body: Body
    mode: Mode = "weights"
    life: Life = Life()
    learning: Learning = Learning()
    mlp_hidden: Count = 16  # hidden units of the perceptron

    @abstractmethod
    def make_task(self) -> Task:
        """Return the task, a hashable value; of the fields it may read those that the subclass has added."""

    def cross_check(self) -> None:
        check_choice("mode", self.mode, get_args(Mode))  # a subclass may have another annotation
        task = self.make_task()
        check_count("life.budget", self.life.budget, task.steps + self.life.pause, "an episode has to fit in")
        self.body.check_observations(len(task.low))
        for name in self.learning.plastic:
            projections = tuple(self.body.learned(task.actions))
            check_choice("learning.plastic", name, projections, "or change `body.hidden`")
        check_choice("learning.critic", self.learning.critic, self.critics)

    def make_space(self) -> Space:
        """Return the space of the weights (n_pre, n_post) from the sensors on, mV, of the rule, of both, or of the mlp.

        What the parameters mean stands in `genome.py` and `perceptron.py`.
        """
        task, own = self.make_task(), dict[str, Real | Free]()
        if self.mode == "mlp":
            own |= mlp_space(len(task.low), self.mlp_hidden, task.actions)
        if self.mode in ("weights", "both"):
            own |= weight_space(self.body, task.actions)
        if self.mode in ("stdp_rl", "both"):
            own |= rule_space(self.learning, inherited=self.mode == "both")
        return Space(**own)

    def make_study(self) -> Study:
        """Return what is asked of this agent, as `lives.py` takes it."""
        learns = self.mode in ("stdp_rl", "both")
        learning = self.learning if learns else replace(self.learning, plasticity="frozen")
        return Study(LifeSetup(self.make_task(), self.body, self.life, learning), self.mode, self.space)

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let P agents live side by side; metrics and artifacts are those of `lives.evaluate`."""
        return evaluate(self.make_study(), z, seeds, with_artifacts)

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write the returns, the episode that is kept and, of a spiking network, its weights and spikes."""
        from l2l_snn.results.raster import trains_raster
        from optimizees.agent import figures

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        length, task = int(one["lived_through"].sum()), self.make_task()
        files = [figures.returns(one["returns"], folder / "returns.png", self.return_label)]
        if self.mode == "mlp":
            activity = one["activity"]
        else:
            names = self.populations or [f"population {a}" for a in range(task.actions)]
            spikes = one["motor"].reshape(task.steps, -1, task.actions, self.body.motor)
            activity = spikes.sum(axis=1).mean(axis=2)
            motor = {name: spikes[..., a, :].reshape(-1, self.body.motor) for a, name in enumerate(names)}
            shown = min(length, figures.RASTER_STEPS) * self.body.substeps
            rows = {name: train[:shown] for name, train in ({"place cells": one["sensor"]} | motor).items()}
            pairs = {name: (one[f"before.{name}"], one[f"after.{name}"]) for name in self.body.learned(task.actions)}
            files += [
                figures.weights(pairs, folder / "weights.png"),
                trains_raster(rows, self.body.resolution, folder / "raster.png"),
            ]
        episode = figures.Episode(one["state"][: length + 1], one["action"][:length], activity[:length])
        return files + self.draw_episode(episode, folder, video=video)

    @property
    def return_label(self) -> str:
        """What a return is, with its unit: the fitness is the mean of them."""
        return self.fitness_label.removeprefix("fitness: ").removeprefix("mean ")

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
