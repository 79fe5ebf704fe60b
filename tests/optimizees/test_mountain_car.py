from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from mountain_cars import hand_made_z

from l2l_snn.checks import check_optimizee, require
from l2l_snn.seeding import evaluation_seeds
from optimizees.mountain_car import MountainCar
from optimizees.mountain_car.on_nest import build_kernel, decode, encode
from optimizees.mountain_car.task import CarNetwork

SHORT = MountainCar(steps=30)


def genomes(n: int, seed: int = 0) -> np.ndarray:
    return SHORT.space.sample(np.random.default_rng(seed), n)


def test_the_genome_has_the_published_315_weights():
    assert MountainCar().space.size == 315
    params = MountainCar().space.decode(np.linspace(0, 1, 315))
    assert params["w_velocity"].shape == (5, 30)
    assert params["w_velocity"][0, 0] == -20.0
    assert params["w_out"][-1, -1] == 20.0


def test_an_individual_does_not_depend_on_its_neighbours():
    z, seeds = genomes(6), np.arange(11, 17)
    together = SHORT.evaluate_batch(z, seeds)
    alone = [SHORT.evaluate_batch(z[i : i + 1], seeds[i : i + 1]) for i in range(6)]
    np.testing.assert_array_equal(together.fitness, [one.fitness[0] for one in alone])
    final = [one.metrics["final_position"][0] for one in alone]
    np.testing.assert_array_equal(together.metrics["final_position"], final)
    assert len(set(together.metrics["final_position"])) == 6


def test_a_perceptron_drives_gymnasiums_car_by_its_own_forward_pass(tmp_path):
    optimizee = MountainCar(mode="mlp", mlp_hidden=4, steps=150)
    z = optimizee.space.sample(np.random.default_rng(0), 5)
    z[0] = optimizee.space.encode(  # pushes the way the car moves
        {
            "w_hidden": [[0, 0, 0, 0], [9, 0, 0, 0]],
            "b_hidden": [0] * 4,
            "w_out": [[-9, 0, 9]] + [[0] * 3] * 3,
            "b_out": [0] * 3,
        }
    )
    found = optimizee.evaluate_batch(z, np.arange(5), with_artifacts=True)
    for i, row in enumerate(z):
        car, net = gymnasium.make("MountainCar-v0").unwrapped, optimizee.space.decode(row)
        seen = car.reset(seed=i)[0]
        for t in range(150):
            x = np.array([2 * (seen[0] + 1.2) / 1.8 - 1, seen[1] / 0.07])
            action = int(np.argmax(np.tanh(x @ net["w_hidden"] + net["b_hidden"]) @ net["w_out"] + net["b_out"]))
            assert found.artifacts["actions"][i, t] == action
            seen = car.step(action)[0]
            np.testing.assert_allclose(
                [found.artifacts[name][i, t + 1] for name in ("position", "velocity")], seen, atol=1e-6
            )
            if seen[0] >= 0.5:
                break
    assert found.metrics["reached"][0] == 1
    assert found.metrics["steps"][0] < 150
    one = replace(found, artifacts={name: value[:1] for name, value in found.artifacts.items()})
    (path,) = optimizee.draw(optimizee.space.decode(z[0]), one, tmp_path)
    assert path.stat().st_size > 10_000
    require(check_optimizee(MountainCar(mode="mlp", steps=20)))


def test_it_conforms_to_the_contract():
    assert [claim for claim in check_optimizee(SHORT) if not claim.ok] == []


def test_the_car_is_gymnasiums_step_for_step():
    evaluation = SHORT.evaluate_batch(genomes(3), np.array([5, 6, 7]), with_artifacts=True)
    for i in range(3):
        env = gymnasium.make("MountainCar-v0")
        observation, _ = env.reset(seed=5 + i)
        for step, action in enumerate(evaluation.artifacts["actions"][i]):
            np.testing.assert_array_equal(observation[0], evaluation.artifacts["position"][i, step])
            np.testing.assert_array_equal(observation[1], evaluation.artifacts["velocity"][i, step])
            observation = env.step(int(action))[0]
        assert evaluation.artifacts["position"][i, -1] == observation[0]
        assert evaluation.fitness[i] == evaluation.artifacts["position"][i, 1:].max()


def test_actions_are_those_of_the_neuron_with_most_spikes():
    artifacts = MountainCar(steps=60).evaluate_batch(genomes(4), np.arange(4), with_artifacts=True).artifacts
    for counts, action in zip(artifacts["counts"].reshape(-1, 3), artifacts["actions"].reshape(-1), strict=True):
        winners = np.flatnonzero(counts == counts.max())
        assert action == (winners[0] if len(winners) == 1 else 1)
    assert len(np.unique(artifacts["actions"])) == 3
    np.testing.assert_array_equal(decode(np.array([[2, 2, 2], [0, 0, 0]])), [1, 1])


def test_recorded_spikes_of_the_output_neurons_are_the_counts():
    artifacts = SHORT.evaluate_batch(genomes(2), np.array([1, 2]), with_artifacts=True).artifacts
    for i in range(2):
        times, neurons = artifacts["spike_times"][i], artifacts["spike_neurons"][i]
        for action in range(3):
            steps = ((times[neurons == 65 + action] - 1e-6) // 20.0).astype(int)
            np.testing.assert_array_equal(np.bincount(steps, minlength=30), artifacts["counts"][i, :, action])


def test_bins_are_equal_and_values_outside_count_to_the_outermost():
    position = np.array([-1.2, -1.2 + 0.06 - 1e-6, -1.2 + 0.06 + 1e-6, 0.6, 0.7, -1.3])
    observation = np.stack([position, np.array([0.07, -0.07, 0.0, -0.0702, 0.0702, 1e-9])], axis=1)
    encoded = encode(observation.astype(np.float32), 30)
    np.testing.assert_array_equal(encoded[:, 1] - 30, [0, 0, 1, 29, 29, 0])
    np.testing.assert_array_equal(encoded[:, 0], [29, 0, 15, 0, 29, 15])


def test_a_policy_known_to_solve_the_task_reaches_the_flag():
    optimizee = MountainCar(steps=200)
    z = np.repeat(hand_made_z(optimizee)[None], 4, axis=0)
    evaluation = optimizee.evaluate_batch(z, np.arange(4), with_artifacts=True)
    assert (evaluation.fitness >= 0.5).all()
    np.testing.assert_array_equal(evaluation.metrics["reached"], 1.0)
    taken = (evaluation.artifacts["actions"] >= 0).sum(axis=1)
    np.testing.assert_array_equal(evaluation.metrics["steps"], taken)
    assert (taken < 200).all()


def test_several_episodes_give_the_mean_over_their_starts():
    several, one = MountainCar(steps=20, episodes=3), MountainCar(steps=20)
    z = genomes(2)
    seeds = evaluation_seeds(1, 0, 2)
    starts = [np.array(several.start_seeds(int(seed))) for seed in seeds]
    expected = [one.evaluate_batch(np.repeat(z[i : i + 1], 3, axis=0), starts[i]).fitness.mean() for i in range(2)]
    np.testing.assert_allclose(several.evaluate_batch(z, seeds).fitness, expected, rtol=1e-12)


def test_the_spike_map_is_one_step_from_rest_in_every_state():
    optimizee = MountainCar(CarNetwork(bins=6))
    z = optimizee.space.sample(np.random.default_rng(3), 1)
    spike_map = optimizee.spike_map(optimizee.space.decode(z[0]))
    assert spike_map.shape == (3, 6, 6)
    network = build_kernel(optimizee.network, 1, False)
    network.load(optimizee.weights(z))
    network.drive(np.array([[2, 6 + 4]]), optimizee.network.drive)
    network.run(20.0)
    np.testing.assert_array_equal(spike_map[:, 2, 4], network.counts()[0])
    assert spike_map.sum() > 0


def test_it_draws_its_pictures(tmp_path):
    z = genomes(1)
    evaluation = SHORT.evaluate_batch(z, np.array([1]), with_artifacts=True)
    files = SHORT.draw(SHORT.space.decode(z[0]), evaluation, tmp_path, video=True)
    assert {file.suffix for file in files} == {".png", ".gif"}
    assert all(file.stat().st_size > 5000 for file in files)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"hidden": 0}, "hidden: expected an integer >= 1, got 0"),
        ({"resolution": 0.0}, "resolution: expected a number > 0"),
        ({"drive_delay": 25.0}, r"drive_delay: expected a number in \[0, 20\], got 25"),
        ({"step_ms": 20.1}, "step_ms: expected a multiple of the resolution, 0.2 ms, got 20.1"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        CarNetwork(**fields)
