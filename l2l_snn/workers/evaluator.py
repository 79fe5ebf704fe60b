"""The evaluator: spreads a generation over workers and brings the results back, whatever happens to a worker.

    with Inline(optimizee, chunk=4) as evaluator:                       # in_process.py, the reference
        evaluator.evaluate(z, seeds)
    with RayPool(optimizee, chunk=4, timeout=60.0) as evaluator:        # ray_pool.py, the same bytes
        evaluator.evaluate(z, seeds)

Legend: P individuals, D search coordinates, K individuals of a chunk.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self, final

import numpy as np

from l2l_snn.evaluation import Wanted, WorkerStatus
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.validate import check_count
from l2l_snn.workers.backlog import Backlog
from l2l_snn.workers.base import Workers
from l2l_snn.workers.chunks import Evaluated

Watch = Callable[[tuple[WorkerStatus, ...]], None]
LOOK = 1.0  # s between two calls of `watch`


@final
class Evaluator:
    """Evaluates generations, or chunk by chunk; a context manager that gives its workers back at the end.

    Args:
        optimizee: what is evaluated, as the workers hold it.
        workers: who evaluates.
        chunk: individuals that a worker takes at once.
        max_tries: how often a chunk may lose its worker.
    """

    def __init__(self, optimizee: BatchOptimizee, workers: Workers, chunk: int = 1, max_tries: int = 3):
        self.optimizee = optimizee
        self.workers = workers
        self.chunk = check_count("chunk", chunk)
        self._backlog = Backlog(optimizee.objectives, max_tries)
        self._watched_at = -np.inf  # s, time.monotonic() when `watch` was called last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hold(self, optimizee: BatchOptimizee) -> None:
        """Evaluate with another optimizee from now on, of the same space and objectives; nothing is under way.

        An equal one changes nothing.
        """
        if optimizee != self.optimizee:
            self.optimizee = optimizee
            self.workers.hold(optimizee)

    def close(self) -> None:
        """Give the workers back."""
        self.workers.close()

    def evaluate(
        self,
        z: np.ndarray,
        seeds: np.ndarray,
        *,
        generation: int = 0,
        watch: Watch | None = None,
        with_grad: bool = False,
        with_experience: bool = False,
        expected: np.ndarray | None = None,
    ) -> Evaluated:
        """Evaluate a generation.

        Args:
            z: (P, D) search coordinates.
            seeds: (P,) int64, one an individual.
            generation: its number, for `watch`.
            watch: called about once a second with what each worker does; what it raises ends the evaluation.
            with_grad: also the gradient.
            with_experience: instead of it, what the individuals met and did.
            expected: (P,) s that each is expected to take: the chunks that take longest are begun first, which
                shortens the wait for the last worker (Graham 1969) and changes no result.

        Returns:
            The evaluation in the order of z: the same bytes on any number of workers.

        Raises:
            EvaluatorError: no worker can be had.
        """
        wanted: Wanted = "experience" if with_experience else "grad" if with_grad else "fitness"
        starts = list(range(0, len(z), self.chunk))
        if expected is not None:
            starts.sort(key=lambda i: -float(expected[i : i + self.chunk].sum()))
        with self._forget_on_error():
            for i in starts:
                self._backlog.add(i, z[i : i + self.chunk], seeds[i : i + self.chunk], wanted)
            done = dict(self.collect(generation=generation, watch=watch) for _ in starts)
        return Evaluated.join([done[first] for first in sorted(done)])

    # chunk by chunk, for loops without generations

    @property
    def slots(self) -> int:
        """How many chunks should be submitted at once to keep all workers busy.

        Raises:
            EvaluatorError: no worker can be had.
        """
        self.workers.open()
        return self.workers.slots

    @property
    def under_way(self) -> int:
        """How many chunks were submitted and not collected."""
        return len(self._backlog)

    def submit(self, number: int, z: np.ndarray, seeds: np.ndarray) -> None:
        """Hand in a chunk; `slots` of them keep all workers busy.

        Args:
            number: tells the chunk from others under way.
            z: (K, D) search coordinates.
            seeds: (K,) their seeds.
        """
        self._backlog.add(number, z, seeds, "fitness")

    def collect(self, *, generation: int = 0, watch: Watch | None = None) -> tuple[int, Evaluated]:
        """Wait for any chunk that was submitted; return its number and its evaluation.

        Args:
            generation: its number, for `watch`.
            watch: as of `evaluate`; whatever is raised here, all that is under way is given up.

        Raises:
            EvaluatorError: no worker can be had.
            RuntimeError: nothing was submitted.
        """
        if not self._backlog:
            raise RuntimeError("collect: expected a chunk under way, got none; submit one first")
        with self._forget_on_error():
            self.workers.open()
            self.workers.generation = generation
            while True:
                while self._backlog.queue and self.workers.idle():
                    self.workers.start(*self._backlog.take())
                self._look(watch)
                finished = self.workers.wait()
                whole = self._backlog.settle(*finished) if finished else None
                if whole is not None:
                    return whole

    @property
    def ready(self) -> bool:
        """Whether a worker can begin at once."""
        return self.workers.idle()

    def open(self, watch: Watch | None = None) -> None:
        """Get the workers, and wait until one of them can begin; `evaluate` does it where it wasn't done.

        Args:
            watch: as of `evaluate`.

        Raises:
            EvaluatorError: no worker can be had.
        """
        self.workers.open()
        while not self.workers.idle():
            self._look(watch)
            self.workers.wait()

    def _look(self, watch: Watch | None) -> None:
        """Call `watch` about once a second."""
        if watch is not None and time.monotonic() - self._watched_at >= LOOK:
            self._watched_at = time.monotonic()
            watch(self.workers.status())

    def forget(self) -> None:
        """Give up what was submitted and not collected."""
        if self._backlog:
            self._backlog.clear()
            self.workers.abandon()

    @contextmanager
    def _forget_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.forget()
            raise
