"""Step rules of Optax as arrays: what an optimizer's state can hold, in float64, on the CPU.

Legend: D search coordinates, K numbers in the memory of a rule.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree


@lru_cache(maxsize=32)
def step_rule(
    size: int, transformation: Callable[..., Any], *fields: Any
) -> tuple[np.ndarray, Callable[[Any, Any, Any], Any]]:
    """Return the memory (K,) of a rule before its first step, and the compiled step.

    The step takes ascent directions (..., D), memories (..., K) and points (..., D) to the steps and the next memories;
    call it within `jax.enable_x64(True)`. It is compiled for the CPU, so that a run gives the same bytes on a machine
    with an accelerator; a packed step count is exact up to 2^53.

    Args:
        size: D.
        transformation: gives Optax's transformation of gradients from `fields`, which can be hashed.
    """
    rule = transformation(*fields)
    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        empty, unflatten = ravel_pytree(rule.init(jnp.zeros(size)))

    def step(direction: Any, memory: Any, point: Any) -> Any:
        updates, state = rule.update(-direction, unflatten(memory.astype(empty.dtype)), point)  # Optax descends
        return updates, ravel_pytree(state)[0].astype(jnp.float64)

    return np.asarray(empty, np.float64), jax.jit(jnp.vectorize(step, signature="(d),(k),(d)->(d),(k)"))
