"""Chunks of a generation: how a worker evaluates one, and what is done about one that lost its worker.

A chunk whose worker is lost is evaluated again elsewhere; one that is lost `max_tries` times, or takes longer than it
may, is taken apart, so that only the individual that ends workers or is too slow fails.

Legend: P individuals, D search coordinates, K individuals of a chunk.
"""

import os
import socket
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from l2l_snn.evaluation import Evaluation, WorkerStatus, failure
from l2l_snn.optimizee import BatchOptimizee, validated
from l2l_snn.validate import check_count


@dataclass(frozen=True)
class Evaluated:
    """One generation's evaluation, and where and how long it ran."""

    evaluation: Evaluation
    seconds: np.ndarray  # (P,) s, a chunk's time shared equally by its individuals
    workers: tuple[str, ...]  # (P,) host:pid

    @staticmethod
    def join(parts: Sequence["Evaluated"]) -> "Evaluated":
        """Return one after another as one."""
        return Evaluated(
            Evaluation.join([part.evaluation for part in parts]),
            np.concatenate([part.seconds for part in parts]),
            tuple(worker for part in parts for worker in part.workers),
        )


@dataclass(frozen=True)
class Chunk:
    """Individuals start to stop - 1; with `alone`, only that one of them counts."""

    start: int
    stop: int
    alone: int | None = None
    tries: int = 0

    def isolated(self) -> Iterator["Chunk"]:
        """Yield a chunk for each individual."""
        for i in range(self.start, self.stop):
            yield replace(self, alone=i, tries=0)


@dataclass(frozen=True)
class Lost:
    """A worker ended without giving back its chunk."""

    text: str
    late: bool = False  # it was ended, since it took longer than it may
    seconds: float = 0.0  # s that it took until then


Outcome = tuple[Evaluation, float, str] | Lost  # evaluation, seconds, worker


def size_alone(optimizee: BatchOptimizee, size: int) -> int:
    """Return how many individuals are evaluated for one of a chunk of `size` to be evaluated alone."""
    return size if optimizee.side_by_side else 1


def evaluate_alone(
    optimizee: BatchOptimizee,
    z: np.ndarray,
    seeds: np.ndarray,
    row: int,
    *,
    with_grad: bool = False,
    with_artifacts: bool = False,
) -> Evaluation:
    """Evaluate one individual of a chunk as if its neighbours were not there, to the same bytes as with them.

    A batch compiled for 4 individuals differs in its last bits from one compiled for 1, so the individual is repeated
    to fill a chunk of the same size, and its own row is read.

    Args:
        optimizee: the optimizee.
        z: (P, D) the chunk.
        seeds: (P,) its seeds.
        row: which individual.
        with_grad: also the gradient.
        with_artifacts: also the artifacts.

    Returns:
        The evaluation of that individual, P = 1; a failure with its text if it raised.
    """
    n = size_alone(optimizee, len(z))
    row_in = row if n > 1 else 0
    z, seeds = np.repeat(z[row : row + 1], n, axis=0), np.repeat(seeds[row : row + 1], n)
    try:
        batch = optimizee.evaluate_batch(z, seeds, with_grad=with_grad, with_artifacts=with_artifacts)
        return validated(optimizee, batch, n, with_grad).take(slice(row_in, row_in + 1))
    except Exception as error:  # whatever a user's model raises is a row, not the end of the run
        return failure(1, optimizee.objectives, f"{type(error).__name__}: {error}")


def evaluate_chunk(optimizee: BatchOptimizee, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> Evaluation:
    """Evaluate a chunk; if the batch as a whole raises, evaluate each individual alone."""
    try:
        return validated(optimizee, optimizee.evaluate_batch(z, seeds, with_grad=with_grad), len(z), with_grad)
    except Exception:
        rows = [evaluate_alone(optimizee, z, seeds, i, with_grad=with_grad) for i in range(len(z))]
        return Evaluation.join(rows)


def here() -> str:
    """Return this process as host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_chunk(
    optimizee: BatchOptimizee, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool
) -> tuple[Evaluation, float, str]:
    """Evaluate one chunk in this process; return its evaluation, the seconds it took, and host:pid."""
    began = time.perf_counter()
    if chunk.alone is None:
        evaluation = evaluate_chunk(optimizee, z, seeds, with_grad)
    else:
        evaluation = evaluate_alone(optimizee, z, seeds, chunk.alone - chunk.start, with_grad=with_grad)
    return evaluation, time.perf_counter() - began, here()


@dataclass
class _Submitted:
    """A chunk that was handed in, and what of it is evaluated."""

    stop: int
    z: np.ndarray  # (K, D)
    seeds: np.ndarray  # (K,)
    with_grad: bool
    done: dict[int, Evaluated]  # by first individual


class Backlog:
    """The chunks that were handed in and not collected, and what is done about one that lost its worker."""

    def __init__(self, optimizee: BatchOptimizee, max_tries: int):
        self.objectives = optimizee.objectives
        self.max_tries = check_count("max_tries", max_tries)
        self.queue: deque[Chunk] = deque()  # to be started
        self.submitted: dict[int, _Submitted] = {}  # by first individual

    def __len__(self) -> int:
        return len(self.submitted)

    def add(self, start: int, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> None:
        """Hand in the individuals start to start + K - 1."""
        chunk = Chunk(start, start + len(z))
        self.submitted[start] = _Submitted(chunk.stop, z, seeds, with_grad, {})
        self.queue.append(chunk)

    def clear(self) -> None:
        """Forget everything."""
        self.queue.clear()
        self.submitted.clear()

    def settle(self, chunk: Chunk, outcome: Outcome) -> tuple[int, Evaluated] | None:
        """Take what became of a chunk; return its first individual and its results if with this it is whole."""
        of = self.submitted[chunk.start]
        if isinstance(outcome, Lost):
            again = self._again(chunk, outcome)
            if again:
                self.queue.extendleft(reversed(again))
                return None
            tries = f"given up after {chunk.tries + 1} tries: "
            text = f"Timeout: {outcome.text}" if outcome.late else f"WorkerLost: {tries}{outcome.text}"
            outcome = failure(1, self.objectives, text), outcome.seconds, ""
        evaluation, seconds, worker = outcome
        n = len(evaluation.fitness)
        first = chunk.start if chunk.alone is None else chunk.alone
        of.done[first] = Evaluated(evaluation, np.full(n, seconds / n), (worker,) * n)
        if sum(len(part.workers) for part in of.done.values()) < of.stop - chunk.start:
            return None
        del self.submitted[chunk.start]
        return chunk.start, Evaluated.join([of.done[i] for i in sorted(of.done)])

    def _again(self, chunk: Chunk, lost: Lost) -> list[Chunk]:
        """Return what to evaluate instead of a chunk that lost its worker; nothing for an individual given up."""
        if not lost.late and chunk.tries + 1 < self.max_tries:
            return [replace(chunk, tries=chunk.tries + 1)]
        if chunk.alone is None and chunk.stop - chunk.start > 1:
            return list(chunk.isolated())
        return []


def status(worker: str, generation: int, chunk: Chunk | None, since: float) -> WorkerStatus:
    """Return what a worker does, given its chunk."""
    if chunk is None:
        return WorkerStatus(worker, generation, -1, -1, since)
    first, last = (chunk.start, chunk.stop - 1) if chunk.alone is None else (chunk.alone, chunk.alone)
    return WorkerStatus(worker, generation, first, last, since)
