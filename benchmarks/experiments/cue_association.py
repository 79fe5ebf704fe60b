"""Cue association with six networks, two noise levels and several seeds: docs/results/cue_association.md.

    .venv/bin/python benchmarks/experiments/cue_association.py --pictures docs/results/cue_association

Each run trains by the job until the mean reward over the last 20 iterations is 0.97, or as long as the job says. The
source ends at an accuracy of 0.97 over 100 trials, a mean reward of 0.94: the table tells when that was, too. Killed,
the same command goes on where it was; finished runs are only read; other settings (`--job`, `--set`) want another
store. It prints a table as Markdown at the end. Two processes of one thread each; runs are dealt to them in turn.
"""

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from l2l_snn.loop.job import Job, load, manifest
from l2l_snn.loop.run import run
from l2l_snn.results import tables
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline
from optimizees.cue_association import CueAssociation, figures
from optimizees.cue_association.optimizee import RULES

GOAL, WINDOW = 0.97, 20  # mean reward, over so many iterations
ACCURACY, TRIALS = 0.97, 100  # where the source ends: accuracy, over so many trials
NOISES = ("low", "high")
SOURCE = ["none", "decay", "oja", "bcm", "nd_oja", "nd_bcm"]  # its rules
ROOT = Path(__file__).parents[2]
TEST_SEED = 2**31 - 1  # of trials for the last networks, the same for all


def job_of(rule: str, noise: str, seed: int, settings: dict[str, Any]) -> Job:
    """Return the job of one run; it does the next iterations up to `generations`."""
    own = [f"optimizee.rule={rule}", f"optimizee.noise={noise}", f"seed={seed}", "genomes=elite", "stop={}"]
    return load(settings["job"], [*own, *settings["settings"]])[0]


def train(name: str, url: str, settings: dict[str, Any]) -> str:
    """Train one network, or go on with it; return a line that tells how far it came."""
    rule, noise, seed = parts(name)
    job = job_of(rule, noise, seed, settings)
    optimizee, optimizer = job.build()
    with Store(url) as store, Inline(optimizee, job.chunk) as evaluator:
        if name not in {stored.name for stored in store.runs()}:
            store.create(name, "cue_association", manifest(job, Path(__file__)), optimizee.space)
        while True:
            done = tables.generations(store, name)
            reached, n = done["mean"].tail(WINDOW).mean(), len(done)
            if n >= job.generations or (n >= WINDOW and reached >= GOAL):
                return f"{name}: {n} iterations, mean reward {reached:.3f}, {done['seconds'].sum():.0f} s"
            following = min(job.generations, n - n % WINDOW + WINDOW)
            run(store, name, job.model_copy(update={"generations": following}), optimizer, evaluator)


def parts(name: str) -> tuple[str, str, int]:
    """Return rule, noise and seed of a run's name, such as nd_oja-high-3."""
    rule, noise, seed = name.split("-")
    return rule, noise, int(seed)


def first_accurate(store: Store, name: str, trials: int) -> float:
    """Return the iteration after which the accuracy over the last 100 trials was first 0.97; inf: never."""
    rows = tables.individuals(store, name).sort_values("generation")
    over = rows["metric.accuracy"].rolling(-(-TRIALS // trials)).mean().to_numpy()
    return float(np.flatnonzero(over >= ACCURACY)[0] + 1) if (over >= ACCURACY).any() else np.inf


def last_network(store: Store, name: str, optimizee: CueAssociation) -> np.ndarray:
    """Return the z (D,) that training came to."""
    from optimizers.gradient_ascent import GradientAscent

    return store.optimizer_state(name, GradientAscent().init(optimizee.space, 0)).z[0]


def summary(store: Store, names: list[str], settings: dict[str, Any]) -> None:
    """Print one row for each rule and noise level, over its seeds."""
    columns = ["network", "noise", "accuracy 0.97 over 100 trials: seeds, iteration", "mean reward 0.97: seeds"]
    columns += ["iterations, median (range)", "last mean reward"]
    columns += ["accuracy, 640 new trials", "hidden Hz", "output Hz", "s a run"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for noise in NOISES:
        for rule in RULES:
            mine = [name for name in names if parts(name)[:2] == (rule, noise)]
            rows = []
            for name in mine:
                done = tables.generations(store, name)
                if done.empty:
                    continue
                optimizee = job_of(*parts(name), settings).build()[0]
                assert isinstance(optimizee, CueAssociation)
                z = last_network(store, name, optimizee)
                test = optimizee.evaluate_batch(np.repeat(z[None], 10, axis=0), TEST_SEED - np.arange(10))
                mean = {key: value.mean() for key, value in test.metrics.items()}
                last = done["mean"].tail(WINDOW).mean()
                rows.append((len(done), last, mean["accuracy"], mean["rate_hidden"], mean["rate_out"],
                             done["seconds"].sum(), last >= GOAL and len(done) >= WINDOW,
                             first_accurate(store, name, optimizee.trials)))  # fmt: skip
            if not rows:
                continue
            n, last, accuracy, hidden, out, seconds, solved, accurate = np.array(rows, float).T
            name = figures.RULES[rule][0]
            spread = f"{np.median(n):.0f} ({n.min():.0f}-{n.max():.0f})"
            middle = [f"{np.median(x):.{digits}f}" for x, digits in ((last, 3), (accuracy, 3), (hidden, 0), (out, 0))]
            first = f"{np.median(accurate):.0f} ({accurate.min():.0f}-{accurate.max():.0f})"
            counts = [f"{np.isfinite(accurate).sum()} of {len(rows)}: {first}", f"{solved.sum():.0f} of {len(rows)}"]
            cells = [name, noise, *counts, spread, *middle, f"{np.median(seconds):.0f}"]
            print(f"| {' | '.join(cells)} |", flush=True)


def pictures(store: Store, names: list[str], settings: dict[str, Any], folder: Path) -> None:
    """Draw learning curves and firing rates; trials of Oja's networks and modulatory signals, of seed 1, high noise."""
    for noise in NOISES:
        curves: dict[str, list[np.ndarray]] = {rule: [] for rule in RULES}
        rates: dict[str, list[np.ndarray]] = {rule: [] for rule in RULES}
        for name in names:
            rule, of, _ = parts(name)
            if of == noise and store.load(name).generation:
                rows = tables.individuals(store, name).sort_values("generation")
                curves[rule].append(rows["fitness"].to_numpy())
                rates[rule].append(rows["metric.rate_hidden"].to_numpy())
        if any(curves.values()):
            title = f"Cue association, {noise} noise"
            figures.learning(curves, GOAL, "mean reward", title, folder / f"learning_{noise}.png")
            figures.learning(rates, np.nan, "hidden rate (Hz)", title, folder / f"rates_{noise}.png")
    for name in names:
        rule, noise, seed = parts(name)
        if (noise, seed) != ("high", 1) or not rule.endswith(("oja", "nd_bcm")) or not store.load(name).generation:
            continue
        optimizee = job_of(*parts(name), settings).build()[0]
        assert isinstance(optimizee, CueAssociation)
        params = optimizee.space.decode(last_network(store, name, optimizee))
        cases = {}
        for title, cue in (("random cues", None), ("left only", 0), ("right only", 1), ("no cues", -1)):
            cues = None if cue is None else np.full((1, optimizee.schedule.cues), cue)
            shown = optimizee.watch(params, 5, cues)
            cases[title] = {key: value[0] for key, value in shown.items()}
        if rule.endswith("oja"):
            told = f"{figures.RULES[rule][0]}, {noise} noise", folder / f"trial_{rule}.png"
            figures.trial(cases["random cues"], optimizee.schedule, optimizee.delta_tau, optimizee.v_th, *told)
        if rule == "nd_bcm":
            path = folder / f"modulation_{rule}.png"
            figures.modulation(cases, optimizee.schedule, optimizee.delta_tau, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", default="sqlite:///cue_association.db")
    parser.add_argument("--job", type=Path, default=ROOT / "jobs/cue_association_adam.yaml", help="how it is trained")
    parser.add_argument("--rules", nargs="+", default=SOURCE, choices=RULES)
    parser.add_argument("--noise", nargs="+", default=list(NOISES), choices=NOISES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], metavar="SEED")
    parser.add_argument("--iterations", type=int, help="at most; those of the job by default")
    parser.add_argument("--set", dest="fields", action="append", default=[], help="FIELD=VALUE of the optimizee")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--pictures", type=Path, help="a folder for the pictures")
    arguments = parser.parse_args()
    changed = [f"generations={arguments.iterations}"] if arguments.iterations else []
    settings = {"job": arguments.job, "settings": [*(f"optimizee.{field}" for field in arguments.fields), *changed]}
    names = [
        f"{rule}-{noise}-{seed}" for seed in arguments.seeds for noise in arguments.noise for rule in arguments.rules
    ]
    # read when a process starts: one thread each, and large pages, without which big buffers cost twice the time
    os.environ |= {"PJRT_NPROC": "1", "OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    Store(arguments.store).close()
    with ProcessPoolExecutor(arguments.processes, mp_context=get_context("spawn")) as pool:
        for line in pool.map(train, names, [arguments.store] * len(names), [settings] * len(names)):
            print(line, flush=True)
    with Store(arguments.store) as store:
        print()
        summary(store, names, settings)
        if arguments.pictures:
            pictures(store, names, settings, arguments.pictures)


if __name__ == "__main__":
    main()
