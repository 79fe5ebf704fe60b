"""A circular arena whose goal on the border is the same throughout an episode (Bellec et al. 2018, section 6).

    env = gymnasium.make("optimizees.gym.arena:l2l/Arena-v0")

An agent that has found the goal is rewarded with 1 and set back to a random place; whether it goes straight to the goal
from there shows what it remembers. The wall costs 0.02. An episode of 2 s is broken off, it never comes to its end.

An observation is (4,): place x and y, in radii of the arena, and whether the last action was rewarded and punished, 0
or 1. An action is (2,): the velocity, in shares of the highest speed. The source is silent about all sizes; those here
are fields. `ArenaTwin` is the same world in JAX, for rollouts that are compiled; both take the same uniform numbers.
"""

from dataclasses import dataclass
from math import cos, hypot, pi, sin, sqrt
from typing import Annotated, Any, ClassVar, NamedTuple

import gymnasium
import jax.numpy as jnp
import numpy as np
from gymnasium.spaces import Box

from l2l_snn.validate import Count, Positive, Within, check_fields, check_shape

GOAL, WALL = 1.0, -0.02  # rewards


@dataclass(frozen=True)
class Arena:
    """Sizes of the arena, whose radius is 1."""

    goal: Annotated[float, Within(0.0, 1.0, open_low=True, open_high=True)] = 0.3  # radius of the goal
    speed: Positive = 0.01  # highest speed, radii / ms
    action_ms: Positive = 10.0  # ms from one action to the next
    steps: Count = 200  # actions of an episode

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def stride(self) -> float:
        """The way of one action at the highest speed, radii."""
        return self.speed * self.action_ms

    @property
    def start(self) -> float:
        """Radius of the disc of random places: it doesn't touch the goal."""
        return 1.0 - self.goal


class ArenaState(NamedTuple):
    """Where things are in the twin."""

    place: Any  # (2,)
    goal: Any  # (2,) on the border
    told: Any  # (2,) whether the last action was rewarded, and punished
    steps: Any  # () taken in this episode
    found: Any  # () whether the goal has been reached in it


@dataclass(frozen=True)
class ArenaTwin:
    """The arena in JAX, as `optimizees.gym.twin.Twin`."""

    arena: Arena = Arena()
    draws: ClassVar[int] = 3  # of a reset; a step takes the first two

    def reset(self, u: Any) -> ArenaState:
        """Return the start of an episode; u (3,) are uniform numbers in [0, 1): a place's two, the goal's angle."""
        angle = 2 * pi * u[2]
        goal = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
        return ArenaState(self._choose_place(u), goal, jnp.zeros(2), jnp.zeros((), jnp.int32), jnp.zeros((), bool))

    def observe(self, state: ArenaState) -> Any:
        """Return what is seen, (4,)."""
        return jnp.concatenate([state.place, state.told])

    def reveal(self, state: ArenaState) -> Any:
        """Return the goal's place, the share of the episode that is over, and whether the goal was found, (4,)."""
        return jnp.concatenate([state.goal, jnp.stack([state.steps / self.arena.steps, state.found])])

    def potential(self, state: ArenaState) -> Any:
        """Return the way to the goal, negated, once it has been found in this episode, (); 0 before."""
        return -jnp.sqrt(jnp.sum((state.place - state.goal) ** 2)) * state.found

    def step(self, state: ArenaState, action: Any, u: Any) -> tuple[ArenaState, Any, Any, Any]:
        """Return the next state, the reward, and whether the episode terminated (never), or was truncated."""
        size = jnp.sqrt(jnp.sum(action**2))
        move = self.arena.stride * action / jnp.maximum(size, 1.0)
        p, v = state.place, move
        a, b, c = v @ v, p @ v, jnp.minimum(p @ p - 1.0, 0.0)  # |p + s v|^2 = 1 at s = (sqrt(b^2 - a c) - b) / a
        share = jnp.where(a > 0, (jnp.sqrt(b * b - a * c) - b) / jnp.where(a > 0, a, 1.0), 1.0)
        hit = share < 1.0
        place = p + jnp.minimum(share, 1.0) * v
        reached = jnp.sqrt(jnp.sum((place - state.goal) ** 2)) < self.arena.goal
        punished = hit & ~reached
        place = jnp.where(reached, self._choose_place(u), place)
        reward = jnp.where(reached, GOAL, jnp.where(punished, WALL, 0.0))
        steps = state.steps + 1
        told = jnp.stack([reached, punished]).astype(place.dtype)
        over = steps >= self.arena.steps
        return (ArenaState(place, state.goal, told, steps, state.found | reached), reward, jnp.zeros_like(over), over)

    def _choose_place(self, u: Any) -> Any:
        radius, angle = self.arena.start * jnp.sqrt(u[0]), 2 * pi * u[1]
        return radius * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def measure_paths(rewards: np.ndarray) -> np.ndarray:
    """Return the lengths (3, B) of the first, the second and the last path to the goal, in actions; nan: there is none.

    Args:
        rewards: (H, B) of one whole episode each. The last path is at least the second.
    """
    found = np.full((3, rewards.shape[1]), np.nan)
    for b, column in enumerate(rewards.T):
        lengths = np.diff(np.flatnonzero(column == GOAL), prepend=-1)
        chosen = lengths[:1] if len(lengths) < 2 else lengths[[0, 1, -1]]
        found[: len(chosen), b] = chosen
    return found


class ArenaEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """The arena as gymnasium has environments; `info` has the goal's place. Without pictures."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(self, **sizes: Any) -> None:
        """Take the fields of `Arena`; a limit of time is `gymnasium.make`'s, or the caller's."""
        self.arena = Arena(**sizes)
        self.twin = ArenaTwin(self.arena)
        self.observation_space = Box(np.array([-1, -1, 0, 0], np.float32), np.ones(4, np.float32), dtype=np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode: a new goal, a random place."""
        super().reset(seed=seed)
        u = self.np_random.random(3)
        self._x, self._y = self._choose_place(u[0], u[1])
        self.goal = cos(2 * pi * u[2]), sin(2 * pi * u[2])
        return self._observe_place(False, False), {"goal": self.goal}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Go on for one action, (2,) in [-1, 1]; the numbers of a new place are drawn in any case."""
        vx, vy = (float(one) for one in check_shape("action", np.asarray(action, float), (2,), "a velocity"))
        u, size = self.np_random.random(2), hypot(vx, vy)
        factor = self.arena.stride / max(size, 1.0)
        vx, vy, hit = vx * factor, vy * factor, False
        if size > 0 and hypot(self._x + vx, self._y + vy) > 1.0:  # as far as the wall
            a, b = vx * vx + vy * vy, self._x * vx + self._y * vy
            c = min(self._x**2 + self._y**2 - 1.0, 0.0)
            share, hit = (sqrt(b * b - a * c) - b) / a, True
            vx, vy = vx * share, vy * share
        self._x, self._y = self._x + vx, self._y + vy
        reached = hypot(self._x - self.goal[0], self._y - self.goal[1]) < self.arena.goal
        if reached:
            self._x, self._y = self._choose_place(u[0], u[1])
        reward = GOAL if reached else WALL if hit else 0.0
        return self._observe_place(reached, hit and not reached), reward, False, False, {"goal": self.goal}

    def _choose_place(self, first: float, second: float) -> tuple[float, float]:
        radius, angle = self.arena.start * sqrt(first), 2 * pi * second
        return radius * cos(angle), radius * sin(angle)

    def _observe_place(self, rewarded: bool, punished: bool) -> np.ndarray:
        return np.clip(np.array([self._x, self._y, rewarded, punished], np.float32), -1.0, 1.0)


gymnasium.register("l2l/Arena-v0", ArenaEnv, max_episode_steps=200)
gymnasium.register("l2l/ArenaCoarse-v0", ArenaEnv, max_episode_steps=100, kwargs={"action_ms": 20.0, "steps": 100})
