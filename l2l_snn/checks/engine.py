"""What the suites for cells and for rules share: parameters, pytrees, and comparisons of results.

Legend: a tree is any pytree of arrays.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import jax
import numpy as np

from l2l_snn.checks.common import fingerprint
from l2l_snn.validate import message

PRECISIONS = ("float32", "float64")


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Let jax's default float be float32 or float64."""
    with jax.enable_x64(name == "float64"):
        yield


def frozen(component: Any, base: type) -> str:
    """Return "", or why `component` isn't a frozen dataclass of a base class."""
    name = type(component).__name__
    if not isinstance(component, base):
        return message(name, f"a subclass of {base.__name__}", type(component).__mro__[1].__name__)
    parameters = vars(type(component)).get("__dataclass_params__")  # vars: an inherited decorator misses new fields
    if parameters is None or not parameters.frozen:
        return message(name, "a frozen dataclass", "another class", "put @dataclass(frozen=True) above it")
    return ""


def is_pytree(component: Any) -> str:
    """Return "", or why the fields of a dataclass aren't the leaves of a pytree."""
    name = type(component).__name__
    leaves, structure = jax.tree.flatten(component)
    numbers = [field.name for field in fields(component) if not field.metadata.get("static")]
    own = jax.tree.leaves([getattr(component, field) for field in numbers])
    if fingerprint(arrays(leaves)) != fingerprint(arrays(own)):
        todo = "put @jax.tree_util.register_dataclass above @dataclass"
        return message(name, f"a pytree whose {len(own)} leaves are its parameters", f"{len(leaves)} leaves", todo)
    again = jax.tree.unflatten(structure, leaves)
    return "" if type(again) is type(component) else message(name, "itself from its leaves", type(again).__name__)


def numeric(component: Any) -> dict[str, Any]:
    """Return the parameters that are numbers, by name."""
    values = {field.name: getattr(component, field.name) for field in fields(component)}
    return {name: value for name, value in values.items() if np.asarray(value).dtype.kind in "iuf"}


def refuses(component: Any, init: Callable[[Any], Any], bad: Any, what: str) -> str:
    """Return "", or which parameter may be `bad`: `init` of a copy raises a ValueError that names it, or should."""
    for name in numeric(component):
        argument = f"{type(component).__name__}.{name}"
        try:
            init(replace(component, **{name: bad}))
        except ValueError as error:
            if name not in str(error):
                return message(argument, f"a ValueError that names {name} where it is {what}", repr(str(error)))
        else:
            todo = "check parameters in `init`: check_neurons, check_synapses of l2l_snn.snn.parameters"
            return message(argument, f"a ValueError where it is {what}", "none", todo)
    return ""


def state_of_arrays(state: Any, name: str = "state") -> str:
    """Return "", or why `state` isn't a NamedTuple of arrays or of such NamedTuples."""
    names = getattr(type(state), "_fields", None)  # what makes a tuple a NamedTuple
    if not isinstance(state, tuple) or names is None:
        return message(name, "a NamedTuple of arrays", type(state).__name__)
    for field, value in zip(names, state, strict=True):
        if isinstance(value, (jax.Array, np.ndarray)):
            continue
        text = state_of_arrays(value, f"{name}.{field}")
        if text:
            return text
    return ""


def arrays(tree: Any) -> list[np.ndarray]:
    """Return the leaves of a tree as numpy arrays."""
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def same_form(before: Any, after: Any, argument: str) -> str:
    """Return "", or how two trees differ in structure, shapes or dtypes."""
    if jax.tree.structure(before) != jax.tree.structure(after):
        return message(argument, f"{jax.tree.structure(before)}", f"{jax.tree.structure(after)}")
    for old, new in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True):
        if (old.shape, old.dtype) != (new.shape, new.dtype):
            return message(argument, f"{old.shape} {old.dtype} as before", f"{new.shape} {new.dtype}", "use astype")
    return ""


def finite(tree: Any, argument: str) -> str:
    """Return "", or that a tree holds nan or infinity."""
    bad = [array for array in arrays(tree) if array.dtype.kind == "f" and not np.isfinite(array).all()]
    return message(argument, "finite numbers", bad[0].reshape(-1)[:5]) if bad else ""


def close(first: Any, second: Any, argument: str, todo: str = "", tolerance: float = 1e-9) -> str:
    """Return "", or where two trees of float64 results differ by more than rounding."""
    for a, b in zip(arrays(first), arrays(second), strict=True):
        if a.shape != b.shape or not np.allclose(a, b, rtol=tolerance, atol=tolerance, equal_nan=True):
            return message(argument, f"{a.reshape(-1)[-5:]}", f"{b.reshape(-1)[-5:]}", todo)
    return ""


def pure(call: Callable[..., Any], *arguments: Any) -> str:
    """Return "", or that a call changes its arguments or gives other bytes when it is repeated."""
    mutable = jax.tree.map(np.array, arguments)
    before = fingerprint(arrays(mutable))
    results = [fingerprint(arrays(call(*mutable))) for _ in range(2)]
    if fingerprint(arrays(mutable)) != before:
        return message("step", "its arguments unchanged", "changed in place", "copy before you write")
    if results[0] != results[1]:
        return message("step", "the same bytes from the same arguments", "others", "keep all that changes in the state")
    return ""
