"""The single-neuron and STDP experiments in JAX, all copies in one compiled call, in double precision.

Legend: C copies, T steps.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import IafPscAlpha
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.plasticity import PairSTDP
from optimizees.stdp_lab.trains import Evolved, Pair, STDPRule


def pair(spec: Pair, currents: np.ndarray, weights: np.ndarray, record: bool) -> tuple[np.ndarray, np.ndarray]:
    """Simulate C pairs of IafPscAlpha under a direct current; arguments and results as in `on_nest.pair`."""
    with jax.enable_x64(True):
        found = _run_pairs(spec, record, jnp.asarray(currents, jnp.float64), jnp.asarray(weights, jnp.float64))
    spikes, potentials = (np.asarray(value) for value in found)
    return spikes > 0, potentials


@partial(jax.jit, static_argnums=(0, 1))
def _run_pairs(spec: Pair, record: bool, currents: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return spikes (C, 2, T) and potentials (C, 2, T or 0)."""
    steps, silent = (round(ms / spec.resolution) for ms in (spec.duration, spec.drive_delay))
    neuron = Population(1, IafPscAlpha(**spec.neuron()))
    net = Network(
        {"first": neuron, "second": neuron}, {"w": Projection("first", "second", spec.delay)}, spec.resolution
    )
    kinds = ("spikes", "potentials") if record else ("spikes",)

    def one(current: jax.Array, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
        drive = jnp.where(jnp.arange(steps) >= silent, current, 0.0)[:, None]  # an injected current acts a step later
        state = net.init({"w": weight.reshape(1, 1)})
        _, kept = net.rollout(state, currents={"first": drive}, record=kinds)

        def both(values: dict[str, jax.Array]) -> jax.Array:
            return jnp.concatenate([values["first"], values["second"]], axis=1).T if values else jnp.zeros((2, 0))

        return both(kept.spikes), both(kept.potentials)

    return jax.vmap(one)(currents, weights)


def weights(rule: STDPRule, dt: float, evolved: Evolved, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Return the weights (C, T) after each step of dt ms, by PairSTDP or as printed, on spike trains (C, T) bool."""
    with jax.enable_x64(True):
        values = Evolved(*(jnp.asarray(value, jnp.float64) for value in evolved))
        trains = (jnp.asarray(spikes, jnp.float64) for spikes in (pre, post))
        return np.asarray(_follow_weights(rule, dt, values, *trains))


@partial(jax.jit, static_argnums=(0, 1))
def _follow_weights(rule: STDPRule, dt: float, evolved: Evolved, pre: jax.Array, post: jax.Array) -> jax.Array:
    follow = _update_at_spikes if rule.update == "spikes" else _update_in_steps
    return jax.vmap(partial(follow, rule, dt))(evolved, pre, post)


def _update_at_spikes(rule: STDPRule, dt: float, evolved: Evolved, pre: jax.Array, post: jax.Array) -> jax.Array:
    """Return the weights (T,) of PairSTDP: eq. 10 at post spikes, eq. 11 at pre spikes, both kept within the bounds."""
    stdp = PairSTDP(
        lam=evolved.lam,
        alpha=evolved.alpha,
        mu_plus=rule.mu_plus,
        mu_minus=rule.mu_minus,
        tau_plus=evolved.tau_pre,
        tau_minus=evolved.tau_post,
        w_min=rule.w_min,
        w_max=rule.w_max,
    )

    def step(carry: Any, spikes: tuple[jax.Array, jax.Array]) -> Any:
        (state, w), (before, after) = carry, spikes
        state, w = stdp.step(state, w, before[None], after[None], 0.0, dt)
        return (state, w), w[0, 0]

    begin = stdp.init(1, 1), jnp.full((1, 1), rule.w_start)
    return jax.lax.scan(step, begin, (pre, post))[1]


def _update_in_steps(rule: STDPRule, dt: float, evolved: Evolved, pre: jax.Array, post: jax.Array) -> jax.Array:
    """Return the weights (T,) of eq. 8-12 taken by the letter, in every step: min(max(w_min, w_dep), w_pot)."""
    decay = [jnp.exp(-dt / tau) for tau in (evolved.tau_pre, evolved.tau_post)]

    def step(carry: tuple[jax.Array, ...], spikes: tuple[jax.Array, jax.Array]) -> Any:
        w, *traces = carry
        before, after = (x * d + s for x, d, s in zip(traces, decay, spikes, strict=True))  # eq. 8-9
        share = w / rule.w_max
        w_pot = rule.w_max * (share + evolved.lam * jnp.maximum(1 - share, 0.0) ** rule.mu_plus * before)  # eq. 10
        w_dep = rule.w_max * (share - evolved.alpha * evolved.lam * jnp.maximum(share, 0.0) ** rule.mu_minus * after)
        w = jnp.minimum(jnp.maximum(rule.w_min, w_dep), w_pot)  # eq. 12
        return (w, before, after), w

    nothing = jnp.zeros(())
    return jax.lax.scan(step, (jnp.asarray(rule.w_start, float), nothing, nothing), (pre, post))[1]
