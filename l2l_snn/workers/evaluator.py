"""Evaluators: spread a generation over workers and bring the results back, whatever happens to a worker.

`Inline`, here, is the reference and runs in this process; `RayPool` of pool.py returns the same bytes.

Legend: P individuals, D search coordinates, K individuals of a chunk.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

import numpy as np

from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.workers.chunks import Backlog, Chunk, Evaluated, Outcome

if TYPE_CHECKING:
    from l2l_snn.evaluation import WorkerStatus

LOOK = 1.0  # s between two calls of `Evaluator.watch`


class EvaluatorError(Exception):
    """The workers can't work at all; the text is one line for the user."""


class Evaluator(ABC):
    """Evaluates generations; a context manager that gives its workers back at the end.

    The loop may set `watch`, which is called about once a second with what each worker does; an exception that it
    raises ends the evaluation.
    """

    optimizee: BatchOptimizee
    chunk: int  # individuals a worker takes at once
    generation: int = 0  # that is being evaluated, for `working`
    watch: Callable[[tuple["WorkerStatus", ...]], None] | None = None
    _backlog: Backlog
    _looked: float = -np.inf  # when `watch` was called last

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many chunks should be handed in at once to keep all workers busy."""

    @abstractmethod
    def _open(self) -> None:
        """Get the workers, unless they are there."""

    @abstractmethod
    def _free(self) -> bool:
        """Return whether a worker waits for a chunk."""

    @abstractmethod
    def _start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> None:
        """Begin to evaluate one chunk; z and seeds are its own."""

    @abstractmethod
    def _wait(self) -> tuple[Chunk, Outcome] | None:
        """Wait about a second for any chunk; return it and what became of it, None to look for free workers again."""

    @abstractmethod
    def _abandon(self) -> None:
        """Forget the chunks under way."""

    @abstractmethod
    def working(self) -> tuple["WorkerStatus", ...]:
        """Return what each worker does now."""

    @abstractmethod
    def close(self) -> None:
        """Give the workers back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def evaluate(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, expected: np.ndarray | None = None
    ) -> Evaluated:
        """Evaluate a generation.

        Args:
            z: (P, D) search coordinates.
            seeds: (P,) int64, one an individual.
            with_grad: also the gradient.
            expected: (P,) s that each is expected to take: the chunks that take longest are begun first, which
                shortens the wait for the last worker (Graham 1969) and changes no result.

        Returns:
            The evaluation in the order of z: the same bytes on any number of workers.

        Raises:
            EvaluatorError: no worker can be had.
        """
        starts = list(range(0, len(z), self.chunk))
        if expected is not None:
            starts.sort(key=lambda i: -float(expected[i : i + self.chunk].sum()))
        done: dict[int, Evaluated] = {}
        try:
            for i in starts:
                self._backlog.add(i, z[i : i + self.chunk], seeds[i : i + self.chunk], with_grad)
            while len(done) < len(starts):
                first, evaluated = self.collect()
                done[first] = evaluated
        except BaseException:
            self.forget()
            raise
        return Evaluated.join([done[first] for first in sorted(done)])

    # chunk by chunk, for loops without generations

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
        self._backlog.add(number, z, seeds, False)

    def collect(self) -> tuple[int, Evaluated]:
        """Wait for any chunk that was submitted; return its number and its evaluation.

        Raises:
            EvaluatorError: no worker can be had.
            RuntimeError: nothing was submitted.
        """
        if not self._backlog:
            raise RuntimeError("collect: expected a chunk under way, got none; submit one first")
        try:
            self._open()
            while True:
                while self._backlog.queue and self._free():
                    chunk = self._backlog.queue.popleft()
                    of = self._backlog.submitted[chunk.start]
                    self._start(chunk, of.z, of.seeds, of.with_grad)
                self._look()
                finished = self._wait()
                whole = self._backlog.settle(*finished) if finished else None
                if whole is not None:
                    return whole
        except BaseException:
            self.forget()
            raise

    def forget(self) -> None:
        """Give up what was submitted and not collected."""
        if self._backlog:
            self._backlog.clear()
            self._abandon()

    def _look(self) -> None:
        """Tell the loop what the workers do, at most once a second."""
        if self.watch is not None and time.monotonic() - self._looked >= LOOK:
            self._looked = time.monotonic()
            self.watch(self.working())
