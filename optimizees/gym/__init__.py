from optimizees.gym.optimizee import Gym

__all__ = ["Gym"]
