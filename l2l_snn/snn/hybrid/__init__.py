"""Hybrid units: what joins spiking and artificial parts of a network (Zhao et al. 2022), spikes to numbers and back."""

from l2l_snn.snn.hybrid.designed import to_currents, to_rates, to_spikes, to_thresholds, to_timing
from l2l_snn.snn.hybrid.kernels import exponential_kernel, fit_kernel, rate_kernel, truncated
from l2l_snn.snn.hybrid.quantisers import by_chance, evenly_spaced, levels, spiking
from l2l_snn.snn.hybrid.unit import HybridUnit, learning

__all__ = [
    "HybridUnit",
    "by_chance",
    "evenly_spaced",
    "exponential_kernel",
    "fit_kernel",
    "learning",
    "levels",
    "rate_kernel",
    "spiking",
    "to_currents",
    "to_rates",
    "to_spikes",
    "to_thresholds",
    "to_timing",
    "truncated",
]
