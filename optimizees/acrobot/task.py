"""The acrobot (Sutton 1996; gymnasium's Acrobot-v1) in JAX.

Two rods hang from a pivot; a torque of -1, 0 or 1 N m (actions 0, 1, 2) at the joint between them is to swing the free
end to one rod's length above the pivot. Every step costs 1 until then. A state is (4,): angle of the upper rod (rad, 0
downwards), angle of the lower one to it, both in [-pi, pi], and their velocities (rad/s); it is also what is observed.
gymnasium gives cosine and sine instead of the angles, which say the same.
"""

from math import pi
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optimizees.agent.task import winner

SPEEDS = (4 * pi, 9 * pi)  # rad/s, limits of the angular velocities
GRAVITY = 9.8  # m/s^2
TAU = 0.2  # s, a control step
START = 0.1  # every number of the first state is uniform in +-START
MASS = LENGTH = INERTIA = 1.0  # kg, m, kg m^2: of each rod
MIDDLE = 0.5  # m, from a rod's joint to its centre of mass


class Acrobot(NamedTuple):
    """Acrobot, with gymnasium's numbers; see `optimizees/agent/task.py` for what a task is.

    The end of an episode is a success here: after it nothing is paid any more.

    >>> state, reward, over = Acrobot().step(jnp.zeros(4), 2)
    >>> reward.item(), over.item(), bool(state[1] > 0), bool(state[0] < 0)
    (-1.0, False, True, True)
    """

    steps: int = 500
    low: tuple[float, ...] = (-pi, -pi, -5.0, -10.0)  # of the place cells: what happens in an episode
    high: tuple[float, ...] = (pi, pi, 5.0, 10.0)
    actions: int = 3

    def reset(self, key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (4,), float, -START, START)

    def observe(self, state: jax.Array) -> jax.Array:
        return state

    def act(self, key: jax.Array, spikes: jax.Array) -> jax.Array:
        return winner(key, spikes)

    def step(self, state: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return the state 0.2 s later (one step of Runge and Kutta's method, as gymnasium's), the reward, the end."""
        torque = jnp.asarray(action - 1, state.dtype)
        k1 = _compute_rates(state, torque)
        k2 = _compute_rates(state + TAU / 2 * k1, torque)
        k3 = _compute_rates(state + TAU / 2 * k2, torque)
        k4 = _compute_rates(state + TAU * k3, torque)
        state = state + TAU / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        angles = state[:2] - 2 * pi * jnp.ceil((state[:2] - pi) / (2 * pi))
        limits = jnp.asarray(SPEEDS, state.dtype)
        state = jnp.concatenate([angles, jnp.clip(state[2:], -limits, limits)])
        over = _measure_height(state) > 1.0
        return state, jnp.where(over, 0.0, -1.0).astype(state.dtype), over

    def error(self, state: jax.Array) -> jax.Array:
        """Return how far the free end is below the height that it has to reach, m; 0 above it."""
        return jnp.maximum(1.0 - _measure_height(state), 0.0)


def _measure_height(state: jax.Array) -> jax.Array:
    """Return how high the free end is above the pivot, m."""
    return -jnp.cos(state[0]) - jnp.cos(state[0] + state[1])


def _compute_rates(state: jax.Array, torque: jax.Array) -> jax.Array:
    """Return the time derivative of the state (Sutton & Barto, Reinforcement Learning, section 11.3)."""
    upper, lower, turn, bend = state
    arm = MASS * LENGTH * MIDDLE  # kg m^2
    d1 = MASS * (2 * MIDDLE**2 + LENGTH**2) + 2 * arm * jnp.cos(lower) + 2 * INERTIA
    d2 = MASS * MIDDLE**2 + arm * jnp.cos(lower) + INERTIA
    phi2 = MASS * MIDDLE * GRAVITY * jnp.sin(upper + lower)
    phi1 = -arm * jnp.sin(lower) * (bend**2 + 2 * bend * turn) + MASS * (MIDDLE + LENGTH) * GRAVITY * jnp.sin(upper)
    phi1 = phi1 + phi2
    bending = torque + d2 / d1 * phi1 - arm * turn**2 * jnp.sin(lower) - phi2
    bending = bending / (MASS * MIDDLE**2 + INERTIA - d2**2 / d1)
    return jnp.stack([turn, bend, -(d2 * bending + phi1) / d1, bending])
