"""Time of one ask and tell of each of our optimizers, beside evosax, EvoTorch, pycma and plain DEAP, on a sphere.

    python benchmarks/optimizers/ask_tell.py                      # all sizes: 32 x 500, 1024 x 500, 32 x 10,000
    python benchmarks/optimizers/ask_tell.py --sizes 32x500 --only CMAES pycma evosax:CMA_ES

One thread and one process. A time is that of ask + tell in milliseconds, the median of at least 5 generations (and the
fastest); evaluating the sphere isn't in it. The first generation, in which JAX compiles, is timed on its own. Ours
compute in float64, evosax in float32, both as they come; what evosax returns is waited for. EvoTorch's step
includes evaluating the sphere, since it can't be taken apart. "sep" is the diagonal variant; full covariances are
left out above 1,000 coordinates. A library that isn't installed is left out with a line.

Legend: P individuals, D coordinates.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from bbob import build, found  # first: it sets the number of threads

import numpy as np  # isort: skip

SIZES = ("32x500", "1024x500", "32x10000")
FULL = {
    "CMAES",
    "XNES",
    "Evosax",
    "pycma",
    "deap:CMA",
    "evosax:CMA_ES",
    "evosax:xNES",
}  # D x D numbers; Evosax by default
LARGEST_FULL = 1_000  # coordinates of those
EVOSAX = ("CMA_ES", "Sep_CMA_ES", "Open_ES", "PGPE", "SNES", "xNES", "SimpleGA")
MAP = {"descriptors": ["x0", "x1"], "low": [0.0, 0.0], "high": [1.0, 1.0], "cells": [16, 16]}
SETTINGS: dict[str, dict[str, Any]] = {"map_elites:MapElites": MAP}  # of those that have no defaults
Generation = Callable[[], float]  # does one generation and returns the seconds of its ask and tell


def sphere(z: np.ndarray) -> np.ndarray:
    """Return the value (P,) to minimise."""
    return ((z - 0.3) ** 2).sum(axis=1)


def ours(name: str, population: int, dimension: int) -> Generation:
    from l2l_snn.evaluation import Evaluation
    from l2l_snn.space import Real, Space

    space = Space(x=Real(0, 1, shape=(dimension,)))
    optimizer = build(name, {**SETTINGS.get(name, {}), "population": population})
    state = optimizer.init(space, 1)

    def generation() -> float:
        nonlocal state
        start = time.perf_counter()
        z, state = optimizer.ask(space, state)
        asked = time.perf_counter() - start
        if len(z) != population:
            raise ValueError(f"it asks for {len(z)} individuals, not {population}")
        metrics = {"x0": z[:, 0], "x1": z[:, 1]}
        gradient = -2 * (z - 0.3) if optimizer.needs_grad else None
        evaluation = Evaluation(-sphere(z), metrics, grad=gradient)
        start = time.perf_counter()
        state = optimizer.tell(space, state, z, evaluation)
        return asked + time.perf_counter() - start

    return generation


def evosax(name: str, population: int, dimension: int) -> Generation:
    import jax
    from evosax import algorithms
    from evosax.algorithms.population_based.base import PopulationBasedAlgorithm

    search = getattr(algorithms, name)(population_size=population, solution=jax.numpy.zeros(dimension))
    parameters, keys = search.default_params, iter(range(10**9))
    evaluate = jax.jit(lambda x: ((x - 0.3) ** 2).sum(axis=1))
    if isinstance(search, PopulationBasedAlgorithm):
        first = jax.random.uniform(jax.random.key(0), (population, dimension))
        state = search.init(jax.random.key(1), first, evaluate(first), parameters)
    else:
        state = search.init(jax.random.key(1), jax.numpy.full(dimension, 0.5), parameters)

    def generation() -> float:
        nonlocal state
        keys_now = jax.random.split(jax.random.key(next(keys)))
        start = time.perf_counter()
        x, state = jax.block_until_ready(search.ask(keys_now[0], state, parameters))
        asked = time.perf_counter() - start
        value = evaluate(x).block_until_ready()
        start = time.perf_counter()
        state, _ = jax.block_until_ready(search.tell(keys_now[1], x, value, state, parameters))
        return asked + time.perf_counter() - start

    return generation


def evotorch(name: str, population: int, dimension: int) -> Generation:
    import torch
    from evotorch import Problem
    from evotorch import algorithms as kinds

    torch.set_num_threads(1)
    problem = Problem(
        "min", lambda x: ((x - 0.3) ** 2).sum(dim=-1), solution_length=dimension, initial_bounds=(0, 1), vectorized=True
    )
    options = {"popsize": population, "stdev_init": 0.3}
    if name == "PGPE":
        options |= {"center_learning_rate": 0.1, "stdev_learning_rate": 0.1}
    search = getattr(kinds, name)(problem, **options)

    def generation() -> float:
        start = time.perf_counter()
        search.step()
        return time.perf_counter() - start

    return generation


def pycma(diagonal: bool, population: int, dimension: int) -> Generation:
    import cma

    options = {"verbose": -9, "seed": 1, "popsize": population, "CMA_diagonal": diagonal}
    search = cma.CMAEvolutionStrategy(np.full(dimension, 0.5), 0.3, options)

    def generation() -> float:
        start = time.perf_counter()
        x = search.ask()
        asked = time.perf_counter() - start
        values = sphere(np.array(x)).tolist()
        start = time.perf_counter()
        search.tell(x, values)
        return asked + time.perf_counter() - start

    return generation


def deap_ga(population: int, dimension: int) -> Generation:
    """Return the genetic algorithm of DEAP's documentation on lists; see ga.py. It has no tell."""
    from ga import deap

    from optimizers.ga import GeneticAlgorithm

    breed = deap(GeneticAlgorithm(population=population), dimension)

    def generation() -> float:
        start = time.perf_counter()
        breed()
        return time.perf_counter() - start

    return generation


def deap_cma(population: int, dimension: int) -> Generation:
    from deap import base, cma

    class Fitness(base.Fitness):
        weights = (-1.0,)

    class Individual(list):
        def __init__(self, genes: Any):
            super().__init__(genes)
            self.fitness = Fitness()

    np.random.seed(1)  # noqa: NPY002, what DEAP draws from
    search = cma.Strategy(centroid=[0.5] * dimension, sigma=0.3, lambda_=population)

    def generation() -> float:
        start = time.perf_counter()
        individuals = search.generate(Individual)
        asked = time.perf_counter() - start
        for individual, value in zip(individuals, sphere(np.array(individuals)).tolist(), strict=True):
            individual.fitness.values = (value,)
        start = time.perf_counter()
        search.update(individuals)
        return asked + time.perf_counter() - start

    return generation


def candidates() -> Iterator[tuple[str, Callable[[int, int], Generation]]]:
    """Give the name of each candidate and a function (P, D) -> generation."""
    for name in found(gradients=True, settings=SETTINGS):
        yield name.rpartition(":")[2], partial(ours, name)
    yield from ((f"evosax:{name}", partial(evosax, name)) for name in EVOSAX)
    yield from ((f"evotorch:{name}", partial(evotorch, name)) for name in ("SNES", "PGPE"))
    yield from (("pycma", partial(pycma, False)), ("pycma:sep", partial(pycma, True)))
    yield from (("deap:GA", deap_ga), ("deap:CMA", deap_cma))


def measure(make: Callable[[], Generation], seconds: float) -> tuple[float, np.ndarray]:
    """Return the seconds of building and the first generation, and those of each later one, for about `seconds`."""
    start = time.perf_counter()
    generation = make()
    generation()
    first = time.perf_counter() - start
    generation()
    times, start = [], time.perf_counter()
    while len(times) < 5 or (time.perf_counter() - start < seconds and len(times) < 2_000):
        times.append(generation())
    return first, np.array(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="P x D, e.g. 32x500")
    parser.add_argument("--only", nargs="+", help="names as in the table")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long each candidate runs at each size")
    options = parser.parse_args()
    everyone = dict(candidates())
    unknown = set(options.only or ()) - set(everyone)
    if unknown:
        parser.error(f"expected names of {', '.join(everyone)}; got {', '.join(sorted(unknown))}")
    for size in options.sizes:
        population, dimension = (int(number) for number in size.split("x"))
        print(f"\nP x D = {population} x {dimension:,}\n")
        print("| algorithm | ask + tell, ms, median | fastest | generations | first, s |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name, make in everyone.items():
            if options.only and name not in options.only:
                continue
            if name in FULL and dimension > LARGEST_FULL:
                print(f"left out: {name}, {dimension:,} x {dimension:,} numbers", file=sys.stderr)
                continue
            try:
                first, times = measure(partial(make, population, dimension), options.seconds)
            except Exception as error:  # one that isn't installed or can't have this size is left out
                print(f"left out: {name}, {type(error).__name__}: {error}", file=sys.stderr)
                continue
            milliseconds = 1e3 * np.array([np.median(times), times.min()])
            cells = [f"{milliseconds[0]:.3f}", f"{milliseconds[1]:.3f}", f"{len(times)}", f"{first:.2f}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
