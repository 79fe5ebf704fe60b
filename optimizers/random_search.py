"""Random search: every generation is a new sample of the space. What any other algorithm must beat.

Bergstra & Bengio (2012), Random search for hyper-parameter optimization.

Legend: P individuals, D search coordinates.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import Count


class RandomSearchState(NamedTuple):
    """What random search knows between generations."""

    words: np.ndarray  # (2,) the random stream
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness (the first objective), -inf before any evaluation succeeded


@dataclass(frozen=True)
class RandomSearch(Optimizer[RandomSearchState]):
    """Sample each generation as `Space.sample` does: uniform where bounded, standard normal where free."""

    asynchronous: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    several_objectives: ClassVar[bool] = True
    population: Count = 32  # P

    def init(self, space: Space, seed: int) -> RandomSearchState:
        generator, words = generator_of(stream(seed))
        return RandomSearchState(words, space.sample(generator, 1)[0], np.array(-np.inf))

    def ask(self, space: Space, state: RandomSearchState) -> tuple[np.ndarray, RandomSearchState]:
        generator, words = generator_of(state.words)
        return space.sample(generator, self.population), state._replace(words=words)

    def learn(
        self, space: Space, state: RandomSearchState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> RandomSearchState:
        return with_best(state, z, evaluation)

    def recommend(self, space: Space, state: RandomSearchState) -> np.ndarray:
        """Return the z of the best single evaluation so far (with noisy fitness that is partly luck)."""
        return state.best_z
