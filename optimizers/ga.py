"""Genetic algorithm: tournament selection, crossover and mutation of a population of z.

Tournament selection: Goldberg & Deb (1991), A comparative analysis of selection schemes. Blend crossover:
Eshelman & Schaffer (1993), Real-coded genetic algorithms and interval-schemata, in the form of DEAP (Fortin et al.
2012), where gamma is drawn for each gene. The defaults are those of Yegenoglu et al. (2022) for Mountain Car.

Selection and two-point crossover are DEAP's own functions. Blend and the mutations are vectorised here, since DEAP's
loop over genes costs more than evaluating the population; from the same random numbers they give DEAP's results
exactly.

Legend: P individuals, D search coordinates, K crossing pairs or mutating individuals.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from deap import tools

from l2l_snn.optimizee import Evaluation
from l2l_snn.optimizer import Optimizer, one_objective, with_best
from l2l_snn.seeding import draw, python_random, stream
from l2l_snn.space import Space
from l2l_snn.validate import check_choice, check_count, check_finite, check_range, check_shape, message


class GAState(NamedTuple):
    """What a genetic algorithm knows between generations."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations told so far
    z: np.ndarray  # (P, D) the population: the first sample, later the z of the last tell
    fitness: np.ndarray  # (P,) its fitness, failures filled
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness, -inf before any evaluation succeeded
    low: np.ndarray  # (D,) bounds of the space, infinite where free
    high: np.ndarray  # (D,)


class Ranked(NamedTuple):
    """What DEAP selects: it reads the attribute `fitness`, we read the row."""

    fitness: float
    row: int


class Genes:
    """A row of the population that DEAP's cxTwoPoint can swap: slices are copied, since numpy's are views."""

    def __init__(self, row: np.ndarray):
        self.row = row

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, genes: slice) -> np.ndarray:
        return self.row[genes].copy()

    def __setitem__(self, genes: slice, values: np.ndarray) -> None:
        self.row[genes] = values


def blocks(rows: np.ndarray, genes: int) -> list[np.ndarray]:
    """Return row numbers in parts of about 16,000 genes: larger temporary arrays cost more than the arithmetic."""
    return np.array_split(rows, max(1, min(len(rows), 1 + len(rows) * genes // 2**14)))


def blend(
    first: np.ndarray, second: np.ndarray, alpha: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two (K, D) children of two (K, D) parents; as DEAP's cxBlend for each pair."""
    gamma = (1.0 + 2.0 * alpha) * generator.random(first.shape) - alpha
    rest = 1.0 - gamma
    return rest * first + gamma * second, gamma * first + rest * second


def gaussian(z: np.ndarray, std: float, probability: float, generator: np.random.Generator) -> np.ndarray:
    """Return (K, D) z with normal noise on each gene with some probability; as DEAP's mutGaussian."""
    chosen = np.flatnonzero(generator.random(z.shape) < probability)
    mutated = z.copy()
    mutated.reshape(-1)[chosen] += std * generator.standard_normal(len(chosen))
    return mutated


def uniform(z: np.ndarray, low: np.ndarray, probability: float, generator: np.random.Generator) -> np.ndarray:
    """Return (K, D) z, each gene with some probability drawn anew, as `Space.sample` draws it."""
    chosen = generator.random(z.shape) < probability
    fresh = np.where(np.isfinite(low), generator.random(z.shape), generator.standard_normal(z.shape))
    return np.where(chosen, fresh, z)


@dataclass(frozen=True)
class GeneticAlgorithm(Optimizer[GAState]):
    """A generational genetic algorithm for one objective.

    Every child is evaluated, also an unchanged copy of a parent or an elite: its seed is a new one. Children are
    clipped to the bounds of the space after variation. A last unpaired individual of an odd population isn't crossed.
    """

    population: int = 32  # P
    tournament: int = 4  # aspirants drawn, with replacement, for each place in the next generation
    crossover: Literal["blend", "two_point"] = "blend"
    crossover_probability: float = 0.7  # of a pair, (0, 1), (2, 3), ...
    blend_alpha: float = 0.5  # how far a blended gene may lie outside its parents' interval, in units of that interval
    mutation: Literal["gaussian", "uniform"] = "gaussian"  # add a normal number, or draw the gene anew
    mutation_probability: float = 0.7  # of an individual
    mutation_std: float = 0.1  # of the Gaussian, in z: the published N(0, 1) on weights in [-20, 20] is 0.025
    gene_probability: float = 0.45  # of a gene of an individual that mutates
    elites: int = 0  # how many best of a generation go on unchanged, in place of the last children

    def __post_init__(self) -> None:
        check_count("GeneticAlgorithm.population", self.population, 2, "a tournament needs someone to beat")
        check_count("GeneticAlgorithm.tournament", self.tournament, 1, "take 2 to 7, larger selects harder")
        check_choice("GeneticAlgorithm.crossover", self.crossover, ("blend", "two_point"))
        check_choice("GeneticAlgorithm.mutation", self.mutation, ("gaussian", "uniform"))
        for name in ("crossover_probability", "mutation_probability", "gene_probability"):
            check_range(f"GeneticAlgorithm.{name}", getattr(self, name), 0.0, 1.0)
        check_range("GeneticAlgorithm.blend_alpha", self.blend_alpha, 0.0)
        check_range(
            "GeneticAlgorithm.mutation_std",
            self.mutation_std,
            0.0,
            open_low=True,
            todo="to switch mutation off, set mutation_probability to 0",
        )
        check_finite("GeneticAlgorithm.blend_alpha", self.blend_alpha)
        check_finite("GeneticAlgorithm.mutation_std", self.mutation_std)
        check_count("GeneticAlgorithm.elites", self.elites, 0)
        if self.elites >= self.population:
            expected = f"fewer than population ({self.population})"
            raise ValueError(message("GeneticAlgorithm.elites", expected, self.elites, "leave room for children"))

    def init(self, space: Space, seed: int) -> GAState:
        if self.crossover == "two_point" and space.size < 2:
            expected = "a space of 2 or more coordinates for two_point"
            raise ValueError(message("GeneticAlgorithm.crossover", expected, space.size, "take blend"))
        generator, words = draw(stream(seed))
        z = space.sample(generator, self.population)
        low, high = space.bounds()
        fitness = np.zeros(self.population)
        return GAState(words, np.array(0), z, fitness, z[0].copy(), np.array(-np.inf), low, high)

    def ask(self, state: GAState) -> tuple[np.ndarray, GAState]:
        if state.told == 0:
            return state.z, state
        generator, words = draw(state.words)
        ranked = [Ranked(fitness, row) for row, fitness in enumerate(state.fitness.tolist())]
        with python_random(generator):
            parents = tools.selTournament(ranked, self.population, self.tournament)
        children = state.z[[parent.row for parent in parents]]

        pairs = 2 * np.flatnonzero(generator.random(self.population // 2) < self.crossover_probability)
        if self.crossover == "blend":
            for i in blocks(pairs, children.shape[1]):
                children[i], children[i + 1] = blend(children[i], children[i + 1], self.blend_alpha, generator)
        else:
            with python_random(generator):
                for i in pairs:
                    tools.cxTwoPoint(Genes(children[i]), Genes(children[i + 1]))

        mutants = np.flatnonzero(generator.random(self.population) < self.mutation_probability)
        for i in blocks(mutants, children.shape[1]):
            if self.mutation == "gaussian":
                children[i] = gaussian(children[i], self.mutation_std, self.gene_probability, generator)
            else:
                children[i] = uniform(children[i], state.low, self.gene_probability, generator)

        np.clip(children, state.low, state.high, out=children)
        for i, elite in enumerate(tools.selBest(ranked, self.elites)):
            children[self.population - self.elites + i] = state.z[elite.row]
        return children, state._replace(words=words)

    def tell(self, state: GAState, z: np.ndarray, evaluation: Evaluation) -> GAState:
        """Return the state after a generation; see `Optimizer.tell`.

        Raises:
            ValueError: several objectives, or another number of individuals than the population's.
        """
        z = check_shape("GeneticAlgorithm: z", z, state.z.shape)
        fitness = one_objective(self, evaluation, len(z))
        state = with_best(state, z, evaluation)
        return state._replace(told=np.array(state.told + 1), z=z, fitness=fitness)

    def recommend(self, state: GAState) -> np.ndarray:
        """Return the z of the best single evaluation so far (with noisy fitness that is partly luck)."""
        return state.best_z
