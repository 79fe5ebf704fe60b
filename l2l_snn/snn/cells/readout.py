"""The readout: a neuron that never spikes. Legend: N neurons."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from l2l_snn.snn.cells.cell import Cell
from l2l_snn.snn.parameters import Array, cast, check_neurons, exp_decay


class ReadoutState(NamedTuple):
    """State of LeakyReadout."""

    v: Array  # (N,) filtered input


class ReadoutConstants(NamedTuple):
    """Constant of LeakyReadout."""

    kappa: Array  # exp(-dt / tau_m)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class LeakyReadout(Cell):
    """A neuron that never spikes: its output is its potential, V_t+1 = kappa V_t + (1 - kappa) I_t, plus a bias."""

    spiking: ClassVar[bool] = False
    tau_m: Array = 20.0  # ms
    bias: Array = 0.0  # added to the output

    def init(self, n: int) -> ReadoutState:
        check_neurons(self, n, positive="tau_m")
        return ReadoutState(jnp.zeros(n))

    def propagators(self, dt: float) -> ReadoutConstants:
        return ReadoutConstants(exp_decay(self.tau_m, dt))

    def step(
        self,
        state: ReadoutState,
        input: Float[Array, " *neurons"],
        dt: float,
        propagators: ReadoutConstants | None = None,
    ) -> tuple[ReadoutState, Float[jax.Array, " *neurons"]]:
        (kappa,) = cast(propagators or self.propagators(dt), state.v.dtype)
        v = kappa * state.v + (1 - kappa) * input
        return ReadoutState(v), v + self.bias

    def potential(self, state: ReadoutState) -> Array:
        return state.v + self.bias
