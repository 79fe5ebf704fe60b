"""`Inline`: evaluation in this process, the reference that workers must equal byte for byte."""

import time
from typing import final

import numpy as np

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.workers.base import Workers
from l2l_snn.workers.chunks import Chunk, Lost, Outcome, here, run_chunk, worker_status
from l2l_snn.workers.evaluator import Evaluator


def Inline(optimizee: BatchOptimizee, chunk: int = 1, max_tries: int = 3) -> Evaluator:
    """Return an evaluator that runs in this process, one chunk after another: what a debugger can step through."""
    return Evaluator(optimizee, InProcess(optimizee), chunk, max_tries)


@final
class InProcess(Workers):
    """One worker: this process. A chunk that is started is evaluated when it is waited for."""

    def __init__(self, optimizee: BatchOptimizee):
        self._optimizee = optimizee
        self._pending: tuple[Chunk, np.ndarray, np.ndarray, bool] | None = None

    def open(self) -> None:
        """Nothing to get."""

    @property
    def slots(self) -> int:
        return 1

    def idle(self) -> bool:
        return self._pending is None

    def start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> None:
        self._pending = (chunk, z, seeds, with_grad)

    def wait(self) -> tuple[Chunk, Outcome] | None:
        if self._pending is None:
            return None
        chunk, z, seeds, with_grad = self._pending
        self._pending = None
        try:
            return chunk, run_chunk(self._optimizee, chunk, z, seeds, with_grad)
        except SystemExit as error:  # in a worker it would end the worker; here it must not end the run
            return chunk, Lost(f"sys.exit({error.code!r}) was called")

    def abandon(self) -> None:
        self._pending = None

    def status(self, generation: int) -> tuple[WorkerStatus, ...]:
        return (worker_status(here(), generation, self._pending[0] if self._pending else None, time.time()),)

    def close(self) -> None:
        """Nothing to give back."""
