"""Restarts and changing populations: when they happen, with what size, and that a resumed run does the same."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Space
from l2l_snn.checks.optimizer import stored
from l2l_snn.job import Job, JobError, change
from l2l_snn.optimizer import Optimizer
from l2l_snn.population import Repopulated
from optimizers.cma_es import CMAES
from optimizers.cross_entropy import CrossEntropy
from optimizers.enkf import EnsembleKalmanFilter
from optimizers.ga import GeneticAlgorithm
from optimizers.openai_es import OpenES
from optimizers.pgpe import PGPE
from optimizers.random_search import RandomSearch

SPACE = Space(x=Free((3,)))


def sphere(z):
    return Evaluation(-np.sum((z - 1.0) ** 2, axis=1))


def flat(z):
    return Evaluation(np.zeros(len(z)))


def follow(optimizer: Optimizer, generations: int, evaluate=sphere, seed: int = 1):
    """Return the z of each generation, and the last state."""
    state, asked = optimizer.init(SPACE, seed), []
    for _ in range(generations):
        z, state = optimizer.ask(state)
        asked.append(z)
        state = optimizer.tell(state, z, evaluate(z))
    return asked, state


def sizes(optimizer: Optimizer, generations: int, evaluate=sphere) -> list[int]:
    return [len(z) for z in follow(optimizer, generations, evaluate)[0]]


def test_a_stagnating_run_starts_again_with_a_population_twice_as_large():
    ipop = Repopulated(CMAES(population=6), stagnation=3, growth=2.0, times=2)
    # the first generation of a start is its best; three more without a better one end it
    assert sizes(ipop, 14, flat) == [6] * 4 + [12] * 4 + [24] * 6


def test_a_restart_is_a_new_sample_and_keeps_the_best_of_all():
    again = Repopulated(RandomSearch(population=4), stagnation=1)
    values = iter([5.0, 1.0, 2.0, 2.0])
    asked, state = follow(again, 4, lambda z: Evaluation(np.full(len(z), next(values))))
    assert int(state.course_restarts) == 2
    np.testing.assert_array_equal(again.recommend(state), asked[0][0])
    assert len({z.tobytes() for z in asked}) == 4


def test_without_stagnation_nothing_changes():
    plain, wrapped = GeneticAlgorithm(population=8), Repopulated(GeneticAlgorithm(population=8), stagnation=1000)
    a, last = follow(plain, 5)
    b, state = follow(wrapped, 5)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(wrapped.recommend(state), plain.recommend(last))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"factor": 1.5}, [8, 12, 18, 28, 40]),
        ({"factor": 1.5, "every": 2}, [8, 8, 12, 12, 18]),
        ({"factor": 2.0, "limit": 20}, [8, 16, 20, 20, 20]),
        ({"factor": 0.5}, [8, 4, 4, 4, 4]),
    ],
)
@pytest.mark.parametrize(
    "optimizer", [kind(population=8) for kind in (GeneticAlgorithm, RandomSearch, OpenES, PGPE)], ids=str
)
def test_a_population_grows_or_shrinks_by_its_factor(optimizer, fields, expected):
    assert sizes(Repopulated(optimizer, **fields), 5) == expected


def test_a_population_never_shrinks_below_what_the_optimizer_takes():
    narrow = CrossEntropy(population=32, rho=0.2)  # it wants two elites
    shrunk = sizes(Repopulated(narrow, factor=0.5), 4)
    assert shrunk[:2] == [32, 16]
    CrossEntropy(population=shrunk[-1], rho=0.2)
    with pytest.raises(ValueError, match="elites"):
        CrossEntropy(population=shrunk[-1] - 1, rho=0.2)


def test_a_population_of_the_optimizers_own_choice_grows_too():
    own = sizes(CMAES(), 1)[0]
    assert sizes(Repopulated(CMAES(), stagnation=1, growth=3.0), 3, flat) == [own, own, 2 * round(3 * own / 2)]


@pytest.mark.parametrize(
    "optimizer",
    [
        Repopulated(CMAES(population=4), stagnation=2, growth=2.0),
        Repopulated(GeneticAlgorithm(population=8), factor=1.3),
        Repopulated(RandomSearch(population=4), stagnation=2, growth=1.0, factor=0.8, every=2),
    ],
    ids=str,
)
def test_a_stored_and_resumed_run_does_the_same(optimizer):
    whole, last = follow(optimizer, 12, lambda z: Evaluation(np.round(-np.sum(z**2, axis=1))))
    for stop in (1, 5, 8):
        _, state = follow(optimizer, stop, lambda z: Evaluation(np.round(-np.sum(z**2, axis=1))))
        state = stored(state)
        for z in whole[stop:]:
            again, state = optimizer.ask(state)
            np.testing.assert_array_equal(again, z)
            state = optimizer.tell(state, z, Evaluation(np.round(-np.sum(z**2, axis=1))))
        assert [array.tobytes() for array in state] == [array.tobytes() for array in last]


def test_a_generation_that_failed_counts_as_one_without_a_better_individual():
    again = Repopulated(RandomSearch(population=4), stagnation=2, growth=2.0)
    assert sizes(again, 4, lambda z: Evaluation(np.full(len(z), np.nan))) == [4, 4, 8, 8]


def job(**entries) -> Job:
    classes = {
        "optimizee": {"class": "optimizees.functions:Function"},
        "optimizer": {"class": "optimizers.random_search:RandomSearch"},
    }
    return change(Job.model_validate(classes), [f"{key}={json.dumps(value)}" for key, value in entries.items()])


@dataclass(frozen=True)
class Fixed(RandomSearch):
    """A random search that claims one size."""

    resizable = False


def test_a_job_asks_for_both():
    _, optimizer = job(restart={"stagnation": 5}, resize={"factor": 1.1, "every": 3, "limit": 64}).build()
    assert optimizer == Repopulated(RandomSearch(), stagnation=5, growth=2.0, times=9, factor=1.1, every=3, limit=64)
    assert job().build()[1] == RandomSearch()


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"restart": {"stagnation": 0}}, "restart.stagnation: .*greater than or equal to 1, got 0"),
        ({"restart": {"stagnaton": 5}}, "restart.stagnaton: unknown key, did you mean 'stagnation'"),
        ({"resize": {"factor": 20}}, "resize.factor: .*less than or equal to 10, got 20"),
        (
            {"resize": {"factor": 2}, "optimizer": {"class": "optimizers.enkf:EnsembleKalmanFilter", "targets": 1.0}},
            "resize: expected an optimizer whose population can change, got EnsembleKalmanFilter",
        ),
        (
            {"restart": {"stagnation": 5}, "optimizer": {"class": "optimizers.face:FACE"}},
            "restart.population: expected 1.0, got 2 with FACE, which has no population",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(entries, text):
    with pytest.raises(JobError, match=text):
        job(**entries)


def test_an_optimizer_for_one_size_can_still_start_again():
    again = Repopulated(EnsembleKalmanFilter(population=6, targets=1.0), stagnation=1, growth=2.0)
    assert sizes(again, 4, flat) == [6, 6, 12, 12]
    with pytest.raises(ValueError, match="resize: expected an optimizer whose population can change, got Fixed"):
        Repopulated(Fixed(), factor=2.0)
