"""The critic: a perceptron that says what is to be expected from here on. It is the optimizer's own.

critic = Critic(inputs=4, hidden=(64, 64))
weights = critic.sample(generator)        # (C,)
critic.values(weights, observations)      # (...,) of observations (..., inputs)
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Critic:
    """A value function of tanh units, its weights one vector."""

    inputs: int  # numbers of an observation
    hidden: tuple[int, ...]  # units of each layer

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(n_pre, n_post) of each layer; a bias for each n_post stands behind its weights."""
        sizes = (self.inputs, *self.hidden, 1)
        return list(pairwise(sizes))

    @property
    def size(self) -> int:
        """C."""
        return sum((pre + 1) * post for pre, post in self.shapes)

    def sample(self, generator: np.random.Generator) -> np.ndarray:
        """Return first weights (C,): normal / sqrt(n_pre), biases and the last layer 0, so that all values are."""
        parts = []
        for pre, post in self.shapes[:-1]:
            parts += [generator.standard_normal(pre * post) / np.sqrt(pre), np.zeros(post)]
        return np.concatenate([*parts, np.zeros(self.shapes[-1][0] + 1)])

    def values(self, weights: Any, observations: Any) -> Any:
        """Return values (...,) of observations (..., inputs), traced by JAX."""
        import jax.numpy as jnp

        x, start = observations, 0
        for layer, (pre, post) in enumerate(self.shapes):
            w = weights[start : start + pre * post].reshape(pre, post)
            b = weights[start + pre * post : start + (pre + 1) * post]
            x = x @ w + b.reshape((1,) * (x.ndim - 1) + (post,))
            x = x if layer == len(self.shapes) - 1 else jnp.tanh(x)
            start += (pre + 1) * post
        return x[..., 0]
