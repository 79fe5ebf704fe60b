"""What an optimizer recommends in the end, judged anew."""

import numpy as np
import pytest
from places import JOBS
from typer.testing import CliRunner

import l2l_snn
from l2l_snn.cli import app
from l2l_snn.loop.job import load
from l2l_snn.loop.recommended import FRESH, judge_recommended
from l2l_snn.results import tables
from l2l_snn.seeding import evaluation_seeds
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.store import Store
from optimizees.functions import Function
from optimizees.gym import Gym
from optimizees.gym.networks import Perceptron
from optimizers.cma_es import CMAES
from optimizers.ppo import PPO

NOISY = Function(name="sphere", dimension=2, noise=3.0)
URL = "sqlite:///l2l.db"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    optimizer = CMAES(population=8)
    return l2l_snn.run(NOISY, optimizer, generations=6, store=URL, name="noisy", inline=True, show=False, seed=5)


def test_it_is_the_optimizers_own_with_seeds_that_the_run_never_had_and_no_luck(run):
    done = run.recommended(40)
    optimizer = CMAES(population=8)
    with Store(URL) as store:
        state = store.optimizer_state("noisy", optimizer.init(NOISY.space, 5))
    np.testing.assert_array_equal(done.z, optimizer.recommend(NOISY.space, state))
    np.testing.assert_array_equal(done.seeds, evaluation_seeds(5, FRESH, 40))
    seen = tables.individuals(URL, "noisy")
    assert not set(done.seeds) & set(seen["seed"])
    fitness = done.evaluation.fitness
    again = NOISY.evaluate_batch(np.repeat(done.z[None], 40, axis=0), done.seeds)
    np.testing.assert_array_equal(fitness, again.fitness)
    assert fitness.mean() < seen["fitness"].max()  # the luckiest of 48
    assert f"fitness: mean {fitness.mean():.6g}, standard deviation {fitness.std(ddof=1):.6g}" in done.report()
    np.testing.assert_array_equal(run.recommended(40).evaluation.fitness, fitness)


def test_the_command_says_it_and_draws_another_choice_of_a_policy_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gym = Gym(network="perceptron", perceptron=Perceptron((4,)), envs=2, horizon=20)
    ppo = PPO(epochs=1, minibatches=2, critic=(4,))
    l2l_snn.run(gym, ppo, generations=2, store=URL, name="pole", inline=True, show=False)
    printed = CliRunner().invoke(app, ["recommend", "pole", "-n", "3", "--set", "optimizee.choice=best"])
    assert printed.exit_code == 0, printed.output
    assert "pole: recommended after 2 generations, 3 new seeds\nfitness: mean " in printed.output
    assert "steps: mean " in printed.output
    lost = CliRunner().invoke(app, ["recommend", "pole", "-n", "2", "--set", "optimizee.noise.friction=0.5"])
    assert "2 of 2 evaluations failed; the first: " in lost.output
    assert "noise.friction: expected 0" in lost.output
    assert "no pictures: the evaluation failed" in lost.output
    assert not (tmp_path / "runs/pole/recommended").exists()


def test_before_the_first_generation_there_is_none(tmp_path):
    with Store(f"sqlite:///{tmp_path}/l2l.db") as store:
        job, optimizee, _ = load(JOBS / "smoke.yaml")
        store.create("empty", "smoke", {"job": job.model_dump(mode="json"), "file": "x"}, optimizee.space)
        with pytest.raises(StoreError, match="nothing is committed yet"):
            judge_recommended(store, "empty")
        with pytest.raises(ValueError, match="evaluations: expected"):
            judge_recommended(store, "empty", 0)
