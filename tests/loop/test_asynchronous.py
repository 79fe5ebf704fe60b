"""Runs without generations: no worker waits, and the recorded order gives the same run again."""

from dataclasses import dataclass

import numpy as np
import pytest
from retracing import retrace
from staged import Clock, Staged

from l2l_snn import Optimizee, Real, Space
from l2l_snn.loop.asynchronous import Asynchronous
from l2l_snn.loop.job import Job, JobError, change
from l2l_snn.loop.replay import repeat
from l2l_snn.loop.run import run
from l2l_snn.results.tables import individuals
from l2l_snn.storage.store import Store
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import Inline


@dataclass(frozen=True)
class Failing(Optimizee):
    """A sphere of which some evaluations fail, by their seed."""

    failing: float = 0.0  # share of the seeds that fail
    space = Space(x=Real(-1, 1, shape=(4,)))

    def evaluate(self, params, seed):
        if np.random.default_rng(seed).random() < self.failing:
            raise RuntimeError("meant to fail")
        return -float(np.sum(params["x"] ** 2))


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'l2l.db'}") as opened:
        yield opened


def job(**entries) -> Job:
    classes = {
        "optimizee": {"class": "test_asynchronous:Failing"},
        "optimizer": {"class": "optimizers.steady_state_ga:SteadyStateGA", "population": 8, "children": 1},
    }
    return Job.model_validate({**classes, "generations": 6, "asynchronous": True, **entries})


def drive(store: Store, name: str, the_job: Job, evaluator: Evaluator | None = None):
    optimizee, optimizer = the_job.build()
    if name not in [stored.name for stored in store.runs()]:
        store.create(name, "job", {"job": the_job.model_dump(mode="json")}, optimizee.space)
    with evaluator or Inline(optimizee) as workers:
        return run(store, name, the_job, optimizer, workers)


def out_of_order(optimizee, stop_after: int | None = None) -> Evaluator:
    """Return four slots in this process, which come back in an order of their own, until Ctrl-C is pressed."""
    count = 0

    def pick(under_way: list) -> int:
        nonlocal count
        if stop_after is not None and count >= stop_after:
            raise KeyboardInterrupt
        count += 1
        return (3 * count // 2) % len(under_way)

    return Evaluator(optimizee, Staged(optimizee, 4, pick=pick))


def stored_bytes(store: Store, optimizee, optimizer) -> list[bytes]:
    """Return the bytes of the optimizer's state as the store has it."""
    kept = store.optimizer_state("a", Asynchronous.first_state(optimizer.init(optimizee.space, 1), optimizee.space))
    return [array.tobytes() for array in kept.optimizer]


def test_the_recorded_order_gives_the_same_states_and_z_again(store):
    the_job = job()
    optimizee, optimizer = the_job.build()
    stored = drive(store, "a", the_job, out_of_order(optimizee))
    assert (stored.state, stored.generation, stored.evaluations) == ("finished", 6, 48)
    rows = individuals(store, "a")
    assert not (np.diff(rows["metric.ask"]) > 0).all()  # they did come back in another order
    assert sorted(rows["metric.ask"])[:40] == list(range(40))  # none lost, none twice
    *_, last = retrace(store, "a", the_job, optimizer)
    assert stored_bytes(store, optimizee, optimizer) == [array.tobytes() for array in last]


@pytest.mark.parametrize("stop_after", [3, 8, 21])
def test_a_run_that_was_stopped_goes_on_with_what_was_under_way(store, stop_after):
    the_job = job()
    optimizee, _ = the_job.build()
    stopped = drive(store, "a", the_job, out_of_order(optimizee, stop_after))
    assert (stopped.state, stopped.generation) == ("stopped", stop_after // 8)
    stored = drive(store, "a", the_job, out_of_order(optimizee))
    assert (stored.state, stored.evaluations) == ("finished", 48)
    rows = individuals(store, "a")
    assert rows["metric.ask"].is_unique
    assert sorted(rows["metric.ask"])[:40] == list(range(40))
    assert len(list(retrace(store, "a", the_job, the_job.build()[1]))) == 48


def test_chunks_of_several_are_told_together_and_repeated_bit_for_bit(store):
    the_job = job(chunk=3, optimizee={"class": "optimizees.functions:Function", "name": "rastrigin", "dimension": 5})
    optimizee, optimizer = the_job.build()
    stored = drive(store, "a", the_job, out_of_order(optimizee))
    rows = individuals(store, "a")
    assert (stored.generation, stored.evaluations) == (6, 54)  # generations of 8, filled up to whole chunks
    assert rows["metric.ask"].is_unique
    *_, last = retrace(store, "a", the_job, optimizer)
    assert stored_bytes(store, optimizee, optimizer) == [array.tobytes() for array in last]
    row, evaluation = repeat(store, "a", the_job, optimizee, 4, 7)
    assert evaluation.fitness[0] == row.fitness


def test_a_run_leaves_nothing_under_way(store):
    the_job = job()
    optimizee, _ = the_job.build()
    evaluator = out_of_order(optimizee)
    drive(store, "a", the_job, evaluator)
    assert evaluator.under_way == 0
    drive(store, "b", job(asynchronous=False), evaluator)
    assert store.load("b").state == "finished"


def test_failures_are_rows_and_do_not_stop_the_run(store):
    the_job = job(optimizee={"class": "test_asynchronous:Failing", "failing": 0.3})
    stored = drive(store, "a", the_job)
    assert stored.state == "finished"
    assert 3 < stored.failed < 30
    assert len(list(retrace(store, "a", the_job, the_job.build()[1]))) == 48


def test_workers_stay_busy_whatever_evaluations_take(store):
    def busy(asynchronous: bool) -> float:
        the_job = job(asynchronous=asynchronous, generations=60)
        clock = Clock(lambda chunk, seeds: min(1 + np.random.default_rng(seeds[0]).pareto(1.5), 60.0))
        drive(store, f"busy-{asynchronous}", the_job, clock.evaluator(the_job.build()[0]))
        return clock.worked / (4 * clock.now)

    assert busy(True) > 0.95
    assert busy(False) < 0.75


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (
            {"optimizer": {"class": "optimizers.ga:GeneticAlgorithm"}},
            "asynchronous: GeneticAlgorithm learns from whole",
        ),
        ({"restart": {"stagnation": 3}}, "asynchronous: there are no generations to restart"),
    ],
)
def test_what_can_not_run_without_generations_is_refused(entries, text):
    with pytest.raises(JobError, match=text):
        change(job(**entries), [])


def test_an_individual_that_ends_its_worker_again_and_again_is_given_up(store):
    the_job = job(optimizee={"class": "troublemakers:Troublemaker", "trouble": "exit"})
    stored = drive(store, "a", the_job)
    assert stored.state == "finished"
    errors = individuals(store, "a")["error"]
    assert 0 < stored.failed < stored.evaluations
    assert errors[errors != ""].str.startswith("WorkerLost: given up after 3 tries").all()
