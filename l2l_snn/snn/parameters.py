"""Parameters of cells and synapses: numbers that are known now, or traced ones that a program will be run with.

What is known is checked, and worked out in double precision by numpy before the program is compiled; what is traced
(evolved under vmap, trained under grad) goes through jax.numpy and isn't checked.

Legend: N neurons.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from l2l_snn.validate import check_count, check_shape, message

Array: TypeAlias = Any  # a number, a numpy or a jax array, or a traced one
Tree = TypeVar("Tree")

TICS_PER_MS = 1000  # NEST's clock: a time is rounded to 1 us before it is counted in steps


def known(*values: Array) -> bool:
    """Return whether all values are numbers now, not traced."""
    return not any(isinstance(value, Tracer) for value in values)


def numbers(*values: Array) -> tuple[Any, list[Array]]:
    """Return the module to calculate with, and the values as its arrays.

    numpy and float64 where all values are known, else jax.numpy.
    """
    if known(*values):
        return np, [np.asarray(value, dtype=np.float64) for value in values]
    return jnp, [jnp.asarray(value, dtype=float) for value in values]


def cast(constants: Tree, dtype: Any) -> Tree:
    """Return the constants in the precision of the state that they will meet; integers become int32."""

    def one(value: Array) -> jax.Array:
        whole = jnp.issubdtype(jnp.result_type(value), jnp.integer)
        return jnp.asarray(value, dtype=jnp.int32 if whole else dtype)

    return jax.tree.map(one, constants)


def floats(x: Array) -> jax.Array:
    """Return x as a jax array of floating-point numbers; integers become jax's default float."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def exp_decay(tau: Array, dt: float) -> Array:
    """Return exp(-dt / tau), the factor by which what decays with tau (ms) shrinks in a step of dt ms."""
    xp, (tau, dt) = numbers(tau, dt)
    return xp.exp(-dt / tau)


def spread(argument: str, value: Array, like: jax.Array) -> jax.Array:
    """Return `value` in the shape and dtype of `like`, to which it has to broadcast."""
    check_fits(argument, value, like.shape)
    return jnp.broadcast_to(jnp.asarray(value, like.dtype), like.shape)


def refractory_steps(t_ref: Array, dt: float) -> Array:
    """Return the refractory time in steps, a part of a step counting as one, as on NEST.

    >>> refractory_steps([0.0, 2.0, 0.14], 0.1).tolist()
    [0, 20, 2]
    """
    xp, (t_ref, dt) = numbers(t_ref, dt)
    tics = xp.floor(t_ref * TICS_PER_MS + 0.5)
    return xp.ceil(tics / xp.round(dt * TICS_PER_MS)).astype(np.int32)


def check_step(dt: float) -> float:
    """Return the simulation step if it is a multiple of 1 us, as on NEST, and > 0."""
    if isinstance(dt, bool) or not isinstance(dt, (int, float, np.floating, np.integer)):
        raise TypeError(message("dt", "a number known before the program runs", type(dt).__name__))
    if not (dt > 0 and abs(dt * TICS_PER_MS - round(dt * TICS_PER_MS)) < 1e-6):  # also refuses nan
        raise ValueError(message("dt", "a simulation step > 0 ms, a multiple of 0.001 ms", dt))
    return float(dt)


def fits(have: tuple[int, ...], shape: tuple[int, ...], *, same_rank: bool = True) -> bool:
    """Return whether `have` is () or broadcasts to `shape`, unless asked otherwise without a change of rank."""
    if not have:
        return True
    ranks = len(have) == len(shape) if same_rank else len(have) <= len(shape)
    return ranks and all(n in (1, m) for n, m in zip(have[::-1], shape[::-1], strict=False))


def check_fits(argument: str, value: Array, shape: tuple[int, ...]) -> None:
    """Refuse an array, traced or not, that doesn't broadcast to `shape`."""
    if not fits(jnp.shape(value), shape, same_rank=False):
        raise ValueError(message(argument, f"a scalar or a shape that broadcasts to {shape}", jnp.shape(value)))


def check_numbers(
    argument: str,
    value: Array,
    expected: str = "",
    *,
    low: float = -np.inf,
    high: float = np.inf,
    open_low: bool = False,
    infinite: bool = False,
    entry: str = "at flat index",
    todo: str = "",
) -> Array:
    """Return `value` if all its numbers, as far as they are known, lie in [low, high].

    Args:
        argument: name for messages.
        value: a number or an array; a traced one is taken as it is.
        expected: what is expected of the numbers, for messages.
        low, high: bounds.
        open_low: whether `low` itself is refused.
        infinite: whether numbers may be infinite, where the bounds let them.
        entry: what an index counts, for messages: "for neuron".
        todo: what to do, for messages.

    Raises:
        TypeError: not numbers.
        ValueError: nan, or a number out of bounds.
    """
    if not known(value):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "iuf":
        raise TypeError(message(argument, "a number or an array of numbers", f"{value!r} ({type(value).__name__})"))
    inside = (array > low if open_low else array >= low) & (array <= high)  # nan is nowhere
    finite = np.isfinite(array) | (infinite & inside)
    for good, text in ((inside, expected), (finite, "numbers" if infinite else "finite numbers")):
        bad = np.flatnonzero(~good)
        if bad.size:
            where = f" {entry} {bad[0]}" if array.ndim else ""
            raise ValueError(message(argument, text or "finite numbers", f"{array.reshape(-1)[bad[0]]}{where}", todo))
    return value


def _check_fields(
    config: Any, refuse_shape: Callable[[str, tuple[int, ...]], str], bounds: dict[str, str], **options: Any
) -> None:
    """Refuse fields of a cell or a rule; None, functions and static fields, which are no parameters, are left out.

    Args:
        config: a frozen dataclass.
        refuse_shape: (field, shape) -> what shape was expected, or "".
        bounds: "> 0" and ">= 0" -> names of the fields that have to be so.
        options: of `check_numbers`, and `infinite`, the names of fields that may be.
    """
    infinite = options.pop("infinite")
    for name in (field.name for field in fields(config) if not field.metadata.get("static")):
        value, argument = getattr(config, name), f"{type(config).__name__}.{name}"
        if value is None or callable(value):
            continue
        expected = refuse_shape(name, jnp.shape(value))
        if expected:
            raise ValueError(message(argument, expected, f"shape {jnp.shape(value)}"))
        sign = next((sign for sign, names in bounds.items() if name in names.split()), "")
        low = 0.0 if sign else -np.inf
        may_be = infinite is None or name in infinite.split()
        text = sign or ("numbers" if may_be else "")
        check_numbers(argument, value, text, low=low, open_low=sign == "> 0", infinite=may_be, **options)


def check_neurons(cell: Any, n: int, positive: str = "", not_negative: str = "", infinite: str = "") -> None:
    """Refuse parameters of a cell that don't fit n neurons or lie outside their domain, as far as they are known.

    Args:
        cell: a frozen dataclass of parameters.
        n: neurons.
        positive: names of the fields that have to be > 0: "tau_m C_m".
        not_negative: names of the fields that have to be >= 0.
        infinite: names of the fields that may be infinite.

    Raises:
        ValueError: a wrong shape, nan, a time constant that isn't positive...
    """

    def refuse_shape(name: str, shape: tuple[int, ...]) -> str:
        return "" if shape in ((), (n,)) else f"a number, or an array of shape ({n},) with one entry a neuron"

    bounds = {"> 0": positive, ">= 0": not_negative}
    _check_fields(cell, refuse_shape, bounds, infinite=infinite, entry="for neuron")


def check_synapses(
    rule: Any,
    shape: tuple[int, int],
    positive: str,
    not_negative: str = "",
    own: Mapping[str, tuple[tuple[int, ...], ...]] | None = None,
) -> None:
    """Refuse parameters of a rule outside their domain, as far as they are known before the program runs.

    Args:
        rule: a frozen dataclass of parameters; a field that is None is left out.
        shape: (n_pre, n_post), to which every parameter has to broadcast without a change of rank.
        positive: names of the fields that have to be > 0.
        not_negative: names of the fields that have to be >= 0.
        own: shapes that are allowed instead, by field.

    Raises:
        ValueError: a wrong shape, nan, a time constant that isn't positive, w_min above w_max...
    """
    kind, own = type(rule).__name__, own or {}
    check_count(f"{kind}.init n_pre", shape[0])
    check_count(f"{kind}.init n_post", shape[1])

    def refuse_shape(name: str, have: tuple[int, ...]) -> str:
        if name in own:
            return "" if have in own[name] else " or ".join(f"shape {one}" if one else "a number" for one in own[name])
        expected = f"a number or an array that broadcasts to (n_pre, n_post) = {shape}, by [:, None] or [None, :]"
        return "" if fits(have, shape) else expected

    _check_fields(rule, refuse_shape, {"> 0": positive, ">= 0": not_negative}, infinite=None)
    if {"w_min", "w_max"} <= {field.name for field in fields(rule)} and known(rule.w_min, rule.w_max):
        low, high = np.broadcast_arrays(np.asarray(rule.w_min), np.asarray(rule.w_max))
        if np.any(low > high):
            got = f"{low[low > high].flat[0]} with w_max {high[low > high].flat[0]}"
            raise ValueError(message(f"{kind}.w_min", "w_min <= w_max", got, "swap the bounds"))


def check_below(cell: Any, low: str, high: str, why: str) -> None:
    """Refuse a cell whose field `low` isn't below its field `high`, where both are known."""
    a, b = getattr(cell, low), getattr(cell, high)
    if not known(a, b):
        return
    a, b = np.broadcast_arrays(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64))
    bad = np.flatnonzero(a >= b)
    if bad.size:
        got = f"{a.reshape(-1)[bad[0]]:g} mV with {high} {b.reshape(-1)[bad[0]]:g} mV"
        raise ValueError(message(f"{type(cell).__name__}.{low}", f"a potential below {high}", got, why))


def check_shape_of(argument: str, value: Array, shape: tuple[int | None, ...], todo: str = "") -> None:
    """Refuse an array, traced or not, of another shape; None stands for any length."""
    check_shape(argument, np.broadcast_to(False, np.shape(value)), shape, todo)
