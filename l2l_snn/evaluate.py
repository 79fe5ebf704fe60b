"""Evaluators: spread a generation over workers and bring the results back, whatever happens to a worker.

`Inline` is the reference and runs in this process; `RayPool` (the only code that uses ray) returns the same bytes.
A generation is cut into chunks of fixed size. A chunk whose worker is lost is evaluated again elsewhere; one that is
lost `max_tries` times is taken apart, so that only the individual that kills workers fails.

Legend: P individuals, D search coordinates.
"""

import logging
import os
import pickle
import socket
import sys
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from l2l_snn.optimizee import Evaluation, Optimizee, failure, validated
from l2l_snn.validate import check_count

# One thread in each worker: BLAS, OpenMP and XLA would otherwise take all cores in every one of them.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "PJRT_NPROC": "1",  # size of JAX's thread pool: two workers with a pool over all cores halve each other's speed
}


class EvaluatorError(Exception):
    """The workers can't work at all; the text is one line for the user."""


@dataclass(frozen=True)
class Evaluated:
    """One generation's evaluation, and where and how long it ran."""

    evaluation: Evaluation
    seconds: np.ndarray  # (P,) s, a chunk's time shared equally by its individuals
    workers: tuple[str, ...]  # (P,) host:pid


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


def evaluate_alone(
    optimizee: Optimizee,
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
    n = 1 if type(optimizee).evaluate_batch is Optimizee.evaluate_batch else len(z)  # `evaluate` sees no neighbours
    row_in = row if n > 1 else 0
    z, seeds = np.repeat(z[row : row + 1], n, axis=0), np.repeat(seeds[row : row + 1], n)
    try:
        batch = optimizee.evaluate_batch(z, seeds, with_grad=with_grad, with_artifacts=with_artifacts)
        return validated(optimizee, batch, n, with_grad).take(slice(row_in, row_in + 1))
    except Exception as error:  # whatever a user's model raises is a row, not the end of the run
        return failure(1, optimizee.objectives, f"{type(error).__name__}: {error}")


def evaluate_chunk(optimizee: Optimizee, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> Evaluation:
    """Evaluate a chunk; if the batch as a whole raises, evaluate each individual alone."""
    try:
        return validated(optimizee, optimizee.evaluate_batch(z, seeds, with_grad=with_grad), len(z), with_grad)
    except Exception:
        rows = [evaluate_alone(optimizee, z, seeds, i, with_grad=with_grad) for i in range(len(z))]
        return Evaluation.join(rows)


class Evaluator(ABC):
    """Evaluates generations; a context manager that gives its workers back at the end."""

    optimizee: Optimizee
    chunk: int  # individuals a worker takes at once
    max_tries: int  # how often a chunk may lose its worker
    _submitted: dict[int, tuple[np.ndarray, np.ndarray]]  # z and seeds that `submit` was given

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many chunks can be under way at once."""

    @abstractmethod
    def _open(self) -> None:
        """Get the workers, unless they are there."""

    @abstractmethod
    def _start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> None:
        """Begin to evaluate one chunk; z and seeds are its own."""

    @abstractmethod
    def _finish(self) -> tuple[Chunk, tuple[Evaluation, float, str] | Lost]:
        """Wait for any chunk under way; return it with (evaluation, seconds, worker) or the loss of its worker."""

    @abstractmethod
    def _abandon(self) -> None:
        """Forget the chunks under way."""

    @abstractmethod
    def close(self) -> None:
        """Give the workers back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def evaluate(self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False) -> Evaluated:
        """Evaluate a generation.

        Args:
            z: (P, D) search coordinates.
            seeds: (P,) int64, one an individual.
            with_grad: also the gradient.

        Returns:
            The evaluation in the order of z: the same bytes on any number of workers.

        Raises:
            EvaluatorError: no worker can be had.
        """
        queue = deque(Chunk(i, min(i + self.chunk, len(z))) for i in range(0, len(z), self.chunk))
        rows: dict[int, tuple[Evaluation, np.ndarray, list[str]]] = {}  # by first individual
        running = 0
        try:
            self._open()
            while queue or running:
                while queue and running < self.slots:
                    chunk = queue.popleft()
                    part_z, part_seeds = z[chunk.start : chunk.stop], seeds[chunk.start : chunk.stop]
                    self._start(chunk, part_z, part_seeds, with_grad)
                    running += 1
                chunk, outcome = self._finish()
                running -= 1
                if isinstance(outcome, Lost):
                    queue.extendleft(self._again(chunk, outcome, rows))
                    continue
                evaluation, seconds, worker = outcome
                n = len(evaluation.fitness)
                first = chunk.start if chunk.alone is None else chunk.alone
                rows[first] = (evaluation, np.full(n, seconds / n), [worker] * n)
        except BaseException:
            self._abandon()
            raise
        ordered = [rows[first] for first in sorted(rows)]
        return Evaluated(
            Evaluation.join([evaluation for evaluation, _, _ in ordered]),
            np.concatenate([seconds for _, seconds, _ in ordered]),
            tuple(worker for _, _, workers in ordered for worker in workers),
        )

    # chunk by chunk, for loops without generations

    @property
    @abstractmethod
    def under_way(self) -> int:
        """How many chunks are under way."""

    def submit(self, number: int, z: np.ndarray, seeds: np.ndarray) -> None:
        """Hand a chunk to a worker; fewer than `slots` must be under way.

        Args:
            number: tells the chunk from others under way.
            z: (K, D) search coordinates.
            seeds: (K,) their seeds.
        """
        self._open()
        self._submitted[number] = z, seeds
        self._start(Chunk(number, number + len(z)), z, seeds, False)

    def collect(self) -> tuple[int, Evaluation, float, str]:
        """Wait for any chunk that was submitted; return its number, evaluation, seconds, and worker.

        A chunk that loses its worker `max_tries` times has failed as a whole.
        """
        while True:
            try:
                chunk, outcome = self._finish()
            except BaseException:
                self.forget()
                raise
            if not isinstance(outcome, Lost):
                del self._submitted[chunk.start]
                return chunk.start, *outcome
            tried = replace(chunk, tries=chunk.tries + 1)
            if tried.tries < self.max_tries:
                self._start(tried, *self._submitted[chunk.start], False)
                continue
            del self._submitted[chunk.start]
            text = f"WorkerLost: given up after {tried.tries} tries: {outcome.text}"
            return chunk.start, failure(chunk.stop - chunk.start, self.optimizee.objectives, text), 0.0, ""

    def forget(self) -> None:
        """Give up what was submitted and not collected."""
        if self._submitted:
            self._submitted.clear()
            self._abandon()

    def _again(
        self, chunk: Chunk, lost: Lost, rows: dict[int, tuple[Evaluation, np.ndarray, list[str]]]
    ) -> list[Chunk]:
        """Return what to evaluate instead of a chunk that lost its worker; give up on an individual alone."""
        tried = replace(chunk, tries=chunk.tries + 1)
        if tried.tries < self.max_tries:
            return [tried]
        if chunk.alone is None and chunk.stop - chunk.start > 1:
            return list(chunk.isolated())
        text = f"WorkerLost: given up after {tried.tries} tries: {lost.text}"
        first = chunk.start if chunk.alone is None else chunk.alone
        rows[first] = (failure(1, self.optimizee.objectives, text), np.zeros(1), [""])
        return []


def _run(
    optimizee: Optimizee, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool
) -> tuple[Evaluation, float, str]:
    """Evaluate one chunk in this process."""
    began = time.perf_counter()
    if chunk.alone is None:
        evaluation = evaluate_chunk(optimizee, z, seeds, with_grad)
    else:
        evaluation = evaluate_alone(optimizee, z, seeds, chunk.alone - chunk.start, with_grad=with_grad)
    return evaluation, time.perf_counter() - began, f"{socket.gethostname()}:{os.getpid()}"


class Inline(Evaluator):
    """Evaluates in this process, one chunk after another: the reference, and what a debugger can step through."""

    def __init__(self, optimizee: Optimizee, chunk: int = 1, max_tries: int = 3):
        self.optimizee = optimizee
        self.chunk = check_count("chunk", chunk)
        self.max_tries = check_count("max_tries", max_tries)
        self._pending: tuple[Chunk, np.ndarray, np.ndarray, bool] | None = None
        self._submitted = {}

    @property
    def slots(self) -> int:
        return 1

    @property
    def under_way(self) -> int:
        return int(self._pending is not None)

    def _open(self) -> None:
        """Nothing to get."""

    def _start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> None:
        self._pending = (chunk, z, seeds, with_grad)

    def _finish(self) -> tuple[Chunk, tuple[Evaluation, float, str] | Lost]:
        assert self._pending is not None
        chunk, z, seeds, with_grad = self._pending
        self._pending = None
        try:
            return chunk, _run(self.optimizee, chunk, z, seeds, with_grad)
        except SystemExit as error:  # in a worker it would end the worker; here it must not end the run
            return chunk, Lost(f"sys.exit({error.code!r}) was called")

    def _abandon(self) -> None:
        self._pending = None

    def close(self) -> None:
        """Nothing to give back."""


class RayPool(Evaluator):
    """Evaluates on Ray actors, one a CPU of this machine or `workers` of them; lost ones are replaced.

    Ray starts with the first evaluation and ends with `close`.
    """

    def __init__(self, optimizee: Optimizee, chunk: int = 1, max_tries: int = 3, workers: int | None = None):
        self.optimizee = optimizee
        self.chunk = check_count("chunk", chunk)
        self.max_tries = check_count("max_tries", max_tries)
        self.workers = check_count("workers", _cpus() if workers is None else workers)
        self._stored: Any = None  # reference of the pickled optimizee
        self._actors: list[Any] = []
        self._idle: list[Any] = []
        self._under_way: dict[Any, tuple[Any, Chunk]] = {}  # by object reference
        self._submitted = {}

    def _open(self) -> None:
        if self._actors:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        import cloudpickle
        import ray

        try:
            with warnings.catch_warnings():
                # JAX warns of any fork; Ray's only starts its own programs
                warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
                # "local" never joins a cluster that happens to run here; workers find modules where this process does
                ray.init(
                    address="local",
                    num_cpus=self.workers,
                    include_dashboard=False,
                    object_store_memory=256 * 2**20,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"env_vars": {**ONE_THREAD, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}},
                )
        except Exception as error:
            raise EvaluatorError(f"Ray did not start: {_first_line(error)}; --inline runs without it") from error
        # pickled here, so that an actor that can't read it says so in a call and not by dying at its start
        self._stored = ray.put(cloudpickle.dumps(self.optimizee))
        self._actors = [self._new_actor() for _ in range(self.workers)]
        self._idle = list(self._actors)

    @property
    def slots(self) -> int:
        self._open()
        return len(self._actors)

    @property
    def under_way(self) -> int:
        return len(self._under_way)

    def _new_actor(self) -> Any:
        import ray

        return ray.remote(num_cpus=1, max_restarts=0)(_Worker).remote(self._stored)

    def _start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> None:
        actor = self._idle.pop()
        self._under_way[actor.run.remote(chunk, z, seeds, with_grad)] = (actor, chunk)

    def _finish(self) -> tuple[Chunk, tuple[Evaluation, float, str] | Lost]:
        import ray
        from ray.exceptions import RayError, RayTaskError

        done: list[Any] = []
        while not done:  # a bounded wait, so that Ctrl-C is answered
            done, _ = ray.wait(list(self._under_way), num_returns=1, timeout=1.0)
        actor, chunk = self._under_way.pop(done[0])
        outcome: Any
        try:
            outcome = ray.get(done[0])
        except RayTaskError as error:  # our own code failed there: no retry can mend that
            raise EvaluatorError(f"the worker can't evaluate: {_first_line(error.cause)}") from error
        except RayError as error:
            ray.kill(actor)
            fresh = self._new_actor()
            self._actors[self._actors.index(actor)] = fresh
            self._idle.append(fresh)
            return chunk, Lost(_first_line(error))
        self._idle.append(actor)
        return chunk, outcome

    def _abandon(self) -> None:
        self.close()  # chunks under way can't be stopped otherwise

    def close(self) -> None:
        """End the workers and the local Ray."""
        if self._actors:
            import ray

            ray.shutdown()
        self._actors, self._idle = [], []
        self._under_way.clear()


class _Worker:
    """What a Ray actor holds: the optimizee, read at the first call."""

    def __init__(self, stored: bytes):
        self._stored = stored
        self._optimizee: Optimizee | None = None

    def run(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> tuple[Evaluation, float, str]:
        if self._optimizee is None:
            self._optimizee = pickle.loads(self._stored)
        assert self._optimizee is not None
        # arrays from Ray's object store are read-only; an optimizee may expect its own
        return _run(self._optimizee, chunk, np.array(z), np.array(seeds), with_grad)


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))  # those that this process may use
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no text'}"
