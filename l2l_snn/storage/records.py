"""What the store takes and gives back, as Python values.

Legend: P individuals, D search coordinates, M objectives.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np

from l2l_snn.evaluation import LONGEST_TEXT, Evaluation, bounded
from l2l_snn.space import Space
from l2l_snn.validate import check_choice, message

GENOMES = ("all", "elite", "none")  # which genomes of a run are kept
LONGEST_NOTE = 4_000  # characters
MOST_TAGS = 20  # of a run
RunState = Literal["running", "finished", "stopped", "failed"]
IMPORTED = "imported"  # key of a manifest: the run came from a folder, and nobody here has vouched for its code


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
    note: str = ""  # what users wrote beside it
    tags: tuple[str, ...] = ()

    @property
    def genomes(self) -> str:
        """Which genomes its job keeps: all, elite or none."""
        return self.manifest.get("job", {}).get("genomes", "all")

    @property
    def imported(self) -> bool:
        """Whether it came from an exported folder, so that its manifest may name anybody's code."""
        return bool(self.manifest.get(IMPORTED))


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


def check_note(text: str) -> str:
    """Return `text` with its lines ending alike and no space around, if it can be the note of a run."""
    if not isinstance(text, str):
        raise TypeError(message("note", "text", repr(text)))
    text = "\n".join(text.splitlines()).strip()
    if len(text) > LONGEST_NOTE:
        raise ValueError(message("note", f"at most {LONGEST_NOTE} characters", f"{len(text)}"))
    if found := re.search(r"[^\n\t\x20-\x7e\xa0-\ud7ff\ue000-\U0010ffff]", text):
        raise ValueError(message("note", "plain text", f"the control character {found[0]!r}"))
    return text


def check_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Return tags without those that are there twice, if a run can have them."""
    if isinstance(tags, str):
        raise TypeError(message("tags", "a list of words", repr(tags), f"write [{tags!r}]"))
    kept = tuple(dict.fromkeys(tags))
    for tag in kept:
        if not isinstance(tag, str) or not re.fullmatch(r"\w[\w.:=+/-]{0,49}", tag):
            expected = "1 to 50 letters, digits or any of _.:=+/-, beginning with a letter or digit"
            raise ValueError(message("tag", expected, repr(tag)[:80], "e.g. baseline, sigma-0.1"))
    if len(kept) > MOST_TAGS:
        raise ValueError(message("tags", f"at most {MOST_TAGS} on a run", len(kept)))
    return kept


def clean(text: str) -> str:
    """Return `text` without what a database can't hold: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def storable(text: str) -> str:
    """Return `text` as it is stored: without what a database can't hold, and bounded, with a note of what was cut."""
    return clean(bounded(text, LONGEST_TEXT))


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
