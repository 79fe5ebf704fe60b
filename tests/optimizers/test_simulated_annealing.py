"""Simulated annealing: closed forms of its schedules, and the Boltzmann distribution at a constant temperature."""

import math
from itertools import pairwise

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from optimizers.simulated_annealing import SCHEDULES, SimulatedAnnealing, reflect

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((2,)))


def walked(annealing, space, fitness, generations, seed=1):
    """Return the places (generations, P, D) of the chains and the last state."""
    state, places = annealing.init(space, seed), []
    for _ in range(generations):
        z, state = annealing.ask(space, state)
        state = annealing.tell(space, state, z, Evaluation(fitness(z)))
        places.append(state.z)
    return np.array(places), state


@pytest.mark.parametrize(
    "annealing",
    [
        SimulatedAnnealing(),
        SimulatedAnnealing(population=1, step=0.2, schedule="quadratic_additive", steps=100),
        SimulatedAnnealing(population=7, schedule="logarithmic", temperature=0.05, rate=2),
        SimulatedAnnealing(schedule="exponential_additive", temperature=5.0, steps=20),
        SimulatedAnnealing(schedule="linear_additive", last_temperature=0.0, steps=50),
    ],
    ids=str,
)
def test_keeps_the_contract(annealing):
    require(check_optimizer(annealing, generations=100 if annealing.population > 1 else 200))


# Schedules


@pytest.mark.parametrize(
    ("schedule", "at_25", "at_100", "at_250"),
    [  # T0 = 4, Tn = 1, n = 100, alpha = 0.9; by hand from the formulas
        ("constant", 4.0, 4.0, 4.0),
        ("exponential", 4 * math.exp(25 * math.log(0.9)), 4 * math.exp(100 * math.log(0.9)), 4 * 0.9**250),
        ("logarithmic", 4 / (1 + 0.9 * math.log(26)), 4 / (1 + 0.9 * math.log(101)), 4 / (1 + 0.9 * math.log(251))),
        ("linear", 4 / 23.5, 4 / 91, 4 / 226),
        ("quadratic", 4 / 563.5, 4 / 9001, 4 / 56251),
        ("linear_additive", 3.25, 1.0, 1.0),
        ("quadratic_additive", 1 + 3 * 0.5625, 1.0, 1.0),
        ("exponential_additive", 1 + 3 / (1 + 3**-0.5), 1.75, 1 + 3 / (1 + 3**4)),
        ("trigonometric_additive", 1 + 1.5 * (1 + 2**-0.5), 1.0, 1.0),
    ],
)
def test_schedules_have_their_closed_forms(schedule, at_25, at_100, at_250):
    annealing = SimulatedAnnealing(schedule=schedule, temperature=4, last_temperature=1, steps=100, rate=0.9)
    found = [annealing.temperature_at(k) for k in (25, 100, 250)]
    np.testing.assert_allclose(found, [at_25, at_100, at_250], rtol=1e-12)
    start = 1 + 3 / (1 + 1 / 3) if schedule == "exponential_additive" else 4.0
    assert annealing.temperature_at(0) == pytest.approx(start)
    curve = [annealing.temperature_at(k) for k in range(300)]
    assert all(later <= earlier for earlier, later in pairwise(curve))
    assert min(curve) >= 0


def test_every_schedule_is_tested_and_can_be_run_for_ever():
    for schedule in SCHEDULES:
        annealing = SimulatedAnnealing(schedule=schedule, temperature=4)
        assert 0 <= annealing.temperature_at(10**9) <= 4
        if schedule.endswith("additive"):
            assert annealing.temperature_at(10**9) == annealing.last_temperature


# The Metropolis rule


def test_a_worse_fitness_is_accepted_with_probability_exp_of_the_difference_over_the_temperature():
    annealing = SimulatedAnnealing(population=40000, schedule="linear", temperature=2.0, rate=1.0)
    state = annealing.init(SPACE, 1)
    z, state = annealing.ask(SPACE, state)
    state = annealing.tell(SPACE, state, z, Evaluation(np.zeros(40000)))
    for temperature in (2.0, 1.0, 2 / 3):  # T0 / (1 + k)
        z, asked = annealing.ask(SPACE, state)
        fitness = np.repeat([-0.5, -1.0, -3.0, 0.0], 10000)
        told = annealing.tell(SPACE, asked, z, Evaluation(fitness))
        shares = (told.z == z).all(axis=1).reshape(4, 10000).mean(axis=1)
        np.testing.assert_allclose(shares, np.exp(fitness[::10000] / temperature), atol=0.015)
        np.testing.assert_array_equal(told.fitness == fitness, (told.z == z).all(axis=1))
        state = state._replace(told=told.told, words=told.words)


def test_at_a_constant_temperature_the_chains_sample_the_boltzmann_distribution_of_a_gaussian():
    space = Space(w=Free((2,)))
    precision = np.array([[1.0, 0.6], [0.6, 2.0]])
    annealing = SimulatedAnnealing(population=400, schedule="constant", temperature=0.5, step=0.8)
    places, _ = walked(annealing, space, lambda z: -0.5 * np.einsum("pi,ij,pj->p", z, precision, z), 500)
    samples = places[100:].reshape(-1, 2)
    np.testing.assert_allclose(samples.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(np.cov(samples.T), 0.5 * np.linalg.inv(precision), atol=0.02)


def test_at_the_bounds_reflection_leaves_the_boltzmann_distribution_right():
    space = Space(x=Real(0, 1))
    annealing = SimulatedAnnealing(population=500, schedule="constant", temperature=0.5, step=1.0)
    places, _ = walked(annealing, space, lambda z: z[:, 0], 400)
    edges = np.linspace(0, 1, 11)
    shares = np.histogram(places[50:], edges)[0] / places[50:].size
    expected = np.diff(np.exp(edges / 0.5)) / (np.exp(2) - 1)  # density exp(z / T), largest at the upper bound
    np.testing.assert_allclose(shares, expected, atol=0.006)


def test_reflection_is_the_identity_inside_and_a_mirror_outside():
    bounded = np.array([True, False])
    z = np.array([[0.0, 7.0], [1.0, -7.0], [0.3, 0.5]])
    np.testing.assert_allclose(reflect(z, bounded), z, rtol=1e-15)
    np.testing.assert_allclose(
        reflect(np.array([[-0.1, 0], [1.1, 0], [2.3, 0], [-1.2, 0]]), bounded)[:, 0], [0.1, 0.9, 0.3, 0.8]
    )
    wild = reflect(np.random.default_rng(1).normal(0, 1e5, (1000, 2)), bounded)[:, 0]
    assert ((wild >= 0) & (wild <= 1)).all()


def test_proposals_have_the_step_times_the_spread():
    annealing = SimulatedAnnealing(population=4000, step=0.05, schedule="constant")
    _, state = walked(annealing, SPACE, lambda z: np.zeros(len(z)), 1)
    state = state._replace(z=np.full_like(state.z, 0.5))
    z, _ = annealing.ask(SPACE, state)
    np.testing.assert_allclose((z - 0.5).std(axis=0), 0.05 * np.array([12**-0.5, 12**-0.5, 1, 1]), rtol=0.05)


# Problems


@pytest.mark.parametrize("hot", [3.0, 1e-3])
def test_two_hills_are_shared_as_the_master_equation_says(hot):
    def hills(x):
        return -3 * (x**2 - 1) ** 2 + 0.5 * x

    annealing = SimulatedAnnealing(population=4000, temperature=hot, rate=0.99, step=0.4)
    _, state = walked(annealing, Space(w=Free(())), lambda z: hills(z[:, 0]), 301)
    # the same chain on a grid: probability p of each place, and the probability of each move
    x = np.linspace(-4, 4, 321)
    p = np.exp(-(x**2) / 2)
    proposal = np.exp(-((x[:, None] - x) ** 2) / (2 * 0.4**2)) * (x[1] - x[0]) / (0.4 * math.sqrt(2 * math.pi))
    worse = np.minimum(hills(x) - hills(x)[:, None], 0.0)
    for k in range(300):
        move = proposal * np.exp(np.maximum(worse / (hot * 0.99**k), -700))
        p = p @ move + p * (1 - move.sum(axis=1))
    expected = p[x > 0].sum() / p.sum()
    assert (state.z > 0).mean() == pytest.approx(expected, abs=0.03)
    assert (expected > 0.65) == (hot > 1)  # annealed, more chains are on the higher hill


def test_failed_proposals_are_rejected_and_failed_starts_are_drawn_anew():
    annealing = SimulatedAnnealing(population=3, schedule="constant", temperature=100.0)
    first, state = annealing.ask(SPACE, annealing.init(SPACE, 1))
    state = annealing.tell(SPACE, state, first, Evaluation(np.array([np.nan, -1.0, -2.0])))
    second, state = annealing.ask(SPACE, state)
    assert np.abs(second[0] - first[0]).max() > 0.2  # not a step: 0.029 or 0.1
    state = annealing.tell(SPACE, state, second, Evaluation(np.array([-50.0, np.nan, np.nan])))
    np.testing.assert_array_equal(state.z, [second[0], first[1], first[2]])
    np.testing.assert_array_equal(state.fitness, [-50.0, -1.0, -2.0])


def test_many_failed_starts_are_a_sample_of_the_space():
    annealing = SimulatedAnnealing(population=3000)
    z, state = annealing.ask(SPACE, annealing.init(SPACE, 1))
    state = annealing.tell(SPACE, state, z, Evaluation(np.full(3000, np.nan)))
    again, _ = annealing.ask(SPACE, state)
    np.testing.assert_allclose(again.std(axis=0), [12**-0.5, 12**-0.5, 1, 1], rtol=0.05)
    assert np.abs(np.corrcoef(z[:, 0], again[:, 0])[0, 1]) < 0.1


def test_recommends_the_best_evaluation_not_where_the_chain_is():
    annealing = SimulatedAnnealing(population=1, schedule="constant", temperature=1e6)
    first, state = annealing.ask(SPACE, annealing.init(SPACE, 1))
    state = annealing.tell(SPACE, state, first, Evaluation(np.array([1.0])))
    second, state = annealing.ask(SPACE, state)
    state = annealing.tell(SPACE, state, second, Evaluation(np.array([0.0])))
    np.testing.assert_array_equal(state.z, second)
    np.testing.assert_array_equal(annealing.recommend(SPACE, state), first[0])


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"population": 0}, r"SimulatedAnnealing.population: expected an integer >= 1, got 0"),
        ({"step": 0.0}, r"SimulatedAnnealing.step: expected a number in \(0, 1e\+06\], got 0.0; 0.02 to 0.5"),
        ({"schedule": "expnential"}, "SimulatedAnnealing.schedule: .* did you mean 'exponential'"),
        ({"temperature": 0.0}, "SimulatedAnnealing.temperature"),
        ({"temperature": float("inf")}, "SimulatedAnnealing.temperature"),
        ({"rate": 1.1}, r"SimulatedAnnealing.rate: expected a number in \(0, 1\], got 1.1; 0.8 to 0.99"),
        ({"rate": 0.0, "schedule": "linear"}, "SimulatedAnnealing.rate: expected a number > 0"),
        ({"steps": 0}, "SimulatedAnnealing.steps"),
        (
            {"schedule": "linear_additive", "last_temperature": 2.0},
            r"last_temperature: expected at most temperature \(1.0\), got 2.0",
        ),
        ({"schedule": "exponential_additive"}, r"temperature: expected more than last_temperature \+ 1 \(1.001\)"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        SimulatedAnnealing(**fields)


def test_wrong_use_is_refused():
    annealing = SimulatedAnnealing(population=3)
    z, state = annealing.ask(SPACE, annealing.init(SPACE, 1))
    with pytest.raises(ValueError, match="expected one objective"):
        annealing.tell(SPACE, state, z, Evaluation(np.zeros((3, 2))))
    with pytest.raises(ValueError, match=r"SimulatedAnnealing: z: expected an array of shape \(3, 4\)"):
        annealing.tell(SPACE, state, z[:2], Evaluation(np.zeros(2)))


def test_the_best_chains_stay_and_new_ones_are_copies():
    space = Space(w=Free((2,)))
    annealing = SimulatedAnnealing(population=6)
    state = annealing.init(space, 1)
    fitness = np.array([3.0, 9.0, -np.inf, 1.0, 9.0, 5.0])
    state = state._replace(fitness=fitness, told=np.array(4))
    fewer = annealing.sized(3, 2).resized(space, state)
    np.testing.assert_array_equal(fewer.z, state.z[[1, 4, 5]])
    np.testing.assert_array_equal(fewer.fitness, fitness[[1, 4, 5]])
    more = annealing.sized(600, 2).resized(space, state)
    np.testing.assert_array_equal(more.z[:6], state.z)
    source = (more.z[:, None] == state.z).all(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(more.z, state.z[source])
    np.testing.assert_array_equal(more.fitness, fitness[source])
    assert np.bincount(source).min() > 70  # of 100 on average: no chain is preferred
    assert fewer.told == more.told == 4  # the temperature goes on
