"""The SQL of pages: runs in parts, thinned and bounded by the database: what is read doesn't grow with a run."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Double,
    Integer,
    Row,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from l2l_snn.storage.lease import Process
from l2l_snn.storage.schema import GENERATIONS, INDIVIDUALS, RUNS

LISTED = 5_000  # generations that are named one by one
COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "=", "ne": "!="}

RUN_ORDERS: dict[str, ColumnElement[Any]] = {  # what runs can be sorted by
    "started": RUNS.c.id,
    "run": func.lower(RUNS.c.name),
    "state": RUNS.c.state,
    "generation": RUNS.c.generation,
    "evaluations": RUNS.c.evaluations,
    "failed": RUNS.c.failed,
    "best": RUNS.c.best,
    "rate": RUNS.c.evaluations / func.nullif(RUNS.c.seconds, 0),
}


class Term(NamedTuple):
    """A condition on a column of `individuals`."""

    column: str
    how: str  # of COMPARISONS, or "has": contains the text in any case; eq and ne of None: is missing, is there
    value: str | int | float | None


# runs


def runs(
    connection: Connection,
    text: str,
    state: str | None,
    offset: int,
    limit: int,
    sort: str = "started",
    descending: bool = True,
) -> tuple[Sequence[Row], int]:
    """Return the rows of some runs and how many fit the filter.

    Args:
        connection: of the store.
        text: part of name, job, message, note or tags, in any case; "" for all.
        state: running, finished, stopped or failed; a run whose driver is gone is stopped. None for all.
        offset: how many to leave out.
        limit: how many to return, at most.
        sort: of RUN_ORDERS; what has no value comes last, of equals the newest first.
        descending: the largest first, of "started" the newest.
    """
    r = RUNS.c
    drivers = select(r.id, r.host, r.machine, r.pid, r.pid_started).where(r.state == "running")
    gone = [row.id for row in connection.execute(drivers) if Process.of(row).gone()]
    where = []
    if state is not None:
        where.append((case((r.id.in_(gone), "stopped"), else_=r.state) if gone else r.state) == state)
    if text:
        part = text.lower()
        where.append(
            or_(*(func.lower(c).contains(part, autoescape=True) for c in (r.name, r.job, r.message, r.note, r.tags)))
        )
    total = connection.scalar(select(func.count()).select_from(RUNS).where(*where)) or 0
    key = RUN_ORDERS[sort]
    order = (key.is_(None), key.desc() if descending else key, r.id.desc())
    found = connection.execute(select(RUNS).where(*where).order_by(*order).offset(offset).limit(limit)).all()
    return found, total


def objective_counts(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return how many objectives runs have: id -> that of the last generation."""
    r, g = RUNS.c, GENERATIONS.c
    query = select(g.run_id, g.objectives).join_from(
        RUNS, GENERATIONS, (g.run_id == r.id) & (g.generation == r.generation - 1)
    )
    return {row.run_id: row.objectives for row in connection.execute(query.where(r.id.in_(ids)))}


def run_count(connection: Connection) -> int:
    """Return how many runs there are."""
    return connection.scalar(select(func.count()).select_from(RUNS)) or 0


# generations


def totals_since(connection: Connection, run_id: int, first: int) -> tuple[int | None, float | None, int]:
    """Return evaluations, seconds and the number of timed generations of a run from generation `first` on."""
    g = GENERATIONS.c
    totals = select(func.sum(g.evaluations), func.sum(g.seconds), func.count(g.seconds))
    evaluations, seconds, count = connection.execute(totals.where(g.run_id == run_id, g.generation >= first)).one()
    return evaluations, seconds, count


def latest(connection: Connection, run_id: int) -> Row | None:
    """Return `metrics` of the last generation, None if there is none."""
    g = GENERATIONS.c
    query = select(g.metrics).where(g.run_id == run_id).order_by(g.generation.desc()).limit(1)
    return connection.execute(query).one_or_none()


def blocks(connection: Connection, run_id: int, every: int, start: int, stop: int) -> Sequence[Row]:
    """Return the generations from `start` to before `stop`, each `every` of them as one row.

    Returns:
        first and last generation, evaluations, failed, best, mean (of all its individuals), best so far, seconds.
    """
    g = GENERATIONS.c
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
    query = select(*columns).where(g.run_id == run_id, g.generation >= start, g.generation < stop)
    return connection.execute(query.group_by(block).order_by(func.min(g.generation))).all()


def shapes(connection: Connection, run_id: int) -> Sequence[Row]:
    """Return each list of metrics that a run's generations have, as JSON, and how many objectives at most."""
    g = GENERATIONS.c
    query = select(g.metrics, func.max(g.objectives)).where(g.run_id == run_id).group_by(g.metrics)
    return connection.execute(query).all()


def populations(
    connection: Connection, run_id: int, first: int, stop: int, order: str, limit: int
) -> Sequence[tuple[int, int]]:
    """Return number and evaluations of generations from `first` to before `stop`.

    Args:
        connection: of the store.
        run_id: the run's.
        first: the first generation.
        stop: the one after the last.
        order: "best" first, "up" or "down".
        limit: how many to return, at most.
    """
    g = GENERATIONS.c
    orders: dict[str, list[Any]] = {
        "best": [g.best.is_(None), g.best.desc(), g.generation],
        "up": [g.generation],
        "down": [g.generation.desc()],
    }
    query = select(g.generation, g.evaluations).where(g.run_id == run_id, g.generation >= first, g.generation < stop)
    return [(row[0], row[1]) for row in connection.execute(query.order_by(*orders[order]).limit(limit))]


# individuals


def first_error(connection: Connection, run_id: int, longest: int) -> str:
    """Return the begin of the first error of the newest generation that has a failed individual; "" if none has."""
    g, i = GENERATIONS.c, INDIVIDUALS.c
    newest = select(func.max(g.generation)).where(g.run_id == run_id, g.failed > 0).scalar_subquery()
    where = (i.run_id == run_id, i.generation == newest, i.error != "")
    query = select(func.substr(i.error, 1, longest)).where(*where).order_by(i.individual).limit(1)
    return connection.scalar(query) or ""


def spread(
    connection: Connection, run_id: int, every: int, per: int, after: int, stop: int
) -> tuple[Sequence[Row], bool]:
    """Return individuals with a fitness, evenly spread over generations and over each of them.

    The individuals are found by their key, not by a scan: in each generation every k-th one, from a first one that
    changes from generation to generation, since an individual's number may say what it is (an elite, a mutant).

    Args:
        connection: of the store.
        run_id: the run's.
        every: only each so many generations.
        per: individuals of each, at most.
        after: only later generations.
        stop: only earlier ones.

    Returns:
        generation, individual, fitness and objectives, in their order; and whether they are all that there are.
    """
    g, i = GENERATIONS.c, INDIVIDUALS.c
    number = select(literal(0, Integer).label("k")).cte("numbers", recursive=True)
    number = number.union_all(select(number.c.k + 1).where(number.c.k < per - 1))
    picked = case((g.evaluations < per, g.evaluations), else_=per)
    first = (cast(g.generation % 1009, BigInteger) * 40503) % g.evaluations
    stride = (cast(number.c.k, BigInteger) * g.evaluations).op("/")(picked)
    picks = (
        select(g.run_id, g.generation, cast((first + stride) % g.evaluations, Integer).label("individual"))
        .select_from(GENERATIONS)
        .join(number, number.c.k < picked)
        .where(g.run_id == run_id, g.generation > after, g.generation < stop, g.generation % every == 0)
        .where(g.evaluations > 0)
        .cte("picks")
        .prefix_with("MATERIALIZED")  # else SQLite reads all individuals, and looks for each whether it was picked
    )
    p = picks.c
    same = (i.run_id == p.run_id) & (i.generation == p.generation) & (i.individual == p.individual)
    query = (
        select(i.generation, i.individual, i.fitness, i.objectives)
        .join_from(picks, INDIVIDUALS, same)
        .where(i.fitness.between(-1e300, 1e300))
        .order_by(i.generation, i.individual)
    )
    largest = select(func.max(g.evaluations)).where(g.run_id == run_id, g.generation < stop)
    found = connection.execute(query).all()
    return found, every == 1 and (connection.scalar(largest) or 0) <= per


def chosen(run_id: int, generations: Sequence[int], terms: Sequence[Term]) -> ColumnElement[bool]:
    """Return the condition on `individuals` that a run's generations and all terms say."""
    i = INDIVIDUALS.c
    numbers = sorted(generations)
    if numbers and numbers[-1] - numbers[0] + 1 == len(numbers):
        within = i.generation.between(numbers[0], numbers[-1])
    else:  # written out: there may be more than a database takes as arguments
        within = i.generation.in_([literal(number, literal_execute=True) for number in numbers])
    return and_(i.run_id == run_id, within, *(_compare_column(term) for term in terms))


def _compare_column(term: Term) -> ColumnElement[bool]:
    column = INDIVIDUALS.c[term.column]
    if term.value is None:
        return column.is_(None) if term.how == "eq" else column.is_not(None)
    if isinstance(term.value, str):
        if term.how == "has":
            return func.lower(column).contains(term.value.lower(), autoescape=True)
        return column == term.value if term.how == "eq" else column != term.value
    value = literal(term.value, BigInteger if isinstance(term.value, int) else Double)
    return column.op(COMPARISONS[term.how], is_comparison=True)(value)


def count(connection: Connection, where: ColumnElement[bool]) -> int:
    """Return how many individuals fulfil a condition."""
    return connection.scalar(select(func.count()).select_from(INDIVIDUALS).where(where)) or 0


def values(connection: Connection, where: ColumnElement[bool], *columns: str) -> Sequence[Row]:
    """Return generation, individual and some more columns of the individuals that fulfil a condition."""
    i = INDIVIDUALS.c
    return connection.execute(select(i.generation, i.individual, *(i[name] for name in columns)).where(where)).all()


def keys(
    connection: Connection, where: ColumnElement[bool], sort: str, descending: bool, offset: int, limit: int
) -> list[tuple[int, int]]:
    """Return generation and number of a page of the individuals that fulfil a condition.

    Args:
        connection: of the store.
        where: the condition.
        sort: a column, or "failed"; what has no value comes last.
        descending: the largest first; those that failed first.
        offset: how many to leave out.
        limit: how many to return, at most.
    """
    i = INDIVIDUALS.c
    if sort == "failed":
        order: list[Any] = [i.fitness.is_not(None) if descending else i.fitness.is_(None)]
    else:
        order = [i[sort].is_(None), i[sort].desc() if descending else i[sort]]
    found = select(i.generation, i.individual).where(where)
    found = found.order_by(*order, i.generation, i.individual).offset(offset).limit(limit)
    return [(row.generation, row.individual) for row in connection.execute(found)]


def individuals(connection: Connection, run_id: int, some: Sequence[tuple[int, int]], longest: int) -> list[Row]:
    """Return the rows of the individuals of these keys, in their order, genomes left out.

    Args:
        connection: of the store.
        run_id: the run's.
        some: generation and number of each.
        longest: characters of an error, at most.

    Returns:
        Rows of `individuals` with their generation's metrics as `names`.
    """
    if not some:
        return []
    i, g = INDIVIDUALS.c, GENERATIONS.c
    shown = [i.generation, i.individual, i.seed, i.fitness, i.seconds, i.worker, i.objectives, i.metrics]
    query = (
        select(*shown, func.substr(i.error, 1, longest).label("error"), g.metrics.label("names"))
        .join_from(INDIVIDUALS, GENERATIONS, (i.run_id == g.run_id) & (i.generation == g.generation))
        # the run in each: only then does SQLite look each key up, instead of reading all rows of the run
        .where(or_(*(and_(i.run_id == run_id, i.generation == a, i.individual == b) for a, b in some)))
    )
    found = {(row.generation, row.individual): row for row in connection.execute(query)}
    return [found[key] for key in some if key in found]
