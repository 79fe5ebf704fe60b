"""What DEEP R costs: an LSNN trained with all connections, with few that are rewired, and with few that are not.

    PJRT_NPROC=1 .venv/bin/python benchmarks/engine/rewiring.py --out docs/results/rewiring

The task: which of 10 patterns is it? A pattern gives each of 16 inputs one of two rates; 64 further inputs only make
noise. 40 LIF and 20 adaptive LIF neurons, recurrent, see the 80 Poisson inputs for 50 ms; a linear readout turns their
spike counts into log-odds. Backpropagation through time with Adam, the same number of updates for all; error is the
share of wrong answers to 10,000 new samples. Each seed has patterns, weights and noise of its own.

Networks: all connections; a share of them, drawn at first, under DEEP R; the same share, the same initial weights,
without rewiring. Readout weights are all there in each.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2l_snn.results.figures import BLACK, BLUE, GREY, ORANGE, new_figure, save, styled
from l2l_snn.snn.cells import LIF, AdaptiveLIF
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.rewiring import deep_r, sparse_weights
from l2l_snn.snn.surrogate import triangle

CLASSES, INFORMATIVE, INPUTS, REGULAR, ADAPTIVE, STEPS = 10, 16, 80, 40, 20, 50
HIDDEN = REGULAR + ADAPTIVE
SHAPES = {"in": (INPUTS, HIDDEN), "rec": (HIDDEN, HIDDEN)}
LOW, HIGH, NOISE = 0.03, 0.09, 0.06  # spikes a ms
BATCH, TESTED = 64, 10_000
RATE, L1 = 0.005, 0.01  # of Adam; decay of DEEP R, as in Bellec et al. 2018
SCALE = {"in": 0.3, "rec": 0.1}  # of initial weights, in the cells' unit

Weights = dict[str, jax.Array]


def network() -> Network:
    adapts = np.arange(HIDDEN) >= REGULAR
    cell = AdaptiveLIF(
        v_th=np.where(adapts, AdaptiveLIF().v_th, LIF().v_th),
        beta=np.where(adapts, AdaptiveLIF().beta, 0.0),
        spike=triangle(0.3),
    )
    populations = {"in": Population(INPUTS), "lsnn": Population(HIDDEN, cell)}
    return Network(populations, {"in": Projection("in", "lsnn"), "rec": Projection("lsnn", "lsnn")}, dt=1.0)


def draw(key: jax.Array, patterns: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """Return spikes (STEPS, count, INPUTS) and labels (count,); patterns (CLASSES, INPUTS) are spikes a ms."""
    which, when = jax.random.split(key)
    labels = jax.random.randint(which, (count,), 0, CLASSES)
    u = jax.random.uniform(when, (STEPS, count, INPUTS))
    return (u < patterns[labels][None]).astype(jnp.float32), labels


def log_odds(net: Network, weights: Weights, spikes: jax.Array) -> jax.Array:
    state = net.init({name: weights[name] for name in SHAPES}, batch=spikes.shape[1])
    _, record = net.rollout(state, spikes={"in": spikes}, record="counts.lsnn", reverse_only=True)
    return record.counts["lsnn"] @ weights["out"]


def train(net: Network, rule: Any, fixed: bool, steps: int, key: jax.Array, weights: Weights) -> tuple[Weights, Any]:
    """Return the weights after training, and the share of wrong answers to new samples.

    Args:
        net: the network.
        rule: of Optax.
        fixed: whether connections that aren't there at first may not come.
        steps: updates.
        key: of patterns and samples.
        weights: to start with.
    """
    of_patterns, of_training, of_test = jax.random.split(key, 3)
    told = jnp.where(jax.random.bernoulli(of_patterns, 0.5, (CLASSES, INFORMATIVE)), HIGH, LOW)
    patterns = jnp.concatenate([told, jnp.full((CLASSES, INPUTS - INFORMATIVE), NOISE)], axis=1)

    def loss(weights: Weights, key: jax.Array) -> jax.Array:
        spikes, labels = draw(key, patterns, BATCH)
        log_p = jax.nn.log_softmax(log_odds(net, weights, spikes))
        return -jnp.take_along_axis(log_p, labels[:, None], axis=1).mean()

    there = jax.tree.map(lambda w: jnp.where(fixed, (w != 0) * 1.0, 1.0), weights)

    def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
        weights, memory = carry
        slope = jax.tree.map(jnp.multiply, jax.grad(loss)(weights, key), there)
        change, memory = rule.update(slope, memory, weights)
        return (optax.apply_updates(weights, change), memory), None

    (weights, _), _ = jax.lax.scan(step, (weights, rule.init(weights)), jax.random.split(of_training, steps))

    def wrong(key: jax.Array) -> jax.Array:
        spikes, labels = draw(key, patterns, 1000)
        return (log_odds(net, weights, spikes).argmax(axis=1) != labels).mean()

    return weights, jax.lax.map(wrong, jax.random.split(of_test, TESTED // 1000)).mean()


def connections(weights: Weights) -> int:
    return sum(int((weights[name] != 0).sum()) for name in SHAPES)


def measure(net: Network, shares: list[float], seeds: int, steps: int) -> dict[str, dict[str, Any]]:
    """Return what became of each network: errors (seeds,), connections before and after, seconds of processor."""
    keys = jax.random.split(jax.random.key(0), 2)
    signs = {  # one a connection, as in the paper; the same for all seeds
        name: jnp.sign(jax.random.normal(key, SHAPES[name])) for key, name in zip(keys, SHAPES, strict=True)
    }
    plain, rewired = optax.adam(RATE), deep_r(optax.adam(RATE), signs, learning_rate=RATE, l1=L1)
    runs: list[tuple[str, float, Callable[..., Any]]] = [
        ("dense", 1.0, jax.jit(partial(train, net, plain, False, steps)))
    ]
    for share in shares:
        runs.append((f"DEEP R, {share:.0%}", share, jax.jit(partial(train, net, rewired, False, steps))))
        runs.append((f"fixed, {share:.0%}", share, jax.jit(partial(train, net, plain, True, steps))))
    found: dict[str, dict[str, Any]] = {name: {"error": [], "before": [], "after": [], "s": []} for name, *_ in runs}
    for seed in range(1, seeds + 1):
        of_weights, of_task = jax.random.split(jax.random.key(seed))
        for name, share, run in runs:
            started = dict(zip([*SHAPES, "out"], jax.random.split(of_weights, 3), strict=True))
            weights = {p: sparse_weights(started[p], signs[p], connectivity=share, scale=SCALE[p]) for p in SHAPES} | {
                "out": 0.1 * jax.random.normal(started["out"], (HIDDEN, CLASSES))
            }
            began = time.process_time()
            after, error = jax.block_until_ready(run(of_task, weights))
            one = {"error": float(error), "before": connections(weights), "after": connections(after)}
            for key, value in (one | {"s": time.process_time() - began}).items():
                found[name][key].append(value)
            print(f"seed {seed}, {name}: {one}", flush=True)
    return found


@styled
def draw_errors(found: dict[str, dict[str, Any]]) -> Any:
    figure, axes = new_figure()
    for x, (name, one) in enumerate(found.items()):
        color = {"d": BLACK, "D": BLUE, "f": ORANGE}[name[0]]
        axes.plot([x] * len(one["error"]), one["error"], "o", color=color, alpha=0.6)
        axes.plot([x - 0.25, x + 0.25], 2 * [np.median(one["error"])], color=color, linewidth=3)
    dense = np.median(found["dense"]["error"])
    axes.axhline(1.1 * dense, color=GREY, linestyle="--", label="10 % above the dense network")
    axes.set_xticks(range(len(found)), list(found))
    axes.set(ylabel="share of wrong answers", title="Seeds and their median", ylim=(0, None))
    axes.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300, help="updates")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.2, 0.1, 0.05])
    parser.add_argument("--out", type=Path, help="folder for the picture")
    options = parser.parse_args()
    found = measure(network(), options.shares, options.seeds, options.steps)
    dense = np.array(found["dense"]["error"])
    print(
        "\n| network | error, median (quartiles) | over dense, median | connections before | after | s of processor |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, one in found.items():
        low, middle, high = np.quantile(one["error"], (0.25, 0.5, 0.75))
        counts = [", ".join(map(str, sorted(set(one[when])))) for when in ("before", "after")]
        ratio = np.median(np.array(one["error"]) / dense)
        cells = [name, f"{middle:.4f} ({low:.4f} to {high:.4f})", f"{ratio:.2f}", *counts, f"{np.median(one['s']):.1f}"]
        print(f"| {' | '.join(cells)} |")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        print(save(draw_errors(found), options.out / "error.png"))


if __name__ == "__main__":
    main()
