"""The outer loop without generations: as soon as one chunk is told, the next is asked for, and no worker waits.

A stored "generation" is then a number of individuals, P or a few more, in the order in which they were told. Two
metrics record that order: `ask`, the number of an individual's ask, and `asks`, how many asks had been made when it was
told. With them the run can be retraced from the store: the same order of asks and tells gives the same z.

When a run goes on after a kill, what was under way is evaluated again, and asked for no second time.

Legend: P individuals of a stored generation, D search coordinates, U individuals under way.
"""

import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.loop.job import Job
from l2l_snn.optimizer import Optimizer
from l2l_snn.seeding import evaluation_seeds
from l2l_snn.space import Space
from l2l_snn.storage.records import Generation
from l2l_snn.workers.chunks import Evaluated
from l2l_snn.workers.evaluator import Evaluator, Watch

SIZE = 32  # individuals of a stored generation where the optimizer has no population


class AsynchronousState(NamedTuple):
    """What an asynchronous run knows between its stored generations."""

    optimizer: Any  # the optimizer's own state
    asked: np.ndarray  # () int64, individuals asked for so far
    under_way: np.ndarray  # (U,) int64, numbers of those that were not told yet
    under_way_z: np.ndarray  # (U, D)


def stored_size(optimizer: Optimizer) -> int:
    """Return P, how many individuals make a stored generation."""
    return getattr(optimizer, "population", None) or SIZE


def seed_of(job: Job, number: int, population: int) -> int:
    """Return the seed of the individual of an ask: that of the same place in a run with generations."""
    generation, index = divmod(number, population)
    return int(evaluation_seeds(job.seed, generation, population, job.seeds)[index])


class Asynchronous:
    """The stored generations of a run without generations, one after the other.

    Args:
        job: the run's job.
        optimizer: built from it.
        evaluator: holds the optimizee.
        state: `first_state`, or what was stored after the last generation.
        watch: called while evaluations are waited for; a worker is shown with the numbers of its asks.
    """

    def __init__(self, job: Job, optimizer: Optimizer, evaluator: Evaluator, state: AsynchronousState, watch: Watch):
        self._job, self._optimizer, self._evaluator, self._watch = job, optimizer, evaluator, watch
        self._population = stored_size(optimizer)
        self._space = evaluator.optimizee.space
        self._state = state.optimizer
        self._asked = int(state.asked)
        # number -> z, not yet told
        self._pending: dict[int, np.ndarray] = dict(zip(state.under_way.tolist(), state.under_way_z, strict=True))
        self._waiting = list(self._pending)  # numbers to be handed to a worker
        self._chunks: dict[int, list[int]] = {}  # first number -> the numbers of a chunk that a worker has

    @staticmethod
    def first_state(state: Any, space: Space) -> AsynchronousState:
        """Return the state before anything was asked, of the optimizer's first one."""
        return AsynchronousState(state, np.array(0), np.zeros(0, np.int64), np.zeros((0, space.size)))

    @property
    def state(self) -> AsynchronousState:
        """The optimizer's state and what is under way, as the store keeps it."""
        numbers = np.array(list(self._pending), np.int64)
        z = np.array(list(self._pending.values())).reshape(len(numbers), self._space.size)
        return AsynchronousState(self._state, np.array(self._asked), numbers, z)

    def next(self, number: int) -> Generation:
        """Return the next P individuals in the order in which they were told.

        Raises:
            EvaluatorError: there are no workers.
        """
        began = time.perf_counter()
        z, seeds, parts = [], [], []
        while len(z) < self._population:
            self._keep_workers_busy()
            first, evaluated = self._evaluator.collect(generation=number, watch=self._watch)
            evaluation = evaluated.evaluation
            asks = self._chunks.pop(first)
            rows = [self._pending.pop(ask) for ask in asks]
            self._state = self._optimizer.tell(self._space, self._state, np.stack(rows), evaluation)
            order = {"ask": np.array(asks, float), "asks": np.full(len(asks), float(self._asked))}
            told = Evaluation(evaluation.fitness, evaluation.metrics | order, errors=evaluation.errors)
            parts.append(replace(evaluated, evaluation=told))
            z += rows
            seeds += [seed_of(self._job, ask, self._population) for ask in asks]
        whole = Evaluated.join(parts)
        elapsed = time.perf_counter() - began
        return Generation(number, np.stack(z), np.array(seeds), whole.evaluation, whole.seconds, whole.workers, elapsed)

    def _keep_workers_busy(self) -> None:
        """Give every worker something: first what was under way before, then what is asked for now."""
        chunk = self._job.chunk
        while self._evaluator.under_way < self._evaluator.slots:
            while len(self._waiting) < chunk:
                z, self._state = self._optimizer.ask(self._space, self._state)
                for row in z:
                    self._pending[self._asked] = row
                    self._waiting.append(self._asked)
                    self._asked += 1
            asks, self._waiting = self._waiting[:chunk], self._waiting[chunk:]
            seeds = np.array([seed_of(self._job, ask, self._population) for ask in asks])
            self._chunks[asks[0]] = asks
            self._evaluator.submit(asks[0], np.stack([self._pending[ask] for ask in asks]), seeds)
