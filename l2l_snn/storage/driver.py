"""Writing to a run: one driver at a time, a generation at a time.

with drive(store, "line-1") as driver:
    driver.commit(generation, state)        # all of it, or nothing of it
    if driver.report(workers):              # somebody asks for a stop
        driver.finish("stopped", "stop requested")
"""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Row

from l2l_snn.evaluation import WorkerStatus, describe_in_line
from l2l_snn.storage import rows
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.encoding import generation_values, individual_values, stored_run
from l2l_snn.storage.genomes import LARGE
from l2l_snn.storage.records import Generation, RunState, StoredRun, kept, storable
from l2l_snn.storage.states import to_fields
from l2l_snn.storage.store import Store
from l2l_snn.validate import check_choice


@contextmanager
def drive(store: Store, name: str, *, take_over: bool = False) -> Iterator["Driver"]:
    """Take the right to write to a run, which is then "running", and give it back at the end.

    Args:
        store: the store that has the run.
        name: the run.
        take_over: take it from whoever has it; that driver's next commit is refused.

    Raises:
        RunBusy: another driver has it, and it isn't certain that that one is dead.
        StoreError: its genomes are large, and there is no folder for them.
    """
    with store.kept():
        yield from _hold_lease(store, name, take_over)


def _hold_lease(store: Store, name: str, take_over: bool) -> Iterator["Driver"]:
    token = uuid.uuid4().hex

    def body(connection: Connection, again: bool) -> Row:
        return rows.take(connection, store.url_shown, name, token, take_over)

    driver = Driver(store, stored_run(store.writing(f"taking run {name!r}", body)), token)
    try:
        if driver.in_files:
            store.genome_files(name, driver.run.space.size).prepare(name)
        yield driver
    except BaseException as error:
        with suppress(StoreError):  # the error on its way out says more
            patience = 5.0 if isinstance(error, StoreError) else None  # it may have waited already
            driver.release(f"ended by {describe_in_line(error)}", patience)
        raise
    driver.release("its driver ended early")


class Driver:
    """The right to write to a run, until it is released or taken over; `drive` makes it."""

    def __init__(self, store: Store, run: StoredRun, token: str):
        """Hold the lease with this token, which `run` was just taken with."""
        self.run = run  # as it was taken
        self.in_files = 8 * run.space.size > LARGE and run.genomes != "none"  # whether its genomes go into files
        self._store = store
        self._token = token
        self._began = time.monotonic()
        self._written: dict[str, bytes] = {}  # the fields of the last state committed

    def commit(self, generation: Generation, state: NamedTuple) -> None:
        """Store a generation and the optimizer's state after it, in one transaction.

        Raises:
            RunBusy: the run was taken over.
            StoreError: the generation isn't the run's next, or the store couldn't write it; nothing is stored.
            ValueError, TypeError: an array hasn't the right shape or isn't one of numbers.
        """
        run, store = self.run, self._store
        best = store.reading(lambda connection: rows.best(connection, run.id)) if run.genomes == "elite" else None
        keep = kept(run.genomes, generation.evaluation, best)
        individuals = individual_values(run, generation, keep & (not self.in_files))
        fields = to_fields(state)
        before, self._written = self._written, {}  # after a failure, all is written again
        changed = {field: data for field, data in fields.items() if before.get(field) != data}
        states = [{"run_id": run.id, "field": field, "data": data} for field, data in changed.items()]
        values = generation_values(generation)
        if self.in_files and keep.any():
            files, numbers = store.genome_files(run.name, run.space.size), np.flatnonzero(keep)
            values["genomes"] = files.write(run.name, generation.number, numbers, generation.z[numbers])

        def body(connection: Connection, again: bool) -> None:
            row = self._held_row(connection)
            if again and row.generation == generation.number + 1:
                return  # it was committed, and the answer was lost
            if generation.number != row.generation:
                got = f"generation {generation.number} can't be committed, its next one is {row.generation}"
                raise StoreError(f"run {run.name!r} in {store.url_shown}: {got}; read the run again")
            rows.append(connection, row, values, individuals, states, self.total_seconds())

        store.writing(f"committing generation {generation.number} of run {run.name!r}", body)
        self._written = fields

    def remember(self, entries: dict[str, Any]) -> None:
        """Store entries of the job that were changed since it was stored.

        Args:
            entries: key -> value, plain data.

        Raises:
            RunBusy: the run was taken over.
        """
        job = self.run.manifest.get("job", entries)
        if all(job.get(key) == value for key, value in entries.items()):
            return
        manifest = json.dumps({**self.run.manifest, "job": {**job, **entries}})

        def body(connection: Connection, again: bool) -> None:
            rows.keep_manifest(connection, self._held_row(connection).id, manifest)

        self._store.writing(f"storing the job of run {self.run.name!r}", body)

    def report(self, workers: Sequence[WorkerStatus]) -> bool:
        """Tell what the workers do now, in place of what was told before.

        Returns:
            Whether somebody asked for a stop since the run was taken.

        Raises:
            RunBusy: the run was taken over.
        """
        told = {storable(status.worker): status for status in workers}
        cleaned = [status._replace(worker=worker) for worker, status in told.items()]

        def body(connection: Connection, again: bool) -> bool:
            row = self._held_row(connection)
            rows.replace_workers(connection, row.id, cleaned)
            return row.stop_requested is not None

        return self._store.writing(f"reporting on run {self.run.name!r}", body)

    def note(self, text: str) -> None:
        """Say what is going on, as the run's message, until the next note or the end.

        Raises:
            RunBusy: the run was taken over.
        """

        def body(connection: Connection, again: bool) -> None:
            rows.note(connection, self._held_row(connection).id, storable(text))

        self._store.writing(f"noting on run {self.run.name!r}", body)

    def finish(self, state: RunState, message: str = "", seconds: float | None = None) -> None:
        """Say how the run ended.

        Args:
            state: finished, stopped or failed.
            message: why.
            seconds: s that this driver took; the time since it took the run if left out.

        Raises:
            RunBusy: the run was taken over.
        """
        check_choice("state", state, ("finished", "stopped", "failed"))
        total = self.total_seconds() if seconds is None else self.run.seconds + seconds

        def body(connection: Connection, again: bool) -> None:
            rows.finish(connection, self._held_row(connection).id, state, storable(message), total)

        self._store.writing(f"finishing run {self.run.name!r}", body)

    def release(self, why: str, patience: float | None = None) -> None:
        """Give the run back, as `drive` does at its end; one that isn't finished becomes "stopped".

        Args:
            why: the run's message if it becomes "stopped".
            patience: s to wait for a lost server; 120 if left out.
        """
        run, token = self.run, self._token

        def body(connection: Connection, again: bool) -> None:
            rows.release(connection, run.id, token, storable(why))

        self._store.writing(f"releasing run {run.name!r}", body, patience)

    def _held_row(self, connection: Connection) -> Row:
        """Return the run's row, locked, if it wasn't taken over."""
        return rows.held(connection, self._store.url_shown, self.run.name, self._token)

    def total_seconds(self) -> float:
        """Return the s of all the run's drivers together, this one until now."""
        return self.run.seconds + time.monotonic() - self._began
