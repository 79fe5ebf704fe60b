"""NSGA-II: operators equal DEAP's, fronts and crowding equal brute force, ZDT's fronts are reached."""

import random
from itertools import chain

import numpy as np
import pytest
from deap import tools
from deap.tools import emo

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.seeding import generator_of, python_random
from optimizers.nsga2 import NSGA2, candidates, pareto_front, polynomial, sbx, survivors

SPACE = Space(x=Real(-5, 5, shape=(4,)), w=Free((3,)))
VARIANTS = [
    NSGA2(),
    NSGA2(population=7),
    NSGA2(population=2),
    NSGA2(population=16, crossover_eta=0.0, mutation_eta=0.0, mutated_genes=99.0),
    NSGA2(population=5, crossover_probability=0.0, mutated_genes=0.0),
]
REFERENCE = 1.1  # of the hypervolume, in each objective to minimise


@pytest.mark.parametrize("nsga2", VARIANTS, ids=str)
def test_keeps_the_contract(nsga2):
    searches = nsga2.population > 5 and nsga2.mutated_genes < 99  # two, copies, or genes drawn anew can't win
    require(check_optimizer(nsga2, beats_random=searches))


def told(nsga2, fitness, space=SPACE, seed=1):
    """Return the state after a first generation with this fitness."""
    z, state = nsga2.ask(space, nsga2.init(space, seed))
    return nsga2.tell(space, state, z, Evaluation(np.asarray(fitness, float)))


# Operators against DEAP, from the same random numbers


@pytest.fixture
def deap_draws(monkeypatch):
    """Let DEAP's operators take their uniform numbers from a list; return what is left of it."""

    def feed(numbers):
        left = iter(numbers)
        monkeypatch.setattr(random, "random", lambda: next(left))
        return left

    return feed


@pytest.mark.parametrize("eta", [0.0, 2.0, 20.0])
@pytest.mark.parametrize("bounded", [True, False])
def test_sbx_is_deaps(deap_draws, eta, bounded):
    first, second = np.random.default_rng(1).random((2, 40, 6))
    first[:, 2] = second[:, 2]  # equal genes draw nothing and stay
    first[:20, 3], second[:20, 3] = 0.0, 1.0  # parents on the bounds
    low, high = np.repeat([[0.0], [1.0]] if bounded else [[-np.inf], [np.inf]], 6, axis=1)
    ours = sbx(first, second, low, high, eta, np.random.default_rng(2))

    generator = np.random.default_rng(2)
    gates = generator.random(first.shape)
    crossed = (gates <= 0.5) & (first != second)
    uniforms, swaps = np.zeros((2, *first.shape))
    uniforms[crossed], swaps[crossed] = generator.random((2, int(crossed.sum())))
    numbers = [
        [gates[i, j], uniforms[i, j], swaps[i, j]] if crossed[i, j] else [gates[i, j]]
        for i, j in np.ndindex(gates.shape)
    ]
    left = deap_draws(chain(*numbers))
    rows = list(zip(first.tolist(), second.tolist(), strict=True))
    theirs = [tools.cxSimulatedBinaryBounded(a, b, eta, low.tolist(), high.tolist()) for a, b in rows]
    assert list(left) == []
    assert 0.3 < crossed.mean() < 0.6
    for child in range(2):
        np.testing.assert_allclose(ours[child], [pair[child] for pair in theirs], rtol=1e-13, atol=1e-15)


def test_unbounded_sbx_keeps_the_mean_of_the_parents_and_spreads_by_its_law():
    first, second = np.zeros((1, 200_000)), np.ones((1, 200_000))
    none = np.full(200_000, np.inf)
    a, b = sbx(first, second, -none, none, 3.0, np.random.default_rng(1))
    np.testing.assert_allclose(a + b, 1.0, atol=1e-12)
    spread = np.abs(a - b)[(a != 0.0) & (a != 1.0)]  # beta: density 2 beta^3 within [0, 1], 2 / beta^5 beyond
    assert (spread < 1).mean() == pytest.approx(0.5, abs=0.01)
    assert spread.mean() == pytest.approx(2 / 5 + 2 / 3, abs=0.01)


@pytest.mark.parametrize("eta", [0.0, 2.0, 20.0])
def test_polynomial_mutation_is_deaps(deap_draws, eta):
    z = np.random.default_rng(1).uniform(-1, 3, (40, 6))
    z[:10, 0], z[:10, 1] = -1.0, 3.0  # on the bounds
    low, high = np.full(6, -1.0), np.full(6, 3.0)
    ours = polynomial(z, low, high, high - low, eta, 0.4, np.random.default_rng(2))

    generator = np.random.default_rng(2)
    gates = generator.random(z.shape)
    uniforms = np.zeros(z.shape)
    uniforms[gates <= 0.4] = generator.random(int((gates <= 0.4).sum()))
    numbers = [[g, u] if g <= 0.4 else [g] for g, u in zip(gates.flat, uniforms.flat, strict=True)]
    left = deap_draws(chain(*numbers))
    theirs = [tools.mutPolynomialBounded(row, eta, -1.0, 3.0, 0.4)[0] for row in z.tolist()]
    assert list(left) == []
    assert 0.2 < (ours != z).mean() < 0.6
    np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-14)


def test_polynomial_mutation_of_free_genes_is_the_bounded_one_with_bounds_far_away():
    z = np.random.default_rng(1).normal(size=(50, 4))
    none, width = np.full(4, np.inf), np.full(4, 2.0)
    free = polynomial(z, -none, none, width, 5.0, 0.7, np.random.default_rng(2))
    far = polynomial(z, np.full(4, -9.0), np.full(4, 9.0), width, 5.0, 0.7, np.random.default_rng(2))
    np.testing.assert_array_equal(free, far)
    assert 0 < np.abs(free - z).max() < 2.0


def test_tournaments_are_deaps_and_parents_come_at_most_twice():
    fitness = np.random.default_rng(3).integers(0, 5, (20, 2))  # with ties
    nsga2 = NSGA2(population=20, crossover_probability=0.0, mutated_genes=0.0)
    for seed in range(10):
        state = told(nsga2, fitness, seed=seed)
        entrants = candidates(state.fitness, np.arange(20))
        for front in tools.sortNondominated(entrants, 20):  # crowding by DEAP again, on its slow path
            emo.assignCrowdingDist(front)
        generator, _ = generator_of(state.words)
        generator.permutation(20)
        with python_random(generator):
            parents = tools.selTournamentDCD(entrants, 20)
        children, _ = nsga2.ask(SPACE, state)
        np.testing.assert_array_equal(children, state.z[[parent.row for parent in parents]])
        assert np.unique(children, axis=0, return_counts=True)[1].max() <= 2


# Fronts and crowding against brute force


def dominates(a, b):
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def brute_fronts(fitness):
    """Return the fronts, lists of rows, by taking away what nothing left dominates."""
    left, fronts = list(range(len(fitness))), []
    while left:
        fronts.append([i for i in left if not any(dominates(fitness[j], fitness[i]) for j in left)])
        left = [i for i in left if i not in fronts[-1]]
    return fronts


def brute_crowding(fitness, front):
    """Return row -> crowding distance of a front without ties, from each one's two neighbours in each objective."""
    distance = dict.fromkeys(front, 0.0)
    for column in fitness.T:
        span = column[front].max() - column[front].min()
        for i in front:
            below = [column[j] for j in front if column[j] < column[i]]
            above = [column[j] for j in front if column[j] > column[i]]
            distance[i] += (min(above) - max(below)) / span if below and above else np.inf
    return distance


@pytest.mark.parametrize("objectives", [1, 2, 3, 5])
def test_survivors_are_those_of_brute_force(objectives):
    for seed in range(5):
        fitness = np.random.default_rng(seed).normal(size=(40, objectives))
        rows, crowding = survivors(fitness, 20)
        fronts = brute_fronts(fitness)
        distance = {i: d for front in fronts for i, d in brute_crowding(fitness, front).items()}
        rest = rows.tolist()
        for front in fronts:
            taken, rest = rest[: len(front)], rest[len(front) :]
            assert set(taken) <= set(front)
            # which of several infinite distances comes first is nobody's business
            assert [distance[i] for i in taken] == sorted((distance[i] for i in front), reverse=True)[: len(taken)] or (
                len(taken) == len(front)
            )
        np.testing.assert_allclose(crowding * objectives if objectives > 1 else crowding, [distance[i] for i in rows])
        assert len(set(rows.tolist())) == 20


def test_survivors_with_ties_are_of_the_best_fronts():
    for seed in range(10):
        fitness = np.random.default_rng(seed).integers(0, 4, (30, 3)).astype(float)
        rows, _ = survivors(fitness, 15)
        level = {i: k for k, front in enumerate(brute_fronts(fitness)) for i in front}
        assert [level[i] for i in rows] == sorted(level.values())[:15]
        assert len(set(rows.tolist())) == 15


def test_the_front_is_that_of_brute_force():
    for objectives in (1, 2, 3):
        fitness = np.random.default_rng(objectives).integers(0, 6, (60, objectives)).astype(float)
        np.testing.assert_array_equal(pareto_front(fitness), brute_fronts(fitness)[0])
    assert pareto_front(np.full((3, 2), np.nan)).size == 0


# What is learnt


def zdt(kind, z):
    """Return (P, 2) fitness of Zitzler, Deb & Thiele (2000) for z in [0, 1]; the fronts have g = 1."""
    f1, g = z[:, 0], 1 + 9 * z[:, 1:].mean(axis=1)
    return -np.stack([f1, g * (1 - (np.sqrt(f1 / g) if kind == 1 else (f1 / g) ** 2))], axis=1)


def hypervolume(fitness):
    """Return the area that dominates REFERENCE, by a sweep over the first objective."""
    area, top = 0.0, REFERENCE
    for f1, f2 in sorted((-fitness).tolist()):
        if f1 < REFERENCE and f2 < top:
            area += (REFERENCE - f1) * (top - f2)
            top = f2
    return area


@pytest.mark.parametrize(("kind", "integral"), [(1, 2 / 3), (2, 1 / 3)])  # of 1 - f2 over the front, f1 from 0 to 1
def test_the_hypervolume_of_zdt_is_reached_within_the_papers_25000_evaluations(kind, integral):
    space = Space(x=Real(0, 1, shape=(30,)))
    whole = integral + (REFERENCE - 1) + (REFERENCE - 1) * REFERENCE
    nsga2 = NSGA2()
    state = nsga2.init(space, 1)
    for _ in range(250):
        z, state = nsga2.ask(space, state)
        state = nsga2.tell(space, state, z, Evaluation(zdt(kind, z)))
    assert 0.98 < hypervolume(state.fitness) / whole < 1
    f1 = np.sort(-state.fitness[:, 0])
    assert f1[0] < 0.01
    assert f1[-1] > 0.98
    assert np.diff(f1).max() < 0.06  # spread along the front, no gap


def test_one_objective_is_an_elitist_search_of_an_ill_conditioned_ellipsoid():
    nsga2 = NSGA2(population=40)
    scale = np.logspace(0, 3, 7)
    state = nsga2.init(SPACE, 1)
    best = []
    for _ in range(200):
        z, state = nsga2.ask(SPACE, state)
        state = nsga2.tell(SPACE, state, z, Evaluation(-(scale * (z - 0.3) ** 2).sum(axis=1)))
        best.append(state.fitness.max())
    assert np.all(np.diff(best) >= 0)
    assert best[-1] > 0.003 * best[0]


def test_failures_rank_last_and_the_newest_of_them_stay():
    fitness = np.array([[np.nan, 9.0], [-5.0, -5.0], [np.nan, np.nan], [0.0, 0.0], [9.0, np.inf]])
    rows, crowding = survivors(fitness, 4)
    assert rows.tolist() == [3, 1, 4, 2]
    np.testing.assert_array_equal(crowding, [np.inf, np.inf, 0.0, 0.0])


def test_with_one_objective_too_failures_rank_last_and_the_newest_of_them_stay():
    rows, crowding = survivors(np.array([[np.nan], [-5.0], [np.nan], [np.nan], [3.0], [-5.0]]), 5)
    assert rows.tolist() == [4, 1, 5, 3, 2]
    np.testing.assert_array_equal(crowding, [np.inf, np.inf, np.inf, 0.0, 0.0])


def test_a_success_drives_failures_out_of_tournaments_and_of_the_population():
    nsga2 = NSGA2(population=8, crossover_probability=0.0, mutated_genes=0.0)
    fitness = np.full((8, 2), np.nan)
    fitness[:4] = [[-8, -5], [-7, -6], [-6, -7], [-5, -8]]
    state = told(nsga2, fitness)
    good = {tuple(row) for row in state.z[:4]}
    for seed in range(5):
        children, _ = nsga2.ask(SPACE, state._replace(words=state.words + np.array([seed, 0], np.uint64)))
        assert sum(tuple(child) in good for child in children) >= 4  # no failed one beats a good one
    z, state = nsga2.ask(SPACE, state)
    worse = np.repeat([[-9.0, -9.0]], 8, axis=0) - np.arange(8)[:, None]
    state = nsga2.tell(SPACE, state, z, Evaluation(worse))
    assert np.isfinite(state.fitness).all()


def test_recommends_the_compromise_nearest_the_ideal_point():
    nsga2 = NSGA2(population=5)
    # a front of four, scaled very differently, and one that is dominated; distances by hand: row 2 is the nearest
    state = told(nsga2, [[0.0, 1000.0], [4.0, 900.0], [8.0, 700.0], [10.0, 0.0], [3.0, 100.0]])
    z, _ = nsga2.ask(SPACE, nsga2.init(SPACE, 1))
    np.testing.assert_array_equal(nsga2.recommend(SPACE, state), z[2])


def test_recommends_the_best_so_far_of_one_objective_and_never_a_failed_one():
    nsga2 = NSGA2(population=4)
    state = told(nsga2, [np.nan, 2.0, 1.0, 0.0])
    z, asked = nsga2.ask(SPACE, state)
    first, _ = nsga2.ask(SPACE, nsga2.init(SPACE, 1))
    np.testing.assert_array_equal(nsga2.recommend(SPACE, state), first[1])
    np.testing.assert_array_equal(
        nsga2.recommend(SPACE, nsga2.tell(SPACE, asked, z, Evaluation(np.full(4, np.nan)))), first[1]
    )
    np.testing.assert_array_equal(nsga2.recommend(SPACE, nsga2.tell(SPACE, asked, z, Evaluation(np.arange(4.0)))), z[3])


@pytest.mark.parametrize("genes", [0.0, 99.0])
def test_children_stay_in_bounds_and_a_parent_told_from_outside_does_no_harm(genes):
    nsga2 = NSGA2(crossover_probability=0.5, crossover_eta=0.0, mutation_eta=0.0, mutated_genes=genes)
    z, state = nsga2.ask(SPACE, nsga2.init(SPACE, 1))
    outside = z * 3 - 1
    state = nsga2.tell(SPACE, state, outside, Evaluation(np.random.default_rng(1).normal(size=(100, 2))))
    children, _ = nsga2.ask(SPACE, state)
    assert children[:, :4].min() >= 0
    assert children[:, :4].max() <= 1
    assert np.abs(children[:, 4:]).max() > 1


def test_as_many_genes_mutate_as_asked_for():
    nsga2 = NSGA2(population=2000, crossover_probability=0.0, mutated_genes=2.0)
    space = Space(w=Free((50,)))
    state = told(nsga2, np.zeros(2000), space)
    children, _ = nsga2.ask(space, state)
    values = [set(column) for column in state.z.T]
    changed = sum(gene not in values[j] for child in children.tolist() for j, gene in enumerate(child))
    assert changed / 2000 == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"population": 1}, ValueError, r"NSGA2.population: expected an integer >= 2, got 1; a pair"),
        ({"population": 4.0}, TypeError, "population: expected an integer"),
        ({"crossover_probability": 1.5}, ValueError, r"crossover_probability: expected a number in \[0, 1\], got 1.5"),
        ({"crossover_eta": -1}, ValueError, r"crossover_eta: expected a number in \[0, 1000\], got -1; take 5 to 30"),
        ({"mutation_eta": float("inf")}, ValueError, "mutation_eta"),
        ({"mutated_genes": -1.0}, ValueError, "mutated_genes: expected a number >= 0"),
        ({"mutated_genes": float("inf")}, ValueError, "mutated_genes: expected finite"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        NSGA2(**fields)


def test_another_number_of_individuals_or_objectives_is_refused():
    nsga2 = NSGA2(population=4)
    state = told(nsga2, np.zeros((4, 2)))
    z, state = nsga2.ask(SPACE, state)
    with pytest.raises(ValueError, match=r"NSGA2: z: expected an array of shape \(4, 7\)"):
        nsga2.tell(SPACE, state, z[:3], Evaluation(np.zeros((3, 2))))
    with pytest.raises(ValueError, match=r"NSGA2: fitness: expected an array of shape \(4, 2\), got shape \(4, 3\)"):
        nsga2.tell(SPACE, state, z, Evaluation(np.zeros((4, 3))))
    with pytest.raises(ValueError, match="one objective or more"):
        told(nsga2, np.zeros((4, 0)))


@pytest.mark.parametrize("people", [3, 5, 24, 41])
def test_after_a_change_of_p_the_best_of_old_parents_and_new_children_live_on(people):
    before, after = NSGA2(population=10), NSGA2(population=people)
    space = Space(x=Real(0, 1, shape=(4,)))
    z, state = before.ask(space, before.init(space, 1))
    state = before.tell(space, state, z, Evaluation(-np.sum((z - 0.3) ** 2, axis=1)))
    parents = state.z
    children, state = after.ask(space, after.resized(space, state))
    assert children.shape == (people, 4)
    state = after.tell(space, state, children, Evaluation(-np.sum((children - 0.3) ** 2, axis=1)))
    everyone = np.concatenate([parents, children])
    best = np.sort(-np.sum((everyone - 0.3) ** 2, axis=1))[::-1][:people]
    np.testing.assert_allclose(state.fitness[:, 0], best)
    z, _ = after.ask(space, state)
    assert z.shape == (people, 4)
