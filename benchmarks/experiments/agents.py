"""Agents in tasks: what evolution reaches over seeds, how fast they live, and whether learning is the cause.

    .venv/bin/python benchmarks/experiments/agents.py evolve jobs/cartpole_weights.yaml --seeds 1 2 3 4 5 --out agents
    .venv/bin/python benchmarks/experiments/agents.py evolve jobs/cartpole_mlp.yaml --inline --processes 2 --out agents
    .venv/bin/python benchmarks/experiments/agents.py curves /tmp/agents/cartpole_*.json --out /tmp/agents/cartpole.png
    .venv/bin/python benchmarks/experiments/agents.py speed
    .venv/bin/python benchmarks/experiments/agents.py controls /tmp/agents/cartpole_stdp_rl_*.json --out /tmp/agents

`evolve`: runs a job of any `Agent` for several seeds; what the optimizer recommends in the end is tried in 100 fresh
episodes (of agents that learn: after each of 10 lives, with its last weights) and written as JSON, with the fitness of
every generation. `curves`: median and quartiles over seeds of the mean and the best fitness, a line a job. `speed`:
CartPole lives a minute on two processes, and where a control step's time goes. `controls`: lets agents with
such a rule live on seeds and from weights that evolution never saw: as they are, with plasticity frozen, with rewards
shuffled in time, and, in CartPole, in the mirrored and the rescaled task; returns are means of each life's first and
last fifth, and of 100 fresh episodes after it with its last weights. docs/results/cartpole.md and pendulum.md have the
results.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PJRT_NPROC": "1"}  # before numpy and jax

import numpy as np

from l2l_snn.loop.job import Job, load
from l2l_snn.loop.run import run
from l2l_snn.optimizer import Optimizer
from l2l_snn.results.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, new_figure, save, styled
from l2l_snn.results.tables import generations
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool
from optimizees.agent import Agent, Learning, Life, figures
from optimizees.cartpole import CartPole

JOBS = Path(__file__).resolve().parents[2] / "jobs"
UNSEEN = 2**31  # seeds from here on are above every seed that a run can give
FULL = 50_100  # control steps of CartPole's longest life of 100 episodes
FROZEN = "optimizee.learning.plasticity=frozen"
CONDITIONS: dict[str, list[str]] = {  # what is set in the job
    "learning": [],
    "frozen": [FROZEN],
    "shuffled rewards": ["optimizee.learning.reward=shuffled"],
    "mirrored": ["optimizee.task=mirrored"],
    "mirrored, frozen": ["optimizee.task=mirrored", FROZEN],
    "rescaled": ["optimizee.task=rescaled"],
    "rescaled, frozen": ["optimizee.task=rescaled", FROZEN],
}


def middle_genomes(optimizee: CartPole, lives: int) -> np.ndarray:
    """Return z (P, D) of `lives` agents with the rule in the middle of the space."""
    return np.full((lives, optimizee.space.size), 0.5)


def a_share(lives: int, begin: Any, results: Any) -> None:
    """Compile, wait for the others, let `lives` agents live 100 episodes each, and tell seconds and control steps."""
    optimizee = CartPole(life=Life(episodes=100, budget=FULL))
    optimizee.evaluate_batch(middle_genomes(optimizee, lives), np.arange(lives))
    begin.wait(timeout=600)
    began, worked = time.perf_counter(), time.process_time()
    metrics = optimizee.evaluate_batch(middle_genomes(optimizee, lives), UNSEEN + np.arange(lives)).metrics
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
        "dopamine": {"learning": Learning(rule="dopamine")},
        "frozen": {"learning": Learning(plasticity="frozen")},
        "r_stdp and synaptic scaling": {"learning": Learning(homeostasis="scaling")},
        "r_stdp, 10 ms instead of 20": {"body": replace(CartPole.body, step_ms=10.0)},
    }
    for name, fields in variants.items():
        optimizee = CartPole(life=Life(episodes=20, budget=FULL), **fields)
        z, seconds = middle_genomes(optimizee, 16), []
        optimizee.evaluate_batch(z, np.arange(16))
        for k in range(3):
            began = time.process_time()
            steps = optimizee.evaluate_batch(z, UNSEEN + 16 * k + np.arange(16)).metrics["steps"].sum()
            seconds.append((time.process_time() - began) / steps)
        print(f"| {name} | {1e6 * np.median(seconds):.1f} |", flush=True)


def with_full_life(optimizee: Agent, fresh: int) -> Agent:
    """Return the agent with a budget for all its episodes, and with `fresh` episodes after its life."""
    life = optimizee.life
    budget = life.episodes * (optimizee.make_task().steps + life.pause)
    return replace(optimizee, life=replace(life, budget=budget, fresh=fresh))


def load_agent(path: Path, settings: list[str]) -> tuple[Job, Agent, Optimizer]:
    """Return a job with its agent and its optimizer."""
    job, optimizee, optimizer = load(path, settings)
    if not isinstance(optimizee, Agent):
        raise SystemExit(f"{path}: expected a job of an Agent, got {type(optimizee).__name__}")
    return job, optimizee, optimizer


def evolved(path: Path, seed: int, settings: list[str], inline: bool) -> dict[str, Any]:
    """Run a job and try what it recommends; return what is written as JSON."""
    job, optimizee, optimizer = load_agent(path, [*settings, f"seed={seed}"])
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Store(f"sqlite:///{folder}/l2l.db") as store:
        store.create("run", path.stem, {}, optimizee.space)
        evaluator = (Inline if inline else RayPool)(optimizee, job.chunk, job.max_tries)
        with evaluator:
            stored = run(store, "run", job, optimizer, evaluator)
        state = store.optimizer_state("run", optimizer.init(optimizee.space, seed))
        table = generations(store, "run")
    z = np.asarray(optimizer.recommend(optimizee.space, state))
    if optimizee.mode in ("weights", "mlp"):
        many = replace(optimizee, life=replace(optimizee.life, episodes=100))
        fresh = many.evaluate_batch(z[None], np.array([UNSEEN])).fitness
    else:
        full = with_full_life(optimizee, fresh=100)
        fresh = full.evaluate_batch(np.repeat(z[None], 10, axis=0), UNSEEN + np.arange(10)).metrics["fresh_return"]
    return {
        "job": path.stem,
        "settings": settings,
        "seed": seed,
        "label": optimizee.fitness_label,
        "evaluations": stored.evaluations,
        "best": stored.best,
        "fresh": float(fresh.mean()),  # mean return of 100 fresh episodes
        "seconds": time.perf_counter() - began,
        "generations": {name: table[name].tolist() for name in ("evaluations", "best", "mean", "std")},
        "params": {name: np.asarray(value).tolist() for name, value in optimizee.space.decode(z).items()},
    }


def evolve(path: Path, seeds: list[int], settings: list[str], inline: bool, processes: int, out: Path) -> None:
    print("| job | seed | generations | evaluations | best fitness | 100 fresh episodes | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    out.mkdir(parents=True, exist_ok=True)
    one = partial(evolved, path, settings=settings, inline=inline)
    if processes == 1:
        _write_results(map(one, seeds), out)
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            _write_results(pool.imap(one, seeds), out)


def _write_results(results: Iterable[dict[str, Any]], out: Path) -> None:
    """Print each result as it comes, and write it."""
    for one in results:
        print(f"| {one['job']} | {one['seed']} | {len(one['generations']['best'])} | {one['evaluations']} "
              f"| {one['best']:.1f} | {one['fresh']:.1f} | {one['seconds']:.0f} |", flush=True)  # fmt: skip
        (out / f"{one['job']}_{one['seed']}.json").write_text(json.dumps(one, indent=1))


@styled
def curves(files: list[Path], out: Path) -> Path:
    """Draw median and quartiles over the seeds of each job of the mean and the best fitness of each generation."""
    jobs: dict[str, list[dict[str, Any]]] = {}
    for file in files:
        one = json.loads(file.read_text())
        jobs.setdefault(" ".join((one["job"], *one["settings"])), []).append(one)
    figure, panels = new_figure(1, 2, size=(15.0, 6.75), sharex=True, sharey=True)
    for color, (name, runs) in zip((BLUE, VERMILLION, GREEN, ORANGE, PURPLE, GREY), jobs.items(), strict=False):
        for panel, what in zip(panels, ("mean", "best"), strict=True):
            rows = [run["generations"][what] for run in runs]
            length = min(map(len, rows))
            low, middle, high = np.quantile([row[:length] for row in rows], [0.25, 0.5, 0.75], axis=0)
            x = np.arange(1, length + 1)
            panel.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
            panel.plot(x, middle, color=color, label=f"{name} ({len(runs)} seeds)" if len(runs) > 1 else name)
    for panel, what in zip(panels, ("mean", "best"), strict=True):
        panel.set(xlabel="generation", title=f"{what} of the generation")
    labels = {run["label"] for runs in jobs.values() for run in runs}
    panels[0].set_ylabel(labels.pop() if len(labels) == 1 else "fitness")
    panels[0].legend()
    figure.suptitle("Median and quartiles over seeds", fontsize=19)
    return save(figure, out)


def controls(files: list[Path], lives: int, out: Path) -> None:
    print("| rule | condition | first fifth | last fifth | last / first | 100 fresh episodes | lives above 145 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    curves: dict[str, list[np.ndarray]] = {name: [] for name in CONDITIONS}
    returns: dict[str, list[np.ndarray]] = {name: [] for name in CONDITIONS}
    for file in files:
        stored = json.loads(file.read_text())
        path = JOBS / f"{stored['job']}.yaml"
        has_tasks = isinstance(load_agent(path, stored["settings"])[1], CartPole)
        for name, settings in CONDITIONS.items():
            if "task" in "".join(settings) and not has_tasks:
                continue
            optimizee = with_full_life(load_agent(path, [*stored["settings"], *settings])[1], fresh=100)
            z = np.repeat(optimizee.space.encode(stored["params"])[None], lives, axis=0)
            found = optimizee.evaluate_batch(z, UNSEEN + 1000 + np.arange(lives), with_artifacts=True)
            curves[name].append(found.artifacts["returns"])
            returns[name].append(np.stack([found.metrics[f"{part}_return"] for part in ("first", "last", "fresh")]))
            _print_row(file.stem, name, returns[name][-1])
    returns = {name: parts for name, parts in returns.items() if parts}
    if len(files) > 1:
        for name, parts in returns.items():
            _print_row("all", name, np.concatenate(parts, axis=1))
    lived = {name: np.concatenate(parts) for name, parts in curves.items() if parts}
    standard = {name: lived[name] for name in ("learning", "shuffled rewards", "frozen")}
    title = f"Learning within a life ({len(lived['learning'])} lives, rules evolved: {len(files)})"
    figures.curves(standard, out / "learning.png", title)
    others = {name: values for name, values in lived.items() if name not in standard}
    if others:
        figures.curves(others, out / "transfer.png", "The same rules in tasks that evolution never saw")


def _print_row(rule: str, condition: str, returns: np.ndarray) -> None:
    """Print a row of the table from the returns (3, lives) of the first and last fifth and of fresh episodes.

    145 is the best published for STDP-RL in CartPole; in tasks with negative returns none is above it.
    """
    first, last, fresh = returns
    print(f"| {rule} | {condition} | {_show_spread(first)} | {_show_spread(last)} | {last.mean() / first.mean():.1f} "
          f"| {_show_spread(fresh)} | {(fresh > 145).mean():.0%} |", flush=True)  # fmt: skip


def _show_spread(values: np.ndarray) -> str:
    """Return median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("speed")
    command.add_argument("--lives", type=int, default=32, help="of each of two processes")
    command = commands.add_parser("evolve")
    command.add_argument("job", type=Path)
    command.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    command.add_argument("--set", dest="settings", action="append", default=[], help="KEY=VALUE, as of l2l run")
    command.add_argument("--inline", action="store_true", help="in this process, without Ray")
    command.add_argument("--processes", type=int, default=1, help="with --inline: seeds that run side by side")
    command.add_argument("--out", type=Path, required=True, help="folder for a JSON file a seed")
    command = commands.add_parser("curves")
    command.add_argument("files", type=Path, nargs="+", help="written by evolve")
    command.add_argument("--out", type=Path, required=True, help="the picture, PNG")
    command = commands.add_parser("controls")
    command.add_argument("files", type=Path, nargs="+", help="written by evolve")
    command.add_argument("--lives", type=int, default=10, help="of each rule and condition")
    command.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.command == "speed":
        speed(given.lives)
    elif given.command == "evolve":
        if given.processes < 1 or (given.processes > 1 and not given.inline):
            parser.error(f"--processes: expected 1, or more with --inline, got {given.processes}")
        evolve(given.job, given.seeds, given.settings, given.inline, given.processes, given.out)
    elif given.command == "curves":
        print(curves(given.files, given.out))
    else:
        controls(given.files, given.lives, given.out)


if __name__ == "__main__":
    main()
