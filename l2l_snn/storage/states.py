"""An optimizer's state as named fields of bytes, and back: no pickle, its structure comes from the code.

A state is a NamedTuple of arrays or of such NamedTuples. Its arrays are stored under dotted names:

>>> from typing import NamedTuple
>>> Mixture = NamedTuple("Mixture", [("means", np.ndarray)])
>>> State = NamedTuple("State", [("mixture", Mixture), ("step", np.ndarray)])
>>> state = State(Mixture(np.zeros(3)), np.array(7))
>>> fields = to_fields(state)
>>> list(fields)
['mixture.means', 'step']
>>> from_fields("line-1", "sqlite:///l2l.db", state, fields)
State(mixture=Mixture(means=array([0., 0., 0.])), step=array(7))
"""

from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

import numpy as np

from l2l_snn.storage.database import StoreError
from l2l_snn.validate import message

S = TypeVar("S", bound=NamedTuple)


def to_fields(state: NamedTuple) -> dict[str, bytes]:
    """Return the .npy bytes of each array of a state by its dotted name.

    Raises:
        TypeError: a field is neither an array of numbers nor a NamedTuple.
    """
    return {name: to_bytes(name, value) for name, value in _named_arrays(state)}


def from_fields(run: str, store: str, template: S, fields: dict[str, bytes]) -> S:
    """Return the state that `to_fields` gave the bytes of.

    Args:
        run: whose it is, for messages.
        store: the URL of what holds it, for messages.
        template: a state of the same form, such as the optimizer's `init` returns; its values aren't read.
        fields: bytes by dotted name.

    Raises:
        StoreError: names are missing or left over, or bytes aren't those of an array of numbers.
    """
    where = f"the optimizer's state of run {run!r} in {store}"
    expected = [name for name, _ in _named_arrays(template)]
    if set(fields) != set(expected):
        missing, surplus = sorted(set(expected) - set(fields)), sorted(set(fields) - set(expected))
        differ = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(surplus)} besides"] * bool(surplus)
        raise StoreError(
            f"{where} was stored in another form than {type(template).__name__} has now: it {' and '.join(differ)}; "
            f"continue it with the code that made it (see: l2l show {run}), or start a new run"
        )
    return _rebuild_state(template, {name: from_bytes(where, name, fields[name]) for name in expected})


def to_bytes(field: str, value: Any) -> bytes:
    """Return the .npy bytes of one array of an optimizer's state."""
    array = np.asarray(value) if not isinstance(value, (tuple, list, dict)) else np.empty(0, object)
    if array.dtype.kind not in "biufcSU":  # numpy would pickle the others, or forget what they were
        got = f"{type(value).__name__} of {array.dtype}"
        todo = "spread it over fields of its own, or make it a NamedTuple"
        raise TypeError(message(f"state.{field}", "an array of numbers", got, todo))
    file = BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def from_bytes(where: str, field: str, data: bytes) -> np.ndarray:
    """Return the array that `to_bytes` wrote; data that would be code is refused."""
    try:
        return np.lib.format.read_array(BytesIO(data), allow_pickle=False)
    except Exception as error:  # damaged or hostile bytes may fail anywhere in numpy's reader
        raise StoreError(
            f"{where} is damaged: {field} is not an array of numbers ({error}); restore a backup"
        ) from error


def _is_state(value: Any) -> bool:
    return isinstance(value, tuple) and getattr(type(value), "_fields", None) is not None  # a NamedTuple


def _named_arrays(state: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and the value of each field that isn't a state itself, in order."""
    for field, value in state._asdict().items():
        if _is_state(value):
            yield from _named_arrays(value, f"{prefix}{field}.")
        else:
            yield f"{prefix}{field}", value


def _rebuild_state(template: Any, arrays: dict[str, np.ndarray], prefix: str = "") -> Any:
    """Return a state of the template's form from arrays by dotted name."""
    return type(template)._make(
        _rebuild_state(value, arrays, f"{prefix}{field}.") if _is_state(value) else arrays[f"{prefix}{field}"]
        for field, value in template._asdict().items()
    )
