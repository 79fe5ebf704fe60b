"""Navigation: the arena for gymnasium and in JAX, an LSNN that acts in it, DEEP R in PPO's steps."""

from dataclasses import replace

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from l2l_snn.checks import check_optimizee, require
from optimizees.gym import Gym
from optimizees.gym.arena import Arena, ArenaEnv, ArenaTwin, measure_paths
from optimizees.gym.environment import Noise
from optimizees.gym.lsnn import LSNN
from optimizees.gym.setup import Shaping
from optimizees.gym.twin import follow
from optimizers.ppo import PPO

pytestmark = pytest.mark.usefixtures("compiled_soon")

NET = LSNN(
    excitatory=8, inhibitory=4, adaptive=6, grid=4, signals=2, dt=5.0, steps=3, w_in=3.0, w_rec=2.0, w_out=3.0,
    width=0.5, temperature=0.1,
)  # fmt: skip
GYM = Gym(
    environment="optimizees.gym.arena:l2l/ArenaCoarse-v0", network="lsnn", lsnn=NET, engine="jax", envs=6, horizon=120,
    segment=10, log_std=0.0,
)  # fmt: skip
Z = GYM.space.sample(np.random.default_rng(1), 1)


@pytest.fixture(scope="module")
def gathered():
    """What six environments met in 120 steps, in which an episode of 100 ends."""
    return GYM.gather(Z, np.array([3]))


@pytest.mark.parametrize("name", ["Arena-v0", "ArenaCoarse-v0"])
def test_the_arena_passes_gymnasiums_checks(name):
    check_env(gymnasium.make(f"optimizees.gym.arena:l2l/{name}").unwrapped, skip_render_check=True)


def test_the_twin_is_equal_step_for_step():
    with jax.enable_x64(True):
        seen, twin = set(), ArenaTwin(Arena(action_ms=30.0, steps=200))
        step, env = jax.jit(twin.step), ArenaEnv(action_ms=30.0, steps=200)
        for seed in range(3):
            draws, generator = gymnasium.utils.seeding.np_random(seed)[0], np.random.default_rng(seed)
            observed, info = env.reset(seed=seed)
            state = twin.reset(jnp.asarray(draws.random(3)))
            np.testing.assert_allclose(state.goal, info["goal"], atol=1e-12)
            for t in range(200):
                np.testing.assert_allclose(twin.observe(state), observed, atol=1e-7)  # which is float32
                away = np.array(info["goal"]) - observed[:2]
                action = generator.uniform(-1, 1, 2) if t % 40 < 20 else 3 * away  # wanders, then goes there
                action = np.clip(action * (t % 7 > 0), -1, 1)  # and stands still at times
                observed, reward, terminated, _, info = env.step(action)
                state, *twins = step(state, jnp.asarray(action), jnp.asarray(draws.random(2)))
                assert [float(twins[0]), bool(twins[1])] == [reward, terminated]
                assert bool(twins[2]) == (t == 199)  # gymnasium's wrapper has the limit of time
                seen.add(reward)
            assert bool(state.found)
        assert seen == {0.0, 1.0, -0.02}


def test_a_wall_cuts_the_way_short_and_never_lets_out():
    env = ArenaEnv()
    env.reset(seed=1)
    env._x, env._y = 0.95, 0.0
    env.goal = (-1.0, 0.0)
    seen, reward, *_ = env.step(np.array([0.6, 0.8]))
    assert reward == -0.02
    assert np.hypot(*seen[:2]) == pytest.approx(1.0)
    assert seen[1] / (seen[0] - 0.95) == pytest.approx(0.8 / 0.6, rel=1e-5)  # on its straight way


def test_paths_are_counted_from_the_start_and_from_goal_to_goal():
    rewards = np.zeros((10, 4))
    rewards[[2, 3, 7], 0] = 1.0
    rewards[5, 1], rewards[9, 1] = 1.0, -0.02
    rewards[[0, 8], 2] = 1.0
    none = np.nan
    np.testing.assert_array_equal(measure_paths(rewards), [[3, 6, 1, none], [1, none, 8, none], [4, none, 8, none]])


def test_keeps_the_contract_of_optimizees():
    require(check_optimizee(replace(GYM, envs=2, horizon=10), individuals=3))


def test_a_compiled_rollout_is_the_worlds_own_steps_and_begins_anew_at_ends_alone(gathered):
    rollout, worlds = follow(GYM.setup, Z[0], 3)
    twin, one = GYM.worlds.twin, gathered.experience[0]
    np.testing.assert_array_equal(rollout.rewards.T, one.rewards)
    assert set(np.unique(one.rewards)) == {np.float32(r) for r in (-0.02, 0.0, 1.0)}
    np.testing.assert_allclose(rollout.seen[..., :2], worlds.place, atol=1e-6)
    np.testing.assert_allclose(rollout.seen[..., 2:], 2 * worlds.told - 1, atol=1e-6)
    given = jax.tree.map(lambda x: x[:-1].reshape(-1, *x.shape[2:]), (worlds, rollout.actions.clip(-1, 1)))
    after, rewards, _, over = jax.vmap(twin.step)(*given, jnp.zeros((len(given[1]), 3)))
    np.testing.assert_array_equal(rewards, rollout.rewards[:-1].ravel())
    usual = ~np.asarray(over) & (np.asarray(rewards) <= 0)
    np.testing.assert_allclose(worlds.place[1:].reshape(-1, 2)[usual], after.place[usual], atol=1e-6)
    assert np.flatnonzero(rollout.truncated.any(axis=1)).tolist() == [99]
    assert np.flatnonzero(rollout.fresh.any(axis=1)).tolist() == [0, 100]
    np.testing.assert_allclose(one.next_observations[:, :-1][~one.truncated[:, :-1]],
                               one.observations[:, 1:][~one.truncated[:, :-1]], atol=1e-6)  # fmt: skip
    forgetful, _ = follow(replace(GYM, forget=True).setup, Z[0], 3)
    expected = forgetful.truncated[:-1] | (forgetful.rewards[:-1] > 0)
    np.testing.assert_array_equal(forgetful.fresh[1:], expected)
    assert (expected.sum() > 6).all()


def test_shaping_adds_what_the_way_to_a_goal_that_was_found_has_become_shorter(gathered):
    shaped = replace(GYM, shaping=Shaping(0.5, 0.9)).gather(Z, np.array([3]))
    rollout, worlds = follow(GYM.setup, Z[0], 3)
    phi = -np.hypot(*np.moveaxis(worlds.place - worlds.goal, -1, 0)) * worlds.found
    expected = rollout.rewards[:-1] + 0.5 * (0.9 * phi[1:] - phi[:-1])
    goes_on = ~rollout.truncated[:-1]
    np.testing.assert_allclose(shaped.experience[0].rewards.T[:-1][goes_on], expected[goes_on], atol=1e-5)
    np.testing.assert_array_equal(shaped.fitness, gathered.fitness)
    assert (phi < 0).any()


def test_with_the_keys_and_states_of_the_rollout_every_ratio_is_one(gathered):
    one = gathered.experience[0]
    whole = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), one.segments)
    log_probs = jax.jit(GYM.log_probs)
    again = np.asarray(log_probs(Z[0].astype("float32"), whole)[0])
    assert np.isclose(np.exp(again - one.log_probs.reshape(again.shape)), 1.0, atol=1e-3).mean() > 0.97
    rest = jax.tree.map(np.zeros_like, whole["state"])
    other = np.asarray(log_probs(Z[0].astype("float32"), whole | {"state": rest})[0])
    assert np.isclose(np.exp(other - one.log_probs.reshape(again.shape)), 1.0, atol=1e-3).mean() < 0.9


def test_an_action_is_the_equations_of_the_source_step_by_step():
    net, params = NET, GYM.space.decode(Z[0])
    w = {name: s * np.maximum(params[name], 0) for name, s in net.signs(4, 2).items()}
    state, seen, key = net.init(params), jnp.array([0.2, -0.4, -1.0, 1.0]), jax.random.key(1)
    v, b, z, trace, total, n = np.zeros(18), np.zeros(18), np.zeros(18), np.zeros(18), 0.0, np.arange(18)
    rest = np.zeros(18)
    alpha, rho, beta = np.exp(-5 / 20), np.exp(-5 / 1200), np.where(n >= 12, net.beta, 0.0)
    simulate = jax.jit(net.simulate)
    for _ in range(4):
        state, found = simulate(params, state, seen, key)
        for x in np.asarray(found.inputs):
            b = rho * b + (1 - rho) * z / 5  # 004, eq. 2
            threshold = net.v_th + beta * b  # eq. 1
            fires = np.where(rest > 0, 0.0, v >= threshold)
            v = alpha * v + (1 - alpha) * (x @ w["w_in"] + z @ w["w_rec"]) - threshold * z
            rest, z = np.where(fires > 0, 1, np.maximum(rest - 1, 0)), fires
            trace, total = alpha * trace + z, total + z.sum()
        np.testing.assert_array_equal(found.spikes[-1], z)
        np.testing.assert_allclose(found.out, trace @ w["w_out"] + params["b_out"], rtol=1e-3, atol=1e-5)
    assert total > 20
    assert state.cell.b[n >= 12].max() > 0
    assert (found.inputs[:, 16:18] == 0).all()  # not rewarded ...
    assert (found.inputs[:, 18:] == 1).all()  # ... but punished: 200 Hz in steps of 5 ms


def count_connections(z):
    params = GYM.space.decode(z)
    return {name: ((np.asarray(params[name]) > 0) & (s != 0)).sum() for name, s in NET.signs(4, 2).items()}


def test_rewiring_keeps_the_number_of_connections_and_lets_dormant_ones_lie():
    signs, generator = NET.signs(4, 2), np.random.default_rng(1)
    own = {name: s.any(axis=1) for name, s in signs.items()}
    assert all(row.all() for row in own.values())
    before = Z[0].astype("float32")
    after = before + generator.standard_normal(before.shape).astype("float32")
    found = jax.jit(GYM.rewire)(before, after, jnp.float32(0.0), jnp.array([1, 2], jnp.uint32))
    assert count_connections(before) == count_connections(found) != count_connections(after)
    for name in ("w_in", "w_out"):
        old, asked, new = (np.asarray(GYM.space.decode(z)[name]) for z in (before, after, found))
        there, stays = old > 0, (old > 0) & (asked > 0)
        np.testing.assert_allclose(new[stays], asked[stays], rtol=1e-3, atol=1e-5)
        assert (new[there & ~stays] <= 0).mean() > 0.5  # unless they were drawn at once
        lie = ~there & ~(new > 0)
        np.testing.assert_allclose(new[lie], old[lie], rtol=1e-4)
        assert 0 < ((new > 0) & ~there).sum() <= (there & ~stays).sum()
    np.testing.assert_array_equal(GYM.space.decode(found)["b_out"], GYM.space.decode(after)["b_out"])
    again = jax.jit(GYM.rewire)(before, after, jnp.float32(0.0), jnp.array([1, 3], jnp.uint32))
    assert (np.asarray(again) != np.asarray(found)).any()


def test_ppo_rewires_in_each_of_its_steps(gathered):
    ppo = PPO(epochs=3, minibatches=2, critic=(4,), learning_rate=0.1)
    state = ppo.init(GYM.space, 1)._replace(z=Z[0])
    after = ppo.tell(GYM.space, state, Z, gathered)
    assert count_connections(after.z) == count_connections(Z[0].astype("float32"))
    there, now = (np.asarray(GYM.space.decode(z)["w_rec"]) > 0 for z in (Z[0], after.z))
    assert (now & ~there).sum() > 3
    assert gathered.experience[0].observations.shape[-1] == 8  # the critic knows the goal, the time, and what was found


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"environment": "CartPole-v1", "network": "lif"}, "engine: expected gymnasium, got jax"),
        ({"noise": Noise(observation=0.1)}, "noise: expected none with engine jax"),
        ({"engine": "gymnasium", "shaping": Shaping(1.0)}, "shaping.weight: expected 0 without engine jax"),
        ({"lsnn": replace(NET), "environment": "Pendulum-v1"}, "engine: expected gymnasium"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        replace(GYM, **fields)
