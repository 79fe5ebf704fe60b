"""Numbers of an optimizee that change over the generations: exact values, the same when resumed and replayed."""

from math import cos, pi

import numpy as np
import pytest
from bowls import Bowl, bowl_job
from staged import Staged

from l2l_snn.loop import job as jobs
from l2l_snn.loop.job_file import JobError
from l2l_snn.loop.replay import repeat
from l2l_snn.loop.run import run
from l2l_snn.loop.schedules import Curriculum, Schedule, scheduled
from l2l_snn.results import tables
from l2l_snn.storage.store import Store
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import Inline

NOISE = {"from": 0.2, "to": 0.0, "over": 4, "how": "cosine"}
ENTRIES = {
    "class": "bowls:Bowl",
    "noise": NOISE,
    "trials": {"curriculum": {0: 1, 2: 3}},
    "shape": {"steepness": {"from": 1.0, "to": 16.0, "over": 4, "how": "exponential", "every": 2}},
}


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path}/l2l.db") as opened:
        yield opened


def start(store, name, the_job, evaluator=None):
    optimizee, optimizer = the_job.build()
    evaluator = evaluator or Inline(optimizee, chunk=3)
    if name not in [stored.name for stored in store.runs()]:
        store.create(name, "job", {"job": the_job.model_dump(mode="json"), "file": "x"}, optimizee.space)
    return run(store, name, the_job, optimizer, evaluator)


def columns(store, name):
    return tables.individuals(store, name).drop(columns=["run", "seconds", "worker"]).to_csv()


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("linear", lambda s: 2 + 6 * s),
        ("cosine", lambda s: 8 - 6 * (1 + cos(pi * s)) / 2),
        ("exponential", lambda s: 2 * 4**s),
    ],
)
def test_a_schedule_has_the_values_of_its_formula_and_stays_at_its_end(how, expected):
    schedule = Schedule.model_validate({"from": 2, "to": 8, "over": 10, "how": how})
    values = [schedule.value(generation) for generation in range(11)]
    np.testing.assert_allclose(values, [expected(generation / 10) for generation in range(11)], rtol=1e-12)
    assert schedule.value(1000) == schedule.value(10) == 8
    stepped = schedule.model_copy(update={"every": 4})
    assert [stepped.value(g) for g in (0, 3, 4, 7)] == [values[0], values[0], values[4], values[4]]


def test_a_curriculum_has_the_value_of_the_last_generation_that_it_names():
    curriculum = Curriculum.model_validate({"curriculum": {"0": 1, "100": 2.5, "20": 2}})
    assert [curriculum.value(g) for g in (0, 19, 20, 99, 100, 10_000)] == [1, 1, 2, 2, 2.5, 2.5]


def test_fields_of_every_kind_change_in_a_run_as_they_should(store):
    start(store, "a", bowl_job(optimizee=ENTRIES, generations=6, chunk=3))
    frame = tables.individuals(store, "a").groupby("generation").first()
    np.testing.assert_allclose(frame["metric.noise"], [0.1 * (1 + cos(pi * g / 4)) for g in range(4)] + [0, 0])
    assert frame["metric.trials"].tolist() == [1, 1, 3, 3, 3, 3]
    np.testing.assert_allclose(frame["metric.steepness"], [1, 1, 4, 4, 16, 16])


def test_a_resumed_run_and_a_replay_have_the_same_values(store):
    the_job = bowl_job(optimizee=ENTRIES, generations=6, chunk=3)
    start(store, "whole", the_job)
    left = 25

    def press(chunk, seeds):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt

    optimizee = the_job.build()[0]
    stopped = start(store, "parts", the_job, Evaluator(optimizee, Staged(optimizee, on_start=press), chunk=3))
    assert 0 < stopped.generation < 6
    start(store, "parts", the_job)
    assert columns(store, "parts") == columns(store, "whole")
    for generation in range(6):
        row, evaluation = repeat(store, "whole", the_job, optimizee, generation, 4)
        assert evaluation.fitness[0] == row.fitness
        assert evaluation.metrics["noise"][0] == row.metrics["noise"]


def test_a_stored_job_keeps_its_schedules_and_a_setting_replaces_one(store):
    start(store, "a", bowl_job(optimizee=ENTRIES, generations=1))
    again, optimizee, _ = jobs.stored_job(store, "a")
    assert again.optimizee["noise"] == {**NOISE, "every": 1}
    assert again.optimizee["shape"]["steepness"]["over"] == 4
    assert optimizee.noise == 0.2
    fixed, optimizee, _ = jobs.stored_job(store, "a", ["optimizee.noise=0.05"])
    assert (fixed.optimizee["noise"], optimizee.noise, set(fixed.schedules)) == (
        0.05,
        0.05,
        {"trials", "shape.steepness"},
    )


def test_an_integer_stays_one():
    schedules = {"trials": Schedule.model_validate({"from": 1, "to": 4, "over": 3})}
    found = [scheduled(Bowl(), schedules, g).trials for g in range(4)]
    assert found == [1, 2, 3, 4]
    assert all(isinstance(one, int) for one in found)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({"noise": {"from": 0.1, "to": 0, "over": 0}}, "optimizee.noise.over: .*greater than or equal to 1"),
        (
            {"noise": {"from": 0.1, "to": 0, "over": 5, "how": "exponential"}},
            "exponential needs two numbers of one sign",
        ),
        (
            {"noise": {"from": 0.1, "to": -1.0, "over": 5}},
            "optimizee.noise: in generation 2: Bowl.noise: expected a num",
        ),
        ({"noise": {"curriculum": {5: 0.1}}}, "expected a value for generation 0"),
        ({"niose": {"from": 0.1, "to": 0, "over": 5}}, "did you mean 'noise'"),
    ],
)
def test_a_wrong_schedule_is_refused_before_anything_runs(entries, text):
    with pytest.raises(JobError, match=text):
        bowl_job(optimizee={"class": "bowls:Bowl", **entries}).build()


def test_a_schedule_without_generations_or_of_the_space_is_refused():
    steady = {"class": "optimizers.steady_state_ga:SteadyStateGA"}
    with pytest.raises(JobError, match="a schedule counts generations"):
        bowl_job(optimizee={"class": "bowls:Bowl", "noise": NOISE}, optimizer=steady, asynchronous=True).build()
    function = {"class": "optimizees.functions:Function", "dimension": {"from": 4, "to": 8, "over": 5}}
    with pytest.raises(JobError, match="the same search space in all generations"):
        bowl_job(optimizee=function).build()
