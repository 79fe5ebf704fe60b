"""Discretisations of hybrid units: numbers to spikes or levels, with a derivative that lets learning pass.

A derivative is that of the identity, as if nothing had been discretised (a straight-through estimator; Bengio et al.
2013), or with `spiking` the spike function's own.

Legend: K answers, (...) any shape, u in [0, 1].
"""

import jax
import jax.numpy as jnp

from l2l_snn.snn.hybrid.unit import Quantiser
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.spikes import Spike
from l2l_snn.validate import check_count, message


@jax.custom_jvp
def _pass_through(y: Array, quantised: Array) -> Array:
    """Return the second, with the derivative of the first."""
    return quantised


@_pass_through.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[1], tangents[0]


def levels(n: int) -> Quantiser:
    """Return the quantiser of u to the nearest of n equal levels from 0 to 1; outside, to the outermost.

    >>> levels(3)(jnp.array([-1.0, 0.2, 0.3, 0.9]), None).tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    check_count("levels.n", n, 2)

    def quantise(y: Array, key: object = None) -> jax.Array:
        return _pass_through(y, jnp.round(jnp.clip(y, 0, 1) * (n - 1)) / (n - 1))

    return quantise


def evenly_spaced(phase: Array = 0.5) -> Quantiser:
    """Return the quantiser of rates u to spikes as evenly spaced as they can be, by integrating and firing.

        z_t = floor(phase + sum_s<=t u_s) - floor(phase + sum_s<t u_s)

    Args:
        phase: () or a shape that broadcasts to (...), in [0, 1): where the integrator begins.

    >>> evenly_spaced()(jnp.full((5, 1), 0.4), None)[:, 0].tolist()
    [0.0, 1.0, 0.0, 1.0, 0.0]
    """

    def quantise(y: Array, key: object = None) -> jax.Array:
        rates = jax.lax.stop_gradient(jnp.clip(y, 0, 1))
        begin = jnp.broadcast_to(jnp.asarray(phase, y.dtype), y.shape[1:])[None] + 1e-5  # 10 x 0.1 is a spike
        whole = jnp.floor(jnp.cumsum(rates, axis=0) + begin)
        return _pass_through(y, jnp.diff(whole, axis=0, prepend=jnp.floor(begin)))

    return quantise


def by_chance(y: Array, key: jax.Array | None) -> jax.Array:
    """Return independent spikes with chance u, a quantiser that needs a key."""
    if key is None:
        raise ValueError(message("by_chance.key", "a jax.random key", "none", "call the unit with one"))
    u = jax.random.uniform(key, y.shape, y.dtype)
    return _pass_through(y, (u < jax.lax.stop_gradient(y)).astype(y.dtype))


def spiking(spike: Spike) -> Quantiser:
    """Return the quantiser that fires where a number is at or above 0, with the surrogate derivative of `spike`."""
    return lambda y, key=None: spike(y)
