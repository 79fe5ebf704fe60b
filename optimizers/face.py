"""FACE, the fully automated cross-entropy method: a sample grows until its elite is better than the last one.

Rubinstein & Kroese (2004), The cross-entropy method, on the fully adaptive CE algorithm. Smoothing and temperature: as
in the L2L framework (Yegenoglu et al. 2022), whose min_pop_size, max_pop_size, n_expand and n_elite are min_population,
max_population, expand and elites. As in the book, and unlike L2L, a sample that doesn't improve is kept and added to,
not thrown away: only `expand` more individuals are evaluated.

Legend: P individuals (P differs from generation to generation), D search coordinates, K components, N individuals
of a sample.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.mixtures import Mixture, blend, centre, elite_weights, fit, moved, sample, start, widened
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import Below1, Count, NotNegative, Share, check_count


class FACEState(NamedTuple):
    """What FACE knows between generations."""

    words: np.ndarray  # (2,) the random stream
    fitted: np.ndarray  # () int64, samples that a distribution was fitted to
    mixture: Mixture  # the distribution, without noise
    best: np.ndarray  # () best fitness of the last complete sample, -inf before
    gamma: np.ndarray  # () its worst elite's fitness, -inf before
    z: np.ndarray  # (N, D) the present sample as far as it was told
    fitness: np.ndarray  # (N,) its fitness, -inf where failed


@dataclass(frozen=True)
class FACE(Optimizer[FACEState]):
    """The cross-entropy method with a fixed number of elites and a sample as large as it needs to be.

    A sample begins with `min_population` individuals. If neither its best nor its worst elite is better than those of
    the sample before, or too few succeeded to fill the elite, `expand` more are drawn from the same distribution, until
    one is better or the sample has `max_population`. There the book stops; here the distribution is fitted to what
    there is, and the next sample has to beat that (with noisy fitness a lucky one could otherwise never be beaten).

    What is asked is clipped to the bounds of the space, and the distribution is fitted to the clipped points. Failures
    are never elite; a complete sample with fewer than two successes, or in which all did the same, changes no
    distribution.

    When the population changes, all four numbers of individuals do, by the same factor. A sample that is then too large
    gets one last addition.
    """

    min_population: int = 64  # individuals that a sample begins with
    max_population: int = 512  # individuals that a sample has at most
    expand: Count = 32  # individuals added at a time (the book: 1), as many as are evaluated in parallel
    elites: int = 13  # how many individuals are elite
    # weight of the old distribution in the new one; less is faster and ends early
    smoothing: Annotated[Below1, "at 1 nothing is ever learned"] = 0.6
    covariance: Literal["diagonal", "full"] = "diagonal"  # full needs many more elites than coordinates
    components: Count = 1  # K; more than one: a mixture, fitted by expectation-maximisation
    noise: NotNegative = 0.0  # standard deviation of added noise, in units of the space's spread; 0: none
    noise_decay: Share = 0.95  # factor of the noise's variance a fitted sample
    temp_decay: Share = 0.0  # factor of the temperature a fitted sample, 1 at first, in units of fitness; 0: elites

    def cross_check(self) -> None:
        check_count("FACE.elites", self.elites, 2 * self.components, "take at least two a component")
        check_count("FACE.min_population", self.min_population, self.elites, "it has to hold the elites")
        check_count("FACE.max_population", self.max_population, self.min_population, "not less than min_population")

    def init(self, space: Space, seed: int) -> FACEState:
        generator, words = generator_of(stream(seed))
        first = start(space.center, space.scale, self.components, self.covariance == "full", generator)
        never = np.array(-np.inf)
        z, fitness = np.zeros((0, space.size)), np.zeros(0)
        return FACEState(words, np.array(0), first, never, never, z, fitness)

    def individuals(self, size: int) -> int:
        """Return min_population."""
        return self.min_population

    def sized(self, individuals: int, size: int) -> Self:
        """Return FACE with this min_population, the other numbers of individuals in proportion."""
        scale = individuals / self.min_population
        return replace(
            self,
            min_population=individuals,
            max_population=max(individuals, round(scale * self.max_population)),
            expand=max(1, round(scale * self.expand)),
            elites=round(scale * self.elites),
        )

    def generation_size(self, space: Space, state: FACEState) -> int:
        """Return how many are asked next."""
        count = len(state.z)
        if not count:
            return self.min_population
        room = self.max_population - count  # none if the population has shrunk since
        return min(self.expand, room) if room > 0 else self.expand

    def started(self, space: Space, state: FACEState, z: np.ndarray) -> FACEState:
        return state._replace(mixture=moved(state.mixture, z.mean(axis=0)))

    def ask(self, space: Space, state: FACEState) -> tuple[np.ndarray, FACEState]:
        generator, words = generator_of(state.words)
        mixture = state.mixture
        if self.noise and state.fitted:  # the first sample is that of the space
            mixture = widened(mixture, self.noise**2 * self.noise_decay ** (int(state.fitted) - 1) * space.scale**2)
        z = sample(mixture, generator, self.generation_size(space, state))
        return space.clipped(z, out=z), state._replace(words=words)

    def learn(
        self, space: Space, state: FACEState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> FACEState:
        new = np.where(evaluation.failed, -np.inf, fitness)

        all_z, fitness = np.concatenate([state.z, z]), np.concatenate([state.fitness, new])
        ranked = np.sort(fitness)[::-1]
        best = ranked[0]
        gamma = ranked[self.elites - 1] if len(ranked) >= self.elites else -np.inf  # the elite may just have grown
        better = np.isfinite(gamma) and (best > state.best or gamma > state.gamma)
        if not better and len(all_z) < self.max_population:
            return state._replace(z=all_z, fitness=fitness)

        generator, words = generator_of(state.words)
        temperature = self.temp_decay ** int(state.fitted) if self.temp_decay else 0.0
        chosen = elite_weights(fitness, self.elites, temperature, generator) > 0
        state = state._replace(words=words, z=all_z[:0], fitness=fitness[:0])
        if (fitness == fitness[0]).all() or chosen.sum() < 2:
            return state
        return state._replace(
            fitted=np.array(state.fitted + 1),
            mixture=blend(state.mixture, fit(state.mixture, all_z[chosen]), self.smoothing),
            best=np.array(best),
            gamma=np.array(gamma),
        )

    def recommend(self, space: Space, state: FACEState) -> np.ndarray:
        """Return the mean of the distribution, of a mixture that of the component with the greatest share."""
        return space.clipped(centre(state.mixture))
