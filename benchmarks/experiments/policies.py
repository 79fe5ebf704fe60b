"""What runs of optimizees.gym have learned: fresh episodes, sweeps of noise, and curves over environment steps.

    python benchmarks/experiments/policies.py evaluate sqlite:///l2l.db RUN... --out runs/policies.json
    python benchmarks/experiments/policies.py sweep sqlite:///l2l.db RUN... --out runs/sweep.json
    python benchmarks/experiments/policies.py curves sqlite:///l2l.db RUN... --out curves.png
    python benchmarks/experiments/policies.py draw_sweep runs/sweep.json [FILE...] --out sweep.png
    python benchmarks/experiments/policies.py modulation sqlite:///l2l.db RUN --out modulation.png

Each run is judged by what its optimizer recommends in the end, in episodes from starts that it never saw; `evaluate`
takes the best actions, `sweep` the ones that the job takes. `modulation` draws M of a plastic network's first hidden
layer (001, supplement, figures A5 and A6) under action noise of 0.3: in the episode that gave least and the one that
gave most. Runs whose names differ only behind the last "_" are seeds
of one curve.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from l2l_snn.loop.job import Job
from l2l_snn.results.tables import individuals
from l2l_snn.storage.store import Store
from optimizees.gym.environment import Noise, side_by_side
from optimizees.gym.rollout import first_returns, roll_out

SEED = 987654321  # of the fresh episodes
GRID = {
    "friction": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "action": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
    "observation": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
}


def load(store, name, **fields):
    """Return the optimizee of a run, with other fields, and what its optimizer recommends."""
    stored = store.load(name)
    gym, optimizer = Job(**stored.manifest["job"]).build()
    state = store.optimizer_state(name, optimizer.init(gym.space, 1))
    return replace(gym, **fields), optimizer.recommend(gym.space, state)


def evaluate(store, names, episodes, horizon):
    """Yield a row a run."""
    for name in names:
        gym, z = load(store, name, choice="best", envs=episodes, **({"horizon": horizon} if horizon else {}))
        found = gym.evaluate_batch(z[None], np.array([SEED]), with_artifacts=True)
        returns = found.artifacts["returns"][0]
        yield {"run": name, "mean": returns.mean(), "std": returns.std(), "min": returns.min(),
               "rate": found.metrics["rate"][0], "episodes": episodes}  # fmt: skip


def sweep(store, names, episodes, horizon):
    """Yield a row a run, kind of noise and strength."""
    for name in names:
        gym, z = load(store, name, envs=episodes, **({"horizon": horizon} if horizon else {}))

        @cache  # undisturbed is undisturbed, whatever the kind
        def measure(noise, gym=gym, z=z):
            found = replace(gym, noise=noise).evaluate_batch(z[None], np.array([SEED]), with_artifacts=True)
            returns = found.artifacts["returns"][0]
            return {"mean": returns.mean(), "std": returns.std()}

        for kind, strengths in GRID.items():
            for strength in strengths:
                yield {"run": name, "noise": kind, "strength": strength, **measure(Noise(**{kind: strength}))}


def curves(url, names, path):
    """Draw the mean fitness of each generation over the steps taken in environments."""
    from matplotlib.figure import Figure

    groups = defaultdict(list)
    for name in names:
        rows = individuals(url, name)
        per = rows.groupby("generation").agg({"fitness": "mean", "metric.env_steps": "sum"})
        groups[name.rpartition("_")[0]].append((per["metric.env_steps"].cumsum().to_numpy(), per["fitness"].to_numpy()))
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for k, (group, seeds) in enumerate(groups.items()):
        for i, (steps, fitness) in enumerate(seeds):
            axes.plot(steps, fitness, color=f"C{k}", lw=0.8, alpha=0.8, label=None if i else f"{group} ({len(seeds)})")
    axes.set(xlabel="environment steps", ylabel="mean return of a generation")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def draw_sweep(rows, path):
    """Draw the returns over the strength of each kind of noise, means over seeds and their range, and print them."""
    from matplotlib.figure import Figure

    returns = defaultdict(list)  # of the seeds of a group, under noise of a kind and strength
    for row in rows:
        returns[row["run"].rpartition("_")[0], row["noise"], row["strength"]].append(row["mean"])
    groups = list(dict.fromkeys(group for group, _, _ in returns))
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    for axes, (kind, strengths) in zip(figure.subplots(1, 3), GRID.items(), strict=True):
        print(f"\n| noise: {kind} | {' | '.join(map(str, strengths))} |\n| --- |{' --: |' * len(strengths)}")
        for k, group in enumerate(groups):
            seeds = np.array([returns[group, kind, strength] for strength in strengths])  # (S, R)
            axes.plot(strengths, seeds.mean(1), f"C{k}o-", ms=3, label=f"{group} ({seeds.shape[1]})")
            axes.fill_between(strengths, seeds.min(1), seeds.max(1), color=f"C{k}", alpha=0.1, lw=0)
            print(f"| {group} | {' | '.join(f'{mean:.0f}' for mean in seeds.mean(1))} |")
        axes.set(xlabel=f"noise: {kind}", ylabel="mean return")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def modulation(store, name, episodes, horizon, path):
    """Draw M (actions, neurons) of two episodes."""
    from matplotlib.figure import Figure

    fields = {"horizon": horizon} if horizon else {}
    gym, z = load(store, name, envs=episodes, segment=1, noise=Noise(action=0.3), **fields)  # a segment an action
    if gym.network != "plastic" or not gym.plastic.rule.startswith("nd"):
        raise SystemExit(f"modulation: expected a plastic network with a modulated rule, nd_oja or nd_bcm, got {name}")
    rollout = roll_out(gym.setup, z, SEED, True)
    returns, lengths = first_returns(rollout)
    pitches = [world.unwrapped.data.qpos[2] for world in side_by_side(gym.environment, episodes).envs]
    m = rollout.states[0].trace.modulation  # (H, B, N)
    print(f"{name}: M of all episodes within {m.min():.2f} and {m.max():.2f}, half of it within "
          f"{np.quantile(m, 0.25):.3f} and {np.quantile(m, 0.75):.3f}")  # fmt: skip
    figure = Figure(figsize=(12, 7), layout="constrained")
    for axes, which in zip(figure.subplots(2, 2), (returns.argmin(), returns.argmax()), strict=True):
        one = m[: lengths[which], which]
        changes = np.abs(np.diff(one, axis=0)).mean()
        axes[0].plot(one, lw=0.5)
        title = f"return {returns[which]:.0f}, pitch at the end {pitches[which]:.1f} rad, |change of M| {changes:.3f}"
        axes[0].set(xlabel="action", ylabel="M of each neuron", title=title)
        axes[1].hist(one.ravel(), bins=80, log=True)
        axes[1].set(xlabel="M", ylabel="neurons x actions")
        print(title)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["evaluate", "sweep", "curves", "draw_sweep", "modulation"])
    parser.add_argument("store", help="URL of the store; of draw_sweep, a file that sweep wrote")
    parser.add_argument("runs", nargs="*", help="names of runs; of draw_sweep, more files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--horizon", type=int, help="steps of an episode; as in the job by default")
    options = parser.parse_args()
    if options.what == "curves":
        return curves(options.store, options.runs, options.out)
    if options.what == "draw_sweep":
        files = [Path(file).read_text() for file in (options.store, *options.runs)]
        return draw_sweep([row for text in files for row in json.loads(text)], options.out)
    rows = []
    with Store(options.store) as store:
        if options.what == "modulation":
            return modulation(store, options.runs[0], options.episodes, options.horizon, options.out)
        made = {"evaluate": evaluate, "sweep": sweep}[options.what]
        for row in made(store, options.runs, options.episodes, options.horizon):
            rows.append({key: value if isinstance(value, str) else float(value) for key, value in row.items()})
            print(rows[-1], flush=True)
            options.out.write_text(json.dumps(rows, indent=1))
    return None


if __name__ == "__main__":
    main()
