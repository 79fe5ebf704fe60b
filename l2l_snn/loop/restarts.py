"""Populations that start again or change their size, whatever the optimizer: a job's `restart` and `resize`.

Restarts with a growing population: Auger & Hansen (2005), A restart CMA evolution strategy with increasing population
size (IPOP-CMA-ES).

Legend: P individuals, D search coordinates.
"""

from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np

from l2l_snn.evaluation import Acting, Evaluation
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.space import Space
from l2l_snn.validate import Count, Within, message


class RestartState(NamedTuple):
    """What is known between generations of an optimizer that starts again or changes its population."""

    inner: Any  # the optimizer's own state
    seed: np.ndarray  # () int64, the run's
    population: np.ndarray  # () int64, P now; 0 while it's the optimizer's own
    restarts: np.ndarray  # () int64, restarts so far
    told: np.ndarray  # () int64, generations since the last
    waited: np.ndarray  # () int64, generations without a better individual since then
    best: np.ndarray  # () best fitness since then, -inf at first
    best_z: np.ndarray  # (D,) z of the best single evaluation of all
    best_fitness: np.ndarray  # () its fitness


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
class Restarting(Optimizer[RestartState]):
    """An optimizer that starts again when it stagnates, and whose population changes on the way."""

    several_objectives: ClassVar[bool] = True  # the optimizer itself refuses what it can't take
    optimizer: Optimizer[Any]
    stagnation: Count | None = None  # generations without a better individual after which it starts again; None: never
    growth: Annotated[float, Within(0.1, 10.0)] = 1.0  # of the population at each restart; 2 is IPOP's
    times: Count = 9  # restarts at most
    # by which the population changes, always from the optimizer's own number on ...
    factor: Annotated[float, Within(0.1, 10.0)] = 1.0
    every: Count = 1  # ... once in so many generations since the last restart
    limit: Count = 100_000  # P that it never passes; it never falls below 4 either, unless it began there

    def cross_check(self) -> None:
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

    @property
    def needs_experience(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.optimizer.needs_experience

    def check_acting(self, acting: Acting) -> None:
        self.optimizer.check_acting(acting)

    def init(self, space: Space, seed: int) -> RestartState:
        inner = self.optimizer.init(space, seed)
        none, never = np.array(0), np.array(-np.inf)
        best_z = self.optimizer.recommend(space, inner)
        return RestartState(inner, np.array(seed), none, none, none, none, never, best_z, never)

    def started(self, space: Space, state: RestartState, z: np.ndarray) -> RestartState:
        """Return the first state of the optimizer begun from z; later restarts begin at random."""
        inner = self.optimizer.started(space, state.inner, z)
        return state._replace(inner=inner, best_z=self.optimizer.recommend(space, inner))

    def ask(self, space: Space, state: RestartState) -> tuple[np.ndarray, RestartState]:
        z, inner = self._current_optimizer(space, state).ask(space, state.inner)
        return z, state._replace(inner=inner)

    def learn(
        self, space: Space, state: RestartState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> RestartState:
        before, optimizer = state, self._current_optimizer(space, state)
        inner = optimizer.tell(space, state.inner, z, evaluation)
        scores = evaluation.score[~evaluation.failed]
        best = max(scores.max(initial=-np.inf), float(before.best))
        waited = 0 if best > before.best else int(before.waited) + 1
        state = with_best(state, z, evaluation)._replace(
            told=np.array(before.told + 1), waited=np.array(waited), best=np.array(best)
        )
        again = self.stagnation is not None and waited >= self.stagnation and before.restarts < self.times
        if again:
            none, never = np.array(0), np.array(-np.inf)
            state = state._replace(restarts=np.array(before.restarts + 1), told=none, waited=none, best=never)
        if self._compute_factor(state) != self._compute_factor(before):
            optimizer, population = self._resized_optimizer(space, state)
            state = state._replace(population=population)
            if population != before.population and not again:
                inner = optimizer.resized(space, inner)
        if again:
            # 4: the streams of optimizers and evaluations have 0 to 3
            key = (4, int(state.restarts))
            words = np.random.SeedSequence(int(state.seed), spawn_key=key).generate_state(1)
            inner = optimizer.init(space, int(words[0]))
        return state._replace(inner=inner)

    def recommend(self, space: Space, state: RestartState) -> np.ndarray:
        """Return what the optimizer recommends, or the best single evaluation so far once it has started again."""
        if state.restarts:
            return state.best_z
        return self._current_optimizer(space, state).recommend(space, state.inner)

    def _current_optimizer(self, space: Space, state: RestartState) -> Optimizer[Any]:
        """Return the optimizer with the population that it has now."""
        return self.optimizer.sized(int(state.population), space.size) if state.population else self.optimizer

    def _compute_factor(self, state: RestartState) -> float:
        """Return by what the population has been multiplied, infinity where that is more than a number can say."""
        with np.errstate(over="ignore"):
            resized = np.float64(self.factor) ** (int(state.told) // self.every)
            return float(resized * self.growth ** min(int(state.restarts), 300))  # a finite number, not 0

    def _resized_optimizer(self, space: Space, state: RestartState) -> tuple[Optimizer[Any], np.ndarray]:
        """Return the optimizer with the population that it shall have now, and that as `population`."""
        scale = self._compute_factor(state)
        if scale == 1:
            return self.optimizer, np.array(0)
        began = self.optimizer.individuals(space.size)
        wanted = round(float(np.clip(began * scale, min(began, 4), self.limit)))
        optimizer = nearest(self.optimizer, wanted, space.size, self.limit)
        return optimizer, np.array(optimizer.individuals(space.size))
