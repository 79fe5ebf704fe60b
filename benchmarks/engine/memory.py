"""Memory of forward + backward over T, with the states of every sqrt(T) steps kept and with all of them.

    .venv/bin/python benchmarks/engine/memory.py

80-220-10 neurons, the 220 recurrent, batch 32, float32: what the compiled program needs beside inputs and outputs, as
XLA plans it. Inputs are 32 x 80 spikes a step, and grow with T whatever is done.
"""

import argparse
from math import isqrt

import jax
import jax.numpy as jnp

from l2l_snn.snn.cells import AdaptiveLIF, LeakyReadout
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.surrogate import triangle

BATCH = 32
STEPS = (256, 1024, 4096, 16384)


def needed(steps: int, every: int | None) -> float:
    """Return MB."""
    cell = AdaptiveLIF(spike=triangle())
    net = Network(
        {"in": Population(80), "recurrent": Population(220, cell), "out": Population(10, LeakyReadout())},
        {
            "in": Projection("in", "recurrent"),
            "recurrent": Projection("recurrent", "recurrent"),
            "out": Projection("recurrent", "out"),
        },
        dt=1.0,
    )
    weights = {"in": jnp.ones((80, 220)), "recurrent": jnp.ones((220, 220)), "out": jnp.ones((220, 10))}

    def loss(weights: dict[str, jax.Array], spikes: jax.Array) -> jax.Array:
        state = net.init(weights, batch=BATCH)
        _, kept = net.rollout(
            state, spikes={"in": spikes}, record="counts.out", checkpoint_every=every, reverse_only=True
        )
        return jnp.sum(kept.counts["out"] ** 2)

    compiled = jax.jit(jax.grad(loss)).lower(weights, jnp.zeros((steps, BATCH, 80))).compile()
    return compiled.memory_analysis().temp_size_in_bytes / 1e6


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("| T | all kept, MB | every sqrt(T) kept, MB | times that of T / 4 |\n| --- | --- | --- | --- |")
    before = None
    for steps in STEPS:
        with_all, kept = needed(steps, None), needed(steps, isqrt(steps))
        growth = "" if before is None else f"{kept / before:.2f}"
        print(f"| {steps} | {with_all:.0f} | {kept:.1f} | {growth} |", flush=True)
        before = kept


if __name__ == "__main__":
    main()
