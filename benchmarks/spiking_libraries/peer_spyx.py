"""spyx, in JAX: its LIF in Sequential and run, its ALIF with feedback in net b, vmap over networks in net c.

    VENV/bin/python benchmarks/spiking_libraries/peer_spyx.py --net a

Its neurons spike one step later than those of nets.py: s[t] looks at V[t-1].
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version

import jax
import jax.numpy as jnp
import optax
import spyx.nn as snn
from flax import nnx
from measure import Twin, main
from nets import BETA, RHO, Net
from spyx.axn import superspike

VERSION = f"{version('spyx')}, JAX {jax.__version__}"
SPIKE = superspike(k=1.0)


class RecurrentALIF(nnx.Module):
    """ALIF with all-to-all feedback: spyx has RLIF, which doesn't adapt, and ALIF, which has no feedback."""

    def __init__(self, n: int, rngs: nnx.Rngs):
        self.n = n
        self.cell = snn.ALIF((n,), beta=BETA, gamma=RHO, activation=SPIKE, rngs=rngs)
        self.recurrent_w = nnx.Param(jnp.zeros((n, n)))

    def __call__(self, x: jax.Array, state: tuple) -> tuple[jax.Array, tuple]:
        """Take one step; the state holds the spikes of the last one too."""
        cell_state, s = state
        s, cell_state = self.cell(x + s @ self.recurrent_w[...], cell_state)
        return s, (cell_state, s)

    def initial_state(self, batch: int) -> tuple:
        """Return zeros for `batch` samples."""
        return self.cell.initial_state(batch), jnp.zeros((batch, self.n))


def lif(n: int, rngs: nnx.Rngs) -> snn.LIF:
    """Return a layer of `n` neurons with the numbers of nets.py."""
    return snn.LIF((n,), beta=BETA, activation=SPIKE, rngs=rngs)


def layers_of(weights: list[jax.Array], spikes: jax.Array) -> tuple[list[jax.Array], jax.Array]:
    """Return what the layers of net a or c fire: each layer's products for all T at once, then `run` over time."""
    outputs = []
    for w in weights:
        neuron = lif(w.shape[-1], nnx.Rngs(0))
        spikes, _ = snn.run(neuron, spikes @ w)
        outputs.append(spikes)
    return outputs, spikes


def losses(net: Net) -> Callable[[list[jax.Array], jax.Array], tuple[jax.Array, list[jax.Array]]]:
    """Return the function of weights and input that gives the loss and each spiking layer's spikes."""
    target = jnp.asarray(net.target)

    def loss_a(weights: list[jax.Array], x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        outputs, last = layers_of(weights, x)
        return jnp.mean((last.sum(0) - target) ** 2), outputs

    def loss_b(weights: list[jax.Array], x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        w_in, w_rec, w_out = weights
        hidden = RecurrentALIF(220, nnx.Rngs(0))
        hidden.recurrent_w = nnx.Param(w_rec)
        spikes, _ = snn.run(hidden, x @ w_in)
        readout, _ = snn.run(snn.LI((10,), beta=BETA, rngs=nnx.Rngs(0)), spikes @ w_out)
        return optax.softmax_cross_entropy_with_integer_labels(readout.mean(0), target).mean(), [spikes]

    def loss_c(weights: list[jax.Array], x: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        outputs, last = jax.vmap(layers_of, in_axes=(0, 1))(weights, x[:, :, None])  # (B, T, 1, N)
        return jnp.mean((last.sum((1, 2)) - target) ** 2), outputs

    return {"a": loss_a, "b": loss_b, "c": loss_c}[net.name]


def build(net: Net) -> Twin:
    """Return the net; forward and gradient are compiled apart."""
    weights = [jnp.asarray(w) for w in net.weights]
    x = jnp.asarray(net.spikes)  # an argument, not a constant, whose transposes would be done by the compiler
    loss = losses(net)
    forward = jax.jit(lambda w, x: loss(w, x)[0])
    gradient = jax.jit(jax.value_and_grad(lambda w, x: loss(w, x)[0]))
    rates = jax.jit(lambda w, x: [s.mean() for s in loss(w, x)[1]])

    def gradients() -> tuple[float, list[jax.Array]]:
        value, grads = jax.block_until_ready(gradient(weights, x))
        return float(value), grads

    note = {"a": "LIF, reset by subtraction", "b": "ALIF, feedback added", "c": "LIF, vmap over networks"}[net.name]
    return Twin(
        "spyx",
        VERSION,
        True,
        f"{note}; spikes one step later",
        lambda: float(forward(weights, x)),
        gradients,
        lambda: [float(r) for r in rates(weights, x)],
    )


def twins(net: Net) -> Iterator[Callable[[], Twin]]:
    """Return what makes the twin."""
    yield partial(build, net)


if __name__ == "__main__":
    main(twins)
