"""Asynchronous evolution strategy: SNES whose sample needn't come from one generation, nor be told at once.

The update is that of SNES (Schaul, Glasmachers & Schmidhuber 2011, High dimensions and heavy tails for natural
evolution strategies; Wierstra et al. 2014, Natural evolution strategies, Algorithm 6). Individuals are asked for from
the distribution of the moment, and every P that were told, in whatever order, make an update. Some of them come from
the distribution before: as many as were under way at the last update, so P should be several times the workers.

Legend: P individuals of an update, D search coordinates, C individuals of an ask, K of a tell.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, NamedTuple, Self

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.shaping import moments, shaped, utilities
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Count, NotNegative, Positive

NARROWEST = 1e-20  # sigma stays above this times the space's spread, and below its inverse


class AsynchronousESState(NamedTuple):
    """What an asynchronous evolution strategy knows."""

    words: np.ndarray  # (2,) the random stream
    mean: np.ndarray  # (D,) z in the middle of the sample
    sigma: np.ndarray  # (D,) standard deviation of the sample
    told: np.ndarray  # () int64, individuals told since the last update
    z: np.ndarray  # (P, D) these
    fitness: np.ndarray  # (P,) their fitness, nan where failed


@dataclass(frozen=True)
class AsynchronousES(Optimizer[AsynchronousESState]):
    """A separable natural evolution strategy that learns from whatever comes back first.

    When P changes, so does C in proportion. If as many as the new P were told already, they make an update.
    """

    asynchronous: ClassVar[bool] = True
    population: Annotated[int, AtLeast(2), "utilities need a better and a worse"] = 32  # P
    children: Count = 1  # C
    sigma: Positive = 1.0  # initial standard deviation, in units of the space's spread
    mean_rate: Positive = 1.0  # learning rate of the mean
    sigma_rate: NotNegative | None = None  # learning rate of sigma; None: (3 + ln D) / (5 sqrt(D))

    def init(self, space: Space, seed: int) -> AsynchronousESState:
        z, fitness = np.zeros((self.population, space.size)), np.full(self.population, np.nan)
        sigma = np.minimum(self.sigma * space.scale, space.high - space.low)
        return AsynchronousESState(stream(seed), space.center, sigma, np.array(0), z, fitness)

    def started(self, space: Space, state: AsynchronousESState, z: np.ndarray) -> AsynchronousESState:
        return state._replace(mean=z.mean(axis=0))

    def ask(self, space: Space, state: AsynchronousESState) -> tuple[np.ndarray, AsynchronousESState]:
        generator, words = generator_of(state.words)
        z = state.mean + state.sigma * generator.standard_normal((self.children, space.size))
        return space.clipped(z), state._replace(words=words)

    def learn(
        self, space: Space, state: AsynchronousESState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> AsynchronousESState:
        """Return the state after some individuals (K, D): every P of them are an update."""
        state = state._replace(z=state.z.copy(), fitness=state.fitness.copy())
        for row, value in zip(z, evaluation.fitness, strict=True):
            told = int(state.told)
            state.z[told], state.fitness[told] = row, value
            state = state._replace(told=np.array(told + 1))
            if told + 1 == self.population:
                state = self._update_distribution(space, state)
        return state

    def sized(self, individuals: int, size: int) -> Self:
        children = max(1, round(self.children * individuals / self.population))
        return replace(self, population=individuals, children=children)

    def resized(self, space: Space, state: AsynchronousESState) -> AsynchronousESState:
        if state.told >= self.population:
            state = self._update_distribution(space, state)
        told = int(state.told)
        z, fitness = np.zeros((self.population, space.size)), np.full(self.population, np.nan)
        z[:told], fitness[:told] = state.z[:told], state.fitness[:told]
        return state._replace(z=z, fitness=fitness)

    def _update_distribution(self, space: Space, state: AsynchronousESState) -> AsynchronousESState:
        """Return the state after an update with the individuals told, P or, after P has shrunk, more."""
        D, told = space.size, int(state.told)
        rate = (3 + np.log(D)) / (5 * np.sqrt(D)) if self.sigma_rate is None else self.sigma_rate
        u = shaped(Evaluation(state.fitness[:told]).filled().fitness, utilities(told))
        first, second = moments(state.z[:told], state.mean, u)
        exponent = 0.5 * rate * second / state.sigma**2  # sum_k u_k (s_k^2 - 1), and sum u is 0
        sigma = state.sigma * np.exp(np.clip(exponent, -10.0, 10.0))
        widest = np.minimum(space.scale / NARROWEST, space.high - space.low)
        return state._replace(
            mean=space.clipped(state.mean + self.mean_rate * first),
            sigma=np.clip(sigma, space.scale * NARROWEST, widest),
            told=np.array(0),
        )

    def recommend(self, space: Space, state: AsynchronousESState) -> np.ndarray:
        """Return the mean."""
        return state.mean
