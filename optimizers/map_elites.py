"""MAP-Elites: the best individual of every kind, kept in a grid over what individuals do.

Mouret & Clune (2015), Illuminating search spaces by mapping elites. The iso+line variation: Vassiliades & Mouret
(2018), Discovering the elite hypervolume by leveraging interspecies correlation. QD score: Pugh, Soros & Stanley
(2016), Quality diversity: a new frontier for evolutionary computation.

What individuals do is told by metrics of the evaluation, the descriptors: an optimizee that returns
`fitness, {"rate": 12.5, "cv": 0.8}` is mapped by MapElites(("rate", "cv"), (0, 0), (100, 2), (20, 20)).

Legend: P individuals, D search coordinates, B descriptors, C cells of the grid.
"""

from dataclasses import dataclass
from math import prod
from typing import Annotated, Literal, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_members
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import Count, Finite, NotNegative, Positive, check_finite, check_shape, did_you_mean, message

MOST_CELLS = 10**6  # of a grid: the archive is stored with every generation


class MapElitesState(NamedTuple):
    """What MAP-Elites knows between generations."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations told so far
    z: np.ndarray  # (C, D) the elite of each cell, 0 where empty
    fitness: np.ndarray  # (C,) its fitness, nan where empty
    descriptors: np.ndarray  # (C, B) its descriptors, nan where empty


def coverage(state: MapElitesState) -> float:
    """Return the share of cells that have an elite."""
    return float(np.isfinite(state.fitness).mean())


def qd_score(state: MapElitesState, worst: float) -> float:
    """Return the sum over the elites of fitness - worst.

    Args:
        state: an archive.
        worst: the lowest fitness there can be, so that every elite adds something; the same for runs to compare.
    """
    return float((state.fitness[np.isfinite(state.fitness)] - worst).sum())


def cells_of(
    descriptors: np.ndarray, low: tuple[float, ...], high: tuple[float, ...], cells: tuple[int, ...]
) -> np.ndarray:
    """Return the cell (P,) of each row of descriptors (P, B); what lies beyond the grid belongs to a cell on its edge.

    Cells are counted like the entries of an array of shape `cells`, the last descriptor the fastest.

    >>> cells_of(np.array([[0.0, 0.0], [0.99, 0.5], [7.0, -7.0]]), (0.0, 0.0), (1.0, 1.0), (10, 2))
    array([ 0, 19, 18])
    """
    low_, high_, counts = np.array(low), np.array(high), np.array(cells)
    share = (np.clip(descriptors, low_, high_) - low_) / (high_ - low_)
    index = np.minimum((share * counts).astype(np.int64), counts - 1)
    return np.asarray(np.ravel_multi_index(tuple(index.T), tuple(cells)), np.int64)


@dataclass(frozen=True)
class MapElites(Optimizer[MapElitesState]):
    """MAP-Elites on a grid, for one objective.

    An individual takes its cell if that is empty or if it's strictly better than the elite there, whose fitness is
    that of its one evaluation: with noisy fitness a lucky elite stays. An individual that failed, or that has a
    descriptor that isn't finite, takes none.
    """

    descriptors: tuple[str, ...]  # B names of metrics
    low: tuple[Finite, ...]  # (B,) where the grid begins, in each metric's unit
    high: tuple[Finite, ...]  # (B,) where it ends
    cells: tuple[Count, ...]  # (B,) how many cells it has
    population: Count = 32  # P, individuals a generation
    # how many generations are samples of the space before elites vary
    random_generations: Annotated[Count, "the first elites are random"] = 1
    variation: Literal["iso_line", "gaussian"] = "iso_line"  # with or without the step along the line to another elite
    sigma: Positive = 0.035  # std of the normal step, in units of the std of the space's samples: 0.01 of a range
    # std of the step along the line, in units of the distance between both elites
    line_sigma: Annotated[NotNegative, "0 leaves the normal step alone"] = 0.2

    def cross_check(self) -> None:
        todo = "name metrics of the optimizee: those that say what an individual does"
        if not self.descriptors or not all(isinstance(name, str) and name for name in self.descriptors):
            raise ValueError(message("MapElites.descriptors", "one or more names", self.descriptors, todo))
        if len(set(self.descriptors)) < len(self.descriptors):
            raise ValueError(message("MapElites.descriptors", "different names", self.descriptors))
        for name in ("low", "high", "cells"):
            values = getattr(self, name)
            if len(values) != len(self.descriptors):
                expected = f"one number for each of {', '.join(self.descriptors)}"
                raise ValueError(message(f"MapElites.{name}", expected, values))
        for low, high in zip(self.low, self.high, strict=True):
            if not low < high:
                raise ValueError(message("MapElites.high", "more than low", f"low {low}, high {high}"))
            check_finite("MapElites.high", high - low, "take a range whose width is finite")
        if prod(self.cells) > MOST_CELLS:
            got = " x ".join(map(str, self.cells))
            todo = "take fewer, or fewer descriptors: the archive is stored with every generation"
            raise ValueError(message("MapElites.cells", f"at most {MOST_CELLS:,} cells in all", got, todo))

    def init(self, space: Space, seed: int) -> MapElitesState:
        count = prod(self.cells)
        z, fitness = np.zeros((count, space.size)), np.full(count, np.nan)
        descriptors = np.full((count, len(self.descriptors)), np.nan)
        return MapElitesState(stream(seed), np.array(0), z, fitness, descriptors)

    def started(self, space: Space, state: MapElitesState, z: np.ndarray) -> MapElitesState:
        """Return the first state with z as the first individuals to ask for.

        Until then they lie in the first cells, with an infinite descriptor and no fitness.
        """
        archive, descriptors = state.z.copy(), state.descriptors.copy()
        places = min(self.population, len(archive))
        archive[: len(z)] = with_members(archive[:places], z)[: len(z)]
        descriptors[: len(z), 0] = np.inf
        return state._replace(z=archive, descriptors=descriptors)

    def ask(self, space: Space, state: MapElitesState) -> tuple[np.ndarray, MapElitesState]:
        generator, words = generator_of(state.words)
        shape = (self.population, space.size)
        filled = np.flatnonzero(np.isfinite(state.fitness))
        if state.told < self.random_generations or not len(filled):
            known = np.isposinf(state.descriptors[:, 0])  # those of `started`
            z = with_members(space.sample(generator, self.population), state.z[known])
            if known.any():
                cleared = np.where(known[:, None], 0.0, state.z), np.where(known[:, None], np.nan, state.descriptors)
                state = state._replace(z=cleared[0], descriptors=cleared[1])
            return z, state._replace(words=words)
        first, second = state.z[filled[generator.integers(len(filled), size=(2, self.population))]]
        z = first + self.sigma * space.scale * generator.standard_normal(shape)
        if self.variation == "iso_line":  # Vassiliades & Mouret, equation 2: one number a child along the line
            z += self.line_sigma * generator.standard_normal((self.population, 1)) * (second - first)
        return space.clipped(z), state._replace(words=words)

    def learn(
        self, space: Space, state: MapElitesState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> MapElitesState:
        descriptors = self._read_descriptors(evaluation)
        ok = ~evaluation.failed & np.isfinite(fitness) & np.isfinite(descriptors).all(axis=1)
        rows = np.flatnonzero(ok)
        cells = cells_of(descriptors[rows], self.low, self.high, self.cells)
        # of those that fall into one cell the best is first, the earliest of equals
        order = np.lexsort((-fitness[rows], cells))
        rows, cells = rows[order], cells[order]
        leads = np.append(True, cells[1:] != cells[:-1])[: len(cells)]
        rows, cells = rows[leads], cells[leads]
        wins = ~(fitness[rows] <= state.fitness[cells])  # nan, an empty cell, loses
        rows, cells = rows[wins], cells[wins]
        elites = state.z.copy(), state.fitness.copy(), state.descriptors.copy()
        for archive, values in zip(elites, (z, fitness, descriptors), strict=True):
            archive[cells] = values[rows]
        told = np.array(state.told + 1)
        return state._replace(told=told, z=elites[0], fitness=elites[1], descriptors=elites[2])

    def _read_descriptors(self, evaluation: Evaluation) -> np.ndarray:
        """Return the descriptors (P, B) of an evaluation; nan without its metrics if it failed altogether."""
        columns = []
        for name in self.descriptors:
            if name in evaluation.metrics:
                column = check_shape(f"MapElites: metrics[{name!r}]", evaluation.metrics[name], (self.population,))
            elif evaluation.failed.all():
                column = np.full(self.population, np.nan)
            else:
                todo = did_you_mean(name, list(evaluation.metrics))
                raise ValueError(message("MapElites.descriptors", "metrics of the optimizee", repr(name), todo))
            columns.append(column)
        return np.stack(columns, axis=1)

    def recommend(self, space: Space, state: MapElitesState) -> np.ndarray:
        """Return the z of the elite of the largest fitness (with noisy fitness that is partly luck).

        While the archive is empty, it's the mean of the space's samples.
        """
        if not np.isfinite(state.fitness).any():
            return space.center
        return state.z[np.nanargmax(state.fitness)]
