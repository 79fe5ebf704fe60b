"""Parameters of cells and synapses: numbers that are known now, or traced ones that a program will be run with.

What is known is checked, and worked out in double precision by numpy before the program is compiled; what is traced
(evolved under vmap, trained under grad) goes through jax.numpy and isn't checked.

Legend: N neurons.
"""

from typing import Any, NamedTuple, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from l2l_snn.validate import check_shape, message

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


def check_cell(cell: NamedTuple, n: int, positive: str = "", not_negative: str = "", free: str = "") -> None:
    """Refuse parameters of a cell that don't fit n neurons or lie outside their domain, as far as they are known.

    Args:
        cell: the parameters; a field `spike` is left out.
        n: neurons.
        positive: names of the fields that have to be > 0: "tau_m C_m".
        not_negative: names of the fields that have to be >= 0.
        free: names of the fields that may be infinite.
    """
    for name, value in cell._asdict().items():
        if name == "spike":
            continue
        argument = f"{type(cell).__name__}.{name}"
        shape = np.shape(value)
        if shape not in ((), (n,)):
            expected = f"a number, or an array of shape ({n},) with one entry a neuron"
            raise ValueError(message(argument, expected, f"shape {shape}"))
        if not known(value):
            continue
        array = np.asarray(value, dtype=np.float64)
        for names, good, expected in (
            (positive, array > 0, "> 0"),
            (not_negative, array >= 0, ">= 0"),
            (name, ~np.isnan(array) if name in free.split() else np.isfinite(array), "finite"),
        ):
            bad = np.flatnonzero(~good)
            if name in names.split() and bad.size:
                where = f" for neuron {bad[0]}" if shape else ""
                raise ValueError(message(argument, expected, f"{array.reshape(-1)[bad[0]]:g}{where}"))


def check_below(cell: NamedTuple, low: str, high: str, why: str) -> None:
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
