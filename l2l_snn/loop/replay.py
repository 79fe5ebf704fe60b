"""Stored evaluations repeated: is the fitness the same, and what does it look like?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2l_snn.evaluation import Evaluation, in_line
from l2l_snn.loop.job import Job, stored_job
from l2l_snn.loop.schedules import scheduled
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.storage.records import Individual, StoredRun
from l2l_snn.storage.store import Store
from l2l_snn.validate import message
from l2l_snn.workers.chunks import evaluate_alone
from l2l_snn.workers.debugging import FailedIndividual, failure_of

FILMS = (".gif", ".mp4", ".webm", ".avi", ".apng")


@dataclass(frozen=True)
class Replay:
    """An individual as stored, and its evaluation repeated."""

    run: StoredRun
    optimizee: BatchOptimizee
    row: Individual
    evaluation: Evaluation  # P = 1
    same: bool  # whether the fitness is that which is stored, bit for bit

    def report(self) -> str:
        """Return the fitness beside the stored one, metrics and errors, in lines."""
        row, evaluation = self.row, self.evaluation
        verdict = "the same" if self.same else "NOT the same"
        lines = [
            f"{self.run.name}, generation {row.generation}, individual {row.index}, seed {row.seed}",
            f"fitness stored   {(np.asarray(row.fitness) + 0.0).tolist()}",  # no zero with a sign
            f"fitness repeated {(np.asarray(evaluation.fitness[0]) + 0.0).tolist()}: {verdict}",
            *(f"{key}: {value[0] + 0.0:.6g}" for key, value in evaluation.metrics.items()),
        ]
        if repeated := (evaluation.errors[0] or row.error):
            texts = [in_line(text) or "none" for text in (row.error, evaluation.errors[0])]
            lines += [f"error stored   {texts[0]}", f"error repeated {texts[1]}", *repeated.splitlines()[1:]]
        return "\n".join(lines)

    @property
    def subfolder(self) -> Path:
        """RUN/gG_iI, where its pictures go in the folder of all pictures."""
        return Path(self.run.name) / f"g{self.row.generation}_i{self.row.index}"

    def draw(self, folder: Path, *, video: bool = False) -> list[Path]:
        """Return the pictures of the evaluation, drawn into a folder, which is made; none if it failed."""
        return draw_evaluation(self.optimizee, self.run.space.decode(self.row.z), self.evaluation, folder, video=video)

    def missing(self, files: Sequence[Path], video: bool) -> list[str]:
        """Return why there is no picture, or no film where one was asked for, in lines."""
        return explain_missing(self.optimizee, self.evaluation, files, video)


def draw_evaluation(
    optimizee: BatchOptimizee, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False
) -> list[Path]:
    """Return the pictures of one evaluation, P = 1, drawn into a folder, which is made if there are any."""
    if evaluation.failed[0]:
        return []
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    files = optimizee.draw(params, evaluation, folder, video=video)
    if made and not any(folder.iterdir()):
        folder.rmdir()
    return files


def explain_missing(optimizee: BatchOptimizee, evaluation: Evaluation, files: Sequence[Path], video: bool) -> list[str]:
    """Return why there is no picture, or no film where one was asked for, in lines."""
    if evaluation.failed[0]:
        return ["no pictures: the evaluation failed"]
    name = type(optimizee).__name__
    if video and not any(file.suffix in FILMS for file in files):
        return [f"no film: {name} makes none"]
    return [] if files else [f"no pictures: {name} draws none"]


def replay(
    store: Store,
    name: str,
    settings: Sequence[str] = (),
    generation: int | None = None,
    index: int | None = None,
    *,
    trust: bool = False,
    begin: Callable[[], object] | None = None,
) -> Replay:
    """Return a stored evaluation, repeated in this process.

    Args:
        store: the store.
        name: the run.
        settings: "key=value" each, what to change in the job.
        generation: which generation; that of the best individual by default.
        index: which individual; the best by default.
        trust: import an imported run's own code too, see `stored_job`.
        begin: see `repeat`.

    Raises:
        StoreError: there is none.
        JobError: the job can't be built.
    """
    job, optimizee, _ = stored_job(store, name, settings, trust=trust)
    return replay_individual(store, name, job, optimizee, generation, index, begin)


def replay_individual(
    store: Store,
    name: str,
    job: Job,
    optimizee: BatchOptimizee,
    generation: int | None = None,
    index: int | None = None,
    begin: Callable[[], object] | None = None,
) -> Replay:
    """Return a stored evaluation, repeated in this process; the arguments are those of `repeat`."""
    row, evaluation = repeat(store, name, job, optimizee, generation, index, begin)
    same = np.array_equal(evaluation.fitness[0], row.fitness, equal_nan=True)
    return Replay(store.load(name), optimizee, row, evaluation, same)


def repeat(
    store: Store,
    name: str,
    job: Job,
    optimizee: BatchOptimizee,
    generation: int | None = None,
    index: int | None = None,
    begin: Callable[[], object] | None = None,
) -> tuple[Individual, Evaluation]:
    """Repeat one stored evaluation in this process, bit for bit, with artifacts.

    Args:
        store: the store.
        name: the run.
        job: the run's job.
        optimizee: built from the job.
        generation: which generation; that of the best individual by default.
        index: which individual; the best by default.
        begin: called when the individual and its genome are found, before it is evaluated.

    Returns:
        The individual as stored, and its evaluation repeated, P = 1.
    """
    row = store.individual(name, generation, index)
    optimizee = scheduled(optimizee, job.schedules, row.generation)
    chunk = _fill_chunk(row, job)  # a genome that was not kept is missed here
    if begin is not None:
        begin()
    return row, evaluate_alone(optimizee, *chunk, with_artifacts=True)


def _fill_chunk(row: Individual, job: Job) -> tuple[np.ndarray, np.ndarray, int]:
    """Return z (K, D) and seeds (K,) of a chunk like the one an individual was evaluated in, and its place."""
    start = row.index - row.index % job.chunk
    size = min(job.chunk, row.population - start)
    return np.repeat(row.z[None], size, axis=0), np.repeat(row.seed, size), row.index - start


def debug_individual(
    store: Store,
    name: str,
    settings: Sequence[str] = (),
    generation: int | None = None,
    index: int | None = None,
    *,
    trust: bool = False,
) -> FailedIndividual | None:
    """Return why a stored individual fails when it is evaluated again in this process, None if it doesn't.

    The arguments and errors are those of `replay`; without a generation it is the run's first individual that failed.
    """
    job, optimizee, _ = stored_job(store, name, settings, trust=trust)
    if generation is None:
        generation, index = _find_failure(store, name)
    row = store.individual(name, generation, index)
    optimizee = scheduled(optimizee, job.schedules, row.generation)
    return failure_of(optimizee, *_fill_chunk(row, job), row.index)


def _find_failure(store: Store, name: str) -> tuple[int, int]:
    """Return generation and number of the first individual of a run that failed.

    Raises:
        ValueError: none did.
    """
    for generation in range(store.load(name).generation):
        for index in range(store.individual(name, generation, 0).population):
            if store.individual(name, generation, index).error:
                return generation, index
    raise ValueError(message("--debug", "an individual that failed", f"none in {name!r}", "name another: -g 12 -i 3"))
