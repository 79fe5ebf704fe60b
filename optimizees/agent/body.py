"""An agent made of spiking neurons: place cells that observe, motor populations that compete, and a task to act in.

A task says what there is to see and to do; `agent_life.py` lets an agent live in it. A task is a hashable value with
pure functions of one episode, in JAX:

    class Reach(NamedTuple):                       # a point on a line is to be brought to 0
        actions: int = 2                           # motor populations
        steps: int = 50                            # control steps of an episode at most
        low: tuple[float, ...] = (-1.0,)           # range of each observation
        high: tuple[float, ...] = (1.0,)

        def reset(self, key): return jax.random.uniform(key, (), minval=-1.0)
        def observe(self, state): return state[None]
        def act(self, key, spikes): return signed(spikes)
        def step(self, state, action):
            state = state + 0.1 * action
            return state, -jnp.abs(state), jnp.abs(state) > 1.0
        def error(self, state): return jnp.abs(state)

The network: `sensor`, place cells whose spikes are Poisson (coding.py); `hidden`, excitatory, if there are any;
`motor`, excitatory, M neurons for each action; `inhibitory`, a pool of M for each action, driven by its motor neurons,
which silences those of all other actions. All neurons are iaf_psc_delta. Projections are named after their ends:
sensor_motor, or sensor_hidden and hidden_motor, learn or are evolved; motor_inhibitory and inhibitory_motor are fixed.

Legend: K observations, A actions, M neurons of a motor population, S simulation steps of a control step.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import IafPscDelta
from l2l_snn.snn.coding import place_code
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.plasticity import RSTDP, DopamineSTDP


class Task(Protocol):
    """What an agent is told about its world."""

    @property
    def actions(self) -> int:
        """A, motor populations."""
        ...

    @property
    def steps(self) -> int:
        """Control steps of an episode at most."""
        ...

    @property
    def low(self) -> tuple[float, ...]:
        """(K,) where the first place cell of each observation stands."""
        ...

    @property
    def high(self) -> tuple[float, ...]:
        """(K,) where the last one stands."""
        ...

    def reset(self, key: jax.Array) -> Any:
        """Return the state at an episode's start."""
        ...

    def observe(self, state: Any) -> jax.Array:
        """Return what can be seen, (K,)."""
        ...

    def act(self, key: jax.Array, spikes: jax.Array) -> jax.Array:
        """Return the action that spikes (A,) mean: mean number of spikes a neuron of each motor population."""
        ...

    def step(self, state: Any, action: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        """Return the next state, the reward, and whether the episode has ended in failure."""
        ...

    def error(self, state: Any) -> jax.Array:
        """Return how far the state is from where it should be, >= 0; read by the critic `improvement` alone."""
        ...


class Body(NamedTuple):
    """The network of an agent; hashable, known before the program runs."""

    cells: tuple[int, ...]  # (K,) place cells of each observation
    joint: tuple[tuple[int, ...], ...]  # observations that are coded together, each group by a grid of place cells
    width: float  # of a place field (standard deviation), in distances between neighbours
    rate: float  # Hz, all cells of a group together
    hidden: int  # neurons; 0: sensors project to motor neurons
    motor: int  # M
    tau_m: float  # ms, membrane time constant
    t_ref: float  # ms, refractory time
    excitation: float  # mV, from a motor neuron to each inhibitory neuron of its action
    inhibition: float  # mV, from an inhibitory neuron to each motor neuron of another action
    delay: float  # ms, of all synapses
    resolution: float  # ms, simulation step
    step_ms: float  # ms simulated for each control step

    @property
    def substeps(self) -> int:
        """S."""
        return round(self.step_ms / self.resolution)

    @property
    def sensors(self) -> int:
        """Place cells in all."""
        return sum(prod(self.cells[k] for k in group) for group in self.joint)

    def learned(self, actions: int) -> dict[str, tuple[int, int]]:
        """Return the shapes (n_pre, n_post) of the projections that learn or are evolved, from the sensors on."""
        out = actions * self.motor
        if not self.hidden:
            return {"sensor_motor": (self.sensors, out)}
        return {"sensor_hidden": (self.sensors, self.hidden), "hidden_motor": (self.hidden, out)}


RULES = {"r_stdp": RSTDP, "dopamine": DopamineSTDP}


def network(body: Body, actions: int, rules: Mapping[str, Any]) -> Network:
    """Return the network of an agent.

    Args:
        body: its numbers.
        actions: A.
        rules: rule of each plastic projection; its parameters may be traced.
    """
    cell = IafPscDelta(tau_m=body.tau_m, t_ref=body.t_ref)
    out = actions * body.motor
    populations = {"sensor": Population(body.sensors)}
    if body.hidden:
        populations["hidden"] = Population(body.hidden, cell)
    populations |= {"motor": Population(out, cell), "inhibitory": Population(out, cell)}
    wires = [*body.learned(actions), "motor_inhibitory", "inhibitory_motor"]
    projections = {name: Projection(*name.split("_"), delay=body.delay, rule=rules.get(name)) for name in wires}
    return Network(populations, projections, dt=body.resolution)


def competition(body: Body, actions: int) -> dict[str, np.ndarray]:
    """Return the fixed weights between motor and inhibitory neurons, mV."""
    same = np.kron(np.eye(actions), np.ones((body.motor, body.motor)))
    return {"motor_inhibitory": body.excitation * same, "inhibitory_motor": -body.inhibition * (1 - same)}


def place_cells(body: Body, task: Task, seen: jax.Array) -> jax.Array:
    """Return the activity of the place cells, (sensors,); that of each group sums to 1.

    Each observation is coded by Gaussian place cells at equal distances from low to high, `width` distances wide; a
    group by the products of its observations' codes, the last observation running fastest.
    """
    codes = {}
    for k in {k for group in body.joint for k in group}:
        n = body.cells[k]
        place = (seen[k] - task.low[k]) / (task.high[k] - task.low[k]) * (n - 1)  # in distances between neighbours
        codes[k] = place_code(place, 0.0, n - 1.0, n, sharpness=0.5 / body.width**2, floor=0.0)
    parts = []
    for group in body.joint:
        code = codes[group[0]]
        for k in group[1:]:
            code = (code[:, None] * codes[k][None, :]).reshape(-1)
        parts.append(code / code.sum())
    return jnp.concatenate(parts)


def winner(key: jax.Array, spikes: jax.Array) -> jax.Array:
    """Return the action whose motor population spiked most; among equals, one by chance.

    >>> winner(jax.random.key(0), jnp.array([0.5, 1.25, 1.0])).item()
    1
    """
    tie = jax.random.uniform(key, spikes.shape, spikes.dtype)
    return jnp.argmax(jnp.where(spikes == spikes.max(), tie, -1.0))


def signed(spikes: jax.Array) -> jax.Array:
    """Return a number from two motor populations, of which the second counts positive: their difference.

    >>> signed(jnp.array([0.5, 1.25])).item()
    0.75
    """
    return spikes[1] - spikes[0]
