"""Delays in steps, and the lines that hold what is under way.

A delay line holds what is under way to a population: `line[r]` arrives r steps from now. Spikes take their weight
when they are sent, as on NEST.

Legend: K different delays; C steps advanced at once; L steps that the longest delay takes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.parameters import Array, known
from l2l_snn.validate import check_shape, message


def delay_steps(argument: str, delay: Any, dt: float, shape: tuple[int, int]) -> np.ndarray:
    """Return a delay, or one a synapse, in steps; 0 is allowed here and means: in the same step.

    Args:
        argument: name for messages.
        delay: () or (n_pre, n_post) ms, known, a multiple of dt.
        dt: step, ms.
        shape: (n_pre, n_post).

    >>> delay_steps("delay", 1.5, 0.1, (3, 2)).item()
    15
    """
    if not known(delay):
        raise TypeError(message(argument, "numbers known before the program runs", "traced ones", "evolve weights"))
    array = np.asarray(delay, dtype=np.float64)
    if array.ndim:
        check_shape(argument, array, shape, "give one number, or one a synapse")
    steps = np.rint(array / dt)
    for bad, expected in (
        (~np.isfinite(array) | (array < 0), "a delay >= 0 ms"),
        ((array > 0) & (array < dt * (1 - 1e-6)), f"a delay of at least one step, {dt:g} ms"),
        (np.abs(array / dt - steps) > 1e-6 * np.maximum(steps, 1), f"a multiple of the step, {dt:g} ms"),
    ):
        if bad.any():
            todo = "a spike can't arrive before the next simulation step" if "step" in expected else ""
            raise ValueError(message(argument, expected, f"{array[bad].reshape(-1)[0]:g} ms", todo))
    return np.asarray(steps, dtype=np.int64)


def by_delay(weights: Array, steps: np.ndarray) -> tuple[Array, tuple[int, ...]]:
    """Return the weights sorted by delay, (K, n_pre, n_post), and the K different delays in steps."""
    if steps.ndim == 0:
        return weights[None], (int(steps),)
    delays = np.unique(steps)
    which = steps[None] == delays[:, None, None]
    return jnp.where(which, weights[None], jnp.zeros((), weights.dtype)), tuple(int(d) for d in delays)


def deliver(line: jax.Array, sent: jax.Array, delays: tuple[int, ...]) -> jax.Array:
    """Return the line with what is sent in C steps added.

    Args:
        line: (L + C, ...) what arrives from the first of the C steps on.
        sent: (K, C, ...) weighted spikes of each of the C steps, by delay.
        delays: K delays in steps, <= L.
    """
    more = line.shape[0] - sent.shape[1]
    for k, d in enumerate(delays):  # not line.at[d:].add: that is a scatter, many times slower
        line = line + jnp.pad(sent[k], [(d, more - d)] + [(0, 0)] * (line.ndim - 1))
    return line
