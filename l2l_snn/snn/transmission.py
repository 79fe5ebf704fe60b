"""How spikes become what arrives: weights as matrices, their products with spikes, and delay lines.

Legend: C steps of a block; B batch; N neurons; K delays; R receptors (2 where a cell keeps signs apart, else 1).
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from l2l_snn.snn.delays import by_delay, deliver
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.state import Lines, Live, Traces, TwoWays, Wiring
from l2l_snn.snn.topology import Topology

exact_product = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


@jax.custom_vjp
def _multiply_matrix(
    sent: Float[Array, "rows n_pre"], matrix: Float[Array, "n_pre m"], transposed: Float[Array, "m n_pre"]
) -> Float[Array, "rows m"]:
    """Return sent @ matrix; the way back takes the transposed matrix, which is made once and not in each step."""
    return exact_product(sent, matrix)


def _multiply_forward(sent: Array, matrix: Array, transposed: Array) -> tuple[Array, tuple[Array, Array]]:
    return exact_product(sent, matrix), (sent, transposed)


def _multiply_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array, None]:
    sent, transposed = kept
    return exact_product(gradient, transposed), exact_product(sent.T, gradient), None


_multiply_matrix.defvjp(_multiply_forward, _multiply_backward)


class Transmission:
    """The projections of a network as they are used in a rollout."""

    def __init__(self, topology: Topology, by_trace: set[str]):
        self.topology = topology
        self.by_trace = by_trace  # projections whose traces are worked on one after the other

    def wire(
        self, name: str, weights: Float[Array, "*batch n_pre n_post"]
    ) -> tuple[Float[Array, "*batch n_pre m"], tuple[int, ...]]:
        """Return the weights as one matrix (n_pre, K * R * n_post), or one for each of a batch, and the K delays."""
        if self.topology.projections[name].convolution is not None:
            return self._wire_kernel(name, weights), (int(self.topology.delays[name]),)
        if weights.ndim == 3:
            return jax.vmap(lambda w: self.wire(name, w)[0])(weights), self.wire(name, weights[0])[1]
        mask = self.topology.projections[name].mask
        weights = weights if mask is None else weights * jnp.asarray(mask, weights.dtype)
        stack, delays = by_delay(weights, self.topology.delays[name])  # (K, n_pre, n_post)
        if self.topology.receptors(self.topology.projections[name].post) == 2:
            stack = jnp.stack([jnp.maximum(stack, 0), jnp.minimum(stack, 0)], axis=1)
        else:
            stack = stack[:, None]
        return jnp.moveaxis(stack, 2, 0).reshape(weights.shape[0], -1), delays

    def _wire_kernel(self, name: str, weights: Float[Array, "k k C_in C_out"]) -> Float[Array, "k k C_in m"]:
        """Return a kernel, once for each receptor: m = R C_out."""
        if self.topology.receptors(self.topology.projections[name].post) == 1:
            return weights
        return jnp.concatenate([jnp.maximum(weights, 0), jnp.minimum(weights, 0)], axis=-1)

    def plastic_wiring(self, live: Live, names: list[str]) -> dict[str, tuple[Array, tuple[int, ...]]]:
        return {
            name: (Traces(live.weights[name], live.rules[name]), (int(self.topology.delays[name]),))
            if name in self.by_trace
            else self.wire(name, self.in_use(live, name))
            for name in names
        }

    def each_trace(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function gives for each of a batch: side by side, or one after the other if traces are large.

        One after the other, a trace stays in the cache for all that is done with it, forward and backward.
        """
        if name not in self.by_trace:
            return jax.vmap(function)(*arguments)
        again = jax.checkpoint(function, prevent_cse=False)
        return jax.lax.map(lambda one: again(*one), arguments)

    def in_use(self, live: Live, name: str) -> Float[Array, "B n_pre n_post"]:
        weights = live.weights[name]
        in_axes = (0 if weights.ndim == 3 else None, 0)
        return jax.vmap(self.topology.rules[name].effective, in_axes)(weights, live.rules[name])

    def weighted(
        self,
        name: str,
        wiring: Wiring,
        sent: Float[Array, "C B n_pre"],
        probe: Float[Array, "C B m"] | None = None,
    ) -> Float[Array, "K C B R n_post"]:
        """Return what a projection sends in C steps, by delay (K, C, B, R, n_post), of spikes (C, B, n_pre)."""
        (matrix, delays), convolution = wiring, self.topology.projections[name].convolution
        if convolution is not None:
            arriving = convolution.send(sent.reshape(-1, sent.shape[2]), matrix).reshape(*sent.shape[:2], -1)
        elif isinstance(matrix, TwoWays):
            arriving = _multiply_matrix(sent.reshape(-1, sent.shape[2]), *matrix).reshape(*sent.shape[:2], -1)
        elif isinstance(matrix, Traces):
            rule = self.topology.rules[name]

            def product(state: Any, sent: Array) -> Array:
                return exact_product(sent, self.wire(name, rule.effective(matrix.weights, state))[0])

            arriving = self.each_trace(name, product, matrix.rules, sent.swapaxes(0, 1)).swapaxes(0, 1)
        elif matrix.ndim == 3:  # not by einsum: it would turn neurons and steps about, at more than the product's cost
            arriving = exact_product(sent.swapaxes(0, 1), matrix).swapaxes(0, 1)
        else:  # as one matrix: of three axes, XLA would take the gradient of the weights at half the speed
            arriving = exact_product(sent.reshape(-1, sent.shape[2]), matrix).reshape(*sent.shape[:2], -1)
        arriving = arriving if probe is None else arriving + probe
        post = self.topology.projections[name].post
        arriving = arriving.reshape(*sent.shape[:2], len(delays), self.topology.receptors(post), -1)
        return jnp.moveaxis(arriving, 2, 0)

    def send(
        self,
        names: Iterable[str],
        wiring: dict[str, Wiring],
        sent: Float[Array, "C B n_pre"],
        lines: Lines,
        probes: Lines,
    ) -> Lines:
        """Return the lines with the spikes (C, B, n_pre) of one population added to those of its targets."""
        lines = dict(lines)
        for name in names:
            post = self.topology.projections[name].post
            weighted = self.weighted(name, wiring[name], sent, probes.get(name))
            lines[post] = deliver(lines[post], weighted, wiring[name][1])
        return lines
