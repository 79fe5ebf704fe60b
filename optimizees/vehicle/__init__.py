"""A vehicle that learns to reach targets by R-STDP while it drives."""

from optimizees.vehicle.optimizee import Vehicle

__all__ = ["Vehicle"]
