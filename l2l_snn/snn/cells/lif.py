"""Leaky integrate-and-fire neurons of long short-term memory networks (Bellec et al. 2018), adaptive and not.

Legend: N neurons.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from l2l_snn.snn.cells.cell import Cell
from l2l_snn.snn.parameters import Array, cast, check_neurons, exp_decay, known, refractory_steps
from l2l_snn.snn.spikes import Spike, heaviside


class LIFState(NamedTuple):
    """State of LIF."""

    v: Array  # (N,) potential
    z: Array  # (N,) spikes of the step before
    r: Array  # (N,) int, refractory steps left


class LIFConstants(NamedTuple):
    """Constants of LIF and AdaptiveLIF."""

    alpha: Array  # exp(-dt / tau_m)
    rho: Array  # exp(-dt / tau_a)
    refractory: Array | None  # steps; None where it is known that there are none


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LIF(Cell):
    """LIF of long short-term memory networks (004 section 2; details from the authors' code).

        z_t = H((V_t - v_th) / v_th) unless refractory;  V_t+1 = alpha V_t + (1 - alpha) I_t - v_th z_t-1

    The spike reads the potential as it was before this step's current, the reset is subtracted one step after the
    spike, and potentials are integrated while refractory. Normalised by the threshold, as the surrogate of 004 wants.
    """

    tau_m: Array = 20.0  # ms, membrane time constant
    v_th: Array = 0.03  # threshold
    t_ref: Array = 5.0  # ms, refractory time
    spike: Spike = heaviside  # of (V - v_th) / v_th

    def init(self, n: int) -> LIFState:
        check_neurons(self, n, positive="tau_m v_th", not_negative="t_ref")
        return LIFState(jnp.zeros(n), jnp.zeros(n), jnp.zeros(n, jnp.int32))

    def propagators(self, dt: float) -> LIFConstants:
        return LIFConstants(exp_decay(self.tau_m, dt), 0.0, _refractory_or_none(self.t_ref, dt))

    def step(
        self, state: LIFState, input: Float[Array, " *neurons"], dt: float, propagators: LIFConstants | None = None
    ) -> tuple[LIFState, Float[jax.Array, " *neurons"]]:
        p = cast(propagators or self.propagators(dt), state.v.dtype)
        return _advance_lif(state, input, self.v_th, self.spike, p)

    def potential(self, state: LIFState) -> Array:
        return state.v


def _advance_lif(
    state: LIFState, current: Float[Array, " *neurons"], threshold: Array, spike: Spike, p: LIFConstants
) -> tuple[LIFState, Float[jax.Array, " *neurons"]]:
    z = spike((state.v - threshold) / threshold)
    v = p.alpha * state.v + (1 - p.alpha) * current - threshold * state.z
    if p.refractory is None:
        return LIFState(v, z, state.r), z
    z = jnp.where(state.r > 0, 0.0, z)
    return LIFState(v, z, jnp.where(z > 0.5, p.refractory, jnp.maximum(state.r - 1, 0))), z


class AdaptiveState(NamedTuple):
    """State of AdaptiveLIF."""

    lif: LIFState
    b: Array  # (N,) 1/ms, adaptation of the threshold


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class AdaptiveLIF(Cell):
    """LIF with a threshold that every spike raises (004 eq. 1-2; else as LIF).

        B_t = v_th + beta b_t (1);  b_t+1 = rho b_t + (1 - rho) z_t (2), with z in {0, 1 / dt}

    The spike compares the old potential with the new threshold, as in the authors' code. v_th is their b0; its
    and beta's defaults are those of that code, which goes by steps of 1 ms.
    """

    tau_m: Array = 20.0  # ms, membrane time constant
    v_th: Array = 0.01  # threshold at rest, b0
    t_ref: Array = 5.0  # ms, refractory time
    beta: Array = 1.8  # ms, rise of the threshold for each unit of b
    tau_a: Array = 700.0  # ms, time constant of adaptation
    spike: Spike = heaviside  # of (V - B) / B

    def init(self, n: int) -> AdaptiveState:
        check_neurons(self, n, positive="tau_m tau_a v_th", not_negative="t_ref")
        return AdaptiveState(LIFState(jnp.zeros(n), jnp.zeros(n), jnp.zeros(n, jnp.int32)), jnp.zeros(n))

    def propagators(self, dt: float) -> LIFConstants:
        return LIFConstants(exp_decay(self.tau_m, dt), exp_decay(self.tau_a, dt), _refractory_or_none(self.t_ref, dt))

    def step(
        self, state: AdaptiveState, input: Float[Array, " *neurons"], dt: float, propagators: LIFConstants | None = None
    ) -> tuple[AdaptiveState, Float[jax.Array, " *neurons"]]:
        p = cast(propagators or self.propagators(dt), state.b.dtype)
        b = p.rho * state.b + (1 - p.rho) * state.lif.z / dt  # eq. 2
        lif, z = _advance_lif(state.lif, input, self.v_th + self.beta * b, self.spike, p)  # eq. 1
        return AdaptiveState(lif, b), z

    def potential(self, state: AdaptiveState) -> Array:
        return state.lif.v


def _refractory_or_none(t_ref: Array, dt: float) -> Array | None:
    return None if known(t_ref) and not np.any(t_ref) else refractory_steps(t_ref, dt)
