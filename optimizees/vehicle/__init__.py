"""A vehicle that learns to reach targets by R-STDP while it drives."""

from optimizees.vehicle.brain import Brain
from optimizees.vehicle.lessons import Training
from optimizees.vehicle.optimizee import Vehicle
from optimizees.vehicle.world import Arena

__all__ = ["Arena", "Brain", "Training", "Vehicle"]
