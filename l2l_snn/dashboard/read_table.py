"""The table of individuals: sorted, filtered and paged, with a bound on how many are looked at.

The store has an index on (generation, individual) alone, and metrics are bytes that SQL can't compare. So a query
looks at a part of the run, whole generations of at most `SCANNED` individuals together, and says which:

- sorted by the largest fitness, the generations with the largest best. Of n such generations, the first n rows are
  the best n of the whole run: every other individual is worse than the best of each of them.
- otherwise the last generations, or the first ones where the order is that of generations upwards.

A range of generations chooses others. Runs of up to `SCANNED` individuals are always looked at as a whole. Sorting or
filtering by a metric, or by one of several objectives, is done by numpy and looks at `DECODED` at most.
"""

import json
import math
from collections.abc import Sequence
from struct import unpack_from
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
from sqlalchemy import ColumnElement, Connection

from l2l_snn.dashboard.models import Row, Rows
from l2l_snn.evaluation import in_line
from l2l_snn.storage import queries, rows
from l2l_snn.storage.queries import COMPARISONS, Term
from l2l_snn.storage.records import StoredRun, clean
from l2l_snn.storage.store import Store
from l2l_snn.validate import did_you_mean, message

SCANNED = 100_000  # individuals
DECODED = 50_000  # individuals
FIXED = ("generation", "individual", "seed", "fitness", "seconds", "worker", "error")
NUMBERS = ("generation", "individual", "seed", "fitness", "seconds")
WHOLE = ("generation", "individual", "seed")
LONGEST_ERROR = 300  # characters of it in the table


class Condition(NamedTuple):
    """One filter: `column` compared with `value`."""

    column: str
    how: str  # of COMPARISONS, or "has": contains the text
    value: str


class Query(NamedTuple):
    """What the table shows."""

    sort: str = "fitness"
    descending: bool = True
    first: int | None = None  # range of generations
    last: int | None = None
    conditions: tuple[Condition, ...] = ()
    offset: int = 0
    limit: int = 50


class _Part(NamedTuple):
    """The generations that are looked at."""

    numbers: list[int]
    individuals: int
    whole: bool  # all that the range has


def condition(text: str) -> Condition:
    """Return the condition that a text "how:column:value" says; the column is percent-encoded.

    >>> condition("ge:metric.rate:0.5")
    Condition(column='metric.rate', how='ge', value='0.5')

    Raises:
        ValueError: it has another form.
    """
    how, _, rest = text.partition(":")
    column, sign, value = rest.partition(":")
    if how not in (*COMPARISONS, "has") or not sign:
        raise ValueError(message("where", "HOW:COLUMN:VALUE with HOW lt, le, gt, ge, eq, ne or has", repr(text[:80])))
    return Condition(clean(unquote(column)), how, clean(value)[:300])


def individuals(store: Store, run: StoredRun, query: Query) -> Rows:
    """Return a page of the table.

    Raises:
        ValueError: the run has no such column, or a value doesn't fit it.
    """
    with store.read() as connection:
        columns = _list_columns(connection, run)
        for name in (query.sort, *(c.column for c in query.conditions)):
            if name not in columns:
                raise ValueError(message("column", "one of the run's", repr(name), did_you_mean(name, columns)))
        blobs = [name for name in (query.sort, *(c.column for c in query.conditions)) if name not in (*FIXED, "failed")]
        best_first = query.sort == "fitness" and query.descending
        part = _choose_part(connection, run, query, DECODED if blobs else SCANNED, best_first)
        where = _build_condition(run, query, part)
        if blobs:
            keys, total = _sort_by_numpy(connection, run, query, where, columns)
        else:
            keys, total = None, queries.count(connection, where)
        exact = best_first and not query.conditions
        if exact and not part.whole:  # what comes after isn't certainly the next best
            total = min(total, len(part.numbers))
        if keys is None:
            limit = max(0, min(query.limit, total - query.offset))
            keys = queries.keys(connection, where, query.sort, query.descending, query.offset, limit)
        rows = queries.individuals(connection, run.id, keys, LONGEST_ERROR)
    return Rows(
        rows=[row_model(row) for row in rows],
        total=total,
        searched=part.individuals,
        stored=run.evaluations,
        note="" if part.whole else _describe_part(part, query, exact, bool(blobs)),
        columns=[*columns],
    )


def _describe_part(part: _Part, query: Query, exact: bool, decoded: bool) -> str:
    """Say which individuals were looked at."""
    count = f"{part.individuals:,} individuals"
    if query.sort == "fitness" and query.descending:
        which = f"the {len(part.numbers):,} generations with the best individuals ({count})"
        if exact:
            return f"The best {len(part.numbers):,} of the range are listed, from {which}."
    else:
        which = f"generations {min(part.numbers):,} to {max(part.numbers):,} ({count})"
    why = " Metrics are searched in smaller parts." if decoded else ""
    return f"Only {which} are searched; choose a range of generations for others.{why}"


def _list_columns(connection: Connection, run: StoredRun) -> dict[str, int | None]:
    """Return the run's columns; of an objective its number."""
    columns: dict[str, int | None] = dict.fromkeys((*FIXED, "failed"))
    metrics: dict[str, int | None] = {}
    for names, objectives in queries.shapes(connection, run.id):
        columns |= {f"fitness_{m}": m for m in range(objectives)} if objectives > 1 else {}
        metrics |= dict.fromkeys(f"metric.{name}" for name in json.loads(names))
    return columns | metrics


def _choose_part(connection: Connection, run: StoredRun, query: Query, most: int, best_first: bool) -> _Part:
    """Return whole generations of the range, of about `most` individuals together, those first that matter most."""
    order, limit = "down", most
    if best_first:
        order, limit = "best", queries.LISTED
    elif query.sort == "generation" and not query.descending:
        order = "up"
    first = 0 if query.first is None else query.first
    stop = run.generation if query.last is None else min(run.generation, query.last + 1)
    rows = queries.populations(connection, run.id, first, stop, order, limit + 1)
    numbers, count = [], 0
    for number, evaluations in rows:
        if numbers and (count + evaluations > most or len(numbers) == limit):
            break
        numbers.append(number)
        count += evaluations
    return _Part(numbers, count, len(numbers) == len(rows))


def _build_condition(run: StoredRun, query: Query, part: _Part) -> ColumnElement[bool]:
    """Return the condition on the rows of `individuals`, as far as SQL can compare."""
    terms = [_read_term(c) for c in query.conditions if c.column in (*FIXED, "failed")]
    return queries.chosen(run.id, part.numbers, terms)


def _read_term(c: Condition) -> Term:
    if c.column == "failed":
        wanted = _read_number(c) != 0
        if c.how not in ("eq", "ne"):
            raise ValueError(message("where", "eq or ne for failed", c.how))
        return Term("fitness", "eq" if wanted == (c.how == "eq") else "ne", None)
    if c.column not in NUMBERS:
        if c.how not in ("eq", "ne", "has"):
            raise ValueError(message("where", f"eq, ne or has for {c.column}", c.how))
        return Term(c.column, c.how, c.value)
    number = _read_number(c)
    whole = c.column in WHOLE and number.is_integer() and abs(number) < 2**53
    return Term(c.column, c.how, int(number) if whole else number)


def _read_number(c: Condition) -> float:
    try:
        number = float(c.value)
    except ValueError:
        number = math.nan
    if c.how == "has" or math.isnan(number):
        raise ValueError(message("where", f"a comparison of {c.column} with a number", f"{c.how} {c.value[:40]!r}"))
    return number


def _sort_by_numpy(
    connection: Connection, run: StoredRun, query: Query, where: ColumnElement[bool], columns: dict[str, int | None]
) -> tuple[list[tuple[int, int]], int]:
    """Return the keys of the page's rows, sorted and filtered by what SQL can't compare too, and how many fit."""
    needed = dict.fromkeys((query.sort, *(c.column for c in query.conditions if c.column not in (*FIXED, "failed"))))
    text = query.sort in ("worker", "error")
    sorted_by = [query.sort] if query.sort in FIXED else []
    rows = queries.values(connection, where, "metrics", "objectives", *sorted_by)
    names = _read_metric_names(connection, run)
    values = {name: _read_values(name, rows, names, columns[name]) for name in needed if name not in (*FIXED, "failed")}
    keep = np.ones(len(rows), bool)
    for c in query.conditions:
        if c.column in values:
            number = _read_number(c)
            compare = {"lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal}
            given = values[c.column]
            keep &= ~np.isnan(given) & (given != number if c.how == "ne" else compare[c.how](given, number))
    places = np.flatnonzero(keep).tolist()
    if query.sort in values or query.sort == "failed":
        key = values.get(query.sort, np.zeros(len(rows)))[places]
    elif text:
        key = np.unique([tuple(rows[k])[-1] for k in places], return_inverse=True)[1].astype(np.float64)
    else:
        key = np.array([tuple(rows[k])[-1] for k in places], np.float64)  # None becomes nan
    numbers = np.array([(rows[k].generation, rows[k].individual) for k in places], np.int64).reshape(-1, 2)
    order = np.lexsort((numbers[:, 1], numbers[:, 0], -key if query.descending else key, np.isnan(key)))
    page = order[query.offset : query.offset + query.limit]
    return [(int(g), int(k)) for g, k in numbers[page]], len(places)


def _read_metric_names(connection: Connection, run: StoredRun) -> dict[int, list[str]]:
    texts = rows.generations(connection, run.id, "generation", "metrics")
    parsed = {text: json.loads(text) for text in {text for _, text in texts}}
    return {number: parsed[text] for number, text in texts}


def _read_values(name: str, rows: Sequence[Any], names: dict[int, list[str]], objective: int | None) -> np.ndarray:
    """Return one metric or objective of each row, nan where it has none."""
    values = np.full(len(rows), np.nan)
    metric = name.removeprefix("metric.")
    for k, row in enumerate(rows):
        blob = row.metrics if objective is None else row.objectives
        own = names[row.generation]
        place = objective if objective is not None else own.index(metric) if metric in own else None
        if blob and place is not None and len(blob) >= 8 * (place + 1):
            (values[k],) = unpack_from("<d", blob, 8 * place)
    return values


def row_model(row: Any) -> Row:
    """Return a row of `individuals` with its generation's metrics as `names`."""
    values = np.frombuffer(row.metrics, "<f8").tolist()
    return Row(
        generation=row.generation,
        individual=row.individual,
        seed=row.seed,
        fitness=row.fitness,
        objectives=np.frombuffer(row.objectives, "<f8").tolist() if row.objectives else [],
        seconds=row.seconds,
        worker=row.worker,
        error=in_line(row.error),
        metrics=dict(zip(json.loads(row.names), values, strict=False)),
    )
