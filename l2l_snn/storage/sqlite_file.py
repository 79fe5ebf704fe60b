"""The file of a SQLite store: whether it is still the one that was opened, and what is done where it isn't.

A file that is deleted, moved or replaced while it is open goes on without a name: whoever writes to it is told that all
went well, and nothing is left of it at the end. The same holds for its log, in which the last commits stand.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, make_url
from sqlalchemy.exc import SQLAlchemyError

from l2l_snn.storage.database import GENOMES, StoreError, explained, prepare, shown

# in a copy nobody drives any run
_RELEASE_ALL = """
UPDATE runs SET state = 'stopped', message = 'saved when the store was lost', finished = strftime('%s', 'now'),
    owner = NULL, host = NULL, machine = NULL, pid = NULL, pid_started = NULL, leased = NULL, stop_requested = NULL
WHERE owner IS NOT NULL
"""


class SQLiteFile:
    """The files behind an engine, told from others by device and inode; threads may share it.

    Other databases, and those in memory, have none: nothing is checked then.

    Args:
        engine: of the store.
        url: of the store, as it was typed.
        genomes: the store's folder of large genomes.
    """

    def __init__(self, engine: Engine, url: str, genomes: str | None):
        self._engine, self._url, self._genomes = engine, url, genomes
        name = engine.url.database
        has_file = engine.dialect.name == "sqlite" and name and name != ":memory:" and not name.startswith("file:")
        self._files = [Path(f"{name}{ending}") for ending in ("", "-wal", "-shm")] if has_file else []
        self._known: dict[Path, tuple[int, int]] = {}  # of those that were there while a connection was open
        self._lock = threading.Lock()
        self._keepers = 0  # who needs just this file
        self._loss = ""  # what became of it

    def note(self) -> None:
        """Take those that are there now, and weren't before, for the ones that are open."""
        for file in self._files:
            if file not in self._known and (found := _identify(file)):
                self._known[file] = found

    def forget(self) -> None:
        """Take none for the one that is open."""
        self._known.clear()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Need just the file that is open: once it is lost, `check` raises."""
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers -= 1

    def check(self, what: str, wrote: bool) -> bool:
        """Refuse a file that was deleted, moved or replaced, or open the one that is at its place now.

        Args:
            what: what is done, for the message.
            wrote: whether it was just written to.

        Returns:
            Whether another one is open now.

        Raises:
            StoreError: it was lost, and is `kept` or was written to; or there is none at its place.
        """
        with self._lock:
            missing = next((file.name for file, known in self._known.items() if _identify(file) != known), "")
            if missing and (wrote or self._keepers):
                self._loss = self._loss or self._rescue(missing)
                raise StoreError(f"{what} failed: {self._loss}")
            if missing:
                self._engine.dispose()
                with explained("opening", self._url):
                    prepare(self._engine, self._url, create=False)
                self.forget()
            self.note()
            return bool(missing)

    def _rescue(self, missing: str) -> str:
        """Save what a lost file held; return what happened, and what to do."""
        happened = f"{missing} was deleted, moved or replaced while it was open"
        copy = self._copy()
        if copy is None:
            return f"{happened}, and no copy could be made; put it back and resume the run, or start it again"
        url = make_url(self._url)
        url = url.set(database=str(Path(url.database or "").with_name(copy.name)))
        if self._genomes is not None and Path(self._genomes).exists():
            url = url.update_query_dict({GENOMES: self._genomes})
        go_on = f"l2l resume RUN --store {shown(url.render_as_string(hide_password=False))}"
        return f"{happened}; all that was stored is in {copy.name}, go on with: {go_on}"

    def _copy(self) -> Path | None:
        """Write what the open file holds to a new one beside its place; return that, None if it can't be written."""
        first = self._files[0]
        copies = (first.with_name(f"{first.stem}-rescued-{k}{first.suffix}") for k in count(1))
        try:
            copy = next(path for path in copies if _make_file(path))
        except OSError:
            return None
        try:
            connection = self._engine.raw_connection()  # one that has the old file open
            try:
                connection.cursor().execute("VACUUM INTO ?", (str(copy),))
            finally:
                connection.close()
            opened = sqlite3.connect(copy)
            try:
                opened.execute("PRAGMA journal_mode=WAL")
                with opened:
                    opened.execute(_RELEASE_ALL)
                    opened.execute("DELETE FROM workers")
            finally:
                opened.close()
        except (SQLAlchemyError, sqlite3.Error, OSError):
            copy.unlink(missing_ok=True)
            return None
        return copy


def _identify(file: Path) -> tuple[int, int] | None:
    """Return device and inode of a file, None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_file(file: Path) -> bool:
    """Make an empty file; return whether there was none."""
    try:
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    return True
