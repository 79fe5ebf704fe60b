"""The web page's API: what it says of a store, who may ask, and what it refuses; no browser."""

import html
import http.client
import io
import json
import os
import re
import subprocess
import sys
import time
from itertools import pairwise
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from browser import HOSTILE, MANIFEST, SPACE, State, add_run, generation, serving
from places import HELPERS, ROOT
from sqlalchemy import update

from l2l_snn.cli.common import number
from l2l_snn.dashboard import launches, read_individual, read_runs, read_table
from l2l_snn.dashboard.settings import Settings, read_or_make_token
from l2l_snn.evaluation import Evaluation, WorkerStatus
from l2l_snn.results import tables
from l2l_snn.space import Free, Space
from l2l_snn.storage.database import connect
from l2l_snn.storage.driver import drive
from l2l_snn.storage.records import Generation
from l2l_snn.storage.schema import INDIVIDUALS
from l2l_snn.storage.store import Store

HERE = {"x-l2l-client": "test"}
JOB = """\
optimizee: {class: "troublemakers:Troublemaker", pause: 0.002}
optimizer: {class: "optimizers.random_search:RandomSearch", population: 4}
generations: 3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "jobs").mkdir()
    (folder / "jobs" / "small.yaml").write_text(JOB)
    return folder


@pytest.fixture(scope="module")
def store(place):
    with Store(f"sqlite:///{place}/l2l.db") as opened:
        add_run(opened, "line-1", 12, seed=1)
        add_run(opened, "line-2", 9, "failed", HOSTILE, seed=2, failing=0.4)
        add_run(opened, "nan-1", 3, "failed", "all failed", failing=2.0, job="nan")
        add_run(opened, "two-1", 4, objectives=2, job="two")
        add_run(opened, "odd-1", 2, metric=HOSTILE, job=HOSTILE)
        opened.create("new-1", "line", MANIFEST, SPACE)
        yield opened


@pytest.fixture(scope="module")
def api(store, place):
    with serving(store) as url, httpx.Client(base_url=url, headers=HERE, timeout=150) as client:
        yield client


@pytest.fixture(scope="module")
def driven(place):
    """A store whose runs are started, stopped and changed."""
    with Store(f"sqlite:///{place}/driven.db") as opened:
        add_run(opened, "line-1", 1)
        opened.create("new-1", "line", MANIFEST, SPACE)
        yield opened


@pytest.fixture(scope="module")
def control(driven, place):
    """The page of that store, with --control."""
    settings = Settings(driven.url_shown, control=True, jobs=place / "jobs", results=place / "runs")
    with serving(driven, settings) as url, httpx.Client(base_url=url, headers=HERE, timeout=150) as client:
        yield client


@pytest.fixture(scope="module")
def looking(store, place):
    """A page without --control."""
    with serving(store, Settings(store.url_shown)) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def get(client: httpx.Client, path: str, **params):
    answer = client.get(f"/api{path}", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def numbers(values) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], float)


# what it says


def test_runs_are_listed_newest_first_with_their_totals(api, store):
    found = get(api, "/runs")
    assert [run["run"] for run in found["runs"]] == ["new-1", "odd-1", "two-1", "nan-1", "line-2", "line-1"]
    assert found["total"] == found["stored"] == 6
    for run in found["runs"]:
        stored = store.load(run["run"])
        told = (run["generation"], run["evaluations"], run["failed"], run["best"], run["state"], run["message"])
        assert told == (
            *(stored.generation, stored.evaluations, stored.failed, stored.best, stored.state, stored.message),
        )
        assert run["generations"] == 40


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"q": "LINE"}, ["new-1", "line-2", "line-1"]),
        ({"q": "drop table"}, ["odd-1", "line-2"]),
        ({"q": "%"}, []),
        ({"q": "{{7*7}}"}, ["odd-1", "line-2"]),
        ({"state": "failed"}, ["nan-1", "line-2"]),
        ({"state": "failed", "q": "all"}, ["nan-1"]),
        ({"limit": 2, "offset": 1}, ["odd-1", "two-1"]),
    ],
)
def test_runs_are_filtered_by_text_and_state(api, filters, expected):
    assert [run["run"] for run in get(api, "/runs", **filters)["runs"]] == expected


@pytest.mark.parametrize("sort", ["run", "evaluations", "failed", "best", "generation", "state"])
def test_runs_are_sorted_by_any_column_and_what_has_no_value_comes_last(api, store, sort):
    values = {run.name: getattr(run, "name" if sort == "run" else sort) for run in store.runs()}
    known, missing = [{n: v for n, v in values.items() if (v is None) == none} for none in (False, True)]
    for order in ("asc", "desc"):
        found = [run["run"] for run in get(api, "/runs", sort=sort, order=order)["runs"]]
        shown = [values[name] for name in found[: len(known)]]
        assert shown == sorted(known.values(), reverse=order == "desc")
        assert set(found[len(known) :]) == set(missing)
    assert api.get("/api/runs", params={"sort": "manifest"}).status_code == 422


def test_all_objectives_are_told(api, store):
    best = store.individual("two-1").fitness.tolist()
    assert get(api, "/runs/two-1")["objectives"] == best
    assert {run["run"]: run["objectives"] for run in get(api, "/runs")["runs"]} == {
        run.name: best if run.name == "two-1" else [] for run in store.runs()
    }
    cloud, table = get(api, "/runs/two-1/cloud"), tables.individuals(store, "two-1").dropna(subset=["fitness_0"])
    assert cloud["objectives"] == [table["fitness_0"].tolist(), table["fitness_1"].tolist()]
    assert get(api, "/runs/line-1/cloud")["objectives"] == []


def test_a_run_whose_driver_was_killed_is_stopped_not_running(tmp_path):
    url = f"sqlite:///{tmp_path}/l2l.db"
    code = "import os; from l2l_snn.storage.driver import drive; from l2l_snn.storage.store import Store\n"
    code += f"with drive(Store({url!r}), 'a'): os._exit(9)\n"
    with Store(url) as opened:
        opened.create("a", "line", MANIFEST, SPACE)
        driver = [sys.executable, "-c", code]
        assert subprocess.run(driver, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 9
        assert [run.state for run in read_runs.runs(opened, "", "stopped", 0, 9)[0]] == ["stopped"]
        assert read_runs.runs(opened, "", "running", 0, 9)[1] == 0


def test_curves_are_those_of_the_tables(api, store):
    for name in ("line-1", "nan-1", "two-1", "new-1"):
        curves, table = get(api, f"/runs/{name}/generations"), tables.generations(store, name)
        assert curves["every"] == 1
        for key in ("generation", "evaluations", "failed", "best", "mean", "best_so_far", "seconds"):
            np.testing.assert_array_equal(numbers(curves[key]), table[key].to_numpy(float), err_msg=f"{name} {key}")


def test_only_what_is_new_is_sent_when_asked(api):
    whole, new = get(api, "/runs/line-1/generations"), get(api, "/runs/line-1/generations", after=9)
    assert new["generation"] == [10, 11]
    assert new["best"] == whole["best"][10:]
    assert set(get(api, "/runs/line-1/cloud", after=9)["generation"]) == {10, 11}
    assert get(api, "/runs/line-1/generations", after=11)["generation"] == []


def test_a_small_runs_cloud_is_every_individual_with_a_fitness(api, store):
    cloud = get(api, "/runs/line-2/cloud")
    table = tables.individuals(store, "line-2").dropna(subset=["fitness"])
    assert cloud["complete"] is True
    assert len(table) < store.load("line-2").evaluations
    for key in ("generation", "individual", "fitness"):
        assert cloud[key] == table[key].tolist()
    assert get(api, "/runs/nan-1/cloud")["fitness"] == []


def test_thinning_keeps_totals_extremes_and_an_even_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(read_runs, "CURVE", 8)
    monkeypatch.setattr(read_runs, "POINTS", 64)
    with Store(f"sqlite:///{tmp_path}/l2l.db") as opened:
        add_run(opened, "a", 30, p=40)
        run, table = opened.load("a"), tables.generations(opened, "a")
        curves = read_runs.generations(opened, run.id, 30)
        assert (curves.every, len(curves.generation)) == (4, 8)
        assert curves.last == [3, 7, 11, 15, 19, 23, 27, 29]
        blocks = table.groupby(table["generation"] // 4)
        assert curves.failed == blocks["failed"].sum().tolist()
        assert curves.best == blocks["best"].max().tolist()
        succeeded = table["evaluations"] - table["failed"]
        mean = (table["mean"] * succeeded).groupby(table["generation"] // 4).sum() / succeeded.groupby(
            table["generation"] // 4
        ).sum()
        np.testing.assert_allclose(numbers(curves.mean), mean, rtol=1e-12)
        again = read_runs.generations(opened, run.id, 30, after=21)  # the block that is not complete comes again
        assert again.generation == [20, 24, 28]
        assert again.best == curves.best[5:]
        cloud = read_runs.cloud(opened, run.id, 30)
        assert (cloud.every, cloud.per_generation, cloud.complete) == (1, 2, False)
        assert set(cloud.generation) >= set(range(28))
        assert len(set(cloud.individual)) > 20  # not the same few of each generation
        stored = tables.individuals(opened, "a").set_index(["generation", "individual"])["fitness"]
        places = list(zip(cloud.generation, cloud.individual, strict=True))
        assert cloud.fitness == stored.loc[places].tolist()
        assert len(set(places)) == len(places)


def test_workers_are_those_that_the_driver_reported(api, store):
    status = [WorkerStatus("a:1", 3, 0, 4, 100.0), WorkerStatus("b:2", 3, -1, -1, 101.0)]
    with drive(store, "new-1") as driver:
        driver.report(status)
        found = get(api, "/runs/new-1/workers")
        assert get(api, "/runs/new-1")["state"] == "running"
    assert [WorkerStatus(**worker) for worker in found] == status


def test_compared_runs_that_differ_in_their_seed_are_one_group(api, store):
    found = get(api, "/compare", run=["line-1", "line-2", "two-1"], target=-0.05)
    line, two = found["groups"]
    assert (line["runs"], two["runs"]) == (["line-1", "line-2"], ["two-1"])
    best = [store.load(name).best for name in ("line-1", "line-2")]
    np.testing.assert_allclose(line["best"], np.quantile(best, [0.25, 0.5, 0.75]), rtol=1e-12)
    assert line["reached"] == sum(value >= -0.05 for value in best)
    table = tables.generations(store, "two-1")
    assert two["x"] == table["evaluations"].cumsum().tolist()
    assert two["median"] == table["best_so_far"].tolist()


# the table of individuals


def expected(store, name: str) -> "np.ndarray":
    return tables.individuals(store, name)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["fitness", "generation", "seconds", "seed", "worker", "metric.rate", "error"])
def test_the_table_is_sorted_by_any_column(api, store, sort, order):
    found = get(api, "/runs/line-2/individuals", sort=sort, order=order, limit=200)
    table = expected(store, "line-2")
    ordered = table.sort_values(
        [sort, "generation", "individual"], ascending=[order == "asc", True, True], na_position="last", kind="stable"
    )
    keys = [(row["generation"], row["individual"]) for row in found["rows"]]
    assert keys == list(zip(ordered["generation"], ordered["individual"], strict=True))
    assert found["note"] == ""


@pytest.mark.parametrize(
    ("where", "query"),
    [
        (["ge:fitness:-0.5"], "fitness >= -0.5"),
        (["lt:metric.rate:12.5"], "`metric.rate` < 12.5"),
        (["gt:generation:2", "le:generation:4.5", "ne:individual:3"], "2 < generation <= 4.5 and individual != 3"),
        (["has:error:DIVERGED"], "error.str.contains('diverged')"),
        (["eq:error:"], "error == ''"),
        (["eq:worker:node-1%3A4001"], None),
        (["eq:worker:node-1:4001", "gt:metric.spikes:50"], "worker == 'node-1:4001' and `metric.spikes` > 50"),
        (["eq:failed:1"], "fitness.isna()"),
        (["has:error:%"], "error == 'x'"),
    ],
)
def test_the_table_is_filtered_by_fixed_columns_and_metrics(api, store, where, query):
    found = get(api, "/runs/line-2/individuals", where=where, limit=200)
    table = expected(store, "line-2")
    table = table.query(query) if query else table.iloc[:0]
    keys = {(row["generation"], row["individual"]) for row in found["rows"]}
    assert keys == set(zip(table["generation"], table["individual"], strict=True))
    assert found["total"] == len(keys)


def test_the_tables_pages_follow_each_other(api):
    whole = get(api, "/runs/line-1/individuals", limit=200)["rows"]
    pages = [get(api, "/runs/line-1/individuals", limit=50, offset=k)["rows"] for k in (0, 50, 100, 150)]
    assert [row for page in pages for row in page] == whole
    assert [len(page) for page in pages] == [50, 50, 20, 0]


def test_objectives_are_columns(api, store):
    row = get(api, "/runs/two-1/individuals", sort="fitness_1", where=["lt:fitness_0:0"], limit=1)["rows"][0]
    table = expected(store, "two-1")
    assert row["objectives"][1] == table["fitness_1"].max()


@pytest.mark.parametrize("scanned", [30, 70])
def test_a_long_run_is_searched_in_part_and_the_page_says_which(store, monkeypatch, scanned):
    monkeypatch.setattr(read_table, "SCANNED", scanned)
    monkeypatch.setattr(read_table, "DECODED", scanned)
    run, table = store.load("line-1"), expected(store, "line-1")
    found = read_table.individuals(store, run, read_table.Query())
    best = table.sort_values("fitness", ascending=False)["fitness"].head(scanned // 10).tolist()
    assert [row.fitness for row in found.rows] == best  # the best of the whole run, though most wasn't looked at
    assert (found.total, found.searched, found.stored) == (scanned // 10, scanned, 120)
    assert f"The best {scanned // 10} of the range" in found.note
    found = read_table.individuals(store, run, read_table.Query("metric.rate"))
    first = 12 - scanned // 10
    assert f"generations {first} to 11 ({scanned} individuals)" in found.note
    assert found.rows[0].metrics["rate"] == table[table["generation"] >= first]["metric.rate"].max()
    found = read_table.individuals(store, run, read_table.Query("seconds", True, 0, 1))
    assert found.note == ""
    assert found.rows[0].seconds == table[table["generation"] <= 1]["seconds"].max()


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"sort": "fitnes"}, "did you mean 'fitness'"),
        ({"sort": "metric.x'; DROP TABLE runs"}, "expected one of the run's"),
        ({"where": ["fitness>1"]}, "HOW:COLUMN:VALUE"),
        ({"where": ["ge:fitness:high"]}, "with a number"),
        ({"where": ["ge:worker:a"]}, "eq, ne or has for worker"),
        ({"where": ["has:fitness:1"]}, "with a number"),
        ({"limit": 201}, "limit"),
        ({"first": -1}, "first"),
    ],
)
def test_a_bad_question_gets_one_line(api, params, match):
    answer = api.get("/api/runs/line-1/individuals", params=params)
    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    assert re.search(match, answer.json()["error"])
    assert "\n" not in answer.json()["error"]


# one individual


def test_an_individual_has_its_decoded_parameters(api, store):
    found = get(api, "/runs/line-1/individuals/3/2")
    stored = store.individual("line-1", 3, 2)
    params = store.load("line-1").space.decode(stored.z)
    shown = {value["name"]: value for value in found["parameters"]}
    assert list(shown) == ["tau", "n", "rule", "w"]
    assert shown["rule"]["first"] == [params["rule"]]
    assert float(shown["tau"]["first"][0]) == pytest.approx(params["tau"], rel=1e-5)
    assert shown["w"]["shape"] == [4, 6]
    np.testing.assert_array_equal(np.reshape(shown["w"]["heat"]["values"], (4, 6)), params["w"])
    assert found["seed"] == stored.seed
    assert found["metrics"] == stored.metrics


def test_a_large_parameter_is_thinned_to_block_means_and_downloaded_whole(tmp_path):
    space = Space(w=Free((200, 500)))
    with Store(f"sqlite:///{tmp_path}/l2l.db") as opened:
        add_run(opened, "a", 1, space=space, p=2)
        w = space.decode(opened.individual("a", 0, 1).z)["w"]
        with serving(opened) as url, httpx.Client(base_url=url, timeout=60) as client:
            (value,) = get(client, "/runs/a/individuals/0/1")["parameters"]
            path = "/api/runs/a/individuals/0/1/parameter"
            npy, csv = (client.get(path, params={"name": "w", "form": form}) for form in ("npy", "csv"))
            assert client.get(path, params={"name": "v"}).status_code == 422
    assert (value["heat"]["rows"], value["heat"]["columns"], len(value["first"])) == (48, 96, 12)
    rows, columns = [200 * k // 48 for k in range(49)], [500 * k // 96 for k in range(97)]
    means = [[w[a:b, c:d].mean() for c, d in pairwise(columns)] for a, b in pairwise(rows)]
    np.testing.assert_allclose(np.reshape(value["heat"]["values"], (48, 96)), means, rtol=1e-9)
    assert value["mean"] == pytest.approx(w.mean())
    np.testing.assert_array_equal(np.load(io.BytesIO(npy.content)), w)
    np.testing.assert_array_equal(np.loadtxt(io.StringIO(csv.text), delimiter=","), w)
    assert npy.headers["content-disposition"] == 'attachment; filename="a_g0_i1_w.npy"'


def test_minus_zero_is_zero():
    assert read_individual._format_entry(-0.0) == number(-0.0) == "0"


def test_a_genome_that_was_not_kept_is_said_so(tmp_path):
    with Store(f"sqlite:///{tmp_path}/l2l.db") as opened:
        opened.create("a", "line", {**MANIFEST, "job": {**MANIFEST["job"], "genomes": "none"}}, SPACE)
        with drive(opened, "a") as driver:
            driver.commit(generation(0), State(np.zeros(2)))
        with serving(opened) as url, httpx.Client(base_url=url, timeout=60) as client:
            found = get(client, "/runs/a/individuals/0/1")
    assert found["parameters"] == []
    assert "genome" in found["note"]


def test_nan_and_infinity_are_no_broken_json(tmp_path):
    z, seeds = np.full((3, SPACE.size), np.nan), np.arange(3)
    evaluation = Evaluation(np.array([np.inf, -np.inf, np.nan]), {"rate": np.array([np.inf, np.nan, 1.0])})
    with Store(f"sqlite:///{tmp_path}/l2l.db") as opened:
        opened.create("a", "line", MANIFEST, Space(w=Free((SPACE.size,))))
        with drive(opened, "a") as driver:
            part = Generation(0, z, seeds, evaluation, np.zeros(3), ("",) * 3, 0.0)
            driver.commit(part, State(np.zeros(2)))
        with serving(opened) as url, httpx.Client(base_url=url, timeout=60) as client:
            rows = get(client, "/runs/a/individuals", sort="individual", order="asc")["rows"]
            get(client, "/runs/a/individuals/0/0")
            get(client, "/runs/a/generations")
            assert get(client, "/runs/a/cloud")["fitness"] == []
    assert [row["fitness"] for row in rows] == ["inf", "-inf", None]
    assert [row["metrics"]["rate"] for row in rows] == ["inf", None, 1.0]


# replays and control


def wait_for(client: httpx.Client, path: str, done) -> dict:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        found = get(client, path)
        if done(found):
            return found
        time.sleep(0.05)
    raise AssertionError(f"{path}: {found}")


@pytest.fixture(scope="module")
def started(control, place):
    """A run that was started by the page, in the folder of this test."""
    before, path = os.getcwd(), os.environ.get("PYTHONPATH")
    os.chdir(place)
    os.environ["PYTHONPATH"] = f"{HELPERS}:{ROOT}"
    try:
        body = {"job": "small.yaml", "settings": ["generations=2", "seed=5"], "inline": True}
        answer = control.post("/api/runs", json=body)
        assert answer.status_code == 201, answer.text
        name = answer.json()["run"]
        launch = wait_for(control, f"/launches/{name}", lambda found: not found["running"])
        assert launch["status"] == 0, launch["log"]
        yield name
    finally:
        os.chdir(before)
        os.environ.pop("PYTHONPATH")
        if path is not None:
            os.environ["PYTHONPATH"] = path


def test_a_run_is_started_with_settings_and_goes_on_with_others(control, started):
    found = get(control, f"/runs/{started}")
    assert (found["state"], found["generation"], found["job"]) == ("finished", 2, "small")
    assert "seed: 5" in found["settings"]
    answer = control.post(f"/api/runs/{started}/resume", json={"settings": ["generations=4"], "inline": True})
    assert answer.status_code == 202, answer.text
    wait_for(control, f"/launches/{started}", lambda found: not found["running"])
    assert get(control, f"/runs/{started}")["generation"] == 4


def test_a_replay_says_whether_the_fitness_is_the_same(control, started, driven):
    path = f"/runs/{started}/individuals/1/2/replay"
    assert get(control, path)["state"] == "none"
    assert control.post(f"/api{path}").status_code == 202
    found = wait_for(control, path, lambda found: found["state"] not in ("waiting", "running"))
    assert (found["state"], found["same"]) == ("done", True), found["log"]
    assert control.get(f"/api{path}/..%2f..%2fsecret.png").status_code == 404
    assert control.get(f"/api{path}/raster.png").json() == {"error": "the replay has no picture 'raster.png'"}
    with connect(driven.url_shown).execution_options(writes=True).begin() as connection:
        row = (INDIVIDUALS.c.generation == 0) & (INDIVIDUALS.c.run_id == driven.load(started).id)
        connection.execute(update(INDIVIDUALS).where(row).values(fitness=0.123))
    path = f"/runs/{started}/individuals/0/1/replay"
    control.post(f"/api{path}")
    found = wait_for(control, path, lambda found: found["state"] not in ("waiting", "running"))
    assert (found["state"], found["same"]) == ("done", False), found["log"]


def test_a_replay_that_cannot_be_done_has_failed_and_one_that_waits_is_cancelled(control):
    failing, waiting = "/runs/line-1/individuals/0/0/replay", "/runs/line-1/individuals/0/1/replay"
    for path in (failing, waiting):  # the classes of this run's job don't exist
        assert control.post(f"/api{path}").status_code == 202
    assert control.delete(f"/api{waiting}").json()["state"] == "cancelled"
    found = wait_for(control, failing, lambda found: found["state"] not in ("waiting", "running"))
    assert found["state"] == "failed"
    assert "no module 'a'" in found["log"]
    assert get(control, waiting)["state"] == "cancelled"


@pytest.mark.parametrize(
    ("result", "answer"),
    [("given", '{"a": 1}'), ("int('x')", '{"error": "invalid literal for int() with base 10: \'x\'"}')],
)
def test_what_a_module_of_the_user_prints_is_no_answer(result, answer):
    code = f"from l2l_snn.dashboard.processes import answer\nanswer(lambda given: print('{{}}') or {result})"
    done = subprocess.run([sys.executable, "-c", code, '{"a": 1}'], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (answer, "{}\n")


@pytest.mark.parametrize(
    ("body", "match"),
    [
        ({"job": "../small.yaml"}, "a job file in"),
        ({"job": "/etc/passwd"}, "a job file in"),
        ({"job": "smal.yaml"}, "did you mean 'small.yaml'"),
        ({"settings": ["optimizee.class=os:system"]}, "can't be set from the page"),
        ({"settings": ["optimizer={class: 'os:system'}"]}, "can't be set from the page"),
        ({"settings": ["optimizer.field={class: x}"]}, "a number, true"),
        ({"settings": ["optimizer.field=os:system"]}, "a number, true"),
        ({"settings": ["optimizer.field=/etc/passwd"]}, "a number, true"),
        ({"settings": ["optimizer.field=..\\x"]}, "a number, true"),
        ({"settings": ["optimizer.field=small.yaml"]}, "a number, true"),
        ({"settings": ["optimizer.field=weights.npz"]}, "a number, true"),
        ({"settings": ["optimizer.field=jobs"]}, "a word that no file has"),
        ({"settings": ["optimizer.field=!!python/object:os.system x"]}, "not YAML"),
        ({"settings": ["--inline"]}, "key=value"),
        ({"settings": ["generations=none"]}, "generations: expected an integer, got 'none'"),
        ({"settings": ["optimizer.populaton=4"]}, "did you mean 'population'"),
        ({"name": "../x"}, "run name"),
        ({"name": "-x"}, "run name"),
        ({"name": "line-1"}, "exists"),
    ],
)
def test_only_job_files_of_the_folder_with_plain_settings_are_started(control, started, driven, body, match):
    answer = control.post("/api/runs", json={"job": "small.yaml", "inline": True, **body})
    assert answer.status_code in (409, 422), answer.text
    assert re.search(match, answer.json()["error"])
    assert not [run for run in driven.runs() if run.name.startswith("small") and run.name != started]


def test_words_and_numbers_in_any_notation_may_be_set(tmp_path):
    launches.check_settings(["a=stdp_rl", "b=CartPole-v1", "c=1e-3", "d=-2.5E6", "e=[1, x, null]"], tmp_path)


def test_a_link_out_of_the_folder_is_no_job_file(tmp_path):
    (tmp_path / "outside.yaml").write_text(JOB)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "in.yml").write_text(JOB)
    (tmp_path / "jobs" / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (tmp_path / "jobs" / "notes.txt").write_text("")
    assert launches.job_files(tmp_path / "jobs") == ["in.yml"]
    assert launches.job_files(tmp_path / "none") == []


def test_a_running_run_is_asked_to_stop(control, driven):
    assert control.post("/api/runs/line-1/stop").status_code == 409
    with drive(driven, "new-1") as driver:
        assert driver.report([]) is False
        assert control.post("/api/runs/new-1/stop").status_code == 202
        assert get(control, "/runs/new-1")["stop_requested"] is True
        assert driver.report([]) is True
        assert control.post("/api/runs/new-1/resume", json={}).json()["error"] == "run 'new-1' is running"


def test_note_and_tags_are_written_with_control_alone_shown_and_found(control, looking):
    wanted = {"note": "sigma of <b>the</b> paper", "tags": ["baseline", "sigma-0.1"]}
    answer = control.put("/api/runs/new-1/notes", json=wanted)
    assert (answer.status_code, answer.json()) == (200, wanted)
    found = get(control, "/runs/new-1")
    assert {key: found[key] for key in wanted} == wanted
    for text in ("OF <B>", "sigma-0.1", "baseline sig"):
        assert [run["run"] for run in get(control, "/runs", q=text)["runs"]] == ["new-1"]
    for bad, text in (
        ({"note": "x" * 4001}, "4000"),
        ({"tags": ["a b"]}, "tag: expected"),
        ({"note": "\x00"}, "plain"),
    ):
        answer = control.put("/api/runs/new-1/notes", json=wanted | bad)
        assert answer.status_code == 422
        assert text in answer.json()["error"]
    assert get(control, "/runs/new-1")["note"] == wanted["note"]
    assert looking.put("/api/runs/new-1/notes", json=wanted, headers=HERE).status_code == 403


def test_without_control_nothing_is_started(looking):
    posts = ("/runs", "/runs/line-1/stop", "/runs/line-1/resume")
    for path in posts:
        answer = looking.post(f"/api{path}", json={"job": "small.yaml"}, headers=HERE)
        assert (answer.status_code, "--control" in answer.json()["error"]) == (403, True)
    assert looking.get("/api/jobs").status_code == 403


# who may ask


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.1", "a@127.0.0.1", "", "[::2]"])
def test_another_name_for_this_machine_is_refused(looking, host):
    for path in ("/", "/api/runs", "/static/page.css", "/openapi.json"):
        assert looking.get(path, headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8710", "LOCALHOST"])
def test_its_own_names_are_taken(looking, host):
    assert looking.get("/api/runs", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example", "x-l2l-client": "1"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "OWN"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"origin": "OWN"}, 202),
        ({"sec-fetch-site": "same-origin"}, 202),
        ({"x-l2l-client": "1"}, 202),
    ],
)
def test_what_changes_something_must_come_from_the_page_itself(looking, headers, status):
    own = str(looking.base_url).rstrip("/")
    headers = {key: value.replace("OWN", own) for key, value in headers.items()}
    path = "/api/runs/nan-1/individuals/0/0/replay"
    assert looking.post(path, headers=headers).status_code == status
    assert looking.delete(path, headers=headers).status_code == (200 if status == 202 else status)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/runs/nope", 404, "got 'nope'"),
        ("/runs/nope/individuals", 404, "got 'nope'"),
        ("/runs/line-1/individuals/99/0", 404, "has no individual 0 in generation 99"),
        ("/runs/line-1/individuals/a/0", 422, "integer"),
        ("/compare?run=line-1&run=nope", 404, "got 'nope'"),
        ("/nothing", 404, "Not Found"),
        ("/runs/line-1", 200, ""),
        ("/runs/line-1/individuals/2/3", 200, ""),
        ("/compare?run=line-1", 200, ""),
    ],
)
def test_a_page_of_what_is_not_there_is_an_error_in_words(looking, path, status, text):
    answer = looking.get(path, headers={"accept": "text/html"})
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert text in html.unescape(answer.text)
    if status != 200:
        assert list(looking.get(path).json()) == ["error"]  # for a program


def test_what_an_address_or_a_store_is_called_is_text_in_a_page(looking, tmp_path):
    name = "<b>a\"'&"
    answer = looking.get(f"/runs/{quote(name)}", headers={"accept": "text/html"})
    assert "<b>" not in answer.text
    assert "&lt;b&gt;a" in answer.text
    with Store(f"sqlite:///{tmp_path}/<i>.db") as opened, serving(opened) as url:
        text = httpx.get(url, timeout=60).text
    assert "<i>" not in text
    assert "&lt;i&gt;.db" in text


def test_every_answer_forbids_foreign_content(looking):
    for path in (
        "/",
        "/api/runs",
        "/static/page.css",
        "/static/plotly/plotly-basic.min.js",
        "/api/nothing",
        "/api/runs?limit=x",
    ):
        answer = looking.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert looking.get("/api/runs").headers["cache-control"] == "no-store"


def test_a_large_body_and_paths_out_of_the_folder_are_refused(looking):
    assert looking.post("/api/runs", content=b"x" * 70_000, headers=HERE).status_code == 413
    chunks = (b"x" for _ in range(3))
    assert looking.post("/api/runs", content=chunks, headers=HERE).status_code == 413
    connection = http.client.HTTPConnection(looking.base_url.host, looking.base_url.port, timeout=60)
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/plotly/..%2f..%2f../app.py", "//etc/passwd"):
        connection.request("GET", path)  # as it is: httpx would tidy it up
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 404
        assert list(json.loads(text)) == ["error"]
    connection.close()


def test_a_token_opens_the_page_by_cookie_or_header(store, tmp_path):
    file = tmp_path / "deep" / "token"
    token, made = read_or_make_token(file)
    assert (made, file.stat().st_mode & 0o777) == (True, 0o600)
    assert read_or_make_token(file) == (token, False)
    with (
        serving(store, Settings(store.url_shown, token=token)) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        for path in ("/", "/api/runs", "/static/page.css", "/openapi.json", "/?token=wrong", f"/?token={token}x"):
            assert client.get(path).status_code == 401
        assert client.get("/api/runs", headers={"authorization": "Bearer é".encode("latin-1")}).status_code == 401
        assert client.get("/api/runs", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert client.post(f"/?token={token}").status_code == 401
        answer = client.get(f"/runs/line-1?a=%26b&token={token}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/runs/line-1?a=%26b")
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(answer.headers["set-cookie"].split("; "))
        answer = httpx.get(f"{url}//evil.example/?token={token}", timeout=60)
        assert answer.headers["location"] == "/evil.example/"  # not another server
        assert client.get(f"/api/runs?token={token}").status_code == 303  # it never stays in an address
        assert client.get("/api/runs").status_code == 200  # by its cookie
        assert client.post("/api/runs/line-1/stop").status_code == 403  # a cookie alone changes nothing


def test_a_token_that_others_can_read_or_that_is_short_is_refused(tmp_path):
    file = tmp_path / "token"
    file.write_text("x" * 32)
    file.chmod(0o644)
    with pytest.raises(ValueError, match="expected mode 600, got 644; chmod 600"):
        read_or_make_token(file)
    file.chmod(0o600)
    file.write_text("short")
    with pytest.raises(ValueError, match="got 5 characters"):
        read_or_make_token(file)


def test_a_page_open_to_the_network_needs_a_token(store):
    settings = Settings(store.url_shown, host="0.0.0.0")
    with pytest.raises(ValueError, match="open to the network"), serving(store, settings):
        pass
    open_settings = Settings(store.url_shown, host="0.0.0.0", token="t" * 20)
    with serving(store, open_settings) as url, httpx.Client(base_url=url, timeout=60) as client:
        bearer = {"authorization": "Bearer " + "t" * 20}
        assert client.get("/api/runs", headers={**bearer, "host": "192.168.0.7:8710"}).status_code == 200
        assert client.get("/api/runs", headers={**bearer, "host": "evil.example"}).status_code == 421


def test_the_command_says_where_the_page_is_and_what_is_wrong(tmp_path):
    l2l = [sys.executable, "-m", "l2l_snn.cli", "dashboard"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    options = {"capture_output": True, "text": True, "cwd": tmp_path, "env": env, "timeout": 120, "check": False}
    done = subprocess.run([*l2l, "--port", "0"], **options)
    assert (done.returncode, "there is no such file" in done.stderr) == (2, True)
    Store(f"sqlite:///{tmp_path}/l2l.db").close()
    done = subprocess.run([*l2l, "--port", "0", "--control", "--jobs", "nofolder"], **options)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--jobs: expected a folder, got nofolder, which is none; name the folder of your job files" in done.stderr
    process = subprocess.Popen(
        [*l2l, "--port", "0", "--token-file", "t"], stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=env
    )
    try:
        line = process.stdout.readline()
        link = re.search(r"made a token, kept in t; open (http://127\.0\.0\.1:(\d+)/\?token=\S+)", line)
        assert link, line
        taken = subprocess.run([*l2l, "--port", link[2]], **options)
        assert (taken.returncode, taken.stderr.count("\n")) == (2, 1)
        assert "choose another --host or --port" in taken.stderr
        assert httpx.get(link[1], timeout=60).status_code == 303
    finally:
        process.terminate()
        assert process.wait(60) in (0, -15)
        process.stdout.close()


def test_the_stores_password_is_not_shown(tmp_path):
    with Store(f"sqlite:///{tmp_path}/l2l.db") as opened:
        opened.url_shown = "postgresql://me:***@host/db"
        with serving(opened, Settings("postgresql://me:secret@host/db")) as url:
            assert "secret" not in httpx.get(url + "/api/runs", timeout=60).text + httpx.get(url, timeout=60).text
