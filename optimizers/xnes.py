"""xNES: exponential natural evolution strategy, a Gaussian with a full covariance matrix.

Glasmachers, Schaul, Sun, Wierstra & Schmidhuber (2010), Exponential natural evolution strategies. Equations and
defaults are those of Wierstra, Schaul, Glasmachers, Sun, Peters & Schmidhuber (2014), Natural evolution strategies,
Algorithm 5 and Table 1. A generation costs O(D^3 + P D^2); on a rotated problem that is well spent, else take SNES.

Legend: P individuals, D search coordinates. A sample is z = mean + scale * sigma * B s, with s standard normal.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.shaping import shaped, utilities
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, NotNegative, Positive, message

LARGEST = 1000  # D; beyond it a generation takes longer than half a second on one core
WIDEST = 1e20  # sigma stays below this and above its inverse: far from overflow
STEEPEST = 1e6  # no entry of B or of its inverse grows beyond this: far from singular


class XNESState(NamedTuple):
    """What xNES knows between generations."""

    words: np.ndarray  # (2,) the random stream
    mean: np.ndarray  # (D,) z in the middle of the sample, perhaps beyond a bound
    sigma: np.ndarray  # () size of the sample, in units of the space's scale
    B: np.ndarray  # (D, D) its shape, of determinant 1: the covariance of z / scale is sigma^2 B B^T
    sample: np.ndarray  # (P, D) what the last ask drew, before it was clipped


def exponential(symmetric: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the matrix exponential of a symmetric (D, D) matrix, and its inverse.

    Eigenvalues beyond 10 are none that a useful learning rate gives; they would only overflow.

    >>> exponential(np.diag([0.0, np.log(2.0)]))[0].round(12).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    values, vectors = np.linalg.eigh(symmetric)
    values = np.clip(values, -10.0, 10.0)
    return (vectors * np.exp(values)) @ vectors.T, (vectors * np.exp(-values)) @ vectors.T


@dataclass(frozen=True)
class XNES(Optimizer[XNESState]):
    """Exponential natural evolution strategy for one objective, with the published defaults."""

    # P; None: 4 + floor(3 ln D)
    population: Annotated[int, AtLeast(2), "utilities need a better and a worse"] | None = None
    sigma: Positive = 1.0  # initial standard deviation, in units of the space's spread
    mean_rate: Positive = 1.0  # learning rate of the mean
    sigma_rate: NotNegative | None = None  # learning rate of the size; None: (9 + 3 ln D) / (5 D sqrt(D))
    shape_rate: NotNegative | None = None  # learning rate of the shape B; None: as sigma_rate's default

    def individuals(self, size: int) -> int:
        """Return P for `size` coordinates."""
        return self.population or 4 + int(3 * np.log(size))

    def init(self, space: Space, seed: int) -> XNESState:
        """Return the state before the first generation.

        Raises:
            ValueError: the space has more than `LARGEST` coordinates.
        """
        if space.size > LARGEST:
            todo = "take SNES, which is linear in D"
            raise ValueError(message("XNES: space", f"at most {LARGEST} coordinates", space.size, todo))
        sigma = np.clip(np.array(self.sigma, np.float64), 1 / WIDEST, WIDEST)
        sample = np.zeros((self.individuals(space.size), space.size))
        return XNESState(stream(seed), space.center, np.array(sigma), np.eye(space.size), sample)

    def started(self, space: Space, state: XNESState, z: np.ndarray) -> XNESState:
        return state._replace(mean=z.mean(axis=0))

    def ask(self, space: Space, state: XNESState) -> tuple[np.ndarray, XNESState]:
        generator, words = generator_of(state.words)
        s = generator.standard_normal((self.individuals(space.size), space.size))
        sample = state.mean + (state.sigma * space.scale) * (s @ state.B.T)  # Algorithm 5, line 4
        return space.clipped(sample), state._replace(words=words, sample=sample)

    def learn(
        self, space: Space, state: XNESState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> XNESState:
        """Return the state after a generation.

        It learns from the z that it is given, but where this is a clipped coordinate of the last ask, from what was
        drawn: B would spread the clipping over all coordinates, and the sample collapse.

        Raises:
            ValueError: several objectives, or another number of individuals than the population's.
        """
        size = space.size
        u = shaped(fitness, utilities(len(z)))
        default = (9 + 3 * np.log(size)) / (5 * size * np.sqrt(size))
        sigma_rate = default if self.sigma_rate is None else self.sigma_rate
        shape_rate = default if self.shape_rate is None else self.shape_rate

        z = np.where(z == space.clipped(state.sample), state.sample, z)
        inverse = np.linalg.inv(state.B)
        s = (z - state.mean) / (state.sigma * space.scale) @ inverse.T
        delta = u @ s  # gradient by the mean
        matrix = (s.T * u) @ s  # gradient by the covariance; - sum(u) I is 0
        growth = np.trace(matrix) / size  # its part in sigma
        np.fill_diagonal(matrix, matrix.diagonal() - growth)  # its part in B, traceless
        mean = state.mean + self.mean_rate * space.scale * state.sigma * (state.B @ delta)
        sigma = state.sigma * np.exp(np.clip(0.5 * sigma_rate * growth, -10.0, 10.0))
        step, back = exponential(0.5 * shape_rate * matrix)
        shape = state.B @ step
        regular = max(np.abs(shape).max(), np.abs(back @ inverse).max()) < STEEPEST
        return state._replace(
            mean=mean,
            sigma=np.array(np.clip(sigma, 1 / WIDEST, WIDEST)),
            B=shape if regular else state.B,
        )

    def recommend(self, space: Space, state: XNESState) -> np.ndarray:
        """Return the mean, clipped to the bounds."""
        return space.clipped(state.mean)
