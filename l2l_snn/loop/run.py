"""The outer loop: ask, evaluate, tell, commit. Resuming is the same function."""

import time
from collections.abc import Callable

import numpy as np

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.loop.asynchronous import Asynchronous
from l2l_snn.loop.first_state import first_state
from l2l_snn.loop.generations import Generations
from l2l_snn.loop.job import STOPPING, Job
from l2l_snn.loop.progress import Progress
from l2l_snn.loop.tally import Tally, failure_reason, stop_reason
from l2l_snn.optimizer import Optimizer
from l2l_snn.storage.driver import Driver, drive
from l2l_snn.storage.records import RunState, StoredRun
from l2l_snn.storage.store import Store
from l2l_snn.workers.base import EvaluatorError
from l2l_snn.workers.evaluator import Evaluator, Watch


class StopRequested(Exception):
    """Somebody asks for the run to stop: through the store, or what is told of a generation raises it."""


def run(
    store: Store,
    name: str,
    job: Job,
    optimizer: Optimizer,
    evaluator: Evaluator,
    *,
    tell: Callable[[Progress], None] = lambda progress: None,
    take_over: bool = False,
) -> StoredRun:
    """Run a stored run until a stopping rule of its job holds, from wherever it stands.

    Each generation is committed whole, with the optimizer's state; a run that was killed goes on after the last one.

    Args:
        store: the store that has the run.
        name: the run.
        job: its job, perhaps with other stopping rules than when it was created; they are stored.
        optimizer: built from the job.
        evaluator: holds the optimizee that was built from the job.
        tell: called after each generation; `StopRequested` ends the run there.
        take_over: take the run from another driver that is certainly dead.

    Returns:
        The run as stored. Its state is finished, or stopped (Ctrl-C, or a stop asked for through the store), or
        failed (too many individuals failed).

    Raises:
        StoreError: the store can't be written, or another driver has the run; what is stored stays.
        EvaluatorError: there are no workers.
    """
    with drive(store, name, take_over=take_over) as driver:

        def watch(workers: tuple[WorkerStatus, ...]) -> None:
            if driver.report(workers):
                raise StopRequested

        kind = Asynchronous if job.asynchronous else Generations
        driver.remember({key: job.model_dump(mode="json")[key] for key in STOPPING})
        space = evaluator.optimizee.space
        if driver.run.generation:
            template = kind.first_state(optimizer.init(space, job.seed), space)
            state = store.optimizer_state(name, template)
        else:
            state = kind.first_state(first_state(store, job, optimizer, space), space)
        loop = kind(job, optimizer, evaluator, state, watch)
        try:
            ended = _run_until_stop(driver, job, loop, _tally_so_far(store, driver.run), tell, evaluator, watch)
        except EvaluatorError as error:
            driver.finish("failed", str(error))
            raise
        finally:
            evaluator.forget()
        driver.finish(*ended)
    return store.load(name)


def _run_until_stop(
    driver: Driver,
    job: Job,
    loop: Generations | Asynchronous,
    tally: Tally,
    tell: Callable[[Progress], None],
    evaluator: Evaluator,
    watch: Watch,
) -> tuple[RunState, str]:
    """Commit one generation after another; return how the run ended, and why."""
    pace = Pace()
    try:
        if not stop_reason(job, tally, driver.total_seconds()):
            _get_workers(driver, evaluator, watch)
        while not (reason := stop_reason(job, tally, driver.total_seconds())):
            generation = loop.next(tally.number)
            driver.commit(generation, loop.state)
            tally = tally.after(generation)
            tell(Progress.after(job, tally, generation, pace.after_one()))
            if failures := failure_reason(job, generation):
                return "failed", failures
        return "finished", reason
    except KeyboardInterrupt:
        return "stopped", "interrupted"
    except StopRequested:
        return "stopped", "stop requested"


def _get_workers(driver: Driver, evaluator: Evaluator, watch: Watch) -> None:
    """Wait for the first worker, apart from the evaluations, so that no time of them holds that of the start."""
    if evaluator.ready:
        return
    driver.note("starting the workers")  # for the page
    evaluator.open(watch)
    driver.note("")


class Pace:
    """How long a generation takes, without a driver's first one, in which workers load and compile."""

    def __init__(self):
        self._done, self._first_at = 0, 0.0

    def after_one(self) -> float:
        """Return the s of a generation, now that one more is done; nan after the first."""
        self._done += 1
        now = time.perf_counter()
        if self._done == 1:
            self._first_at = now
            return np.nan
        return (now - self._first_at) / (self._done - 1)


def _tally_so_far(store: Store, stored: StoredRun) -> Tally:
    """Return what a stored run has reached."""
    best, improved = (-np.inf, 0) if stored.best is None else (stored.best, store.individual(stored.name).generation)
    return Tally(stored.generation, stored.evaluations, best, improved)
