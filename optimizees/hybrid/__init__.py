"""Hybrid networks (Zhao et al. 2022): spiking and artificial parts, joined by hybrid units."""

from optimizees.hybrid.modulation import Modulation, Tasks
from optimizees.hybrid.network import HybridNetwork, Training
from optimizees.hybrid.reasoning import Reasoning, Scenes
from optimizees.hybrid.sensing import Recordings, Sensing

__all__ = ["HybridNetwork", "Modulation", "Reasoning", "Recordings", "Scenes", "Sensing", "Tasks", "Training"]
