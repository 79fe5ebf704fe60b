"""Random search: every generation is a new sample of the space. What any other algorithm must beat.

Bergstra & Bengio (2012), Random search for hyper-parameter optimization.

Legend: P individuals, D search coordinates.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.seeding import draw, stream
from l2l_snn.space import Space
from l2l_snn.validate import check_count, check_shape


class RandomSearchState(NamedTuple):
    """What random search knows between generations."""

    words: np.ndarray  # (2,) the random stream
    bounded: np.ndarray  # (D,) bool, which coordinates lie in [0, 1]; the others are free
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness (the first objective), -inf before any evaluation succeeded


@dataclass(frozen=True)
class RandomSearch(Optimizer[RandomSearchState]):
    """Sample each generation as `Space.sample` does: uniform where bounded, standard normal where free."""

    asynchronous: ClassVar[bool] = True
    learns: ClassVar[bool] = False
    population: int = 32  # P

    def __post_init__(self) -> None:
        check_count("RandomSearch.population", self.population, 1)

    def init(self, space: Space, seed: int) -> RandomSearchState:
        low, _ = space.bounds()
        generator, words = draw(stream(seed))
        return RandomSearchState(words, np.isfinite(low), space.sample(generator, 1)[0], np.array(-np.inf))

    def ask(self, state: RandomSearchState) -> tuple[np.ndarray, RandomSearchState]:
        generator, words = draw(state.words)
        shape = (self.population, len(state.bounded))
        z = np.where(state.bounded, generator.random(shape), generator.standard_normal(shape))
        return z, state._replace(words=words)

    def tell(self, state: RandomSearchState, z: np.ndarray, evaluation: Evaluation) -> RandomSearchState:
        check_shape("RandomSearch: fitness", evaluation.score, (len(z),))
        return with_best(state, z, evaluation)

    def recommend(self, state: RandomSearchState) -> np.ndarray:
        """Return the z of the best single evaluation so far (with noisy fitness that is partly luck)."""
        return state.best_z
