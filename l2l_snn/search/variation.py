"""Selection, crossover and mutation of z for the genetic algorithms in optimizers/, vectorised.

From the same random numbers they give the results of DEAP (Fortin et al. 2012, DEAP: evolutionary algorithms made
easy) exactly. Two-point crossover is DEAP's own function. The others are written here, since DEAP's loops over
individuals and genes cost more than evaluating the population.

Tournament selection: Goldberg & Deb (1991), A comparative analysis of selection schemes. Blend crossover:
Eshelman & Schaffer (1993), Real-coded genetic algorithms and interval-schemata, in the form of DEAP, where gamma is
drawn for each gene.

Legend: P individuals, D search coordinates (genes), K crossing pairs or mutating individuals, A aspirants.
"""

import random
from typing import Any, Protocol

import numpy as np
from deap import tools

from l2l_snn.seeding import python_random
from l2l_snn.space import Space
from l2l_snn.validate import message


class Settings(Protocol):
    """The hyper-parameters of variation that each genetic algorithm has as fields."""

    @property
    def tournament(self) -> int: ...  # A

    @property
    def crossover(self) -> str: ...  # "blend" or "two_point"

    @property
    def crossover_probability(self) -> float: ...  # of a pair, (0, 1), (2, 3), ...

    @property
    def blend_alpha(self) -> float: ...  # reach beyond the parents' interval, in units of it

    @property
    def mutation(self) -> str: ...  # "gaussian" or "uniform"

    @property
    def mutation_probability(self) -> float: ...  # of an individual

    @property
    def mutation_std(self) -> float: ...  # of the Gaussian, in z

    @property
    def gene_probability(self) -> float: ...  # of a gene of an individual that mutates


def check_genes(settings: Any, genes: int) -> None:
    """Check that a space of so many coordinates can be crossed.

    Raises:
        ValueError: two-point crossover of one gene.
    """
    if settings.crossover == "two_point" and genes < 2:
        expected = "a space of 2 or more coordinates for two_point"
        raise ValueError(message(f"{type(settings).__name__}.crossover", expected, genes, "take blend"))


def tournament(fitness: np.ndarray, places: int, aspirants: int, generator: np.random.Generator) -> np.ndarray:
    """Return the rows (places,) of tournament winners; as DEAP's selTournament under `python_random(generator)`.

    Args:
        fitness: (P,), larger is better; of equals the first drawn wins.
        places: how many tournaments.
        aspirants: A, drawn with replacement for each.
        generator: its next 16 bytes are used.

    >>> tournament(np.array([0.0, 2.0, 1.0]), 5, 50, np.random.default_rng(1)).tolist()
    [1, 1, 1, 1, 1]
    """
    source = random.Random(int.from_bytes(generator.bytes(16), "little"))  # python_random's numbers, 32 bits at once
    people = len(fitness)
    shift = 32 - people.bit_length()
    drawn, wanted = np.empty(0, np.uint32), places * aspirants
    while len(drawn) < wanted:
        count = 2 * (wanted - len(drawn)) + 32
        words = np.frombuffer(source.getrandbits(32 * count).to_bytes(4 * count, "little"), "<u4") >> shift
        drawn = np.concatenate([drawn, words[words < people]])  # random.choice rejects the rest, too
    rows = drawn[:wanted].reshape(places, aspirants).astype(np.int64)
    return rows[np.arange(places), fitness[rows].argmax(axis=1)]


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


def uniform(z: np.ndarray, bounded: np.ndarray, probability: float, generator: np.random.Generator) -> np.ndarray:
    """Return (K, D) z, each gene with some probability drawn anew, as `Space.sample` draws it.

    Args:
        z: (K, D).
        bounded: (D,) bool, which genes lie in [0, 1]; the others are free.
        probability: of a gene.
        generator: used for one uniform number a gene, then one number for each gene drawn anew.
    """
    chosen = np.flatnonzero(generator.random(z.shape) < probability)
    inside = bounded[chosen % z.shape[1]]
    count = np.count_nonzero(inside)
    values = np.empty(len(chosen))
    values[inside] = generator.random(count)
    values[~inside] = generator.standard_normal(len(chosen) - count)
    fresh = z.copy()
    fresh.reshape(-1)[chosen] = values
    return fresh


def vary(children: np.ndarray, space: Space, settings: Settings, generator: np.random.Generator) -> None:
    """Cross and mutate children in place, and clip them to the bounds.

    Args:
        children: (P, D) copies of the parents; pairs are (0, 1), (2, 3), ..., a last one alone isn't crossed.
        space: whose z they are.
        settings: probabilities and operators.
        generator: source of all that is random.
    """
    people, genes = children.shape
    pairs = 2 * np.flatnonzero(generator.random(people // 2) < settings.crossover_probability)
    if settings.crossover == "blend":
        for i in blocks(pairs, genes):
            children[i], children[i + 1] = blend(children[i], children[i + 1], settings.blend_alpha, generator)
    else:
        with python_random(generator):
            for i in pairs:
                tools.cxTwoPoint(Genes(children[i]), Genes(children[i + 1]))

    mutants = np.flatnonzero(generator.random(people) < settings.mutation_probability)
    for i in blocks(mutants, genes):
        if settings.mutation == "gaussian":
            children[i] = gaussian(children[i], settings.mutation_std, settings.gene_probability, generator)
        else:
            children[i] = uniform(children[i], space.bounded, settings.gene_probability, generator)

    space.clipped(children, out=children)
