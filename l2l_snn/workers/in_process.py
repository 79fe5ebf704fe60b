"""`Inline`: evaluation in this process, the reference that workers must equal byte for byte."""

import time

import numpy as np

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.validate import check_count
from l2l_snn.workers.chunks import Backlog, Chunk, Lost, Outcome, here, run_chunk, status
from l2l_snn.workers.evaluator import Evaluator


class Inline(Evaluator):
    """Evaluates in this process, one chunk after another: the reference, and what a debugger can step through."""

    def __init__(self, optimizee: BatchOptimizee, chunk: int = 1, max_tries: int = 3):
        self.optimizee = optimizee
        self.chunk = check_count("chunk", chunk)
        self._backlog = Backlog(optimizee, max_tries)
        self._pending: tuple[Chunk, np.ndarray, np.ndarray, bool] | None = None

    @property
    def slots(self) -> int:
        return 1

    def _open(self) -> None:
        """Nothing to get."""

    def _free(self) -> bool:
        return self._pending is None

    def _start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> None:
        self._pending = (chunk, z, seeds, with_grad)

    def _wait(self) -> tuple[Chunk, Outcome] | None:
        assert self._pending is not None  # `collect` starts a chunk first
        chunk, z, seeds, with_grad = self._pending
        self._pending = None
        try:
            return chunk, run_chunk(self.optimizee, chunk, z, seeds, with_grad)
        except SystemExit as error:  # in a worker it would end the worker; here it must not end the run
            return chunk, Lost(f"sys.exit({error.code!r}) was called")

    def _abandon(self) -> None:
        self._pending = None

    def working(self) -> tuple[WorkerStatus, ...]:
        return (status(here(), self.generation, self._pending[0] if self._pending else None, time.time()),)

    def close(self) -> None:
        """Nothing to give back."""
