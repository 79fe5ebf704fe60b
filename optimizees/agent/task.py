"""The contract of a task: what there is to see and to do for an agent, in pure JAX functions of one episode.

A task is a hashable value. Any class with these fields and methods is one; `l2l_snn.checks.check_task` tries it:

    class Reach(NamedTuple):                       # a point on a line is to be brought to 0
        actions: int = 2                           # motor populations
        steps: int = 50                            # control steps of an episode at most
        low: tuple[float, ...] = (-1.0,)           # range of each observation
        high: tuple[float, ...] = (1.0,)

        def reset(self, key): return jax.random.uniform(key, (), minval=-1.0)
        def observe(self, state): return state[None]
        def act(self, key, spikes): return signed(spikes)
        def step(self, state, action):
            state = state + 0.1 * action
            return state, -jnp.abs(state), jnp.abs(state) > 1.0
        def error(self, state): return jnp.abs(state)

`winner` and `signed` read actions from spikes. `life.py` lets an agent live in a task.

Legend: K observations, A actions.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp


class Task(Protocol):
    """What an agent is told about its world."""

    @property
    def actions(self) -> int:
        """A, motor populations."""
        ...

    @property
    def steps(self) -> int:
        """Control steps of an episode at most."""
        ...

    @property
    def low(self) -> tuple[float, ...]:
        """(K,) where the first place cell of each observation stands."""
        ...

    @property
    def high(self) -> tuple[float, ...]:
        """(K,) where the last one stands."""
        ...

    def reset(self, key: jax.Array) -> Any:
        """Return the state at an episode's start."""
        ...

    def observe(self, state: Any) -> jax.Array:
        """Return what can be seen, (K,)."""
        ...

    def act(self, key: jax.Array, spikes: jax.Array) -> jax.Array:
        """Return the action that spikes (A,) mean: mean number of spikes a neuron of each motor population."""
        ...

    def step(self, state: Any, action: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        """Return the next state, the reward, and whether the episode has ended in failure."""
        ...

    def error(self, state: Any) -> jax.Array:
        """Return how far the state is from where it should be, >= 0; read by the critic `improvement` alone."""
        ...


def winner(key: jax.Array, spikes: jax.Array) -> jax.Array:
    """Return the action whose motor population spiked most; among equals, one by chance.

    >>> winner(jax.random.key(0), jnp.array([0.5, 1.25, 1.0])).item()
    1
    """
    tie = jax.random.uniform(key, spikes.shape, spikes.dtype)
    return jnp.argmax(jnp.where(spikes == spikes.max(), tie, -1.0))


def signed(spikes: jax.Array) -> jax.Array:
    """Return a number from two motor populations, of which the second counts positive: their difference.

    >>> signed(jnp.array([0.5, 1.25])).item()
    0.75
    """
    return spikes[1] - spikes[0]
