import gymnasium
import jax
import numpy as np
import pytest

from optimizees.mountain_car import MountainCar
from optimizees.mountain_car.in_jax import step
from optimizees.mountain_car.task import CarNetwork


def test_a_step_equals_gymnasiums_to_the_last_bit():
    generator = np.random.default_rng(1)
    n = 20_000
    position, velocity = generator.uniform(-1.2, 0.6, n), generator.uniform(-0.07, 0.07, n)
    position[:50], velocity[:50] = -1.2 + generator.random(50) * 0.01, -0.07  # into the left wall
    action = generator.integers(0, 3, n)
    env = gymnasium.make("MountainCar-v0").unwrapped
    expected = np.empty((n, 2))
    for i in range(n):
        env.state = (position[i], velocity[i])
        env.step(int(action[i]))
        expected[i] = env.state
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(step))(position, velocity, action)
    np.testing.assert_array_equal(np.stack(found, axis=1), expected)
    assert (expected[:50, 0] == -1.2).any()  # some hit the wall


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"steps": 200, "network": CarNetwork(hidden=9, bins=12)},
        {"network": CarNetwork(t_ref=2.0, delay=2.6, drive_delay=0.0)},
        {"network": CarNetwork(resolution=0.1, model="iaf_psc_exp")},
        {"network": CarNetwork(model="iaf_psc_delta"), "weight_scale": 1.0},
    ],
    ids=str,
)
def test_jax_gives_the_spikes_actions_and_fitness_of_nest(fields):
    nest, jax_ = (MountainCar(**{"steps": 60, **fields}, backend=backend) for backend in ("nest", "jax"))
    z = nest.space.sample(np.random.default_rng(7), 12)
    z[0] = _solves(nest)
    seeds = np.arange(1, 13)
    one, other = (optimizee.evaluate_batch(z, seeds, with_artifacts=True) for optimizee in (nest, jax_))
    np.testing.assert_array_equal(one.fitness, other.fitness)
    for name, values in one.metrics.items():
        np.testing.assert_array_equal(values, other.metrics[name])
    assert one.artifacts.keys() == other.artifacts.keys()
    for name, values in one.artifacts.items():
        if name == "spike_times":
            np.testing.assert_allclose(values, other.artifacts[name], atol=1e-6)
        else:
            np.testing.assert_array_equal(values, other.artifacts[name])
    assert one.artifacts["counts"].sum() > 100
    assert len(np.unique(one.artifacts["actions"])) >= 3


def _solves(optimizee: MountainCar) -> np.ndarray:
    from mountain_cars import hand_made_z

    return hand_made_z(optimizee)


def test_float32_gives_nearly_always_the_fitness_of_float64():
    exact, fast = (MountainCar(backend="jax", precision=precision) for precision in ("float64", "float32"))
    z, seeds = exact.space.sample(np.random.default_rng(3), 64), np.arange(64)
    same = exact.evaluate_batch(z, seeds).fitness == fast.evaluate_batch(z, seeds).fitness
    assert same.mean() > 0.8


def test_a_drive_that_takes_more_than_a_step_to_fire_is_left_to_nest():
    weak = MountainCar(CarNetwork(drive=500.0), backend="jax", steps=2)
    with pytest.raises(ValueError, match=r"drive: expected enough to lift an input neuron by 15\.0 mV in one step"):
        weak.evaluate_batch(weak.space.sample(np.random.default_rng(1), 1), np.array([1]))


def test_a_model_that_jax_has_not_is_refused():
    unknown = MountainCar(CarNetwork(model="iaf_cond_alpha"), backend="jax", steps=2)
    with pytest.raises(ValueError, match=r"model: expected one of 'iaf_psc_alpha'.* or take backend: nest"):
        unknown.evaluate_batch(unknown.space.sample(np.random.default_rng(1), 1), np.array([1]))
