"""What a run says of itself while it runs: numbers as everywhere else, times without the start."""

import numpy as np
import pytest
from troublemakers import Troublemaker

from l2l_snn.evaluation import Evaluation
from l2l_snn.loop import progress
from l2l_snn.loop import run as run_module
from l2l_snn.loop.job import Job, Stop
from l2l_snn.loop.progress import Progress, show_progress
from l2l_snn.loop.run import Pace, run
from l2l_snn.loop.tally import Tally, stop_reason
from l2l_snn.storage.records import Generation
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline
from optimizers.ga import GeneticAlgorithm

OPTIMIZER = {"class": "optimizers.ga:GeneticAlgorithm", "population": 4}


def job(**entries) -> Job:
    return Job.model_validate({"optimizee": {"class": "x:Y"}, "optimizer": OPTIMIZER, **entries})


def after(number: int, fitness: float, pace: float) -> Progress:
    z, ones = np.zeros((2, 1)), np.ones(2)
    part = Generation(number, z, ones, Evaluation(np.full(2, fitness)), ones, ("w",) * 2, 0.5)
    return Progress.after(job(generations=8), Tally(number + 1, 16, fitness, 0), part, pace)


def test_generations_are_numbered_as_in_the_tables_and_no_zero_has_a_sign(capsys):
    with show_progress("a", live=False, first="starting Ray and its workers") as tell:
        tell(after(7, -0.0, 1.0))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "starting Ray and its workers"
    assert lines[1].startswith("generation 7  done 8/8  best 0  mean 0  failed 0  evaluations/s 4.0")


def test_no_time_left_is_told_before_it_can_be(capsys):
    with show_progress("a", live=False, first="") as tell:
        tell(after(0, 1.0, np.nan))
    assert "time left -" in capsys.readouterr().out
    assert ("time left", "1:01:10") in progress.describe_progress(after(1, 1.0, 3670 / 6))


def test_the_first_generation_of_a_driver_does_not_count_for_the_time_left(monkeypatch):
    times = iter([100.0, 202.5, 206.0])
    monkeypatch.setattr(run_module.time, "perf_counter", lambda: next(times))
    pace = Pace()
    assert np.isnan(pace.after_one())
    assert (pace.after_one(), pace.after_one()) == (102.5, 53.0)


@pytest.mark.parametrize(
    ("generations", "stop", "number", "reason"),
    [
        (1, {}, 8, "8 generations done"),  # a run that is further than it is asked to go now
        (1, {}, 1, "1 generation done"),
        (9, {"stagnation": 1}, 8, "no better individual in 1 generation"),
        (9, {"evaluations": 32}, 8, "32 evaluations done"),
        (9, {"hours": 1}, 8, "1 hour over"),
        (9, {"fitness": 0.0}, 8, "fitness 0 reached 0"),
    ],
)
def test_a_stop_is_said_with_what_is_true_and_in_grammar(generations, stop, number, reason):
    tally = Tally(number, 32, -0.0, 3 if "stagnation" in stop else number)
    assert stop_reason(job(generations=generations, stop=Stop(**stop)), tally, 4000.0) == reason


def test_the_start_of_the_workers_is_noted_on_the_run_and_is_no_part_of_the_first_generation(tmp_path, monkeypatch):
    optimizee, seen, looks = Troublemaker(), [], []
    evaluator = Inline(optimizee)
    wait, idle = evaluator.workers.wait, evaluator.workers.idle
    with Store(f"sqlite:///{tmp_path}/l2l.db") as store, evaluator:
        store.create("a", "job", {}, optimizee.space)

        def look():
            looks.append(1)
            seen.append(store.load("a").message)
            return wait()

        monkeypatch.setattr(evaluator.workers, "wait", look)
        monkeypatch.setattr(evaluator.workers, "idle", lambda: len(looks) >= 2 and idle())  # there after two looks
        run(store, "a", job(generations=1), GeneticAlgorithm(population=4), evaluator)
        assert seen == ["starting the workers"] * 2 + [""] * 4
        assert store.load("a").message == "1 generation done"
