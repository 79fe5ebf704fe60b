"""xNES: its update is the dense natural gradient, it doesn't care about rotation, it stays regular."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import special_ortho_group

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.shaping import shaped, utilities
from l2l_snn.seeding import generator_of
from optimizers.xnes import LARGEST, XNES, exponential

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((3,)))
FREE = Space(w=Free((5,)))
VARIANTS = [XNES(), XNES(population=2), XNES(population=33, sigma=0.5), XNES(sigma_rate=0.1, shape_rate=0.02)]


def run(xnes, space, function, generations, seed=1):
    """Return the state after some generations of maximising function: (P, D) z -> (P,) fitness."""
    state = xnes.init(space, seed)
    for _ in range(generations):
        z, state = xnes.ask(space, state)
        state = xnes.tell(space, state, z, Evaluation(function(z)))
    return state


def covariance(space, state):
    """Return the (D, D) covariance of the next sample's z."""
    A = state.sigma * space.scale[:, None] * state.B
    return A @ A.T


@pytest.mark.parametrize("xnes", VARIANTS, ids=str)
def test_keeps_the_contract(xnes):
    require(check_optimizer(xnes, beats_random=xnes.population != 2))  # two can't win, but must not fail either


# The update


def test_exponential_is_scipys_and_comes_with_its_inverse():
    matrix = np.random.default_rng(1).normal(size=(6, 6))
    matrix = matrix + matrix.T
    np.testing.assert_allclose(exponential(matrix)[0], expm(matrix), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(exponential(matrix)[1], expm(-matrix), rtol=1e-9, atol=1e-12)


def test_utilities_are_those_of_the_formula_shared_by_equals():
    raw = [max(0.0, np.log(10 / 2 + 1) - np.log(k)) for k in range(1, 11)]
    u = utilities(10)
    np.testing.assert_allclose(u, [r / sum(raw) - 0.1 for r in raw], rtol=1e-12)
    fitness = np.array([3.0, 3.0, 1.0, 9.0, 0.0, 0.0, 0.0, -1.0, 8.0, 2.0])
    low = u[6:9].mean()
    expected = [u[2:4].mean(), u[2:4].mean(), u[5], u[0], low, low, low, u[9], u[1], u[4]]
    np.testing.assert_allclose(shaped(fitness, u), expected)


def test_steps_are_the_dense_natural_gradient_s():
    # Glasmachers et al. 2010, in one matrix: z = mean + A s, A <- A expm(eta / 2 sum_k u_k (s_k s_k^T - I)); the
    # published rates of size and shape are one, so it needn't be split
    xnes = XNES(population=12)
    state = xnes.init(FREE, 1)
    mean, A = np.zeros(5), np.eye(5)
    eta = (9 + 3 * np.log(5)) / (5 * 5 * np.sqrt(5))
    for generation in range(5):
        z, state = xnes.ask(FREE, state)
        fitness = np.cos(np.arange(12.0) * (generation + 1))
        gradient, natural = np.zeros(5), np.zeros((5, 5))
        for rank, i in enumerate(np.argsort(-fitness)):
            s = np.linalg.inv(A) @ (z[i] - mean)
            gradient += utilities(12)[rank] * s
            natural += utilities(12)[rank] * (np.outer(s, s) - np.eye(5))
        mean, A = mean + A @ gradient, A @ expm(eta / 2 * natural)
        state = xnes.tell(FREE, state, z, Evaluation(fitness))
        np.testing.assert_allclose(state.mean, mean, rtol=1e-8)
        np.testing.assert_allclose(state.sigma * state.B, A, rtol=1e-8, atol=1e-12)
        assert np.linalg.det(state.B) == pytest.approx(1, abs=1e-9)
    assert np.abs(state.B - state.B.T).max() > 1e-3  # B is no longer symmetric, so its side matters


def test_size_and_shape_learn_at_their_own_rates():
    z, state = XNES().ask(FREE, XNES().init(FREE, 1))
    evaluation = Evaluation(-((z - 1) ** 2).sum(axis=1))
    small = XNES(sigma_rate=0.0, shape_rate=0.3).tell(FREE, state, z, evaluation)
    assert small.sigma == 1
    assert np.abs(small.B - np.eye(5)).max() > 0.01
    round_ = XNES(sigma_rate=0.3, shape_rate=0.0).tell(FREE, state, z, evaluation)
    assert round_.sigma != 1
    np.testing.assert_allclose(round_.B, np.eye(5), atol=1e-14)


def test_first_mean_and_sigma_are_evosaxs():
    # its B takes the exponential entry by entry, which isn't the matrix's: no comparison beyond the first step
    from evosax.algorithms import xNES

    xnes = XNES(population=12)
    z, state = xnes.ask(FREE, xnes.init(FREE, 1))
    fitness = np.random.default_rng(1).normal(size=12)
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        theirs = xNES(12, jnp.zeros(5))
        params, key = theirs.default_params, jax.random.key(0)
        other = theirs.init(key, jnp.zeros(5), params).replace(z=jnp.asarray(z))
        other, _ = theirs.tell(key, z, -fitness, other, params)
    state = xnes.tell(FREE, state, z, Evaluation(fitness))
    np.testing.assert_allclose(state.mean, np.asarray(other.mean), rtol=1e-9)
    np.testing.assert_allclose(state.sigma, np.asarray(other.std), rtol=1e-9)


def test_the_sample_has_the_state_s_covariance():
    xnes = XNES(population=100_000)
    state = run(XNES(), FREE, lambda z: -(z**2) @ np.logspace(0, 3, 5), 60)
    z, _ = xnes.ask(FREE, state)
    expected = covariance(FREE, state)
    deviations = np.sqrt(np.diag(expected))
    np.testing.assert_allclose(
        np.cov(z.T) / np.outer(deviations, deviations), expected / np.outer(deviations, deviations), atol=0.03
    )
    s = generator_of(state.words)[0].standard_normal((100_000, 5))
    np.testing.assert_allclose(z[:3], state.mean + state.sigma * (state.B @ s[:3].T).T, rtol=1e-9)


# What it does


def test_a_rotated_sample_gives_the_rotated_distribution():
    xnes = XNES(population=12)
    R = special_ortho_group.rvs(5, random_state=1)
    z, state = xnes.ask(FREE, xnes.init(FREE, 1))
    evaluation = Evaluation(-((z - 1) ** 2) @ np.arange(1.0, 6))
    plain, turned = xnes.tell(FREE, state, z, evaluation), xnes.tell(FREE, state, z @ R.T, evaluation)
    np.testing.assert_allclose(turned.mean, R @ plain.mean, rtol=1e-9)
    np.testing.assert_allclose(covariance(FREE, turned), R @ covariance(FREE, plain) @ R.T, rtol=1e-9)


def test_rotated_ellipsoid_of_condition_a_million():
    R = special_ortho_group.rvs(5, random_state=2)
    weights = np.logspace(0, 6, 5)
    state = run(XNES(), FREE, lambda z: -(((z - 1) @ R.T) ** 2) @ weights, 500)  # 4,000 evaluations
    assert (((state.mean - 1) @ R.T) ** 2) @ weights < 1e-8
    axes = np.linalg.eigvalsh(covariance(FREE, state))
    assert 1e5 < axes[-1] / axes[0] < 1e8  # it has learnt the inverse Hessian's


def test_rosenbrock_is_solved():
    def rosenbrock(z):
        return -(100 * (z[:, 1:] - z[:, :-1] ** 2) ** 2 + (1 - z[:, :-1]) ** 2).sum(axis=1)

    state = run(XNES(sigma=0.3), FREE, rosenbrock, 500)  # 4,000 evaluations
    assert rosenbrock(state.mean[None])[0] > -1e-8


def test_sigma_grows_on_a_linear_function_and_stays_finite():
    state = run(XNES(), FREE, lambda z: z.sum(axis=1), 300)
    assert np.sqrt(np.ones(5) @ covariance(FREE, state) @ np.ones(5)) > 1e5  # along the slope
    state = run(XNES(), Space(w=Free((2,))), lambda z: z[:, 0], 3000)
    assert np.isfinite(state.mean).all()
    assert np.isfinite(np.linalg.inv(state.B)).all()
    assert state.sigma <= 1e20


@pytest.mark.parametrize("population", [2, 3])
def test_too_few_individuals_leave_it_regular(population):
    state = run(XNES(population=population), FREE, lambda z: -(z**2).sum(axis=1), 2000)
    assert np.linalg.cond(state.B) < 1e13
    assert np.isfinite(state.mean).all()


def test_converged_to_the_last_bit_it_stays():
    state = run(XNES(), Space(w=Free((2,))), lambda z: -((z - 1 / 3) ** 2).sum(axis=1), 3000)
    np.testing.assert_allclose(state.mean, 1 / 3, rtol=1e-7)  # the fitness itself can't tell closer


def test_an_optimum_beyond_a_bound_is_met_at_the_bound():
    space = Space(x=Real(0, 1, shape=(3,)))
    xnes = XNES(population=20)
    for seed in range(3):
        state = run(xnes, space, lambda z: z[:, 0] - z[:, 1] - (z[:, 2] - 0.4) ** 2, 300, seed)
        np.testing.assert_allclose(xnes.recommend(space, state), [1, 0, 0.4], atol=1e-4)
    z, _ = xnes.ask(space, state)
    assert z.min() >= 0
    assert z.max() <= 1


def test_learns_from_other_z_than_it_asked_for():
    xnes = XNES(population=12)
    z, state = xnes.ask(FREE, xnes.init(FREE, 1))
    z[3] *= 2
    moved = xnes.tell(FREE, state, z, Evaluation(np.arange(12.0)))
    np.testing.assert_allclose(moved.mean, utilities(12)[::-1] @ z, rtol=1e-9)


def test_learns_from_what_was_drawn_where_a_bound_has_clipped_it():
    xnes = XNES(population=12, sigma=3.0)
    z, state = xnes.ask(SPACE, xnes.init(SPACE, 1))
    assert np.isin(z[:, :2], (0, 1)).any()
    center, scale = SPACE.center, SPACE.scale
    s = generator_of(xnes.init(SPACE, 1).words)[0].standard_normal((12, 5))
    moved = xnes.tell(SPACE, state, z, Evaluation(np.arange(12.0)))
    np.testing.assert_allclose(moved.mean, center + 3 * scale * (utilities(12)[::-1] @ s), rtol=1e-9)


def test_noise_does_not_lead_it_astray():
    noise = np.random.default_rng(1)
    xnes = XNES(population=60)
    state = run(xnes, FREE, lambda z: -((z - 1) ** 2).sum(axis=1) + noise.normal(0, 0.3, len(z)), 300)
    assert ((state.mean - 1) ** 2).sum() < 0.1


def test_failures_all_over_change_nothing():
    start = XNES().init(SPACE, 1)
    state = run(XNES(), SPACE, lambda z: np.full(len(z), np.nan), 1)
    np.testing.assert_allclose(state.mean, start.mean, atol=1e-15)
    np.testing.assert_allclose(covariance(SPACE, state), covariance(SPACE, start), atol=1e-14)


# Refusals


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1}, ValueError, "XNES.population: expected an integer >= 2, got 1; utilities need"),
        ({"sigma": 0}, ValueError, "XNES.sigma: expected a number > 0, got 0"),
        ({"sigma": float("nan")}, ValueError, "XNES.sigma"),
        ({"mean_rate": 0}, ValueError, "XNES.mean_rate: expected a number > 0"),
        ({"sigma_rate": -0.1}, ValueError, "XNES.sigma_rate: expected a number >= 0"),
        ({"shape_rate": "a"}, TypeError, "XNES.shape_rate: expected a number"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        XNES(**fields)


def test_many_coordinates_are_refused():
    with pytest.raises(ValueError, match=rf"XNES: space: expected at most {LARGEST} coordinates, got .*; take SNES"):
        XNES().init(Space(w=Free((LARGEST + 1,))), 1)


def test_another_shape_is_refused():
    xnes = XNES(population=8)
    z, state = xnes.ask(FREE, xnes.init(FREE, 1))
    with pytest.raises(ValueError, match=r"expected one objective, got \(8, 2\)"):
        xnes.tell(FREE, state, z, Evaluation(np.zeros((8, 2))))
    with pytest.raises(ValueError, match=r"XNES: z: expected an array of shape \(8, 5\)"):
        xnes.tell(FREE, state, z[:7], Evaluation(np.zeros(7)))
