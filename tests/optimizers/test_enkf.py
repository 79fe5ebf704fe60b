"""The ensemble Kalman filter against closed forms: Bayes' posterior, least squares, the gain by plain inverses."""

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from optimizers.enkf import EnsembleKalmanFilter, kalman_step

MAP = np.array([[1.0, 0.5, -0.3], [0.2, -1.0, 0.7]])  # observations of three coordinates
TARGET = (0.8, -1.1)
SPACE = Space(w=Free((3,)))


def linear(z, matrix=MAP, target=TARGET):
    """Return the evaluation of z (P, D) with the metrics y_0, y_1, ... = matrix z."""
    y = z @ matrix.T
    return Evaluation(-((y - target) ** 2).sum(axis=1), {f"y_{k}": y[:, k] for k in range(len(matrix))})


def run(enkf, space, evaluate, generations, seed=1):
    state = enkf.init(space, seed)
    for _ in range(generations):
        z, state = enkf.ask(space, state)
        state = enkf.tell(space, state, z, evaluate(z))
    return state


@pytest.mark.parametrize(
    "enkf",
    [
        EnsembleKalmanFilter(),
        EnsembleKalmanFilter(population=7, targets=0.0, perturb=False),
        EnsembleKalmanFilter(repetitions=3, jitter=0.05, replaced=8, gamma=0.02),
        EnsembleKalmanFilter(population=3, jitter=0.1),
    ],
    ids=str,
)
def test_keeps_the_contract(enkf):
    require(check_optimizer(enkf, beats_random=enkf.population > 3))  # three can't win, but must not fail either


def test_keeps_the_contract_with_metrics_as_observations():
    enkf = EnsembleKalmanFilter(observations=("x0", "x1"), targets=(0.3, -0.5), gamma=(0.1, 0.2), repetitions=2)
    require(check_optimizer(enkf, beats_random=False))  # the other coordinates of the sphere aren't observed


# Closed forms


def by_inverses(deviation, residual, moved):
    """Return the same step with the textbook's gain, C_zg (C_gg + I)^-1."""
    n = len(deviation)
    cross, own = moved.T @ deviation / (n - 1), deviation.T @ deviation / (n - 1)
    return residual @ np.linalg.inv(own + np.eye(len(own))).T @ cross.T


@pytest.mark.parametrize(("n", "k"), [(12, 1), (12, 5), (12, 12), (6, 30), (2, 3)])
@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
def test_the_step_in_the_smaller_space_is_the_textbooks(n, k, scale):
    rng = np.random.default_rng(1)
    deviation = scale * rng.normal(size=(n, k))
    deviation -= deviation.mean(axis=0)
    residual, moved = rng.normal(size=(n, k)), rng.normal(size=(n, 8))
    expected = by_inverses(deviation, residual, moved)
    np.testing.assert_allclose(kalman_step(deviation, residual, moved), expected, rtol=1e-7, atol=1e-9)


def test_observations_that_are_sure_and_redundant_lose_no_digits():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(20, 2))
    z -= z.mean(axis=0)
    g = 1e9 * np.stack([z[:, 0], z[:, 0], z[:, 1]], axis=1)  # the first twice: a singular covariance
    target = 1e9 * np.array([0.5, 0.5, -2.0])
    np.testing.assert_allclose(z + kalman_step(g, target - g, z), np.tile([0.5, -2.0], (20, 1)), atol=1e-6)


def test_one_perturbed_update_gives_bayes_posterior_of_a_linear_gaussian_problem():
    gamma = (0.3, 0.7)
    enkf = EnsembleKalmanFilter(population=40000, observations=("y",), targets=TARGET, gamma=gamma)
    state = run(enkf, SPACE, linear, 1)
    noise = np.diag(1 / np.square(gamma))
    covariance = np.linalg.inv(MAP.T @ noise @ MAP + np.eye(3))  # prior N(0, I)
    mean = covariance @ MAP.T @ noise @ TARGET
    np.testing.assert_allclose(state.z.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(np.cov(state.z.T), covariance, atol=0.02)
    np.testing.assert_allclose(enkf.recommend(SPACE, state), state.z.mean(axis=0))


def test_without_perturbation_the_mean_is_right_and_the_spread_too_small():
    enkf = EnsembleKalmanFilter(population=40000, observations=("y",), targets=TARGET, gamma=0.5, perturb=False)
    state = run(enkf, SPACE, linear, 1)
    covariance = np.linalg.inv(MAP.T @ MAP / 0.25 + np.eye(3))
    np.testing.assert_allclose(state.z.mean(axis=0), covariance @ MAP.T @ TARGET / 0.25, atol=0.02)
    kept = np.eye(3) - covariance @ MAP.T @ MAP / 0.25  # I - K G
    np.testing.assert_allclose(np.cov(state.z.T), kept @ kept.T, atol=0.02)


@pytest.mark.parametrize("population", [5, 40])
def test_unperturbed_updates_end_at_least_squares_in_the_span_of_the_ensemble(population):
    rng = np.random.default_rng(3)
    matrix, target = rng.normal(size=(30, 12)), rng.normal(size=30)  # no z meets all targets
    enkf = EnsembleKalmanFilter(
        population=population, observations=("y",), targets=tuple(target), gamma=1e-4, perturb=False
    )
    space = Space(w=Free((12,)))
    first, _ = enkf.ask(space, enkf.init(space, 1))
    state = run(enkf, space, lambda z: linear(z, matrix, target), 5)
    mean = first.mean(axis=0)
    span = (first - mean).T
    weights = np.linalg.lstsq(matrix @ span, target - matrix @ mean, rcond=1e-10)[0]
    np.testing.assert_allclose(enkf.recommend(space, state), mean + span @ weights, atol=1e-5)


def test_repetitions_are_generations_of_a_linear_problem():
    fields = {"population": 9, "observations": ("y",), "targets": TARGET, "gamma": 0.5, "perturb": False}
    once = run(EnsembleKalmanFilter(repetitions=4, **fields), SPACE, linear, 1)
    often = run(EnsembleKalmanFilter(**fields), SPACE, linear, 4)
    np.testing.assert_allclose(once.z, often.z, rtol=1e-10)
    assert not np.allclose(once.z, run(EnsembleKalmanFilter(**fields), SPACE, linear, 1).z)


def test_the_ensemble_stays_in_the_span_of_the_first_also_after_failures_but_not_with_jitter():
    space = Space(w=Free((10,)))

    def evaluate(z):
        fitness = -np.cosh(z).sum(axis=1)
        fitness[1] = np.nan
        return Evaluation(fitness, {"y": np.sin(z).sum(axis=1), "x": (z**3).mean(axis=1)})

    def outside(enkf):
        first, _ = enkf.ask(space, enkf.init(space, 1))
        state = run(enkf, space, evaluate, 6)
        basis = np.linalg.svd(first - first.mean(axis=0), full_matrices=False)[2][: enkf.population - 1]
        away = state.z - first.mean(axis=0)
        assert np.abs(away).max() > 0.1
        return np.abs(away - away @ basis.T @ basis).max()

    fields = {"population": 5, "observations": ("y", "x"), "targets": 0.3}
    assert outside(EnsembleKalmanFilter(**fields)) < 1e-12
    assert outside(EnsembleKalmanFilter(repetitions=3, **fields)) < 1e-12
    assert outside(EnsembleKalmanFilter(jitter=0.01, **fields)) > 1e-3


# What is observed


def test_numbered_metrics_come_in_the_order_of_their_numbers():
    enkf = EnsembleKalmanFilter(observations=("y", "z"), targets=0.0)
    metrics = {f"y_{k}": np.full(3, float(k)) for k in (10, 2, 0, 1)} | {"z": np.full(3, 99.0), "y_late": np.ones(3)}
    np.testing.assert_array_equal(enkf._observed(metrics)[0], [0, 1, 2, 10, 99])


def test_the_fitness_is_the_observation_if_there_is_no_other():
    fields = {"population": 6, "targets": 2.0, "gamma": 0.5, "perturb": False}
    alone = EnsembleKalmanFilter(**fields)
    z, state = alone.ask(SPACE, alone.init(SPACE, 1))
    fitness = -np.abs(z).sum(axis=1)
    named = EnsembleKalmanFilter(observations=("y",), **fields)
    told = named.tell(SPACE, state, z, Evaluation(fitness, {"y": fitness}))
    np.testing.assert_array_equal(alone.tell(SPACE, state, z, Evaluation(fitness)).z, told.z)
    ahead = EnsembleKalmanFilter(**fields | {"targets": None})
    best = EnsembleKalmanFilter(**fields | {"targets": float(fitness.max() + fitness.std())})
    np.testing.assert_array_equal(
        ahead.tell(SPACE, state, z, Evaluation(fitness)).z, best.tell(SPACE, state, z, Evaluation(fitness)).z
    )


def test_an_exponential_decay_is_identified_from_noisy_observations():
    space = Space(amplitude=Real(0.1, 10, log=True), tau=Real(1, 100, log=True))
    t = np.linspace(0, 60, 25)
    noise = 0.02 * np.random.default_rng(1).normal(size=25)
    truth = {"amplitude": 3.0, "tau": 20.0}

    def model(z):
        columns = space.decode_columns(z)
        y = columns["amplitude"] * np.exp(-t / columns["tau"])  # (P, 25)
        return Evaluation(np.zeros(len(z)), {f"y_{k}": y[:, k] for k in range(25)})

    target = 3.0 * np.exp(-t / 20.0) + noise
    enkf = EnsembleKalmanFilter(population=40, observations=("y",), targets=tuple(target), gamma=0.02 * 3)
    state = run(enkf, space, model, 10)
    found = space.decode(enkf.recommend(space, state))
    assert found == pytest.approx(truth, rel=0.03)


# Failures, jitter, replacement, bounds


def test_failed_members_take_no_part():
    fields = {"observations": ("y",), "targets": TARGET, "gamma": 0.3, "perturb": False}
    z = np.random.default_rng(1).normal(size=(6, 3))
    evaluation = linear(z)
    fitness = evaluation.fitness.copy()
    fitness[[1, 4]] = np.nan
    metrics = {name: np.where(np.isnan(fitness), np.nan, value) for name, value in evaluation.metrics.items()}
    metrics["y_0"][5] = np.inf  # a fitness but no observation
    six = EnsembleKalmanFilter(population=6, **fields)
    told = six.tell(SPACE, six.init(SPACE, 1), z, Evaluation(fitness, metrics))
    three = EnsembleKalmanFilter(population=3, **fields)
    alone = three.tell(SPACE, three.init(SPACE, 1), z[[0, 2, 3]], linear(z[[0, 2, 3]]))
    np.testing.assert_allclose(told.z[[0, 2, 3]], alone.z, rtol=1e-12)
    assert np.isfinite(told.z).all()


def test_failed_members_are_drawn_from_the_normal_distribution_of_the_others():
    enkf = EnsembleKalmanFilter(population=8000, observations=("y",), targets=TARGET, gamma=0.3)
    z, state = enkf.ask(SPACE, enkf.init(SPACE, 1))
    evaluation = linear(z)
    fitness = np.where(np.arange(8000) < 4000, np.nan, evaluation.fitness)
    told = enkf.tell(SPACE, state, z, Evaluation(fitness, evaluation.metrics))
    np.testing.assert_allclose(told.z[:4000].mean(axis=0), told.z[4000:].mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(told.z[:4000].T), np.cov(told.z[4000:].T), atol=0.05)


def test_when_all_fail_all_are_drawn_as_at_first_and_no_metrics_are_needed():
    enkf = EnsembleKalmanFilter(population=3000, observations=("y",), targets=1.0, sigma=0.5)
    z, state = enkf.ask(SPACE, enkf.init(SPACE, 1))
    told = enkf.tell(SPACE, state._replace(z=z + 7), z + 7, Evaluation(np.full(3000, np.nan)))
    np.testing.assert_allclose(told.z.mean(axis=0), 0, atol=0.05)
    np.testing.assert_allclose(told.z.std(axis=0), 0.5, atol=0.05)


def test_jitter_is_in_units_of_the_spread_and_equal_fitness_moves_nothing_else():
    space = Space(x=Real(-5, 5, shape=(2,)), w=Free((2,)))
    enkf = EnsembleKalmanFilter(population=4000, jitter=0.1)
    z, state = enkf.ask(space, enkf.init(space, 1))
    told = enkf.tell(space, state, z, Evaluation(np.ones(4000)))
    np.testing.assert_allclose((told.z - z).std(axis=0), 0.1 * np.array([12**-0.5, 12**-0.5, 1, 1]), rtol=0.05)


def test_the_worst_are_replaced_by_the_best():
    enkf = EnsembleKalmanFilter(population=6, replaced=2, jitter=1e-9, gamma=1e20)  # gamma: nothing moves else
    z, state = enkf.ask(SPACE, enkf.init(SPACE, 1))
    told = enkf.tell(SPACE, state, z, Evaluation(np.array([3.0, 1.0, 5.0, np.nan, 0.0, 4.0])))
    np.testing.assert_allclose(told.z[[0, 2, 5]], z[[0, 2, 5]], atol=1e-7)
    np.testing.assert_allclose(told.z[[4, 1]], z[[2, 5]], atol=1e-7)


def test_asked_and_recommended_z_keep_to_the_bounds():
    space = Space(x=Real(0, 1, shape=(2,)))
    enkf = EnsembleKalmanFilter(population=20, targets=50.0, gamma=0.01, observations=("y",))
    state = run(enkf, space, lambda z: Evaluation(z.sum(axis=1), {"y": z.sum(axis=1)}), 1)
    assert state.z.max() > 2
    z, _ = enkf.ask(space, state)
    assert z.max() == 1.0
    np.testing.assert_array_equal(enkf.recommend(space, state), [1.0, 1.0])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"population": 2}, r"EnsembleKalmanFilter.population: expected an integer >= 3, got 2; covariances"),
        ({"observations": ("y",)}, "EnsembleKalmanFilter.targets: expected a target for each observation, got None"),
        ({"observations": ("y", "y"), "targets": 1.0}, "observations: expected different names"),
        ({"targets": float("nan")}, "EnsembleKalmanFilter.targets: expected finite numbers"),
        ({"gamma": 0.0}, r"EnsembleKalmanFilter.gamma: expected a number in \[1e-30, 1e\+100\], got 0.0; the smaller"),
        ({"gamma": (0.1, -1.0)}, "EnsembleKalmanFilter.gamma"),
        ({"repetitions": 0}, "EnsembleKalmanFilter.repetitions"),
        ({"jitter": -0.1}, "EnsembleKalmanFilter.jitter"),
        ({"replaced": 17}, r"EnsembleKalmanFilter.replaced: expected at most half of population \(16\), got 17"),
        ({"replaced": 2}, r"EnsembleKalmanFilter.jitter: expected a number > 0 with replaced, got 0.0; without it"),
        ({"sigma": 0.0}, "EnsembleKalmanFilter.sigma"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        EnsembleKalmanFilter(**fields)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"observations": ("yy",), "targets": 0.0},
            "expected a metric yy or yy_0, yy_1, ..., got none; known are y_0, y_1",
        ),
        ({"observations": ("y",), "targets": (1.0, 2.0, 3.0)}, "targets: expected one number, or 2 for the 2 obs"),
        ({"observations": ("y",), "targets": 1.0, "gamma": (1.0,)}, "gamma: expected one number, or 2 for the 2 obs"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        run(EnsembleKalmanFilter(**fields), SPACE, linear, 1)


def test_wrong_use_is_refused():
    enkf = EnsembleKalmanFilter(population=4)
    z, state = enkf.ask(SPACE, enkf.init(SPACE, 1))
    with pytest.raises(ValueError, match="expected one objective"):
        enkf.tell(SPACE, state, z, Evaluation(np.zeros((4, 2))))
    with pytest.raises(ValueError, match=r"EnsembleKalmanFilter: z: expected an array of shape \(4, 3\)"):
        enkf.tell(SPACE, state, z[:3], Evaluation(np.zeros(3)))


def test_an_ensemble_that_grows_has_the_same_mean_and_covariance():
    space = Space(w=Free((3,)))
    small, large = (
        EnsembleKalmanFilter(population=200, targets=0.0),
        EnsembleKalmanFilter(population=20_000, targets=0.0),
    )
    state = small.init(space, 1)
    state = state._replace(z=state.z @ np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 5.0]]) + [7.0, 0.0, -3.0])
    grown = large.resized(space, state)
    np.testing.assert_allclose(grown.z.mean(axis=0), state.z.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(np.cov(grown.z.T), np.cov(state.z.T), atol=0.6)
    shift = grown.z[:200] - state.z  # the old members are still there, moved together
    np.testing.assert_allclose(shift, np.broadcast_to(shift[0], shift.shape), atol=1e-12)


def test_an_ensemble_that_shrinks_keeps_its_mean_and_members_chosen_at_random():
    space = Space(w=Free((2,)))
    large, small = EnsembleKalmanFilter(population=40, targets=0.0), EnsembleKalmanFilter(population=10, targets=0.0)
    chosen = set()
    for seed in range(20):
        row = np.arange(40.0)
        state = large.init(space, seed)._replace(z=np.stack([row, row**2], axis=1))
        shrunk = small.resized(space, state)
        np.testing.assert_allclose(shrunk.z.mean(axis=0), state.z.mean(axis=0), atol=1e-9)
        gap = shrunk.z[1:] - shrunk.z[0]  # i - j and i^2 - j^2 of the rows i and j, whatever the common shift
        rows = (gap[:, 1] / gap[:, 0] + gap[:, 0]) / 2
        np.testing.assert_allclose(rows, np.round(rows), atol=1e-9)
        assert (np.diff(rows) > 0).all()
        chosen |= set(np.round(rows).astype(int).tolist())
    assert chosen >= set(range(10, 40))  # the first one isn't counted
    assert large.resized(space, state) is state
