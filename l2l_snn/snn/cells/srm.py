"""The spike response model with alpha kernels. Legend: N neurons."""

from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from l2l_snn.snn.cells.cell import Cell
from l2l_snn.snn.parameters import Array, cast, check_neurons, exp_decay, numbers
from l2l_snn.snn.spikes import Spike, heaviside


class Response(NamedTuple):
    """A spike train convolved with an alpha kernel t / tau exp(1 - t / tau), which peaks with 1 at tau."""

    x: Array  # (N,) the train convolved with exp(-t / tau)
    a: Array  # (N,) the response


class SRMState(NamedTuple):
    """State of SRMAlpha."""

    v: Array  # (N,) mV, u of eq. 2
    psp: Response  # epsilon * (W s), before this step's input
    refractory: Response  # alpha kernel * own spikes, before this step's


class SRMConstants(NamedTuple):
    """Constants of SRMAlpha."""

    decay_s: Array
    rise_s: Array  # e dt / tau_s
    decay_ref: Array
    rise_ref: Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SRMAlpha(Cell):
    """Spike response model with alpha kernels (001 eq. 1-5; kernels of the SLAYER code that it used).

        u = W (epsilon * s_pre) + nu * s (1, 2);  s = H(u - v_th) (3-5)
        epsilon(t) = t / tau_s exp(1 - t / tau_s);  nu(t) = -scale_ref v_th t / tau_ref exp(1 - t / tau_ref)

    Both kernels are infinite here, by recursion; the source cuts them where they are below 0.01. Its reset "to a
    baseline" is nu's work: nothing else is reset. The input is W s_pre: for weights that don't
    change, W (epsilon * s) = epsilon * (W s). Defaults: supplement (000) section 1.5.
    """

    v_th: Array = 10.0  # mV
    tau_s: Array = 10.0  # ms, time constant of the response to input
    tau_ref: Array = 2.0  # ms, time constant of refractoriness
    scale_ref: Array = 2.0  # peak of refractoriness, in thresholds
    spike: Spike = heaviside  # of u - v_th, mV
    # whether gradients pass through the neuron's own spikes in nu; not in SLAYER (Shrestha & Orchard 2018)
    through_refractory: bool = field(default=True, metadata={"static": True})

    def init(self, n: int) -> SRMState:
        check_neurons(self, n, positive="tau_s tau_ref", not_negative="scale_ref")
        psp, refractory = (Response(jnp.zeros(n), jnp.zeros(n)) for _ in range(2))
        return SRMState(jnp.zeros(n), psp, refractory)

    def propagators(self, dt: float) -> SRMConstants:
        _, (tau_s, tau_ref, h) = numbers(self.tau_s, self.tau_ref, dt)
        return SRMConstants(exp_decay(tau_s, dt), np.e * h / tau_s, exp_decay(tau_ref, dt), np.e * h / tau_ref)

    def step(
        self, state: SRMState, input: Float[Array, " *neurons"], dt: float, propagators: SRMConstants | None = None
    ) -> tuple[SRMState, Float[jax.Array, " *neurons"]]:
        p = cast(propagators or self.propagators(dt), state.v.dtype)
        psp = p.decay_s * (state.psp.a + p.rise_s * state.psp.x)
        refractory = p.decay_ref * (state.refractory.a + p.rise_ref * state.refractory.x)
        v = psp - self.scale_ref * self.v_th * refractory  # eq. 2
        spikes = self.spike(v - self.v_th)  # eq. 3-5
        new_psp = Response(p.decay_s * state.psp.x + input, psp)
        own = spikes if self.through_refractory else jax.lax.stop_gradient(spikes)
        return SRMState(v, new_psp, Response(p.decay_ref * state.refractory.x + own, refractory)), spikes

    def potential(self, state: SRMState) -> Array:
        return state.v
