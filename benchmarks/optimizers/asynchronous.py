"""How busy 4 workers are when evaluations take heavy-tailed times, with generations and without.

    .venv/bin/python benchmarks/optimizers/asynchronous.py

An evaluation only waits, for a time drawn from a Pareto law (shape 1.5, mean 0.2 s, at most 4 s). Busy is the time that
workers spent in evaluations over all their time, from the first one that is asked for to the last one that is told.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l2l_snn import Optimizee, Real, Space
from l2l_snn.loop.job import Job
from l2l_snn.loop.run import run
from l2l_snn.results.tables import individuals
from l2l_snn.storage.store import Store
from l2l_snn.workers.ray_pool import RayPool

WORKERS, GENERATIONS, POPULATION = 4, 30, 32
SHAPE, MEAN, LONGEST = 1.5, 0.2, 4.0
SIDES = {
    "genetic algorithm, generations": ("optimizers.ga:GeneticAlgorithm", False),
    "steady-state genetic algorithm": ("optimizers.steady_state_ga:SteadyStateGA", True),
    "asynchronous ES": ("optimizers.asynchronous_es:AsynchronousES", True),
}


@dataclass(frozen=True)
class Waiting(Optimizee):
    """A sphere whose evaluation takes a time drawn with its seed."""

    space = Space(x=Real(-1, 1, shape=(4,)))

    def evaluate(self, params, seed):
        scale = MEAN * (SHAPE - 1) / SHAPE
        time.sleep(min(LONGEST, scale * (1 + np.random.default_rng(seed).pareto(SHAPE))))
        return -float(np.sum(params["x"] ** 2))


def busy(address: str, asynchronous: bool) -> tuple[float, float]:
    """Return the share of the workers' time spent in evaluations, and evaluations a second."""
    job = Job.model_validate(
        {
            "optimizee": {"class": "asynchronous:Waiting"},
            "optimizer": {"class": address, "population": POPULATION},
            "generations": GENERATIONS,
            "asynchronous": asynchronous,
        }
    )
    optimizee, optimizer = job.build()
    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/l2l.db") as store:
        store.create("run", "job", {}, optimizee.space)
        with RayPool(optimizee, workers=WORKERS) as pool:
            pool.evaluate(np.full((WORKERS, 4), 0.5), np.arange(WORKERS))  # workers are up
            began = time.perf_counter()
            run(store, "run", job, optimizer, pool)
            seconds = time.perf_counter() - began
        table = individuals(store, "run")
    return table["seconds"].sum() / (WORKERS * seconds), len(table) / seconds


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    print("| 4 workers | busy | evaluations/s |\n| --- | --- | --- |")
    for name, (address, asynchronous) in SIDES.items():
        share, rate = busy(address, asynchronous)
        print(f"| {name} | {100 * share:.1f} % | {rate:.1f} |", flush=True)


if __name__ == "__main__":
    main()
