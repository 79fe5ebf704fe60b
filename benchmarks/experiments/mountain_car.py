"""Evaluations a second of the published Mountain Car network, here and in the L2L framework, in one run.

    .venv/bin/python benchmarks/experiments/mountain_car.py --framework ../l2l_venv/bin/python

Both sides run the published genetic algorithm (population 32) on the published network (60-5-3, 0.2 ms, 109 steps) on
this machine, one after the other, twice: ours over Ray workers with the store, as `l2l run` does; theirs as shipped, at
32 workers, which is the fastest number for it (benchmarks/l2l_framework/README.md says how to set it up). Without
--framework only ours is timed. Then: where the time goes in one worker, and what the loop costs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from l2l_snn.loop.job import load
from l2l_snn.loop.progress import Progress
from l2l_snn.loop.run import run
from l2l_snn.results import tables
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool

ROOT = Path(__file__).parents[2]
JOB = ROOT / "jobs" / "mountain_car_published.yaml"
GENERATIONS = 40
FRAMEWORK_GENERATIONS = 3


def ours(workers: int) -> tuple[float, float]:
    """Return evaluations a second and the loop's share of the time, the first two generations left out."""
    job, optimizee, optimizer = load(JOB, ["optimizee.steps=109", f"generations={GENERATIONS}"])
    ends: list[float] = []
    evaluating: list[float] = []

    def tell(progress: Progress) -> None:
        ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/l2l.db") as store:
        store.create("run", "job", {}, optimizee.space)
        with RayPool(optimizee, job.chunk, job.max_tries, workers) as pool:
            evaluate = pool.evaluate

            def timed(*arguments, **options):
                began = time.perf_counter()
                result = evaluate(*arguments, **options)
                evaluating.append(time.perf_counter() - began)
                return result

            pool.evaluate = timed
            run(store, "run", job, optimizer, pool, tell=tell)
        assert int(tables.runs(store)["failed"].sum()) == 0
    total = ends[-1] - ends[1]
    population = 32
    return population * (GENERATIONS - 2) / total, 1 - sum(evaluating[2:]) / total


def theirs(python: str) -> float:
    """Return the evaluations a second of the L2L framework."""
    script = ROOT / "benchmarks" / "l2l_framework" / "run.py"
    command = [python, str(script), "--generations", str(FRAMEWORK_GENERATIONS), "--workers", "32"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["evaluations_per_s"]


def breakdown() -> dict[str, float]:
    """Return the milliseconds an evaluation that one process spends on each part, 16 individuals side by side."""
    from l2l_snn.snn.nest import FeedForward
    from optimizees.mountain_car import on_nest

    job, optimizee, optimizer = load(JOB, ["optimizee.steps=109"])
    spent: dict[str, float] = defaultdict(float)

    def timed(owner: object, name: str, part: str) -> None:
        function = getattr(owner, name)

        def wrapper(*args, **kwargs):
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent[part] += time.perf_counter() - began

        setattr(owner, name, wrapper)

    evaluator = Inline(optimizee, job.chunk)
    state = optimizer.init(optimizee.space, 1)
    z, _ = optimizer.ask(optimizee.space, state)
    seeds = np.arange(1, 33)
    evaluator.evaluate(z, seeds)  # builds the kernel
    for name, part in (
        ("run", "simulate"),
        ("load", "set weights and rest"),
        ("drive", "set currents"),
        ("counts", "read"),
    ):
        timed(FeedForward, name, part)
    for car in on_nest.make_cars(job.chunk):
        timed(car, "step", "environment")
        timed(car, "reset", "environment")
    repeats = 5
    began = time.perf_counter()
    for _ in range(repeats):
        evaluator.evaluate(z, seeds)
    total = time.perf_counter() - began
    spent["the rest (encode, decode, Python)"] = total - sum(spent.values())
    spent["all"] = total
    return {part: 1000 * seconds / (repeats * len(z)) for part, seconds in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--framework", help="Python of an environment with the L2L framework")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    print("| round | side | evaluations/s | ratio | loop's share of the time |")
    print("| --- | --- | --- | --- | --- |")
    for k in range(1, arguments.rounds + 1):
        rate, share = ours(arguments.workers)
        print(f"| {k} | l2l_snn, {arguments.workers} workers | {rate:.0f} | | {100 * share:.1f} % |", flush=True)
        if arguments.framework:
            other = theirs(arguments.framework)
            print(f"| {k} | L2L framework, 32 workers | {other:.2f} | {rate / other:.0f} | |", flush=True)
    print("\n| part of an evaluation | ms | share |\n| --- | --- | --- |")
    parts = breakdown()
    for part, ms in sorted(parts.items(), key=lambda item: -item[1]):
        print(f"| {part} | {ms:.2f} | {100 * ms / parts['all']:.0f} % |")


if __name__ == "__main__":
    sys.exit(main())
