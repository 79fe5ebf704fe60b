"""The outer loop's algorithm. Users subclass `Optimizer`.

Legend: P individuals, D search coordinates.

    state = optimizer.init(space, seed)
    while True:
        z, state = optimizer.ask(state)                 # (P, D)
        state = optimizer.tell(state, z, evaluate(z))
    optimizer.recommend(state)                          # (D,)
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar, final

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.space import Space
from l2l_snn.validate import check_fields, check_shape, message

S = TypeVar("S", bound=NamedTuple)


class Optimizer(ABC, Generic[S]):
    """One algorithm. A subclass is a frozen dataclass of hyper-parameters, nothing else.

    Annotations say what a field may hold, e.g. `sigma: Positive = 1.0`; see `l2l_snn.validate.check_fields`.

    All that changes is in S, a NamedTuple of numpy arrays that includes the words of the random stream
    (`seeding.stream`). The store keeps exactly these arrays, so a resumed run goes on as if it had not stopped.
    The methods are pure: they change neither their arguments nor the global random generators.
    """

    needs_grad: ClassVar[bool] = False  # whether tell reads Evaluation.grad
    learns: ClassVar[bool] = True  # whether what is asked follows from what was told; if not, it needn't beat chance
    asynchronous: ClassVar[bool] = False  # whether ask may come again before tell, and tell take any of what was asked

    @final
    def __post_init__(self) -> None:
        check_fields(self)
        self.cross_check()

    def cross_check(self) -> None:
        """Refuse fields that don't fit together, after each was checked by its annotation; the default takes all.

        Raises:
            ValueError: see `validate.message`.
        """

    @property
    def averages(self) -> bool:
        """Whether several evaluations of one z are averaged: they have to differ in their seeds."""
        return False

    @abstractmethod
    def init(self, space: Space, seed: int) -> S:
        """Return the state before the first generation."""

    @abstractmethod
    def ask(self, state: S) -> tuple[np.ndarray, S]:
        """Return the next generation's z, (P, D), and the state that `tell` takes."""

    @abstractmethod
    def tell(self, state: S, z: np.ndarray, evaluation: Evaluation) -> S:
        """Return the state after learning how the z of the last ask did, in the same order.

        `evaluation` may hold failures (nan): read `evaluation.filled()` for arithmetic.
        """

    @abstractmethod
    def recommend(self, state: S) -> np.ndarray:
        """Return the z (D,) to use if we stopped now."""

    # How a population grows and shrinks. An optimizer whose state has one size for every P, and that reads P from its
    # field `population` alone, needn't write these.

    def individuals(self, size: int) -> int:
        """Return P in a space of D = `size` coordinates, the number that a job's `restart` and `resize` multiply.

        Raises:
            TypeError: there is no such number.
        """
        population = getattr(self, "population", None)
        if population is None:
            todo = "give it one, or write its methods individuals, sized and resized"
            raise TypeError(message("resize", "an optimizer with a population", type(self).__name__, todo))
        return population

    def sized(self, individuals: int, size: int) -> Self:
        """Return this optimizer with `individuals` as P, or the nearest number below that it can have.

        Args:
            individuals: P.
            size: D.

        Raises:
            ValueError: it can have neither.
        """
        changed: dict[str, Any] = {"population": individuals}
        return replace(self, **changed)  # pyright: ignore[reportArgumentType, reportReturnType]

    def resized(self, state: S) -> S:
        """Return a state that another size of this optimizer has told, as this size goes on with it; pure."""
        return state


def one_objective(optimizer: Optimizer, evaluation: Evaluation, individuals: int) -> np.ndarray:
    """Return the fitness (P,) for arithmetic, failures filled.

    Raises:
        ValueError: several objectives, or not `individuals` of them.
    """
    name = f"{type(optimizer).__name__}: fitness"
    if evaluation.fitness.ndim != 1:
        todo = "return one number as fitness, or take an algorithm for several objectives"
        raise ValueError(message(name, "one objective", evaluation.fitness.shape, todo))
    return check_shape(name, evaluation.filled().fitness, (individuals,))


def with_best(state: S, z: np.ndarray, evaluation: Evaluation) -> S:
    """Return the state with its `best_z` (D,) and `best_fitness` () those of the best single evaluation so far.

    Failures don't count; of several objectives the first does. With noisy fitness the best is partly luck.
    """
    scores = np.where(evaluation.failed, -np.inf, evaluation.score)
    best = int(np.argmax(scores))
    if scores[best] > state.best_fitness:  # pyright: ignore[reportAttributeAccessIssue]
        return state._replace(best_z=z[best].copy(), best_fitness=np.array(scores[best]))
    return state
