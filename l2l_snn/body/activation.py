"""Activation of muscles by spikes, with a counter of stimulation (Brand 2024, section 2.3.3-2.3.4).

Legend: M muscles.
"""

from dataclasses import dataclass
from math import exp, log
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from l2l_snn.snn.parameters import Array
from l2l_snn.snn.spikes import Spike
from l2l_snn.snn.surrogate import smooth, superspike
from l2l_snn.validate import NotNegative, Positive, Within, check_fields, message


class ActivationState(NamedTuple):
    """State of the activation of M muscles."""

    counter: Array  # (M,) steps for which the stimulation goes on; -1: none
    level: Array  # (M,) a of eq. 2.9, 0 at rest and 1 at most


@dataclass(frozen=True)
class Activation:
    """First-order activation of a muscle by a square stimulation that each spike starts (Brand 2024, eq. 2.9-2.12).

        t_stim,t+1 = clip(t_stim,t + (S - 1) + S dt_stim, -1, dt_stim)         (2.11)
        stim = H(t_stim),  dstim / dt_stim = 1 / (|t_stim| + 1)^2              (2.12)
        a_t+1 = stim (1 - (1 - a) exp(-dt / tau_act)) + (1 - stim) a exp(-dt / tau_deact)    (2.10)

    How the source is read: da/dt = (stim - a) / tau, so in eq. 2.10 the bracket closes before the sum and the step dt
    stands where `t_pulse` is printed, which would reach the peak in one step. dt_stim, in steps, is the time in which a
    reaches `peak`. The time constants are not given; 10 ms is usual, with 40 ms a twitch is over 200 ms after its spike
    (fig. 2.2B).

    With `clip: pass` the derivative passes the limits of the counter as if they were not there: a muscle at rest
    stands at the lower one, and with the exact derivative, 0, no spike that is missing could ever be learned. With
    t_stim in steps, as printed (`unit: step`), a stimulated muscle has 1 / 14,641 of the peak derivative; in pulses
    it has 1 / 4.
    """

    tau_act: Positive = 10.0  # ms, time constant of activation
    tau_deact: Positive = 40.0  # ms, time constant of deactivation
    peak: Annotated[float, Within(0.0, 1.0, open_low=True, open_high=True)] = 0.95  # reached by one stimulation
    dt: Positive = 0.25  # ms, step
    clip: Literal["pass", "exact"] = "pass"  # derivative at the limits of the counter
    unit: Literal["pulse", "step"] = "pulse"  # of t_stim in the surrogate derivative, eq. 2.12
    smooth: NotNegative = 0.0  # 1 / steps; > 0: a sigmoid of this steepness for H, with an exact derivative

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("tau_act", "tau_deact"):
            if self.dt > getattr(self, name):
                todo = "a step cannot follow what decays faster"
                raise ValueError(message("Activation.dt", f"a step of at most {name}", f"{self.dt:g} ms", todo))

    @property
    def pulse(self) -> int:
        """dt_stim: steps of stimulation that a spike starts, 120 (30 ms) by default."""
        return max(1, round(-log(1 - self.peak) * self.tau_act / self.dt))

    def init(self, muscles: int) -> ActivationState:
        """Return M muscles at rest."""
        return ActivationState(jnp.full(muscles, -1.0), jnp.zeros(muscles))

    def step(self, state: ActivationState, spikes: Float[Array, " muscles"]) -> ActivationState:
        """Return the state one step later; `spikes` (M,) in {0, 1}."""
        free = state.counter + (spikes - 1) + spikes * self.pulse  # eq. 2.11
        counter = jnp.clip(free, -1, self.pulse)
        if self.clip == "pass":
            counter = free + jax.lax.stop_gradient(counter - free)
        stimulation = self._stimulate(counter)
        rise, fall = exp(-self.dt / self.tau_act), exp(-self.dt / self.tau_deact)
        active = 1 - (1 - state.level) * rise
        return ActivationState(counter, stimulation * active + (1 - stimulation) * state.level * fall)  # eq. 2.10

    def _stimulate(self, counter: Array) -> jax.Array:
        step: Spike = (
            smooth(self.smooth) if self.smooth else superspike(1 / self.pulse if self.unit == "pulse" else 1.0)
        )
        return step(counter)  # eq. 2.12
