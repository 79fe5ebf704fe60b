"""The results store: runs, their generations and individuals, and the optimizer's state, in one database.

Legend: D search coordinates.

    with Store("sqlite:///l2l.db") as store:
        store.create("line-1", "line", manifest, space)
        with drive(store, "line-1") as driver:           # storage/driver.py: one at a time
            driver.commit(generation, state)
            driver.finish("finished")
        best = store.individual("line-1")
        state = store.optimizer_state("line-1", optimizer.init(space, seed))

What it promises is in this package's docstring, storage/__init__.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import Connection, Row

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.space import Space
from l2l_snn.storage import DEFAULT_STORE, rows
from l2l_snn.storage.database import StoreError, connect, explained, prepare, shown, vacuum
from l2l_snn.storage.encoding import first_values, stored_individual, stored_run
from l2l_snn.storage.genomes import LARGE, GenomeMissing, Genomes, place_of
from l2l_snn.storage.lease import RunBusy as RunBusy  # where users look for it
from l2l_snn.storage.reconnect import persist, starting
from l2l_snn.storage.records import Individual, StoredRun
from l2l_snn.storage.rows import RunExists as RunExists
from l2l_snn.storage.rows import RunUnknown as RunUnknown
from l2l_snn.storage.sqlite_file import SQLiteFile
from l2l_snn.storage.states import S, from_fields
from l2l_snn.validate import message

T = TypeVar("T")


class Store:
    """One open store. Threads may share it; processes open their own.

    Genomes above 64 KB are in Parquet files: beside a SQLite file (l2l.genomes/RUN/ beside l2l.db), elsewhere in the
    folder or at the URL that the store's own URL names: postgresql://host/db?genomes=/data/genomes. Several stores
    may share that folder.

    When the connection to a database server is lost, what is read or written waits up to 120 s for it. A SQLite file
    that was deleted, moved or replaced is never written to; a store that only reads goes on with what is at its place.
    """

    def __init__(self, url: str = DEFAULT_STORE, *, create: bool = True):
        """Open the store, upgrading its tables where needed.

        Args:
            url: sqlite:///file or postgresql://..., perhaps with ?genomes=FOLDER.
            create: make it if there is none; otherwise that is an error.

        Raises:
            StoreError: it can't be opened or written, a newer version made it, or there is none.
        """
        self._url = url
        self.url_shown = shown(url)
        with explained("opening", url):
            self._engine = connect(url)
        self._place = place_of(url)  # now: the current folder may change
        self._file = SQLiteFile(self._engine, url, self._place)
        self._writer = self._engine.execution_options(writes=True)
        snapshot = {} if self._engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reader = self._engine.execution_options(**snapshot)
        try:
            with explained("opening", url):  # a server that isn't there may be a wrong URL: that isn't waited for
                persist(f"opening {self.url_shown}", lambda _: prepare(self._engine, url, create), worth=starting)
        except BaseException:
            self.close()
            raise
        self._file.note()

    def __repr__(self) -> str:
        return f"Store({self.url_shown!r})"

    def close(self) -> None:
        self._engine.dispose()
        self._file.forget()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def read(self, what: str = "reading") -> Iterator[Connection]:
        """Give a connection whose selects all see one state of the store.

        It waits for a server that can't be reached; when the connection is lost later, that is an error.
        """

        def attempt(again: bool) -> Connection:
            return self._reader.connect()

        self._check_file(what)
        with explained(what, self._url), persist(f"{what} {self.url_shown}", attempt) as connection:
            yield connection

    def reading(self, body: Callable[[Connection], T], what: str = "reading") -> T:
        """Return what `body` reads from one state of the store; it is called again if the connection is lost."""

        def attempt(again: bool) -> T:
            with self._reader.connect() as connection:
                return body(connection)

        self._check_file(what)
        with explained(what, self._url):
            return persist(f"{what} {self.url_shown}", attempt)

    def writing(self, what: str, body: Callable[[Connection, bool], T], patience: float | None = None) -> T:
        """Return what `body` returns, run in one transaction that writes.

        Args:
            what: what it does, for messages: "creating run 'a'".
            body: called with the connection, and with whether an earlier attempt lost its connection, which then
                may or may not have been committed.
            patience: s to wait for a lost server; 120 if left out.
        """

        def attempt(again: bool) -> T:
            with self._writer.begin() as connection:
                return body(connection, again)

        self._check_file(f"{what} in")
        try:
            with explained(f"{what} in", self._url):
                return persist(f"{what} in {self.url_shown}", attempt, patience)
        finally:
            self._check_file(f"{what} in", wrote=True)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Need just the file that is open, as a driver does: once it is lost, all reading and writing is an error."""
        with self._file.kept():
            yield

    def _check_file(self, what: str, wrote: bool = False) -> None:
        """Refuse a SQLite file that is lost, or open the one at its place; see `SQLiteFile.check`."""
        if self._file.check(f"{what} {self.url_shown}", wrote):
            self.__dict__.pop("genomes", None)

    @cached_property
    def genomes(self) -> Genomes | None:
        """The files of large genomes; None where the store has no folder for them."""
        return None if self._place is None else Genomes(self._place, self.reading(rows.identity))

    def genome_files(self, name: str, size: int) -> Genomes:
        """Return the files of large genomes, for a run whose genomes have `size` coordinates.

        Raises:
            StoreError: the store has no folder for them.
        """
        if self.genomes is None:
            large = f"its genomes have {8 * size // 1024} KB each, and those above {LARGE // 1024} KB go into files"
            todo = "name a folder for them in the store's URL: ?genomes=FOLDER"
            raise StoreError(f"run {name!r} in {self.url_shown}: {large}; {todo}")
        return self.genomes

    # runs

    def create(self, name: str, job: str, manifest: dict[str, Any], space: Space) -> None:
        """Add a run without generations; `job` is the job file's stem.

        Raises:
            RunExists: the name is taken.
            ValueError: it can't be a name, since runs have folders of their name.
        """
        values = first_values(job, manifest, space)

        def body(connection: Connection, again: bool) -> None:
            if not (again and rows.is_there(connection, name, values)):
                rows.add(connection, self.url_shown, name, values)

        self.writing(f"creating run {name!r}", body)

    def create_numbered(self, job: str, manifest: dict[str, Any], space: Space) -> str:
        """Add a run without generations under the first free name of job-1, job-2, ..., and return that name."""
        while True:
            with suppress(RunExists):  # another process took it in between
                self.create(name := self.next_name(job), job, manifest, space)
                return name

    def next_name(self, stem: str) -> str:
        """Return the first free name of stem-1, stem-2, ...; what a name can't hold becomes "-"."""
        return self.reading(lambda connection: rows.free_name(connection, stem))

    def load(self, name: str) -> StoredRun:
        """Return a run.

        Raises:
            RunUnknown: there is none of that name.
        """
        return stored_run(self.reading(lambda connection: self._find_row(connection, name)))

    def runs(self) -> list[StoredRun]:
        """Return all runs, the oldest first."""
        return [stored_run(row) for row in self.reading(rows.all_runs)]

    def _find_row(self, connection: Connection, name: str, lock: bool = False) -> Row:
        return rows.find(connection, self.url_shown, name, lock)

    def copy(self, name: str, new_name: str) -> None:
        """Copy all of a run, state of the optimizer included, under another name, stopped."""

        def body(connection: Connection, again: bool) -> None:
            row = self._find_row(connection, name, lock=True)
            rows.duplicate(connection, self.url_shown, row, new_name, again)

        self.writing(f"copying run {name!r}", body)

    def workers(self, name: str) -> list[WorkerStatus]:
        """Return what the workers of a run did when its driver last told; none when nobody drives it."""
        return self.reading(lambda connection: rows.workers(connection, self._find_row(connection, name).id))

    def request_stop(self, name: str) -> None:
        """Ask the driver of a run to stop; it does after what it is evaluating.

        Raises:
            StoreError: nobody drives the run.
        """

        def body(connection: Connection, again: bool) -> None:
            row = self._find_row(connection, name, lock=True)
            if (state := stored_run(row).state) != "running":
                raise StoreError(f"run {name!r} in {self.url_shown} can't be asked to stop: it is {state}, not running")
            rows.request_stop(connection, row.id)

        self.writing(f"stopping run {name!r}", body)

    def vacuum(self) -> int:
        """Give the room of deleted rows back where that has to be asked for; return the bytes of it."""
        self._check_file("vacuuming")
        with explained("vacuuming", self._url):
            return vacuum(self._engine)

    # one run

    def optimizer_state(self, name: str, template: S) -> S:
        """Return the optimizer's state after the last committed generation.

        Args:
            name: the run.
            template: a state of the same form, as the optimizer's `init` returns now; its values aren't read.

        Raises:
            StoreError: there is none yet, or it has another form than the template.
        """

        def body(connection: Connection) -> tuple[Row, dict[str, bytes]]:
            run = self._find_row(connection, name)
            return run, rows.state_fields(connection, run.id)

        run, found = self.reading(body)
        if run.generation == 0:
            raise StoreError(f"run {name!r} in {self.url_shown} has no state of an optimizer: nothing is committed yet")
        return from_fields(name, self.url_shown, template, found)

    def individual(self, name: str, generation: int | None = None, index: int | None = None) -> Individual:
        """Return one individual: that of the largest score, of the run or of the generation, if not told which.

        Raises:
            StoreError: there is none.
            ValueError: an index without a generation.
        """
        if index is not None and generation is None:
            raise ValueError(message("generation", "a number beside the index", "none"))

        def body(connection: Connection) -> tuple[Row, Row | None]:
            run = self._find_row(connection, name)
            return run, rows.individual(connection, run.id, generation, index)

        run, row = self.reading(body)
        if row is None:
            which = "with a fitness" if index is None else index
            which = f"no individual {which}" + ("" if generation is None else f" in generation {generation}")
            todo = f"it has the generations 0 to {run.generation - 1}" if run.generation else "it has no generation yet"
            raise StoreError(f"run {name!r} in {self.url_shown} has {which}; {todo}")
        return stored_individual(row, lambda: self._read_genome(run, row))

    def _read_genome(self, run: Row, row: Row) -> np.ndarray:
        """Return the z (D,) of a row of `individuals` with its generation's `genomes`."""
        if row.z:
            return np.frombuffer(row.z, "<f8").copy()
        if row.genomes is not None:
            size = Space.from_json(run.space).size
            _, z = self.genome_files(run.name, size).read(row.genomes, size, row.individual)
            if len(z):
                return z[0]
        which = f"the genome of individual {row.individual} in generation {row.generation} of run {run.name!r}"
        why = "the job's `genomes` or `l2l prune` said so; its fitness and metrics are in the tables"
        raise GenomeMissing(f"{which} in {self.url_shown} was not kept: {why}")
