"""The state of an optimizer before its first generation: random, or begun as the job's `start` says."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from l2l_snn.loop.job import Experiment, Job, change, read_stored
from l2l_snn.loop.job_file import JobError
from l2l_snn.loop.restarts import Restarting
from l2l_snn.loop.start import Start, encode_individuals
from l2l_snn.optimizer import Optimizer
from l2l_snn.space import Space
from l2l_snn.storage.records import StoredRun
from l2l_snn.storage.store import Store


def branched(store: Store, name: str, settings: Sequence[str], *, trust: bool = False) -> Experiment:
    """Return the job of a new run that goes on where a stored one's optimizer stands, with settings changed.

    The arguments are those of `stored_job`.

    Raises:
        Untrusted: the run was imported, with code of others.
        JobError: a setting is wrong, or there is nothing to go on from.
        StoreError: there is no such run.
    """
    parent = read_stored(store.load(name), trust=trust)
    job, optimizee, optimizer = change(parent.model_copy(update={"start": Start(run=name, take="state")}), settings)
    return pinned(store, job), optimizee, optimizer


def pinned(store: Store, job: Job) -> Job:
    """Return the job with its start's generation and individual filled in, so that it stays what it is now.

    Raises:
        JobError: the run that it starts from has no such generation, or none at all.
        StoreError: there is no such run or individual.
    """
    start = job.start
    if start is None or start.run is None:
        return job
    parent = store.load(start.run)
    if not parent.generation:
        raise JobError(f"start.run: expected a run with a generation, got {start.run!r}, which has none")
    if start.take == "best":
        row = store.individual(start.run, start.generation, start.individual)
        filled = start.model_copy(update={"generation": row.generation, "individual": row.index})
    else:
        last = parent.generation - 1
        generation = last if start.generation is None else start.generation
        if generation > last or (start.take == "state" and generation < last):
            kept = "" if start.take == "generation" else "; of a run only the last state is kept"
            raise JobError(f"start.generation: expected {last}, the last of {start.run!r}, got {generation}{kept}")
        filled = start.model_copy(update={"generation": generation})
    return job.model_copy(update={"start": filled})


def first_state(store: Store, job: Job, optimizer: Optimizer, space: Space) -> Any:
    """Return the optimizer's first state for a job.

    Raises:
        JobError: the run that it starts from isn't there any more, or has another space.
        ValueError: the optimizer takes no start, or not so many individuals.
    """
    state, start = optimizer.init(space, job.seed), job.start
    if start is None:
        return state
    if start.individuals is not None:
        return optimizer.started(space, state, encode_individuals(space, start.individuals))
    assert start.run is not None  # the job was checked
    parent = store.load(start.run)
    if start.take == "state":
        return _take_state(store, parent, start, optimizer, space, state)
    z = _read_individuals(store, parent, start, space)
    if start.take == "generation":
        alone = optimizer.optimizer if isinstance(optimizer, Restarting) else optimizer
        z = z[: alone.individuals(space.size)]
    return optimizer.started(space, state, z)


def _take_state(
    store: Store, parent: StoredRun, start: Start, optimizer: Optimizer, space: Space, template: Any
) -> Any:
    """Return the state that another run's optimizer has, for this one to go on with."""
    if parent.space != space:
        raise JobError(
            f"start.run: expected a run in the same search space, got {parent.name!r}; take: best or generation"
        )
    if start.generation is not None and parent.generation != start.generation + 1:
        got = f"{parent.name!r} has gone on to generation {parent.generation - 1} since"
        raise JobError(f"start.generation: expected the last, got {start.generation}; {got}: begin anew from there")
    return optimizer.resized(space, store.optimizer_state(parent.name, template))


def _read_individuals(store: Store, parent: StoredRun, start: Start, space: Space) -> np.ndarray:
    """Return the z (K, D) of a run's individuals that didn't fail, best first, in this space."""
    first = store.individual(parent.name, start.generation, start.individual)
    rows = [first]
    if start.take == "generation":
        every = [store.individual(parent.name, first.generation, index) for index in range(first.population)]
        scores = np.array([np.reshape(row.fitness, -1)[0] for row in every])
        rows = [every[i] for i in np.argsort(-scores, kind="stable") if not np.isnan(scores[i])]
    if parent.space == space:
        return np.stack([row.z for row in rows])
    try:
        return encode_individuals(space, [parent.space.decode(row.z) for row in rows])
    except ValueError as error:
        raise JobError(f"start.run: {parent.name!r} has another search space: {error}") from error
