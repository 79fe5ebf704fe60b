"""The vehicle's world: against integrated motion, rays, a search for the shortest way, and gymnasium's checker."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.integrate import solve_ivp
from scipy.sparse.csgraph import dijkstra

from optimizees.vehicle.env import VehicleEnv
from optimizees.vehicle.world import (
    COLLIDED,
    DRIVING,
    REACHED,
    Arena,
    State,
    World,
    create,
    observation,
    sense,
    shortest,
    step,
)

ARENA = Arena()


@pytest.fixture(scope="module")
def many():
    """200 random worlds and starts, in float64."""
    with jax.enable_x64(True):
        made = jax.jit(jax.vmap(lambda key: create(ARENA, key)))(jax.random.split(jax.random.key(3), 200))
        return jax.tree.map(np.asarray, made)


def one(tree, i):
    return jax.tree.map(lambda x: x[i], tree)


def test_the_way_of_a_control_step_is_that_of_the_integrated_wheels():
    generator = np.random.default_rng(1)
    nowhere = World(np.array([50.0, 50.0]), np.full((1, 2), 100.0), np.zeros(1))
    with jax.enable_x64(True):
        move = jax.jit(lambda state, wheels: step(ARENA, nowhere, state, wheels))
        for wheels in (*generator.uniform(-1, 1, (4, 2)), np.array([0.7, 0.7]), np.array([-0.4, 0.4])):
            state = State(generator.normal(size=2), np.float64(generator.uniform(-3, 3)))
            left, right = wheels * ARENA.speed

            def rates(_, y, left=left, right=right):
                v = (left + right) / 2
                return [v * np.cos(y[2]), v * np.sin(y[2]), (right - left) / ARENA.axle]

            expected = solve_ivp(rates, (0, ARENA.tick), [*state.position, state.heading], rtol=1e-11, atol=1e-12).y[
                :, -1
            ]
            found, outcome = move(state, wheels)
            np.testing.assert_allclose(found.position, expected[:2], rtol=0, atol=1e-10)
            np.testing.assert_allclose(np.exp(1j * found.heading), np.exp(1j * expected[2]), rtol=0, atol=1e-10)
            assert outcome == DRIVING


def test_wheels_are_clipped_and_a_touched_obstacle_or_target_ends_the_drive():
    world = World(np.array([1.0, 0.0]), np.array([[-1.0, 0.0], [0.0, 0.0]]), np.array([0.5, 0.0]))
    touch = -0.5 + ARENA.body
    with jax.enable_x64(True):
        move = jax.jit(lambda state, wheels: step(ARENA, world, state, wheels))
        for x, heading, expected in (
            (touch + 0.06, np.pi, DRIVING),
            (touch + 0.04, np.pi, COLLIDED),
            (1.0 - ARENA.reach - 0.06, 0.0, DRIVING),
            (1.0 - ARENA.reach - 0.04, 0.0, REACHED),
        ):
            state, outcome = move(State(np.array([x, 0.0]), np.float64(heading)), np.array([5.0, 9.0]))
            assert outcome == expected
            np.testing.assert_allclose(abs(state.position[0] - x), ARENA.speed * ARENA.tick)


def test_proximities_are_those_that_rays_find(many):
    worlds, _ = many
    generator, inner = np.random.default_rng(2), np.linspace(0, 1, 400)
    places = generator.uniform(-2.5, 2.5, (40, 2))
    with jax.enable_x64(True):
        look = jax.jit(lambda world, state: sense(ARENA, world, state))
        seen = 0
        for i, place in enumerate(places):
            world = one(worlds, i)
            gaps = np.linalg.norm(world.centers - place, axis=1) - world.radii
            if (gaps < ARENA.body).any():
                continue
            heading = generator.uniform(-np.pi, np.pi)
            senses = look(world, State(place, np.float64(heading)))
            for k in range(ARENA.sectors):
                angle = heading - np.pi / 2 + (k + inner) * np.pi / ARENA.sectors
                ray = np.stack([np.cos(angle), np.sin(angle)], axis=1)  # (R, 2)
                along = ray @ (world.centers - place).T  # (R, O)
                off = ((world.centers - place) ** 2).sum(axis=1) - along**2
                chord = world.radii**2 - off
                hit = (chord > 0) & (along > 0)
                nearest = np.where(hit, along - np.sqrt(np.maximum(chord, 0)), np.inf).min()
                expected = max(1 - (nearest - ARENA.body) / ARENA.sight, 0)
                np.testing.assert_allclose(senses.proximity[k], expected, rtol=0, atol=2e-3)
                seen += expected > 0
            way = world.target - place
            np.testing.assert_allclose(senses.distance, np.hypot(*way))
            np.testing.assert_allclose(
                np.exp(1j * (senses.angle + heading)), complex(*way) / np.hypot(*way), atol=1e-12
            )
    assert seen > 40


def test_worlds_leave_room_and_stand_in_the_way(many):
    worlds, starts = many
    present = worlds.radii > 0
    assert (present.sum(axis=1) >= 4).all()
    assert present.sum(axis=1).mean() > 6.5
    assert worlds.radii[present].min() >= ARENA.small
    assert worlds.radii[present].max() <= ARENA.large
    assert (np.linalg.norm(worlds.target - starts.position, axis=1) > 1.2 * ARENA.size).all()
    room, blocked = ARENA.body + ARENA.gap, 0
    for i in range(200):
        centers, radii = worlds.centers[i][present[i]], worlds.radii[i][present[i]]
        apart = np.linalg.norm(centers[:, None] - centers[None], axis=2) - radii[:, None] - radii[None]
        assert apart[~np.eye(len(radii), dtype=bool)].min() >= 2 * ARENA.body + ARENA.gap - 1e-9
        assert (np.linalg.norm(centers - starts.position[i], axis=1) - radii >= room - 1e-9).all()
        assert (np.linalg.norm(centers - worlds.target[i], axis=1) - radii >= room + ARENA.reach - 1e-9).all()
        part = np.linspace(starts.position[i], worlds.target[i], 200)
        blocked += (np.linalg.norm(part[:, None] - centers[None], axis=2) < radii + ARENA.body).any()
    assert blocked > 160


def way_round(start, target, center, radius, points=240):
    """Return the length of the shortest way from start to target outside of one disc, by a search over its rim."""
    angle = np.arange(points) * 2 * np.pi / points
    rim = center + radius / np.cos(np.pi / points) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    nodes = np.concatenate([[start, target], rim])
    a, b = nodes[:, None], nodes[None]
    way = b - a
    part = np.clip(((center - a) * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-12), 0, 1)
    clear = np.linalg.norm(a + part[..., None] * way - center, axis=-1) > radius - 1e-9
    graph = np.where(clear, np.linalg.norm(way, axis=-1), 0)
    return dijkstra(graph, indices=0)[1]


def test_the_shortest_way_round_an_obstacle_is_that_of_a_search(many):
    worlds, starts = many
    with jax.enable_x64(True):
        run = jax.jit(jax.vmap(lambda world, state: shortest(ARENA, world, state)))
        found = np.asarray(run(worlds, starts))
    for i in range(6):
        world, start = one(worlds, i), starts.position[i]
        ways = [
            way_round(start, world.target, center, radius + ARENA.body)
            for center, radius in zip(world.centers, world.radii, strict=True)
            if radius > 0
        ]
        np.testing.assert_allclose(found[i], max(ways) - ARENA.reach, rtol=5e-4)
    straight = np.linalg.norm(worlds.target - starts.position, axis=1) - ARENA.reach
    assert (found - straight >= -1e-9).all()
    assert (found - straight > 0.02).sum() > 50


@pytest.fixture(scope="module")
def env():
    made = gymnasium.make("optimizees.vehicle.env:l2l/Vehicle-v0", render_mode="rgb_array").unwrapped
    yield made
    made.close()


def test_gymnasium_accepts_the_environment(env):
    check_env(env)
    picture = env.render()
    assert picture.shape == (480, 480, 3)
    assert picture.dtype == np.uint8
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 5
    with pytest.raises(ValueError, match="render_mode: expected one of None, 'rgb_array', got 'human'"):
        VehicleEnv(render_mode="human")
    with pytest.raises(ValueError, match=r"action: expected an array of shape \(2\), got shape \(3,\)"):
        env.step(np.zeros(3))


def test_its_episodes_are_those_of_the_dynamics_step_for_step(env):
    generator, ends = np.random.default_rng(4), set()

    def go(world, state, wheels):
        def one_step(state, wheels):
            state, outcome = step(ARENA, world, state, wheels)
            return state, (state, outcome, observation(ARENA, sense(ARENA, world, state)))

        return jax.lax.scan(one_step, state, wheels)[1]

    with jax.enable_x64(False):
        run = jax.jit(go)
        for seed in range(8):
            env.reset(seed=seed)
            world, start = env.world, env.state
            wheels = np.clip(generator.normal(0.6, 0.4, (ARENA.steps, 2)), -1, 1).astype(np.float32)
            if seed % 4 == 3:  # half a metre before the target, where there is room
                position = np.asarray(world.target) - np.array([0.5, 0.0], np.float32)
                start = env.state = State(jnp.asarray(position), jnp.zeros(()))
                wheels[:] = 1.0
            states, outcomes, seen = jax.tree.map(np.asarray, run(world, start, wheels))
            near = np.linalg.norm(np.asarray(world.target) - np.vstack([start.position, states.position]), axis=1)
            for t in range(ARENA.steps):
                got, reward, over, late, info = env.step(wheels[t])
                np.testing.assert_allclose(env.state.position, states.position[t], rtol=0, atol=1e-5)
                np.testing.assert_allclose(got, seen[t], rtol=0, atol=1e-4)
                bonus = {DRIVING: 0.0, REACHED: 1.0, COLLIDED: -1.0}[int(outcomes[t])]
                np.testing.assert_allclose(reward, near[t] - near[t + 1] + bonus, rtol=0, atol=1e-5)
                assert over == (outcomes[t] != DRIVING)
                assert late == (t == ARENA.steps - 1 and not over)
                if over or late:
                    break
            ends.add(info["outcome"])
    assert ends == {"reached", "collided", "late"}
