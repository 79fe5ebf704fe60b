"""The conformance suite of tasks: ours pass, and each claim finds the one thing that is wrong with a broken task."""

from itertools import count
from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from l2l_snn.checks import check_task, require
from optimizees.acrobot.task import Acrobot
from optimizees.agent.task import Task, signed
from optimizees.cartpole.task import TASKS
from optimizees.pendulum.task import Pendulum


class Reach(NamedTuple):
    """A point on a line is to be brought to 0."""

    actions: int = 2
    steps: int = 12
    low: tuple[float, ...] = (-1.0,)
    high: tuple[float, ...] = (1.0,)

    def reset(self, key):
        return jax.random.uniform(key, (), minval=-0.9, maxval=0.9)

    def observe(self, state):
        return state[None]

    def act(self, key, spikes):
        return signed(spikes)

    def step(self, state, action):
        state = state + 0.01 * action
        return state, 1.0 - jnp.abs(state), jnp.abs(state) > 5.0

    def error(self, state):
        return jnp.abs(state)


class Unhashable(Reach):
    __hash__ = None


class TwoEyes(Reach):
    def observe(self, state):
        return jnp.stack([state, state])


class Growing(Reach):
    def step(self, state, action):
        later, reward, failed = Reach.step(self, state.sum(), action)
        return jnp.stack([later, later]), reward, failed

    def observe(self, state):
        return state.sum()[None]

    def error(self, state):
        return jnp.abs(state.sum())


class Priceless(Reach):
    def step(self, state, action):
        later, reward, failed = Reach.step(self, state, action)
        return later, reward + jnp.inf, failed


class Doomed(Reach):
    def step(self, state, action):
        later, reward, _ = Reach.step(self, state, action)
        return later, reward, jnp.abs(later) < 9.0


class Counting(Reach):
    def step(self, state, action):
        later, reward, failed = Reach.step(self, state, action)
        return later, reward, failed.astype(jnp.float32)


class Blind(Reach):
    def observe(self, state):
        return jnp.log(0.0 * state)[None]


class Hidden(NamedTuple):
    x: jax.Array
    growth: jax.Array


class Exploding(Reach):
    """What is not observed grows."""

    def reset(self, key):
        return Hidden(Reach.reset(self, key), jnp.asarray(1e30))

    def observe(self, state):
        return Reach.observe(self, state.x)

    def step(self, state, action):
        later, reward, failed = Reach.step(self, state.x, action)
        return Hidden(later, state.growth * 1e5), reward, failed

    def error(self, state):
        return Reach.error(self, state.x)


class Signed(Reach):
    def error(self, state):
        return state - 5.0


class Whole(Reach):
    def error(self, state):
        return jnp.ceil(jnp.abs(state)).astype(int)


class Remembering(Reach):
    """It counts its calls, outside of the state."""

    def step(self, state, action):
        return Reach.step(self, state, action * (1 + 1e-5 * (next(COUNTER) % 2)))


class Branching(Reach):
    def act(self, key, spikes):
        return signed(spikes) if spikes[0] > 0 else 0.0 * signed(spikes)


COUNTER = count()
BROKEN = [
    (Unhashable(), "is a hashable value", "unhashable"),
    (Reach(low=(1.0,)), "has counts of actions and steps, and a range of each observation", "a lower and a higher end"),
    (
        Reach(steps=True),
        "has counts of actions and steps, and a range of each observation",
        "steps: expected an integer",
    ),
    (TwoEyes(), "observes as many numbers as it has ranges", r"shape \(1,\), got shape \(2,\)"),
    (Growing(), "keeps the form of states and actions", "step: state: expected the form"),
    (Priceless(), "pays one finite reward a step", "expected one finite number, of shape .*, got inf"),
    (Doomed(), "says by one truth value whether an episode has failed", "not in the first step of every episode"),
    (Counting(), "says by one truth value whether an episode has failed", "expected one truth value"),
    (Blind(), "observes finite numbers to the end of an episode", "inf.* in step 0"),
    (Exploding(), "has finite states whatever is done", "inf.* after the action"),
    (Signed(), "has an error >= 0", "expected one number >= 0"),
    (Whole(), "observes, pays and errs in float32", "error: expected numbers in float32, got int32"),
    (
        Remembering(),
        "gives the same bytes for the same key and state",
        "expected the same bytes for the same arguments",
    ),
    (Branching(), "gives the same compiled and side by side", "TracerBoolConversionError"),
]


@pytest.mark.parametrize(("task", "claim", "text"), BROKEN, ids=[type(row[0]).__name__ for row in BROKEN])
def test_each_claim_finds_what_is_wrong_and_no_other_claim_fails(task, claim, text):
    failed = [check for check in check_task(task) if not check.ok]
    assert [check.claim for check in failed] == [claim]
    with pytest.raises(AssertionError, match=text):
        require(failed)


OURS = [Reach(), *TASKS.values(), Pendulum(), Acrobot()]


@pytest.mark.parametrize("task", OURS, ids=lambda task: type(task).__name__)
def test_our_tasks_keep_the_contract(task: Task):
    assert len(require(check_task(task._replace(steps=20), episodes=1))) == 12
