"""Three optimizees of the L2L framework for `optimizees.l2l_adapter`: functions of a trajectory that make them."""

from types import SimpleNamespace

from l2l.optimizees.active_wait.optimizee_aw import AWOptimizee
from l2l.optimizees.functions.benchmarked_functions import BenchmarkedFunctions
from l2l.optimizees.functions.optimizee import FunctionGeneratorOptimizee


def rastrigin(trajectory):
    """Return a Rastrigin function in two dimensions."""
    (_, function), _ = BenchmarkedFunctions().get_function_by_name("Rastrigin2d")
    return FunctionGeneratorOptimizee(trajectory, function, seed=1)


def active_wait(trajectory, difficulty):
    """Return the optimizee that counts primes; its fitness is always 0."""
    return AWOptimizee(trajectory, SimpleNamespace(difficulty=difficulty))


def mnist(trajectory, n_hidden):
    """Return a perceptron on scikit-learn's digits, whose weights are evolved."""
    from l2l.optimizees.mnist.optimizee import MNISTOptimizee

    return MNISTOptimizee(trajectory, SimpleNamespace(n_hidden=n_hidden, seed=1, use_small_mnist=True))
