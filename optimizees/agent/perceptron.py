"""A multilayer perceptron in the place of an agent's spiking network: what artificial neurons reach in the same task.

    space = Space(**mlp_space(inputs=4, hidden=16, outputs=2))
    total, steps = play(task, most_spikes(body), Perceptron(**space.decode(z)), key)

Inputs are the observations, scaled from [low, high] to [-1, 1] and clipped there, as place cells clip them; one hidden
layer of tanh; one output for each motor population, which takes the place of its mean number of spikes: from 0 to the
most that a motor neuron can fire in a control step. So `task.act` means by it what it means by spikes, and an action
that spikes can say is in reach of the perceptron. Episodes begin in the same states as those of a spiking network with
the same key.

Legend: K observations, H hidden units, A actions, T control steps.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.space import Free
from optimizees.agent.body import Body
from optimizees.agent.task import Task


class Perceptron(NamedTuple):
    """Weights and biases; they may be traced: evolved."""

    w_hidden: Any  # (K, H)
    b_hidden: Any  # (H,)
    w_out: Any  # (H, A)
    b_out: Any  # (A,)


class Trace(NamedTuple):
    """An episode, for pictures; after its end the state stays as it is."""

    state: Any  # of the task, T + 1 leading
    action: jax.Array  # (T, ...)
    activity: jax.Array  # (T, A) in the place of spikes
    lived: jax.Array  # (T,) bool, whether the episode had not ended


class _Episode(NamedTuple):
    state: Any
    t: jax.Array
    total: jax.Array
    over: jax.Array


def mlp_space(inputs: int, hidden: int, outputs: int) -> dict[str, Free]:
    """Return the parameters of `Perceptron`, unbounded; random ones (z of N(0, 1)) make use of the range of tanh.

    >>> mlp_space(4, 16, 2)["w_out"].shape
    (16, 2)
    """
    return {
        "w_hidden": Free((inputs, hidden)),
        "b_hidden": Free((hidden,), scale=0.3),
        "w_out": Free((hidden, outputs), scale=hidden**-0.5),
        "b_out": Free((outputs,), scale=0.3),
    }


def multiply_adds(net: Perceptron) -> int:
    """Return the multiply-adds of a decision: one a connection."""
    return net.w_hidden.size + net.w_out.size


def forward(net: Perceptron, x: jax.Array) -> jax.Array:
    """Return the outputs, in (0, 1), of inputs (K,): half of 1 + tanh; sums, not products, whatever the batch is."""
    hidden = jnp.tanh((x[:, None] * net.w_hidden).sum(axis=0) + net.b_hidden)
    return 0.5 + 0.5 * jnp.tanh((hidden[:, None] * net.w_out).sum(axis=0) + net.b_out)


def most_spikes(body: Body) -> float:
    """Return how many spikes a motor neuron that always fires has in a control step: one, then it is refractory."""
    return body.substeps / (round(body.t_ref / body.resolution) + 1)


def scaled(task: Task, seen: jax.Array) -> jax.Array:
    """Return observations (K,) scaled from [low, high] to [-1, 1], clipped."""
    low, high = (jnp.asarray(x, seen.dtype) for x in (task.low, task.high))
    return jnp.clip(2 * (seen - low) / (high - low) - 1, -1.0, 1.0)


def _begin_episode(task: Task, key: jax.Array) -> tuple[_Episode, jax.Array]:
    """Return an episode's start and the key of what is random in it, both as `life.live` has them."""
    starts, chance = jax.random.split(key)
    state = task.reset(jax.random.fold_in(starts, 0))
    return _Episode(state, jnp.zeros((), int), jnp.zeros(()), jnp.zeros((), bool)), chance


def _take_step(
    task: Task, most: float, net: Perceptron, chance: jax.Array, now: _Episode
) -> tuple[_Episode, Any, jax.Array]:
    """Take a control step; return also the action and the activity (A,)."""
    activity = most * forward(net, scaled(task, task.observe(now.state)))
    action = task.act(jax.random.fold_in(chance, now.t), activity)
    state, reward, failed = task.step(now.state, action)
    return _Episode(state, now.t + 1, now.total + reward, failed | (now.t + 1 >= task.steps)), action, activity


def play(task: Task, most: float, net: Perceptron, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Play an episode; return the sum of its rewards, (), and its control steps, ().

    Args:
        task: to act in.
        most: the largest activity of an output.
        net: what acts.
        key: of all that is random.
    """
    now, chance = _begin_episode(task, key)
    last = jax.lax.while_loop(lambda now: ~now.over, lambda now: _take_step(task, most, net, chance, now)[0], now)
    return last.total, last.t


def record(task: Task, most: float, net: Perceptron, key: jax.Array) -> Trace:
    """Play the same episode and keep what happened."""
    first, chance = _begin_episode(task, key)

    def step(now: _Episode, _: None) -> tuple[_Episode, tuple]:
        later, action, activity = _take_step(task, most, net, chance, now)
        later = jax.tree.map(lambda a, b: jnp.where(now.over, a, b), now, later)
        return later, (now.state, action, activity, ~now.over)

    last, (state, action, activity, lived) = jax.lax.scan(step, first, None, length=task.steps)
    state = jax.tree.map(lambda before, end: jnp.concatenate([before, end[None]]), state, last.state)
    return Trace(state, action, activity, lived)
