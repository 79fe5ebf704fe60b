"""Acrobot: against gymnasium, and by a policy that is known to swing up."""

from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optimizees.acrobot import Acrobot
from optimizees.acrobot.task import SPEEDS, START
from optimizees.acrobot.task import Acrobot as Task
from optimizees.agent import Learning, Life

pytestmark = pytest.mark.usefixtures("compiled_soon")


@pytest.fixture(scope="module")
def gymnasiums():
    """States (8, 301, 4), actions, rewards and ends (8, 300) of episodes: half pushed at random, half to swing up."""
    env, generator = gymnasium.make("Acrobot-v1"), np.random.default_rng(1)
    states, actions = np.full((8, 301, 4), np.nan), np.full((8, 300), -1)
    rewards, ends = np.zeros((8, 300)), np.zeros((8, 300), bool)
    for i in range(8):
        env.reset(seed=i)
        states[i, 0] = env.unwrapped.state
        for t in range(300):
            actions[i, t] = (0 if states[i, t, 2] > 0 else 2) if i % 2 else generator.integers(3)
            _, rewards[i, t], ends[i, t], _, _ = env.step(int(actions[i, t]))
            states[i, t + 1] = env.unwrapped.state
            if ends[i, t]:
                break
    assert env.spec.max_episode_steps == Task().steps
    assert (env.unwrapped.MAX_VEL_1, env.unwrapped.MAX_VEL_2) == SPEEDS
    return states, actions, rewards, ends


def test_every_step_is_gymnasiums(gymnasiums):
    states, actions, rewards, ends = gymnasiums
    through = actions >= 0
    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(Task().step))
        found, reward, over = map(np.asarray, run(jnp.asarray(states[:, :-1][through]), jnp.asarray(actions[through])))
    np.testing.assert_allclose(np.exp(1j * found), np.exp(1j * states[:, 1:][through]), rtol=0, atol=1e-11)
    np.testing.assert_allclose(found[:, 2:], states[:, 1:][through][:, 2:], rtol=0, atol=1e-11)
    np.testing.assert_array_equal(reward, rewards[through])
    np.testing.assert_array_equal(over, ends[through])
    assert ends.any(axis=1).sum() >= 3
    assert np.nanmax(np.abs(np.diff(states[..., 1], axis=1))) > 5  # an angle was wrapped


def test_episodes_are_gymnasiums(gymnasiums):
    states, actions, _, _ = gymnasiums
    with jax.enable_x64(True):
        run = jax.jit(lambda s, a: jax.lax.scan(lambda s, a: (Task().step(s, a)[0],) * 2, s, a)[1])
        found = run(jnp.asarray(states[0, 0]), jnp.asarray(actions[0, :100]))
    np.testing.assert_allclose(found, states[0, 1:101], rtol=0, atol=1e-6)  # chaotic: an error grows


def test_the_error_is_what_is_missing_to_the_goal(gymnasiums):
    states, actions, _, ends = gymnasiums
    with jax.enable_x64(True):
        error = np.asarray(jax.vmap(Task().error)(jnp.asarray(states[:, 1:][actions >= 0])))
        starts = jax.vmap(Task().reset)(jax.random.split(jax.random.key(1), 1000))
    np.testing.assert_array_equal(error == 0, ends[actions >= 0])
    np.testing.assert_allclose(Task().error(jnp.zeros(4)), 3.0)
    np.testing.assert_allclose(np.abs(starts).max(axis=0), START, rtol=0.02)


def test_weights_that_pump_swing_up_and_equal_ones_do_not(tmp_path):
    agent = Acrobot(life=Life(episodes=2), body=replace(Acrobot.body, cells=(2, 2, 5, 5), rate=2000.0))
    turn = np.array(
        [-1, -1, 0, 1, 1]
    )  # velocity of the upper rod; the torque goes against it, as the lower one leans back
    rows = np.tile(np.stack([2 * turn + 1, 0 * turn, 1 - 2 * turn], axis=1), (2, 1))
    w = np.concatenate([np.clip(rows, 0, 3), np.full((10, 3), 0.3)])
    shape = agent.space.parameters["sensor_motor"].shape
    z = np.stack([agent.space.encode({"sensor_motor": x}) for x in (np.repeat(w, 2, axis=1), np.full(shape, 1.0))])
    evaluation = agent.evaluate_batch(z, np.array([1, 1]), with_artifacts=True)
    assert evaluation.fitness[0] > -150
    assert evaluation.fitness[1] < -250
    np.testing.assert_allclose(evaluation.metrics["steps"] - 2, -evaluation.artifacts["returns"].sum(axis=1), atol=2)
    files = agent.draw(agent.space.decode(z[0]), evaluation.take(slice(0, 1)), tmp_path)
    assert all(file.stat().st_size > 5000 for file in files)
    assert sorted(file.name for file in files) == ["episode.png", "raster.png", "returns.png", "weights.png"]


def test_wrong_fields_are_refused():
    with pytest.raises(ValueError, match="cells: expected 4 numbers, one an observation"):
        Acrobot(body=replace(Acrobot.body, cells=(3, 3)))
    with pytest.raises(ValueError, match="budget: expected an integer >= 501, got 500; an episode has to fit in"):
        Acrobot(life=Life(budget=500))
    with pytest.raises(ValueError, match="critic: expected one of 'td', got 'improvement'"):
        Acrobot(learning=Learning(critic="improvement"))
