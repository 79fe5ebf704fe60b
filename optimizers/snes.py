"""SNES: separable natural evolution strategy, a Gaussian with a standard deviation of its own for each coordinate.

Schaul, Glasmachers & Schmidhuber (2011), High dimensions and heavy tails for natural evolution strategies. Equations
and defaults are those of Wierstra, Schaul, Glasmachers, Sun, Peters & Schmidhuber (2014), Natural evolution
strategies, Algorithm 6 and Table 1. A generation costs O(P D).

Legend: P individuals, D search coordinates.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.shaping import moments, shaped, utilities
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, NotNegative, Positive

WIDEST = 1e20  # sigma stays below this times the space's spread and above its inverse: far from overflow


class SNESState(NamedTuple):
    """What SNES knows between generations."""

    words: np.ndarray  # (2,) the random stream
    mean: np.ndarray  # (D,) z in the middle of the sample
    sigma: np.ndarray  # (D,) standard deviation of the sample


@dataclass(frozen=True)
class SNES(Optimizer[SNESState]):
    """Separable natural evolution strategy for one objective, with the published defaults."""

    # P; None: 4 + floor(3 ln D)
    population: Annotated[int, AtLeast(2), "utilities need a better and a worse"] | None = None
    sigma: Positive = 1.0  # initial standard deviation, in units of the space's spread
    mean_rate: Positive = 1.0  # learning rate of the mean
    sigma_rate: NotNegative | None = None  # learning rate of sigma; None: (3 + ln D) / (5 sqrt(D))

    def individuals(self, size: int) -> int:
        """Return P for `size` coordinates."""
        return self.population or 4 + int(3 * np.log(size))

    def init(self, space: Space, seed: int) -> SNESState:
        return SNESState(stream(seed), space.center, _limit_sigma(self.sigma * space.scale, space))

    def started(self, space: Space, state: SNESState, z: np.ndarray) -> SNESState:
        return state._replace(mean=z.mean(axis=0))

    def ask(self, space: Space, state: SNESState) -> tuple[np.ndarray, SNESState]:
        generator, words = generator_of(state.words)
        z = generator.standard_normal((self.individuals(space.size), space.size))
        z *= state.sigma
        z += state.mean
        return space.clipped(z, out=z), state._replace(words=words)

    def learn(
        self, space: Space, state: SNESState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> SNESState:
        u = shaped(fitness, utilities(len(z)))
        rate = self.sigma_rate
        if rate is None:
            rate = (3 + np.log(space.size)) / (5 * np.sqrt(space.size))
        # Algorithm 6 with s = (z - mean) / sigma, from the z that were evaluated, clipped ones included
        first, second = moments(z, state.mean, u)
        mean = state.mean + self.mean_rate * first
        gradient_sigma = second / state.sigma**2  # sum_k u_k (s_k^2 - 1), and sum u is 0
        # an exponent beyond 10 is none that a useful rate gives; it would only overflow
        sigma = state.sigma * np.exp(np.clip(0.5 * rate * gradient_sigma, -10.0, 10.0))
        return state._replace(
            mean=space.clipped(mean),
            sigma=_limit_sigma(sigma, space),
        )

    def recommend(self, space: Space, state: SNESState) -> np.ndarray:
        """Return the mean."""
        return state.mean


def _limit_sigma(sigma: np.ndarray, space: Space) -> np.ndarray:
    """Return sigma (D,) within its limits: wider than its range, a bounded coordinate learns nothing."""
    widest = np.minimum(WIDEST * space.scale, space.high - space.low)
    return np.clip(sigma, space.scale / WIDEST, widest)
