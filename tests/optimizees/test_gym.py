"""Gym: environments by name, beside gymnasium's own loop; what was met and did is repeated; ends of episodes."""

from dataclasses import replace
from typing import Any

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from l2l_snn.checks import check_optimizee, require
from l2l_snn.loop.job import Job, check_before_run
from l2l_snn.loop.job_file import JobError
from optimizees.gym import Gym
from optimizees.gym.environment import Friction, Noise, SideBySide, side_by_side
from optimizees.gym.networks import Coding, LIFLayers, Perceptron
from optimizees.gym.plastic import PlasticLayers
from optimizees.gym.rollout import _compile_action

pytestmark = pytest.mark.usefixtures("compiled_soon")

CART = Gym(network="perceptron", perceptron=Perceptron((4,)), envs=3, horizon=60, choice="best")
SPIKING = Gym(
    environment="Pendulum-v1", envs=2, horizon=20, segment=5,
    lif=LIFLayers(coding=Coding("place", cells=5), hidden=(6, 5), steps=4, keep=True, gain=4.0),
)  # fmt: skip


def sampled(gym, seed=1):
    return gym.space.sample(np.random.default_rng(seed), 1)[0]


def test_keeps_the_contract_of_optimizees():
    require(check_optimizee(replace(SPIKING, horizon=5), individuals=4))


def test_fitness_is_the_mean_return_of_whole_episodes_in_gymnasiums_own_loop():
    z = sampled(CART)
    p, found = CART.space.decode(z), CART.evaluate_batch(z[None], np.array([7]), with_artifacts=True)
    starts = np.random.default_rng(7).integers(2**31, size=3)
    low, high = (np.array(ends) for ends in CART.limits)
    returns = []
    for start in starts:
        env, total, over = gymnasium.make("CartPole-v1"), 0.0, False
        seen, _ = env.reset(seed=int(start))
        while not over and total < 60:
            x = 2 * (seen - low) / (high - low) - 1
            out = np.tanh(x @ p["w_0"] + p["b_0"]) @ p["w_1"] + p["b_1"]
            seen, reward, terminated, truncated, _ = env.step(int(np.argmax(out)))
            total, over = total + reward, terminated or truncated
        returns.append(total)
    assert found.artifacts["returns"][0].tolist() == returns
    assert found.fitness[0] == np.mean(returns)
    assert found.metrics["steps"][0] == np.mean(returns)  # a reward of 1 a step
    assert len(set(returns)) > 1


@pytest.mark.parametrize("gym", [replace(CART, choice="sampled"), SPIKING], ids=["perceptron", "spiking"])
def test_with_the_keys_of_the_rollout_every_ratio_is_one_and_without_them_it_is_not(gym):
    z = sampled(gym)
    one = gym.gather(z[None], np.array([3])).experience[0]
    whole = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), one.segments)
    old = one.log_probs.reshape(-1, gym.setup.segment)
    log_probs = jax.jit(gym.log_probs)
    again = np.asarray(log_probs(z.astype("float32"), whole)[0])
    assert np.isclose(np.exp(again - old), 1.0, atol=1e-4).mean() > 0.97
    if gym is SPIKING:
        other = np.asarray(log_probs(z.astype("float32"), whole | {"words": whole["words"] + 1})[0])
        assert np.isclose(np.exp(other - old), 1.0, atol=1e-4).mean() < 0.5
        rest = jax.tree.map(np.zeros_like, whole["state"])
        other = np.asarray(log_probs(z.astype("float32"), whole | {"state": rest})[0])
        assert np.isclose(np.exp(other - old), 1.0, atol=1e-4).mean() < 0.9


def test_states_begin_anew_where_an_episode_does_and_nowhere_else():
    gym = replace(SPIKING, environment="CartPole-v1", horizon=60, segment=1)
    one = gym.gather(sampled(gym)[None], np.array([1])).experience[0]
    over, fresh = one.terminated | one.truncated, one.segments["fresh"][:, :, 0]
    assert over.any()
    np.testing.assert_array_equal(fresh[:, 1:], over[:, :-1])
    assert fresh[:, 0].all()
    whole = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), one.segments)
    rest = whole | {"state": jax.tree.map(np.zeros_like, whole["state"]), "fresh": np.zeros_like(whole["fresh"])}
    again = np.asarray(jax.jit(gym.log_probs)(sampled(gym).astype("float32"), rest)[0]).reshape(fresh.shape)
    same = np.isclose(again, one.log_probs, atol=1e-5)  # of a network that has just been made
    assert same[fresh].all()
    assert same[~fresh].mean() < 0.9


@pytest.mark.parametrize(("name", "ends"), [("Pendulum-v1", "truncated"), ("CartPole-v1", "terminated")])
def test_ends_of_two_kinds_are_told_apart_and_the_last_observation_is_kept(name, ends):
    gym = Gym(environment=name, network="perceptron", perceptron=Perceptron((4,)), envs=2, horizon=210)
    one = gym.gather(sampled(gym)[None], np.array([1])).experience[0]
    other = {"truncated": one.terminated, "terminated": one.truncated}[ends]
    assert not other.any()
    over = getattr(one, ends)
    assert over.any()
    assert not (one.terminated & one.truncated).any()
    later = one.observations[:, 1:]
    same = np.isclose(one.next_observations[:, :-1], later).all(axis=-1)
    np.testing.assert_array_equal(same, ~over[:, :-1])


def test_another_environment_in_between_changes_nothing():
    z = sampled(CART)[None]
    first = CART.evaluate_batch(z, np.array([5]))
    CART.evaluate_batch(-z, np.array([6]))
    assert CART.evaluate_batch(z, np.array([5])).fitness.tobytes() == first.fitness.tobytes()


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_environments_side_by_side_give_what_those_of_gymnasium_give(name):
    makers = [lambda: gymnasium.make(name)] * 3
    theirs, ours = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP), SideBySide(name, 3)
    np.testing.assert_array_equal(ours.reset([5, 6, 7]), theirs.reset(seed=[5, 6, 7])[0])
    theirs.action_space.seed(1)
    ends = 0
    for _ in range(210):
        actions = theirs.action_space.sample()
        seen, rewards, terminated, truncated, info = theirs.step(actions)
        found = ours.step(actions)
        for one, expected in zip(found, (seen, None, rewards, terminated, truncated), strict=True):
            if expected is not None:
                np.testing.assert_array_equal(one, expected)
                assert one.dtype == expected.dtype
        over = terminated | truncated
        np.testing.assert_array_equal(found.ended[~over], seen[~over])
        for i in np.flatnonzero(over):
            np.testing.assert_array_equal(found.ended[i], info["final_obs"][i])
            ends += 1
    assert ends


def test_environments_explore_the_less_the_later_they_come():
    gym = replace(CART, choice="epsilon", epsilon=0.5, envs=2, horizon=400)
    np.testing.assert_allclose(gym.setup.epsilons, [0.5, 0.5**8])
    z = gym.space.encode({"w_0": np.zeros((4, 4)), "b_0": np.zeros(4), "w_1": np.zeros((4, 2)), "b_1": [0.0, 1.0]})
    actions = gym.gather(z[None], np.array([1])).experience[0].actions
    assert 0.15 < (actions[0] == 0).mean() < 0.35  # half of what is explored
    assert (actions[1] == 0).mean() < 0.02


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"environment": "NoSuch-v0"}, "environment: expected the name of a gymnasium environment"),
        ({"environment": "FrozenLake-v1"}, "environment: expected observations that are a vector"),
        ({"horizon": 55, "network": "lif", "lif": LIFLayers(keep=True)}, "horizon: expected a multiple of segment"),
        ({"low": (1.0,)}, "low: expected 4 numbers, or none, got 1"),
        ({"low": (9.0,) * 4}, "low: expected numbers below those of high"),
        ({"observe": (4,)}, "observe: expected numbers below 4"),
        ({"environment": "Pendulum-v1", "choice": "epsilon"}, "choice: expected sampled or best"),
        ({"noise": Noise(action=0.1)}, "noise.action: expected 0 with discrete actions"),
        ({"network": "lif", "lif": LIFLayers(hidden=())}, "lif.hidden: expected one layer or more"),
        ({"network": "plastic", "plastic": PlasticLayers(population=3)}, "plastic.population: expected an even number"),
        (
            {"environment": "Pendulum-v1", "network": "plastic", "plastic": PlasticLayers(output="rates")},
            "plastic.output: expected signed with continuous actions",
        ),
        ({"network": "lsnn", "observe": (1,)}, "network: expected another than lsnn, .* got 1"),
    ],
)
def test_fields_that_do_not_fit_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        replace(CART, **fields)


def test_friction_of_what_has_none_is_a_failure_with_its_text():
    gym = replace(CART, noise=replace(CART.noise, friction=0.1))
    assert "noise.friction: expected 0" in gym.evaluate_batch(sampled(gym)[None], np.array([1])).errors[0]


@pytest.mark.parametrize(
    ("fields", "learner", "text"),
    [
        ({"choice": "best"}, "ppo:PPO", "choice: expected sampled, an action whose probability is known, got best"),
        ({"choice": "epsilon"}, "ppo:PPO", "choice: expected sampled"),
        (
            {"choice": "sampled", "envs": 1, "horizon": 3},
            "ppo:PPO",
            "minibatches: expected at most 3, the segments, got 4",
        ),
        (
            {"choice": "sampled", "envs": 1, "horizon": 7},
            "ppo:PPO",
            "minibatches: expected at most 3, of two steps each",
        ),
        ({"choice": "best"}, "dqn:DQN", "choice: expected epsilon, or sampled, which explore"),
        ({"environment": "Pendulum-v1"}, "dqn:DQN", "environment: expected discrete actions, got Pendulum-v1"),
        (
            {"network": "lif", "lif": {"keep": True}, "horizon": 20},
            "dqn:DQN",
            "network: expected one whose outputs follow",
        ),
        (
            {"network": "lif", "lif": {"coding": {"kind": "place"}}},
            "dqn:DQN",
            "network: expected one whose outputs follow",
        ),
        ({"network": "plastic", "horizon": 20}, "dqn:DQN", "network: expected one whose outputs follow"),
    ],
)
def test_what_an_optimizer_cannot_learn_from_is_refused_before_a_run(fields, learner, text):
    optimizee = {"class": "optimizees.gym:Gym", "network": "perceptron", **fields}
    parts = Job(optimizee=optimizee, optimizer={"class": f"optimizers.{learner}"}).build()
    with pytest.raises(JobError, match=f"can't learn from this: .*{text}"):
        check_before_run(*parts)


class Counted(gymnasium.Env):
    """Its actions are -1, 0 and 1, and it rewards by them."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,))
    action_space = gymnasium.spaces.Discrete(3, start=-1)

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action)
        return np.zeros(1, np.float32), float(action), False, False, {}


def test_discrete_actions_begin_where_the_environments_do():
    gymnasium.register("Counted-v0", Counted, disable_env_checker=True)
    gym = Gym(
        environment="Counted-v0", network="perceptron", perceptron=Perceptron((2,)), envs=1, horizon=4, choice="best"
    )
    for k in range(3):
        z = gym.space.encode({"w_0": np.zeros((1, 2)), "b_0": [0, 0], "w_1": np.zeros((2, 3)), "b_1": np.eye(3)[k]})
        assert gym.evaluate_batch(z[None], np.array([1])).fitness == [4.0 * (k - 1)]


def test_other_noise_or_exploration_lets_an_optimizer_compile_nothing_anew():
    z, seeds = sampled(CART)[None], np.array([1])
    kinds = [replace(CART, choice="epsilon", epsilon=epsilon) for epsilon in (0.1, 0.2)]
    kinds = [*kinds, replace(kinds[0], noise=Noise(observation=0.1))]
    policies = [gym.gather(z, seeds).experience[0].policy for gym in kinds]
    before = _compile_action.cache_info().misses
    assert policies[0] == policies[1] == policies[2]
    kinds[1].gather(z, np.array([2]))
    assert _compile_action.cache_info().misses == before


def test_all_damped_joints_of_an_episode_change_by_one_factor_that_is_drawn_at_its_ends():
    pytest.importorskip("mujoco")
    worlds = side_by_side("HalfCheetah-v5", 2)
    models = [env.unwrapped.model for env in worlds.envs]
    usual = models[0].dof_damping.copy()
    with Friction(worlds, 0.3, np.random.default_rng(1)) as friction:
        friction.change(np.array([True, False]))
        factors = models[0].dof_damping[3:] / usual[3:]
        assert factors == pytest.approx(factors[0])
        assert factors[0] != 1
        np.testing.assert_array_equal(models[0].dof_damping[:3], 0.0)
        np.testing.assert_array_equal(models[1].dof_damping, usual)
    with pytest.raises(ValueError, match=r"noise\.friction: expected 0 where no joint is damped"):
        Friction(side_by_side("Swimmer-v5", 1), 0.3, np.random.default_rng(1))


def test_plastic_layers_are_the_neurons_and_rules_of_the_engine_step_by_step():
    net = PlasticLayers(
        rule="nd_oja", coding=Coding("place", cells=4), hidden=(5,), population=4, steps=6, w=6.0, gain=2.0
    )
    space = Gym(environment="Pendulum-v1", network="plastic", plastic=net, horizon=10).space
    params = space.decode(jnp.asarray(space.sample(np.random.default_rng(1), 1)[0], "float32"))
    state, seen = net.init(params), jnp.array([0.3, -0.5, 0.1])
    cells, rules = net._make_cell(), [net._make_rule(params, k) for k in range(2)]
    sizes = [params[f"w_{k}"].shape for k in range(2)]
    after = [(cells.init(n), rule.init(m, n)) for (m, n), rule in zip(sizes, rules, strict=True)]
    arriving = [cells.init(m).psp for m, _ in sizes]
    p = cells.propagators(1.0)
    for t in range(2):  # two actions
        key = jax.random.key(t)
        state, out, rate = net.step(params, state, seen, key)
        train, total = net.coding.encode(key, seen, 6), 0.0
        for k in range(2):
            cell_state, trace = after[k]
            w = params[f"w_{k}"] + params[f"alpha_{k}"] * trace.e
            sent = []
            for s in train:
                # the response to what came before is what a cell's own kernel gives for a weight of 1
                response = p.decay_s * (arriving[k].a + p.rise_s * arriving[k].x)
                arriving[k] = type(arriving[k])(p.decay_s * arriving[k].x + s, response)
                kernel = cell_state.refractory
                nu = p.decay_ref * (kernel.a + p.rise_ref * kernel.x)
                z = (response @ w - 20.0 * nu >= 10.0) * 1.0
                cell_state = cell_state._replace(refractory=type(kernel)(p.decay_ref * kernel.x + z, nu))
                trace = rules[k].observe(trace, s, z)
                sent.append(z)
            after[k] = cell_state, rules[k].update(trace)
            train = jnp.stack(sent)
            total += float(train.sum()) / train.shape[1]
        counts = train.sum(axis=0)
        expected = 2.0 * (counts[:2].sum() - counts[2:].sum()) / (6 * 2)
        assert float(out[0]) == pytest.approx(float(expected), abs=1e-6)
        assert float(rate) == pytest.approx(total / 2, rel=1e-5)
        assert total > 0.1
    np.testing.assert_allclose(state[0].trace.e, after[0][1].e, rtol=1e-4, atol=1e-6)
    assert float(np.abs(state[0].trace.e).max()) > 0


def test_noise_changes_what_its_name_says_and_leaves_the_models_as_they_were():
    pytest.importorskip("mujoco")
    quiet = Gym(environment="HalfCheetah-v5", network="perceptron", perceptron=Perceptron((4,)), envs=2, horizon=6)
    z, seeds = sampled(quiet)[None], np.array([1])
    usual = side_by_side("HalfCheetah-v5", 2).envs[0].unwrapped.model.dof_damping.copy()
    still = quiet.gather(z, seeds).experience[0]
    found = {}
    for name in ("observation", "action", "friction"):
        one = replace(quiet, noise=Noise(**{name: 0.5})).gather(z, seeds).experience[0]
        found[name] = np.isclose(one.observations, still.observations).all(axis=-1)[:, 0].tolist()
        assert not np.isclose(one.next_observations[:, -1], still.next_observations[:, -1]).all()
    assert found == {"observation": [False, False], "action": [True, True], "friction": [True, True]}
    np.testing.assert_array_equal(side_by_side("HalfCheetah-v5", 2).envs[0].unwrapped.model.dof_damping, usual)
    assert quiet.gather(z, seeds).experience[0].observations.tobytes() == still.observations.tobytes()


def test_what_mujoco_says_is_logged_and_no_file_is_left_where_one_stands(tmp_path, monkeypatch, caplog, capfd):
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    worlds = SideBySide("HalfCheetah-v5", 1)
    worlds.reset([1])
    physics: Any = worlds.envs[0].unwrapped
    physics.data.qvel[:] = 1e12
    worlds.step(np.zeros((1, 6)))
    assert any("simulation is unstable" in text for text in caplog.messages)
    assert not any("deprecated" in text for text in caplog.messages)
    assert list(tmp_path.iterdir()) == []
    assert "deprecated" not in capfd.readouterr().err
