"""Runs side by side: the best fitness so far against evaluations, and a table of what the runs came to.

    table, curves = compare("sqlite:///l2l.db", ["mountain_car_ga-1", "mountain_car_ga-2", "mountain_car_es-1"])
    comparison.draw_comparison(curves, Path("comparison.png"))

Runs of one job that differ only in their seed are one group: medians and quartiles are over its runs. A run that has no
value, since nothing succeeded or the target wasn't reached, counts as the worst of its group, so that failures lower
a median instead of vanishing from it; a median or quartile that falls on one is nan. With several objectives the
first one is compared.

Legend: R runs of a group, K points of a curve.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from l2l_snn.results import tables
from l2l_snn.storage import DEFAULT_STORE
from l2l_snn.storage.store import Store, StoredRun
from l2l_snn.validate import check_finite, message

if TYPE_CHECKING:
    from pandas import DataFrame

QUARTILES = (0.25, 0.5, 0.75)
SHOWN = 3  # settings that a label names


def compare(
    store: str | Store = DEFAULT_STORE, runs: Sequence[str] = (), *, target: float | None = None
) -> tuple["DataFrame", "DataFrame"]:
    """Return what runs came to, and how.

    Args:
        store: a URL or an open store.
        runs: their names; all that have a generation if none is named.
        target: a fitness; how many evaluations it took to reach it is counted too, in whole generations.

    Returns:
        table: a row for each group, in the order of `runs`. Columns: group (the job's name, with what tells it from
            the other groups of that name), runs (R), seeds and names (texts, with spaces), then best (fitness),
            evaluations, failed (evaluations without a fitness), seconds (s, of all drivers) and, with a target,
            to_target (evaluations): the median over the group's runs, with the quartiles as best_q1, best_q3 and so
            on. reached: how many runs reached the target.
        curves: K rows for each group, columns group, runs (R), evaluations, q1, median, q3 (of the best fitness so
            far). A run that ended earlier than others of its group keeps its best.

    Raises:
        RunUnknown: the store has no run of a name.
        ValueError: a name is there twice, no run has a generation, or the target isn't finite.
    """
    import pandas as pd

    if target is not None:
        check_finite("target", target)
    names = list(runs)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(message("runs", "each run once", f"{name!r} {names.count(name)} times"))
    if not isinstance(store, Store):
        with Store(store, create=False) as opened:
            return compare(opened, names, target=target)
    found = [store.load(name) for name in names] or [run for run in store.runs() if run.generation]
    if not any(run.generation for run in found):
        got = ", ".join(run.name for run in found) or "an empty store"
        raise ValueError(message("runs", "at least one run with a generation", got))
    groups = _group_runs(found)
    summaries, curves = [], []
    for label, members in groups.items():
        steps = [_read_steps(store, run) for run in members]
        summaries.append({"group": label, **_summarize_group(members, steps, target)})
        curves.append(pd.DataFrame({"group": label, "runs": len(members), **_summarize_curve(steps)}))
    return pd.DataFrame(summaries), pd.concat(curves, ignore_index=True)


def quartiles(values: np.ndarray) -> np.ndarray:
    """Return lower quartile, median and upper quartile over the first axis, (3, ...), of values (R, ...).

    nan counts as less than any number; a quartile that falls on one, or between one and a number, is nan. Between
    numbers it's interpolated as `numpy.quantile` does.

    >>> quartiles(np.array([1.0, np.nan, 3.0, 2.0, 4.0]))
    array([1., 2., 3.])
    >>> quartiles(np.array([1.0, np.nan]))
    array([nan, nan, nan])
    """
    last = len(values) - 1
    ordered = np.sort(np.where(np.isnan(values), -np.inf, values), axis=0)
    ordered = np.where(np.isinf(ordered), np.nan, ordered)
    rows = []
    for q in QUARTILES:
        place = q * last
        below = ordered[int(place)]
        above = ordered[min(int(place) + 1, last)]
        rows.append(below + (place - int(place)) * (above - below))
    return np.stack(rows)


def _group_runs(runs: Sequence[StoredRun]) -> dict[str, list[StoredRun]]:
    """Return label -> runs that differ only in their seed, in the order given."""
    found: dict[str, list[StoredRun]] = {}
    for run in runs:
        settings = {
            key: value for key, value in _flatten_settings(run.manifest.get("job", {})).items() if key != "seed"
        }
        found.setdefault(json.dumps([run.job, settings], sort_keys=True), []).append(run)
    groups = list(found.values())
    labels = _label_groups([members[0] for members in groups])
    return dict(zip(labels, groups, strict=True))


def _label_groups(runs: Sequence[StoredRun]) -> list[str]:
    """Return a label for the first run of each group: its job's name, and the settings in which others differ."""
    settings = [_flatten_settings(run.manifest.get("job", {})) for run in runs]
    labels = []
    for run, own in zip(runs, settings, strict=True):
        others = [other for r, other in zip(runs, settings, strict=True) if r.job == run.job]
        differ = [key for key in own if key != "seed" and any(other.get(key, own) != own[key] for other in others)]
        for part in ("optimizer", "optimizee"):  # of another class only the class is named, not all its fields
            if f"{part}.class" in differ:
                differ = [key for key in differ if key == f"{part}.class" or not key.startswith(f"{part}.")]
        texts = [_describe_setting(key, own[key]) for key in differ]
        texts = texts[:SHOWN] + ["..."] * (len(texts) > SHOWN)
        labels.append(f"{run.job} ({', '.join(texts)})" if texts else run.job)
    return [
        f"{label} [{run.name}]" if labels.count(label) > 1 else label for label, run in zip(labels, runs, strict=True)
    ]


def _describe_setting(key: str, value: Any) -> str:
    if key.endswith(".class"):
        return str(value).rpartition(":")[2]
    return f"{key.rpartition('.')[2]}={value}"


def _flatten_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return dotted key -> value of nested mappings."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flatten_settings(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _read_steps(store: Store, run: StoredRun) -> tuple[np.ndarray, np.ndarray]:
    """Return the evaluations after each generation of a run, and the best fitness so far (nan: none): two (G,)."""
    table = tables.generations(store, run.name)
    return np.cumsum(table["evaluations"].to_numpy(np.int64)), table["best_so_far"].to_numpy(np.float64)


def _summarize_group(
    runs: Sequence[StoredRun], steps: Sequence[tuple[np.ndarray, np.ndarray]], target: float | None
) -> dict[str, Any]:
    """Return a row of the table, the group's label left out."""
    seeds = [_flatten_settings(run.manifest.get("job", {})).get("seed", "?") for run in runs]
    row = {"runs": len(runs), "seeds": " ".join(map(str, seeds)), "names": " ".join(run.name for run in runs)}
    best = np.array([run.best for run in runs], np.float64)
    columns = {"best": quartiles(best)}
    for name in ("evaluations", "failed", "seconds"):
        columns[name] = quartiles(np.array([getattr(run, name) for run in runs], np.float64))
    if target is not None:
        needed = np.full(len(runs), np.nan)
        for i, (evaluations, so_far) in enumerate(steps):
            reached = np.flatnonzero(so_far >= target)
            needed[i] = evaluations[reached[0]] if len(reached) else np.nan
        row["reached"] = int(np.isfinite(needed).sum())
        columns["to_target"] = -quartiles(-needed)[::-1]  # here less is better, and never is the worst
    for name, (low, median, high) in columns.items():
        row |= {name: float(median), f"{name}_q1": float(low), f"{name}_q3": float(high)}
    return row


def _summarize_curve(steps: Sequence[tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the columns of a group's curve, at each number of evaluations that one of its runs has stopped at."""
    points = np.unique(np.concatenate([evaluations for evaluations, _ in steps]))
    values = np.full((len(steps), len(points)), np.nan)
    for row, (evaluations, so_far) in zip(values, steps, strict=True):
        generation = np.searchsorted(evaluations, points, side="right") - 1  # the last one that is complete
        row[generation >= 0] = so_far[generation[generation >= 0]]
    low, median, high = quartiles(values)
    return {"evaluations": points, "q1": low, "median": median, "q3": high}


def thinned(count: int, limit: int) -> np.ndarray:
    """Return at most `limit` of the rows 0 .. count - 1, denser at the begin, both ends included.

    >>> thinned(5, 9), thinned(1000, 4)
    (array([0, 1, 2, 3, 4]), array([  0,   9,  99, 999]))
    """
    if count <= limit:
        return np.arange(count)
    return np.unique(np.round(np.geomspace(1, count, limit)).astype(np.int64) - 1)
