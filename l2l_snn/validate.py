"""Checks of what a user hands in, with one format of message: argument, expected, got, what to do.

Every failed check raises `ValueError` (a wrong value) or `TypeError` (a wrong type):

    GeneticAlgorithm.tournament: expected an integer >= 1, got 0; take 2 to 7, larger selects harder

The fields of a frozen dataclass say in their annotations what they may hold, and `check_fields` checks them:

    sigma: Positive = 1.0
    rate: Annotated[Share, "0.8 to 0.99 are usual"] = 0.95              # a string is what to do
    tournament: Annotated[int, AtLeast(1), "take 2 to 7"] = 4
    difference: Annotated[float, Within(1e-9, 1e6)] = 0.01
    rule: Literal["adam", "sgd"] = "adam"
    boundaries: tuple[Count, ...] | None = None                         # each of them
"""

from collections.abc import Collection, Mapping
from dataclasses import Field, dataclass, fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from reprlib import repr as shortened
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import ArrayLike

T = TypeVar("T")


def message(argument: str, expected: str, got: object, todo: str = "") -> str:
    """Return the project's one form of complaint about an argument."""
    text = f"{argument}: expected {expected}, got {got}"
    return f"{text}; {todo}" if todo else text


def counted(number: int, thing: str) -> str:
    """Return how many there are of a thing, in words.

    >>> counted(1, "generation"), counted(0, "generation")
    ('1 generation', '0 generations')
    """
    return f"{number} {thing}{'' if number == 1 else 's'}"


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Return "did you mean 'sigma'?" for the closest of `known`, or the list of what there is."""
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known are {', '.join(sorted(known))}" if known else "none are known here"


def check_shape(argument: str, value: ArrayLike, shape: tuple[int | None, ...], todo: str = "") -> np.ndarray:
    """Return `value` as an array if its shape fits; None in `shape` admits any length.

    >>> check_shape("z", [[1.0, 2.0]], (None, 2)).shape
    (1, 2)
    """
    array = np.asarray(value)
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ValueError(message(argument, f"an array of shape {wanted}", f"shape {array.shape}", todo))
    return array


def describe(value: object) -> str:
    """Return what a value is, in short.

    >>> describe("high"), describe(None), describe(np.zeros((2, 3)))
    ("'high' (str)", 'None', 'an array of float64 and shape (2, 3)')
    """
    shape = getattr(value, "shape", None)  # of an array, also of JAX, which is not imported for a text
    if isinstance(shape, tuple) and not isinstance(value, np.generic):
        return f"an array of {getattr(value, 'dtype', 'objects')} and shape {shape}"
    return "None" if value is None else f"{shortened(value)} ({type(value).__name__})"


def holds_numbers(array: Any, *, flags: bool = False) -> bool:
    """Return whether an array, perhaps traced, holds real numbers: neither text, nor None, nor complex ones.

    Args:
        array: it has a dtype.
        flags: whether true and false are numbers.
    """
    try:
        real = bool(np.can_cast(array.dtype, np.float64, "same_kind"))
    except TypeError:  # a type of its own, such as that of JAX's keys
        return False
    return real and (flags or array.dtype != np.bool_)


def check_numbers(argument: str, value: Any, todo: str = "", *, flags: bool = False) -> np.ndarray:
    """Return `value` as a float64 array if it holds real numbers; see `holds_numbers`.

    >>> check_numbers("x", [1, 2]).tolist()
    [1.0, 2.0]
    """
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:  # e.g. lists of different lengths
        raise TypeError(message(argument, "numbers", describe(value), todo)) from error
    if not holds_numbers(array, flags=flags):
        raise TypeError(message(argument, "numbers", describe(value), todo))
    return array.astype(np.float64, copy=False)


def check_finite(argument: str, value: ArrayLike, todo: str = "") -> np.ndarray:
    """Return `value` as a float64 array if it holds neither nan nor infinity."""
    array = check_numbers(argument, value, todo, flags=True)
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        got = f"{array.reshape(-1)[bad[0]]} at flat index {bad[0]} ({bad.size} of {array.size} are not finite)"
        raise ValueError(message(argument, "finite numbers", got, todo))
    return array


def check_choice(argument: str, value: T, choices: Collection[T], todo: str = "") -> T:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        if not todo and isinstance(value, str):
            todo = did_you_mean(value, [str(choice) for choice in choices])
        raise ValueError(message(argument, f"one of {', '.join(map(repr, choices))}", repr(value), todo))
    return value


def check_range(
    argument: str,
    value: float,
    low: float = -np.inf,
    high: float = np.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
    todo: str = "",
) -> float:
    """Return `value` if it is a number in [low, high]; with `open_low` or `open_high` without that end."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(message(argument, "a number", f"{value!r} ({type(value).__name__})", todo))
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below):  # also refuses nan
        sign = ">" if open_low else ">="
        if np.isinf(high):
            expected = f"a number {sign} {low:g}"
        elif value == high:
            expected = f"a number below {high:g}"
        elif np.isinf(low):
            expected = f"a number {'<' if open_high else '<='} {high:g}"
        else:
            expected = f"a number in {'(' if open_low else '['}{low:g}, {high:g}{')' if open_high else ']'}"
        raise ValueError(message(argument, expected, value, todo))
    return value


def check_count(argument: str, value: int, low: int = 1, todo: str = "") -> int:
    """Return `value` if it is an integer >= low."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(message(argument, f"an integer >= {low}", f"{value!r} ({type(value).__name__})", todo))
    if value < low:
        raise ValueError(message(argument, f"an integer >= {low}", value, todo))
    return value


def check_multiple(argument: str, value: float, step: float, of: str = "", todo: str = "", *, least: int = 0) -> float:
    """Return a time if it is a whole number of steps, to 1e-6 of one; both in ms.

    Args:
        argument: its name.
        value: the time, ms.
        step: ms.
        of: what the step is, e.g. "the resolution".
        todo: what to do.
        least: how many steps it is at least.
    """
    if abs(value / step - round(value / step)) > 1e-6 or round(value / step) < least:
        name = f"{of}, " if of else ""
        raise ValueError(message(argument, f"a multiple of {name}{step:g} ms", f"{value:g} ms", todo))
    return value


@dataclass(frozen=True)
class Within:
    """What numbers an annotated field may hold: those in [low, high], perhaps without an end or with infinity."""

    low: float = -np.inf
    high: float = np.inf
    open_low: bool = False
    open_high: bool = False
    finite: bool = True

    def check(self, argument: str, value: Any, todo: str = "") -> None:
        """Refuse what is no such number; see `check_range` and `check_finite`."""
        if np.isfinite([self.low, self.high]).any() or not isinstance(value, float):
            ends = {"open_low": self.open_low, "open_high": self.open_high}
            check_range(argument, value, self.low, self.high, **ends, todo=todo)
        if self.finite:
            check_finite(argument, value)


@dataclass(frozen=True)
class AtLeast:
    """What integers an annotated field may hold: those from `low` on."""

    low: int

    def check(self, argument: str, value: Any, todo: str = "") -> None:
        """Refuse what is no such integer; see `check_count`."""
        check_count(argument, value, self.low, todo)


Finite: TypeAlias = Annotated[float, Within()]
Positive: TypeAlias = Annotated[float, Within(0.0, open_low=True)]
NotNegative: TypeAlias = Annotated[float, Within(0.0)]
Share: TypeAlias = Annotated[float, Within(0.0, 1.0)]
Below1: TypeAlias = Annotated[float, Within(0.0, 1.0, open_high=True)]  # what is no share of all: [0, 1)
Count: TypeAlias = Annotated[int, AtLeast(1)]
CountFromZero: TypeAlias = Annotated[int, AtLeast(0)]


def check_fields(instance: Any) -> None:
    """Check every field of a dataclass by its annotation.

    `Within` and `AtLeast` limit numbers, `Literal` names the choices, `bool` is true or false, and a dataclass is one
    (it has checked its own fields). A union takes what one of its members takes; tuples, lists and dicts are checked
    entry by entry. Other annotations say nothing, nor do those that can't be read. Defaults need no check.

    Raises:
        ValueError, TypeError: the first field that is wrong, as "Class.field: expected ...".
    """
    name = type(instance).__name__
    for field, hint in _field_hints(type(instance)):
        value = getattr(instance, field.name)
        if value is not field.default:
            _check_value(f"{name}.{field.name}", value, hint)


def refuse_post_init(cls: type) -> None:
    """Refuse a class that defines `__post_init__`, which would take the place of the one that checks its fields.

    Raises:
        TypeError: it does.
    """
    if "__post_init__" in vars(cls):
        todo = "write cross_check(self); fields are checked before it by their annotations"
        raise TypeError(message(f"class {cls.__name__}", "no method __post_init__", "one", todo))


@lru_cache(maxsize=256)  # reading annotations is slow
def _field_hints(cls: type) -> tuple[tuple[Field[Any], Any], ...]:
    """Return the fields of a dataclass with their annotations."""
    try:
        hints = get_type_hints(cls, include_extras=True)
    except Exception:  # an annotation that is a string may name anything
        hints = {field.name: field.type for field in fields(cls)}
    return tuple((field, hints[field.name]) for field in fields(cls))


def _check_value(argument: str, value: Any, hint: Any, todo: str = "") -> None:
    """Check a value by an annotation; see `check_fields`."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Annotated:
        todo = next((one for one in inner[1:] if isinstance(one, str)), todo)
        limits = [one for one in inner[1:] if isinstance(one, Within | AtLeast)]
        for limit in limits:
            limit.check(argument, value, todo)
        if not limits:
            _check_value(argument, value, inner[0], todo)
    elif kind is Literal:
        check_choice(argument, value, inner, todo)
    elif kind in (Union, UnionType):
        _check_union(argument, value, inner, todo)
    elif kind in (tuple, list):
        if not isinstance(value, tuple | list):
            raise TypeError(message(argument, f"a {kind.__name__}", f"{value!r} ({type(value).__name__})", todo))
        same = kind is list or inner[1:] == (...,)
        if not same and len(value) != len(inner):
            raise ValueError(message(argument, f"{len(inner)} values", f"{len(value)}", todo))
        for entry, one in zip(value, inner[:1] * len(value) if same else inner, strict=False):
            _check_value(argument, entry, one, todo)
    elif kind is dict:
        if not isinstance(value, Mapping):
            raise TypeError(message(argument, "a mapping", f"{value!r} ({type(value).__name__})", todo))
        for key, entry in value.items():
            _check_value(f"{argument}.{key}", entry, inner[1], todo)
    elif hint is bool and not isinstance(value, bool | np.bool_):
        raise TypeError(message(argument, "true or false", repr(value), todo))
    elif isinstance(hint, type) and is_dataclass(hint) and not isinstance(value, hint):
        raise TypeError(
            message(argument, f"an instance of {hint.__name__}", f"{value!r} ({type(value).__name__})", todo)
        )


def _check_union(argument: str, value: Any, members: tuple[Any, ...], todo: str) -> None:
    """Check a value by the members of a union, of which one has to take it."""
    if value is None and NoneType in members:
        return
    errors: list[TypeError | ValueError] = []
    for member in members:
        if member is not NoneType:
            try:
                _check_value(argument, value, member, todo)
            except (TypeError, ValueError) as error:
                errors.append(error)
            else:
                return
    raise next((error for error in errors if isinstance(error, ValueError)), errors[0])  # of the right type at least
