"""What RayPool and the whole loop cost where an evaluation costs nothing.

    .venv/bin/python benchmarks/service/loop.py

Evaluations a second of an optimizee that returns a constant: the pool alone (10,000 individuals, chunks of 50), and the
loop with genetic algorithm and store, for populations of 32 and 1,000.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass

import numpy as np

from l2l_snn import BatchOptimizee, Evaluation, Optimizee, Real, Space
from l2l_snn.loop.job import Job
from l2l_snn.loop.run import run
from l2l_snn.storage.store import Store
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool
from optimizers.ga import GeneticAlgorithm


@dataclass(frozen=True)
class Nothing(Optimizee):
    """Costs nothing."""

    space = Space(x=Real(-1, 1, shape=(10,)))

    def evaluate(self, params, seed):
        return 0.0


@dataclass(frozen=True)
class NothingAtOnce(BatchOptimizee):
    """Costs nothing, as a batch."""

    space = Space(x=Real(-1, 1, shape=(10,)))

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        return Evaluation(np.zeros(len(z)))


def pool_rate(optimizee: BatchOptimizee, individuals: int = 10_000) -> float:
    """Return evaluations a second through two Ray workers, the median of five."""
    z, seeds = optimizee.space.sample(np.random.default_rng(1), individuals), np.arange(individuals)
    rates = []
    with RayPool(optimizee, chunk=50, workers=2) as pool:
        pool.evaluate(z[:200], seeds[:200])
        for _ in range(5):
            began = time.perf_counter()
            pool.evaluate(z, seeds)
            rates.append(individuals / (time.perf_counter() - began))
    return float(np.median(rates))


def loop_seconds(evaluator: Evaluator, population: int, generations: int = 50) -> float:
    """Return the seconds a generation of the whole loop."""
    classes = {"optimizee": {"class": "a:B"}, "optimizer": {"class": "a:B"}}
    job = Job.model_validate({**classes, "generations": generations})
    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/l2l.db") as store:
        store.create("run", "job", {}, evaluator.optimizee.space)
        return run(store, "run", job, GeneticAlgorithm(population=population), evaluator).seconds / generations


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| RayPool, 2 workers, chunks of 50 | evaluations/s |\n| --- | --- |")
    for optimizee in (Nothing(), NothingAtOnce()):
        print(f"| {type(optimizee).__name__} | {pool_rate(optimizee):.0f} |")
    print("\n| whole loop in process | population | ms a generation | evaluations/s |\n| --- | --- | --- | --- |")
    for population in (32, 1000):
        seconds = loop_seconds(Inline(NothingAtOnce(), chunk=50), population)
        print(f"| GA, SQLite | {population} | {1000 * seconds:.1f} | {population / seconds:.0f} |")


if __name__ == "__main__":
    main()
