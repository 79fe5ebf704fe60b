"""--debug shows one's own mistake: the traceback, the parameters, the seed, and a debugger on a terminal."""

import os
import pty
import sys

import pytest
from bowls import bowl_job
from places import HELPERS
from troublemakers import Troublemaker
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.optimizee import JaxOptimizee
from l2l_snn.space import Real, Space
from l2l_snn.storage.store import Store
from l2l_snn.workers.debugging import Debugging, FailedIndividual

JOB = """\
optimizee: {class: 'troublemakers:Troublemaker', trouble: TROUBLE}
optimizer: {class: 'optimizers.ga:GeneticAlgorithm', population: 8}
generations: 3
chunk: 4
max_failed: 1.0
"""


class Reciprocal(JaxOptimizee):
    """1 / 0 at once."""

    space = Space(x=Real(0, 1))

    def evaluate(self, params, key, *, watch):
        return (params["x"] * 0.0) / (params["x"] * 0.0)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HELPERS)
    for trouble in ("raise", "nan", "none", "exit"):
        (tmp_path / f"{trouble}.yaml").write_text(JOB.replace("TROUBLE", trouble))
    return tmp_path


def l2l(*arguments, status=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_the_first_failure_is_shown_with_its_traceback_parameters_and_seed(place):
    printed = l2l("run", "raise.yaml", "--debug", status=1)
    assert "l2l: individual " in printed
    assert "of generation 0 failed: FloatingPointError: v diverged at 31.0 ms" in printed
    assert 'troublemakers.py", line' in printed
    assert 'raise FloatingPointError("v diverged at 31.0 ms")' in printed
    assert "  x: array([" in printed
    assert "seed " in printed
    assert not (place / "l2l.db").exists()


def test_a_failure_that_raises_nothing_is_explained(place):
    assert "nothing was raised, but: fitness is nan" in l2l("run", "nan.yaml", "--debug", status=1)
    assert "sys.exit(0) was called" in l2l("run", "exit.yaml", "--debug", status=1)
    assert "no individual failed in 3 generations" in l2l("run", "none.yaml", "--debug")


def test_a_stored_failure_is_shown_when_it_is_replayed(place):
    l2l("run", "raise.yaml", "--inline")
    with Store() as store:
        rows = [store.individual("raise-1", 0, i) for i in range(8)]
    failed, good = (next(row for row in rows if bool(row.error) == bad) for bad in (True, False))
    for which in ((), ("-g", 0, "-i", failed.index)):
        printed = l2l("replay", "raise-1", "--debug", *which, status=1)
        assert f"individual {failed.index}" in printed
        assert f"seed {failed.seed}" in printed
        assert 'raise FloatingPointError("v diverged' in printed
    assert "it doesn't fail here" in l2l("replay", "raise-1", "--debug", "-g", 0, "-i", good.index)
    l2l("run", "none.yaml", "--inline", "--name", "good")
    assert "expected an individual that failed, got none in 'good'" in l2l("replay", "good", "--debug", status=2)


def test_a_terminal_gets_a_debugger_in_the_frame_that_failed(place):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["PYTHONPATH"] = f"{os.environ.get('PYTHONPATH', '')}:{HELPERS}"
        os.execv(sys.executable, [sys.executable, "-m", "l2l_snn.cli", "run", "raise.yaml", "--debug"])
    os.write(terminal, b"p 'x0 is', x[0] > 0.5\nq\n")
    said = b""
    try:
        while part := os.read(terminal, 4096):
            said += part
    except OSError:  # the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    text = said.decode()
    assert "(Pdb)" in text
    assert "('x0 is'" in text


def test_in_jax_the_operation_that_gives_nan_is_named(compiled_soon):
    from dataclasses import dataclass

    optimizee = dataclass(frozen=True)(Reciprocal)()
    with Debugging(optimizee, 2) as evaluator, pytest.raises(FailedIndividual) as caught:
        evaluator.evaluate(optimizee.space.center[None], bowl_seeds())
    assert isinstance(caught.value.cause, FloatingPointError)
    assert "div" in caught.value.report()


def bowl_seeds():
    import numpy as np

    return np.array([bowl_job().seed])


def test_what_does_not_fail_is_evaluated_as_ever():
    import numpy as np

    from l2l_snn.workers.in_process import Inline

    z, seeds = np.random.default_rng(1).random((6, 3)), np.arange(1, 7)
    with Debugging(Troublemaker(), 4) as debugged, Inline(Troublemaker(), 4) as inline:
        ours, theirs = (evaluator.evaluate(z, seeds).evaluation.fitness for evaluator in (debugged, inline))
    assert ours.tobytes() == theirs.tobytes()
