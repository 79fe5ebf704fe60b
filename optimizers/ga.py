"""Genetic algorithm: tournament selection, crossover and mutation of a population of z.

Holland (1975), Adaptation in natural and artificial systems; Goldberg (1989), Genetic algorithms in search,
optimization and machine learning. The operators, their papers and how they compare with DEAP's are in
`l2l_snn.search.variation`. The defaults are those of Yegenoglu et al. (2022) for Mountain Car.

Legend: P individuals, D search coordinates.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best, with_members
from l2l_snn.search.variation import check_genes, tournament, vary
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Count, CountFromZero, NotNegative, Positive, Share, message


class GAState(NamedTuple):
    """What a genetic algorithm knows between generations."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations told so far
    z: np.ndarray  # (P, D) the population: the first sample, later the z of the last tell
    fitness: np.ndarray  # (P,) its fitness, failures filled
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness, -inf before any evaluation succeeded


@dataclass(frozen=True)
class GeneticAlgorithm(Optimizer[GAState]):
    """A generational genetic algorithm for one objective.

    Every child is evaluated, also an unchanged copy of a parent or an elite: its seed is a new one. Children are
    clipped to the bounds of the space after variation. A last unpaired individual of an odd population isn't crossed.
    """

    population: Annotated[int, AtLeast(2), "a tournament needs someone to beat"] = 32  # P
    # aspirants drawn, with replacement, for each place in the next generation
    tournament: Annotated[Count, "take 2 to 7, larger selects harder"] = 4
    crossover: Literal["blend", "two_point"] = "blend"
    crossover_probability: Share = 0.7  # of a pair, (0, 1), (2, 3), ...
    # how far a blended gene may lie outside its parents' interval, in units of that interval
    blend_alpha: NotNegative = 0.5
    mutation: Literal["gaussian", "uniform"] = "gaussian"  # add a normal number, or draw the gene anew
    mutation_probability: Share = 0.7  # of an individual
    # of the Gaussian, in z: the published N(0, 1) on weights in [-20, 20] is 0.025
    mutation_std: Annotated[Positive, "to switch mutation off, set mutation_probability to 0"] = 0.1
    gene_probability: Share = 0.45  # of a gene of an individual that mutates
    elites: CountFromZero = 0  # how many best of a generation go on unchanged, in place of the last children

    def cross_check(self) -> None:
        if self.elites >= self.population:
            expected = f"fewer than population ({self.population})"
            raise ValueError(message("GeneticAlgorithm.elites", expected, self.elites, "leave room for children"))

    def init(self, space: Space, seed: int) -> GAState:
        check_genes(self, space.size)
        generator, words = generator_of(stream(seed))
        z = space.sample(generator, self.population)
        return GAState(words, np.array(0), z, np.zeros(self.population), z[0].copy(), np.array(-np.inf))

    def started(self, space: Space, state: GAState, z: np.ndarray) -> GAState:
        return state._replace(z=with_members(state.z, z), best_z=z[0].copy())

    def ask(self, space: Space, state: GAState) -> tuple[np.ndarray, GAState]:
        if state.told == 0:
            return state.z, state
        generator, words = generator_of(state.words)
        children = state.z[tournament(state.fitness, self.population, self.tournament, generator)]
        vary(children, space, self, generator)
        best_first = np.argsort(-state.fitness, kind="stable")
        children[self.population - self.elites :] = state.z[best_first[: self.elites]]
        return children, state._replace(words=words)

    def learn(
        self, space: Space, state: GAState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> GAState:
        state = with_best(state, z, evaluation)
        return state._replace(told=np.array(state.told + 1), z=z, fitness=fitness)

    def recommend(self, space: Space, state: GAState) -> np.ndarray:
        """Return the z of the best single evaluation so far (with noisy fitness that is partly luck)."""
        return state.best_z
