"""Tables and pictures of what `arm.py` and `arm_speed.py` left in a folder: docs/results/arm.md.

.venv/bin/python benchmarks/experiments/arm_report.py --runs runs/arm --pictures docs/results/arm
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from arm import ANGLES, CLIPS, POPULATIONS, RANGES, SEEDS

from l2l_snn.body import Forces
from optimizees.arm import ShiftedSine, figures, film
from optimizees.arm.brain import FixedWeights
from optimizees.arm.life import course
from optimizees.arm.loop import Given, Loop

STEP = 1.25e-3  # s
STANDS = 5  # degrees, largest angle in the last second of all tests of an arm that stands


def lives(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Return what the lives of one name have, those of all seeds that are there in front; {} if there are none."""
    paths = [folder / f"{name}-{seed}.json" for seed in SEEDS]
    found = [json.loads(path.read_text()) for path in paths if path.exists()]
    if not found:
        return {}
    flat = [{**one, **{f"{k}.{p}": v for k in ("rate_mean", "rate_max", "frozen_rate_mean", "frozen_rate_max")
                       for p, v in one[k].items()}} for one in found]  # fmt: skip
    return {key: np.array([one[key] for one in flat]) for key in flat[0] if not isinstance(flat[0][key], dict)}


def line(name: str, one: dict[str, np.ndarray]) -> str:
    """Return a row of the table of lives."""
    first, last = one["loss"][:, :10].mean(axis=1), one["loss"][:, -10:].mean(axis=1)
    rates = [one[f"rate_mean.{p}"][:, -10:].mean(axis=1) for p in POPULATIONS]
    tops = [one[f"rate_max.{p}"][:, -10:].max(axis=1) for p in POPULATIONS]
    error = one["frozen_last_second"].max(axis=1)
    cells = [name, str(len(first)), f"{np.median(first):.4f}", f"{np.median(last):.5f}", f"{(last < first / 2).sum()}"]
    cells += [f"{(error < STANDS).sum()}", f"{np.median(error):.1f} ({error.max():.1f})"]
    cells += [" / ".join(f"{np.median(x):.0f}" for x in kind) for kind in (rates, tops)]
    return f"| {' | '.join(cells)} |"


def table(folder: Path, names: dict[str, str]) -> None:
    """Print the table of those of some lives that are there."""
    if not any(lives(folder, name) for name in names):
        return
    print("\n| case | seeds | loss, first 10 | last 10 | halved | stand | error (largest) | Hz, mean | Hz, fastest |")
    print(f"|{' --- |' * 9}")
    for name, title in names.items():
        one = lives(folder, name)
        if one:
            print(line(title, one))


def watch(arrays: dict[str, np.ndarray], epoch: int, angle: float) -> dict[str, np.ndarray]:
    """Return how the arm moves with the weights after an epoch."""
    loop = Loop()
    given = Given(FixedWeights(*(jnp.asarray(arrays[name]) for name in FixedWeights._fields)), jnp.array(0.75))
    run = jax.jit(lambda w: course(loop, given, w, jnp.array([angle]), 4000))
    found = jax.device_get(run(jnp.asarray(arrays["w"][epoch - 1] if epoch else arrays["first"])))
    return {"q": found.q, "torque": found.torque, "level": found.level, **found.spikes._asdict()}


def stiffness(path: Path) -> None:
    """Draw figure 2.2 E: an angle that goes to and fro, and with it spikes to the muscle that is stretched."""
    limb = Loop().limb
    time = STEP * np.arange(1, 1601)
    q = np.radians(30) * np.sin(2 * np.pi * time)
    count = np.cumsum(
        np.clip(40 * np.stack([-np.sin(2 * np.pi * time), np.sin(2 * np.pi * time)], axis=1), 0, None) * STEP, 0
    )
    spikes = np.diff(np.floor(count), axis=0, prepend=0)
    w = np.gradient(q, STEP)

    def run(ratio: float) -> tuple[Forces, Any]:
        def step(state: Any, seen: Any) -> tuple[Any, Any]:
            q, w, spikes = seen
            for k in range(5):
                state = limb.excite(state, spikes if k == 0 else jnp.zeros(2))
            state = state._replace(q=q[None], w=w[None])
            return state, (limb.forces(state, ratio), state.activation.level)

        return jax.lax.scan(step, limb.init(), tuple(jnp.asarray(x, jnp.float32) for x in (q, w, spikes)))[1]

    found = {f"ratio {ratio:g}": jax.device_get(jax.jit(lambda r=ratio: run(r))()) for ratio in (0.0, 0.75, 0.85)}
    level = next(iter(found.values()))[1]
    figures.stiffness({name: forces for name, (forces, _) in found.items()}, q, spikes, level, STEP, path)


def isolated(path: Path) -> None:
    """Print and draw the network by itself, from two initial ranges (figure A.1)."""
    sine, cases = ShiftedSine(), {}
    print("\n| initial range | loss, first | last | late, ms, first | last | Hz, sensory | reservoir |")
    print(f"|{' --- |' * 7}")
    for size in (0.1, 0.001):
        z = sine.space.encode({"learning_rate": 1e-5, "momentum": 0.0, "initial_range": size})
        found = sine.evaluate_batch(np.repeat(z[None], len(SEEDS), axis=0), np.array(SEEDS), with_artifacts=True)
        names = ("loss_first", "loss_last", "delay_first", "delay_last", "rate_sensory", "rate_reservoir")
        print(f"| {size:g} | {' | '.join(f'{np.median(found.metrics[name]):.3g}' for name in names)} |", flush=True)
        cases[f"U(-{size:g}, {size:g})"] = {name: value[0] for name, value in found.artifacts.items()}
    figures.isolated(cases, STEP, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/arm"))
    parser.add_argument("--pictures", type=Path, required=True)
    options = parser.parse_args()
    folder, out = options.runs, options.pictures
    by_range = {f"range_{r:g}": f"U(-{r:g}, {r:g})" for r in RANGES}
    by_ratio = {"ratio_0": "ratio 0", "range_0.05": "ratio 0.75", "ratio_0.85": "ratio 0.85"}
    norms = {f"{group}_": f", clipped to {clip:g}" for group, clip in CLIPS.items()}
    for prefix, kind in {"": "", **norms, "printed_": ", eq. 2.12 as printed"}.items():
        table(folder, {prefix + name: title + kind for name, title in by_range.items()})
        table(folder, {prefix + name: title + kind for name, title in by_ratio.items()})
    others = ("energy", "muscle_senses", "drive", "rest_angle", "printed_surrogate", "forward")
    table(folder, {name: name.replace("_", " ") for name in others})

    for prefix, suffix in (("", ""), ("clipped_1_", "_clipped_1"), ("clipped_", "_clipped")):
        found = {title: one for name, title in by_range.items() if (one := lives(folder, prefix + name))}
        source = found["U(-0.05, 0.05)"]
        rates = {p: (source[f"rate_mean.{p}"], source[f"rate_max.{p}"]) for p in POPULATIONS}
        figures.rates(rates, out / f"rates{suffix}.png")
        if prefix != "clipped_":
            losses = {title: one["loss"] for title, one in found.items()}
            figures.learning(losses, out / f"learning{suffix}.png")
            figures.first_and_last(losses, out / f"first_and_last{suffix}.png")
            figures.weights({title: one["weight"][0] for title, one in found.items()}, out / f"weights{suffix}.png")
    forward = lives(folder, "forward")
    if forward:
        both = {"backward": lives(folder, "range_0.05")["loss"], "separable": forward["loss"]}
        figures.learning(both, out / "forward.png", "U(-0.05, 0.05), by two forms of the gradient")
    print("\n| ratio | summed loss of 1000 steps, mean of angles | of 4000 |\n| --- | --- | --- |")
    for prefix, kind in {"": "", **norms}.items():
        tested = {title: lives(folder, prefix + name) for name, title in by_ratio.items()}
        losses = {title: (one["frozen_loss_1000"], one["frozen_loss_4000"]) for title, one in tested.items()}
        for title, pair in losses.items():
            print(f"| {title}{kind} | {' | '.join(f'{np.median(x.mean(axis=1)):.2f}' for x in pair)} |")
        if prefix == "clipped_1_":
            figures.tested_losses(losses, ANGLES, out / "tested_losses.png")
    arrays = {title: dict(np.load(folder / f"clipped_1_{name}-{SEEDS[0]}.npz")) for name, title in by_ratio.items()}
    courses = {title: one["q"][..., 0][:, :1000] for title, one in arrays.items()}
    figures.tested_courses(courses, ANGLES, STEP, out / "tested_courses.png")
    clipped = dict(np.load(folder / f"clipped_range_0.05-{SEEDS[0]}.npz"))
    epochs = {epoch: watch(clipped, epoch, 0.5) for epoch in (0, 11, 82, 100)}
    cases = {f"after epoch {epoch}" if epoch else "before learning": epochs[epoch] for epoch in (0, 11, 82)}
    figures.behaviour(cases, STEP, out / "behaviour.png")
    film.animation(Loop().limb, epochs[100], out / "arm.gif")
    figures.muscle(Loop().activation, Loop().muscle, out / "muscle.png")
    stiffness(out / "stiffness.png")
    isolated(out / "isolated.png")


if __name__ == "__main__":
    main()
