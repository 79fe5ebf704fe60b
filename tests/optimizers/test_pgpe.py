"""PGPE: its gradients are the paper's over pairs, ClipUp steps as published, sigma learns; what it reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from stepping import with_step

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.shaping import centered_ranks, moments, z_score
from l2l_snn.search.step_rules import StepRule
from optimizers.pgpe import PGPE

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((3,)))
FREE = Space(w=Free((5,)))
VARIANTS = [
    PGPE(),
    with_step(PGPE, rule="adam", shaping="z_score"),
    with_step(PGPE, rule="sgd", learning_rate=1.0, momentum=0.0),
    PGPE(shaping="raw", baseline="moving"),
    PGPE(population=5, symmetric=False),
    PGPE(population=2),
]


def run(pgpe, space, function, generations, seed=1):
    """Return the state after some generations of maximising function: (P, D) z -> (P,) fitness."""
    state = pgpe.init(space, seed)
    for _ in range(generations):
        z, state = pgpe.ask(space, state)
        state = pgpe.tell(space, state, z, Evaluation(function(z)))
    return state


@pytest.mark.parametrize("pgpe", VARIANTS, ids=str)
def test_keeps_the_contract(pgpe):
    require(check_optimizer(pgpe, beats_random=pgpe.symmetric))  # an unmirrored five has no such margin


# Parts


def test_fitness_is_shaped_as_scipy_does():
    fitness = np.random.default_rng(1).integers(0, 9, 40).astype(float)
    np.testing.assert_allclose(centered_ranks(fitness), (stats.rankdata(fitness) - 1) / 39 - 0.5, atol=1e-15)
    np.testing.assert_allclose(z_score(fitness), stats.zscore(fitness), rtol=1e-12)
    np.testing.assert_array_equal(z_score(np.full(7, 0.1)), np.zeros(7))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (300, 200), (3, 40_000)])
def test_moments_by_parts_are_those_of_the_whole(shape):
    generator = np.random.default_rng(1)
    z, mean, weights = generator.normal(size=shape), generator.normal(size=shape[1]), generator.normal(size=shape[0])
    first, second = moments(z, mean, weights)
    np.testing.assert_allclose(first, weights @ (z - mean), atol=1e-11)
    np.testing.assert_allclose(second, weights @ (z - mean) ** 2, atol=1e-11)


def test_clipup_is_the_published_rule():
    # Toklu et al. 2020, Algorithm 1, with a step of 0.1 and a speed of at most 0.25
    generator = np.random.default_rng(1)
    rule = StepRule("clipup", learning_rate=0.1, momentum=0.9, max_speed=0.25)
    memory, velocity, clipped = rule.first_memory(4), np.zeros(4), 0
    for _ in range(30):
        g = generator.normal(0.5, 1, 4) * 10 ** generator.uniform(-3, 3)
        velocity = 0.9 * velocity + 0.1 * g / np.linalg.norm(g)
        if np.linalg.norm(velocity) > 0.25:
            velocity *= 0.25 / np.linalg.norm(velocity)
            clipped += 1
        step, memory = rule.step(g, memory, np.zeros(4))
        np.testing.assert_allclose(step, velocity, rtol=1e-9)
    assert 5 < clipped < 30
    step, _ = rule.step(np.zeros(4), memory, np.zeros(4))
    np.testing.assert_allclose(step, 0.9 * velocity, rtol=1e-9)  # no gradient: no division by 0


# The step


@pytest.mark.parametrize("baseline", ["mean", "moving"])
def test_a_step_is_the_paper_s_over_pairs(baseline):
    fields = {"rule": "sgd", "momentum": 0.0, "learning_rate": 0.3, "sigma_rate": 0.05}
    pgpe = with_step(PGPE, population=8, shaping="raw", baseline=baseline, baseline_decay=0.7, **fields)
    state = pgpe.init(SPACE, 1)
    center, scale = SPACE.center, SPACE.scale
    theta, sigma, b = np.zeros(5), np.full(5, 0.3), None
    for generation in range(4):
        z, state = pgpe.ask(SPACE, state)
        rewards = np.sin(np.arange(8.0) * (generation + 2)) + 2 * generation
        b = rewards.mean() if b is None or baseline == "mean" else 0.7 * b + 0.3 * rewards.mean()
        dtheta, dsigma = np.zeros(5), np.zeros(5)
        for pair in range(4):
            epsilon = (z[pair] - center) / scale - theta
            plus, minus = rewards[pair], rewards[pair + 4]
            dtheta += epsilon * (plus - minus) / 2 / 4
            dsigma += ((plus + minus) / 2 - b) * (epsilon**2 - sigma**2) / sigma / 4
        theta = theta + 0.3 * dtheta
        sigma = sigma + np.clip(0.05 * dsigma, -0.2 * sigma, 0.2 * sigma)
        state = pgpe.tell(SPACE, state, z, Evaluation(rewards))
        # with a baseline that isn't the mean, rounding alone tells the sums over all from those over pairs
        np.testing.assert_allclose((state.mean - center) / scale, theta, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(state.sigma, sigma, rtol=1e-9)
    assert np.ptp(state.sigma) > 0.01


def test_steps_are_evosaxs_from_the_same_sample():
    import warnings

    from evosax.algorithms import PGPE as Theirs

    pgpe = with_step(PGPE, population=12, sigma=0.4, learning_rate=0.01, max_speed=0.02)
    generator = np.random.default_rng(1)
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # evosax calls an older name of Optax
        theirs = Theirs(12, jnp.zeros(5))  # its default rule is this ClipUp
        params, key = theirs.default_params.replace(std_init=0.4), jax.random.key(0)
        other = theirs.init(key, jnp.zeros(5), params)
        state = pgpe.init(FREE, 1)
        for _ in range(5):
            z, state = pgpe.ask(FREE, state)
            fitness = generator.integers(0, 9, 12).astype(float)  # with ties
            state = pgpe.tell(FREE, state, z, Evaluation(fitness))
            other, _ = theirs.tell(key, z, -fitness, other, params)
            np.testing.assert_allclose(state.mean, np.asarray(other.mean), rtol=1e-6, atol=1e-9)  # their eps is 1e-8
            np.testing.assert_allclose(state.sigma, np.asarray(other.std), rtol=1e-6)


def test_coordinates_of_another_scale_are_searched_alike():
    wide = Space(x=Real(-1e6, 1e6, shape=(2,)), w=Free((3,), scale=100.0))
    for space in (SPACE, wide):  # z is the same, whatever it decodes to
        z, _ = PGPE(population=4000).ask(space, PGPE(population=4000).init(space, 1))
        np.testing.assert_allclose(z.std(axis=0), 0.3 * space.scale, rtol=0.1)
        np.testing.assert_allclose(z[:2000] + z[2000:], np.tile(2 * space.center, (2000, 1)), atol=1e-12)


def test_sigma_changes_by_no_more_than_it_may_and_stays_above_its_limit():
    pgpe = PGPE(sigma_rate=1e3, sigma_max_change=0.1, sigma_limit=0.02)
    state = run(pgpe, FREE, lambda z: -(z**2).sum(axis=1), 1)
    np.testing.assert_allclose(np.abs(np.log(state.sigma / 0.3)) <= -np.log(0.9) + 1e-12, True)
    assert state.sigma.max() == pytest.approx(0.33) or state.sigma.min() == pytest.approx(0.27)
    state = run(pgpe, FREE, lambda z: -(z**2).sum(axis=1), 400)
    assert state.sigma.min() == 0.02


def test_sigma_shrinks_around_an_optimum_and_grows_around_a_pit():
    top = run(PGPE(), FREE, lambda z: -(z**2).sum(axis=1), 300)
    assert top.sigma.max() < 0.2
    pit = run(with_step(PGPE, learning_rate=1e-6, max_speed=2e-6), FREE, lambda z: (z**2).sum(axis=1), 300)
    assert pit.sigma.min() > 0.5


def test_the_moving_baseline_outlives_a_failed_generation():
    pgpe = PGPE(shaping="raw", baseline="moving")
    state = run(pgpe, FREE, lambda z: z[:, 0] + 100.0, 2)
    assert state.baseline == pytest.approx(100, abs=1)
    z, state = pgpe.ask(FREE, state)
    later = pgpe.tell(FREE, state, z, Evaluation(np.full(32, np.nan)))
    assert later.baseline == state.baseline
    np.testing.assert_array_equal(later.sigma, state.sigma)


def test_a_first_generation_that_failed_altogether_teaches_nothing():
    for pgpe in VARIANTS:
        state = run(pgpe, FREE, lambda z: np.full(len(z), np.nan), 1)
        np.testing.assert_array_equal(state.mean, np.zeros(5))
        np.testing.assert_array_equal(state.sigma, np.full(5, pgpe.sigma))


def test_is_float64_and_leaves_jax_as_it_was():
    state = run(PGPE(), FREE, lambda z: z[:, 0], 2)
    assert {value.dtype for value in state[1:]} == {np.dtype(np.float64)}
    assert jnp.zeros(1).dtype == np.float32
    assert np.any(state.mean != state.mean.astype(np.float32))


# Probes


def test_an_optimum_beyond_a_bound_is_met_at_the_bound():
    space = Space(x=Real(0, 1, shape=(3,)))
    pgpe = with_step(PGPE, learning_rate=0.02, max_speed=0.04)
    state = run(pgpe, space, lambda z: z[:, 0] - z[:, 1] - 9 * (z[:, 2] - 0.4) ** 2, 300)
    np.testing.assert_allclose(pgpe.recommend(space, state), [1, 0, 0.4], atol=0.05)
    z, _ = pgpe.ask(space, state)
    assert z.min() >= 0
    assert z.max() <= 1


def test_sigma_of_a_bounded_coordinate_is_at_most_its_range():
    state = PGPE(sigma=50.0).init(SPACE, 1)
    np.testing.assert_allclose(state.sigma * SPACE.scale, [1, 1, 50, 50, 50])
    state = run(PGPE(), Space(w=Free()), lambda z: np.abs(z[:, 0]), 2000)
    assert np.isfinite(state.sigma).all()


def test_sphere_under_noise():
    noise = np.random.default_rng(1)
    pgpe = with_step(PGPE, learning_rate=0.02, max_speed=0.04)
    state = run(pgpe, FREE, lambda z: -((z - 1) ** 2).sum(axis=1) + noise.normal(0, 0.1, len(z)), 300)
    assert ((state.mean - 1) ** 2).sum() < 0.05


def test_adam_takes_an_ill_conditioned_ellipsoid():
    weights = np.logspace(0, 3, 10)
    pgpe = with_step(PGPE, rule="adam", learning_rate=0.02)
    state = run(pgpe, Space(w=Free((10,))), lambda z: -((z - 1) ** 2) @ weights, 600)
    assert ((state.mean - 1) ** 2) @ weights < 0.01 * weights.sum()  # from 1.0 of it
    widest = state.sigma[0] / state.sigma[-1]
    assert widest > 2  # flat directions keep a wide sample


# Refusals


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1, "symmetric": False}, ValueError, r"PGPE.population: expected an integer >= 2, got 1"),
        ({"population": 9}, ValueError, "PGPE.population: expected an even number with symmetric, got 9; add one"),
        ({"sigma": -1}, ValueError, "PGPE.sigma: expected a number > 0, got -1"),
        ({"sigma_limit": 0.5}, ValueError, r"sigma_limit: expected at most sigma \(0.3\), got 0.5"),
        ({"sigma_rate": -0.1}, ValueError, "sigma_rate: expected a number >= 0"),
        ({"sigma_max_change": 1.0}, ValueError, "PGPE.sigma_max_change: expected a number below 1"),
        ({"baseline_decay": 1.5}, ValueError, r"baseline_decay: expected a number in \[0, 1\]"),
        ({"momentum": 1.0}, ValueError, "StepRule.momentum: expected a number below 1"),
        ({"max_speed": float("inf")}, ValueError, "max_speed: expected finite"),
        ({"learning_rate": 0}, ValueError, "learning_rate: expected a number > 0"),
        ({"shaping": "z_scores"}, ValueError, "did you mean 'z_score'"),
        ({"rule": "clip_up"}, ValueError, "did you mean 'clipup'"),
        ({"baseline": "median"}, ValueError, "PGPE.baseline: expected one of 'mean', 'moving'"),
        ({"baseline": "moving"}, ValueError, "PGPE.baseline: expected mean with centered_ranks, whose mean is 0"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        with_step(PGPE, **fields)


def test_another_shape_is_refused():
    pgpe = PGPE()
    z, state = pgpe.ask(FREE, pgpe.init(FREE, 1))
    with pytest.raises(ValueError, match=r"expected one objective, got \(32, 2\)"):
        pgpe.tell(FREE, state, z, Evaluation(np.zeros((32, 2))))
    with pytest.raises(ValueError, match=r"PGPE: z: expected an array of shape \(32, 5\)"):
        pgpe.tell(FREE, state, z[:31], Evaluation(np.zeros(31)))
    with pytest.raises(ValueError, match="PGPE: fitness"):
        pgpe.tell(FREE, state, z, Evaluation(np.zeros(31)))
