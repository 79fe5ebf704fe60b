"""The vehicle's network, and how it learns while it drives; how it drives afterwards is in `vehicle_drive.py`.

Sensors: place cells for the target's angle, and one neuron for each proximity sector, of which only that of the
nearest obstacle fires. With `heed`, the nearest obstacle's proximity, the first share the rate (1 - heed) and the other
has heed: what is close takes over. An obstacle beyond the target is not heeded. Every sensor projects to two motor
populations, left and right; the rate of each is the speed of its wheel.

Reward-modulated STDP, once in each window of one control step (Labady 2023, eq. 2-3; Bing et al. 2019):

    w(t) = w(t - T) + eta r STDP g

STDP is the eligibility that the window's spikes leave (`agent_eligibility.py`), g is 1, and r belongs to the side of
the motor neuron: how much faster its wheel should have turned, so that the vehicle turns to the target and away from
the obstacle; < 0 if it turned too fast. That is the error of a supervised rule, as in the source; there, data sets are
recorded before and two networks are trained on them, while here one network learns as it drives.

Legend: C target cells, K sectors, M neurons of each motor population, S simulation steps of a window, N training
worlds.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn import rstdp_window as eligibility
from l2l_snn.snn.cells import IafPscDelta
from l2l_snn.snn.coding import poisson
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.plasticity import RSTDP
from optimizees.vehicle import world as task
from optimizees.vehicle.drive import Drive, go, set_off
from optimizees.vehicle.world import DRIVING, Arena, Senses, State, World


class Brain(NamedTuple):
    """The network's numbers; hashable, known before the program runs."""

    cells: int  # C
    width: float  # of a place field (standard deviation), in distances between neighbours
    motor: int  # M
    rate: float  # Hz, all sensors together
    full: float  # Hz, rate of a motor population at which its wheel turns at full speed
    tau_m: float  # ms, membrane time constant
    t_ref: float  # ms, refractory time
    delay: float  # ms, of all synapses
    resolution: float  # ms, simulation step

    def sensors(self, arena: Arena) -> int:
        """Number of sensors: C + K."""
        return self.cells + arena.sectors

    def substeps(self, arena: Arena) -> int:
        """S."""
        return round(1000 * arena.tick / self.resolution)


class Learning(NamedTuple):
    """Parameters of learning; they may be traced: evolved."""

    eta: Any = 0.02  # mV for a reward of 1 and an eligibility of 1
    a_plus: Any = 1.0  # eligibility from a pair, pre before post
    a_minus: Any = 0.3  # eligibility from post before pre, subtracted
    tau_plus: Any = 10.0  # ms, trace of pre spikes
    tau_minus: Any = 10.0  # ms, trace of post spikes
    tau_e: Any = 50.0  # ms, eligibility
    w_max: Any = 6.0  # mV; the least weight is 0
    w_start: Any = 2.0  # mV, mean of the first weights: uniform between half of it and 1.5 of it
    cruise: Any = 0.6  # share of full speed that each wheel should have on the straight
    sharp: Any = 1.0  # rad, angle of the target from which on the turn should be the tightest
    shy: Any = 1.0  # how much of the tightest turn an obstacle straight ahead should cause


class Moment(NamedTuple):
    """One control step of a life, for tests."""

    on: jax.Array  # () whether the life goes on
    state: State  # before it
    sensor: jax.Array  # (S, C + K) spikes
    motor: jax.Array  # (S, 2 M) spikes, left first
    wheels: jax.Array  # (2,)
    reward: jax.Array  # (2,) of left and right motor synapses


def network(brain: Brain, arena: Arena) -> Network:
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
    away = task.wrapped(senses.angle - (jnp.arange(brain.cells) + 0.5) * between + jnp.pi) / between
    place = jnp.exp(-0.5 * (away / brain.width) ** 2)
    heed, sector = heeded(arena, senses)
    obstacle = jax.nn.one_hot(sector, arena.sectors, dtype=place.dtype)
    return brain.rate * jnp.concatenate([(1 - heed) * place / place.sum(), heed * obstacle])


def desired(arena: Arena, learning: Learning, senses: Senses) -> jax.Array:
    """Return the speeds that the wheels should have, (2,) in [0, 1].

    The turn is angle / sharp towards the target, at most 1, and away from an obstacle the more the straighter ahead
    that is: shy cos(bearing). The two are weighed as the sensors are, by 1 - heed and heed.
    """
    heed, sector = heeded(arena, senses)
    bearing = task.bearings(arena.sectors)[sector]
    away = -jnp.sign(bearing) * learning.shy * jnp.cos(bearing)
    turn = (1 - heed) * jnp.clip(senses.angle / learning.sharp, -1.0, 1.0) + heed * away
    return jnp.clip(learning.cruise + jnp.stack([-turn, turn]), 0.0, 1.0)


class Spiking(NamedTuple):
    """A spiking network as a driver (`vehicle_drive.py`); it carries the network's state, the weights in it."""

    brain: Brain
    arena: Arena
    weights: jax.Array  # (C + K, 2 M) mV

    def rest(self) -> Any:
        return network(self.brain, self.arena).init({"sensor_motor": self.weights})

    def think(self, key: jax.Array, carried: Any, senses: Senses) -> tuple[Any, jax.Array, tuple[jax.Array, jax.Array]]:
        """Run the network for a window; also return the spikes of sensors and motor neurons."""
        brain, arena = self.brain, self.arena
        S = brain.substeps(arena)
        rates = jnp.broadcast_to(sensor_rates(brain, arena, senses), (S, brain.sensors(arena)))
        sensor = poisson(key, rates, brain.resolution)
        carried, seen = network(brain, arena).rollout(carried, spikes={"sensor": sensor}, record=("spikes.motor",))
        motor = seen.spikes["motor"]
        hertz = motor.sum(axis=0).reshape(2, brain.motor).mean(axis=1) / arena.tick
        return carried, jnp.minimum(hertz / brain.full, 1.0), (sensor, motor)


def first_weights(brain: Brain, arena: Arena, learning: Learning, key: jax.Array) -> jax.Array:
    """Return random weights (C + K, 2 M), mV."""
    return learning.w_start * jax.random.uniform(key, (brain.sensors(arena), 2 * brain.motor), float, 0.5, 1.5)


class _Lesson(NamedTuple):
    tick: jax.Array
    episode: jax.Array
    world: World
    drive: Drive
    traces: eligibility.Eligibility
    outcomes: jax.Array
    steps: jax.Array
    errors: jax.Array


class Lessons(NamedTuple):
    """What became of a life of learning."""

    weights: jax.Array  # (C + K, 2 M) mV, at the end
    outcomes: jax.Array  # (N,) of each training world; 0 where it wasn't driven to its end
    steps: jax.Array  # (N,) control steps in each
    ticks: jax.Array  # () and in all
    errors: jax.Array  # (budget,) mean size of the two rewards in each control step; nan where it wasn't taken
    moments: Any  # Moment with the budget leading, or None


def learn(
    brain: Brain,
    arena: Arena,
    learning: Learning,
    weights: jax.Array,
    key: jax.Array,
    *,
    worlds: int,
    budget: int,
    reward: str = "real",
    keep: bool = False,
) -> Lessons:
    """Drive in training worlds, one after the other, and learn in every control step.

    Args:
        brain: the network's numbers.
        arena: those of the worlds.
        learning: the rule's parameters; they may be traced.
        weights: (C + K, 2 M) mV, at the beginning.
        key: of all that is random.
        worlds: N.
        budget: control steps in all; a world that isn't over by then isn't counted.
        reward: "real", or "random": every reward with a sign by chance; a control.
        keep: also every moment, for tests.
    """
    names = ("eta", "a_plus", "a_minus", "tau_plus", "tau_minus", "tau_e", "w_max")
    rule = RSTDP(**{name: getattr(learning, name) for name in names})
    shape, late = (brain.sensors(arena), 2 * brain.motor), round(brain.delay / brain.resolution)
    places, chance = jax.random.split(key)

    def begin(episode: jax.Array, weights: jax.Array) -> tuple[World, Drive, eligibility.Eligibility]:
        world, start = task.create(arena, jax.random.fold_in(places, episode))
        return world, set_off(Spiking(brain, arena, weights), start), eligibility.rest(shape, late)

    driver = Spiking(brain, arena, weights)

    def step(now: _Lesson) -> tuple[_Lesson, Moment]:
        keys = jax.random.split(jax.random.fold_in(chance, now.tick))
        after, (wheels, (sensor, motor)), senses = go(arena, driver, now.world, keys[0], now.drive)
        error = desired(arena, learning, senses) - wheels
        if reward == "random":
            error = jnp.abs(error) * jax.random.rademacher(keys[1], (2,), error.dtype)
        traces = eligibility.collect(rule, now.traces, sensor, motor, brain.resolution)
        w = eligibility.hear(
            rule, traces, now.drive.carried.weights["sensor_motor"], jnp.repeat(error, brain.motor)[None, :]
        )
        after = after._replace(carried=after.carried._replace(weights={"sensor_motor": w}))
        over = after.outcome != DRIVING
        fresh = begin(now.episode + 1, w)
        world, drive, traces = jax.tree.map(lambda a, b: jnp.where(over, a, b), fresh, (now.world, after, traces))
        row = jnp.where(over, now.episode, worlds)
        later = _Lesson(
            now.tick + 1,
            now.episode + over,
            world,
            drive,
            traces,
            now.outcomes.at[row].set(after.outcome, mode="drop"),
            now.steps.at[row].set(after.t, mode="drop"),
            now.errors.at[now.tick].set(jnp.abs(error).mean()),
        )
        return later, Moment(on(now), now.drive.state, sensor, motor, wheels, error)

    def on(now: _Lesson) -> jax.Array:
        return (now.tick < budget) & (now.episode < worlds)

    zero, nothing = jnp.zeros((), int), jnp.full(budget, jnp.nan)
    lesson = _Lesson(zero, zero, *begin(zero, weights), jnp.zeros(worlds, int), jnp.zeros(worlds, int), nothing)
    moments = None
    if keep:

        def kept(now: _Lesson, _: None) -> tuple[_Lesson, Moment]:
            later, moment = step(now)
            return jax.tree.map(lambda a, b: jnp.where(on(now), a, b), later, now), moment

        lesson, moments = jax.lax.scan(kept, lesson, None, length=budget)
    else:
        lesson = jax.lax.while_loop(on, lambda now: step(now)[0], lesson)
    weights = lesson.drive.carried.weights["sensor_motor"]
    return Lessons(weights, lesson.outcomes, lesson.steps, lesson.tick, lesson.errors, moments)
