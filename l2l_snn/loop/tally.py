"""What a run has reached, and whether that is enough."""

from dataclasses import dataclass

import numpy as np

from l2l_snn.loop.job import Job
from l2l_snn.storage.records import Generation


@dataclass(frozen=True)
class Tally:
    """What a run has reached after some generations."""

    number: int  # generations done, so also the number of the next one
    evaluations: int
    best: float  # best score; -inf if there is none
    improved: int  # the generation that has it; 0 if there is none

    def after(self, generation: Generation) -> "Tally":
        """Return the tally with one more generation."""
        evaluation = generation.evaluation
        best = float(evaluation.score[~evaluation.failed].max(initial=-np.inf))
        better = best > self.best
        return Tally(
            generation.number + 1,
            self.evaluations + len(generation.z),
            best if better else self.best,
            generation.number if better else self.improved,
        )


def stop_reason(job: Job, tally: Tally, seconds: float) -> str:
    """Return which stopping rule holds, in words; "" if none.

    Args:
        job: the job.
        tally: what the run has reached.
        seconds: s that the run took until now, all its drivers together.
    """
    stop = job.stop
    if stop.fitness is not None and tally.best >= stop.fitness:
        return f"fitness {tally.best:.6g} reached {stop.fitness:g}"
    if tally.number >= job.generations:
        return f"{job.generations} generations done"
    if stop.stagnation is not None and tally.number - 1 - tally.improved >= stop.stagnation:
        return f"no better individual in {stop.stagnation} generations"
    if stop.evaluations is not None and tally.evaluations >= stop.evaluations:
        return f"{tally.evaluations} evaluations done"
    if stop.hours is not None and seconds >= stop.hours * 3600:
        return f"{stop.hours:g} hours over"
    return ""


def failure_reason(job: Job, generation: Generation) -> str:
    """Return that too many individuals of a generation failed, with the first text; "" if not."""
    evaluation, P = generation.evaluation, len(generation.z)
    failed = int(evaluation.failed.sum())
    if failed <= job.max_failed * P:
        return ""
    return f"{failed} of {P} individuals failed; the first: {next(text for text in evaluation.errors if text)}"
