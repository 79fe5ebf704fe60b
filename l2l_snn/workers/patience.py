"""Evaluations that take long are said, now and then: nobody shall have to guess whether one hangs."""

import atexit
import logging
import threading
import time
from collections.abc import Callable, Sequence

from l2l_snn.evaluation import WorkerStatus

FIRST = 60.0  # s that an evaluation takes before it is said
LOOK = 1.0  # s between two looks

log = logging.getLogger(__name__)


class Patience:
    """Says which individuals have been evaluated for how long: after a minute, then each time that it has doubled.

    What takes no longer than twice the longest that has come back isn't said.
    """

    def __init__(self, todo: str = ""):
        """`todo` is what a user may do about one that hangs."""
        self._todo = todo
        self._longest = 0.0  # s, of those that came back
        self._said: tuple[WorkerStatus | None, float] = (None, 0.0)  # the last one that was said, and for how many s

    def took(self, seconds: float) -> None:
        """Note how long one took that came back."""
        self._longest = max(self._longest, seconds)

    def look(self, workers: Sequence[WorkerStatus]) -> None:
        """Say of the worker that has been at its evaluation longest that it has, if it is time to."""
        busy = [worker for worker in workers if worker.first >= 0]
        if not busy:
            return
        one = min(busy, key=lambda worker: worker.since)
        seconds = time.time() - one.since
        before = self._said[1] if one == self._said[0] else 0.0
        if seconds >= max(FIRST, 2 * self._longest, 2 * before):
            self._said = one, seconds
            who = f"individual {one.first}" if one.first == one.last else f"individuals {one.first} to {one.last}"
            verb = "has" if one.first == one.last else "have"
            text = "%s of generation %d %s been evaluated for %.0f s by %s%s"
            log.warning(text, who, one.generation, verb, seconds, one.worker, self._todo)


class Watching:
    """A thread that looks on while this process evaluates, until it is closed."""

    def __init__(self, look: Callable[[], None]):
        self._ended = threading.Event()
        self._look = look
        self._thread = threading.Thread(target=self._run, name="l2l-patience", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # where nobody else does: no thread may run while the interpreter ends

    def _run(self) -> None:
        while not self._ended.wait(LOOK):
            self._look()

    def close(self) -> None:
        """End the thread; it is gone when this returns."""
        atexit.unregister(self.close)
        self._ended.set()
        self._thread.join()
