"""Runs as rows, with all that belongs to them: found, added to, copied, deleted, each in a caller's transaction."""

import json
import re
import time
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, literal, select, text, update
from sqlalchemy.exc import IntegrityError

from l2l_snn.space import Space
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.lease import columns
from l2l_snn.storage.records import check_name, clean
from l2l_snn.storage.schema import GENERATIONS, IDENTITY, INDIVIDUALS, RUNS, STATES, WORKERS
from l2l_snn.validate import did_you_mean, message


class RunExists(StoreError):
    """The name is taken."""


class RunUnknown(StoreError):
    """The store has no run of that name."""


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


def first_values(job: str, manifest: dict[str, Any], space: Space) -> dict[str, Any]:
    """Return the columns of a run without generations, its name left out."""
    values = {"job": clean(job), "manifest": json.dumps(manifest), "space": space.to_json(), "state": "stopped"}
    values |= {"message": "not started", "generation": 0, "evaluations": 0, "failed": 0, "seconds": 0.0}
    return {**values, "started": time.time()}


def is_there(connection: Connection, name: str, values: dict[str, Any]) -> bool:
    """Return whether a run has just these values: an attempt whose answer was lost has added it."""
    row = connection.execute(select(RUNS).where(RUNS.c.name == name)).one_or_none()
    return row is not None and all(row._mapping[key] == value for key, value in values.items())


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
    values = {**row._mapping, **columns(None), "state": "stopped", "message": f"copy of {row.name}"}
    values["stop_requested"] = None
    old, _ = values.pop("id"), values.pop("name")
    if again and is_there(connection, new_name, values):
        return
    new = add(connection, store, new_name, values)
    for table in (GENERATIONS, INDIVIDUALS, STATES):
        others = [column for column in table.c if column.name != "run_id"]
        rows = select(literal(new), *others).where(table.c.run_id == old)
        connection.execute(insert(table).from_select(["run_id", *others], rows))


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


def remove(connection: Connection, run_id: int) -> None:
    """Delete a run with all that belongs to it, but for its genome files."""
    for table in (WORKERS, STATES, INDIVIDUALS, GENERATIONS):
        connection.execute(delete(table).where(table.c.run_id == run_id))
    connection.execute(delete(RUNS).where(RUNS.c.id == run_id))


def lock_genomes(connection: Connection) -> None:
    """Let no other such transaction go on until this one ends: what one writes, another would take for left over."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
        connection.execute(text(f"LOCK TABLE {IDENTITY.name} IN EXCLUSIVE MODE"))
