"""Actions from what a network gives: their distributions, traced by JAX.

Of n discrete actions, outputs (n,) are the logarithms of probabilities, up to a sum; of A continuous ones, the means
(A,) of normal distributions, in units in which the range of an action is [-1, 1]. What lies beyond is cut off on its
way to the environment, and counts as it was drawn.

Legend: A outputs.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Choose = Literal["sampled", "best", "epsilon"]


class Actions(NamedTuple):
    """The actions that an environment takes."""

    outputs: int  # A, of the network
    low: tuple[float, ...]  # () of discrete actions, else (A,) the least of each
    high: tuple[float, ...]
    start: int = 0  # the first of discrete actions; a network's outputs count from 0

    @property
    def discrete(self) -> bool:
        return not self.low

    def make_conversion(self, xp: Any = np) -> Callable[[Any], Any]:
        """Return the function from actions (B,) or (B, A) to what the environments take; `xp`: numpy, or JAX's."""
        if self.discrete:
            return lambda actions: actions + self.start
        low, high = np.array(self.low, np.float32), np.array(self.high, np.float32)
        width = high - low
        return lambda actions: xp.minimum(xp.maximum(low + (actions + 1) / 2 * width, low), high)


def choose(actions: Actions, how: Choose, key: Any, out: Any, log_std: Any, epsilon: Any) -> tuple[Any, Any]:
    """Return an action, () int or (A,), and the logarithm of its probability; "epsilon" has none, and gives 0.

    Args:
        actions: what there are.
        how: "sampled" from the distribution, the "best", or a uniform one with probability `epsilon`, else the best.
        key: of the draw.
        out: (A,) what the network gives.
        log_std: (A,) logarithms of standard deviations, of continuous actions.
        epsilon: ().
    """
    if actions.discrete:
        best = jnp.argmax(out)
        if how == "epsilon":
            coin, which = jax.random.split(key)
            other = jax.random.randint(which, (), 0, actions.outputs)
            return jnp.where(jax.random.uniform(coin) < epsilon, other, best), jnp.zeros(())
        action = jax.random.categorical(key, out) if how == "sampled" else best
    else:
        noise = jax.random.normal(key, out.shape) if how == "sampled" else jnp.zeros_like(out)
        action = out + jnp.exp(log_std) * noise
    return action, judge(actions, action, out, log_std)[0]


def judge(actions: Actions, action: Any, out: Any, log_std: Any) -> tuple[Any, Any]:
    """Return the logarithm of an action's probability (density) and the entropy of its distribution, both ()."""
    if actions.discrete:
        log_p = jax.nn.log_softmax(out)
        return log_p[action], -(jnp.exp(log_p) * log_p).sum()
    away = (action - out) * jnp.exp(-log_std)
    log_p = -0.5 * away**2 - log_std - 0.5 * np.log(2 * np.pi)
    return log_p.sum(), (log_std + 0.5 * np.log(2 * np.pi * np.e)).sum()
