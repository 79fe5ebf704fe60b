"""Layers of spiking neurons with a plastic trace beside each weight, for many trials at once (001 eq. 6-21).

    sent = send(cell, inputs, STEP, interval)                  # (T, B, 40) spikes of the input neurons
    hidden = layer(cell, rule, w_hidden, sent, STEP, interval)
    output = layer(cell, rule, w_out, hidden.sent, STEP, interval)

A layer is simulated over the whole trial before the next begins, since nothing flows back. By eq. 7 the weight of a
moment acts on the filtered spikes, u = (W + alpha E) (epsilon * s) + nu * s, so a change of the trace acts at once on
all that is still decaying. Between two updates the weights stand still: what arrives in an interval is one product.
Neurons filter their own spikes as they fire, so that what a layer sends passes through memory once.

Legend: T steps of a trial, C of an interval between updates, I intervals, B trials, n_pre and n_post neurons.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn.cells import Response, SRMAlpha, SRMConstants
from l2l_snn.snn.homeostasis import SynapticScaling


class Sent(NamedTuple):
    """What neurons tell the next layer."""

    response: Any  # (I, C, B, n) epsilon * s (eq. 6)
    counts: Any  # (I, B, n) spikes in each interval


class Extras(NamedTuple):
    """What a layer may have besides; nothing of it by default."""

    told: Any = None  # (I, B) third factor of each interval, said from outside
    judged: Any = None  # (I, B, n_post) or: by these the layer's own spikes a step are weighed and summed, to be one
    w_third: Any = None  # (n_post,) what M of each neuron gets of it
    truncate: int = 0  # intervals after which gradients are cut; 0: never
    scaling: SynapticScaling | None = None  # of the positive weights onto each neuron, after every interval


PLAIN = Extras()


class Layer(NamedTuple):
    """What a layer did; spikes and potentials of the first trials only."""

    sent: Sent
    spikes: Any  # (T, kept, n_post)
    potentials: Any  # (T, kept, n_post) mV
    modulation: Any  # (I, B, n_post) M after each interval; 0 without neuromodulation
    plastic: Any  # (I, B) mean |alpha E| after each interval, mV; 0 without plasticity


class _Scale(NamedTuple):
    """Synaptic scaling under way."""

    state: Any  # ScalingState, (B, n_post) each
    factor: Any  # (B, 1, n_post) of the positive weights


def _compute_constants(cell: SRMAlpha, dt: float, dtype: Any) -> SRMConstants:
    return SRMConstants(*(jnp.asarray(x, dtype) for x in cell.propagators(dt)))


def _apply_kernel(kernel: Response, decay: Any, rise: Any) -> Any:
    """Return the alpha kernel's value in this step, of the spikes before it."""
    return decay * (kernel.a + rise * kernel.x)


def send(cell: SRMAlpha, spikes: Any, dt: float, interval: int) -> Sent:
    """Return what neurons with given spikes (T, B, n) send; T is a multiple of C = `interval`."""
    T, *rest = spikes.shape
    k = _compute_constants(cell, dt, spikes.dtype)

    def one(kernel: Response, spikes: Any) -> tuple[Response, Any]:
        a = _apply_kernel(kernel, k.decay_s, k.rise_s)
        return Response(k.decay_s * kernel.x + spikes, a), a

    still = jnp.zeros(rest, spikes.dtype)
    response = jax.lax.scan(one, Response(still, still), spikes)[1]
    parts = (T // interval, interval, *rest)
    return Sent(response.reshape(parts), spikes.reshape(parts).sum(axis=1))


def layer(cell: SRMAlpha, rule: Any, w: Any, pre: Sent, dt: float, keep: int, extras: Extras = PLAIN) -> Layer:
    """Return what a layer does in a trial that begins at rest, without traces.

    Args:
        cell: the neurons; its `spike` makes the layer spiking or smooth.
        rule: of differentiable.py, or None for fixed weights.
        w: (n_pre, n_post) mV.
        pre: what arrives.
        dt: ms.
        keep: the number of trials of which spikes and potentials are returned.
        extras: a third factor, homeostasis, truncated gradients.
    """
    intervals, interval, B, n_pre = pre.response.shape
    n_post, dtype = w.shape[1], pre.response.dtype
    k = _compute_constants(cell, dt, dtype)

    def fire(carry: tuple[Response, Response], psp: Any) -> tuple[Any, Any]:
        refractory, own = carry
        nu = _apply_kernel(refractory, k.decay_ref, k.rise_ref)
        u = psp - cell.scale_ref * cell.v_th * nu  # eq. 7
        spikes = cell.spike(u - cell.v_th)  # eq. 8
        a = _apply_kernel(own, k.decay_s, k.rise_s)
        told = spikes if cell.through_refractory else jax.lax.stop_gradient(spikes)
        carry = Response(k.decay_ref * refractory.x + told, nu), Response(k.decay_s * own.x + spikes, a)
        return carry, (a, spikes, u[:keep])

    def advance(carry: tuple[Any, Any, Any], xs: tuple[Sent, Any, Any]) -> tuple[Any, Any]:
        pre, third, cut = xs
        if cut is not None:
            carry = jax.tree.map(lambda x: jnp.where(cut, jax.lax.stop_gradient(x), x), carry)
        trace, kernels, scale = carry
        if rule is None and scale is None:
            psp = pre.response @ w
        else:
            own = w if scale is None else jnp.maximum(w, 0.0)[None] * scale.factor + jnp.minimum(w, 0.0)[None]
            use = own if rule is None else jax.vmap(rule.effective, (None if scale is None else 0, 0))(own, trace)
            psp = jnp.matmul(pre.response.swapaxes(0, 1), use).swapaxes(0, 1)
        kernels, (response, spikes, u) = jax.lax.scan(fire, kernels, psp)
        counts = spikes.sum(axis=0)
        modulation, plastic = jnp.zeros((B, n_post), dtype), jnp.zeros(B, dtype)
        if rule is not None:
            steps = jnp.full(B, interval, trace.steps.dtype)
            trace = trace._replace(pre=pre.counts, post=counts, steps=steps)
            if third is not None:
                third = third if extras.judged is None else (third * counts).sum(axis=1) / interval
                trace = trace._replace(signal=interval * third[:, None] * extras.w_third[None, :])
            trace = jax.vmap(rule.update)(trace)
            modulation = trace.modulation
            plastic = jax.vmap(lambda e: jnp.abs(rule.alpha * e).mean())(trace.e)
        if extras.scaling is not None and scale is not None:
            grow = jax.vmap(partial(extras.scaling.step, duration=interval * dt))
            scale = _Scale(*grow(scale.state, scale.factor, counts))
        return (trace, kernels, scale), (Sent(response, counts), spikes[:, :keep], u, modulation, plastic)

    still = jnp.zeros((B, n_post), dtype)
    trace = None
    if rule is not None:
        trace = jax.tree.map(lambda x: jnp.broadcast_to(x, (B, *x.shape)), rule.init(n_pre, n_post))
    scale, cut = None, None
    if extras.scaling is not None:
        rest = extras.scaling.init(n_post)
        rest = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, dtype), (B, n_post)), rest)
        scale = _Scale(rest, jnp.ones((B, 1, n_post), dtype))
    if extras.truncate:
        cut = jnp.arange(intervals) % extras.truncate == 0
    third = extras.told if extras.judged is None else extras.judged
    start = trace, (Response(still, still), Response(still, still)), scale
    _, (sent, spikes, u, modulation, plastic) = jax.lax.scan(advance, start, (pre, third, cut))
    whole = (intervals * interval, keep, n_post)
    return Layer(sent, spikes.reshape(whole), u.reshape(whole), modulation, plastic)
