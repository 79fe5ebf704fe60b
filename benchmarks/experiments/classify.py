"""Learning results of classification through time: a job's network over seeds, whole epochs, the full test set.

    python benchmarks/experiments/classify.py jobs/stbp_mnist.yaml --seeds 101 102 103 --out rows.jsonl
    ... --set optimizee.curve=gaussian                        one entry of the job changed, as with `l2l run`
    ... --weights folder                                      keeps the best weights of each seed
    ... --rewire 0.12                                         an LSNN under DEEP R, with so many of its connections

Network, examples, loss and step rule are the job's; what `l2l run` does with one minibatch a generation is done here
in one process without a store. Every epoch shows each example once, in an order drawn from the seed. After every
`--every` iterations the held-out examples are answered; the weights that did best on them answer the test set, once.
A line of JSON a seed, with the curve; with `--rewire` also who connects to whom at the end, as shares of all places.
DEEP R is that of Bellec et al. 2018 (l1 0.01, temperature 0, one number of connections for all matrices together);
three quarters of sources and of regular neurons are excitatory, or as many as the job says, and all adaptive neurons.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2l_snn.loop.job import load
from l2l_snn.seeding import jax_key, seed_words
from l2l_snn.snn.rewiring import deep_r, draw_signs, sparse_weights
from optimizees.classify import Classifier, FrameLSNN, SequentialLSNN, figures
from optimizers.gradient_ascent import GradientAscent


def minibatches(examples: Any, batch: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield minibatches for ever, each example once in an epoch."""
    generator = np.random.default_rng(seed)
    while True:
        order = generator.permutation(len(examples.x))
        for i in range(0, len(order) - batch + 1, batch):
            yield examples.x[order[i : i + batch]], examples.y[order[i : i + batch]]


def in_parts(net: Classifier, z: Any) -> dict[str, Any]:
    """Return z (D,) as one array a parameter, of its shape."""
    return {name: z[net.space.slices[name]].reshape(p.shape) for name, p in net.space.parameters.items()}


def joined(parts: dict[str, Any]) -> Any:
    """Return z (D,) of arrays in the order of the space."""
    return jnp.concatenate([part.ravel() for part in parts.values()])


def compile_step(net: Classifier, rule: optax.GradientTransformation) -> Any:
    """Return the jitted function that takes one step of the rule."""

    def step(z: Any, memory: Any, words: Any, x: Any, y: Any) -> Any:
        def cost(z: Any) -> Any:
            # one by one: of z (D,) a step would copy all weights and their gradients
            params = {name: parameter.decode(z[name]) for name, parameter in net.space.parameters.items()}
            return net.objective(params, jax_key(words), x, y)

        (_, found), grad = jax.value_and_grad(cost, has_aux=True)(z)
        updates, memory = rule.update(grad, memory, z)
        kept = {name: found[name] for name in ("loss", "accuracy", "rate")}
        z = optax.apply_updates(z, updates)
        return {name: z[name] for name in net.space.parameters}, memory, kept

    return jax.jit(step, donate_argnums=(0, 1))


def signs_of(net: Any, seed: int) -> dict[str, jax.Array]:
    """Return the signs of the connections of an LSNN; those of features that are currents have a sign each."""
    keys = jax.random.split(jax.random.key(seed), 2)
    speech = isinstance(net, FrameLSNN)
    share = net.excitatory / net.regular if speech else 0.75
    regular = draw_signs(keys[0], net.regular, 1, excitatory=share)[:, 0]
    neurons = jnp.concatenate([regular, jnp.ones(net.adaptive)])[:, None]
    recurrent = jnp.broadcast_to(neurons, (net.neurons, net.neurons)) * (1 - jnp.eye(net.neurons))
    readout = jnp.broadcast_to(neurons, (net.neurons, net.classes))
    inputs = draw_signs(keys[1], net.sources, net.neurons)
    if speech and net.code == "current":
        inputs = jax.random.rademacher(keys[1], inputs.shape, inputs.dtype)
    return {"w_in": inputs, "w_rec": recurrent, "w_out": readout}


def shares(net: Any, z: np.ndarray, signs: dict[str, jax.Array]) -> dict[str, float]:
    """Return which share of the places between two groups is connected: X sources, E, I regular, A adaptive, Y."""
    neurons, sources = np.asarray(signs["w_out"][:, 0]), np.asarray(signs["w_in"][:, 0])
    adaptive = np.arange(net.neurons) >= net.regular
    kinds = {"E": ~adaptive & (neurons > 0), "I": ~adaptive & (neurons < 0), "A": adaptive}
    rows = {"w_in": {"X+": sources > 0, "X-": sources < 0}, "w_rec": kinds, "w_out": kinds}
    columns = {"w_in": kinds, "w_rec": kinds, "w_out": {"Y": np.ones(net.classes, bool)}}
    there, found = {name: np.asarray(part) != 0 for name, part in in_parts(net, z).items()}, {}
    for name, groups in rows.items():
        for pre, row in groups.items():
            for post, column in columns[name].items():
                if row.any() and column.any():
                    found[f"{pre} to {post}"] = float(there[name][np.ix_(row, column)].mean())
    return found


def train(net: Classifier, optimizer: GradientAscent, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return what one seed reached, with its best z."""
    rule, signs = optimizer.step.transformation(), {}
    z = in_parts(net, jnp.asarray(net.space.sample(np.random.default_rng(seed), 1)[0], jnp.float32))
    if options.rewire:
        signs = signs_of(net, seed)
        by_size: Any = dict.fromkeys(signs, options.rewire)
        rule = deep_r(rule, signs, learning_rate=optimizer.step.learning_rates(), l1=0.01, seed=seed, shared=by_size)
        for key, (name, s) in zip(jax.random.split(jax.random.key(seed + 1), 3), signs.items(), strict=True):
            z[name] = sparse_weights(key, s, connectivity=options.rewire, scale=len(s) ** 0.5)  # z is in 1 / sqrt(n)
    step = compile_step(net, rule)
    memory, batches = rule.init(z), minibatches(net.data.training(), net.data.batch, seed)
    held_out, curve, best, start = net.data.validation(), [], (np.inf, 0.0, 0, np.array(joined(z))), time.time()
    for i in range(1, options.iterations + 1):
        z, memory, found = step(z, memory, seed_words(seed * 10_000_000 + i), *next(batches))
        if i % options.every and i != options.iterations:
            continue
        now = np.array(joined(z))
        loss, accuracy = net.measure(now, held_out)
        seconds = time.time() - start
        curve.append([i, *(float(found[name]) for name in ("loss", "accuracy", "rate")), loss, accuracy, seconds])
        if np.isfinite(loss) and loss < best[0]:
            best = loss, accuracy, i, now
        text = f"seed {seed}, {i}: loss {curve[-1][1]:.4f}, held out {loss:.4f} {100 * accuracy:.2f} %, {seconds:.0f} s"
        print(f"{text}, rate {curve[-1][3]:.3g}", flush=True)
        stands_still = options.patience and i - best[2] >= options.patience * options.every
        if not np.isfinite(loss) or stands_still or (options.hours and seconds > 3600 * options.hours):
            break
    test_loss, test_accuracy = net.measure(best[3], net.data.testing())
    return {
        "seed": seed,
        "test_accuracy": test_accuracy,
        "test_loss": test_loss,
        "validation_accuracy": best[1],
        "best_iteration": best[2],
        "seconds": time.time() - start,
        "curve": curve,
        "connected": shares(net, best[3], signs) if signs else None,
        "z": best[3],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one entry of the job")
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--every", type=int, default=550, help="iterations between validations")
    parser.add_argument("--patience", type=int, default=0, help="validations without a better one; 0: no end")
    parser.add_argument("--hours", type=float, default=0.0, help="after which a seed is trained no longer; 0: no end")
    parser.add_argument("--rewire", type=float, default=0.0, help="share of connections under DEEP R; 0: all, fixed")
    parser.add_argument("--picture", type=Path, help="with --rewire: who connects to whom, a mean over seeds")
    parser.add_argument("--out", type=Path, help="append a line of JSON a seed")
    parser.add_argument("--weights", type=Path, help="folder for the best weights")
    options = parser.parse_args()
    _, net, optimizer = load(options.job, options.set)
    if not isinstance(net, Classifier) or not isinstance(optimizer, GradientAscent):
        parser.error(f"{options.job}: expected a Classifier and GradientAscent")
    if options.rewire and not isinstance(net, SequentialLSNN | FrameLSNN):
        parser.error("--rewire: expected a SequentialLSNN or a FrameLSNN")
    if options.picture and not options.rewire:
        parser.error("--picture: expected --rewire beside it, since all fixed connections are there")
    connected = []
    for seed in options.seeds:
        row = train(net, optimizer, seed, options)
        z = row.pop("z")
        if options.weights:
            options.weights.mkdir(parents=True, exist_ok=True)
            np.savez(options.weights / f"{options.job.stem}-{seed}.npz", **net.space.decode(z.astype(np.float64)))
        connected.append(row["connected"])
        row = {
            "job": options.job.stem,
            "set": options.set,
            "rewire": options.rewire,
            "device": jax.devices()[0].platform,
        } | row
        if options.out:
            with options.out.open("a") as out:
                print(json.dumps(row), file=out)
        print(f"seed {seed}: test {100 * row['test_accuracy']:.2f} % after {row['best_iteration']} iterations")
    if options.picture:
        figures.connections({pair: np.mean([one[pair] for one in connected]) for pair in connected[0]}, options.picture)


if __name__ == "__main__":
    main()
