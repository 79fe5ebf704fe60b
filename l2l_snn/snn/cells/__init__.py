"""Neuron models: frozen dataclasses of parameters with a pure `init` and `step`.

    cell = LIF(tau_m=20.0)
    state = cell.init(5)
    state, spikes = cell.step(state, current, dt)

NEST's models take `Arriving`; the others take one current a neuron, in the unit of their threshold, and are the ones
that the sources train. `spike` is a model's step function; training wants one of surrogate.py with a derivative.
"""

from l2l_snn.snn.cells.cell import Arriving, Cell
from l2l_snn.snn.cells.current_lif import CurrentLIF, CurrentState, Decays
from l2l_snn.snn.cells.iaf_psc import AlphaState, DeltaState, ExpState, IafPscAlpha, IafPscDelta, IafPscExp, NestCell
from l2l_snn.snn.cells.iterative_lif import IterativeConstants, IterativeLIF, IterativeState
from l2l_snn.snn.cells.lif import LIF, AdaptiveLIF, AdaptiveState, LIFConstants, LIFState
from l2l_snn.snn.cells.readout import LeakyReadout, ReadoutConstants, ReadoutState
from l2l_snn.snn.cells.srm import Response, SRMAlpha, SRMConstants, SRMState

__all__ = [
    "LIF",
    "AdaptiveLIF",
    "AdaptiveState",
    "AlphaState",
    "Arriving",
    "Cell",
    "CurrentLIF",
    "CurrentState",
    "Decays",
    "DeltaState",
    "ExpState",
    "IafPscAlpha",
    "IafPscDelta",
    "IafPscExp",
    "IterativeConstants",
    "IterativeLIF",
    "IterativeState",
    "LIFConstants",
    "LIFState",
    "LeakyReadout",
    "NestCell",
    "ReadoutConstants",
    "ReadoutState",
    "Response",
    "SRMAlpha",
    "SRMConstants",
    "SRMState",
]
