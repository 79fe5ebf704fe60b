"""The single-neuron and STDP experiments on NEST.

Legend: C copies, T steps.
"""

import numpy as np

from l2l_snn.snn import nest
from optimizees.stdp_lab.trains import Evolved, Pair, STDPRule


def pair(spec: Pair, currents: np.ndarray, weights: np.ndarray, record: bool) -> tuple[np.ndarray, np.ndarray]:
    """Simulate C pairs of iaf_psc_alpha under a dc_generator.

    Args:
        spec: the neurons and the run.
        currents: (C,) pA, into the first neuron of each.
        weights: (C,) pA, from the first neuron to the second.
        record: also return the potentials.

    Returns:
        spikes (C, 2, T) bool and potentials (C, 2, T) mV, T = 0 unless recorded; index k is (k + 1) * resolution.
    """
    return nest.driven_pairs(
        spec.neuron(),
        currents,
        weights,
        drive_delay=spec.drive_delay,
        delay=spec.delay,
        duration=spec.duration,
        resolution=spec.resolution,
        record=record,
    )


def weights(rule: STDPRule, dt: float, evolved: Evolved, pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Return the weights (C, T) of C stdp_synapses on trains (C, T) bool of steps of dt ms; see `nest.stdp_weights`."""
    params = {
        "lambda": evolved.lam,
        "alpha": evolved.alpha,
        "tau_plus": evolved.tau_pre,
        "mu_plus": rule.mu_plus,
        "mu_minus": rule.mu_minus,
        "Wmax": rule.w_max,
    }
    bounds = (rule.w_min, rule.w_max)
    return nest.stdp_weights(pre, post, rule.w_start, params, evolved.tau_post, bounds, dt)
