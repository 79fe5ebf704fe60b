"""Pendulum by an agent."""

from optimizees.pendulum.optimizee import Pendulum

__all__ = ["Pendulum"]
