"""Synaptic currents against their closed forms, and delays."""

from fractions import Fraction
from math import comb, factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.snn import synapses
from l2l_snn.snn.delays import by_delay, delay_steps, deliver
from l2l_snn.snn.synapses import Rise, alpha, exponential, membrane

DT = 0.1
STEPS = np.arange(1, 401)


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def course(current, p, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return I and V after each of 400 steps, for a spike that arrives at time 0."""
    zero = Rise(0.0, 0.0) if isinstance(current, synapses.Alpha) else 0.0
    state, v, out = current.step(zero, weight), 0.0, []
    for _ in STEPS:
        if isinstance(current, synapses.Alpha):
            v = p.decay * v + current.di_to_v * state.di + current.i_to_v * state.i
        else:
            v = p.decay * v + current.to_v * state
        state = current.step(state, 0.0)
        out.append((state.i if isinstance(current, synapses.Alpha) else state, v))
    i, v = np.array(out).T
    return i, v


def test_an_exponential_current_and_its_potential_follow_the_closed_form():
    t = STEPS * DT
    i, v = course(exponential(2.0, 10.0, 250.0, DT), membrane(10.0, 250.0, DT), 100.0)
    np.testing.assert_allclose(i, 100 * np.exp(-t / 2), rtol=1e-12)
    beta = 2.0 * 10.0 / (10.0 - 2.0)
    np.testing.assert_allclose(v, 100 / 250 * beta * (np.exp(-t / 10) - np.exp(-t / 2)), rtol=1e-11)


def test_an_alpha_current_and_its_potential_follow_the_closed_form():
    t = STEPS * DT
    i, v = course(alpha(2.0, 10.0, 250.0, DT), membrane(10.0, 250.0, DT), 100.0)
    np.testing.assert_allclose(i, 100 * np.e * t / 2 * np.exp(-t / 2), rtol=1e-11)
    beta = 2.0 * 10.0 / (10.0 - 2.0)
    expected = 100 * np.e / 2 / 250 * beta * (beta * (np.exp(-t / 10) - np.exp(-t / 2)) - t * np.exp(-t / 2))
    np.testing.assert_allclose(v, expected, rtol=1e-10)


@pytest.mark.parametrize("tau", [0.7, 2.0, 5.3])
def test_an_alpha_current_peaks_after_tau_syn_with_the_weight(tau):
    i, _ = course(alpha(tau, 10.0, 250.0, DT), membrane(10.0, 250.0, DT), -80.0)
    assert np.argmin(i) + 1 == round(tau / DT)
    assert i.min() == pytest.approx(-80.0, rel=1e-12)


def test_equal_time_constants_have_the_singular_limit():
    t = STEPS * DT
    p = membrane(2.0, 250.0, DT)
    _, v = course(exponential(2.0, 2.0, 250.0, DT), p, 100.0)
    np.testing.assert_allclose(v, 100 / 250 * t * np.exp(-t / 2), rtol=1e-11)
    _, v = course(alpha(2.0, 2.0, 250.0, DT), p, 100.0)
    np.testing.assert_allclose(v, 100 * np.e / 2 / 250 * t**2 / 2 * np.exp(-t / 2), rtol=1e-11)


def exact(ts: float, tm: float, c: float, h: float) -> tuple[float, float]:
    """The propagators di_to_v and i_to_v from the power series of the matrix exponential, in rational numbers.

    V(h) from I(0) = 1: sum over n of h^(n+1) / (n+1)! / c * sum_k (-1/tm)^k (-1/ts)^(n-k); from dI one order higher.
    """
    a, b, h, c = -1 / Fraction(tm), -1 / Fraction(ts), Fraction(h), Fraction(c)
    i_to_v = di_to_v = Fraction(0)
    for n in range(30):
        i_to_v += h ** (n + 1) / factorial(n + 1) / c * sum(a**k * b ** (n - k) for k in range(n + 1))
        di_to_v += h ** (n + 2) / factorial(n + 2) / c * sum(a**k * b ** (n - k) * (n - k + 1) for k in range(n + 1))
    return float(di_to_v), float(i_to_v)


@pytest.mark.parametrize("gap", [0.0, 1e-9, 1e-6, 1e-3, 0.1, -0.1, -8.0, 20.0])
def test_propagators_known_or_traced_equal_the_matrix_exponential_for_any_gap_of_time_constants(double, gap):
    tm, h = 10.0, 0.125
    expected = exact(tm + gap, tm, 250.0, h)
    known = alpha(tm + gap, tm, 250.0, h)
    traced = jax.jit(lambda ts, tm: alpha(ts, tm, 250.0, h))(tm + gap, tm)
    np.testing.assert_allclose((traced.di_to_v, traced.i_to_v), expected, rtol=1e-13)
    # NEST's expressions lose digits next to the singularity, and so do ours: equal spikes matter more
    np.testing.assert_allclose((known.di_to_v, known.i_to_v), expected, rtol=1e-11 if abs(gap) >= 0.1 else 2e-7)


@pytest.mark.parametrize("gap", [0.0, 1e-6, 0.5, -8.0])
def test_propagators_have_the_right_derivative_with_respect_to_the_time_constants(double, gap):
    def i_to_v(ts):
        current = alpha(ts, 10.0, 250.0, 0.1)
        return current.i_to_v + current.di_to_v

    step = 1e-4
    finite = sum(sign * sum(exact(10.0 + gap + sign * step, 10.0, 250.0, 0.1)) for sign in (1, -1)) / (2 * step)
    assert float(jax.grad(i_to_v)(10.0 + gap)) == pytest.approx(finite, rel=1e-6)


def test_propagators_known_now_are_in_double_precision_though_jax_is_not():
    assert alpha(jnp.float32(2.0), 10.0, 250.0, 0.1).decay == np.exp(-0.1 / 2.0)


def test_weights_are_sorted_by_delay_and_none_is_lost():
    generator = np.random.default_rng(1)
    weights, steps = jnp.asarray(generator.normal(size=(4, 3))), generator.integers(1, 5, (4, 3))
    stack, delays = by_delay(weights, steps)
    assert delays == tuple(np.unique(steps))
    np.testing.assert_array_equal(stack.sum(0), weights)
    for matrix, d in zip(stack, delays, strict=True):
        np.testing.assert_array_equal(matrix != 0, steps == d)


def test_what_is_sent_arrives_after_its_delay():
    sent = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3, 4)))  # 2 delays, 3 steps, 4 neurons
    line = deliver(jnp.ones((5 + 3, 4)), sent, (2, 5))
    expected = np.ones((8, 4), np.float32)
    for c in range(3):
        expected[c + 2] += sent[0, c]
        expected[c + 5] += sent[1, c]
    np.testing.assert_array_equal(line, expected)


def test_delays_are_counted_in_steps():
    delays = np.array([[0.0, 0.1], [1.5, 5.0]])
    np.testing.assert_array_equal(delay_steps("delay", delays, 0.1, (2, 2)), [[0, 1], [15, 50]])
    assert delay_steps("delay", 0.3, 0.1, (2, 2)) == 3  # 0.3 / 0.1 is not 3 in binary


@pytest.mark.parametrize(
    ("delay", "text"),
    [
        (0.05, r"w.delay: expected a delay of at least one step, 0.1 ms, got 0.05 ms; a spike can't arrive before"),
        (0.25, r"w.delay: expected a multiple of the step, 0.1 ms, got 0.25 ms"),
        (-1.0, r"w.delay: expected a delay >= 0 ms, got -1 ms"),
        (np.nan, r"w.delay: expected a delay >= 0 ms, got nan ms"),
        (np.ones((2, 3)), r"w.delay: expected an array of shape \(3, 2\), got shape \(2, 3\)"),
        (np.array([[1.0, 1.0], [1.0, 0.02], [1.0, 1.0]]), r"w.delay: expected a delay of at least one step"),
    ],
)
def test_delays_that_are_no_whole_steps_are_refused(delay, text):
    with pytest.raises(ValueError, match=text):
        delay_steps("w.delay", delay, 0.1, (3, 2))


def test_a_traced_delay_is_refused():
    with pytest.raises(TypeError, match="delay: expected numbers known before the program runs"):
        jax.jit(lambda d: delay_steps("delay", d, 0.1, (3, 2)))(1.0)


def test_the_reference_series_is_right():
    """At equal time constants the sum over k has a closed form: (n + 1) a^n, and (n + 1)(n + 2) / 2 a^n."""
    assert all(sum(n - k + 1 for k in range(n + 1)) == comb(n + 2, 2) for n in range(20))
    di_to_v, i_to_v = exact(2.0, 2.0, 250.0, 0.125)
    assert i_to_v == pytest.approx(0.125 / 250 * np.exp(-0.125 / 2), rel=1e-15)
    assert di_to_v == pytest.approx(0.125**2 / 2 / 250 * np.exp(-0.125 / 2), rel=1e-15)
