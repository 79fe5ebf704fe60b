import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from optimizees.cartpole.task import ANGLE, POSITION, START, TASKS, CartPole


def gymnasiums(carts, steps):
    """Return states (C, T + 1, 4), actions and failures (C, T) of C carts; nan and -1 after an episode's end.

    Half of the carts are pushed at random, half the way that their pole leans and falls: they live longer.
    """
    generator, env = np.random.default_rng(1), gymnasium.make("CartPole-v1")
    states, actions = np.full((carts, steps + 1, 4), np.nan), np.full((carts, steps), -1)
    failed = np.zeros((carts, steps), bool)
    for i in range(carts):
        env.reset(seed=i)
        states[i, 0] = env.unwrapped.state
        for t in range(steps):
            leans = np.dot(states[i, t], [0.05, 0.1, 1.0, 0.3]) > 0
            actions[i, t] = leans if i % 2 else generator.integers(2)
            _, reward, failed[i, t], _, _ = env.step(int(actions[i, t]))
            states[i, t + 1] = env.unwrapped.state
            assert reward == 1.0
            if failed[i, t]:
                break
    return states, actions, failed


def test_episodes_equal_gymnasiums_step_for_step():
    states, actions, failed = gymnasiums(30, 200)

    def one(state, action):
        state, reward, over = CartPole().step(state, action)
        return state, (state, reward, over)

    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(lambda s, a: jax.lax.scan(one, s, a)[1]))
        found, reward, over = run(jnp.asarray(states[:, 0]), jnp.asarray(actions))
        assert found.dtype == reward.dtype == "float64"
    through = actions >= 0
    np.testing.assert_allclose(
        found[through], states[:, 1:][through], rtol=0, atol=1e-8
    )  # balancing doubles an error in 10 steps
    np.testing.assert_array_equal(over[through], failed[through])
    np.testing.assert_array_equal(reward, 1.0)
    assert through.sum(axis=1).min() < 15
    assert through.sum(axis=1).max() == 200
    assert failed[::2].any(axis=1).all()


def test_a_step_in_single_precision_is_gymnasiums_to_rounding():
    states, actions, failed = gymnasiums(10, 100)
    through = actions >= 0
    with jax.enable_x64(False):
        step = jax.jit(jax.vmap(CartPole().step))
        found, _, over = step(jnp.asarray(states[:, :-1][through]), jnp.asarray(actions[through]))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found, states[:, 1:][through], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(over, failed[through])


def test_it_fails_where_gymnasium_does_and_starts_where_it_starts():
    env = gymnasium.make("CartPole-v1").unwrapped
    assert env.x_threshold == POSITION
    assert env.theta_threshold_radians == ANGLE
    with jax.enable_x64(True):
        starts = np.asarray(jax.jit(jax.vmap(CartPole().reset))(jax.random.split(jax.random.key(1), 2000)))
    assert starts.shape == (2000, 4)
    assert np.abs(starts).max() < START == 0.05
    np.testing.assert_allclose(starts.mean(axis=0), 0.0, atol=0.003)
    np.testing.assert_allclose(starts.std(axis=0), 0.05 / 3**0.5, rtol=0.05)
    assert gymnasium.spec("CartPole-v1").max_episode_steps == CartPole().steps


def test_the_mirrored_task_is_the_standard_one_with_its_actions_exchanged():
    generator = np.random.default_rng(2)
    state = jnp.asarray(generator.normal(size=4) * 0.1)
    for action in (0, 1):
        expected = jax.jit(TASKS["standard"].step)(state, action)
        for one, other in zip(jax.jit(TASKS["mirrored"].step)(state, 1 - action), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_rescaled_task_is_gymnasiums_with_those_numbers():
    env, task = gymnasium.make("CartPole-v1").unwrapped, TASKS["rescaled"]
    env.reset(seed=1)
    env.masspole, env.length, env.force_mag = task.pole, task.length, task.force
    env.total_mass, env.polemass_length = env.masscart + env.masspole, env.masspole * env.length
    state = np.array([0.1, -0.3, 0.05, 0.4])
    for action in (0, 1):
        env.state = state
        env.step(action)
        with jax.enable_x64(True):
            found = jax.jit(task.step)(jnp.asarray(state), action)[0]
        np.testing.assert_allclose(found, env.state, rtol=1e-13)
    assert np.abs(env.state - TASKS["standard"].step(jnp.asarray(state), 1)[0]).max() > 1e-3


def test_the_error_is_zero_upright_in_the_middle_and_grows_with_every_number():
    task = CartPole()
    assert task.error(jnp.zeros(4)) == 0
    np.testing.assert_allclose(task.error(jnp.asarray(task.high)), 2.0, rtol=1e-6)
    for k in range(4):
        assert task.error(jnp.zeros(4).at[k].set(0.1)) > task.error(jnp.zeros(4).at[k].set(0.05)) > 0
