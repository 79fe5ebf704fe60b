"""Optimizees of the L2L framework, run unchanged; where that isn't installed, on a trajectory of the same form."""

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from places import ROOT

from l2l_snn.checks import check_optimizee, require
from l2l_snn.space import Free, Integer, Real, Space
from optimizees.l2l_adapter import L2LOptimizee, _make_optimizee

INSTALLED = importlib.util.find_spec("l2l") is not None


class Group:
    """Parameters that are read as attributes, as the framework's `Individual` has them."""

    def __init__(self):
        self.params = {}
        self.ind_idx = self.generation = 0

    def f_add_parameter(self, key, value, comment=""):
        self.params[key] = value

    def __getattr__(self, name):
        if name.startswith("__") or name == "params":
            raise AttributeError(name)
        return self.params.get(f"individual.{name}")


class StandIn:
    """What an optimizee uses of the framework's trajectory."""

    def __init__(self, **options):
        self.individual = Group()

    def f_add_parameter_group(self, name, comment=""):
        pass


class Model:
    """An optimizee as its users write it."""

    def __init__(self, traj, parameters):
        traj.f_add_parameter_group("individual", "")
        self.parameters, self.calls = parameters, 0

    def create_individual(self):
        draw = np.random.mtrand._rand  # the global generator
        return {"w": draw.normal(2.0, 0.5, (2, 3)), "tau": draw.uniform(5, 50), "n": draw.randint(1, 9)}

    def bounding_func(self, individual):
        return {**individual, "tau": np.clip(individual["tau"], 5, 50), "n": int(np.clip(individual["n"], 1, 9))}

    def simulate(self, traj):
        self.calls += 1
        noise = np.random.mtrand._rand.normal(0, self.parameters.noise)
        return traj.individual.w.sum() + traj.individual.tau + noise, float(self.calls)


@pytest.fixture
def adapted(monkeypatch):
    if not INSTALLED:
        module = ModuleType("l2l.utils.trajectory")
        module.Trajectory = StandIn  # pyright: ignore[reportAttributeAccessIssue]
        for name in ("l2l", "l2l.utils"):
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
        monkeypatch.setitem(sys.modules, "l2l.utils.trajectory", module)

    def make(**fields):
        return L2LOptimizee("test_l2l_adapter:Model", {"parameters": {"noise": 0.5}}, **fields)

    monkeypatch.setitem(sys.modules, "test_l2l_adapter", sys.modules[__name__])
    _make_optimizee.cache_clear()
    yield make
    _make_optimizee.cache_clear()


def test_the_space_is_read_off_the_optimizee(adapted):
    space = adapted(weights=(-1.0, 1.0)).space
    assert space.parameters["tau"] == Real(5, 50)
    assert space.parameters["n"] == Integer(1, 9)
    free = space.parameters["w"]
    assert isinstance(free, Free)
    assert (free.shape, round(free.mean), round(free.scale, 1)) == ((2, 3), 2, 0.5)
    assert adapted(bounds={"w": (-1, 1)}).space.parameters["w"] == Real(-1, 1, shape=(2, 3))


def test_it_keeps_the_contract_and_draws_from_the_seed_alone(adapted):
    require(check_optimizee(adapted(weights=(-1.0, 1.0))))


def test_simulate_is_called_as_the_framework_does(adapted):
    optimizee = adapted(weights=(-1.0, 2.0))
    params = {"w": np.ones((2, 3)), "tau": 10.0, "n": 3}
    for _ in range(2):  # a copy each time
        fitness, details = optimizee.evaluate(params, 3)
        expected = 16.0 + np.random.RandomState(3).normal(0, 0.5)
        np.testing.assert_allclose(fitness, [-expected, 2.0])
        assert details == {"raw_0": pytest.approx(expected), "raw_1": 1.0}


def test_what_is_wrong_is_said(adapted, monkeypatch):
    with pytest.raises(ValueError, match="weights: expected 2 numbers, got 1"):
        adapted().evaluate({"w": np.ones((2, 3)), "tau": 10.0, "n": 3}, 1)
    with pytest.raises(ValueError, match="optimizee: expected module:Class, got 'model'"):
        L2LOptimizee("model")
    texts = SimpleNamespace(create_individual=lambda: {"rule": "stdp"})
    _make_optimizee.cache_clear()
    monkeypatch.setattr(sys.modules[__name__], "Model", lambda traj, parameters: texts)
    with pytest.raises(ValueError, match="expected numbers or arrays of numbers"):
        _ = adapted().space
    _make_optimizee.cache_clear()
    monkeypatch.setitem(sys.modules, "l2l.utils.trajectory", None)
    with pytest.raises(ImportError, match="expected the L2L framework, got no module 'l2l'; pip install"):
        _ = adapted().space


@pytest.mark.skipif(not INSTALLED, reason="the L2L framework is not installed")
def test_its_own_function_optimizee_is_its_own_function(monkeypatch):
    from l2l.optimizees.functions.benchmarked_functions import (  # pyright: ignore[reportMissingImports]
        BenchmarkedFunctions,
    )

    (_, function), _ = BenchmarkedFunctions().get_function_by_name("Rastrigin2d")
    monkeypatch.syspath_prepend(ROOT / "docs/examples")
    optimizee = L2LOptimizee("l2l_examples:rastrigin", weights=(-1.0,))
    assert optimizee.space == Space(coords=Real(-5, 5, shape=(2,)))
    x = np.array([0.3, -1.2])
    assert optimizee.evaluate({"coords": x}, 1)[0] == -np.ravel(function.cost_function(x))[0]
