import numpy as np
import pytest

from l2l_snn.checks import check_optimizee
from optimizees.cartpole import CartPole

SMALL = {"cells": (3, 3, 3, 3), "motor": 2, "step_ms": 10.0, "rate": 2000.0}
LIFE = CartPole(**SMALL, episodes=6, budget=600, share=0.5)
WEIGHTS = CartPole(**SMALL, mode="weights", episodes=3)


def genomes(optimizee: CartPole, n: int, seed: int = 0) -> np.ndarray:
    return optimizee.space.sample(np.random.default_rng(seed), n)


def balancing(optimizee: CartPole) -> np.ndarray:
    """Return the genome of weights that push the way the pole leans and turns."""
    angle, turn = np.meshgrid(*(np.linspace(-1, 1, optimizee.cells[k]) for k in (2, 3)), indexing="ij")
    leans = np.concatenate([np.zeros(optimizee.cells[0] * optimizee.cells[1]), (angle + turn).ravel()])
    right = np.clip(1.0 + 2.0 * leans, 0.0, 6.0)
    left = np.clip(1.0 - 2.0 * leans, 0.0, 6.0)
    w = np.repeat(np.stack([left, right], axis=1), optimizee.motor, axis=1)
    return optimizee.space.encode({"sensor_motor": w})


def test_it_conforms_to_the_contract():
    assert [claim for claim in check_optimizee(LIFE, individuals=4) if not claim.ok] == []


def test_fitness_is_the_mean_return_of_the_last_share_of_the_episodes_lived():
    evaluation = LIFE.evaluate_batch(genomes(LIFE, 4), np.arange(4), with_artifacts=True)
    returns = evaluation.artifacts["returns"]
    np.testing.assert_allclose(evaluation.fitness, returns[:, 3:].mean(axis=1))
    np.testing.assert_array_equal(evaluation.fitness, evaluation.metrics["last_return"])
    np.testing.assert_allclose(evaluation.metrics["first_return"], returns[:, :3].mean(axis=1))
    np.testing.assert_allclose(evaluation.metrics["mean_return"], returns.mean(axis=1))
    np.testing.assert_array_equal(evaluation.metrics["steps"], returns.sum(axis=1))
    drift = np.abs(evaluation.artifacts["after.sensor_motor"] - evaluation.artifacts["before.sensor_motor"])
    np.testing.assert_allclose(evaluation.metrics["drift"], drift.mean(axis=(1, 2)), rtol=1e-5)
    assert (drift.max(axis=(1, 2)) > 0.01).all()


def test_in_the_mode_weights_a_policy_known_to_balance_lives_long_and_its_mirror_image_falls():
    z = np.stack([balancing(WEIGHTS), genomes(WEIGHTS, 1)[0]])
    evaluation = WEIGHTS.evaluate_batch(z, np.array([1, 2]), with_artifacts=True)
    assert evaluation.fitness[0] > 100
    assert evaluation.fitness[1] < 60
    np.testing.assert_array_equal(evaluation.metrics["drift"], 0.0)
    mirrored = CartPole(**SMALL, mode="weights", episodes=3, task="mirrored")
    assert mirrored.evaluate_batch(z, np.array([1, 2])).fitness[0] < 15
    length = evaluation.artifacts["lived_through"].sum(axis=1)
    for i in range(2):
        state = evaluation.artifacts["state"][i]
        limits = np.array([2.4, 12 * np.pi / 180])
        assert (np.abs(state[: length[i]][:, [0, 2]]) <= limits).all()
        assert length[i] == 500 or (np.abs(state[length[i], [0, 2]]) > limits).any()


def test_a_frozen_life_keeps_its_weights_and_begins_as_the_one_that_learns():
    z, seeds = genomes(LIFE, 4), np.arange(4)
    frozen = CartPole(**SMALL, episodes=6, budget=600, share=0.5, plasticity="frozen")
    still, alive = (one.evaluate_batch(z, seeds, with_artifacts=True) for one in (frozen, LIFE))
    np.testing.assert_array_equal(still.metrics["drift"], 0.0)
    np.testing.assert_array_equal(still.artifacts["after.sensor_motor"], still.artifacts["before.sensor_motor"])
    np.testing.assert_array_equal(still.artifacts["before.sensor_motor"], alive.artifacts["before.sensor_motor"])
    np.testing.assert_array_equal(still.artifacts["returns"][:, 0] > 0, True)
    assert np.isnan(alive.metrics["fresh_return"]).all()


def test_the_genome_is_the_weights_the_rule_or_both():
    rule = {"eta", "a_plus", "a_minus", "tau_plus", "tau_minus", "tau_e", "w_max", "reward", "punish", "noise"}
    td = {"horizon", "value_rate", "value_trace"}
    assert set(LIFE.space.parameters) == rule | td | {"w_start"}
    assert set(CartPole(mode="both").space.parameters) == rule | td | {"sensor_motor"}
    assert set(CartPole(mode="weights").space.parameters) == {"sensor_motor"}
    other = CartPole(critic="improvement", rule="dopamine", homeostasis="scaling")
    assert set(other.space.parameters) == rule | {"w_start", "tau_n", "target", "scaling"}
    hidden = CartPole(mode="weights", hidden=7, plastic=("hidden_motor",)).space.parameters
    assert {name: p.shape for name, p in hidden.items()} == {"sensor_hidden": (64, 7), "hidden_motor": (7, 6)}


def test_inherited_weights_critic_dopamine_and_scaling_work_together():
    both = CartPole(
        **SMALL,
        mode="both",
        critic="improvement",
        rule="dopamine",
        homeostasis="scaling",
        episodes=3,
        budget=600,
        pause=3,
        fresh=2,
    )
    evaluation = both.evaluate_batch(genomes(both, 2), np.arange(2))
    assert (evaluation.fitness > 5).all()
    assert (evaluation.metrics["drift"] > 0.001).all()
    assert (evaluation.metrics["fresh_return"] > 5).all()


def test_it_draws_its_pictures(tmp_path):
    z = genomes(WEIGHTS, 2)  # episodes of some ten steps: each is a frame
    evaluation = WEIGHTS.evaluate_batch(z, np.array([1, 2]), with_artifacts=True).take(slice(0, 1))
    files = WEIGHTS.draw(WEIGHTS.space.decode(z[0]), evaluation, tmp_path, video=True)
    assert sorted(file.name for file in files) == [
        *("episode.gif", "episode.png", "raster.png", "returns.png", "weights.png"),
    ]
    assert all(file.stat().st_size > 5000 for file in files)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"mode": "evolve"}, "mode: expected one of 'weights', 'stdp_rl', 'both'"),
        ({"motor": 0}, "motor: expected an integer >= 1, got 0"),
        ({"budget": 100}, "budget: expected an integer >= 501, got 100; an episode has to fit in"),
        ({"cells": (3, 3)}, "cells: expected 4 numbers, one an observation"),
        ({"joint": ((0, 4),)}, "joint: expected groups of observations, numbered 0 to 3"),
        ({"cells": (1, 3, 3, 3)}, r"cells\[0\]: expected an integer >= 2, got 1"),
        ({"plastic": ("hidden_motor",)}, "plastic: expected one of 'sensor_motor'"),
        ({"plastic": ()}, "plastic: expected at least one projection, got none; take plasticity: frozen"),
        ({"step_ms": 20.5}, "step_ms: expected a multiple of the resolution, 1.0 ms, got 20.5"),
        ({"delay": 0.0}, "delay: expected a multiple of the resolution"),
        ({"share": 0.0}, "share: expected a number"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        CartPole(**fields)
