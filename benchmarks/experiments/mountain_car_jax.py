"""Evaluations a second of the published Mountain Car network on NEST and in JAX, in one run.

    .venv/bin/python benchmarks/experiments/mountain_car_jax.py

A population of 256 random genomes over two Ray workers, in chunks of 16 on NEST and 128 in JAX: in each of three rounds
every side is the median of five generations after one that compiles or builds the kernel, which is told apart; medians
of the rounds, and of the ratios within a round. Then the report's whole run, 32 individuals for 1000 generations.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from l2l_snn.loop.job import load
from l2l_snn.loop.run import run
from l2l_snn.storage.store import Store
from l2l_snn.workers.ray_pool import RayPool
from optimizees.mountain_car import MountainCar

ROOT = Path(__file__).parents[2]
POPULATION = 256
ROUNDS = 3
SIDES = {
    "NEST": (MountainCar(), 16),
    "JAX float64": (MountainCar(backend="jax"), 128),
    "JAX float32": (MountainCar(backend="jax", precision="float32"), 128),
}


def rate(optimizee: MountainCar, chunk: int) -> tuple[float, float]:
    """Return evaluations a second, and the seconds of the first generation."""
    z = optimizee.space.sample(np.random.default_rng(1), POPULATION)
    seeds = np.arange(1, POPULATION + 1)
    seconds = []
    with RayPool(optimizee, chunk=chunk, workers=2) as pool:
        pool.workers.open()
        for _ in range(6):
            began = time.perf_counter()
            pool.evaluate(z, seeds)
            seconds.append(time.perf_counter() - began)
    return POPULATION / float(np.median(seconds[1:])), seconds[0]


def whole_run() -> float:
    """Return the seconds of 1000 generations of 32, loop and store included."""
    path = ROOT / "jobs" / "mountain_car_published.yaml"
    settings = ["optimizee.steps=109", "optimizee.backend=jax", "optimizee.precision=float32"]
    job, optimizee, optimizer = load(path, settings)
    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/l2l.db") as store:
        store.create("run", "job", {}, optimizee.space)
        with RayPool(optimizee, job.chunk, job.max_tries, 2) as pool:
            return run(store, "run", job, optimizer, pool).seconds


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    rounds = [{name: rate(*side) for name, side in SIDES.items()} for _ in range(ROUNDS)]
    print("| population 256, 2 workers | evaluations/s | over NEST | first generation, s |\n| --- | --- | --- | --- |")
    for name in SIDES:
        per_second, first = np.median([times[name] for times in rounds], axis=0)
        over = [times[name][0] / times["NEST"][0] for times in rounds]
        print(f"| {name} | {per_second:.0f} | {np.median(over):.1f} | {first:.1f} |", flush=True)
    print(f"\n32 x 1000 in JAX float32, Ray's start included: {whole_run():.0f} s")


if __name__ == "__main__":
    main()
