"""l2l new, list, describe, --version and completion."""

import importlib

import make_reference
import pytest
import yaml
from places import ROOT
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.cli.common import complete_run


def l2l(*arguments, status=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == status, result.output
    return result.output


def test_a_new_optimizee_runs_and_its_test_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "wrote fast_neuron.yaml" in l2l("new", "optimizee", "fast_neuron")
    assert "finished" in l2l("run", "fast_neuron.yaml", "--inline", "--set", "generations=2")
    monkeypatch.syspath_prepend(tmp_path)
    test = importlib.import_module("test_fast_neuron")
    test.test_it_keeps_the_contract_of_optimizees()
    test.test_it_gets_better(tmp_path)
    assert "and there is fast_neuron.py" in l2l("new", "optimizee", "fast_neuron", status=2)
    assert "expected a module's name" in l2l("new", "optimizee", "Fast-Neuron", status=2)
    assert "fast_neuron:FastNeuron" in l2l("list", "optimizees")
    described = l2l("describe", "fast_neuron:FastNeuron")
    row = next(line for line in described.splitlines() if line.startswith("rate"))
    assert row.split() == ["rate", "float", "20.0", "Hz"]
    assert "tau_m    Real(low=5, high=50, log=True, shape=())" in described


def test_every_optimizer_is_listed():
    listed = {line.split()[0] for line in l2l("list", "optimizers").splitlines()[1:]}
    assert listed == {f"{module.__name__}:{cls.__name__}" for module, cls in make_reference.optimizer_classes()}


def test_every_optimizee_of_a_job_is_listed(monkeypatch):
    monkeypatch.chdir(ROOT)
    listed = {line.split()[0] for line in l2l("list", "optimizees").splitlines()[1:]}
    named = {yaml.safe_load(path.read_text())["optimizee"]["class"] for path in (ROOT / "jobs").glob("*.yaml")}
    assert named <= listed


def test_a_nested_field_is_described_with_its_dotted_name():
    rows = l2l("describe", "optimizers.openai_es:OpenES").splitlines()
    assert any(row.startswith("step.learning_rate ") for row in rows)
    assert "required" in l2l("describe", "optimizers.map_elites:MapElites")
    assert "did you mean 'OpenES'" in l2l("describe", "optimizers.openai_es:OpenEs", status=2)


def test_the_version_is_that_of_the_package():
    assert l2l("--version") == f"l2l-snn {_read_version()}\n"


def _read_version():
    import tomllib

    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_its_completion(shell):
    script = CliRunner().invoke(app, [], prog_name="l2l", env={"_L2L_COMPLETE": f"source_{shell}"})
    assert script.exit_code == 0, script.output
    assert "_L2L_COMPLETE=complete_" in script.output


def test_names_of_runs_are_completed(tmp_path, monkeypatch):
    from types import SimpleNamespace

    monkeypatch.chdir(tmp_path)
    context = SimpleNamespace(params={})
    assert complete_run(context, "") == []
    l2l("new", "optimizee", "one")
    for name in ("one-1", "one-2", "two"):
        l2l("run", "one.yaml", "--inline", "--set", "generations=1", "--name", name)
    assert complete_run(context, "one") == ["one-1", "one-2"]
