"""The backlog of an evaluator: the chunks that were handed in, and what is done about one that lost its worker.

A chunk whose worker is lost is evaluated again elsewhere; one that is lost `max_tries` times, or takes longer than it
may, is taken apart, so that only the individual that ends workers or is too slow fails.

Legend: K individuals of a chunk, D search coordinates.
"""

from collections import deque
from dataclasses import dataclass, field, replace

import numpy as np

from l2l_snn.evaluation import Wanted, failure
from l2l_snn.validate import check_count
from l2l_snn.workers.chunks import Chunk, Done, Evaluated, Lost, Outcome


@dataclass
class _Submitted:
    """A chunk that was handed in, and what of it is evaluated."""

    stop: int
    z: np.ndarray  # (K, D)
    seeds: np.ndarray  # (K,)
    wanted: Wanted
    done: dict[int, Evaluated] = field(default_factory=dict)  # by first individual


class Backlog:
    """The chunks that were handed in and did not come back whole yet; `len` is their number.

    Args:
        objectives: of the fitness, for the rows of failures.
        max_tries: how often a chunk may lose its worker.
    """

    def __init__(self, objectives: int, max_tries: int):
        self._objectives = objectives
        self._max_tries = check_count("max_tries", max_tries)
        self.queue: deque[Chunk] = deque()  # to be started
        self._submitted: dict[int, _Submitted] = {}  # by first individual

    def __len__(self) -> int:
        return len(self._submitted)

    def add(self, start: int, z: np.ndarray, seeds: np.ndarray, wanted: Wanted) -> None:
        """Hand in the individuals start to start + K - 1."""
        chunk = Chunk(start, start + len(z))
        self._submitted[start] = _Submitted(chunk.stop, z, seeds, wanted)
        self.queue.append(chunk)

    def take(self) -> tuple[Chunk, np.ndarray, np.ndarray, Wanted]:
        """Return the next chunk to be started, with its z, seeds, and what is wanted."""
        chunk = self.queue.popleft()
        submitted = self._submitted[chunk.start]
        return chunk, submitted.z, submitted.seeds, submitted.wanted

    def clear(self) -> None:
        """Forget everything."""
        self.queue.clear()
        self._submitted.clear()

    def settle(self, chunk: Chunk, outcome: Outcome) -> tuple[int, Evaluated] | None:
        """Take what became of a chunk; return its first individual and its results if with this it is whole."""
        submitted = self._submitted[chunk.start]
        if isinstance(outcome, Lost):
            instead = self._chunks_instead(chunk, outcome)
            if instead:
                self.queue.extendleft(reversed(instead))
                return None
            tries = f"given up after {chunk.tries + 1} {'try' if chunk.tries == 0 else 'tries'}: "
            text = f"Timeout: {outcome.text}" if outcome.late else f"WorkerLost: {tries}{outcome.text}"
            outcome = Done(failure(1, self._objectives, text), outcome.seconds, "")
        n = len(outcome.evaluation.fitness)
        first = chunk.start if chunk.alone is None else chunk.alone
        submitted.done[first] = Evaluated(outcome.evaluation, np.full(n, outcome.seconds / n), (outcome.worker,) * n)
        if sum(len(part.workers) for part in submitted.done.values()) < submitted.stop - chunk.start:
            return None
        del self._submitted[chunk.start]
        return chunk.start, Evaluated.join([submitted.done[i] for i in sorted(submitted.done)])

    def _chunks_instead(self, chunk: Chunk, lost: Lost) -> list[Chunk]:
        """Return what to evaluate instead of a chunk that lost its worker; nothing for an individual given up."""
        if not lost.late and chunk.tries + 1 < self._max_tries:
            return [replace(chunk, tries=chunk.tries + 1)]
        if chunk.alone is None and chunk.stop - chunk.start > 1:
            return list(chunk.isolated())
        return []
