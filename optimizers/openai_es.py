"""OpenAI-ES: a Gaussian of fixed width climbs an estimated gradient, by a step rule of Optax.

Salimans, Ho, Chen, Sidor & Sutskever (2017), Evolution strategies as a scalable alternative to reinforcement learning.
With mirrored sampling and fitness shaping (the defaults) it is what the L2L framework calls evolution strategies.

Legend: P individuals, D search coordinates, K numbers in the memory of the step rule.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optax

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.shaping import SHAPING, first_moment
from l2l_snn.search.step_rules import step_rule
from l2l_snn.seeding import draw, stream
from l2l_snn.space import Space
from l2l_snn.validate import check_choice, check_count, check_finite, check_range, message


class OpenESState(NamedTuple):
    """What OpenAI-ES knows between generations."""

    words: np.ndarray  # (2,) the random stream
    mean: np.ndarray  # (D,) z in the middle of the sample
    sigma: np.ndarray  # () standard deviation of the sample, in units of the space's scale
    memory: np.ndarray  # (K,) moments and step count of the step rule, its Optax state laid flat


def transformation(rule: str, rate: float, momentum: float, nesterov: bool, decay: float) -> Any:
    """Return Optax's transformation of gradients for the step rule."""
    if rule == "adam":
        return optax.adam(rate, b1=momentum, b2=decay, nesterov=nesterov)
    if rule == "rmsprop":
        return optax.rmsprop(rate, decay=decay, momentum=momentum or None, nesterov=nesterov)
    return optax.sgd(rate, momentum=momentum or None, nesterov=nesterov)


@dataclass(frozen=True)
class OpenES(Optimizer[OpenESState]):
    """OpenAI-ES for one objective.

    Steps are taken in coordinates of spread one: z = center + scale * y, with `Space.spread`. The paper's own values
    for networks with a million weights are sigma 0.02, learning_rate 0.01 and weight_decay 0.005.
    """

    population: int = 32  # P, even with mirrored sampling
    sigma: float = 0.1  # standard deviation of the sample, in units of the space's spread
    sigma_decay: float = 1.0  # factor of sigma in each generation
    sigma_limit: float = 1e-3  # sigma decays no further, same unit
    antithetic: bool = True  # mirrored sampling: the second half of a generation mirrors the first
    shaping: Literal["centered_ranks", "z_score", "raw"] = "centered_ranks"  # of fitness; raw has no baseline
    rule: Literal["adam", "sgd", "rmsprop"] = "adam"
    learning_rate: float = 0.05  # of the rule; for adam about the length of a step, in units of the space's spread
    momentum: float = 0.9  # in [0, 1): adam's b1, or the momentum of sgd and rmsprop
    nesterov: bool = False  # whether the momentum looks ahead
    second_decay: float = 0.999  # in [0, 1): decay of the mean square, adam's b2 or rmsprop's decay
    weight_decay: float = 0.0  # pull towards the middle of the space: subtracts this times y from the gradient

    def __post_init__(self) -> None:
        check_count("OpenES.population", self.population, 2)
        if self.antithetic and self.population % 2:
            expected, todo = "an even number with antithetic", "add one, or set antithetic to false"
            raise ValueError(message("OpenES.population", expected, self.population, todo))
        for name in ("sigma", "sigma_decay", "sigma_limit", "learning_rate"):
            high = 1.0 if name == "sigma_decay" else np.inf
            check_range(f"OpenES.{name}", getattr(self, name), 0.0, high, open_low=True)
            check_finite(f"OpenES.{name}", getattr(self, name))
        if self.sigma_limit > self.sigma:
            todo = "lower sigma_limit with sigma"
            raise ValueError(message("OpenES.sigma_limit", f"at most sigma ({self.sigma})", self.sigma_limit, todo))
        check_choice("OpenES.shaping", self.shaping, tuple(SHAPING))
        check_choice("OpenES.rule", self.rule, ("adam", "sgd", "rmsprop"))
        for name in ("momentum", "second_decay"):
            check_range(f"OpenES.{name}", getattr(self, name), 0.0, 1.0)
            if getattr(self, name) == 1.0:
                raise ValueError(message(f"OpenES.{name}", "a number below 1", 1.0, "1 forgets nothing; take 0.9"))
        if self.nesterov and self.momentum == 0.0:
            raise ValueError(message("OpenES.nesterov", "false without momentum", True, "set momentum, e.g. 0.9"))
        check_range("OpenES.weight_decay", self.weight_decay, 0.0)
        check_finite("OpenES.weight_decay", self.weight_decay)

    def init(self, space: Space, seed: int) -> OpenESState:
        memory, _ = self._step_rule(space.size)
        return OpenESState(stream(seed), space.center, np.array(self.sigma, np.float64), memory)

    def ask(self, space: Space, state: OpenESState) -> tuple[np.ndarray, OpenESState]:
        generator, words = draw(state.words)
        z = np.empty((self.population, space.size))
        first, mirrored = np.split(z, [self.population // 2 if self.antithetic else self.population])
        generator.standard_normal(out=first)  # Algorithm 1, line 4
        first *= state.sigma * space.scale
        np.subtract(state.mean, first[: len(mirrored)], out=mirrored)
        first += state.mean
        return space.clipped(z, out=z), state._replace(words=words)

    def learn(
        self, space: Space, state: OpenESState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> OpenESState:
        shaped = SHAPING[self.shaping](fitness)
        # Algorithm 1, line 11: 1 / (P sigma) sum_i F_i noise_i, the noise read from the z that were evaluated
        gradient = first_moment(z, state.mean, shaped) / (space.scale * (self.population * state.sigma**2))
        gradient -= self.weight_decay * (state.mean - space.center) / space.scale
        _, step = self._step_rule(space.size)
        with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
            update, memory = step(gradient, state.memory, state.mean)
        # outside the bounds all samples would be clipped to one point and teach nothing
        mean = space.clipped(state.mean + space.scale * np.asarray(update))
        sigma = np.maximum(state.sigma * self.sigma_decay, self.sigma_limit)
        return state._replace(mean=mean, sigma=np.array(sigma), memory=np.array(memory))

    def recommend(self, space: Space, state: OpenESState) -> np.ndarray:
        """Return the mean."""
        return state.mean

    def _step_rule(self, size: int) -> tuple[np.ndarray, Callable[..., Any]]:
        fields = (self.rule, self.learning_rate, self.momentum, self.nesterov, self.second_decay)
        return step_rule(size, transformation, *fields)
