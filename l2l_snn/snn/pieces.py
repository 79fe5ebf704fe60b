"""Scans over time in pieces of several steps.

Legend: n steps in all.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def in_pieces(
    advance: Callable[[Any, Any, int], tuple[Any, Any]], carry: Any, xs: Any, n: int, size: int
) -> tuple[Any, Any]:
    """Run advance(carry, xs, size) along the time axis of xs, n steps in all; the last piece may be shorter."""
    size = min(n, size)
    pieces, rest = divmod(n, size)
    if pieces == 1 and not rest:
        return advance(carry, xs, n)
    main = jax.tree.map(lambda x: x[: n - rest].reshape(pieces, size, *x.shape[1:]), xs)
    carry, ys = jax.lax.scan(lambda carry, xs: advance(carry, xs, size), carry, main, length=pieces)
    ys = jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), ys)
    if rest:
        carry, last = advance(carry, jax.tree.map(lambda x: x[n - rest :], xs), rest)
        ys = jax.tree.map(lambda y, z: jnp.concatenate([y, z]), ys, last)
    return carry, ys


def even_size(n: int, most: int) -> int:
    """Return a block length <= most that divides n, if there is one above half of `most`; else `most`."""
    most = min(n, most)
    return next((size for size in range(most, most // 2, -1) if n % size == 0), most)
