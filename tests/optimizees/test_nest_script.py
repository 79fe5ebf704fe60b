"""A network of one's own on NEST: built once, evaluated as if it had just been built."""

import os
import signal
import time
from dataclasses import dataclass

import nest
import numpy as np
import pytest

from l2l_snn import Real, Space
from l2l_snn.checks import check_optimizee, require
from optimizees.nest_script import NestScript, evaluate_in_copy

built = []


@dataclass(frozen=True)
class Rate(NestScript):
    """Five neurons under Poisson noise that shall fire at a given rate."""

    target: float = 20.0  # Hz
    space = Space(weight=Real(1, 200), rate=Real(1e3, 2e4, log=True))  # pA, Hz

    def build(self):
        built.append(self)
        noise, neurons, recorder = (
            nest.Create("poisson_generator"),
            nest.Create("iaf_psc_alpha", 5),
            nest.Create("spike_recorder"),
        )
        nest.Connect(noise, neurons)
        nest.Connect(neurons, recorder)
        return noise, neurons, recorder

    def read(self, network, params, seed):
        noise, neurons, recorder = network
        noise.rate = params["rate"]
        nest.GetConnections(noise, neurons).weight = params["weight"]
        nest.Simulate(20.0)
        rate = recorder.n_events / len(neurons) / 0.02
        if params["weight"] > 199:
            raise ArithmeticError("too heavy")
        return -abs(rate - self.target), {"rate": rate, "time": nest.biological_time}


@pytest.fixture
def z():
    return np.random.default_rng(1).random((4, 2))


def test_it_keeps_the_contract():
    require(check_optimizee(Rate(), individuals=4))


def test_the_network_is_built_once_and_each_evaluation_begins_with_it_as_it_was(z):
    built.clear()
    seeds = np.arange(1, 5)
    first = Rate(target=21.0).evaluate_batch(z, seeds)
    again = Rate(target=21.0).evaluate_batch(z[::-1], seeds[::-1])
    assert built == [Rate(target=21.0)]
    np.testing.assert_array_equal(first.fitness, again.fitness[::-1])
    assert set(first.metrics["time"]) == {20.0}
    assert nest.biological_time == 0.0
    assert len(set(first.metrics["rate"])) > 1


def test_it_is_what_nest_does_in_an_empty_kernel(z):
    found = Rate().evaluate_batch(z[:1], np.array([7]))
    nest.ResetKernel()
    nest.resolution = 0.1
    nest.rng_seed = 7
    optimizee = Rate()
    fitness, details = optimizee.read(optimizee.build(), optimizee.space.decode(z[0]), 7)
    assert (fitness, details["rate"]) == (found.fitness[0], found.metrics["rate"][0])


def test_another_network_in_between_is_noticed(z):
    built.clear()
    Rate().evaluate_batch(z[:1], np.array([1]))
    Rate(target=10.0).evaluate_batch(z[:1], np.array([1]))
    Rate().evaluate_batch(z[:1], np.array([1]))
    assert [one.target for one in built][-2:] == [10.0, 20.0]


def test_what_it_raises_is_an_error_with_the_traceback():
    with pytest.raises(RuntimeError, match="ArithmeticError: too heavy") as caught:
        Rate().evaluate({"weight": 199.5, "rate": 2e3}, 1)
    assert 'raise ArithmeticError("too heavy")' in caught.value.__notes__[0]


def test_a_crash_and_a_hang_are_errors_of_one_individual():
    with pytest.raises(RuntimeError, match="ended by signal SIGKILL, without an answer"):
        evaluate_in_copy(lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(TimeoutError, match="longer than"):
        evaluate_in_copy(lambda: time.sleep(100), 0.2)
    assert evaluate_in_copy(lambda: np.arange(200_000).sum()) == 19_999_900_000
