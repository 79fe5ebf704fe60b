"""Agents of spiking neurons that act, and learn while they act, in any task."""

from optimizees.agent.optimizee import Agent

__all__ = ["Agent"]
