"""CMA-ES: pycma's numbers from the same solutions, pycma's number of evaluations, and safe where pycma would stop."""

import cma
import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.bounds import EDGE, smooth, unsmooth
from l2l_snn.search.cma import CONDITION, SIGMA, constants
from optimizers.cma_es import CMAES, decomposed, learned_covariance, rank_weights

BOX = Space(x=Real(0, 1, shape=(4,)))
VARIANTS = [
    CMAES(),
    CMAES(active=False),
    CMAES(population=2),
    CMAES(population=3, sigma=0.3),
    CMAES(population=33),
    CMAES(population=4, active=False),
]


def sphere(z):
    return (z**2).sum(axis=1)


def ellipsoid(z):
    return (z**2 * np.logspace(0, 6, z.shape[1])).sum(axis=1)


def rosenbrock(z):
    return (100 * (z[:, 1:] - z[:, :-1] ** 2) ** 2 + (1 - z[:, :-1]) ** 2).sum(axis=1)


def turned(function, size):
    """Return the function of rotated and shifted coordinates."""
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(size, size)))[0]
    return lambda z: function((z - 0.3) @ rotation)


def run(es, space, state, cost, generations):
    for _ in range(generations):
        z, state = es.ask(space, state)
        state = es.tell(space, state, z, Evaluation(-cost(z)))
    return state


def gap_of(size, population):
    """Return the generations between two eigendecompositions."""
    c = constants(size, population)
    return 0.5 / (size * (c.c_1 + c.c_mu))


def reference(mean, sigma, population, gap, **options):
    """Return pycma's strategy, with C = I at the start and our gap between decompositions."""
    options |= {"popsize": population, "updatecovwait": gap, "CMA_mirrors": 0, "verbose": -9, "seed": 1}
    es = cma.CMAEvolutionStrategy(mean, sigma, options)
    es.sm.C[:] = np.eye(len(mean))
    es.sm.D[:] = 1.0
    return es


@pytest.mark.parametrize("es", VARIANTS, ids=str)
def test_keeps_the_contract(es):
    require(check_optimizer(es, beats_random=es.population != 2))


def test_one_coordinate_is_enough():
    space = Space(w=Free())
    es = CMAES()
    state = run(es, space, es.init(space, 1), sphere, 100)
    assert abs(es.recommend(space, state)[0]) < 1e-6


# Against pycma


@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize(("size", "population"), [(3, None), (3, 20), (10, None), (10, 31), (30, 50)])
@pytest.mark.parametrize("cost", [rosenbrock, ellipsoid])
def test_gives_pycmas_mean_step_and_covariance_from_the_same_solutions(cost, size, population, active):
    space = Space(w=Free((size,)))
    es = CMAES(population, sigma=0.5, active=active)
    state = es.init(space, 3)
    population = es.individuals(size)
    theirs = reference(np.zeros(size), 0.5, population, gap_of(size, population), CMA_active=active)
    cost = turned(cost, size)
    for generation in range(40):
        z, state = es.ask(space, state)
        fitness = cost(z)
        theirs.ask()  # their own solutions are dropped, their eigendecomposition is up to date
        theirs.tell(list(z), list(fitness), check_points=False)
        state = es.tell(space, state, z, Evaluation(-fitness))
        scale = float(state.sigma)
        np.testing.assert_allclose(state.mean, theirs.mean, atol=1e-9 * scale, err_msg=str(generation))
        assert scale == pytest.approx(theirs.sigma, rel=1e-9)
        np.testing.assert_allclose(state.C, theirs.sm.C, atol=1e-9 * np.abs(state.C).max())
        np.testing.assert_allclose(state.p_c, theirs.pc, atol=1e-9)
        np.testing.assert_allclose(state.p_sigma, theirs.adapt_sigma.ps, atol=1e-9)
    assert state.told == 40
    assert np.abs(state.C - np.eye(size)).max() > 0.1


def test_the_spread_of_the_space_is_pycmas_cma_stds():
    space = Space(x=Real(-3, 3, shape=(3,)), w=Free((3,)))
    es = CMAES(sigma=0.02)
    state = es.init(space, 1)
    mean, std = space.center, space.scale
    gap = gap_of(6, es.individuals(6))
    theirs = reference(mean, 0.02, es.individuals(6), gap, CMA_stds=std)
    for _ in range(12):
        z, state = es.ask(space, state)
        assert (z[:, :3] > 0).all()
        assert (z[:, :3] < 1).all()
        fitness = ellipsoid(z - mean - 0.05)
        theirs.ask()
        theirs.tell(list(z), list(fitness), check_points=False)
        state = es.tell(space, state, z, Evaluation(-fitness))
    np.testing.assert_allclose(state.mean, theirs.mean, rtol=1e-9)
    np.testing.assert_allclose(state.C, theirs.sm.C, atol=1e-9)
    assert float(state.sigma) == pytest.approx(theirs.sigma, rel=1e-9)


@pytest.mark.parametrize("size", [1, 2, 5, 10, 27, 60, 200])
@pytest.mark.parametrize("population", [2, 3, 4, 5, 6, 7, 32, 200])
def test_constants_are_pycmas(size, population):
    c = constants(size, population)
    theirs = cma.CMAEvolutionStrategy(
        np.zeros(size), 1.0, {"popsize": population, "CMA_mirrors": 0, "verbose": -9, "seed": 1}
    )
    theirs.adapt_sigma.initialize(theirs)
    weights = rank_weights(size, population, True)
    np.testing.assert_allclose(weights, np.array(theirs.sp.weights), rtol=1e-9, atol=1e-12)
    rates = theirs.sm.parameters()
    assert (c.c_1, c.c_mu, c.c_c) == pytest.approx((rates["c1"], rates["cmu"], theirs.sp.cc))
    assert (c.c_sigma, c.d_sigma) == pytest.approx((theirs.adapt_sigma.cs, theirs.adapt_sigma.damps))
    assert c.mueff == pytest.approx(theirs.sp.weights.mueff)
    lengths = np.sqrt((np.random.default_rng(1).standard_normal((20000, size)) ** 2).sum(axis=1))
    assert c.chi == pytest.approx(lengths.mean(), abs=0.02)


def evaluations(ask, tell, cost, limit=20_000):
    used = 0
    while used < limit:
        z = ask()
        values = cost(z)
        used += len(z)
        if values.min() < 1e-9:
            return used
        tell(z, values)
    return np.inf


@pytest.mark.parametrize(
    ("cost", "size", "seeds"),
    [(sphere, 5, 11), (ellipsoid, 5, 11), (rosenbrock, 5, 11), (sphere, 10, 7), (ellipsoid, 10, 5)],
)
def test_needs_as_many_evaluations_as_pycma(cost, size, seeds):
    space = Space(w=Free((size,)))
    ours, theirs = [], []
    for seed in range(1, seeds + 1):
        es = CMAES(sigma=0.5)
        box = [es.init(space, seed)._replace(mean=np.full(size, 0.7))]

        def ask(es=es, box=box):
            z, box[0] = es.ask(space, box[0])
            return z

        def tell(z, values, es=es, box=box):
            box[0] = es.tell(space, box[0], z, Evaluation(-values))

        ours.append(evaluations(ask, tell, cost))
        other = cma.CMAEvolutionStrategy(np.full(size, 0.7), 0.5, {"verbose": -9, "seed": seed})
        theirs.append(
            evaluations(lambda o=other: np.array(o.ask()), lambda z, f, o=other: o.tell(space, list(z), f), cost)
        )
    # medians of so few runs differ by chance: a run's spread is 5 to 10 %, 22 % on Rosenbrock
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.2 if cost is rosenbrock else 0.1)


# The distribution


def test_asks_for_a_sample_of_the_distribution():
    space = Space(w=Free((2,)), v=Free())
    es = CMAES(population=40_000, sigma=0.7)
    state = es.init(space, 1)
    factor = np.array([[1.0, 0.0, 0.0], [0.9, 0.3, 0.0], [-0.5, 0.2, 2.0]])
    state = decomposed(state._replace(C=factor @ factor.T, mean=np.array([1.0, -2.0, 3.0])))
    z, _ = es.ask(space, state)
    np.testing.assert_allclose(z.mean(axis=0), [1, -2, 3], atol=0.02)
    expected = 0.49 * factor @ factor.T
    np.testing.assert_allclose(np.cov(z.T), expected, atol=0.03)


def test_the_first_generation_has_the_spread_of_the_space():
    space = Space(x=Real(-5, 5), w=Free())
    z, _ = CMAES(population=20_000, sigma=0.5).ask(space, CMAES(sigma=0.5).init(space, 1))
    np.testing.assert_allclose(z.mean(axis=0), [0.5, 0.0], atol=0.01)
    np.testing.assert_allclose(z.std(axis=0), [0.5 * 12**-0.5, 0.5], atol=0.01)


def test_learned_covariance_is_the_sum_of_outer_products_and_symmetric():
    generator = np.random.default_rng(1)
    C, rows, weights = np.eye(7), generator.normal(size=(9, 7)), generator.normal(size=9)
    expected = 0.8 * C + sum(w * np.outer(row, row) for w, row in zip(weights, rows, strict=True))
    new = learned_covariance(C, 0.8, rows, weights)
    np.testing.assert_allclose(new, expected, atol=1e-12)
    np.testing.assert_array_equal(new, new.T)


def test_decomposes_only_as_often_as_the_learning_rates_make_worthwhile():
    es = CMAES(population=8)
    space = Space(w=Free((60,)))
    state = es.init(space, 1)
    gap = gap_of(60, 8)
    assert 3 < gap < 30
    times = set()
    for _ in range(60):
        state = run(es, space, state, sphere, 1)
        times.add(int(state.decomposed))
        if state.decomposed == state.told:
            np.testing.assert_allclose((state.B * state.d**2) @ state.B.T, state.C, atol=1e-12)
    assert len(times) == 1 + 60 // np.ceil(gap)


def test_the_state_keeps_its_size():
    es = CMAES()
    first = es.init(BOX, 1)
    later = run(es, BOX, first, sphere, 200)
    assert [(a.shape, a.dtype) for a in first] == [(a.shape, a.dtype) for a in later]


# Bounds


def test_smooth_covers_the_box_evenly_and_without_kinks():
    bounded = np.array([True, False])
    line = np.linspace(-3.0, 4.0, 700_001)
    x = np.stack([line, line], axis=1)
    z = smooth(x, bounded)
    np.testing.assert_array_equal(z[:, 1], line)
    inner = (line > EDGE) & (line < 1 - EDGE)
    np.testing.assert_allclose(z[inner, 0], line[inner], atol=1e-15)
    assert (z[:, 0].min(), z[:, 0].max()) == pytest.approx((0, 1), abs=1e-9)
    slope = np.diff(z[:, 0]) / np.diff(line)
    assert np.abs(slope).max() < 1 + 1e-6
    assert np.abs(np.diff(slope)).max() < 2e-5 / (2 * EDGE)  # no kink: the second derivative is at most 1 / (2 EDGE)
    for end, value in ((-EDGE, 0.0), (1 + EDGE, 1.0)):  # even about both ends, and therefore flat there
        steps = np.linspace(0, 0.5, 1000)[:, None] * [1.0, 0.0]
        np.testing.assert_allclose(smooth(end + steps, bounded)[:, 0], smooth(end - steps, bounded)[:, 0], atol=1e-12)
        assert smooth(np.array([end, 0.0]), bounded)[0] == pytest.approx(value, abs=1e-12)


def test_unsmooth_is_the_inverse():
    z = np.stack([np.linspace(0, 1, 1001), np.linspace(-5, 5, 1001)], axis=1)
    bounded = np.array([True, False])
    x = unsmooth(z, bounded)
    np.testing.assert_allclose(smooth(x, bounded), z, atol=1e-14)
    assert (x[0, 0], x[-1, 0]) == pytest.approx((-EDGE, 1 + EDGE))
    assert (np.diff(x[:, 0]) > 0).all()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("optimum", [(0.0, 1.0, 0.5, 0.3), (-1.0, 2.0, 0.01, 0.99), (0.0, 0.0, 0.0, 0.0)])
def test_finds_an_optimum_on_the_bounds(optimum, seed):
    es = CMAES()
    state = es.init(BOX, seed)
    for _ in range(250):
        z, state = es.ask(BOX, state)
        assert z.min() >= 0
        assert z.max() <= 1
        state = es.tell(BOX, state, z, Evaluation(-ellipsoid(z - np.array(optimum))))
    np.testing.assert_allclose(es.recommend(BOX, state), np.clip(optimum, 0, 1), atol=1e-6)


def test_bounds_cost_as_many_evaluations_as_pycmas():
    def cost(z):  # z[1] wants to follow z[0], which wants to leave the box
        return 1e4 * (z[:, 1] - z[:, 0]) ** 2 + ((z - np.array([1.2, 0.9, 0.5, 0.02])) ** 2).sum(axis=1)

    best = (1e4 + 0.9) / (1e4 + 1)  # of z[1], with z[0] = 1
    lowest = cost(np.array([[1.0, best, 0.5, 0.02]]))[0] - 1e-9 + 1e-8
    ours, theirs = [], []
    for seed in range(1, 8):
        es = CMAES()
        box = [es.init(BOX, seed)]

        def ask(es=es, box=box):
            z, box[0] = es.ask(BOX, box[0])
            return z

        def tell(z, values, es=es, box=box):
            box[0] = es.tell(BOX, box[0], z, Evaluation(-values))

        other = cma.CMAEvolutionStrategy([0.5] * 4, 12**-0.5, {"bounds": [0, 1], "verbose": -9, "seed": seed})
        ours.append(evaluations(ask, tell, lambda z: cost(z) - lowest))
        theirs.append(
            evaluations(
                lambda o=other: np.array(o.ask()),
                lambda z, f, o=other: o.tell(BOX, list(z), f),
                lambda z: cost(z) - lowest,
            )
        )
    assert np.median(ours) < 1.25 * np.median(theirs)


def test_learns_from_the_given_z_where_somebody_changed_it():
    es = CMAES(population=6)
    z, state = es.ask(BOX, es.init(BOX, 1))
    fitness = Evaluation(np.arange(6.0))
    moved = z.copy()
    moved[5] = [0.02, 0.5, 0.4, 0.999]
    after = es.tell(BOX, state, moved, fitness)
    asked = es.tell(BOX, state, z, fitness)
    expected = asked.mean + constants(4, 6).weights[0] * (unsmooth(moved[5], BOX.bounded) - state.x[5])
    np.testing.assert_allclose(after.mean, expected, atol=1e-12)


# Where pycma stops, and what tells nothing


def test_condition_number_is_limited():
    es = CMAES()
    weights = np.array([1.0, 1e9, 1e18, 1e24])
    space = Space(w=Free((4,)))
    state = es.init(space, 1)
    top = 0.0
    for _ in range(40):
        state = run(es, space, state, lambda z: ((z - 1.0) ** 2 * weights).sum(axis=1), 25)
        top = max(top, float(state.d.max() / state.d.min()) ** 2)
    assert 0.01 * CONDITION < top <= 1.001 * CONDITION


def test_steps_stay_numbers_on_a_slope_without_end():
    es = CMAES()
    free_space = Space(w=Free((3,)))
    state = run(es, free_space, es.init(free_space, 1), lambda z: z[:, 0], 1500)
    assert state.sigma * state.d.max() > 1e50
    assert all(np.isfinite(value).all() for value in state)
    assert SIGMA[0] <= state.sigma <= SIGMA[1]


def test_steps_stay_numbers_at_the_end_of_convergence():
    space = Space(w=Free((3,)))
    es = CMAES()
    for target in (0.0, 1.0):
        state = run(es, space, es.init(space, 1), lambda z, t=target: sphere(z - t), 2500)
        np.testing.assert_allclose(es.recommend(space, state), target, atol=1e-15)
        assert all(np.isfinite(value).all() for value in state)


def test_pure_noise_neither_ends_nor_explodes_the_search():
    es = CMAES(population=8)
    generator = np.random.default_rng(1)
    state = run(es, BOX, es.init(BOX, 1), lambda z: generator.normal(size=len(z)), 3000)
    assert all(np.isfinite(value).all() for value in state)


@pytest.mark.parametrize("fitness", [np.full(8, np.nan), np.full(8, 2.0)], ids=["failed", "equal"])
def test_a_generation_that_tells_nothing_only_widens_the_step_up_to_the_spread(fitness):
    es = CMAES(population=8, sigma=0.01)
    first = state = es.init(BOX, 1)
    sigmas = []
    for _ in range(40):
        z, state = es.ask(BOX, state)
        state = es.tell(BOX, state, z, Evaluation(fitness))
        sigmas.append(float(state.sigma))
    np.testing.assert_array_equal(state.mean, first.mean)
    np.testing.assert_array_equal(state.C, first.C)
    c = constants(4, 8)
    assert sigmas[0] == pytest.approx(0.01 * np.exp(0.2 + c.c_sigma / c.d_sigma))
    assert 1.0 <= sigmas[-1] < np.exp(0.2 + c.c_sigma / c.d_sigma)


def test_a_step_too_small_to_move_anything_recovers():
    space = Space(w=Free((3,), mean=0.0))
    es = CMAES()
    state = es.init(space, 1)._replace(mean=np.ones(3), sigma=np.array(1e-30))
    state = run(es, space, state, sphere, 400)
    assert sphere(es.recommend(space, state)[None])[0] < 1e-9


def test_ranks_among_copies_of_one_point_are_noise_and_widen_the_step():
    space = Space(w=Free((3,)))
    es = CMAES(population=8)
    state = es.init(space, 1)._replace(mean=np.ones(3), sigma=np.array(1e-30))
    z, state = es.ask(space, state)
    after = es.tell(space, state, z, Evaluation(np.arange(8.0)))
    np.testing.assert_array_equal(z, 1.0)
    assert after.sigma > state.sigma
    np.testing.assert_array_equal(after.C, state.C)


def test_failures_rank_last():
    es = CMAES(population=6)
    z, state = es.ask(BOX, es.init(BOX, 1))
    failed = es.tell(BOX, state, z, Evaluation(np.array([-1.0, np.nan, -1.0, -3.0, -2.0, np.nan])))
    last = es.tell(BOX, state, z, Evaluation(np.array([-1.0, -9.0, -1.0, -3.0, -2.0, -9.0])))
    for a, b in zip(failed, last, strict=True):
        np.testing.assert_array_equal(a, b)
    some = es.tell(BOX, state, z, Evaluation(np.array([1.0, np.nan, 1.0, 1.0, 1.0, np.nan])))
    assert some.told == 1  # that some failed is news, although all others are equal


def test_a_huge_scale_of_the_covariance_moves_to_sigma():
    es = CMAES()
    state = es.init(BOX, 1)
    big = decomposed(state._replace(C=1e12 * np.diag([1.0, 2.0, 3.0, 4.0]), sigma=np.array(1e-6), p_c=np.full(4, 1e6)))
    assert float(big.C.max()) == pytest.approx(1.0)
    np.testing.assert_allclose(big.sigma**2 * big.C.diagonal(), [1, 2, 3, 4])
    np.testing.assert_allclose(big.sigma * big.p_c, np.ones(4))


def test_with_noise_the_mean_is_better_than_the_best_single_evaluation():
    space = Space(w=Free((5,)))
    es = CMAES(population=100)
    recommended, lucky = [], []
    for seed in range(1, 9):
        generator, best = np.random.default_rng(seed), -np.inf
        state = es.init(space, seed)._replace(mean=np.full(5, 2.0))
        for _ in range(50):
            z, state = es.ask(space, state)
            fitness = -sphere(z) + generator.normal(size=100)
            if fitness.max() > best:
                best, best_z = fitness.max(), z[fitness.argmax()]
            state = es.tell(space, state, z, Evaluation(fitness))
        recommended.append(sphere(es.recommend(space, state)[None])[0])
        lucky.append(sphere(best_z[None])[0])
    assert np.mean(recommended) < 0.5 * np.mean(lucky)


# Refusals


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1}, ValueError, r"CMAES.population: expected an integer >= 2, got 1; take None"),
        ({"population": 2.5}, TypeError, "CMAES.population: expected an integer"),
        ({"sigma": 0}, ValueError, "CMAES.sigma: expected a number > 0, got 0; about 1"),
        ({"sigma": float("inf")}, ValueError, "CMAES.sigma: expected finite"),
        ({"sigma": "1"}, TypeError, "CMAES.sigma: expected a number"),
        ({"active": 1}, TypeError, "CMAES.active: expected true or false, got 1"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        CMAES(**fields)


def test_wrong_evaluations_are_refused():
    es = CMAES(population=6)
    z, state = es.ask(BOX, es.init(BOX, 1))
    with pytest.raises(ValueError, match=r"CMAES: fitness: expected one objective, got \(6, 2\)"):
        es.tell(BOX, state, z, Evaluation(np.zeros((6, 2))))
    with pytest.raises(ValueError, match=r"CMAES: z: expected an array of shape \(6, 4\), got shape \(5, 4\)"):
        es.tell(BOX, state, z[:5], Evaluation(np.zeros(5)))
