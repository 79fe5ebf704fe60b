from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from staged import Staged
from troublemakers import Troublemaker

from l2l_snn.loop.job import Job
from l2l_snn.loop.progress import Progress, show_progress
from l2l_snn.loop.run import run
from l2l_snn.optimizee import Optimizee
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.store import RunBusy, Store
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import Inline
from optimizers.ga import GeneticAlgorithm

GA = GeneticAlgorithm(population=6)


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'l2l.db'}") as opened:
        yield opened


def job(**entries) -> Job:
    classes = {
        "optimizee": {"class": "troublemakers:Troublemaker"},
        "optimizer": {"class": "optimizers.ga:GeneticAlgorithm"},
    }
    return Job.model_validate({**classes, "generations": 8, **entries})


def start(store: Store, name: str, the_job: Job, evaluator: Evaluator | None = None, **options):
    evaluator = evaluator or Inline(Troublemaker(), chunk=4)
    if name not in [stored.name for stored in store.runs()]:
        store.create(name, "job", {}, evaluator.optimizee.space)
    return run(store, name, the_job, GA, evaluator, **options)


def table(store: Store, name: str):
    """Return all that must not depend on how often a run was interrupted."""
    from l2l_snn.results.tables import generations, individuals

    individual = individuals(store, name).drop(columns=["run", "seconds", "worker"])
    generation = generations(store, name).drop(columns=["run", "seconds", "evaluations_per_s"])
    state = store.optimizer_state(name, GA.init(Troublemaker.space, 1))
    return individual.to_csv(), generation.to_csv(), [array.tobytes() for array in state]


def interrupted(generation: int) -> Evaluator:
    """Return an evaluator that presses Ctrl-C in the middle of the n-th generation."""
    left = generation

    def press(chunk, seeds) -> None:
        nonlocal left
        left -= chunk.start > 0
        if left < 0:
            raise KeyboardInterrupt

    return Evaluator(Troublemaker(), Staged(Troublemaker(), on_start=press), chunk=4)


def test_a_run_does_its_generations_and_tells_of_each(store):
    told: list[Progress] = []
    stored = start(store, "a", job(), tell=told.append)
    assert (stored.state, stored.generation, stored.evaluations, stored.failed) == ("finished", 8, 48, 0)
    assert stored.message == "8 generations done"
    assert [p.generation for p in told] == list(range(8))
    assert told[-1].best == stored.best
    assert told[-1].evaluations == 48
    assert all(a.best <= b.best for a, b in pairwise(told))


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(store):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        start(store, name, job(seed=seed))
    assert table(store, "a") == table(store, "b")
    assert table(store, "a") != table(store, "c")


@pytest.mark.parametrize("generation", [0, 1, 4, 7])
def test_an_interrupted_run_goes_on_to_the_same_bytes(store, generation):
    start(store, "whole", job())
    stopped = start(store, "broken", job(), interrupted(generation))
    assert (stopped.state, stopped.generation) == ("stopped", generation)
    assert start(store, "broken", job()).state == "finished"
    assert table(store, "broken") == table(store, "whole")


def test_a_finished_run_goes_on_when_more_generations_are_asked_for(store):
    start(store, "whole", job(generations=12))
    start(store, "longer", job(generations=5))
    assert start(store, "longer", job(generations=5)).generation == 5  # nothing to do
    start(store, "longer", job(generations=12))
    assert table(store, "longer") == table(store, "whole")


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ({"fitness": -10.0}, "reached -10"),
        ({"evaluations": 13}, "18 evaluations done"),
        ({"hours": 1e-9}, "1e-09 hours over"),
        ({"stagnation": 2}, "no better individual in 2 generations"),
    ],
)
def test_stopping_rules_stop(store, stop, reason):
    stored = start(store, "a", job(stop=stop, generations=200))
    assert stored.state == "finished"
    assert reason in stored.message
    assert stored.generation < 200


def test_stagnation_counts_over_an_interruption(store):
    start(store, "whole", job(stop={"stagnation": 3}, generations=200))
    start(store, "parts", job(stop={"stagnation": 3}, generations=4))
    start(store, "parts", job(stop={"stagnation": 3}, generations=200))
    assert table(store, "parts") == table(store, "whole")


@dataclass(frozen=True)
class Hopeless(Optimizee):
    """Fails always."""

    space = Troublemaker.space

    def evaluate(self, params, seed):
        return np.nan


def test_stagnation_without_any_fitness_counts_over_an_interruption(store):
    entries = {"stop": {"stagnation": 3}, "max_failed": 1.0}
    start(store, "whole", job(generations=50, **entries), Inline(Hopeless()))
    start(store, "parts", job(generations=2, **entries), Inline(Hopeless()))
    start(store, "parts", job(generations=50, **entries), Inline(Hopeless()))
    assert store.load("whole").generation == store.load("parts").generation == 4


def test_a_run_that_is_done_gets_no_workers(store):
    start(store, "a", job(generations=2))
    evaluator = Evaluator(Troublemaker(), Staged(Troublemaker(), slots=0))  # none can be had
    assert start(store, "a", job(generations=2), evaluator).state == "finished"


def test_too_many_failures_stop_the_run_with_the_first_text_and_keep_the_rows(store):
    stored = start(store, "a", job(max_failed=0.0), Inline(Troublemaker("raise"), chunk=4))
    assert stored.state == "failed"
    text = "individuals failed; the first: FloatingPointError: v diverged at 31.0 ms, at troublemakers.py:"
    assert text in stored.message
    assert stored.failed > 0
    assert stored.generation >= 1


def test_failures_within_the_limit_do_not_stop_the_run(store):
    stored = start(store, "a", job(max_failed=1.0), Inline(Troublemaker("nan"), chunk=4))
    assert (stored.state, stored.generation) == ("finished", 8)
    assert stored.failed > 0


def test_a_stop_that_is_asked_for_loses_nothing(store, monkeypatch):
    monkeypatch.setattr("l2l_snn.workers.evaluator.LOOK", 0.0)  # between all chunks
    start(store, "whole", job())
    looks = []

    def tell(progress: Progress) -> None:
        looks.append(store.workers("a"))
        if progress.generation == 4:
            store.request_stop("a")

    stopped = start(store, "a", job(), tell=tell)
    assert (stopped.state, stopped.message, stopped.generation) == ("stopped", "stop requested", 5)
    statuses = [status for look in looks for status in look]
    assert [status.generation for status in statuses] == list(range(5))  # the last look of each
    assert {(status.first, status.last) for status in statuses} <= {(0, 3), (4, 5)}
    assert start(store, "a", job()).state == "finished"
    assert table(store, "a") == table(store, "whole")


def test_the_places_that_took_longest_are_begun_first_in_the_next_generation(store):
    order: list[int] = []
    took = {0: 2.0, 2: 18.0, 4: 4.0}  # s of a chunk, by its first individual
    workers = Staged(
        Troublemaker(),
        on_start=lambda chunk, seeds: order.append(chunk.start),
        change=lambda chunk, outcome: outcome._replace(seconds=took[chunk.start]),
    )
    start(store, "a", job(generations=3), Evaluator(Troublemaker(), workers, chunk=2))
    assert order == [0, 2, 4, 2, 4, 0, 2, 4, 0]
    start(store, "b", job(generations=3), Inline(Troublemaker(), chunk=2))
    assert table(store, "a") == table(store, "b")


def test_common_random_numbers_are_common(store):
    from l2l_snn.results.tables import individuals

    counts = {}
    for policy in ("individual", "generation", "run"):
        start(store, policy, job(seeds=policy))
        counts[policy] = individuals(store, policy)["seed"].nunique()
    assert counts == {"individual": 48, "generation": 8, "run": 1}


def test_a_second_driver_is_refused_while_the_first_one_runs(store):
    refused = []

    def second(progress: Progress) -> None:
        with Store(store.url_shown) as other, pytest.raises(RunBusy, match="run 'a' is driven by process"):
            start(other, "a", job())
        refused.append(progress.generation)

    assert start(store, "a", job(), tell=second).state == "finished"
    assert refused == list(range(8))


def test_an_optimizer_that_raises_leaves_the_run_resumable(store, monkeypatch):
    start(store, "whole", job())

    def broken(self, space, state, z, fitness, evaluation):
        raise ArithmeticError("in tell")

    with monkeypatch.context() as patch:
        start(store, "a", job(generations=3))
        patch.setattr(GeneticAlgorithm, "learn", broken)
        with pytest.raises(ArithmeticError):
            start(store, "a", job())
    assert store.load("a").state == "stopped"
    assert "ArithmeticError: in tell" in store.load("a").message
    start(store, "a", job())
    assert table(store, "a") == table(store, "whole")


def test_nan_best_is_told_when_all_failed(store):
    told: list[Progress] = []
    start(store, "a", job(max_failed=1.0, generations=1), Inline(Always(), chunk=4), tell=told.append)
    assert np.isnan(told[0].best)
    assert np.isnan(told[0].mean)
    assert told[0].failed == 6


class Always(Troublemaker):
    """Fails always."""

    def evaluate(self, params, seed):
        raise ValueError("no")


def test_a_run_of_a_version_whose_state_had_other_fields_is_refused_with_what_to_do(store):
    class OldState(NamedTuple):
        low: np.ndarray

    class Old(GeneticAlgorithm):
        def learn(self, space, state, z, fitness, evaluation):
            return OldState(space.low)

    evaluator = Inline(Troublemaker(), chunk=4)
    store.create("a", "job", {}, evaluator.optimizee.space)
    run(store, "a", job(generations=1), Old(population=6), evaluator)
    text = "it lacks best_fitness, .* and has low besides; continue it with the code that made it .*or start a new run"
    with pytest.raises(StoreError, match=text):
        start(store, "a", job())


def test_a_best_of_minus_zero_is_told_as_zero(capsys):
    with show_progress("a", live=False, first="") as tell:
        tell(Progress(0, 1, 4, 0, best=-0.0, mean=-0.0, evaluations_per_s=1.0, seconds_left=0.0))
    assert "best 0  mean 0  " in capsys.readouterr().out
