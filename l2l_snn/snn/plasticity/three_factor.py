"""STDP gated by a third factor: a reward, or dopamine. Legend and order of a step: see the package."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from l2l_snn.snn.parameters import Array, check_synapses
from l2l_snn.snn.plasticity.rule import WeightRule, bounded, third_factor, zeros_like_parameters
from l2l_snn.snn.plasticity.stdp import Events, silent_events


class EligibilityState(NamedTuple):
    """Traces of reward-modulated STDP."""

    traces: Events
    e: Array  # (n_pre, n_post) eligibility


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class RSTDP(WeightRule):
    """Reward-modulated STDP with an eligibility trace (Labady 2023, eq. 2-3; Bing et al. 2019).

    dw = eta r STDP g (eq. 3). r is `signal`, the reward that arrives in this step, 0 in most; it may differ between
    post neurons or synapses, as the source's r_ij. STDP is what the eligibility trace holds of the pairings, those of
    this step included: e <- e exp(-dt / tau_e) + a_plus K_pre post - a_minus K_post pre; a tau_e far below dt leaves
    eq. 3's own window. g the source calls an "additional factor" only: a number for each synapse, 1 by default. A
    reward counts once, whatever dt is; one that lingers is DopamineSTDP's.
    """

    uses_signal: ClassVar[bool] = True
    eta: Array = 0.01  # weight units per unit of reward and eligibility
    g: Array = 1.0  # factor of each synapse
    a_plus: Array = 1.0  # eligibility from pre before post
    a_minus: Array = 1.0  # eligibility from post before pre, subtracted
    tau_plus: Array = 20.0  # ms, trace of pre spikes
    tau_minus: Array = 20.0  # ms, trace of post spikes
    tau_e: Array = 500.0  # ms, eligibility
    w_min: Array = 0.0  # pA, or the unit of the weights
    w_max: Array = 100.0  # pA

    def init(self, n_pre: int, n_post: int) -> EligibilityState:
        check_synapses(self, (n_pre, n_post), "tau_plus tau_minus tau_e")
        return EligibilityState(silent_events(self, n_pre, n_post), zeros_like_parameters((n_pre, n_post)))

    def step(
        self,
        state: EligibilityState,
        w: Shaped[Array, "n_pre n_post"],
        pre: Array,
        post: Array,
        signal: Array,
        dt: Array,
    ) -> tuple[EligibilityState, Float[jax.Array, "n_pre n_post"]]:
        w = jnp.asarray(w)
        traces, ltp, ltd = state.traces.step(self, w, pre, post, dt)
        e = state.e * jnp.exp(-dt / self.tau_e) + self.a_plus * ltp - self.a_minus * ltd
        dw = self.eta * third_factor(self, signal, w.shape) * e * self.g  # eq. 3
        new = bounded(w + dw, self.w_min, self.w_max).astype(w.dtype)  # eq. 2
        return EligibilityState(traces, e.astype(state.e.dtype)), new


class DopamineState(NamedTuple):
    """Traces of dopamine-modulated STDP."""

    traces: Events
    c: Array  # (n_pre, n_post) eligibility
    n: Array  # (1, n_post) dopamine concentration, 1/ms


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class DopamineSTDP(WeightRule):
    """Dopamine-modulated STDP (Izhikevich 2007; Potjans et al. 2010; NEST's stdp_dopamine_synapse).

    dw/dt = c (n - b), integrated exactly over a step. c collects the pairings and decays with tau_c; n decays with
    tau_n and takes `signal` / tau_n, where `signal`, a scalar or (n_post,), is the number of dopamine spikes that
    arrive in this step, or any real number. In one step: w takes the integral from the step's start to its end; c and n
    decay; pairings and dopamine are added, so that both act from the next step on.

    Differs from NEST: w is kept in [w_min, w_max] at each step, there at pre, post and dopamine spikes and every
    deliver_interval, which matters only where n crosses b next to a bound. In NEST dopamine arrives late by the
    delay of the connection to the volume transmitter, and weights are up to date at pre spikes.
    """

    uses_signal: ClassVar[bool] = True
    a_plus: Array = 1.0  # eligibility from pre before post
    a_minus: Array = 1.5  # eligibility from post before pre, subtracted
    tau_plus: Array = 20.0  # ms, trace of pre spikes
    tau_minus: Array = 20.0  # ms, trace of post spikes
    tau_c: Array = 1000.0  # ms, eligibility
    tau_n: Array = 200.0  # ms, dopamine
    b: Array = 0.0  # 1/ms, baseline of dopamine
    w_min: Array = 0.0  # pA, or the unit of the weights
    w_max: Array = 200.0  # pA

    def init(self, n_pre: int, n_post: int) -> DopamineState:
        check_synapses(self, (n_pre, n_post), "tau_plus tau_minus tau_c tau_n")
        return DopamineState(
            silent_events(self, n_pre, n_post),
            zeros_like_parameters((n_pre, n_post)),
            zeros_like_parameters((1, n_post), self.tau_n),
        )

    def step(
        self, state: DopamineState, w: Shaped[Array, "n_pre n_post"], pre: Array, post: Array, signal: Array, dt: Array
    ) -> tuple[DopamineState, Float[jax.Array, "n_pre n_post"]]:
        w = jnp.asarray(w)
        rate = 1 / self.tau_c + 1 / self.tau_n
        dw = -state.n / rate * jnp.expm1(-dt * rate) + self.b * self.tau_c * jnp.expm1(-dt / self.tau_c)
        new = bounded(w + state.c * dw, self.w_min, self.w_max).astype(w.dtype)
        traces, ltp, ltd = state.traces.step(self, w, pre, post, dt)
        c = state.c * jnp.exp(-dt / self.tau_c) + self.a_plus * ltp - self.a_minus * ltd
        n = state.n * jnp.exp(-dt / self.tau_n) + third_factor(self, signal, state.n.shape) / self.tau_n
        return DopamineState(traces, c.astype(state.c.dtype), n.astype(state.n.dtype)), new
