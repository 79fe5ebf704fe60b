"""The network that moves the arm (Brand 2024, section 2.6): sensory neurons, a fixed reservoir, motor neurons.

Legend: I sensory neurons, N neurons of the reservoir, M motor neurons, one a muscle; D sensed values.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells.current_lif import CurrentLIF, CurrentState
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.surrogate import smooth, superspike
from l2l_snn.validate import Count, NotNegative, Positive, Share, Within, check_fields, check_range, message


class BrainState(NamedTuple):
    """What the weights to the motor neurons act on through the senses alone."""

    sensory: CurrentState  # (I,)
    reservoir: CurrentState  # (N,)


class FixedWeights(NamedTuple):
    """Weights that nothing changes, mV / ms a spike."""

    w_in: Array  # (I, N)
    w_rec: Array  # (N, N)


@dataclass(frozen=True)
class Brain:
    """LIF neurons with synaptic currents (eq. 2.2-2.6), of which the weights (N, M) to the motor neurons are trained.

    Not given in the source: time constants (here membranes of 20 ms, AMPA receptors of 2 ms), threshold, density, and
    whether the fixed weights share the tested range of initial ones: here they have their own, since in a reservoir
    that never spikes nothing could be learned at U(-0.005, 0.005), where the source learns.
    """

    reservoir: Count = 200  # N
    tau_mem: Positive = 20.0  # ms
    tau_syn: Positive = 2.0  # ms, AMPA
    v_th: Positive = 1.0  # mV
    steepness: Positive = 1.0  # 1 / mV, of the surrogate derivative, eq. 2.8
    smooth: NotNegative = 0.0  # 1 / mV; > 0: a sigmoid of this steepness instead of spikes, with an exact derivative
    input_range: Positive = 1.2  # weights of sensory neurons are uniform in +- this
    recurrent_range: NotNegative = 0.1  # the same of recurrent weights ...
    density: Share = 0.1  # ... of which this share is there
    rate_low: Annotated[float, Within(0.0, 1000.0, open_low=True)] = 10.0  # Hz, of a sensory neuron from 0 on ...
    rate_high: float = 100.0  # Hz, ... and where its sense is at its span
    drive: NotNegative = 0.0  # Hz, rate of a sensory neuron whose sense is silent; 0: none
    dt: Positive = 0.25  # ms

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("Brain.rate_high", self.rate_high, self.rate_low, 1000.0)
        check_range("Brain.drive", self.drive, 0.0, 1000.0)
        for name in ("tau_mem", "tau_syn"):
            if self.dt > getattr(self, name):
                raise ValueError(message("Brain.dt", f"a step of at most {name}", f"{self.dt:g} ms"))

    @property
    def cell(self) -> CurrentLIF:
        """All neurons' model."""
        spike = smooth(self.smooth) if self.smooth else superspike(self.steepness)
        return CurrentLIF(self.tau_mem, self.tau_syn, self.v_th, spike)

    def init(self, senses: int) -> BrainState:
        """Return `senses` sensory neurons and the reservoir at rest."""
        return BrainState(self.cell.init(senses), self.cell.init(self.reservoir))

    def sample_fixed(self, key: jax.Array, senses: int) -> FixedWeights:
        """Return random fixed weights."""
        keys, N = jax.random.split(key, 3), self.reservoir
        w_in = self.input_range * jax.random.uniform(keys[0], (senses, N), float, -1, 1)
        there = jax.random.bernoulli(keys[1], self.density, (N, N))
        return FixedWeights(w_in, self.recurrent_range * there * jax.random.uniform(keys[2], (N, N), float, -1, 1))

    def currents(self, sense: Array) -> jax.Array:
        """Return the input (I,) of sensory neurons whose senses (I,) are 0 at rest and 1 at their span.

        "Normalized to correspond to spike frequencies between 10-100 Hz" after a rectifier: from `rate_low` for a
        sense just above 0 to `rate_high` at 1 and beyond in proportion, and none, or `drive`, at 0 and below.
        """
        silent, low, high = (self._current_of_rate(rate) for rate in (self.drive, self.rate_low, self.rate_high))
        return jnp.where(sense > 0, low + (high - low) * sense, silent)

    def think(
        self, weights: FixedWeights, state: BrainState, current: Array
    ) -> tuple[BrainState, jax.Array, jax.Array]:
        """Return the state one step later and the spikes of sensory neurons (I,) and reservoir (N,)."""
        cell, sent = self.cell, self.cell.spike(state.reservoir.v - self.v_th)
        sensory, z_in = cell.step(state.sensory, current, self.dt)
        reservoir, z = cell.step(state.reservoir, z_in @ weights.w_in + sent @ weights.w_rec, self.dt)
        return BrainState(sensory, reservoir), z_in, z

    def _current_of_rate(self, rate: float) -> float:
        """Return the constant input at which a neuron fires at `rate` Hz."""
        if rate == 0:
            return 0.0
        above = self.v_th / (1 - np.exp(-1000.0 / rate / self.tau_mem))  # potential without a threshold
        gain = self.dt / (1 - np.exp(-self.dt / self.tau_mem)) / (1 - np.exp(-self.dt / self.tau_syn))
        return float(above / gain)
