"""Speed and memory of the embodied arm, all sides in one run: docs/results/arm.md.

    taskset -c 0 .venv/bin/python benchmarks/experiments/arm_speed.py --out runs/arm

One second of the arm with learning on, by the three forms of the gradient, and by the separable one without the muscle
model (a pull is F_max times the activation level, whatever length and velocity); 256 arms with different
hyper-parameters, in groups of 8 side by side; compile and run time against the size of the reservoir; memory over
200,000 steps of the body. Times are the best of three, in seconds of the processor (what other programs take isn't
counted). The general form is measured over one window of 25 ms and multiplied by 40 from 500 neurons on. Parts and
sizes that aren't asked for stay as they are in speed.json.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from l2l_snn.body import HillMuscle
from l2l_snn.body.muscle import Force
from optimizees.arm import figures
from optimizees.arm.brain import Brain
from optimizees.arm.gradients import learn_window, run_window
from optimizees.arm.life import Hyper, Training, learn, put
from optimizees.arm.loop import Given, Loop

SECOND = 800  # steps of the body
NEURONS = (50, 100, 200, 500, 1000, 2000)
WINDOWS = SECOND // 20
LONG = 500  # neurons from which on one window of the general form is measured, and all else once
GROUP = 8


@dataclass(frozen=True)
class NoMuscle(HillMuscle):
    """A motor in the muscle's place, whose force is its activation level alone."""

    def pull(self, level: Any, fibre: Any, shortening: Any) -> Force:
        return Force(self.f_max * level, jnp.zeros_like(level))


def measure(function: Callable[[], Any], repeats: int = 3) -> float:
    """Return the processor's seconds of a call, the best of some."""
    best = np.inf
    for _ in range(repeats):
        begin = time.process_time()
        jax.block_until_ready(function())
        best = min(best, time.process_time() - begin)
    return best


def second(loop: Loop, form: str) -> tuple[float, float]:
    """Return seconds to compile and to run one second of the arm; "none": without a gradient."""
    long = loop.brain.reservoir >= LONG
    windows = 1 if long and form == "general" else WINDOWS
    given = Given(loop.brain.sample_fixed(jax.random.key(0), loop.sensory), jnp.array(0.75))
    w = 0.05 * jax.random.uniform(jax.random.key(1), (loop.brain.reservoir, loop.muscles), float, -1, 1)
    state = put(loop.init(), jnp.array([0.5]), jnp.zeros(1))

    def window(carry: Any, _: Any) -> tuple[Any, None]:
        w, state = carry
        options = {"loop": loop, "given": given, "w": w, "state": state, "steps": 20}
        found = run_window(**options) if form == "none" else learn_window(**options, form=form)
        return (w - 1e-4 * found.grad, found.state), None

    run = jax.jit(lambda w, state: jax.lax.scan(window, (w, state), length=windows)[0])
    begin = time.process_time()
    compiled = run.lower(w, state).compile()
    compilation = time.process_time() - begin
    return compilation, measure(lambda: compiled(w, state), 1 if long else 3) * WINDOWS / windows


def many(arms: int) -> float:
    """Return the seconds of the arm a second, in all, of arms with different hyper-parameters that learn."""
    loop, training = Loop(), Training(epochs=1, steps=SECOND, tail=SECOND // 2)
    generator = np.random.default_rng(0)
    low, high = Hyper(1e-5, 0.0, 0.01, 0.0), Hyper(1e-3, 0.95, 1.0, 0.85)
    hyper = Hyper(
        *(jnp.array(generator.uniform(*ends, (arms // GROUP, GROUP)), float) for ends in zip(low, high, strict=True))
    )
    keys = jax.random.split(jax.random.key(0), (arms // GROUP, GROUP))
    one = jax.vmap(lambda hyper, key: learn(loop, training, 20, hyper, key).epochs.loss)
    run = jax.jit(lambda hyper, keys: jax.lax.map(lambda x: one(*x), (hyper, keys))).lower(hyper, keys).compile()
    return arms / measure(lambda: run(hyper, keys), 1)


def memory(steps: int) -> tuple[list[int], list[float]]:
    """Return steps of the body done and the process's memory (MB) after each epoch of one life, an epoch a call."""
    loop, training = Loop(), Training(epochs=1, form="separable")
    run = jax.jit(lambda key: learn(loop, training, 20, Hyper(1e-4, 0.9, 0.05, 0.75), key).epochs.loss)
    process, done, used = psutil.Process(), [], []
    for epoch in range(steps // training.steps):
        jax.block_until_ready(run(jax.random.key(epoch)))
        done.append((epoch + 1) * training.steps)
        used.append(process.memory_info().rss / 2**20)
    return done, used


def scale(neurons: Sequence[int], times: dict[str, dict[str, tuple[float, float]]]) -> None:
    """Add seconds to compile and to run a second of the arm to form -> size of the reservoir -> these."""
    sides = {form: (form, Loop()) for form in ("separable", "general", "backward", "none")}
    sides["separable, no muscles"] = "separable", Loop(muscle=NoMuscle())
    for side, (form, loop) in sides.items():
        for n in neurons:
            compilation, run = second(replace(loop, brain=Brain(reservoir=n)), form)
            times.setdefault(side, {})[str(n)] = compilation, run
            print(f"{side}, {n} neurons: {compilation:.1f} s to compile, {run:.3f} s a second of the arm", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=("arms", "scaling", "memory"), help="arms, scaling, memory")
    parser.add_argument("--out", type=Path, default=Path("runs/arm"))
    parser.add_argument("--neurons", type=int, nargs="+", default=NEURONS, help="of the reservoir")
    parser.add_argument("--steps", type=int, default=200_000)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_enable_compilation_cache", False)  # what was compiled before would take no time
    file = options.out / "speed.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if "arms" in options.parts:
        found["256 arms"] = many(256)
        print(f"256 arms: {found['256 arms']:.1f} s of the arm a second in all", flush=True)
    if "scaling" in options.parts:
        scale(options.neurons, found.setdefault("times", {}))
        sizes = sorted({int(n) for by_size in found["times"].values() for n in by_size})
        by_form = {
            form: tuple(zip(*(by_size[str(n)] for n in sizes if str(n) in by_size), strict=True))
            for form, by_size in found["times"].items()
        }
        figures.scaling(sizes, by_form, options.out / "scaling.png")
    if "memory" in options.parts:
        done, used = memory(options.steps)
        ends = f"{used[0]:.0f} MB after {done[0]} steps, {used[-1]:.0f} after {done[-1]}"
        print(f"memory: {ends}, at most {max(used):.0f}")
        found |= {"steps": done, "megabytes": used}
        figures.memory(np.array(done), np.array(used), options.out / "memory.png")
    file.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
