"""The vehicle's network and how it learns: against sums in numpy over recorded spikes, and by what it reaches."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.checks import check_optimizee
from optimizees.vehicle import Vehicle
from optimizees.vehicle.brain import Brain, sensor_rates
from optimizees.vehicle.drive import progress
from optimizees.vehicle.lessons import LessonParameters, Training, desired, first_weights, learn
from optimizees.vehicle.world import COLLIDED, LATE, REACHED, Arena, Senses, State, World, bearings

pytestmark = pytest.mark.usefixtures("compiled_soon")

ARENA = Arena(obstacles=4, steps=50)
BRAIN = Brain(cells=8, motor=3, delay=2.0)
PARAMETERS = LessonParameters(eta=0.03, tau_plus=12.0, tau_minus=8.0, tau_e=30.0, w_max=3.0)
VEHICLE = Vehicle(training=Training(worlds=10, budget=1500), tests=30, shown=2)
SMALL = Vehicle(
    training=Training(worlds=3, budget=60),
    arena=Arena(steps=40, obstacles=3),
    brain=Brain(cells=4, motor=2),
    tests=4,
    shown=2,
)
MLP = Vehicle(mode="mlp", mlp_hidden=2, tests=40, shown=2, arena=Arena(obstacles=1, blocking=0, steps=200))


@pytest.fixture(scope="module")
def lessons():
    """Lessons in three worlds, recorded, in float64; and the weights before."""
    with jax.enable_x64(True):
        first = first_weights(BRAIN, ARENA, PARAMETERS, jax.random.key(1))
        training = Training(worlds=3, budget=120)
        run = jax.jit(lambda w, key: learn(BRAIN, ARENA, training, PARAMETERS, w, key, record=True))
        return jax.tree.map(np.asarray, run(first, jax.random.key(2))), np.asarray(first)


@pytest.fixture(scope="module")
def evaluation():
    """One life by hand."""
    return VEHICLE.evaluate_batch(VEHICLE.by_hand[None], np.array([1]), with_artifacts=True)


def senses(proximity=(0,) * 6, angle=0.0, distance=3.0):
    return Senses(*(jnp.asarray(x, float) for x in (proximity, angle, distance)))


def test_the_weights_follow_from_spikes_and_rewards_by_eq_2_and_3(lessons):
    (found, first), p, L = lessons, PARAMETERS, round(BRAIN.delay / BRAIN.resolution)
    w, record = first.copy(), found.record
    ends, ended = np.cumsum(found.steps), 0
    fresh = True
    for t in range(int(found.ticks)):
        if fresh:
            pre_trace, post_trace = np.zeros(len(w)), np.zeros(w.shape[1])
            late, e = [np.zeros(w.shape[1])] * L, np.zeros_like(w)
        for pre, post in zip(record.sensor[t], record.motor[t], strict=True):
            late = [*late, post]
            seen, late = late[0], late[1:]  # the synapse sees a post spike after the delay
            pre_trace, post_trace = pre_trace * np.exp(-1 / p.tau_plus), post_trace * np.exp(-1 / p.tau_minus)
            e = e * np.exp(-1 / p.tau_e)
            e += p.a_plus * np.outer(pre_trace, seen) - p.a_minus * np.outer(pre, post_trace)
            pre_trace, post_trace = pre_trace + pre, post_trace + seen
        w = np.clip(w + p.eta * np.repeat(record.reward[t], BRAIN.motor) * e, 0.0, p.w_max)
        fresh = t + 1 in ends
        ended += fresh
    np.testing.assert_allclose(found.weights, w, rtol=0, atol=1e-9)
    assert np.abs(w - first).mean() > 0.05
    assert ended >= 2
    np.testing.assert_array_equal(np.isfinite(found.errors), np.arange(120) < found.ticks)
    np.testing.assert_allclose(found.errors[: found.ticks], np.abs(record.reward).mean(axis=1)[: found.ticks])


def test_the_wheels_turn_as_the_motor_neurons_fire(lessons):
    record = lessons[0].record
    counts = record.motor.reshape(120, 50, 2, BRAIN.motor).sum(axis=1).mean(axis=2)
    np.testing.assert_allclose(record.wheels, np.minimum(counts / 0.05 / BRAIN.full, 1.0))
    assert len(np.unique(record.wheels)) > 5
    turned = np.angle(np.exp(1j * np.diff(record.state.heading[:40])))
    np.testing.assert_allclose(turned, np.diff(record.wheels[:39], axis=1)[:, 0] * 0.05 / ARENA.axle, atol=1e-9)


def test_sensors_share_one_rate_and_the_nearest_obstacle_takes_its_part():
    for one in (senses(angle=2.5), senses((0, 0, 0.7, 0.4, 0, 0), -1.0), senses((0.2, 0, 0, 0, 0, 0.9))):
        np.testing.assert_allclose(sensor_rates(BRAIN, ARENA, one).sum(), BRAIN.rate, rtol=1e-6)
    rates = sensor_rates(BRAIN, ARENA, senses((0, 0, 0.7, 0.4, 0, 0), 0.4))
    np.testing.assert_allclose(rates[8:], [0, 0, 700, 0, 0, 0], rtol=1e-6)
    cells = (np.arange(8) + 0.5) * np.pi / 4 - np.pi
    away = np.angle(np.exp(1j * (0.4 - cells))) / (np.pi / 4)
    code = np.exp(-0.5 * (away / 0.6) ** 2)
    np.testing.assert_allclose(rates[:8], 300 * code / code.sum(), rtol=1e-4)
    beyond = sensor_rates(BRAIN, ARENA, senses((0, 0, 0.7, 0, 0, 0), 0.4, distance=0.3))
    np.testing.assert_array_equal(beyond[8:], 0)  # it is behind the target
    turned = [sensor_rates(BRAIN, ARENA, senses(angle=x))[:8] for x in (-np.pi, np.pi - 1e-6)]
    np.testing.assert_allclose(*turned, rtol=1e-3)  # the circle is closed


def test_the_teacher_turns_to_the_target_and_away_from_the_obstacle():
    left, right = desired(ARENA, PARAMETERS, senses(angle=0.5))
    assert left < PARAMETERS.cruise < right
    np.testing.assert_allclose(desired(ARENA, PARAMETERS, senses(angle=0.0)), PARAMETERS.cruise)
    for k in range(6):
        near = np.eye(6)[k]
        left, right = desired(ARENA, PARAMETERS, senses(near, 0.3))
        assert (left > right) == (bearings(6)[k] > 0)
        mirrored = desired(ARENA, PARAMETERS, senses(near[::-1], -0.3))
        np.testing.assert_allclose(mirrored, [right, left], rtol=1e-6)
    ahead, aside = (desired(ARENA, PARAMETERS, senses(np.eye(6)[k])) for k in (3, 5))
    assert ahead[0] - ahead[1] > aside[0] - aside[1] > 0


def test_after_learning_nine_of_ten_unseen_targets_are_reached_and_hardly_any_before(evaluation):
    one = {name: value[0] for name, value in evaluation.metrics.items()}
    assert one["reached"] >= 0.9
    assert one["collided"] <= 0.02
    assert one["untrained_reached"] < 0.1
    assert one["untrained_collided"] > 0.2
    assert 1.05 < one["detour"] < 1.5
    np.testing.assert_allclose(evaluation.fitness, one["reached"] - one["collided"])
    errors = evaluation.artifacts["training_error"][0]
    assert np.nanmean(errors[-500:]) < 0.6 * np.nanmean(errors[:20])
    weights = evaluation.artifacts["after.sensor_motor"][0].reshape(18, 2, 10).mean(axis=2)
    more = weights[:, 1] - weights[:, 0]  # of the right motor than of the left one
    angles = (np.arange(12) + 0.5) * 30 - 180
    aside = (np.abs(angles) > 20) & (np.abs(angles) < 140)
    np.testing.assert_array_equal(np.sign(more[:12][aside]), np.sign(angles[aside]))
    np.testing.assert_array_equal(np.sign(more[12:]), [1, 1, 1, -1, -1, -1])


def test_recorded_drives_are_the_teachers_whatever_the_network_would_do():
    training = Training(worlds=2, budget=40, data="recorded")
    run = jax.jit(lambda w, key: learn(BRAIN, ARENA, training, PARAMETERS, w, key, record=True))
    first = first_weights(BRAIN, ARENA, PARAMETERS, jax.random.key(1))
    one, other = (run(w, jax.random.key(2)) for w in (first, 0.2 * first))
    np.testing.assert_array_equal(one.record.state.position, other.record.state.position)
    assert (one.record.wheels != other.record.wheels).any()
    asked = one.record.reward + one.record.wheels  # what the teacher asks for, and what moves
    turned = np.diff(np.unwrap(one.record.state.heading))
    assert (one.steps == 0).all()  # still in the first world
    assert np.corrcoef((asked[:, 1] - asked[:, 0])[:-1], turned)[0, 1] > 0.999
    assert np.abs(one.weights - first).mean() > 0.05


def test_with_rewards_of_random_sign_nothing_is_learned():
    brain, arena, training = VEHICLE.brain, VEHICLE.arena, replace(VEHICLE.training, reward="random")
    parameters = LessonParameters()
    with jax.enable_x64(False):
        first = first_weights(brain, arena, parameters, jax.random.key(1))
        found = jax.jit(lambda w, key: learn(brain, arena, training, parameters, w, key))(first, jax.random.key(2))
    weights = np.asarray(found.weights).reshape(18, 2, 10).mean(axis=2)
    angles = np.radians((np.arange(12) + 0.5) * 30 - 180)
    assert np.corrcoef(weights[:12, 1] - weights[:12, 0], np.sin(angles))[0, 1] < 0.7
    assert (np.asarray(found.outcomes) == REACHED).sum() <= 2


def test_the_pictures_show_the_drives_that_were_counted(evaluation):
    found = {name: value[0] for name, value in evaluation.artifacts.items()}
    outcome, path = found["outcome"], found["path"]
    assert outcome.shape == (2, 30)
    for i in range(2):
        for v in range(2):
            way = path[i, v][np.isfinite(path[i, v, :, 0])]
            target = np.linalg.norm(found["target"][v] - way[-1])
            gaps = np.linalg.norm(found["centers"][v] - way[-1][None], axis=1) - found["radii"][v]
            if outcome[i, v] == LATE:
                assert len(way) == VEHICLE.arena.steps
            elif outcome[i, v] == REACHED:
                assert target < 0.25 + 0.06
            else:
                assert outcome[i, v] == COLLIDED
                assert gaps[found["radii"][v] > 0].min() < 0.15 + 0.06
    lengths = found["training_length"][found["training_outcome"] > 0]
    assert lengths.max() <= VEHICLE.arena.steps
    assert lengths.sum() <= evaluation.metrics["training_steps"][0] <= VEHICLE.training.budget


def test_it_draws_its_pictures(tmp_path):
    evaluation = SMALL.evaluate_batch(SMALL.by_hand[None], np.array([1]), with_artifacts=True)
    files = SMALL.draw(SMALL.space.decode(SMALL.by_hand), evaluation, tmp_path, video=True)
    assert sorted(file.name for file in files) == [
        *("drive.gif", "learning.png", "paths.png", "raster.png", "weights.png"),
    ]
    assert all(file.stat().st_size > 5000 for file in files)


def test_the_costs_of_a_decision_are_the_spikes_of_its_drives_and_their_synapses():
    found = replace(SMALL, tests=1, shown=1).evaluate_batch(SMALL.by_hand[None], np.array([1]), with_artifacts=True)
    one = {name: value[0] for name, value in found.artifacts.items()}
    steps = np.isfinite(one["heading"][-1, 0]).sum()
    assert one["sensor"].sum() > 100
    assert one["motor"].sum() > 10
    spikes = (one["sensor"].sum() + one["motor"].sum()) / steps
    np.testing.assert_allclose(found.metrics["spikes"], spikes, rtol=1e-6)
    np.testing.assert_allclose(found.metrics["operations"], one["sensor"].sum() * 2 * 2 / steps, rtol=1e-6)


def test_a_perceptron_that_turns_to_the_target_reaches_it_and_its_mirror_image_does_not(tmp_path):
    turn = np.zeros((8, 2))
    turn[6, 0] = 3.0  # the target's angle / pi, left > 0
    net = {"w_hidden": turn, "b_hidden": np.zeros(2), "b_out": np.full(2, 0.7)}
    turns = np.array([[-1.0, 1.0], [0.0, 0.0]])
    z = np.stack([MLP.space.encode(net | {"w_out": sign * turns}) for sign in (1, -1)])
    evaluation = MLP.evaluate_batch(z, np.array([1, 1]), with_artifacts=True)
    found = evaluation.metrics
    assert found["reached"][0] > 0.5 > 0.05 > found["reached"][1]
    assert found["progress"][0] > 0.6 > 0.3 > found["progress"][1]
    np.testing.assert_array_equal(evaluation.fitness, found["progress"])
    np.testing.assert_allclose(found["reached"] + found["collided"] + found["late"], 1, rtol=1e-6)
    costs = {"spikes": 0, "operations": 0, "multiply_adds": 8 * 2 + 2 * 2}
    assert {name: set(found[name]) for name in costs} == {name: {value} for name, value in costs.items()}
    assert set(found) == {"reached", "collided", "late", "progress", "detour", *costs}
    one = {name: value[0] for name, value in evaluation.artifacts.items()}
    for v in np.flatnonzero(one["outcome"][0, :2] == REACHED):
        way = one["path"][0, v][np.isfinite(one["path"][0, v, :, 0])]
        assert np.linalg.norm(way[-1] - one["target"][v]) < 0.25 + 0.06
    x, y = (one["target"][0] - one["path"][0, 0]).T
    angle = np.angle(np.exp(1j * (np.arctan2(y, x) - one["heading"][0, 0])))
    driven = np.isfinite(angle)
    push = np.tanh(3 * angle[driven] / np.pi)[:, None] * [-1, 1]
    np.testing.assert_allclose(one["wheels"][driven], 0.5 + 0.5 * np.tanh(0.7 + push), atol=1e-4)
    files = MLP.draw(MLP.space.decode(z[0]), evaluation.take(slice(0, 1)), tmp_path, video=True)
    assert sorted(file.name for file in files) == ["drive.gif", "paths.png"]
    assert all(file.stat().st_size > 5000 for file in files)


def test_progress_is_the_share_by_which_the_distance_to_the_targets_rim_has_shrunk():
    arena, world = Arena(), World(jnp.array([3.0 + Arena().reach, 0.0]), jnp.zeros((0, 2)), jnp.zeros(0))
    start = State(jnp.zeros(2), jnp.zeros(()))
    for x, expected in ((0.0, 0.0), (1.5, 0.5), (3.0, 1.0), (3.1, 1.0), (-2.0, 0.0)):
        end = State(jnp.array([x, 0.0]), jnp.zeros(()))
        np.testing.assert_allclose(progress(arena, world, start, end), expected, rtol=1e-6)


@pytest.mark.parametrize("vehicle", [SMALL, replace(SMALL, mode="mlp")], ids=["rstdp", "mlp"])
def test_it_conforms_to_the_contract(vehicle):
    assert [claim for claim in check_optimizee(vehicle, individuals=4) if not claim.ok] == []


@pytest.mark.parametrize("vehicle", [SMALL, replace(SMALL, mode="mlp")], ids=["rstdp", "mlp"])
def test_seeds_may_be_large_and_all_of_their_bits_count(vehicle):
    z = np.tile(vehicle.space.sample(np.random.default_rng(0), 1), (3, 1))
    found = vehicle.evaluate_batch(z, np.array([1, 2**40 + 1, 2**41 + 1]))
    assert found.errors == () or not any(found.errors)
    assert len(np.unique(found.metrics["progress"])) == 3


def test_the_middle_of_the_space_is_what_was_set_by_hand():
    found = VEHICLE.space.decode(VEHICLE.by_hand)
    for name, value in LessonParameters()._asdict().items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12)
    with pytest.raises(ValueError, match="mode: expected rstdp, got mlp; weights of an mlp are not set by hand"):
        _ = MLP.by_hand


@pytest.mark.parametrize(
    ("part", "fields", "text"),
    [
        (Arena, {"sectors": 5}, "sectors: expected an even number, got 5; half of them are on each side"),
        (Arena, {"sight": 0.0}, "sight: expected a number > 0, got 0"),
        (Arena, {"small": 0.6}, "large: expected a radius >= small, 0.6 m, got 0.5 m"),
        (Brain, {"delay": 0.4}, "delay: expected a multiple of the resolution, 1 ms, got 0.4 ms"),
        (Brain, {"cells": 2}, "cells: expected an integer >= 3, got 2"),
        (Training, {"reward": "none"}, "reward: expected one of 'real', 'random', got 'none'"),
        (
            Vehicle,
            {"training": Training(budget=100)},
            "budget: expected an integer >= 300, got 100; a drive has to fit in",
        ),
        (Vehicle, {"tests": 3}, "tests: expected an integer >= 4, got 3; the worlds that are shown are among them"),
        (Vehicle, {"mode": "ann"}, "mode: expected one of 'rstdp', 'mlp', got 'ann'"),
        (
            Vehicle,
            {"brain": Brain(resolution=0.3, delay=0.3, t_ref=0.3)},
            "arena.tick: expected a multiple of the resolution, 0.3 ms, got 50 ms",
        ),
    ],
)
def test_wrong_fields_are_refused(part, fields, text):
    with pytest.raises(ValueError, match=text):
        part(**fields)
