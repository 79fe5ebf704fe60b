"""The outer loop without generations: as soon as one chunk is told, the next is asked for, and no worker waits.

A stored "generation" is then a number of individuals, P or a few more, in the order in which they were told. Two
metrics record that order: `ask`, the number of an individual's ask, and `asks`, how many asks had been made when it was
told. With them the run can be retraced from the store: the same order of asks and tells gives the same z.

When a run goes on after a kill, what was under way is evaluated again, and asked for no second time.

Legend: P individuals of a stored generation, D search coordinates, U individuals under way.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.loop.job import Job
from l2l_snn.optimizer import Optimizer
from l2l_snn.seeding import evaluation_seeds
from l2l_snn.space import Space
from l2l_snn.storage.records import Generation
from l2l_snn.storage.store import Store
from l2l_snn.workers.evaluator import Evaluator, Watch

SIZE = 32  # individuals of a stored generation where the optimizer has no population


class AsynchronousState(NamedTuple):
    """What an asynchronous run knows between its stored generations."""

    optimizer: Any  # the optimizer's own state
    asked: np.ndarray  # () int64, individuals asked for so far
    under_way: np.ndarray  # (U,) int64, numbers of those that were not told yet
    under_way_z: np.ndarray  # (U, D)


def first_state(optimizer: Optimizer, space: Space, seed: int) -> AsynchronousState:
    """Return the state before anything was asked."""
    return AsynchronousState(optimizer.init(space, seed), np.array(0), np.zeros(0, np.int64), np.zeros((0, space.size)))


def size(optimizer: Optimizer) -> int:
    """Return P, how many individuals make a stored generation."""
    return getattr(optimizer, "population", None) or SIZE


def seed_of(job: Job, number: int, population: int) -> int:
    """Return the seed of the individual of an ask: that of the same place in a run with generations."""
    generation, index = divmod(number, population)
    return int(evaluation_seeds(job.seed, generation, population, job.seeds)[index])


class Loop:
    """Generations of an asynchronous run, one after the other."""

    def __init__(self, job: Job, optimizer: Optimizer, evaluator: Evaluator, state: AsynchronousState):
        """Begin with `first_state`, or go on with what `state` returned."""
        self.job = job
        self.optimizer = optimizer
        self.evaluator = evaluator
        self.population = size(optimizer)
        self.space = evaluator.optimizee.space
        self.inner = state.optimizer
        self.asked = int(state.asked)
        # number -> z, not yet told
        self.pending: dict[int, np.ndarray] = dict(zip(state.under_way.tolist(), state.under_way_z, strict=True))
        self.waiting = list(self.pending)  # numbers to be handed to a worker
        self.chunks: dict[int, list[int]] = {}  # first number -> the numbers of a chunk that a worker has

    @property
    def state(self) -> AsynchronousState:
        """The optimizer's state and what is under way, as the store keeps it."""
        numbers = np.array(list(self.pending), np.int64)
        z = np.array(list(self.pending.values())).reshape(len(numbers), self.space.size)
        return AsynchronousState(self.inner, np.array(self.asked), numbers, z)

    def generation(self, number: int, watch: Watch) -> Generation:
        """Return the next P individuals in the order in which they were told, and when it took how long."""
        began = time.perf_counter()
        z, seeds, evaluations, seconds, workers = [], [], [], [], []
        while len(z) < self.population:
            self._keep_busy()
            # a worker is shown with the numbers of its asks
            first, evaluated = self.evaluator.collect(generation=number, watch=watch)
            evaluation = evaluated.evaluation
            numbers = self.chunks.pop(first)
            rows = np.stack([self.pending.pop(number) for number in numbers])
            self.inner = self.optimizer.tell(self.space, self.inner, rows, evaluation)
            order = {"ask": np.array(numbers, float), "asks": np.full(len(numbers), float(self.asked))}
            evaluations.append(Evaluation(evaluation.fitness, evaluation.metrics | order, errors=evaluation.errors))
            z += list(rows)
            seeds += [seed_of(self.job, number, self.population) for number in numbers]
            seconds += list(evaluated.seconds)
            workers += list(evaluated.workers)
        return Generation(
            number,
            np.stack(z),
            np.array(seeds),
            Evaluation.join(evaluations),
            np.array(seconds),
            tuple(workers),
            time.perf_counter() - began,
        )

    def _keep_busy(self) -> None:
        """Give every worker something: first what was under way before, then what is asked for now."""
        while self.evaluator.under_way < self.evaluator.slots:
            while len(self.waiting) < self.job.chunk:
                z, self.inner = self.optimizer.ask(self.space, self.inner)
                for row in z:
                    self.pending[self.asked] = row
                    self.waiting.append(self.asked)
                    self.asked += 1
            numbers, self.waiting = self.waiting[: self.job.chunk], self.waiting[self.job.chunk :]
            seeds = np.array([seed_of(self.job, number, self.population) for number in numbers])
            self.chunks[numbers[0]] = numbers
            self.evaluator.submit(numbers[0], np.stack([self.pending[number] for number in numbers]), seeds)


def retrace(store: Store, name: str, job: Job, optimizer: Optimizer) -> Iterator[Any]:
    """Yield the optimizer's state after each chunk of a stored run, told again in the recorded order.

    Raises:
        ValueError: an ask gives another z than the stored one.
    """
    stored = store.load(name)
    state = optimizer.init(stored.space, job.seed)
    asked: dict[int, np.ndarray] = {}
    count = 0
    for generation in range(stored.generation):
        population = store.individual(name, generation, 0).population
        for start in range(0, population, job.chunk):
            rows = [store.individual(name, generation, index) for index in range(start, start + job.chunk)]
            while count < rows[0].metrics["asks"]:
                z, state = optimizer.ask(stored.space, state)
                for one in z:
                    asked[count] = one
                    count += 1
            for row in rows:
                number = int(row.metrics["ask"])
                if asked.pop(number).tobytes() != row.z.tobytes():
                    todo = "was the code changed?"
                    raise ValueError(f"run {name!r}: ask {number} gives another z than the stored one; {todo}")
            names = [key for key in rows[0].metrics if key not in ("ask", "asks")]
            metrics = {key: np.array([row.metrics[key] for row in rows]) for key in names}
            fitness = np.array([row.fitness for row in rows])
            evaluation = Evaluation(fitness, metrics, errors=tuple(row.error for row in rows))
            state = optimizer.tell(stored.space, state, np.stack([row.z for row in rows]), evaluation)
            yield state
