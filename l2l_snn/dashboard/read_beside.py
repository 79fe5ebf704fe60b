"""Two individuals beside each other: where their parameters differ, entry by entry."""

from typing import Any

import numpy as np

from l2l_snn.dashboard.models import Differences, ParameterDifference

SHOWN = 6  # entries of an array that are written out


def compare_parameters(left: dict[str, Any], right: dict[str, Any]) -> Differences:
    """Return where two individuals' decoded parameters differ, in the order of the left one's, then the right one's.

    Args:
        left: name -> value, as `read_individual.parameters` gives them.
        right: the other's.
    """
    names = [*left, *(name for name in right if name not in left)]
    found = [_compare_values(name, left.get(name), right.get(name)) for name in names]
    return Differences(same=sum(one is None for one in found), differing=[one for one in found if one is not None])


def _compare_values(name: str, left: Any, right: Any) -> ParameterDifference | None:
    """Return how the values of a parameter differ, None if they don't; None as a value: there is no such parameter."""
    a, b = np.asarray(left), np.asarray(right)
    known = left is not None and right is not None
    if known and np.array_equal(a, b):
        return None
    numeric = known and a.shape == b.shape and a.dtype.kind in "iuf" and b.dtype.kind in "iuf"
    return ParameterDifference(
        name=name,
        left=_format_value(left),
        right=_format_value(right),
        largest=float(np.abs(b.astype(np.float64) - a).max()) if numeric else None,
        entries=int((a != b).sum()) if known and a.shape == b.shape else max(a.size, b.size),
        size=max(a.size, b.size),
    )


def _format_value(value: Any) -> str:
    if value is None:
        return ""
    flat = np.asarray(value).reshape(-1)
    texts = [f"{entry + 0.0:.6g}" if isinstance(entry, float) else str(entry)[:100] for entry in flat[:SHOWN].tolist()]
    return ", ".join(texts) + (", …" if flat.size > SHOWN else "")
