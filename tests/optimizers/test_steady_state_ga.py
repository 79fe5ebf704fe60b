"""The steady-state GA: who takes whose place, and that asks and tells may come in any order."""

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.variation import tournament, vary
from l2l_snn.seeding import generator_of
from optimizers.steady_state_ga import SteadyStateGA

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((2,)))


def full(ga, fitness, space=SPACE, seed=1):
    """Return the state of a population with this fitness, z of member i being i everywhere, told in order."""
    fitness = np.asarray(fitness, float)
    z = np.repeat(np.arange(len(fitness))[:, None], space.size, axis=1).astype(float)
    return ga.tell(space, ga.init(space, seed), z, Evaluation(fitness))


def tell(ga, state, value, fitness):
    return ga.tell(SPACE, state, np.full((1, state.z.shape[1]), float(value)), Evaluation(np.array([fitness])))


def members(state):
    return state.z[:, 0].tolist()


@pytest.mark.parametrize(
    "ga",
    [
        SteadyStateGA(),
        SteadyStateGA(children=1, population=16, replaces="oldest"),
        SteadyStateGA(children=3, population=9, replaces="random", crossover="two_point"),
        SteadyStateGA(children=32, if_better=False, mutation="uniform"),
        SteadyStateGA(population=2, children=1, tournament=1),
    ],
    ids=str,
)
def test_keeps_the_contract(ga):
    require(check_optimizer(ga, beats_random=ga.population > 2, generations=100 if ga.children > 1 else 300))


# Whose place


def test_a_child_takes_the_place_of_the_worst_if_it_is_as_good():
    ga = SteadyStateGA(population=4)
    state = full(ga, [3, 1, 2, 4])
    assert members(tell(ga, state, 9, 0.5)) == [0, 1, 2, 3]
    assert members(tell(ga, state, 9, 1.0)) == [0, 9, 2, 3]
    state = tell(ga, state, 9, 5.0)
    assert members(state) == [0, 9, 2, 3]
    assert members(tell(ga, state, 8, 2.5)) == [0, 9, 8, 3]
    assert members(tell(SteadyStateGA(population=4, if_better=False), full(ga, [3, 1, 2, 4]), 9, -7.0)) == [0, 9, 2, 3]


def test_the_oldest_goes_first_in_first_out_unless_it_is_better():
    always = SteadyStateGA(population=3, replaces="oldest", if_better=False)
    state = full(always, [5, 5, 5])
    for value, expected in ((7, [7, 1, 2]), (8, [7, 8, 2]), (9, [7, 8, 9]), (10, [10, 8, 9])):
        state = tell(always, state, value, 0.0)
        assert members(state) == expected
    better = SteadyStateGA(population=3, replaces="oldest")
    state = tell(better, full(better, [5, 1, 1]), 7, 3.0)  # 0 defends its place and is new again
    assert members(state) == [0, 1, 2]
    assert members(tell(better, state, 8, 3.0)) == [0, 8, 2]


def test_a_random_place_is_each_as_often():
    ga = SteadyStateGA(population=4, replaces="random", if_better=False)
    counts = np.zeros(4)
    for seed in range(400):
        counts += np.array(members(tell(ga, full(ga, [1, 2, 3, 4], seed=seed), 9, 0.0))) == 9
    assert counts.sum() == 400
    assert np.abs(counts - 100).max() < 40  # 4.6 standard deviations
    better = SteadyStateGA(population=4, replaces="random")
    state = full(better, [1, 2, 3, 4])
    for _ in range(20):
        state = tell(better, state, 9, 0.0)
    assert members(state) == [0, 1, 2, 3]


def test_failed_individuals_never_enter():
    ga = SteadyStateGA(population=3, if_better=False)
    state = full(ga, [1, np.nan, 2])
    assert int(state.members) == 2
    assert members(state)[:2] == [0, 2]
    state = tell(ga, state, 7, np.nan)
    assert int(state.members) == 2
    state = tell(ga, state, 7, 0.0)
    assert members(state) == [0, 2, 7]
    assert members(tell(ga, state, 8, np.nan)) == [0, 2, 7]
    assert np.isfinite(state.fitness).all()


def test_an_all_failed_start_goes_on_sampling_the_space():
    ga = SteadyStateGA(population=4, children=200)
    state = ga.init(SPACE, 1)
    for _ in range(3):
        z, state = ga.ask(SPACE, state)
        state = ga.tell(SPACE, state, z, Evaluation(np.full(200, np.nan)))
    z, _ = ga.ask(SPACE, state)
    assert ((z[:, :2] >= 0) & (z[:, :2] <= 1)).all()
    assert z[:, 0].std() == pytest.approx(12**-0.5, abs=0.05)
    assert z[:, 2:].std() == pytest.approx(1.0, abs=0.1)


# Any order


def test_children_are_those_of_the_operators_on_the_population():
    ga = SteadyStateGA(population=8, children=5, mutation_std=0.2)
    state = full(ga, np.arange(8.0))
    generator, _ = generator_of(state.words)
    children = state.z[tournament(state.fitness, 6, 4, generator)]
    vary(children, SPACE, ga, generator)
    np.testing.assert_array_equal(ga.ask(SPACE, state)[0], children[:5])


def test_ask_changes_the_words_alone():
    ga = SteadyStateGA(population=4)
    for state in (ga.init(SPACE, 1), full(ga, [1, 2, 3, 4])):
        first, asked = ga.ask(SPACE, state)
        second, _ = ga.ask(SPACE, asked)
        assert not np.array_equal(first, second)
        for name, before, after in zip(state._fields, state, asked, strict=True):
            assert np.array_equal(before, after) == (name != "words")


def test_one_by_one_is_the_same_as_all_at_once():
    fitness = np.array([1.0, 4.0, np.nan, 2.0, 8.0, 0.0, 5.0, 7.0])
    z = np.random.default_rng(1).random((8, 4))
    for replaces in ("worst", "oldest"):
        ga = SteadyStateGA(population=3, replaces=replaces)
        once = ga.tell(SPACE, ga.init(SPACE, 1), z, Evaluation(fitness))
        single = ga.init(SPACE, 1)
        for i in range(8):
            single = ga.tell(SPACE, single, z[i : i + 1], Evaluation(fitness[i : i + 1]))
        for name in ("told", "members", "z", "fitness", "born", "best_z", "best_fitness"):
            np.testing.assert_array_equal(getattr(once, name), getattr(single, name))


def test_with_the_worst_replaced_the_population_is_the_best_told_in_whatever_order():
    rng = np.random.default_rng(1)
    fitness = rng.permutation(40).astype(float)
    z = rng.random((40, 4))
    ga = SteadyStateGA(population=6)
    for _ in range(5):
        order = rng.permutation(40)
        state = ga.init(SPACE, 1)
        for rows in np.array_split(order, 11):
            state = ga.tell(SPACE, state, z[rows], Evaluation(fitness[rows]))
        best = np.argsort(fitness)[-6:]
        np.testing.assert_array_equal(np.sort(state.fitness), fitness[best])
        np.testing.assert_array_equal(state.z[np.argsort(state.fitness)], z[best])


def test_an_asynchronous_loop_with_eight_in_flight_climbs_a_sphere():
    def fitness(z):
        return Evaluation(-((z - 0.3) ** 2).sum(axis=1))

    ga = SteadyStateGA(population=20, children=1)
    rng = np.random.default_rng(1)
    state, flying = ga.init(SPACE, 1), []
    for _ in range(8):
        z, state = ga.ask(SPACE, state)
        flying.append(z)
    for _ in range(1500):
        z = flying.pop(int(rng.integers(len(flying))))  # the evaluations end in any order
        state = ga.tell(SPACE, state, z, fitness(z))
        z, state = ga.ask(SPACE, state)
        flying.append(z)
    sample = fitness(SPACE.sample(rng, 1500)).fitness
    assert float(state.best_fitness) > 0.1 * sample.max()
    assert float(state.best_fitness) > -0.003
    np.testing.assert_array_equal(fitness(ga.recommend(SPACE, state)[None]).fitness, state.best_fitness)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"population": 1}, r"SteadyStateGA.population: expected an integer >= 2, got 1"),
        ({"children": 0}, r"SteadyStateGA.children: expected an integer >= 1, got 0"),
        ({"replaces": "youngest"}, "SteadyStateGA.replaces: expected one of .* got 'youngest'"),
        ({"tournament": 0}, "SteadyStateGA.tournament: .* take 2 to 7"),
        ({"crossover": "one_point"}, "SteadyStateGA.crossover"),
        ({"mutation_std": 0.0}, "SteadyStateGA.mutation_std"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        SteadyStateGA(**fields)


def test_wrong_use_is_refused():
    ga = SteadyStateGA(population=4)
    state = ga.init(SPACE, 1)
    with pytest.raises(ValueError, match=r"SteadyStateGA: z: expected .* shape \(any, 4\), got shape \(2, 3\)"):
        ga.tell(SPACE, state, np.zeros((2, 3)), Evaluation(np.zeros(2)))
    with pytest.raises(ValueError, match="expected one objective"):
        ga.tell(SPACE, state, np.zeros((2, 4)), Evaluation(np.zeros((2, 2))))
    with pytest.raises(ValueError, match="2 or more coordinates"):
        SteadyStateGA(crossover="two_point").init(Space(x=Real(0, 1)), 1)


def filled(ga, members):
    state = ga.init(SPACE, 1)
    z = SPACE.sample(np.random.default_rng(1), members)
    return ga.tell(SPACE, state, z, Evaluation(np.arange(members, dtype=float) % 4))


def test_of_a_population_that_shrinks_the_best_stay():
    ga = SteadyStateGA(population=8, children=4)
    small = ga.sized(3, SPACE.size)
    assert small == SteadyStateGA(population=3, children=2)
    state = filled(ga, 8)
    shrunk = small.resized(SPACE, state)
    np.testing.assert_array_equal(shrunk.fitness, [2, 3, 3])
    np.testing.assert_array_equal(shrunk.z, state.z[[2, 3, 7]])
    np.testing.assert_array_equal(shrunk.born, state.born[[2, 3, 7]])
    assert shrunk.members == 3


def test_a_full_population_that_grows_is_filled_with_its_members_and_a_new_one_with_free_places():
    ga = SteadyStateGA(population=8, children=4)
    large = ga.sized(20, SPACE.size)
    assert large.children == 10
    state = filled(ga, 8)
    grown = large.resized(SPACE, state)
    np.testing.assert_array_equal(grown.z[:8], state.z)
    source = (grown.z[:, None] == state.z).all(axis=2).argmax(axis=1)
    np.testing.assert_array_equal(grown.z, state.z[source])
    np.testing.assert_array_equal(grown.fitness, state.fitness[source])
    assert grown.members == 20
    state = large.resized(SPACE, filled(ga, 5))
    assert state.members == 5
    assert (state.fitness[5:] == -np.inf).all()
    z, state = large.ask(SPACE, state)  # still a sample of the space
    state = large.tell(SPACE, state, z, Evaluation(np.zeros(10)))
    assert state.members == 15
