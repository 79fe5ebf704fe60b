"""CMA-ES: a normal distribution that learns the scale and the covariance of the landscape.

Hansen (2016), The CMA evolution strategy: a tutorial, arXiv 1604.00772; equation numbers below are the tutorial's.

Where pycma 4.5 has other defaults than the tutorial, those of pycma are taken, and `tell` then gives pycma's mean,
step size and covariance to rounding (a test holds that):
    c_sigma    (mueff + 2) / (D + mueff + 3), at most 1/2; the tutorial adds 5 instead of 3, without a limit
    d_sigma    larger for many parents: their sqrt((mueff - 1) / (D + 1)) counts up to three times
    c_1        smaller by P / 6 for fewer than 6 individuals
    h_sigma    |p_sigma|^2 is compared with (2 + 4 / (D + 1)) D, not |p_sigma| with (1.4 + 2 / (D + 1)) E|N(0, I)|
    log sigma  changes by 1 a generation at most
We differ from pycma in: the first C is exactly I; the eigendecomposition waits for 0.5 / (D (c_1 + c_mu)) generations
(as in Hansen's purecma; pycma: 0.1), which costs no evaluations and saves most of the time; no mirrored samples where
P < 6; a narrower edge at bounds; generations without information; and no stops, see `CMAES`.

Legend: P individuals, D search coordinates. x are z without bounds, see `smooth`; rows of y
are x in units of the step: x = mean + sigma * scale * y.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import log, sqrt
from typing import Annotated, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.bounds import asked, smooth, unsmooth
from l2l_snn.search.cma import CONDITION, SCALE, SIGMA, constants, log_ranks, next_paths, widened_step
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Positive


class CMAESState(NamedTuple):
    """What CMA-ES knows between generations."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations learned from
    decomposed: np.ndarray  # () int64, `told` at the last eigendecomposition
    mean: np.ndarray  # (D,) of the distribution, in x
    sigma: np.ndarray  # () step size, in units of the space's scale
    C: np.ndarray  # (D, D) covariance of y
    B: np.ndarray  # (D, D) columns: eigenvectors of C at the last decomposition
    d: np.ndarray  # (D,) square roots of its eigenvalues
    p_c: np.ndarray  # (D,) evolution path of the mean
    p_sigma: np.ndarray  # (D,) the same of the whitened mean
    x: np.ndarray  # (P, D) what was asked last, before `smooth`; (0, D) where all is free and z is x


@lru_cache(maxsize=64)
def rank_weights(size: int, population: int, active: bool) -> np.ndarray:
    """Return the weights (P,) of the ranks, best first; those of the parents sum to 1; eqs. 49-53.

    The others are negative with `active`, else 0.
    """
    c, mu = constants(size, population), population // 2
    weights = np.zeros(population)
    weights[:mu] = c.weights
    if active:  # what the negative weights sum to
        bad = log_ranks(population)[mu:]
        mueff = float(bad.sum() ** 2 / (bad**2).sum())
        total = min(1 + c.c_1 / c.c_mu, 1 + 2 * mueff / (c.mueff + 2), (1 - c.c_1 - c.c_mu) / (size * c.c_mu))
        weights[mu:] = total * bad / -bad.sum()
    weights.flags.writeable = False
    return weights


def learned_covariance(C: np.ndarray, keep: float, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return keep * C + sum_i weights_i rows_i rows_i', (D, D), symmetric to the last bit; of `rows` (N, D)."""
    new = keep * C
    for sign in (1.0, -1.0):
        part = rows[sign * weights > 0] * np.sqrt(np.abs(weights[sign * weights > 0]))[:, None]
        product = part.T @ part  # one matrix twice: BLAS does half of the work
        product *= sign
        new += product
    return new


def decomposed(state: CMAESState) -> CMAESState:
    """Return the state with B and d of its C, C's condition number and scale limited."""
    values, B = np.linalg.eigh(state.C)
    C, top = state.C, float(values[-1])
    lift = top / CONDITION - float(values[0])
    if lift > 0:  # also mends an eigenvalue that rounding made negative
        C, values = C + lift * np.eye(len(values)), values + lift
    p_c, sigma = state.p_c, state.sigma
    if not SCALE[0] < top < SCALE[1]:  # the distribution stays the same, its numbers stay handy
        C, values, p_c, sigma = C / top, values / top, p_c / sqrt(top), sigma * sqrt(top)
    return state._replace(C=C, B=B, d=np.sqrt(values), p_c=p_c, sigma=np.array(sigma), decomposed=state.told)


@dataclass(frozen=True)
class CMAES(Optimizer[CMAESState]):
    """CMA-ES with weighted recombination, active covariance update and cumulative step-size adaptation.

    Bounds: the distribution lives in coordinates x without bounds, and z is a smooth function of x (pycma's
    BoundTransform in its idea). Projection on the box would do worse: learning from projected points loses the variance
    along active bounds and stops early, learning from points beyond can't tell how far beyond they are. `tell` learns
    from the x that was asked, and from the x of the given z where somebody changed that.

    Failures rank last. A generation that tells nothing (all fitnesses equal, all failed, or all individuals the same
    point) moves neither mean nor covariance; it widens sigma, as the tutorial's source code does on a plateau, but not
    beyond the spread of the space. There is no stop: where pycma would end a run, C's condition number is kept at
    1e14 and sigma within [1e-100, 1e100].
    """

    # P; None: 4 + 3 ln(D), rounded down
    population: Annotated[int, AtLeast(2), "take None for 4 + 3 ln(D), more if fitness is noisy"] | None = None
    # first step size, in units of the space's spread; 1 is 0.29 of a bounded coordinate's range
    sigma: Annotated[Positive, "about 1 covers the space, 0.1 searches nearby"] = 1.0
    active: bool = True  # whether the worse half is unlearned (negative weights)

    def individuals(self, size: int) -> int:
        """Return P for `size` coordinates."""
        return 4 + int(3 * log(size)) if self.population is None else self.population

    def init(self, space: Space, seed: int) -> CMAESState:
        x = np.tile(space.center, (self.individuals(space.size) if space.bounded.any() else 0, 1))
        size, none, path = space.size, np.array(0), np.zeros(space.size)
        identity, sigma = np.eye(size), np.array(np.clip(self.sigma, *SIGMA))
        unit = np.ones(size)
        return CMAESState(stream(seed), none, none, space.center, sigma, identity, identity, unit, path, path, x)

    def started(self, space: Space, state: CMAESState, z: np.ndarray) -> CMAESState:
        return state._replace(mean=unsmooth(z.mean(axis=0), space.bounded))

    def ask(self, space: Space, state: CMAESState) -> tuple[np.ndarray, CMAESState]:
        generator, words = generator_of(state.words)
        size = space.size
        normal = generator.standard_normal((self.individuals(size), size))
        x = state.mean + (state.sigma * space.scale) * ((normal * state.d) @ state.B.T)  # eqs. 38-40
        z = smooth(x, space.bounded)
        return z, state._replace(words=words, x=state.x if z is x else x)

    def learn(
        self, space: Space, state: CMAESState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> CMAESState:
        fitness = np.where(evaluation.failed, -np.inf, fitness)
        c = constants(space.size, len(z))
        if (fitness == fitness[0]).all() or (z == z[0]).all():
            wide = state.sigma**2 * float(state.C.diagonal().max()) >= 1.0  # never beyond the spread of the space
            return state if wide else state._replace(sigma=widened_step(c, state.sigma))

        ranks = np.argsort(-fitness, kind="stable")
        weights, mu, step = rank_weights(space.size, len(z), self.active), len(c.weights), state.sigma * space.scale
        y = (asked(state.x[ranks] if len(state.x) else z[ranks], z[ranks], space.bounded) - state.mean) / step
        white = (y @ state.B) / state.d  # (P, D) B' C^(-1/2) y
        length = np.sqrt((white**2).sum(axis=1))

        told = state.told + 1
        shift = c.weights @ y[:mu]  # eq. 41
        white_shift = state.B @ (c.weights @ white[:mu])
        paths = next_paths(c, int(told), state.p_sigma, state.p_c, state.sigma, shift, white_shift)
        entry = np.where(weights < 0, weights * space.size / (length + 1e-9) ** 2, weights)  # eq. 46
        keep = 1 - c.c_1 * (1 - paths.lost) - c.c_mu * float(weights.sum())
        rates = np.append(c.c_mu * entry, c.c_1)
        C = learned_covariance(state.C, keep, np.vstack([y, paths.p_c]), rates)  # eq. 47

        state = state._replace(
            told=np.array(told),
            mean=state.mean + step * shift,  # eq. 42
            sigma=paths.sigma,
            C=C,
            p_c=paths.p_c,
            p_sigma=paths.p_sigma,
        )
        gap = 0.5 / (space.size * (c.c_1 + c.c_mu))  # generations between two eigendecompositions
        return decomposed(state) if told - state.decomposed >= gap else state

    def recommend(self, space: Space, state: CMAESState) -> np.ndarray:
        """Return the mean of the distribution; with noisy fitness it is better than any individual."""
        return smooth(state.mean, space.bounded)
