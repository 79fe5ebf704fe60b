"""l2l export and import: a run that moved is the same to the byte, goes on, and a hostile folder harms nobody."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from places import HELPERS
from pyarrow import parquet
from sqlalchemy import select
from stores import SPACE, Bomb, execute, fill, is_sqlite, make, state_after, wide
from typer.testing import CliRunner

from l2l_snn.cli import app, common
from l2l_snn.dashboard import check_job, replay_process
from l2l_snn.loop.job import foreign_code, stored_job
from l2l_snn.loop.job_file import JobError
from l2l_snn.results import tables, transfer
from l2l_snn.storage.driver import drive
from l2l_snn.storage.schema import GENERATIONS, INDIVIDUALS, RUNS, STATES
from l2l_snn.storage.store import RunExists, Store, StoreError


@pytest.fixture
def url(store_url, tmp_path):
    return store_url if is_sqlite(store_url) else f"{store_url}&genomes={tmp_path}/l2l.genomes"


@pytest.fixture
def store(url):
    with Store(url) as opened:
        yield opened


@pytest.fixture
def laptop(tmp_path):
    with Store(f"sqlite:///{tmp_path}/laptop.db") as opened:
        yield opened


def stored(store: Store, name: str) -> list:
    """Return all of a run as the database has it, keys and files' names aside, and the genomes from wherever."""
    with store.read() as connection:
        run = connection.execute(select(RUNS).where(RUNS.c.name == name)).one()
        tables_ = []
        for table in (GENERATIONS, INDIVIDUALS, STATES):
            columns = [column for column in table.c if column.name not in ("run_id", "genomes")]
            rows = connection.execute(select(*columns).where(table.c.run_id == run.id)).all()
            tables_.append(sorted(tuple(row) for row in rows))
    genomes = []
    for generation, individual, *_ in tables_[1]:
        found = store.individual(name, generation, individual)
        try:
            genomes.append(found.z.tobytes())
        except StoreError:
            genomes.append(None)
    values = {key: value for key, value in run._mapping.items() if key not in ("id", "name")}
    values["manifest"] = {key: value for key, value in json.loads(values["manifest"]).items() if key != "imported"}
    return [values, *tables_, genomes]


def odd() -> list:
    """Return generations with what is easily lost on the way."""
    first = make(0, fitness=[1 / 3, np.nan, -1e-308], metrics={"b": np.array([0.1, np.nan, -np.inf]), "ä": np.zeros(3)})
    first.z[1] = [np.nan, np.inf, -0.0, 5e-324, 1, 2, 3, 4]
    first.z.view(np.uint64)[1, 0] = 0x7FF8_0000_0000_0001
    first.seeds[:] = [2**63 - 1, -(2**63), 0]
    return [first, make(1, 5, metrics={}, errors=("", 'X: é\n,"', *[""] * 3))]


def l2l(*arguments: object, status: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_runs_move_from_a_laptop_and_back_the_same_to_the_byte(store, url, laptop, tmp_path, form):
    fill(laptop, "odd", *odd(), space=SPACE)
    fill(laptop, "multi", make(0, fitness=np.array([[1.0, 5.0], [2.0, np.nan], [2.0, -1.0]])), space=SPACE)
    fill(laptop, "elite", wide(0), wide(1), genomes="elite")
    fill(laptop, "wide", wide(0), wide(1, 7))
    laptop.create("empty", "jöb", {"x": [1.5, None, "é"]}, SPACE)
    names = [run.name for run in laptop.runs()]
    printed = l2l("export", *names, "--out", tmp_path / "out", "--format", form, "--store", laptop.url_shown)
    assert "odd: 2 generations, 8 evaluations" in printed
    assert "run wide in" in l2l("import", tmp_path / "out", "--store", url)
    for name in names:
        assert stored(store, name) == stored(laptop, name)
    transfer.export(store, names, tmp_path / "back", form)
    with Store(f"sqlite:///{tmp_path}/again.db") as again:
        assert sorted(transfer.import_runs(again, tmp_path / "back")) == sorted(names)
        for name in names:
            assert stored(again, name) == stored(laptop, name)
            table = tables.individuals(laptop, name)
            pd.testing.assert_frame_equal(tables.individuals(again, name), table)
    with drive(store, "odd") as driver:
        driver.commit(make(2), state_after(2))
    assert store.optimizer_state("odd", state_after(0)).step == 2
    with drive(store, "wide") as driver:
        driver.commit(wide(2), state_after(2))
    assert store.individual("wide", 2, 1).z.tobytes() == wide(2).z[1].tobytes()


def test_a_run_that_moved_resumes_to_the_same_bytes_as_one_that_stayed(store, url, laptop, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HELPERS)
    job = "optimizee: {class: 'troublemakers:Troublemaker'}\noptimizer: {class: 'optimizers.ga:GeneticAlgorithm', "
    (tmp_path / "job.yaml").write_text(job + "population: 8}\ngenerations: 3\n")
    here = ["--store", laptop.url_shown, "--inline"]
    l2l("run", "job.yaml", *here)
    transfer.export(laptop, ["job-1"], tmp_path / "out")
    l2l("import", tmp_path / "out", "--name", "moved", "--store", url, "--trust")
    l2l("resume", "job-1", *here, "--set", "generations=6")
    l2l("resume", "moved", "--store", url, "--inline", "--set", "generations=6")
    leave = ["run", "seconds", "worker"]
    frames = [tables.individuals(*pair).drop(columns=leave) for pair in ((laptop, "job-1"), (store, "moved"))]
    pd.testing.assert_frame_equal(*frames)
    assert stored(store, "moved")[3] == stored(laptop, "job-1")[3]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_exported_tables_are_those_of_the_store(laptop, tmp_path, form):
    fill(laptop, "a", *odd(), space=SPACE)
    fill(laptop, "other", make(0), space=SPACE)
    transfer.export(laptop, ["a"], tmp_path / "out", form)
    read = {"csv": lambda path: pd.read_csv(path, keep_default_na=True), "parquet": pd.read_parquet}[form]
    runs = read(tmp_path / f"out/runs.{form}")
    assert runs["run"].tolist() == ["a"]
    individuals, expected = read(tmp_path / f"out/a/individuals.{form}"), tables.individuals(laptop, "a", params=True)
    assert list(individuals.columns) == list(expected.columns)
    for column in ("seed", "fitness", "param.tau", "param.w[1,2]", "metric.b"):
        np.testing.assert_array_equal(individuals[column], expected[column])
    assert len(read(tmp_path / f"out/a/generations.{form}")) == 2


def test_a_run_that_is_driven_is_exported_as_it_is_after_its_last_generation(store, laptop, tmp_path):
    store.create("a", "job", {}, SPACE)
    with drive(store, "a") as driver:
        driver.commit(make(0), state_after(0))
        transfer.export(store, ["a"], tmp_path / "out")
        driver.commit(make(1), state_after(1))
    transfer.import_runs(laptop, tmp_path / "out")
    run = laptop.load("a")
    assert (run.generation, run.state, run.message) == (1, "stopped", "exported while it ran")


def test_what_is_there_is_never_overwritten(laptop, tmp_path):
    fill(laptop, "a", make(0), space=SPACE)
    fill(laptop, "b", make(0), space=SPACE)
    out, url = tmp_path / "out", laptop.url_shown
    transfer.export(laptop, ["a", "b"], out)
    with pytest.raises(ValueError, match="--out: expected a new or an empty folder"):
        transfer.export(laptop, ["a"], out)
    before = stored(laptop, "a")
    with pytest.raises(RunExists, match=r"run 'a' exists in sqlite:.*; choose another name with --name"):
        transfer.import_runs(laptop, out)
    printed = l2l("import", out, "--name", "c", "--store", url, status=2)
    assert "--name: expected a folder with one run, got 2 runs" in printed
    shutil.rmtree(out / "b")
    assert transfer.import_runs(laptop, out, "c") == ["c"]
    assert stored(laptop, "a") == before
    with pytest.raises(ValueError, match="run name: expected 1 to 100 letters"):
        transfer.import_runs(laptop, out, "../c")
    (tmp_path / "empty").mkdir()
    assert "expected one that l2l export wrote" in l2l("import", tmp_path / "empty", "--store", url, status=2)
    assert "which isn't there" in l2l("import", tmp_path / "nowhere", "--store", url, status=2)


def test_an_export_that_fails_leaves_nothing(laptop, tmp_path):
    fill(laptop, "a", wide(0))
    next(tmp_path.glob("laptop.genomes/a/*")).unlink()
    with pytest.raises(StoreError, match="can't be read"):
        transfer.export(laptop, ["a"], tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("laptop.db")} == {"laptop.genomes"}


@pytest.fixture
def foreign(laptop, tmp_path, monkeypatch):
    """A folder with an exported run whose job's module leaves a file when it is imported; and that file."""
    home = tmp_path / "foreign"
    home.mkdir()
    (home / "foreign_code.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'trace')!r}).touch()\n")
    optimizee = {"class": "foreign_code:Foreign"}
    job = {"optimizee": optimizee, "optimizer": {"class": "optimizers.ga:GeneticAlgorithm"}, "genomes": "all"}
    laptop.create("f", "job", {"job": job, "file": str(home / "job.yaml")}, SPACE)
    with drive(laptop, "f") as driver:
        driver.commit(make(0), state_after(0))
    transfer.export(laptop, ["f"], tmp_path / "out")
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path / "out", tmp_path / "trace"
    sys.modules.pop("foreign_code", None)


@pytest.mark.parametrize("command", ["replay", "resume", "plot"])
def test_code_that_an_imported_run_names_is_not_imported_unless_it_is_trusted(foreign, tmp_path, monkeypatch, command):
    folder, trace = foreign
    monkeypatch.chdir(tmp_path / "foreign")  # nor from where one stands
    url = f"sqlite:///{tmp_path}/l2l.db"
    l2l("import", folder, "--store", url)
    printed = l2l(command, "f", "--store", url, status=2)
    assert "run 'f' was imported, and its job runs code that came with it, foreign_code:Foreign, of /" in printed
    assert "--trust" in printed
    assert printed.count("\n") == 1
    assert not trace.exists()
    assert "has no class 'Foreign'" in l2l(command, "f", "--store", url, "--trust", status=2)
    assert trace.exists()


def test_a_terminal_is_asked_and_no_is_no(foreign, tmp_path, monkeypatch):
    folder, trace = foreign
    url = f"sqlite:///{tmp_path}/l2l.db"
    l2l("import", folder, "--store", url)
    monkeypatch.setattr(common, "sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    for answer, there in (("n\n", False), ("y\n", True)):
        result = CliRunner().invoke(app, ["replay", "f", "--store", url], input=answer)
        assert "import and run its code, foreign_code:Foreign, of " in result.output
        assert trace.exists() == there


@pytest.mark.parametrize("ask", [{"generation": 0, "individual": 1}, {"settings": []}], ids=["replay", "resume"])
def test_the_page_never_imports_an_imported_runs_code(foreign, tmp_path, monkeypatch, ask):
    folder, trace = foreign
    url = f"sqlite:///{tmp_path}/l2l.db"
    monkeypatch.setenv("L2L_STORE", url)
    l2l("import", folder, "--store", url)
    answer = replay_process.repeat if "generation" in ask else check_job.check
    with pytest.raises(JobError, match="was imported"):
        answer({"run": "f", "results": str(tmp_path), **ask})
    assert not trace.exists()


def test_an_imported_run_of_this_projects_classes_needs_no_trust_and_the_mark_is_the_stores_own(laptop, tmp_path):
    optimizee = {"class": "optimizees.functions:Function", "dimension": SPACE.size}
    job = {"optimizee": optimizee, "optimizer": {"class": "optimizers.ga:GeneticAlgorithm"}}
    laptop.create("own", "job", {"job": job, "file": str(tmp_path / "job.yaml")}, SPACE)
    transfer.export(laptop, ["own"], tmp_path / "out")
    with Store(f"sqlite:///{tmp_path}/l2l.db") as store:
        transfer.import_runs(store, tmp_path / "out")
        assert store.load("own").imported
        assert foreign_code(store.load("own")) == ""
        assert stored_job(store, "own")[0].optimizee["class"] == "optimizees.functions:Function"
        transfer.export(store, ["own"], tmp_path / "again")
        transfer.import_runs(store, tmp_path / "again", "mine", trust=True)
        assert not store.load("mine").imported
    manifest = json.loads((tmp_path / "again/own/stored/run.json").read_text())["manifest"]
    assert "imported" not in json.loads(manifest)


def _json(**changes):
    def change(stored: Path) -> None:
        path = stored / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def _column(file: str, column: str, values: list, kind=None):
    def change(stored: Path) -> None:
        path = stored / file
        table = parquet.read_table(path)
        at = table.schema.get_field_index(column)
        new = pa.array(values, kind or table.schema.field(column).type)
        parquet.write_table(table.set_column(at, pa.field(column, new.type), new), path)

    return change


def _pickle(stored: Path) -> None:
    np.save(stored / "state/words.npy", np.array([Bomb()], object), allow_pickle=True)


def _link(stored: Path) -> None:
    (stored / "state/words.npy").unlink()
    (stored / "state/words.npy").symlink_to("/etc/passwd")


HOSTILE = {
    "name": (_json(name="../../evil"), "name: Value error, run name: expected 1 to 100 letters"),
    "state": (_json(state="running"), "state: Input should be"),
    "format": (_json(format=2), "format: Input should be 1"),
    "more": (_json(evil=1), "evil: Extra inputs are not permitted"),
    "type": (_json(generation="1"), "generation: Input should be a valid integer"),
    "manifest": (_json(manifest="[]"), "manifest: Value error, expected a mapping"),
    "space": (_json(space='{"x": {"kind": "os.system"}}'), "space: Value error, expected a space"),
    "too many": (_json(generation=3), "expected the generations 0 to 2"),
    "too few": (_json(evaluations=2), "expected 2 individuals, found 3"),
    "no json": (lambda stored: (stored / "run.json").write_bytes(b"\xff{"), "Invalid JSON"),
    "pickle": (_pickle, "is damaged: words is not an array of numbers"),
    "link": (_link, "it is a link, which export never makes"),
    "no state": (lambda stored: shutil.rmtree(stored / "state"), "expected a state of the optimizer"),
    "field": (
        lambda stored: (stored / "state/words.npy").rename(stored / "state/a b.npy"),
        "expected names of fields, found 'a b.npy'",
    ),
    "no rows": (lambda stored: (stored / "individuals.parquet").write_bytes(b"PAR1"), "individuals.parquet failed: "),
    "genome": (_column("individuals.parquet", "z", [b"x"] * 3), "expected genomes of 8 numbers"),
    "metrics": (_column("individuals.parquet", "metrics", [b""] * 3), "expected as many metrics as names"),
    "objectives": (_column("individuals.parquet", "objectives", [b"12345678"] * 3), "expected 1 objectives"),
    "generation": (_column("individuals.parquet", "generation", [0, 7, 0]), "expected ordered rows"),
    "twice": (_column("individuals.parquet", "individual", [0, 0, 1]), "failed: "),
    "column": (_column("individuals.parquet", "seed", ["a"] * 3, pa.string()), "expected the columns"),
    "null": (_column("individuals.parquet", "worker", [None] * 3), "failed: "),
    "names": (_column("generations.parquet", "metrics", ["{"]), "expected names of metrics"),
    "no names": (_column("generations.parquet", "metrics", ["[1]"]), "expected names of metrics"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_folder_that_is_not_what_export_writes_is_refused_whole(laptop, tmp_path, what, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(laptop, "a", make(0), space=SPACE)
    transfer.export(laptop, ["a"], tmp_path / "out")
    change, expected = HOSTILE[what]
    change(tmp_path / "out/a/stored")
    before = {path for path in tmp_path.rglob("*") if "laptop.db-" not in path.name}
    output = l2l("import", tmp_path / "out", "--name", "b", "--store", laptop.url_shown, status=2)
    assert expected in output
    assert len(output.splitlines()) == 1
    assert [run.name for run in laptop.runs()] == ["a"]
    assert execute(laptop.url_shown, "SELECT count(*) FROM individuals") == [(3,)]
    assert {path for path in tmp_path.rglob("*") if "laptop.db-" not in path.name} == before


def test_texts_that_databases_refuse_are_imported_without_the_bad_characters(store, laptop, tmp_path):
    fill(laptop, "a", make(0), space=SPACE)
    transfer.export(laptop, ["a"], tmp_path / "out")
    _json(message="a\0b", job="j\0")(tmp_path / "out/a/stored")
    _column("individuals.parquet", "worker", ["w\0"] * 3)(tmp_path / "out/a/stored")
    transfer.import_runs(store, tmp_path / "out")
    assert (store.load("a").message, store.load("a").job) == ("ab", "j")
    assert set(tables.individuals(store, "a")["worker"]) == {"w"}
