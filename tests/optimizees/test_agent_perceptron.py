"""The perceptron in an agent's place: against numpy and gymnasium, and by a policy that is known to balance."""

from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.checks import check_optimizee
from optimizees.agent import Life, perceptron
from optimizees.agent.lives import compiled_study
from optimizees.cartpole import CartPole
from optimizees.cartpole.task import CartPole as Task
from optimizees.pendulum import Pendulum
from optimizees.pendulum.task import Pendulum as PendulumTask

pytestmark = pytest.mark.usefixtures("compiled_soon")

AGENT = CartPole(mode="mlp", mlp_hidden=2, life=Life(episodes=3, fresh=2))
# hidden unit 0 sees how the pole leans and turns; it drives the right output up and the left one down
BALANCING = {
    "w_hidden": np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 0.0], [3.0, 0.0]]),
    "b_hidden": np.zeros(2),
    "w_out": np.array([[-1.0, 1.0], [0.0, 0.0]]),
    "b_out": np.zeros(2),
}
Z = np.stack([AGENT.space.encode(BALANCING), AGENT.space.encode(BALANCING | {"w_out": -BALANCING["w_out"]})])


def by_hand(net, task, seen):
    """Return the outputs in (0, 1), in numpy."""
    low, high = np.array(task.low), np.array(task.high)
    x = np.clip((seen - low) / (high - low), 0, 1) * 2 - 1
    hidden = np.tanh(x @ net.w_hidden + net.b_hidden)
    return 1 / (1 + np.exp(-2 * (hidden @ net.w_out + net.b_out)))


def test_an_episode_is_gymnasiums_under_the_perceptron_in_numpy():
    generator, task = np.random.default_rng(1), Task()
    shapes = {name: p.shape for name, p in perceptron.mlp_space(4, 5, 2).items()}
    net = perceptron.Perceptron(*(generator.normal(size=shape) for shape in shapes.values()))
    lean = np.array([[0.0], [0.0], [2.0], [2.0]])  # so that it lives for a while
    net = net._replace(w_hidden=net.w_hidden * 0.2 + lean, w_out=np.tile([[-1.0, 1.0]], (5, 1)), b_out=np.zeros(2))
    with jax.enable_x64(True):
        both = jax.jit(lambda net, key: (perceptron.play(task, 6.0, net, key), perceptron.record(task, 6.0, net, key)))
        (total, steps), trace = jax.tree.map(np.asarray, both(net, jax.random.key(3)))
    env = gymnasium.make("CartPole-v1").unwrapped
    env.reset(seed=1)
    failed, t = False, 0
    while not failed and t < 500:
        env.state = trace.state[t]
        outputs = by_hand(net, task, np.asarray(env.state))
        np.testing.assert_allclose(trace.activity[t], 6.0 * outputs, rtol=1e-9)
        assert trace.action[t] == outputs.argmax()
        _, _, failed, _, _ = env.step(int(outputs.argmax()))
        t += 1
        np.testing.assert_allclose(trace.state[t], env.state, rtol=0, atol=1e-9)
    assert total == steps == t == trace.lived.sum()
    assert t > 30
    np.testing.assert_array_equal(trace.state[t:], np.tile(trace.state[t], (501 - t, 1)))


def test_inputs_are_scaled_and_clipped_and_outputs_reach_what_spikes_can():
    task = PendulumTask()
    np.testing.assert_allclose(perceptron.scaled(task, jnp.array([np.pi / 2, -80.0])), [0.5, -1.0], rtol=1e-6)
    np.testing.assert_allclose(perceptron.most_spikes(Pendulum.body), 20 / 3)  # a spike, then 2 of 3 ms refractory
    net = perceptron.Perceptron(np.zeros((2, 1)), np.array([9.0]), np.array([[-9.0, 9.0]]), np.zeros(2))
    for sign in (-1.0, 1.0):  # the whole torque, to both sides
        activity = perceptron.most_spikes(Pendulum.body) * perceptron.forward(
            net._replace(w_out=sign * net.w_out), jnp.zeros(2)
        )
        np.testing.assert_allclose(task.act(jax.random.key(0), activity), sign * 2.0)


def test_a_policy_known_to_balance_lives_long_and_falls_in_the_mirrored_task(tmp_path):
    evaluation = AGENT.evaluate_batch(np.tile(Z, (2, 1)), np.array([1, 1, 2, 2]), with_artifacts=True)
    found, returns = evaluation.metrics, evaluation.artifacts["returns"]
    assert (evaluation.fitness[::2] > 150).all()
    assert (evaluation.fitness[1::2] < 15).all()
    np.testing.assert_allclose(evaluation.fitness, returns.mean(axis=1))
    np.testing.assert_array_equal(found["steps"], returns.sum(axis=1))
    np.testing.assert_array_equal(found["lived"], 3)
    np.testing.assert_array_equal([found[name] for name in ("drift", "spikes", "operations")], 0)
    np.testing.assert_array_equal(found["multiply_adds"], 4 * 2 + 2 * 2)
    assert np.isnan([found["rate_motor"], found["rate_inhibitory"]]).all()
    assert (found["fresh_return"] > 150).tolist() == [True, False, True, False]
    mirrored = replace(AGENT, task="mirrored").evaluate_batch(Z, np.array([1, 1])).fitness
    assert mirrored[0] < 15
    assert mirrored[1] == evaluation.fitness[0]  # the same starts, and the same pushes
    one = evaluation.take(slice(1, 2))
    files = AGENT.draw(AGENT.space.decode(Z[1]), one, tmp_path, video=True)
    assert sorted(file.name for file in files) == ["episode.gif", "episode.png", "returns.png"]
    assert all(file.stat().st_size > 5000 for file in files)


def test_metrics_are_those_of_spiking_networks():
    with jax.enable_x64(False):
        word, spiking = jnp.zeros((2, 2), jnp.uint32), replace(AGENT, mode="weights")
        shapes = [
            jax.eval_shape(
                compiled_study(one.make_study(), type(one.make_task()), False), jnp.zeros((2, one.space.size)), word
            )
            for one in (AGENT, spiking)
        ]
    assert {name: x.shape for name, x in shapes[0].items()} == {name: x.shape for name, x in shapes[1].items()}


def test_it_conforms_to_the_contract():
    assert [claim for claim in check_optimizee(AGENT, individuals=4) if not claim.ok] == []


def test_seeds_may_be_large_and_all_of_their_bits_count():
    found = AGENT.evaluate_batch(Z[[0, 0, 0, 1]], np.array([3, 2**40 + 3, 2**41 + 3, 3]), with_artifacts=True)
    assert len(np.unique(found.artifacts["state"][:3, 0], axis=0)) == 3
