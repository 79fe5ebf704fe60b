"""NEST's leaky integrate-and-fire neurons: the same parameters, the same exact integration, the same spikes.

In one step: the potential advances with the currents of the step before, unless the neuron is refractory; synaptic
currents decay and take the weights that arrive in this step; at V >= V_th the neuron spikes and is reset for
t_ref. An injected current acts from the next step on, I_e at once. Potentials are kept relative to E_L, and start
there (on NEST, V_m stays at -70 mV when E_L is changed: set it too).

Not from NEST: `spike`, the step function of V - V_th (mV); with one that has a surrogate derivative the models can be
trained. Left out: iaf_psc_delta's refractory_input, iaf_psc_exp's stochastic threshold (delta, rho).

Legend: N neurons. A field is () or (N,), and may be traced.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells.cell import Arriving, Cell
from l2l_snn.snn.parameters import Array, Tree, cast, check_below, check_neurons, known, numbers, refractory_steps
from l2l_snn.snn.spikes import Spike, heaviside
from l2l_snn.snn.synapses import Alpha, Exponential, Membrane, Rise, alpha, exponential, membrane


class Levels(NamedTuple):
    """Constants of the threshold: potentials relative to E_L, mV."""

    theta: Array
    reset: Array
    floor: Array | None  # None: no lower bound
    i_e: Array  # pA
    refractory: Array  # steps


def _pair_signs(exc: Tree, inh: Tree) -> Tree:
    """Return propagators for excitatory and inhibitory currents side by side: (), (2, 1) or (2, N)."""

    def one(exc: Array, inh: Array) -> Array:
        if exc is inh or (known(exc, inh) and np.array_equal(exc, inh)):
            return exc
        xp, pair = numbers(exc, inh)
        pair = xp.stack(xp.broadcast_arrays(*pair))
        return pair if pair.ndim == 2 else pair[:, None]

    return jax.tree.map(one, exc, inh)


class NestCell(Cell):
    """What NEST's models share; a final one declares the fields, in the order in which they are given."""

    receptors: ClassVar[int] = 2
    E_L: Array  # mV, resting potential
    C_m: Array  # pF, capacitance
    tau_m: Array  # ms, membrane time constant
    t_ref: Array  # ms, refractory time
    V_th: Array  # mV, threshold
    V_reset: Array  # mV, potential after a spike
    I_e: Array  # pA, constant current
    spike: Spike  # of V - V_th, mV

    def potential(self, state: Any) -> Array:
        return state.v + self.E_L

    def _check_fields(self, n: int) -> None:
        check_neurons(self, n, positive="C_m tau_m tau_syn_ex tau_syn_in", not_negative="t_ref", infinite="V_min")
        check_below(self, "V_reset", "V_th", "a neuron that resets above threshold would spike for ever")

    def _find_levels(self, v_min: Array, dt: float) -> Levels:
        _, (E_L, V_th, V_reset, V_min, I_e) = numbers(self.E_L, self.V_th, self.V_reset, v_min, self.I_e)
        floor = None if known(V_min) and np.all(np.isneginf(V_min)) else V_min - E_L
        return Levels(V_th - E_L, V_reset - E_L, floor, I_e, refractory_steps(self.t_ref, dt))

    def _emit_spikes(self, state: Any, levels: Levels, v: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return potential, refractory counter and spikes; v is the potential of a neuron that isn't refractory."""
        v = v if levels.floor is None else jnp.maximum(v, levels.floor)
        v = jnp.where(state.r > 0, state.v, v)
        spikes = self.spike(v - levels.theta)
        v = v * (1 - spikes) + levels.reset * spikes
        return v, jnp.where(spikes > 0.5, levels.refractory, jnp.maximum(state.r - 1, 0)), spikes


class DeltaState(NamedTuple):
    """State of IafPscDelta."""

    v: Array  # (N,) mV, relative to E_L
    r: Array  # (N,) int, refractory steps left
    i0: Array  # (N,) pA, current injected in the step before


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IafPscDelta(NestCell):
    """NEST's iaf_psc_delta: an arriving spike makes the potential jump; lost while refractory."""

    E_L: Array = -70.0  # mV, resting potential
    C_m: Array = 250.0  # pF, capacitance
    tau_m: Array = 10.0  # ms, membrane time constant
    t_ref: Array = 2.0  # ms, refractory time
    V_th: Array = -55.0  # mV, threshold
    V_reset: Array = -70.0  # mV, potential after a spike
    V_min: Array = -np.inf  # mV, lower bound of the potential
    I_e: Array = 0.0  # pA, constant current
    spike: Spike = heaviside  # of V - V_th, mV

    def init(self, n: int) -> DeltaState:
        self._check_fields(n)
        return DeltaState(jnp.zeros(n), jnp.zeros(n, jnp.int32), jnp.zeros(n))

    def propagators(self, dt: float) -> tuple[Membrane, Levels]:
        return membrane(self.tau_m, self.C_m, dt), self._find_levels(self.V_min, dt)

    def step(
        self, state: DeltaState, input: Arriving, dt: float, propagators: tuple[Membrane, Levels] | None = None
    ) -> tuple[DeltaState, jax.Array]:
        p, levels = cast(propagators or self.propagators(dt), state.v.dtype)
        v = p.current * (state.i0 + levels.i_e) + p.decay * state.v + (input.weights[0] + input.weights[1])
        v, r, spikes = self._emit_spikes(state, levels, v)
        return DeltaState(v, r, _broadcast_current(input.current, v)), spikes


class ExpState(NamedTuple):
    """State of IafPscExp."""

    v: Array  # (N,) mV, relative to E_L
    r: Array  # (N,) int, refractory steps left
    i0: Array  # (N,) pA, current injected in the step before
    i: Array  # (2, N) pA, excitatory and inhibitory current


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IafPscExp(NestCell):
    """NEST's iaf_psc_exp: exponentially decaying synaptic currents."""

    E_L: Array = -70.0  # mV, resting potential
    C_m: Array = 250.0  # pF, capacitance
    tau_m: Array = 10.0  # ms, membrane time constant
    tau_syn_ex: Array = 2.0  # ms, decay of the excitatory current
    tau_syn_in: Array = 2.0  # ms, decay of the inhibitory current
    t_ref: Array = 2.0  # ms, refractory time
    V_th: Array = -55.0  # mV, threshold
    V_reset: Array = -70.0  # mV, potential after a spike
    I_e: Array = 0.0  # pA, constant current
    spike: Spike = heaviside  # of V - V_th, mV

    def init(self, n: int) -> ExpState:
        self._check_fields(n)
        return ExpState(jnp.zeros(n), jnp.zeros(n, jnp.int32), jnp.zeros(n), jnp.zeros((2, n)))

    def propagators(self, dt: float) -> tuple[Membrane, Exponential, Exponential, Exponential, Levels]:
        exc, inh = (exponential(tau, self.tau_m, self.C_m, dt) for tau in (self.tau_syn_ex, self.tau_syn_in))
        return membrane(self.tau_m, self.C_m, dt), exc, inh, _pair_signs(exc, inh), self._find_levels(-np.inf, dt)

    def step(
        self, state: ExpState, input: Arriving, dt: float, propagators: tuple | None = None
    ) -> tuple[ExpState, jax.Array]:
        p, exc, inh, both, levels = cast(propagators or self.propagators(dt), state.v.dtype)
        v = state.v * p.decay + state.i[0] * exc.to_v + state.i[1] * inh.to_v + (levels.i_e + state.i0) * p.current
        v, r, spikes = self._emit_spikes(state, levels, v)
        return ExpState(v, r, _broadcast_current(input.current, v), both.step(state.i, input.weights)), spikes


class AlphaState(NamedTuple):
    """State of IafPscAlpha."""

    v: Array  # (N,) mV, relative to E_L
    r: Array  # (N,) int, refractory steps left
    i0: Array  # (N,) pA, current injected in the step before
    rise: Rise  # (2, N) each, excitatory and inhibitory current


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IafPscAlpha(NestCell):
    """NEST's iaf_psc_alpha: alpha-shaped synaptic currents whose peak is the weight."""

    E_L: Array = -70.0  # mV, resting potential
    C_m: Array = 250.0  # pF, capacitance
    tau_m: Array = 10.0  # ms, membrane time constant
    tau_syn_ex: Array = 2.0  # ms, rise time of the excitatory current
    tau_syn_in: Array = 2.0  # ms, rise time of the inhibitory current
    t_ref: Array = 2.0  # ms, refractory time
    V_th: Array = -55.0  # mV, threshold
    V_reset: Array = -70.0  # mV, potential after a spike
    V_min: Array = -np.inf  # mV, lower bound of the potential
    I_e: Array = 0.0  # pA, constant current
    spike: Spike = heaviside  # of V - V_th, mV

    def init(self, n: int) -> AlphaState:
        self._check_fields(n)
        rise = Rise(jnp.zeros((2, n)), jnp.zeros((2, n)))
        return AlphaState(jnp.zeros(n), jnp.zeros(n, jnp.int32), jnp.zeros(n), rise)

    def propagators(self, dt: float) -> tuple[Membrane, Alpha, Alpha, Alpha, Levels]:
        exc, inh = (alpha(tau, self.tau_m, self.C_m, dt) for tau in (self.tau_syn_ex, self.tau_syn_in))
        return membrane(self.tau_m, self.C_m, dt), exc, inh, _pair_signs(exc, inh), self._find_levels(self.V_min, dt)

    def step(
        self, state: AlphaState, input: Arriving, dt: float, propagators: tuple | None = None
    ) -> tuple[AlphaState, jax.Array]:
        p, exc, inh, both, levels = cast(propagators or self.propagators(dt), state.v.dtype)
        di, i = state.rise
        v = p.current * (state.i0 + levels.i_e) + exc.di_to_v * di[0] + exc.i_to_v * i[0]
        v = v + inh.di_to_v * di[1] + inh.i_to_v * i[1] + p.decay_m1 * state.v + state.v
        v, r, spikes = self._emit_spikes(state, levels, v)
        return AlphaState(v, r, _broadcast_current(input.current, v), both.step(state.rise, input.weights)), spikes


def _broadcast_current(current: Array, v: jax.Array) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(current, v.dtype), v.shape)
