"""The hybrid unit: truncation, filter, nonlinearity, discretisation.

Legend: T steps, W of the window, K answers, N signals; (...) any shape between, for example (B,) examples.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.parameters import Array, check_numbers, floats
from l2l_snn.validate import Count, check_count, check_fields, message

Quantiser: TypeAlias = Callable[[Array, Any], jax.Array]  # (numbers (K, ...), jax key or None) -> the same shape


@dataclass(frozen=True, eq=False)  # equal to itself alone, so that jax.jit takes one with arrays in it
class HybridUnit:
    """What one part of a network sends, in the form that another takes (Zhao et al. 2022, Fig. 1c).

        y_t = Q(F(sum_s<W  h_s x_t-s)),        x = 0 before the first step

    The window W truncates, the kernel h filters, F is the nonlinearity, Q discretises. What comes and what goes may
    have clocks of their own: a number that is `held` lasts several steps, and a unit with a `stride` answers once in so
    many steps, at their end. `l2l_snn.snn.hybrid.designed` has the usual ones. Array fields may be traced, so a unit is
    trained or evolved like weights.

    >>> unit = HybridUnit(2, jnp.array([0.5, 0.5]), jnp.tanh)
    >>> [round(float(y), 4) for y in unit(jnp.array([[2.0], [0.0], [0.0]]))[:, 0]]
    [0.7616, 0.7616, 0.0]
    """

    window: Count  # W, steps that count, the present one included
    kernel: Array  # (W,), or (W, N) for each signal its own; the present step first
    nonlinearity: Callable[[Array], Array] = lambda y: y  # F, of (K, ..., N)
    quantise: Quantiser | None = None  # Q, see `l2l_snn.snn.hybrid.quantisers`; None: the numbers as they are
    held: Count = 1  # steps that each number of the input lasts
    stride: Count = 1  # steps from one answer to the next

    def __post_init__(self) -> None:
        check_fields(self)
        shape = np.shape(self.kernel)
        if len(shape) not in (1, 2) or shape[0] != self.window:
            raise ValueError(message("HybridUnit.kernel", f"shape ({self.window},) or ({self.window}, N)", shape))
        check_numbers("HybridUnit.kernel", self.kernel)

    def __call__(self, x: Array, key: Any = None) -> jax.Array:
        """Return the answers (K, ..., N), K = T held // stride.

        Args:
            x: (T, ..., N) spikes or numbers, time first.
            key: a `jax.random` key, for a quantiser that draws.

        Raises:
            ValueError: x has no axes of time and signals, too few steps for one answer, or another N than the kernel.
        """
        y = self.nonlinearity(self.filter(x))
        return y if self.quantise is None else self.quantise(y, key)

    def filter(self, x: Array) -> jax.Array:
        """Return what truncation and filter make of x: (K, ..., N), before F and Q."""
        x, kernel = floats(x), jnp.asarray(self.kernel)
        own = kernel.ndim == 2
        if x.ndim < 2 or x.shape[0] * self.held < self.stride or (own and kernel.shape[1] != x.shape[-1]):
            expected = f"shape (T, ..., {kernel.shape[1] if own else 'N'}), at least {self.stride} steps"
            raise ValueError(message("HybridUnit: x", expected, f"shape {x.shape}"))
        # one matrix (K, T) in place of a loop over the window: held steps add up in it
        steps = len(x) * self.held
        ends = np.arange(steps // self.stride) * self.stride + self.stride - 1
        back = ends[:, None] - np.arange(steps)
        inside = (back >= 0) & (back < self.window)
        inside_at = np.clip(back, 0, self.window - 1)
        shape = (len(ends), len(x), self.held)
        if own:
            matrix = jnp.where(inside[..., None], kernel[inside_at], 0).reshape(*shape, -1).sum(axis=2)
            return jnp.einsum("ktn,t...n->k...n", matrix.astype(x.dtype), x)
        matrix = jnp.where(inside, kernel[inside_at], 0).reshape(shape).sum(axis=2)
        return jnp.tensordot(matrix.astype(x.dtype), x, axes=1)

    def operations(self, steps: int, signals: int, density: float = 1.0) -> float:
        """Return multiply-adds of filter, nonlinearity and discretisation, one each of the latter two for an answer.

        Args:
            steps: T.
            signals: N.
            density: share of the input that isn't 0, e.g. spikes a step; only these are added.
        """
        check_count("HybridUnit.operations steps", steps)
        answers = steps * self.held // self.stride
        return answers * signals * (self.window * density + 1 + (self.quantise is not None))


def learning(params: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return parameters of which only some learn: no gradient reaches the others.

    A unit learns alone (its own parameters named), with its neighbours (those of the layers it joins too), or with
    everything.

    Args:
        params: name -> array.
        names: of those that learn.

    Raises:
        ValueError: an unknown name.
    """
    unknown = sorted(set(names) - set(params))
    if unknown:
        raise ValueError(message("learning.names", "names of parameters", unknown[0]))
    return {name: value if name in names else jax.lax.stop_gradient(value) for name, value in params.items()}
