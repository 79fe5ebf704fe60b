"""What an optimizer recommends in the end, judged anew: the best of a run with noisy fitness is partly luck.

Legend: D search coordinates, N evaluations.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2l_snn.evaluation import Evaluation, in_line
from l2l_snn.loop.job import Experiment, stored_job
from l2l_snn.loop.replay import draw_evaluation, explain_missing
from l2l_snn.loop.schedules import scheduled
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.seeding import evaluation_seeds
from l2l_snn.storage.records import StoredRun
from l2l_snn.storage.store import Store
from l2l_snn.validate import check_count
from l2l_snn.workers.chunks import evaluate_alone
from l2l_snn.workers.in_process import Inline

FRESH = 2**31  # the number of a generation that no run has: its seeds are nobody's


@dataclass(frozen=True)
class Recommended:
    """The individual to use if the run ended now, and how it does with seeds that the run never had."""

    run: StoredRun
    optimizee: BatchOptimizee
    z: np.ndarray  # (D,)
    seeds: np.ndarray  # (N,)
    evaluation: Evaluation  # P = N

    @property
    def params(self) -> dict[str, Any]:
        """Its parameters, decoded, in the units of the space."""
        return self.run.space.decode(self.z)

    def report(self) -> str:
        """Return mean, spread and extremes of its fitness, means of metrics, and the first failure, in lines."""
        evaluation, N = self.evaluation, len(self.seeds)
        lines = [f"{self.run.name}: recommended after {self.run.generation} generations, {N} new seeds"]
        good = ~evaluation.failed
        for k, column in enumerate(evaluation.fitness.reshape(N, -1)[good].T if good.any() else ()):
            name = "fitness" if evaluation.fitness.ndim == 1 else f"fitness {k}"
            spread = f", standard deviation {column.std(ddof=1):.6g}" if len(column) > 1 else ""
            lines.append(f"{name}: mean {column.mean():.6g}{spread}, from {column.min():.6g} to {column.max():.6g}")
        if good.any():
            lines += [f"{name}: mean {values[good].mean():.6g}" for name, values in evaluation.metrics.items()]
        if not good.all():
            first = next(text for text in evaluation.errors if text)
            lines.append(f"{N - good.sum()} of {N} evaluations failed; the first: {in_line(first)}")
        return "\n".join(lines)

    def draw(self, folder: Path, *, video: bool = False) -> tuple[list[Path], list[str]]:
        """Return the pictures of its first evaluation, drawn into a folder, and why some are missing, in lines."""
        shown = evaluate_alone(self.optimizee, self.z[None], self.seeds[:1], 0, with_artifacts=True)
        files = draw_evaluation(self.optimizee, self.params, shown, folder, video=video)
        return files, explain_missing(self.optimizee, shown, files, video)


def judge_recommended(
    store: Store,
    name: str,
    evaluations: int = 20,
    settings: Sequence[str] = (),
    *,
    experiment: Experiment | None = None,
    trust: bool = False,
) -> Recommended:
    """Return what the optimizer of a stored run recommends, evaluated in this process.

    Args:
        store: the store.
        name: the run.
        evaluations: N, each with another seed, the same ones at each call.
        settings: "key=value" each, what to change in the job, e.g. how an agent chooses its actions.
        experiment: job, optimizee and optimizer, where they are at hand.
        trust: import an imported run's own code too, see `stored_job`.

    Raises:
        ValueError: N is below 1.
        StoreError: there is no such run, or nothing of it is committed yet.
        JobError: the job can't be built.
    """
    check_count("evaluations", evaluations)
    job, optimizee, optimizer = experiment or stored_job(store, name, settings, trust=trust)
    run = store.load(name)
    state = store.optimizer_state(name, optimizer.init(run.space, job.seed))
    z = np.asarray(optimizer.recommend(run.space, state), np.float64)
    optimizee = scheduled(optimizee, job.schedules, max(run.generation - 1, 0))
    seeds = evaluation_seeds(job.seed, FRESH, evaluations)
    done = Inline(optimizee, chunk=job.chunk).evaluate(np.repeat(z[None], evaluations, axis=0), seeds)
    return Recommended(run, optimizee, z, seeds, done.evaluation)
