"""PGPE: policy gradients with parameter-based exploration, a Gaussian whose mean and deviations follow a gradient.

Sehnke, Osendorfer, Rückstieß, Graves, Peters & Schmidhuber (2010), Parameter-exploring policy gradients. The mean's
steps are by a rule of Optax; ClipUp is that of Toklu, Liskowski & Srivastava (2020), ClipUp: a simple and powerful
optimizer for distribution-based policy evolution.

Legend: P individuals, D search coordinates, K numbers in the memory of the step rule.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.shaping import SHAPING, moments
from l2l_snn.search.step_rules import step_rule
from l2l_snn.seeding import draw, stream
from l2l_snn.space import Space
from l2l_snn.validate import check_choice, check_count, check_finite, check_range, message

WIDEST = 1e20  # sigma of a free coordinate stays below this: far from overflow


class PGPEState(NamedTuple):
    """What PGPE knows between generations."""

    words: np.ndarray  # (2,) the random stream
    mean: np.ndarray  # (D,) z in the middle of the sample
    sigma: np.ndarray  # (D,) standard deviation of the sample, in units of the space's scale
    baseline: np.ndarray  # () moving average of the fitness, nan before the first success
    memory: np.ndarray  # (K,) moments and step count of the step rule, its Optax state laid flat


def clipup(rate: float, momentum: float, max_speed: float) -> optax.GradientTransformation:
    """Return ClipUp: steps of length `rate` along the gradient, summed with momentum into a velocity of limited length.

    Toklu et al. 2020, Algorithm 1, in the units of the parameters: v <- momentum v + rate g / |g|, |v| <= max_speed.
    """

    def init(params: Any) -> Any:
        return jnp.zeros_like(params)

    def update(updates: Any, velocity: Any, params: Any = None) -> Any:
        length = jnp.linalg.norm(updates)
        velocity = momentum * velocity - rate * updates / jnp.where(length > 0.0, length, 1.0)
        speed = jnp.linalg.norm(velocity)
        velocity = velocity * jnp.where(speed > max_speed, max_speed / jnp.where(speed > 0.0, speed, 1.0), 1.0)
        return velocity, velocity

    return optax.GradientTransformation(init, update)


def transformation(rule: str, rate: float, momentum: float, max_speed: float) -> Any:
    """Return Optax's transformation of gradients for the step rule."""
    if rule == "clipup":
        return clipup(rate, momentum, max_speed)
    return optax.adam(rate, b1=momentum) if rule == "adam" else optax.sgd(rate, momentum=momentum or None)


@dataclass(frozen=True)
class PGPE(Optimizer[PGPEState]):
    """Parameter-exploring policy gradients for one objective.

    Steps are taken in coordinates of spread one, see `Space.spread`. Steps of clipup and adam have about the length of
    learning_rate, so it sets how near the mean settles; sgd's shrink with sigma and the gradient.
    """

    population: int = 32  # P, even with symmetric sampling
    sigma: float = 0.3  # initial standard deviation of each coordinate, in units of the space's spread
    sigma_rate: float = 0.1  # learning rate of sigma
    sigma_max_change: float = 0.2  # the most that sigma may change in a generation, as a fraction of it
    sigma_limit: float = 1e-3  # the least sigma, in units of the space's spread
    symmetric: bool = True  # the second half of a generation mirrors the first
    shaping: Literal["centered_ranks", "z_score", "raw"] = "centered_ranks"  # of fitness
    baseline: Literal["mean", "moving"] = (
        "mean"  # subtracted from fitness: the generation's mean, or its moving average
    )
    baseline_decay: float = 0.9  # in [0, 1): of the moving average
    rule: Literal["clipup", "adam", "sgd"] = "clipup"  # of the mean's steps
    learning_rate: float = 0.05  # of the rule, in units of the space's spread
    momentum: float = 0.9  # in [0, 1): of clipup and sgd, adam's b1
    max_speed: float = 0.1  # longest step of clipup; twice the learning rate is its authors' advice

    def __post_init__(self) -> None:
        check_count("PGPE.population", self.population, 2)
        if self.symmetric and self.population % 2:
            expected, todo = "an even number with symmetric", "add one, or set symmetric to false"
            raise ValueError(message("PGPE.population", expected, self.population, todo))
        for name in ("sigma", "sigma_limit", "learning_rate", "max_speed"):
            check_range(f"PGPE.{name}", getattr(self, name), 0.0, open_low=True)
            check_finite(f"PGPE.{name}", getattr(self, name))
        if self.sigma_limit > self.sigma:
            todo = "lower sigma_limit with sigma"
            raise ValueError(message("PGPE.sigma_limit", f"at most sigma ({self.sigma})", self.sigma_limit, todo))
        check_range("PGPE.sigma_rate", self.sigma_rate, 0.0)
        check_finite("PGPE.sigma_rate", self.sigma_rate)
        for name in ("sigma_max_change", "baseline_decay", "momentum"):
            check_range(f"PGPE.{name}", getattr(self, name), 0.0, 1.0)
            if getattr(self, name) == 1.0:
                raise ValueError(message(f"PGPE.{name}", "a number below 1", 1.0))
        check_choice("PGPE.shaping", self.shaping, tuple(SHAPING))
        check_choice("PGPE.baseline", self.baseline, ("mean", "moving"))
        check_choice("PGPE.rule", self.rule, ("clipup", "adam", "sgd"))
        if self.baseline == "moving" and self.shaping != "raw":
            todo = "take raw, or the baseline mean"
            raise ValueError(message("PGPE.baseline", f"mean with {self.shaping}, whose mean is 0", "moving", todo))

    def init(self, space: Space, seed: int) -> PGPEState:
        memory, _ = self._step_rule(space.size)
        sigma = np.minimum(np.full(space.size, self.sigma, np.float64), _widest(space))
        return PGPEState(stream(seed), space.center, sigma, np.array(np.nan), memory)

    def ask(self, space: Space, state: PGPEState) -> tuple[np.ndarray, PGPEState]:
        generator, words = draw(state.words)
        z = np.empty((self.population, space.size))
        first, mirrored = np.split(z, [self.population // 2 if self.symmetric else self.population])
        generator.standard_normal(out=first)
        first *= state.sigma * space.scale
        np.subtract(state.mean, first[: len(mirrored)], out=mirrored)
        first += state.mean
        return space.clipped(z, out=z), state._replace(words=words)

    def learn(
        self, space: Space, state: PGPEState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> PGPEState:
        shaped = SHAPING[self.shaping](fitness)
        baseline = shaped.mean()
        if self.baseline == "moving" and not evaluation.failed.all():
            if np.isfinite(state.baseline):
                baseline = self.baseline_decay * state.baseline + (1.0 - self.baseline_decay) * baseline
            state = state._replace(baseline=np.array(baseline))
        reward = shaped - baseline

        # The sums over all P are the paper's over pairs, for theta = mean +- epsilon:
        # 1/P sum_i (r_i - b) epsilon_i = 2/P sum_pairs (r+ - r-) / 2 epsilon, and likewise for sigma. They also hold
        # where a bound has broken the symmetry.
        first, second = moments(z, state.mean, reward)
        gradient = first / (space.scale * len(z))
        # 1/P sum_i (r_i - b) (epsilon_i^2 - sigma^2) / sigma
        gradient_sigma = (second / (space.scale**2 * state.sigma) - reward.sum() * state.sigma) / len(z)

        _, step = self._step_rule(space.size)
        with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
            update, memory = step(gradient, state.memory, state.mean)
        most = self.sigma_max_change * state.sigma
        sigma = state.sigma + np.clip(self.sigma_rate * gradient_sigma, -most, most)
        return state._replace(
            mean=space.clipped(state.mean + space.scale * np.asarray(update)),
            sigma=np.clip(sigma, self.sigma_limit, _widest(space)),
            memory=np.array(memory),
        )

    def recommend(self, space: Space, state: PGPEState) -> np.ndarray:
        """Return the mean."""
        return state.mean

    def _step_rule(self, size: int) -> tuple[np.ndarray, Callable[..., Any]]:
        return step_rule(size, transformation, self.rule, self.learning_rate, self.momentum, self.max_speed)


def _widest(space: Space) -> np.ndarray:
    """Return the (D,) largest sigma: wider than its range, a bounded coordinate learns nothing."""
    return np.minimum(WIDEST, (space.high - space.low) / space.scale)
