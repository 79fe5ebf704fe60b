"""What the store takes and gives back, as Python values.

Legend: P individuals, D search coordinates, M objectives.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.space import Space
from l2l_snn.validate import check_choice, message

GENOMES = ("all", "elite", "none")  # which genomes of a run are kept
RunState = Literal["running", "finished", "stopped", "failed"]


@dataclass(frozen=True)
class Generation:
    """One evaluated generation, as the loop hands it over."""

    number: int
    z: np.ndarray  # (P, D) float64
    seeds: np.ndarray  # (P,) int64
    evaluation: Evaluation  # artifacts and grad are not stored
    seconds: np.ndarray  # (P,) s, per evaluation
    workers: tuple[str, ...]  # (P,)
    elapsed: float  # s, wall time of the generation


@dataclass(frozen=True)
class StoredRun:
    """What the store knows of a run as a whole."""

    name: str
    job: str  # the job file's stem
    manifest: dict[str, Any]  # resolved job, versions, git commit
    space: Space
    state: RunState
    message: str  # why it stopped or failed
    generation: int  # how many generations are committed, so also the next one's number
    evaluations: int
    failed: int  # of the evaluations
    best: float | None  # score
    started: datetime  # UTC
    finished: datetime | None  # UTC
    seconds: float  # s, of all its drivers together
    id: int  # the key in the other tables
    stop_requested: bool = False  # somebody asked its driver to stop

    @property
    def genomes(self) -> str:
        """Which genomes its job keeps: all, elite or none."""
        return self.manifest.get("job", {}).get("genomes", "all")


@dataclass(frozen=True)
class Individual:
    """One stored individual."""

    generation: int
    index: int
    population: int  # P of its generation
    seed: int
    fitness: float | np.ndarray  # (M,) with several objectives; nan: failed
    error: str
    metrics: dict[str, float]
    genome: Callable[[], np.ndarray]  # reads z, which may be large and elsewhere

    @cached_property
    def z(self) -> np.ndarray:
        """(D,), read when first asked for.

        Raises:
            GenomeMissing: it wasn't kept, or its file can't be read.
        """
        return self.genome()


def check_name(name: str) -> str:
    """Return `name` if a run can have it: runs have folders of their name."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}", name):
        expected = "1 to 100 letters, digits, '.', '_' or '-', not beginning with '.' or '-'"
        raise ValueError(message("run name", expected, repr(name), "e.g. smoke-1"))
    return name


def clean(text: str) -> str:
    """Return `text` without what a database can't hold: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def elite(scores: np.ndarray, best: float | None = None) -> np.ndarray:
    """Return (P,) which individuals have a score at least as good as all before them.

    Args:
        scores: (P,) in their order, nan where failed.
        best: score of the run before them, None if there is none.

    >>> elite(np.array([1.0, np.nan, 0.5, 1.0, 2.0])).tolist()
    [True, False, False, True, True]
    """
    valid = np.isfinite(scores)
    comparable = np.where(valid, scores, -np.inf)
    before = np.maximum.accumulate([-np.inf if best is None else best, *comparable])[:-1]
    return valid & (comparable >= before)


def kept(policy: str, evaluation: Evaluation, best: float | None) -> np.ndarray:
    """Return (P,) whose genomes are kept.

    Args:
        policy: all, elite or none.
        evaluation: of a generation.
        best: score of the run before it, None if there is none.
    """
    if policy == "elite":
        return elite(np.where(evaluation.failed, np.nan, evaluation.score), best)
    return np.full(len(evaluation.fitness), check_choice("job.genomes", policy, GENOMES) == "all")
