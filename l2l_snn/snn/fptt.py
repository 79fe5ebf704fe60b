"""Forward propagation through time, for a network and for any system with a step; how a rule is called: gradients.py.

Legend: T steps; P trained parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from l2l_snn.snn.gradients import Gradient, GradientRule, Problem
from l2l_snn.snn.network import Network
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.state import Inputs, State
from l2l_snn.validate import message


@dataclass(frozen=True)
class FPTT(GradientRule):
    """Forward propagation through time: the sensitivity matrix, carried along (Brand 2024, eq. 2.22-2.24).

    Real-time recurrent learning (Williams & Zipser 1989) by Jacobian-vector products; see `forward_gradient`. Nothing
    is kept over time, and each step costs as much as P. Brand's reset of the matrix every 20 steps is a call of its
    own every 20 steps, each from the state that the last one returned.
    """

    def find(self, problem: Problem, state: State) -> Gradient:
        net = problem.net
        size = net.topology.interval
        moving = [name for name in problem.theta if name in net.topology.plastic]
        fixed = {name: w for name, w in problem.theta.items() if name not in moving}
        frozen = {name: w for name, w in state.weights.items() if name not in net.topology.plastic}

        def step(theta: Any, state: State, xs: tuple[Inputs, Any]) -> tuple[State, Array]:
            value, state = problem.advance(state._replace(weights=frozen | state.weights | theta[0]), xs, size)
            return _without_fixed_weights(net, state), value

        start = _without_fixed_weights(net, state)
        theta = fixed, {name: state.weights[name] for name in moving}
        if problem.steps % size:
            got = f"{problem.steps} steps"
            raise ValueError(message("steps", f"a multiple of {size}, the steps between updates of the rules", got))
        xs = jax.tree.map(lambda x: x.reshape(problem.steps // size, size, *x.shape[1:]), problem.xs)
        first = start_sensitivity(theta, start, lambda theta, x: x._replace(weights=x.weights | theta[1]))
        length = problem.steps // size
        value, grads, live, _ = forward_gradient(step, theta, start, xs, sensitivity=first, length=length)
        return Gradient(value, grads[0] | grads[1], live._replace(weights=frozen | live.weights))


def _without_fixed_weights(net: Network, state: State) -> State:
    """Return the state without the weights that stay as they are."""
    return state._replace(weights={name: w for name, w in state.weights.items() if name in net.topology.plastic})


def forward_gradient(
    step: Callable[[Any, Any, Any], tuple[Any, Array]],
    theta: Any,
    x: Any,
    xs: Any,
    sensitivity: Any = None,
    length: int | None = None,
) -> tuple[Float[Array, ""], Any, Any, Any]:
    """Return the gradient of a sum of losses by forward propagation of the sensitivity matrix D = dX / d theta.

        X_t+1 = F(X_t, theta)                                                       (Brand 2024, eq. 2.22)
        D_t+1 = dF/dtheta + dF/dX D_t, one Jacobian-vector product a parameter      (eq. 2.23, 2.24)
        G    += dl/dX D                                                             (algorithm 1, line 20)

    For any system with a step function, a network with a body in the loop included.

    Args:
        step: (theta, X, inputs of one step) -> (X one step later, () loss of that step); pure.
        theta: P parameters in a pytree of floating-point arrays.
        x: X, a pytree; integers in it have no derivative.
        xs: inputs with a leading axis T, in any pytree.
        sensitivity: D of an earlier call, to go on with it; None: X doesn't depend on theta yet.
        length: T, needed where xs has no array.

    Returns:
        () sum of the losses, its gradient like theta, X after T steps, and D: the floating-point leaves of X with
        P in front, None for the others.

    >>> step = lambda a, x, u: (a * x + u, a * x + u)  # x = u (1 + a + a^2 + ...), loss x
    >>> total, grad, x, _ = forward_gradient(step, jnp.array(0.5), jnp.array(0.0), jnp.ones(3))
    >>> float(total), float(grad), float(x)  # 1 + (1 + a) + (1 + a + a^2) = 4.25, and 1 + 1 + 2 a = 3
    (4.25, 3.0, 1.75)
    """
    flat, unravel = ravel_pytree(theta)
    basis = jax.vmap(unravel)(jnp.eye(flat.size, dtype=flat.dtype))
    sensitivity = start_sensitivity(theta, x) if sensitivity is None else sensitivity

    def advance(carry: Any, inputs: Any) -> tuple[Any, None]:
        x, D, total, gradient = carry
        floats, rest = split(x)

        def flow(theta: Any, floats: Any) -> tuple[Any, Any]:
            after, loss = step(theta, join(floats, rest), inputs)
            floats, rest_after = split(after)
            return (floats, loss), rest_after

        def product(direction: Any, D: Any) -> Any:
            return jax.jvp(flow, (theta, floats), (direction, D), has_aux=True)

        out = jax.vmap(product, out_axes=(None, 0, None))(basis, D)
        (floats, loss), (D, slope), rest = out
        return (join(floats, rest), D, total + loss, gradient + slope), None

    carry = x, sensitivity, jnp.zeros((), flat.dtype), jnp.zeros_like(flat)
    (x, D, total, gradient), _ = jax.lax.scan(advance, carry, xs, length=length)
    return total, unravel(gradient), x, D


def start_sensitivity(theta: Any, x: Any, of: Callable[[Any, Any], Any] | None = None) -> Any:
    """Return D at the start: of X = `of(theta, x)`, or 0 where X doesn't depend on theta."""
    flat, unravel = ravel_pytree(theta)
    floats, rest = split(x)
    if of is None:
        return jax.tree.map(lambda leaf: jnp.zeros((flat.size, *leaf.shape), leaf.dtype), floats)

    def at(theta: Any) -> Any:
        return split(of(theta, join(floats, rest)))[0]

    basis = jax.vmap(unravel)(jnp.eye(flat.size, dtype=flat.dtype))
    return jax.vmap(lambda direction: jax.jvp(at, (theta,), (direction,))[1])(basis)


def split(tree: Any) -> tuple[Any, Any]:
    """Return the floating-point leaves of a pytree and the others, None in each other's place."""

    def floats(leaf: Any) -> bool:
        return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)

    return (
        jax.tree.map(lambda leaf: leaf if floats(leaf) else None, tree),
        jax.tree.map(lambda leaf: None if floats(leaf) else leaf, tree),
    )


def join(floats: Any, rest: Any) -> Any:
    """Undo `split`."""
    return jax.tree.map(lambda a, b: b if a is None else a, floats, rest, is_leaf=lambda leaf: leaf is None)
