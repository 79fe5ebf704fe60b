"""A vehicle that learns to reach a target round obstacles by reward-modulated STDP.

After Bing et al. 2019 (Labady 2023, section 2.4). A life begins with random weights. The vehicle drives through N
training worlds and learns in every window of one control step, dw = eta r STDP g; then it drives, without learning, in
W worlds that it has never seen. Fitness: the share of these in which it reaches the target, minus the share in which it
collides. The genome is the rule and what its teacher asks for; the middle of the space is set by hand and works:

    vehicle = Vehicle()
    evaluation = vehicle.evaluate_batch(vehicle.by_hand[None], np.array([1]))

In the mode `mlp`, the baseline of artificial neurons, the genome is the weights of a small multilayer perceptron that
drives in the W worlds; nothing learns. No teacher tells it where to turn, so its fitness is `progress`: with reached
minus collided, evolution finds that standing still collides with nothing, and stays there.

World, motion and sensors are those of `world.py`, the network that of `brain.py`, rule and teacher those of
`lessons.py`, the perceptron that of `drive.py`, and `env.py` is the same world for gymnasium.

Not Bing's: they train two networks with a hidden layer, one for the obstacles and one for the target, on
recorded data, and switch between them; here one layer of synapses learns both, while driving, or from recorded drives
of its teacher (`training.data: recorded`).

Legend: P individuals, N training worlds, W unseen ones, V of these that are shown, T control steps, S simulation steps
of each, C target cells, K sectors, M neurons of each motor population.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.seeding import seed_words
from l2l_snn.space import Real, Space
from l2l_snn.validate import Count, check_count, check_multiple, message
from optimizees.agent.perceptron import mlp_space
from optimizees.vehicle.brain import Brain
from optimizees.vehicle.lessons import LessonParameters, Training
from optimizees.vehicle.life import TrainingSetup, compiled_life
from optimizees.vehicle.world import Arena, World


@dataclass(frozen=True)
class Vehicle(BatchOptimizee):
    """The vehicle and its life; what evolution finds is in `space`."""

    mode: Literal["rstdp", "mlp"] = "rstdp"
    arena: Arena = Arena()
    brain: Brain = Brain()
    training: Training = Training()
    tests: Count = 200  # W
    shown: Count = 4  # V
    mlp_hidden: Count = 16  # hidden units of the perceptron

    def cross_check(self) -> None:
        check_count("tests", self.tests, self.shown, "the worlds that are shown are among them")
        check_count("training.budget", self.training.budget, self.arena.steps, "a drive has to fit in")
        check_multiple("arena.tick", 1000 * self.arena.tick, self.brain.resolution, "the resolution")

    @property
    def fitness_label(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the fitness is, for pictures."""
        return "fitness: progress" if self.mode == "mlp" else "fitness: share reached - share collided"

    def make_space(self) -> Space:
        """Return the space of rule and teacher, whose middle is the defaults of `LessonParameters`; or the mlp's."""
        if self.mode == "mlp":
            return Space(**mlp_space(self.arena.sectors + 2, self.mlp_hidden, 2))
        ratio = {"cruise": 1.5, "w_max": 2.0, "sharp": 2.0, "shy": 2.0}
        hand = LessonParameters()._asdict()
        own = {k: Real(v / ratio.get(k, 4.0), v * ratio.get(k, 4.0), log=True) for k, v in hand.items()}
        return Space(**own)

    @property
    def by_hand(self) -> np.ndarray:
        """The genome (D,) whose values are set by hand.

        Raises:
            ValueError: in the mode mlp, whose weights nobody has set.
        """
        if self.mode == "mlp":
            raise ValueError(message("mode", "rstdp", self.mode, "weights of an mlp are not set by hand"))
        return np.full(self.space.size, 0.5)

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let P vehicles learn, then drive; an individual's worlds, training and unseen, follow from its seed.

        Metrics, of the W unseen worlds: `reached`, `collided`, `late` (shares), `progress` (mean share by which the
        distance to the target has shrunk at the end, 1 where it is reached), `detour` (mean length of a way that
        reached its target over `world.shortest`; nan if none did), of a control step `spikes` of all neurons,
        `operations` (synaptic ones: synapses that spikes arrive at) and `multiply_adds` (of an mlp at its connections),
        and `untrained_reached`, `untrained_collided` with the weights before learning in the same worlds. Of the
        training: `training_reached`, `training_collided`, `training_late` (numbers of worlds), `training_steps`
        (control steps), `drift` (mV, mean change of a weight).
        An mlp has the first eight.

        Artifacts: training_outcome and training_length (P, N; control steps), 0 where not driven; training_error
        (P, budget) by how much of full speed the wheels were off, nan where not driven; before.sensor_motor and
        after.sensor_motor (P, C + K, 2 M) mV; outcome (P, 2, W), untrained first. Of the first V unseen worlds: path
        (P, 2, V, T, 2) m and heading (P, 2, V, T), nan where the drive is over, untrained first; target (P, V, 2),
        centers (P, V, O, 2) and radii (P, V, O) m. Of the first one, after learning: wheels (P, T, 2), sensor
        (P, T S, C + K) and motor (P, T S, 2 M) bool. Of an mlp: outcome, path and heading with 1 instead of 2, and the
        worlds and wheels.
        """
        rows = [self._evaluate_row(*row, with_artifacts) for row in zip(z, seed_words(seeds), strict=True)]
        found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        metrics = {name: value.astype(np.float64) for name, value in found.items() if value.ndim == 1}
        artifacts = {name: value for name, value in found.items() if value.ndim > 1}
        fitness = metrics["progress"] if self.mode == "mlp" else metrics["reached"] - metrics["collided"]
        return Evaluation(fitness, metrics, artifacts)

    def _evaluate_row(self, z: np.ndarray, words: np.ndarray, with_artifacts: bool) -> dict[str, np.ndarray]:
        """Return metrics and artifacts of one individual: its W worlds, driven side by side, fill the processor."""
        setup = TrainingSetup(self.mode, self.arena, self.brain, self.training, self.tests, self.shown, self.space)
        with jax.enable_x64(False):
            live, show = compiled_life(setup)
            metrics, artifacts = live(np.asarray(z, np.float32), words)
            if with_artifacts:
                nets = artifacts.pop("nets")
                metrics = metrics | artifacts | show(nets, words)
        return {name: np.asarray(value) for name, value in metrics.items()}

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write ways and weights before and after, the training, the spikes of one drive, and with `video` its film.

        Of an mlp: its ways and the film.
        """
        from l2l_snn.results.raster import trains_raster
        from optimizees.vehicle import figures

        one, arena = {name: value[0] for name, value in evaluation.artifacts.items()}, self.arena
        worlds = [World(*(one[name][v] for name in World._fields)) for v in range(self.shown)]
        names = ("driven",) if self.mode == "mlp" else ("before", "after")
        ways = {name: (one["path"][i], one["outcome"][i, : self.shown]) for i, name in enumerate(names)}
        on = np.isfinite(one["heading"][-1, 0])
        files = [figures.paths(arena, worlds, ways, folder / "paths.png")]
        if self.mode == "rstdp":
            S = len(one["motor"]) // arena.steps
            sensor, motor = one["sensor"][: on.sum() * S], one["motor"][: on.sum() * S]
            spikes = {"target": sensor[:, : self.brain.cells], "proximity": sensor[:, self.brain.cells :]}
            spikes |= {"left": motor[:, : self.brain.motor], "right": motor[:, self.brain.motor :]}
            before, after = one["before.sensor_motor"], one["after.sensor_motor"]
            outcome, length, error = (one[f"training_{name}"] for name in ("outcome", "length", "error"))
            files += [
                figures.weights(before, after, self.brain.cells, arena.sectors, folder / "weights.png"),
                figures.learning(outcome, length, error, folder / "learning.png"),
                trains_raster(spikes, self.brain.resolution, folder / "raster.png"),
            ]
        if video:
            way, heading, wheels = one["path"][-1, 0][on], one["heading"][-1, 0][on], one["wheels"][on]
            files.append(figures.animation(arena, worlds[0], way, heading, wheels, folder / "drive.gif"))
        return files
