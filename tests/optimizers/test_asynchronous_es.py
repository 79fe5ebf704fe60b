"""The asynchronous evolution strategy is SNES told in another way, and climbs with many under way."""

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from optimizers.asynchronous_es import AsynchronousES
from optimizers.snes import SNES

SPACE = Space(x=Real(-1, 1, shape=(2,)), w=Free((3,)))


def sphere(z):
    return -np.sum((z - 0.7) ** 2, axis=1)


@pytest.mark.parametrize(
    "es", [AsynchronousES(children=32), AsynchronousES(population=8), AsynchronousES(population=7, children=3)], ids=str
)
def test_keeps_the_contract(es):
    require(check_optimizer(es, generations=100 if es.children > 3 else 1000))


def test_told_whole_generations_it_is_snes():
    es, snes = AsynchronousES(population=16, children=16), SNES(population=16)
    ours, theirs = es.init(SPACE, 3), snes.init(SPACE, 3)
    for generation in range(8):
        z, ours = es.ask(SPACE, ours)
        _, theirs = snes.ask(SPACE, theirs)
        fitness = np.where(np.arange(16) == generation, np.nan, sphere(z))  # with a failure
        ours, theirs = es.tell(SPACE, ours, z, Evaluation(fitness)), snes.tell(SPACE, theirs, z, Evaluation(fitness))
        np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-12)
        np.testing.assert_allclose(ours.sigma, theirs.sigma, rtol=1e-12)


def test_one_by_one_is_all_at_once():
    es = AsynchronousES(population=6, children=15)
    z, state = es.ask(SPACE, es.init(SPACE, 1))
    together = es.tell(SPACE, state, z, Evaluation(sphere(z)))
    for i in range(15):
        state = es.tell(SPACE, state, z[i : i + 1], Evaluation(sphere(z[i : i + 1])))
    assert [a.tobytes() for a in state] == [a.tobytes() for a in together]
    assert int(state.told) == 3


def test_it_climbs_with_many_under_way_that_come_back_in_any_order():
    es = AsynchronousES(population=24)
    generator = np.random.default_rng(4)
    state, under_way = es.init(SPACE, 1), []
    for _ in range(3000):
        while len(under_way) < 8:
            z, state = es.ask(SPACE, state)
            under_way.append(z)
        z = under_way.pop(generator.integers(8))
        state = es.tell(SPACE, state, z, Evaluation(sphere(z)))
    assert sphere(es.recommend(SPACE, state)[None])[0] > -1e-8


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"population": 1}, "AsynchronousES.population: expected an integer >= 2, got 1"),
        ({"children": 0}, "AsynchronousES.children"),
        ({"sigma": 0.0}, "AsynchronousES.sigma"),
        ({"mean_rate": float("nan")}, "AsynchronousES.mean_rate"),
    ],
)
def test_bad_hyper_parameters_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        AsynchronousES(**fields)


def test_several_objectives_and_wrong_shapes_are_refused():
    es = AsynchronousES()
    z, state = es.ask(SPACE, es.init(SPACE, 1))
    with pytest.raises(ValueError, match="expected one objective"):
        es.tell(SPACE, state, z, Evaluation(np.zeros((1, 2))))
    with pytest.raises(ValueError, match="AsynchronousES: z"):
        es.tell(SPACE, state, z[:, :2], Evaluation(np.zeros(1)))


def test_what_was_told_before_a_change_is_learned_from_after_it():
    es, snes = AsynchronousES(population=10, children=2), SNES(population=7)
    space = Space(w=Free((3,)))
    start = es.init(space, 1)
    z = np.random.default_rng(1).normal(size=(7, 3))
    evaluation = Evaluation(-np.sum((z - 1) ** 2, axis=1))
    told = es.tell(space, start, z, evaluation)
    small = es.sized(5, 3)
    assert small == AsynchronousES(population=5, children=1)
    shrunk = small.resized(space, told)  # seven are more than the five that make an update: it's due, with all seven
    expected = snes.tell(space, snes.init(space, 1), z, evaluation)
    np.testing.assert_array_equal(shrunk.mean, expected.mean)
    np.testing.assert_array_equal(shrunk.sigma, expected.sigma)
    assert (int(shrunk.told), len(shrunk.z)) == (0, 5)
    large = es.sized(20, 3)
    grown = large.resized(space, told)
    assert (int(grown.told), len(grown.z), large.children) == (7, 20, 4)
    np.testing.assert_array_equal(grown.z[:7], z)
    rest = np.random.default_rng(2).normal(size=(13, 3))
    later = large.tell(space, grown, rest, Evaluation(-np.sum((rest - 1) ** 2, axis=1)))
    both = np.concatenate([z, rest])
    whole = SNES(population=20)
    expected = whole.tell(space, whole.init(space, 1), both, Evaluation(-np.sum((both - 1) ** 2, axis=1)))
    np.testing.assert_array_equal(later.mean, expected.mean)
