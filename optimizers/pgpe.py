"""PGPE: policy gradients with parameter-based exploration, a Gaussian whose mean and deviations follow a gradient.

Sehnke, Osendorfer, Rückstieß, Graves, Peters & Schmidhuber (2010), Parameter-exploring policy gradients; with ClipUp
for the mean's steps: Toklu, Liskowski & Srivastava (2020), see `l2l_snn.search.step_rules`.

Legend: P individuals, D search coordinates, K numbers in the memory of the step rule.
"""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.mirrored import mirrored_sample
from l2l_snn.search.shaping import SHAPING, moments
from l2l_snn.search.step_rules import StepRule
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Below1, NotNegative, Positive, message

WIDEST = 1e20  # sigma of a free coordinate stays below this: far from overflow


class PGPEState(NamedTuple):
    """What PGPE knows between generations."""

    words: np.ndarray  # (2,) the random stream
    mean: np.ndarray  # (D,) z in the middle of the sample
    sigma: np.ndarray  # (D,) standard deviation of the sample, in units of the space's scale
    baseline: np.ndarray  # () moving average of the fitness, nan before the first success
    memory: np.ndarray  # (K,) moments and step count of the step rule, its Optax state laid flat


@dataclass(frozen=True)
class PGPE(Optimizer[PGPEState]):
    """Parameter-exploring policy gradients for one objective.

    Steps are taken in coordinates of spread one, see `Space.scale`. Steps of clipup and adam have about the length of
    their learning rate, so it sets how near the mean settles; sgd's shrink with sigma and the gradient.
    """

    population: Annotated[int, AtLeast(2)] = 32  # P, even with symmetric sampling
    sigma: Positive = 0.3  # initial standard deviation of each coordinate, in units of the space's spread
    sigma_rate: NotNegative = 0.1  # learning rate of sigma
    sigma_max_change: Below1 = 0.2  # the most that sigma may change in a generation, as a fraction of it
    sigma_limit: Positive = 1e-3  # the least sigma, in units of the space's spread
    symmetric: bool = True  # the second half of a generation mirrors the first
    shaping: Literal["centered_ranks", "z_score", "raw"] = "centered_ranks"  # of fitness
    baseline: Literal["mean", "moving"] = "mean"  # of fitness: a generation's mean, or its moving average
    baseline_decay: Below1 = 0.9  # of the moving average
    step: StepRule = StepRule("clipup", momentum=0.9)  # of the mean, in units of the space's spread

    def cross_check(self) -> None:
        if self.symmetric and self.population % 2:
            expected, todo = "an even number with symmetric", "add one, or set symmetric to false"
            raise ValueError(message("PGPE.population", expected, self.population, todo))
        if self.sigma_limit > self.sigma:
            todo = "lower sigma_limit with sigma"
            raise ValueError(message("PGPE.sigma_limit", f"at most sigma ({self.sigma})", self.sigma_limit, todo))
        if self.baseline == "moving" and self.shaping != "raw":
            todo = "take raw, or the baseline mean"
            raise ValueError(message("PGPE.baseline", f"mean with {self.shaping}, whose mean is 0", "moving", todo))

    def init(self, space: Space, seed: int) -> PGPEState:
        memory = self.step.first_memory(space.size)
        sigma = np.minimum(np.full(space.size, self.sigma, np.float64), _limit_of_sigma(space))
        return PGPEState(stream(seed), space.center, sigma, np.array(np.nan), memory)

    def started(self, space: Space, state: PGPEState, z: np.ndarray) -> PGPEState:
        return state._replace(mean=z.mean(axis=0))

    def ask(self, space: Space, state: PGPEState) -> tuple[np.ndarray, PGPEState]:
        generator, words = generator_of(state.words)
        std = state.sigma * space.scale
        z = mirrored_sample(space, state.mean, std, self.population, self.symmetric, generator)
        return z, state._replace(words=words)

    def learn(
        self, space: Space, state: PGPEState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> PGPEState:
        shaped = SHAPING[self.shaping](fitness)
        baseline = shaped.mean()
        if self.baseline == "moving" and not evaluation.failed.all():
            if np.isfinite(state.baseline):
                baseline = self.baseline_decay * state.baseline + (1.0 - self.baseline_decay) * baseline
            state = state._replace(baseline=np.array(baseline))
        reward = shaped - baseline

        # The sums over all P are the paper's over pairs, for theta = mean +- epsilon:
        # 1/P sum_i (r_i - b) epsilon_i = 2/P sum_pairs (r+ - r-) / 2 epsilon, and likewise for sigma. They also hold
        # where a bound has broken the symmetry.
        first, second = moments(z, state.mean, reward)
        gradient = first / (space.scale * len(z))
        # 1/P sum_i (r_i - b) (epsilon_i^2 - sigma^2) / sigma
        gradient_sigma = (second / (space.scale**2 * state.sigma) - reward.sum() * state.sigma) / len(z)

        y = (state.mean - space.center) / space.scale
        step, memory = self.step.step(gradient, state.memory, y)
        most = self.sigma_max_change * state.sigma
        sigma = state.sigma + np.clip(self.sigma_rate * gradient_sigma, -most, most)
        return state._replace(
            mean=space.clipped(state.mean + space.scale * step),
            sigma=np.clip(sigma, self.sigma_limit, _limit_of_sigma(space)),
            memory=memory,
        )

    def recommend(self, space: Space, state: PGPEState) -> np.ndarray:
        """Return the mean."""
        return state.mean


def _limit_of_sigma(space: Space) -> np.ndarray:
    """Return the (D,) largest sigma: wider than its range, a bounded coordinate learns nothing."""
    return np.minimum(WIDEST, (space.high - space.low) / space.scale)
