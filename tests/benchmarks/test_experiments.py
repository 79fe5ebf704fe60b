"""Benchmarks of experiments, as small as they can be: what they print is what was counted."""

import json
import runpy
import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from places import ROOT

import l2l_snn
from optimizees.mountain_car import MountainCar
from optimizees.teacher import LSNN, Teacher
from optimizees.teacher.functions import batch_linear_errors, sample_episodes
from optimizers.gradient_ascent import GradientAscent

pytestmark = pytest.mark.usefixtures("compiled_soon")


def run(monkeypatch, capsys, name, *arguments):
    """Run a script of benchmarks/experiments with these arguments; return the rows of what it prints."""
    path = ROOT / f"benchmarks/experiments/{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
    runpy.run_path(str(path), run_name="__main__")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_vehicle_rules_lives_each_life_once_and_prints_it(monkeypatch, capsys, tmp_path):
    file = tmp_path / "new/rows.jsonl"
    arguments = ("--seeds", 1, 2, "--worlds", 1, "--tests", 4, "--rows", file)
    rows = run(monkeypatch, capsys, "vehicle_rules", *arguments)
    lived = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(row["rule"], row["seed"]) for row in lived] == [(r, s) for s in (1, 2) for r in ("hand", "evolved")]
    for i, seed in enumerate((1, 2)):
        shown = [
            f"{100 * row[name]:.1f} %" for row in lived[2 * i : 2 * i + 2] for name in ("reached", "collided", "late")
        ]
        assert rows[2 + i] == [str(seed), *shown]
    assert sum(int(row[2]) for row in rows[7:]) == 4  # each life is in one group
    assert run(monkeypatch, capsys, "vehicle_rules", *arguments) == rows
    assert len(file.read_text().splitlines()) == 4


def test_teacher_has_a_row_for_a_run_and_draws_its_training(monkeypatch, capsys, tmp_path):
    lsnn = LSNN(regular=4, adaptive=3, coding=6, step_ms=10, delay_max=1.0)
    teacher = Teacher(gain=8.0, examples=14, skip=4, episodes=2, lsnn=lsnn)
    store = f"sqlite:///{tmp_path}/l2l.db"
    l2l_snn.run(teacher, GradientAscent(), generations=3, store=store, name="eight", inline=True, show=False)
    rows = run(monkeypatch, capsys, "teacher", "eight", "--store", store, "--episodes", 20, "--out", tmp_path / "out")
    assert rows[0] == ["example", "network", "linear predictor", "backpropagation"]
    x, y = map(np.asarray, sample_episodes("network", jax.random.key(1), 20, 14, 8.0)[0])
    left = batch_linear_errors(x, y).mean() / y.var(axis=1).mean()
    assert rows[-1][:3] == ["eight", "8", f"{100 * left:.2g} %"]
    found = replace(teacher, episodes=20).evaluate_batch(np.zeros((1, teacher.space.size)), np.array([0]))
    assert rows[-1][4] == f"{found.metrics['linear_late'][0]:.4g}"
    assert (tmp_path / "out/training.png").stat().st_size > 10_000


def test_efficiency_counts_the_spikes_that_arrive_at_synapses():
    measure = runpy.run_path(str(ROOT / "benchmarks/experiments/efficiency.py"))["measure"]
    car = MountainCar(backend="jax", steps=10)
    z = car.space.sample(np.random.default_rng(3), 2)
    found = measure(car, z)
    seen = car.evaluate_batch(z, 2**31 + np.arange(2), with_artifacts=True)
    synapses = np.r_[np.full(60, 5), np.full(5, 3), np.zeros(3), 0]  # of the layers' neurons, and of -1
    assert found["spikes"] == (seen.artifacts["spike_neurons"] >= 0).sum() / 20
    assert found["operations"] == synapses[seen.artifacts["spike_neurons"]].sum() / 20
    assert found["operations"] > 5 * 10
    assert found["neuron_steps"] == 68 * 100


def test_efficiency_has_a_row_for_a_job(monkeypatch, capsys):
    arguments = ("vehicle_mlp", "mountain_car_mlp", "--genomes", 2)
    rows = run(monkeypatch, capsys, "efficiency", *arguments)
    assert [row[:2] for row in rows[2:]] == [["vehicle_mlp", "random"], ["mountain_car_mlp", "random"]]
    assert [row[3:7] for row in rows[2:]] == [["0", "0", "160", "0"], ["0", "0", "25", "0"]]


def test_policies_draws_a_sweep_as_means_over_the_seeds_of_several_files(monkeypatch, capsys, tmp_path):
    kinds = {"friction": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), "action": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}
    kinds["observation"] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    files = [tmp_path / f"{seed}.json" for seed in (1, 2)]
    for seed, file in zip((1, 2), files, strict=True):
        rows = [
            {"run": f"nd_oja_{seed}", "noise": k, "strength": s, "mean": 100 * seed - 50 * s}
            for k in kinds
            for s in kinds[k]
        ]
        file.write_text(json.dumps(rows))
    printed = run(monkeypatch, capsys, "policies", "draw_sweep", *files, "--out", tmp_path / "sweep.png")
    assert printed[2] == ["nd_oja", *(str(round(150 - 50 * s)) for s in kinds["friction"])]
    assert printed[-1] == ["nd_oja", *(f"{150 - 50 * s:.0f}" for s in kinds["observation"])]
    assert (tmp_path / "sweep.png").stat().st_size > 10_000
