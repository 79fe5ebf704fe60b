"""SNES: its update equals the published formula, its invariances hold, it converges at a linear rate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.shaping import shaped, utilities
from l2l_snn.seeding import generator_of
from optimizers.snes import SNES, WIDEST

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((3,)))
FREE = Space(w=Free((10,)))
VARIANTS = [SNES(), SNES(population=2), SNES(population=33, sigma=0.5), SNES(sigma_rate=0.1, mean_rate=0.8)]


def run(snes, space, function, generations, seed=1):
    """Return the states after each generation of maximising function: (P, D) z -> (P,) fitness."""
    states = [snes.init(space, seed)]
    for _ in range(generations):
        z, state = snes.ask(space, states[-1])
        states.append(snes.tell(space, state, z, Evaluation(function(z))))
    return states


@pytest.mark.parametrize("snes", VARIANTS, ids=str)
def test_keeps_the_contract(snes):
    require(check_optimizer(snes, beats_random=snes.population != 2))  # two can't win, but must not fail either


# Defaults


@pytest.mark.parametrize(("size", "population"), [(1, 4), (2, 6), (5, 8), (10, 10), (20, 12), (100, 17)])
def test_the_default_population_is_the_published_one(size, population):
    space = Space(w=Free((size,)))
    snes = SNES()
    assert snes.ask(space, snes.init(space, 1))[0].shape == (population, size)


def test_utilities_are_those_of_the_formula_and_sum_to_zero():
    raw = [max(0.0, np.log(10 / 2 + 1) - np.log(k)) for k in range(1, 11)]
    np.testing.assert_allclose(utilities(10), [r / sum(raw) - 0.1 for r in raw], rtol=1e-12)
    for individuals in (2, 3, 8, 1001):
        assert utilities(individuals).sum() == pytest.approx(0, abs=1e-12)
        assert (np.diff(utilities(individuals)) <= 0).all()


def test_equal_fitness_shares_utility_and_order_does_not_matter():
    fitness = np.array([5.0, 2.0, 5.0, 9.0, -1.0, 2.0, 2.0])
    u = utilities(7)
    expected = [u[1:3].mean(), u[3:6].mean(), u[1:3].mean(), u[0], u[6], u[3:6].mean(), u[3:6].mean()]
    np.testing.assert_allclose(shaped(fitness, u), expected)
    np.testing.assert_allclose(shaped(fitness[::-1], u), expected[::-1])
    np.testing.assert_allclose(shaped(np.zeros(7), u), 0, atol=1e-15)


# The update


def test_a_step_is_the_published_formula():
    snes = SNES(population=9)
    state = snes.init(SPACE, 1)
    mean, sigma = SPACE.center, SPACE.scale
    rate = (3 + np.log(5)) / (5 * np.sqrt(5))
    for generation in range(3):
        z, state = snes.ask(SPACE, state)
        fitness = np.cos(np.arange(9.0) * (generation + 1))
        best_first = np.argsort(-fitness)
        gradient_mean, gradient_sigma = np.zeros(5), np.zeros(5)
        for rank, i in enumerate(best_first):
            s = (z[i] - mean) / sigma
            gradient_mean += utilities(9)[rank] * s
            gradient_sigma += utilities(9)[rank] * (s**2 - 1)
        mean, sigma = mean + sigma * gradient_mean, sigma * np.exp(rate / 2 * gradient_sigma)
        sigma[:2] = np.minimum(sigma[:2], 1)
        mean[:2] = np.clip(mean[:2], 0, 1)
        state = snes.tell(SPACE, state, z, Evaluation(fitness))
        np.testing.assert_allclose(state.mean, mean, rtol=1e-10)
        np.testing.assert_allclose(state.sigma, sigma, rtol=1e-10)


def test_steps_are_evosaxs_from_the_same_sample():
    from evosax.algorithms import SNES as Theirs

    snes = SNES(population=12)
    generator = np.random.default_rng(1)
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        theirs = Theirs(12, jnp.zeros(10))
        params, key = theirs.default_params, jax.random.key(0)
        other = theirs.init(key, jnp.zeros(10), params)
        state = snes.init(FREE, 1)
        for _ in range(5):
            z, state = snes.ask(FREE, state)
            fitness = generator.normal(size=12)
            state = snes.tell(FREE, state, z, Evaluation(fitness))
            other, _ = theirs.tell(key, z, -fitness, other, params)
            np.testing.assert_allclose(state.mean, np.asarray(other.mean), rtol=1e-9)
            np.testing.assert_allclose(state.sigma, np.asarray(other.std), rtol=1e-9)


def test_the_sample_is_normal_with_the_state_s_mean_and_sigma():
    snes = SNES(population=6)
    state = run(snes, FREE, lambda z: -(z**2).sum(axis=1), 3)[-1]
    expected = state.mean + state.sigma * generator_of(state.words)[0].standard_normal((6, 10))
    np.testing.assert_allclose(snes.ask(FREE, state)[0], expected, rtol=1e-12)


def test_only_the_order_of_fitness_counts():
    plain = run(SNES(), FREE, lambda z: -(z**2).sum(axis=1), 20)[-1]
    bent = run(SNES(), FREE, lambda z: np.exp(-((z**2).sum(axis=1) ** 0.3)), 20)[-1]
    np.testing.assert_array_equal(plain.mean, bent.mean)
    np.testing.assert_array_equal(plain.sigma, bent.sigma)


def test_a_free_coordinate_in_other_units_is_searched_alike():
    weights = np.logspace(-3, 3, 10)
    target = np.arange(10.0)
    plain = run(SNES(), FREE, lambda z: -((z - target) ** 2).sum(axis=1), 30)[-1]
    start = SNES().init(FREE, 1)
    state = start._replace(sigma=start.sigma * weights)
    for _ in range(30):
        z, state = SNES().ask(FREE, state)
        state = SNES().tell(FREE, state, z, Evaluation(-((z / weights - target) ** 2).sum(axis=1)))
    np.testing.assert_allclose(state.mean / weights, plain.mean, rtol=1e-9)


# What it does


def test_sigma_grows_on_a_linear_function_and_stays_finite():
    states = run(SNES(), FREE, lambda z: z.sum(axis=1), 300)
    ratio = np.log(states[300].sigma / states[0].sigma).mean()
    assert ratio > 3
    states = run(SNES(), Space(w=Free()), lambda z: z[:, 0], 3000)
    assert 1e19 < states[-1].sigma <= 1e20
    assert np.isfinite(states[-1].mean).all()


def test_converges_on_a_sphere_at_a_linear_rate():
    states = run(SNES(), FREE, lambda z: -((z - 1) ** 2).sum(axis=1), 600)
    log_distance = np.array([np.log10(np.linalg.norm(state.mean - 1)) for state in states])
    assert log_distance[0] - log_distance[300] > 2.5
    assert log_distance[300] - log_distance[600] > 2.5
    line = np.polyfit(np.arange(601), log_distance, 1)
    assert np.corrcoef(np.arange(601), log_distance)[0, 1] < -0.99
    assert -0.03 < line[0] < -0.007


def test_converged_to_the_last_bit_it_stays():
    state = run(SNES(), Space(w=Free((2,))), lambda z: -((z - 1 / 3) ** 2).sum(axis=1), 3000)[-1]
    np.testing.assert_allclose(state.mean, 1 / 3, rtol=1e-7)  # the fitness itself can't tell closer
    assert (state.sigma > 0).all()


def test_sigma_does_not_shrink_to_nothing():
    snes = SNES(population=8, sigma_rate=2.0)
    start = snes.init(FREE, 1)
    narrowest = FREE.scale / WIDEST
    state = start._replace(sigma=narrowest)
    z = np.arange(8.0)[:, None] * narrowest  # the nearest is the best
    np.testing.assert_array_equal(snes.tell(FREE, state, z, Evaluation(-np.arange(8.0))).sigma, narrowest)


def test_separable_ellipsoid_of_condition_a_million():
    weights = np.logspace(0, 6, 10)
    state = run(SNES(), FREE, lambda z: -((z - 1) ** 2) @ weights, 1200)[-1]  # 12,000 evaluations
    assert ((state.mean - 1) ** 2) @ weights < 1e-6


def test_noise_does_not_lead_it_astray():
    noise = np.random.default_rng(1)
    snes = SNES(population=100)
    state = run(snes, FREE, lambda z: -((z - 1) ** 2).sum(axis=1) + noise.normal(0, 0.3, len(z)), 300)[-1]
    assert ((state.mean - 1) ** 2).sum() < 0.1


def test_an_optimum_beyond_a_bound_is_met_at_the_bound():
    space = Space(x=Real(0, 1, shape=(3,)))
    snes = SNES(population=20)
    state = run(snes, space, lambda z: z[:, 0] - z[:, 1] - (z[:, 2] - 0.4) ** 2, 200)[-1]
    np.testing.assert_allclose(snes.recommend(space, state), [1, 0, 0.4], atol=1e-3)
    z, _ = snes.ask(space, state)
    assert z.min() >= 0
    assert z.max() <= 1


def test_sigma_of_a_bounded_coordinate_is_at_most_its_range():
    space = Space(x=Real(0, 1, shape=(3,)), w=Free((2,)))
    state = SNES(sigma=1e6).init(space, 1)
    np.testing.assert_allclose(state.sigma, [1, 1, 1, 1e6, 1e6])
    states = run(SNES(sigma=1e6), space, lambda z: -((z[:, :3] - 0.5) ** 2).sum(axis=1), 300)
    np.testing.assert_allclose(states[-1].mean[:3], 0.5, atol=1e-3)


def test_failures_all_over_change_nothing():
    states = run(SNES(), FREE, lambda z: np.full(len(z), np.nan), 1)
    np.testing.assert_allclose(states[1].mean, states[0].mean, atol=1e-15)
    np.testing.assert_allclose(states[1].sigma, states[0].sigma, rtol=1e-14)


# Refusals


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1}, ValueError, "SNES.population: expected an integer >= 2, got 1; utilities need"),
        ({"population": 4.5}, TypeError, "SNES.population: expected an integer"),
        ({"sigma": 0}, ValueError, "SNES.sigma: expected a number > 0, got 0"),
        ({"sigma": float("inf")}, ValueError, "SNES.sigma: expected finite"),
        ({"mean_rate": -1.0}, ValueError, "SNES.mean_rate: expected a number > 0"),
        ({"sigma_rate": -0.1}, ValueError, "SNES.sigma_rate: expected a number >= 0"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        SNES(**fields)


def test_another_shape_is_refused():
    snes = SNES(population=8)
    z, state = snes.ask(FREE, snes.init(FREE, 1))
    with pytest.raises(ValueError, match=r"expected one objective, got \(8, 2\)"):
        snes.tell(FREE, state, z, Evaluation(np.zeros((8, 2))))
    with pytest.raises(ValueError, match=r"SNES: z: expected an array of shape \(8, 10\)"):
        snes.tell(FREE, state, z[:7], Evaluation(np.zeros(7)))
    with pytest.raises(ValueError, match="SNES: fitness"):
        snes.tell(FREE, state, z, Evaluation(np.zeros(7)))
