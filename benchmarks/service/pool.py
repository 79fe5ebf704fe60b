"""What share of the workers' time a pool uses, what longest first gives, how long a run takes to its first evaluation.

    .venv/bin/python benchmarks/service/pool.py

Efficiency is ideal / wall: evaluations that only wait, so that many workers fit on few cores. 4 workers of a Ray of its
own, and 16 on a simulated cluster of 4 nodes of 4 CPUs on this machine, whose raylets share its cores with the workers.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l2l_snn import Optimizee, Real, Space
from l2l_snn.workers.base import EvaluatorError
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.ray_pool import RayPool
from l2l_snn.workers.resources import Resources

ROUNDS = 5
JOB = """\
optimizee: {class: "pool:Waiting", seconds: 0.001}
optimizer: {class: "optimizers.random_search:RandomSearch"}
generations: 1
"""
BARE = """
import time, ray, logging
began = time.time()
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
@ray.remote
class Actor:
    def call(self): return 0
ray.get(Actor.remote().call.remote())
print(time.time() - began)
"""


@dataclass(frozen=True)
class Waiting(Optimizee):
    """Waits, with a tail for a time that follows a Pareto law of shape 1.5 in x; says when it was called."""

    seconds: float = 0.2
    tail: bool = False
    space = Space(x=Real(0, 1))

    def evaluate(self, params, seed):
        called = time.time()
        factor = min((1 - params["x"]) ** (-1 / 1.5), 20.0) / 3 if self.tail else 1.0  # mean 1
        time.sleep(self.seconds * float(factor))
        return 0.0, {"called": called}


def efficiency(pool: Evaluator, workers: int, seconds: float, individuals: int) -> float:
    """Return ideal / wall, the median of some generations."""
    z, seeds = np.zeros((individuals, 1)), np.arange(individuals)
    deadline = time.monotonic() + 120
    while len(set(pool.evaluate(z, seeds).workers)) < workers:  # all are up
        if time.monotonic() > deadline:
            raise SystemExit("not all workers came up")
    walls = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        pool.evaluate(z, seeds)
        walls.append(time.perf_counter() - began)
    return individuals * seconds / workers / float(np.median(walls))


def makespans(pool: Evaluator, workers: int, individuals: int = 32) -> tuple[float, float, float]:
    """Return wall over ideal of a heavy-tailed generation: cut up front, as it comes, and longest first."""
    random = np.random.default_rng(1)
    over: list[list[float]] = [[], [], []]
    for _ in range(ROUNDS):
        z, seeds = random.uniform(size=(individuals, 1)), np.arange(individuals)
        took = pool.evaluate(z, seeds).seconds
        ideal = max(took.sum() / workers, took.max())
        over[0].append(max(part.sum() for part in np.array_split(took, workers)) / ideal)
        for way, expected in ((1, None), (2, took)):
            began = time.perf_counter()
            pool.evaluate(z, seeds, expected=expected)
            over[way].append((time.perf_counter() - began) / ideal)
    return tuple(float(np.median(ratios)) for ratios in over)  # pyright: ignore[reportReturnType]


def refusals() -> tuple[float, float]:
    """Return the seconds until a request that this machine can't meet is refused, and those that a late one costs."""
    began = time.perf_counter()
    with RayPool(Waiting(), resources=Resources(memory="9 TiB")) as pool, suppress(EvaluatorError):  # pyright: ignore
        pool.evaluate(np.zeros((1, 1)), np.arange(1))
    refused = time.perf_counter() - began
    with RayPool(Waiting(60.0), workers=1, timeout=0.5) as pool:
        pool.workers.open()
        began = time.perf_counter()
        done = pool.evaluate(np.zeros((1, 1)), np.arange(1))
        assert done.evaluation.errors[0].startswith("Timeout")
        return refused, time.perf_counter() - began


def start() -> tuple[float, float]:
    """Return the seconds from `l2l run` to its first evaluation, and those of a bare Ray with one actor call."""
    from l2l_snn.results.tables import individuals

    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    ours, bare = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "job.yaml").write_text(JOB)
            command = [sys.executable, "-m", "l2l_snn.cli", "run", "job.yaml", "--workers", "2"]
            began = time.time()
            subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
            ours.append(individuals(f"sqlite:///{folder}/l2l.db")["metric.called"].min() - began)
            done = subprocess.run([sys.executable, "-c", BARE], check=True, capture_output=True, text=True)
            bare.append(float(done.stdout.splitlines()[-1]))
    return float(np.median(ours)), float(np.median(bare))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"  # clusters of this process alone
    from ray.cluster_utils import Cluster

    first, bare = start()
    print("| start | s |\n| --- | --- |")
    print(f"| `l2l run` to its first evaluation | {first:.1f} |\n| bare `ray.init` and one actor call | {bare:.1f} |")
    refused, late = refusals()
    print(f"| what this machine lacks is refused | {refused:.1f} |")
    print(f"| a worker starts and its evaluation is ended after 0.5 s | {late:.1f} |\n")
    print("| workers | evaluation, ms | ideal / wall |\n| --- | --- | --- |", flush=True)
    for seconds in (0.02, 0.2):
        with RayPool(Waiting(seconds), workers=4) as pool:
            share = efficiency(pool, 4, seconds, 100 if seconds > 0.1 else 400)
            print(f"| 4 here | {1000 * seconds:.0f} | {share:.3f} |", flush=True)
    with RayPool(Waiting(0.2, tail=True), workers=4) as pool:
        tails = makespans(pool, 4)
    print("\n| 32 heavy-tailed evaluations, 4 workers | wall / ideal |\n| --- | --- |")
    for name, ratio in zip(("cut up front", "as they come", "longest first"), tails, strict=True):
        print(f"| {name} | {ratio:.2f} |")
    print("\n| workers | evaluation, ms | ideal / wall |\n| --- | --- | --- |", flush=True)
    settings = {"num_cpus": 4, "object_store_memory": 80 * 2**20, "include_dashboard": False, "dashboard_port": None}
    cluster = Cluster(initialize_head=True, head_node_args=settings)
    try:
        for _ in range(3):
            cluster.add_node(**settings)
        for seconds in (0.02, 0.2):
            with RayPool(Waiting(seconds), address=cluster.address) as pool:
                share = efficiency(pool, 16, seconds, 400 if seconds > 0.1 else 1600)
                print(f"| 16 on 4 nodes | {1000 * seconds:.0f} | {share:.3f} |", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
