"""Separable CMA-ES: CMA-ES that learns a scale for each coordinate, with time and memory linear in D.

Ros & Hansen (2008), A simple modification in CMA-ES achieving linear time and space complexity; their algorithm 1.
The covariance stays diagonal, and since it has D numbers to learn instead of D (D + 1) / 2, it learns (D + 2) / 3
times faster. The constants that the factor multiplies, and step-size adaptation, are those of pycma 4.5 (see
cma_es.py); the paper has those of 2004. As in the paper there are no negative weights.

Legend: P individuals, D search coordinates. x are z without bounds, see `smooth`; rows of y
are x in units of the step: x = mean + sigma * scale * y.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import exp, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.bounds import asked, smooth
from l2l_snn.seeding import draw, stream
from l2l_snn.space import Space
from l2l_snn.validate import check_count, check_finite, check_range

SIGMA = (1e-100, 1e100)  # limits of sigma: far outside any use, but their squares are still numbers
SCALE = (1e-10, 1e10)  # limits of the largest variance, beyond which sigma takes the scale over
CONDITION = 1e14  # limit of the largest variance over the smallest


class SepCMAESState(NamedTuple):
    """What separable CMA-ES knows between generations."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations learned from
    mean: np.ndarray  # (D,) of the distribution, in x
    sigma: np.ndarray  # () step size, in units of the space's scale
    variance: np.ndarray  # (D,) of y: the diagonal of C
    p_c: np.ndarray  # (D,) evolution path of the mean
    p_sigma: np.ndarray  # (D,) the same of the whitened mean
    x: np.ndarray  # (P, D) what was asked last, before `smooth`; (0, D) where all is free and z is x


class Constants(NamedTuple):
    """What follows from D and P alone."""

    weights: np.ndarray  # (mu,) of the parents, best first; sum 1
    mueff: float  # variance-effective number of parents
    c_sigma: float  # rate of p_sigma
    d_sigma: float  # damping of sigma
    c_c: float  # rate of p_c
    c_1: float  # rate of the rank-one update
    c_mu: float  # rate of the rank-mu update
    chi: float  # E|N(0, I)|


@lru_cache(maxsize=64)
def constants(size: int, population: int) -> Constants:
    """Return the constants for `size` coordinates and `population` individuals."""
    raw = log((population + 1) / 2) - np.log(np.arange(1, population // 2 + 1))
    weights = raw / raw.sum()
    weights.flags.writeable = False
    mueff = 1.0 / float((weights**2).sum())
    c_sigma = min(0.5, (mueff + 2) / (size + mueff + 3))
    many = max(1.0, 3.0 * (1.0 - 0.5 ** (size / 9)))
    d_sigma = 1.0 + 2.0 * max(0.0, many * sqrt((mueff - 1) / (size + 1)) - 1.0) + c_sigma
    c_c = (4 + mueff / size) / (size + 4 + 2 * mueff / size)
    faster = (size + 2) / 3  # the paper's factor
    c_1 = min(1.0, faster * min(1.0, population / 6) * 2 / ((size + 1.3) ** 2 + mueff))
    c_mu = min(1 - c_1, faster * 2 * (0.25 + mueff + 1 / mueff - 2) / ((size + 2) ** 2 + mueff))
    chi = sqrt(2) * exp(lgamma((size + 1) / 2) - lgamma(size / 2))
    return Constants(weights, mueff, c_sigma, d_sigma, c_c, c_1, c_mu, chi)


def limited(state: SepCMAESState) -> SepCMAESState:
    """Return the state with the condition number and the scale of its variance limited."""
    top = float(state.variance.max())
    variance = np.maximum(state.variance, top / CONDITION)
    if SCALE[0] < top < SCALE[1]:
        return state._replace(variance=variance)
    sigma = np.array(state.sigma * sqrt(top))  # the distribution stays the same, its numbers stay handy
    return state._replace(variance=variance / top, p_c=state.p_c / sqrt(top), sigma=sigma)


@dataclass(frozen=True)
class SepCMAES(Optimizer[SepCMAESState]):
    """CMA-ES with a diagonal covariance: for thousands of coordinates, or where coordinates don't interact.

    Bounds, failures, plateaus and the limits of sigma and of the condition number are treated as in `CMAES`:
    the distribution lives in coordinates without bounds; failures rank last; a generation that tells nothing only
    widens sigma, up to the spread of the space.
    """

    population: int | None = None  # P; None: 4 + 3 ln(D), rounded down
    sigma: float = 1.0  # first step size, in units of the space's spread; 1 is 0.29 of a bounded coordinate's range

    def __post_init__(self) -> None:
        if self.population is not None:
            check_count("SepCMAES.population", self.population, 2, "take None for 4 + 3 ln(D), more if noisy")
        check_range("SepCMAES.sigma", self.sigma, 0.0, open_low=True, todo="about 1 covers the space, 0.1 is nearby")
        check_finite("SepCMAES.sigma", self.sigma)

    def individuals(self, size: int) -> int:
        """Return P for `size` coordinates."""
        return 4 + int(3 * log(size)) if self.population is None else self.population

    def init(self, space: Space, seed: int) -> SepCMAESState:
        x = np.tile(space.center, (self.individuals(space.size) if space.bounded.any() else 0, 1))
        path, sigma = np.zeros(space.size), np.array(np.clip(self.sigma, *SIGMA))
        return SepCMAESState(stream(seed), np.array(0), space.center, sigma, np.ones(space.size), path, path, x)

    def ask(self, space: Space, state: SepCMAESState) -> tuple[np.ndarray, SepCMAESState]:
        generator, words = draw(state.words)
        x = generator.standard_normal((self.individuals(space.size), space.size))
        x *= state.sigma * space.scale * np.sqrt(state.variance)
        x += state.mean
        z = smooth(x, space.bounded)
        return z, state._replace(words=words, x=state.x if z is x else x)

    def learn(
        self, space: Space, state: SepCMAESState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> SepCMAESState:
        size = space.size
        fitness = np.where(evaluation.failed, -np.inf, fitness)
        c = constants(size, len(z))
        if (fitness == fitness[0]).all() or (z == z[0]).all():
            wide = state.sigma**2 * state.variance.max() >= 1.0  # never beyond the spread of the space
            return state if wide else state._replace(sigma=np.array(state.sigma * exp(0.2 + c.c_sigma / c.d_sigma)))

        ranks = np.argsort(-fitness, kind="stable")[: len(c.weights)]  # of the parents alone
        x = asked(state.x[ranks] if len(state.x) else z[ranks], z[ranks], space.bounded)
        step, scale = state.sigma * space.scale, np.sqrt(state.variance)
        y = (x - state.mean) / step

        told = state.told + 1
        shift = c.weights @ y
        mean = state.mean + step * shift
        p_sigma = (1 - c.c_sigma) * state.p_sigma + sqrt(c.c_sigma * (2 - c.c_sigma) * c.mueff) * (shift / scale)
        square = float(p_sigma @ p_sigma)
        log_step = (c.c_sigma / c.d_sigma) * (sqrt(square) / c.chi - 1)
        sigma = np.clip(state.sigma * exp(min(1.0, log_step)), *SIGMA)

        started = 1.0 - (1.0 - c.c_sigma) ** (2.0 * float(told))
        h = float(square / started / size < 2 + 4 / (size + 1))  # 0 stalls p_c while sigma grows fast
        p_c = (1 - c.c_c) * state.p_c + (h * sqrt(c.c_c * (2 - c.c_c) * c.mueff)) * shift
        lost = (1 - h) * c.c_c * (2 - c.c_c)
        keep = 1 - c.c_1 * (1 - lost) - c.c_mu
        variance = keep * state.variance + c.c_1 * p_c**2 + c.c_mu * (c.weights @ y**2)
        return limited(
            state._replace(
                told=np.array(told),
                mean=mean,
                sigma=np.array(sigma),
                variance=variance,
                p_c=p_c,
                p_sigma=p_sigma,
            )
        )

    def recommend(self, space: Space, state: SepCMAESState) -> np.ndarray:
        """Return the mean of the distribution; with noisy fitness it is better than any individual."""
        return smooth(state.mean, space.bounded)
