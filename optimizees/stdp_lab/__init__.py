"""Spike-timing-dependent plasticity of one neuron, and of a population, on NEST and in JAX."""

from optimizees.stdp_lab.optimizee import SingleNeuron, STDPLab
from optimizees.stdp_lab.trains import Pair, Rule

__all__ = ["Pair", "Rule", "STDPLab", "SingleNeuron"]
