"""The tables: the documented columns, the stored values, whatever the runs have in common or not."""

import numpy as np
import pandas as pd
import pytest
from stores import SPACE, make, state_after

from l2l_snn.results import tables
from l2l_snn.space import Free, Integer, Real, Space
from l2l_snn.storage.driver import drive
from l2l_snn.storage.records import Generation
from l2l_snn.storage.store import RunUnknown, Store

RUNS = ["run", "job", "state", "generation", "evaluations", "failed", "best", "started", "finished", "seconds"]
RUNS += ["tags", "note"]
GENERATIONS = [
    "run",
    "generation",
    "evaluations",
    "failed",
    "best",
    "mean",
    "std",
    "best_so_far",
    "seconds",
    "evaluations_per_s",
]
HEAD = ["run", "generation", "individual", "seed", "fitness", "seconds", "worker", "error"]
PARAMS = ["param.tau", *(f"param.w[{i},{j}]" for i in range(2) for j in range(3)), "param.rule"]


@pytest.fixture
def store(store_url):
    with Store(store_url) as opened:
        yield opened


def add(store: Store, name: str, *parts: Generation, space: Space = SPACE) -> None:
    store.create(name, "job", {}, space)
    with drive(store, name) as driver:
        for part in parts:
            driver.commit(part, state_after(part.number))


def test_empty_store_gives_empty_tables_with_their_columns(store):
    for table, columns in (
        (tables.runs(store), RUNS),
        (tables.generations(store), GENERATIONS),
        (tables.individuals(store), HEAD),
    ):
        assert list(table.columns) == columns
        assert len(table) == 0


def test_run_without_generations_has_empty_tables_with_its_columns(store):
    add(store, "a")
    assert list(tables.generations(store, "a").columns) == GENERATIONS
    table = tables.individuals(store, "a")
    assert list(table.columns) == HEAD + PARAMS
    assert len(table) == 0


def test_runs_have_the_documented_columns(store):
    add(store, "b", make(0, fitness=[1.0, np.nan, 0.5]))
    store.create("a", "job", {}, SPACE)
    table = tables.runs(store)
    assert list(table.columns) == RUNS
    assert list(table["run"]) == ["b", "a"]
    assert list(table["generation"]) == [1, 0]
    assert list(table["evaluations"]) == [3, 0]
    assert list(table["failed"]) == [1, 0]
    assert table["best"][0] == 1.0
    assert np.isnan(table["best"][1])
    assert str(table["started"].dt.tz) == "UTC"
    assert table["started"][0].timestamp() == pytest.approx(store.load("b").started.timestamp(), abs=1e-5)
    assert pd.isna(table["finished"][1])
    assert str(table["finished"].dtype) == str(table["started"].dtype)


def test_generations_hold_the_statistics_of_the_finite_scores(store):
    fitness = [[1.0, 4.0, np.nan], [np.nan] * 3, [2.0, 2.0, -1.0]]
    add(store, "a", *(make(number, fitness=row) for number, row in enumerate(fitness)))
    table = tables.generations(store, "a")
    assert list(table.columns) == GENERATIONS
    np.testing.assert_array_equal(table["generation"], [0, 1, 2])
    np.testing.assert_array_equal(table["evaluations"], [3, 3, 3])
    np.testing.assert_array_equal(table["failed"], [1, 3, 0])
    np.testing.assert_array_equal(table["best"], [4.0, np.nan, 2.0])
    np.testing.assert_array_equal(table["mean"], [2.5, np.nan, 1.0])
    np.testing.assert_array_equal(table["std"], [1.5, np.nan, np.sqrt(2)])
    np.testing.assert_array_equal(table["best_so_far"], [4.0, 4.0, 4.0])
    np.testing.assert_array_equal(table["evaluations_per_s"], [6.0] * 3)


def test_generations_of_several_objectives_read_the_first(store):
    add(store, "a", make(0, fitness=np.array([[1.0, 9.0], [3.0, 5.0], [7.0, np.nan]])))
    table = tables.generations(store)
    assert table["best"][0] == 3.0
    assert table["mean"][0] == 2.0
    assert table["failed"][0] == 1


def test_individuals_have_the_stored_values_in_order(store):
    parts = [make(0, 12, errors=("",) * 11 + ("ValueError: no",)), make(1, 2)]
    add(store, "a", *parts)
    table = tables.individuals(store, "a")
    assert list(table.columns) == [*HEAD, "metric.rate", *PARAMS]
    assert list(table["generation"]) == [0] * 12 + [1] * 2
    assert list(table["individual"]) == [*range(12), 0, 1]
    assert set(table["run"]) == {"a"}
    assert set(table["worker"]) == {"w1"}
    assert list(table["error"]) == [""] * 11 + ["ValueError: no"] + [""] * 2
    for column, values in {
        "seed": [part.seeds for part in parts],
        "fitness": [part.evaluation.fitness for part in parts],
        "seconds": [part.seconds for part in parts],
        "metric.rate": [part.evaluation.metrics["rate"] for part in parts],
    }.items():
        np.testing.assert_array_equal(table[column], np.concatenate(values))
    rows = [SPACE.decode(z) for part in parts for z in part.z]  # one by one, as an optimizee sees them
    np.testing.assert_array_equal(table["param.tau"], [row["tau"] for row in rows])
    assert list(table["param.rule"]) == [row["rule"] for row in rows]
    for i, j in np.ndindex(2, 3):
        np.testing.assert_array_equal(table[f"param.w[{i},{j}]"], [row["w"][i, j] for row in rows])


def test_failed_individuals_are_nan(store):
    add(store, "a", make(0, fitness=[np.nan, np.nan, np.nan]))
    table = tables.individuals(store)
    assert table["fitness"].dtype == np.float64
    assert table["fitness"].isna().all()


def test_several_objectives_have_a_column_each(store):
    fitness = np.array([[1.0, 9.0], [3.0, np.nan], [np.nan, np.nan]])
    add(store, "a", make(0, fitness=fitness))
    table = tables.individuals(store)
    assert list(table.columns)[3:7] == ["seed", "fitness_0", "fitness_1", "seconds"]
    np.testing.assert_array_equal(table[["fitness_0", "fitness_1"]].to_numpy(), fitness)


def test_metric_that_appears_later_is_nan_before(store):
    one = {"a": np.arange(3.0)}
    two = {"b": np.arange(3.0) + 10, "a": np.arange(3.0) + 20}
    add(store, "a", make(0, metrics=one), make(1, metrics=two), make(2, metrics={}), make(3, metrics=one))
    table = tables.individuals(store)
    assert [name for name in table.columns if name.startswith("metric.")] == ["metric.a", "metric.b"]
    nan = [np.nan] * 3
    np.testing.assert_array_equal(table["metric.a"], [0, 1, 2, 20, 21, 22, *nan, 0, 1, 2])
    np.testing.assert_array_equal(table["metric.b"], [*nan, 10, 11, 12, *nan, *nan])


def test_wide_parameters_have_columns_only_when_asked(store):
    space = Space(small=Free((200,)), wide=Free((201,)), n=Integer(1, 3))
    part = make(0)
    part = Generation(0, np.zeros((3, space.size)) + 0.5, part.seeds, part.evaluation, part.seconds, part.workers, 1.0)
    add(store, "a", part, space=space)
    usual = list(tables.individuals(store).columns)
    every = list(tables.individuals(store, params=True).columns)
    assert usual[9:] == [*(f"param.small[{i}]" for i in range(200)), "param.n"]
    assert every[9:] == [*usual[9:-1], *(f"param.wide[{i}]" for i in range(201)), "param.n"]
    assert tables.individuals(store)["param.n"].dtype == np.int64


def test_only_wide_parameters_leave_the_other_columns(store):
    space = Space(wide=Free((8, 40)))
    part = make(0)
    part = Generation(0, np.zeros((3, 320)), part.seeds, part.evaluation, part.seconds, part.workers, 1.0)
    add(store, "a", part, space=space)
    assert list(tables.individuals(store).columns) == [*HEAD, "metric.rate"]


def test_runs_named_are_concatenated_with_their_columns_united(store):
    add(store, "a", make(0))
    add(store, "b", make(0, fitness=np.ones((3, 2)), metrics={"other": np.ones(3)}))
    add(store, "c", space=Space(x=Real(0, 1)))
    table = tables.individuals(store, "b", "a")
    assert list(table["run"]) == ["b"] * 3 + ["a"] * 3
    assert list(table.columns) == [
        *("run", "generation", "individual", "seed", "fitness_0", "fitness_1", "fitness", "seconds", "worker", "error"),
        *("metric.other", "metric.rate"),
        *PARAMS,
    ]
    assert table["fitness"].isna().tolist() == [True] * 3 + [False] * 3
    assert list(table.index) == list(range(6))
    assert list(tables.generations(store, "b", "a")["run"]) == ["b", "a"]
    assert list(tables.generations(store)["run"]) == ["a", "b"]
    everything = tables.individuals(store)
    assert list(everything["run"]) == ["a"] * 3 + ["b"] * 3
    assert "param.x" in everything.columns
    assert everything["generation"].dtype == np.int64


def test_unknown_run_is_refused(store):
    add(store, "line-1", make(0))
    for table in (tables.generations, tables.individuals):
        with pytest.raises(RunUnknown, match="did you mean 'line-1'"):
            table(store, "lime-1")


def test_store_can_be_a_url(store, store_url):
    add(store, "a", make(0))
    for table in (tables.runs, tables.generations, tables.individuals):
        pd.testing.assert_frame_equal(table(store_url), table(store))
    store.close()


def test_table_is_read_while_the_driver_writes(store, store_url):
    store.create("a", "job", {}, SPACE)
    with drive(store, "a") as driver, Store(store_url) as reader:
        for number in range(3):
            driver.commit(make(number), state_after(number))
            assert len(tables.individuals(reader, "a")) == 3 * (number + 1)
