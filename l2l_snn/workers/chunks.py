"""Chunks of a generation: what a worker gets, how it evaluates that, and what comes back.

Legend: P individuals, D search coordinates.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation, Wanted, WorkerStatus, describe_error, failure
from l2l_snn.optimizee import BatchOptimizee, children_end_here, validated

# a process has one NEST kernel, and environments that are kept: its threads evaluate in turn
_TURN = threading.RLock()


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


class Done(NamedTuple):
    """A chunk was evaluated."""

    evaluation: Evaluation
    seconds: float  # s that all of it took
    worker: str  # host:pid


Outcome = Done | Lost


def size_alone(optimizee: BatchOptimizee, size: int) -> int:
    """Return how many individuals are evaluated for one of a chunk of `size` to be evaluated alone."""
    return size if optimizee.side_by_side else 1


def evaluate_alone(
    optimizee: BatchOptimizee,
    z: np.ndarray,
    seeds: np.ndarray,
    row: int,
    *,
    wanted: Wanted = "fitness",
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
        wanted: besides the fitness.
        with_artifacts: also the artifacts, unless experience is wanted.

    Returns:
        The evaluation of that individual, P = 1; a failure with its text if it raised.
    """
    n = size_alone(optimizee, len(z))
    row_in = row if n > 1 else 0
    z, seeds = np.repeat(z[row : row + 1], n, axis=0), np.repeat(seeds[row : row + 1], n)
    try:
        with children_end_here():
            return _evaluate(optimizee, z, seeds, wanted, with_artifacts).take(slice(row_in, row_in + 1))
    except Exception as error:  # whatever a user's model raises is a row, not the end of the run
        return failure(1, optimizee.objectives, describe_error(error))


def evaluate_chunk(optimizee: BatchOptimizee, z: np.ndarray, seeds: np.ndarray, wanted: Wanted) -> Evaluation:
    """Evaluate a chunk; if the batch as a whole raises, evaluate each individual alone."""
    try:
        with children_end_here():
            return _evaluate(optimizee, z, seeds, wanted)
    except Exception:
        rows = [evaluate_alone(optimizee, z, seeds, i, wanted=wanted) for i in range(len(z))]
        return Evaluation.join(rows)


def _evaluate(
    optimizee: BatchOptimizee, z: np.ndarray, seeds: np.ndarray, wanted: Wanted, with_artifacts: bool = False
) -> Evaluation:
    """Return what the optimizee's own method gives, in canonical form."""
    with _TURN:
        if wanted == "experience":
            return validated(optimizee, optimizee.gather(z, seeds), len(z), False, True)
        with_grad = wanted == "grad"
        batch = optimizee.evaluate_batch(z, seeds, with_grad=with_grad, with_artifacts=with_artifacts)
        return validated(optimizee, batch, len(z), with_grad)


def here() -> str:
    """Return this process as host:pid."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_chunk(optimizee: BatchOptimizee, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, wanted: Wanted) -> Done:
    """Evaluate one chunk in this process."""
    began = time.perf_counter()
    if chunk.alone is None:
        evaluation = evaluate_chunk(optimizee, z, seeds, wanted)
    else:
        evaluation = evaluate_alone(optimizee, z, seeds, chunk.alone - chunk.start, wanted=wanted)
    return Done(evaluation, time.perf_counter() - began, here())


def worker_status(worker: str, generation: int, chunk: Chunk | None, since: float) -> WorkerStatus:
    """Return what a worker does, given its chunk."""
    if chunk is None:
        return WorkerStatus(worker, generation, -1, -1, since)
    first, last = (chunk.start, chunk.stop - 1) if chunk.alone is None else (chunk.alone, chunk.alone)
    return WorkerStatus(worker, generation, first, last, since)
