"""Cross-entropy method: fit a distribution to the best of a sample, sample it, and again.

Rubinstein & Kroese (2004), The cross-entropy method, with smoothed updating. Noise: Szita & Lőrincz (2006), Learning
Tetris using the noisy cross-entropy method. Temperature: as in the L2L framework (Yegenoglu et al. 2022), where `rho`,
`smoothing` and `temp_decay` have the same meaning.

Legend: P individuals, D search coordinates, K components.
"""

from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.mixtures import Mixture, blend, centre, elite_weights, fit, moved, sample, start, widened
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Below1, Count, NotNegative, Share, Within, message


class CrossEntropyState(NamedTuple):
    """What the cross-entropy method knows between generations."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations told so far
    mixture: Mixture  # the distribution, without noise


@dataclass(frozen=True)
class CrossEntropy(Optimizer[CrossEntropyState]):
    """The cross-entropy method with a normal distribution or a mixture, with or without noise.

    What is asked is clipped to the bounds of the space, and the distribution is fitted to the clipped points. Failures
    are never elite; a generation with fewer than two successes, or in which all did the same, changes no distribution.
    A mixture can follow several optima for a while; in the end the shares drift to one.
    """

    population: Annotated[int, AtLeast(2)] = 64  # P
    rho: Annotated[float, Within(0.0, 1.0, open_low=True)] = 0.2  # share of a generation that is elite
    # weight of the old distribution in the new one; less is faster and ends early
    smoothing: Annotated[Below1, "at 1 nothing is ever learned"] = 0.6
    covariance: Literal["diagonal", "full"] = "diagonal"  # full needs many more elites than coordinates
    components: Count = 1  # K; more than one: a mixture, fitted by expectation-maximisation
    noise: NotNegative = 0.0  # standard deviation of added noise, in units of the space's spread; 0: none
    noise_decay: Share = 0.95  # factor of the noise's variance a generation
    temp_decay: Share = 0.0  # factor of the temperature a generation, 1 at first, in units of fitness; 0: elites alone

    def cross_check(self) -> None:
        if self.elites < 2 * self.components:
            expected = f"at least two elites a component ({2 * self.components})"
            raise ValueError(message("CrossEntropy.rho * population", expected, self.elites, "enlarge one of them"))

    @property
    def elites(self) -> int:
        """How many individuals are elite."""
        return ceil(self.rho * self.population - 1e-9)  # 0.07 * 100 is 7, whatever its rounding says

    def init(self, space: Space, seed: int) -> CrossEntropyState:
        generator, words = generator_of(stream(seed))
        first = start(space.center, space.scale, self.components, self.covariance == "full", generator)
        return CrossEntropyState(words, np.array(0), first)

    def started(self, space: Space, state: CrossEntropyState, z: np.ndarray) -> CrossEntropyState:
        return state._replace(mixture=moved(state.mixture, z.mean(axis=0)))

    def ask(self, space: Space, state: CrossEntropyState) -> tuple[np.ndarray, CrossEntropyState]:
        generator, words = generator_of(state.words)
        mixture = state.mixture
        if self.noise and state.told:  # the first sample is that of the space
            mixture = widened(mixture, self.noise**2 * self.noise_decay ** (int(state.told) - 1) * space.scale**2)
        z = sample(mixture, generator, self.population)
        return space.clipped(z, out=z), state._replace(words=words)

    def learn(
        self, space: Space, state: CrossEntropyState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> CrossEntropyState:
        fitness = np.where(evaluation.failed, -np.inf, fitness)
        generator, words = generator_of(state.words)
        temperature = self.temp_decay ** int(state.told) if self.temp_decay else 0.0
        state = state._replace(words=words, told=np.array(state.told + 1))
        chosen = elite_weights(fitness, self.elites, temperature, generator) > 0
        if (fitness == fitness[0]).all() or chosen.sum() < 2:
            return state
        return state._replace(mixture=blend(state.mixture, fit(state.mixture, z[chosen]), self.smoothing))

    def recommend(self, space: Space, state: CrossEntropyState) -> np.ndarray:
        """Return the mean of the distribution, of a mixture that of the component with the greatest share."""
        return space.clipped(centre(state.mixture))
