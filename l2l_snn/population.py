"""Populations that start again or change their size, whatever the optimizer: a job's `restart` and `resize`.

Restarts with a growing population: Auger & Hansen (2005), A restart CMA evolution strategy with increasing population
size (IPOP-CMA-ES).

Legend: P individuals, D search coordinates.
"""

from collections import namedtuple
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from l2l_snn.optimizee import Evaluation
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.space import Space
from l2l_snn.validate import check_count, check_range, message


class Course(NamedTuple):
    """What is kept beside the optimizer's own state."""

    course_space: np.ndarray  # () the space as JSON text
    course_seed: np.ndarray  # () int64, the run's
    course_population: np.ndarray  # () int64, P that the optimizer began with
    course_restarts: np.ndarray  # () int64, restarts so far
    course_told: np.ndarray  # () int64, generations since the last
    course_waited: np.ndarray  # () int64, generations without a better individual since then
    course_best: np.ndarray  # () best fitness since then, -inf at first
    best_z: np.ndarray  # (D,) z of the best single evaluation of all
    best_fitness: np.ndarray  # () its fitness


@lru_cache
def joined(inner: type, beside: type) -> Any:
    """Return the NamedTuple class with the fields of an optimizer's state, marked as its own, and others beside."""
    fields = [*(f"inner_{name}" for name in inner._fields), *beside._fields]  # pyright: ignore
    found = namedtuple(f"{inner.__name__}And{beside.__name__}", fields)  # pyright: ignore
    found.inner = inner  # pyright: ignore
    return found


@dataclass(frozen=True)
class Repopulated(Optimizer[Any]):
    """An optimizer that starts again when it stagnates, and whose population changes on the way."""

    optimizer: Optimizer
    stagnation: int | None = None  # generations without a better individual after which it starts again; None: never
    growth: float = 1.0  # of the population at each restart; 2 is IPOP's
    times: int = 9  # restarts at most
    factor: float = 1.0  # by which the population changes, always from the optimizer's own number on ...
    every: int = 1  # ... once in so many generations since the last restart
    limit: int = 100_000  # individuals that it never passes; it never falls below 4 either, unless it began there

    def __post_init__(self) -> None:
        if self.stagnation is not None:
            check_count("restart.stagnation", self.stagnation)
        check_count("restart.times", self.times)
        check_range("restart.population", self.growth, 0.1, 10.0)
        check_range("resize.factor", self.factor, 0.1, 10.0)
        check_count("resize.every", self.every)
        check_count("resize.limit", self.limit)
        name = type(self.optimizer).__name__
        if not hasattr(self.optimizer, "population") and (self.growth != 1 or self.factor != 1):
            raise ValueError(
                message("restart.population", "1.0", f"{self.growth:g} with {name}, which has no population")
            )
        if self.factor != 1 and not self.optimizer.resizable:
            got = f"{name}, whose state is made for one size"
            raise ValueError(message("resize", "an optimizer whose population can change", got, "leave resize out"))

    @property
    def needs_grad(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.optimizer.needs_grad

    def init(self, space: Space, seed: int) -> Any:
        inner = self.optimizer.init(space, seed)
        asked, _ = self.optimizer.ask(inner)
        course = Course(
            course_space=np.array(space.to_json()),
            course_seed=np.array(seed),
            course_population=np.array(len(asked)),
            course_restarts=np.array(0),
            course_told=np.array(0),
            course_waited=np.array(0),
            course_best=np.array(-np.inf),
            best_z=self.optimizer.recommend(inner),
            best_fitness=np.array(-np.inf),
        )
        return joined(type(inner), Course)(*inner, *course)

    def _parts(self, state: Any) -> tuple[Optimizer, Any, Course]:
        """Return the optimizer with the population that it has now, its state, and the rest."""
        course = Course(*state[-len(Course._fields) :])
        return self._sized(course), type(state).inner(*state[: -len(Course._fields)]), course

    def _sized(self, course: Course) -> Optimizer:
        if self.growth == 1 and self.factor == 1:
            return self.optimizer
        began = int(course.course_population)
        scale = self.growth ** int(course.course_restarts) * self.factor ** (int(course.course_told) // self.every)
        even = 2 * round(began * scale / 2)  # optimizers that sample in pairs take no other
        size = began if scale == 1 else min(max(even, min(began, 4)), self.limit)
        for enough in range(size, max(began, size) + 1):
            with suppress(ValueError):  # too few for this optimizer: take the next number that isn't
                return replace(self.optimizer, population=enough)  # pyright: ignore
        raise ValueError(message("resize", f"a population that {type(self.optimizer).__name__} takes", size))

    def ask(self, state: Any) -> tuple[np.ndarray, Any]:
        optimizer, inner, course = self._parts(state)
        z, inner = optimizer.ask(inner)
        return z, type(state)(*inner, *course)

    def tell(self, state: Any, z: np.ndarray, evaluation: Evaluation) -> Any:
        optimizer, inner, course = self._parts(state)
        inner = optimizer.tell(inner, z, evaluation)
        scores = evaluation.score[~evaluation.failed]
        best = max(scores.max(initial=-np.inf), float(course.course_best))
        waited = 0 if best > course.course_best else int(course.course_waited) + 1
        course = with_best(course, z, evaluation)._replace(
            course_told=np.array(course.course_told + 1), course_waited=np.array(waited), course_best=np.array(best)
        )
        if self.stagnation is not None and waited >= self.stagnation and course.course_restarts < self.times:
            restarts = int(course.course_restarts) + 1
            course = course._replace(
                course_restarts=np.array(restarts),
                course_told=np.array(0),
                course_waited=np.array(0),
                course_best=np.array(-np.inf),
            )
            # 4: the streams of optimizers and evaluations have 0 to 3
            words = np.random.SeedSequence(int(course.course_seed), spawn_key=(4, restarts)).generate_state(1)
            inner = self._sized(course).init(Space.from_json(str(course.course_space)), int(words[0]))
        return type(state)(*inner, *course)

    def recommend(self, state: Any) -> np.ndarray:
        """Return what the optimizer recommends, or the best single evaluation so far once it has started again."""
        optimizer, inner, course = self._parts(state)
        return course.best_z if course.course_restarts else optimizer.recommend(inner)
