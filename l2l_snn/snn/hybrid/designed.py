"""Hybrid units for known relations: a long window reads rates, a short one timing. Legend: W steps of a window."""

import jax
import jax.numpy as jnp

from l2l_snn.snn.hybrid.kernels import exponential_kernel, rate_kernel
from l2l_snn.snn.hybrid.quantisers import evenly_spaced, levels
from l2l_snn.snn.hybrid.unit import HybridUnit, Quantiser
from l2l_snn.snn.parameters import Array, check_numbers


def to_rates(window: int, stride: int | None = None) -> HybridUnit:
    """Return the unit that makes numbers of spikes by their rate over a long window, in spikes a step.

    >>> to_rates(4)(jnp.array([[1.0], [0.0], [1.0], [1.0]])).tolist()
    [[0.75]]
    """
    return HybridUnit(window, rate_kernel(window), stride=window if stride is None else stride)


def to_timing(window: int, tau: Array, stride: int = 1) -> HybridUnit:
    """Return the unit that makes numbers of spikes by how long ago they were, in a short window."""
    return HybridUnit(window, exponential_kernel(window, tau), stride=stride)


def to_spikes(held: int, quantise: Quantiser | None = None) -> HybridUnit:
    """Return the unit that makes spikes of numbers in [0, 1], each held for so many steps: evenly spaced by default.

    >>> to_spikes(4)(jnp.array([[0.5], [1.0]]))[:, 0].tolist()
    [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    """
    return HybridUnit(1, jnp.ones(1), quantise=quantise or evenly_spaced(), held=held)


def to_currents(held: int, window: int = 1, gain: Array = 1.0) -> HybridUnit:
    """Return the unit that makes currents of numbers, each held for so many steps, smoothed over a window."""
    return HybridUnit(window, rate_kernel(window), lambda y: jnp.asarray(gain, y.dtype) * y, held=held)


def to_thresholds(window: int, low: Array, high: Array, share: Array, steepness: float = 8.0) -> HybridUnit:
    """Return the unit that makes thresholds of a modulation, of one or more signals averaged over a window.

    Signals are standardised over their N neurons; that share of the neurons with the strongest gets the low threshold,
    the others the high one. The derivative is that of the sigmoid between them.

    Args:
        window: W signals, of which the last answer is made.
        low, high: () thresholds, low < high, in the unit of the neurons' potential.
        share: () of neurons with the low threshold, were signals Gaussian; in (0, 1), may be traced.
        steepness: of the sigmoid, an inverse standard deviation.
    """
    check_numbers("to_thresholds.share", share, "a share in (0, 1]", low=0.0, high=1.0, open_low=True)
    step = levels(2)

    def choose(y: jax.Array) -> jax.Array:
        y = (y - y.mean(axis=-1, keepdims=True)) / (y.std(axis=-1, keepdims=True) + 1e-6)
        return jax.nn.sigmoid(steepness * (y - jax.scipy.special.ndtri(1 - jnp.asarray(share, y.dtype))))

    def place(y: jax.Array, key: object = None) -> jax.Array:
        chosen = step(y, key)
        return low * chosen + high * (1 - chosen)

    return HybridUnit(window, rate_kernel(window), choose, place, stride=window)
