"""What a network needs of a plasticity rule, and what rules share.

    @jax.tree_util.register_dataclass          # a pytree: its fields may be traced
    @dataclass(frozen=True)
    class Hebb(WeightRule):
        eta: Array = 0.01  # weight units per pair of spikes

Legend: w (n_pre, n_post); pre (n_pre,) and post (n_post,) spikes of one step.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from l2l_snn.snn.parameters import Array, fits
from l2l_snn.validate import message


@dataclass(frozen=True)
class Rule(ABC):
    """A plasticity rule; a subclass is a frozen dataclass of parameters that is registered as a pytree."""

    uses_signal: ClassVar[bool] = False  # whether the third factor changes what it does
    homeostatic: ClassVar[bool] = False  # whether it changes weights without any spikes: a decay, or a target rate

    @abstractmethod
    def init(self, n_pre: int, n_post: int) -> Any:
        """Return the state at the start, a NamedTuple; refuse parameters that don't fit, as far as they are known."""

    @abstractmethod
    def step(self, state: Any, w: Array, pre: Array, post: Array, signal: Array, dt: Array) -> tuple[Any, Array]:
        """Return state and weights one step later; pure.

        Args:
            state: from `init` or an earlier step.
            w: (n_pre, n_post).
            pre: (n_pre,) spikes of this step, 0 or 1.
            post: (n_post,) spikes of this step, 0 or 1.
            signal: third factor: a scalar, (n_post,) or (n_pre, n_post).
            dt: step, ms.
        """

    @abstractmethod
    def effective(self, w: Array, state: Any) -> Array:
        """Return the weights (n_pre, n_post) that the network uses."""

    @abstractmethod
    def every(self, dt: float) -> Any:
        """Return for how many steps the effective weights stay the same: an int, or traced if it depends on traced."""


class WeightRule(Rule):
    """A rule that changes the weights themselves, in every step: the network uses `w` as it is."""

    def effective(self, w: Array, state: Any) -> Array:
        return w

    def every(self, dt: float) -> int:
        return 1


def check_spikes(rule: Rule, w: Array, pre: Array, post: Array) -> None:
    """Refuse arguments of `step` whose shapes don't fit; shapes are known even where values are traced."""
    kind = type(rule).__name__
    if jnp.ndim(w) != 2 or not jnp.issubdtype(jnp.result_type(w), jnp.floating):
        got = f"shape {jnp.shape(w)} of {jnp.result_type(w)}"
        raise ValueError(message(f"{kind}.step w", "real numbers of shape (n_pre, n_post)", got))
    for name, spikes, n in (("pre", pre, jnp.shape(w)[0]), ("post", post, jnp.shape(w)[1])):
        if jnp.shape(spikes) != (n,):
            expected, got = f"shape ({n},) for weights of shape {jnp.shape(w)}", f"shape {jnp.shape(spikes)}"
            raise ValueError(message(f"{kind}.step {name}", expected, got, "batch by jax.vmap"))


def third_factor(rule: Rule, signal: Array, shape: tuple[int, ...]) -> Array:
    """Return the third factor as a scalar, (1, n_post) or (n_pre, n_post)."""
    signal = jnp.asarray(signal)
    signal = signal[None, :] if signal.ndim == 1 else signal
    if not fits(signal.shape, shape):
        expected = f"a scalar, (n_post,) or an array that broadcasts to {shape}"
        raise ValueError(message(f"{type(rule).__name__}.step signal", expected, f"shape {signal.shape}"))
    return signal


def bounded(x: Array, low: Array, high: Array) -> Array:
    """Return `x` clipped to [low, high]; on a bound the slope is that of `x`, where jnp.clip halves it."""
    return jnp.where(x > high, high, jnp.where(x < low, low, x))


def zeros_like_parameters(shape: tuple[int, ...], *like: Array) -> jax.Array:
    """Return zeros of `shape`, broadcast to the shapes of the parameters that will meet them."""
    return jnp.zeros(jnp.broadcast_shapes(shape, *(jnp.shape(value) for value in like)))
