"""MAP-Elites: the archive is that of the paper's pseudocode, variation has its law, a known map is found."""

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from optimizers.map_elites import MapElites, cells_of, coverage, qd_score

PROBE = {"descriptors": ("x0", "x1"), "low": (-1.0, -1.0), "high": (1.0, 1.0), "cells": (8, 8)}  # of check_optimizer
SPACE = Space(x=Real(0, 1, shape=(3,)), w=Free((2,)))
MAP = {"descriptors": ("a", "b"), "low": (0.0, -2.0), "high": (1.0, 2.0), "cells": (5, 4)}


@pytest.mark.parametrize(
    ("map_elites", "beats_random"),
    [
        (MapElites(**PROBE), True),
        (MapElites(**PROBE, variation="gaussian", sigma=0.3), True),
        (MapElites(**PROBE, population=7, random_generations=3, line_sigma=0.0), False),
        (MapElites(("x1",), (0.0,), (1e-3,), (1,), population=1), False),  # a single cell and individual
    ],
    ids=str,
)
def test_keeps_the_contract(map_elites, beats_random):
    require(check_optimizer(map_elites, beats_random=beats_random))


def told(map_elites, state, fitness, a, b):
    """Return z and the state after one more generation with this fitness and these descriptors."""
    z, state = map_elites.ask(SPACE, state)
    metrics = {"a": np.asarray(a, float), "b": np.asarray(b, float), "other": np.full(len(z), np.nan)}
    return z, map_elites.tell(SPACE, state, z, Evaluation(np.asarray(fitness, float), metrics))


# The archive


def test_cells_are_those_of_a_histogram():
    generator = np.random.default_rng(1)
    values = generator.uniform((-3, 0, 5), (4, 1, 5.1), (500, 3))
    low, high, cells = (-3.0, 0.0, 5.0), (4.0, 1.0, 5.1), (7, 1, 4)
    values[:2] = low, high  # numpy's last bin is closed too
    counts, _ = np.histogramdd(values, bins=cells, range=list(zip(low, high, strict=True)))
    np.testing.assert_array_equal(np.bincount(cells_of(values, low, high, cells), minlength=28), counts.ravel())


def test_descriptors_beyond_the_grid_belong_to_its_edge():
    far = np.array([[-9.0, 9.0], [1e300, -1e300], [0.5, 1e300]])
    np.testing.assert_array_equal(cells_of(far, (0, -2), (1, 2), (5, 4)), [0 * 4 + 3, 4 * 4 + 0, 2 * 4 + 3])


def test_the_archive_is_that_of_the_papers_loop():
    map_elites = MapElites(**MAP, population=30)
    state = map_elites.init(SPACE, 1)
    generator = np.random.default_rng(2)
    archive = {}  # cell -> fitness, z, descriptors
    for _ in range(12):
        fitness = generator.integers(-6, 6, 30).astype(float)  # with ties, in a generation and between them
        a, b = generator.uniform(-0.2, 1.2, 30), generator.uniform(-3, 3, 30)
        fitness[generator.random(30) < 0.1] = np.nan
        a[generator.random(30) < 0.1] = np.nan
        b[generator.random(30) < 0.1] = np.inf
        z, state = told(map_elites, state, fitness, a, b)
        for f, x, i, j in zip(fitness, z, a, b, strict=True):
            if np.isfinite([f, i, j]).all():
                cell = min(max(int(i * 5 // 1), 0), 4), min(max(int((j + 2) // 1), 0), 3)
                if cell not in archive or archive[cell][0] < f:
                    archive[cell] = f, x, (i, j)
        grid = state.fitness.reshape(5, 4)
        assert {tuple(cell) for cell in np.argwhere(np.isfinite(grid)).tolist()} == set(archive)
        for cell, (f, x, descriptors) in archive.items():
            row = np.ravel_multi_index(cell, (5, 4))
            assert state.fitness[row] == f
            np.testing.assert_array_equal(state.z[row], x)
            np.testing.assert_array_equal(state.descriptors[row], descriptors)
    assert coverage(state) == len(archive) / 20
    assert qd_score(state, -7.0) == sum(f + 7 for f, _, _ in archive.values())
    np.testing.assert_array_equal(map_elites.recommend(SPACE, state), state.z[np.nanargmax(state.fitness)])


def test_a_generation_that_failed_altogether_needs_no_metrics_and_changes_only_the_count():
    map_elites = MapElites(**MAP, population=4)
    _, state = told(map_elites, map_elites.init(SPACE, 1), [1, 2, 3, 4], [0.1, 0.3, 0.5, 0.7], [0, 0, 0, 0])
    z, asked = map_elites.ask(SPACE, state)
    after = map_elites.tell(SPACE, asked, z, Evaluation(np.full(4, np.nan)))
    for name in ("z", "fitness", "descriptors"):
        np.testing.assert_array_equal(getattr(after, name), getattr(state, name))
    assert after.told == 2


def test_before_any_success_it_samples_the_space_and_recommends_its_middle():
    map_elites = MapElites(**MAP, population=2000)
    state = map_elites.init(SPACE, 1)
    for _ in range(3):
        z, state = map_elites.ask(SPACE, state)
        state = map_elites.tell(SPACE, state, z, Evaluation(np.full(2000, np.nan)))
        mean, std = SPACE.center, SPACE.scale
        np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.1)
        np.testing.assert_allclose(z.std(axis=0), std, rtol=0.1)
        np.testing.assert_array_equal(map_elites.recommend(SPACE, state), [0.5, 0.5, 0.5, 0, 0])
    assert coverage(state) == 0
    assert qd_score(state, 0.0) == 0


def test_as_many_generations_are_random_as_asked_for():
    map_elites = MapElites(**MAP, population=50, random_generations=3, sigma=1e-9, line_sigma=0.0)
    state = map_elites.init(SPACE, 1)
    for generation in range(5):
        elites = state.z[np.isfinite(state.fitness)]
        z, state = told(map_elites, state, np.zeros(50), np.full(50, 0.5), np.zeros(50))
        near = len(elites) and np.abs(z - elites[0]).max() < 1e-7
        assert near == (generation >= 3)


# Variation


def children_of_two(**fields):
    """Return two elites and 40,000 children of them on free coordinates."""
    space = Space(w=Free((2,)))
    map_elites = MapElites(("a",), (0.0,), (1.0,), (9,), population=40_000, **fields)
    state = map_elites.init(space, 1)
    elites = np.array([[-1.0, -1.0], [2.0, 3.0]])
    archive = state.z.copy(), state.fitness.copy()
    archive[0][[2, 7]], archive[1][[2, 7]] = elites, 0.0
    z, _ = map_elites.ask(space, state._replace(told=np.array(1), z=archive[0], fitness=archive[1]))
    return elites, z


def test_iso_line_children_have_the_law_of_the_paper():
    elites, z = children_of_two(sigma=0.1, line_sigma=0.5)
    line = elites[1] - elites[0]
    length = np.linalg.norm(line)
    along, across = (z - elites[0]) @ line / length, (z - elites[0]) @ np.array([-line[1], line[0]]) / length
    # half of the pairs are two of the same: no step along the line. Parents at 0 and at `length`.
    assert across.std() == pytest.approx(0.1, rel=0.02)
    assert along.mean() == pytest.approx(length / 2, rel=0.02)
    assert along.var() == pytest.approx(length**2 / 4 + 0.1**2 + 0.5 * (0.5 * length) ** 2, rel=0.02)
    stayed = (np.abs(along) < 0.5) | (np.abs(along - length) < 0.5)
    assert stayed.mean() == pytest.approx(0.5 + 0.5 * 0.16, abs=0.05)  # P(|N(0, 2.5)| < 0.5) = 0.16


def test_gaussian_children_take_no_step_along_the_line():
    elites, z = children_of_two(variation="gaussian", sigma=0.1, line_sigma=0.5)
    nearest = np.linalg.norm(z[:, None] - elites[None], axis=2)
    steps = z - elites[nearest.argmin(axis=1)]
    np.testing.assert_allclose(np.cov(steps.T), 0.01 * np.eye(2), atol=5e-4)
    assert (nearest.argmin(axis=1) == 0).mean() == pytest.approx(0.5, abs=0.02)


def test_steps_are_in_units_of_the_samples_std_and_children_stay_in_bounds():
    map_elites = MapElites(("a",), (0.0,), (1.0,), (1,), population=20_000, sigma=0.1, variation="gaussian")
    state = map_elites.init(SPACE, 1)
    state = state._replace(told=np.array(1), z=SPACE.center[None], fitness=np.zeros(1))
    np.testing.assert_allclose(map_elites.ask(SPACE, state)[0].std(axis=0), 0.1 * SPACE.scale, rtol=0.03)
    z, _ = map_elites.ask(SPACE, state._replace(z=np.array([[0.0, 1.0, 0.5, 9.0, -9.0]])))
    assert z[:, :3].min() == 0
    assert z[:, :3].max() == 1
    assert z[:, 3].max() > 9


# What is found


@pytest.mark.parametrize(("variation", "sigma"), [("iso_line", 0.1), ("gaussian", 0.3)])
def test_a_map_with_known_elites_is_found(variation, sigma):
    # fitness = -|z - 0.5|^2 on six coordinates, described by the first two: the best of a cell has its point nearest
    # to the middle, and 0.5 in the other four
    space = Space(x=Real(0, 1, shape=(6,)))
    map_elites = MapElites(("a", "b"), (0.0, 0.0), (1.0, 1.0), (10, 10), variation=variation, sigma=sigma)
    state = map_elites.init(space, 1)
    for _ in range(300):
        z, state = map_elites.ask(space, state)
        state = map_elites.tell(
            space, state, z, Evaluation(-((z - 0.5) ** 2).sum(axis=1), {"a": z[:, 0], "b": z[:, 1]})
        )
    away = np.maximum(np.abs(np.arange(10) + 0.5 - 5) - 0.5, 0) / 10  # (10,) of a cell's nearest point from the middle
    known = -(away[:, None] ** 2 + away[None, :] ** 2)
    assert coverage(state) == 1
    assert np.all(state.fitness.reshape(10, 10) <= known + 1e-12)
    whole = qd_score(state._replace(fitness=known.ravel()), -1.5)
    assert qd_score(state, -1.5) > 0.97 * whole
    np.testing.assert_allclose(map_elites.recommend(space, state), 0.5, atol=0.1)


# Refusals


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        (
            {"descriptors": (), "low": (), "high": (), "cells": ()},
            ValueError,
            "descriptors: expected one or more names",
        ),
        ({"descriptors": ("a", "a")}, ValueError, "descriptors: expected different names"),
        ({"low": (0.0,)}, ValueError, r"MapElites.low: expected one number for each of a, b, got \(0.0,\)"),
        ({"cells": (5, 4, 3)}, ValueError, "MapElites.cells: expected one number for each"),
        ({"high": (1.0, -2.0)}, ValueError, "high: expected more than low, got low -2.0, high -2.0"),
        ({"high": (1.0, float("nan"))}, ValueError, "high: expected finite"),
        ({"cells": (5, 0)}, ValueError, "cells: expected an integer >= 1, got 0"),
        ({"cells": (2000, 2000)}, ValueError, "at most 1,000,000 cells in all, got 2000 x 2000; take fewer"),
        ({"population": 0}, ValueError, "population: expected an integer >= 1"),
        ({"random_generations": 0}, ValueError, "random_generations: expected an integer >= 1, got 0; the first"),
        ({"variation": "line"}, ValueError, "variation: .* did you mean 'iso_line'"),
        ({"sigma": 0.0}, ValueError, "sigma: expected a number > 0"),
        ({"sigma": float("inf")}, ValueError, "sigma: expected finite"),
        ({"line_sigma": -0.1}, ValueError, "line_sigma: expected a number >= 0, got -0.1; 0 leaves"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        MapElites(**{**MAP, **fields})


def test_a_descriptor_that_is_no_metric_is_refused():
    map_elites = MapElites(("rate", "b"), (0.0, 0.0), (1.0, 1.0), (2, 2), population=3)
    z, state = map_elites.ask(SPACE, map_elites.init(SPACE, 1))
    with pytest.raises(
        ValueError, match=r"descriptors: expected metrics of the optimizee, got 'rate'; did you .*'rates'"
    ):
        map_elites.tell(SPACE, state, z, Evaluation(np.zeros(3), {"rates": np.zeros(3), "b": np.zeros(3)}))
    with pytest.raises(ValueError, match="none are known here"):
        map_elites.tell(SPACE, state, z, Evaluation(np.zeros(3)))


def test_several_objectives_and_other_numbers_of_individuals_are_refused():
    map_elites = MapElites(**MAP, population=3)
    z, state = map_elites.ask(SPACE, map_elites.init(SPACE, 1))
    metrics = {"a": np.zeros(3), "b": np.zeros(3)}
    with pytest.raises(ValueError, match=r"MapElites: fitness: expected one objective, got \(3, 2\)"):
        map_elites.tell(SPACE, state, z, Evaluation(np.zeros((3, 2)), metrics))
    with pytest.raises(ValueError, match=r"MapElites: z: expected an array of shape \(3, 5\)"):
        map_elites.tell(SPACE, state, z[:2], Evaluation(np.zeros(3), metrics))
    with pytest.raises(ValueError, match=r"MapElites: metrics\['b'\]: expected an array of shape \(3\)"):
        map_elites.tell(SPACE, state, z, Evaluation(np.zeros(3), {"a": np.zeros(3), "b": np.zeros(2)}))
