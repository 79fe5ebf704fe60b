"""Learning results of the Mountain Car jobs over several seeds, as docs/results/mountain_car.md has them.

    python benchmarks/experiments/mountain_car_seeds.py jobs/mountain_car_ga.yaml jobs/mountain_car_published.yaml

For each job and seed: whether the flag was reached, in which generation, in how many environment steps, and how many of
100 starts that evolution has not seen the winner reaches the flag from, within 110 and within 200 steps.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from l2l_snn.loop.job import load
from l2l_snn.loop.run import run
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool
from optimizees.mountain_car import MountainCar
from optimizees.mountain_car.task import GOAL

UNSEEN = np.arange(2**31, 2**31 + 100)  # above every seed that a run can give


def unseen_share(optimizee: MountainCar, z: np.ndarray, steps: int) -> float:
    """Return the share of 100 unseen starts from which z (D,) reaches the flag within `steps` steps."""
    longer = replace(optimizee, steps=steps, episodes=1)
    parts = [longer.evaluate_batch(np.repeat(z[None], 25, axis=0), seeds) for seeds in np.split(UNSEEN, 4)]
    return float(np.mean([part.metrics["reached"] for part in parts]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("jobs", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], metavar="SEED")
    parser.add_argument("--inline", action="store_true", help="in this process, without Ray: the same bytes")
    parser.add_argument("--generations", type=int, default=300)
    parser.add_argument("--set", dest="settings", action="append", default=[], help="KEY=VALUE, as of l2l run")
    arguments = parser.parse_args()
    print("| job | seed | best fitness | flag reached in generation | steps | unseen 110 | unseen 200 | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for path in arguments.jobs:
        reached = []
        for seed in arguments.seeds:
            job, optimizee, optimizer = load(
                path,
                [f"seed={seed}", f"generations={arguments.generations}", f"stop.fitness={GOAL}", *arguments.settings],
            )
            assert isinstance(optimizee, MountainCar)
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/l2l.db") as store:
                store.create("run", path.stem, {}, optimizee.space)
                shared = partial(RayPool, max_tries=job.max_tries)
                with (Inline if arguments.inline else shared)(optimizee, job.chunk) as pool:
                    stored = run(store, "run", job, optimizer, pool)
                best = store.individual("run")
            seconds = time.perf_counter() - began
            assert stored.best is not None
            reached.append(stored.best >= GOAL)
            generation = best.generation if reached[-1] else "-"
            steps = f"{best.metrics['steps']:.0f}"
            shares = [f"{100 * unseen_share(optimizee, best.z, limit):.0f} %" for limit in (110, 200)]
            print(f"| {path.stem} | {seed} | {stored.best:.3f} | {generation} | {steps} | {shares[0]} | {shares[1]} "
                  f"| {seconds:.0f} |", flush=True)  # fmt: skip
        print(f"| {path.stem} | all | | {sum(reached)} of {len(reached)} | | | | |", flush=True)


if __name__ == "__main__":
    main()
