"""Drives of a vehicle without learning, whoever drives: a spiking network (`brain.py`) or a perceptron.

    drives, best = drive(arena, driver, jax.random.split(key, 200))    # in 200 new worlds

Legend: K sectors, W worlds driven side by side, T control steps.
"""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from optimizees.agent.perceptron import Perceptron, forward
from optimizees.vehicle.world import (
    DRIVING,
    LATE,
    Arena,
    Senses,
    State,
    World,
    create,
    observation,
    sense,
    shortest,
    step,
)


class Controller(Protocol):
    """What turns the wheels; pure functions of one vehicle."""

    def rest(self) -> Any:
        """Return what the driver carries from one control step to the next, at a drive's start."""
        ...

    def think(self, key: jax.Array, carried: Any, senses: Senses) -> tuple[Any, jax.Array, Any]:
        """Return what is carried on, the speeds of both wheels (2,) in [0, 1], and what pictures show of it."""
        ...


class Artificial(NamedTuple):
    """A perceptron: from proximities, angle and distance of the target, (K + 2,), to the wheels.

    It gets the numbers of `world.observation`, as a gymnasium agent does: all proximities, not the nearest alone.
    """

    arena: Arena
    net: Perceptron

    def rest(self) -> tuple:
        return ()

    def think(self, key: jax.Array, carried: tuple, senses: Senses) -> tuple[tuple, jax.Array, tuple]:
        return (), forward(self.net, observation(self.arena, senses)), ()


class Drives(NamedTuple):
    """What became of drives."""

    outcome: jax.Array  # REACHED, COLLIDED or LATE
    length: jax.Array  # m driven
    steps: jax.Array  # control steps
    progress: jax.Array  # by which share the distance to the target's rim has shrunk, at least 0; 1: reached
    spikes: jax.Array  # (2,) of all sensors and of all motor neurons; 0 of a perceptron


class DriveStep(NamedTuple):
    """One control step, for pictures and tests; 0 where the drive is over."""

    on: jax.Array  # () whether the drive goes on
    state: State  # before it
    wheels: jax.Array  # (2,)
    seen: Any  # of the driver


class Drive(NamedTuple):
    """A drive under way."""

    state: State
    carried: Any  # of the driver
    outcome: jax.Array
    length: jax.Array
    t: jax.Array
    spikes: jax.Array


def set_off(driver: Controller, state: State) -> Drive:
    """Return a drive that begins."""
    zero = jnp.zeros((), int)
    return Drive(state, driver.rest(), zero + DRIVING, jnp.zeros(()), zero, jnp.zeros(2))


def control_step(
    arena: Arena, driver: Controller, world: World, key: jax.Array, now: Drive, led: jax.Array | None = None
) -> tuple[Drive, tuple[jax.Array, Any], Senses]:
    """Take a control step; return the drive, wheels and what is seen of the driver, and what it knew.

    Nothing moves where the drive is over. With `led`, speeds (2,), somebody else turns the wheels.
    """
    senses = sense(arena, world, now.state)
    carried, wheels, seen = driver.think(key, now.carried, senses)
    moved = wheels if led is None else led
    state, outcome = step(arena, world, now.state, moved)
    t = now.t + 1
    outcome = jnp.where((outcome == DRIVING) & (t >= arena.steps), LATE, outcome)
    length = now.length + jnp.abs(moved.sum()) / 2 * arena.speed * arena.tick
    spikes = now.spikes + jnp.stack([train.sum() for train in seen]) if seen else now.spikes
    later, on = Drive(state, carried, outcome, length, t, spikes), now.outcome == DRIVING
    return jax.tree.map(lambda a, b: jnp.where(on, a, b), later, now), (wheels, seen), senses


def progress(arena: Arena, world: World, start: State, end: State) -> jax.Array:
    """Return by which share the distance to the target's rim has shrunk, in [0, 1]; 1: it is reached."""
    first, last = (jnp.linalg.norm(world.target - state.position) - arena.reach for state in (start, end))
    return jnp.clip(1 - last / first, 0.0, 1.0)


def drive(arena: Arena, driver: Controller, keys: jax.Array) -> tuple[Drives, jax.Array]:
    """Drive in new worlds; return what became of it, and the shortest ways, m: each (W,).

    Args:
        arena: the worlds' numbers.
        driver: who drives in all of them.
        keys: (W,) one a world, of all that is random in it.
    """
    worlds, starts = jax.vmap(lambda key: create(arena, key))(keys)
    first = jax.vmap(lambda state: set_off(driver, state))(starts)

    def on(carry: tuple) -> jax.Array:
        return (carry[1].outcome == DRIVING).any()

    def advance(carry: tuple) -> tuple:
        t, now = carry
        chance = jax.vmap(lambda key: jax.random.fold_in(key, t))(keys)
        return t + 1, jax.vmap(lambda *one: control_step(arena, driver, *one)[0])(worlds, chance, now)

    _, last = jax.lax.while_loop(on, advance, (jnp.zeros((), int), first))
    best = jax.vmap(lambda world, state: shortest(arena, world, state))(worlds, starts)
    covered = jax.vmap(lambda *one: progress(arena, *one))(worlds, starts, last.state)
    return Drives(last.outcome, last.length, last.t, covered, last.spikes), best


def record(arena: Arena, driver: Controller, key: jax.Array) -> tuple[World, Drives, DriveStep]:
    """Drive in the world that `drive` makes of this key, and keep every control step; (T, ...), T = arena.steps."""
    world, start = create(arena, key)

    def advance(now: Drive, t: jax.Array) -> tuple[Drive, DriveStep]:
        later, (wheels, seen), _ = control_step(arena, driver, world, jax.random.fold_in(key, t), now)
        on = now.outcome == DRIVING
        return later, DriveStep(on, now.state, wheels * on, jax.tree.map(lambda x: x * on, seen))

    last, steps = jax.lax.scan(advance, set_off(driver, start), jnp.arange(arena.steps))
    covered = progress(arena, world, start, last.state)
    return world, Drives(last.outcome, last.length, last.t, covered, last.spikes), steps
