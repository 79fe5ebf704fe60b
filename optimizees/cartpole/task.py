"""The CartPole task (Barto, Sutton & Anderson 1983; gymnasium's CartPole-v1) in JAX.

A cart is pushed left or right (actions 0 and 1) with a fixed force every 20 ms; the pole on it must not lean by more
than 12 degrees, nor the cart leave the track. Every step is a reward of 1. A state is (4,): position (m), velocity
(m/s), angle (rad) and angular velocity (rad/s); it is also what is observed, as gymnasium's is.
"""

from math import pi
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optimizees.agent.task import winner

POSITION = 2.4  # m, where the track ends
ANGLE = 12 * 2 * pi / 360  # rad, where the pole counts as fallen
GRAVITY = 9.8  # m/s^2
TAU = 0.02  # s, a control step
START = 0.05  # every number of the first state is uniform in +-START


class CartPole(NamedTuple):
    """CartPole, with gymnasium's numbers; see `optimizees/agent/task.py` for what a task is.

    >>> state, reward, over = CartPole().step(jnp.zeros(4), 1)
    >>> reward.item(), over.item(), bool(state[1] > 0), bool(state[3] < 0)
    (1.0, False, True, True)
    """

    steps: int = 500
    force: float = 10.0  # N, of action 1; action 0 pushes with -force
    cart: float = 1.0  # kg
    pole: float = 0.1  # kg
    length: float = 0.5  # m, half the pole's length
    low: tuple[float, ...] = (-2.4, -3.0, -ANGLE, -3.0)  # of the place cells: what happens in an episode
    high: tuple[float, ...] = (2.4, 3.0, ANGLE, 3.0)
    actions: int = 2

    def reset(self, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (4,), float, -START, START)

    def observe(self, state: jax.Array) -> jax.Array:
        return state

    def act(self, key: jax.Array, spikes: jax.Array) -> jax.Array:
        return winner(key, spikes)

    def step(self, state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the state 20 ms later (Euler's step, as gymnasium's), the reward, and whether it has failed."""
        speed, angle, turn = state[1], state[2], state[3]
        force = jnp.where(jnp.asarray(action) == 1, self.force, -self.force).astype(state.dtype)
        total = self.pole + self.cart
        moment = self.pole * self.length
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        push = (force + moment * turn**2 * sin) / total
        turning = (GRAVITY * sin - cos * push) / (self.length * (4.0 / 3.0 - self.pole * cos**2 / total))
        pushing = push - moment * turning * cos / total
        rates = jnp.stack([speed, pushing, turn, turning])
        state = state + TAU * rates
        over = (jnp.abs(state[0]) > POSITION) | (jnp.abs(state[2]) > ANGLE)
        return state, jnp.ones((), state.dtype), over

    def error(self, state: jax.Array) -> jax.Array:
        """Return the distance from upright and at rest in the middle, each number in its range's half."""
        return jnp.sqrt(jnp.sum((state / jnp.asarray(self.high, state.dtype)) ** 2))


TASKS = {
    "standard": CartPole(),
    "mirrored": CartPole(force=-10.0),  # action 1 pushes left
    "rescaled": CartPole(force=8.0, pole=0.2, length=0.8),  # a longer, heavier pole and a weaker push
}
