"""The vehicle's world as a gymnasium environment, over the dynamics of `optimizees/vehicle/world.py`.

    env = gymnasium.make("optimizees.vehicle.env:l2l/Vehicle-v0", render_mode="rgb_array")
    seen, info = env.reset(seed=1)
    seen, reward, reached_or_collided, late, info = env.step([1.0, 0.5])    # speeds of the left and the right wheel

An observation is (K + 2,): proximity of each sector, angle of the target / pi, its distance / `arena.far`. A reward is
what the target has come nearer, m, and 1 more where it is reached, 1 less at a collision. `info` has the `outcome`:
"driving", "reached", "collided" or "late".
"""

from functools import lru_cache, partial
from typing import Any, ClassVar

import gymnasium
import jax
import numpy as np
from gymnasium.spaces import Box

from l2l_snn.validate import check_choice, check_shape
from optimizees.vehicle.world import COLLIDED, DRIVING, LATE, REACHED, Arena, create, observation, sense, step

OUTCOMES = ("driving", "reached", "collided", "late")


@lru_cache(maxsize=8)
def _compile_world(arena: Arena) -> tuple[Any, Any, Any]:
    """Return `create`, `step` and what is observed, for worlds of this kind."""
    look = jax.jit(lambda world, state: observation(arena, sense(arena, world, state)))
    return jax.jit(partial(create, arena)), jax.jit(partial(step, arena)), look


class VehicleEnv(gymnasium.Env[np.ndarray, np.ndarray]):
    """One vehicle in random worlds."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, arena: Arena | None = None, render_mode: str | None = None) -> None:
        check_choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        self.arena, self.render_mode = arena or Arena(), render_mode
        self._create, self._step, self._look = _compile_world(self.arena)
        low = np.array([0.0] * self.arena.sectors + [-1.0, 0.0], np.float32)
        self.observation_space = Box(low, np.ones_like(low), dtype=np.float32)
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Make a new world; return what is seen at its start."""
        super().reset(seed=seed)
        with jax.enable_x64(False):
            self.world, self.state = self._create(jax.random.key(int(self.np_random.integers(2**31))))
        self.steps, self._way = 0, [np.asarray(self.state.position)]
        return self._observe_world(), self._describe_outcome(DRIVING)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Drive for a control step with these speeds of the wheels, (2,) in [-1, 1]."""
        wheels = check_shape("action", np.asarray(action, np.float32), (2,), "left and right wheel")
        before = self._measure_distance()
        with jax.enable_x64(False):
            self.state, found = self._step(self.world, self.state, wheels)
        self.steps, outcome = self.steps + 1, int(found)
        self._way.append(np.asarray(self.state.position))
        late = outcome == DRIVING and self.steps >= self.arena.steps
        reward = before - self._measure_distance() + (outcome == REACHED) - (outcome == COLLIDED)
        return (
            self._observe_world(),
            float(reward),
            outcome != DRIVING,
            late,
            self._describe_outcome(LATE if late else outcome),
        )

    def render(self) -> np.ndarray | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the picture of the world, (480, 480, 3) uint8, or None where no mode was chosen."""
        if self.render_mode is None:
            return None
        from optimizees.vehicle.figures import frame

        return frame(self.arena, self.world, np.array(self._way), float(self.state.heading))

    def _measure_distance(self) -> float:
        return float(np.linalg.norm(np.asarray(self.world.target) - np.asarray(self.state.position)))

    def _observe_world(self) -> np.ndarray:
        with jax.enable_x64(False):
            seen = np.array(self._look(self.world, self.state))
        return np.clip(seen, self.observation_space.low, self.observation_space.high)  # rounding  # pyright: ignore

    def _describe_outcome(self, outcome: int) -> dict[str, Any]:
        return {"outcome": OUTCOMES[outcome]}


gymnasium.register("l2l/Vehicle-v0", "optimizees.vehicle.env:VehicleEnv")
