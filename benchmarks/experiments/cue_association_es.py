"""Gradient beside evolution on cue association, from stored runs: docs/results/cue_association.md.

    l2l run jobs/cue_association_es.yaml --inline
    l2l run jobs/cue_association_adam.yaml --inline --set optimizee.rule=decay --set "stop={}" --set generations=150
    .venv/bin/python benchmarks/experiments/cue_association_es.py

One row a run: after how many evaluations (of 64 trials each) the mean fitness of a generation, that of the network
itself by gradient, of networks around it by evolution, first is 0.5 and 0.9; and the mean reward, in 640 trials that
no evaluation had, of the network that the optimizer recommends in the end.
"""

import argparse

import numpy as np

from l2l_snn.loop.job import stored_job
from l2l_snn.results import tables
from l2l_snn.storage import DEFAULT_STORE
from l2l_snn.storage.store import Store
from optimizees.cue_association import CueAssociation

TEST_SEED = 2**31 - 1
LEVELS = (0.5, 0.9)


def row(store: Store, name: str) -> str | None:
    """Return the row of a run; None if it is one of another optimizee."""
    job, optimizee, optimizer = stored_job(store, name)
    stored = store.load(name)
    if not isinstance(optimizee, CueAssociation) or not stored.generation:
        return None
    done = tables.generations(store, name)
    told = done["evaluations"].cumsum().to_numpy()
    reached = done["mean"].to_numpy()
    first = [str(told[reached >= level][0]) if (reached >= level).any() else "never" for level in LEVELS]
    state = store.optimizer_state(name, optimizer.init(optimizee.space, job.seed))
    z = np.asarray(optimizer.recommend(optimizee.space, state))
    test = optimizee.evaluate_batch(np.repeat(z[None], 10, axis=0), TEST_SEED - np.arange(10))
    cells = [type(optimizer).__name__, optimizee.rule, optimizee.noise, str(job.seed), str(stored.evaluations), *first]
    cells += [f"{test.fitness.mean():.3f}", f"{test.metrics['accuracy'].mean():.3f}", f"{done['seconds'].sum():.0f}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default=DEFAULT_STORE)
    arguments = parser.parse_args()
    columns = ["optimizer", "rule", "noise", "seed", "evaluations", *(f"to {level}" for level in LEVELS)]
    columns += ["reward, 640 new trials", "accuracy", "s"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    with Store(arguments.store, create=False) as store:
        for stored in store.runs():
            line = row(store, stored.name)
            if line:
                print(line, flush=True)


if __name__ == "__main__":
    main()
