"""What became of individuals that were evaluated, and who evaluates them.

Legend: P individuals, D search coordinates, M objectives.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True)
class Evaluation:
    """What became of P individuals. Larger fitness is better; nan means failed."""

    fitness: np.ndarray  # (P,) or (P, M)
    metrics: dict[str, np.ndarray] = field(default_factory=dict)  # (P,) each: columns `metric.<name>`
    artifacts: dict[str, np.ndarray] = field(default_factory=dict)  # (P, ...) rasters, trajectories; only when asked
    grad: np.ndarray | None = None  # (P, D) d fitness / d z, only when asked
    errors: tuple[str, ...] = ()  # (P,) "" or what went wrong

    @property
    def failed(self) -> np.ndarray:
        """(P,) bool: which individuals have no usable fitness."""
        return np.asarray(np.isnan(self.fitness).reshape(len(self.fitness), -1).any(axis=1))

    @property
    def score(self) -> np.ndarray:
        """(P,) what `best`, `mean` and the stopping rules read: the fitness, or the first objective."""
        return self.fitness if self.fitness.ndim == 1 else self.fitness[:, 0]

    def filled(self) -> "Evaluation":
        """Return a copy for arithmetic: failed fitness becomes the worst finite one (0 if none), failed grad 0."""
        columns = self.fitness.reshape(len(self.fitness), -1)
        ok = ~self.failed
        worst = columns[ok].min(axis=0) if ok.any() else np.zeros(columns.shape[1])
        fitness = np.where(ok[:, None], columns, worst).reshape(self.fitness.shape)
        grad = None if self.grad is None else np.where(ok[:, None] & np.isfinite(self.grad), self.grad, 0.0)
        return replace(self, fitness=fitness, grad=grad)

    def take(self, rows: Sequence[int] | slice) -> "Evaluation":
        """Return the evaluation of some of the individuals."""
        return Evaluation(
            self.fitness[rows],
            {name: value[rows] for name, value in self.metrics.items()},
            {name: value[rows] for name, value in self.artifacts.items()},
            None if self.grad is None else self.grad[rows],
            tuple(np.array(self.errors, object)[rows]) if self.errors else (),
        )

    @staticmethod
    def join(parts: Sequence["Evaluation"]) -> "Evaluation":
        """Return one evaluation of all the parts' individuals, in order.

        A metric or a gradient that a part lacks is nan there; artifacts that a part lacks are left out.
        """
        counts = [len(part.fitness) for part in parts]
        names = dict.fromkeys(name for part in parts for name in part.metrics)
        metrics = {
            name: np.concatenate([p.metrics.get(name, np.full(n, np.nan)) for p, n in zip(parts, counts, strict=True)])
            for name in names
        }
        width = next((part.grad.shape[1] for part in parts if part.grad is not None), 0)
        grads = [np.full((n, width), np.nan) if p.grad is None else p.grad for p, n in zip(parts, counts, strict=True)]
        shared = [name for name in parts[0].artifacts if all(name in part.artifacts for part in parts)]
        return Evaluation(
            np.concatenate([part.fitness for part in parts]),
            metrics,
            {name: np.concatenate([part.artifacts[name] for part in parts]) for name in shared},
            np.concatenate(grads) if width else None,
            tuple(text for p, n in zip(parts, counts, strict=True) for text in p.errors or ("",) * n),
        )


def failure(individuals: int, objectives: int, text: str) -> Evaluation:
    """Return the evaluation of individuals that all failed for one reason."""
    shape = (individuals,) if objectives == 1 else (individuals, objectives)
    return Evaluation(np.full(shape, np.nan), errors=(text or "failed without a text",) * individuals)


class WorkerStatus(NamedTuple):
    """What a worker of a run does now."""

    worker: str  # host:pid
    generation: int
    first: int  # the individuals that it evaluates, first to last; -1, -1: none
    last: int
    since: float  # s since 1970
