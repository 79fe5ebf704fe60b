"""Spike-timing-dependent plasticity of pairs and of triplets. Legend and order of a step: see the package."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from l2l_snn.snn.parameters import Array, check_synapses
from l2l_snn.snn.plasticity.rule import WeightRule, bounded, check_spikes, zeros_like_parameters


def power(x: Array, exponent: Array) -> Array:
    """Return x ** exponent; with an exponent other than 1, x <= 0 counts as 0 with slope 0: no infinite gradient."""
    if isinstance(exponent, (int, float)) and exponent in (0, 1):
        return x if exponent else jnp.ones_like(x)
    inside = x > 0
    return jnp.where(inside, jnp.where(inside, x, 1.0) ** exponent, jnp.where(jnp.equal(exponent, 0), 1.0, 0.0))


class Events(NamedTuple):
    """The two traces of a synapse, and how the spikes of one step read them."""

    pre: Array  # (n_pre, 1) decaying count of pre spikes; eq. 8
    post: Array  # (1, n_post) decaying count of post spikes; eq. 9

    def step(
        self, rule: Any, w: Shaped[Array, "n_pre n_post"], pre: Array, post: Array, dt: Array
    ) -> tuple["Events", Float[jax.Array, "n_pre n_post"], Float[jax.Array, "n_pre n_post"]]:
        """Return the new traces and what pairs now: pre before post (n_pre, n_post), post before pre."""
        check_spikes(rule, w, pre, post)
        pre, post = jnp.asarray(pre, w.dtype)[:, None], jnp.asarray(post, w.dtype)[None, :]
        before = self.pre * jnp.exp(-dt / rule.tau_plus)
        after = self.post * jnp.exp(-dt / rule.tau_minus)
        traces = Events((before + pre).astype(self.pre.dtype), (after + post).astype(self.post.dtype))
        return traces, post * before, pre * after


def silent_events(rule: Any, n_pre: int, n_post: int) -> Events:
    return Events(zeros_like_parameters((n_pre, 1), rule.tau_plus), zeros_like_parameters((1, n_post), rule.tau_minus))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PairSTDP(WeightRule):
    """Pair STDP with weight dependence, all spikes with all: NEST's stdp_synapse (Labady 2023, eq. 8-12).

    At a post spike, w += w_max lam (1 - w / w_max)^mu_plus K_pre (eq. 10); at a pre spike, w -= w_max alpha lam
    (w / w_max)^mu_minus K_post (eq. 11), after Guetig et al. 2003. Eq. 8-9 print only the decay of the traces: a spike
    adds 1, as in NEST. Eq. 12 is printed as w = min(max(w_min, w_dep), w_pot), where for alpha > 0 potentiation could
    never act and nothing would keep w below w_max: taken as clipping to [w_min, w_max], after each of the two. With
    alpha < 0, such as the printed -1.0, both orders potentiate.

    Differs from NEST: it has w_min = 0 and doesn't stop a negative alpha at w_max; it updates a synapse only when a pre
    spike passes, so weights are comparable there; it knows negative weights and w_max (inhibition), refused here:
    change the sign where the weight is used. `signal` is not used.
    """

    lam: Array = 0.01  # step size, the lambda of eq. 10-11
    alpha: Array = 1.0  # depression relative to potentiation; < 0 potentiates
    mu_plus: Array = 1.0  # exponent of the weight dependence of potentiation; 0 additive, 1 multiplicative
    mu_minus: Array = 1.0  # the same of depression
    tau_plus: Array = 20.0  # ms, trace of pre spikes
    tau_minus: Array = 20.0  # ms, trace of post spikes
    w_min: Array = 0.0  # pA, or the unit of the weights
    w_max: Array = 100.0  # pA, > 0

    def init(self, n_pre: int, n_post: int) -> Events:
        check_synapses(self, (n_pre, n_post), "tau_plus tau_minus w_max", "mu_plus mu_minus")
        return silent_events(self, n_pre, n_post)

    def step(
        self, state: Events, w: Shaped[Array, "n_pre n_post"], pre: Array, post: Array, signal: Array, dt: Array
    ) -> tuple[Events, Float[jax.Array, "n_pre n_post"]]:
        old = w = jnp.asarray(w)
        traces, ltp, ltd = state.step(self, w, pre, post, dt)
        w = w + self.w_max * self.lam * power(1 - w / self.w_max, self.mu_plus) * ltp  # eq. 10
        w = bounded(w, self.w_min, self.w_max)
        w = w - self.w_max * self.alpha * self.lam * power(w / self.w_max, self.mu_minus) * ltd  # eq. 11
        return traces, bounded(w, self.w_min, self.w_max).astype(old.dtype)  # eq. 12


class TripletState(NamedTuple):
    """Traces of triplet STDP, in the names of the paper: r of pre, o of post spikes, 1 fast, 2 slow."""

    fast: Events  # r1 and o1
    r2: Array  # (n_pre, 1)
    o2: Array  # (1, n_post)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class TripletSTDP(WeightRule):
    """Triplet STDP, all spikes with all (Pfister & Gerstner 2006, eq. 3-4; NEST's stdp_triplet_synapse).

    At a post spike, w += r1 (a2_plus + a3_plus o2); at a pre spike, w -= o1 (a2_minus + a3_minus r2); r2 and o2 as they
    were just before the spike. Defaults: the paper's fit to visual cortex (all-to-all, full model), where w
    is relative to its first value. As in NEST the bounds are hard; w_min is 0 there. `signal` is not used.

    Differs from NEST for negative amplitudes: there a negative a2_minus or a3_minus takes w beyond w_max, and with a
    negative a2_plus or a3_plus a w below 0 comes back as -w; here both bounds stop either change.
    """

    a2_plus: Array = 5e-10  # weight units, pairs of pre before post
    a3_plus: Array = 6.2e-3  # weight units, post-pre-post
    a2_minus: Array = 7e-3  # weight units, pairs of post before pre
    a3_minus: Array = 2.3e-4  # weight units, pre-post-pre
    tau_plus: Array = 16.8  # ms, r1
    tau_minus: Array = 33.7  # ms, o1
    tau_x: Array = 101.0  # ms, r2
    tau_y: Array = 125.0  # ms, o2
    w_min: Array = 0.0
    w_max: Array = 100.0

    def init(self, n_pre: int, n_post: int) -> TripletState:
        check_synapses(self, (n_pre, n_post), "tau_plus tau_minus tau_x tau_y")
        return TripletState(
            silent_events(self, n_pre, n_post),
            zeros_like_parameters((n_pre, 1), self.tau_x),
            zeros_like_parameters((1, n_post), self.tau_y),
        )

    def step(
        self, state: TripletState, w: Shaped[Array, "n_pre n_post"], pre: Array, post: Array, signal: Array, dt: Array
    ) -> tuple[TripletState, Float[jax.Array, "n_pre n_post"]]:
        old = w = jnp.asarray(w)
        fast, ltp, ltd = state.fast.step(self, w, pre, post, dt)
        r2, o2 = state.r2 * jnp.exp(-dt / self.tau_x), state.o2 * jnp.exp(-dt / self.tau_y)
        w = bounded(w + ltp * (self.a2_plus + self.a3_plus * o2), self.w_min, self.w_max)
        w = bounded(w - ltd * (self.a2_minus + self.a3_minus * r2), self.w_min, self.w_max)
        r2 = (r2 + jnp.asarray(pre, old.dtype)[:, None]).astype(state.r2.dtype)
        o2 = (o2 + jnp.asarray(post, old.dtype)[None, :]).astype(state.o2.dtype)
        return TripletState(fast, r2, o2), w.astype(old.dtype)
