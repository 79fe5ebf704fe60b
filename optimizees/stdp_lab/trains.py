"""What the two back ends of the single-neuron and STDP experiments share (Labady 2023, sections 3.1 and 3.2).

Legend: C copies, E pairs of spike trains of each evaluation, T steps.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from l2l_snn.validate import Finite, NotNegative, Positive, check_fields, check_multiple, check_range, message

SHORTEST = 0.001  # ms, NEST's shortest time


@dataclass(frozen=True)
class Pair:
    """Two neurons, the first of which drives the second, and how they are simulated."""

    E_L: Finite = -70.0  # mV, resting potential, where both neurons start
    V_th: Finite = -55.0  # mV, threshold
    V_reset: Finite = -70.0  # mV, potential after a spike
    C_m: Positive = 250.0  # pF, capacitance
    tau_m: Positive = 10.0  # ms, membrane time constant
    tau_syn: Positive = 2.0  # ms, rise time of the synaptic current
    t_ref: NotNegative = 2.0  # ms, refractory time
    drive_delay: Finite = 1.0  # ms, from the generator to the first neuron
    delay: Finite = 1.0  # ms, synaptic delay
    duration: Positive = 1000.0  # ms
    resolution: Positive = 0.1  # ms, simulation step and sampling interval

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("E_L", "V_reset"):
            if getattr(self, name) >= self.V_th:
                got = f"{getattr(self, name)} mV with V_th {self.V_th} mV"
                raise ValueError(message(name, "a potential below V_th", got))
        for name in ("drive_delay", "delay"):
            check_range(name, getattr(self, name), self.resolution, todo="nothing arrives before the next step")
        check_multiple("resolution", self.resolution, SHORTEST)
        for name in ("drive_delay", "delay", "duration", "t_ref"):
            check_multiple(name, getattr(self, name), self.resolution, "the resolution")

    def neuron(self) -> dict[str, Any]:
        """Return the parameters of both neurons under NEST's names."""
        shared = {name: getattr(self, name) for name in ("E_L", "V_th", "V_reset", "C_m", "tau_m", "t_ref")}
        return shared | {"tau_syn_ex": self.tau_syn, "tau_syn_in": self.tau_syn}


@dataclass(frozen=True)
class STDPRule:
    """What is the same for all evaluations of the STDP rule."""

    mu_plus: NotNegative = 1.0  # exponent of the weight dependence of potentiation
    mu_minus: NotNegative = 1.0  # the same of depression
    w_start: Finite = 500.0  # units, first weight
    w_min: Finite = 0.0  # units
    w_max: Positive = 1000.0  # units
    update: Literal["spikes", "steps"] = "spikes"  # when the weight changes: at spikes, or by the letter in every step

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("w_min", self.w_min, 0.0, self.w_max)
        check_range("w_start", self.w_start, self.w_min, self.w_max)


class Evolved(NamedTuple):
    """What differs between evaluations of the STDP rule; numpy or jax arrays."""

    lam: Any  # (C,)
    alpha: Any  # (C,)
    tau_pre: Any  # (C,) ms
    tau_post: Any  # (C,) ms


def poisson(rate: float, pairs: int, steps: int, dt: float, generator: np.random.Generator) -> np.ndarray:
    """Return Poisson spike trains (E, T) bool of `rate` Hz; several spikes in one step of `dt` ms count as one."""
    return generator.random((pairs, steps)) < -np.expm1(-rate * dt / 1000.0)


def at_times(times: tuple[float, ...], pairs: int, steps: int, dt: float) -> np.ndarray:
    """Return the same spike train for all pairs, (E, T) bool: a spike at t ms ends the step k with t = (k + 1) dt.

    >>> at_times((1.0, 3.0), 1, 4, 1.0).astype(int).tolist()
    [[1, 0, 1, 0]]
    """
    spikes = np.zeros((pairs, steps), bool)
    spikes[:, np.rint(np.asarray(times) / dt).astype(np.int64) - 1] = True
    return spikes


def trace(spikes: np.ndarray, tau: float, dt: float) -> np.ndarray:
    """Return the trace (T,) of a spike train (T,), after each step.

    Eq. 8-9 print the decay, x <- x exp(-dt / tau); a spike then adds 1, as on NEST.

    >>> trace(np.array([False, True, False, True]), 20.0, 20.0).round(4).tolist()
    [0.0, 1.0, 0.3679, 1.1353]
    """
    decay, x, values = np.exp(-dt / tau), 0.0, np.empty(len(spikes))
    for k, spike in enumerate(spikes):
        x = x * decay + spike
        values[k] = x
    return values
