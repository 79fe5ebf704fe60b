"""Runs, curves and the cloud of fitness, thinned by the database: what is read doesn't grow with the run.

    generations(store, run.id, run.generation)      # at most 1,000 entries
    cloud(store, run.id, run.generation, after=41)  # what is new since generation 41

Thinning depends on how many generations there are only through its next power of two, so that what was read before
mostly stays right; `every` and `per_generation` in an answer tell when it doesn't.
"""

import json
from collections.abc import Sequence

from sqlalchemy import BigInteger, Integer, cast, func, literal, or_, select
from sqlalchemy.sql import case

from l2l_snn.dashboard.models import Cloud, Generations
from l2l_snn.storage.lease import Driver
from l2l_snn.storage.records import StoredRun, clean, stored_run
from l2l_snn.storage.schema import GENERATIONS, INDIVIDUALS, RUNS
from l2l_snn.storage.store import Store

CURVE = 1_000  # entries of a curve, at most
POINTS = 3_000  # of the cloud, about
RECENT = 10  # generations that tell the present speed


def runs(store: Store, text: str, state: str | None, offset: int, limit: int) -> tuple[list[StoredRun], int, int]:
    """Return some runs, the newest first, how many fit the filter, and how many there are.

    Args:
        store: the store.
        text: part of name, job or message, in any case; "" for all.
        state: running, finished, stopped or failed; a run whose driver is gone is stopped. None for all.
        offset: how many to leave out.
        limit: how many to return, at most.
    """
    r = RUNS.c
    with store.read() as connection:
        drivers = select(r.id, r.host, r.machine, r.pid, r.pid_started).where(r.state == "running")
        gone = [row.id for row in connection.execute(drivers) if Driver.of(row).gone()]
        where = []
        if state is not None:
            where.append((case((r.id.in_(gone), "stopped"), else_=r.state) if gone else r.state) == state)
        if text:
            part = clean(text).lower()
            where.append(or_(*(func.lower(c).contains(part, autoescape=True) for c in (r.name, r.job, r.message))))
        total = connection.scalar(select(func.count()).select_from(RUNS).where(*where)) or 0
        stored = connection.scalar(select(func.count()).select_from(RUNS)) or 0
        rows = connection.execute(select(RUNS).where(*where).order_by(r.id.desc()).offset(offset).limit(limit)).all()
    return [stored_run(row) for row in rows], total, stored


def speeds(store: Store, found: Sequence[StoredRun]) -> dict[int, tuple[float, float]]:
    """Return the present speed of runs: id -> (evaluations a second, seconds a generation), over the last generations.

    Runs without a timed generation are left out.
    """
    g = GENERATIONS.c
    result = {}
    with store.read() as connection:
        for run in found:
            latest = (g.run_id == run.id, g.generation >= run.generation - RECENT)
            totals = select(func.sum(g.evaluations), func.sum(g.seconds), func.count(g.seconds)).where(*latest)
            evaluations, seconds, count = connection.execute(totals).one()
            if seconds:
                result[run.id] = (evaluations / seconds, seconds / count)
    return result


def latest(store: Store, run: StoredRun) -> tuple[int, list[str]] | None:
    """Return how many objectives the last generation has, and the names of its metrics; None if there is none."""
    g = GENERATIONS.c
    query = select(g.objectives, g.metrics).where(g.run_id == run.id).order_by(g.generation.desc()).limit(1)
    with store.read() as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else (row.objectives, json.loads(row.metrics))


def generations(store: Store, run_id: int, count: int, after: int = -1) -> Generations:
    """Return the curves of a run.

    Args:
        store: the store.
        run_id: the run's key.
        count: how many generations it has.
        after: only those blocks that have a later generation.
    """
    g = GENERATIONS.c
    every = step(count, CURVE)
    start = (after + 1) // every * every
    succeeded = case((g.mean.is_not(None), g.evaluations - g.failed))
    columns = (
        func.min(g.generation),
        func.max(g.generation),
        func.sum(g.evaluations),
        func.sum(g.failed),
        func.max(g.best),
        func.sum(g.mean * succeeded) / func.nullif(func.sum(succeeded), 0),
        func.max(g.best_so_far),
        func.sum(g.seconds),
    )
    block = cast(g.generation, Integer).op("/")(literal(every, Integer))
    query = select(*columns).where(g.run_id == run_id, g.generation >= start, g.generation < count)
    with store.read() as connection:
        rows = connection.execute(query.group_by(block).order_by(func.min(g.generation))).all()
        error = connection.scalar(_select_first_error(run_id))
    first, last, evaluations, failed, best, mean, so_far, seconds = zip(*rows, strict=True) if rows else [()] * 8
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
        first_error=error or "",
    )


def _select_first_error(run_id: int):
    """Select the first error of the newest generation that has a failed individual."""
    g, i = GENERATIONS.c, INDIVIDUALS.c
    newest = select(func.max(g.generation)).where(g.run_id == run_id, g.failed > 0).scalar_subquery()
    where = (i.run_id == run_id, i.generation == newest, i.error != "")
    return select(func.substr(i.error, 1, 500)).where(*where).order_by(i.individual).limit(1)


def cloud(store: Store, run_id: int, count: int, after: int = -1) -> Cloud:
    """Return a sample of the individuals with a fitness, evenly spread over generations and over each of them.

    The individuals are found by their key, not by a scan: in each generation every k-th one, from a first one that
    changes from generation to generation, since an individual's number may say what it is (an elite, a mutant).

    Args:
        store: the store.
        run_id: the run's key.
        count: how many generations it has.
        after: only later generations.
    """
    g, i = GENERATIONS.c, INDIVIDUALS.c
    every = step(count, POINTS)
    shown = max(1, -(-count // every))
    per = POINTS // (1 << (shown - 1).bit_length()) or 1
    number = select(literal(0, Integer).label("k")).cte("numbers", recursive=True)
    number = number.union_all(select(number.c.k + 1).where(number.c.k < per - 1))
    picked = case((g.evaluations < per, g.evaluations), else_=per)
    first = (cast(g.generation % 1009, BigInteger) * 40503) % g.evaluations
    stride = (cast(number.c.k, BigInteger) * g.evaluations).op("/")(picked)
    picks = (
        select(g.run_id, g.generation, cast((first + stride) % g.evaluations, Integer).label("individual"))
        .select_from(GENERATIONS)
        .join(number, number.c.k < picked)
        .where(g.run_id == run_id, g.generation > after, g.generation < count, g.generation % every == 0)
        .where(g.evaluations > 0)
        .cte("picks")
        .prefix_with("MATERIALIZED")  # else SQLite reads all individuals, and looks for each whether it was picked
    )
    p = picks.c
    same = (i.run_id == p.run_id) & (i.generation == p.generation) & (i.individual == p.individual)
    query = (
        select(i.generation, i.individual, i.fitness)
        .join_from(picks, INDIVIDUALS, same)
        .where(i.fitness.between(-1e300, 1e300))
        .order_by(i.generation, i.individual)
    )
    largest = select(func.max(g.evaluations)).where(g.run_id == run_id, g.generation < count)
    with store.read() as connection:
        rows = connection.execute(query).all()
        complete = every == 1 and (connection.scalar(largest) or 0) <= per
    generation, individual, fitness = zip(*rows, strict=True) if rows else [()] * 3
    return Cloud(
        every=every,
        per_generation=per,
        complete=complete,
        generation=list(generation),
        individual=list(individual),
        fitness=list(fitness),
    )


def step(count: int, limit: int) -> int:
    """Return the smallest power of two that thins `count` entries to at most `limit`.

    >>> [step(count, 1000) for count in (0, 1000, 1001, 2000, 2001)]
    [1, 1, 2, 2, 4]
    """
    return 1 << ((max(count, 1) - 1) // limit).bit_length()
