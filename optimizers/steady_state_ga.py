"""Steady-state genetic algorithm: children enter one population as soon as they are told, each in another's place.

Whitley (1989), The GENITOR algorithm and selection pressure; Syswerda (1991), A study of reproduction in
generational and steady-state genetic algorithms (deletion of the worst, the oldest, or one at random). Selection,
crossover and mutation are those of `l2l_snn.search.variation`.

`ask` changes nothing but the words of the random stream, and hands out known individuals; `tell` takes any number of
individuals in any order:
a loop that doesn't wait for a whole generation may ask several times before the first is told.

Legend: P individuals of the population, D search coordinates, C children of an ask, K individuals of a tell.
"""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best, with_members
from l2l_snn.search.variation import check_genes, tournament, vary
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Count, NotNegative, Positive, Share

GIVEN = -2  # in `born`: a known individual that was not asked for yet


class SteadyStateGAState(NamedTuple):
    """What a steady-state genetic algorithm knows. The places 0, ..., members - 1 of the population are taken."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, individuals told so far
    members: np.ndarray  # () int64, places taken, at most P
    z: np.ndarray  # (P, D) the population
    fitness: np.ndarray  # (P,) its fitness, -inf in a free place
    born: np.ndarray  # (P,) int64, number of the individual told that took, or last defended, the place; below 0: free
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness, -inf before any evaluation succeeded


@dataclass(frozen=True)
class SteadyStateGA(Optimizer[SteadyStateGAState]):
    """A steady-state genetic algorithm for one objective.

    Until the population is full, `ask` samples the space and whoever is told takes a free place. A failed individual
    never enters. With `if_better`, an oldest that is better than the child stays and counts as new, so that it
    doesn't block the others.

    When P changes, so does C in proportion. New places of a full population are taken by copies of members chosen at
    random; of places that go, the best individuals stay.
    """

    asynchronous: ClassVar[bool] = True
    population: Annotated[int, AtLeast(2), "a tournament needs someone to beat"] = 32  # P
    children: Count = 4  # C, how many an ask returns
    replaces: Literal["worst", "oldest", "random"] = "worst"  # whose place a child takes
    if_better: bool = True  # only if the child is at least as good; else always
    # aspirants drawn, with replacement, for each parent
    tournament: Annotated[Count, "take 2 to 7, larger selects harder"] = 4
    crossover: Literal["blend", "two_point"] = "blend"
    crossover_probability: Share = 0.7  # of a pair of parents
    # how far a blended gene may lie outside its parents' interval, in units of that interval
    blend_alpha: NotNegative = 0.5
    mutation: Literal["gaussian", "uniform"] = "gaussian"  # add a normal number, or draw the gene anew
    mutation_probability: Share = 0.7  # of a child
    # of the Gaussian, in z
    mutation_std: Annotated[Positive, "to switch mutation off, set mutation_probability to 0"] = 0.1
    gene_probability: Share = 0.45  # of a gene of a child that mutates

    def init(self, space: Space, seed: int) -> SteadyStateGAState:
        check_genes(self, space.size)
        z = np.zeros((self.population, space.size))
        fitness, born = np.full(self.population, -np.inf), np.full(self.population, -1)
        best = np.array(-np.inf)
        return SteadyStateGAState(stream(seed), np.array(0), np.array(0), z, fitness, born, space.center, best)

    def started(self, space: Space, state: SteadyStateGAState, z: np.ndarray) -> SteadyStateGAState:
        """Return the first state with z as the first individuals to ask for.

        Until then they wait in the last places, the only free ones with the birth number GIVEN.
        """
        first = self.population - len(z)
        places = with_members(state.z, z)[: len(z)]
        born = np.append(state.born[:first], np.full(len(z), GIVEN))
        return state._replace(z=np.concatenate([state.z[:first], places]), born=born, best_z=z[0].copy())

    def ask(self, space: Space, state: SteadyStateGAState) -> tuple[np.ndarray, SteadyStateGAState]:
        generator, words = generator_of(state.words)
        state = state._replace(words=words)
        if state.members < self.population:
            known = np.flatnonzero(state.born == GIVEN)[: self.children]
            if known.size:
                born = state.born.copy()
                born[known] = -1
                state = state._replace(born=born)
            return with_members(space.sample(generator, self.children), state.z[known]), state
        parents = tournament(state.fitness, self.children + self.children % 2, self.tournament, generator)
        children = state.z[parents]
        vary(children, space, self, generator)
        return children[: self.children], state

    def learn(
        self, space: Space, state: SteadyStateGAState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> SteadyStateGAState:
        """Return the state after some individuals (K, D), in the order given, have asked for a place."""
        state = with_best(state, z, evaluation)
        generator, words = generator_of(state.words)
        victims = generator.integers(self.population, size=len(z))
        told, members = int(state.told), int(state.members)
        population, scores, born = state.z.copy(), state.fitness.copy(), state.born.copy()
        for row, failed in enumerate(evaluation.failed):
            told += 1
            if failed:
                continue
            if members < self.population:
                place = members
                members += 1
            elif self.replaces == "worst":
                place = int(scores.argmin())
            elif self.replaces == "oldest":
                place = int(born.argmin())
            else:
                place = int(victims[row])
            if not self.if_better or fitness[row] >= scores[place]:
                population[place], scores[place] = z[row], fitness[row]
                born[place] = told
            elif self.replaces == "oldest":
                born[place] = told
        return state._replace(
            words=words,
            told=np.array(told),
            members=np.array(members),
            z=population,
            fitness=scores,
            born=born,
        )

    def sized(self, individuals: int, size: int) -> Self:
        children = max(1, round(self.children * individuals / self.population))
        return replace(self, population=individuals, children=children)

    def resized(self, space: Space, state: SteadyStateGAState) -> SteadyStateGAState:
        people, more = len(state.z), self.population - len(state.z)
        members = min(int(state.members), self.population)
        if more > 0 and members == people:  # full
            generator, words = generator_of(state.words)
            rows = np.append(np.arange(people), generator.integers(people, size=more))
            state, members = state._replace(words=words), self.population
        else:
            rows = np.sort(np.argsort(-state.fitness, kind="stable")[: self.population])
        free = self.population - len(rows)
        return state._replace(
            members=np.array(members),
            z=np.concatenate([state.z[rows], np.zeros((free, space.size))]),
            fitness=np.concatenate([state.fitness[rows], np.full(free, -np.inf)]),
            born=np.concatenate([state.born[rows], np.full(free, -1)]),
        )

    def recommend(self, space: Space, state: SteadyStateGAState) -> np.ndarray:
        """Return the z of the best single evaluation so far (with noisy fitness that is partly luck)."""
        return state.best_z
