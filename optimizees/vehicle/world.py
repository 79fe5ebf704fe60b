"""A vehicle with two driven wheels, a target and round obstacles in a plane, in JAX.

    arena = Arena()
    world, state = create(arena, jax.random.key(0))
    senses = sense(arena, world, state)
    state, outcome = step(arena, world, state, jnp.array([1.0, 0.5]))     # left and right wheel; it turns right

Bing et al. 2019 drive a simulated Pioneer P3-DX among walls; here obstacles are discs, the vehicle is one too, and its
motion is exact. Functions of one world, for vmap. Lengths in m, angles in rad, counted to the left (counter-clockwise).

Legend: O obstacles, K proximity sectors.
"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.validate import AtLeast, Count, CountFromZero, NotNegative, Positive, check_fields, message

CANDIDATES = 30  # places that are tried for obstacles
DRIVING, REACHED, COLLIDED, LATE = range(4)  # outcomes; LATE: the steps are over, said by who counts them


@dataclass(frozen=True)
class Arena:
    """What all worlds share; known before the program runs."""

    size: Positive = 3.0  # m, radius of the disc in which start, target and obstacles lie
    obstacles: Count = 8  # O, at most: fewer where there is no room
    blocking: CountFromZero = 2  # of these, the first are tried next to the straight way
    small: Positive = 0.25  # m, least radius of an obstacle
    large: Positive = 0.5  # m, largest
    gap: NotNegative = 0.3  # m, that the vehicle has to spare between two obstacles, and at start and target
    body: Positive = 0.15  # m, radius of the vehicle
    axle: Positive = 0.3  # m, distance between the wheels
    speed: Positive = 1.0  # m/s, of a wheel at 1
    reach: Positive = 0.25  # m, the target is reached at this distance from the vehicle's middle
    sectors: Annotated[int, AtLeast(2)] = 6  # K, between 90 degrees to the right and 90 degrees to the left
    sight: Positive = 1.0  # m, from the vehicle's rim, at which proximity begins
    tick: Positive = 0.05  # s, a control step
    steps: Count = 300  # T, control steps in which the target has to be reached

    def __post_init__(self) -> None:
        check_fields(self)
        if self.sectors % 2:
            raise ValueError(message("sectors", "an even number", self.sectors, "half of them are on each side"))
        if self.large < self.small:
            raise ValueError(message("large", f"a radius >= small, {self.small} m", f"{self.large} m"))

    @property
    def far(self) -> float:
        """Distance above which the target's isn't told, m."""
        return 4 * self.size


class World(NamedTuple):
    """Where things are."""

    target: jax.Array  # (2,)
    centers: jax.Array  # (O, 2)
    radii: jax.Array  # (O,) 0: there is no such obstacle


class State(NamedTuple):
    """Where the vehicle is."""

    position: jax.Array  # (2,)
    heading: jax.Array  # ()


class Senses(NamedTuple):
    """What the vehicle knows."""

    proximity: jax.Array  # (K,) from right to left; 0: nothing in sight, 1: touching
    angle: jax.Array  # () of the target, in [-pi, pi), > 0: it is on the left
    distance: jax.Array  # () of the target


def create(arena: Arena, key: jax.Array) -> tuple[World, State]:
    """Return a random world with a way through: start and target on opposite sides, any heading."""
    n = CANDIDATES
    ends, spots = jnp.split(jax.random.uniform(key, (5 + 3 * n,), float), [5])  # one sample compiles faster
    spots = spots.reshape(n, 3)
    side, skew, heading = (2 * ends[:3] - 1) * jnp.pi
    far = arena.size * (0.7 + 0.3 * ends[3:])
    start, target = far[0] * _point_along(side), -far[1] * _point_along(side + 0.2 * skew)
    anywhere = arena.size * jnp.sqrt(spots[:, :1]) * jax.vmap(_point_along)(2 * jnp.pi * spots[:, 1])
    way = target - start
    across = jnp.stack([-way[1], way[0]]) / jnp.linalg.norm(way)
    near = (0.25 + 0.5 * spots[:, :1]) * way[None] + (2 * spots[:, 1:2] - 1) * arena.large * across[None]
    tries = 3 * arena.blocking  # for obstacles in the way
    places = jnp.where(jnp.arange(n)[:, None] < tries, start[None] + near, anywhere)
    radii = arena.small + (arena.large - arena.small) * spots[:, 2]

    def put(carry: tuple, candidate: tuple) -> tuple:
        centers, sizes, count = carry
        i, place, radius = candidate
        room = radius + arena.body + arena.gap
        apart = jnp.linalg.norm(centers - place[None], axis=1) - sizes
        fits = (apart > room + arena.body).all() & (count < jnp.where(i < tries, arena.blocking, arena.obstacles))
        fits &= jnp.linalg.norm(place - start) > room
        fits &= jnp.linalg.norm(place - target) > room + arena.reach
        row = jnp.where(fits, count, arena.obstacles)  # that row doesn't exist: nothing is written
        return (centers.at[row].set(place, mode="drop"), sizes.at[row].set(radius, mode="drop"), count + fits), None

    nowhere = jnp.full((arena.obstacles, 2), 100.0 * arena.size)
    first = nowhere, jnp.zeros(arena.obstacles), jnp.zeros((), int)
    (centers, sizes, _), _ = jax.lax.scan(put, first, (jnp.arange(n), places, radii))
    return World(target, centers, sizes), State(start, heading)


def sense(arena: Arena, world: World, state: State) -> Senses:
    """Return what the vehicle knows: exact distances, without noise.

    The proximity of a sector is 1 - gap / sight for the nearest point of an obstacle that lies in it, where the gap
    is counted from the vehicle's rim; 0 without any in sight.
    """
    gaps = jnp.maximum(_measure_nearest(arena, world, state) - arena.body, 0.0)
    way = world.target - state.position
    angle, distance = wrapped(jnp.arctan2(way[1], way[0]) - state.heading), jnp.linalg.norm(way)
    return Senses(jnp.maximum(1 - gaps / arena.sight, 0.0), angle, jnp.minimum(distance, arena.far))


def observation(arena: Arena, senses: Senses) -> jax.Array:
    """Return what is known as numbers in [-1, 1], (K + 2,): proximities, angle / pi, distance / far."""
    return jnp.concatenate([senses.proximity, jnp.stack([senses.angle / jnp.pi, senses.distance / arena.far])])


def wrapped(angle: jax.Array) -> jax.Array:
    """Return an angle in [-pi, pi)."""
    return jnp.mod(angle + jnp.pi, 2 * jnp.pi) - jnp.pi


def bearings(sectors: int) -> jax.Array:
    """Return the middles of the proximity sectors, (K,), from right to left."""
    return (jnp.arange(sectors) + 0.5) / sectors * jnp.pi - jnp.pi / 2


def _measure_nearest(arena: Arena, world: World, state: State) -> jax.Array:
    """Return the distance of each sector's nearest point of an obstacle, (K,), from the vehicle's middle.

    That is the point of a disc on the line to its middle where this line lies in the sector, and else a point on one of
    the sector's two edges.
    """
    edges = jnp.linspace(-jnp.pi / 2, jnp.pi / 2, arena.sectors + 1)
    to = world.centers - state.position[None]  # (O, 2)
    middle, present = jnp.linalg.norm(to, axis=1), world.radii > 0
    bearing = wrapped(jnp.arctan2(to[:, 1], to[:, 0]) - state.heading)
    inside = (bearing[:, None] >= edges[None, :-1]) & (bearing[:, None] < edges[None, 1:]) & present[:, None]
    direct = jnp.where(inside, (middle - world.radii)[:, None], jnp.inf)
    rays = jax.vmap(_point_along)(state.heading + edges)  # (K + 1, 2)
    along = to @ rays.T  # (O, K + 1)
    half = world.radii[:, None] ** 2 - (middle[:, None] ** 2 - along**2)  # squared half chord
    hit = (half > 0) & (along > 0) & present[:, None]
    grazed = jnp.where(hit, along - jnp.sqrt(jnp.where(hit, half, 0.0)), jnp.inf)
    return jnp.minimum(direct, jnp.minimum(grazed[:, :-1], grazed[:, 1:])).min(axis=0)


def step(arena: Arena, world: World, state: State, wheels: jax.Array) -> tuple[State, jax.Array]:
    """Return the state a control step later, and the outcome: DRIVING, REACHED or COLLIDED.

    With constant wheel speeds the way is a piece of a circle, and exact: its chord has the length speed * time *
    sin(h) / h and the direction heading + h, where h is half of the angle turned.

    Args:
        arena: its numbers.
        world: where things are.
        state: where the vehicle is.
        wheels: (2,) left and right, in [-1, 1], clipped.
    """
    left, right = jnp.clip(wheels, -1.0, 1.0) * arena.speed
    half = (right - left) / arena.axle * arena.tick / 2
    chord = (left + right) / 2 * arena.tick * jnp.sinc(half / jnp.pi)
    position = state.position + chord * _point_along(state.heading + half)
    new = State(position, wrapped(state.heading + 2 * half))
    gaps = jnp.linalg.norm(world.centers - position[None], axis=1) - world.radii - arena.body
    reached = jnp.linalg.norm(world.target - position) < arena.reach
    outcome = jnp.where(reached, REACHED, DRIVING)
    return new, jnp.where(((gaps < 0) & (world.radii > 0)).any(), COLLIDED, outcome)


def shortest(arena: Arena, world: World, state: State) -> jax.Array:
    """Return a length that no way to the target falls short of, m.

    It is the shortest way round that one obstacle which lengthens it most, tangent, arc and tangent: exact where no
    more than one stands in the way, else a lower bound.
    """
    a, b = state.position[None] - world.centers, world.target[None] - world.centers  # (O, 2)
    radius = jnp.where(world.radii > 0, world.radii + arena.body, 0.0)
    far_a, far_b = jnp.linalg.norm(a, axis=1), jnp.linalg.norm(b, axis=1)
    straight = jnp.linalg.norm(world.target - state.position)
    way = b - a
    part = jnp.clip(-(a * way).sum(axis=1) / straight**2, 0.0, 1.0)
    clear = jnp.linalg.norm(a + part[:, None] * way, axis=1)
    between = jnp.arccos(jnp.clip((a * b).sum(axis=1) / (far_a * far_b), -1.0, 1.0))
    ratio_a, ratio_b = jnp.minimum(radius / far_a, 1.0), jnp.minimum(radius / far_b, 1.0)
    arc = jnp.maximum(between - jnp.arccos(ratio_a) - jnp.arccos(ratio_b), 0.0) * radius
    tangents = jnp.sqrt(jnp.maximum(far_a**2 - radius**2, 0.0)) + jnp.sqrt(jnp.maximum(far_b**2 - radius**2, 0.0))
    return jnp.where(clear < radius, tangents + arc, straight).max() - arena.reach


def _point_along(angle: jax.Array) -> jax.Array:
    """Return the unit vector of this direction, (2,)."""
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])
