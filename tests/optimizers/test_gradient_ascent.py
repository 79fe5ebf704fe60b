"""Gradient ascent: Optax's rules beside hand-written loops, and estimates of the gradient beside the true one."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from stepping import with_step

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.step_rules import StepRule
from optimizers.gradient_ascent import EstimatedGradientAscent, GradientAscent

SPACE = Space(w=Free((3,)))
CURVATURE = np.array([1.0, 4.0, 30.0])


def hill(z):
    """Return the evaluation of z (P, 3): -sum(curvature (z - 1)^2) / 2, and its gradient."""
    return Evaluation(-(CURVATURE * (z - 1) ** 2).sum(axis=1) / 2, grad=-CURVATURE * (z - 1))


def path(ascent, generations, evaluate=hill, space=SPACE, seed=1):
    """Return where the starts were (generations + 1, S, D), and the last state."""
    state = ascent.init(space, seed)
    places = [state.z]
    for _ in range(generations):
        z, state = ascent.ask(space, state)
        state = ascent.tell(space, state, z, evaluate(z))
        places.append(state.z)
    return np.array(places), state


@pytest.mark.parametrize(
    "ascent",
    [
        GradientAscent(),
        with_step(GradientAscent, starts=3, evaluations=2, rule="sgd", momentum=0.9, nesterov=True, learning_rate=0.02),
        with_step(
            GradientAscent, rule="adagrad", learning_rate=0.2, clip="value", schedule="piecewise", boundaries=(50, 80)
        ),
        EstimatedGradientAscent(),
        with_step(EstimatedGradientAscent, estimate="es", starts=2, pairs=3, rule="rmsprop", warmup=3),
    ],
    ids=str,
)
def test_keeps_the_contract(ascent):
    require(check_optimizer(ascent))


# Rules


def test_adam_is_kingma_and_bas_loop():
    ascent = with_step(GradientAscent, learning_rate=0.1, b1=0.8, b2=0.95, eps=1e-6)
    places, _ = path(ascent, 40)
    x = places[0, 0]
    m = v = np.zeros(3)
    for t in range(1, 41):
        g = -CURVATURE * (x - 1)
        m = 0.8 * m + 0.2 * g
        v = 0.95 * v + 0.05 * g**2
        x = x + 0.1 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.95**t)) + 1e-6)
        np.testing.assert_allclose(places[t, 0], x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_sutskevers_loop(nesterov):
    ascent = with_step(GradientAscent, rule="sgd", learning_rate=0.02, momentum=0.9, nesterov=nesterov)
    places, _ = path(ascent, 40)
    # velocity at the point itself, or at the one where the momentum leads: Optax keeps the latter as its iterate
    x, velocity = places[0, 0], np.zeros(3)
    for t in range(1, 41):
        velocity = 0.9 * velocity + 0.02 * -CURVATURE * ((places[t - 1, 0] if nesterov else x) - 1)
        x = x + velocity
        expected = x + 0.9 * velocity if nesterov else x
        np.testing.assert_allclose(places[t, 0], expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"rule": "sgd"}, lambda: optax.sgd(0.05)),
        ({"rule": "adamw", "weight_decay": 0.3}, lambda: optax.adamw(0.05, weight_decay=0.3)),
        ({"rule": "rmsprop", "momentum": 0.5, "b2": 0.8}, lambda: optax.rmsprop(0.05, 0.8, 1e-8, momentum=0.5)),
        ({"rule": "adagrad"}, lambda: optax.adagrad(0.05, eps=1e-8)),
        (
            {"clip": "global_norm", "clip_limit": 2.0, "rule": "sgd"},
            lambda: optax.chain(optax.clip_by_global_norm(2.0), optax.sgd(0.05)),
        ),
        (
            {"clip": "value", "clip_limit": 2.0, "rule": "sgd"},
            lambda: optax.chain(optax.clip(2.0), optax.sgd(0.05)),
        ),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_each_start_follows_optax_in_float64(fields, rule):
    places, _ = path(with_step(GradientAscent, starts=2, **fields), 12)
    with jax.enable_x64(True):
        for start in range(2):  # one by one: clipping and moments are each start's own
            x = jnp.asarray(places[0, start])
            state = rule().init(x)
            for t in range(1, 13):
                update, state = rule().update(CURVATURE * (x - 1), state, x)
                x = x + update
                np.testing.assert_allclose(places[t, start], x, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, lambda t: 0.5),
        ({"schedule": "exponential"}, lambda t: 0.5 * 0.2 ** (t / 10)),
        ({"schedule": "cosine"}, lambda t: 0.5 * (0.8 * (1 + math.cos(math.pi * min(t, 10) / 10)) / 2 + 0.2)),
        ({"schedule": "linear"}, lambda t: 0.5 * (1 - 0.8 * min(t, 10) / 10)),
        ({"schedule": "linear", "schedule_factor": 0.0}, lambda t: 0.5 * (1 - min(t, 10) / 10)),
        ({"schedule": "piecewise", "boundaries": (4, 9)}, lambda t: 0.5 * (1.0, 0.2, 0.04)[(t >= 4) + (t >= 9)]),
        ({"warmup": 5}, lambda t: 0.5 * min(t, 5) / 5),
        ({"warmup": 5, "schedule": "exponential"}, lambda t: 0.1 * t if t < 5 else 0.5 * 0.2 ** ((t - 5) / 10)),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_steps_have_the_lengths_of_the_schedules_closed_forms(fields, expected):
    shared = {"rule": "sgd", "learning_rate": 0.5, "schedule_steps": 10, "schedule_factor": 0.2}
    ascent = with_step(GradientAscent, **shared | fields)
    places, _ = path(ascent, 15, lambda z: Evaluation(z.sum(axis=1), grad=np.ones_like(z)))
    steps = np.diff(places[:, 0], axis=0)
    np.testing.assert_allclose(steps, np.repeat([[expected(t)] for t in range(15)], 3, axis=1), rtol=1e-6, atol=1e-7)


def test_parameters_have_rates_of_their_own():
    space = Space(w_m_hidden=Free((2,)), w=Free(), w_m_out=Free())
    grad = lambda z: Evaluation(z.sum(axis=1), grad=np.ones_like(z))  # noqa: E731
    ascent = with_step(GradientAscent, rates={"w*": 2.0, "w_m_*": 5.0, "w_m_out": 0.0}, learning_rate=0.1)
    places, _ = path(ascent, 2, grad, space)
    np.testing.assert_allclose(places[2, 0] - places[0, 0], [1.0, 1.0, 0.4, 0.0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"GradientAscent.rates: expected names of parameters, got 'w_n_\*'"):
        replace(ascent, rates={"w_n_*": 2.0}).init(space, 1)


def test_weights_decay_towards_the_middle_of_the_space():
    space = Space(x=Real(-5, 5), w=Free())
    ascent = with_step(GradientAscent, rule="adamw", weight_decay=1.0, learning_rate=0.1)
    places, _ = path(ascent, 3, lambda z: Evaluation(np.zeros(len(z)), grad=np.zeros_like(z)), space)
    np.testing.assert_allclose(places[3, 0] - [0.5, 0.0], 0.9**3 * (places[0, 0] - [0.5, 0.0]))


# Evaluations, failures, bounds


def test_gradients_of_several_seeds_are_averaged_over_those_that_did_not_fail():
    ascent = with_step(GradientAscent, starts=2, evaluations=3, rule="sgd", learning_rate=1.0)
    z, state = ascent.ask(SPACE, ascent.init(SPACE, 1))
    np.testing.assert_array_equal(z, np.repeat(state.z, 3, axis=0))
    grad = np.arange(18.0).reshape(6, 3)
    fitness = np.array([1.0, 2.0, 6.0, 5.0, np.nan, 0.0])
    grad[4] = np.nan
    told = ascent.tell(SPACE, state, z, Evaluation(fitness, grad=grad))
    np.testing.assert_allclose(told.z - state.z, [grad[:3].mean(axis=0), grad[[3, 5]].mean(axis=0)])
    assert told.best_fitness == 3.0  # mean of the first, that of the second is 2.5
    np.testing.assert_array_equal(ascent.recommend(SPACE, told), z[0])


def test_a_start_that_fails_goes_half_the_way_back_with_its_moments_and_a_new_one_is_sampled():
    ascent = with_step(GradientAscent, starts=2, rule="sgd", learning_rate=0.1, momentum=0.5)

    def evaluate(z, failed):
        fitness = np.where(failed, np.nan, 1.0)
        return Evaluation(fitness, grad=np.repeat(fitness[:, None], z.shape[1], axis=1))

    z0, state = ascent.ask(SPACE, ascent.init(SPACE, 1))
    state = ascent.tell(SPACE, state, z0, evaluate(z0, [False, True]))
    np.testing.assert_allclose(state.z[0], z0[0] + 0.1)
    assert np.abs(state.z[1] - z0[1]).min() > 1e-3  # anew
    z1, state = ascent.ask(SPACE, state)
    state = ascent.tell(SPACE, state, z1, evaluate(z1, [True, False]))
    np.testing.assert_allclose(state.z[0], z0[0] + 0.05)
    np.testing.assert_allclose(state.z[1], z1[1] + 0.1)
    z2, state = ascent.ask(SPACE, state)
    state = ascent.tell(SPACE, state, z2, evaluate(z2, [False, False]))
    np.testing.assert_allclose(state.z[0], z2[0] + 0.1 + 0.05)


def test_a_generation_that_failed_altogether_needs_no_gradient_but_another_does():
    ascent = GradientAscent(starts=2)
    z, state = ascent.ask(SPACE, ascent.init(SPACE, 1))
    assert np.isfinite(ascent.tell(SPACE, state, z, Evaluation(np.full(2, np.nan))).z).all()
    with pytest.raises(ValueError, match="GradientAscent: grad: expected the gradient of the fitness, got None; take"):
        ascent.tell(SPACE, state, z, Evaluation(np.zeros(2)))


def test_steps_end_at_the_bounds_and_can_come_back():
    space = Space(x=Real(0, 1), w=Free())
    ascent = with_step(GradientAscent, rule="sgd", learning_rate=5.0)
    places, state = path(ascent, 1, lambda z: Evaluation(z[:, 0], grad=np.ones_like(z)), space)
    assert places[1, 0, 0] == 1.0
    assert places[1, 0, 1] == places[0, 0, 1] + 5
    z, state = ascent.ask(space, state)
    assert ascent.tell(space, state, z, Evaluation(z[:, 0], grad=np.full_like(z, -0.1))).z[0, 0] == 0.5


def test_gradients_beyond_float64_leave_the_state_finite():
    for rule in ("adam", "sgd", "rmsprop"):
        ascent = with_step(GradientAscent, rule=rule)
        _, state = path(ascent, 3, lambda z: Evaluation(np.zeros(len(z)), grad=np.full_like(z, 1e300)))
        assert all(np.isfinite(value).all() for value in (state.z, state.memory))


def test_a_noisy_and_ill_conditioned_hill_is_climbed():
    rng = np.random.default_rng(1)

    def noisy(z):
        true = hill(z)
        return Evaluation(true.fitness + rng.normal(size=len(z)), grad=true.grad + 3 * rng.normal(size=z.shape))

    ascent = with_step(GradientAscent, evaluations=8, learning_rate=0.2, schedule="cosine", schedule_steps=300)
    _, state = path(ascent, 300, noisy)
    np.testing.assert_allclose(state.z[0], 1.0, atol=0.15)
    assert np.abs(ascent.recommend(SPACE, state) - 1).max() < 1.0


# Estimates


def slope(ascent, evaluate, z, space=SPACE):
    """Return the estimated gradient at z (S, D), read from a step of length 1."""
    ascent = replace(ascent, starts=len(z), step=StepRule("sgd", learning_rate=1.0))
    state = ascent.init(space, 1)._replace(z=z)
    asked, state = ascent.ask(space, state)
    return ascent.tell(space, state, asked, evaluate(asked)).z - z


def test_central_differences_are_the_gradient_of_a_quadratic():
    z = np.random.default_rng(1).normal(size=(4, 3))
    ascent = EstimatedGradientAscent(difference=0.1)
    without = lambda z: Evaluation(hill(z).fitness)  # noqa: E731
    np.testing.assert_allclose(slope(ascent, without, z), hill(z).grad, rtol=1e-9)


def test_central_differences_have_an_error_of_second_order():
    z = np.random.default_rng(1).normal(size=(4, 3))
    errors = []
    for difference in (0.1, 0.05, 0.025):
        estimate = slope(EstimatedGradientAscent(difference=difference), lambda z: Evaluation(np.exp(z).sum(axis=1)), z)
        errors.append(np.abs(estimate - np.exp(z)).max())
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 4.0, rtol=0.01)


def test_differences_at_a_bound_and_beside_a_failure_are_one_sided():
    space = Space(x=Real(0, 1, shape=(2,)), w=Free())
    ascent = EstimatedGradientAscent(difference=0.01)
    z = np.array([[0.0, 1.0, 0.3]])

    def plane(failing):
        def evaluate(z):
            fitness = z @ [0.2, -0.3, 0.5]
            fitness[list(failing)] = np.nan
            return Evaluation(fitness)

        return evaluate

    for failing in ((), (3,), (6,)):  # none; the free coordinate's upper side; its lower side
        found = slope(ascent, plane(failing), z, space)
        np.testing.assert_allclose(found, [[0.2, -0.3, 0.5]], rtol=1e-9)
    for failing in ((0, 3), (3, 6)):  # without a second point nothing is known
        np.testing.assert_allclose(slope(ascent, plane(failing), z, space), [[0.2, -0.3, 0.0]], atol=1e-12)


def test_an_evolution_strategy_is_right_on_average_and_its_variance_that_of_mirrored_samples():
    z = np.tile([0.2, 1.5, 0.7], (4000, 1))
    estimates = slope(EstimatedGradientAscent(estimate="es", pairs=5), lambda z: Evaluation(hill(z).fitness), z)
    g = hill(z).grad[0]
    np.testing.assert_allclose(estimates.mean(axis=0), g, atol=4 * np.linalg.norm(g) / np.sqrt(5 * 4000))
    # of eps (eps . g) with normal eps, exact for a quadratic: variance g_i^2 + |g|^2, over the pairs
    np.testing.assert_allclose(estimates.var(axis=0), (g**2 + g @ g) / 5, rtol=0.1)


def test_an_evolution_strategy_scales_its_directions_with_the_spread():
    space = Space(x=Real(-5, 5), w=Free())
    ascent = EstimatedGradientAscent(estimate="es", pairs=4000, difference=0.01)
    z, state = ascent.ask(space, ascent.init(space, 1))
    assert z.shape == (8001, 2)
    np.testing.assert_array_equal(z[0], state.z[0])
    np.testing.assert_allclose(z[1:4001] + z[4001:], np.tile(2 * z[0], (4000, 1)), atol=1e-12)
    np.testing.assert_allclose((z[1:] - z[0]).std(axis=0), [0.01 * 12**-0.5, 0.01], rtol=0.05)
    found = slope(ascent, lambda z: Evaluation(z @ [0.2, -0.4]), np.array([[0.5, 0.0]]), space)
    np.testing.assert_allclose(found, [[0.2, -0.4]], atol=0.1)


def test_pairs_of_which_one_failed_are_left_out():
    ascent = with_step(EstimatedGradientAscent, estimate="es", pairs=3, rule="sgd", learning_rate=1.0)
    z, state = ascent.ask(SPACE, ascent.init(SPACE, 1))
    fitness = hill(z).fitness
    fitness[[0, 2]] = np.nan  # itself, and the upper of the second pair
    told = ascent.tell(SPACE, state, z, Evaluation(fitness))
    epsilon = (z[[1, 3]] - z[0]) / 0.01
    expected = ((fitness[[1, 3]] - fitness[[4, 6]])[:, None] * epsilon).mean(axis=0) / (2 * 0.01)
    np.testing.assert_allclose(told.z[0] - z[0], expected, rtol=1e-6)
    assert told.best_fitness == -np.inf  # its own evaluation failed


@pytest.mark.parametrize("estimate", ["finite_differences", "es"])
def test_estimates_climb_where_there_is_no_gradient(estimate):
    ascent = with_step(EstimatedGradientAscent, estimate=estimate, learning_rate=0.2, schedule="exponential", pairs=6)
    _, state = path(ascent, 250, lambda z: Evaluation(hill(z).fitness))
    np.testing.assert_allclose(ascent.recommend(SPACE, state), 1.0, atol=0.05)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"starts": 0}, r"GradientAscent.starts: expected an integer >= 1, got 0"),
        ({"evaluations": 0}, r"GradientAscent.evaluations: expected an integer >= 1, got 0"),
        ({"rule": "adm"}, "StepRule.rule: .* did you mean 'adam'"),
        ({"schedule": "parabolic"}, "StepRule.schedule"),
        ({"schedule": "exponential", "schedule_factor": 0.0}, "StepRule.schedule_factor: expected a number > 0, got 0"),
        ({"clip": "norm"}, "StepRule.clip: expected one of"),
        ({"learning_rate": 0.0}, "StepRule.learning_rate: expected a number > 0, got 0.0"),
        ({"learning_rate": float("nan")}, "StepRule.learning_rate"),
        ({"b1": 1.0}, "StepRule.b1: expected a number below 1, got 1.0; 1 forgets nothing"),
        ({"momentum": -0.5}, "StepRule.momentum"),
        ({"weight_decay": -1.0}, "StepRule.weight_decay"),
        ({"schedule_steps": 0}, "StepRule.schedule_steps"),
        ({"warmup": -1}, "StepRule.warmup"),
        (
            {"boundaries": (5,)},
            r"StepRule.boundaries: expected .* piecewise, and only then, got \(5,\) with const",
        ),
        ({"schedule": "piecewise"}, "StepRule.boundaries"),
        ({"nesterov": True, "rule": "adagrad"}, "nesterov: .* or sgd or rmsprop with momentum, got true with adagrad"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        with_step(GradientAscent, **fields)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"estimate": "spsa"}, "EstimatedGradientAscent.estimate: expected one of 'finite_differences', 'es'"),
        ({"difference": 0.0}, "EstimatedGradientAscent.difference: .* 0.001 to 0.1 are usual"),
        ({"pairs": 0}, "EstimatedGradientAscent.pairs"),
        ({"starts": 0}, "EstimatedGradientAscent.starts"),
    ],
)
def test_wrong_fields_of_an_estimate_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        with_step(EstimatedGradientAscent, **fields)


def test_wrong_use_is_refused():
    ascent = GradientAscent(starts=2)
    z, state = ascent.ask(SPACE, ascent.init(SPACE, 1))
    with pytest.raises(ValueError, match="expected one objective"):
        ascent.tell(SPACE, state, z, Evaluation(np.zeros((2, 2)), grad=z))
    with pytest.raises(ValueError, match=r"GradientAscent: z: expected an array of shape \(2, 3\)"):
        ascent.tell(SPACE, state, z[:1], hill(z[:1]))
    with pytest.raises(ValueError, match=r"GradientAscent: grad: expected an array of shape \(2, 3\)"):
        ascent.tell(SPACE, state, z, Evaluation(np.zeros(2), grad=z[:, :2]))


def test_the_best_starts_stay_and_new_ones_begin_with_a_schedule_of_their_own():
    ascent = with_step(
        GradientAscent, starts=4, evaluations=2, rule="sgd", learning_rate=0.1, schedule="piecewise", boundaries=(3,)
    )
    space = Space(x=Real(0, 1, shape=(2,)), w=Free((2,)))
    state = ascent.init(space, 1)
    for _ in range(6):
        z, state = ascent.ask(space, state)
        state = ascent.tell(space, state, z, Evaluation(-np.sum(z**2, axis=1), grad=-0.1 * np.ones_like(z)))
    order = np.argsort(-np.sum(z[::2] ** 2, axis=1) * -1)  # of what was evaluated last, best first
    two = ascent.sized(5, 4)
    assert two == replace(ascent, starts=2)
    kept = two.resized(space, state)
    np.testing.assert_array_equal(kept.z, state.z[np.sort(order[:2])])
    np.testing.assert_array_equal(kept.memory, state.memory[np.sort(order[:2])])

    many = ascent.sized(2 * 400, 4)
    grown = many.resized(space, state)
    np.testing.assert_array_equal(grown.z[:4], state.z)
    new = grown.z[4:]
    np.testing.assert_allclose(new.mean(axis=0), [0.5, 0.5, 0.0, 0.0], atol=0.15)
    np.testing.assert_allclose(new.std(axis=0), [12**-0.5, 12**-0.5, 1.0, 1.0], atol=0.1)
    z, grown = many.ask(space, grown)
    moved = many.tell(space, grown, z, Evaluation(-np.sum(z**2, axis=1), grad=-np.ones_like(z)))
    step = (moved.z - grown.z)[:, 2:]  # of the free coordinates; the old starts are beyond the boundary
    np.testing.assert_allclose(step[:4], -0.01, atol=1e-12)
    np.testing.assert_allclose(step[4:], -0.1, atol=1e-12)


def test_starts_are_counted_by_their_evaluations():
    estimated = EstimatedGradientAscent(starts=2)
    assert estimated.individuals(5) == 2 * 11
    assert estimated.sized(32, 5).starts == 2
    assert estimated.sized(33, 5).starts == 3
    with pytest.raises(ValueError, match=r"EstimatedGradientAscent\.starts: expected an integer >= 1, got 0"):
        estimated.sized(10, 5)
