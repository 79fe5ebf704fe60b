"""An arm with muscles that learns to stand, by a spiking network trained online (Brand 2024)."""

from optimizees.arm.brain import Brain
from optimizees.arm.isolated import ShiftedSine
from optimizees.arm.life import Training
from optimizees.arm.loop import Loop
from optimizees.arm.optimizee import EmbodiedArm

__all__ = ["Brain", "EmbodiedArm", "Loop", "ShiftedSine", "Training"]
