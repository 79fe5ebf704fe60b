"""The outer loop's algorithm. Users subclass `Optimizer`.

Legend: P individuals, D search coordinates, M objectives.

    state = optimizer.init(space, seed)
    while True:
        z, state = optimizer.ask(space, state)                 # (P, D)
        state = optimizer.tell(space, state, z, evaluate(z))
    optimizer.recommend(space, state)                          # (D,)
"""

from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar, final

import numpy as np

from l2l_snn.evaluation import Acting, Evaluation
from l2l_snn.space import Space
from l2l_snn.validate import check_fields, check_shape, message, refuse_post_init

S = TypeVar("S", bound=NamedTuple)


class Optimizer(ABC, Generic[S]):
    """One algorithm. A subclass is a frozen dataclass of hyper-parameters, nothing else.

    Annotations say what a field may hold, e.g. `sigma: Positive = 1.0`; see `l2l_snn.validate.check_fields`.

    All that changes is in S, a NamedTuple of numpy arrays, or of such NamedTuples, that includes the words of the
    random stream (`seeding.stream`). The store keeps exactly these arrays, so a resumed run goes on as if it had not
    stopped. The methods are pure: they change neither their arguments nor the global random generators.

    Raises:
        TypeError: a subclass defines `tell`.
    """

    needs_grad: ClassVar[bool] = False  # whether it learns from Evaluation.grad
    needs_experience: ClassVar[bool] = False  # whether it learns from Evaluation.experience
    learns: ClassVar[bool] = True  # whether what is asked follows from what was told; if not, it needn't beat chance
    asynchronous: ClassVar[bool] = False  # whether ask may come again before tell, and tell take any of what was asked
    several_objectives: ClassVar[bool] = False  # whether the fitness may be (P, M)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_post_init(cls)
        if "tell" in vars(cls):
            todo = "write learn(self, space, state, z, fitness, evaluation); tell checks the shapes before it"
            raise TypeError(message(f"class {cls.__name__}", "no method tell", "one", todo))

    @final
    def __post_init__(self) -> None:
        check_fields(self)
        self.cross_check()

    def cross_check(self) -> None:
        """Refuse fields that don't fit together, after each was checked by its annotation; the default takes all.

        Raises:
            ValueError: see `validate.message`.
        """

    def check_acting(self, acting: Acting) -> None:
        """Refuse what acts if this optimizer can't learn from it, when a job is built; the default takes all.

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

    def started(self, space: Space, state: S, z: np.ndarray) -> S:
        """Return the first state, begun from known individuals instead of at random; pure.

        A population takes them as its first members, and evaluates them; a distribution is centred on their mean.

        Args:
            space: the search space.
            state: what `init` returned.
            z: (K, D) the individuals, those to be preferred first.

        Raises:
            ValueError: the algorithm takes none, or not so many.
        """
        todo = "take one that has a population or a distribution"
        raise ValueError(message("start", "an optimizer that can begin from known points", type(self).__name__, todo))

    @abstractmethod
    def ask(self, space: Space, state: S) -> tuple[np.ndarray, S]:
        """Return the next generation's z, (P, D), and the state that `tell` takes."""

    @final
    def tell(self, space: Space, state: S, z: np.ndarray, evaluation: Evaluation) -> S:
        """Return the state after learning how the z (P, D) of the last ask did, in the same order.

        Raises:
            ValueError: another number of individuals than `generation_size`, several objectives for an algorithm that
                takes one, or no gradient or no experience for one that needs it.
        """
        name = type(self).__name__
        z = check_shape(f"{name}: z", z, (self.generation_size(space, state), space.size))
        shape = evaluation.fitness.shape
        if len(shape) != 1 and not self.several_objectives:
            todo = "return one number as fitness, or take an algorithm for several objectives"
            raise ValueError(message(f"{name}: fitness", "one objective", shape, todo))
        if 0 in shape[1:]:
            raise ValueError(message(f"{name}: fitness", "one objective or more", "none"))
        check_shape(f"{name}: fitness", evaluation.score, (len(z),))
        if self.needs_grad and not evaluation.failed.all():
            if evaluation.grad is None:
                todo = "take an optimizee with has_grad, or an algorithm that needs only the fitness"
                raise ValueError(message(f"{name}: grad", "the gradient of the fitness", "None", todo))
            check_shape(f"{name}: grad", evaluation.grad, z.shape)
        if self.needs_experience and not evaluation.failed.all() and not evaluation.experience:
            todo = "take an optimizee with has_experience, or an algorithm that needs only the fitness"
            raise ValueError(message(f"{name}: experience", "that of each individual", "none", todo))
        return self.learn(space, state, z, evaluation.filled().fitness, evaluation)

    @abstractmethod
    def learn(self, space: Space, state: S, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation) -> S:
        """Return the state after learning; `tell` has checked all shapes.

        Args:
            space: the search space.
            state: after an ask.
            z: (P, D) what was asked.
            fitness: (P,) for arithmetic: failed individuals have the worst finite one. (P, M) with
                `several_objectives`, if there are several.
            evaluation: as it came, nan where failed: says who failed, and has metrics and gradients.
        """

    @abstractmethod
    def recommend(self, space: Space, state: S) -> np.ndarray:
        """Return the z (D,) to use if we stopped now."""

    # How a population grows and shrinks. An optimizer whose state has one size for every P, and that reads P from its
    # field `population` alone, needn't write these.

    def individuals(self, size: int) -> int:
        """Return the population size for a space with `size` coordinates. A job's `restart` and `resize` scale it.

        Raises:
            TypeError: there is no such number.
        """
        population = getattr(self, "population", None)
        if population is None:
            todo = "give it one, or write its methods individuals, sized and resized"
            raise TypeError(message("resize", "an optimizer with a population", type(self).__name__, todo))
        return population

    def generation_size(self, space: Space, state: S) -> int | None:
        """Return how many individuals `tell` takes: P, if there is such a number; None: any number."""
        if not self.asynchronous:
            with suppress(TypeError):
                return self.individuals(space.size)
        return None

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

    def resized(self, space: Space, state: S) -> S:
        """Return a state that another size of this optimizer has told, as this size goes on with it; pure."""
        return state


def with_members(members: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return a first population (P, D) whose first K members are the known z (K, D).

    Raises:
        ValueError: K > P.
    """
    if len(z) > len(members):
        todo = "give fewer, or enlarge the population"
        raise ValueError(message("start", f"at most {len(members)} individuals, the population", len(z), todo))
    return np.concatenate([z, members[len(z) :]])


def with_best(state: S, z: np.ndarray, evaluation: Evaluation) -> S:
    """Return the state with its `best_z` (D,) and `best_fitness` () those of the best single evaluation so far.

    Failures don't count; of several objectives the first does. With noisy fitness the best is partly luck.
    """
    scores = np.where(evaluation.failed, -np.inf, evaluation.score)
    best = int(np.argmax(scores))
    if scores[best] > state.best_fitness:  # pyright: ignore[reportAttributeAccessIssue]
        return state._replace(best_z=z[best].copy(), best_fitness=np.array(scores[best]))
    return state
