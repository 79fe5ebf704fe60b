"""One stored evaluation repeated: is its fitness the same, and what does it look like?"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from l2l_snn.loop.stored_job import stored_job

if TYPE_CHECKING:
    from l2l_snn.evaluation import Evaluation
    from l2l_snn.optimizee import Optimizee
    from l2l_snn.storage.store import Individual, Store, StoredRun


@dataclass(frozen=True)
class Replay:
    """An individual as stored, and its evaluation repeated."""

    run: "StoredRun"
    optimizee: "Optimizee"
    row: "Individual"
    evaluation: "Evaluation"  # P = 1
    same: bool  # whether the fitness is that which is stored, bit for bit

    def report(self) -> str:
        """Return the fitness beside the stored one, metrics and errors, in lines."""
        row, evaluation = self.row, self.evaluation
        lines = [
            f"{self.run.name}, generation {row.generation}, individual {row.index}, seed {row.seed}",
            f"fitness stored   {_listed(row.fitness)}",
            f"fitness repeated {_listed(evaluation.fitness[0])}: {'the same' if self.same else 'NOT the same'}",
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
        return self.optimizee.draw(self.run.space.decode(self.row.z), self.evaluation, folder, video=video)


def replay(
    store: "Store", name: str, settings: list[str], generation: int | None = None, index: int | None = None
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
    import numpy as np

    from l2l_snn.loop.run import repeat

    job, run = stored_job(store, name, settings)
    optimizee, _ = job.build()
    row, evaluation = repeat(store, name, job, optimizee, generation, index)
    same = np.array_equal(evaluation.fitness[0], row.fitness, equal_nan=True)
    return Replay(run, optimizee, row, evaluation, same)


def _listed(fitness) -> object:
    """Return a fitness, or those of several objectives, as Python's own numbers."""
    import numpy as np

    return np.asarray(fitness).tolist()
