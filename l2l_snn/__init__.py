"""Evolutionary and learning-to-learn optimisation of spiking neural networks.

import l2l_snn as l2l

run = l2l.run(Bowl(), GeneticAlgorithm(population=16), generations=50)       # see l2l_snn.api.run
run = l2l.load("bowl-1")
"""

from typing import TYPE_CHECKING, Any

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee, JaxOptimizee, Optimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.space import Choice, Free, Integer, Real, Space

if TYPE_CHECKING:
    from l2l_snn.api.run import Run, load, run

_IN_API = ("Run", "load", "run")  # imported when they are asked for: pandas and the store are heavy

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
    "Run",
    "Space",
    "load",
    "run",
]


def __getattr__(name: str) -> Any:
    if name in _IN_API:
        from l2l_snn.api import run as api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
