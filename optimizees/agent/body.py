"""An agent's network: place cells that observe, motor populations that compete.

`sensor`: place cells whose spikes are Poisson (snn/coding); `hidden`, excitatory, if there are any;
`motor`, excitatory, M neurons for each action; `inhibitory`, a pool of M for each action, driven by its motor neurons,
which silences those of all other actions. All neurons are iaf_psc_delta. Projections are named after their ends:
sensor_motor, or sensor_hidden and hidden_motor, learn or are evolved; motor_inhibitory and inhibitory_motor are fixed.

Legend: K observations, A actions, M neurons of a motor population, S simulation steps of a control step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import IafPscDelta
from l2l_snn.snn.coding import place_code
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.validate import (
    Count,
    CountFromZero,
    NotNegative,
    Positive,
    check_count,
    check_fields,
    check_multiple,
    message,
)
from optimizees.agent.task import Task


@dataclass(frozen=True)
class Body:
    """What an agent's network is made of; known before the program runs."""

    cells: tuple[int, ...]  # (K,) place cells of each observation
    joint: tuple[tuple[int, ...], ...]  # observations that are coded together, each group by a grid of place cells
    width: Positive = 0.5  # of a place field (standard deviation), in distances between neighbours
    rate: Positive = 1000.0  # Hz, all place cells of a group together
    hidden: CountFromZero = 0  # excitatory neurons between sensors and motor neurons; 0: none
    motor: Count = 3  # M, neurons of each motor population, and of each inhibitory pool
    tau_m: Positive = 10.0  # ms, membrane time constant
    t_ref: NotNegative = 2.0  # ms, refractory time
    excitation: NotNegative = 20.0  # mV, from a motor neuron to each inhibitory neuron of its action
    inhibition: NotNegative = 10.0  # mV, from an inhibitory neuron to each motor neuron of another action
    delay: Positive = 1.0  # ms, of all synapses
    noise: NotNegative = 0.0  # pA, random current into each motor population (standard deviation), if no genome says it
    resolution: Positive = 1.0  # ms, simulation step
    step_ms: Positive = 20.0  # ms simulated for each control step

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("delay", "step_ms", "t_ref"):
            check_multiple(name, getattr(self, name), self.resolution, "the resolution", least=name == "delay")

    def check_observations(self, K: int) -> None:
        """Refuse cells and groups that don't fit K observations."""
        if len(self.cells) != K:
            raise ValueError(message("body.cells", f"{K} numbers, one an observation", self.cells))
        coded = [k for group in self.joint for k in group]
        if not coded or any(not group for group in self.joint) or set(coded) - set(range(K)):
            expected, example = f"groups of observations, numbered 0 to {K - 1}", [[k] for k in range(K)]
            raise ValueError(message("body.joint", expected, self.joint, f"e.g. {example}"))
        for k in coded:
            check_count(f"body.cells[{k}]", self.cells[k], 2, "leave the observation out of `joint` instead")

    @property
    def substeps(self) -> int:
        """Simulation steps of a control step, S."""
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

    def fan_out(self, actions: int) -> dict[str, int]:
        """Return how many synapses a spike of each population arrives at; entries that are always 0 are none."""
        learned = {name.split("_")[0]: n_post for name, (_, n_post) in self.learned(actions).items()}
        return {"motor": self.motor, "inhibitory": (actions - 1) * self.motor} | learned


def build_network(body: Body, actions: int, rules: Mapping[str, Any]) -> Network:
    """Return the network of an agent.

    Args:
        body: what it is made of.
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
