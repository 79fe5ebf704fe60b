"""OpenAI-ES: its estimate of the gradient, its step rules, its bounds; what it reaches with which budget."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from stepping import with_step

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.shaping import centered_ranks, first_moment, z_score
from l2l_snn.seeding import generator_of
from optimizers.openai_es import OpenES

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((3,)))
FREE = Space(w=Free((5,)))
PLAIN = {"rule": "sgd", "momentum": 0.0}
VARIANTS = [
    OpenES(),
    with_step(OpenES, rule="sgd", nesterov=True),
    with_step(OpenES, rule="rmsprop", learning_rate=0.01, b2=0.9),
    with_step(OpenES, **PLAIN, learning_rate=0.01, shaping="z_score"),
    with_step(OpenES, nesterov=True, shaping="raw", sigma_decay=0.99, weight_decay=0.001),
    OpenES(population=7, antithetic=False),
    OpenES(population=2),
]


def run(es, space, function, generations, seed=1):
    """Return the state after some generations of maximising function: (P, D) z -> (P,) fitness."""
    state = es.init(space, seed)
    for _ in range(generations):
        z, state = es.ask(space, state)
        state = es.tell(space, state, z, Evaluation(function(z)))
    return state


@pytest.mark.parametrize("es", VARIANTS, ids=str)
def test_keeps_the_contract(es):
    require(check_optimizer(es, beats_random=es.population != 7))  # an unmirrored seven has no such margin


# The sample


def test_a_generation_mirrors_its_first_half_around_the_mean():
    es = OpenES(population=4000, sigma=0.2)
    state = es.init(SPACE, 1)
    z, later = es.ask(SPACE, state)
    np.testing.assert_allclose(z[:2000] + z[2000:], np.tile(2 * state.mean, (2000, 1)), atol=1e-14)
    np.testing.assert_allclose(z[:2000].std(axis=0), 0.2 * SPACE.scale, rtol=0.1)
    assert not np.isin(es.ask(SPACE, later)[0], z).any()


def test_without_mirroring_every_individual_has_its_own_noise():
    es = OpenES(population=5, sigma=0.3, antithetic=False)
    state = es.init(FREE, 1)
    np.testing.assert_allclose(
        es.ask(FREE, state)[0], 0.3 * generator_of(state.words)[0].standard_normal((5, 5)), rtol=1e-14
    )


# Fitness shaping


def test_ranks_are_scipys_with_ties():
    fitness = np.random.default_rng(1).integers(0, 9, 40).astype(float)
    np.testing.assert_allclose(centered_ranks(fitness), (stats.rankdata(fitness) - 1) / 39 - 0.5, atol=1e-15)


def test_z_scores_are_scipys_and_survive_huge_and_equal_fitness():
    fitness = np.random.default_rng(1).normal(3, 5, 40)
    np.testing.assert_allclose(z_score(fitness), stats.zscore(fitness), rtol=1e-12)
    np.testing.assert_allclose(z_score(np.array([-1.7e308, 1.7e308])), [-1, 1])
    np.testing.assert_array_equal(z_score(np.full(7, 0.1)), np.zeros(7))


# The step


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 200), (3, 40_000)])
def test_the_sum_by_parts_is_that_of_the_whole(shape):
    generator = np.random.default_rng(1)
    z, mean, weights = generator.normal(size=shape), generator.normal(size=shape[1]), generator.normal(size=shape[0])
    np.testing.assert_allclose(first_moment(z, mean, weights), weights @ (z - mean), atol=1e-11)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"rule": "sgd"}, optax.sgd(0.05, momentum=0.9)),
        ({"rule": "adam"}, optax.adam(0.05)),
        (
            {"rule": "rmsprop", "b2": 0.8, "nesterov": True},
            optax.rmsprop(0.05, 0.8, momentum=0.9, nesterov=True),
        ),
    ],
    ids=["sgd", "adam", "rmsprop"],
)
def test_a_step_is_evosaxs_from_the_same_sample(fields, rule):
    from evosax.algorithms import Open_ES

    es = with_step(OpenES, population=10, sigma=0.3, **fields)
    generator = np.random.default_rng(1)
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        theirs = Open_ES(10, jnp.zeros(5), optimizer=rule, std_schedule=optax.constant_schedule(0.3))
        params, key = theirs.default_params, jax.random.key(0)
        other = theirs.init(key, jnp.zeros(5), params)
        state = es.init(FREE, 1)
        for _ in range(4):
            z, state = es.ask(FREE, state)
            fitness = generator.integers(0, 6, 10).astype(float)  # with ties
            state = es.tell(FREE, state, z, Evaluation(fitness))
            other, _ = theirs.tell(key, z, -fitness, other, params)
            np.testing.assert_allclose(state.mean, np.asarray(other.mean), rtol=1e-9, atol=1e-12)


def test_adam_is_kingma_and_bas_on_the_paper_s_gradient():
    es = with_step(OpenES, population=6, sigma=0.2, learning_rate=0.03, b1=0.8, b2=0.95, shaping="raw")
    state = es.init(SPACE, 1)
    center, scale = SPACE.center, SPACE.scale
    y, first, second = np.zeros(5), np.zeros(5), np.zeros(5)
    for t in range(1, 5):
        z, state = es.ask(SPACE, state)
        fitness = np.sin(np.arange(6.0) * t)
        noise = ((z - center) / scale - y) / 0.2
        g = sum(f * e for f, e in zip(fitness, noise, strict=True)) / (6 * 0.2)  # Algorithm 1
        first, second = 0.8 * first + 0.2 * g, 0.95 * second + 0.05 * g**2
        y = y + 0.03 * (first / (1 - 0.8**t)) / (np.sqrt(second / (1 - 0.95**t)) + 1e-8)
        state = es.tell(SPACE, state, z, Evaluation(fitness))
        np.testing.assert_allclose((state.mean - center) / scale, y, rtol=1e-9, atol=1e-12)


def test_the_estimate_is_the_gradient_of_a_linear_fitness():
    slope = np.array([0.03, -0.02, 1.0, -2.0, 0.5])
    es = with_step(OpenES, **PLAIN, population=100_000, learning_rate=0.01, shaping="raw")
    state = run(es, SPACE, lambda z: z @ slope, 1)
    scale = SPACE.scale
    moved = (state.mean - SPACE.center) / scale
    np.testing.assert_allclose(moved, 0.01 * slope * scale, atol=0.03 * 0.01 * np.linalg.norm(slope * scale))


def test_weight_decay_shrinks_the_mean_geometrically_towards_the_middle():
    es = with_step(OpenES, **PLAIN, learning_rate=0.1, weight_decay=0.5)
    center, scale = SPACE.center, SPACE.scale
    state = es.init(SPACE, 1)._replace(mean=center + scale)
    for _ in range(3):
        z, state = es.ask(SPACE, state)
        state = es.tell(SPACE, state, z, Evaluation(np.zeros(32)))
    np.testing.assert_allclose((state.mean - center) / scale, 0.95**3)


def test_sigma_decays_to_its_limit():
    state = run(OpenES(sigma=0.2, sigma_decay=0.5, sigma_limit=0.03), FREE, lambda z: z[:, 0], 2)
    assert state.sigma == pytest.approx(0.05)
    state = run(OpenES(sigma=0.2, sigma_decay=0.5, sigma_limit=0.03), FREE, lambda z: z[:, 0], 50)
    assert state.sigma == 0.03


def test_a_generation_that_failed_altogether_teaches_nothing():
    for shaping in ("centered_ranks", "z_score", "raw"):
        es = OpenES(shaping=shaping, antithetic=False)
        state = run(es, FREE, lambda z: np.full(32, np.nan), 1)
        np.testing.assert_array_equal(state.mean, np.zeros(5))


def test_is_float64_and_leaves_jax_as_it_was():
    state = run(OpenES(), FREE, lambda z: z[:, 0], 2)
    assert {state.mean.dtype, state.memory.dtype, state.sigma.dtype} == {np.dtype(np.float64)}
    assert jnp.zeros(1).dtype == np.float32
    assert np.any(state.mean != state.mean.astype(np.float32))


def test_the_state_does_not_grow():
    shapes = [value.shape for value in run(OpenES(), SPACE, lambda z: z[:, 0], 1)]
    assert [value.shape for value in run(OpenES(), SPACE, lambda z: z[:, 0], 30)] == shapes


def test_an_optimum_beyond_a_bound_is_met_at_the_bound():
    space = Space(x=Real(0, 1, shape=(3,)))
    es = with_step(OpenES, learning_rate=0.02)
    state = run(es, space, lambda z: z[:, 0] - z[:, 1] - 9 * (z[:, 2] - 0.4) ** 2, 300)
    np.testing.assert_allclose(es.recommend(space, state), [1, 0, 0.4], atol=0.02)
    z, _ = es.ask(space, state)
    assert z.min() >= 0
    assert z.max() <= 1


# Probes: what is reached with 32 individuals


def test_sphere_under_noise():
    noise = np.random.default_rng(1)
    state = run(OpenES(), FREE, lambda z: -((z - 1) ** 2).sum(axis=1) + noise.normal(0, 0.1, len(z)), 300)
    assert ((state.mean - 1) ** 2).sum() < 0.02


def test_adam_takes_an_ill_conditioned_ellipsoid():
    weights = np.logspace(0, 3, 10)
    state = run(with_step(OpenES, learning_rate=0.02), Space(w=Free((10,))), lambda z: -((z - 1) ** 2) @ weights, 600)
    assert ((state.mean - 1) ** 2) @ weights < 0.05 * weights.sum()  # from 1.0 of it
    assert np.abs(state.mean - 1).max() < 0.6


def test_rosenbrock_valley_is_entered_and_followed():
    def rosenbrock(z):
        return -(100 * (z[:, 1:] - z[:, :-1] ** 2) ** 2 + (1 - z[:, :-1]) ** 2).sum(axis=1)

    state = run(with_step(OpenES, learning_rate=0.02, sigma=0.05), Space(w=Free((2,))), rosenbrock, 1000)
    assert rosenbrock(state.mean[None])[0] > -0.05  # from -1


# Refusals


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1, "antithetic": False}, ValueError, r"OpenES.population: expected an integer >= 2, got 1"),
        ({"population": 9}, ValueError, "OpenES.population: expected an even number with antithetic, got 9; add one"),
        ({"population": 8.0}, TypeError, "population: expected an integer"),
        ({"sigma": 0.0}, ValueError, "OpenES.sigma: expected a number > 0, got 0"),
        ({"sigma": float("inf")}, ValueError, "OpenES.sigma: expected finite"),
        ({"sigma_decay": 1.1}, ValueError, r"sigma_decay: expected a number in \(0, 1\], got 1.1"),
        ({"sigma_limit": 0.5}, ValueError, r"sigma_limit: expected at most sigma \(0.1\), got 0.5"),
        ({"shaping": "centred_ranks"}, ValueError, "shaping: .* did you mean 'centered_ranks'"),
        ({"rule": "adm"}, ValueError, "rule: .* did you mean 'adam'"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate"),
        ({"momentum": 1.0}, ValueError, "StepRule.momentum: expected a number below 1"),
        ({"b2": -0.1}, ValueError, "StepRule.b2"),
        ({"rule": "sgd", "momentum": 0.0, "nesterov": True}, ValueError, "StepRule.nesterov: .*; set momentum"),
        ({"weight_decay": -1}, ValueError, "weight_decay"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        with_step(OpenES, **fields)


def test_another_shape_is_refused():
    es = OpenES()
    z, state = es.ask(FREE, es.init(FREE, 1))
    with pytest.raises(ValueError, match=r"expected one objective, got \(32, 2\)"):
        es.tell(FREE, state, z, Evaluation(np.zeros((32, 2))))
    with pytest.raises(ValueError, match=r"OpenES: z: expected an array of shape \(32, 5\)"):
        es.tell(FREE, state, z[:31], Evaluation(np.zeros(31)))
    with pytest.raises(ValueError, match="OpenES: fitness"):
        es.tell(FREE, state, z, Evaluation(np.zeros(31)))
