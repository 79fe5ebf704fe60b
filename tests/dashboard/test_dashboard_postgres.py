"""What the web page reads is the same from PostgreSQL as from SQLite."""

import pytest
from browser import HOSTILE, add_run

from l2l_snn.dashboard import read_individual, read_runs, read_table
from l2l_snn.dashboard.read_table import Query
from l2l_snn.storage.store import Store


@pytest.fixture(scope="module")
def stores(tmp_path_factory, postgres):
    sqlite = f"sqlite:///{tmp_path_factory.mktemp('postgres')}/l2l.db"
    with Store(sqlite) as one, Store(postgres.database()) as other:
        for store in (one, other):
            add_run(store, "a", 20, metric=HOSTILE, failing=0.3)
            add_run(store, "b", 3, "failed", HOSTILE, objectives=2, job=HOSTILE)
        yield one, other


def same(stores, read):
    one, other = (read(store) for store in stores)
    assert one == other
    return one


def test_runs_and_curves_are_the_same(stores, monkeypatch):
    for text, state in (("", None), ("DROP table", None), ("", "failed"), ("%", None), ("\0{{", None)):
        same(stores, lambda store, q=text, s=state: [run.name for run in read_runs.runs(store, q, s, 0, 9)[0]])
    for curve, points in ((1000, 3000), (8, 20)):
        monkeypatch.setattr(read_runs, "CURVE", curve)
        monkeypatch.setattr(read_runs, "POINTS", points)
        for after in (-1, 13):
            curves = same(
                stores, lambda store, k=after: rounded(read_runs.generations(store, store.load("a").id, 20, k))
            )
            assert curves["failed"]
            assert same(stores, lambda store, k=after: read_runs.cloud(store, store.load("a").id, 20, k)).fitness


def rounded(curves) -> dict:
    """Return the values, sums of floats without their last digits; the seconds alone were measured."""
    mean = [None if value is None else round(value, 12) for value in curves.mean]
    return {**curves.model_dump(exclude={"seconds"}), "mean": mean}


QUERIES = [
    *(
        Query(sort, down)
        for sort in ("fitness", "individual", "seed", "failed", "metric.spikes")
        for down in (True, False)
    ),
    Query("worker", True, limit=200),
    Query("error", False, limit=200),
    Query(f"metric.{HOSTILE}"),
    Query("fitness", True, 3, 7),
    *(
        Query(conditions=(read_table.condition(text),), limit=200)
        for text in (
            *(
                "ge:generation:2.5",
                "lt:individual:3",
                "eq:seed:1",
                "ne:seed:1e300",
                "lt:seed:-1e400",
                "ge:fitness:-0.2",
            ),
            *("has:error:<IMG", "ne:error:", "eq:failed:1", "has:worker:%", "gt:metric.spikes:50", "le:fitness:inf"),
        )
    ),
]


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: f"{query.sort} {query.conditions}")
def test_the_table_is_the_same(stores, query):
    found = same(stores, lambda store: read_table.individuals(store, store.load("a"), query))
    assert found.stored == 200


def test_a_part_that_is_no_range_and_objectives_are_the_same(stores, monkeypatch):
    monkeypatch.setattr(read_table, "SCANNED", 70)
    assert same(stores, lambda store: read_table.individuals(store, store.load("a"), Query())).total == 7
    assert same(stores, lambda store: read_table.individuals(store, store.load("b"), Query("fitness_1"))).rows
    assert same(stores, lambda store: read_individual.detail(store, store.load("b"), 1, 2)).parameters
