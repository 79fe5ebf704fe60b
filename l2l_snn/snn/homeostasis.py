"""Homeostasis: slow rules that keep neurons at work while other rules change their synapses.

    scaling = SynapticScaling(target=20.0)                  # Hz
    state = scaling.init(n_post)
    state, w = scaling.step(state, w, counts, duration)     # after every stretch of simulated time

They act between stretches of simulated time (a control step, an episode), on any weights, beside any rule of
the plasticity package. Parameters may be traced: evolved.

Legend: w (n_pre, n_post), all >= 0 or all <= 0; counts (n_post,) spikes of the stretch.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn.parameters import Array, check_synapses
from l2l_snn.snn.plasticity.rule import bounded
from l2l_snn.validate import check_count, message


class ScalingState(NamedTuple):
    """State of SynapticScaling."""

    rate: Array  # (n_post,) Hz, running mean
    missing: Array  # (n_post,) Hz s, integral of target - rate


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class SynapticScaling:
    """All synapses of a neuron grow in proportion while it fires below its target, and shrink above.

        dw/dt = beta w (target - a) + gamma w int (target - a) dt        a: running mean of the rate, over tau

    Van Rossum, Bi & Turrigiano 2000, eq. 3, after Turrigiano et al. 1998. Multiplicative, so that what other rules
    have learned, the ratios of a neuron's weights, stays. Solved exactly for a rate that is constant over the stretch
    but for the integral, which takes its value at the stretch's end. The running mean begins at the target:
    a neuron is not known to be silent before it was observed.
    """

    target: Array = 20.0  # Hz
    tau: Array = 1000.0  # ms, over which the rate is averaged
    beta: Array = 0.01  # 1 / (s Hz)
    gamma: Array = 0.0  # 1 / (s^2 Hz), of the integral term
    w_min: Array = 0.0  # unit of the weights
    w_max: Array = jnp.inf

    def init(self, n_post: int) -> ScalingState:
        one = ((), (n_post,))
        own = {"target": one, "tau": one, "beta": one, "gamma": one}
        check_synapses(self, (1, n_post), "tau", "target beta gamma", own)
        return ScalingState(jnp.zeros(n_post) + self.target, jnp.zeros(n_post))

    def step(self, state: ScalingState, w: Array, counts: Array, duration: Array) -> tuple[ScalingState, jax.Array]:
        """Return the state and the weights after a stretch.

        Args:
            state: from `init` or an earlier step.
            w: (n_pre, n_post).
            counts: (n_post,) spikes in the stretch.
            duration: () ms, its length.
        """
        w = jnp.asarray(w)
        if jnp.shape(counts) != w.shape[1:]:
            got = f"shape {jnp.shape(counts)}"
            raise ValueError(message("SynapticScaling.step counts", f"shape {w.shape[1:]}, one a neuron", got))
        s = duration / 1000
        decay, now = jnp.exp(-duration / self.tau), counts / s
        # the integral over the stretch of target - a, where a goes from the old mean to the rate with tau
        mean = now + (state.rate - now) * (1 - decay) * self.tau / duration
        gap = (self.target - mean) * s
        missing = state.missing + gap
        growth = jnp.exp(self.beta * gap + self.gamma * missing * s)
        rate = now + (state.rate - now) * decay
        new = bounded(w * growth[None, :], self.w_min, self.w_max).astype(w.dtype)
        return ScalingState(rate.astype(state.rate.dtype), missing.astype(state.missing.dtype)), new


def normalised(w: Array, total: Array) -> jax.Array:
    """Return weights scaled so that those onto each neuron sum to `total`; a neuron without any stays as it is.

    The hard form of synaptic scaling (von der Malsburg 1973): what one synapse wins its neighbours lose.

    Args:
        w: (n_pre, n_post), >= 0.
        total: () or (n_post,), unit of the weights.

    >>> normalised(jnp.array([[1.0, 0.0], [3.0, 0.0]]), 2.0).tolist()
    [[0.5, 0.0], [1.5, 0.0]]
    """
    w = jnp.asarray(w)
    check_count("normalised.w axes", w.ndim, 2)
    sums = w.sum(axis=0)
    factor = jnp.where(sums > 0, total / jnp.where(sums > 0, sums, 1.0), 1.0)
    return (w * factor[None, :]).astype(w.dtype)
