"""Runs without a job file: the class may be defined right here, as in a notebook's cell."""

import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from bowls import Bowl

import l2l_snn as l2l
from l2l_snn.api import notebook
from l2l_snn.loop.job_file import JobError
from l2l_snn.loop.progress import Progress
from l2l_snn.results import tables
from l2l_snn.storage.database import StoreError
from optimizers.ga import GeneticAlgorithm
from optimizers.snes import SNES

GA = GeneticAlgorithm(population=6)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/l2l.db"


def start(url, optimizee=None, optimizer=GA, **settings):
    options = {"generations": 4, "inline": True, "show": False, "store": url}
    return l2l.run(optimizee or Bowl(), optimizer, **{**options, **settings})


def test_a_run_has_its_best_its_tables_and_its_picture(url):
    run = start(url)
    frame = run.individuals()
    assert (run.name, run.state, len(frame)) == ("bowl-1", "finished", 24)
    row = frame.loc[frame["fitness"].idxmax()]
    assert run.best.fitness == row["fitness"]
    assert run.best.params["x"] == pytest.approx(row["param.x"])
    assert (run.best.generation, run.best.individual, run.best.seed) == (
        row["generation"],
        row["individual"],
        row["seed"],
    )
    assert run.generations()["best_so_far"].iloc[-1] == run.best.fitness
    assert run.plot().axes[0].get_title() == "Fitness over the run bowl-1"
    run.note, run.tags = "a note", ["baseline"]
    run.tags += ("sigma-0.1",)
    assert (run.note, run.tags) == ("a note", ("baseline", "sigma-0.1"))
    assert repr(run) == f"<Run bowl-1: finished, 4 generations, best fitness {run.best.fitness:.6g}>"


def test_it_is_the_run_that_a_job_file_gives(url, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from l2l_snn.cli import app

    start(url, seed=3, chunk=2)
    (tmp_path / "job.yaml").write_text(
        "optimizee: {class: 'bowls:Bowl'}\noptimizer: {class: 'optimizers.ga:GeneticAlgorithm', population: 6}\n"
        "generations: 4\nseed: 3\nchunk: 2\n"
    )
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", "job.yaml", "--inline", "--store", url])
    assert done.exit_code == 0, done.output
    ours, theirs = (
        tables.individuals(url, name).drop(columns=["run", "seconds", "worker"]) for name in ("bowl-1", "job-1")
    )
    assert ours.to_csv() == theirs.to_csv()
    assert l2l.load("bowl-1", url).job.model_dump() == l2l.load("job-1", url).job.model_dump()


def test_a_callback_is_told_of_each_generation_and_may_stop_the_run(url):
    told = []

    def callback(run, progress):
        told.append((run.name, progress.generation, run.generations()["generation"].max()))
        if progress.generation == 1:
            run.stop()

    run = start(url, callback=callback)
    assert told == [("bowl-1", 0, 0), ("bowl-1", 1, 1)]
    assert (run.state, run.stored.message) == ("stopped", "stop requested")
    run.resume()
    whole = start(url)
    drop = ["run", "seconds", "worker"]
    assert run.individuals().drop(columns=drop).to_csv() == whole.individuals().drop(columns=drop).to_csv()


def test_a_run_in_a_thread_is_waited_for_and_hands_on_what_ended_it(url):
    run = start(url, wait=False)
    assert run.wait().state == "finished"
    with pytest.raises(StoreError, match="can't be asked to stop: it is finished"):
        run.stop()
    at_once = start(url, wait=False, generations=10_000)
    at_once.stop()
    assert at_once.wait().state == "stopped"

    def broken(run, progress):
        raise ArithmeticError("in the callback")

    with pytest.raises(ArithmeticError, match="in the callback"):
        start(url, wait=False, callback=broken).wait()


def test_a_run_is_resumed_with_other_stopping_rules_only(url):
    run = start(url)
    assert run.resume(generations=6, show=False).stored.generation == 6
    assert l2l.load("bowl-1", url).resume(generations=7, inline=True, show=False).stored.generation == 7
    with pytest.raises(JobError, match=r"resume: expected one of generations, .*, got 'seed'; a new run goes on"):
        run.resume(seed=2)


def test_a_branch_is_a_new_run_that_names_its_parent(url):
    schedule = {"noise": {"from": 0.2, "to": 0.1, "over": 2}}
    parent = start(url, schedules=schedule)
    child = parent.branch(generations=2)
    assert (child.name, child.parent, parent.parent) == ("bowl-2", "bowl-1", None)
    assert child.individuals()["metric.noise"].tolist() == [0.2] * 6 + [pytest.approx(0.15)] * 6
    other = parent.branch("quiet", optimizee=Bowl(noise=0.0), generations=1)
    assert (other.individuals()["metric.noise"] == 0).all()


def test_a_class_of_a_cell_runs_is_replayed_and_says_what_a_later_process_needs(url):
    @dataclass(frozen=True)
    class Cell(l2l.Optimizee):
        slope: float = 2.0
        space = l2l.Space(x=l2l.Real(-1, 1))

        def evaluate(self, params, seed):
            return self.slope * params["x"]

    run = start(url, Cell(slope=3.0), SNES())
    assert run.replay().same
    with pytest.raises(JobError, match=r"class Cell was defined within a function .*; move it out of the function"):
        l2l.load("cell-1", url).resume(inline=True)


def test_a_class_of_a_script_is_found_in_the_script_alone(url, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom dataclasses import dataclass\nimport l2l_snn as l2l\nfrom optimizers.snes import SNES\n\n\n"
        "@dataclass(frozen=True)\nclass Line(l2l.Optimizee):\n    space = l2l.Space(x=l2l.Real(-1, 1))\n\n"
        "    def evaluate(self, params, seed):\n        return params['x']\n\n\n"
        f"url = {url!r}\n"
        "if sys.argv[1] == 'run':\n"
        "    run = l2l.run(Line(), SNES(), generations=2, store=url, inline=True, show=False)\n"
        "else:\n    run = l2l.load('line-1', url).resume(generations=3, inline=True, show=False)\n"
        "print(run)\n"
    )
    for argument, expected in (("run", "finished, 2 generations"), ("resume", "finished, 3 generations")):
        done = subprocess.run([sys.executable, script, argument], capture_output=True, text=True, check=True)
        assert expected in done.stdout
    text = r"class Line was defined in a notebook or script, .*load\(RUN\) there; .*line.py"
    with pytest.raises(JobError, match=text):
        l2l.load("line-1", url).replay()
    assert len(tables.individuals(url, "line-1")) == 3 * 4  # tables need no class


def test_a_cell_runs_on_ray_workers_to_the_same_bytes(url):
    @dataclass(frozen=True)
    class Cell(l2l.Optimizee):
        noise: float = 0.1
        space = l2l.Space(x=l2l.Real(-1, 1))

        def evaluate(self, params, seed):
            return params["x"] + self.noise * np.random.default_rng(seed).standard_normal(), {"noise": self.noise}

    schedules = {"noise": {"from": 0.2, "to": 0.0, "over": 2}}
    there = start(url, Cell(), generations=3, schedules=schedules, inline=False, workers=1)
    here = start(url, Cell(), generations=3, schedules=schedules)
    drop = ["run", "seconds", "worker"]
    assert there.individuals().drop(columns=drop).to_csv() == here.individuals().drop(columns=drop).to_csv()
    assert there.individuals()["metric.noise"].unique().tolist() == [0.2, 0.1, 0.0]


@pytest.mark.parametrize(
    ("arguments", "settings", "error", "text"),
    [
        (
            (Bowl, GA),
            {},
            TypeError,
            r"optimizee: expected an instance, got the class Bowl; put brackets behind it: Bowl\(\)",
        ),
        ((Bowl(), "ga"), {}, TypeError, r"optimizer: expected an Optimizer, got 'ga' \(str\)"),
        ((Bowl(), GA), {"genrations": 3}, JobError, "^genrations: unknown key, did you mean 'generations'"),
        ((Bowl(), GA), {"stop": {"fitnes": 1}}, JobError, "^stop.fitnes: unknown key, did you mean 'fitness'"),
        ((Bowl(), GA), {"schedules": {"niose": {"from": 1, "to": 2, "over": 3}}}, JobError, "niose"),
        ((Bowl(), GA), {"workers": 2}, ValueError, "--workers: expected an evaluation by workers"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(url, arguments, settings, error, text):
    with pytest.raises(error, match=text):
        l2l.run(*arguments, store=url, inline=True, **settings)


def test_a_notebook_shows_a_panel_that_is_drawn_anew_and_the_last_generation_always(monkeypatch):
    shown = []
    handle = SimpleNamespace(update=lambda html: shown.append(html))
    display = SimpleNamespace(HTML=str, display=lambda html, display_id: shown.append(html) or handle)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1)))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    assert notebook.in_notebook()
    with notebook.shown_in_notebook("<b>-1") as tell:
        for generation in range(3):
            tell(Progress(generation, 3, 8, 0, -0.5, -1.0, 100.0, 2.0))
    assert [f"{generation}/3" in html for generation, html in zip((1, 3), shown[1:], strict=True)] == [True, True]
    assert "&lt;b&gt;-1" in shown[-1]
    assert "value='100.0'" in shown[-1]


def test_outside_of_a_notebook_nothing_of_it_is_touched():
    assert not notebook.in_notebook()
    notebook.teach_figures()
