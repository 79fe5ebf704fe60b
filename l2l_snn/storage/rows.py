"""The SQL of runs and of all that belongs to them: each function is a part of a caller's transaction.

Selections of a part of a run, for pages, are in queries.py.
"""

import re
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, literal, select, text, update
from sqlalchemy.exc import IntegrityError

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.lease import Process, check_free, check_held, columns
from l2l_snn.storage.records import check_name
from l2l_snn.storage.schema import GENERATIONS, IDENTITY, INDIVIDUALS, METADATA, RUNS, STATES, WORKERS
from l2l_snn.validate import did_you_mean, message


class RunExists(StoreError):
    """The name is taken."""


class RunUnknown(StoreError):
    """The store has no run of that name."""


def identity(connection: Connection) -> str:
    """Return the 8 letters that tell a store from others."""
    return connection.scalars(select(IDENTITY.c.id)).one()


# runs


def all_runs(connection: Connection) -> Sequence[Row]:
    """Return the rows of all runs, the oldest first."""
    return connection.execute(select(RUNS).order_by(RUNS.c.id)).all()


def find(connection: Connection, store: str, name: str, lock: bool = False) -> Row:
    """Return a run's row.

    Args:
        connection: of the store.
        store: its URL, for the message.
        name: the run's.
        lock: let no other transaction change the row until this one ends.

    Raises:
        RunUnknown: there is none of that name.
    """
    rows = select(RUNS).where(RUNS.c.name == name)
    row = connection.execute(rows.with_for_update() if lock else rows).one_or_none()
    if row is None:
        todo = did_you_mean(name, list(connection.scalars(select(RUNS.c.name))))
        raise RunUnknown(message("run", f"the name of a run in {store}", repr(name), todo))
    return row


def names_of(connection: Connection) -> set[str]:
    """Return the names of all runs."""
    return set(connection.scalars(select(RUNS.c.name)))


def is_there(connection: Connection, name: str, values: dict[str, Any]) -> bool:
    """Return whether a run has just these values: an attempt whose answer was lost has added it."""
    row = connection.execute(select(RUNS).where(RUNS.c.name == name)).one_or_none()
    return row is not None and all(getattr(row, key) == value for key, value in values.items())


def add(connection: Connection, store: str, name: str, values: dict[str, Any]) -> int:
    """Add a run and return its id.

    Args:
        connection: of the store, in a transaction that writes.
        store: its URL, for the message.
        name: the new run's.
        values: its other columns.

    Raises:
        RunExists: the name is taken.
        ValueError: it can't be a name, since runs have folders of their name.
    """
    check_name(name)
    try:
        result = connection.execute(insert(RUNS).values(name=name, **values))
    except IntegrityError as error:
        todo = f"choose another --name, or continue it with: l2l resume {name}"
        raise RunExists(f"run {name!r} exists in {store}; {todo}") from error
    assert result.inserted_primary_key is not None  # one row always has one
    return result.inserted_primary_key[0]


def free_name(connection: Connection, stem: str) -> str:
    """Return the first free name of stem-1, stem-2, ...; what a name can't hold becomes "-"."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip(".-")[:90] or "run"
    taken = set(connection.scalars(select(RUNS.c.name).where(RUNS.c.name.startswith(stem, autoescape=True))))
    return next(name for i in range(1, len(taken) + 2) if (name := f"{stem}-{i}") not in taken)


def duplicate(connection: Connection, store: str, row: Row, new_name: str, again: bool) -> None:
    """Copy a run with all that belongs to it, stopped; the copy names the same genome files.

    Args:
        connection: of the store, in a transaction that writes.
        store: its URL, for the message.
        row: the run's.
        new_name: the copy's.
        again: an earlier attempt may have been committed.
    """
    values = {**row._asdict(), **columns(None), "state": "stopped", "message": f"copy of {row.name}"}
    values["stop_requested"] = None
    old, _ = values.pop("id"), values.pop("name")
    if again and is_there(connection, new_name, values):
        return
    new = add(connection, store, new_name, values)
    for table in (GENERATIONS, INDIVIDUALS, STATES):
        others = [column for column in table.c if column.name != "run_id"]
        rows = select(literal(new), *others).where(table.c.run_id == old)
        connection.execute(insert(table).from_select(["run_id", *others], rows))


def request_stop(connection: Connection, run_id: int) -> None:
    """Note that somebody asks the driver of a run to stop."""
    connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(stop_requested=time.time()))


def keep_manifest(connection: Connection, run_id: int, manifest: str) -> None:
    """Put another manifest, JSON text, in place of a run's."""
    connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(manifest=manifest))


def annotate(connection: Connection, run_id: int, values: dict[str, str]) -> None:
    """Put another `note` or other `tags` beside a run."""
    connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(values))


def remove(connection: Connection, run_id: int) -> None:
    """Delete a run with all that belongs to it, but for its genome files."""
    for table in (WORKERS, STATES, INDIVIDUALS, GENERATIONS):
        connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(delete(RUNS).where(RUNS.c.id == run_id))


# a run's driver


def take(connection: Connection, store: str, name: str, token: str, take_over: bool) -> Row:
    """Take the lease of a run and return its row.

    Args:
        connection: of the store, in a transaction that writes.
        store: its URL, for the message.
        name: the run's.
        token: random; a lease that has it already is ours.
        take_over: take it from a living driver too.

    Raises:
        RunBusy: another driver has it, and it isn't certain that that one is dead.
    """
    row = find(connection, store, name, lock=True)
    if not take_over and row.owner != token:
        check_free(row)
    values = {"state": "running", "message": "", "finished": None, "stop_requested": None}
    values |= columns(Process.here(), token, time.time())
    connection.execute(update(RUNS).where(RUNS.c.id == row.id).values(values))
    connection.execute(delete(WORKERS).where(WORKERS.c.run_id == row.id))
    return find(connection, store, name)


def held(connection: Connection, store: str, name: str, token: str) -> Row:
    """Return a run's row, locked, if the lease with this token still holds.

    Raises:
        RunBusy: it was taken over.
    """
    row = find(connection, store, name, lock=True)
    check_held(row, token)
    return row


def release(connection: Connection, run_id: int, token: str, why: str) -> None:
    """Give a lease back, unless it was taken over; a run that nobody finished becomes "stopped"."""
    still = RUNS.c.state == "running"
    values = {
        "state": case((still, "stopped"), else_=RUNS.c.state),
        "message": case((still, why), else_=RUNS.c.message),
        "finished": case((still, time.time()), else_=RUNS.c.finished),
        "stop_requested": None,
        **columns(None),
    }
    ours = (RUNS.c.id == run_id, RUNS.c.owner == token)
    if connection.execute(update(RUNS).where(*ours).values(values)).rowcount:
        connection.execute(delete(WORKERS).where(WORKERS.c.run_id == run_id))


def finish(connection: Connection, run_id: int, state: str, message: str, seconds: float) -> None:
    """Say how a run ended, and how many seconds all its drivers took."""
    end = {"state": state, "message": message, "finished": time.time(), "seconds": seconds}
    connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(end))


def note(connection: Connection, run_id: int, message: str) -> None:
    """Put a message beside a run."""
    connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(message=message))


def best(connection: Connection, run_id: int) -> float | None:
    """Return a run's best score, None if there is none."""
    return connection.scalars(select(RUNS.c.best).where(RUNS.c.id == run_id)).one_or_none()


def replace_workers(connection: Connection, run_id: int, workers: Sequence[WorkerStatus]) -> None:
    """Put what a run's workers do in the place of what was told before."""
    connection.execute(delete(WORKERS).where(WORKERS.c.run_id == run_id))
    if workers:
        connection.execute(insert(WORKERS), [{"run_id": run_id, **status._asdict()} for status in workers])


def workers(connection: Connection, run_id: int) -> list[WorkerStatus]:
    """Return what a run's workers did when its driver last told."""
    shown = select(*(WORKERS.c[field] for field in WorkerStatus._fields))
    found = connection.execute(shown.where(WORKERS.c.run_id == run_id).order_by(WORKERS.c.worker))
    return [WorkerStatus(*row) for row in found]


# generations, individuals and states


def append(
    connection: Connection,
    run: Row,
    generation: dict[str, Any],
    individuals: list[dict[str, Any]],
    states: list[dict[str, Any]],
    seconds: float,
) -> None:
    """Add a generation's rows, put what changed in the state in its place, and bring the run's totals up to date.

    Args:
        connection: of the store, in a transaction that writes.
        run: the run's row, locked.
        generation: the columns of its row, run and best_so_far left out.
        individuals: whole rows.
        states: whole rows, those of fields that changed.
        seconds: s, of all the run's drivers together.
    """
    best = max((b for b in (run.best, generation["best"]) if b is not None), default=None)
    totals = {
        "generation": run.generation + 1,
        "evaluations": run.evaluations + generation["evaluations"],
        "failed": run.failed + generation["failed"],
        "best": best,
        "seconds": seconds,
    }
    connection.execute(update(RUNS).where(RUNS.c.id == run.id).values(totals))
    connection.execute(insert(GENERATIONS).values(run_id=run.id, best_so_far=best, **generation))
    connection.execute(insert(INDIVIDUALS), individuals)
    if states:
        fields = [row["field"] for row in states]
        connection.execute(delete(STATES).where(STATES.c.run_id == run.id, STATES.c.field.in_(fields)))
        connection.execute(insert(STATES), states)


def state_fields(connection: Connection, run_id: int) -> dict[str, bytes]:
    """Return the bytes of the optimizer's state after the last generation, by field."""
    return {row.field: row.data for row in connection.execute(select(STATES).where(STATES.c.run_id == run_id))}


def individual(connection: Connection, run_id: int, generation: int | None, index: int | None) -> Row | None:
    """Return an individual's row, the best one's if it isn't named, with what its generation says of it.

    Args:
        connection: of the store.
        run_id: the run's.
        generation: its number; any if left out.
        index: the individual's number in it; the best if left out.

    Returns:
        A row of `individuals` with the generation's metrics as `names`, evaluations as `population`, and `genomes`;
        None if there is none.
    """
    i, g = INDIVIDUALS.c, GENERATIONS.c
    rows = select(INDIVIDUALS, g.metrics.label("names"), g.evaluations.label("population"), g.genomes)
    rows = rows.join_from(INDIVIDUALS, GENERATIONS, (i.run_id == g.run_id) & (i.generation == g.generation))
    if index is not None:
        rows = rows.where(i.run_id == run_id, i.generation == generation, i.individual == index)
    else:
        best = select(g.generation).where(g.run_id == run_id, g.best.is_not(None))
        if generation is not None:
            best = best.where(g.generation == generation)
        best = best.order_by(g.best.desc(), g.generation).limit(1).scalar_subquery()
        rows = rows.where(i.run_id == run_id, i.generation == best, i.fitness == g.best)
    return connection.execute(rows.order_by(i.individual).limit(1)).one_or_none()


def generations(connection: Connection, run_id: int, *columns: str) -> Sequence[Row]:
    """Return these columns of all generations of a run, in their order; all columns if none is named."""
    g = GENERATIONS.c
    chosen = select(*(g[name] for name in columns)) if columns else select(GENERATIONS)
    return connection.execute(chosen.where(g.run_id == run_id).order_by(g.generation)).all()


def individuals(connection: Connection, run_id: int, *columns: str, generation: int | None = None) -> Sequence[Row]:
    """Return these columns of all individuals of a run, or of one generation, in their order; all if none is named."""
    i = INDIVIDUALS.c
    chosen = select(*(i[name] for name in columns)) if columns else select(INDIVIDUALS)
    where = [i.run_id == run_id] + ([] if generation is None else [i.generation == generation])
    return connection.execute(chosen.where(*where).order_by(i.generation, i.individual)).all()


def column_kinds(table: str) -> dict[str, str]:
    """Return the kind of each column of `generations` or `individuals`, its run left out.

    >>> column_kinds("individuals")["fitness"]
    'Double'
    """
    return {column.name: type(column.type).__name__ for column in METADATA.tables[table].c if column.name != "run_id"}


def insert_into(connection: Connection, table: str, run_id: int, values: Sequence[dict[str, Any]]) -> None:
    """Add rows of a run to `generations`, `individuals` or `states`; none is fine."""
    if values:
        connection.execute(insert(METADATA.tables[table]), [{**row, "run_id": run_id} for row in values])


# genomes


def lock_genomes(connection: Connection) -> None:
    """Block other transactions that name or remove genome files until this one ends."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(text(f"LOCK TABLE {IDENTITY.name} IN EXCLUSIVE MODE"))


def with_genome(connection: Connection, run_id: int, generation: int) -> set[int]:
    """Return which individuals of a generation have their genome in their row."""
    i = INDIVIDUALS.c
    mine = (i.run_id == run_id, i.generation == generation)
    return set(connection.scalars(select(i.individual).where(*mine, func.length(i.z) > 0)))


def forget_genomes(connection: Connection, run_id: int, generation: int, individuals: Sequence[int]) -> None:
    """Empty the genomes in the rows of some individuals of a generation."""
    i = INDIVIDUALS.c
    mine = (i.run_id == run_id, i.generation == generation, i.individual == bindparam("number"))
    connection.execute(update(INDIVIDUALS).where(*mine).values(z=b""), [{"number": k} for k in individuals])


def genome_file(connection: Connection, run_id: int, generation: int) -> str | None:
    """Return the file of a generation's large genomes, None if it has none."""
    g = GENERATIONS.c
    return connection.scalars(select(g.genomes).where(g.run_id == run_id, g.generation == generation)).one()


def name_genome_file(connection: Connection, run_id: int, generation: int, file: str | None) -> None:
    """Name the file of a generation's large genomes."""
    g = GENERATIONS.c
    row = (g.run_id == run_id, g.generation == generation)
    connection.execute(update(GENERATIONS).where(*row).values(genomes=file))


def genome_files(connection: Connection) -> set[str]:
    """Return the files of large genomes that generations of any run name."""
    return set(connection.scalars(select(GENERATIONS.c.genomes).where(GENERATIONS.c.genomes.is_not(None))))


def driven(connection: Connection) -> set[str]:
    """Return the names of the runs that a driver holds, dead or alive."""
    return set(connection.scalars(select(RUNS.c.name).where(RUNS.c.owner.is_not(None))))
