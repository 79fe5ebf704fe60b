"""Variation: from the same random numbers the operators give DEAP's results; rates are those asked for."""

import random
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pytest
from deap import tools

from l2l_snn import Free, Real, Space
from l2l_snn.search.variation import Genes, blend, blocks, gaussian, tournament, uniform, vary
from l2l_snn.seeding import python_random

SETTINGS = {
    "tournament": 2,
    "crossover": "blend",
    "crossover_probability": 1.0,
    "blend_alpha": 0.5,
    "mutation": "gaussian",
    "mutation_probability": 1.0,
    "mutation_std": 0.1,
    "gene_probability": 1.0,
}


def varied(z, bounded=False, seed=1, **changes):
    """Return the children that `vary` makes of z (P, D)."""
    children = z.copy()
    shape = (z.shape[1],)
    space = Space(x=Real(0, 1, shape=shape) if bounded else Free(shape))
    vary(children, space, SimpleNamespace(**SETTINGS | changes), np.random.default_rng(seed))
    return children


@pytest.fixture
def deap_draws(monkeypatch):
    """Let DEAP's operators take their random numbers from given arrays."""

    def feed(uniforms, normals=()):
        uniform_numbers, normal_numbers = iter(np.ravel(uniforms).tolist()), iter(np.ravel(normals).tolist())
        monkeypatch.setattr(random, "random", lambda: next(uniform_numbers))
        monkeypatch.setattr(random, "gauss", lambda mean, std: mean + std * next(normal_numbers))
        return uniform_numbers, normal_numbers

    return feed


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5])
def test_blend_is_deaps_from_the_same_numbers(deap_draws, alpha):
    first, second = np.random.default_rng(1).normal(size=(2, 6, 9))
    ours = blend(first, second, alpha, np.random.default_rng(2))
    left, _ = deap_draws(np.random.default_rng(2).random(first.shape))
    theirs = [tools.cxBlend(a, b, alpha) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    np.testing.assert_array_equal(ours[0], [a for a, _ in theirs])
    np.testing.assert_array_equal(ours[1], [b for _, b in theirs])
    assert list(left) == []


def test_gaussian_is_deaps_from_the_same_numbers(deap_draws):
    z = np.random.default_rng(1).normal(size=(6, 9))
    ours = gaussian(z, 0.3, 0.45, np.random.default_rng(2))
    generator = np.random.default_rng(2)
    uniforms = generator.random(z.shape)
    left = deap_draws(uniforms, generator.standard_normal(int((uniforms < 0.45).sum())))
    theirs = [tools.mutGaussian(row, 0.0, 0.3, 0.45)[0] for row in z.tolist()]
    np.testing.assert_array_equal(ours, theirs)
    assert list(chain(*left)) == []
    assert 0 < (ours != z).mean() < 1


def test_two_point_on_rows_is_deaps_on_lists():
    rows = np.arange(24.0).reshape(2, 12)
    for seed in range(50):
        ours, theirs = rows.copy(), rows.tolist()
        random.seed(seed)
        tools.cxTwoPoint(Genes(ours[0]), Genes(ours[1]))
        random.seed(seed)
        tools.cxTwoPoint(*theirs)
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(np.sort(ours, axis=0), rows)  # nothing is lost by swapping views


def test_uniform_redraws_each_gene_as_the_space_samples_it():
    inside = np.repeat([True, False], 50)
    z = np.full((400, 100), 9.0)
    new = uniform(z, inside, 0.25, np.random.default_rng(1))
    bounded, free = new[:, :50], new[:, 50:]
    assert (new != 9.0).mean() == pytest.approx(0.25, abs=0.01)
    bounded, free = bounded[bounded != 9.0], free[free != 9.0]
    assert bounded.min() >= 0
    assert bounded.max() <= 1
    assert bounded.std() == pytest.approx(12**-0.5, abs=0.01)
    assert (free.mean(), free.std()) == pytest.approx((0, 1), abs=0.05)


def test_blocks_hold_every_row_once_in_order():
    for count, genes in ((0, 5), (1, 10**6), (22, 315), (717, 500)):
        parts = blocks(np.arange(count), genes)
        np.testing.assert_array_equal(np.concatenate(parts), np.arange(count))
        assert all(len(part) * genes <= 2**14 + genes for part in parts)
        assert len(parts) <= max(1, count)


@pytest.mark.parametrize("people", [1, 2, 7, 32, 1000, 1024])
@pytest.mark.parametrize("aspirants", [1, 4])
def test_tournament_is_deaps_from_the_same_numbers(people, aspirants):
    fitness = np.random.default_rng(1).integers(0, 9, people).astype(float)  # with ties, which the first drawn wins
    individuals = [SimpleNamespace(fitness=value, row=row) for row, value in enumerate(fitness.tolist())]
    for seed in range(5):
        ours = tournament(fitness, 40, aspirants, np.random.default_rng(seed))
        with python_random(np.random.default_rng(seed)):
            theirs = [winner.row for winner in tools.selTournament(individuals, 40, aspirants)]
        assert ours.tolist() == theirs


def test_tournament_selects_the_best_with_the_probability_of_goldberg_and_deb():
    rows = tournament(np.arange(10.0), 20000, 3, np.random.default_rng(1))
    shares = np.bincount(rows, minlength=10) / 20000
    expected = (np.arange(1, 11) / 10) ** 3 - (np.arange(10) / 10) ** 3
    np.testing.assert_allclose(shares, expected, atol=0.01)


def test_crossing_takes_neighbours_and_leaves_a_last_one_alone():
    z = np.random.default_rng(1).normal(size=(5, 6))
    for crossover in ("blend", "two_point"):
        children = varied(z, crossover=crossover, mutation_probability=0.0, blend_alpha=0.0)
        np.testing.assert_array_equal(children[4], z[4])
        np.testing.assert_allclose(children[0] + children[1], z[0] + z[1])
        np.testing.assert_allclose(children[2] + children[3], z[2] + z[3])
        assert not np.array_equal(children[:2], z[:2])


def test_two_point_children_are_deaps_pair_by_pair():
    z = np.arange(60.0).reshape(6, 10)
    ours = varied(z, crossover="two_point", mutation_probability=0.0)
    generator = np.random.default_rng(1)
    generator.random(3)  # which pairs cross: all
    theirs = z.tolist()
    with python_random(generator):
        for i in (0, 2, 4):
            tools.cxTwoPoint(theirs[i], theirs[i + 1])
    np.testing.assert_array_equal(ours, theirs)


def test_children_are_clipped_and_parents_are_left_alone_without_variation():
    z = np.random.default_rng(1).random((8, 5))
    children = varied(z, bounded=True, mutation_std=30.0)
    assert set(np.unique(children)) > {0.0, 1.0}
    assert ((children >= 0) & (children <= 1)).all()
    np.testing.assert_array_equal(varied(z, crossover_probability=0.0, mutation_probability=0.0), z)
    np.testing.assert_array_equal(varied(z, crossover_probability=0.0, gene_probability=0.0), z)
