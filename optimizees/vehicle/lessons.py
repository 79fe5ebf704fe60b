"""How the vehicle learns while it drives: a rule, a teacher, and one training world after another.

Reward-modulated STDP, once in each window of one control step (Labady 2023, eq. 2-3; Bing et al. 2019):

    w(t) = w(t - T) + eta r STDP g

STDP is the eligibility that the window's spikes leave (`rstdp_window.py`), g is 1, and r belongs to the side of the
motor neuron: how much faster its wheel should have turned, so that the vehicle turns to the target and away from the
obstacle; < 0 if it turned too fast. That is the error of a supervised rule, as in the source; there, data sets are
recorded before and two networks are trained on them. `data: recorded` is that for our one network: the drives are the
teacher's, whatever the network would have done. With `data: driving` it learns as it drives.

Legend: C target cells, K sectors, M neurons of each motor population, S simulation steps of a window, N training
worlds.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn import rstdp_window
from l2l_snn.snn.plasticity import RSTDP
from l2l_snn.validate import Count, check_fields
from optimizees.vehicle.brain import Brain, Spiking, heeded
from optimizees.vehicle.drive import Drive, control_step, set_off
from optimizees.vehicle.world import DRIVING, Arena, Senses, State, World, bearings, create, sense

RULE = ("eta", "a_plus", "a_minus", "tau_plus", "tau_minus", "tau_e", "w_max")  # parameters that are the rule's


@dataclass(frozen=True)
class Training:
    """How much the vehicle may learn from; known before the program runs."""

    worlds: Count = 20  # N
    budget: Count = 4000  # control steps in all; a world that isn't over by then isn't counted
    reward: Literal["real", "random"] = "real"  # random: every reward with a sign by chance; a control
    data: Literal["driving", "recorded"] = "driving"  # whose drives it learns from: its own, or its teacher's

    def __post_init__(self) -> None:
        check_fields(self)


class LessonParameters(NamedTuple):
    """What evolution may change in rule, first weights and teacher; the values may be traced."""

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


class LessonStep(NamedTuple):
    """One control step of the lessons, for tests."""

    on: jax.Array  # () whether they go on
    state: State  # before it
    sensor: jax.Array  # (S, C + K) spikes
    motor: jax.Array  # (S, 2 M) spikes, left first
    wheels: jax.Array  # (2,)
    reward: jax.Array  # (2,) of left and right motor synapses


class Lessons(NamedTuple):
    """What became of the lessons."""

    weights: jax.Array  # (C + K, 2 M) mV, at the end
    outcomes: jax.Array  # (N,) of each training world; 0 where it wasn't driven to its end
    steps: jax.Array  # (N,) control steps in each
    ticks: jax.Array  # () and in all
    errors: jax.Array  # (budget,) mean size of the two rewards in each control step; nan where it wasn't taken
    record: Any  # LessonStep with the budget leading, or None


class LessonState(NamedTuple):
    """Lessons under way."""

    tick: jax.Array
    episode: jax.Array
    world: World
    drive: Drive
    traces: rstdp_window.Eligibility
    outcomes: jax.Array
    steps: jax.Array
    errors: jax.Array


def desired(arena: Arena, parameters: LessonParameters, senses: Senses) -> jax.Array:
    """Return the speeds that the wheels should have, (2,) in [0, 1].

    The turn is angle / sharp towards the target, at most 1, and away from an obstacle the more the straighter ahead
    that is: shy cos(bearing). The two are weighed as the sensors are, by 1 - heed and heed.
    """
    heed, sector = heeded(arena, senses)
    bearing = bearings(arena.sectors)[sector]
    away = -jnp.sign(bearing) * parameters.shy * jnp.cos(bearing)
    turn = (1 - heed) * jnp.clip(senses.angle / parameters.sharp, -1.0, 1.0) + heed * away
    return jnp.clip(parameters.cruise + jnp.stack([-turn, turn]), 0.0, 1.0)


def first_weights(brain: Brain, arena: Arena, parameters: LessonParameters, key: jax.Array) -> jax.Array:
    """Return random weights (C + K, 2 M), mV."""
    return parameters.w_start * jax.random.uniform(key, (brain.sensors(arena), 2 * brain.motor), float, 0.5, 1.5)


def learn(
    brain: Brain,
    arena: Arena,
    training: Training,
    parameters: LessonParameters,
    weights: jax.Array,
    key: jax.Array,
    *,
    record: bool = False,
) -> Lessons:
    """Drive in training worlds, one after the other, and learn in every control step.

    Args:
        brain: what the network is made of.
        arena: the worlds' numbers.
        training: how many worlds and control steps.
        parameters: of rule and teacher; they may be traced.
        weights: (C + K, 2 M) mV, at the beginning.
        key: of all that is random.
        record: also keep every control step, for tests.
    """
    worlds, budget = training.worlds, training.budget
    rule = RSTDP(**{name: getattr(parameters, name) for name in RULE})
    shape, late = (brain.sensors(arena), 2 * brain.motor), round(brain.delay / brain.resolution)
    places, chance = jax.random.split(key)
    driver = Spiking(brain, arena, weights)

    def begin(episode: jax.Array, weights: jax.Array) -> tuple[World, Drive, rstdp_window.Eligibility]:
        world, start = create(arena, jax.random.fold_in(places, episode))
        return world, set_off(Spiking(brain, arena, weights), start), rstdp_window.rest(shape, late)

    def step(now: LessonState) -> tuple[LessonState, LessonStep]:
        keys = jax.random.split(jax.random.fold_in(chance, now.tick))
        led = None
        if training.data == "recorded":
            led = desired(arena, parameters, sense(arena, now.world, now.drive.state))
        after, (wheels, (sensor, motor)), senses = control_step(arena, driver, now.world, keys[0], now.drive, led)
        error = desired(arena, parameters, senses) - wheels
        if training.reward == "random":
            error = jnp.abs(error) * jax.random.rademacher(keys[1], (2,), error.dtype)
        traces = rstdp_window.collect(rule, now.traces, sensor, motor, brain.resolution)
        w = now.drive.carried.weights["sensor_motor"]
        w = rstdp_window.hear(rule, traces, w, jnp.repeat(error, brain.motor)[None, :])
        after = after._replace(carried=after.carried._replace(weights={"sensor_motor": w}))
        over = after.outcome != DRIVING
        fresh = begin(now.episode + 1, w)
        world, drive, traces = jax.tree.map(lambda a, b: jnp.where(over, a, b), fresh, (now.world, after, traces))
        row = jnp.where(over, now.episode, worlds)
        later = LessonState(
            now.tick + 1,
            now.episode + over,
            world,
            drive,
            traces,
            now.outcomes.at[row].set(after.outcome, mode="drop"),
            now.steps.at[row].set(after.t, mode="drop"),
            now.errors.at[now.tick].set(jnp.abs(error).mean()),
        )
        return later, LessonStep(goes_on(now), now.drive.state, sensor, motor, wheels, error)

    def goes_on(now: LessonState) -> jax.Array:
        return (now.tick < budget) & (now.episode < worlds)

    def recorded(now: LessonState, _: None) -> tuple[LessonState, LessonStep]:
        later, lesson = step(now)
        return jax.tree.map(lambda a, b: jnp.where(goes_on(now), a, b), later, now), lesson

    zero, nothing = jnp.zeros((), int), jnp.full(budget, jnp.nan)
    now = LessonState(zero, zero, *begin(zero, weights), jnp.zeros(worlds, int), jnp.zeros(worlds, int), nothing)
    if record:
        last, kept = jax.lax.scan(recorded, now, None, length=budget)
    else:
        last, kept = jax.lax.while_loop(goes_on, lambda now: step(now)[0], now), None
    weights = last.drive.carried.weights["sensor_motor"]
    return Lessons(weights, last.outcomes, last.steps, last.tick, last.errors, kept)
