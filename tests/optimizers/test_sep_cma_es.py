"""Separable CMA-ES: the diagonal of the dense formulas, pycma's first step, and linear in the coordinates."""

import cma
import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.cma import CONDITION, SIGMA, constants
from optimizers.cma_es import CMAES
from optimizers.sep_cma_es import SepCMAES, limited

BOX = Space(x=Real(0, 1, shape=(4,)))
VARIANTS = [SepCMAES(), SepCMAES(population=2), SepCMAES(population=9, sigma=0.3), SepCMAES(population=40)]


def sphere(z):
    return (z**2).sum(axis=1)


def ellipsoid(z):
    return (z**2 * np.logspace(0, 6, z.shape[1])).sum(axis=1)


def run(es, space, state, cost, generations):
    for _ in range(generations):
        z, state = es.ask(space, state)
        state = es.tell(space, state, z, Evaluation(-cost(z)))
    return state


@pytest.mark.parametrize("es", VARIANTS, ids=str)
def test_keeps_the_contract(es):
    require(check_optimizer(es, beats_random=es.population != 2))


@pytest.mark.parametrize("size", [1, 5, 40, 1000])
@pytest.mark.parametrize("population", [2, 5, 6, 32, 101])
def test_constants_are_those_of_cma_es_with_faster_covariance(size, population):
    ours, dense = constants(size, population, (size + 2) / 3), constants(size, population)
    np.testing.assert_allclose(ours.weights, dense.weights)
    same = ("mueff", "c_sigma", "d_sigma", "c_c", "chi")
    assert [getattr(ours, name) for name in same] == pytest.approx([getattr(dense, name) for name in same])
    faster = (size + 2) / 3
    assert ours.c_1 == pytest.approx(min(1, faster * dense.c_1))
    assert ours.c_mu == pytest.approx(min(1 - ours.c_1, faster * 2 * dense_rank_mu(size, ours.mueff)))
    assert 0 <= 1 - ours.c_1 - ours.c_mu < 1


def dense_rank_mu(size, mueff):
    return (mueff - 1.75 + 1 / mueff) / ((size + 2) ** 2 + mueff)


@pytest.mark.parametrize("population", [None, 20])
def test_is_the_dense_algorithm_restricted_to_the_diagonal(population):
    size = 6
    space = Space(x=Real(-2, 2, shape=(2,)), w=Free((4,)))
    es = SepCMAES(population, sigma=0.1)
    state = es.init(space, 1)
    c = constants(size, es.individuals(size), (size + 2) / 3)
    mean, std = space.center, space.scale
    sigma, C, p_c, p_sigma = 0.1, np.eye(size), np.zeros(size), np.zeros(size)
    stalls = 0
    for generation in range(1, 61):
        z, state = es.ask(space, state)
        fitness = ellipsoid(z - 3.0)  # far away, so that p_c stalls at times
        x = state.x  # what was asked, before the bounds
        state = es.tell(space, state, z, Evaluation(-fitness))

        order = np.argsort(fitness)[: len(c.weights)]
        y = (x[order] - mean) / (sigma * std)
        shift = sum(w * row for w, row in zip(c.weights, y, strict=True))
        mean = mean + sigma * std * shift
        root = np.linalg.inv(np.linalg.cholesky(C))  # of a diagonal matrix: C^(-1/2)
        p_sigma = (1 - c.c_sigma) * p_sigma + np.sqrt(c.c_sigma * (2 - c.c_sigma) * c.mueff) * root @ shift
        norm = np.linalg.norm(p_sigma)
        h = norm**2 / (1 - (1 - c.c_sigma) ** (2 * generation)) / size < 2 + 4 / (size + 1)
        stalls += not h
        p_c = (1 - c.c_c) * p_c + h * np.sqrt(c.c_c * (2 - c.c_c) * c.mueff) * shift
        rank_mu = sum(w * np.outer(row, row) for w, row in zip(c.weights, y, strict=True))
        C = (
            (1 - c.c_1 - c.c_mu) * C
            + c.c_1 * (np.outer(p_c, p_c) + (1 - h) * c.c_c * (2 - c.c_c) * C)
            + c.c_mu * rank_mu
        )
        C = np.diag(np.diag(C))  # the restriction
        sigma *= np.exp(min(1, c.c_sigma / c.d_sigma * (norm / c.chi - 1)))

        np.testing.assert_allclose(state.mean, mean, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state.variance, np.diag(C), rtol=1e-8)
        assert float(state.sigma) == pytest.approx(sigma, rel=1e-9)
    assert stalls > 0


@pytest.mark.parametrize("size", [4, 30])
def test_the_first_generation_moves_mean_paths_and_step_as_pycmas_diagonal_option(size):
    space = Space(w=Free((size,)))
    es = SepCMAES(population=12, sigma=0.5)
    z, state = es.ask(space, es.init(space, 3))
    options = {"popsize": 12, "CMA_diagonal": True, "verbose": -9, "seed": 1}
    theirs = cma.CMAEvolutionStrategy(np.zeros(size), 0.5, options)
    theirs.ask()
    fitness = ellipsoid(z - 1.0)
    theirs.tell(list(z), list(fitness), check_points=False)  # its variance learns by another rule, exponentially
    state = es.tell(space, state, z, Evaluation(-fitness))
    np.testing.assert_allclose(state.mean, theirs.mean, atol=1e-12)
    np.testing.assert_allclose(state.p_sigma, theirs.adapt_sigma.ps, atol=1e-12)
    assert float(state.sigma) == pytest.approx(theirs.sigma)


def test_needs_about_as_many_evaluations_as_pycmas_diagonal_option():
    space = Space(w=Free((8,)))
    ours, theirs = [], []
    for seed in range(1, 8):
        es = SepCMAES(sigma=0.5)
        state = es.init(space, seed)._replace(mean=np.full(8, 0.7))
        used = 0
        while used < 20_000:
            z, state = es.ask(space, state)
            used += len(z)
            if ellipsoid(z).min() < 1e-9:
                break
            state = es.tell(space, state, z, Evaluation(-ellipsoid(z)))
        ours.append(used)
        options = {"CMA_diagonal": True, "verbose": -9, "seed": seed}
        other, used = cma.CMAEvolutionStrategy(np.full(8, 0.7), 0.5, options), 0
        while used < 20_000:
            x = np.array(other.ask())
            used += len(x)
            if ellipsoid(x).min() < 1e-9:
                break
            other.tell(list(x), list(ellipsoid(x)))
        theirs.append(used)
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.25)


def test_learns_the_scales_of_many_coordinates_faster_than_cma_es():
    space, ends = Space(w=Free((50,))), []
    for es in (SepCMAES(), CMAES()):
        state = run(es, space, es.init(space, 1), lambda z: ellipsoid(z - 0.3), 1000)
        ends.append(ellipsoid(es.recommend(space, state)[None] - 0.3)[0])
    assert ends[0] < 1e-6 < 1e-3 < ends[1]


def test_state_and_work_arrays_are_linear_in_the_coordinates():
    es = SepCMAES(population=8)
    size = 20_000
    space = Space(x=Real(0, 1, shape=(size,)))
    state = es.init(space, 1)
    state = run(es, space, state, sphere, 2)
    assert max(a.size for a in state) == 8 * size
    free_space = Space(w=Free((size,)))
    free = run(es, free_space, es.init(free_space, 1), sphere, 2)
    assert max(a.size for a in free) == size


def test_the_state_keeps_its_size():
    es = SepCMAES()
    first = es.init(BOX, 1)
    later = run(es, BOX, first, sphere, 200)
    assert [(a.shape, a.dtype) for a in first] == [(a.shape, a.dtype) for a in later]


@pytest.mark.parametrize("optimum", [(0.0, 1.0, 0.5, 0.3), (-1.0, 2.0, 0.01, 0.99), (0.0, 0.0, 0.0, 0.0)])
def test_finds_an_optimum_on_the_bounds(optimum):
    es = SepCMAES()
    state = es.init(BOX, 1)
    for _ in range(250):
        z, state = es.ask(BOX, state)
        assert z.min() >= 0
        assert z.max() <= 1
        state = es.tell(BOX, state, z, Evaluation(-ellipsoid(z - np.array(optimum))))
    np.testing.assert_allclose(es.recommend(BOX, state), np.clip(optimum, 0, 1), atol=1e-6)


def test_condition_number_is_limited_and_scale_moves_to_sigma():
    es = SepCMAES()
    state = es.init(BOX, 1)
    thin = limited(state._replace(variance=np.array([1.0, 1e-30, 1e-3, 1e-14])))
    np.testing.assert_allclose(thin.variance, [1.0, 1 / CONDITION, 1e-3, 1e-14])
    big = limited(state._replace(variance=1e12 * np.arange(1.0, 5), sigma=np.array(1e-6), p_c=np.full(4, 1e6)))
    assert float(big.variance.max()) == 1.0
    np.testing.assert_allclose(big.sigma**2 * big.variance, np.arange(1, 5))
    np.testing.assert_allclose(big.sigma * big.p_c, np.ones(4))


@pytest.mark.parametrize("cost", [sphere, lambda z: z[:, 0], lambda z: sphere(z - 1)], ids=["0", "slope", "1"])
def test_long_runs_stay_numbers(cost):
    es = SepCMAES()
    free_space = Space(w=Free((3,)))
    state = run(es, free_space, es.init(free_space, 1), cost, 2500)
    assert all(np.isfinite(value).all() for value in state)
    assert SIGMA[0] <= state.sigma <= SIGMA[1]


@pytest.mark.parametrize("fitness", [np.full(8, np.nan), np.full(8, 2.0)], ids=["failed", "equal"])
def test_a_generation_that_tells_nothing_only_widens_the_step_up_to_the_spread(fitness):
    es = SepCMAES(population=8, sigma=0.01)
    first = state = es.init(BOX, 1)
    for _ in range(40):
        before = float(state.sigma)
        z, state = es.ask(BOX, state)
        state = es.tell(BOX, state, z, Evaluation(fitness))
        assert state.sigma > before or before >= 1
    np.testing.assert_array_equal(state.mean, first.mean)
    np.testing.assert_array_equal(state.variance, first.variance)
    assert 1.0 <= state.sigma < 2.0


def test_failures_rank_last():
    es = SepCMAES(population=6)
    z, state = es.ask(BOX, es.init(BOX, 1))
    failed = es.tell(BOX, state, z, Evaluation(np.array([-1.0, np.nan, -1.0, -3.0, -2.0, np.nan])))
    last = es.tell(BOX, state, z, Evaluation(np.array([-1.0, -9.0, -1.0, -3.0, -2.0, -9.0])))
    for a, b in zip(failed, last, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1}, ValueError, r"SepCMAES.population: expected an integer >= 2, got 1; take None"),
        ({"sigma": 0}, ValueError, "SepCMAES.sigma: expected a number > 0, got 0; about 1"),
        ({"sigma": float("inf")}, ValueError, "SepCMAES.sigma: expected finite"),
        ({"sigma": "1"}, TypeError, "SepCMAES.sigma: expected a number"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        SepCMAES(**fields)


def test_wrong_evaluations_are_refused():
    es = SepCMAES(population=6)
    z, state = es.ask(BOX, es.init(BOX, 1))
    with pytest.raises(ValueError, match=r"SepCMAES: fitness: expected one objective, got \(6, 2\)"):
        es.tell(BOX, state, z, Evaluation(np.zeros((6, 2))))
    with pytest.raises(ValueError, match=r"SepCMAES: z: expected an array of shape \(6, 4\), got shape \(5, 4\)"):
        es.tell(BOX, state, z[:5], Evaluation(np.zeros(5)))
