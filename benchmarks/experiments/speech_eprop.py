"""e-prop beside backpropagation through time: phones of speech by a small LSNN, the same start and the same pieces.

    python benchmarks/experiments/speech_eprop.py --seeds 101 --iterations 60 --out rows.jsonl

Features come as spikes, so that input weights are a projection. The loss is the cross-entropy of every step, a sum over
steps as e-prop needs it; rates cost nothing. Both rules give their gradients to Adam; the weights of the last
iteration answer the held-out voice, whose frames are scored as in `FrameLSNN`. A line of JSON a seed and rule.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2l_snn.data.speech import NONE
from l2l_snn.snn.bptt import BPTT
from l2l_snn.snn.eprop import EProp
from l2l_snn.snn.gradients import GradientRule
from optimizees.classify import Examples, FrameLSNN

RULES = {"bptt": BPTT(), "eprop": EProp()}


def cross_entropy(record: Any, target: Any) -> Any:
    """Return the loss of some steps: readouts (T, B, K), phones (T, B), summed over steps, mean over the batch."""
    log_p = jax.nn.log_softmax(record.spikes["out"])
    chosen = jnp.take_along_axis(log_p, target[..., None].astype(jnp.int32), axis=-1, mode="clip")[..., 0]
    return -jnp.sum(jnp.where(target == NONE, 0.0, chosen)) / target.shape[1]


def compile_step(net: FrameLSNN, rule: GradientRule, adam: optax.GradientTransformation) -> Any:
    """Return the jitted function that takes one step of Adam, of the weights of the projections."""
    network = net.network()

    def step(weights: Any, memory: Any, x: Any, y: Any) -> Any:
        target = jnp.repeat(y.T, net.frame_ms, axis=0)
        state = network.init(weights, batch=len(x))
        record = ("spikes.out",)
        found = rule(network, state, cross_entropy, target, spikes={"in": net.encode(x)}, record=record)
        updates, memory = adam.update(found.weights, memory, weights)
        return optax.apply_updates(weights, updates), memory, found.loss / len(target)

    return jax.jit(step)


def train(net: FrameLSNN, name: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Return what a rule reached from a seed."""
    z = net.space.sample(np.random.default_rng(seed), 1)[0]
    params = {k: jnp.asarray(v, jnp.float32) for k, v in net.space.decode(z).items()}
    weights = {k: v for k, v in params.items() if k != "b_out"}
    adam, start, losses = optax.adam(options.learning_rate), time.time(), []
    memory, step = adam.init(weights), compile_step(net, RULES[name], adam)
    for i in range(options.iterations):
        weights, memory, loss = step(weights, memory, *net.data.sample(seed * 10_000 + i))
        losses.append(float(loss))
    free: Any = net.space.parameters
    parts = {k: np.asarray(v) / free[k].scale for k, v in weights.items()}
    parts["b_out"] = np.zeros(net.classes)
    z = np.concatenate([parts[k].ravel() for k in free])
    loss, accuracy = net.measure(z, net.data.testing())
    found = {"rule": name, "seed": seed, "test_loss": loss, "test_accuracy": accuracy, "losses": losses}
    return found | {"seconds": time.time() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[101])
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--neurons", type=int, nargs=3, default=[30, 10, 20], help="excitatory, inhibitory, adaptive")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = Examples(
        set="flite_speech", batch=options.batch, frames=options.frames, held_out=0, normalised_over="utterance"
    )
    sizes = dict(zip(("excitatory", "inhibitory", "adaptive"), options.neurons, strict=True))
    net = FrameLSNN(data=data, code="thresholds", **sizes)
    for seed in options.seeds:
        for name in options.rules:
            row = train(net, name, options, seed)
            if options.out:
                with options.out.open("a") as out:
                    print(json.dumps(row), file=out)
            first, last = (float(np.mean(part)) for part in (row["losses"][:5], row["losses"][-5:]))
            text = f"loss {first:.3f} to {last:.3f}, test {100 * row['test_accuracy']:.2f} %, {row['seconds']:.0f} s"
            print(f"seed {seed}, {name}: {text}", flush=True)


if __name__ == "__main__":
    main()
