"""The gradient of a window's loss with respect to the trained weights, in three forms that give the same numbers.

Within a window of T steps of the body the state at its beginning doesn't depend on the weights ("to avoid exploding
gradients, the loss gradient and differential matrix are reset every 20 timesteps").

- general: the sensitivity of everything to each of the P = N M weights (Brand 2024, eq. 2.22-2.24).
- separable: sensory neurons and reservoir see the weights only through the K = T D values that are sensed in the
  window, 20 angles by default. So their sensitivity is S Theta: S to the K sensed values, (K, N), and Theta of these to
  the weights, (K, P), which grows by a row a step. P columns are kept for motor neurons, muscles and arm alone.
- backward: backpropagation through the window.

Legend: T steps of a window, D sensed values, K = T D, N neurons of the reservoir, M muscles, P = N M.
"""

from functools import partial
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from l2l_snn.snn.fptt import forward_gradient
from l2l_snn.snn.parameters import Array
from optimizees.arm.loop import Given, Loop, LoopState, Spikes

Form: TypeAlias = Literal["separable", "general", "backward"]
STAGES = 4  # parts of a window, each with as many columns of S as sensed values so far


class Window(NamedTuple):
    """What a window gives."""

    loss: Array  # () sum over its steps
    grad: Array  # (N, M) of the loss
    state: LoopState
    spikes: Spikes  # in the window
    square: Array  # () sum of q^2


def learn_window(loop: Loop, given: Given, w: Array, state: LoopState, steps: int, form: Form = "separable") -> Window:
    """Return the gradient of the loss of the next `steps` steps of the body, and what comes after them."""
    return {"separable": _separable, "general": _general, "backward": _backward}[form](loop, given, w, state, steps)


def run_window(loop: Loop, given: Given, w: Array, state: LoopState, steps: int) -> Window:
    """Return the same without a gradient, which is 0."""

    def step(carry: Any, _: None) -> tuple[Any, None]:
        state, loss, spikes, square = carry
        state, cost, fired = loop.step(given, w, state)
        return (state, loss + cost, _add(spikes, fired), square + jnp.sum(state.below.limb.q**2)), None

    zero = jnp.zeros((), w.dtype)
    (state, loss, spikes, square), _ = jax.lax.scan(step, (state, zero, _silence(loop, w), zero), length=steps)
    return Window(loss, jnp.zeros_like(w), state, spikes, square)


def _backward(loop: Loop, given: Given, w: Array, state: LoopState, steps: int) -> Window:
    def loss(w: Array) -> tuple[Array, Window]:
        found = run_window(loop, given, w, state, steps)
        return found.loss, found

    grad, found = jax.grad(loss, has_aux=True)(w)
    return found._replace(grad=grad)


def _general(loop: Loop, given: Given, w: Array, state: LoopState, steps: int) -> Window:
    def step(w: Array, x: Any, _: None) -> tuple[Any, Array]:
        state, spikes, square = x
        state, cost, fired = loop.step(given, w, state)
        halted = jax.lax.stop_gradient
        return (state, _add(spikes, halted(fired)), square + halted(jnp.sum(state.below.limb.q**2))), cost

    x = state, _silence(loop, w), jnp.zeros((), w.dtype)
    loss, grad, (state, spikes, square), _ = forward_gradient(step, w, x, None, length=steps)
    return Window(loss, grad, state, spikes, square)


class _Carried(NamedTuple):
    """What goes from step to step in the separable form."""

    state: LoopState
    S: Any  # tangents of the brain's state, K in front
    theta: Array  # (K, P)
    E: Any  # tangents of motor neurons, muscles and arm, P in front
    loss: Array
    grad: Array  # (P,)
    spikes: Spikes
    square: Array


def _separable(loop: Loop, given: Given, w: Array, state: LoopState, steps: int) -> Window:
    D, (N, M) = loop.sensed, w.shape
    P = N * M

    def nothing(tree: Any, columns: int) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros((columns, *leaf.shape), leaf.dtype), tree)

    zero = jnp.zeros((), w.dtype)
    carry = _Carried(state, nothing(state.brain, 0), jnp.zeros((0, P), w.dtype), nothing(state.below, P), zero,
                     jnp.zeros(P, w.dtype), _silence(loop, w), zero)  # fmt: skip
    edges = sorted({round(i * steps / STAGES) for i in range(STAGES + 1)})
    for begin, end in pairwise(edges):
        wider = jax.tree.map(partial(_pad_rows, rows=(end - begin) * D), (carry.S, carry.theta))
        carry = carry._replace(S=wider[0], theta=wider[1])
        carry, _ = jax.lax.scan(lambda x, i: (_advance(loop, given, w, x, i), None), carry, jnp.arange(begin, end))
    return Window(carry.loss, carry.grad.reshape(N, M), carry.state, carry.spikes, carry.square)


def _advance(loop: Loop, given: Given, w: Array, carry: _Carried, i: Array) -> _Carried:
    """Go on by step i of the body."""
    state, (N, M), K = carry.state, w.shape, len(carry.theta)
    alive, P = state.alive, N * M
    sensed, rows = _push(lambda below: loop.sense_limb(below.limb, given.ratio), (state.below,), (carry.E,))
    theta = jax.lax.dynamic_update_slice(carry.theta, rows.T, (i * loop.sensed, 0))
    onto = (jnp.arange(K)[:, None] == i * loop.sensed + jnp.arange(loop.sensed)[None, :]).astype(w.dtype)  # (K, D)
    own = jnp.eye(M, dtype=w.dtype)

    def think(brain: Any, sensed: Array) -> Any:
        brain, z_in, z = loop.think(given, brain, sensed)
        return (brain, z), z_in

    def substep(carried: Any, _: None) -> tuple[Any, tuple[Spikes, Array, Array]]:
        brain, S, below, E = carried
        (brain, z), (S, dz), z_in = _push(think, (brain, sensed), (S, onto), has_aux=True)
        du = jnp.einsum("km,kp->pm", dz @ w, theta) + (z[:, None, None] * own[None]).reshape(P, M)
        (below, z_out), (E, dz_out) = _push(loop.excite, (below, z @ w), (E, du))
        return (brain, S, below, E), (Spikes(z_in, z, z_out), dz.mean(axis=1), dz_out)

    start = state.brain, carry.S, state.below, carry.E
    (brain, S, below, E), (fired, dz, dz_out) = jax.lax.scan(substep, start, length=loop.limb.substeps)
    fired = Spikes(*(s.sum(axis=0) for s in fired))
    below, E = _push(lambda below: loop.move(below, alive, given.ratio), (below,), (E,))
    cost, slope = _push(loop.cost, (below, fired.motor), (E, dz_out.sum(axis=0)))
    if loop.spike_cost:
        cost += loop.spike_cost * fired.reservoir.mean()
        slope += loop.spike_cost * (dz.sum(axis=0) @ theta)
    state = LoopState(brain, below, alive & loop.inside(below))
    square = carry.square + jnp.sum(below.limb.q**2)
    grad = carry.grad + jnp.where(alive, slope, 0.0)
    return _Carried(state, S, theta, E, carry.loss + cost, grad, _add(carry.spikes, fired), square)


def _push(function: Any, at: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Return function(*at) and its tangents for many directions, which stand in front of their arrays."""

    def push_one(*direction: Any) -> Any:
        return jax.jvp(function, at, direction, has_aux=has_aux)

    return jax.vmap(push_one, out_axes=(None, 0, None)[: 2 + has_aux])(*tangents)


def _pad_rows(array: Array, rows: int) -> jax.Array:
    return jnp.concatenate([array, jnp.zeros((rows, *array.shape[1:]), array.dtype)])


def _silence(loop: Loop, w: Array) -> Spikes:
    return Spikes(*(jnp.zeros(n, w.dtype) for n in (loop.sensory, *w.shape)))


def _add(a: Spikes, b: Spikes) -> Spikes:
    return Spikes(*(x + y for x, y in zip(a, b, strict=True)))
