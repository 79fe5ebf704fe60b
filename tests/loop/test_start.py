"""Runs that begin from known individuals or from another run."""

import importlib
import json

import numpy as np
import pytest
from bowls import Bowl, bowl_job

from l2l_snn.loop import job as jobs
from l2l_snn.loop.first_state import branched, first_state, pinned
from l2l_snn.loop.job_file import JobError
from l2l_snn.loop.run import run
from l2l_snn.results import tables
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline

BEST = {"x": 0.5, "w": [-1.0, 1.5], "rule": "eprop"}
OTHER = {"x": -0.25, "w": [0.0, 0.5], "rule": "stdp"}
Z = np.array([Bowl.space.encode(BEST), Bowl.space.encode(OTHER)])
ADDRESSES = {
    "population": [
        "ga:GeneticAlgorithm",
        "nsga2:NSGA2",
        "simulated_annealing:SimulatedAnnealing",
        "enkf:EnsembleKalmanFilter",
    ],
    "first": ["steady_state_ga:SteadyStateGA", "parallel_tempering:ParallelTempering"],
    "mean": [
        "snes:SNES",
        "xnes:XNES",
        "cma_es:CMAES",
        "sep_cma_es:SepCMAES",
        "openai_es:OpenES",
        "pgpe:PGPE",
        "face:FACE",
    ],
    "best": ["ppo:PPO", "dqn:DQN"],
}


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path}/l2l.db") as opened:
        yield opened


def start(store, name, the_job):
    the_job = pinned(store, the_job)
    optimizee, optimizer = the_job.build()
    store.create(name, "job", {"job": the_job.model_dump(mode="json"), "file": "x"}, optimizee.space)
    return run(store, name, the_job, optimizer, Inline(optimizee))


def state(store, name, optimizer):
    return [array.tobytes() for array in store.optimizer_state(name, optimizer.init(Bowl.space, 1))]


def test_individuals_by_hand_are_the_first_ones_evaluated(store):
    start(store, "a", bowl_job(start={"individuals": [BEST, OTHER]}, generations=1))
    frame = tables.individuals(store, "a").iloc[:2]
    np.testing.assert_allclose(frame["param.x"], [0.5, -0.25])
    np.testing.assert_allclose(frame["param.w[1]"], [1.5, 0.5])
    assert frame["param.rule"].tolist() == ["eprop", "stdp"]


@pytest.mark.parametrize("address", [a for kind in ("population", "first") for a in ADDRESSES[kind]])
def test_a_population_asks_for_known_individuals_first_and_once(address):
    optimizer = bowl_job(optimizer={"class": f"optimizers.{address}"}).build()[1]
    begun = optimizer.started(Bowl.space, optimizer.init(Bowl.space, 1), Z)
    first, begun = optimizer.ask(Bowl.space, begun)
    np.testing.assert_array_equal(first[:2], Z)
    if address in ADDRESSES["first"][:1]:
        again, _ = optimizer.ask(Bowl.space, begun)  # before it is told
        assert not (again[:, None] == Z[None]).all(axis=2).any()


@pytest.mark.parametrize("address", ADDRESSES["mean"])
def test_a_distribution_is_centred_on_the_mean_of_known_individuals(address):
    optimizer = bowl_job(optimizer={"class": f"optimizers.{address}"}).build()[1]
    begun = optimizer.started(Bowl.space, optimizer.init(Bowl.space, 1), Z)
    np.testing.assert_allclose(optimizer.recommend(Bowl.space, begun), Z.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("address", ADDRESSES["best"])
def test_a_policy_begins_with_the_first_known_individual(address):
    module, _, name = f"optimizers.{address}".partition(":")
    optimizer = getattr(importlib.import_module(module), name)()
    begun = optimizer.started(Bowl.space, optimizer.init(Bowl.space, 1), Z)
    np.testing.assert_array_equal(optimizer.ask(Bowl.space, begun)[0], Z[:1])
    np.testing.assert_array_equal(optimizer.recommend(Bowl.space, begun), Z[0])


def test_an_archive_asks_for_known_individuals_and_keeps_none_of_their_traces():
    entries = {"descriptors": ["noise"], "low": [0], "high": [1], "cells": [4], "population": 4}
    optimizer = bowl_job(optimizer={"class": "optimizers.map_elites:MapElites", **entries}).build()[1]
    fresh = optimizer.init(Bowl.space, 1)
    z, after = optimizer.ask(Bowl.space, optimizer.started(Bowl.space, fresh, Z))
    np.testing.assert_array_equal(z[:2], Z)
    np.testing.assert_array_equal(after.z, fresh.z)
    np.testing.assert_array_equal(after.descriptors, fresh.descriptors)


@pytest.mark.parametrize("name", ["best.json", "best.yaml", "best.csv"])
def test_individuals_of_a_file_are_those_of_the_list_and_stay_in_the_job(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name.endswith(".csv"):
        lines = ["fitness,param.x,param.w[0],param.w[1],param.rule", "1.0,0.5,-1.0,1.5,eprop", "2.0,-0.25,0,0.5,stdp"]
        (tmp_path / name).write_text("\n".join(lines))
    else:
        (tmp_path / name).write_text(json.dumps([BEST, OTHER]))  # which is YAML too
    (tmp_path / "job.yaml").write_text(
        f"optimizee: {{class: 'bowls:Bowl'}}\noptimizer: {{class: 'optimizers.ga:GeneticAlgorithm'}}\n"
        f"start: {{individuals: {name}}}\n"
    )
    job, optimizee, optimizer = jobs.load(tmp_path / "job.yaml")
    assert job.start
    assert job.start.individuals == [BEST, OTHER]
    with Store(f"sqlite:///{tmp_path}/l2l.db") as store:
        np.testing.assert_array_equal(first_state(store, job, optimizer, optimizee.space).z[:2], Z)


def test_a_table_that_was_written_is_read_as_individuals(tmp_path, store, monkeypatch):
    start(store, "a", bowl_job(generations=1))
    tables.individuals(store, "a").to_csv(tmp_path / "a.csv", index=False)
    monkeypatch.chdir(tmp_path)
    job = jobs.change(bowl_job(), ["start.individuals=a.csv"])[0]
    again = first_state(store, job, job.build()[1], Bowl.space).z
    stored = np.array([store.individual("a", 0, i).z for i in range(32)])
    np.testing.assert_allclose(Bowl.space.decode(again[7])["x"], Bowl.space.decode(stored[7])["x"], rtol=1e-12)


@pytest.mark.parametrize("take", ["best", "generation"])
def test_a_warm_start_takes_the_best_or_the_whole_last_generation(store, take):
    start(store, "a", bowl_job())
    start(store, "b", bowl_job(start={"run": "a", "take": take}, generations=1, seed=7))
    pinned_start = jobs.stored_job(store, "b")[0].start
    assert pinned_start
    first = np.array([store.individual("b", 0, i).z for i in range(32)])
    if take == "best":
        best = store.individual("a")
        assert (pinned_start.generation, pinned_start.individual) == (best.generation, best.index)
        np.testing.assert_array_equal(first[0], best.z)
        return
    assert pinned_start.generation == 3
    rows = [store.individual("a", 3, i) for i in range(32)]
    rows.sort(key=lambda row: -row.fitness)
    np.testing.assert_array_equal(first, [row.z for row in rows])


def test_a_warm_start_carries_over_to_a_wider_space(store):
    start(store, "a", bowl_job())
    start(store, "b", bowl_job(optimizee={"class": "bowls:Wider"}, start={"run": "a"}, generations=1))
    row, best = store.individual("b", 0, 0), store.individual("a")
    wide, narrow = store.load("b").space.decode(row.z), Bowl.space.decode(best.z)
    np.testing.assert_allclose(wide["x"], narrow["x"])
    with pytest.raises(JobError, match=r"'b' has another search space: .*params.x: expected a value within Real"):
        start(store, "c", bowl_job(start={"run": "b", "take": "generation"}, generations=1))


def test_a_branch_goes_on_with_the_same_state_as_if_it_were_the_same_run(store):
    """With the same fields, generation g of the branch asks for what the parent would have asked for."""
    start(store, "whole", bowl_job(generations=6, seeds="run"))
    start(store, "parent", bowl_job(generations=4, seeds="run"))
    job, optimizee, optimizer = branched(store, "parent", ["generations=2"])
    store.create("child", "job", {"job": job.model_dump(mode="json"), "file": "x"}, optimizee.space)
    run(store, "child", job, optimizer, Inline(optimizee))
    assert job.start
    assert (job.start.run, job.start.take, job.start.generation) == ("parent", "state", 3)
    assert state(store, "child", optimizer) == state(store, "whole", optimizer)
    fields = jobs.stored_job(store, "child")[0]
    assert fields.start == job.start


def test_a_branch_may_change_fields_and_the_population(store):
    start(store, "parent", bowl_job(optimizer={"class": "optimizers.simulated_annealing:SimulatedAnnealing"}))
    settings = ["optimizee.noise=0.0", "optimizer.population=8", "generations=2"]
    job, optimizee, optimizer = branched(store, "parent", settings)
    store.create("child", "job", {"job": job.model_dump(mode="json"), "file": "x"}, optimizee.space)
    run(store, "child", job, optimizer, Inline(optimizee))
    frame = tables.individuals(store, "child")
    assert len(frame) == 16
    assert (frame["metric.noise"] == 0).all()


def test_a_parent_that_went_on_before_the_branch_began_is_refused(store):
    start(store, "a", bowl_job(generations=2))
    job, optimizee, optimizer = branched(store, "a", [])
    run(store, "a", bowl_job(generations=3), bowl_job().build()[1], Inline(optimizee))
    with pytest.raises(JobError, match="'a' has gone on to generation 2 since"):
        first_state(store, job, optimizer, optimizee.space)


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        ({}, "start: expected individuals or a run, got neither"),
        ({"individuals": [BEST], "run": "a"}, "expected individuals or a run, got both"),
        ({"individuals": [{"x": 0.5}]}, r"start.individuals\[0\]: params: expected a value for 'w', got none"),
        ({"individuals": [{**BEST, "x": 2.0}]}, r"start.individuals\[0\]: params.x: expected a value within Real"),
        ({"individuals": [BEST] * 33}, "start: expected at most 32 individuals, the population, got 33"),
    ],
)
def test_a_wrong_start_is_refused_before_anything_runs(entries, text):
    with pytest.raises(JobError, match=text):
        bowl_job(start=entries).build()


@pytest.mark.parametrize("address", ["random_search:RandomSearch", "grid_search:GridSearch"])
def test_an_optimizer_that_takes_no_start_says_so(address):
    with pytest.raises(JobError, match="start: expected an optimizer that can begin from known points"):
        bowl_job(start={"individuals": [BEST]}, optimizer={"class": f"optimizers.{address}"}).build()


def test_a_run_that_is_not_there_or_empty_is_refused(store):
    with pytest.raises(Exception, match="nobody"):
        pinned(store, bowl_job(start={"run": "nobody"}))
    store.create("empty", "job", {}, Bowl.space)
    with pytest.raises(JobError, match="expected a run with a generation, got 'empty', which has none"):
        pinned(store, bowl_job(start={"run": "empty"}))
