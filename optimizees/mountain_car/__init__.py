"""Mountain Car, driven by a spiking network on NEST or in JAX."""

from optimizees.mountain_car.optimizee import MountainCar

__all__ = ["MountainCar"]
