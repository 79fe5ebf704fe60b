"""Conformance suites: does a user's optimizee, optimizer, cell, rule or task keep the contract?

    for check in check_optimizer(GeneticAlgorithm()):
        print("passed" if check.ok else "FAILED", check.claim, check.text)
    require(check_optimizee(MountainCar()))     # in a test: raises CheckFailed with all that failed

Each claim is one function that returns "" or what was expected, what came and what to do; whatever a claim raises is
its failure too. The claims don't depend on one another; what several raise is said once, by the first.
"""

from l2l_snn.checks.cell import check_cell
from l2l_snn.checks.common import Check, CheckFailed, require, watched
from l2l_snn.checks.optimizee import check_optimizee
from l2l_snn.checks.optimizer import check_optimizer
from l2l_snn.checks.rule import check_rule
from l2l_snn.checks.task import check_task, missing_methods
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.snn.cells import Cell
from l2l_snn.snn.plasticity import Rule

SUITES = {  # what a class derives from -> the suite that `l2l check` runs; a task has no base class
    BatchOptimizee: check_optimizee,
    Optimizer: check_optimizer,
    Cell: check_cell,
    Rule: check_rule,
}

__all__ = [
    "SUITES",
    "Check",
    "CheckFailed",
    "check_cell",
    "check_optimizee",
    "check_optimizer",
    "check_rule",
    "check_task",
    "missing_methods",
    "require",
    "watched",
]
