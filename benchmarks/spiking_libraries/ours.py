"""l2l_snn: the networks of nets.py with their neuron written as a user's own cell, one network for all steps.

    .venv/bin/python benchmarks/spiking_libraries/ours.py --net a

One JAX device a core, and the batch shared among them: a scan uses one core.
"""

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from typing import Any, NamedTuple

CORES = len(os.sched_getaffinity(0))
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={CORES}".strip()
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from jax.sharding import Mesh, NamedSharding, PartitionSpec  # noqa: E402
from measure import Twin, main  # noqa: E402
from nets import BETA, RHO, Net  # noqa: E402

from l2l_snn.snn.network import Network, Population, Projection  # noqa: E402
from l2l_snn.snn.surrogate import Spike, superspike  # noqa: E402


class LeakyState(NamedTuple):
    v: jax.Array  # (N,)
    s: jax.Array  # (N,) spikes of the step before
    a: jax.Array | None  # (N,) adaptation of the threshold


class Leaky(NamedTuple):
    """The neuron of nets.py."""

    adapts: bool = False
    spike: Spike = superspike(1.0)

    def init(self, n: int) -> LeakyState:
        return LeakyState(jnp.zeros(n), jnp.zeros(n), jnp.zeros(n) if self.adapts else None)

    def step(self, state: LeakyState, input: jax.Array, dt: float) -> tuple[LeakyState, jax.Array]:
        a = None if state.a is None else RHO * state.a + (1 - RHO) * state.s
        v = BETA * state.v + input - state.s
        s = self.spike(v - 1.0 if a is None else v - 1.0 - a)
        return LeakyState(v, s, a), s


class Integrator(NamedTuple):
    """The readout of net b."""

    def init(self, n: int) -> jax.Array:
        return jnp.zeros(n)

    def step(self, state: jax.Array, input: jax.Array, dt: float) -> tuple[jax.Array, jax.Array]:
        y = BETA * state + input
        return y, y


def network(net: Net) -> Network:
    sizes = [net.spikes.shape[2], *(w.shape[-1] for w in net.weights)]
    if net.name == "b":
        populations = {"0": Population(80), "1": Population(220, Leaky(adapts=True)), "2": Population(10, Integrator())}
        ends = [("0", "1", 0.0), ("1", "1", 1.0), ("1", "2", 0.0)]
    else:
        populations = {str(i): Population(n, Leaky() if i else None) for i, n in enumerate(sizes)}
        ends = [(str(i), str(i + 1), 0.0) for i in range(len(net.weights))]
    return Network(populations, {f"w{i}": Projection(*end) for i, end in enumerate(ends)}, dt=1.0)


def losses(net: Net) -> Callable[..., Any]:
    """Return the function of weights, spikes and target that gives the loss and the rates of the spiking layers."""
    snn = network(net)
    last = list(snn.populations)[-1]
    spiking = [name for name, population in snn.populations.items() if isinstance(population.cell, Leaky)]

    def loss(weights: list[jax.Array], spikes: jax.Array, target: jax.Array, rates: bool = False) -> Any:
        state = snn.init({f"w{i}": w for i, w in enumerate(weights)}, batch=spikes.shape[1])
        record = tuple(f"counts.{name}" for name in (spiking if rates else [last]))
        _, kept = snn.rollout(state, spikes={"0": spikes}, record=record, reverse_only=True)
        if rates:
            return jnp.stack([kept.counts[name].mean() for name in spiking]) / len(spikes)
        if net.name == "b":
            log_p = jax.nn.log_softmax(kept.counts[last] / len(spikes))
            return -jnp.take_along_axis(log_p, target[:, None], axis=1).mean()
        return jnp.mean((kept.counts[last] - target) ** 2)

    return loss


def layout(net: Net) -> tuple[Mesh, tuple[PartitionSpec, ...]]:
    """Return the devices, and where weights, spikes and target lie: the batch shared among them."""
    own = PartitionSpec("batch") if net.name == "c" else PartitionSpec()  # each network of c has its own weights
    return Mesh(np.array(jax.devices()), ("batch",)), (own, PartitionSpec(None, "batch"), PartitionSpec("batch"))


def shared(net: Net, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function` of (weights, spikes, target) with the batch shared among devices, and its mean over them."""
    mesh, batch = layout(net)

    def mean(*arguments: Any) -> Any:
        value, *grads = function(*arguments)
        grads = (
            [jax.tree.map(lambda g: g / len(mesh.devices), grads)]
            if net.name == "c"
            else [jax.lax.pmean(grads, "batch")]
        )
        return (jax.lax.pmean(value, "batch"), *grads)

    return jax.jit(
        jax.shard_map(mean, mesh=mesh, in_specs=batch, out_specs=(PartitionSpec(), batch[0]), check_vma=False)
    )


def build(net: Net) -> Twin:
    loss = losses(net)
    mesh, batch = layout(net)
    given = (net.weights, net.spikes, net.target)
    arguments = [jax.device_put(x, NamedSharding(mesh, spec)) for x, spec in zip(given, batch, strict=True)]
    forward = shared(net, lambda *arguments: (loss(*arguments), []))
    gradient = shared(net, jax.value_and_grad(loss))
    rates = shared(net, lambda *arguments: (loss(*arguments, rates=True), []))

    def gradients() -> tuple[float, list[jax.Array]]:
        value, grads = jax.block_until_ready(gradient(*arguments))
        return float(value), grads[0]

    return Twin(
        "l2l_snn",
        f"{version('l2l-snn')}, JAX {jax.__version__}",
        True,
        f"a cell of its own; {CORES} JAX devices",
        lambda: float(forward(*arguments)[0]),
        gradients,
        lambda: np.asarray(rates(*arguments)[0]).tolist(),
    )


def twins(net: Net) -> Iterator[Callable[[], Twin]]:
    yield partial(build, net)


if __name__ == "__main__":
    tunables = "glibc.malloc.hugetlb=1"  # big buffers without a page fault for each 4 KiB; read when a process starts
    if os.environ.get("GLIBC_TUNABLES") != tunables:
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GLIBC_TUNABLES": tunables})
    main(twins)
