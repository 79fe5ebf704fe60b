"""What a run has reached, and whether that is enough."""

from dataclasses import dataclass

import numpy as np

from l2l_snn.evaluation import describe_number, in_line
from l2l_snn.loop.job import Job
from l2l_snn.storage.records import Generation
from l2l_snn.validate import counted


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
        return f"fitness {describe_number(tally.best)} reached {describe_number(stop.fitness)}"
    if tally.number >= job.generations:
        return f"{counted(tally.number, 'generation')} done"
    if stop.stagnation is not None and tally.number - 1 - tally.improved >= stop.stagnation:
        return f"no better individual in {counted(stop.stagnation, 'generation')}"
    if stop.evaluations is not None and tally.evaluations >= stop.evaluations:
        return f"{counted(tally.evaluations, 'evaluation')} done"
    if stop.hours is not None and seconds >= stop.hours * 3600:
        return f"{stop.hours:g} hour{'' if stop.hours == 1 else 's'} over"
    return ""


def failure_reason(job: Job, generation: Generation) -> str:
    """Return that too many individuals of a generation failed, with the first text; "" if not."""
    evaluation, P = generation.evaluation, len(generation.z)
    failed = int(evaluation.failed.sum())
    if failed <= job.max_failed * P:
        return ""
    first = in_line(next(text for text in evaluation.errors if text))
    return f"{failed} of {counted(P, 'individual')} failed; the first: {first}"
