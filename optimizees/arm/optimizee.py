"""An arm that learns to stand (Brand 2024): a spiking network, muscles and an inverted pendulum in a closed loop.

An individual is the hyper-parameters of an inner loop, algorithm 1 of the source: the weights to the motor neurons are
trained online, by gradient descent with Nesterov momentum, and the gradient is carried forward in time with memory that
does not grow. The outer loop is any optimizer: gradient inside, evolution outside. Fitness is minus the mean squared
angle, over all epochs or over the last.

    l2l run jobs/arm.yaml
    arm = EmbodiedArm(training=Training(epochs=100))
    evaluation = arm.evaluate_batch(arm.by_hand[None], np.array([101]))

Legend: P individuals, E epochs, A angles of tests, T steps of the body; I sensory neurons, N of the reservoir, M motor
neurons and muscles, J hinges.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.seeding import jax_key, seed_words
from l2l_snn.space import Choice, Real, Space
from l2l_snn.validate import Count, Finite, check_range
from optimizees.arm.life import Hyper, Training, course, learn
from optimizees.arm.loop import Loop

BLOCK = 5  # epochs over which a loss is averaged before it is called half


@dataclass(frozen=True)
class EmbodiedArm(BatchOptimizee):
    """The arm and its life; the space is learning rate, momentum, initial range, window and tendon ratio."""

    loop: Loop = Loop()
    training: Training = Training()
    windows: tuple[Count, ...] = (10, 20, 40)  # steps of the body between updates; the outer loop chooses
    score: Literal["all", "last"] = "all"  # fitness: minus the mean loss of all epochs, or of the last tenth
    angles: tuple[Finite, ...] = (30.0, 20.0, 10.0, -10.0, -20.0, -30.0)  # degrees, of tests with frozen weights
    lanes: Count = 1  # individuals of one window that are evaluated side by side
    side_by_side = False
    fitness_label = "fitness: - squared angle (rad\u00b2)"

    def cross_check(self) -> None:
        high = self.loop.max_angle
        todo = "an arm that begins beyond loop.max_angle has fallen"
        check_range("training.angle_high", self.training.angle_high, 0, high, todo=todo)
        for angle in self.angles:
            check_range("angles", angle, -np.degrees(high), np.degrees(high), todo=todo)

    def make_space(self) -> Space:
        own: dict[str, Any] = {
            "learning_rate": Real(1e-6, 1e-2, log=True),
            "momentum": Real(0.0, 0.98),
            "initial_range": Real(0.005, 2.0, log=True),
            "tendon_ratio": Real(0.0, 0.85),
        }
        if len(self.windows) > 1:
            own["window"] = Choice(*self.windows, ordered=True)
        return Space(**own)

    @property
    def by_hand(self) -> np.ndarray:
        """The genome (D,) of the source's numbers, where it has them: U(-0.05, 0.05), 20 steps, ratio 0.75."""
        values = {"learning_rate": 1e-4, "momentum": 0.9, "initial_range": 0.05, "tendon_ratio": 0.75, "window": 20}
        return self.space.encode({name: values[name] for name in self.space.parameters})

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let P arms learn, then test them frozen; weights and first angles follow from an individual's seed.

        Metrics: `loss_first`, `loss_last` (rad^2, mean of the first and the last tenth of the epochs, of each
        the last `training.tail` steps), `half` (epochs until the mean loss of five in a row is under half that of an
        arm that has left its range; E if never), `fallen` (share of epochs in which the arm left its range),
        `rate_sensory`, `rate_reservoir`, `rate_motor` and `rate_max_sensory`, ... (Hz, mean and largest of all
        neurons, mean of the last tenth), `error` (degrees, largest angle in the last second of all tests).

        Artifacts: loss (P, E) rad^2; w_first, w (P, N, M); q (P, A, T, J) rad, torque (P, A, T, J) N m, level
        (P, A, T, M), and spikes of the first test in each step, sensory (P, T, I), reservoir (P, T, N), motor (P, T,
        M).
        """
        rows = [self.space.decode(row) for row in z]
        words, found = seed_words(seeds), {}
        with jax.enable_x64(False):
            for window in sorted({self._window_of(row) for row in rows}):
                mine = [i for i, row in enumerate(rows) if self._window_of(row) == window]
                for begin in range(0, len(mine), self.lanes):
                    group = mine[begin : begin + self.lanes]
                    lanes = [*group, *[group[-1]] * (self.lanes - len(group))]
                    hyper = Hyper(*(np.array([rows[i][name] for i in lanes], np.float32) for name in Hyper._fields))
                    result = jax.device_get(_compile_lives(self, window, with_artifacts)(hyper, words[lanes]))
                    for k, i in enumerate(group):
                        found[i] = {name: np.asarray(value[k], np.float64) for name, value in result.items()}
        arrays = {name: np.stack([found[i][name] for i in range(len(rows))]) for name in found[0]}
        metrics = {name: value for name, value in arrays.items() if value.ndim == 1}
        fitness = metrics.pop("fitness")
        return Evaluation(fitness, metrics, {name: value for name, value in arrays.items() if value.ndim > 1})

    def _window_of(self, parameters: dict[str, Any]) -> int:
        return int(parameters.get("window", self.windows[0]))

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write the loss over epochs, the tests, spikes and torque of the first one, and with `video` its film."""
        from optimizees.arm import figures, film

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        step = self.loop.limb.skeleton.timestep
        files = [figures.learning({"": [one["loss"]]}, folder / "learning.png")]
        if "q" in one:
            files.append(figures.tested_courses({"": one["q"][..., 0]}, self.angles, step, folder / "tests.png"))
            first = {name: one[name][0] for name in ("q", "torque", "level")}
            first |= {name: one[name] for name in ("sensory", "reservoir", "motor")}
            files.append(figures.behaviour({f"from {self.angles[0]:g} degrees": first}, step, folder / "behaviour.png"))
            if video:
                files.append(film.animation(self.loop.limb, first, folder / "arm.gif"))
        return files


@lru_cache(maxsize=16)
def _compile_lives(arm: EmbodiedArm, window: int, watch: bool) -> Any:
    """Return the jitted function (hyper-parameters, words) of several lives -> metrics and artifacts."""
    loop, training = arm.loop, arm.training
    tenth = max(1, training.epochs // 10)
    fallen = len(loop.limb.skeleton.hinges) * loop.max_angle**2

    def live(hyper: Hyper, words: jax.Array) -> dict[str, jax.Array]:
        life = learn(loop, training, window, hyper, jax_key(words))
        epochs = life.epochs
        first, last = epochs.loss[:tenth].mean(), epochs.loss[-tenth:].mean()
        seconds = jnp.maximum(epochs.steps, 1)[-tenth:, None] * loop.limb.skeleton.timestep
        found = {
            "fitness": -(epochs.loss.mean() if arm.score == "all" else last),
            "loss_first": first,
            "loss_last": last,
            "half": _count_to_half(epochs.loss, fallen / 2),
            "fallen": (epochs.steps < training.steps // window * window).mean(),
        }
        for name, spikes in epochs.spikes._asdict().items():
            rates = spikes[-tenth:] / seconds
            found |= {f"rate_{name}": rates.mean(), f"rate_max_{name}": rates.max(axis=1).mean()}
        if arm.angles:
            hinges = len(loop.limb.skeleton.hinges)
            starts = jnp.radians(jnp.array(arm.angles, float))
            tests = jax.vmap(lambda q: course(loop, life.given, life.w, jnp.full(hinges, q), training.steps))(starts)
            last_second = round(1 / loop.limb.skeleton.timestep)
            found["error"] = jnp.degrees(jnp.abs(tests.q[:, -last_second:]).max())
            if watch:
                found |= {"q": tests.q, "torque": tests.torque, "level": tests.level}
                found |= {name: spikes[0] for name, spikes in tests.spikes._asdict().items()}
        return found | ({"loss": epochs.loss, "w_first": life.first, "w": life.w} if watch else {})

    return jax.jit(jax.vmap(live))


def _count_to_half(loss: jax.Array, half: float) -> jax.Array:
    """Return after how many epochs the mean of `BLOCK` losses in a row is under `half`; E if never."""
    E = len(loss)
    block = min(BLOCK, E)
    total = jnp.concatenate([jnp.zeros(1), jnp.cumsum(loss)])
    under = (total[block:] - total[:-block]) / block < half
    return jnp.where(under.any(), jnp.argmax(under) + block, E)
