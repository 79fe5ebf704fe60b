"""Pendulum: against gymnasium, and by policies whose returns are known to be good or bad."""

from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizees.agent import Life
from optimizees.pendulum import Pendulum
from optimizees.pendulum.task import SPEED, TORQUE
from optimizees.pendulum.task import Pendulum as Task

pytestmark = pytest.mark.usefixtures("compiled_soon")


def test_episodes_equal_gymnasiums_step_for_step():
    env, generator = gymnasium.make("Pendulum-v1"), np.random.default_rng(1)
    states, rewards = np.zeros((10, 201, 2)), np.zeros((10, 200))
    torques = generator.uniform(-3, 3, (10, 200))  # beyond the limit too
    for i in range(10):
        env.reset(seed=i)
        states[i, 0] = env.unwrapped.state
        for t in range(200):
            seen, rewards[i, t], over, _, _ = env.step(torques[i, t : t + 1])
            states[i, t + 1] = env.unwrapped.state
            assert not over

    def one(state, torque):
        after, reward, over = Task().step(state, torque)
        return after, (after, reward, over)

    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(lambda s, u: jax.lax.scan(one, s, u)[1]))
        found, reward, over = run(jnp.asarray(states[:, 0]), jnp.asarray(torques))
        observed = Task().observe(found[-1, -1])
    np.testing.assert_allclose(found, states[:, 1:], rtol=0, atol=1e-8)
    np.testing.assert_allclose(reward, rewards, rtol=0, atol=1e-8)
    assert not over.any()
    assert np.abs(states[..., 0]).max() > 2 * np.pi  # some went round, and some were as fast as may be
    assert np.abs(states[..., 1]).max() == SPEED
    np.testing.assert_allclose([np.cos(observed[0]), np.sin(observed[0]), observed[1]], seen, rtol=1e-6)
    limits = env.unwrapped
    assert (limits.max_torque, limits.max_speed, env.spec.max_episode_steps) == (TORQUE, SPEED, Task().steps)


def test_it_starts_where_gymnasium_does_and_its_error_is_the_cost():
    starts = jax.vmap(Task().reset)(jax.random.split(jax.random.key(1), 2000))
    np.testing.assert_allclose(np.abs(starts).max(axis=0), [np.pi, 1.0], rtol=0.01)
    np.testing.assert_allclose(starts.std(axis=0), np.array([np.pi, 1.0]) / 3**0.5, rtol=0.05)
    for state in starts[:5]:
        np.testing.assert_allclose(Task().error(state) ** 2, -Task().step(state, 0.0)[1], rtol=1e-5)


def test_the_torque_is_the_difference_of_two_populations():
    for spikes, torque in (((3.0, 0.0), -2.0), ((0.0, 1.5), 1.0), ((4.0, 4.0), 0.0), ((0.0, 9.0), 2.0)):
        np.testing.assert_allclose(Task().act(jax.random.key(0), jnp.array(spikes)), torque)


def test_weights_that_pump_and_brake_do_better_than_their_mirror_image_and_learn_on(tmp_path):
    body = replace(Pendulum.body, cells=(5, 3))
    life = Pendulum(mode="both", body=body, life=Life(episodes=2, budget=410, share=0.5))
    angle, speed = np.meshgrid(np.linspace(-np.pi, np.pi, 5), np.linspace(-8, 8, 3), indexing="ij")
    up = np.abs(angle) < 2
    push = np.clip(np.where(up, -2 * angle - 0.5 * speed, 0.5 * speed), -1, 1).ravel()
    w = np.stack([3 - 3 * push, 3 + 3 * push], axis=1)
    rule = life.space.decode(np.full(life.space.size, 0.5)) | {"eta": 0.01, "noise": 20.0, "w_max": 6.0}
    rule |= {"reward": 0.0, "punish": 0.1, "horizon": 300.0}  # it learns too slowly to unlearn what it inherits
    z = [life.space.encode(rule | {"sensor_motor": weights}) for weights in (w, w[:, ::-1])]
    evaluation = life.evaluate_batch(np.tile(z, (6, 1)), np.repeat(np.arange(6), 2), with_artifacts=True)
    good, bad = evaluation.metrics["mean_return"].reshape(6, 2).mean(axis=0)
    assert good > bad + 100
    assert (evaluation.metrics["drift"] > 0.001).all()
    np.testing.assert_allclose(evaluation.artifacts["before.sensor_motor"][0], w, rtol=1e-5)
    np.testing.assert_array_equal(evaluation.metrics["steps"], 400)
    np.testing.assert_allclose(evaluation.fitness, evaluation.artifacts["returns"][:, 1], rtol=1e-6)
    files = life.draw(life.space.decode(z[0]), evaluation.take(slice(0, 1)), tmp_path)
    assert sorted(file.name for file in files) == ["episode.png", "raster.png", "returns.png", "weights.png"]
    assert all(file.stat().st_size > 5000 for file in files)


def test_wrong_fields_are_refused():
    with pytest.raises(ValueError, match="cells: expected 2 numbers, one an observation"):
        Pendulum(body=replace(Pendulum.body, cells=(3, 3, 3)))
    with pytest.raises(ValueError, match="budget: expected an integer >= 201, got 200; an episode has to fit in"):
        Pendulum(life=Life(budget=200))
