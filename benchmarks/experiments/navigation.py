"""What runs of jobs/navigation_ppo.yaml have learned: goals and paths over training, the control, the pictures.

    python benchmarks/experiments/navigation.py measure sqlite:///l2l.db RUN... --out runs/navigation.json
    python benchmarks/experiments/navigation.py learning runs/navigation.json --out docs/results/navigation
    python benchmarks/experiments/navigation.py show sqlite:///l2l.db RUN --out docs/results/navigation

`measure` lets the genomes of every so many updates act in fresh episodes, with weights fixed, actions sampled as in
training; then the last policy once as it is and once with its state reset at each goal. Lengths are times, ms. An
episode counts for a path if it has it; "shorter" compares second with first within an episode.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.loop.job import Job
from l2l_snn.results.raster import trains_raster
from l2l_snn.storage.store import Store
from optimizees.gym.arena import measure_paths
from optimizees.gym.figures import draw_learning, draw_ways
from optimizees.gym.twin import follow

SEED = 987654321  # of the fresh episodes
SHOWN = 20  # episodes of which `show` picks the one with the most usual number of goals


def build(store, name, **fields):
    """Return the optimizee of a run, with other fields, and its optimizer."""
    gym, optimizer = Job(**store.load(name).manifest["job"]).build()
    return replace(gym, **fields), optimizer


def summarize(gym, z):
    """Return what fresh episodes give."""
    rollout, _ = follow(gym.setup, z, SEED)
    ms = gym.worlds.twin.arena.action_ms
    first, second, last = ms * measure_paths(rollout.rewards)
    both = np.isfinite(second)
    medians = [
        float(np.median(one[np.isfinite(one)])) if np.isfinite(one).any() else None for one in (first, second, last)
    ]
    return {
        "goals": float((rollout.rewards > 0).sum(axis=0).mean()),
        "walls": float((rollout.rewards < 0).sum(axis=0).mean()),
        "medians": medians,
        "found": float(np.isfinite(first).mean()),
        "both": float(both.mean()),
        "medians_of_both": [float(np.median(one[both])) if both.any() else None for one in (first, second, last)],
        "shorter": float((second < first)[both].mean()) if both.any() else None,
        "longer": float((second > first)[both].mean()) if both.any() else None,
        "rate": float(rollout.spikes.mean()),
    }  # fmt: skip


def measure(store, name, episodes, every):
    """Return the row of a run."""
    gym, optimizer = build(store, name, envs=episodes)
    last = optimizer.recommend(gym.space, store.optimizer_state(name, optimizer.init(gym.space, 1)))
    generations, own = store.load(name).generation, store.load(name).manifest["job"]["optimizee"]["envs"]
    curve = []
    for g in range(0, generations, every):
        curve.append({"episodes": g * own, **summarize(gym, store.individual(name, g, 0).z)})
        print(name, curve[-1], flush=True)
    curve.append({"episodes": generations * own, **summarize(gym, last)})
    forgetful = summarize(replace(gym, forget=True), last)
    print(name, "state reset at each goal", forgetful, flush=True)
    return {"run": name, "curve": curve, "trained": curve[-1], "reset": forgetful}


def straight(gym):
    """Return the mean time of straight ways from random places to the goal, ms."""
    twin = gym.worlds.twin
    states = jax.vmap(twin.reset)(jax.random.uniform(jax.random.key(0), (10_000, twin.draws)))
    away = np.linalg.norm(np.asarray(states.place - states.goal), axis=1) - twin.arena.goal
    return float(np.median(np.ceil(away / twin.arena.stride)) * twin.arena.action_ms)


def show(store, name, folder):
    """Draw the paths of an episode before and after training, and the spikes of the one after."""
    gym, optimizer = build(store, name, envs=SHOWN)
    last = optimizer.recommend(gym.space, store.optimizer_state(name, optimizer.init(gym.space, 1)))
    ways = {}
    for title, z in (("before training", store.individual(name, 0, 0).z), ("after training", last)):
        rollout, worlds = follow(gym.setup, z, SEED)
        goals = (rollout.rewards > 0).sum(axis=0)
        b = int(np.argsort(goals)[SHOWN // 2])
        ways[title] = worlds.place[:, b], rollout.rewards[:, b], worlds.goal[0, b]
    draw_ways(gym.worlds.twin.arena, ways, folder / "paths.png")

    net, params = gym.acting, gym.space.decode(jnp.asarray(last, jnp.float32))

    def step(state, given):
        seen, words = given
        of_network, _ = jax.random.split(jax.random.wrap_key_data(words))
        return net.simulate(params, state, seen, of_network)

    _, found = jax.jit(lambda *xs: jax.lax.scan(step, net.init(params), xs))(rollout.seen[:, b], rollout.words[:, b])
    inputs, spikes = (np.asarray(x).reshape(-1, x.shape[-1]) for x in (found.inputs, found.spikes))
    ends = np.cumsum([net.excitatory, net.inhibitory, net.adaptive])
    cells, signals = net.grid**2, net.signals
    trains = {"place cells": inputs[:, :cells], "reward": inputs[:, cells : cells + signals]}
    trains |= {"wall": inputs[:, cells + signals :], "excitatory": spikes[:, : ends[0]]}
    trains |= {"inhibitory": spikes[:, ends[0] : ends[1]], "adaptive": spikes[:, ends[1] :]}
    trains_raster(trains, net.dt, folder / "raster.png")


def learning(rows, folder):
    """Draw the curves of all runs."""
    runs = {}
    for row in rows["runs"]:
        paths = np.array([[np.nan if x is None else x for x in point["medians"]] for point in row["curve"]]).T
        columns = {k: np.array([point[k] for point in row["curve"]]) for k in ("episodes", "goals")}
        runs[row["run"]] = {**columns, "paths": paths}
    draw_learning(runs, rows["straight"], folder / "learning.png")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["measure", "learning", "show"])
    parser.add_argument("store", help="URL of the store; of learning, the file that measure wrote")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=200)
    parser.add_argument("--every", type=int, default=10, help="updates between two points of the curves")
    options = parser.parse_args()
    if options.what == "learning":
        return learning(json.loads(Path(options.store).read_text()), options.out)
    with Store(options.store) as store:
        if options.what == "show":
            return show(store, options.runs[0], options.out)
        rows = json.loads(options.out.read_text())["runs"] if options.out.exists() else []
        for name in options.runs:
            rows = [row for row in rows if row["run"] != name] + [measure(store, name, options.episodes, options.every)]
            found = {"straight": straight(build(store, name)[0]), "runs": rows}
            options.out.write_text(json.dumps(found, indent=1))
    return None


if __name__ == "__main__":
    main()
