"""Workers that do what a test says: when they are lost, in which order they come back, how long they take."""

import heapq
from collections.abc import Callable
from typing import Any

from l2l_snn.optimizee import Optimizee
from l2l_snn.workers.base import Workers
from l2l_snn.workers.chunks import Chunk, Outcome
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import InProcess


class Staged(Workers):
    """Workers in this process, each with a chunk that is evaluated when it comes back.

    Args:
        optimizee: what they hold.
        slots: how many there are.
        on_start: called with each chunk that is started, and its seeds.
        pick: returns which of the (chunk, seeds) under way, in the order of their start, comes back next.
        change: returns what became of a chunk, given that and the outcome.
    """

    def __init__(
        self,
        optimizee: Optimizee,
        slots: int = 1,
        *,
        on_start: Callable[[Chunk, Any], object] = lambda chunk, seeds: None,
        pick: Callable[[list[tuple[Chunk, Any]]], int] = lambda under_way: 0,
        change: Callable[[Chunk, Outcome], Outcome] = lambda chunk, outcome: outcome,
    ):
        self._inner = InProcess(optimizee)
        self._slots, self._on_start, self._pick, self._change = slots, on_start, pick, change
        self._under_way: list[tuple] = []  # what `start` was given

    def open(self) -> None:
        """Nothing to get."""

    def hold(self, optimizee) -> None:
        self._inner.hold(optimizee)

    @property
    def slots(self) -> int:
        return self._slots

    def idle(self) -> bool:
        return len(self._under_way) < self._slots

    def start(self, chunk, z, seeds, with_grad) -> None:
        self._on_start(chunk, seeds)
        self._under_way.append((chunk, z, seeds, with_grad))

    def wait(self) -> tuple[Chunk, Outcome] | None:
        index = self._pick([(chunk, seeds) for chunk, _, seeds, _ in self._under_way])
        self._inner.start(*self._under_way.pop(index))
        finished = self._inner.wait()
        assert finished
        chunk, outcome = finished
        return chunk, self._change(chunk, outcome)

    def abandon(self) -> None:
        self._under_way.clear()

    def status(self):
        self._inner.generation = self.generation
        return self._inner.status()

    def close(self) -> None:
        """Nothing to give back."""


class Clock:
    """Four workers of a run on a clock of their own.

    Args:
        seconds: returns how long a chunk takes, given the chunk and its seeds.
    """

    def __init__(self, seconds: Callable[[Chunk, Any], float]):
        self._seconds = seconds
        self._ends: list[tuple[float, int]] = []  # heap of (s, first individual)
        self.now = 0.0  # s
        self.worked = 0.0  # s, all workers together

    def evaluator(self, optimizee: Optimizee, chunk: int = 1) -> Evaluator:
        return Evaluator(optimizee, Staged(optimizee, 4, on_start=self._begin, pick=self._next), chunk)

    def _begin(self, chunk: Chunk, seeds: Any) -> None:
        seconds = self._seconds(chunk, seeds)
        self.worked += seconds
        heapq.heappush(self._ends, (self.now + seconds, chunk.start))

    def _next(self, under_way: list[tuple[Chunk, Any]]) -> int:
        self.now, first = heapq.heappop(self._ends)
        return next(i for i, (chunk, _) in enumerate(under_way) if chunk.start == first)
