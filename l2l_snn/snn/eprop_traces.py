"""Eligibility traces: how a neuron's own state and spikes follow from each of its input weights, forward in time.

The state h of a neuron and its weights w give, for any cell whose neurons don't touch each other,

    eps_t+1 = dh_t+1/dh_t eps_t + dh_t+1/dI x_t        and        e_t = dz_t/dh_t eps_t + dz_t/dI x_t

with x what arrives of one presynaptic neuron and z the spike (Bellec et al. 2020); both are Jacobian-vector
products of the cell's step, so a new cell needs no formula of its own.

Legend: B batch; N neurons; n presynaptic ones; L steps that the longest delay takes.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from l2l_snn.snn.cells import LIF, AdaptiveLIF, Cell
from l2l_snn.snn.fptt import join, split
from l2l_snn.snn.parameters import Array


class Trace(NamedTuple):
    """What a projection carries from step to step."""

    sent: Array  # (L + 1, B, n) presynaptic spikes, the latest last
    own: Any  # eps: the floating-point leaves of the cells' state, (n, B, N) each


def start_trace(cell: Cell, n_pre: int, n_post: int, batch: int, longest: int) -> Trace:
    """Return the trace of a projection before anything was sent."""
    floats, _ = split(cell.init(n_post))
    own = jax.tree.map(lambda leaf: jnp.zeros((n_pre, batch, *leaf.shape), leaf.dtype), floats)
    return Trace(jnp.zeros((longest + 1, batch, n_pre)), own)


def advance_trace(
    trace: Trace,
    cell: Cell,
    dt: float,
    state: Any,
    arriving: Float[Array, "B N"],
    spikes: Float[Array, "B n"],
    delays: np.ndarray,
    through_reset: bool,
) -> tuple[Trace, Float[Array, "n B N"]]:
    """Return the trace one step later, and how the spikes of this step follow from each weight.

    Args:
        trace: as this step found it.
        cell: of the postsynaptic population.
        dt: step, ms.
        state: of the cells before this step, (B, N) leaves.
        arriving: (B, N) input of the cells in this step.
        spikes: (B, n) of the presynaptic population in this step.
        delays: () or (n, N) steps.
        through_reset: whether the reset of LIF and AdaptiveLIF follows from the weights too, or counts as given.

    Returns:
        The trace, and e (n, B, N).
    """
    sent = jnp.concatenate([trace.sent[1:], spikes[None]])
    if delays.ndim:
        steps = np.unique(delays)
        lagged = jnp.stack([sent[len(sent) - 1 - d] for d in steps])  # (K, B, n)
        which = jnp.asarray(steps[:, None, None] == delays, sent.dtype)
        x = jnp.einsum("kbi,kij->ibj", lagged, which)
    else:
        x = jnp.broadcast_to(sent[len(sent) - 1 - int(delays)].T[:, :, None], (*spikes.T.shape, arriving.shape[1]))
    floats, rest = split(state)
    propagators = cell.propagators(dt)

    def one(floats: Any, rest: Any, arriving: Array) -> tuple[Any, Array]:
        before = join(floats, rest)
        after, z = cell.step(before, arriving, dt, propagators)
        after = after if through_reset else _with_given_reset(cell, before, after)
        return split(after)[0], z

    def flow(floats: Any, arriving: Array) -> tuple[Any, Array]:
        return jax.vmap(one)(floats, rest, arriving)

    def product(own: Any, x: Array) -> tuple[Any, Array]:
        return jax.jvp(flow, (floats, arriving), (own, x))[1]

    own, e = jax.vmap(product)(trace.own, x)
    return Trace(sent, own), e


def _with_given_reset(cell: Cell, before: Any, after: Any) -> Any:
    """Return the same state, its potential without a derivative by way of the reset."""
    if isinstance(cell, LIF):
        reset = cell.v_th * before.z
        return after._replace(v=after.v + (reset - jax.lax.stop_gradient(reset)))
    if isinstance(cell, AdaptiveLIF):
        reset = (cell.v_th + cell.beta * after.b) * before.lif.z
        lif = after.lif._replace(v=after.lif.v + (reset - jax.lax.stop_gradient(reset)))
        return after._replace(lif=lif)
    return after
