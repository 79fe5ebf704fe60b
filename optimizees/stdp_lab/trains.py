"""What the two back ends of the single-neuron and STDP experiments share (Labady 2023, sections 3.1 and 3.2).

Legend: C copies, E pairs of spike trains of each evaluation, T steps.
"""

from typing import Any, NamedTuple

import numpy as np


class Pair(NamedTuple):
    """Two neurons, the first of which drives the second; see the fields of `SingleNeuron`."""

    E_L: float  # mV
    V_th: float  # mV
    V_reset: float  # mV
    C_m: float  # pF
    tau_m: float  # ms
    tau_syn: float  # ms
    t_ref: float  # ms
    drive_delay: float  # ms
    delay: float  # ms
    duration: float  # ms
    resolution: float  # ms

    def neuron(self) -> dict[str, Any]:
        """Return the parameters of both neurons under NEST's names."""
        shared = {name: getattr(self, name) for name in ("E_L", "V_th", "V_reset", "C_m", "tau_m", "t_ref")}
        return shared | {"tau_syn_ex": self.tau_syn, "tau_syn_in": self.tau_syn}


class Rule(NamedTuple):
    """What is the same for all evaluations of the STDP rule; see the fields of `STDPLab`."""

    w_start: float
    w_min: float
    w_max: float
    mu_plus: float
    mu_minus: float
    resolution: float  # ms
    update: str  # "spikes" or "steps"


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
