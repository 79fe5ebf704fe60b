"""The outer loop with generations: ask for all individuals of one, evaluate them, tell them.

Legend: P individuals.
"""

import time
from typing import Any

import numpy as np

from l2l_snn.loop.job import Job
from l2l_snn.loop.schedules import scheduled
from l2l_snn.optimizer import Optimizer
from l2l_snn.seeding import evaluation_seeds
from l2l_snn.space import Space
from l2l_snn.storage.records import Generation
from l2l_snn.workers.evaluator import Evaluator, Watch


class Generations:
    """The generations of a run, one after the other; `state` is the optimizer's after the last one.

    Args:
        job: the run's job.
        optimizer: built from it.
        evaluator: holds the optimizee.
        state: `first_state`, or what was stored after the last generation.
        watch: called while a generation is evaluated.
    """

    def __init__(self, job: Job, optimizer: Optimizer, evaluator: Evaluator, state: Any, watch: Watch):
        self.state = state
        self._job, self._optimizer, self._evaluator, self._watch = job, optimizer, evaluator, watch
        self._schedules, self._base = job.schedules, evaluator.optimizee
        self._took: np.ndarray | None = None  # (P,) s of the last generation

    @staticmethod
    def first_state(state: Any, space: Space) -> Any:
        """Return the state before anything was asked, of the optimizer's first one."""
        return state

    def next(self, number: int) -> Generation:
        """Return the next generation, evaluated and told.

        Raises:
            EvaluatorError: there are no workers.
        """
        began = time.perf_counter()
        if self._schedules:
            self._evaluator.hold(scheduled(self._base, self._schedules, number))
        space, took = self._base.space, self._took
        z, state = self._optimizer.ask(space, self.state)
        seeds = evaluation_seeds(self._job.seed, number, len(z), self._job.seeds)
        done = self._evaluator.evaluate(
            z,
            seeds,
            generation=number,
            watch=self._watch,
            with_grad=self._optimizer.needs_grad,
            with_experience=self._optimizer.needs_experience,
            expected=took if took is not None and len(took) == len(z) else None,  # a place takes about as long again
        )
        self.state = self._optimizer.tell(space, state, z, done.evaluation)
        self._took = done.seconds
        elapsed = time.perf_counter() - began
        return Generation(number, z, seeds, done.evaluation, done.seconds, done.workers, elapsed)
