"""Functions learned from examples in the state of a recurrent network."""

from optimizees.teacher.learner import LSNN
from optimizees.teacher.optimizee import Teacher

__all__ = ["LSNN", "Teacher"]
