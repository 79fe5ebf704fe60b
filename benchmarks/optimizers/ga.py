"""Time of one ask and tell: our GeneticAlgorithm beside plain DEAP on lists, in the same run.

python benchmarks/optimizers/ga.py
"""

import argparse
import random
import time
from collections.abc import Callable

import numpy as np
from deap import base, tools

from l2l_snn.evaluation import Evaluation
from l2l_snn.space import Real, Space
from optimizers.ga import GeneticAlgorithm

SIZES = [(32, 315), (128, 315), (1024, 500)]  # P individuals, D genes


class Fitness(base.Fitness):
    weights = (1.0,)


class Individual(list):
    def __init__(self, genes: list[float]):
        super().__init__(genes)
        self.fitness = Fitness()


def ours(ga: GeneticAlgorithm, genes: int) -> Callable[[], None]:
    """Return a function that does one generation with our class."""
    space = Space(x=Real(0, 1, shape=(genes,)))
    state = ga.init(space, seed=1)
    evaluation = Evaluation(np.random.default_rng(1).random(ga.population))

    def generation() -> None:
        nonlocal state
        z, state = ga.ask(space, state)
        state = ga.tell(space, state, z, evaluation)

    generation()
    return generation


def deap(ga: GeneticAlgorithm, genes: int) -> Callable[[], None]:
    """Return a function that does the same generation as DEAP's documentation does, on lists."""
    rng = np.random.default_rng(1)
    population = [Individual(row) for row in rng.random((ga.population, genes)).tolist()]
    fitness = rng.random(ga.population).tolist()

    def generation() -> None:
        nonlocal population
        for individual, value in zip(population, fitness, strict=True):
            individual.fitness.values = (value,)
        population = [Individual(parent) for parent in tools.selTournament(population, len(population), ga.tournament)]
        for first, second in zip(population[::2], population[1::2], strict=True):
            if random.random() < ga.crossover_probability:
                if ga.crossover == "blend":
                    tools.cxBlend(first, second, ga.blend_alpha)
                else:
                    tools.cxTwoPoint(first, second)
        for individual in population:
            if random.random() < ga.mutation_probability:
                tools.mutGaussian(individual, 0.0, ga.mutation_std, ga.gene_probability)
            individual[:] = [min(max(gene, 0.0), 1.0) for gene in individual]
        np.array(population)  # what the evaluator takes

    return generation


def seconds(candidates: list[Callable[[], None]], repeats: int) -> np.ndarray:
    """Return each candidate's times, (candidates, repeats) s; they take turns, so a busy moment hits all."""
    times = np.empty((len(candidates), repeats))
    for i in range(repeats):
        for j, candidate in enumerate(candidates):
            start = time.perf_counter()
            candidate()
            times[j, i] = time.perf_counter() - start
    return times


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print("one generation, ms: median (fastest)")
    print(f"{'P x D':>12} {'crossover':>10} {'ours':>18} {'DEAP on lists':>18} {'ratio of medians':>18}")
    for population, genes in SIZES:
        for crossover in ("blend", "two_point"):
            ga = GeneticAlgorithm(population=population, crossover=crossover)
            times = 1e3 * seconds([ours(ga, genes), deap(ga, genes)], repeats=max(20, 6400 // population))
            median, fastest = np.median(times, axis=1), times.min(axis=1)
            cells = [f"{m:.3f} ({f:.3f})" for m, f in zip(median, fastest, strict=True)]
            ratio = f"{median[1] / median[0]:.1f}"
            print(f"{f'{population} x {genes}':>12} {crossover:>10} {cells[0]:>18} {cells[1]:>18} {ratio:>18}")


if __name__ == "__main__":
    main()
