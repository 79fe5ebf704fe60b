"""What CMA-ES and its separable variant share: constants, evolution paths and step size, as pycma 4.5 has them.

Hansen (2016), The CMA evolution strategy: a tutorial, arXiv 1604.00772; equation numbers are the tutorial's.

Legend: P individuals, D search coordinates, mu parents.
"""

from functools import lru_cache
from math import exp, lgamma, log, sqrt
from typing import NamedTuple

import numpy as np

SIGMA = (1e-100, 1e100)  # limits of sigma: far outside any use, but their squares are still numbers
SCALE = (1e-10, 1e10)  # limits of C's largest eigenvalue, beyond which sigma takes the scale over
CONDITION = 1e14  # limit of C's condition number (pycma stops there)


class Constants(NamedTuple):
    """What follows from D and P alone; tutorial table 1."""

    weights: np.ndarray  # (mu,) of the parents, best first; sum 1
    mueff: float  # variance-effective number of parents
    c_sigma: float  # rate of p_sigma
    d_sigma: float  # damping of sigma
    c_c: float  # rate of p_c
    c_1: float  # rate of the rank-one update
    c_mu: float  # rate of the rank-mu update
    chi: float  # E|N(0, I)|


class Paths(NamedTuple):
    """Evolution paths and step size after a generation."""

    p_sigma: np.ndarray  # (D,)
    p_c: np.ndarray  # (D,)
    sigma: np.ndarray  # ()
    lost: float  # variance that C lacks because p_c was stalled


def log_ranks(population: int) -> np.ndarray:
    """Return (P,) the raw weights of the ranks, best first; the first P // 2 are positive; eq. 49."""
    return log((population + 1) / 2) - np.log(np.arange(1, population + 1))


@lru_cache(maxsize=64)
def constants(size: int, population: int, faster: float = 1.0) -> Constants:
    """Return the constants for D = `size` and P = `population`; eqs. 49-58.

    Args:
        size: D.
        population: P.
        faster: factor of the covariance's learning rates.
    """
    weights = log_ranks(population)[: population // 2]
    weights = weights / weights.sum()
    weights.flags.writeable = False
    mueff = 1.0 / float((weights**2).sum())
    c_sigma = min(0.5, (mueff + 2) / (size + mueff + 3))  # eq. 55
    many = max(1.0, 3.0 * (1.0 - 0.5 ** (size / 9)))
    d_sigma = 1.0 + 2.0 * max(0.0, many * sqrt((mueff - 1) / (size + 1)) - 1.0) + c_sigma
    c_c = (4 + mueff / size) / (size + 4 + 2 * mueff / size)  # eq. 56
    c_1 = min(1.0, faster * min(1.0, population / 6) * 2 / ((size + 1.3) ** 2 + mueff))  # eq. 57
    c_mu = min(1 - c_1, faster * 2 * (0.25 + mueff + 1 / mueff - 2) / ((size + 2) ** 2 + mueff))  # eq. 58
    chi = sqrt(2) * exp(lgamma((size + 1) / 2) - lgamma(size / 2))
    return Constants(weights, mueff, c_sigma, d_sigma, c_c, c_1, c_mu, chi)


def next_paths(
    c: Constants,
    told: int,
    p_sigma: np.ndarray,
    p_c: np.ndarray,
    sigma: np.ndarray,
    shift: np.ndarray,
    white_shift: np.ndarray,
) -> Paths:
    """Return the evolution paths and the step size after a generation; eqs. 43-45.

    Args:
        c: the constants.
        told: generations learned from, this one included.
        p_sigma: (D,) evolution path of the whitened mean.
        p_c: (D,) evolution path of the mean.
        sigma: () step size.
        shift: (D,) of the mean, in units of the step.
        white_shift: (D,) the same, times C^(-1/2).
    """
    size = len(shift)
    p_sigma = (1 - c.c_sigma) * p_sigma + sqrt(c.c_sigma * (2 - c.c_sigma) * c.mueff) * white_shift  # eq. 43
    square = float(p_sigma @ p_sigma)
    log_step = (c.c_sigma / c.d_sigma) * (sqrt(square) / c.chi - 1)
    sigma = np.clip(sigma * exp(min(1.0, log_step)), *SIGMA)  # eq. 44
    started = 1.0 - (1.0 - c.c_sigma) ** (2.0 * float(told))
    h = float(square / started / size < 2 + 4 / (size + 1))  # h_sigma: 0 stalls p_c while sigma grows fast
    p_c = (1 - c.c_c) * p_c + (h * sqrt(c.c_c * (2 - c.c_c) * c.mueff)) * shift  # eq. 45
    return Paths(p_sigma, p_c, np.array(sigma), (1 - h) * c.c_c * (2 - c.c_c))


def widened_step(c: Constants, sigma: np.ndarray) -> np.ndarray:
    """Return the step size () after a generation that tells nothing, as the tutorial's source code has it."""
    return np.array(sigma * exp(0.2 + c.c_sigma / c.d_sigma))
