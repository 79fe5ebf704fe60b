"""Runs told to trackers: a stored run as a whole, or each generation as it is committed.

A tracker that fails while a run goes on, e.g. since its server can't be reached, is left out from there on with a
warning; the run isn't touched, and `l2l track` tells it all later.
"""

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from l2l_snn.loop.components import load_class
from l2l_snn.loop.job_file import JobError
from l2l_snn.loop.progress import Progress
from l2l_snn.results import tables
from l2l_snn.storage.records import StoredRun
from l2l_snn.storage.store import Store
from l2l_snn.trackers.tracker import Tracker
from l2l_snn.validate import message

log = logging.getLogger(__name__)
KINDS = {  # name -> module:class, the argument that a place fills
    "mlflow": ("l2l_snn.trackers.mlflow:MLflowTracker", "uri"),
    "tensorboard": ("l2l_snn.trackers.tensorboard:TensorBoardTracker", "folder"),
    "wandb": ("l2l_snn.trackers.wandb:WandbTracker", "project"),
}


def make_tracker(text: str) -> Tracker:
    """Return the tracker of a text: KIND, KIND:PLACE, or module:Class of one's own.

    >>> make_tracker("tensorboard:runs/tensorboard").folder
    'runs/tensorboard'

    Raises:
        ValueError: there is none, or the class is none.
        ImportError: its package isn't installed.
    """
    name, _, place = text.partition(":")
    address, argument = KINDS.get(name, (text, ""))
    if name not in KINDS and ":" not in text:
        expected = f"{', '.join(KINDS)}, perhaps with :PLACE, or module:Class"
        raise ValueError(message("tracker", expected, repr(text)))
    try:
        cls = load_class(address)
    except JobError as error:
        raise ValueError(f"tracker {text!r}: {error}") from error
    if not issubclass(cls, Tracker):
        raise ValueError(message("tracker", "a subclass of Tracker", cls.__name__))
    return cls(**{argument: place}) if argument and place else cls()


def track(store: Store, name: str, tracker: Tracker) -> StoredRun:
    """Tell a tracker all of a stored run: its job, every generation, and the picture of its fitness.

    Raises:
        RunUnknown: there is no such run.
        Exception: whatever the tracker raises.
    """
    from l2l_snn.results import figures

    run = store.load(name)
    tracker.begin(name, flatten_job(run.manifest["job"]))
    table = tables.generations(store, name)
    table["evaluations"] = table["evaluations"].cumsum()
    for row in table.to_dict("records"):
        columns = ("best_so_far", "mean", "failed", "evaluations", "evaluations_per_s")
        tracker.log(int(row["generation"]), {column: float(row[column]) for column in columns})
    if len(table):
        with tempfile.TemporaryDirectory() as folder:
            individuals = tables.individuals(store, name)
            tracker.picture("fitness", figures.fitness(individuals, table, Path(folder) / "fitness.png"))
    tracker.end(run.state)
    return run


class LiveTrackers:
    """Trackers that are told of a run while it goes on; one that fails is left out.

    Args:
        trackers: who is told.
        run: the run's name.
        job: its job, nested.
    """

    def __init__(self, trackers: list[Tracker], run: str, job: Mapping[str, Any]):
        self._trackers = list(trackers)
        self._call("begin", run, flatten_job(job))

    def tell(self, progress: Progress) -> None:
        """Tell them of a generation."""
        if self._trackers:
            values = {
                "best_so_far": progress.best,
                "mean": progress.mean,
                "failed": float(progress.failed),
                "evaluations": float(progress.evaluations),
                "evaluations_per_s": progress.evaluations_per_s,
            }
            self._call("log", progress.generation, values)

    def end(self, state: str, pictures: Mapping[str, Path]) -> None:
        """Give them pictures, and tell how the run ended."""
        for name, path in pictures.items():
            self._call("picture", name, path)
        self._call("end", state)

    def _call(self, method: str, *arguments: Any) -> None:
        for tracker in list(self._trackers):
            try:
                getattr(tracker, method)(*arguments)
            except Exception as error:  # a tool's server may be gone; the run goes on
                self._trackers.remove(tracker)
                text = "%s can't follow this run any more: %s: %s; tell it later with: l2l track"
                log.warning(text, type(tracker).__name__, type(error).__name__, error)


def flatten_job(job: Mapping[str, Any], prefix: str = "") -> dict[str, str | float | bool]:
    """Return dotted key -> value of a job's entries; lists and nothing become text.

    >>> flatten_job({"seed": 1, "optimizer": {"class": "a:B", "sigma": None}})
    {'seed': 1, 'optimizer.class': 'a:B', 'optimizer.sigma': 'none'}
    """
    flat: dict[str, str | float | bool] = {}
    for key, value in job.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten_job(value, f"{prefix}{key}.")
        elif isinstance(value, str | bool | int | float):
            flat[f"{prefix}{key}"] = value
        else:
            flat[f"{prefix}{key}"] = "none" if value is None else str(value)
    return flat


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the values that are numbers: tools draw no nan."""
    return {name: value for name, value in values.items() if np.isfinite(value)}


def missing(package: str, extra: str, error: ImportError) -> ImportError:
    """Return the error of a tracker whose package isn't installed."""
    todo = f"pip install 'l2l-snn[{extra}]'"
    return ImportError(message("tracker", f"the package {package}", str(error), todo))
