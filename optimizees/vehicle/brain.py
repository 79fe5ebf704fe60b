"""The vehicle's network: what its sensors tell, and how its motor neurons turn the wheels. How it learns: `lessons.py`.

Sensors: place cells for the target's angle, and one neuron for each proximity sector, of which only that of the
nearest obstacle fires. With `heed`, the nearest obstacle's proximity, the first share the rate (1 - heed) and the other
has heed: what is close takes over. An obstacle beyond the target is not heeded. Every sensor projects to two motor
populations, left and right; the rate of each is the speed of its wheel.

Legend: C target cells, K sectors, M neurons of each motor population, S simulation steps of a window, which is one
control step.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn.cells import IafPscDelta
from l2l_snn.snn.coding import poisson
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.validate import AtLeast, Count, NotNegative, Positive, check_fields, check_multiple
from optimizees.vehicle.world import Arena, Senses, wrapped


@dataclass(frozen=True)
class Brain:
    """What the network is made of; known before the program runs."""

    cells: Annotated[int, AtLeast(3)] = 12  # C, place cells for the angle of the target
    width: Positive = 0.6  # of a place field (standard deviation), in distances between neighbours
    motor: Count = 10  # M
    rate: Positive = 1000.0  # Hz, all sensors together
    full: Positive = 100.0  # Hz, rate of a motor population at which its wheel turns at full speed
    tau_m: Positive = 10.0  # ms, membrane time constant
    t_ref: NotNegative = 2.0  # ms, refractory time
    delay: Positive = 1.0  # ms, of all synapses
    resolution: Positive = 1.0  # ms, simulation step

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("delay", "t_ref"):
            check_multiple(name, getattr(self, name), self.resolution, "the resolution", least=name == "delay")

    def sensors(self, arena: Arena) -> int:
        """Return the number of sensors, C + K."""
        return self.cells + arena.sectors

    def substeps(self, arena: Arena) -> int:
        """Return the number of simulation steps of a window, S."""
        return round(1000 * arena.tick / self.resolution)


def build_network(brain: Brain, arena: Arena) -> Network:
    """Return the network: sensors, all to all onto left and right motor neurons."""
    cell = IafPscDelta(tau_m=brain.tau_m, t_ref=brain.t_ref)
    populations = {"sensor": Population(brain.sensors(arena)), "motor": Population(2 * brain.motor, cell)}
    return Network(populations, {"sensor_motor": Projection("sensor", "motor", delay=brain.delay)}, dt=brain.resolution)


def heeded(arena: Arena, senses: Senses) -> tuple[jax.Array, jax.Array]:
    """Return the proximity of the nearest obstacle before the target, (), and which sector it is in."""
    gaps = (1 - senses.proximity) * arena.sight
    proximity = jnp.where(gaps < senses.distance - arena.body, senses.proximity, 0.0)
    return proximity.max(), proximity.argmax()


def sensor_rates(brain: Brain, arena: Arena, senses: Senses) -> jax.Array:
    """Return the rates of the sensors, Hz, (C + K,); their sum is the same for all that can be seen."""
    between = 2 * jnp.pi / brain.cells
    away = wrapped(senses.angle - (jnp.arange(brain.cells) + 0.5) * between + jnp.pi) / between
    place = jnp.exp(-0.5 * (away / brain.width) ** 2)
    heed, sector = heeded(arena, senses)
    obstacle = jax.nn.one_hot(sector, arena.sectors, dtype=place.dtype)
    return brain.rate * jnp.concatenate([(1 - heed) * place / place.sum(), heed * obstacle])


class Spiking(NamedTuple):
    """A spiking network as a driver (`drive.py`); it carries the network's state, the weights in it."""

    brain: Brain
    arena: Arena
    weights: jax.Array  # (C + K, 2 M) mV

    def rest(self) -> Any:
        return build_network(self.brain, self.arena).init({"sensor_motor": self.weights})

    def think(self, key: jax.Array, carried: Any, senses: Senses) -> tuple[Any, jax.Array, tuple[jax.Array, jax.Array]]:
        """Run the network for a window; also return the spikes of sensors and motor neurons."""
        brain, arena = self.brain, self.arena
        S = brain.substeps(arena)
        rates = jnp.broadcast_to(sensor_rates(brain, arena, senses), (S, brain.sensors(arena)))
        sensor = poisson(key, rates, brain.resolution)
        net = build_network(brain, arena)
        carried, seen = net.rollout(carried, spikes={"sensor": sensor}, record=("spikes.motor",))
        motor = seen.spikes["motor"]
        hertz = motor.sum(axis=0).reshape(2, brain.motor).mean(axis=1) / arena.tick
        return carried, jnp.minimum(hertz / brain.full, 1.0), (sensor, motor)
