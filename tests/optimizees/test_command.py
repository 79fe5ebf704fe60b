"""Commands as optimizees: what they are given, what is read of them, what becomes of their files."""

from pathlib import Path

import numpy as np
import psutil
import pytest

from l2l_snn.checks import check_optimizee, require
from l2l_snn.loop.components import build
from l2l_snn.loop.job_file import Complaint
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Choice, Free, Integer, Real, Space
from optimizees.command import CommandOptimizee

PARAMETERS = {
    "x": {"low": -1, "high": 1},
    "w": {"low": 0, "high": 2, "shape": [2]},
    "rule": {"options": ["stdp", "eprop"]},
}
GIVEN = {"x": 0.25, "w": np.array([1.0, 0.5]), "rule": "stdp"}


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(script, command="sh model.sh {x} {w} {rule} {seed}", **fields):
        (tmp_path / "model.sh").write_text(script)
        return CommandOptimizee(command, PARAMETERS, files=("model.sh",), **fields)

    return make


def folders():
    return list(Path("runs/command").iterdir())


def test_it_keeps_the_contract(made):
    require(check_optimizee(made("echo $4 | cut -c 1-4\n")))


def test_the_space_is_what_the_job_says():
    entries = {
        "n": {"kind": "Integer", "low": 1, "high": 4},
        "g": {"low": 1, "high": 9, "log": True},
        "v": {"shape": [2, 3]},
    }
    space = CommandOptimizee("true", {**entries, "rule": {"options": ["a", "b"]}}).space
    assert space == Space(n=Integer(1, 4), g=Real(1, 9, log=True), v=Free((2, 3)), rule=Choice("a", "b"))


def test_parameters_and_seed_are_on_the_command_line_and_in_a_file(made):
    optimizee = made('echo "$@" > words\ncp params.json words ../../..\necho 1\n')
    assert optimizee.evaluate(GIVEN, 7) == (1.0, {})
    assert Path("words").read_text() == "0.25 [1.0, 0.5] stdp 7\n"
    import json

    assert json.loads(Path("params.json").read_text()) == {"x": 0.25, "w": [1.0, 0.5], "rule": "stdp", "seed": 7}
    assert folders() == []


def test_no_shell_reads_the_parameters(made):
    optimizee = CommandOptimizee(
        "echo {rule}", {"rule": {"options": ["$(touch hacked)", "1; touch hacked"]}}, keep="all"
    )
    with pytest.raises(RuntimeError, match=r"expected a fitness in its last line, got '1; touch hacked'"):
        optimizee.evaluate({"rule": "1; touch hacked"}, 1)
    assert [path.name for path in folders()[0].iterdir() if path.name == "hacked"] == []


@pytest.mark.parametrize(
    ("script", "fields", "expected"),
    [
        ("echo hello\necho -1.5\n", {}, (-1.5, {})),
        ('echo \'{"fitness": 2, "rate": 12.5}\'\n', {}, (2.0, {"rate": 12.5})),
        ("echo '[1, 2]'\n", {}, ([1.0, 2.0], {})),
        ("echo '{\"fitness\": 3}' > out.json\necho busy\n", {"result": "out.json"}, (3.0, {})),
        ("echo a=1 fit=4e-1 n=7 end\n", {"pattern": r"fit=(?P<fitness>\S+) n=(?P<n>\d+)"}, (0.4, {"n": 7.0})),
    ],
)
def test_the_fitness_is_read_from_what_the_command_tells(made, script, fields, expected):
    assert made(script, **fields).evaluate(GIVEN, 1) == expected


@pytest.mark.parametrize(
    ("script", "fields", "text"),
    [
        ("echo no model >&2\nexit 3\n", {}, "exit status 3: no model; its files are in /"),
        ("kill -SEGV $$\n", {}, "ended by SIGSEGV; its files"),
        ("echo done\n", {}, "expected a fitness in its last line, got 'done'"),
        ("echo '{\"rate\": 1}'\n", {}, "expected a fitness in its last line"),
        ("true\n", {"result": "out.json"}, "it wrote no file 'out.json'"),
        ("echo fit none\n", {"pattern": r"fit=(?P<fitness>\S+)"}, "doesn't match"),
    ],
)
def test_what_goes_wrong_is_said_and_the_files_are_kept(made, script, fields, text):
    optimizee = made(script, **fields)
    with pytest.raises(RuntimeError, match=text):
        optimizee.evaluate(GIVEN, 5)
    (folder,) = folders()
    assert folder.name.startswith("seed5-")
    assert {"model.sh", "params.json", "stdout.txt", "stderr.txt"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("keep", "left"), [("all", [1, 2]), ("failed", [0, 1]), ("none", [0, 0])])
def test_folders_are_kept_as_asked(made, keep, left):
    optimizee = made('[ "$4" = 1 ] && echo 1\n', keep=keep)
    optimizee.evaluate(GIVEN, 1)
    assert len(folders()) == left[0]
    with pytest.raises(RuntimeError):
        optimizee.evaluate(GIVEN, 2)
    assert len(folders()) == left[1]


def test_a_command_that_takes_too_long_is_ended_with_all_that_it_started(made):
    optimizee = made("sleep 987 &\necho $! > pid\nwait\n", limit=0.3)
    with pytest.raises(TimeoutError, match="its files are in"):
        optimizee.evaluate(GIVEN, 1)
    pid = int((folders()[0] / "pid").read_text())
    gone = not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert gone


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"command": "run {tua}", "parameters": {"tau": {"low": 1, "high": 2}}},
            "command: .*{tua}; did you mean 'tau'",
        ),
        ({"command": "run", "parameters": {"tau": {"low": 1}}}, "expected parameters of a space, got TypeError"),
        ({"command": "run", "parameters": {}, "pattern": "("}, "pattern: expected a regular expression"),
        ({"command": "run", "parameters": {}, "pattern": "x"}, "pattern: expected a group named fitness"),
    ],
)
def test_what_is_wrong_in_the_job_is_said(fields, text):
    with pytest.raises((Complaint, ValueError), match=text):
        _ = build({"class": "optimizees.command:CommandOptimizee", **fields}, "optimizee", BatchOptimizee).space
