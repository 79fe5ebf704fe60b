"""The cross-entropy method: one generation by hand, noise against early convergence, mixtures for several optima."""

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from optimizers.cross_entropy import CrossEntropy

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((2,)))
PLANE = Space(w=Free((2,)))
VARIANTS = [
    CrossEntropy(),
    CrossEntropy(covariance="full"),
    CrossEntropy(noise=0.3),
    CrossEntropy(components=2),
    CrossEntropy(components=3, covariance="full", population=101),
    CrossEntropy(components=2, covariance="full", noise=0.2, temp_decay=0.9),
    CrossEntropy(population=2, rho=1.0),
    CrossEntropy(population=7, rho=0.3, smoothing=0, temp_decay=1.0),
    CrossEntropy(noise=1.0, noise_decay=0.0, smoothing=0.9),
]


def sphere(z):
    return (z**2).sum(axis=1)


def run(ce, space, state, cost, generations):
    for _ in range(generations):
        z, state = ce.ask(space, state)
        state = ce.tell(space, state, z, Evaluation(-cost(z)))
    return state


@pytest.mark.parametrize("ce", VARIANTS, ids=str)
def test_keeps_the_contract(ce):
    require(check_optimizer(ce, beats_random=ce.population > 7))


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_one_generation_by_hand(covariance):
    ce = CrossEntropy(population=10, rho=0.4, smoothing=0.3, covariance=covariance)
    z, state = ce.ask(SPACE, ce.init(SPACE, 1))
    fitness = np.random.default_rng(2).normal(size=10)
    after = ce.tell(SPACE, state, z, Evaluation(fitness))
    elite = z[fitness >= np.sort(fitness)[6]]
    mean, std = SPACE.center, SPACE.scale
    np.testing.assert_allclose(after.mixture.means[0], 0.3 * mean + 0.7 * elite.mean(axis=0))
    old, new = np.diag(std**2), np.cov(elite.T, ddof=0)
    expected = 0.3 * old + 0.7 * new
    np.testing.assert_allclose(after.mixture.covariances[0], expected if covariance == "full" else np.diag(expected))
    np.testing.assert_allclose(ce.recommend(SPACE, after), after.mixture.means[0])


def test_the_first_generation_has_the_spread_of_the_space():
    z, _ = CrossEntropy(population=20_000).ask(PLANE, CrossEntropy().init(PLANE, 1))
    np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(z.std(axis=0), 1.0, atol=0.03)


def test_noise_adds_its_decaying_variance_to_what_is_asked():
    ce = CrossEntropy(population=40_000, noise=0.5, noise_decay=0.8)
    state = ce.init(SPACE, 1)
    _, std = SPACE.center, SPACE.scale
    for told in range(4):
        mixture = state.mixture._replace(covariances=np.full((1, 4), 1e-4), means=np.array([[0.5, 0.5, 0, 0]]))
        state = state._replace(told=np.array(told), mixture=mixture)
        z, _ = ce.ask(SPACE, state)
        expected = 1e-4 + (0.25 * 0.8 ** (told - 1) * std**2 if told else 0.0)
        np.testing.assert_allclose(z.var(axis=0), np.broadcast_to(expected, 4), rtol=0.04)


def test_noise_keeps_the_search_from_ending_too_early():
    def cost(z):  # far from where the search begins
        return sphere(z - 12.0)

    few = {"population": 20, "rho": 0.15, "smoothing": 0.0}
    far = [
        cost(ce.recommend(PLANE, run(ce, PLANE, ce.init(PLANE, s), cost, 150))[None])[0]
        for s in range(5)
        for ce in [CrossEntropy(**few)]
    ]
    near = [
        cost(ce.recommend(PLANE, run(ce, PLANE, ce.init(PLANE, s), cost, 150))[None])[0]
        for s in range(5)
        for ce in [CrossEntropy(**few, noise=0.7)]
    ]
    assert np.median(far) > 1
    assert np.max(near) < 1e-2


def test_converges_on_a_badly_scaled_bowl():
    ce = CrossEntropy(population=100)
    target, scale = np.array([0.2, 0.9, 1.5, -1.0]), np.logspace(0, 4, 4)
    state = run(ce, SPACE, ce.init(SPACE, 1), lambda z: ((z - target) ** 2 * scale).sum(axis=1), 80)
    np.testing.assert_allclose(ce.recommend(SPACE, state), target, atol=1e-5)


def test_full_covariance_learns_a_narrow_diagonal_valley():
    def cost(z):
        return (z.sum(axis=1) - 0.5) ** 2 * 1e4 + (z[:, 0] - z[:, 1] - 0.5) ** 2

    reached = {}
    for covariance in ("diagonal", "full"):
        ce = CrossEntropy(population=100, covariance=covariance)
        ends = [ce.recommend(PLANE, run(ce, PLANE, ce.init(PLANE, s), cost, 60)) for s in range(7)]
        reached[covariance] = np.median(cost(np.array(ends)))
    assert reached["full"] < 1e-6
    assert reached["diagonal"] > 1e-3


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_each_component_is_fitted_to_its_part_of_the_elite(covariance):
    optima = np.array([[2.0, 0.0], [-2.0, 0.5]])
    ce = CrossEntropy(population=200, components=2, covariance=covariance, smoothing=0.5)
    variances = np.full((2, 2), 0.01)
    start = ce.init(PLANE, 1)
    covariances = variances[:, :, None] * np.eye(2) if covariance == "full" else variances
    state = start._replace(mixture=start.mixture._replace(means=optima + 0.1, covariances=covariances))
    z, asked = ce.ask(PLANE, state)
    cost = ((z[:, None] - optima) ** 2).sum(axis=2).min(axis=1)
    after = ce.tell(PLANE, asked, z, Evaluation(-cost))
    elite = z[np.argsort(cost)[:40]]
    for k, part in enumerate((elite[elite[:, 0] > 0], elite[elite[:, 0] < 0])):
        assert len(part) > 10
        assert after.mixture.shares[k] == pytest.approx(0.5 * 0.5 + 0.5 * len(part) / 40)
        np.testing.assert_allclose(after.mixture.means[k], 0.5 * (optima[k] + 0.1) + 0.5 * part.mean(axis=0), atol=1e-9)
        new = np.cov(part.T, ddof=0) if covariance == "full" else part.var(axis=0)
        expected = 0.5 * state.mixture.covariances[k] + 0.5 * new
        np.testing.assert_allclose(after.mixture.covariances[k], expected, atol=1e-7)


def test_a_mixture_ends_at_one_of_several_optima():
    optima = np.array([[2.0, 0.0], [-2.0, 0.5]])

    def cost(z):
        return ((z[:, None] - optima) ** 2).sum(axis=2).min(axis=1)

    ce = CrossEntropy(population=100, components=2)
    ends = np.array([ce.recommend(PLANE, run(ce, PLANE, ce.init(PLANE, seed), cost, 80)) for seed in range(6)])
    assert cost(ends).max() < 1e-6
    assert len(set(np.sign(ends[:, 0]))) == 2


def test_finds_an_optimum_in_a_corner_of_the_box():
    ce = CrossEntropy()
    space = Space(x=Real(0, 1, shape=(5,)))
    state = ce.init(space, 1)
    for _ in range(60):
        z, state = ce.ask(space, state)
        assert z.min() >= 0
        assert z.max() <= 1
        state = ce.tell(space, state, z, Evaluation(-sphere(z - np.array([-1.0, 2.0, 0.0, 1.0, 0.3]))))
    np.testing.assert_allclose(ce.recommend(space, state), [0, 1, 0, 1, 0.3], atol=1e-3)


@pytest.mark.parametrize("fields", [{}, {"components": 3, "covariance": "full"}, {"components": 2, "temp_decay": 0.9}])
def test_long_runs_stay_numbers(fields):
    space = Space(x=Real(0, 1, shape=(3,)), w=Free((2,)))
    ce = CrossEntropy(population=40, **fields)
    first = ce.init(space, 1)
    state = run(ce, space, first, lambda z: sphere(z - np.array([0.0, 1.0, 0.4, 1.0, 0.0])), 600)
    assert all(np.isfinite(value).all() for value in (state.words, state.told, *state.mixture))
    assert [(a.shape, a.dtype) for a in first.mixture] == [(a.shape, a.dtype) for a in state.mixture]


@pytest.mark.parametrize("fitness", [np.full(64, np.nan), np.ones(64), np.append(1.0, np.full(63, np.nan))])
def test_a_generation_that_tells_nothing_changes_no_distribution(fitness):
    ce = CrossEntropy()
    z, state = ce.ask(SPACE, ce.init(SPACE, 1))
    after = ce.tell(SPACE, state, z, Evaluation(fitness))
    np.testing.assert_array_equal(after.mixture.means, state.mixture.means)
    np.testing.assert_array_equal(after.mixture.covariances, state.mixture.covariances)


def test_failures_are_never_elite():
    ce = CrossEntropy(population=10, rho=0.5, smoothing=0.0)
    z, state = ce.ask(SPACE, ce.init(SPACE, 1))
    fitness = np.full(10, np.nan)
    fitness[[1, 4, 7]] = -1.0, -2.0, -3.0
    np.testing.assert_allclose(
        ce.tell(SPACE, state, z, Evaluation(fitness)).mixture.means[0], z[[1, 4, 7]].mean(axis=0)
    )


def test_temperature_lets_others_in_and_falls():
    fitness = Evaluation(-0.1 * np.arange(200.0))
    elites = {}
    for decay, told in ((0.0, 0), (0.5, 0), (0.5, 4), (0.5, 5000)):
        ce = CrossEntropy(population=200, rho=0.05, smoothing=0.0, temp_decay=decay)
        _, state = ce.ask(PLANE, ce.init(PLANE, 1))
        z = np.arange(200.0)[:, None] * np.ones(2)  # the mean tells how many of the worse are in
        elites[decay, told] = ce.tell(PLANE, state._replace(told=np.array(told)), z, fitness).mixture.means[0, 0]
    assert elites[0.0, 0] == elites[0.5, 5000] == pytest.approx(4.5, rel=1e-12)  # BLAS may round differently
    assert elites[0.5, 0] > elites[0.5, 4] + 1
    assert elites[0.5, 4] >= 4.5


@pytest.mark.parametrize(("rho", "population", "elites"), [(0.07, 100, 7), (0.2, 64, 13), (1.0, 5, 5), (0.3, 10, 3)])
def test_rho_is_the_share_of_elites_rounded_up(rho, population, elites):
    assert CrossEntropy(rho=rho, population=population).elites == elites


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1}, ValueError, r"CrossEntropy.population: expected an integer >= 2, got 1"),
        ({"rho": 0}, ValueError, r"CrossEntropy.rho: expected a number in \(0, 1\], got 0"),
        ({"rho": 0.01}, ValueError, r"rho \* population: expected at least two elites a component \(2\), got 1; enl"),
        ({"components": 7}, ValueError, r"at least two elites a component \(14\), got 13"),
        ({"components": 0}, ValueError, "CrossEntropy.components: expected an integer >= 1"),
        ({"smoothing": 1}, ValueError, "CrossEntropy.smoothing: expected a number below 1, got 1; at 1 nothing"),
        ({"smoothing": -0.1}, ValueError, r"CrossEntropy.smoothing: expected a number in \[0, 1\), got -0.1"),
        ({"covariance": "ful"}, ValueError, "CrossEntropy.covariance: .* did you mean 'full'"),
        ({"noise": -1}, ValueError, "CrossEntropy.noise: expected a number >= 0"),
        ({"noise": float("inf")}, ValueError, "CrossEntropy.noise: expected finite"),
        ({"noise_decay": 1.1}, ValueError, "CrossEntropy.noise_decay"),
        ({"temp_decay": "1"}, TypeError, "CrossEntropy.temp_decay: expected a number"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        CrossEntropy(**fields)


def test_wrong_evaluations_are_refused():
    ce = CrossEntropy(population=10)
    z, state = ce.ask(SPACE, ce.init(SPACE, 1))
    with pytest.raises(ValueError, match=r"CrossEntropy: fitness: expected one objective, got \(10, 2\)"):
        ce.tell(SPACE, state, z, Evaluation(np.zeros((10, 2))))
    with pytest.raises(ValueError, match=r"CrossEntropy: z: expected an array of shape \(10, 4\), got shape \(9, 4\)"):
        ce.tell(SPACE, state, z[:9], Evaluation(np.zeros(9)))
