"""The iterative leaky integrate-and-fire neuron of spatio-temporal backpropagation. Legend: N neurons."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from l2l_snn.snn.cells.cell import Cell
from l2l_snn.snn.parameters import Array, cast, check_neurons, numbers
from l2l_snn.snn.spikes import Spike, heaviside


class IterativeState(NamedTuple):
    """State of IterativeLIF."""

    v: Array  # (N,) u
    z: Array  # (N,) o, spikes of the step before


class IterativeConstants(NamedTuple):
    """Constant of IterativeLIF."""

    decay: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class IterativeLIF(Cell):
    """LIF in steps without units (Wu et al. 2018, Frontiers in Neuroscience 12:331; Labady 2023, section 2.6).

        u_t = decay (1 - o_t-1) u_t-1 + I_t;  o_t = H(u_t - v_th)

    The input I = W x + b acts on the spike of its own step, and a spike clears the potential. The gradient goes through
    both factors: in time by the leak and by the reset. The text doesn't give decay and v_th; these are those of
    the authors' code for MNIST.
    """

    per_step: ClassVar[bool] = True
    decay: Array = 0.5  # what is left of the potential after a step, in [0, 1]
    v_th: Array = 0.3  # threshold
    spike: Spike = heaviside  # of u - v_th

    def init(self, n: int) -> IterativeState:
        check_neurons(self, n, positive="v_th", not_negative="decay")
        return IterativeState(jnp.zeros(n), jnp.zeros(n))

    def propagators(self, dt: float) -> IterativeConstants:
        _, (decay,) = numbers(self.decay)
        return IterativeConstants(decay)

    def step(
        self,
        state: IterativeState,
        input: Float[Array, " *neurons"],
        dt: float,
        propagators: IterativeConstants | None = None,
    ) -> tuple[IterativeState, Float[jax.Array, " *neurons"]]:
        (decay,) = cast(propagators or self.propagators(dt), state.v.dtype)
        v = decay * (1 - state.z) * state.v + input
        z = self.spike(v - self.v_th)
        return IterativeState(v, z), z

    def potential(self, state: IterativeState) -> Array:
        return state.v
