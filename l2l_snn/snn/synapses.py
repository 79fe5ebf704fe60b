"""Synaptic currents with their exact propagators.

A linear current and a leaky membrane advance from one step to the next by a matrix exponential (Rotter & Diesmann
1999). Its entries are worked out once, with NEST's expressions, and are what the functions here return: known time
constants give float64 numbers, traced ones jax arrays with derivatives.

Legend: N neurons.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.parameters import Array, numbers

STABILITY = 1e-7  # NEST's: below this times tau_m^2 / |tau_m - tau_syn|, a step is too short for the regular expression


class Membrane(NamedTuple):
    """Propagators of a leaky membrane."""

    decay: Array  # exp(-dt / tau_m)
    decay_m1: Array  # exp(-dt / tau_m) - 1
    current: Array  # mV / pA, from a current that is constant over the step


def membrane(tau_m: Array, C_m: Array, dt: float) -> Membrane:
    """Return the propagators of C_m dV/dt = -C_m / tau_m V + I.

    Args:
        tau_m: () or (N,) membrane time constant, ms.
        C_m: () or (N,) capacitance, pF.
        dt: step, ms.

    >>> round(float(membrane(10.0, 250.0, 0.1).decay), 6)
    0.99005
    """
    xp, (tau_m, C_m, dt) = numbers(tau_m, C_m, dt)
    return Membrane(xp.exp(-dt / tau_m), xp.expm1(-dt / tau_m), -tau_m / C_m * xp.expm1(-dt / tau_m))


class Exponential(NamedTuple):
    """A current that jumps by the weight and decays: I(t) = w exp(-t / tau_syn)."""

    decay: Array  # exp(-dt / tau_syn)
    to_v: Array  # mV / pA, from the current to the potential one step later

    def step(self, i: Array, arriving: Array) -> Array:
        """Return the current (pA) one step later, with the weights that arrive then."""
        return i * self.decay + arriving


def exponential(tau_syn: Array, tau_m: Array, C_m: Array, dt: float) -> Exponential:
    """Return the propagators of an exponential current into a membrane."""
    decay, _, to_v = _reach_potential(tau_syn, tau_m, C_m, dt)
    return Exponential(decay, to_v)


class Rise(NamedTuple):
    """State of an alpha current."""

    di: Array  # pA / ms, its derivative but for the decay
    i: Array  # pA


class Alpha(NamedTuple):
    """A current that peaks with the weight after tau_syn: I(t) = w e t / tau_syn exp(-t / tau_syn)."""

    decay: Array  # exp(-dt / tau_syn)
    to_i: Array  # ms, from the derivative to the current one step later
    di_to_v: Array  # mV ms / pA, from the derivative to the potential
    i_to_v: Array  # mV / pA, from the current to the potential
    rise: Array  # 1 / ms, e / tau_syn: makes the peak equal the weight

    def step(self, state: Rise, arriving: Array) -> Rise:
        """Return the state one step later, with the weights (pA) that arrive then."""
        return Rise(state.di * self.decay + self.rise * arriving, self.to_i * state.di + self.decay * state.i)


def alpha(tau_syn: Array, tau_m: Array, C_m: Array, dt: float) -> Alpha:
    """Return the propagators of an alpha current into a membrane.

    >>> current, state = alpha(2.0, 10.0, 250.0, 0.1), Rise(0.0, 0.0)
    >>> state = current.step(state, 100.0)
    >>> for _ in range(20): state = current.step(state, 0.0)
    >>> round(float(state.i), 9)  # pA, after 2 ms
    100.0
    """
    decay, di_to_v, i_to_v = _reach_potential(tau_syn, tau_m, C_m, dt)
    _, (tau, h) = numbers(tau_syn, dt)
    return Alpha(decay, h * decay, di_to_v, i_to_v, np.e / tau)


def _reach_potential(tau_syn: Array, tau_m: Array, C_m: Array, dt: float) -> tuple[Array, Array, Array]:
    """Return exp(-dt / tau_syn) and the propagators from dI and from I to V."""
    xp, values = numbers(tau_syn, tau_m, C_m, dt)
    return (_evaluate_as_nest if xp is np else _evaluate_smoothly)(*xp.broadcast_arrays(*values))


def _evaluate_as_nest(ts: np.ndarray, tm: np.ndarray, c: np.ndarray, h: np.ndarray) -> tuple[Array, Array, Array]:
    """NEST's IAFPropagatorAlpha: regular expressions, and the singular limit where tau_syn is next to tau_m."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        beta = ts * tm / (tm - ts)
        h_regular = STABILITY * tm * tm / np.abs(tm - ts)
        decay, growth = np.exp(-h * (1 / ts)), np.expm1(h * ((tm - ts) / (ts * tm)))
        i_to_v = beta / c * decay * growth
        di_to_v = beta / c * decay * (beta * growth - h)
    limit = h * (1 / c) * np.exp(-h * (1 / tm))
    normal = np.isfinite(i_to_v) & (i_to_v >= np.finfo(np.float64).tiny)
    return decay, np.where(h > h_regular, di_to_v, 0.5 * h * limit), np.where(normal, i_to_v, limit)


def _evaluate_smoothly(ts: jax.Array, tm: jax.Array, c: jax.Array, h: jax.Array) -> tuple[Array, Array, Array]:
    """The same functions written without the singularity, so that they have derivatives everywhere.

    With x = h (1 / tau_syn - 1 / tau_m): (e^x - 1) / x and (e^x - 1 - x) / x^2, by their series where x is small.
    """
    x = h * (tm - ts) / (ts * tm)
    small = jnp.abs(x) < 0.3
    big = jnp.where(small, 1.0, x)
    near = jnp.where(small, x, 0.0)
    first, second = 0.0, 0.0
    for k in range(12, 0, -1):  # Horner: sum of x^k / (k + 1)! and of x^k / (k + 2)!
        first = (1.0 + first) * near / (k + 1)
        second = (1.0 + second) * near / (k + 2)
    first = jnp.where(small, 1.0 + first, jnp.expm1(big) / big)
    second = jnp.where(small, 0.5 * (1.0 + second), (jnp.expm1(big) - big) / big**2)
    decay = jnp.exp(-h / ts)
    return decay, h * h / c * decay * second, h / c * decay * first
