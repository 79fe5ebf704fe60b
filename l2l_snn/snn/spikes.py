"""Spike functions: the step function, and how it gets a derivative that isn't its own.

nan is not >= 0: a diverged potential gives no spike, as on NEST. Legend: v (...) distance to threshold.
"""

from collections.abc import Callable
from functools import wraps
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from l2l_snn.snn.parameters import Array, check_fits, spread
from l2l_snn.validate import message

Spike: TypeAlias = Callable[[Array], jax.Array]  # v (...) -> spikes (...) in {0, 1}; `smooth` in (0, 1)


def check_floats(v: Array) -> jax.Array:
    """Return v as a jax array of floating-point numbers."""
    v = jnp.asarray(v)
    if not jnp.issubdtype(v.dtype, jnp.floating):
        raise TypeError(message("v", "floating-point numbers, the distance of the potential to threshold", v.dtype))
    return v


def _pass_threshold(v: Array) -> jax.Array:
    """Return the step function with H(0) = 1 and derivative 0: no gradient passes, whatever v is.

    For evolution, and wherever spikes are counted but not trained.

    >>> heaviside(jnp.array([-0.1, 0.0, 0.1])).tolist()
    [0.0, 1.0, 1.0]
    >>> float(jax.grad(heaviside)(0.0))
    0.0
    """
    v = check_floats(v)
    return (v >= 0).astype(v.dtype)


heaviside: Partial = Partial(_pass_threshold)


def surrogate(slope: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Return the step function of v whose derivative is `slope`; both take (*parameters, v).

    Module-level functions, so that two equal spike functions are one to jit, and pickle finds them by name.
    """

    @jax.custom_jvp
    def step(*args: jax.Array) -> jax.Array:
        return _pass_threshold(args[-1])

    @step.defjvp
    def _(primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        *parameters, v = primals
        own = [spread("a spike function's parameter", p, v) for p in parameters]
        return step(*primals), slope(*own, v) * tangents[-1]

    @wraps(slope)
    def spike(*args: Array) -> jax.Array:
        *parameters, v = args
        v = check_floats(v)
        for p in parameters:
            check_fits("a spike function's parameter", p, v.shape)
        return step(*parameters, v)

    return spike
