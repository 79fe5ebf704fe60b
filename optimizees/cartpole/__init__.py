"""CartPole by an agent."""

from optimizees.cartpole.optimizee import CartPole

__all__ = ["CartPole"]
