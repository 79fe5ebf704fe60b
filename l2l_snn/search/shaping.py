"""Fitness shaping: what evolution strategies make of a generation's fitness before they weigh the sample with it.

Legend: P individuals, D search coordinates.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

ABSURD = 1e9  # how many times larger than most a fitness is that no arithmetic takes along


def ordinary(fitness: np.ndarray) -> np.ndarray:
    """Return which of (..., P) fitness are of an ordinary size: at most 1e9 times the lower median size, or 1e9.

    What counts by its value, and not by its rank, would follow a single one of 1e60 for good.

    >>> ordinary(np.array([3.0, -1.0, 1e60, 0.0])).tolist()
    [True, True, False, True]
    """
    size = np.abs(fitness)
    typical = np.partition(size, (size.shape[-1] - 1) // 2, axis=-1)[..., [(size.shape[-1] - 1) // 2]]
    return size / ABSURD <= np.maximum(typical, 1.0)


def absurdly_good(fitness: np.ndarray) -> np.ndarray:
    """Return which of (P,) fitness are above 0 and not `ordinary`."""
    return ~ordinary(fitness) & (fitness > 0)


def raw(fitness: np.ndarray) -> np.ndarray:
    """Return (P,) fitness itself; one that is not `ordinary` becomes the worst of those that are.

    >>> raw(np.array([3.0, -1.0, 1e60])).tolist()
    [3.0, -1.0, -1.0]
    """
    usable = ordinary(fitness)
    return fitness if usable.all() else np.where(usable, fitness, fitness[usable].min())


def centered_ranks(fitness: np.ndarray) -> np.ndarray:
    """Return (P,) ranks of (P,) fitness, from -0.5 for the worst to 0.5; equal fitness shares its mean rank.

    >>> centered_ranks(np.array([3.0, 1.0, 7.0, 7.0, 0.0])).tolist()
    [0.0, -0.25, 0.375, 0.375, -0.5]
    """
    _, group, count = np.unique(fitness, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - 0.5 * (count + 1)
    return mean_rank[group] / (len(fitness) - 1) - 0.5


def z_score(fitness: np.ndarray) -> np.ndarray:
    """Return (P,) fitness with mean 0 and standard deviation 1; zeros where all is equal.

    >>> z_score(np.array([0.0, 2.0, 0.0, 2.0])).tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    if fitness.min() == fitness.max():
        return np.zeros_like(fitness)
    scaled = fitness / np.abs(fitness).max()  # so that no square overflows
    centered = scaled - scaled.mean()
    return centered / centered.std()


SHAPING: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "centered_ranks": centered_ranks,
    "z_score": z_score,
    "raw": raw,
}


@lru_cache(maxsize=64)
def utilities(individuals: int) -> np.ndarray:
    """Return the (P,) utilities of the ranks, best first; their sum is 0.

    Wierstra et al. (2014), Natural evolution strategies, section 3.1:
    u_k = max(0, ln(P/2 + 1) - ln k) / sum_j max(0, ln(P/2 + 1) - ln j) - 1/P.

    >>> utilities(4).round(4).tolist()
    [0.4804, 0.0196, -0.25, -0.25]
    """
    raw = np.maximum(0.0, np.log(individuals / 2 + 1) - np.log(np.arange(1, individuals + 1)))
    ranked = raw / raw.sum() - 1.0 / individuals
    ranked.flags.writeable = False  # it's the same array for whoever asks
    return ranked


def shaped(fitness: np.ndarray, ranked: np.ndarray) -> np.ndarray:
    """Return the (P,) utilities of (P,) fitness; equal fitness shares the mean utility of its ranks.

    >>> shaped(np.array([1.0, 9.0, 1.0]), np.array([3.0, 2.0, 1.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    _, group, count = np.unique(-fitness, return_inverse=True, return_counts=True)
    total = np.add.reduceat(ranked, np.cumsum(count) - count)
    return (total / count)[group]


def first_moment(z: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_i w_i (z_i - mean), (D,), of (P, D) z and (P,) weights.

    In parts of about 16,000 numbers: larger temporary arrays cost more than the arithmetic.

    >>> first_moment(np.array([[1.0], [3.0]]), np.array([2.0]), np.array([0.5, 1.0]))
    array([0.5])
    """
    rows = 1 + 2**14 // len(mean)
    parts = [slice(start, start + rows) for start in range(0, len(z), rows)]
    return np.sum([weights[i] @ (z[i] - mean) for i in parts], axis=0)


def moments(z: np.ndarray, mean: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return sum_i w_i (z_i - mean) and sum_i w_i (z_i - mean)^2, (D,) each, of (P, D) z and (P,) weights.

    In parts of about 16,000 numbers: larger temporary arrays cost more than the arithmetic.

    >>> moments(np.array([[1.0], [3.0]]), np.array([2.0]), np.array([0.5, 1.0]))
    (array([0.5]), array([1.5]))
    """
    first, second = np.zeros((2, len(mean)))
    rows = 1 + 2**14 // len(mean)
    for start in range(0, len(z), rows):
        offset = z[start : start + rows] - mean
        first += weights[start : start + rows] @ offset
        second += weights[start : start + rows] @ np.square(offset, out=offset)
    return first, second
