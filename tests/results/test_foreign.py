"""Runs of other libraries in our tables."""

import json
import random

import numpy as np
import pytest
from deap import base, creator, tools
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.results import tables
from l2l_snn.results.compare import compare
from l2l_snn.results.foreign import import_deap, import_file, import_study
from l2l_snn.storage.store import Store


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store("sqlite:///l2l.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Twelve trials: one failed, one pruned, with a parameter that only some have."""
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    place = tmp_path_factory.mktemp("optuna") / "study.db"
    study = optuna.create_study(
        study_name="rates", storage=f"sqlite:///{place}", sampler=optuna.samplers.RandomSampler(1)
    )

    def objective(trial):
        x, n = trial.suggest_float("x", 0.1, 10, log=True), trial.suggest_int("n", 1, 5)
        rule = trial.suggest_categorical("rule", ["stdp", "eprop"])
        if trial.number > 5:
            trial.suggest_float("late", 0, 1)
        trial.set_user_attr("rate", 2.0 * x)
        if trial.number == 3:
            raise optuna.TrialPruned
        if trial.number == 4:
            raise FloatingPointError
        return x + n + (rule == "stdp")

    study.optimize(objective, n_trials=12, catch=(FloatingPointError,))
    study.path = place
    return study


def test_a_study_becomes_a_run_whose_values_are_its_trials(store, study):
    name = import_study(store, study)
    frame = tables.individuals(store, name)
    assert (name, len(frame)) == ("rates-1", 12)
    trials = study.trials
    complete = [k for k in range(12) if k not in (3, 4)]
    np.testing.assert_allclose(frame["fitness"][complete], [-trials[k].value for k in complete])
    assert frame["fitness"].isna().sum() == 2
    assert frame["error"].tolist()[3:5] == ["pruned", "fail"]
    np.testing.assert_allclose(frame["param.x"], [trial.params["x"] for trial in trials], rtol=1e-9)
    assert frame["param.n"].tolist() == [trial.params["n"] for trial in trials]
    assert frame["param.rule"].tolist() == [trial.params["rule"] for trial in trials]
    np.testing.assert_allclose(frame["metric.rate"], 2 * frame["param.x"], rtol=1e-9)
    assert frame["metric.late"].notna().sum() == 6
    run = store.load(name)
    assert run.manifest["job"]["optimizer"]["class"] == "optuna:RandomSampler"
    assert (run.state, run.best, run.failed) == ("finished", -study.best_value, 2)


def test_the_command_reads_a_database_and_shows_the_run(store, study):
    done = CliRunner().invoke(app, ["import", str(study.path), "--name", "theirs"])
    assert done.output == "run theirs in sqlite:///l2l.db\n"
    shown = CliRunner().invoke(app, ["show", "theirs"])
    assert "class: optuna:Sampler" in shown.output
    assert CliRunner().invoke(app, ["compare", "theirs"]).exit_code == 0
    refused = CliRunner().invoke(app, ["resume", "theirs", "--inline"])
    assert refused.exit_code == 2
    assert "optimizee.class" in refused.output
    other = CliRunner().invoke(app, ["import", str(study.path), "--study", "none"])
    assert "--study: expected a study of the database, got 'none'; name one by --study: rates" in other.output


def evolve():
    """Return the logbook and the last population of a small genetic algorithm of DEAP."""
    for name, kind in (("PairFitness", base.Fitness), ("Pair", list)):
        if not hasattr(creator, name):
            options = {"weights": (-1.0,)} if kind is base.Fitness else {"fitness": creator.PairFitness}
            creator.create(name, kind, **options)
    random.seed(1)
    statistics = tools.Statistics(lambda one: one.fitness.wvalues[0])
    for key, function in (("max", np.max), ("avg", np.mean), ("std", np.std)):
        statistics.register(key, function)
    logbook = tools.Logbook()
    population = [creator.Pair([random.uniform(-1, 1), random.uniform(-1, 1)]) for _ in range(6)]
    for generation in range(3):
        for one in population:
            one[0] *= 0.5
            one.fitness.values = (one[0] ** 2 + one[1] ** 2,)
        logbook.record(gen=generation, nevals=6, **statistics.compile(population))
    return logbook, population


def test_a_logbook_and_a_population_become_a_run(store):
    logbook, population = evolve()
    name = import_deap(store, logbook, population)
    table = tables.generations(store, name)
    assert table["evaluations"].tolist() == [6, 6, 6, 6]
    np.testing.assert_allclose(table["best"][:3], [record["max"] for record in logbook])
    np.testing.assert_allclose(table["mean"][:3], [record["avg"] for record in logbook])
    frame = tables.individuals(store, name)
    assert len(frame) == 3 + 6
    last = frame[frame["generation"] == 3]
    np.testing.assert_allclose(last["fitness"], [one.fitness.wvalues[0] for one in population])
    np.testing.assert_allclose(last[["param.x[0]", "param.x[1]"]], population)
    assert frame["param.x[0]"][:3].isna().all()  # no genome is made up
    _, curves = compare(store, [name])
    assert curves["evaluations"].tolist() == [6, 12, 18, 24]


def test_what_can_not_be_read_is_said(store, tmp_path):
    logbook, population = evolve()
    with pytest.raises(ValueError, match="expected records with max, avg and std"):
        import_deap(store, [{"gen": 0}], population, "a")
    with pytest.raises(ValueError, match="population: expected an individual or more, got none"):
        import_deap(store, logbook, [], "b")
    del population[0].fitness.values
    with pytest.raises(ValueError, match="population: expected individuals with a fitness"):
        import_deap(store, logbook, population, "c")
    (tmp_path / "x.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="expected a mapping with logbook and population, got list"):
        import_file(store, "x.json")
    with pytest.raises(ValueError, match="which isn't there"):
        import_file(store, "nothing.db")
