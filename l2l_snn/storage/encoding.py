"""Runs, generations and individuals as the columns of their rows, and back.

Legend: P individuals, D search coordinates, M objectives.

Blobs are raw little-endian float64. Numbers that are nan become NULL.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from sqlalchemy import Row

from l2l_snn.space import Space
from l2l_snn.storage.lease import Process
from l2l_snn.storage.records import Generation, Individual, StoredRun, storable
from l2l_snn.validate import check_shape


def first_values(job: str, manifest: dict[str, Any], space: Space) -> dict[str, Any]:
    """Return the columns of a run without generations, its name left out."""
    values = {"job": storable(job), "manifest": json.dumps(manifest), "space": space.to_json(), "state": "stopped"}
    values |= {"message": "not started", "generation": 0, "evaluations": 0, "failed": 0, "seconds": 0.0}
    return {**values, "started": time.time()}


def stored_run(row: Row) -> StoredRun:
    """Return a row of `runs`; one whose driver was killed is shown as stopped."""
    state, text = row.state, row.message
    if state == "running" and Process.of(row).gone():
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
        note=row.note,
        tags=tuple(row.tags.split()),
    )


def generation_values(generation: Generation) -> dict[str, Any]:
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


def individual_values(run: StoredRun, generation: Generation, with_z: np.ndarray) -> list[dict[str, Any]]:
    """Return the rows of a generation's individuals, all arrays checked for their shape.

    Args:
        run: whose they are.
        generation: what was evaluated.
        with_z: (P,) whose rows hold their genome.
    """
    evaluation, p = generation.evaluation, len(generation.z)
    z = check_shape("generation.z", np.asarray(generation.z, "<f8"), (p, run.space.size))
    fitness = np.asarray(evaluation.fitness, "<f8")
    check_shape("evaluation.fitness", fitness, (p,) if fitness.ndim == 1 else (p, None))
    metrics = np.empty((p, len(evaluation.metrics)), "<f8")
    for k, (name, values) in enumerate(evaluation.metrics.items()):
        metrics[:, k] = check_shape(f"evaluation.metrics[{name!r}]", values, (p,))
    errors = evaluation.errors or ("",) * p
    columns = {
        "individual": list(range(p)),
        "seed": check_shape("generation.seeds", generation.seeds, (p,)).tolist(),
        "fitness": _replace_nan(np.where(evaluation.failed, np.nan, evaluation.score)),
        "seconds": _replace_nan(check_shape("generation.seconds", generation.seconds, (p,))),
        "worker": [storable(worker) for worker in generation.workers],
        "error": [storable(error) for error in errors],
        "objectives": [row.tobytes() for row in fitness] if fitness.ndim == 2 else [None] * p,
        "metrics": [row.tobytes() for row in metrics],
        "z": [row.tobytes() if keep else b"" for row, keep in zip(z, with_z, strict=True)],
    }
    key = {"run_id": run.id, "generation": generation.number}
    return [{**key, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]


def stored_individual(row: Row, genome: Callable[[], np.ndarray]) -> Individual:
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


def _replace_nan(values: np.ndarray) -> list[float | None]:
    return [None if x != x else x for x in np.asarray(values, np.float64).tolist()]
