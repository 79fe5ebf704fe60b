"""Parallel tempering: the exchange rule, and the right distribution at each temperature."""

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from optimizers.parallel_tempering import ParallelTempering, log_swap

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((2,)))


def walked(tempering, space, fitness, generations, seed=1):
    """Return the places (generations, L, R, D) of the replicas and the last state."""
    state, places = tempering.init(space, seed), []
    for _ in range(generations):
        z, state = tempering.ask(space, state)
        state = tempering.tell(space, state, z, Evaluation(fitness(z)))
        places.append(state.z.reshape(tempering.ladders, tempering.rungs, -1))
    return np.array(places), state


@pytest.mark.parametrize(
    "tempering",
    [
        ParallelTempering(),
        ParallelTempering(rungs=2, ladders=1),
        ParallelTempering(rungs=5, ladders=3, swap_every=3, step_power=0.0, step=0.1),
    ],
    ids=str,
)
def test_keeps_the_contract(tempering):
    require(check_optimizer(tempering, beats_random=tempering.rungs > 2))  # a pair can't, but must not fail either


def test_the_ladder_is_geometric():
    tempering = ParallelTempering(rungs=4, coldest=0.5, hottest=4.0)
    np.testing.assert_allclose(tempering.temperatures(), [0.5, 1.0, 2.0, 4.0])


def test_the_exchange_rule_is_the_ratio_of_boltzmann_weights():
    rng = np.random.default_rng(1)
    for _ in range(20):
        cold, hot = rng.normal(size=2)
        cold_t, hot_t = np.sort(rng.random(2) + 0.1)
        before = np.exp(cold / cold_t) * np.exp(hot / hot_t)
        after = np.exp(hot / cold_t) * np.exp(cold / hot_t)
        assert np.exp(log_swap(cold, hot, cold_t, hot_t)) == pytest.approx(after / before)


def test_exchanges_happen_as_often_as_the_rule_says():
    tempering = ParallelTempering(rungs=2, ladders=20000, coldest=0.5, hottest=2.0)
    z, state = tempering.ask(SPACE, tempering.init(SPACE, 1))
    for cold, hot in ((1.0, 0.5), (0.0, -1.0), (0.0, 0.3)):
        told = tempering.tell(SPACE, state, z, Evaluation(np.tile([cold, hot], 20000)))
        exchanged = (told.z[::2] == z[1::2]).all(axis=1)
        expected = min(1.0, np.exp((1 / 0.5 - 1 / 2.0) * (hot - cold)))
        assert exchanged.mean() == pytest.approx(expected, abs=0.015)
        np.testing.assert_array_equal(told.z[1::2][exchanged], z[::2][exchanged])  # the other one, too
        np.testing.assert_array_equal(told.fitness[::2], np.where(exchanged, hot, cold))
        assert (told.tried, told.swapped) == (20000, exchanged.sum())


def test_pairs_take_turns_and_swap_every_is_kept():
    tempering = ParallelTempering(rungs=5, ladders=3, swap_every=2)
    state, tried = tempering.init(SPACE, 1), []
    for _ in range(8):
        z, state = tempering.ask(SPACE, state)
        state = tempering.tell(SPACE, state, z, Evaluation(np.zeros(15)))
        tried.append(state.tried)
    steps = np.diff([[0] * 4, *tried], axis=0)
    even, odd, none = [3, 0, 3, 0], [0, 3, 0, 3], [0, 0, 0, 0]
    np.testing.assert_array_equal(steps, [even, none, odd, none, even, none, odd, none])
    np.testing.assert_array_equal(state.swapped, state.tried)  # of equals always


def test_each_rung_samples_the_boltzmann_distribution_of_its_temperature():
    space = Space(w=Free((2,)))
    scale = np.array([1.0, 0.3])
    tempering = ParallelTempering(rungs=4, ladders=100, coldest=0.1, hottest=2.0, step=1.0)
    places, state = walked(tempering, space, lambda z: -0.5 * ((z - 0.5) ** 2 / scale**2).sum(axis=1), 900)
    samples = places[150:].transpose(2, 0, 1, 3).reshape(4, -1, 2)
    for rung, temperature in enumerate(tempering.temperatures()):
        np.testing.assert_allclose(samples[rung].mean(axis=0), 0.5, atol=0.05 * temperature**0.5)
        np.testing.assert_allclose(samples[rung].var(axis=0), temperature * scale**2, rtol=0.06)
    # two Gaussians at inverse temperatures b > a overlap alike on every pair of a geometric ladder
    rates = state.swapped / state.tried
    assert np.ptp(rates) < 0.03
    assert 0.2 < rates.min() < 0.9


def test_the_cold_rung_weighs_two_modes_right_where_a_lone_chain_stays_in_its_own():
    space = Space(w=Free(()))

    def fitness(z):  # density at T = 0.1: exp(fitness / 0.1), modes of weights 0.25 and 0.75, 24 widths apart
        left, right = (-((z[:, 0] - mean) ** 2) / 0.02 for mean in (-1.2, 1.2))
        return 0.1 * np.logaddexp(left + np.log(0.25), right + np.log(0.75))

    tempering = ParallelTempering(rungs=10, ladders=60, coldest=0.1, hottest=20.0, step=1.0)
    places, _ = walked(tempering, space, fitness, 1500)
    cold = places[200:, :, 0, 0]
    assert (cold > 0).mean() == pytest.approx(0.75, abs=0.04)
    assert cold[cold > 0].std() == pytest.approx(0.1, rel=0.05)
    alone = ParallelTempering(rungs=10, ladders=60, coldest=0.1, hottest=20.0, step=1.0, swap_every=10**9)
    places, _ = walked(alone, space, fitness, 300)
    sides = places[:, :, 0, 0] > 0
    assert (sides[20:] == sides[20]).mean() > 0.95


def test_steps_shrink_with_the_temperature():
    tempering = ParallelTempering(rungs=3, ladders=4000, coldest=0.01, hottest=1.0, step=0.2, step_power=0.5)
    _, state = walked(tempering, SPACE, lambda z: np.zeros(len(z)), 1)
    state = state._replace(z=np.full_like(state.z, 0.5))
    steps = (tempering.ask(SPACE, state)[0] - 0.5).reshape(4000, 3, 4).std(axis=0)
    expected = 0.2 * np.array([0.1, 10**-0.5, 1.0])[:, None] * np.array([12**-0.5, 12**-0.5, 1, 1])
    np.testing.assert_allclose(steps, expected, rtol=0.05)


def test_failures_are_rejected_exchange_with_nobody_and_start_anew():
    tempering = ParallelTempering(rungs=2, ladders=2, coldest=1.0, hottest=2.0)
    first, state = tempering.ask(SPACE, tempering.init(SPACE, 1))
    state = tempering.tell(SPACE, state, first, Evaluation(np.array([np.nan, 5.0, 1.0, np.nan])))
    np.testing.assert_array_equal(state.fitness, [-np.inf, 5.0, 1.0, -np.inf])
    np.testing.assert_array_equal(state.z, first)
    assert state.tried == 0
    second, state = tempering.ask(SPACE, state)
    moved = np.abs(second - first).max(axis=1)
    assert moved[0] > 0.3
    state = tempering.tell(SPACE, state, second, Evaluation(np.full(4, np.nan)))
    np.testing.assert_array_equal(state.fitness, [-np.inf, 5.0, 1.0, -np.inf])


def test_huge_differences_of_fitness_do_not_overflow():
    tempering = ParallelTempering(rungs=3, ladders=2, coldest=1e-50, hottest=1e50)
    for _ in range(3):
        z, state = tempering.ask(SPACE, tempering.init(SPACE, 1))
        state = tempering.tell(SPACE, state, z, Evaluation(np.array([1e300, -1e300, 0.0, -1e300, 1e300, 1e-300])))
        assert np.isfinite(state.fitness).all()


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"rungs": 1}, r"ParallelTempering.rungs: expected an integer >= 2, got 1; for one temperature take Simulated"),
        ({"ladders": 0}, r"ParallelTempering.ladders: expected an integer >= 1"),
        ({"coldest": 0.0}, "ParallelTempering.coldest"),
        ({"coldest": 1.0}, r"ParallelTempering.hottest: expected more than coldest \(1.0\), got 1.0"),
        ({"step": -0.1}, "ParallelTempering.step"),
        ({"step_power": float("nan")}, "ParallelTempering.step_power"),
        ({"swap_every": 0}, "ParallelTempering.swap_every"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        ParallelTempering(**fields)


def test_wrong_use_is_refused():
    tempering = ParallelTempering(rungs=3, ladders=1)
    z, state = tempering.ask(SPACE, tempering.init(SPACE, 1))
    with pytest.raises(ValueError, match="expected one objective"):
        tempering.tell(SPACE, state, z, Evaluation(np.zeros((3, 2))))
    with pytest.raises(ValueError, match=r"ParallelTempering: z: expected an array of shape \(3, 4\)"):
        tempering.tell(SPACE, state, z[:2], Evaluation(np.zeros(2)))


def changed(tempering, individuals):
    """Return the fitness (L, R) and the z of rung and ladder numbers after a change of P."""
    space = Space(w=Free((2,)))
    state = tempering.init(space, 1)
    ladder, rung = np.divmod(np.arange(tempering.ladders * tempering.rungs), tempering.rungs)
    fitness = ladder % 3 - rung / 10.0
    state = state._replace(z=np.stack([ladder, rung], axis=1) + 0.0, fitness=fitness, moved=state.moved + 7)
    other = tempering.sized(individuals, 2)
    after = other.resized(space, state)
    np.testing.assert_array_equal(after.fitness, after.z[:, 0] % 3 - after.z[:, 1] / 10.0)  # each with its own
    return other, after, after.z.reshape(other.ladders, other.rungs, 2)


def test_ladders_come_as_copies_of_whole_ladders_and_the_best_stay():
    tempering = ParallelTempering(rungs=5, ladders=4)
    more, state, z = changed(tempering, 34)
    assert more == ParallelTempering(rungs=5, ladders=6)
    np.testing.assert_array_equal(z[:, :, 1], np.tile(np.arange(5), (6, 1)))
    np.testing.assert_array_equal(z[:4, 0, 0], np.arange(4))
    np.testing.assert_array_equal(z[:, :, 0], np.repeat(z[:, :1, 0], 5, axis=1))
    fewer, state, z = changed(tempering, 12)
    assert fewer == ParallelTempering(rungs=5, ladders=2)
    np.testing.assert_array_equal(z[:, 0, 0], [1, 2])  # their best are 1 and 2, those of 0 and 3 are 0
    assert (state.moved == 7).all()


def test_fewer_than_one_ladder_are_a_ladder_of_fewer_rungs_in_order():
    few, state, z = changed(ParallelTempering(rungs=9, ladders=2, coldest=0.01), 5)
    assert few == ParallelTempering(rungs=5, ladders=1, coldest=0.01)
    np.testing.assert_array_equal(z[0], np.stack([np.ones(5), [0, 2, 4, 6, 8]], axis=1))
    np.testing.assert_allclose(few.temperatures()[[0, -1]], [0.01, 1.0])
    assert (len(state.moved), len(state.tried), len(state.swapped), state.moved.sum()) == (5, 4, 4, 0)
    with pytest.raises(ValueError, match="rungs: expected an integer >= 2, got 1"):
        few.sized(1, 2)
