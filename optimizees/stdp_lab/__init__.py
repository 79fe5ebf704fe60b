"""Spike-timing-dependent plasticity of one neuron, and of a population, on NEST and in JAX."""

from optimizees.stdp_lab.optimizee import SingleNeuron, STDPLab
from optimizees.stdp_lab.trains import Pair, STDPRule

__all__ = ["Pair", "STDPLab", "STDPRule", "SingleNeuron"]
