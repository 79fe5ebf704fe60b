"""Double Q-learning: its step beside one in numpy, the replay memory, ends of episodes, a run that goes on."""

from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.checks import check_optimizer, require
from l2l_snn.evaluation import Evaluation, Experience
from l2l_snn.space import Free, Space
from optimizers.dqn import DQN

pytestmark = pytest.mark.usefixtures("compiled_soon")

SPACE = Space(w=Free((2, 3)))
SHORT = DQN(replay=8, steps=1, batch=4, warmup=0, discount=0.9, follow=0.25, learning_rate=0.1)


@dataclass(frozen=True)
class Table:
    """A linear Q-network of two inputs and three actions."""

    def log_probs(self, z, segments):
        raise NotImplementedError

    def action_values(self, z, observations):
        return observations @ z.reshape(2, 3)

    def rewire(self, before, after, rate, words):
        return after


def experience(generator, rows=(2, 3), **columns):
    seen = generator.standard_normal((2, *rows, 2)).astype(np.float32)
    over = np.zeros(rows, bool)
    found = Experience(*seen, generator.standard_normal(rows), over, over, generator.integers(3, size=rows), over * 0.0,
                       {}, Table())  # fmt: skip
    return found._replace(**columns)


def told(dqn, state, *parts):
    z, state = dqn.ask(SPACE, state)
    return dqn.tell(SPACE, state, z, Evaluation(np.zeros(len(parts)), experience=parts))


def test_keeps_the_contract_of_optimizers():
    dqn = DQN(replay=64, steps=4, batch=8, warmup=0, evaluations=2)
    require(check_optimizer(dqn, beats_random=False))


@pytest.mark.parametrize("terminated", [False, True])
def test_a_step_is_that_of_double_q_learning(terminated):
    generator = np.random.default_rng(1)
    one = experience(generator, rows=(1, 1), terminated=np.full((1, 1), terminated), rewards=np.full((1, 1), 0.3))
    state = SHORT.init(SPACE, 1)._replace(target=generator.standard_normal(6))
    q, target = state.z.reshape(2, 3), state.target.reshape(2, 3)
    seen, later, action = one.observations[0, 0], one.next_observations[0, 0], one.actions[0, 0]
    ahead = 0.0 if terminated else 0.9 * (later @ target)[np.argmax(later @ q)]
    error = (seen @ q)[action] - (0.3 + ahead)
    expected = np.zeros((2, 3))
    expected[:, action] = -0.1 * np.sign(error * seen)  # Adam's first step has this length whatever the gradient
    after = told(SHORT, state, one)
    np.testing.assert_allclose(after.z.reshape(2, 3) - q, expected, atol=1e-4)
    np.testing.assert_allclose(after.target, state.target + 0.25 * (after.z - state.target), rtol=1e-5, atol=1e-6)


def test_a_truncated_end_is_worth_what_comes_after():
    one = experience(np.random.default_rng(1))
    cut = one._replace(truncated=np.ones_like(one.truncated))
    dqn = replace(SHORT, steps=5)  # the first step of Adam says no more than a sign
    state = dqn.init(SPACE, 1)
    np.testing.assert_array_equal(told(dqn, state, one).z, told(dqn, state, cut).z)
    over = one._replace(terminated=np.ones_like(one.terminated))
    assert np.abs(told(dqn, state, one).z - told(dqn, state, over).z).max() > 1e-3


def test_the_oldest_transitions_are_overwritten():
    generator = np.random.default_rng(1)
    parts = [experience(generator, rewards=10.0 * k + np.arange(6.0).reshape(2, 3)) for k in range(2)]
    still = replace(SHORT, warmup=100, evaluations=1)
    state = told(still, told(still, still.init(SPACE, 1), parts[0]), parts[1])
    assert state.replay.rewards.tolist() == [12.0, 13.0, 14.0, 15.0, 4.0, 5.0, 10.0, 11.0]
    np.testing.assert_array_equal(state.replay.observations[0], parts[1].observations[0, 2])
    assert (int(state.seen), int(state.generations), state.memory.size) == (12, 2, 0)  # still warming up


def test_of_a_rollout_longer_than_the_memory_the_last_steps_of_all_environments_stay():
    one = experience(np.random.default_rng(1), rows=(2, 6), rewards=np.arange(12.0).reshape(2, 6))
    state = told(replace(SHORT, warmup=100), SHORT.init(SPACE, 1), one)
    assert sorted(state.replay.rewards) == [2.0, 3.0, 4.0, 5.0, 8.0, 9.0, 10.0, 11.0]
    assert int(state.seen) == 12
    with pytest.raises(ValueError, match=r"DQN\.replay: expected as in the run that goes on, got 9; .* 8 transitions"):
        told(replace(SHORT, replay=9), state, one)


def test_only_what_was_stored_is_learned_from():
    one = experience(np.random.default_rng(1), rows=(1, 1), observations=np.full((1, 1, 2), 2.0, np.float32))
    state = told(replace(SHORT, replay=1000), SHORT.init(SPACE, 1), one)
    moved = np.abs(state.z - SHORT.init(SPACE, 1).z).reshape(2, 3) > 1e-4
    assert moved.sum() == 2  # those of one action; rows that are still empty have action 0 and no input
    assert moved[:, one.actions[0, 0]].all()


def test_the_network_of_the_best_generation_is_recommended():
    generator, dqn = np.random.default_rng(1), replace(SHORT, evaluations=2)
    state, way = dqn.init(SPACE, 1), []
    for fitness in ([1.0, 3.0], [4.0, np.nan], [3.5, 3.5]):
        z, state = dqn.ask(SPACE, state)
        way.append(z[0])
        parts = tuple(None if np.isnan(one) else experience(generator) for one in fitness)
        errors = tuple("lost" if np.isnan(one) else "" for one in fitness)
        state = dqn.tell(SPACE, state, z, Evaluation(np.array(fitness), errors=errors, experience=parts))
    np.testing.assert_array_equal(dqn.recommend(SPACE, state), way[1])
    assert len({one.tobytes() for one in way}) == 3


def test_continuous_actions_are_refused():
    one = experience(np.random.default_rng(1), actions=jnp.zeros((2, 3, 1)))
    with pytest.raises(ValueError, match=r"DQN: actions: expected discrete ones.*optimizers.ppo:PPO"):
        told(SHORT, SHORT.init(SPACE, 1), one)
