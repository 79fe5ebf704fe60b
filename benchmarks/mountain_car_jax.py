"""Evaluations a second of the published Mountain Car network on NEST and in JAX, in one run.

    .venv/bin/python benchmarks/mountain_car_jax.py

A population of 256 random genomes over two Ray workers, in chunks of 16 on NEST and 128 in JAX, the median of
five generations after one that compiles or builds the kernel; compile time is told apart. Then the report's whole run,
32 individuals for 1000 generations, in JAX.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from l2l_snn.evaluate import RayPool
from l2l_snn.job import load
from l2l_snn.run import run
from l2l_snn.store import Store
from optimizees.mountain_car import MountainCar

ROOT = Path(__file__).parent.parent
POPULATION = 256
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
        pool._open()
        for _ in range(6):
            began = time.perf_counter()
            pool.evaluate(z, seeds)
            seconds.append(time.perf_counter() - began)
    return POPULATION / float(np.median(seconds[1:])), seconds[0]


def whole_run() -> float:
    """Return the seconds of 1000 generations of 32, loop and store included."""
    path = ROOT / "jobs" / "mountain_car_published.yaml"
    settings = ["stop.fitness=null", "optimizee.backend=jax", "optimizee.precision=float32"]
    job = load(path, settings)
    optimizee, optimizer = job.build()
    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/l2l.db") as store:
        store.create("run", "job", {}, optimizee.space)
        with RayPool(optimizee, job.chunk, job.max_tries, 2) as pool:
            return run(store, "run", job, optimizer, pool).seconds


def main() -> None:
    print("| population 256, 2 workers | evaluations/s | over NEST | first generation, s |\n| --- | --- | --- | --- |")
    nest = 0.0
    for name, (optimizee, chunk) in SIDES.items():
        per_second, first = rate(optimizee, chunk)
        nest = nest or per_second
        print(f"| {name} | {per_second:.0f} | {per_second / nest:.1f} | {first:.1f} |", flush=True)
    print(f"\n32 x 1000 in JAX float32, Ray's start included: {whole_run():.0f} s")


if __name__ == "__main__":
    main()
