"""Checks of what a user hands in, with one format of message: argument, expected, got, what to do.

Every failed check raises `ValueError` (a wrong value) or `TypeError` (a wrong type):

    GeneticAlgorithm.tournament: expected an integer >= 1, got 0; take 2 to 7, larger selects harder
"""

from collections.abc import Collection
from difflib import get_close_matches
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

T = TypeVar("T")


def message(argument: str, expected: str, got: object, todo: str = "") -> str:
    """Return the project's one form of complaint about an argument."""
    text = f"{argument}: expected {expected}, got {got}"
    return f"{text}; {todo}" if todo else text


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


def check_finite(argument: str, value: ArrayLike, todo: str = "") -> np.ndarray:
    """Return `value` as a float64 array if it holds neither nan nor infinity."""
    array = np.asarray(value, dtype=np.float64)
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
    todo: str = "",
) -> float:
    """Return `value` if it is a number in [low, high], or in (low, high] with `open_low`."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(message(argument, "a number", f"{value!r} ({type(value).__name__})", todo))
    above = value > low if open_low else value >= low
    if not (above and value <= high):  # also refuses nan
        sign = ">" if open_low else ">="
        if np.isinf(high):
            expected = f"a number {sign} {low:g}"
        elif np.isinf(low):
            expected = f"a number <= {high:g}"
        else:
            expected = f"a number in {'(' if open_low else '['}{low:g}, {high:g}]"
        raise ValueError(message(argument, expected, value, todo))
    return value


def check_count(argument: str, value: int, low: int = 1, todo: str = "") -> int:
    """Return `value` if it is an integer >= low."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(message(argument, f"an integer >= {low}", f"{value!r} ({type(value).__name__})", todo))
    if value < low:
        raise ValueError(message(argument, f"an integer >= {low}", value, todo))
    return value
