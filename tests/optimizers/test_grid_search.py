"""Grid search: every combination once a pass, in the order asked for."""

import itertools

import numpy as np
import pytest

from l2l_snn import Choice, Evaluation, Free, Integer, Real, Space
from l2l_snn.checks import check_optimizer, require
from optimizers.grid_search import GridSearch, coarseness, level_values

SPACE = Space(
    tau=Real(5, 50, log=True), hidden=Integer(1, 4), rule=Choice("stdp", "eprop", "bptt"), w=Free((2,), scale=0.5)
)


def asked(grid, space, generations, seed=1):
    """Return the z (generations, P, D) of a run."""
    state, all_z = grid.init(space, seed), []
    for _ in range(generations):
        z, state = grid.ask(space, state)
        state = grid.tell(space, state, z, Evaluation(np.zeros(len(z))))
        all_z.append(z)
    return np.array(all_z)


@pytest.mark.parametrize(
    "grid",
    [
        GridSearch(),
        GridSearch(population=1, points=3, order="coarse"),
        GridSearch(population=7, points={"bounded": 3, "free": 2}),
    ],
    ids=str,
)
def test_keeps_the_contract(grid):
    require(check_optimizer(grid, beats_random=False))


def test_lexicographic_keeps_the_contract_but_for_the_seed_that_it_does_not_use():
    checks = check_optimizer(GridSearch(population=3, order="lexicographic"), beats_random=False)
    failed = [check.claim for check in checks if not check.ok]
    assert failed == ["gives the same bytes for the same seed, others for another"]


@pytest.mark.parametrize("order", ["random", "coarse", "lexicographic"])
def test_a_pass_holds_every_combination_of_decoded_values_once(order):
    grid = GridSearch(population=18, points={"tau": 3, "hidden": 9, "w": 2}, order=order)
    assert grid.size(SPACE) == 3 * 4 * 3 * 2 * 2
    rows = asked(grid, SPACE, 8).reshape(-1, SPACE.size)
    decoded = [SPACE.decode(z) for z in rows]
    found = {(round(p["tau"], 9), p["hidden"], p["rule"], *p["w"].tolist()) for p in decoded}
    middle = round(float(np.sqrt(5 * 50)), 9)  # of a log scale
    expected = set(
        itertools.product([5.0, middle, 50.0], [1, 2, 3, 4], ["stdp", "eprop", "bptt"], [-1.0, 1.0], [-1.0, 1.0])
    )
    assert len(rows) == 144
    assert found == expected


def test_lexicographic_is_the_order_of_itertools():
    space = Space(a=Real(0, 1), b=Integer(0, 1), c=Real(0, 1))
    z = asked(GridSearch(population=12, points={"a": 2, "b": 2, "c": 3}, order="lexicographic"), space, 1)[0]
    np.testing.assert_array_equal(z, list(itertools.product([0.0, 1.0], [0.25, 0.75], [0.0, 0.5, 1.0])))


def test_after_the_end_the_same_order_begins_again():
    space = Space(a=Real(0, 1, shape=(2,)))
    for order in ("random", "coarse", "lexicographic"):
        rows = asked(GridSearch(population=4, points=3, order=order), space, 9).reshape(-1, 2)
        np.testing.assert_array_equal(rows[9:18], rows[:9])
        np.testing.assert_array_equal(rows[27:36], rows[:9])
        assert len(np.unique(rows[:9], axis=0)) == 9


def test_coarse_begins_with_the_middle_and_the_corners_and_every_prefix_is_spread():
    space = Space(a=Real(0, 1, shape=(2,)))
    rows = asked(GridSearch(population=81, points=9, order="coarse"), space, 1)[0]
    np.testing.assert_array_equal(rows[0], [0.5, 0.5])
    corners_and_middles = set(itertools.product([0.0, 0.5, 1.0], repeat=2))
    assert {tuple(row) for row in rows[:9]} == corners_and_middles
    assert {tuple(row) for row in rows[:25]} == set(itertools.product([0.0, 0.25, 0.5, 0.75, 1.0], repeat=2))
    other = asked(GridSearch(population=81, points=9, order="coarse"), space, 1, seed=2)[0]
    assert not np.array_equal(rows, other)  # random within a pass


def test_each_level_has_a_pass_and_no_gap_is_much_larger_than_another():
    for count in range(1, 70):
        passes = coarseness(count)
        assert (passes == 0).sum() == 1
        for last in range(2, passes.max() + 1):
            gaps = np.diff(np.flatnonzero(passes <= last))
            assert np.abs(gaps - max(1, (count - 1) / 2 ** (last - 1))).max() <= 1


def test_random_order_is_another_for_another_seed():
    first, again, other = (asked(GridSearch(points=2, population=32), SPACE, 1, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_levels_meet_the_ends_and_integers_their_values():
    np.testing.assert_array_equal(level_values(Real(5, 50), 5, 2.0), [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_array_equal(level_values(Real(5, 50), 1, 2.0), [0.5])
    np.testing.assert_array_equal(level_values(Free(), 1, 2.0), [0.0])
    for count in range(1, 12):
        parameter = Integer(-3, 6)
        values = parameter.decode(level_values(parameter, count, 2.0))
        assert len(set(values.tolist())) == min(count, 10)
        if count > 1:
            assert (values[0], values[-1]) == (-3, 6)
    ordered = Choice("a", "b", "c", ordered=True)
    assert ordered.decode(level_values(ordered, 1, 2.0)).tolist() == ["a", "b", "c"]
    assert level_values(Choice("a", "b", "c"), 1, 2.0).tolist() == [0, 1, 2]


def test_recommends_the_best_point_and_before_any_success_the_middle():
    space = Space(a=Real(0, 1), w=Free())
    grid = GridSearch(population=5, points=5)
    state = grid.init(space, 1)
    np.testing.assert_array_equal(grid.recommend(space, state), [0.5, 0.0])
    for _ in range(5):
        z, state = grid.ask(space, state)
        state = grid.tell(space, state, z, Evaluation(-np.abs(z - [0.75, -1.0]).sum(axis=1)))
    np.testing.assert_array_equal(grid.recommend(space, state), [0.75, -1.0])


def test_the_largest_grid_by_default_asks_in_milliseconds_of_memory_not_stored():
    space = Space(a=Real(0, 1, shape=(5,)))
    grid = GridSearch(points=10, order="coarse")
    state = grid.init(space, 1)
    z, later = grid.ask(space, state)
    assert z.shape == (32, 5)
    assert sum(value.nbytes for value in later) < 1000  # the 100,000 points aren't in the state


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"population": 0}, r"GridSearch.population: expected an integer >= 1, got 0"),
        ({"points": 0}, r"GridSearch.points: expected an integer >= 1, got 0"),
        ({"points": {"tau": 0}}, r"GridSearch.points.tau: expected an integer >= 1, got 0"),
        ({"order": "coarsest"}, r"GridSearch.order: .* did you mean 'coarse'"),
        ({"reach": 0.0}, r"GridSearch.reach: expected a number in \(0, 1e\+06\], got 0"),
        ({"limit": 0}, r"GridSearch.limit"),
        ({"points": 10**12}, r"GridSearch.points: expected at most limit \(100000\), got 1000000000000"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        GridSearch(**fields)


@pytest.mark.parametrize(
    ("grid", "text"),
    [
        (
            GridSearch(limit=100),
            r"points: expected a grid of at most limit \(100\) points, got 1500 points; take",
        ),
        (GridSearch(points={"tau": 3, "w": 2}), "expected a number of levels for 'hidden', got none"),
        (GridSearch(points={"tua": 3}), "got 'tua'; did you mean 'tau'"),
        (GridSearch(points={"tau": 3, "hidden": 2, "w": 2, "rule": 2}), r"points.rule: expected one of 3, got 2"),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(grid, text):
    with pytest.raises(ValueError, match=text):
        grid.init(SPACE, 1)


def test_a_grid_beyond_all_memory_is_refused_at_once():
    with pytest.raises(ValueError, match=r"got 10\^349 points"):
        GridSearch().init(Space(w=Free((500,))), 1)


def test_another_number_of_individuals_is_refused():
    grid = GridSearch(population=4)
    z, state = grid.ask(SPACE, grid.init(SPACE, 1))
    with pytest.raises(ValueError, match=r"GridSearch: fitness: expected an array of shape \(4\)"):
        grid.tell(SPACE, state, z, Evaluation(np.zeros(3)))


def test_a_grid_beyond_all_printing_is_refused_too():
    with pytest.raises(ValueError, match=r"GridSearch.points: expected a grid of at most limit .* got 10\^6989 points"):
        GridSearch(points=5).init(Space(w=Free((10_000,))), 1)


def test_batches_of_another_size_go_on_with_the_same_grid():
    small, large = GridSearch(population=4, points=3), GridSearch(population=7, points=3)
    space = Space(x=Real(0, 1, shape=(3,)))
    whole = GridSearch(population=27, points=3)
    expected, _ = whole.ask(space, whole.init(space, 1))
    state, asked = small.init(space, 1), []
    for grid in (small, large, large, small, small, GridSearch(population=1, points=3)):
        z, state = grid.ask(space, grid.resized(space, state))
        asked.append(z)
    np.testing.assert_array_equal(np.concatenate(asked), expected)
