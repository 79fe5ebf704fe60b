"""Reward-modulated STDP of a window of simulation steps at once, where a signal comes only between two windows.

    state = rest((n_pre, n_post), delay)
    state = collect(rule, state, pre, post, dt)             # the spikes of a window
    w = hear(rule, state, w, signal)                        # what follows it

Within a window weights stay the same. So what `RSTDP` (plasticity/three_factor.py) collects in each simulation step is
one matrix product here, of spikes with traces, in about half the time. The eligibility is that of `RSTDP`; `hear`
changes the weights by its eq. 3.

Legend: S simulation steps; a state has one projection's (n_pre, n_post) synapses.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn.plasticity import RSTDP
from l2l_snn.snn.plasticity.rule import bounded


class Eligibility(NamedTuple):
    """What the synapses of a projection remember."""

    pre: jax.Array  # (n_pre,) trace of pre spikes
    post: jax.Array  # (n_post,) trace of post spikes
    late: jax.Array  # (delay, n_post) post spikes that the synapse has yet to see
    e: jax.Array  # (n_pre, n_post)


def rest(shape: tuple[int, int], delay: int) -> Eligibility:
    """Return the state at rest.

    Args:
        shape: (n_pre, n_post) of the projection.
        delay: simulation steps after which a synapse sees a spike of its post neuron.
    """
    return Eligibility(jnp.zeros(shape[0]), jnp.zeros(shape[1]), jnp.zeros((delay, shape[1])), jnp.zeros(shape))


def hear(rule: RSTDP, state: Eligibility, w: jax.Array, signal: jax.Array) -> jax.Array:
    """Return the weights after a signal: w + eta signal e, within the rule's bounds (Labady 2023, eq. 2-3)."""
    return bounded(w + rule.eta * signal * state.e * rule.g, rule.w_min, rule.w_max).astype(w.dtype)


def collect(rule: RSTDP, state: Eligibility, pre: jax.Array, post: jax.Array, dt: float) -> Eligibility:
    """Return the state after S steps.

    Args:
        rule: its parameters are numbers, the same for all synapses.
        state: before them.
        pre: (S, n_pre) spikes.
        post: (S, n_post) spikes, as they are fired.
        dt: simulation step, ms.
    """
    S = len(pre)
    post = jnp.concatenate([state.late, post])
    post, late = post[:S], post[S:]
    decays = jnp.exp(-dt / jnp.asarray(rule.tau_plus)), jnp.exp(-dt / jnp.asarray(rule.tau_minus))

    def step(traces: tuple, spikes: tuple) -> tuple:
        before = tuple(trace * decay for trace, decay in zip(traces, decays, strict=True))
        return tuple(a + b for a, b in zip(before, spikes, strict=True)), before

    (pre_trace, post_trace), (pre_before, post_before) = jax.lax.scan(step, (state.pre, state.post), (pre, post))
    left = jnp.exp(-dt / rule.tau_e * jnp.arange(S - 1, -1, -1))[:, None]  # of what was paired in each step
    rows = jnp.concatenate([rule.a_plus * left * pre_before, -rule.a_minus * left * pre])
    pairs = jnp.matmul(rows.T, jnp.concatenate([post, post_before]), precision=jax.lax.Precision.HIGHEST)
    e = state.e * jnp.exp(-dt * S / rule.tau_e) + pairs
    return Eligibility(pre_trace, post_trace, late, e.astype(state.e.dtype))
