"""Hybrid units against loops over steps and windows; what is trained, and what isn't."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.snn.cells import IterativeLIF
from l2l_snn.snn.hybrid import (
    HybridUnit,
    by_chance,
    evenly_spaced,
    exponential_kernel,
    fit_kernel,
    learning,
    levels,
    rate_kernel,
    spiking,
    to_currents,
    to_rates,
    to_spikes,
    to_thresholds,
    to_timing,
    truncated,
)
from l2l_snn.snn.network import Network, Population
from l2l_snn.snn.surrogate import rectangular

GENERATOR = np.random.default_rng(1)


def loop(x, kernel, held=1, stride=1):
    """Return the filter's answers by its sum, step by step."""
    steps = [x[t // held] for t in range(len(x) * held)]
    answers = []
    for t in range(len(steps)):
        if (t + 1) % stride:
            continue
        total = np.zeros_like(x[0])
        for s in range(len(kernel)):
            if t - s >= 0:
                total = total + kernel[s] * steps[t - s]
        answers.append(total)
    return np.array(answers)


@pytest.mark.parametrize(
    ("window", "held", "stride", "own"), [(3, 1, 1, False), (4, 1, 3, True), (5, 3, 1, True), (2, 4, 3, False)]
)
def test_a_unit_is_the_sum_over_its_window(window, held, stride, own):
    x = GENERATOR.normal(size=(7, 2, 4)).astype(np.float32)
    kernel = GENERATOR.normal(size=(window, 4) if own else (window,)).astype(np.float32)
    unit = HybridUnit(window, kernel, jnp.tanh, lambda y, key: 2 * y, held, stride)
    np.testing.assert_allclose(jax.jit(unit)(x), 2 * np.tanh(loop(x, kernel, held, stride)), rtol=1e-5, atol=1e-6)


def test_operations_are_those_of_the_loop():
    unit = HybridUnit(4, np.ones(4), stride=5)
    assert unit.operations(20, 3) == (20 // 5) * 3 * (4 + 1)
    assert to_spikes(6).operations(2, 3, density=0.5) == 12 * 3 * (0.5 + 2)


def test_evenly_spaced_spikes_are_those_of_an_integrator():
    rates = GENERATOR.uniform(size=(30, 5)).astype(np.float32)
    found = np.asarray(evenly_spaced(0.25)(rates))
    v = np.full(5, 0.25)
    for t in range(30):
        v = v + rates[t]
        fires = v >= 1
        np.testing.assert_array_equal(found[t], fires)
        v = v - fires


def test_numbers_come_back_from_spikes_and_thresholds_from_numbers():
    numbers = jnp.array([[0.0, 0.3, 0.75, 1.0], [1.0, 0.9, 0.1, 0.0]])
    spikes = to_spikes(20)(numbers)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    assert np.abs(to_rates(20)(spikes) - numbers).max() < 1 / 20
    chances = HybridUnit(1, jnp.ones(1), quantise=by_chance, held=400)(numbers, jax.random.key(1))
    assert np.abs(to_rates(400)(chances) - numbers).max() < 0.1
    np.testing.assert_allclose(levels(5)(numbers, None)[0], [0, 0.25, 0.75, 1])


def test_a_short_window_tells_when_and_a_long_one_how_often():
    early, late = np.zeros((12, 1)), np.zeros((12, 1))
    early[2], late[9] = 1, 1
    assert to_rates(12)(early) == to_rates(12)(late) == pytest.approx(1 / 12)
    timing = to_timing(4, 1.0)
    assert timing(early)[-1] == 0 < timing(late)[-1]
    np.testing.assert_allclose(timing(late)[9:, 0], exponential_kernel(4, 1.0)[:3], rtol=1e-6)


def test_currents_and_thresholds_drive_a_network():
    """A neuron's rate rises with the current that a unit makes of a number, and falls with the threshold."""
    modulation = GENERATOR.normal(size=(3, 200)).astype(np.float32)
    thresholds = to_thresholds(3, 0.5, 50.0, 0.25)(modulation)[-1]
    assert set(np.unique(thresholds)) == {0.5, 50.0}
    strongest = modulation.mean(axis=0) >= np.quantile(modulation.mean(axis=0), 0.75)
    assert np.mean((thresholds == 0.5) == strongest) > 0.95
    net = Network({"n": Population(200, IterativeLIF(0.5, thresholds))}, {}, dt=1.0)
    currents = to_currents(10, gain=2.0)(jnp.full((1, 200), 0.5))
    assert currents.shape == (10, 200)
    _, record = net.rollout(net.init({}), currents={"n": currents})
    np.testing.assert_array_equal(record.spikes["n"].sum(axis=0) > 0, thresholds == 0.5)


def test_a_kernel_learned_alone_is_the_one_that_made_the_answers():
    x = GENERATOR.normal(size=(40, 2)).astype(np.float32)
    kernel = np.array([0.5, -1.0, 0.25], np.float32)
    np.testing.assert_allclose(fit_kernel(x, loop(x, kernel), 3), kernel, rtol=1e-3)


def test_gradients_pass_the_quantisers_and_reach_only_what_learns():
    x = GENERATOR.uniform(size=(6, 3)).astype(np.float32)

    def cost(params, names):
        params = learning(params, names)
        unit = HybridUnit(2, params["kernel"], quantise=evenly_spaced())
        return jnp.sum(unit(x @ params["before"]) @ params["after"])

    params = {"before": jnp.eye(3), "kernel": jnp.array([0.3, 0.2]), "after": jnp.ones((3, 1))}
    everything = jax.grad(cost)(params, ("before", "kernel", "after"))
    expected = [x.sum(), x[:-1].sum()]  # as if nothing were discretised
    np.testing.assert_allclose(everything["kernel"], expected, rtol=1e-5)
    alone = jax.grad(cost)(params, ("kernel",))
    np.testing.assert_array_equal(alone["kernel"], everything["kernel"])
    assert not alone["before"].any()
    assert not alone["after"].any()
    slope = jax.grad(lambda y: spiking(rectangular(1.0))(y, None).sum())(jnp.array([-0.2, 3.0]))
    np.testing.assert_array_equal(slope, [1.0, 0.0])


def test_a_traced_window_cuts_a_kernel_off():
    kernels = jax.vmap(lambda w: truncated(jnp.asarray(rate_kernel(4)), w))(jnp.array([1, 3]))
    np.testing.assert_array_equal(kernels, [[0.25, 0, 0, 0], [0.25, 0.25, 0.25, 0]])


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: HybridUnit(3, np.ones(2)), r"kernel: expected shape \(3,\) or \(3, N\), got \(2,\)"),
        (lambda: HybridUnit(0, np.ones(0)), "window: expected an integer >= 1"),
        (lambda: HybridUnit(1, np.ones((1, 2)))(np.ones((4, 3))), r"expected shape \(T, ..., 2\)"),
        (lambda: to_rates(5)(np.ones((4, 3))), "at least 5 steps"),
        (lambda: by_chance(jnp.ones(2), None), "expected a jax.random key"),
        (lambda: learning({"a": 1.0}, ("b",)), "names of parameters, got b"),
        (lambda: to_thresholds(1, 0.1, 1.0, 0.0), r"a share in \(0, 1\]"),
        (lambda: exponential_kernel(2, -1.0), "a time constant > 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()
