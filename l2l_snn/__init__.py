"""Evolutionary and learning-to-learn optimisation of spiking neural networks."""

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee, JaxOptimizee, Optimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.space import Choice, Free, Integer, Real, Space

__all__ = [
    "BatchOptimizee",
    "Choice",
    "Evaluation",
    "Free",
    "Integer",
    "JaxOptimizee",
    "Optimizee",
    "Optimizer",
    "Real",
    "Space",
]
