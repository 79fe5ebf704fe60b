"""Networks to and from NIR, the neuromorphic intermediate representation (Pedersen et al. 2024, Nat. Commun. 15:8122).

    graph = to_nir(net, {"w1": w1, "w2": w2}, {"1": b1, "2": b2})       # weights, and constant currents as biases
    nir.write("trained.nir", graph)                                     # read by snnTorch, Norse, Lava, SpiNNaker2 ...
    net, weights, currents = from_nir(nir.read("other.nir"), dt=0.1)

NIR's neurons are differential equations; simulators take Euler steps of them. A cell here is what such a step makes of
a node, so that the same spikes come out: with a step of dt

| cell | node | |
| --- | --- | --- |
| `IterativeLIF` | LIF | decay = 1 - dt / tau, weights times r dt / tau; a spike clears the potential |
| `LeakyReadout` | LI | exp(-dt / tau_m) = 1 - dt / tau, weights times r |
| a source | Input | |

Weights are Linear nodes, or Affine ones where their target has a current; delays are Delay nodes. In a simulator a
population's spikes need a step to come back to itself, here the shortest delay: a projection of a population to itself
has its delay less one step in the file. Other neurons have no counterpart in NIR: it knows no adaptation, no refractory
time and no reset by subtraction. Needs the package nir: pip install "l2l-snn[nir]".

Legend: N neurons; n_pre, n_post neurons of a projection.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from l2l_snn.snn.cells import Cell, IterativeLIF, LeakyReadout
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.parameters import Array, check_shape_of, check_step
from l2l_snn.validate import check_multiple, message

MS = 1000.0  # ms a second: NIR has seconds


def to_nir(
    net: Network, weights: Mapping[str, Array], currents: Mapping[str, Array] | None = None, step: float | None = None
) -> Any:
    """Return the `nir.NIRGraph` of a network; its nodes have the names of populations and projections.

    Args:
        net: populations without a target of their own are the graph's outputs, NAME_output.
        weights: (n_pre, n_post) of each projection.
        currents: (N,) or () constant currents of populations, which become biases.
        step: ms that a step lasts in the file; None: as in the network. snnTorch takes every file's for 0.1 ms.

    Raises:
        TypeError: a neuron that NIR can't express.
        ValueError: delays that differ from synapse to synapse, a plastic projection, a loop over two populations...
    """
    import nir

    step, currents = (net.dt if step is None else check_step(step)) / MS, dict(currents or {})
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    for name, population in net.populations.items():
        nodes[name] = _write_cell(name, population, net.dt, step)
    for component in net.topology.components:
        if len(component.names) > 1:
            got = " and ".join(component.names)
            raise ValueError(message("net", "loops of one population with itself", f"one of {got}"))
    for name, p in net.projections.items():
        if p.rule is not None:
            raise ValueError(
                message(f"projections.{name}", "fixed weights", "a plasticity rule", "export what it left")
            )
        if p.convolution is not None:
            raise TypeError(message(f"projections.{name}", "a weight for each pair of neurons", "a convolution"))
        check_shape_of(f"weights.{name}", weights[name], net.topology.shape(name), "pre along rows")
        w = np.asarray(weights[name]) * (1 if p.mask is None else np.asarray(p.mask))
        nodes[name] = _write_weights(name, w.T, currents.pop(p.post, None))
        steps = np.unique(net.topology.delays[name])
        if len(steps) > 1:
            raise ValueError(message(f"projections.{name}.delay", "one delay", f"{len(steps)} of them"))
        late, before = int(steps[0]) - (p.pre == p.post), p.pre
        if late:
            before = f"{name}_delay"
            nodes[before] = nir.Delay(np.full(net.populations[p.pre].n, late * step))
            edges.append((p.pre, before))
        edges += [(before, name), (name, p.post)]
    if currents:
        todo = "a bias belongs to a projection: add a source"
        raise ValueError(message("currents", "those of populations with a projection", ", ".join(currents), todo))
    sending = {p.pre for p in net.projections.values() if p.pre != p.post}
    for name in set(net.topology.cells) - sending:
        nodes[f"{name}_output"] = nir.Output({"output": np.array([net.populations[name].n])})
        edges.append((name, f"{name}_output"))
    return nir.NIRGraph(nodes, edges)


def fold_resistance(graph: Any) -> Any:
    """Return the same `nir.NIRGraph` with r = 1 in every LIF node, what it was in the weights before it.

    Norse takes every r for 1, whatever a file says; snnTorch wants r = tau / dt, as `to_nir` writes it.
    """
    import nir

    nodes = dict(graph.nodes)
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.LIF):
            continue
        r = np.asarray(node.r)
        nodes[name] = nir.LIF(node.tau, np.ones_like(r), node.v_leak, node.v_threshold, node.v_reset)
        for before in {pre for pre, post in graph.edges if post == name}:
            weights = graph.nodes[before]
            if isinstance(weights, nir.Affine):
                nodes[before] = nir.Affine(weights.weight * r[:, None], weights.bias * r)
            else:
                nodes[before] = nir.Linear(weights.weight * r[:, None])
    return nir.NIRGraph(nodes, list(graph.edges))


def _write_cell(name: str, population: Population, dt: float, step: float) -> Any:
    """Return the node of a population; step in s."""
    import nir

    cell, zero = population.cell, np.zeros(population.n)
    if cell is None:
        return nir.Input({"input": np.array([population.n])})
    if isinstance(cell, IterativeLIF):
        decay = np.asarray(cell.decay, np.float64) + zero
        if (decay >= 1).any():
            raise ValueError(
                message(f"{name}.decay", "a number below 1", decay.max(), "NIR has a time constant for it")
            )
        tau = step / (1 - decay)
        return nir.LIF(tau, tau / step, zero, np.asarray(cell.v_th, np.float64) + zero, zero)
    if isinstance(cell, LeakyReadout):
        if np.any(cell.bias):
            raise ValueError(message(f"{name}.bias", "0", cell.bias, "add it to what the readout says"))
        tau = step / -np.expm1(-dt / np.asarray(cell.tau_m, np.float64)) + zero
        return nir.LI(tau, zero + 1, zero)
    got = type(cell).__name__
    raise TypeError(
        message(f"populations.{name}", "IterativeLIF, LeakyReadout or a source", got, "NIR has no such node")
    )


def _write_weights(name: str, w: np.ndarray, current: Array | None) -> Any:
    """Return the node of weights (n_post, n_pre), with the current as bias."""
    import nir

    if current is None:
        return nir.Linear(w)
    return nir.Affine(w, np.broadcast_to(np.asarray(current, w.dtype), w.shape[:1]).copy())


def from_nir(graph: Any, dt: float) -> tuple[Network, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the network of a `nir.NIRGraph`, its weights and its currents.

    Args:
        graph: LIF and LI nodes, with a Linear or Affine node, perhaps a Delay, between any two.
        dt: ms, step of the network; a divisor of all delays, below all time constants.

    Raises:
        TypeError: a node that the engine can't express.
        ValueError: a resting or reset potential other than 0, a step that doesn't fit, nodes joined otherwise.
    """
    import nir

    check_step(dt)
    populations: dict[str, Population] = {}
    gains: dict[str, np.ndarray] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.Input):
            (shape,) = node.input_type.values()
            populations[name] = Population(int(np.prod(shape)))
        elif isinstance(node, nir.LIF | nir.LI):
            cell, gains[name] = _read_cell(name, node, dt)
            populations[name] = Population(len(gains[name]), cell)
        elif not isinstance(node, nir.Linear | nir.Affine | nir.Delay | nir.Output):
            expected = "Input, Output, LIF, LI, Linear, Affine and Delay nodes"
            raise TypeError(message(f"nodes.{name}", expected, type(node).__name__))
    projections, weights, currents = {}, {}, {}
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.Linear | nir.Affine):
            continue
        pre, post = _find_neighbour(graph, name, 0), _find_neighbour(graph, name, 1)
        late = 0.0
        if isinstance(graph.nodes[pre], nir.Delay):
            times = np.unique(graph.nodes[pre].delay)
            if len(times) > 1:
                raise ValueError(message(f"nodes.{pre}.delay", "one delay", f"{len(times)} of them"))
            late, pre = float(times[0]) * MS, _find_neighbour(graph, pre, 0)
            check_multiple(f"nodes.{name}.delay", late, dt, "the step")
        for end in (pre, post):
            if end not in populations:
                got = type(graph.nodes[end]).__name__
                raise ValueError(message(f"nodes.{name}", "neurons on both sides", f"{end!r}, {got}"))
        projections[name] = Projection(pre, post, round(late / dt + (pre == post)) * dt)
        weights[name] = np.asarray(node.weight).T * gains[post][None]
        if isinstance(node, nir.Affine):
            currents[post] = currents.get(post, 0.0) + np.asarray(node.bias) * gains[post]
    return Network(populations, projections, dt), weights, currents


def _read_cell(name: str, node: Any, dt: float) -> tuple[Cell, np.ndarray]:
    """Return the cell of a LIF or LI node, and what its weights are multiplied with (N,)."""
    import nir

    tau, r = (np.atleast_1d(np.asarray(value, np.float64)) for value in (node.tau * MS, node.r))
    for field in ("v_leak", "v_reset"):
        if np.any(getattr(node, field, 0.0)):
            raise ValueError(message(f"nodes.{name}.{field}", "0", np.ravel(getattr(node, field))[0]))
    if (tau < dt * (1 - 1e-9)).any() or (isinstance(node, nir.LI) and (tau <= dt).any()):
        raise ValueError(message("dt", f"a step below the time constant of {name}, {tau.min():g} ms", f"{dt:g} ms"))
    decay = np.maximum(1 - dt / tau, 0.0)
    if isinstance(node, nir.LIF):
        return IterativeLIF(decay, np.atleast_1d(np.asarray(node.v_threshold, np.float64))), r * dt / tau
    return LeakyReadout(-dt / np.log(decay)), r


def _find_neighbour(graph: Any, name: str, end: int) -> str:
    """Return the one node before (end 0) or after (end 1) a node."""
    found = {edge[end] for edge in graph.edges if edge[1 - end] == name}
    if len(found) != 1:
        where = ("before", "after")[end]
        raise ValueError(message(f"nodes.{name}", f"one node {where} it", f"{len(found)}: {', '.join(sorted(found))}"))
    return found.pop()
