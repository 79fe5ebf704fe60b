"""Families of distributions: densities are scipy's, fits have the greatest likelihood, samples the right moments."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from l2l_snn.search.mixtures import (
    Mixture,
    blend,
    centre,
    elite_weights,
    fit,
    log_densities,
    responsibilities,
    sample,
    start,
    widened,
)

FACTORS = np.array([[[1.0, 0.0], [0.8, 0.3]], [[0.4, 0.0], [-0.2, 0.5]]])
TWO = Mixture(np.array([0.3, 0.7]), np.array([[-4.0, 1.0], [3.0, -2.0]]), FACTORS @ FACTORS.transpose(0, 2, 1))
KINDS = [(1, False), (1, True), (2, False), (3, True)]


def rng(seed=1):
    return np.random.default_rng(seed)


def plain(components, full, size=3):
    return start(np.zeros(size), np.ones(size), components, full, rng())


def likelihood(mixture, z, weights):
    """Return the weighted mean log-likelihood by scipy."""
    full = [np.diag(c) if c.ndim == 1 else c for c in mixture.covariances]
    parts = zip(mixture.shares, mixture.means, full, strict=True)
    return weights @ np.log(sum(p * multivariate_normal(m, c).pdf(z) for p, m, c in parts)) / weights.sum()


def test_log_densities_are_scipys():
    z = rng().normal(size=(20, 2))
    expected = np.stack(
        [multivariate_normal(m, c).logpdf(z) for m, c in zip(TWO.means, TWO.covariances, strict=True)], axis=1
    )
    np.testing.assert_allclose(log_densities(TWO, z), expected)
    diagonal = TWO._replace(covariances=np.array([[0.5, 2.0], [1.0, 3.0]]))
    as_full = TWO._replace(covariances=np.stack([np.diag(c) for c in diagonal.covariances]))
    np.testing.assert_allclose(log_densities(diagonal, z), log_densities(as_full, z))


def test_responsibilities_are_bayes_rule_also_far_out():
    z = rng().normal(size=(20, 2))
    joint = TWO.shares * np.exp(log_densities(TWO, z))
    np.testing.assert_allclose(responsibilities(TWO, z), joint / joint.sum(axis=1, keepdims=True))
    np.testing.assert_allclose(responsibilities(TWO, 1e4 * z).sum(axis=1), 1.0)


@pytest.mark.parametrize("full", [False, True])
def test_one_normal_is_the_weighted_mean_and_covariance(full):
    z, weights = rng().normal(size=(30, 4)) @ rng(2).normal(size=(4, 4)), rng(3).random(30)
    fitted = fit(plain(1, full, 4), z, weights)
    expected = np.cov(z.T, aweights=weights, ddof=0)
    np.testing.assert_allclose(fitted.means[0], np.average(z, axis=0, weights=weights))
    np.testing.assert_allclose(fitted.covariances[0], expected if full else np.diag(expected))
    np.testing.assert_array_equal(fitted.shares, [1.0])


@pytest.mark.parametrize(("components", "full"), KINDS)
def test_no_neighbour_of_a_fit_is_likelier(components, full):
    z, weights = sample(TWO, rng(), 300), rng(2).random(300)
    old = start(np.zeros(2), 3 * np.ones(2), components, full, rng(3))
    fitted = old
    for _ in range(50):  # each fit is 20 rounds of EM, that go on where the last fit ended
        fitted = fit(fitted, z, weights)
    top = likelihood(fitted, z, weights)
    generator = rng(4)
    for _ in range(100):
        shares = np.abs(fitted.shares + 1e-3 * generator.normal(size=components))
        if full:
            turn = np.eye(2) + 3e-3 * generator.normal(size=(components, 2, 2))
            covariances = turn @ fitted.covariances @ turn.transpose(0, 2, 1)
        else:
            covariances = fitted.covariances * np.exp(3e-3 * generator.normal(size=(components, 2)))
        near = Mixture(
            shares / shares.sum(),
            fitted.means + 1e-2 * generator.normal(size=fitted.means.shape),
            covariances,
        )
        assert likelihood(near, z, weights) < top


def test_each_fit_of_a_mixture_is_likelier_than_the_last():
    z = sample(TWO, rng(), 200)
    mixture = start(np.zeros(2), 3 * np.ones(2), 3, True, rng(7))
    last = -np.inf
    for _ in range(5):
        mixture = fit(mixture, z)
        now = likelihood(mixture, z, np.ones(200))
        assert now > last - 1e-9
        last = now


def test_recovers_the_mixture_that_points_come_from():
    z = sample(TWO, rng(), 20_000)
    fitted = fit(start(np.zeros(2), 3 * np.ones(2), 2, True, rng(2)), z)
    order = np.argsort(fitted.means[:, 0])
    np.testing.assert_allclose(fitted.shares[order], TWO.shares, atol=0.01)
    np.testing.assert_allclose(fitted.means[order], TWO.means, atol=0.03)
    np.testing.assert_allclose(fitted.covariances[order], TWO.covariances, atol=0.04)


@pytest.mark.parametrize(("components", "full"), KINDS)
def test_a_weight_of_two_is_a_point_twice(components, full):
    z = sample(TWO, rng(), 40)
    old = start(np.zeros(2), 3 * np.ones(2), components, full, rng(2))
    weights = np.where(np.arange(40) < 10, 2.0, 1.0)
    for a, b in zip(fit(old, z, weights), fit(old, np.concatenate([z, z[:10]])), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6])
@pytest.mark.parametrize(("components", "full"), KINDS)
def test_fits_don_t_depend_on_scale(components, full, scale):
    z = sample(TWO, rng(), 60)
    old = start(np.zeros(2), 3 * np.ones(2), components, full, rng(2))
    small = Mixture(old.shares, scale * old.means, scale**2 * old.covariances)
    fitted, scaled = fit(old, z), fit(small, scale * z)
    np.testing.assert_allclose(scaled.means, scale * fitted.means, rtol=1e-6, atol=1e-9 * scale)
    np.testing.assert_allclose(scaled.covariances, scale**2 * fitted.covariances, rtol=1e-6, atol=1e-9 * scale**2)


@pytest.mark.parametrize("full", [False, True])
def test_a_component_without_points_stays_as_it_was(full):
    far = start(np.zeros(2), np.ones(2), 2, full, rng())._replace(means=np.array([[0.0, 0.0], [1e3, 1e3]]))
    fitted = fit(far, rng(2).normal(size=(30, 2)))
    np.testing.assert_array_equal(fitted.means[1], far.means[1])
    np.testing.assert_array_equal(fitted.covariances[1], far.covariances[1])
    np.testing.assert_allclose(fitted.shares, [1.0, 0.0], atol=1e-12)
    assert np.abs(fitted.means[0]).max() < 1


@pytest.mark.parametrize(("components", "full"), KINDS)
def test_points_without_spread_give_no_spread_and_no_nan(components, full):
    old = plain(components, full)
    z = rng(2).normal(size=(12, 3))
    z[:, 1] = 0.25
    fitted = fit(old, z)
    variances = np.diagonal(fitted.covariances, axis1=1, axis2=2) if full else fitted.covariances
    moved = ~(fitted.means == old.means).all(axis=1)
    assert moved.any()
    assert (np.abs(variances[moved, 1]) < 1e-30).all()  # the rounding of a mean
    same = fit(old, np.ones((8, 3)))
    assert all(np.isfinite(part).all() for part in same)
    assert np.isfinite(sample(same, rng(), 10)).all()


@pytest.mark.parametrize("full", [False, True])
def test_samples_have_the_moments_of_the_mixture(full):
    mixture = TWO if full else TWO._replace(covariances=np.array([[0.5, 2.0], [1.0, 3.0]]))
    z = sample(mixture, rng(), 200_000)
    first = z[:, 0] < -0.5
    assert first.mean() == pytest.approx(0.3, abs=0.01)
    np.testing.assert_allclose(z[first].mean(axis=0), [-4, 1], atol=0.02)
    expected = mixture.covariances[0] if full else np.diag(mixture.covariances[0])
    np.testing.assert_allclose(np.cov(z[first].T), expected, atol=0.03)


def test_samples_of_a_singular_covariance_lie_in_its_plane():
    flat = Mixture(np.ones(1), np.zeros((1, 2)), np.ones((1, 2, 2)))
    z = sample(flat, rng(), 1000)
    np.testing.assert_allclose(z[:, 0], z[:, 1], atol=1e-6)
    assert z.std() == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("full", [False, True])
def test_a_start_has_the_asked_mean_and_spread(full):
    mean, std = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    one = start(mean, std, 1, full, rng())
    np.testing.assert_array_equal(one.means, [mean])
    np.testing.assert_array_equal(one.covariances, [np.diag(std**2)] if full else [std**2])
    many = sample(start(mean, std, 2000, full, rng()), rng(2), 20_000)
    np.testing.assert_allclose(many.mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(many.std(axis=0), std, rtol=0.05)


@pytest.mark.parametrize("full", [False, True])
def test_widened_adds_variance_and_blend_mixes_numbers(full):
    old, new = plain(2, full), plain(2, full)._replace(means=np.full((2, 3), 8.0))
    more = widened(old, np.array([1.0, 2.0, 3.0]))
    expected = old.covariances + (np.diag([1.0, 2.0, 3.0]) if full else np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(more.covariances, expected)
    mixed = blend(old, new, 0.25)
    np.testing.assert_allclose(mixed.means, 0.25 * old.means + 6.0)
    np.testing.assert_allclose(mixed.covariances, old.covariances)


def test_centre_is_the_mean_of_the_greatest_component():
    np.testing.assert_array_equal(centre(TWO), TWO.means[1])


def test_elites_are_the_best_that_did_not_fail():
    fitness = np.array([1.0, -np.inf, 5.0, 3.0, 2.0, -np.inf])
    np.testing.assert_array_equal(elite_weights(fitness, 2, 0.0, None), [0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(elite_weights(fitness, 5, 0.0, None), [1, 0, 1, 1, 1, 0])


def test_temperature_lets_others_in_with_the_annealing_probability():
    fitness = np.array([4.0, 3.0, 2.5, 1.0, -1e9, -np.inf])
    chosen = np.array([elite_weights(fitness, 2, 2.0, rng(seed)) for seed in range(4000)])
    expected = [1.0, 1.0, np.exp(-0.25), np.exp(-1.0), 0.0, 0.0]
    np.testing.assert_allclose(chosen.mean(axis=0), expected, atol=0.03)
    for temperature in (5e-324, 1e-300):
        np.testing.assert_array_equal(elite_weights(fitness, 2, temperature, rng()), [1, 1, 0, 0, 0, 0])


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"z: expected an array of shape \(any, 3\), got shape \(4, 2\)"):
        fit(plain(1, False), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="weights: expected numbers >= 0"):
        fit(plain(1, False), np.zeros((2, 3)), np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="weights: expected numbers >= 0"):
        fit(plain(1, False), np.zeros((0, 3)))
    with pytest.raises(ValueError, match="z: expected finite numbers"):
        fit(plain(1, False), np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="components: expected an integer >= 1, got 0"):
        start(np.zeros(2), np.ones(2), 0, False, rng())
    with pytest.raises(ValueError, match="smoothing"):
        blend(TWO, TWO, 1.5)
