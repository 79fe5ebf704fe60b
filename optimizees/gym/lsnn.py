"""A recurrent network with adaptive thresholds that remembers in its state, sparse under DEEP R (Bellec et al. 2018).

Sizes and time constants are those of section 6 of the source; what it is silent about is a field.

Legend: O numbers of an observation, A outputs, C input neurons, N neurons, T steps of an action.
"""

from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import AdaptiveLIF
from l2l_snn.snn.coding import bernoulli_spikes
from l2l_snn.snn.surrogate import triangle
from l2l_snn.space import Free
from l2l_snn.validate import Count, CountFromZero, NotNegative, Positive, Share, Within, message
from optimizees.gym.actions import Actions
from optimizees.gym.networks import Network


class LSNNState(NamedTuple):
    """What the network keeps from one action to the next."""

    cell: Any  # AdaptiveState of N neurons, the regular ones first
    spikes: Any  # (N,) of the step before
    trace: Any  # (N,) spikes filtered with `tau_m`, what the readout reads


class Activity(NamedTuple):
    """What happened within an action."""

    inputs: Any  # (T, C) spikes
    spikes: Any  # (T, N)
    out: Any  # (A,)


@dataclass(frozen=True)
class LSNN(Network):
    """Excitatory and inhibitory LIF neurons and excitatory adaptive ones, all that may connect to all.

    The first two numbers of an observation are a place: cells on a grid fire at rates that are Gaussian in the
    distance. Each other number drives neurons of its own, from 0 at -1 to `signal_rate` at 1. Outputs are linear in the
    neurons' filtered spikes. A connection has a sign that never changes, that of its presynaptic neuron, and a
    parameter theta: its weight is sign max(theta, 0). At first `connectivity` of them have theta > 0; under PPO their
    number stays, and they are rewired (`optimizees.gym.rewiring`).
    """

    excitatory: Count = 200
    inhibitory: CountFromZero = 80
    adaptive: CountFromZero = 120
    grid: Count = 10  # place cells along each axis, from -1 to 1
    width: Positive = 0.2  # standard deviation of a place field, in the unit of scaled observations
    place_rate: Positive = 200.0  # Hz, in the middle of a place field
    signals: Count = 10  # neurons of each other number
    signal_rate: Positive = 200.0  # Hz
    tau_m: Positive = 20.0  # ms, membrane, and of the readout's filter
    tau_a: Positive = 1200.0  # ms, adaptation
    beta: NotNegative = 1.8  # ms, rise of an adaptive threshold for each unit of adaptation
    v_th: Positive = 0.01
    t_ref: NotNegative = 5.0  # ms
    damping: Positive = 0.3  # of the surrogate derivative
    dt: Positive = 1.0  # ms, a step
    steps: Count = 10  # T
    connectivity: Annotated[Share, Within(0.0, 1.0, open_low=True, open_high=True)] = 0.2
    w_in: Positive = 4.0  # of first thetas, their standard deviation in v_th / (1 - exp(-dt / tau_m)) ...
    w_rec: Positive = 4.0  # ... of recurrent ones, divided by the root of connectivity N ...
    w_out: Positive = 0.3  # ... of the readout's in 1, divided by the same
    l1: NotNegative = 0.01  # decay of theta under DEEP R, of its standard deviation, per unit of learning rate
    temperature: NotNegative = 0.0  # of its random walk
    wiring: CountFromZero = 0  # seed of the signs of input neurons

    @property
    def keeps_state(self) -> bool:
        return True

    @property
    def is_random(self) -> bool:
        return True

    def check_ends(self, inputs: int, actions: Actions) -> None:
        if inputs < 2:
            raise ValueError(message("network", "another than lsnn, which sees a place of two numbers", f"{inputs}"))

    @property
    def neurons(self) -> int:
        """N."""
        return self.excitatory + self.inhibitory + self.adaptive

    @property
    def rest(self) -> float:
        """The search coordinate at which theta is 0: a share of `connectivity` of normal numbers lies above it."""
        return -NormalDist().inv_cdf(self.connectivity)

    def sources(self, inputs: int) -> int:
        """Return C, for O = `inputs` numbers of which two are a place."""
        return self.grid**2 + (inputs - 2) * self.signals

    def parameters(self, inputs: int, outputs: int) -> dict[str, Free]:
        C, N = self.sources(inputs), self.neurons
        unit = self.v_th / (1 - np.exp(-self.dt / self.tau_m))
        root = (self.connectivity * N) ** -0.5
        scales = {"w_in": self.w_in * unit, "w_rec": self.w_rec * unit * root, "w_out": self.w_out * root}
        shapes = {"w_in": (C, N), "w_rec": (N, N), "w_out": (N, outputs)}
        found = {name: Free(shapes[name], scale, -self.rest * scale) for name, scale in scales.items()}
        return found | {"b_out": Free((outputs,), 0.1)}

    def signs(self, inputs: int, outputs: int) -> dict[str, np.ndarray]:
        """Return the signs (n_pre, n_post) in {-1, 0, 1} of all connections, of the matrices that are rewired."""
        return _draw_signs(self, inputs, outputs)

    def init(self, params: dict[str, Any]) -> LSNNState:
        return LSNNState(self._make_cell().init(self.neurons), jnp.zeros(self.neurons), jnp.zeros(self.neurons))

    def step(self, params: dict[str, Any], state: Any, seen: Any, key: Any) -> tuple[Any, Any, Any]:
        state, activity = self.simulate(params, state, seen, key)
        return state, activity.out, activity.spikes.sum() / self.neurons

    def simulate(self, params: dict[str, Any], state: Any, seen: Any, key: Any) -> tuple[LSNNState, Activity]:
        """Return the state after an action, and all that happened in it; arguments as of `step`."""
        outputs = params["b_out"].shape[0]
        w = {k: jnp.asarray(s, seen.dtype) * jax.nn.relu(params[k]) for k, s in self.signs(len(seen), outputs).items()}
        cell, inputs = self._make_cell(), self.encode(key, seen)
        factors = cell.propagators(self.dt)
        decay = jnp.exp(-self.dt / self.tau_m)

        def advance(now: LSNNState, current: Any) -> tuple[LSNNState, Any]:
            after, z = cell.step(now.cell, current + now.spikes @ w["w_rec"], self.dt, factors)
            return LSNNState(after, z, decay * now.trace + z), z

        state, spikes = jax.lax.scan(advance, state, inputs @ w["w_in"])
        return state, Activity(inputs, spikes, state.trace @ w["w_out"] + params["b_out"])

    def encode(self, key: Any, seen: Any) -> Any:
        """Return the input neurons' spikes (T, C) for an observation (O,)."""
        line = jnp.linspace(-1.0, 1.0, self.grid)
        x, y = (jnp.exp(-0.5 * ((seen[i] - line) / self.width) ** 2) for i in range(2))
        places = self.place_rate * (x[:, None] * y[None, :]).reshape(-1)
        others = self.signal_rate * jnp.repeat((seen[2:] + 1) / 2, self.signals)
        p = jnp.clip(jnp.concatenate([places, others]) * self.dt / 1000, 0.0, 1.0)
        return bernoulli_spikes(key, jnp.broadcast_to(p, (self.steps, *p.shape)))

    def _make_cell(self) -> AdaptiveLIF:
        beta = np.where(np.arange(self.neurons) >= self.excitatory + self.inhibitory, self.beta, 0.0)
        return AdaptiveLIF(self.tau_m, self.v_th, self.t_ref, beta, self.tau_a, triangle(self.damping))


@lru_cache(maxsize=8)
def _draw_signs(net: LSNN, inputs: int, outputs: int) -> dict[str, np.ndarray]:
    """Return the signs (n_pre, n_post) of all connections: three quarters of the input neurons are excitatory."""
    C, N = net.sources(inputs), net.neurons
    first = np.random.default_rng(net.wiring).permutation(np.where(np.arange(C) < round(0.75 * C), 1.0, -1.0))
    own = np.ones(N)
    own[net.excitatory : net.excitatory + net.inhibitory] = -1.0
    recurrent = own[:, None] * (1 - np.eye(N))
    return {"w_in": np.tile(first[:, None], N), "w_rec": recurrent, "w_out": np.tile(own[:, None], outputs)}
