"""Families of distributions to fit to an elite and to sample from: normal, and mixtures of normals.

Rubinstein & Kroese (2004), The cross-entropy method: the member of a family that is nearest to the elite in
cross-entropy is the one of greatest (weighted) likelihood. For one normal that is the elite's mean and covariance
(divided by n, not n - 1). For a mixture it is found by expectation-maximisation: Dempster, Laird & Rubin (1977),
Maximum likelihood from incomplete data via the EM algorithm.

Legend: N points, D coordinates, K components.

    mixture = start(mean, std, components=2, full=False, generator=generator)
    z = sample(mixture, generator, 64)                      # (64, D)
    mixture = blend(mixture, fit(mixture, elite, weights), 0.2)
"""

from math import pi
from typing import NamedTuple

import numpy as np

from l2l_snn.validate import check_count, check_finite, check_range, check_shape, message

ROUNDS = 20  # of EM: each fit begins where the last ended, so few are enough
RIDGE = 1e-9  # of the elite's variance, added to a component's while EM runs, so that it has a density
FEW = 2.0  # a component with fewer points than this stays as it was: one point has no covariance


class Mixture(NamedTuple):
    """A mixture of K normal distributions; K = 1 is a normal distribution."""

    shares: np.ndarray  # (K,) probability of each component, sum 1
    means: np.ndarray  # (K, D)
    covariances: np.ndarray  # (K, D) variances, or (K, D, D) full matrices


def start(mean: np.ndarray, std: np.ndarray, components: int, full: bool, generator: np.random.Generator) -> Mixture:
    """Return a mixture with this mean and standard deviation (D,), a place to begin.

    With one component it is exactly that. Several stand apart at random, or EM could not tell them apart: half of
    the variance is between the components, as far as their number allows, and half within.
    """
    check_count("components", components, 1)
    size = len(mean)
    means, variance = np.tile(mean, (components, 1)), np.tile(std**2, (components, 1))
    if components > 1:
        means = means + std * np.sqrt(0.5) * generator.standard_normal((components, size))
        variance = 0.5 * variance
    covariances = variance[:, :, None] * np.eye(size) if full else variance
    return Mixture(np.full(components, 1.0 / components), means, covariances)


def sample(mixture: Mixture, generator: np.random.Generator, n: int) -> np.ndarray:
    """Return (n, D) points of the mixture."""
    means = mixture.means
    normal = generator.standard_normal((n, means.shape[1]))
    which = np.zeros(n, int) if len(means) == 1 else generator.choice(len(means), n, p=mixture.shares)
    if mixture.covariances.ndim == 2:
        return means[which] + np.sqrt(mixture.covariances[which]) * normal
    z = means[which]
    for k in np.unique(which):
        values, vectors = np.linalg.eigh(mixture.covariances[k])  # unlike Cholesky, also where some are 0
        rows = which == k
        z[rows] += (normal[rows] * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return z


def fit(old: Mixture, z: np.ndarray, weights: np.ndarray | None = None) -> Mixture:
    """Return the mixture of greatest weighted likelihood, of the kind of `old`.

    Args:
        old: says how many components and what covariances; EM begins with it, so its k-th component stays the k-th.
        z: (N, D) points.
        weights: (N,) how much each counts, >= 0; all the same if None.

    Raises:
        ValueError: no points, a wrong shape, or a negative weight.
    """
    z = check_finite("z", check_shape("z", z, (None, old.means.shape[1])))
    given = np.ones(len(z)) if weights is None else weights
    given = check_finite("weights", check_shape("weights", given, (len(z),)))
    if given.min(initial=0.0) < 0 or given.sum() <= 0:
        raise ValueError(message("weights", "numbers >= 0, not all 0", given))
    points = given.sum() ** 2 / (given**2).sum()  # how many equal given are worth as much
    given = given / given.sum()
    full = old.covariances.ndim == 3
    mean = given @ z
    if len(old.means) == 1:
        return Mixture(old.shares, mean[None], _weigh_covariance(z - mean, given, full)[None])

    scale = np.sqrt(given @ (z - mean) ** 2)  # EM runs in coordinates of order one
    scale = np.where(scale > 1e-100, scale, 0.0)
    unit = np.where(scale > 0, scale, 1.0)
    x = (z - mean) / unit
    square = np.outer(scale, scale) if full else scale**2
    square_unit = np.outer(unit, unit) if full else unit**2
    shares, means = old.shares, (old.means - mean) / unit
    covariances = _add_ridge(old.covariances / square_unit)
    kept = np.ones(len(shares), bool)
    for _ in range(ROUNDS):
        belongs = responsibilities(Mixture(shares, means, covariances), x) * given[:, None]  # E step
        count = belongs.sum(axis=0)
        moved = count * points >= FEW
        kept &= ~moved
        means, covariances = means.copy(), covariances.copy()
        for k in np.flatnonzero(moved):  # M step
            part = belongs[:, k] / count[k]
            means[k] = part @ x
            covariances[k] = _add_ridge(_weigh_covariance(x - means[k], part, full)[None])[0]
        shares = count / count.sum()
    changed = ~kept.reshape((-1,) + (1,) * (old.covariances.ndim - 1))
    return Mixture(
        shares,
        np.where(kept[:, None], old.means, mean + unit * means),
        np.where(changed, covariances * square, old.covariances),
    )


def responsibilities(mixture: Mixture, z: np.ndarray) -> np.ndarray:
    """Return the probability of each component given each of z (N, D): (N, K), rows sum to 1."""
    log_joint = log_densities(mixture, z) + np.log(np.maximum(mixture.shares, 1e-300))
    joint = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    return joint / joint.sum(axis=1, keepdims=True)


def log_densities(mixture: Mixture, z: np.ndarray) -> np.ndarray:
    """Return the logarithm of each component's density at z (N, D): (N, K). Covariances must be positive definite."""
    columns = []
    for mean, covariance in zip(mixture.means, mixture.covariances, strict=True):
        away = z - mean
        if covariance.ndim == 1:
            square, log_det = (away**2 / covariance).sum(axis=1), np.log(covariance).sum()
        else:
            factor = np.linalg.cholesky(covariance)
            square = (np.linalg.solve(factor, away.T) ** 2).sum(axis=0)
            log_det = 2.0 * np.log(np.diagonal(factor)).sum()
        columns.append(-0.5 * (square + log_det + z.shape[1] * np.log(2 * pi)))
    return np.stack(columns, axis=1)


def blend(old: Mixture, new: Mixture, smoothing: float) -> Mixture:
    """Return smoothing * old + (1 - smoothing) * new, of each number: the book's smoothed updating.

    >>> one = Mixture(np.ones(1), np.zeros((1, 2)), np.ones((1, 2)))
    >>> blend(one, one._replace(means=np.ones((1, 2))), 0.25).means
    array([[0.75, 0.75]])
    """
    check_range("smoothing", smoothing, 0.0, 1.0)
    return Mixture(*(smoothing * a + (1.0 - smoothing) * b for a, b in zip(old, new, strict=True)))


def widened(mixture: Mixture, variance: np.ndarray) -> Mixture:
    """Return the mixture with independent noise of `variance` (D,) added to what it gives.

    Szita & Lőrincz (2006), Learning Tetris using the noisy cross-entropy method.
    """
    more = np.diag(variance) if mixture.covariances.ndim == 3 else variance
    return mixture._replace(covariances=mixture.covariances + more)


def moved(mixture: Mixture, place: np.ndarray) -> Mixture:
    """Return the mixture moved as a whole, so that its `centre` is at a place (D,)."""
    return mixture._replace(means=mixture.means + (place - centre(mixture)))


def centre(mixture: Mixture) -> np.ndarray:
    """Return the mean (D,) of the component with the greatest share, the first of equals."""
    return mixture.means[int(np.argmax(mixture.shares))]


def elite_weights(
    fitness: np.ndarray, elites: int, temperature: float, generator: np.random.Generator | None
) -> np.ndarray:
    """Return which points a new distribution is fitted to: (N,) of 0 and 1.

    Args:
        fitness: (N,) larger is better; -inf never counts.
        elites: how many of the best count.
        temperature: > 0, in units of fitness: each of the others counts with probability
            exp(-(worst elite's fitness - its own) / temperature), as in simulated annealing; 0: none does.
        generator: for these draws; may be None if temperature is 0.
    """
    order = np.argsort(-fitness, kind="stable")
    chosen = np.zeros(len(fitness))
    chosen[order[:elites]] = 1.0
    chosen[np.isneginf(fitness)] = 0.0
    if temperature > 0 and generator is not None and chosen.any():
        others = order[elites:][np.isfinite(fitness[order[elites:]])]
        worse = fitness[chosen > 0].min() - fitness[others]
        # a gap of 800 temperatures has no chance, and larger quotients might overflow
        chance = np.exp(-np.minimum(worse, 800.0 * temperature) / temperature)
        chosen[others] = generator.random(len(others)) < chance
    return chosen


def _weigh_covariance(away: np.ndarray, weights: np.ndarray, full: bool) -> np.ndarray:
    """Return the weighted mean of away away', (D, D), or its diagonal (D,), of away (N, D)."""
    if not full:
        return weights @ away**2
    rows = away * np.sqrt(weights)[:, None]
    return rows.T @ rows


def _add_ridge(covariances: np.ndarray) -> np.ndarray:
    """Return (K, D) or (K, D, D) covariances of coordinates of order one, safely positive definite."""
    if covariances.ndim == 2:
        return covariances * (1.0 + RIDGE) + RIDGE
    diagonal = np.diagonal(covariances, axis1=1, axis2=2)
    return covariances + RIDGE * (1.0 + diagonal)[:, :, None] * np.eye(covariances.shape[1])
