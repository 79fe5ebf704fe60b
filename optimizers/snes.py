"""SNES: separable natural evolution strategy, a Gaussian with a standard deviation of its own for each coordinate.

Schaul, Glasmachers & Schmidhuber (2011), High dimensions and heavy tails for natural evolution strategies. Equations
and defaults are those of Wierstra, Schaul, Glasmachers, Sun, Peters & Schmidhuber (2014), Natural evolution
strategies, Algorithm 6 and Table 1. A generation costs O(P D).

Legend: P individuals, D search coordinates.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, one_objective
from l2l_snn.search.shaping import moments, shaped, utilities
from l2l_snn.seeding import draw, stream
from l2l_snn.space import Space
from l2l_snn.validate import check_count, check_finite, check_range, check_shape

WIDEST = 1e20  # sigma stays below this times the space's spread and above its inverse: far from overflow


class SNESState(NamedTuple):
    """What SNES knows between generations."""

    words: np.ndarray  # (2,) the random stream
    mean: np.ndarray  # (D,) z in the middle of the sample
    sigma: np.ndarray  # (D,) standard deviation of the sample
    narrowest: np.ndarray  # (D,) sigma is kept between these
    widest: np.ndarray  # (D,)
    low: np.ndarray  # (D,) bounds of the space, infinite where free
    high: np.ndarray  # (D,)


@dataclass(frozen=True)
class SNES(Optimizer[SNESState]):
    """Separable natural evolution strategy for one objective, with the published defaults."""

    population: int | None = None  # P; None: 4 + floor(3 ln D)
    sigma: float = 1.0  # initial standard deviation, in units of the space's spread
    mean_rate: float = 1.0  # learning rate of the mean
    sigma_rate: float | None = None  # learning rate of sigma; None: (3 + ln D) / (5 sqrt(D))

    def __post_init__(self) -> None:
        if self.population is not None:
            check_count("SNES.population", self.population, 2, "utilities need a better and a worse")
        for name in ("sigma", "mean_rate", "sigma_rate"):
            if name != "sigma_rate" or self.sigma_rate is not None:
                check_range(f"SNES.{name}", getattr(self, name), 0.0, open_low=name != "sigma_rate")
                check_finite(f"SNES.{name}", getattr(self, name))

    def individuals(self, size: int) -> int:
        """Return P for `size` coordinates."""
        return self.population or 4 + int(3 * np.log(size))

    def init(self, space: Space, seed: int) -> SNESState:
        mean, spread = space.spread()
        low, high = space.bounds()
        widest = np.minimum(WIDEST * spread, high - low)  # wider than its range, a bounded coordinate learns nothing
        sigma = np.clip(self.sigma * spread, spread / WIDEST, widest)
        return SNESState(stream(seed), mean, sigma, spread / WIDEST, widest, low, high)

    def ask(self, state: SNESState) -> tuple[np.ndarray, SNESState]:
        generator, words = draw(state.words)
        size = len(state.mean)
        z = generator.standard_normal((self.individuals(size), size))
        z *= state.sigma
        z += state.mean
        np.maximum(z, state.low, out=z)  # faster than np.clip by half
        np.minimum(z, state.high, out=z)
        return z, state._replace(words=words)

    def tell(self, state: SNESState, z: np.ndarray, evaluation: Evaluation) -> SNESState:
        """Return the state after a generation; see `Optimizer.tell`.

        Raises:
            ValueError: several objectives, or another number of individuals than the population's.
        """
        population = self.individuals(len(state.mean))
        z = check_shape("SNES: z", z, (population, len(state.mean)))
        u = shaped(one_objective(self, evaluation, population), utilities(population))
        rate = self.sigma_rate
        if rate is None:
            rate = (3 + np.log(len(state.mean))) / (5 * np.sqrt(len(state.mean)))
        # Algorithm 6 with s = (z - mean) / sigma, from the z that were evaluated, clipped ones included
        first, second = moments(z, state.mean, u)
        mean = state.mean + self.mean_rate * first
        gradient_sigma = second / state.sigma**2  # sum_k u_k (s_k^2 - 1), and sum u is 0
        # an exponent beyond 10 is none that a useful rate gives; it would only overflow
        sigma = state.sigma * np.exp(np.clip(0.5 * rate * gradient_sigma, -10.0, 10.0))
        return state._replace(
            mean=np.clip(mean, state.low, state.high),
            sigma=np.clip(sigma, state.narrowest, state.widest),
        )

    def recommend(self, state: SNESState) -> np.ndarray:
        """Return the mean."""
        return state.mean
