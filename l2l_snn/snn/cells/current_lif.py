"""Leaky integrate-and-fire with a synaptic current. Legend: N neurons."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from l2l_snn.snn.cells.cell import Cell
from l2l_snn.snn.parameters import Array, cast, check_neurons, exp_decay
from l2l_snn.snn.spikes import Spike, heaviside


class CurrentState(NamedTuple):
    """State of CurrentLIF."""

    v: Array  # (N,) U of eq. 2.4
    i: Array  # (N,) I of eq. 2.5


class Decays(NamedTuple):
    """Factors by which two quantities shrink in one step."""

    first: Array
    second: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CurrentLIF(Cell):
    """LIF with synaptic current (003 eq. 2.2-2.6), with the equations as printed.

        S_t = H(U_t - v_th);  U_t+1 = (1 - S_t) (beta U_t + I_t dt);  I_t+1 = alpha I_t + I_in

    So an input acts on the spikes two steps later; R of eq. 2.2 is 1, and a spike also cancels the current of its step.
    """

    tau_mem: Array = 20.0  # ms
    tau_syn: Array = 10.0  # ms
    v_th: Array = 1.0  # mV
    spike: Spike = heaviside  # of U - v_th, mV

    def init(self, n: int) -> CurrentState:
        check_neurons(self, n, positive="tau_mem tau_syn")
        return CurrentState(jnp.zeros(n), jnp.zeros(n))

    def propagators(self, dt: float) -> Decays:
        return Decays(exp_decay(self.tau_mem, dt), exp_decay(self.tau_syn, dt))

    def step(
        self, state: CurrentState, input: Float[Array, " *neurons"], dt: float, propagators: Decays | None = None
    ) -> tuple[CurrentState, Float[jax.Array, " *neurons"]]:
        beta, alpha = cast(propagators or self.propagators(dt), state.v.dtype)
        spikes = self.spike(state.v - self.v_th)  # eq. 2.6
        v = (1 - spikes) * (beta * state.v + state.i * dt)  # eq. 2.4
        return CurrentState(v, alpha * state.i + input), spikes  # eq. 2.5

    def potential(self, state: CurrentState) -> Array:
        return state.v
