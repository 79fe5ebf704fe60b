"""What a network carries from step to step, takes in, and keeps.

Legend: T steps of a rollout; B batch; N neurons; K delays; R receptors (2 where a cell keeps signs apart, else 1).
"""

from typing import Any, NamedTuple, TypeAlias

from l2l_snn.snn.parameters import Array

Wiring: TypeAlias = tuple[Any, tuple[int, ...]]  # (n_pre, K * R * n_post) weights, or Traces; and the K delays in steps
Lines: TypeAlias = dict[str, Array]


class State(NamedTuple):
    """All that a network carries from step to step; with a batch, B stands where it is named, else it isn't there."""

    cells: dict[str, Any]  # (B, ...) of each population with a cell
    arriving: dict[str, Array]  # (longest delay in steps, B, R, N) what is under way to it
    weights: dict[str, Array]  # (n_pre, n_post) or (B, n_pre, n_post) of each projection
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


class Component(NamedTuple):
    """Populations that reach each other, or a single one."""

    names: tuple[str, ...]  # of populations, in the order in which to take them
    projections: tuple[str, ...]  # among them
    loop: int | None  # steps that a spike takes at least round a loop; None: there is no loop


class Inputs(NamedTuple):
    """Inputs with leading time and batch axes."""

    spikes: dict[str, Array]  # (T, B, N)
    currents: dict[str, Array]  # (T, B, N)
    signals: dict[str, Array]  # (T, B, ...)
