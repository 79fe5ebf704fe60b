"""Migrations: a store as the first version made it opens, reads the same, goes on and can be written to.

tests/data/store_0001.*.sql were made by version 0001 of the tables, on each database: the runs "done", "multi" (two
objectives), "empty", "held" (by a driver on another machine) and "loop" (by the outer loop, from a job file).

store_0002.sqlite.sql was made by version 0002, before states could hold states: "several-1" (two objectives, some
individuals failed), "elite-1" (of whose genomes the elite is kept) and "smoke-1" (jobs/smoke.yaml), all by the loop;
its tables as CSV are those that the code of that time gave.
"""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from places import HELPERS
from sqlalchemy import inspect, text
from stores import SPACE, is_sqlite, make, state_after
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.evaluation import WorkerStatus
from l2l_snn.loop.replay import replay
from l2l_snn.results import figures, tables, transfer
from l2l_snn.storage.database import connect
from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import RunBusy, Store

DATA = Path(__file__).parent / "data"


def rows(url: str, columns: dict[str, list[str]]) -> dict[str, list]:
    """Return all rows of tables, by the names of their columns."""
    engine = connect(url)
    with engine.connect() as connection:
        found = {
            table: connection.execute(text(f"SELECT {', '.join(names)} FROM {table} ORDER BY 1, 2, 3")).all()
            for table, names in columns.items()
        }
    engine.dispose()
    return found


@pytest.fixture
def url(store_url, request):
    """The URL of a database with the tables and the rows of version 0001."""
    if is_sqlite(store_url):
        connection = sqlite3.connect(store_url.removeprefix("sqlite:///"))
        connection.executescript((DATA / "store_0001.sqlite.sql").read_text())
        connection.close()
        return store_url
    url = request.getfixturevalue("postgres").database()
    engine = connect(url)
    with engine.begin() as connection:
        connection.exec_driver_sql((DATA / "store_0001.postgresql.sql").read_text())
    engine.dispose()
    return url


def test_all_rows_of_the_first_version_stay_as_they_were(url):
    engine = connect(url)
    columns = {
        table: [column["name"] for column in inspect(engine).get_columns(table)]
        for table in ("runs", "generations", "individuals", "states")
    }
    engine.dispose()
    before = rows(url, columns)
    assert [len(before[table]) for table in columns] == [5, 5, 16, 10]
    Store(url).close()
    assert rows(url, columns) == before
    with Store(url) as store, store.read() as connection:
        assert connection.scalar(text("SELECT version_num FROM l2l_version")) == "0003"
        assert len(connection.scalar(text("SELECT id FROM identity"))) == 8


def test_what_the_first_version_stored_reads_the_same(url):
    parts = [
        make(0, fitness=[1 / 3, np.nan, -1e-308], errors=("", "X: é", "")),
        make(1, 2),
    ]
    with Store(url) as store:
        assert [(run.name, run.state) for run in store.runs()] == [
            ("done", "finished"),
            ("multi", "stopped"),
            ("empty", "stopped"),
            ("held", "running"),
            ("loop", "finished"),
        ]
        run = store.load("done")
        assert (run.generation, run.evaluations, run.seconds, run.space) == (2, 5, 12.5, SPACE)
        assert not run.stop_requested
        for part in parts:
            for k in range(len(part.z)):
                found = store.individual("done", part.number, k)
                assert found.z.tobytes() == part.z[k].tobytes()
                assert np.float64(found.fitness).tobytes() == part.evaluation.fitness[k].tobytes()
                assert (found.seed, found.error) == (part.seeds[k], (part.evaluation.errors or [""] * 3)[k])
                assert found.metrics == {"rate": part.evaluation.metrics["rate"][k]}
        for have, want in zip(store.optimizer_state("done", state_after(0)), state_after(1), strict=True):
            np.testing.assert_array_equal(have, want)
        np.testing.assert_array_equal(store.individual("multi", 0, 0).fitness, [1.0, 5.0])
        assert store.workers("done") == []
        assert len(tables.individuals(store, "done")) == 5
        with pytest.raises(RunBusy, match="process 4711 on node7 since 2025-10-09"), drive(store, "held"):
            pass


def test_a_store_of_the_first_version_can_be_written_to(url):
    with Store(url) as store:
        with drive(store, "done") as driver:
            assert not driver.report([WorkerStatus("n:1", 2, 0, 3, 1.0)])
            driver.commit(make(2), state_after(2))
        assert store.individual("done", 2, 1).z.tobytes() == make(2).z[1].tobytes()
        with drive(store, "held", take_over=True) as driver:
            driver.commit(make(0), state_after(0))
        store.copy("done", "again")
        assert store.load("again").generation == 3
        store.create("new", "line", {}, SPACE)
        assert store.runs()[-1].name == "new"


def test_a_run_whose_optimizer_had_another_state_is_repeated_but_not_resumed(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HELPERS)
    with Store(url) as store:
        before = tables.individuals(store, "loop")
        result = CliRunner().invoke(app, ["resume", "loop", "--store", url, "--inline", "--set", "generations=4"])
        assert result.exit_code == 2, result.output
        assert "another form than RandomSearchState has now" in result.output
        assert "continue it with the code that made it (see: l2l show loop), or start a new run" in result.output
        assert tables.individuals(store, "loop").equals(before)
        repeated = replay(store, "loop", generation=0, index=1)
        assert repeated.row.fitness == pytest.approx(repeated.evaluation.fitness[0], rel=1e-12)  # another processor's


def test_a_run_of_today_goes_on_with_every_later_version(tmp_path, monkeypatch):
    """The file holds the state of a genetic algorithm; whoever changes its form leaves this run behind, and says so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HELPERS)
    connection = sqlite3.connect("l2l.db")
    connection.executescript((DATA / "store_0002_states.sqlite.sql").read_text())
    connection.close()
    result = CliRunner().invoke(app, ["resume", "loop", "--inline", "--set", "generations=4"])
    assert result.exit_code == 0, result.output
    table = tables.individuals("sqlite:///l2l.db", "loop")
    assert list(table["generation"].unique()) == [0, 1, 2, 3]
    assert table["seed"].nunique() == 16


def test_tables_pictures_and_exports_of_the_second_version_are_as_they_were(store_url, tmp_path):
    connection = sqlite3.connect(tmp_path / "old.db")
    connection.executescript((DATA / "store_0002.sqlite.sql").read_text())
    connection.close()
    names = ["several-1", "elite-1", "smoke-1"]
    with Store(f"sqlite:///{tmp_path}/old.db", create=False) as old, Store(store_url) as new:
        transfer.export(old, names, tmp_path / "out")
        for name in names:  # in their order
            (tmp_path / name).mkdir()
            (tmp_path / "out" / name).rename(tmp_path / name / name)
            transfer.import_runs(new, tmp_path / name)
        for store in (old, new):
            found = {"runs": tables.runs(store), "generations": tables.generations(store)}
            found["individuals"] = tables.individuals(store, params=True)
            written = found["runs"][["tags", "note"]]  # by users, which came later
            assert (written == "").all(axis=None)
            found["runs"] = found["runs"].drop(columns=written.columns)
            for table, rows in found.items():
                assert rows.to_csv(index=False) == (DATA / f"store_0002.{table}.csv").read_text()
            for name in names:
                of_run = found["individuals"][found["individuals"]["run"] == name].dropna(axis="columns", how="all")
                figures.fitness(of_run, tables.generations(store, name), tmp_path / "fitness.png")
