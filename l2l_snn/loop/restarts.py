"""Populations that start again or change their size, whatever the optimizer: a job's `restart` and `resize`.

Restarts with a growing population: Auger & Hansen (2005), A restart CMA evolution strategy with increasing population
size (IPOP-CMA-ES).

Legend: P individuals, D search coordinates.
"""

from collections import namedtuple
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.space import Space
from l2l_snn.validate import check_count, check_range, message


class Course(NamedTuple):
    """What is kept beside the optimizer's own state."""

    course_space: np.ndarray  # () the space as JSON text
    course_seed: np.ndarray  # () int64, the run's
    course_population: np.ndarray  # () int64, P now; 0 while it's the optimizer's own
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


def nearest(optimizer: Optimizer, individuals: int, size: int, limit: int) -> Optimizer:
    """Return the optimizer with so many individuals in a space of D = `size`, or with the nearest number it takes.

    That is a larger one, if there is one up to `limit` and not far away, else a smaller one.
    """
    most = min(limit, max(individuals + 64, optimizer.individuals(size)))
    for number in chain(range(individuals, most + 1), range(individuals - 1, 0, -1)):
        with suppress(ValueError):  # it refuses this number: too few, or odd
            return optimizer.sized(number, size)
    return optimizer


@dataclass(frozen=True)
class Repopulated(Optimizer[Any]):
    """An optimizer that starts again when it stagnates, and whose population changes on the way."""

    optimizer: Optimizer
    stagnation: int | None = None  # generations without a better individual after which it starts again; None: never
    growth: float = 1.0  # of the population at each restart; 2 is IPOP's
    times: int = 9  # restarts at most
    factor: float = 1.0  # by which the population changes, always from the optimizer's own number on ...
    every: int = 1  # ... once in so many generations since the last restart
    limit: int = 100_000  # P that it never passes; it never falls below 4 either, unless it began there

    def __post_init__(self) -> None:
        if self.stagnation is not None:
            check_count("restart.stagnation", self.stagnation)
        check_count("restart.times", self.times)
        check_range("restart.population", self.growth, 0.1, 10.0)
        check_range("resize.factor", self.factor, 0.1, 10.0)
        check_count("resize.every", self.every)
        check_count("resize.limit", self.limit)
        for key, change in (("restart.population", self.growth), ("resize.factor", self.factor)):
            if change != 1:
                try:
                    self.optimizer.individuals(2)  # of whatever space
                except TypeError as error:
                    got = f"{change:g} with {type(self.optimizer).__name__}, which has no population"
                    raise ValueError(message(key, "1", got)) from error

    @property
    def needs_grad(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.optimizer.needs_grad

    def init(self, space: Space, seed: int) -> Any:
        inner = self.optimizer.init(space, seed)
        course = Course(
            course_space=np.array(space.to_json()),
            course_seed=np.array(seed),
            course_population=np.array(0),
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
        population = int(course.course_population)
        optimizer = self.optimizer.sized(population, len(course.best_z)) if population else self.optimizer
        return optimizer, type(state).inner(*state[: -len(Course._fields)]), course

    def _scale(self, course: Course) -> float:
        """Return by what the population has been multiplied, infinity where that is more than a number can say."""
        with np.errstate(over="ignore"):
            resized = np.float64(self.factor) ** (int(course.course_told) // self.every)
            return float(resized * self.growth ** min(int(course.course_restarts), 300))  # a finite number, not 0

    def _sized(self, course: Course) -> tuple[Optimizer, np.ndarray]:
        """Return the optimizer with the population that it shall have now, and that as `course_population`."""
        scale, size = self._scale(course), len(course.best_z)
        if scale == 1:
            return self.optimizer, np.array(0)
        began = self.optimizer.individuals(size)
        wanted = round(float(np.clip(began * scale, min(began, 4), self.limit)))
        optimizer = nearest(self.optimizer, wanted, size, self.limit)
        return optimizer, np.array(optimizer.individuals(size))

    def ask(self, state: Any) -> tuple[np.ndarray, Any]:
        optimizer, inner, course = self._parts(state)
        z, inner = optimizer.ask(inner)
        return z, type(state)(*inner, *course)

    def tell(self, state: Any, z: np.ndarray, evaluation: Evaluation) -> Any:
        optimizer, inner, before = self._parts(state)
        inner = optimizer.tell(inner, z, evaluation)
        scores = evaluation.score[~evaluation.failed]
        best = max(scores.max(initial=-np.inf), float(before.course_best))
        waited = 0 if best > before.course_best else int(before.course_waited) + 1
        course = with_best(before, z, evaluation)._replace(
            course_told=np.array(before.course_told + 1), course_waited=np.array(waited), course_best=np.array(best)
        )
        again = self.stagnation is not None and waited >= self.stagnation and before.course_restarts < self.times
        if again:
            course = course._replace(
                course_restarts=np.array(before.course_restarts + 1),
                course_told=np.array(0),
                course_waited=np.array(0),
                course_best=np.array(-np.inf),
            )
        if self._scale(course) != self._scale(before):
            optimizer, population = self._sized(course)
            course = course._replace(course_population=population)
            if population != before.course_population and not again:
                inner = optimizer.resized(inner)
        if again:
            # 4: the streams of optimizers and evaluations have 0 to 3
            key = (4, int(course.course_restarts))
            words = np.random.SeedSequence(int(course.course_seed), spawn_key=key).generate_state(1)
            inner = optimizer.init(Space.from_json(str(course.course_space)), int(words[0]))
        return type(state)(*inner, *course)

    def recommend(self, state: Any) -> np.ndarray:
        """Return what the optimizer recommends, or the best single evaluation so far once it has started again."""
        optimizer, inner, course = self._parts(state)
        return course.best_z if course.course_restarts else optimizer.recommend(inner)
