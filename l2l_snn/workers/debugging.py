"""Evaluation for finding one's own mistake: in this process, up to the first individual that fails, with its traceback.

Legend: K individuals of a chunk, D search coordinates.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

import numpy as np

from l2l_snn.evaluation import Wanted, WorkerStatus
from l2l_snn.optimizee import BatchOptimizee, JaxOptimizee, Optimizee
from l2l_snn.workers.base import EvaluatorError, Workers
from l2l_snn.workers.chunks import Chunk, Done, Outcome, evaluate_alone, size_alone
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import InProcess


class FailedIndividual(EvaluatorError):
    """An individual failed; the text is the one that its row would have."""

    def __init__(self, text: str, index: int, params: dict[str, Any], seed: int, cause: BaseException | None):
        super().__init__(text)
        self.index = index  # in its generation
        self.params = params  # decoded
        self.seed = seed
        self.cause = cause  # what `evaluate` raised; None if it returned something that can't be used

    def report(self) -> str:
        """Return parameters, seed and the whole traceback, in lines."""
        lines = [f"seed {self.seed}", "parameters:"]
        lines += [f"  {name}: {value!r}" for name, value in self.params.items()]
        if self.cause is None:
            lines.append(f"nothing was raised, but: {self}")
        else:
            lines += "".join(traceback.format_exception(self.cause)).rstrip().splitlines()
        return "\n".join(lines)


def Debugging(optimizee: BatchOptimizee, chunk: int = 1) -> Evaluator:
    """Return an evaluator that runs in this process and raises `FailedIndividual` at the first failure."""
    return Evaluator(optimizee, DebuggedProcess(optimizee), chunk)


@final
class DebuggedProcess(Workers):
    """This process, whose first failure ends the evaluation."""

    def __init__(self, optimizee: BatchOptimizee):
        self._optimizee = optimizee
        self._inner = InProcess(optimizee)
        self._started: tuple[np.ndarray, np.ndarray] | None = None  # z (K, D) and seeds (K,) of the chunk under way

    def open(self) -> None:
        self._inner.open()

    def hold(self, optimizee: BatchOptimizee) -> None:
        self._optimizee = optimizee
        self._inner.hold(optimizee)

    @property
    def slots(self) -> int:
        return self._inner.slots

    def idle(self) -> bool:
        return self._inner.idle()

    def start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, wanted: Wanted) -> None:
        self._started = z, seeds
        self._inner.start(chunk, z, seeds, wanted)

    def wait(self) -> tuple[Chunk, Outcome] | None:
        finished = self._inner.wait()
        if finished is None or self._started is None:
            return finished
        chunk, outcome = finished
        z, seeds = self._started
        if not isinstance(outcome, Done):
            raise FailedIndividual(outcome.text, chunk.start, {}, int(seeds[0]), None)
        rows = np.flatnonzero(outcome.evaluation.failed)
        if rows.size:
            row = int(rows[0])
            raise examined(self._optimizee, z, seeds, row, chunk.start + row, outcome.evaluation.errors[row])
        return finished

    def abandon(self) -> None:
        self._inner.abandon()

    def status(self) -> tuple[WorkerStatus, ...]:
        self._inner.generation = self.generation
        return self._inner.status()

    def close(self) -> None:
        self._inner.close()


def examined(
    optimizee: BatchOptimizee, z: np.ndarray, seeds: np.ndarray, row: int, index: int, text: str
) -> FailedIndividual:
    """Return why an individual of a chunk failed: it is evaluated once more, and what it raises is kept.

    Args:
        optimizee: the optimizee.
        z: (K, D) the chunk.
        seeds: (K,) its seeds.
        row: which individual of the chunk.
        index: which of its generation.
        text: the text of its failure.
    """
    params, seed = optimizee.space.decode(z[row]), int(seeds[row])
    try:
        _evaluate_openly(optimizee, z, seeds, row)
    except (Exception, SystemExit) as error:
        return FailedIndividual(text or f"{type(error).__name__}: {error}", index, params, seed, error)
    return FailedIndividual(text, index, params, seed, None)


def failure_of(optimizee: BatchOptimizee, z: np.ndarray, seeds: np.ndarray, row: int, index: int) -> Any:
    """Return the `FailedIndividual` of one individual of a chunk, None if it doesn't fail; arguments of `examined`."""
    evaluation = evaluate_alone(optimizee, z, seeds, row)
    return examined(optimizee, z, seeds, row, index, evaluation.errors[0]) if evaluation.failed[0] else None


def _evaluate_openly(optimizee: BatchOptimizee, z: np.ndarray, seeds: np.ndarray, row: int) -> None:
    """Evaluate one individual; let everything through that it raises, in JAX at the operation that gives nan."""
    if isinstance(optimizee, Optimizee):
        optimizee.evaluate(optimizee.space.decode(z[row]), int(seeds[row]))
        return
    n = size_alone(optimizee, len(z))
    with _nan_raises(optimizee):
        optimizee.evaluate_batch(np.repeat(z[row : row + 1], n, axis=0), np.repeat(seeds[row : row + 1], n))


@contextmanager
def _nan_raises(optimizee: BatchOptimizee) -> Iterator[None]:
    """Let JAX raise FloatingPointError where a nan arises."""
    if not isinstance(optimizee, JaxOptimizee):
        yield
        return
    import jax

    with jax.debug_nans(True):
        yield
