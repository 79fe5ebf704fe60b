"""Gymnasium's environments, side by side in this process, and what disturbs them.

Legend: B environments side by side, O numbers of an observation that are used.
"""

import logging
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple, Self

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.spaces import Box, Discrete

from l2l_snn.validate import NotNegative, check_fields, message
from optimizees.gym.actions import Actions

log = logging.getLogger(__name__)
UNKNOWN = 3.0  # where a space says nothing, observations are expected within +- so much


@dataclass(frozen=True)
class Noise:
    """What disturbs an agent (001, section 3.2), each by its standard deviation; 0: nothing does."""

    observation: NotNegative = 0.0  # added to each number that the network sees; a critic's next ones are without
    action: NotNegative = 0.0  # share by which each continuous action is changed at each step
    friction: NotNegative = 0.0  # share by which an episode's joint damping is changed, MuJoCo's alone; it stays >= 0

    def __post_init__(self) -> None:
        check_fields(self)


class Worlds(NamedTuple):
    """What an environment has to see and to do."""

    low: tuple[float, ...]  # (all of an observation's numbers) where they usually begin ...
    high: tuple[float, ...]  # ... and end
    actions: Actions
    twin: Any  # the same environment in JAX (`optimizees.gym.twin.Twin`), or None


def _make(name: str) -> gymnasium.Env:
    """Return a new environment; what MuJoCo has to say goes to the log, not to a file wherever the process stands."""
    module, _, registered = name.rpartition(":")
    if module:
        import_module(module)  # it registers its environments
    entry = gymnasium.spec(registered).entry_point
    if isinstance(entry, str):
        load_env_creator(entry)  # imports its module, and with it MuJoCo where that is the physics
    if "mujoco" in sys.modules:
        sys.modules["mujoco"].set_mju_user_warning(_log_mujoco)
    return gymnasium.make(name)


def _log_mujoco(text: str) -> None:
    # that gymnasium's own models are written in an older way is nothing that a user could change
    log.log(logging.DEBUG if "deprecated" in text else logging.WARNING, "MuJoCo: %s", text)


@lru_cache(maxsize=32)
def describe(name: str) -> Worlds:
    """Return what the environment of this name has to see and to do.

    Raises:
        ValueError: there is none, or its observations aren't a vector, or its actions neither discrete nor a vector.
    """
    try:
        environment = _make(name)
    except (gymnasium.error.Error, ImportError) as error:
        todo = '"module:Name-v0" imports a module of yours first'
        if "mujoco" in str(error).lower():
            todo = 'pip install "l2l-snn[mujoco]"'
        raise ValueError(
            message("environment", "the name of a gymnasium environment", f"{name!r}: {error}", todo)
        ) from error
    seen, done = environment.observation_space, environment.action_space
    twin = getattr(environment.unwrapped, "twin", None)
    environment.close()
    if not isinstance(seen, Box) or len(seen.shape) != 1:
        raise ValueError(message("environment", "observations that are a vector", f"{seen} of {name}"))
    known = (np.abs(seen.low) < 1e6) & (np.abs(seen.high) < 1e6)
    low, high = np.where(known, seen.low, -UNKNOWN), np.where(known, seen.high, UNKNOWN)
    if isinstance(done, Discrete):
        actions = Actions(int(done.n), (), (), int(done.start))
    elif isinstance(done, Box) and len(done.shape) == 1 and np.isfinite([done.low, done.high]).all():
        actions = Actions(done.shape[0], tuple(map(float, done.low)), tuple(map(float, done.high)))
    else:
        raise ValueError(
            message("environment", "actions that are discrete, or a vector with bounds", f"{done} of {name}")
        )
    return Worlds(tuple(map(float, low)), tuple(map(float, high)), actions, twin)


class Stepped(NamedTuple):
    """What B environments gave in one step."""

    seen: np.ndarray  # (B, all numbers) what is observed now: of a new episode where the last one is over
    ended: np.ndarray  # (B, all numbers) what was observed after the step, before any reset
    rewards: np.ndarray  # (B,)
    terminated: np.ndarray  # (B,) bool
    truncated: np.ndarray  # (B,) bool


class SideBySide:
    """B environments of one name, one after another in this process; they begin anew in the step that ends an episode.

    It is gymnasium's SyncVectorEnv with `AutoresetMode.SAME_STEP`, without the infos, whose collection costs a tenth of
    HalfCheetah's step.
    """

    def __init__(self, name: str, count: int):
        self.envs = [_make(name) for _ in range(count)]
        space = self.envs[0].observation_space
        self._empty = np.zeros((count, *(space.shape or ())), space.dtype)

    def reset(self, seeds: list[int]) -> np.ndarray:
        """Return the first observations (B, all numbers) of new episodes; seeds: one for each environment."""
        seen = np.empty_like(self._empty)
        for i, (env, seed) in enumerate(zip(self.envs, seeds, strict=True)):
            seen[i] = env.reset(seed=seed)[0]
        return seen

    def step(self, actions: np.ndarray) -> Stepped:
        """Return what follows from actions (B,) or (B, A)."""
        count = len(self.envs)
        ended, rewards = np.empty_like(self._empty), np.empty(count)
        terminated, truncated = np.empty(count, bool), np.empty(count, bool)
        for i, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            ended[i], rewards[i], terminated[i], truncated[i], _ = env.step(action)
        over = np.flatnonzero(terminated | truncated)
        seen = ended.copy() if over.size else ended
        for i in over:
            seen[i] = self.envs[i].reset()[0]
        return Stepped(seen, ended, rewards, terminated, truncated)


@lru_cache(maxsize=4)
def side_by_side(name: str, count: int) -> SideBySide:
    """Return B = `count` environments of this name."""
    return SideBySide(name, count)


class Friction:
    """Joint damping that changes from episode to episode; a context manager that leaves the models as they were.

    In an episode all joints change by the same factor; those without damping, as of a floating body, keep none. Without
    a spread nothing changes, and the physics may be any.
    """

    def __init__(self, worlds: SideBySide, spread: float, generator: np.random.Generator):
        self._models = [_model_of(world) for world in worlds.envs] if spread else []
        self._usual = [model.dof_damping.copy() for model in self._models]
        self._spread, self._generator = spread, generator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for model, usual in zip(self._models, self._usual, strict=True):
            model.dof_damping[:] = usual

    def change(self, over: np.ndarray) -> None:
        """Draw the damping of the episodes that begin now."""
        for i in np.flatnonzero(over) if self._spread else ():
            factor = max(1 + self._spread * self._generator.standard_normal(), 0.0)
            self._models[i].dof_damping[:] = factor * self._usual[i]


def _model_of(world: gymnasium.Env) -> Any:
    """Return the MuJoCo model of an environment."""
    model = getattr(world.unwrapped, "model", None)
    if model is None:
        raise ValueError(message("noise.friction", "0 where MuJoCo isn't the physics", type(world.unwrapped).__name__))
    if not model.dof_damping.any():
        raise ValueError(message("noise.friction", "0 where no joint is damped", type(world.unwrapped).__name__))
    return model
