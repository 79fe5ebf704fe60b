"""NIR: what is written, simulated by its equations in numpy, and what is read again, give the same spikes."""

import nir
import numpy as np
import pytest

from l2l_snn.snn.cells import LIF, IterativeLIF, LeakyReadout
from l2l_snn.snn.interchange import fold_resistance, from_nir, to_nir
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.plasticity import PairSTDP

pytestmark = pytest.mark.usefixtures("compiled_soon")

T = 40
NET = Network(
    {
        "in": Population(6),
        "a": Population(5, IterativeLIF(decay=np.array([0.0, 0.2, 0.5, 0.8, 0.9]), v_th=0.7)),
        "out": Population(3, LeakyReadout(tau_m=np.array([2.0, 8.0, 20.0]))),
    },
    {
        "w_in": Projection("in", "a", delay=0.0),
        "w_rec": Projection("a", "a", delay=3.0, mask=1 - np.eye(5)),
        "w_out": Projection("a", "out", delay=2.0),
    },
    dt=1.0,
)
RANDOM = np.random.default_rng(1)
WEIGHTS = {name: RANDOM.normal(0.1, 0.4, NET.topology.shape(name)) for name in NET.projections}
CURRENTS = {"a": RANDOM.normal(0.1, 0.1, 5), "out": np.array([0.5, 0.0, -0.2])}
SPIKES = (RANDOM.random((T, 6)) < 0.4).astype(float)


def run(net, weights, currents, source="in"):
    state = net.init(weights)
    _, record = net.rollout(state, spikes={source: SPIKES}, currents=currents)
    return {name: np.asarray(value) for name, value in record.spikes.items() if name != source}


def simulate(graph, step):
    """Return what every node gives (T, n), by Euler steps of NIR's equations; a population comes to itself later."""
    nodes, edges, given = graph.nodes, list(graph.edges), {}
    size = {name: int(np.prod(next(iter(node.output_type.values())))) for name, node in nodes.items()}
    for name in nodes:
        given[name] = np.zeros((T, size[name]))
    v = {name: np.zeros(size[name]) for name in nodes}
    order = ["in", "w_in", "a", "w_out_delay", "w_out", "out"]
    for t in range(T):
        for name in [*order[:2], "w_rec_delay", "w_rec", *order[2:]]:
            node, arriving = nodes[name], np.zeros(1)
            for pre, post in edges:
                if post == name:  # w_rec is fed with what `a` gave one step ago
                    arriving = arriving + given[pre][t - 1 if (pre, post) == ("a", "w_rec_delay") else t]
            if isinstance(node, nir.Input):
                given[name][t] = SPIKES[t]
            elif isinstance(node, nir.Linear | nir.Affine):
                given[name][t] = node.weight @ arriving + getattr(node, "bias", 0.0)
            elif isinstance(node, nir.Delay):
                given[name][t] = arriving
                continue
            else:
                v[name] += step / node.tau * (node.v_leak - v[name] + node.r * arriving)
                if isinstance(node, nir.LIF):
                    given[name][t] = v[name] >= node.v_threshold
                    v[name] = np.where(given[name][t], node.v_reset, v[name])
                else:
                    given[name][t] = v[name]
    return given


def undelayed(delays):
    """Return NET with other delays, which the loop above has as whole steps: of w_rec 1, of w_out 0."""
    projections = {name: Projection(p.pre, p.post, delays[name], p.mask) for name, p in NET.projections.items()}
    return Network(NET.populations, projections, 1.0)


@pytest.mark.parametrize("step", [1.0, 0.1])
def test_a_written_network_gives_the_same_by_nirs_equations(step):
    net = undelayed({"w_in": 0.0, "w_rec": 1.0, "w_out": 0.0})
    graph = to_nir(net, WEIGHTS, CURRENTS, step)
    # the same graph with delays of no step, so that one loop simulates both forms
    for name, pre in (("w_rec", "a"), ("w_out", "a")):
        graph.nodes[f"{name}_delay"] = nir.Delay(np.zeros(5))
        graph.edges = [e for e in graph.edges if e != (pre, name)] + [(pre, f"{name}_delay"), (f"{name}_delay", name)]
        graph.nodes[f"{name}_delay"].output_type = {"output": np.array([5])}
    found, expected = simulate(graph, step / 1000), run(net, WEIGHTS, CURRENTS)
    assert 10 < expected["a"].sum() < 150
    np.testing.assert_array_equal(found["a"], expected["a"])
    np.testing.assert_allclose(found["out"], expected["out"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("step", [None, 0.1])
def test_what_is_written_to_a_file_is_read_again(tmp_path, step):
    nir.write(tmp_path / "net.nir", to_nir(NET, WEIGHTS, CURRENTS, step))
    net, weights, currents = from_nir(nir.read(tmp_path / "net.nir"), dt=step or 1.0)
    assert (net.topology.delays["w_rec"], net.topology.delays["w_out"]) == (3, 2)
    expected, found = run(NET, WEIGHTS, CURRENTS), run(net, weights, currents)
    assert 10 < expected["a"].sum() < 150
    np.testing.assert_array_equal(found["a"], expected["a"])
    np.testing.assert_allclose(found["out"], expected["out"], rtol=1e-4, atol=1e-6)


def test_delays_are_written_in_seconds_and_one_step_of_a_loop_is_the_simulators():
    graph = to_nir(NET, WEIGHTS)
    assert graph.nodes["w_rec_delay"].delay.tolist() == [0.002] * 5
    assert graph.nodes["w_out_delay"].delay.tolist() == [0.002] * 5
    assert "w_in_delay" not in graph.nodes
    assert [type(node).__name__ for node in graph.nodes.values()].count("Output") == 1


def test_a_gain_of_a_node_goes_into_the_weights():
    one, tau, zero = np.ones(2), np.full(2, 0.004), np.zeros(2)
    nodes = {
        "i": nir.Input(np.array([2])),
        "w": nir.Affine(np.eye(2), one),
        "n": nir.LIF(tau, 3 * one, zero, one, zero),
    }
    graph = nir.NIRGraph(nodes | {"o": nir.Output(np.array([2]))}, [("i", "w"), ("w", "n"), ("n", "o")])
    net, weights, currents = from_nir(graph, dt=1.0)  # v += 1 / 4 (-v + 3 I)
    np.testing.assert_allclose(net.topology.cells["n"].decay, 0.75)
    np.testing.assert_allclose(weights["w"], 0.75 * np.eye(2))
    np.testing.assert_allclose(currents["n"], 0.75)
    with pytest.raises(ValueError, match="a step below the time constant of n, 4 ms, got 5 ms"):
        from_nir(graph, dt=5.0)
    nodes["n"].v_reset = -one
    with pytest.raises(ValueError, match=r"nodes\.n\.v_reset: expected 0, got -1"):
        from_nir(graph, dt=1.0)
    nodes["w"] = nir.Flatten({"input": np.array([2])})
    with pytest.raises(TypeError, match="Affine and Delay nodes, got Flatten"):
        from_nir(nir.NIRGraph(nodes, graph.edges, type_check=False), dt=1.0)


def changed(cell=None, **projection):
    populations = dict(NET.populations) | ({"a": Population(5, cell)} if cell else {})
    projections = dict(NET.projections) | {"w_in": Projection("in", "a", **{"delay": 1.0, **projection})}
    return Network(populations, projections, 1.0)


@pytest.mark.parametrize(
    ("net", "currents", "error", "text"),
    [
        (changed(LIF()), {}, TypeError, "IterativeLIF, LeakyReadout or a source, got LIF"),
        (changed(IterativeLIF(decay=1.0)), {}, ValueError, "a.decay: expected a number below 1"),
        (changed(delay=np.arange(1.0, 31.0).reshape(6, 5)), {}, ValueError, "one delay, got 30"),
        (changed(rule=PairSTDP()), {}, ValueError, "fixed weights, got a plasticity rule"),
        (NET, {"in": 1.0}, ValueError, "populations with a projection, got in"),
    ],
)
def test_what_nir_can_not_express_is_refused(net, currents, error, text):
    with pytest.raises(error, match=text):
        to_nir(net, WEIGHTS, currents)


def test_resistance_is_folded_into_weights_and_biases():
    graph = to_nir(NET, WEIGHTS, CURRENTS)
    folded = fold_resistance(graph)
    assert (graph.nodes["a"].r != 1).any()
    assert (folded.nodes["a"].r == 1).all()
    _, weights, currents = from_nir(folded, dt=1.0)
    for name, expected in WEIGHTS.items():
        mask = NET.projections[name].mask
        np.testing.assert_allclose(weights[name], expected if mask is None else expected * mask)
    for name, expected in CURRENTS.items():
        np.testing.assert_allclose(currents[name], expected)
