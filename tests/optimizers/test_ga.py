"""The genetic algorithm: selection, elites and rates are those asked for, its state is complete."""

import numpy as np
import pytest
from deap import base, tools

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.seeding import generator_of, python_random
from optimizers.ga import GeneticAlgorithm

SPACE = Space(x=Real(-5, 5, shape=(4,)), w=Free((3,)))
VARIANTS = [
    GeneticAlgorithm(),
    GeneticAlgorithm(crossover="two_point", mutation="uniform"),
    GeneticAlgorithm(population=7, elites=2),
    GeneticAlgorithm(population=2, tournament=9, elites=1),
]


def told(ga, fitness, space=SPACE, seed=1):
    """Return the state after a first generation with this fitness."""
    z, state = ga.ask(space, ga.init(space, seed))
    return ga.tell(space, state, z, Evaluation(np.asarray(fitness, float)))


def without_variation(**fields):
    return GeneticAlgorithm(crossover_probability=0, mutation_probability=0, **fields)


@pytest.mark.parametrize("ga", VARIANTS, ids=str)
def test_keeps_the_contract(ga):
    require(check_optimizer(ga, beats_random=ga.population > 2))  # two can't win, but must not fail either


# Selection, pairs, elites, clipping


def test_selection_is_deaps_on_deaps_own_individuals():
    class Fitness(base.Fitness):
        weights = (1.0,)

    class Individual(list):
        def __init__(self, genes, fitness):
            super().__init__(genes)
            self.fitness = Fitness((fitness,))

    ga = without_variation(population=20, tournament=3)
    fitness = np.random.default_rng(1).integers(0, 8, 20)  # with ties
    for seed in range(20):
        state = told(ga, fitness, seed=seed)
        individuals = [Individual(*pair) for pair in zip(state.z.tolist(), fitness.tolist(), strict=True)]
        with python_random(generator_of(state.words)[0]):
            parents = tools.selTournament(individuals, 20, 3)
        np.testing.assert_array_equal(ga.ask(SPACE, state)[0], parents)


def test_without_variation_children_are_parents():
    ga = without_variation(population=9)
    state = told(ga, np.arange(9))
    children, _ = ga.ask(SPACE, state)
    assert {tuple(child) for child in children} <= {tuple(parent) for parent in state.z}


@pytest.mark.parametrize("elites", [1, 3])
def test_elites_go_on_unchanged_best_first_in_the_last_places(elites):
    ga = GeneticAlgorithm(population=8, elites=elites, mutation_probability=1.0, gene_probability=1.0)
    fitness = [3.0, np.nan, 7.0, 1.0, 9.0, 2.0, 0.0, 5.0]
    state = told(ga, fitness)
    children, _ = ga.ask(SPACE, state)
    np.testing.assert_array_equal(children[8 - elites :], state.z[[4, 2, 7][:elites]])
    assert not any((child == state.z).all(axis=1).any() for child in children[: 8 - elites])


def test_the_last_of_an_odd_population_is_not_crossed():
    ga = GeneticAlgorithm(population=5, crossover_probability=1.0, mutation_probability=0.0)
    for seed in range(10):
        state = told(ga, np.arange(5), seed=seed)
        children, _ = ga.ask(SPACE, state)
        assert (children[4] == state.z).all(axis=1).any()


def test_children_are_clipped_to_the_bounds_and_free_genes_are_not():
    ga = GeneticAlgorithm(mutation_std=50.0, mutation_probability=1.0, gene_probability=1.0)
    children, _ = ga.ask(SPACE, told(ga, np.arange(32)))
    bounded, free = children[:, :4], children[:, 4:]
    assert set(np.unique(bounded[(bounded <= 0) | (bounded >= 1)])) == {0.0, 1.0}
    assert np.abs(free).max() > 10


def test_mutation_rates_are_those_asked_for():
    space = Space(w=Free((100,)))
    ga = GeneticAlgorithm(population=1000, crossover_probability=0, mutation_probability=0.7, gene_probability=0.45)
    state = told(ga, np.arange(1000), space)
    changed = np.array([(child != state.z).sum(axis=1).min() for child in ga.ask(space, state)[0]])
    assert (changed > 0).mean() == pytest.approx(0.7, abs=0.05)
    assert changed[changed > 0].mean() / 100 == pytest.approx(0.45, abs=0.02)


def test_crossover_rate_is_that_asked_for():
    ga = GeneticAlgorithm(population=2000, crossover_probability=0.7, mutation_probability=0, tournament=1)
    space = Space(w=Free((3,)))
    state = told(ga, np.zeros(2000), space)
    parents = {tuple(row) for row in state.z}
    crossed = np.array([tuple(child) not in parents for child in ga.ask(space, state)[0]]).reshape(-1, 2)
    assert (crossed[:, 0] == crossed[:, 1]).mean() > 0.99  # pairs (0, 1), (2, 3); a pair of equals changes little
    assert crossed.mean() == pytest.approx(0.7, abs=0.05)


# What is remembered


def test_recommends_the_best_evaluation_so_far_and_never_a_failed_one():
    ga = GeneticAlgorithm(population=4)
    state = told(ga, [np.nan, 2.0, 2.0, 2.0])  # filled, the failed one equals the best
    best = state.z[1]
    np.testing.assert_array_equal(ga.recommend(SPACE, state), best)
    z, state = ga.ask(SPACE, state)
    state = ga.tell(SPACE, state, z, Evaluation(np.array([1.0, 0.0, -1.0, np.nan])))
    np.testing.assert_array_equal(ga.recommend(SPACE, state), best)
    z, state = ga.ask(SPACE, state)
    state = ga.tell(SPACE, state, z, Evaluation(np.array([1.0, 0.0, 2.5, np.nan])))
    np.testing.assert_array_equal(ga.recommend(SPACE, state), z[2])


def test_the_first_generation_is_a_sample_of_the_space():
    ga = GeneticAlgorithm(population=500)
    z, _ = ga.ask(SPACE, ga.init(SPACE, 3))
    assert z[:, :4].min() >= 0
    assert z[:, :4].max() <= 1
    assert z[:, 4:].std() == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1}, ValueError, r"GeneticAlgorithm.population: expected an integer >= 2, got 1"),
        ({"tournament": 0}, ValueError, "tournament: expected an integer >= 1, got 0; take 2 to 7"),
        ({"tournament": 2.5}, TypeError, "tournament: expected an integer"),
        ({"crossover": "two-point"}, ValueError, "crossover: .* did you mean 'two_point'"),
        ({"mutation": "gauss"}, ValueError, "did you mean 'gaussian'"),
        ({"crossover_probability": 1.1}, ValueError, r"crossover_probability: expected a number in \[0, 1\], got 1.1"),
        ({"mutation_probability": -0.1}, ValueError, "mutation_probability"),
        ({"gene_probability": float("nan")}, ValueError, "gene_probability"),
        ({"mutation_std": 0}, ValueError, "mutation_std: expected a number > 0, got 0; .* mutation_probability to 0"),
        ({"mutation_std": float("inf")}, ValueError, "mutation_std: expected finite"),
        ({"blend_alpha": -1}, ValueError, "blend_alpha"),
        ({"elites": 32}, ValueError, r"elites: expected fewer than population \(32\), got 32"),
        ({"elites": -1}, ValueError, "elites"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        GeneticAlgorithm(**fields)


def test_two_point_needs_two_genes():
    with pytest.raises(ValueError, match="2 or more coordinates for two_point, got 1; take blend"):
        GeneticAlgorithm(crossover="two_point").init(Space(x=Real(0, 1)), 1)


def test_several_objectives_are_refused():
    ga = GeneticAlgorithm()
    z, state = ga.ask(SPACE, ga.init(SPACE, 1))
    with pytest.raises(ValueError, match=r"expected one objective, got \(32, 2\)"):
        ga.tell(SPACE, state, z, Evaluation(np.zeros((32, 2))))


def test_another_number_of_individuals_is_refused():
    ga = GeneticAlgorithm()
    z, state = ga.ask(SPACE, ga.init(SPACE, 1))
    with pytest.raises(ValueError, match=r"z: expected an array of shape \(32, 7\), got shape \(31, 7\)"):
        ga.tell(SPACE, state, z[:31], Evaluation(np.zeros(31)))
    with pytest.raises(ValueError, match=r"fitness: expected an array of shape \(32\)"):
        ga.tell(SPACE, state, z, Evaluation(np.zeros(31)))
