"""The examples of docs/contributing.md, run as they stand."""

import importlib
import re
import sys

import numpy as np
import pytest
from places import ROOT
from typer.testing import CliRunner

from l2l_snn.cli import app

PAGE = (ROOT / "docs/contributing.md").read_text()
TASK = (ROOT / "docs/guide/task.md").read_text()
EXAMPLES = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", PAGE + TASK, re.DOTALL | re.MULTILINE))
CLASSES = ["valley:Valley", "poisson:Poisson", "climber:Climber", "leaky:Leaky", "hebb:Hebb", "reach:Reach"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the examples, which is the current one and where modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for name, text in EXAMPLES.items():
        (tmp_path / f"{name}.py").write_text(text)
    yield tmp_path
    for name in EXAMPLES:
        sys.modules.pop(name, None)


def test_all_examples_are_tested():
    assert list(EXAMPLES) == [address.partition(":")[0] for address in CLASSES]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_fits_on_a_screen(name):
    assert len([line for line in EXAMPLES[name].splitlines() if line.strip()]) <= 36


@pytest.mark.parametrize("address", CLASSES)
def test_an_example_keeps_its_contract(folder, address):
    checked = CliRunner().invoke(app, ["check", address])
    assert checked.exit_code == 0, checked.output


def test_the_optimizee_of_many_finds_the_rate_with_the_optimizer(folder):
    job = "optimizee: {class: poisson:Poisson}\noptimizer: {class: climber:Climber}\nstop: {fitness: 0}\n"
    (folder / "job.yaml").write_text(job)
    ran = CliRunner().invoke(app, ["run", "job.yaml", "--inline"])
    assert re.search(r"fitness -?0 reached 0", ran.output), ran.output


def test_the_optimizee_in_jax_has_a_gradient(folder):
    valley = importlib.import_module("valley").Valley()
    found = valley.evaluate_batch(np.full((1, 2), 0.5), np.array([1]), with_grad=True)
    np.testing.assert_allclose(found.grad, 2 * 2 * 0.3, rtol=1e-5)  # x = 2 z - 1


def test_the_neuron_and_the_rule_make_a_network(folder):
    from l2l_snn.snn.network import Network, Population, Projection

    leaky, hebb = importlib.import_module("leaky").Leaky(), importlib.import_module("hebb").Hebb()
    net = Network(
        {"in": Population(2), "out": Population(1, leaky)},
        {"w": Projection("in", "out", delay=1.0, rule=hebb)},
        dt=1.0,
    )
    weights = np.full((2, 1), 0.6, np.float32)
    trains = np.tile(np.array([1.0, 0.0], np.float32), (20, 1))  # the first input fires in every step
    state, record = net.rollout(net.init({"w": weights}), spikes={"in": trains}, record=("spikes.out",))
    assert 0 < record.spikes["out"].sum() < 20
    w = np.asarray(state.weights["w"])
    assert w[0, 0] > 0.6
    assert w[1, 0] == np.float32(0.6)
