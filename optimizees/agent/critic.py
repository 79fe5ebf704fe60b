"""Critics: what an agent is told after each control step, as a number that its synapses hear.

`improvement` (Hasegan et al. 2022): reward when the state has improved, punishment when it has worsened, by the change
of the task's error; failure is a punishment of 1. `td` (Barto, Sutton & Anderson 1983; Fremaux et al. 2013): the
error of a prediction of the rewards to come, that is linear in the place cells and learned by TD(lambda):

    delta = (1 - discount) reward + discount V(after) - V(before);   V = value . place;   value += rate delta trace

with discount = 1 - 1 / horizon; V is 0 after failure. Rewards are weighted so that V is the mean of those to come.
V begins at `hope`, the reward of a task that goes well: before its first failure an agent learns nothing.

Legend: N place cells.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn.parameters import Array

CRITICS = ("improvement", "td")


class Critic(NamedTuple):
    """Parameters of a critic; they may be traced."""

    reward: Array = 1.0  # gain of what is better than expected
    punish: Array = 1.0  # gain of what is worse
    horizon: Array = 50.0  # control steps over which rewards to come count, >= 1; td alone, as all below
    value_rate: Array = 0.1  # rate at which values are learned
    value_trace: Array = 0.8  # lambda, in [0, 1]: how much of the trace is kept, besides the discount
    hope: Array = 1.0  # V at the beginning, in rewards of a step


class Values(NamedTuple):
    """What the critic has learned; of `improvement`, nothing."""

    value: jax.Array  # (N,)
    trace: jax.Array  # (N,)


class Outcome(NamedTuple):
    """One control step, as the critic sees it."""

    before: jax.Array  # (N,) place cells before the step
    after: jax.Array  # (N,) and after it
    reward: jax.Array  # ()
    gain: jax.Array  # () error before minus error after
    failed: jax.Array  # () bool


def begin(critic: Critic, cells: int) -> Values:
    """Return the values of a newborn critic."""
    return Values(jnp.zeros(cells) + critic.hope, jnp.zeros(cells))


def forget(values: Values) -> Values:
    """Return the values for a new episode, without a trace of the last one."""
    return values._replace(trace=jnp.zeros_like(values.trace))


def judge(kind: str, critic: Critic, values: Values, step: Outcome) -> tuple[jax.Array, Values]:
    """Return the signal (), > 0 for better than expected, and the critic after it has learned.

    Args:
        kind: of CRITICS.
        critic: its parameters.
        values: what it has learned; of place cells that sum to 1 in each of their groups.
        step: what happened.
    """
    if kind == "improvement":
        signal = jnp.where(step.failed, -1.0, step.gain)
        return _weigh_signal(critic, signal), values
    groups = step.before.sum()  # 1 in each: V is the mean over groups
    discount = 1 - 1 / critic.horizon
    before, after = (jnp.dot(values.value, place) / groups for place in (step.before, step.after))
    delta = (1 - discount) * step.reward + discount * jnp.where(step.failed, 0.0, after) - before
    trace = discount * critic.value_trace * values.trace + step.before
    value = values.value + critic.value_rate * delta * trace
    return _weigh_signal(critic, delta), Values(value, trace)


def _weigh_signal(critic: Critic, signal: jax.Array) -> jax.Array:
    """Return the signal times the gain of what is better, or worse, than expected."""
    return jnp.where(signal > 0, critic.reward, critic.punish) * signal
