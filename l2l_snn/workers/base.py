"""The contract of workers: who runs the chunks that an `Evaluator` hands out.

`InProcess` is the reference, this process itself; `RayWorkers` are actors and return the same bytes.

Legend: K individuals of a chunk, D search coordinates.
"""

from abc import ABC, abstractmethod

import numpy as np

from l2l_snn.evaluation import Wanted, WorkerStatus
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.workers.chunks import Chunk, Outcome


class EvaluatorError(Exception):
    """The workers can't work at all; the text is one line for the user."""


class Workers(ABC):
    """Workers that hold an optimizee; each runs one chunk at a time.

    An evaluator calls `open`, then `start` while one is idle, and `wait` until the chunks that it started have come
    back, each once.
    """

    generation = 0  # that they work on, set by the evaluator: what is said of them names it

    @abstractmethod
    def open(self) -> None:
        """Get the workers, unless they are there.

        Raises:
            EvaluatorError: none can be had.
        """

    @abstractmethod
    def hold(self, optimizee: BatchOptimizee) -> None:
        """Evaluate with another optimizee from now on; called while nothing is under way."""

    @property
    @abstractmethod
    def slots(self) -> int:
        """How many chunks should be handed in at once to keep all workers busy; asked for when they are open."""

    @abstractmethod
    def idle(self) -> bool:
        """Return whether a worker waits for a chunk."""

    @abstractmethod
    def start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, wanted: Wanted) -> None:
        """Begin a chunk on an idle worker.

        Args:
            chunk: which individuals.
            z: (K, D) search coordinates of the chunk.
            seeds: (K,) their seeds.
            wanted: besides the fitness.
        """

    @abstractmethod
    def wait(self) -> tuple[Chunk, Outcome] | None:
        """Wait about a second for any chunk; return it and what became of it, None to look for idle workers again.

        Raises:
            EvaluatorError: no worker can be had any more.
        """

    @abstractmethod
    def abandon(self) -> None:
        """Forget the chunks under way; none of them comes back."""

    @abstractmethod
    def status(self) -> tuple[WorkerStatus, ...]:
        """Return what each worker does now."""

    @abstractmethod
    def close(self) -> None:
        """Give the workers back."""
