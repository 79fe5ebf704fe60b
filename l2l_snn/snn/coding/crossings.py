"""Encoder of a signal in time by the thresholds that it crosses (Bellec et al. 2018, sections 4 and 6)."""

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.parameters import Array, floats
from l2l_snn.validate import check_count, message


def threshold_crossings(x: Array, n: int) -> jax.Array:
    """Return spikes of neurons that each watch for one threshold being crossed, upwards or downwards.

    Thresholds are n equal steps from 0 to 1. For each but the last there are two neurons, one that fires when the
    signal comes to or above it and one when it falls below; they fire in the step before the value that does so, as in
    the authors' code. The last, 1, can't be passed: its one neuron fires while the signal is there.

    Args:
        x: (T, ...) a signal in [0, 1].
        n: thresholds, at least 2.

    Returns:
        (T, ..., 2 n - 1) in {0, 1}: n - 1 rising, n - 1 falling, 1 of the highest; none crosses in the last step.

    >>> threshold_crossings(jnp.array([0.0, 0.6, 1.0, 0.2]), 3).astype(int).tolist()
    [[0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    """
    check_count("threshold_crossings.n", n, 2)
    x = floats(x)
    if x.ndim < 1:
        raise ValueError(message("threshold_crossings.x", "(T, ...), steps first", f"shape {x.shape}"))
    thresholds = jnp.asarray(np.linspace(0.0, 1.0, n)[:-1], x.dtype).reshape((1,) * x.ndim + (n - 1,))
    above = x[..., None] >= thresholds
    none = jnp.zeros((1, *above.shape[1:]), bool)
    rising = jnp.concatenate([~above[:-1] & above[1:], none])
    falling = jnp.concatenate([above[:-1] & ~above[1:], none])
    return jnp.concatenate([rising, falling, (x >= 1.0)[..., None]], axis=-1).astype(x.dtype)
