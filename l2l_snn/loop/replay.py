"""Stored evaluations repeated: is the fitness the same, and what does it look like?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.loop.job import Job, stored_job
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.storage.records import Individual, StoredRun
from l2l_snn.storage.store import Store
from l2l_snn.workers.chunks import evaluate_alone


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
            f"fitness stored   {np.asarray(row.fitness).tolist()}",
            f"fitness repeated {np.asarray(evaluation.fitness[0]).tolist()}: {verdict}",
            *(f"{key}: {value[0]:.6g}" for key, value in evaluation.metrics.items()),
        ]
        if evaluation.errors[0] or row.error:
            lines += [f"error stored   {row.error or 'none'}", f"error repeated {evaluation.errors[0] or 'none'}"]
        return "\n".join(lines)

    def draw(self, results: Path, *, video: bool = False) -> list[Path]:
        """Return the pictures of the evaluation, drawn into results/RUN/gG_iI; none if it failed."""
        if self.evaluation.failed[0]:
            return []
        folder = results / self.run.name / f"g{self.row.generation}_i{self.row.index}"
        folder.mkdir(parents=True, exist_ok=True)
        files = self.optimizee.draw(self.run.space.decode(self.row.z), self.evaluation, folder, video=video)
        if not any(folder.iterdir()):
            folder.rmdir()
        return files


def replay(
    store: Store, name: str, settings: Sequence[str] = (), generation: int | None = None, index: int | None = None
) -> Replay:
    """Return a stored evaluation, repeated in this process.

    Args:
        store: the store.
        name: the run.
        settings: "key=value" each, what to change in the job.
        generation: which generation; that of the best individual by default.
        index: which individual; the best by default.

    Raises:
        StoreError: there is none.
        JobError: the job can't be built.
    """
    job, optimizee, _ = stored_job(store, name, settings)
    row, evaluation = repeat(store, name, job, optimizee, generation, index)
    same = np.array_equal(evaluation.fitness[0], row.fitness, equal_nan=True)
    return Replay(store.load(name), optimizee, row, evaluation, same)


def repeat(
    store: Store,
    name: str,
    job: Job,
    optimizee: BatchOptimizee,
    generation: int | None = None,
    index: int | None = None,
) -> tuple[Individual, Evaluation]:
    """Repeat one stored evaluation in this process, bit for bit, with artifacts.

    Args:
        store: the store.
        name: the run.
        job: the run's job.
        optimizee: built from the job.
        generation: which generation; that of the best individual by default.
        index: which individual; the best by default.

    Returns:
        The individual as stored, and its evaluation repeated, P = 1.
    """
    row = store.individual(name, generation, index)
    start = row.index - row.index % job.chunk
    size = min(job.chunk, row.population - start)  # of the chunk that it was evaluated in
    z, seeds = np.repeat(row.z[None], size, axis=0), np.repeat(row.seed, size)
    return row, evaluate_alone(optimizee, z, seeds, row.index - start, with_artifacts=True)


def retrace(store: Store, name: str, job: Job, optimizer: Optimizer) -> Iterator[Any]:
    """Yield the optimizer's state after each chunk of a run without generations, told again in the recorded order.

    Raises:
        ValueError: an ask gives another z than the stored one.
    """
    stored = store.load(name)
    state = optimizer.init(stored.space, job.seed)
    asked: dict[int, np.ndarray] = {}
    count = 0
    for generation in range(stored.generation):
        population = store.individual(name, generation, 0).population
        for start in range(0, population, job.chunk):
            rows = [store.individual(name, generation, index) for index in range(start, start + job.chunk)]
            while count < rows[0].metrics["asks"]:
                z, state = optimizer.ask(stored.space, state)
                for one in z:
                    asked[count] = one
                    count += 1
            for row in rows:
                number = int(row.metrics["ask"])
                if asked.pop(number).tobytes() != row.z.tobytes():
                    todo = "was the code changed?"
                    raise ValueError(f"run {name!r}: ask {number} gives another z than the stored one; {todo}")
            names = [key for key in rows[0].metrics if key not in ("ask", "asks")]
            metrics = {key: np.array([row.metrics[key] for row in rows]) for key in names}
            fitness = np.array([row.fitness for row in rows])
            evaluation = Evaluation(fitness, metrics, errors=tuple(row.error for row in rows))
            state = optimizer.tell(stored.space, state, np.stack([row.z for row in rows]), evaluation)
            yield state
