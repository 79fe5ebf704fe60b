"""Agents that learn to balance a pole: how fast they live, what evolution reaches, and whether learning is the cause.

    .venv/bin/python benchmarks/cartpole.py speed
    .venv/bin/python benchmarks/cartpole.py evolve jobs/cartpole_weights.yaml --seeds 1 2 3 4 5 --out /tmp/cartpole
    .venv/bin/python benchmarks/cartpole.py controls /tmp/cartpole/cartpole_stdp_rl_*.json --out /tmp/cartpole

`speed`: lives a minute on two processes, and where a control step's time goes. `evolve`: runs a job for several seeds;
what the optimizer recommends in the end is tried in 100 fresh episodes and written as JSON. `controls`: lets agents
with such a rule live on seeds and from weights that evolution never saw: as they are, with plasticity frozen, with
rewards shuffled in time, and in the mirrored and the rescaled task; returns are means of each life's first and last
fifth, and of 100 fresh episodes after it with its last weights. docs/results/cartpole.md has the results.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PJRT_NPROC": "1"}  # before numpy and jax

import numpy as np

from l2l_snn.evaluate import Inline
from l2l_snn.job import load
from l2l_snn.pool import RayPool
from l2l_snn.run import run
from l2l_snn.store import Store
from optimizees.cartpole import CartPole

UNSEEN = 2**31  # seeds from here on are above every seed that a run can give
FULL = 50_100  # control steps of the longest life of 100 episodes
CONDITIONS: dict[str, dict[str, Any]] = {
    "learning": {},
    "frozen": {"plasticity": "frozen"},
    "shuffled rewards": {"reward": "shuffled"},
    "mirrored": {"task": "mirrored"},
    "mirrored, frozen": {"task": "mirrored", "plasticity": "frozen"},
    "rescaled": {"task": "rescaled"},
    "rescaled, frozen": {"task": "rescaled", "plasticity": "frozen"},
}


def middle(optimizee: CartPole, lives: int) -> np.ndarray:
    """Return z (P, D) of `lives` agents with the rule in the middle of the space."""
    return np.full((lives, optimizee.space.size), 0.5)


def a_share(lives: int, begin: Any, results: Any) -> None:
    """Compile, wait for the others, let `lives` agents live 100 episodes each, and tell seconds and control steps."""
    optimizee = CartPole(budget=FULL)
    optimizee.evaluate_batch(middle(optimizee, lives), np.arange(lives))
    begin.wait(timeout=600)
    began, worked = time.perf_counter(), time.process_time()
    metrics = optimizee.evaluate_batch(middle(optimizee, lives), UNSEEN + np.arange(lives)).metrics
    seconds = time.perf_counter() - began, time.process_time() - worked
    results.put((*seconds, metrics["steps"].sum(), metrics["lived"].sum()))


def speed(lives: int) -> None:
    context = multiprocessing.get_context("spawn")
    begin, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=a_share, args=(lives, begin, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    told = np.array([results.get(timeout=1200) for _ in workers])
    for worker in workers:
        worker.join(timeout=60)
    seconds, (busy, steps, episodes) = told[:, 0].max(), told[:, 1:].sum(axis=0)
    print(f"{2 * lives} lives of 100 episodes on two processes: {seconds:.1f} s, {120 * lives / seconds:.0f} a minute")
    print(f"{episodes:.0f} episodes, {steps:.0f} control steps, {1e6 * busy / steps:.1f} us of processor time each: "
          f"{120 * 2 * lives / busy:.0f} lives a minute where both processes have a core of their own\n")  # fmt: skip
    print("| a control step on one process | us of processor time |\n| --- | --- |")
    variants: dict[str, dict[str, Any]] = {
        "r_stdp": {},
        "dopamine": {"rule": "dopamine"},
        "frozen": {"plasticity": "frozen"},
        "r_stdp and synaptic scaling": {"homeostasis": "scaling"},
        "r_stdp, 10 ms instead of 20": {"step_ms": 10.0},
    }
    for name, fields in variants.items():
        optimizee = CartPole(budget=FULL, episodes=20, **fields)
        z, seconds = middle(optimizee, 16), []
        optimizee.evaluate_batch(z, np.arange(16))
        for k in range(3):
            began = time.process_time()
            steps = optimizee.evaluate_batch(z, UNSEEN + 16 * k + np.arange(16)).metrics["steps"].sum()
            seconds.append((time.process_time() - began) / steps)
        print(f"| {name} | {1e6 * np.median(seconds):.1f} |", flush=True)


def evolve(path: Path, seeds: list[int], settings: list[str], inline: bool, out: Path) -> None:
    print("| job | seed | generations | evaluations | best fitness | 100 fresh episodes | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for seed in seeds:
        job = load(path, [*settings, f"seed={seed}"])
        optimizee, optimizer = job.build()
        assert isinstance(optimizee, CartPole)
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/l2l.db") as store:
            store.create("run", path.stem, {}, optimizee.space)
            evaluator = (Inline if inline else RayPool)(optimizee, job.chunk, job.max_tries)
            with evaluator:
                stored = run(store, "run", job, optimizer, evaluator)
            state = store.optimizer_state("run", type(optimizer.init(optimizee.space, seed)))
        z = np.asarray(optimizer.recommend(state))
        if optimizee.mode == "weights":
            fresh = replace(optimizee, episodes=100).evaluate_batch(z[None], np.array([UNSEEN])).fitness
        else:
            life = replace(optimizee, budget=FULL, fresh=100)
            fresh = life.evaluate_batch(np.repeat(z[None], 10, axis=0), UNSEEN + np.arange(10)).metrics["fresh_return"]
        seconds = time.perf_counter() - began
        print(f"| {path.stem} | {seed} | {stored.generation} | {stored.evaluations} | {stored.best:.1f} "
              f"| {fresh.mean():.1f} | {seconds:.0f} |", flush=True)  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        params = {name: np.asarray(value).tolist() for name, value in optimizee.space.decode(z).items()}
        text = json.dumps({"fields": asdict(optimizee), "params": params}, indent=1)
        (out / f"{path.stem}_{seed}.json").write_text(text)


def controls(files: list[Path], lives: int, out: Path) -> None:
    print("| rule | condition | first fifth | last fifth | last / first | 100 fresh episodes | lives above 145 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    curves: dict[str, list[np.ndarray]] = {name: [] for name in CONDITIONS}
    for file in files:
        stored = json.loads(file.read_text())
        fields = {name: _tuples(value) for name, value in stored["fields"].items()}
        for name, changes in CONDITIONS.items():
            optimizee = CartPole(**fields | {"budget": FULL, "episodes": 100, "fresh": 100} | changes)
            z = np.repeat(optimizee.space.encode(stored["params"])[None], lives, axis=0)
            found = optimizee.evaluate_batch(z, UNSEEN + 1000 + np.arange(lives), with_artifacts=True)
            first, last, fresh = (found.metrics[f"{part}_return"] for part in ("first", "last", "fresh"))
            curves[name].append(found.artifacts["returns"])
            print(f"| {file.stem} | {name} | {_spread(first)} | {_spread(last)} | {last.mean() / first.mean():.1f} "
                  f"| {_spread(fresh)} | {(fresh > 145).mean():.0%} |", flush=True)  # fmt: skip
    from optimizees.tasks import cartpole_figures as figures

    lived = {name: np.concatenate(parts) for name, parts in curves.items()}
    standard = {name: lived[name] for name in ("learning", "shuffled rewards", "frozen")}
    title = f"Learning within a life ({len(lived['learning'])} lives, rules evolved: {len(files)})"
    figures.curves(standard, out / "learning.png", title)
    others = {name: values for name, values in lived.items() if name not in standard}
    figures.curves(others, out / "transfer.png", "The same rules in tasks that evolution never saw")


def _spread(values: np.ndarray) -> str:
    """Return median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("speed")
    command.add_argument("--lives", type=int, default=32, help="of each of two processes")
    command = commands.add_parser("evolve")
    command.add_argument("job", type=Path)
    command.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    command.add_argument("--set", dest="settings", action="append", default=[], help="KEY=VALUE, as of l2l run")
    command.add_argument("--inline", action="store_true", help="in this process, without Ray")
    command.add_argument("--out", type=Path, required=True)
    command = commands.add_parser("controls")
    command.add_argument("files", type=Path, nargs="+", help="written by evolve")
    command.add_argument("--lives", type=int, default=10, help="of each rule and condition")
    command.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "speed":
        speed(given.lives)
    elif given.command == "evolve":
        evolve(given.job, given.seeds, given.settings, given.inline, given.out)
    else:
        controls(given.files, given.lives, given.out)


if __name__ == "__main__":
    main()
