"""Neuron models: NamedTuples of parameters with a pure `init` and `step`.

    cell = LIF(tau_m=20.0)
    state = cell.init(5)
    state, spikes = cell.step(state, current, dt)

NEST's models are in nest_cells.py and take `Arriving`; those here take one current a neuron, in the unit of their
threshold, and are the ones that the sources train. `spike` is their step function; training wants one of
surrogate.py with a derivative.

Legend: N neurons. A field is () or (N,), and may be traced: evolved or trained.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.nest_cells import Arriving, IafPscAlpha, IafPscDelta, IafPscExp
from l2l_snn.snn.parameters import Array, cast, check_cell, known, numbers, refractory_steps
from l2l_snn.snn.surrogate import Spike, heaviside

__all__ = [
    "LIF",
    "AdaptiveLIF",
    "Arriving",
    "Cell",
    "CurrentLIF",
    "Exact",
    "IafPscAlpha",
    "IafPscDelta",
    "IafPscExp",
    "LeakyReadout",
    "SRMAlpha",
    "SignsApart",
]


class Cell(Protocol):
    """What a network needs of a neuron model."""

    def init(self, n: int) -> Any:
        """Return the state of n neurons at rest; refuse parameters that don't fit."""
        ...

    def step(self, state: Any, input: Any, dt: float) -> tuple[Any, Array]:
        """Return the state one step later and the spikes (N,) in {0, 1}; pure."""
        ...


@runtime_checkable
class Exact(Protocol):
    """A cell with propagators: a network works them out once and hands them to every step."""

    def propagators(self, dt: float) -> Any: ...
    def step(self, state: Any, input: Any, dt: float, propagators: Any = None) -> tuple[Any, Array]: ...


@runtime_checkable
class SignsApart(Protocol):
    """A cell whose input is `Arriving`: positive and negative weights apart."""

    signs_apart: bool


class CurrentState(NamedTuple):
    """State of CurrentLIF."""

    v: Array  # (N,) U of eq. 2.4
    i: Array  # (N,) I of eq. 2.5


class Decays(NamedTuple):
    """Factors by which two quantities shrink in one step."""

    first: Array
    second: Array


class CurrentLIF(NamedTuple):
    """LIF with synaptic current (003 eq. 2.2-2.6), with the equations as printed.

        S_t = H(U_t - v_th);  U_t+1 = (1 - S_t) (beta U_t + I_t dt);  I_t+1 = alpha I_t + I_in

    So an input acts on the spikes two steps later; R of eq. 2.2 is 1, and a spike also cancels the current of its step.
    """

    tau_mem: Array = 20.0  # ms
    tau_syn: Array = 10.0  # ms
    v_th: Array = 1.0  # mV
    spike: Spike = heaviside  # of U - v_th, mV

    def init(self, n: int) -> CurrentState:
        check_cell(self, n, positive="tau_mem tau_syn")
        return CurrentState(jnp.zeros(n), jnp.zeros(n))

    def propagators(self, dt: float) -> Decays:
        return Decays(_decay(self.tau_mem, dt), _decay(self.tau_syn, dt))

    def step(
        self, state: CurrentState, input: Array, dt: float, propagators: Decays | None = None
    ) -> tuple[CurrentState, jax.Array]:
        beta, alpha = cast(propagators or self.propagators(dt), state.v.dtype)
        spikes = self.spike(state.v - self.v_th)  # eq. 2.6
        v = (1 - spikes) * (beta * state.v + state.i * dt)  # eq. 2.4
        return CurrentState(v, alpha * state.i + input), spikes  # eq. 2.5

    def potential(self, state: CurrentState) -> Array:
        return state.v


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


class LIF(NamedTuple):
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
        check_cell(self, n, positive="tau_m v_th", not_negative="t_ref")
        return LIFState(jnp.zeros(n), jnp.zeros(n), jnp.zeros(n, jnp.int32))

    def propagators(self, dt: float) -> LIFConstants:
        return LIFConstants(_decay(self.tau_m, dt), 0.0, _refractory(self.t_ref, dt))

    def step(
        self, state: LIFState, input: Array, dt: float, propagators: LIFConstants | None = None
    ) -> tuple[LIFState, jax.Array]:
        p = cast(propagators or self.propagators(dt), state.v.dtype)
        return _lif_step(state, input, self.v_th, self.spike, p)

    def potential(self, state: LIFState) -> Array:
        return state.v


def _lif_step(
    state: LIFState, current: Array, threshold: Array, spike: Spike, p: LIFConstants
) -> tuple[LIFState, jax.Array]:
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


class AdaptiveLIF(NamedTuple):
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
        check_cell(self, n, positive="tau_m tau_a v_th", not_negative="t_ref")
        return AdaptiveState(LIFState(jnp.zeros(n), jnp.zeros(n), jnp.zeros(n, jnp.int32)), jnp.zeros(n))

    def propagators(self, dt: float) -> LIFConstants:
        return LIFConstants(_decay(self.tau_m, dt), _decay(self.tau_a, dt), _refractory(self.t_ref, dt))

    def step(
        self, state: AdaptiveState, input: Array, dt: float, propagators: LIFConstants | None = None
    ) -> tuple[AdaptiveState, jax.Array]:
        p = cast(propagators or self.propagators(dt), state.b.dtype)
        b = p.rho * state.b + (1 - p.rho) * state.lif.z / dt  # eq. 2
        lif, z = _lif_step(state.lif, input, self.v_th + self.beta * b, self.spike, p)  # eq. 1
        return AdaptiveState(lif, b), z

    def potential(self, state: AdaptiveState) -> Array:
        return state.lif.v


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


class SRMAlpha(NamedTuple):
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

    def init(self, n: int) -> SRMState:
        check_cell(self, n, positive="tau_s tau_ref", not_negative="scale_ref")
        psp, refractory = (Response(jnp.zeros(n), jnp.zeros(n)) for _ in range(2))
        return SRMState(jnp.zeros(n), psp, refractory)

    def propagators(self, dt: float) -> SRMConstants:
        _, (tau_s, tau_ref, h) = numbers(self.tau_s, self.tau_ref, dt)
        return SRMConstants(_decay(tau_s, dt), np.e * h / tau_s, _decay(tau_ref, dt), np.e * h / tau_ref)

    def step(
        self, state: SRMState, input: Array, dt: float, propagators: SRMConstants | None = None
    ) -> tuple[SRMState, jax.Array]:
        p = cast(propagators or self.propagators(dt), state.v.dtype)
        psp = p.decay_s * (state.psp.a + p.rise_s * state.psp.x)
        refractory = p.decay_ref * (state.refractory.a + p.rise_ref * state.refractory.x)
        v = psp - self.scale_ref * self.v_th * refractory  # eq. 2
        spikes = self.spike(v - self.v_th)  # eq. 3-5
        new_psp = Response(p.decay_s * state.psp.x + input, psp)
        return SRMState(v, new_psp, Response(p.decay_ref * state.refractory.x + spikes, refractory)), spikes

    def potential(self, state: SRMState) -> Array:
        return state.v


class ReadoutState(NamedTuple):
    """State of LeakyReadout."""

    v: Array  # (N,) filtered input


class ReadoutConstants(NamedTuple):
    """Constant of LeakyReadout."""

    kappa: Array  # exp(-dt / tau_m)


class LeakyReadout(NamedTuple):
    """A neuron that never spikes: its output is its potential, V_t+1 = kappa V_t + (1 - kappa) I_t, plus a bias."""

    tau_m: Array = 20.0  # ms
    bias: Array = 0.0  # added to the output

    def init(self, n: int) -> ReadoutState:
        check_cell(self, n, positive="tau_m")
        return ReadoutState(jnp.zeros(n))

    def propagators(self, dt: float) -> ReadoutConstants:
        return ReadoutConstants(_decay(self.tau_m, dt))

    def step(
        self, state: ReadoutState, input: Array, dt: float, propagators: ReadoutConstants | None = None
    ) -> tuple[ReadoutState, jax.Array]:
        (kappa,) = cast(propagators or self.propagators(dt), state.v.dtype)
        v = kappa * state.v + (1 - kappa) * input
        return ReadoutState(v), v + self.bias

    def potential(self, state: ReadoutState) -> Array:
        return state.v + self.bias


def _refractory(t_ref: Array, dt: float) -> Array | None:
    return None if known(t_ref) and not np.any(t_ref) else refractory_steps(t_ref, dt)


def _decay(tau: Array, dt: float) -> Array:
    xp, (tau, dt) = numbers(tau, dt)
    return xp.exp(-dt / tau)
