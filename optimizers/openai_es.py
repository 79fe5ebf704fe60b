"""OpenAI-ES: a Gaussian of fixed width climbs an estimated gradient, by a step rule of Optax.

Salimans, Ho, Chen, Sidor & Sutskever (2017), Evolution strategies as a scalable alternative to reinforcement learning.
With mirrored sampling and fitness shaping (the defaults) it is what the L2L framework calls evolution strategies.

Legend: P individuals, D search coordinates, K numbers in the memory of the step rule.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.mirrored import mirrored_sample
from l2l_snn.search.shaping import SHAPING, first_moment
from l2l_snn.search.step_rules import StepRule
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, NotNegative, Positive, Within, message


class OpenESState(NamedTuple):
    """What OpenAI-ES knows between generations."""

    words: np.ndarray  # (2,) the random stream
    mean: np.ndarray  # (D,) z in the middle of the sample
    sigma: np.ndarray  # () standard deviation of the sample, in units of the space's scale
    memory: np.ndarray  # (K,) moments and step count of the step rule, its Optax state laid flat


@dataclass(frozen=True)
class OpenES(Optimizer[OpenESState]):
    """OpenAI-ES for one objective.

    Steps are taken in coordinates of spread one: z = center + scale * y, with `Space.scale`. The paper's own values
    for networks with a million weights are sigma 0.02, a learning rate of 0.01 and weight_decay 0.005.
    """

    population: Annotated[int, AtLeast(2)] = 32  # P, even with mirrored sampling
    sigma: Positive = 0.1  # standard deviation of the sample, in units of the space's spread
    sigma_decay: Annotated[float, Within(0.0, 1.0, open_low=True)] = 1.0  # factor of sigma in each generation
    sigma_limit: Positive = 1e-3  # sigma decays no further, same unit
    antithetic: bool = True  # mirrored sampling: the second half of a generation mirrors the first
    shaping: Literal["centered_ranks", "z_score", "raw"] = "centered_ranks"  # of fitness; raw has no baseline
    step: StepRule = StepRule(momentum=0.9)  # of the mean, in units of the space's spread
    weight_decay: NotNegative = 0.0  # pull towards the middle of the space: subtracts this times y from the gradient

    def cross_check(self) -> None:
        if self.antithetic and self.population % 2:
            expected, todo = "an even number with antithetic", "add one, or set antithetic to false"
            raise ValueError(message("OpenES.population", expected, self.population, todo))
        if self.sigma_limit > self.sigma:
            todo = "lower sigma_limit with sigma"
            raise ValueError(message("OpenES.sigma_limit", f"at most sigma ({self.sigma})", self.sigma_limit, todo))

    def init(self, space: Space, seed: int) -> OpenESState:
        memory = self.step.first_memory(space.size)
        return OpenESState(stream(seed), space.center, np.array(self.sigma, np.float64), memory)

    def started(self, space: Space, state: OpenESState, z: np.ndarray) -> OpenESState:
        return state._replace(mean=z.mean(axis=0))

    def ask(self, space: Space, state: OpenESState) -> tuple[np.ndarray, OpenESState]:
        generator, words = generator_of(state.words)
        std = state.sigma * space.scale
        z = mirrored_sample(space, state.mean, std, self.population, self.antithetic, generator)  # Algorithm 1, line 4
        return z, state._replace(words=words)

    def learn(
        self, space: Space, state: OpenESState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> OpenESState:
        shaped = SHAPING[self.shaping](fitness)
        # Algorithm 1, line 11: 1 / (P sigma) sum_i F_i noise_i, the noise read from the z that were evaluated
        gradient = first_moment(z, state.mean, shaped) / (space.scale * (self.population * state.sigma**2))
        gradient -= self.weight_decay * (state.mean - space.center) / space.scale
        step, memory = self.step.step(gradient, state.memory, (state.mean - space.center) / space.scale)
        # outside the bounds all samples would be clipped to one point and teach nothing
        mean = space.clipped(state.mean + space.scale * step)
        sigma = np.maximum(state.sigma * self.sigma_decay, self.sigma_limit)
        return state._replace(mean=mean, sigma=np.array(sigma), memory=memory)

    def recommend(self, space: Space, state: OpenESState) -> np.ndarray:
        """Return the mean."""
        return state.mean
