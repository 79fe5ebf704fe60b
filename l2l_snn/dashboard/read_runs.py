"""Runs, curves and the cloud of fitness, thinned by the database: what is read doesn't grow with the run.

    generations(store, run.id, run.generation)      # at most 1,000 entries
    cloud(store, run.id, run.generation, after=41)  # what is new since generation 41

Thinning depends on how many generations there are only through its next power of two, so that what was read before
mostly stays right; `every` and `per_generation` in an answer tell when it doesn't.
"""

import json
from collections.abc import Sequence

import numpy as np

from l2l_snn.dashboard.models import Cloud, Generations
from l2l_snn.evaluation import in_line
from l2l_snn.storage import queries, rows
from l2l_snn.storage.encoding import stored_run
from l2l_snn.storage.records import StoredRun, clean
from l2l_snn.storage.store import Store

CURVE = 1_000  # entries of a curve, at most
POINTS = 3_000  # of the cloud, about
RECENT = 10  # generations that tell the present speed
LONGEST_ERROR = 500  # characters of it


def runs(
    store: Store,
    text: str,
    state: str | None,
    offset: int,
    limit: int,
    sort: str = "started",
    descending: bool = True,
) -> tuple[list[StoredRun], int, int]:
    """Return some runs, how many fit the filter, and how many there are.

    Args:
        store: the store.
        text: part of name, job, message, note or tags, in any case; "" for all.
        state: running, finished, stopped or failed; a run whose driver is gone is stopped. None for all.
        offset: how many to leave out.
        limit: how many to return, at most.
        sort: of `queries.RUN_ORDERS`.
        descending: the largest first.
    """
    with store.read() as connection:
        found, total = queries.runs(connection, clean(text), state, offset, limit, sort, descending)
        stored = queries.run_count(connection)
    return [stored_run(row) for row in found], total, stored


def speeds(store: Store, found: Sequence[StoredRun]) -> dict[int, tuple[float, float]]:
    """Return the present speed of runs: id -> (evaluations a second, seconds a generation), over the last generations.

    Runs without a timed generation are left out.
    """
    result = {}
    with store.read() as connection:
        for run in found:
            evaluations, seconds, count = queries.totals_since(connection, run.id, run.generation - RECENT)
            if evaluations is not None and seconds:
                result[run.id] = (evaluations / seconds, seconds / count)
    return result


def objectives(store: Store, found: Sequence[StoredRun]) -> dict[int, list[float]]:
    """Return all objectives of the best individual of runs with several: id -> (M,); best is by the first."""
    with store.read() as connection:
        counts = queries.objective_counts(connection, [run.id for run in found if run.best is not None])
        best = {run_id: rows.individual(connection, run_id, None, None) for run_id, m in counts.items() if m > 1}
    return {
        run_id: np.frombuffer(row.objectives, "<f8").tolist()
        for run_id, row in best.items()
        if row is not None and row.objectives is not None
    }


def metric_names(store: Store, run: StoredRun) -> list[str]:
    """Return the names of the metrics of a run's last generation."""
    with store.read() as connection:
        row = queries.latest(connection, run.id)
    return [] if row is None else json.loads(row.metrics)


def generations(store: Store, run_id: int, count: int, after: int = -1) -> Generations:
    """Return the curves of a run.

    Args:
        store: the store.
        run_id: the run's key.
        count: how many generations it has.
        after: only those blocks that have a later generation.
    """
    every = step(count, CURVE)
    with store.read() as connection:
        found = queries.blocks(connection, run_id, every, (after + 1) // every * every, count)
        error = queries.first_error(connection, run_id, LONGEST_ERROR)
    first, last, evaluations, failed, best, mean, so_far, seconds = zip(*found, strict=True) if found else [()] * 8
    return Generations(
        every=every,
        generation=list(first),
        last=list(last),
        evaluations=list(evaluations),
        failed=list(failed),
        best=list(best),
        mean=list(mean),
        best_so_far=list(so_far),
        seconds=list(seconds),
        first_error=in_line(error),
    )


def cloud(store: Store, run_id: int, count: int, after: int = -1) -> Cloud:
    """Return a sample of the individuals with a fitness, evenly spread over generations and over each of them.

    Args:
        store: the store.
        run_id: the run's key.
        count: how many generations it has.
        after: only later generations.
    """
    every = step(count, POINTS)
    shown = max(1, -(-count // every))
    per = POINTS // (1 << (shown - 1).bit_length()) or 1
    with store.read() as connection:
        found, complete = queries.spread(connection, run_id, every, per, after, count)
    generation, individual, fitness, blobs = zip(*found, strict=True) if found else [()] * 4
    several = [np.frombuffer(blob, "<f8").tolist() for blob in blobs if blob is not None]
    return Cloud(
        every=every,
        per_generation=per,
        complete=complete,
        generation=list(generation),
        individual=list(individual),
        fitness=list(fitness),
        objectives=[list(column) for column in zip(*several, strict=True)] if len(several) == len(found) else [],
    )


def step(count: int, limit: int) -> int:
    """Return the smallest power of two that thins `count` entries to at most `limit`.

    >>> [step(count, 1000) for count in (0, 1000, 1001, 2000, 2001)]
    [1, 1, 2, 2, 4]
    """
    return 1 << ((max(count, 1) - 1) // limit).bit_length()
