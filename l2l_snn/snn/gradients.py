"""Gradients of a network's weights: backpropagation through time, forward propagation through time; e-prop: eprop.py.

    rule = BPTT(checkpoint_every=100)         # or BPTT(truncate=20), FPTT(), EProp()
    found = rule(net, state, loss, targets, spikes={"in": trains}, record=("spikes.out",))
    updates, memory = optimiser.update(found.weights, memory)        # {"in": (n_pre, n_post), ...}
    more = rule(net, found.state, loss, later, ...)                  # goes on from where this one ended

    def loss(record, targets):                # a sum over steps: record and targets have the steps in front
        return jnp.sum((record.spikes["out"] - targets) ** 2)

| rule | gradient | memory over T steps | work, in forward passes |
| --- | --- | --- | --- |
| BPTT | exact | T, or sqrt(T) with checkpoints | 3, or 4 |
| BPTT(truncate=k) | without what reaches back over a multiple of k steps | k | 3 |
| FPTT | exact | none | as many as there are trained weights |
| EProp | without what goes from spikes to other neurons' spikes | none | one number a synapse and state variable |

All go forward from any state and take the same arguments. All but BPTT without `truncate` see the loss piece by
piece (a step at a time, or k), so it has to be a sum over steps; BPTT alone takes any function of the whole record.
What a step of surrogate.py passes back counts as its derivative throughout.

Legend: T steps; B batch; N neurons; P trained weights.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from l2l_snn.snn.network import Network
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.pieces import in_pieces
from l2l_snn.snn.state import Inputs, Record, State
from l2l_snn.validate import check_count, did_you_mean, message

Loss = Callable[[Record, Any], Array]  # (record of some steps, targets of the same steps) -> ()


class Gradient(NamedTuple):
    """What a rule found."""

    loss: Array  # () summed over the steps
    weights: dict[str, Array]  # d loss / d weights of each trained projection, in the weights' shape
    state: State  # of the network after the last step


class Problem(NamedTuple):
    """What all rules work on: checked arguments of one call."""

    net: Network
    loss: Loss
    record: tuple[str, ...]
    constant: dict[str, Array]  # currents without a time axis
    theta: dict[str, Array]  # the trained weights, which `state` holds too
    steps: int
    xs: tuple[Inputs, Any]  # inputs and targets, time in front

    def rollout(self, state: State, inputs: Inputs, n: int, **options: Any) -> tuple[State, Record]:
        """Return the state after n steps, and the record."""
        options = {"record": self.record} | options
        return self.net.rollout(
            state,
            spikes=inputs.spikes,
            currents=self.constant | inputs.currents,
            signals=inputs.signals,
            steps=n,
            **options,
        )

    def advance(self, state: State, xs: tuple[Inputs, Any], n: int, **options: Any) -> tuple[Array, State]:
        """Return the loss of n steps and the state after them."""
        state, record = self.rollout(state, xs[0], n, **options)
        return self.loss(record, xs[1]), state


@dataclass(frozen=True)
class GradientRule(ABC):
    """How a gradient is found; a subclass is its configuration."""

    def __call__(
        self,
        net: Network,
        state: State,
        loss: Loss,
        targets: Any = None,
        *,
        spikes: Mapping[str, Array] | None = None,
        currents: Mapping[str, Array] | None = None,
        signals: Mapping[str, Array] | None = None,
        steps: int | None = None,
        record: Iterable[str] = ("spikes",),
        trained: Iterable[str] | None = None,
    ) -> Gradient:
        """Return the gradient of a loss with respect to the weights that `state` holds.

        Args:
            net: the network.
            state: where to start, from `net.init` or an earlier call; nothing is propagated to what came before.
            loss: of the record and the targets of some steps; a sum over steps (see above).
            targets: arrays with a leading axis T, in any pytree, or None.
            spikes, currents, signals, steps, record: as `Network.rollout` takes them.
            trained: names of projections; None: all. With a plastic one, the gradient is that of the weights at the
                start (with `truncate`, of those at the start of each piece).

        Raises:
            ValueError: an unknown projection, targets of another length, what the rule or the rollout can't take.
        """
        names = list(net.projections) if trained is None else list(trained)
        for name in names:
            if name not in net.projections:
                raise ValueError(message("trained", "projections", repr(name), did_you_mean(name, net.projections)))
        constant = {name: value for name, value in (currents or {}).items() if jnp.ndim(value) < 2}
        timed = {name: jnp.asarray(v, float) for name, v in (currents or {}).items() if name not in constant}
        floats = [{name: jnp.asarray(v, float) for name, v in (given or {}).items()} for given in (spikes, signals)]
        inputs = Inputs(floats[0], timed, floats[1])
        lengths = {len(x) for x in jax.tree.leaves((inputs, targets))} | ({steps} if steps is not None else set())
        if len(lengths) != 1:
            got = ", ".join(map(str, sorted(lengths))) or "none"
            raise ValueError(message("targets", "as many steps as the inputs have", got, "steps stand in front"))
        theta = {name: state.weights[name] for name in names}
        (T,) = lengths
        problem = Problem(net, loss, tuple(record), constant, theta, T, (inputs, targets))
        return self._gradient(problem, state)

    @abstractmethod
    def _gradient(self, problem: Problem, state: State) -> Gradient:
        """Return the gradient; see `__call__`."""


@dataclass(frozen=True)
class BPTT(GradientRule):
    """Backpropagation through time (Werbos 1990), with recomputation, truncated if asked.

    >>> from l2l_snn.snn.cells import LIF, LeakyReadout
    >>> from l2l_snn.snn.network import Population, Projection
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

    def _gradient(self, problem: Problem, state: State) -> Gradient:
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


@dataclass(frozen=True)
class FPTT(GradientRule):
    """Forward propagation through time: the sensitivity matrix, carried along (Brand 2024, eq. 2.22-2.24).

    Real-time recurrent learning (Williams & Zipser 1989) by Jacobian-vector products; see `forward_gradient`. Nothing
    is kept over time, and each step costs as much as P. Brand's reset of the matrix every 20 steps is a call of its
    own every 20 steps, each from the state that the last one returned.
    """

    def _gradient(self, problem: Problem, state: State) -> Gradient:
        net = problem.net
        size = net.topology.interval
        moving = [name for name in problem.theta if name in net.topology.plastic]
        fixed = {name: w for name, w in problem.theta.items() if name not in moving}
        frozen = {name: w for name, w in state.weights.items() if name not in net.topology.plastic}

        def step(theta: Any, state: State, xs: tuple[Inputs, Any]) -> tuple[State, Array]:
            value, state = problem.advance(state._replace(weights=frozen | state.weights | theta[0]), xs, size)
            return _live(net, state), value

        start = _live(net, state)
        theta = fixed, {name: state.weights[name] for name in moving}
        if problem.steps % size:
            got = f"{problem.steps} steps"
            raise ValueError(message("steps", f"a multiple of {size}, the steps between updates of the rules", got))
        xs = jax.tree.map(lambda x: x.reshape(problem.steps // size, size, *x.shape[1:]), problem.xs)
        first = start_sensitivity(theta, start, lambda theta, x: x._replace(weights=x.weights | theta[1]))
        length = problem.steps // size
        value, grads, live, _ = forward_gradient(step, theta, start, xs, sensitivity=first, length=length)
        return Gradient(value, grads[0] | grads[1], live._replace(weights=frozen | live.weights))


def _live(net: Network, state: State) -> State:
    """Return the state without the weights that stay as they are."""
    return state._replace(weights={name: w for name, w in state.weights.items() if name in net.topology.plastic})


def forward_gradient(
    step: Callable[[Any, Any, Any], tuple[Any, Array]],
    theta: Any,
    x: Any,
    xs: Any,
    sensitivity: Any = None,
    length: int | None = None,
) -> tuple[Array, Any, Any, Any]:
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
