"""The results store: runs, their generations and individuals, and the optimizer's state, in one database.

Legend: P individuals, D search coordinates, M objectives.

    with Store("sqlite:///l2l.db") as store:
        store.create("line-1", "line", manifest, space)
        with store.lease("line-1") as lease:             # one driver at a time
            store.commit(lease, generation, state)       # all of a generation, or nothing of it
            store.finish(lease, "finished")
        state = store.optimizer_state("line-1", State)

A generation and the optimizer's state after it become visible together, so whatever ends a driver, the run goes
on from its last committed generation. Nothing is pickled: arrays are bytes, their structure comes from the code.
All comes back bit for bit, but for the sign of a zero fitness on SQLite.
"""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection, Row, delete, insert, literal, select, update
from sqlalchemy.exc import IntegrityError

from l2l_snn.database import StoreError, connect, explained, prepare, shown
from l2l_snn.lease import Lease, check_held, columns, release, take
from l2l_snn.lease import RunBusy as RunBusy  # where users look for it
from l2l_snn.migrations.schema import GENERATIONS, INDIVIDUALS, RUNS, STATES
from l2l_snn.records import (
    Generation,
    Individual,
    RunState,
    StoredRun,
    check_name,
    clean,
    from_bytes,
    individual,
    individual_rows,
    stored_run,
    summary,
    to_bytes,
)
from l2l_snn.space import Space
from l2l_snn.validate import check_choice, did_you_mean, message

DEFAULT_URL = "sqlite:///l2l.db"
S = TypeVar("S", bound=NamedTuple)


class RunExists(StoreError):
    """The name is taken."""


class RunUnknown(StoreError):
    """The store has no run of that name."""


class Store:
    """One open store. Threads may share it; processes open their own."""

    def __init__(self, url: str = DEFAULT_URL, *, create: bool = True):
        """Open the store, upgrading its tables where needed.

        Args:
            url: sqlite:///file or postgresql://...
            create: make it if there is none; otherwise that is an error.

        Raises:
            StoreError: it can't be opened or written, a newer version made it, or there is none.
        """
        self.url_shown = shown(url)
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

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def read(self, what: str = "reading") -> Iterator[Connection]:
        """Give a connection whose selects all see one state of the store."""
        with explained(what, self.url_shown), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def _write(self, what: str) -> Iterator[Connection]:
        with explained(f"{what} in", self.url_shown), self._writer.begin() as connection:
            yield connection

    # runs

    def create(self, name: str, job: str, manifest: dict[str, Any], space: Space) -> None:
        """Add a run without generations; `job` is the job file's stem.

        Raises:
            RunExists: the name is taken.
            ValueError: it can't be a name, since runs have folders of their name.
        """
        values = {"job": job, "manifest": json.dumps(manifest), "space": space.to_json(), "state": "stopped"}
        values |= {"message": "not started", "generation": 0, "evaluations": 0, "failed": 0, "seconds": 0.0}
        with self._write(f"creating run {name!r}") as connection:
            self._insert_run(connection, name, {**values, "started": time.time()})

    def _insert_run(self, connection: Connection, name: str, values: dict[str, Any]) -> int:
        check_name(name)
        try:
            result = connection.execute(insert(RUNS).values(name=name, **values))
        except IntegrityError as error:
            todo = f"choose another --name, or continue it with: l2l resume {name}"
            raise RunExists(f"run {name!r} exists in {self.url_shown}; {todo}") from error
        assert result.inserted_primary_key is not None  # one row always has one
        return result.inserted_primary_key[0]

    def next_name(self, stem: str) -> str:
        """Return the first free name of stem-1, stem-2, ...; what a name can't hold becomes "-"."""
        stem = re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip(".-")[:90] or "run"
        with self.read() as connection:
            taken = set(connection.scalars(select(RUNS.c.name).where(RUNS.c.name.startswith(stem, autoescape=True))))
        return next(name for i in range(1, len(taken) + 2) if (name := f"{stem}-{i}") not in taken)

    def load(self, name: str) -> StoredRun:
        """Return a run.

        Raises:
            RunUnknown: there is none of that name.
        """
        with self.read() as connection:
            return stored_run(self._row(connection, name))

    def runs(self) -> list[StoredRun]:
        """Return all runs, the oldest first."""
        with self.read() as connection:
            return [stored_run(row) for row in connection.execute(select(RUNS).order_by(RUNS.c.id))]

    def _row(self, connection: Connection, name: str, lock: bool = False) -> Row:
        rows = select(RUNS).where(RUNS.c.name == name)
        row = connection.execute(rows.with_for_update() if lock else rows).one_or_none()
        if row is None:
            todo = did_you_mean(name, list(connection.scalars(select(RUNS.c.name))))
            raise RunUnknown(message("run", f"the name of a run in {self.url_shown}", repr(name), todo))
        return row

    def copy(self, name: str, new_name: str) -> None:
        """Copy all of a run, state of the optimizer included, under another name, stopped."""
        with self._write(f"copying run {name!r}") as connection:
            row = self._row(connection, name, lock=True)
            values = {**row._mapping, **columns(None), "state": "stopped", "message": f"copy of {name}"}
            old, _ = values.pop("id"), values.pop("name")
            new = self._insert_run(connection, new_name, values)
            for table in (GENERATIONS, INDIVIDUALS, STATES):
                others = [column for column in table.c if column.name != "run_id"]
                rows = select(literal(new), *others).where(table.c.run_id == old)
                connection.execute(insert(table).from_select(["run_id", *others], rows))

    # the driver's side

    @contextmanager
    def lease(self, name: str, take_over: bool = False) -> Iterator[Lease]:
        """Take the right to write to a run, which is then "running", and give it back at the end.

        Args:
            name: the run.
            take_over: take it from whoever has it; that driver's next commit is refused.

        Raises:
            RunBusy: another driver has it, and it isn't certain that that one is dead.
        """
        with self._write(f"taking run {name!r}") as connection:
            lease = take(connection, self._row(connection, name, lock=True), take_over)
        try:
            yield lease
        except BaseException as error:
            with suppress(StoreError):  # the error on its way out says more
                self._release(lease, f"ended by {type(error).__name__}: {error}")
            raise
        self._release(lease, "its driver ended early")

    def _release(self, lease: Lease, why: str) -> None:
        with self._write(f"releasing run {lease.name!r}") as connection:
            release(connection, lease, clean(why))

    def _owned(self, connection: Connection, lease: Lease) -> Row:
        """Return the run's row, locked, if the lease still holds."""
        row = self._row(connection, lease.name, lock=True)
        check_held(lease, row)
        return row

    def commit(self, lease: Lease, generation: Generation, state: NamedTuple) -> None:
        """Store a generation and the optimizer's state after it, in one transaction.

        Raises:
            RunBusy: the lease was taken over.
            StoreError: the generation isn't the run's next, or the store couldn't write it; nothing is stored.
            ValueError, TypeError: an array hasn't the right shape or isn't one of numbers.
        """
        rows = individual_rows(lease, generation)
        states = [{"run_id": lease.run_id, "field": f, "data": to_bytes(f, v)} for f, v in state._asdict().items()]
        values = summary(generation)
        with self._write(f"committing generation {generation.number} of run {lease.name!r}") as connection:
            run = self._owned(connection, lease)
            if generation.number != run.generation:
                got = f"generation {generation.number} can't be committed, its next one is {run.generation}"
                raise StoreError(f"run {lease.name!r} in {self.url_shown}: {got}; read the run again")
            best = max((b for b in (run.best, values["best"]) if b is not None), default=None)
            totals = {
                "generation": run.generation + 1,
                "evaluations": run.evaluations + values["evaluations"],
                "failed": run.failed + values["failed"],
                "best": best,
                "seconds": lease.seconds + time.monotonic() - lease.began,
            }
            connection.execute(update(RUNS).where(RUNS.c.id == lease.run_id).values(totals))
            connection.execute(insert(GENERATIONS).values(run_id=lease.run_id, best_so_far=best, **values))
            connection.execute(insert(INDIVIDUALS), rows)
            connection.execute(delete(STATES).where(STATES.c.run_id == lease.run_id))
            connection.execute(insert(STATES), states)

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
        with self._write(f"finishing run {lease.name!r}") as connection:
            self._owned(connection, lease)
            connection.execute(update(RUNS).where(RUNS.c.id == lease.run_id).values(end))

    # reading back

    def optimizer_state(self, name: str, kind: type[S]) -> S:
        """Return the optimizer's state after the last committed generation.

        Args:
            name: the run.
            kind: the state's class, as the code has it now.

        Raises:
            StoreError: there is none yet, or its fields aren't those of the class.
        """
        with self.read() as connection:
            run = self._row(connection, name)
            found = {r.field: r.data for r in connection.execute(select(STATES).where(STATES.c.run_id == run.id))}
        where = f"the optimizer's state of run {name!r} in {self.url_shown}"
        if run.generation == 0:
            raise StoreError(f"run {name!r} in {self.url_shown} has no state of an optimizer: nothing is committed yet")
        if set(found) != set(kind._fields):
            differ = f"the fields {', '.join(sorted(found))}, {kind.__name__} has {', '.join(sorted(kind._fields))}"
            todo = f"continue it with the code that made it (see: l2l show {name}), or start a new run"
            raise StoreError(f"{where} has {differ}; {todo}")
        return kind._make(from_bytes(where, field, found[field]) for field in kind._fields)

    def individual(self, name: str, generation: int | None = None, index: int | None = None) -> Individual:
        """Return one individual: that of the largest score, of the run or of the generation, if not told which.

        Raises:
            StoreError: there is none.
            ValueError: an index without a generation.
        """
        if index is not None and generation is None:
            raise ValueError(message("generation", "a number beside the index", "none"))
        i, g = INDIVIDUALS.c, GENERATIONS.c
        with self.read() as connection:
            run = self._row(connection, name)
            rows = select(INDIVIDUALS, g.metrics.label("names"), g.evaluations.label("population")).join_from(
                INDIVIDUALS, GENERATIONS, (i.run_id == g.run_id) & (i.generation == g.generation)
            )
            if index is not None:
                rows = rows.where(i.run_id == run.id, i.generation == generation, i.individual == index)
            else:
                best = select(g.generation).where(g.run_id == run.id, g.best.is_not(None))
                if generation is not None:
                    best = best.where(g.generation == generation)
                best = best.order_by(g.best.desc(), g.generation).limit(1).scalar_subquery()
                rows = rows.where(i.run_id == run.id, i.generation == best, i.fitness == g.best)
            row = connection.execute(rows.order_by(i.individual).limit(1)).one_or_none()
        if row is None:
            which = "with a fitness" if index is None else index
            which = f"no individual {which}" + ("" if generation is None else f" in generation {generation}")
            todo = f"it has the generations 0 to {run.generation - 1}" if run.generation else "it has no generation yet"
            raise StoreError(f"run {name!r} in {self.url_shown} has {which}; {todo}")
        return individual(row)
