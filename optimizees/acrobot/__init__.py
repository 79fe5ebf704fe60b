"""Acrobot by an agent."""

from optimizees.acrobot.optimizee import Acrobot

__all__ = ["Acrobot"]
