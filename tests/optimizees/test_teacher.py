"""Learning from a teacher: functions as the source draws them, exact baselines, answers that never see the future."""

from dataclasses import asdict, replace
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import JOBS
from typer.testing import CliRunner

from l2l_snn.checks import check_optimizee
from l2l_snn.cli import app
from l2l_snn.loop.job import load
from l2l_snn.loop.job_file import JobError
from optimizees.teacher import Teacher
from optimizees.teacher.functions import (
    Episodes,
    backpropagation_predictions,
    batch_linear_errors,
    evaluate_function,
    hints,
    linear_predictions,
    sample_episodes,
    straight_examples,
)
from optimizees.teacher.learner import LSNN
from optimizers.openai_es import OpenES

TINY = LSNN(regular=4, adaptive=3, coding=6, step_ms=10, delay_max=1.0)
SMALL = Teacher(gain=4.0, examples=6, episodes=3, lsnn=TINY, skip=2)

pytestmark = pytest.mark.usefixtures("compiled_soon")


@partial(jax.jit, static_argnums=(0, 2, 3))
def compiled_draw(family, key, episodes, examples, gain):
    return sample_episodes(family, key, episodes, examples, gain)


def drawn(family, seed, gain=1.0):
    """Return 300 functions with 500 examples each: x (300, 500, I), y (300, 500), and the functions, as numpy."""
    episodes, functions = jax.device_get(compiled_draw(family, jax.random.key(seed), 300, 500, gain))
    return *(value.astype(np.float64) for value in episodes), functions


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_target_networks_have_40_parameters_in_minus_1_to_1_and_sinuses_any_phase():
    for gain in (1.0, 4.0):
        x, y, functions = drawn("network", 1, gain)
        f = {name: value[7].astype(np.float64) for name, value in functions.items()}
        expected = sigmoid(gain * sigmoid(gain * (x[7] @ f["w_hidden"] + f["b_hidden"])) @ f["w_out"])
        np.testing.assert_allclose(y[7], expected, rtol=1e-5)
    assert sum(value[0].size for value in functions.values()) == 40
    flat = np.concatenate([value.ravel() for value in functions.values()])
    assert -1 <= flat.min() < -0.99
    assert 0.99 < flat.max() <= 1
    x, y, functions = drawn("sinus", 1)
    expected = functions["amplitude"][:, None] * np.sin(5 * x[..., 0] + functions["phase"][:, None])
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for name, low, high in (("amplitude", 0.1, 5.0), ("phase", 0.0, 2 * np.pi)):
        assert low <= functions[name].min() < low + 0.05 * high
        assert 0.95 * high < functions[name].max() <= high
    assert np.abs(x).max() <= 1


def test_with_the_plain_logistic_function_all_targets_are_nearly_linear():
    """Why `gain` is there: what an optimal line leaves of the variance is 1 %; at gain 4 it is a quarter."""
    left = []
    for gain in (1.0, 4.0):
        error = variance = 0.0
        for x, y in zip(*drawn("network", 2, gain)[:2], strict=True):
            features = np.concatenate([x, np.ones((500, 1))], axis=1)
            error += np.mean((features @ np.linalg.lstsq(features, y, rcond=None)[0] - y) ** 2)
            variance += y.var()
        left.append(error / variance)
    assert left[0] < 0.02 < 0.15 < left[1]


def test_the_linear_predictor_is_least_squares_on_all_examples_before():
    generator = np.random.default_rng(1)
    x, y = generator.normal(size=(2, 40, 2)), generator.normal(size=(2, 40))
    x[0, 1], y[0, 1] = x[0, 0], y[0, 0]  # two examples that say the same: the rank grows late
    for x_one, y_one, got in zip(x, y, linear_predictions(x, y), strict=True):
        features = np.concatenate([np.ones((40, 1)), x_one], axis=1)
        fitted = [np.linalg.lstsq(features[:n], y_one[:n], rcond=None)[0] for n in range(1, 40)]
        expected = [0.0, *(row @ w for row, w in zip(features[1:], fitted, strict=True))]
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)
    short = linear_predictions(x[:, :3], y[:, :3])
    np.testing.assert_allclose(short, linear_predictions(x, y)[:, :3])


def test_the_batch_linear_predictor_is_least_squares_on_all_examples():
    x, y, _ = drawn("network", 2, 4.0)
    got = batch_linear_errors(x[:3], y[:3])
    for x_one, y_one, found in zip(x, y, got, strict=False):
        features = np.concatenate([np.ones((500, 1)), x_one], axis=1)
        expected = (features @ np.linalg.lstsq(features, y_one, rcond=None)[0] - y_one) ** 2
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("phase", [0.0, 0.8, 1.6, 2.0, 3.5, 6.2])
def test_straight_examples_are_three_points_of_the_sinus_on_a_line_within_its_inputs(phase):
    x, y = straight_examples(2.5, phase, 7)
    assert x.shape == (1, 7, 1)
    assert y.shape == (1, 7)
    assert np.abs(x).max() <= 1
    expected = evaluate_function("sinus", {"amplitude": 2.5, "phase": phase}, x, 1.0)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    assert len(np.unique(x.round(6))) == 3
    line = np.polyfit(x[0, :, 0], y[0], 1)
    np.testing.assert_allclose(np.polyval(line, x[0, :, 0]), y[0], atol=1e-6)
    assert abs(line[0] / 5) == pytest.approx(0.2 * 2.5, rel=1e-6)


def test_backpropagation_in_the_teachers_network_takes_the_steps_of_the_chain_rule_and_learns():
    rate, gain, decay = 0.5, 3.0, 0.01
    x, y, _ = drawn("network", 3, gain)
    got = backpropagation_predictions(x, y, gain=gain, learning_rate=rate, decay=decay)
    keys = jax.random.split(jax.random.key(0), 3)
    a, b, c = (0.1 * np.asarray(jax.random.normal(k, s)) for k, s in zip(keys, ((2, 10), (10,), (10,)), strict=True))
    for n in range(20):
        h = sigmoid(gain * (x[0, n] @ a + b))
        out = sigmoid(gain * (h @ c))
        assert got[0, n] == pytest.approx(out, rel=1e-4)
        d_out = (out - y[0, n]) * out * (1 - out) * gain
        d_h = d_out * c * h * (1 - h) * gain
        a, b, c = (
            a - rate * (np.outer(x[0, n], d_h) + decay * a),
            b - rate * (d_h + decay * b),
            c - rate * (d_out * h + decay * c),
        )
    errors = (got - y) ** 2
    assert errors[:, -100:].mean() < 0.5 * errors[:, :20].mean()


def params(teacher, seed=1):
    z = teacher.space.sample(np.random.default_rng(seed), 1)[0]
    return {name: jnp.asarray(value, jnp.float32) for name, value in teacher.space.decode(z).items()}


@pytest.mark.parametrize("fields", [{"delay_max": 4.0}, {"delay_max": 2.0, "lag": 2.0, "spacing": "even"}])
def test_an_answer_follows_from_earlier_answers_and_its_own_input_alone(fields):
    teacher = replace(SMALL, lsnn=replace(TINY, delay=2.0, rate=500.0, **fields))
    learner, key = teacher.learner, jax.random.key(1)
    x, y, _ = drawn("network", 2, 4.0)
    episodes = Episodes(*(jnp.asarray(value[:2, :6], jnp.float32) for value in (x, y)))
    run = jax.jit(lambda x, y: learner.run(params(teacher), key, Episodes(x, y))[0])
    plain = run(*episodes)
    np.testing.assert_array_equal(run(episodes.x, episodes.y.at[:, 5].set(1.0)), plain)  # nobody is told the last
    told = run(episodes.x, episodes.y.at[:, 2].set(1.0))
    np.testing.assert_array_equal(told[:, :3], plain[:, :3])
    assert (told[:, 3:] != plain[:, 3:]).any()
    shown = run(episodes.x.at[:, 2].set(-1.0), episodes.y)
    np.testing.assert_array_equal(shown[:, :2], plain[:, :2])
    assert (shown[:, 2] != plain[:, 2]).any()


def test_the_network_is_the_sources():
    learner = Teacher().learner
    net = learner.network()
    cell = net.populations["lsnn"].cell
    assert (net.populations["in"].n, net.populations["lsnn"].n, net.dt) == (300, 300, 1.0)
    assert (cell.beta[:180] == 0).all()
    assert (cell.beta[180:] == 1.8).all()
    assert 1 <= cell.tau_a.min() < 50
    assert 950 < cell.tau_a.max() <= 1000
    for projection in net.projections.values():
        assert sorted(np.unique(projection.delay)) == list(range(1, 11))


def test_the_internal_model_is_what_the_network_would_answer_next_and_asking_leaves_no_trace():
    """Sources that spike in each step, or never: without noise, asked is what was answered."""
    telling = replace(TINY, rate=1000.0, sharpness=1e6, delay=2.0, delay_max=2.0, lag=1.0)
    teacher = Teacher(family="sinus", examples=6, episodes=3, lsnn=telling)
    learner, weights = teacher.learner, {name: 3 * w for name, w in params(teacher).items()}
    centers = np.linspace(-1, 1, 6)
    x = centers[np.array([0, 3, 5, 1])].reshape(1, 4, 1).astype(np.float32)
    y = (5 * centers[np.array([5, 2, 0, 3])]).reshape(1, 4).astype(np.float32)
    key, last = jax.random.key(1), y[0, 2]
    answers, (_, spikes) = jax.jit(learner.run)(weights, key, Episodes(x, y))
    assert spikes.sum() > 10
    states = jax.jit(learner.states)(weights, key, Episodes(x, y))
    third = jax.tree.map(lambda leaf: leaf[2], states)
    ask = jax.jit(lambda state: learner.asked(weights, key, state, last, jnp.asarray(centers[:, None], jnp.float32)))
    asked = ask(third)
    np.testing.assert_allclose(asked[1], answers[0, 3], rtol=1e-6)
    assert len(np.unique(asked)) > 1
    forgotten = ask(third._replace(cells=jax.tree.map(jnp.zeros_like, third.cells)))
    assert (forgotten != asked).any()


def test_the_optimizee_keeps_the_contract_and_its_gradient_is_exact_where_no_spike_is_in_between():
    assert [claim for claim in check_optimizee(SMALL, individuals=4) if not claim.ok] == []
    z, seeds = SMALL.space.sample(np.random.default_rng(1), 1), np.array([7])
    whole = SMALL.evaluate_batch(z, seeds, with_grad=True, with_artifacts=True)
    shapes = {"errors": (1, 6), "linear_errors": (1, 6), "x": (1, 6, 2), "y": (1, 6), "answers": (1, 6)}
    shapes |= {"spikes_in": (1, 60, 18), "spikes": (1, 60, 7)}
    assert {name: value.shape for name, value in whole.artifacts.items()} == shapes
    assert whole.metrics["mse"][0] == pytest.approx(whole.artifacts["errors"].mean(), rel=1e-6)
    step = np.zeros_like(z)
    step[0, -1] = 0.01  # the readout's offset: fitness is a parabola in it
    ends = [SMALL.evaluate_batch(z + sign * step, seeds).fitness[0] for sign in (1, -1)]
    assert whole.grad[0, -1] == pytest.approx((ends[0] - ends[1]) / 0.02, rel=1e-3)
    assert np.abs(whole.grad[0, : 18 * 7]).max() > 1e-6  # and it reaches the input weights
    kept = replace(SMALL, checkpoint=8).evaluate_batch(z, seeds, with_grad=True)
    np.testing.assert_allclose(kept.grad, whole.grad, rtol=1e-3, atol=1e-6)


def test_a_job_runs_by_gradient_replays_and_draws_its_pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = {f"lsnn.{name}": value for name, value in asdict(TINY).items()}
    fields |= {"examples": 6, "episodes": 1, "price": 5.0, "target_rate": 25.0}
    small = [f"--set=optimizee.{name}={value}" for name, value in fields.items()]

    def l2l(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    l2l("run", JOBS / "teacher_sinus.yaml", "--inline", "--set=generations=2", *small)
    assert "the same" in l2l("replay", "teacher_sinus-1")
    for name in ("error", "internal_model", "functions", "raster", "straight_line"):
        assert (tmp_path / f"runs/teacher_sinus-1/{name}.png").stat().st_size > 10_000


def test_fitness_is_the_mean_squared_error_in_the_functions_range_and_the_price_of_rates():
    teacher = Teacher("sinus", examples=6, episodes=1, lsnn=TINY, price=5.0, target_rate=25.0, unweighed=2)
    z = teacher.space.sample(np.random.default_rng(1), 1)
    got = teacher.evaluate_batch(z, np.array([3]), with_artifacts=True)
    one = {name: value[0].astype(np.float64) for name, value in got.artifacts.items()}
    rates = one["spikes"].mean(axis=0)
    error = np.mean(((one["answers"] - one["y"])[2:] / 5) ** 2)  # from the third example on
    assert got.fitness[0] == pytest.approx(-error - 5.0 * np.sum((rates - 0.025) ** 2), rel=1e-5)
    assert got.metrics["rate"][0] == pytest.approx(1000 * rates.mean(), rel=1e-5)
    counts = one["spikes"].reshape(6, 10, 7).sum(axis=1)
    decoded = teacher.space.decode(z[0])
    np.testing.assert_allclose(one["answers"], 5 * (counts @ decoded["w_out"] + decoded["b_out"]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["network", "sinus"])
def test_hints_are_the_function_on_a_grid_and_the_example_before(family):
    episodes, functions = sample_episodes(family, jax.random.key(5), 2, 4, 3.0)
    got = np.asarray(hints(family, episodes, functions, 3.0))
    grid = [np.array(point) for point in product([-0.7, 0.0, 0.7], repeat=episodes.x.shape[-1])]
    middle, half = (0.5, 0.5) if family == "network" else (0.0, 5.0)
    for b in range(2):
        function = {name: value[b] for name, value in functions.items()}
        values = [float(evaluate_function(family, function, jnp.array(point), 3.0)) for point in grid]
        n = len(values)
        assert got.shape == (2, 4, n + 2 * episodes.x.shape[-1])
        for e in range(4):
            assert sorted(got[b, e, :n]) == pytest.approx(sorted((np.array(values) - middle) / half), abs=1e-5)
            x, y = np.asarray(episodes.x[b, e - 1]), float(episodes.y[b, e - 1])
            before = np.r_[x, x * (y - middle) / half] if e else np.zeros(2 * len(x))
            np.testing.assert_allclose(got[b, e, n:], 3**0.5 * before, rtol=1e-5, atol=1e-6)


def test_the_error_of_hints_is_paid_for_and_changes_no_answer():
    z, seeds = SMALL.space.sample(np.random.default_rng(1), 1), np.array([7])
    hinted = replace(SMALL, hints=0.5)
    sizes = {"w_hint": (7, 13), "b_hint": 13, "w_trace": (3, 9), "b_trace": 9}
    assert hinted.space.size == SMALL.space.size + sum(np.zeros(size).size for size in sizes.values())
    params = SMALL.space.decode(z[0]) | {name: np.zeros(size) for name, size in sizes.items()}
    at_zero = hinted.space.encode(params)[None]
    plain = SMALL.evaluate_batch(z, seeds, with_artifacts=True)
    told = hinted.evaluate_batch(at_zero, seeds, with_grad=True, with_artifacts=True)
    np.testing.assert_array_equal(told.artifacts["answers"], plain.artifacts["answers"])
    which, _ = jax.random.split(jax.random.key(jnp.uint32(7)))
    wanted = np.asarray(hints("network", *sample_episodes("network", which, 3, 6, 4.0), 4.0))
    price = 0.5 * (np.mean(wanted**2) + np.mean(wanted[..., :9] ** 2))
    assert told.fitness[0] == pytest.approx(plain.fitness[0] - price, rel=1e-5)
    free = replace(hinted, hints=0.0, hinted=True)  # where a schedule ends
    assert free.space == hinted.space
    assert free.evaluate_batch(at_zero, seeds).fitness[0] == plain.fitness[0]
    generator = np.random.default_rng(2)
    shift = {name: 0.01 * generator.standard_normal(size) for name, size in sizes.items()}
    shift = hinted.space.encode(params | shift)[None] - at_zero
    better = [hinted.evaluate_batch(at_zero + sign * shift, seeds).fitness[0] for sign in (1, -1)]
    assert told.grad[0] @ shift[0] == pytest.approx((better[0] - better[1]) / 2, rel=1e-2)


def test_the_price_of_hints_may_fall_to_0_where_their_readouts_stay_in_the_space():
    falling = "optimizee.hints={from: 0.3, to: 0.0, over: 10, every: 5}"
    _, teacher, _ = load(JOBS / "teacher_network_lag.yaml", [falling, "optimizee.hinted=true"])
    assert (teacher.hints, teacher.space.size) == (0.3, load(JOBS / "teacher_network_lag.yaml")[1].space.size)
    with pytest.raises(JobError, match=r"optimizee.hints: expected the same search space in all generations"):
        load(JOBS / "teacher_network_lag.yaml", [falling])


def test_traces_decay_with_the_time_constants_of_adaptation():
    learner = SMALL.learner
    counts = np.random.default_rng(1).integers(0, 3, (6, 2, 7)).astype(np.float32)
    decay = np.exp(-10 / learner.network().populations["lsnn"].cell.tau_a[4:])
    trace, expected = np.zeros((2, 3)), []
    for count in counts[..., 4:]:
        trace = decay * trace + (1 - decay) * count
        expected.append(trace)
    np.testing.assert_allclose(learner.traces(jnp.asarray(counts)), expected, rtol=1e-5, atol=1e-6)


def test_evolution_takes_the_same_optimizee():
    es = OpenES(population=4)
    state = es.init(SMALL.space, 1)
    z, asked = es.ask(SMALL.space, state)
    after = es.tell(SMALL.space, asked, z, SMALL.evaluate_batch(z, np.arange(1, 5)))
    assert np.abs(es.recommend(SMALL.space, after) - es.recommend(SMALL.space, state)).max() > 0


def test_pictures_of_target_networks_have_their_plane_and_the_job_is_readable(tmp_path):
    for job in ("teacher_network", "teacher_network_lag"):
        assert load(JOBS / f"{job}.yaml")[1].space.size > 20_000
    z, seeds = SMALL.space.sample(np.random.default_rng(1), 1), np.array([7])
    evaluation = SMALL.evaluate_batch(z, seeds, with_artifacts=True)
    files = SMALL.draw(SMALL.space.decode(z[0]), evaluation, tmp_path)
    assert [file.name for file in files] == ["error.png", "internal_model.png", "functions.png", "raster.png"]
    assert all(file.stat().st_size > 10_000 for file in files)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"family": "cosinus"}, r"family: expected one of 'network', 'sinus', got 'cosinus'; did you mean 'sinus'"),
        ({"gain": 0.0}, r"gain: expected a number > 0, got 0"),
        ({"hints": 0.1, "lsnn": replace(TINY, adaptive=0)}, r"hints: expected 0 where no neuron is adaptive, got 0.1"),
        ({"hints": -0.1}, r"hints: expected a number >= 0, got -0.1"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        Teacher(**fields)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"regular": 0, "adaptive": 0}, r"regular \+ adaptive: expected at least one neuron, got 0"),
        ({"delay": 3.0, "delay_max": 1.0}, r"delay_max: expected a number >= 3, got 1"),
        ({"tau_a_max": 0.5}, r"tau_a_max: expected a number >= 1, got 0.5"),
        ({"lag": 2.0}, r"lag: expected at most the shortest delay, 1 ms, got 2 ms; else an answer could know"),
        ({"rate": 1500.0}, r"rate: expected a number in \(0, 1000\], got 1500"),
        ({"delay": 1.5, "delay_max": 2.0}, r"delay: expected a multiple of the network's step, 1 ms, got 1.5 ms"),
        ({"coding": 1}, r"coding: expected an integer >= 2, got 1"),
    ],
)
def test_networks_that_make_no_sense_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        LSNN(**fields)
