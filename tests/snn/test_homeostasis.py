"""Synaptic scaling against its differential equation and against a neuron that answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from l2l_snn.snn.homeostasis import SynapticScaling, normalised


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def test_it_solves_the_equation_of_van_rossum_for_a_constant_rate():
    rule, counts = SynapticScaling(target=20.0, tau=300.0, beta=0.02), np.array([3.0, 0.0, 40.0])
    w = np.random.default_rng(1).uniform(0.5, 2.0, (4, 3))
    state, found = rule.init(3), jnp.asarray(w)
    for _ in range(5):
        state, found = rule.step(state, found, counts, 200.0)

    def slope(t, x):
        rate, w = x[:3], x[3:].reshape(4, 3)
        return np.concatenate([(counts / 0.2 - rate) / 0.3, (0.02 * w * (20.0 - rate)).ravel()])

    expected = solve_ivp(slope, (0.0, 1.0), [20.0, 20.0, 20.0, *w.ravel()], rtol=1e-10, atol=1e-12).y[:, -1]
    np.testing.assert_allclose(state.rate, expected[:3], rtol=1e-8)
    np.testing.assert_allclose(found, expected[3:].reshape(4, 3), rtol=1e-8)
    np.testing.assert_allclose(state.missing, np.log(found[0] / w[0]) / 0.02, rtol=1e-8)  # what the growth came from


def test_short_and_long_stretches_of_the_same_rate_give_the_same():
    rule, results = SynapticScaling(tau=500.0, beta=0.03), []
    for pieces in (1, 10):
        state, w = rule.init(2), jnp.ones((3, 2))
        for _ in range(pieces):
            state, w = rule.step(state, w, jnp.array([5.0, 60.0]) / pieces, 1000.0 / pieces)
        results.append((state.rate, w))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-12)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12)


@pytest.mark.parametrize(("beta", "gamma"), [(0.02, 0.0), (0.02, 0.005)])
def test_neurons_whose_rate_grows_with_their_input_reach_their_target_and_ratios_stay(beta, gamma):
    rule, w = SynapticScaling(target=15.0, beta=beta, gamma=gamma), jnp.array([[0.2, 3.0], [0.6, 1.0]])
    ratios, state = w[0] / w[1], rule.init(2)
    for _ in range(600):
        state, w = rule.step(state, w, 0.1 * 10.0 * w.sum(axis=0), 100.0)  # 10 Hz for a total weight of 1
    np.testing.assert_allclose(10.0 * w.sum(axis=0), 15.0, rtol=0.02)
    np.testing.assert_allclose(w[0] / w[1], ratios, rtol=1e-9)


def test_a_neuron_at_its_target_is_left_alone_and_bounds_and_dtype_are_kept():
    rule, w = SynapticScaling(target=20.0, beta=1.0, w_max=2.0), jnp.full((2, 3), 1.0, jnp.float32)
    state, new = rule.step(rule.init(3), w, jnp.array([2.0, 0.0, 50.0]), 100.0)
    np.testing.assert_array_equal(new[:, 0], 1.0)
    for _ in range(50):
        state, new = rule.step(state, new, jnp.array([2.0, 0.0, 50.0]), 100.0)
    np.testing.assert_array_equal(new[:, 1], 2.0)
    assert (new[:, 2] < 1e-6).all()
    assert new.dtype == jnp.float32


def test_normalised_weights_sum_to_the_total_and_silent_neurons_stay():
    w = np.random.default_rng(2).random((5, 3)) * [1.0, 0.0, 7.0]
    found = normalised(w, np.array([2.0, 2.0, 0.5]))
    np.testing.assert_allclose(found.sum(axis=0), [2.0, 0.0, 0.5], rtol=1e-12)
    np.testing.assert_allclose(found[:, 0] / found[0, 0], w[:, 0] / w[0, 0], rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (SynapticScaling(tau=0.0), r"SynapticScaling.tau: expected > 0, got 0.0"),
        (SynapticScaling(target=-1.0), r"SynapticScaling.target: expected >= 0, got -1.0"),
        (
            SynapticScaling(beta=np.ones(4)),
            r"SynapticScaling.beta: expected a number or shape \(3,\), got shape \(4,\)",
        ),
        (SynapticScaling(w_min=2.0, w_max=1.0), r"SynapticScaling.w_min: expected w_min <= w_max"),
    ],
)
def test_parameters_outside_their_domain_are_refused(rule, text):
    with pytest.raises(ValueError, match=text):
        rule.init(3)


def test_counts_of_another_population_are_refused():
    rule = SynapticScaling()
    with pytest.raises(ValueError, match=r"step counts: expected shape \(2,\), one a neuron, got shape \(3,\)"):
        rule.step(rule.init(2), jnp.ones((3, 2)), jnp.ones(3), 10.0)
