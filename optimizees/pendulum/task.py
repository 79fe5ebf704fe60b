"""The pendulum that is to be swung up and held (gymnasium's Pendulum-v1) in JAX.

A motor turns a rod with at most 2 N m, too little to lift it at once. A state is (2,): angle (rad, 0 upright, not
wrapped) and angular velocity (rad/s). Observed are the angle in [-pi, pi) and the velocity; gymnasium gives its cosine
and sine instead, which say the same. The action is a torque; the reward of each step its cost, negated; an episode
never ends before its 200 steps.
"""

from math import pi
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optimizees.agent.task import signed

SPEED = 8.0  # rad/s, the limit of the angular velocity
TORQUE = 2.0  # N m, the limit of the action
TAU = 0.05  # s, a control step


class Pendulum(NamedTuple):
    """Pendulum, with gymnasium's numbers; see `optimizees/agent/task.py` for what a task is.

    >>> state, reward, over = Pendulum().step(jnp.zeros(2), 2.0)
    >>> round(state[1].item(), 3), round(reward.item(), 4), over.item()
    (0.3, -0.004, False)
    """

    full: float = 3.0  # spikes by which a motor neuron of one side is ahead of the other's when the torque is its limit
    steps: int = 200
    low: tuple[float, ...] = (-pi, -SPEED)
    high: tuple[float, ...] = (pi, SPEED)
    actions: int = 2  # motor populations: one for each sign
    gravity: float = 10.0  # m/s^2
    mass: float = 1.0  # kg
    length: float = 1.0  # m

    def reset(self, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (2,), float, -1.0, 1.0) * jnp.array([pi, 1.0])

    def observe(self, state: jax.Array) -> jax.Array:
        return jnp.stack([_wrap_angle(state[0]), state[1]])

    def act(self, key: jax.Array, spikes: jax.Array) -> jax.Array:
        return TORQUE * jnp.clip(signed(spikes) / self.full, -1.0, 1.0)

    def step(self, state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the state 50 ms later (Euler's step, speed first, as gymnasium's), the reward, and no end."""
        angle, speed = state[0], state[1]
        torque = jnp.clip(action, -TORQUE, TORQUE)
        cost = _wrap_angle(angle) ** 2 + 0.1 * speed**2 + 0.001 * torque**2
        push = 1.5 * self.gravity / self.length * jnp.sin(angle) + 3.0 / (self.mass * self.length**2) * torque
        speed = jnp.clip(speed + push * TAU, -SPEED, SPEED)
        return jnp.stack([angle + speed * TAU, speed]), -cost, jnp.zeros((), bool)

    def error(self, state: jax.Array) -> jax.Array:
        """Return the distance from upright and at rest: the square root of the cost without the torque's."""
        return jnp.sqrt(_wrap_angle(state[0]) ** 2 + 0.1 * state[1] ** 2)


def _wrap_angle(angle: jax.Array) -> jax.Array:
    """Return the angle in [-pi, pi)."""
    return jnp.mod(angle + pi, 2 * pi) - pi
