"""Mountain Car, driven by a spiking network on NEST or in JAX."""

from optimizees.mountain_car.optimizee import MountainCar
from optimizees.mountain_car.task import CarNetwork

__all__ = ["CarNetwork", "MountainCar"]
