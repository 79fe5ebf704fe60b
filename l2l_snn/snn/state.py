"""What a network carries from step to step, takes in, and keeps.

Legend: T steps of a rollout; B batch; N neurons; K delays; R receptors (2 where a cell keeps signs apart, else 1).
"""

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

import jax

from l2l_snn.snn.parameters import Array

Wiring: TypeAlias = tuple[Any, tuple[int, ...]]  # (n_pre, K * R * n_post) weights, or Traces; and the K delays in steps
Lines: TypeAlias = dict[str, Array]


class State(NamedTuple):
    """All that a network carries from step to step; with a batch, B stands where it is named, else it isn't there."""

    cells: dict[str, Any]  # (B, ...) of each population with a cell
    arriving: dict[str, Array]  # (longest delay in steps, B, R, N) what is under way to it
    weights: dict[str, Array]  # (n_pre, n_post), (B, n_pre, n_post) or (k, k, C_in, C_out) of each projection
    rules: dict[str, Any]  # (B, ...) of each plastic projection
    seen: dict[str, Array]  # (delay in steps, B, n_post) spikes on their way back to a plastic synapse


class Record(NamedTuple):
    """What a rollout was asked to keep."""

    spikes: dict[str, Array]  # (T, B, N) of a population
    potentials: dict[str, Array]  # (T, B, N) of a population, mV
    weights: dict[str, Array]  # (T / every, B, n_pre, n_post) of a plastic projection, after each update
    counts: dict[str, Array]  # (B, N) spikes of a population in all T steps


class Live(NamedTuple):
    """The part of the state that changes in a rollout."""

    cells: dict[str, Any]
    arriving: dict[str, Array]
    weights: dict[str, Array]  # of plastic projections
    rules: dict[str, Any]
    seen: dict[str, Array]


class Traces(NamedTuple):
    """Weights beside which each of a batch has a trace, to be made for one after the other, and never all at once."""

    weights: Array  # (n_pre, n_post)
    rules: Any  # (B, ...) states of the rule


class TwoWays(NamedTuple):
    """Weights for a product in each step, and what its backward pass multiplies by."""

    matrix: Array  # (n_pre, K * R * n_post)
    transposed: Array  # (K * R * n_post, n_pre)


class Inputs(NamedTuple):
    """Inputs with leading time and batch axes."""

    spikes: dict[str, Array]  # (T, B, N)
    currents: dict[str, Array]  # (T, B, N)
    signals: dict[str, Array]  # (T, B, ...)


def with_batch(state: State, changing: Iterable[str]) -> State:
    """Return the state of one network as that of a batch of one.

    Args:
        state: without a batch axis.
        changing: projections whose weights are those of each of a batch: `Topology.changing`.
    """
    return State(
        jax.tree.map(lambda x: x[None], state.cells),
        {name: line[:, None] for name, line in state.arriving.items()},
        state.weights | {name: state.weights[name][None] for name in changing},
        jax.tree.map(lambda x: x[None], state.rules),
        {name: line[:, None] for name, line in state.seen.items()},
    )


def without_batch(state: State) -> State:
    """Undo `with_batch`."""
    return State(
        jax.tree.map(lambda x: x[0], state.cells),
        {name: line[:, 0] for name, line in state.arriving.items()},
        {name: w[0] if w.ndim == 3 else w for name, w in state.weights.items()},
        jax.tree.map(lambda x: x[0], state.rules),
        {name: line[:, 0] for name, line in state.seen.items()},
    )
