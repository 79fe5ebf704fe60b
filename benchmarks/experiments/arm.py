"""The embodied arm with six initial ranges, three tendon ratios, and options: docs/results/arm.md.

    .venv/bin/python benchmarks/experiments/arm.py --out runs/arm main clipped clipped_1 options printed forward

Seeds 101 to 105, lives of 100 epochs, which then are tested frozen. Lives of one seed that differ in their
hyper-parameters alone share their fixed weights and run side by side; where there is one such life, its seeds do.
Gradients are those of backpropagation through the window, the fastest on one core of the three forms that give the same
numbers; the group `forward` has them by the separable form, as a check. Killed, the same command goes on with the first
batch that is missing: results are a JSON file a life, weights and courses an npz beside it.
`arm_report.py` makes tables and pictures of them.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optimizees.arm.brain import Brain
from optimizees.arm.life import Hyper, Life, Training, course, learn
from optimizees.arm.loop import Loop

SEEDS = (101, 102, 103, 104, 105)
RANGES = (0.005, 0.05, 0.1, 0.5, 1.0, 2.0)
SOURCE = Hyper(1e-4, 0.9, 0.05, 0.75)  # learning rate and momentum are not given there
CLIPS = {"clipped": 0.3, "clipped_1": 1.0}  # group -> largest norm of a gradient
GROUPS = ("main", *CLIPS, "options", "printed", "forward")
ANGLES = (30, 20, 10, -10, -20, -30)  # degrees
LAST = 800  # steps of the body in a second
POPULATIONS = ("sensory", "reservoir", "motor")


class Batch(NamedTuple):
    """Lives that can run side by side."""

    loop: Loop
    training: Training
    hypers: dict[str, Hyper]  # name of a life -> what it learns with
    window: int = 20


def batches(groups: list[str]) -> list[Batch]:
    """Return the lives of some groups."""
    loop, fast = Loop(), Training(form="backward")
    found = []
    ranges = {f"range_{r:g}": SOURCE._replace(initial_range=r) for r in RANGES}
    ratios = {f"ratio_{r:g}": SOURCE._replace(tendon_ratio=r) for r in (0.0, 0.85)}
    if "main" in groups:
        found.append(Batch(loop, fast, ranges | ratios))
    for group, clip in CLIPS.items():
        if group in groups:
            hypers = {f"{group}_{name}": hyper for name, hyper in (ranges | ratios).items()}
            found.append(Batch(loop, replace(fast, clip=clip), hypers))
    if "options" in groups:
        changed = {
            "energy": replace(loop, spike_cost=1e-4, contraction_cost=1e-3),
            "drive": replace(loop, brain=Brain(drive=10.0)),
            "rest_angle": replace(loop, rest_angle=0.1),
            "printed_surrogate": replace(loop, activation=replace(loop.activation, unit="step")),
        }
        found += [Batch(one, fast, {name: SOURCE}) for name, one in changed.items()]
        found.append(Batch(replace(loop, sense="muscle"), replace(fast, clip=1.0), {"muscle_senses": SOURCE}))
    if "printed" in groups:
        printed = replace(loop, activation=replace(loop.activation, unit="step"))
        found.append(Batch(printed, fast, {f"printed_{name}": hyper for name, hyper in ranges.items()}))
    if "forward" in groups:
        found.append(Batch(loop, Training(), {"forward": SOURCE}))
    return found


def live(batch: Batch, seeds: Sequence[int]) -> Iterator[tuple[str, int, dict[str, Any], dict[str, np.ndarray]]]:
    """Yield name and seed of each life of a batch, its results with those of its tests, and arrays for pictures."""
    loop, training, hinges = batch.loop, batch.training, len(batch.loop.limb.skeleton.hinges)

    def one(hyper: Hyper, key: jax.Array) -> tuple[Life, Any]:
        life = learn(loop, training, batch.window, hyper, key)
        test = jax.vmap(lambda q: course(loop, life.given, life.w, jnp.full(hinges, q), training.steps))
        return life, test(jnp.radians(jnp.array(ANGLES, float)))

    lanes = [(name, seed) for name in batch.hypers for seed in seeds]
    hypers = Hyper(*(jnp.array(x) for x in zip(*(batch.hypers[name] for name, _ in lanes), strict=True)))
    begin = time.process_time()
    if len(seeds) == 1:  # one reservoir for all
        found = jax.jit(jax.vmap(one, in_axes=(0, None)))(hypers, jax.random.key(seeds[0]))
    else:
        found = jax.jit(jax.vmap(one))(hypers, jnp.stack([jax.random.key(seed) for _, seed in lanes]))
    found = jax.device_get(found)
    seconds = (time.process_time() - begin) / len(lanes)
    for i, (name, seed) in enumerate(lanes):
        result, arrays = summary(*jax.tree.map(lambda x, i=i: np.asarray(x)[i], found), loop)
        own = {k: float(v) for k, v in batch.hypers[name]._asdict().items()}
        result |= {"seed": seed, "cpu_seconds": seconds, "form": training.form, **own, "window": batch.window}
        yield name, seed, result, arrays


def summary(life: Life, courses: Any, loop: Loop) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what is kept of one life and its tests."""
    epochs, q = life.epochs, courses.q  # (angles, T, J)
    seconds = np.maximum(epochs.steps, 1) * loop.limb.skeleton.timestep
    rates = {name: spikes / seconds[:, None] for name, spikes in zip(POPULATIONS, epochs.spikes, strict=True)}
    square, last = (q**2).sum(axis=-1), np.degrees(np.abs(q[:, -LAST:]))
    weights = epochs.w.reshape(len(epochs.w), -1)
    tested = [s.sum(axis=1) / (q.shape[1] * loop.limb.skeleton.timestep) for s in courses.spikes]  # (angles, neurons)
    result = {
        "loss": epochs.loss.tolist(),
        "whole": epochs.whole.tolist(),
        "steps": epochs.steps.tolist(),
        "first_angle": epochs.first[:, 0].tolist(),
        "steepest": epochs.steepest.tolist(),
        "rate_mean": {name: rate.mean(axis=-1).tolist() for name, rate in rates.items()},
        "rate_max": {name: rate.max(axis=-1).tolist() for name, rate in rates.items()},
        "weight": weights[:, np.abs(weights[1] - weights[0]).argmax()].tolist(),
        "frozen_last_second": last.max(axis=(1, 2)).tolist(),
        "frozen_mean_last_second": last.mean(axis=(1, 2)).tolist(),
        "frozen_loss_1000": square[:, :1000].sum(axis=1).tolist(),
        "frozen_loss_4000": square.sum(axis=1).tolist(),
        "frozen_rate_mean": {name: float(r.mean()) for name, r in zip(POPULATIONS, tested, strict=True)},
        "frozen_rate_max": {name: float(r.max()) for name, r in zip(POPULATIONS, tested, strict=True)},
        "frozen_activation": float(courses.level.mean()),
    }
    arrays = {"q": q, "torque": courses.torque, "level": courses.level, "w": epochs.w, "first": life.first}
    arrays |= life.given.fixed._asdict()
    arrays = {name: value.astype(np.float32) for name, value in arrays.items()}
    return result, arrays | {
        f"spikes_{name}": s.astype(np.int8) for name, s in zip(POPULATIONS, courses.spikes, strict=True)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="+", choices=GROUPS)
    parser.add_argument("--out", type=Path, default=Path("runs/arm"))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--only", nargs="+", default=(), metavar="LIFE", help="of these groups, such as drive")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for batch in batches(options.groups):
        batch = batch._replace(hypers={n: h for n, h in batch.hypers.items() if not options.only or n in options.only})
        if not batch.hypers:
            continue
        together = len(batch.hypers) == 1
        for seeds in [options.seeds] if together else [[seed] for seed in options.seeds]:
            path = {(name, seed): options.out / f"{name}-{seed}.json" for name in batch.hypers for seed in seeds}
            if all(one.exists() for one in path.values()):
                continue
            for name, seed, result, arrays in live(batch, seeds):
                if seed == SEEDS[0]:
                    np.savez_compressed(path[name, seed].with_suffix(".npz"), **arrays)
                path[name, seed].write_text(json.dumps(result))
                loss, end = np.array(result["loss"]), np.round(result["frozen_last_second"], 1).tolist()
                ends = f"{loss[:10].mean():.4f} -> {loss[-10:].mean():.4f}"
                print(f"{name} {seed}: {result['cpu_seconds']:.0f} s, loss {ends}, frozen {end} degrees", flush=True)


if __name__ == "__main__":
    main()
