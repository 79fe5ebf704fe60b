"""Random search: samples like the space, keeps the best."""

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.seeding import generator_of
from optimizers.random_search import RandomSearch

SPACE = Space(x=Real(0, 1, shape=(2,)), w=Free((3,)))


@pytest.mark.parametrize("search", [RandomSearch(), RandomSearch(population=1)], ids=str)
def test_keeps_the_contract(search):
    require(check_optimizer(search, beats_random=False))


def test_each_generation_is_a_fresh_sample_of_the_space():
    search = RandomSearch(population=5)
    state = search.init(SPACE, 3)
    z, later = search.ask(SPACE, state)
    np.testing.assert_array_equal(z, SPACE.sample(generator_of(state.words)[0], 5))
    assert not np.isin(search.ask(SPACE, later)[0], z).any()


def test_keeps_the_best_that_did_not_fail():
    search = RandomSearch(population=3)
    z, state = search.ask(SPACE, search.init(SPACE, 1))
    state = search.tell(SPACE, state, z, Evaluation(np.array([np.nan, 1.0, 0.0])))
    np.testing.assert_array_equal(search.recommend(SPACE, state), z[1])
    z2, state = search.ask(SPACE, state)
    state = search.tell(SPACE, state, z2, Evaluation(np.array([0.5, np.nan, 1.0])))
    np.testing.assert_array_equal(search.recommend(SPACE, state), z[1])
    state = search.tell(SPACE, state, z2, Evaluation(np.array([0.5, np.nan, 1.5])))
    np.testing.assert_array_equal(search.recommend(SPACE, state), z2[2])


def test_of_several_objectives_the_first_counts():
    search = RandomSearch(population=2)
    z, state = search.ask(SPACE, search.init(SPACE, 1))
    state = search.tell(SPACE, state, z, Evaluation(np.array([[0.0, 9.0], [1.0, 0.0]])))
    np.testing.assert_array_equal(search.recommend(SPACE, state), z[1])


def test_wrong_use_is_refused():
    with pytest.raises(ValueError, match=r"RandomSearch.population: expected an integer >= 1, got 0"):
        RandomSearch(population=0)
    search = RandomSearch(population=2)
    z, state = search.ask(SPACE, search.init(SPACE, 1))
    with pytest.raises(ValueError, match="RandomSearch: fitness"):
        search.tell(SPACE, state, z, Evaluation(np.zeros(3)))
