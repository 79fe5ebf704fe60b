"""What the store holds, as Python values, and how they become rows and bytes.

Legend: P individuals, D search coordinates, M objectives.

Blobs are raw little-endian float64. Numbers that are nan become NULL.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import numpy as np
from sqlalchemy import Row

from l2l_snn.evaluation import Evaluation
from l2l_snn.space import Space
from l2l_snn.storage.lease import Driver, Lease
from l2l_snn.validate import check_choice, check_shape, message

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


def stored_run(row: Row) -> StoredRun:
    """Return a row of `runs`; one whose driver was killed is shown as stopped."""
    state, text = row.state, row.message
    if state == "running" and Driver.of(row).gone():
        todo = f"go on with: l2l resume {row.name}"
        state, text = "stopped", f"its driver, process {row.pid} on {row.host}, is gone; {todo}"
    return StoredRun(
        name=row.name,
        job=row.job,
        manifest=json.loads(row.manifest),
        space=Space.from_json(row.space),
        state=state,
        message=text,
        generation=row.generation,
        evaluations=row.evaluations,
        failed=row.failed,
        best=row.best,
        started=datetime.fromtimestamp(row.started, UTC),
        finished=None if row.finished is None else datetime.fromtimestamp(row.finished, UTC),
        seconds=row.seconds,
        id=row.id,
        stop_requested=row.stop_requested is not None,
    )


def summary(generation: Generation) -> dict[str, Any]:
    """Return the values of a generation's row, those of the run left out."""
    evaluation = generation.evaluation
    scores = evaluation.score[~evaluation.failed & np.isfinite(evaluation.score)]
    return {
        "generation": generation.number,
        "evaluations": len(evaluation.fitness),
        "failed": int(evaluation.failed.sum()),
        "best": float(scores.max()) if scores.size else None,
        "mean": float(scores.mean()) if scores.size else None,
        "std": float(scores.std()) if scores.size else None,
        "seconds": float(generation.elapsed),
        "objectives": 1 if evaluation.fitness.ndim == 1 else evaluation.fitness.shape[1],
        "metrics": json.dumps(list(evaluation.metrics)),
    }


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


def individual_rows(lease: Lease, generation: Generation, with_z: np.ndarray) -> list[dict[str, Any]]:
    """Return the rows of a generation's individuals, all arrays checked for their shape.

    Args:
        lease: the driver's.
        generation: what was evaluated.
        with_z: (P,) whose rows hold their genome.
    """
    evaluation, p = generation.evaluation, len(generation.z)
    z = check_shape("generation.z", np.asarray(generation.z, "<f8"), (p, lease.size))
    fitness = np.asarray(evaluation.fitness, "<f8")
    check_shape("evaluation.fitness", fitness, (p,) if fitness.ndim == 1 else (p, None))
    metrics = np.empty((p, len(evaluation.metrics)), "<f8")
    for k, (name, values) in enumerate(evaluation.metrics.items()):
        metrics[:, k] = check_shape(f"evaluation.metrics[{name!r}]", values, (p,))
    errors = evaluation.errors or ("",) * p
    columns = {
        "individual": list(range(p)),
        "seed": check_shape("generation.seeds", generation.seeds, (p,)).tolist(),
        "fitness": _nullable(np.where(evaluation.failed, np.nan, evaluation.score)),
        "seconds": _nullable(check_shape("generation.seconds", generation.seconds, (p,))),
        "worker": [clean(worker) for worker in generation.workers],
        "error": [clean(error) for error in errors],
        "objectives": [row.tobytes() for row in fitness] if fitness.ndim == 2 else [None] * p,
        "metrics": [row.tobytes() for row in metrics],
        "z": [row.tobytes() if keep else b"" for row, keep in zip(z, with_z, strict=True)],
    }
    key = {"run_id": lease.run_id, "generation": generation.number}
    return [{**key, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]


def _nullable(values: np.ndarray) -> list[float | None]:
    return [None if x != x else x for x in np.asarray(values, np.float64).tolist()]


def individual(row: Row, genome: Callable[[], np.ndarray]) -> Individual:
    """Return a row of `individuals` with its generation's metrics and evaluations as `names` and `population`."""
    fitness = float("nan") if row.fitness is None else row.fitness
    return Individual(
        generation=row.generation,
        index=row.individual,
        population=row.population,
        seed=row.seed,
        fitness=fitness if row.objectives is None else np.frombuffer(row.objectives, "<f8").copy(),
        error=row.error,
        metrics=dict(zip(json.loads(row.names), np.frombuffer(row.metrics, "<f8").tolist(), strict=True)),
        genome=genome,
    )
