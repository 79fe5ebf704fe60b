"""The recurrent network that classifies sequences and frames: LIF and adaptive LIF neurons and leaky readouts."""

import numpy as np

from l2l_snn.snn.cells import AdaptiveLIF, LeakyReadout
from l2l_snn.snn.network import Network, Population, Projection


def build_lsnn(sources: int, neurons: int, classes: int, cell: AdaptiveLIF, delays: tuple[float, float]) -> Network:
    """Return sources "in", neurons "lsnn", all connected but none with itself, and readouts "out"; steps of 1 ms.

    Args:
        sources: how many; 0: none, the neurons get currents.
        neurons: how many.
        classes: how many readouts, leaky as the neurons' membranes.
        cell: of all neurons; beta is 0 for those that don't adapt.
        delays: ms, of input and of recurrent synapses.
    """
    populations = {"in": Population(sources)} if sources else {}
    populations |= {"lsnn": Population(neurons, cell), "out": Population(classes, LeakyReadout(cell.tau_m))}
    projections = {"w_in": Projection("in", "lsnn", delays[0])} if sources else {}
    projections |= {
        "w_rec": Projection("lsnn", "lsnn", delays[1], mask=1 - np.eye(neurons)),
        "w_out": Projection("lsnn", "out", delay=0.0),
    }
    return Network(populations, projections, dt=1.0)
