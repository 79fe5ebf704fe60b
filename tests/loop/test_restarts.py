"""Restarts and changing populations: when they happen, with what size, and that a resumed run does the same."""

import importlib
import json
from dataclasses import dataclass, is_dataclass, replace

import numpy as np
import pytest
from places import ROOT
from stepping import with_step

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks.common import fingerprint
from l2l_snn.checks.optimizer import SPACE as PROBE
from l2l_snn.checks.optimizer import sphere as probe
from l2l_snn.checks.optimizer import stored
from l2l_snn.loop.job import Job, JobError, change
from l2l_snn.loop.restarts import Restarting
from l2l_snn.optimizer import Optimizer
from optimizers.asynchronous_es import AsynchronousES
from optimizers.cma_es import CMAES
from optimizers.cross_entropy import CrossEntropy
from optimizers.enkf import EnsembleKalmanFilter
from optimizers.evosax_adapter import Evosax
from optimizers.face import FACE
from optimizers.ga import GeneticAlgorithm
from optimizers.gradient_ascent import EstimatedGradientAscent, GradientAscent
from optimizers.grid_search import GridSearch
from optimizers.map_elites import MapElites
from optimizers.nsga2 import NSGA2
from optimizers.openai_es import OpenES
from optimizers.parallel_tempering import ParallelTempering
from optimizers.pgpe import PGPE
from optimizers.random_search import RandomSearch
from optimizers.sep_cma_es import SepCMAES
from optimizers.simulated_annealing import SimulatedAnnealing
from optimizers.snes import SNES
from optimizers.steady_state_ga import SteadyStateGA
from optimizers.xnes import XNES

SPACE = Space(x=Free((3,)))


def sphere(z):
    return Evaluation(-np.sum((z - 1.0) ** 2, axis=1))


def flat(z):
    return Evaluation(np.zeros(len(z)))


def follow(optimizer: Optimizer, generations: int, evaluate=sphere, seed: int = 1):
    """Return the z of each generation, and the last state."""
    state, asked = optimizer.init(SPACE, seed), []
    for _ in range(generations):
        z, state = optimizer.ask(SPACE, state)
        asked.append(z)
        state = optimizer.tell(SPACE, state, z, evaluate(z))
    return asked, state


def sizes(optimizer: Optimizer, generations: int, evaluate=sphere) -> list[int]:
    return [len(z) for z in follow(optimizer, generations, evaluate)[0]]


def test_a_stagnating_run_starts_again_with_a_population_twice_as_large():
    ipop = Restarting(CMAES(population=6), stagnation=3, growth=2.0, times=2)
    # the first generation of a start is its best; three more without a better one end it
    assert sizes(ipop, 14, flat) == [6] * 4 + [12] * 4 + [24] * 6


def test_a_restart_is_a_new_sample_and_keeps_the_best_of_all():
    again = Restarting(RandomSearch(population=4), stagnation=1)
    values = iter([5.0, 1.0, 2.0, 2.0])
    asked, state = follow(again, 4, lambda z: Evaluation(np.full(len(z), next(values))))
    assert int(state.restarts) == 2
    np.testing.assert_array_equal(again.recommend(SPACE, state), asked[0][0])
    assert len({z.tobytes() for z in asked}) == 4


def test_without_stagnation_nothing_changes():
    plain, wrapped = GeneticAlgorithm(population=8), Restarting(GeneticAlgorithm(population=8), stagnation=1000)
    a, last = follow(plain, 5)
    b, state = follow(wrapped, 5)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(wrapped.recommend(SPACE, state), plain.recommend(SPACE, last))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"factor": 1.5}, [8, 12, 18, 27, 40]),  # rounded to the nearest, never in steps: 8 x 1.5^k
        ({"factor": 1.5, "every": 2}, [8, 8, 12, 12, 18]),
        ({"factor": 2.0, "limit": 20}, [8, 16, 20, 20, 20]),
        ({"factor": 0.5}, [8, 4, 4, 4, 4]),
    ],
)
@pytest.mark.parametrize(
    "optimizer", [kind(population=8) for kind in (GeneticAlgorithm, RandomSearch, CMAES, NSGA2)], ids=str
)
def test_a_population_grows_or_shrinks_by_its_factor(optimizer, fields, expected):
    assert sizes(Restarting(optimizer, **fields), 5) == expected


def test_a_population_never_shrinks_below_what_the_optimizer_takes():
    narrow = CrossEntropy(population=32, rho=0.2)  # it wants two elites
    shrunk = sizes(Restarting(narrow, factor=0.5), 4)
    assert shrunk[:2] == [32, 16]
    CrossEntropy(population=shrunk[-1], rho=0.2)
    with pytest.raises(ValueError, match="elites"):
        CrossEntropy(population=shrunk[-1] - 1, rho=0.2)


def test_a_population_of_the_optimizers_own_choice_grows_too():
    own = sizes(CMAES(), 1)[0]
    assert sizes(Restarting(CMAES(), stagnation=1, growth=3.0), 3, flat) == [own, own, 3 * own]


def test_mirrored_samples_stay_even_and_never_pass_the_limit():
    for kind in (OpenES, PGPE):
        assert sizes(Restarting(kind(population=6), factor=1.5, limit=15), 5) == [6, 10, 14, 14, 14]


def test_thousands_of_generations_end_at_the_limit():
    always = Restarting(RandomSearch(population=4), factor=10.0, limit=5)
    never = Restarting(RandomSearch(population=9), factor=0.1)
    for optimizer, size in ((always, 5), (never, 4)):
        state = optimizer.init(SPACE, 1)
        state = state._replace(told=np.array(5000), population=np.array(size))
        z, state = optimizer.ask(SPACE, state)
        z, _ = optimizer.ask(SPACE, optimizer.tell(SPACE, state, z, sphere(z)))
        assert len(z) == size


# Every optimizer

MAP = MapElites(("x0", "x1"), (-1.0, -1.0), (1.0, 1.0), (5, 5), population=16)
EVERY = [
    AsynchronousES(population=16, children=8),
    CMAES(),
    CrossEntropy(population=32, rho=0.3),
    EnsembleKalmanFilter(population=16, gamma=0.5),
    EstimatedGradientAscent(starts=3, estimate="es", pairs=2),
    Evosax("SNES", population=8),
    FACE(min_population=16, max_population=64, expand=16, elites=5),
    GeneticAlgorithm(population=15),
    GradientAscent(starts=3, evaluations=2),
    GridSearch(population=16, points=3),
    MAP,
    NSGA2(population=15),
    OpenES(population=16),
    ParallelTempering(rungs=4, ladders=3),
    PGPE(population=16),
    RandomSearch(population=15),
    SepCMAES(),
    SimulatedAnnealing(population=15, rate=0.8, step=0.2),
    SNES(population=15),
    SteadyStateGA(population=15, children=15),
    XNES(population=15),
]
CHANGES = [
    {"factor": 2.0, "every": 3},
    {"factor": 0.5, "every": 3},
    {"factor": 2.0, "every": 2, "stagnation": 2, "growth": 0.5, "times": 2},
]


def kinds() -> set[type]:
    """Return the optimizers of optimizers/, a base class that isn't one left out."""
    found = set()
    for path in sorted((ROOT / "optimizers").glob("*.py")):
        module = importlib.import_module(f"optimizers.{path.stem}")
        found |= {kind for kind in vars(module).values() if isinstance(kind, type) and is_dataclass(kind)}
    alone = {kind for kind in found if issubclass(kind, Optimizer) and not kind.__abstractmethods__}
    return {kind for kind in alone if not kind.needs_experience}  # whose size is the number of shards, no more


def test_no_optimizer_is_left_out():
    assert {type(optimizer) for optimizer in EVERY} == kinds()


@pytest.mark.parametrize("changes", CHANGES, ids=["grows", "shrinks", "restarts"])
@pytest.mark.parametrize("optimizer", EVERY, ids=lambda optimizer: type(optimizer).__name__)
def test_every_optimizer_changes_its_size_and_goes_on_from_stored_bytes(optimizer, changes):
    changing = Restarting(optimizer, **changes)
    state, sizes = changing.init(PROBE, 1), []
    low, high = PROBE.low, PROBE.high
    for _ in range(8):
        z, told = changing.ask(PROBE, state)
        assert ((z >= low) & (z <= high) & np.isfinite(z)).all()
        evaluation = probe(z)
        if "stagnation" in changes:  # nobody is ever better
            evaluation.fitness[:] = 0.0
        after = changing.tell(PROBE, told, z, evaluation)
        # a kill before this generation: from each on to the next, so from any on to the end
        again, told = changing.ask(PROBE, stored(state))
        assert fingerprint(changing.tell(PROBE, told, again, evaluation)) == fingerprint(after)
        sizes.append(len(z))
        state = after
    if "stagnation" in changes:
        assert int(state.restarts) == 2
        assert len(set(sizes)) > 1
    else:
        assert sizes[:3] == sizes[:1] * 3
        assert sizes[3:6] == sizes[3:4] * 3
        assert sorted(sizes, reverse=changes["factor"] < 1) == sizes
        assert sizes[0] != sizes[3]


QUICK = {  # how each is set to be quick enough for thirty generations
    "EstimatedGradientAscent": {"learning_rate": 0.2},
    "GradientAscent": {"learning_rate": 0.2},
    "OpenES": {"learning_rate": 0.2},
    "PGPE": {"learning_rate": 0.15, "max_speed": 0.15},
    "SimulatedAnnealing": {"rate": 0.7, "step": 0.3},
    "ParallelTempering": {"ladders": 6, "coldest": 0.02, "hottest": 0.3, "step": 0.7},
}


@pytest.mark.parametrize("factor", [2.0, 0.5])
@pytest.mark.parametrize(
    "optimizer", [optimizer for optimizer in EVERY if optimizer.learns], ids=lambda optimizer: type(optimizer).__name__
)
def test_what_learns_is_far_better_after_its_size_has_changed_three_times(optimizer, factor):
    settings = QUICK.get(type(optimizer).__name__, {})
    optimizer = with_step(optimizer, **settings) if "learning_rate" in settings else replace(optimizer, **settings)
    if factor < 1:  # it ends with a fourth of its own size
        optimizer = optimizer.sized(2 * optimizer.individuals(PROBE.size), PROBE.size)
    changing = Restarting(optimizer, factor=factor, every=8, limit=16 if isinstance(optimizer, Evosax) else 100)
    state, first = changing.init(PROBE, 2), None
    for _ in range(32):
        z, state = changing.ask(PROBE, state)
        evaluation = probe(z)
        first = evaluation.fitness.max() if first is None else first
        state = changing.tell(PROBE, state, z, evaluation)
    assert probe(changing.recommend(PROBE, state)[None]).fitness[0] > 0.25 * first


def test_cma_es_that_grows_finds_the_best_basin_of_rastrigin_where_a_small_one_stays_in_another():
    space = Space(x=Real(-5.12, 5.12, shape=(3,)))

    def found(optimizer, seed, evaluations=3000):
        state, used = optimizer.init(space, seed), 0
        while used < evaluations:
            z, state = optimizer.ask(space, state)
            x = 10.24 * (z - 0.5) - [1.0, -1.5, 0.5]
            value = np.sum(x**2 + 10 * (1 - np.cos(2 * np.pi * x)), axis=1)
            if value.min() < 0.5:  # the other basins end at 0.99 or more
                return True
            state = optimizer.tell(space, state, z, Evaluation(-value))
            used += len(z)
        return False

    small = CMAES(population=8)
    growing = Restarting(small, factor=2.0, limit=128)
    shares = [sum(found(optimizer, seed) for seed in range(10)) for optimizer in (small, growing)]
    assert shares[0] <= 2
    assert shares[1] >= 7


@pytest.mark.parametrize(
    "optimizer",
    [
        Restarting(CMAES(population=4), stagnation=2, growth=2.0),
        Restarting(GeneticAlgorithm(population=8), factor=1.3),
        Restarting(RandomSearch(population=4), stagnation=2, growth=1.0, factor=0.8, every=2),
    ],
    ids=str,
)
def test_a_stored_and_resumed_run_does_the_same(optimizer):
    whole, last = follow(optimizer, 12, lambda z: Evaluation(np.round(-np.sum(z**2, axis=1))))
    for stop in (1, 5, 8):
        _, state = follow(optimizer, stop, lambda z: Evaluation(np.round(-np.sum(z**2, axis=1))))
        state = stored(state)
        for z in whole[stop:]:
            again, state = optimizer.ask(SPACE, state)
            np.testing.assert_array_equal(again, z)
            state = optimizer.tell(SPACE, state, z, Evaluation(np.round(-np.sum(z**2, axis=1))))
        assert fingerprint(state) == fingerprint(last)


def test_a_generation_that_failed_counts_as_one_without_a_better_individual():
    again = Restarting(RandomSearch(population=4), stagnation=2, growth=2.0)
    assert sizes(again, 4, lambda z: Evaluation(np.full(len(z), np.nan))) == [4, 4, 8, 8]


def job(**entries) -> Job:
    classes = {
        "optimizee": {"class": "optimizees.functions:Function"},
        "optimizer": {"class": "optimizers.random_search:RandomSearch"},
    }
    return change(Job.model_validate(classes), [f"{key}={json.dumps(value)}" for key, value in entries.items()])[0]


@dataclass(frozen=True)
class Single(RandomSearch):
    """A random search without a population."""

    def individuals(self, size):
        raise TypeError("one alone")


def test_a_job_asks_for_both():
    _, optimizer = job(restart={"stagnation": 5}, resize={"factor": 1.1, "every": 3, "limit": 64}).build()
    assert optimizer == Restarting(RandomSearch(), stagnation=5, growth=2.0, times=9, factor=1.1, every=3, limit=64)
    assert job().build()[1] == RandomSearch()


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"restart": {"stagnation": 0}}, "restart.stagnation: expected a number >= 1, got 0"),
        ({"restart": {"stagnaton": 5}}, "restart.stagnaton: unknown key, did you mean 'stagnation'"),
        ({"resize": {"factor": 2, "every": 0}}, "resize.every: expected a number >= 1, got 0"),
        ({"resize": {"factor": 20}}, "resize.factor: expected a number <= 10, got 20"),
        (
            {"resize": {"factor": 2}, "optimizer": {"class": f"{__name__}:Single"}},
            "resize.factor: expected 1, got 2 with Single, which has no population",
        ),
        (
            {"restart": {"stagnation": 5}, "optimizer": {"class": f"{__name__}:Single"}},
            "restart.population: expected 1, got 2 with Single, which has no population",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(entries, text):
    with pytest.raises(JobError, match=text):
        job(**entries)


def test_an_optimizer_without_a_population_can_still_start_again():
    again = Restarting(Single(population=6), stagnation=1)
    assert int(follow(again, 4, flat)[1].restarts) == 2


def test_an_optimizer_that_says_nothing_of_its_population_is_asked_to():
    @dataclass(frozen=True)
    class Nameless(Optimizer):
        def init(self, space, seed): ...
        def ask(self, space, state): ...
        def learn(self, space, state, z, fitness, evaluation): ...
        def recommend(self, space, state): ...

    with pytest.raises(TypeError, match="resize: expected an optimizer with a population, got Nameless; give it one"):
        Nameless().individuals(3)
