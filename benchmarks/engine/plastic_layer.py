"""What plasticity costs: a layer of 64 x 600 synapses with one trace matrix for each episode, beside a fixed one.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 PJRT_NPROC=1 .venv/bin/python benchmarks/engine/plastic_layer.py

500 steps of 1 ms, batch 64, traces updated every 25 steps; forward, and forward + backward with gradients of weights
and, where there are, of the rule's parameters (one eta, one alpha a synapse). Each round times every side once; times
are the medians of the rounds, ratios the medians of the ratios within a round. float32, one core.

The limit is what memory allows: each update has to read and write a trace of 64 x 64 x 600 numbers and the weights that
it makes, and the backward pass once more each with its gradient.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import SRMAlpha
from l2l_snn.snn.differentiable import DPBCM, NDPBCM, DPLinearDecay, DPOja, NDPOja
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.surrogate import exponential

STEPS, BATCH, PRE, POST, ROUNDS = 500, 64, 64, 600, 7
RULES = {"fixed": None, **{rule.__name__: rule for rule in (DPLinearDecay, DPOja, DPBCM, NDPOja, NDPBCM)}}


def loss(kind: Any, trained: dict[str, jax.Array], spikes: jax.Array) -> jax.Array:
    """Return the mean square of the output rates minus 0.1, of spikes (T, B, 64)."""
    extra = {"w_m": trained["w_m"]} if kind in (NDPOja, NDPBCM) else {}
    rule = None if kind is None else kind(eta=trained["eta"], alpha=trained["alpha"], delta_tau=25.0, **extra)
    net = Network(
        {"pre": Population(PRE), "post": Population(POST, SRMAlpha(spike=exponential(10.0)))},
        {"w": Projection("pre", "post", delay=1.0, rule=rule)},
        dt=1.0,
    )
    state = net.init({"w": trained["w"]}, batch=BATCH)
    _, kept = net.rollout(state, spikes={"pre": spikes}, record="spikes.post")
    return jnp.mean((kept.spikes["post"].mean(axis=0) - 0.1) ** 2)


def milliseconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    generator = np.random.default_rng(1)
    spikes = jnp.asarray(generator.random((STEPS, BATCH, PRE)) < 0.05, jnp.float32)
    trained = {
        "w": jnp.asarray(generator.normal(2.0, 2.0, (PRE, POST)), jnp.float32),
        "alpha": jnp.asarray(generator.normal(0.0, 1.0, (PRE, POST)), jnp.float32),
        "eta": jnp.float32(0.1),
        "w_m": jnp.asarray(generator.normal(0.0, 0.05, (POST, POST)), jnp.float32),
    }
    calls = {}
    for name, kind in RULES.items():
        forward = jax.jit(partial(loss, kind))
        backward = jax.jit(jax.value_and_grad(partial(loss, kind)))
        calls[name, "forward"] = partial(forward, trained, spikes)
        calls[name, "both"] = partial(backward, trained, spikes)
        value, gradients = backward(trained, spikes)
        if not (np.isfinite(value) and float(jnp.abs(gradients["w"]).max()) > 0):
            raise RuntimeError(f"{name}: expected a finite loss and a gradient that isn't 0; its time means nothing")
        jax.block_until_ready(forward(trained, spikes))
    times = {key: np.array([]) for key in calls}
    for _ in range(ROUNDS):
        for key, call in calls.items():
            times[key] = np.append(times[key], milliseconds(call))
    print("| rule | forward, us a step | over fixed | forward + backward, us a step | over fixed |")
    print("| --- | --- | --- | --- | --- |")
    for name in RULES:
        cells = []
        for part in ("forward", "both"):
            ratio = np.median(times[name, part] / times["fixed", part])
            cells += [f"{1e3 * np.median(times[name, part]) / STEPS:.0f}", f"{ratio:.2f}"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
