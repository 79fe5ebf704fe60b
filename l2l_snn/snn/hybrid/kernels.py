"""Filters of hybrid units. Legend: T steps, W of the window, N signals."""

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.parameters import Array, check_numbers, floats
from l2l_snn.validate import check_count, message


def rate_kernel(window: int) -> np.ndarray:
    """Return (W,) the same weight for all steps: spikes become their mean rate, in spikes a step."""
    return np.full(check_count("rate_kernel.window", window), 1.0 / window)


def exponential_kernel(window: int, tau: Array) -> jax.Array:
    """Return (W,) weights that fall by exp(-1 / tau) a step back and add up to 1.

    Args:
        window: W.
        tau: () steps, > 0; may be traced.

    >>> [round(float(h), 4) for h in exponential_kernel(3, 1.4427)]
    [0.5714, 0.2857, 0.1429]
    """
    check_count("exponential_kernel.window", window)
    check_numbers("exponential_kernel.tau", tau, "a time constant > 0 steps", low=0.0, open_low=True)
    h = jnp.exp(-jnp.arange(window) / jnp.asarray(tau, float))
    return h / h.sum()


def truncated(kernel: Array, window: Array) -> jax.Array:
    """Return a kernel (W,) or (W, N) with zeros beyond a window that may be traced: evolution may search it.

    >>> truncated(jnp.ones(4), 2).tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    check_numbers("truncated.window", window, "a number of steps >= 1", low=1.0)
    kernel = jnp.asarray(kernel)
    inside = jnp.arange(len(kernel)) < window
    return jnp.where(inside.reshape(-1, *[1] * (kernel.ndim - 1)), kernel, 0)


def fit_kernel(x: Array, y: Array, window: int) -> jax.Array:
    """Return the kernel (W,) whose unit, without F and Q, comes closest to y: a unit learned alone, by least squares.

    Args:
        x: (T, N) what the unit gets.
        y: (T, N) what it shall answer.
        window: W.

    Raises:
        ValueError: another shape, or fewer numbers than weights.
    """
    x, y = floats(x), floats(y)
    if x.ndim != 2 or x.shape != y.shape or x.size < check_count("fit_kernel.window", window):
        raise ValueError(message("fit_kernel.x, y", f"one shape (T, N), T N >= {window}", f"{x.shape}, {y.shape}"))
    padded = jnp.concatenate([jnp.zeros((window - 1, x.shape[1]), x.dtype), x])
    past = jnp.stack([padded[window - 1 - s : len(padded) - s] for s in range(window)], axis=-1)  # (T, N, W)
    return jnp.linalg.lstsq(past.reshape(-1, window), y.reshape(-1))[0]
