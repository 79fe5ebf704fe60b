"""Separable CMA-ES: CMA-ES that learns a scale for each coordinate, with time and memory linear in D.

Ros & Hansen (2008), A simple modification in CMA-ES achieving linear time and space complexity; their algorithm 1.
The covariance stays diagonal, and since it has D numbers to learn instead of D (D + 1) / 2, it learns (D + 2) / 3
times faster. The constants that the factor multiplies, and step-size adaptation, are those of pycma 4.5 (see
cma_es.py); the paper has those of 2004. As in the paper there are no negative weights.

Legend: P individuals, D search coordinates. x are z without bounds, see `smooth`; rows of y
are x in units of the step: x = mean + sigma * scale * y.
"""

from dataclasses import dataclass
from math import log, sqrt
from typing import Annotated, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.bounds import asked, smooth, unsmooth
from l2l_snn.search.cma import CONDITION, SCALE, SIGMA, constants, next_paths, widened_step
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Positive


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

    # P; None: 4 + 3 ln(D), rounded down
    population: Annotated[int, AtLeast(2), "take None for 4 + 3 ln(D), more if noisy"] | None = None
    # first step size, in units of the space's spread; 1 is 0.29 of a bounded coordinate's range
    sigma: Annotated[Positive, "about 1 covers the space, 0.1 is nearby"] = 1.0

    def individuals(self, size: int) -> int:
        """Return P for `size` coordinates."""
        return 4 + int(3 * log(size)) if self.population is None else self.population

    def init(self, space: Space, seed: int) -> SepCMAESState:
        x = np.tile(space.center, (self.individuals(space.size) if space.bounded.any() else 0, 1))
        path, sigma = np.zeros(space.size), np.array(np.clip(self.sigma, *SIGMA))
        return SepCMAESState(stream(seed), np.array(0), space.center, sigma, np.ones(space.size), path, path, x)

    def started(self, space: Space, state: SepCMAESState, z: np.ndarray) -> SepCMAESState:
        return state._replace(mean=unsmooth(z.mean(axis=0), space.bounded))

    def ask(self, space: Space, state: SepCMAESState) -> tuple[np.ndarray, SepCMAESState]:
        generator, words = generator_of(state.words)
        x = generator.standard_normal((self.individuals(space.size), space.size))
        x *= state.sigma * space.scale * np.sqrt(state.variance)
        x += state.mean
        z = smooth(x, space.bounded)
        return z, state._replace(words=words, x=state.x if z is x else x)

    def learn(
        self, space: Space, state: SepCMAESState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> SepCMAESState:
        fitness = np.where(evaluation.failed, -np.inf, fitness)
        c = constants(space.size, len(z), (space.size + 2) / 3)  # the paper's factor
        if (fitness == fitness[0]).all() or (z == z[0]).all():
            wide = state.sigma**2 * state.variance.max() >= 1.0  # never beyond the spread of the space
            return state if wide else state._replace(sigma=widened_step(c, state.sigma))

        ranks = np.argsort(-fitness, kind="stable")[: len(c.weights)]  # of the parents alone
        x = asked(state.x[ranks] if len(state.x) else z[ranks], z[ranks], space.bounded)
        step, scale = state.sigma * space.scale, np.sqrt(state.variance)
        y = (x - state.mean) / step

        told = state.told + 1
        shift = c.weights @ y
        paths = next_paths(c, int(told), state.p_sigma, state.p_c, state.sigma, shift, shift / scale)
        keep = 1 - c.c_1 * (1 - paths.lost) - c.c_mu
        variance = keep * state.variance + c.c_1 * paths.p_c**2 + c.c_mu * (c.weights @ y**2)
        return limited(
            state._replace(
                told=np.array(told),
                mean=state.mean + step * shift,
                sigma=paths.sigma,
                variance=variance,
                p_c=paths.p_c,
                p_sigma=paths.p_sigma,
            )
        )

    def recommend(self, space: Space, state: SepCMAESState) -> np.ndarray:
        """Return the mean of the distribution; with noisy fitness it is better than any individual."""
        return smooth(state.mean, space.bounded)
