"""Pictures for understanding a run on request: one `picture_process` after another, the last pictures kept."""

import threading
from collections import OrderedDict
from typing import NamedTuple

from l2l_snn.dashboard import processes
from l2l_snn.dashboard.models import Picture
from l2l_snn.dashboard.replays import Busy
from l2l_snn.dashboard.settings import Settings
from l2l_snn.storage.records import StoredRun

KEPT = 40  # pictures, of some 200 KB each
WAITING = 4  # requests that wait for a picture at once: each holds one of the page's threads
LIMIT = 90.0  # s, that drawing one may take


class Key(NamedTuple):
    """What a picture shows; the run's id tells it from a later run of its name."""

    run_id: int
    generation: int  # how many were committed
    kind: str


class Pictures:
    """The pictures of one page. Threads may share it."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._kept: OrderedDict[Key, Picture] = OrderedDict()
        self._lock = threading.Lock()  # of what is kept
        self._turn = threading.Lock()  # held while one is drawn
        self._room = threading.BoundedSemaphore(WAITING)

    def get(self, run: StoredRun, kind: str) -> Picture:
        """Return a picture of a run as it is now, drawn if it isn't kept.

        Raises:
            Busy: too many wait.
            Refused: it can't be drawn, or takes too long.
        """
        key = Key(run.id, run.generation, kind)
        if found := self._find_kept(key):
            return found
        if not self._room.acquire(blocking=False):
            raise Busy(f"{WAITING} pictures are waited for already; try again")
        try:
            with self._turn:
                return self._find_kept(key) or self._draw(key, run)
        finally:
            self._room.release()

    def _find_kept(self, key: Key) -> Picture | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _draw(self, key: Key, run: StoredRun) -> Picture:
        wanted = {"run": run.name, "kind": key.kind}
        answer = processes.ask(self._settings, "picture_process", wanted, LIMIT)
        picture = Picture(kind=key.kind, generation=run.generation, **answer)
        with self._lock:
            self._kept[key] = picture
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return picture
