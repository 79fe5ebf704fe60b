"""The command line as a user meets it: exit status, one clear line, nothing stored lost."""

import os
import pty
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from places import HELPERS, JOBS
from stores import SPACE, fill, make
from troublemakers import Troublemaker
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.cli.common import print_summary, results_folder
from l2l_snn.results import tables
from l2l_snn.storage.store import Store
from optimizers.ga import GeneticAlgorithm

JOB = """\
optimizee:
  class: troublemakers:Troublemaker
  pause: 0.004
optimizer:
  class: optimizers.ga:GeneticAlgorithm
  population: 8
generations: 30
chunk: 4
"""
LAST = 30
LIMIT = 120  # s, that any command here may take


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a job file, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HELPERS)
    monkeypatch.setenv("PYTHONPATH", str(HELPERS), prepend=os.pathsep)
    (tmp_path / "job.yaml").write_text(JOB)
    return tmp_path


def l2l(*arguments: str, status: int = 0) -> str:
    """Run a command in this process; return what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.output


def start(*arguments: str, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "l2l_snn.cli", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def wait_for_generations(process: subprocess.Popen, name: str, least: int) -> None:
    """Wait until a run has that many generations, or its driver has ended."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        if Path("l2l.db").exists():
            with Store() as store:
                if any(run.name == name and run.generation >= least for run in store.runs()):
                    return
        time.sleep(0.02)
    assert process.poll() is not None, "no progress"


def everything(name: str):
    """Return all that must not depend on how often the run was killed."""
    individuals = tables.individuals("sqlite:///l2l.db", name).drop(columns=["run", "seconds", "worker"])
    with Store() as store:
        state = store.optimizer_state(name, GeneticAlgorithm(population=8).init(Troublemaker.space, 1))
    return individuals.to_csv(), [array.tobytes() for array in state]


def test_help_answers_in_half_a_second():
    best = min(_timed([sys.executable, "-m", "l2l_snn.cli", "--help"]) for _ in range(5))
    bare = min(_timed([sys.executable, "-c", "pass"]) for _ in range(5))
    assert best - bare < 0.5


def _timed(command: list[str]) -> float:
    """Return the processor's seconds, which other programs don't lengthen as they do wall time."""
    began = os.times()
    subprocess.run(command, check=True, capture_output=True)
    ended = os.times()
    return ended.children_user + ended.children_system - began.children_user - began.children_system


def test_a_run_from_start_to_tables_and_pictures(place):
    printed = l2l("run", "job.yaml", "--inline")
    assert "run job-1 in sqlite:///l2l.db" in printed
    assert "generation 29  done 30/30" in printed  # numbered from 0, as in the summary, the tables and `l2l replay`
    assert printed.index("evaluating the first generation") < printed.index("done 30/30")
    assert printed.index("drawing the fitness") < printed.index("again, to draw it") < printed.index("wrote runs")
    assert re.search(r"state +finished: 30 generations done", printed)
    assert (place / "runs/job-1/fitness.png").stat().st_size > 10_000
    assert "job-1" in l2l("runs")
    assert "population: 8" in l2l("show", "job-1")
    assert "240 rows" in l2l("table", "job-1", "--out", "x.csv")
    assert "240 rows" in l2l("table", "job-1", "--out", "x.parquet")
    csv, parquet = pd.read_csv("x.csv"), pd.read_parquet("x.parquet")
    assert {"fitness", "metric.norm", "param.x[0]", "error"} <= set(csv.columns)
    assert csv["fitness"].tolist() == parquet["fitness"].tolist()
    assert "metric.norm" in l2l("table", "job-1")
    assert "wrote runs/job-1/fitness.png" in l2l("plot", "job-1")


def test_runs_are_compared_in_a_table_and_a_picture(place):
    for seed in (1, 2):
        l2l("run", "job.yaml", "--inline", "--set", "generations=3", "--set", f"seed={seed}")
    l2l("run", "job.yaml", "--inline", "--set", "generations=3", "--set", "optimizer.population=4")
    header, *rows, wrote = l2l("compare", "--target", "-1.0").splitlines()
    assert header.split()[:5] == ["job", "runs", "best", "q1", "best"]
    assert sorted(re.split(r"  +", row)[:2] for row in rows) == [
        ["job (population=4)", "1"],
        ["job (population=8)", "2"],
    ]
    assert wrote == "wrote runs/comparison.png"
    assert (place / "runs/comparison.png").stat().st_size > 10_000
    assert "wrote x.png" in l2l("compare", "job-1", "job-3", "--out", "x.png")
    assert l2l("compare", "--out", "x.pdf", status=2) == "l2l: --out: expected a file ending in .png, got x.pdf\n"
    assert "did you mean 'job-" in l2l("compare", "job-l", status=2)


def test_a_run_without_generations_starts_stops_and_goes_on(place):
    steady = ["--set", "optimizer={class: 'optimizers.steady_state_ga:SteadyStateGA', population: 8, children: 1}"]
    printed = l2l("run", "job.yaml", "--inline", "--set", "asynchronous=true", "--set", "generations=2", *steady)
    assert re.search(r"state +finished: 2 generations done", printed)
    assert re.search(r"generations +5\b", l2l("resume", "job-1", "--inline", "--set", "generations=5"))
    assert "40 rows" in l2l("table", "job-1", "--out", "x.csv")
    assert sorted(pd.read_csv("x.csv")["metric.ask"]) == list(range(40))


def test_replay_repeats_any_stored_evaluation_bit_for_bit(place):
    l2l("run", "job.yaml", "--inline", "--set", "generations=3")
    frame = tables.individuals("sqlite:///l2l.db", "job-1")
    best = frame.loc[frame["fitness"].idxmax()]
    assert f"generation {best['generation']}, individual {best['individual']}, seed {best['seed']}" in l2l(
        "replay", "job-1"
    )
    for row in frame.sample(5, random_state=1).itertuples():
        printed = l2l("replay", "job-1", "-g", row.generation, "-i", row.individual)
        assert f"fitness stored   {row.fitness}\nfitness repeated {row.fitness}: the same" in printed
    other = l2l("replay", "job-1", "--set", "optimizee.trouble=nan", "--set", "seed=2")
    assert "fitness repeated" in other


def test_two_individuals_are_replayed_beside_each_other(place):
    l2l("run", "job.yaml", "--inline", "--set", "generations=2", "--set", "optimizer.population=4")
    l2l("resume", "job-1", "--inline", "--name", "other", "--set", "generations=3")
    frame = tables.individuals("sqlite:///l2l.db", "other").set_index(["generation", "individual"])
    printed = l2l("replay", "job-1", "-g", 0, "-i", 1, "--beside", "other:2:3")
    for run, generation, index in (("job-1", 0, 1), ("other", 2, 3)):
        seed, fitness = frame.loc[(generation, index), ["seed", "fitness"]]
        assert f"{run}, generation {generation}, individual {index}, seed {seed:.0f}\n" in printed
        assert f"fitness repeated {fitness}: the same\n" in printed
    assert "\n0 of 1 parameters are the same\n" in printed
    row = printed.splitlines()[-1]
    assert row.startswith("x ")
    for key in ((0, 1), (2, 3)):
        assert np.array2string(frame.loc[key].filter(like="param.x").to_numpy(float), precision=4) in row
    same = l2l("replay", "job-1", "-g", 0, "-i", 1, "--beside", "0:1")
    assert same.endswith("\n1 of 1 parameters are the same\n")


def test_pictures_go_beside_the_store_or_where_out_says_whatever_folder_one_stands_in(place, monkeypatch):
    store = ["--store", f"sqlite:///{place}/there/l2l.db"]
    (place / "there").mkdir()
    (place / "here").mkdir()
    monkeypatch.chdir(place / "here")
    l2l("run", "../job.yaml", "--inline", "--set", "generations=2", *store)
    l2l("resume", "job-1", "--inline", "--set", "generations=3", *store)
    l2l("plot", "job-1", *store)
    l2l("replay", "job-1", *store)
    assert f"wrote {place}/there/runs/comparison.png" in l2l("compare", *store)
    assert (place / "there/runs/job-1/fitness.png").exists()
    assert list((place / "here").iterdir()) == []
    assert "wrote chosen/fitness.png" in l2l("plot", "job-1", "--out", "chosen", *store)
    l2l("run", "../job.yaml", "--inline", "--set", "generations=1", "--out", "of_run", *store)
    l2l("resume", "job-2", "--inline", "--set", "generations=2", "--out", "of_resume", *store)
    assert sorted(path.name for path in (place / "here").iterdir()) == ["chosen", "of_resume", "of_run"]
    (place / "file").write_text("")
    for command in ("plot", "compare"):
        printed = l2l(command, "job-1", "--out", "../file/x.png", *store, status=2)
        assert printed.splitlines()[-1].endswith("choose another place with --out")


def test_pictures_of_a_store_on_a_server_go_home():
    assert results_folder("sqlite:///l2l.db") == Path("runs")
    assert results_folder("sqlite:////data/x.db") == Path("/data/runs")
    for url in ("postgresql://me@host/l2l", "sqlite://", "sqlite:///:memory:"):
        assert results_folder(url) == Path.home() / "l2l/runs"


def test_a_summary_has_all_objectives_of_the_best(place, capsys):
    with Store("sqlite:///l2l.db") as store:
        fill(store, "two", make(0, fitness=[[1.0, -5.5], [2.5, -0.25], [0.0, 7.0]]), space=SPACE)
        print_summary(store, store.load("two"))
    assert re.search(r"best fitness +2.5, -0.25\n", capsys.readouterr().out)


def test_a_film_or_picture_that_there_is_not_is_said(place):
    l2l("run", "job.yaml", "--inline", "--set", "generations=1", "--set", "optimizer.population=40")
    assert l2l("replay", "job-1", "--video").splitlines()[-1] == "no film: Troublemaker makes none"
    assert l2l("replay", "job-1").splitlines()[-1] == "no pictures: Troublemaker draws none"
    failing = tables.individuals("sqlite:///l2l.db", "job-1")["param.x[0]"].idxmax()
    failed = l2l("replay", "job-1", "--video", "-g", 0, "-i", failing, "--set", "optimizee.trouble=nan")
    assert failed.splitlines()[-1] == "no pictures: the evaluation failed"
    assert not list((place / "runs/job-1").glob("g*"))


def test_what_was_evolved_in_jax_is_repeated_on_nest(place):
    job = JOBS / "mountain_car_jax.yaml"
    small = [f"--set={s}" for s in ("generations=2", "optimizer.population=4", "optimizee.steps=25", "chunk=4")]
    l2l("run", job, "--inline", "--name", "x", *small)
    printed = l2l("replay", "x", "--set", "optimizee.backend=nest")
    assert ": the same" in printed
    assert "wrote runs/x/g" in printed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("run", "none.yaml"), "l2l: none.yaml: can't be read: No such file or directory"),
        (
            ("run", "job.yaml", "--set", "optimizer.populaton=3"),
            "l2l: --set: optimizer.populaton: unknown key, did you",
        ),
        (("run", "job.yaml", "--name", "../x"), "l2l: run name: expected 1 to 100 letters"),
        (
            ("run", "job.yaml", "--store", "mysql://x/y"),
            "l2l: opening mysql://x/y failed: a store is in sqlite or postgresql",
        ),
        (
            ("run", "job.yaml", "--store", "sqlite:////nowhere/x.db"),
            "l2l: opening sqlite:////nowhere/x.db failed: unable to",
        ),
        (("resume", "jbo-1"), "l2l: opening sqlite:///l2l.db failed: there is no such file; runs make it, or name it"),
        (("runs", "--store", "sqlite:///typo.db"), "l2l: opening sqlite:///typo.db failed: there is no such file"),
        (("check", "nowhere:Thing"), "l2l: no module 'nowhere' here or beside the job file"),
        (
            ("check", "troublemakers:Troublemaker", "--set", "puase=1"),
            "l2l: Troublemaker.puase: unknown key, did you mean 'pause'?",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_status_2(place, arguments, line):
    printed = l2l(*arguments, status=2)
    assert printed.startswith(line), printed
    assert printed.count("\n") == 1, printed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ("resume", "jbo-1"),
            "l2l: run: expected the name of a run in sqlite:///l2l.db, got 'jbo-1'; did you mean 'job-1'",
        ),
        (
            ("replay", "job-1", "--beside", "3"),
            "l2l: --beside: expected generation and individual, [RUN:]G:I, got '3'; e.g. 12:3",
        ),
        (("replay", "job-1", "-i", "3"), "l2l: -i: expected together with -g, got -i alone; e.g. -g 12 -i 3"),
        (
            ("replay", "job-1", "-g", "7"),
            "l2l: run 'job-1' in sqlite:///l2l.db has no individual with a fitness in gen",
        ),
        (("table", "job-1", "--out", "x.xls"), "l2l: --out: expected a file ending in .csv or .parquet, got x.xls"),
    ],
)
def test_what_a_stored_run_has_not_is_one_line_and_status_2(place, arguments, line):
    l2l("run", "job.yaml", "--inline", "--set", "generations=2")
    printed = l2l(*arguments, status=2)
    assert printed.startswith(line), printed
    assert printed.count("\n") == 1, printed


def test_a_name_that_exists_is_refused_with_what_to_do(place):
    l2l("run", "job.yaml", "--inline", "--name", "mine", "--set", "generations=2")
    before = everything("mine")
    printed = l2l("run", "job.yaml", "--inline", "--name", "mine", status=2)
    assert printed == (
        "l2l: run 'mine' exists in sqlite:///l2l.db; choose another --name, or continue it with: l2l resume mine\n"
    )
    assert everything("mine") == before


def test_resume_moves_the_stopping_rules_and_nothing_else(place):
    l2l("run", "job.yaml", "--inline", "--name", "whole")
    l2l("run", "job.yaml", "--inline", "--name", "parts", "--set", "generations=4")
    l2l("resume", "parts", "--inline", "--set", "generations=30")
    assert everything("parts") == everything("whole")
    printed = l2l("resume", "parts", "--set", "optimizer.population=16", status=2)
    assert printed.startswith(
        "l2l: --set: optimizer.population: can't change in a stored run, only generations, stop, "
    )


def test_resume_under_another_name_leaves_the_run_as_it_is(place):
    l2l("run", "job.yaml", "--inline", "--name", "old", "--set", "generations=4")
    before = everything("old")
    l2l("resume", "old", "--inline", "--name", "new", "--set", "generations=30")
    l2l("run", "job.yaml", "--inline", "--name", "whole")
    assert everything("old") == before
    assert everything("new") == everything("whole")


def test_too_many_failures_end_with_status_1_and_the_first_text(place):
    printed = l2l("run", "job.yaml", "--inline", "--set", "optimizee.trouble=raise", "--set", "max_failed=0", status=1)
    assert "the first: FloatingPointError: v diverged at 31.0 ms, at troublemakers.py:" in printed
    assert "Traceback" not in printed


def test_the_whole_traceback_is_shown_by_replay_and_where_it_is_asked_for(place, monkeypatch):
    job = ["run", "job.yaml", "--inline", "--set", "optimizee.trouble=raise", "--set", "max_failed=0"]
    monkeypatch.setenv("L2L_TRACEBACK", "1")
    raised = 'raise FloatingPointError("v diverged at 31.0 ms")\nFloatingPointError: v diverged at 31.0 ms\n'
    assert raised in "\n".join(line.strip() for line in l2l(*job, status=1).splitlines()) + "\n"
    failed = tables.individuals("sqlite:///l2l.db", "job-1").query("error != ''").iloc[0]
    printed = l2l("replay", "job-1", "-g", failed["generation"], "-i", failed["individual"])
    assert f"error stored   {failed['error']}\nerror repeated {failed['error']}\nTraceback" in printed


def test_check_says_what_holds_and_what_does_not(place):
    assert "FAIL" not in l2l("check", "troublemakers:BatchTroublemaker")
    assert "ok   leaks exactly, whatever dt is" in l2l("check", "l2l_snn.snn.cells:LIF", "--set", "tau_m=10.0")
    assert "ok   leaves synapses out that a mask takes away" in l2l("check", "l2l_snn.snn.plasticity:PairSTDP")
    (place / "forgetful.py").write_text(
        "from dataclasses import dataclass\nimport numpy as np\nfrom l2l_snn import Optimizee, Real, Space\n"
        "@dataclass(frozen=True)\nclass Forgetful(Optimizee):\n    space = Space(x=Real(0, 1))\n"
        "    def evaluate(self, params, seed):\n        return params['x'] + np.random.random()\n"
    )
    assert "FAIL" not in l2l("check", "optimizees.pendulum.task:Pendulum")
    (place / "idle.py").write_text("class Idle:\n    def reset(self, key): return key\n")
    printed = l2l("check", "idle:Idle", status=2)
    assert "or a task, got another class; a task also has observe, act, step, error" in printed
    printed = l2l("check", "forgetful:Forgetful", status=1)
    assert re.search(r"FAIL .*\n     random, numpy.random: expected global state unchanged, got changed; draw", printed)
    assert "ok   is a frozen dataclass" in printed


def test_check_says_which_claim_hangs_and_ends(place):
    (place / "hanging.py").write_text(
        "import time\nfrom dataclasses import dataclass\nfrom l2l_snn import Optimizee, Real, Space\n"
        "import l2l_snn.cli.check\nl2l_snn.cli.check.QUIET = 0.05\n"
        "@dataclass(frozen=True)\nclass Hanging(Optimizee):\n    space = Space(x=Real(0, 1))\n"
        "    def evaluate(self, params, seed):\n        time.sleep(1000)\n"
    )
    process = start("check", "hanging:Hanging", "--limit", "0.5")
    printed, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 1, printed
    *_, passed, waiting, failed, why = printed.splitlines()
    assert passed == "ok   has a space that survives JSON"
    assert waiting == "...  gives an evaluation of the right form: not answered yet, at most 0.5 s"
    assert failed == "FAIL gives an evaluation of the right form"
    assert why == "     not answered in 0.5 s; where it only takes long: --limit"


def test_a_terminal_shows_one_live_panel(place):
    terminal, end = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "l2l_snn.cli", "run", "job.yaml", "--inline"], stdout=end)
    os.close(end)
    printed = b""
    with suppress(OSError):  # that is how a closed terminal reads
        while part := os.read(terminal, 65536):
            printed += part
    assert process.wait(LIMIT) == 0
    text = printed.decode()
    assert "\x1b[" in text  # drawn over, not line after line
    for entry in ("job-1", "generation", "done", "30/30", "best", "mean", "failed", "evaluations/s", "time left"):
        assert entry in text
    assert "done 1/30  best" not in text


def test_ctrl_c_stops_cleanly_and_prints_how_to_go_on(place):
    process = start("run", "job.yaml", "--inline", "--name", "x")
    wait_for_generations(process, "x", 3)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, printed
    assert printed.endswith("to go on: l2l resume x\n"), printed
    assert "Traceback" not in printed
    with Store() as store:
        assert (store.load("x").state, store.load("x").message) == ("stopped", "interrupted")
    l2l("resume", "x", "--inline")
    l2l("run", "job.yaml", "--inline", "--name", "whole")
    assert everything("x") == everything("whole")


def test_a_driver_killed_again_and_again_goes_on_to_the_same_bytes(place):
    l2l("run", "job.yaml", "--inline", "--name", "whole")
    process = start("run", "job.yaml", "--inline", "--name", "x")
    kills = 0
    for least in (1, 5, 6, 14, 20):
        wait_for_generations(process, "x", least)
        kills += process.poll() is None
        process.kill()
        process.communicate(timeout=LIMIT)
        process = start("resume", "x", "--inline")
    printed, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, printed
    assert kills >= 3
    assert everything("x") == everything("whole")


def test_a_driver_with_ray_killed_leaves_no_process_behind_and_goes_on(place):
    l2l("run", "job.yaml", "--inline", "--name", "whole")
    process = start(
        "run", "job.yaml", "--workers", "2", "--name", "x", "--set", "optimizee.pause=0.03", start_new_session=True
    )
    wait_for_generations(process, "x", 2)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) > 2
    process.kill()
    process.communicate(timeout=LIMIT)
    # two helpers of Ray's own, which hold nothing, wait a minute for their raylet to come back
    children = [child for child in children if not (child.is_running() and child.name().endswith("Agent"))]
    assert len(children) >= 4  # workers, raylet, its server
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
    assert "30 generations done" in l2l("resume", "x", "--workers", "1")
    assert everything("x") == everything("whole")


@pytest.mark.parametrize(
    ("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)], ids=["ctrl_c", "kill"]
)
def test_a_polite_end_with_ray_stops_cleanly(place, send, number):
    process = start(
        "run", "job.yaml", "--workers", "2", "--name", "x", "--set", "optimizee.pause=0.03", start_new_session=True
    )
    wait_for_generations(process, "x", 2)
    send(process.pid, number)  # a terminal sends Ctrl-C to the workers too
    printed, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert printed.endswith("to go on: l2l resume x\n")


def test_a_second_driver_is_refused(place):
    process = start("run", "job.yaml", "--inline", "--name", "x", "--set", "optimizee.pause=0.05")
    wait_for_generations(process, "x", 1)
    printed = l2l("resume", "x", "--inline", status=2)
    assert printed.splitlines()[-1].startswith(f"l2l: run 'x' is driven by process {process.pid} on ")
    process.kill()
    process.communicate(timeout=LIMIT)


def test_a_full_disk_ends_in_one_line_and_the_run_goes_on_when_there_is_room(place):
    small_files = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000)); "
        "os.execv(sys.executable, [sys.executable, '-m', 'l2l_snn.cli', *sys.argv[1:]])"
    )
    command = [sys.executable, "-c", small_files, "run", "job.yaml", "--inline", "--name", "x"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    printed, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 2, printed
    assert printed.splitlines()[-1].startswith("l2l: "), printed
    assert "go on with: l2l resume" in printed.splitlines()[-1]
    assert "Traceback" not in printed
    with Store() as store:
        assert 0 < store.load("x").generation < LAST
    l2l("resume", "x", "--inline")
    l2l("run", "job.yaml", "--inline", "--name", "whole")
    assert everything("x") == everything("whole")


def test_a_store_deleted_under_a_run_is_never_finished_and_what_it_held_goes_on(place):
    (place / "erasing.py").write_text(
        "import os\nfrom dataclasses import dataclass\nfrom l2l_snn import Optimizee, Real, Space\n"
        "@dataclass(frozen=True)\nclass Erasing(Optimizee):\n    space = Space(x=Real(0, 1))\n"
        "    def evaluate(self, params, seed):\n"
        "        if os.path.exists('go'):\n            os.remove('go')\n            os.remove('l2l.db')\n"
        "        return params['x']\n"
    )
    (place / "erasing.yaml").write_text(JOB.replace("troublemakers:Troublemaker\n  pause: 0.004", "erasing:Erasing"))
    l2l("run", "erasing.yaml", "--inline", "--name", "x", "--set", "generations=2")
    (place / "go").touch()
    last = l2l("resume", "x", "--inline", "--set", "generations=4", status=2).splitlines()[-1]
    assert last.startswith("l2l: ")
    assert "l2l.db was deleted, moved or replaced while it was open; all that was stored is in l2l-rescued-1.db" in last
    assert "finished" not in last
    store = last.rpartition(" --store ")[2]
    assert "4 generations done" in l2l("resume", "x", "--inline", "--set", "generations=4", "--store", store)


def test_pictures_that_fail_after_a_finished_run_are_a_warning(place, monkeypatch):
    def fail(*arguments, **options):
        raise MemoryError("too many points")

    monkeypatch.setattr("l2l_snn.results.figures.fitness", fail)
    printed = l2l("run", "job.yaml", "--inline", "--set", "generations=2").splitlines()
    assert printed[-2].startswith(
        "l2l: run job-1 is stored whole, but its pictures failed: MemoryError: too many points"
    )
    assert printed[-1] == "l2l: to draw them: l2l plot job-1"
    Path("l2l.db").rename("moved.db")
    assert "there is no such file" in l2l("plot", "job-1", status=2)


def test_a_thread_that_is_left_over_does_not_hold_up_the_end(place):
    (place / "left.py").write_text(
        "import threading, time\nfrom dataclasses import dataclass\nfrom l2l_snn import Optimizee, Real, Space\n"
        "import l2l_snn.cli\nl2l_snn.cli.GRACE = 0.1\n"
        "@dataclass(frozen=True)\nclass Left(Optimizee):\n    space = Space(x=Real(0, 1))\n"
        "    def evaluate(self, params, seed):\n"
        "        threading.Thread(target=time.sleep, args=(1000,)).start()\n        return params['x']\n"
    )
    (place / "left.yaml").write_text(JOB.replace("troublemakers:Troublemaker\n  pause: 0.004", "left:Left"))
    process = start("run", "left.yaml", "--inline", "--set", "generations=1")
    printed, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, printed
    assert printed.splitlines()[-1] == "wrote runs/left-1/fitness.png"


@pytest.mark.parametrize("command", ["resume", "replay"])
def test_a_run_whose_class_had_other_fields_is_refused_with_what_to_do(place, command):
    optimizee = {"class": "optimizees.mountain_car:MountainCar", "steps": 25, "hidden": 5}
    job = {"optimizee": optimizee, "optimizer": {"class": "optimizers.ga:GeneticAlgorithm"}}
    with Store("sqlite:///l2l.db") as store:
        store.create("old", "job", {"job": job, "file": str(place / "job.yaml")}, Troublemaker.space)
    printed = l2l(command, "old", status=2)
    assert "stored job: optimizee.hidden: unknown key, did you mean 'network.hidden'?; this version can't" in printed
    assert "use the one that stored the run, or start a new run" in printed
