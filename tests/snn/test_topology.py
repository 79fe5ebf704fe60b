"""What a topology says of a network: who is late by how much, who goes together, and what learns when."""

import numpy as np
import pytest

from l2l_snn.snn.cells import LIF, IafPscDelta
from l2l_snn.snn.differentiable import DPOja
from l2l_snn.snn.network import Network
from l2l_snn.snn.plasticity import PairSTDP
from l2l_snn.snn.topology import Component, Population, Projection, Topology

POPULATIONS = {
    "in": Population(2),
    "a": Population(3, LIF()),
    "b": Population(1, LIF()),
    "out": Population(4, IafPscDelta()),
}
LOOP = {
    "in": Projection("in", "a", delay=np.array([[1.0, 2.0, 3.0]] * 2)),
    "ab": Projection("a", "b", delay=2.0),
    "ba": Projection("b", "a", delay=3.0),
    "out": Projection("b", "out"),
}


def test_delays_are_in_steps_and_shapes_those_of_the_ends():
    topology = Topology(POPULATIONS, LOOP, 0.5)
    np.testing.assert_array_equal(topology.delays["in"], [[2, 4, 6]] * 2)
    assert int(topology.delays["ab"]) == 4
    assert topology.shape("in") == (2, 3)
    assert [topology.receptors(name) for name in topology.cells] == [1, 1, 2]


def test_what_closes_a_loop_is_one_component_and_comes_before_what_it_reaches():
    components = Topology(POPULATIONS, LOOP, 1.0).components
    assert [set(component.names) for component in components] == [{"in"}, {"a", "b"}, {"out"}]
    assert components[1] == Component(("a", "b"), ("ab", "ba"), 3)  # in pieces of 3 steps; a first, to reach b after 2


def test_a_loop_without_delay_is_refused():
    now = LOOP | {"ab": Projection("a", "b", 0.0), "ba": Projection("b", "a", 0.0)}
    with pytest.raises(ValueError, match="delay: expected loops that take time"):
        Topology(POPULATIONS, now, 1.0)


def test_weights_stay_for_as_many_steps_as_all_rules_agree_on():
    slow, fast = DPOja(delta_tau=8.0), PairSTDP()
    for rules, interval, changing in (((slow, slow), 8, []), ((slow, fast), 1, ["in", "out"]), ((None, None), 1, [])):
        projections = {
            "in": Projection("in", "a", rule=rules[0]),
            "out": Projection("b", "out", rule=rules[1]),
            "ab": Projection("a", "b"),
        }
        topology = Network(POPULATIONS, projections, 1.0).topology
        assert (topology.interval, topology.changing) == (interval, changing)
        assert topology.plastic == ([] if rules[0] is None else ["in", "out"])
