"""The outer loop: ask, evaluate, tell, commit. Resuming is the same function."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from l2l_snn.evaluation import Evaluation, WorkerStatus
from l2l_snn.loop.asynchronous import Loop, first_state
from l2l_snn.loop.job import Job
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.seeding import evaluation_seeds
from l2l_snn.storage.driver import drive
from l2l_snn.storage.records import Generation, Individual, StoredRun
from l2l_snn.storage.store import Store
from l2l_snn.workers.base import EvaluatorError
from l2l_snn.workers.chunks import evaluate_alone
from l2l_snn.workers.evaluator import Evaluator, Watch


class _StopRequested(Exception):
    """Somebody asked through the store for the run to stop."""


@dataclass(frozen=True)
class Progress:
    """What the loop tells after each committed generation."""

    generation: int  # its number, from 0
    generations: int  # how many there will be at most
    evaluations: int  # of the whole run
    failed: int  # of this generation
    best: float  # best score of the run so far; nan if there is none
    mean: float  # mean score of this generation; nan if all failed
    evaluations_per_s: float  # of this generation
    seconds_left: float  # if all generations run


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
        job: its job, perhaps with other stopping rules than when it was created.
        optimizer: built from the job.
        evaluator: holds the optimizee that was built from the job.
        tell: called after each generation.
        take_over: take the run from another driver that is certainly dead.

    Returns:
        The run as stored. Its state is finished, or stopped (Ctrl-C, or a stop asked for through the store), or
        failed (too many individuals failed).

    Raises:
        StoreError: the store can't be written, or another driver has the run; what is stored stays.
        EvaluatorError: there are no workers.
    """
    space = evaluator.optimizee.space
    began = time.perf_counter()
    with drive(store, name, take_over=take_over) as driver:
        stored = driver.run
        state = first_state(optimizer, space, job.seed) if job.asynchronous else optimizer.init(space, job.seed)
        if stored.generation:
            state = store.optimizer_state(name, state)
        loop = Loop(job, optimizer, evaluator, state) if job.asynchronous else None
        best, improved = -np.inf, 0
        if stored.best is not None:
            best, improved = stored.best, store.individual(name).generation
        number, evaluations = stored.generation, stored.evaluations
        took: np.ndarray | None = None  # (P,) s, the last generation's

        def report(workers: tuple[WorkerStatus, ...]) -> None:
            if driver.report(workers):
                raise _StopRequested

        def seconds() -> float:
            return stored.seconds + time.perf_counter() - began

        ended, message = "finished", ""
        try:
            while not (message := _reason(job, number, evaluations, best, improved, seconds())):
                if loop is not None:
                    generation = loop.generation(number, report)
                    state = loop.state
                else:
                    generation, state = _generation(job, optimizer, evaluator, number, state, took, report)
                    took = generation.seconds
                driver.commit(generation, state)
                z, evaluation, elapsed = generation.z, generation.evaluation, generation.elapsed
                scores = evaluation.score[~evaluation.failed]
                if scores.size and scores.max() > best:
                    best, improved = float(scores.max()), number
                number, evaluations = number + 1, evaluations + len(z)
                failed = len(z) - scores.size
                per_generation = (time.perf_counter() - began) / (number - stored.generation)
                tell(
                    Progress(
                        number - 1,
                        job.generations,
                        evaluations,
                        failed,
                        best if np.isfinite(best) else np.nan,
                        float(scores.mean()) if scores.size else np.nan,
                        len(z) / elapsed,
                        per_generation * (job.generations - number),
                    )
                )
                if failed > job.max_failed * len(z):
                    first = next(text for text in evaluation.errors if text)
                    ended, message = "failed", f"{failed} of {len(z)} individuals failed; the first: {first}"
                    break
        except KeyboardInterrupt:
            ended, message = "stopped", "interrupted"
        except _StopRequested:
            ended, message = "stopped", "stop requested"
        except EvaluatorError as error:
            driver.finish("failed", str(error))
            raise
        finally:
            evaluator.forget()
        driver.finish(ended, message)
    return store.load(name)


def _generation(
    job: Job, optimizer: Optimizer, evaluator: Evaluator, number: int, state: Any, took: np.ndarray | None, watch: Watch
) -> tuple[Generation, Any]:
    """Ask for a generation, evaluate it, and tell it; `took` are the seconds of the one before."""
    began = time.perf_counter()
    space = evaluator.optimizee.space
    z, state = optimizer.ask(space, state)
    seeds = evaluation_seeds(job.seed, number, len(z), job.seeds)
    expected = took if took is not None and len(took) == len(z) else None  # the same place takes about as long again
    done = evaluator.evaluate(
        z, seeds, generation=number, watch=watch, with_grad=optimizer.needs_grad, expected=expected
    )
    state = optimizer.tell(space, state, z, done.evaluation)
    elapsed = time.perf_counter() - began
    return Generation(number, z, seeds, done.evaluation, done.seconds, done.workers, elapsed), state


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


def _reason(job: Job, generation: int, evaluations: int, best: float, improved: int, seconds: float) -> str:
    """Return which stopping rule holds, in words; "" if none."""
    stop = job.stop
    if stop.fitness is not None and best >= stop.fitness:
        return f"fitness {best:.6g} reached {stop.fitness:g}"
    if generation >= job.generations:
        return f"{job.generations} generations done"
    if stop.stagnation is not None and generation - 1 - improved >= stop.stagnation:
        return f"no better individual in {stop.stagnation} generations"
    if stop.evaluations is not None and evaluations >= stop.evaluations:
        return f"{evaluations} evaluations done"
    if stop.hours is not None and seconds >= stop.hours * 3600:
        return f"{stop.hours:g} hours over"
    return ""
