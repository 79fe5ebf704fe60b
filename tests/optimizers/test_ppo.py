"""PPO: advantages against a loop, the clipped gradient by hand, what a run needs of its state, learning."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.checks import check_optimizer, require
from l2l_snn.evaluation import Evaluation, Experience
from l2l_snn.loop.job import Job
from l2l_snn.loop.job_file import Complaint
from l2l_snn.loop.run import run
from l2l_snn.results.tables import generations, individuals
from l2l_snn.search.critic import Critic
from l2l_snn.search.returns import advantages
from l2l_snn.space import Free, Space
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool
from optimizees.gym import Gym
from optimizees.gym.networks import LIFLayers
from optimizers.ppo import PPO

pytestmark = pytest.mark.usefixtures("compiled_soon")


def test_keeps_the_contract_of_optimizers():
    ppo = PPO(learning_rate=0.02, epochs=2, minibatches=2, evaluations=2, critic=(4,))
    require(check_optimizer(ppo, generations=40))


@pytest.mark.parametrize("decay", [0.0, 0.9, 1.0])
def test_advantages_are_those_of_a_loop_over_single_episodes(decay):
    generator, gamma = np.random.default_rng(1), 0.97
    shape = 3, 12
    rewards, values, later = generator.standard_normal((3, *shape))
    terminated, truncated = generator.random((2, *shape)) < 0.2
    expected = np.zeros(shape)
    for b in range(3):
        for t in range(12):
            weight = 1.0
            for k in range(t, 12):
                ahead = 0.0 if terminated[b, k] else later[b, k]
                expected[b, t] += weight * (rewards[b, k] + gamma * ahead - values[b, k])
                weight *= gamma * decay
                if terminated[b, k] or truncated[b, k]:
                    break
    found = advantages(rewards, values, later, terminated, truncated, gamma, decay)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@dataclass(frozen=True)
class Line:
    """A policy of one number: its action is normal around z."""

    def log_probs(self, z, segments):
        return -0.5 * (segments["actions"] - z[0]) ** 2, jnp.zeros(segments["actions"].shape)

    def action_values(self, z, observations):
        raise NotImplementedError

    def rewire(self, before, after, rate, words):
        return after


LINE = Space(x=Free((1,)))


def experience(rewards, *, terminated=False, actions=0.0, z=0.0, old=0.0):
    """Return that of `Line` in rows (B, H) of rewards; at z the ratio is exp(old)."""
    rewards = np.asarray(rewards, float)
    actions = np.broadcast_to(actions, rewards.shape).astype(np.float32)
    over, seen = np.full(rewards.shape, terminated), np.ones((*rewards.shape, 1), np.float32)
    log_probs = -0.5 * (actions - z) ** 2 - old
    return Experience(seen, seen, rewards, over, ~over, actions, log_probs, {"actions": actions[..., None]}, Line())


def told(ppo, state, *experiences):
    z, state = ppo.ask(LINE, state)
    return ppo.tell(LINE, state, z, Evaluation(np.zeros(len(experiences)), experience=experiences))


def test_a_step_follows_the_advantage_within_the_clip_and_stops_beyond_it():
    ppo = PPO(epochs=1, minibatches=1, learning_rate=0.1, critic=(2,))
    state = ppo.init(LINE, 1)._replace(z=np.zeros(1))
    actions = np.array([[1.0], [-1.0]])
    good = [[1.0], [0.0]]  # of the first action
    up = told(ppo, state, experience(good, actions=actions))
    assert up.z == pytest.approx(0.1, rel=1e-3)  # Adam's first step
    # the ratio of the good action is beyond 1.2, and that of the bad one below 0.8: nothing is left to gain
    beyond = told(ppo, state, experience(good, actions=actions, old=np.array([[0.3], [-0.3]])))
    assert beyond.z == pytest.approx(0.0, abs=1e-6)
    # but a bad ratio is mended however far it is
    mended = told(ppo, state, experience(good, actions=actions, old=np.array([[-0.3], [0.3]])))
    assert mended.z == pytest.approx(0.1, rel=1e-3)


def test_the_learning_rate_falls_linearly_to_nothing():
    ppo = PPO(epochs=1, minibatches=1, learning_rate=0.1, anneal=4, critic=(2,))
    state, way = ppo.init(LINE, 1), []
    for _ in range(6):
        one = experience([[1.0], [0.0]], actions=state.z[0] + np.array([[1.0], [-1.0]]), z=state.z[0])
        state = told(ppo, state, one)
        way.append(state.z[0])
    np.testing.assert_allclose(np.diff(way), [0.075, 0.05, 0.025, 0, 0], rtol=0.02, atol=1e-6)


@pytest.mark.parametrize(("terminated", "value"), [(False, 2.0), (True, 1.0)])
def test_a_task_that_only_truncates_is_worth_what_comes_after(terminated, value):
    ppo = PPO(epochs=20, minibatches=1, critic_rate=0.05, learning_rate=1e-9, discount=0.5, critic=(8,), max_norm=9.0)
    state = ppo.init(LINE, 1)
    for _ in range(25):
        state = told(ppo, state, experience(np.ones((4, 1)), terminated=terminated))
    assert float(Critic(1, (8,)).values(jnp.asarray(state.critic), jnp.ones(1))) == pytest.approx(value, rel=0.05)


def test_shards_make_the_update_of_one_rollout_with_all_their_environments():
    generator = np.random.default_rng(1)
    rows = generator.standard_normal((2, 3, 4))
    two, one = PPO(evaluations=2, epochs=2), PPO(evaluations=1, epochs=2)
    state = one.init(LINE, 1)
    parts = [experience(part, actions=part) for part in rows]
    whole = experience(rows.reshape(6, 4), actions=rows.reshape(6, 4))
    for first, second in zip(told(two, state, *parts), told(one, state, whole), strict=True):
        np.testing.assert_array_equal(first, second)
    lost = Evaluation(np.array([0.0, np.nan]), errors=("", "lost"), experience=(whole, None))
    z, _ = two.ask(LINE, state)
    half = replace(one, minibatches=2)  # minibatches stay as large, and there are fewer
    np.testing.assert_array_equal(two.tell(LINE, state, z, lost).z, told(half, state, whole).z)


def test_an_update_is_left_out_where_less_than_a_minibatch_came_back(caplog):
    four = PPO(evaluations=4, epochs=1, minibatches=2, block=1)
    state, (z, _) = four.init(LINE, 1), four.ask(LINE, four.init(LINE, 1))
    one = experience([[1.0], [0.0]], actions=np.array([[1.0], [-1.0]]))
    three_lost = Evaluation(np.array([0.0, *[np.nan] * 3]), errors=("", *["lost"] * 3), experience=(one, *[None] * 3))
    assert four.tell(LINE, state, z, three_lost) is state
    assert "no update, the segments of 1 of 4 shards are too few" in caplog.text
    two_lost = Evaluation(
        np.array([0.0, 0.0, np.nan, np.nan]), errors=("", "", "x", "x"), experience=(one, one, None, None)
    )
    assert four.tell(LINE, state, z, two_lost).z != state.z


GYM = Gym(lif=LIFLayers(hidden=(4,), steps=2, keep=True), envs=2, horizon=10, segment=5)
SHORT = PPO(evaluations=2, epochs=2, minibatches=2, critic=(4,), learning_rate=0.01)
JOB = Job(optimizee={"class": "-"}, optimizer={"class": "-"}, generations=2)


def finished(store, name, evaluator, job=JOB):
    """Run to the end, or go on; return the rows and the optimizer's last state in bytes."""
    if name not in [stored.name for stored in store.runs()]:
        store.create(name, "job", {}, GYM.space)
    run(store, name, job, SHORT, evaluator)
    rows = individuals(store, name, params=True).drop(columns=["run", "seconds", "worker"])
    state = store.optimizer_state(name, SHORT.init(GYM.space, 1))
    return rows.to_csv(float_format="%.17g"), [array.tobytes() for array in state]


def test_two_workers_give_the_bytes_of_none_also_after_an_interruption(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'l2l.db'}") as store:
        expected = finished(store, "inline", Inline(GYM))
        assert len(generations(store, "inline")) == 2
        w = individuals(store, "inline", params=True).filter(regex=r"^param\.w_0").to_numpy().reshape(2, 2, -1)
        assert (w[:, 0] == w[:, 1]).all()
        assert (np.diff(w[:, 0], axis=0) != 0).any(axis=1).all()
        with RayPool(GYM, workers=2) as pool:
            assert finished(store, "pool", pool) == expected
            finished(store, "broken", pool, JOB.model_copy(update={"generations": 1}))
            assert finished(store, "broken", pool) == expected


def test_an_optimizee_without_experience_is_refused():
    job = {"optimizee": {"class": "optimizees.functions:Function"}, "optimizer": {"class": "optimizers.ppo:PPO"}}
    with pytest.raises(Complaint, match="learns from what individuals met and did, and Function"):
        Job(**job).build()
    z, state = SHORT.ask(LINE, SHORT.init(LINE, 1))
    with pytest.raises(ValueError, match="PPO: experience: expected that of each individual, got none"):
        SHORT.tell(LINE, state, z, Evaluation(np.zeros(2)))


def test_more_minibatches_than_segments_are_refused():
    ppo = replace(SHORT, evaluations=1, minibatches=9)
    with pytest.raises(ValueError, match=r"PPO.minibatches: expected at most 4, the segments, got 9"):
        told(ppo, ppo.init(LINE, 1), experience(np.ones((2, 2))))


def test_blocks_of_a_minibatch_give_its_gradient():
    z, state = SHORT.ask(GYM.space, SHORT.init(GYM.space, 1))
    evaluation = GYM.gather(z, np.array([1, 2]))  # 8 segments
    whole, blocks = (
        replace(SHORT, epochs=1, minibatches=1, block=block, max_norm=1e3).tell(GYM.space, state, z, evaluation)
        for block in (0, 2)
    )
    for first, second in ((whole.z, blocks.z), (whole.critic, blocks.critic), (whole.memory, blocks.memory)):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match=r"PPO.block: expected a divisor of 8, the segments of a minibatch, got 3"):
        replace(SHORT, minibatches=1, block=3).tell(GYM.space, state, z, evaluation)


def test_the_critic_is_a_perceptron():
    critic = Critic(3, (4, 2))
    weights = np.random.default_rng(1).standard_normal(len(critic.sample(np.random.default_rng(0))))
    x = np.random.default_rng(2).standard_normal((5, 3))
    at = np.split(weights, np.cumsum([12, 4, 8, 2, 2]))
    h = np.tanh(np.tanh(x @ at[0].reshape(3, 4) + at[1]) @ at[2].reshape(4, 2) + at[3])
    np.testing.assert_allclose(jax.device_get(critic.values(weights, x)), h @ at[4] + at[5], rtol=1e-5)
