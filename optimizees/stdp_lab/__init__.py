"""Spike-timing-dependent plasticity of one neuron, and of a population, on NEST and in JAX."""

from optimizees.stdp_lab.optimizee import SingleNeuron, STDPLab

__all__ = ["STDPLab", "SingleNeuron"]
