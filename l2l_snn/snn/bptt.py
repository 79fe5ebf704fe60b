"""Backpropagation through time; how a rule is called: gradients.py."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from l2l_snn.snn.gradients import Gradient, GradientRule, Problem
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.pieces import in_pieces
from l2l_snn.snn.state import Inputs, State
from l2l_snn.validate import check_count


@dataclass(frozen=True)
class BPTT(GradientRule):
    """Backpropagation through time (Werbos 1990), with recomputation, truncated if asked.

    >>> from l2l_snn.snn.cells import LIF, LeakyReadout
    >>> from l2l_snn.snn.network import Network, Population, Projection
    >>> net = Network({"in": Population(2), "out": Population(1, LeakyReadout())}, {"w": Projection("in", "out")}, 1.0)
    >>> state, x, y = net.init({"w": jnp.ones((2, 1))}), jnp.ones((50, 2)), jnp.zeros((50, 1))
    >>> found = BPTT()(net, state, lambda record, y: jnp.sum(record.spikes["out"] - y), y, spikes={"in": x})
    >>> found.weights["w"].shape, bool(abs(found.loss - found.weights["w"].sum()) < 1e-3)  # linear in w
    ((2, 1), True)
    """

    checkpoint_every: int | None = None  # keep the state at every so many steps and compute again what is between
    truncate: int | None = None  # k: cut at every k-th step; Williams & Peng 1990, with pieces that don't overlap
    reverse_only: bool = True  # the faster backward pass; False where the result is to be differentiated forward

    def __post_init__(self) -> None:
        for name in ("checkpoint_every", "truncate"):
            if getattr(self, name) is not None:
                check_count(f"BPTT.{name}", getattr(self, name))

    def find(self, problem: Problem, state: State) -> Gradient:
        options = {"checkpoint_every": self.checkpoint_every, "reverse_only": self.reverse_only}
        names = tuple(problem.theta)

        def piece(state: State, xs: tuple[Inputs, Any], n: int) -> tuple[State, Any]:
            def loss(theta: dict[str, Array]) -> tuple[Array, State]:
                return problem.advance(state._replace(weights=state.weights | theta), xs, n, **options)

            theta = {name: state.weights[name] for name in names}
            (value, state), grads = jax.value_and_grad(loss, has_aux=True)(theta)
            return state, jax.tree.map(lambda x: x[None], (value, grads))

        size = self.truncate or problem.steps
        if size >= problem.steps:
            state, (value, grads) = piece(state, problem.xs, problem.steps)
            return Gradient(value[0], jax.tree.map(lambda g: g[0], grads), state)

        def summed(carry: tuple[State, Any], xs: tuple[Inputs, Any], n: int) -> tuple[Any, None]:
            state, total = carry
            state, found = piece(state, xs, n)
            return (state, jax.tree.map(lambda a, b: a + b[0], total, found)), None

        zero = jnp.zeros(()), jax.tree.map(jnp.zeros_like, problem.theta)
        (state, (value, grads)), _ = in_pieces(summed, (state, zero), problem.xs, problem.steps, size)
        return Gradient(value, grads, state)
