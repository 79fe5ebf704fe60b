"""The results store: runs, their generations and individuals, and the optimizer's state, in one database.

Legend: P individuals, D search coordinates, M objectives.

    with Store("sqlite:///l2l.db") as store:
        store.create("line-1", "line", manifest, space)
        with store.lease("line-1") as lease:             # one driver at a time
            store.commit(lease, generation, state)       # all of a generation, or nothing of it
            store.finish(lease, "finished")
        state = store.optimizer_state("line-1", optimizer.init(space, seed))

A generation and the optimizer's state after it become visible together, so whatever ends a driver, the run goes
on from its last committed generation. Nothing is pickled: arrays are bytes, their structure comes from the code.
All comes back bit for bit, but for the sign of a zero fitness on SQLite.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from sqlalchemy import Connection, Row, delete, insert, select, update

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.space import Space
from l2l_snn.storage import rows as run_rows
from l2l_snn.storage.database import StoreError, connect, explained, prepare, shown, vacuum
from l2l_snn.storage.genomes import LARGE, GenomeMissing, Genomes, place_of
from l2l_snn.storage.lease import Lease, check_held, release, take
from l2l_snn.storage.lease import RunBusy as RunBusy  # where users look for it
from l2l_snn.storage.reconnect import persist
from l2l_snn.storage.records import (
    Generation,
    Individual,
    RunState,
    StoredRun,
    clean,
    individual,
    individual_rows,
    kept,
    stored_run,
    summary,
)
from l2l_snn.storage.rows import RunExists as RunExists
from l2l_snn.storage.rows import RunUnknown as RunUnknown
from l2l_snn.storage.schema import IDENTITY, RUNS, STATES, WORKERS
from l2l_snn.storage.states import S, from_fields, to_fields
from l2l_snn.validate import check_choice, message

DEFAULT_URL = "sqlite:///l2l.db"
T = TypeVar("T")


class Store:
    """One open store. Threads may share it; processes open their own.

    Genomes above 64 KB are in Parquet files: beside a SQLite file (l2l.genomes/RUN/ beside l2l.db), elsewhere in the
    folder or at the URL that the store's own URL names: postgresql://host/db?genomes=/data/genomes. Several stores
    may share that folder.

    When the connection to a database server is lost, what is read or written waits up to 120 s for it.
    """

    def __init__(self, url: str = DEFAULT_URL, *, create: bool = True):
        """Open the store, upgrading its tables where needed.

        Args:
            url: sqlite:///file or postgresql://..., perhaps with ?genomes=FOLDER.
            create: make it if there is none; otherwise that is an error.

        Raises:
            StoreError: it can't be opened or written, a newer version made it, or there is none.
        """
        self._url = url
        self.url_shown = shown(url)
        self._written: dict[str, dict[str, bytes]] = {}  # by the lease's owner: the fields of the last state committed
        with explained("opening", url):
            self._engine = connect(url)
        self._writer = self._engine.execution_options(writes=True)
        snapshot = {} if self._engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reader = self._engine.execution_options(**snapshot)
        try:
            with explained("opening", url):
                prepare(self._engine, url, create)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Store({self.url_shown!r})"

    def close(self) -> None:
        self._engine.dispose()

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

        with explained(what, self._url), persist(f"{what} {self.url_shown}", attempt) as connection:
            yield connection

    def reading(self, body: Callable[[Connection], T], what: str = "reading") -> T:
        """Return what `body` reads from one state of the store; it is called again if the connection is lost."""

        def attempt(again: bool) -> T:
            with self._reader.connect() as connection:
                return body(connection)

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

        with explained(f"{what} in", self._url):
            return persist(f"{what} in {self.url_shown}", attempt, patience)

    @cached_property
    def genomes(self) -> Genomes | None:
        """The files of large genomes; None where the store has no folder for them."""
        place = place_of(self._url)
        return None if place is None else Genomes(place, self.reading(lambda c: c.scalars(select(IDENTITY.c.id)).one()))

    # runs

    def create(self, name: str, job: str, manifest: dict[str, Any], space: Space) -> None:
        """Add a run without generations; `job` is the job file's stem.

        Raises:
            RunExists: the name is taken.
            ValueError: it can't be a name, since runs have folders of their name.
        """
        values = run_rows.first_values(job, manifest, space)

        def body(connection: Connection, again: bool) -> None:
            if not (again and run_rows.is_there(connection, name, values)):
                run_rows.add(connection, self.url_shown, name, values)

        self.writing(f"creating run {name!r}", body)

    def create_numbered(self, job: str, manifest: dict[str, Any], space: Space) -> str:
        """Add a run without generations under the first free name of job-1, job-2, ..., and return that name."""
        while True:
            with suppress(RunExists):  # another process took it in between
                self.create(name := self.next_name(job), job, manifest, space)
                return name

    def next_name(self, stem: str) -> str:
        """Return the first free name of stem-1, stem-2, ...; what a name can't hold becomes "-"."""
        return self.reading(lambda connection: run_rows.free_name(connection, stem))

    def load(self, name: str) -> StoredRun:
        """Return a run.

        Raises:
            RunUnknown: there is none of that name.
        """
        return stored_run(self.reading(lambda connection: self._row(connection, name)))

    def runs(self) -> list[StoredRun]:
        """Return all runs, the oldest first."""
        rows = self.reading(lambda connection: connection.execute(select(RUNS).order_by(RUNS.c.id)).all())
        return [stored_run(row) for row in rows]

    def _row(self, connection: Connection, name: str, lock: bool = False) -> Row:
        return run_rows.find(connection, self.url_shown, name, lock)

    def copy(self, name: str, new_name: str) -> None:
        """Copy all of a run, state of the optimizer included, under another name, stopped."""

        def body(connection: Connection, again: bool) -> None:
            row = self._row(connection, name, lock=True)
            run_rows.duplicate(connection, self.url_shown, row, new_name, again)

        self.writing(f"copying run {name!r}", body)

    def workers(self, name: str) -> list[WorkerStatus]:
        """Return what the workers of a run did when its driver last told; none when nobody drives it."""

        def body(connection: Connection) -> list[Row]:
            mine = WORKERS.c.run_id == self._row(connection, name).id
            columns = [WORKERS.c[field] for field in WorkerStatus._fields]
            return list(connection.execute(select(*columns).where(mine).order_by(WORKERS.c.worker)))

        return [WorkerStatus(*row) for row in self.reading(body)]

    def request_stop(self, name: str) -> None:
        """Ask the driver of a run to stop; it does after what it is evaluating.

        Raises:
            StoreError: nobody drives the run.
        """

        def body(connection: Connection, again: bool) -> None:
            row = self._row(connection, name, lock=True)
            if (state := stored_run(row).state) != "running":
                raise StoreError(f"run {name!r} in {self.url_shown} can't be asked to stop: it is {state}, not running")
            connection.execute(update(RUNS).where(RUNS.c.id == row.id).values(stop_requested=time.time()))

        self.writing(f"stopping run {name!r}", body)

    def vacuum(self) -> int:
        """Give the room of deleted rows back where that has to be asked for; return the bytes of it."""
        with explained("vacuuming", self._url):
            return vacuum(self._engine)

    # the driver's side

    @contextmanager
    def lease(self, name: str, take_over: bool = False) -> Iterator[Lease]:
        """Take the right to write to a run, which is then "running", and give it back at the end.

        Args:
            name: the run.
            take_over: take it from whoever has it; that driver's next commit is refused.

        Raises:
            RunBusy: another driver has it, and it isn't certain that that one is dead.
            StoreError: its genomes are large, and there is no folder for them.
        """
        token = uuid.uuid4().hex

        def body(connection: Connection, again: bool) -> Lease:
            return take(connection, self._row(connection, name, lock=True), take_over, token)

        lease = self.writing(f"taking run {name!r}", body)
        try:
            if _in_files(lease):
                self.genome_files(lease.name, lease.size).prepare(lease.name)
            yield lease
        except BaseException as error:
            with suppress(StoreError):  # the error on its way out says more
                patience = 5.0 if isinstance(error, StoreError) else None  # it may have waited already
                self._release(lease, f"ended by {type(error).__name__}: {error}", patience)
            raise
        self._release(lease, "its driver ended early")

    def _release(self, lease: Lease, why: str, patience: float | None = None) -> None:
        self._written.pop(lease.owner, None)
        self.writing(f"releasing run {lease.name!r}", lambda c, again: release(c, lease, clean(why)), patience)

    def _owned(self, connection: Connection, lease: Lease) -> Row:
        """Return the run's row, locked, if the lease still holds."""
        row = self._row(connection, lease.name, lock=True)
        check_held(lease, row)
        return row

    def report(self, lease: Lease, workers: Sequence[WorkerStatus]) -> bool:
        """Tell what the workers do now, in place of what was told before.

        Returns:
            Whether somebody asked for a stop since the lease was taken.

        Raises:
            RunBusy: the lease was taken over.
        """
        rows = {clean(status.worker): status for status in workers}

        def body(connection: Connection, again: bool) -> bool:
            run = self._owned(connection, lease)
            connection.execute(delete(WORKERS).where(WORKERS.c.run_id == run.id))
            if rows:
                told = [{"run_id": run.id, **status._asdict(), "worker": name} for name, status in rows.items()]
                connection.execute(insert(WORKERS), told)
            return run.stop_requested is not None

        return self.writing(f"reporting on run {lease.name!r}", body)

    def commit(self, lease: Lease, generation: Generation, state: NamedTuple) -> None:
        """Store a generation and the optimizer's state after it, in one transaction.

        Raises:
            RunBusy: the lease was taken over.
            StoreError: the generation isn't the run's next, or the store couldn't write it; nothing is stored.
            ValueError, TypeError: an array hasn't the right shape or isn't one of numbers.
        """
        keep = kept(lease.genomes, generation.evaluation, self._best(lease) if lease.genomes == "elite" else None)
        rows = individual_rows(lease, generation, keep & (not _in_files(lease)))
        fields = to_fields(state)
        before = self._written.pop(lease.owner, {})  # stays out if this fails
        changed = {field: data for field, data in fields.items() if before.get(field) != data}
        states = [{"run_id": lease.run_id, "field": field, "data": data} for field, data in changed.items()]
        values = summary(generation)
        if _in_files(lease) and keep.any():
            files, numbers = self.genome_files(lease.name, lease.size), np.flatnonzero(keep)
            values["genomes"] = files.write(lease.name, generation.number, numbers, generation.z[numbers])

        def body(connection: Connection, again: bool) -> None:
            run = self._owned(connection, lease)
            if again and run.generation == generation.number + 1:
                return  # it was committed, and the answer was lost
            if generation.number != run.generation:
                got = f"generation {generation.number} can't be committed, its next one is {run.generation}"
                raise StoreError(f"run {lease.name!r} in {self.url_shown}: {got}; read the run again")
            seconds = lease.seconds + time.monotonic() - lease.began
            run_rows.append(connection, run, values, rows, states, seconds)

        self.writing(f"committing generation {generation.number} of run {lease.name!r}", body)
        self._written[lease.owner] = fields

    def _best(self, lease: Lease) -> float | None:
        return self.reading(lambda c: c.scalars(select(RUNS.c.best).where(RUNS.c.id == lease.run_id)).one_or_none())

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

    def finish(self, lease: Lease, state: RunState, message: str = "", seconds: float | None = None) -> None:
        """Say how the run ended.

        Args:
            lease: the driver's lease.
            state: finished, stopped or failed.
            message: why.
            seconds: driver time of this lease, s; the time since it was taken if left out.

        Raises:
            RunBusy: the lease was taken over.
        """
        check_choice("state", state, ("finished", "stopped", "failed"))
        total = lease.seconds + (time.monotonic() - lease.began if seconds is None else seconds)
        end = {"state": state, "message": clean(message), "finished": time.time(), "seconds": total}

        def body(connection: Connection, again: bool) -> None:
            self._owned(connection, lease)
            connection.execute(update(RUNS).where(RUNS.c.id == lease.run_id).values(end))

        self.writing(f"finishing run {lease.name!r}", body)

    # reading back

    def optimizer_state(self, name: str, template: S) -> S:
        """Return the optimizer's state after the last committed generation.

        Args:
            name: the run.
            template: a state of the same form, as the optimizer's `init` returns now; its values aren't read.

        Raises:
            StoreError: there is none yet, or it has another form than the template.
        """

        def body(connection: Connection) -> tuple[Row, dict[str, bytes]]:
            run = self._row(connection, name)
            rows = connection.execute(select(STATES).where(STATES.c.run_id == run.id))
            return run, {row.field: row.data for row in rows}

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
            run = self._row(connection, name)
            return run, run_rows.individual(connection, run.id, generation, index)

        run, row = self.reading(body)
        if row is None:
            which = "with a fitness" if index is None else index
            which = f"no individual {which}" + ("" if generation is None else f" in generation {generation}")
            todo = f"it has the generations 0 to {run.generation - 1}" if run.generation else "it has no generation yet"
            raise StoreError(f"run {name!r} in {self.url_shown} has {which}; {todo}")
        return individual(row, lambda: self._genome(run, row))

    def _genome(self, run: Row, row: Row) -> np.ndarray:
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


def _in_files(lease: Lease) -> bool:
    return 8 * lease.size > LARGE and lease.genomes != "none"
