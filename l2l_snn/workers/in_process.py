"""`Inline`: evaluation in this process, the reference that workers must equal byte for byte."""

import time
from typing import final

import numpy as np

from l2l_snn.evaluation import Wanted, WorkerStatus
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.workers.base import Workers
from l2l_snn.workers.chunks import Chunk, Lost, Outcome, here, run_chunk, worker_status
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.patience import Patience, Watching


def Inline(optimizee: BatchOptimizee, chunk: int = 1, max_tries: int = 3) -> Evaluator:
    """Return an evaluator that runs in this process, one chunk after another: what a debugger can step through."""
    return Evaluator(optimizee, InProcess(optimizee), chunk, max_tries)


@final
class InProcess(Workers):
    """One worker: this process. A chunk that is started is evaluated when it is waited for."""

    def __init__(self, optimizee: BatchOptimizee):
        self._optimizee = optimizee
        self._pending: tuple[Chunk, np.ndarray, np.ndarray, Wanted] | None = None
        self._now: tuple[Chunk, float] | None = None  # what is evaluated, and since when, s since 1970
        self._patience = Patience()
        self._watching: Watching | None = None

    def open(self) -> None:
        """Begin to look on: nothing else can be said while this process evaluates."""
        if self._watching is None:
            self._watching = Watching(self._look)

    def _look(self) -> None:
        if (now := self._now) is not None:
            self._patience.look([worker_status(here(), self.generation, *now)])

    def hold(self, optimizee: BatchOptimizee) -> None:
        self._optimizee = optimizee

    @property
    def slots(self) -> int:
        return 1

    def idle(self) -> bool:
        return self._pending is None

    def start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, wanted: Wanted) -> None:
        self._pending = (chunk, z, seeds, wanted)

    def wait(self) -> tuple[Chunk, Outcome] | None:
        if self._pending is None:
            return None
        chunk, z, seeds, wanted = self._pending
        self._pending, self._now = None, (chunk, time.time())
        try:
            done = run_chunk(self._optimizee, chunk, z, seeds, wanted)
            self._patience.took(done.seconds)
            return chunk, done
        except SystemExit as error:  # in a worker it would end the worker; here it must not end the run
            return chunk, Lost(f"sys.exit({error.code!r}) was called")
        finally:
            self._now = None

    def abandon(self) -> None:
        self._pending = None

    def status(self) -> tuple[WorkerStatus, ...]:
        return (worker_status(here(), self.generation, self._pending[0] if self._pending else None, time.time()),)

    def close(self) -> None:
        """Look on no more."""
        if self._watching is not None:
            self._watching.close()
            self._watching = None
