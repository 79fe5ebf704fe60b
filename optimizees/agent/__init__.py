"""Agents of spiking neurons that act, and learn while they act, in any task."""

from optimizees.agent.body import Body
from optimizees.agent.learning import Learning
from optimizees.agent.life import Life
from optimizees.agent.optimizee import Agent

__all__ = ["Agent", "Body", "Learning", "Life"]
