"""FACE, the fully automated cross-entropy method: a sample grows until its elite is better than the last one.

Rubinstein & Kroese (2004), The cross-entropy method, on the fully adaptive CE algorithm. Smoothing and temperature: as
in the L2L framework (Yegenoglu et al. 2022), whose min_pop_size, max_pop_size, n_expand and n_elite are min_population,
max_population, expand and elites. As in the book, and unlike L2L, a sample that doesn't improve is kept and added to,
not thrown away: only `expand` more individuals are evaluated.

Legend: P individuals (P differs from generation to generation), D search coordinates, K components, M max_population.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from l2l_snn.families import Mixture, blend, centre, elite_weights, fit, sample, start, widened
from l2l_snn.optimizee import Evaluation
from l2l_snn.optimizer import Optimizer, one_objective
from l2l_snn.seeding import draw, stream
from l2l_snn.space import Space
from l2l_snn.validate import check_choice, check_count, check_finite, check_range, check_shape, message


class FACEState(NamedTuple):
    """What FACE knows between generations."""

    words: np.ndarray  # (2,) the random stream
    fitted: np.ndarray  # () int64, samples that a distribution was fitted to
    shares: np.ndarray  # (K,) probability of each component
    means: np.ndarray  # (K, D)
    covariances: np.ndarray  # (K, D) variances or (K, D, D) matrices, without noise
    best: np.ndarray  # () best fitness of the last complete sample, -inf before
    gamma: np.ndarray  # () its worst elite's fitness, -inf before
    count: np.ndarray  # () int64, individuals of the present sample, told so far
    z: np.ndarray  # (M, D) the present sample; rows from `count` on are 0
    fitness: np.ndarray  # (M,) its fitness, -inf where failed
    std: np.ndarray  # (D,) spread of the space
    low: np.ndarray  # (D,) bounds of the space, infinite where free
    high: np.ndarray  # (D,)


def mixture_of(state: FACEState) -> Mixture:
    """Return the distribution, without noise."""
    return Mixture(state.shares, state.means, state.covariances)


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
    """

    min_population: int = 64  # individuals that a sample begins with
    max_population: int = 512  # M, individuals that a sample has at most
    expand: int = 32  # individuals added at a time (the book: 1), as many as are evaluated in parallel
    elites: int = 13  # how many individuals are elite
    smoothing: float = 0.6  # weight of the old distribution in the new one, [0, 1); less is faster and ends early
    covariance: Literal["diagonal", "full"] = "diagonal"  # full needs many more elites than coordinates
    components: int = 1  # K; more than one: a mixture, fitted by expectation-maximisation
    noise: float = 0.0  # standard deviation of added noise, in units of the space's spread; 0: none
    noise_decay: float = 0.95  # factor of the noise's variance a fitted sample
    temp_decay: float = 0.0  # factor of the temperature a fitted sample, 1 at first, in units of fitness; 0: elites

    def __post_init__(self) -> None:
        check_count("FACE.components", self.components, 1)
        check_count("FACE.elites", self.elites, 2 * self.components, "take at least two a component")
        check_count("FACE.min_population", self.min_population, self.elites, "it has to hold the elites")
        check_count("FACE.max_population", self.max_population, self.min_population, "not less than min_population")
        check_count("FACE.expand", self.expand, 1)
        check_range("FACE.smoothing", self.smoothing, 0.0, 1.0)
        if self.smoothing == 1:
            raise ValueError(message("FACE.smoothing", "less than 1", 1, "with 1 nothing is ever learned"))
        check_choice("FACE.covariance", self.covariance, ("diagonal", "full"))
        check_range("FACE.noise", self.noise, 0.0)
        check_finite("FACE.noise", self.noise)
        check_range("FACE.noise_decay", self.noise_decay, 0.0, 1.0)
        check_range("FACE.temp_decay", self.temp_decay, 0.0, 1.0)

    def init(self, space: Space, seed: int) -> FACEState:
        (mean, std), (low, high) = space.spread(), space.bounds()
        generator, words = draw(stream(seed))
        first = start(mean, std, self.components, self.covariance == "full", generator)
        never, none = np.array(-np.inf), np.array(0)
        z, fitness = np.zeros((self.max_population, space.size)), np.full(self.max_population, -np.inf)
        return FACEState(words, none, *first, never, never, none, z, fitness, std, low, high)

    def individuals(self, count: int) -> int:
        """Return how many are asked next, if the present sample has `count`."""
        return min(self.expand, self.max_population - count) if count else self.min_population

    def ask(self, state: FACEState) -> tuple[np.ndarray, FACEState]:
        generator, words = draw(state.words)
        mixture = mixture_of(state)
        if self.noise and state.fitted:  # the first sample is that of the space
            mixture = widened(mixture, self.noise**2 * self.noise_decay ** (int(state.fitted) - 1) * state.std**2)
        z = sample(mixture, generator, self.individuals(int(state.count)))
        return np.clip(z, state.low, state.high, out=z), state._replace(words=words)

    def tell(self, state: FACEState, z: np.ndarray, evaluation: Evaluation) -> FACEState:
        """Return the state after a generation; see `Optimizer.tell`.

        Raises:
            ValueError: several objectives, or another number of individuals than were asked.
        """
        asked = self.individuals(int(state.count))
        z = check_shape("FACE: z", z, (asked, len(state.std)))
        new = np.where(evaluation.failed, -np.inf, one_objective(self, evaluation, asked))

        begin, count = int(state.count), int(state.count) + asked
        all_z, fitness = state.z.copy(), state.fitness.copy()
        all_z[begin:count], fitness[begin:count] = z, new
        ranked = np.sort(fitness[:count])[::-1]
        best, gamma = ranked[0], ranked[self.elites - 1]
        better = np.isfinite(gamma) and (best > state.best or gamma > state.gamma)
        if not better and count < self.max_population:
            return state._replace(count=np.array(count), z=all_z, fitness=fitness)

        all_z, fitness = all_z[:count], fitness[:count]
        generator, words = draw(state.words)
        temperature = self.temp_decay ** int(state.fitted) if self.temp_decay else 0.0
        chosen = elite_weights(fitness, self.elites, temperature, generator) > 0
        empty, never = np.zeros_like(state.z), np.full_like(state.fitness, -np.inf)
        state = state._replace(words=words, count=np.array(0), z=empty, fitness=never)
        if (fitness == fitness[0]).all() or chosen.sum() < 2:
            return state
        old = mixture_of(state)
        mixture = blend(old, fit(old, all_z[chosen]), self.smoothing)
        return state._replace(
            fitted=np.array(state.fitted + 1),
            shares=mixture.shares,
            means=mixture.means,
            covariances=mixture.covariances,
            best=np.array(best),
            gamma=np.array(gamma),
        )

    def recommend(self, state: FACEState) -> np.ndarray:
        """Return the mean of the distribution, of a mixture that of the component with the greatest share."""
        return np.clip(centre(mixture_of(state)), state.low, state.high)
