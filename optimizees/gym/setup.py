"""What a rollout needs to know: which network acts in which environment, for how long, how observations reach it.

Legend: B environments side by side, H steps of each, K steps of a segment, O numbers of an observation.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.space import Free, Space
from l2l_snn.validate import NotNegative, Share, check_fields
from optimizees.gym.actions import Choose
from optimizees.gym.environment import Noise, Worlds, describe
from optimizees.gym.networks import Network

FAR = 10.0  # no number of a scaled observation is larger


@dataclass(frozen=True)
class Shaping:
    """Rewards that learning alone gets on top: r + weight (discount Phi' - Phi), Phi the twin's potential.

    With the optimizer's discount the best policy stays the best (Ng, Harada & Russell 1999). Fitness is without.
    """

    weight: NotNegative = 0.0
    discount: Share = 0.99

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Setup:
    """An agent and its environments; `optimizees.gym.optimizee.Gym` has checked that the fields fit."""

    environment: str
    acting: Network
    envs: int  # B
    horizon: int  # H
    segment: int  # K, 1 for a network without state
    choice: Choose
    epsilon: float
    low: tuple[float, ...]  # (O,)
    high: tuple[float, ...]  # (O,)
    observe: tuple[int, ...]  # (): all
    log_std: float
    noise: Noise
    forget: bool
    shaping: Shaping

    @property
    def worlds(self) -> Worlds:
        """What there is to see and to do."""
        return describe(self.environment)

    @property
    def epsilons(self) -> np.ndarray:
        """(B,) how often the agent of each environment explores: epsilon^(1 + 7 i / (B - 1)) (Horgan et al. 2018)."""
        powers = 1 + 7 * np.arange(self.envs) / max(self.envs - 1, 1)
        return (self.epsilon**powers).astype(np.float32)

    @cached_property
    def space(self) -> Space:
        """The network's parameters, and `log_std` (A,) of continuous actions."""
        actions = self.worlds.actions
        own = self.acting.parameters(len(self.low), actions.outputs)
        if not actions.discrete:
            own["log_std"] = Free((actions.outputs,), 0.1, self.log_std)
        return Space(**own)

    def scale_observation(self, seen: Any, xp: Any = np) -> Any:
        """Return raw observations (..., all numbers) as the network gets them: (..., O), usually within [-1, 1].

        `xp` is numpy, or JAX's.
        """
        numbers, low, width = self._scaling
        used = seen[..., numbers] if self.observe else seen
        return xp.minimum(xp.maximum(2 * (used - low) / width - 1, -FAR), FAR).astype(np.float32)

    @cached_property
    def _scaling(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which numbers of an observation are used, where their ranges begin, how wide they are."""
        low, high = np.array(self.low), np.array(self.high)
        return np.array(self.observe, int), low, high - low

    def first_states(self, z: Any) -> Any:
        """Return the network's states at the start of B episodes."""
        state = self.acting.init(self.space.decode(z))
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (self.envs, *x.shape)), state)
