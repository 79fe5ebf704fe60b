"""Results of hybrid networks over seeds, beside what they are compared with: docs/results/hybrid.md.

    python benchmarks/experiments/hybrid.py modulation --seeds 101 102 103 --out runs/hybrid
    python benchmarks/experiments/hybrid.py sensing ...        and reasoning, units
    python benchmarks/experiments/hybrid.py overhead --out runs/hybrid
    ... --only events                                          one of the networks that are compared

Each network and seed leaves a file NETWORK-WHICH-SEED.npz; one that is there isn't made again, so a command that was
stopped goes on. `python benchmarks/experiments/hybrid_figures.py runs/hybrid docs/results/hybrid` prints tables and
draws. Settings were tried on seeds 1 and 2 and on validation examples; the seeds above are used once, on test examples.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.hybrid import HybridUnit
from optimizees.hybrid import Modulation, Reasoning, Sensing, Tasks, Training
from optimizees.hybrid.modulation import vary
from optimizees.hybrid.scenes import KINDS

HMN = Modulation(
    training=Training(batch=32, iterations=200, learning_rate=0.06, tests=300),
    tasks=Tasks(context=64),
    hidden=1500,
    backbone=64,
    share=0.04,
)
HSN = Sensing(training=Training(iterations=150, batch=32, learning_rate=0.03))
HRN = Reasoning(training=Training(iterations=150, batch=32, learning_rate=0.06))
SIMILAR = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def run_modulation(net: Modulation, seed: int) -> dict[str, Any]:
    """Return accuracies of all tasks after each (K, K), of unlearned ones by similarity, activity and thresholds."""
    examples, K = np.random.default_rng([seed, 1]), net.tasks.count
    orders = net.tasks.permutations(np.random.default_rng([seed, 1]))
    exams, table, last = list(net.exams(examples, "test")), [], []

    def after(lesson: int, z: np.ndarray) -> None:
        if lesson >= net.modulated:
            table.append([float(net.measure(z, net.designed, exam)["accuracy"]) for exam in exams])
        last[:] = [z]

    start = time.process_time()
    net.train(net.designed, seed, after=after)
    seconds, found = time.process_time() - start, {}
    generator = np.random.default_rng([seed, 2])
    unlearned = np.zeros((K, len(SIMILAR)))
    for k, order in enumerate(orders):
        for i, share in enumerate(SIMILAR):
            exam = net.tasks.examples(vary(order, 1 - share, generator), generator, net.training.tests, "test")
            unlearned[k, i] = net.measure(last[0], net.designed, exam)["accuracy"]
    related = [vary(orders[0], 1 - share, generator) for share in SIMILAR[-2:0:-1]]
    for order in [*orders, *related]:
        exam = net.tasks.examples(order, generator, net.training.tests, "test")
        shown = net.measure(last[0], net.designed, exam)
        for name in ("activity", "thresholds"):
            found.setdefault(name, []).append(shown[f"shown.{name}"])
    return {"table": table, "unlearned": unlearned, "seconds": seconds, "pictures": exams[0]["x"][:4]} | found


def run_sensing(net: Sensing, seed: int) -> dict[str, Any]:
    """Return the error over test recordings, operations by part, and the first recording."""
    start = time.process_time()
    z = net.train(net.designed, seed)
    seconds = time.process_time() - start
    found = net.score(z, net.designed, seed, "test")
    counted = net.operations(found["rate"], found["seen"])
    shown = {name[6:]: value for name, value in found.items() if name.startswith("shown.")}
    kernels = net.kernels(net.weights.decode(jnp.asarray(z)), net.designed)
    return {
        "error": found["error"],
        "rate": found["rate"],
        "seconds": seconds,
        "parts": list(counted),
        "operations": list(counted.values()),
        "kernels": [np.asarray(kernel) for kernel in kernels.values()],
        "z": z,
    } | shown


def run_units(net: Sensing, seed: int) -> dict[str, Any]:
    """Return the error before and after a second training of the same length, in which only some weights learn."""
    first = replace(net, learned="designed")
    z = first.train(net.designed, seed)
    after = net.train(net.designed, seed + 1000, begin=z)
    before = first.score(z, net.designed, seed, "test")["error"]
    return {"before": before, "error": net.score(after, net.designed, seed, "test")["error"]}


def overhead(out: Path) -> None:
    """Measure what hybrid units cost in the sensing network's sizes: time with and without them, in turn."""
    T, B, N, W = 60, 32, HSN.hidden, 20
    x = (np.random.default_rng(1).uniform(size=(T, B, N)) < 0.1).astype(np.float32)
    units = {
        "rates, W 20, each step": HybridUnit(W, np.full(W, 1 / W, np.float32)),
        "rates, W 20, once in 20 steps": HybridUnit(W, np.full(W, 1 / W, np.float32), stride=W),
        "timing, W 3": HybridUnit(3, np.ones(3, np.float32)),
        "a kernel for each signal, W 20": HybridUnit(W, np.full((W, N), 1 / W, np.float32)),
    }

    def chain(unit: Callable[[Any], Any]) -> tuple[Any, Any]:
        def cost(x: Any) -> Any:
            return jnp.square(unit(x)).sum()

        return jax.jit(unit), jax.jit(jax.grad(cost))

    timed = {name: chain(unit) for name, unit in units.items()}
    small = replace(HSN, recordings=replace(HSN.recordings, count=B))
    batch, weights = small.sample(np.random.default_rng(1)), np.zeros(HSN.weights.size, np.float32)

    def whole(z: Any) -> Any:
        return small.objective(small.weights.decode(z), small.designed, jax.random.key(0), batch)[0]

    inputs: dict[str, Any] = dict.fromkeys(timed, x) | {"the whole sensing network": weights}
    timed["the whole sensing network"] = jax.jit(whole), jax.jit(jax.grad(whole))
    rows: dict[str, list[list[float]]] = {name: [[], []] for name in timed}
    for repeat in range(21):  # in turn; the first compiles
        for name, functions in timed.items():
            for i, f in enumerate(functions):
                start = time.process_time()
                jax.block_until_ready(f(inputs[name]))
                if repeat:
                    rows[name][i].append(time.process_time() - start)
    names = list(rows)
    times = [[1000 * float(np.median(part)) for part in rows[name]] for name in names]
    counted = [units[name].operations(T, N, 0.1) * B for name in units]
    counted.append(sum(HSN.operations(0.1, 0.05).values()) * B * T / 200)
    np.savez(out / "overhead.npz", names=names, ms=times, operations=counted)
    for name, ms, count in zip(names, times, counted, strict=True):
        print(f"{name}: {ms[0]:.2f} ms, gradient {ms[1]:.2f} ms, {count:.3g} operations")


def run_reasoning(net: Reasoning, seed: int) -> dict[str, Any]:
    """Return accuracies over test questions, all and by kind, without and with a tenth of the neurons removed."""
    start = time.process_time()
    z = net.train(net.designed, seed)
    found: dict[str, Any] = {"seconds": time.process_time() - start}
    exam = next(iter(net.exams(np.random.default_rng(seed), "test")))
    for share in (0.0, 0.1, 0.3):
        draws = [net if share == 0 else replace(net, removed=share)] * (1 if share == 0 else 5)
        rows = [one.measure(z, net.designed, exam, seed=1000 * seed + i) for i, one in enumerate(draws)]
        for name in ("accuracy", *KINDS):
            found[f"{name}_{share:g}"] = float(np.mean([row[name] for row in rows]))
        found |= {"concepts": rows[0]["concepts"], "program": rows[0]["program"]}
    shown = net.measure(z, net.designed, exam)
    return found | {name[6:]: value for name, value in shown.items() if name.startswith("shown.")}


EXPERIMENTS: dict[str, tuple[Callable[[Any, int], dict[str, Any]], dict[str, Any]]] = {
    "modulation": (
        run_modulation,
        {"modulated": HMN, "alone": replace(HMN, modulated=False)}
        | {"slower": replace(HMN, modulated=False, training=replace(HMN.training, learning_rate=0.012))},
    ),
    "sensing": (run_sensing, {ways: replace(HSN, ways=ways) for ways in ("both", "frames", "events")}),
    "reasoning": (run_reasoning, {"spiking": HRN, "twin": replace(HRN, spiking=False)}),
    "units": (
        run_units,
        {
            learned: replace(HSN, learned=learned, training=replace(HSN.training, iterations=75))
            for learned in ("designed", "alone", "neighbours", "everything")
        },
    ),
}


def missing(name: str, options: argparse.Namespace) -> Iterator[tuple[Path, Any, int]]:
    """Yield file, network and seed of what has not been run yet."""
    for seed in options.seeds:
        for which, net in EXPERIMENTS[name][1].items():
            path = options.out / f"{name}-{which}-{seed}.npz"
            if options.only in (which, "") and not path.exists():
                yield path, net, seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=[*EXPERIMENTS, "overhead"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[101, 102, 103])
    parser.add_argument("--only", default="", help="one of the networks that are compared")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.experiment == "overhead":
        return overhead(options.out)
    run = EXPERIMENTS[options.experiment][0]
    for path, net, seed in missing(options.experiment, options):
        found = run(net, seed)
        np.savez(path, **{name: np.asarray(value) for name, value in found.items()})
        numbers = {name: value for name, value in found.items() if np.ndim(value) == 0}
        last = {"tasks": np.round(found["table"][-1], 3).tolist()} if "table" in found else {}
        print(path.stem, {name: round(float(value), 4) for name, value in numbers.items()} | last, flush=True)
    return None


if __name__ == "__main__":
    main()
