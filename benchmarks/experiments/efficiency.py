"""What a decision costs in each task: spikes and synaptic operations beside a perceptron's multiply-adds, and time.

    .venv/bin/python benchmarks/experiments/efficiency.py
    .venv/bin/python benchmarks/experiments/efficiency.py mountain_car_jax-1 cartpole_mlp-1 --store sqlite:///l2l.db

Of a run of the store its best individual acts. Without a run of that name it is a job of jobs/, and nobody is trained:
weights are drawn at random, as a run's first generation is, of a rule the middle of its space is taken (for a vehicle
that is what was set by hand), but for CartPole's, which is the one that docs/results/cartpole has of seed 1. --genomes
individuals with seeds that no run has; means over them.

A synaptic operation is a spike that arrives at a synapse. A perceptron multiplies and adds at each of its connections.
A neuron step is one neuron's update in one simulation step: a few multiply-adds, spikes or not, on a processor as
here. Time is the processor's, many individuals side by side, compilation not counted; an agent's with a rule includes
its learning, no other does. The Mountain Car's network is measured in JAX.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from l2l_snn.loop.job import load, stored_job
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.storage import DEFAULT_STORE
from l2l_snn.storage.store import Store
from optimizees.agent import Agent
from optimizees.agent.perceptron import Perceptron
from optimizees.mountain_car import MountainCar
from optimizees.mountain_car.perceptron import multiply_adds
from optimizees.mountain_car.task import ACTIONS
from optimizees.vehicle import Vehicle
from optimizees.vehicle.brain import Spiking
from optimizees.vehicle.drive import Artificial, drive

ROOT = Path(__file__).resolve().parents[2]
RULES = {"cartpole_stdp_rl": ROOT / "docs/results/cartpole/rules/cartpole_stdp_rl_1.json"}
NAMES = ("mountain_car_jax", "mountain_car_mlp", "vehicle_rstdp", "vehicle_mlp")
NAMES += tuple(
    f"{task}_{mode}" for task in ("cartpole", "pendulum", "acrobot") for mode in ("stdp_rl", "weights", "mlp")
)
UNSEEN = 2**31  # seeds from here on are above every seed that a run can give
COLUMNS = ("spikes", "operations", "multiply_adds", "neuron_steps")


def choose_genomes(name: str, optimizee: BatchOptimizee, n: int) -> tuple[str, np.ndarray]:
    """Return in a word where genomes of an untrained optimizee are from, and z (n, D)."""
    if name in RULES:
        z = optimizee.space.encode(json.loads(RULES[name].read_text())["params"])
        return "rule of docs", np.repeat(z[None], n, axis=0)
    if getattr(optimizee, "mode", None) in ("stdp_rl", "rstdp"):
        return "middle of the space", np.full((n, optimizee.space.size), 0.5)
    return "random", optimizee.space.sample(np.random.default_rng(1), n)


def microseconds(act: Callable[[], Any], decisions: float) -> float:
    """Return the processor's time for a decision: the shorter of two calls, after a first one that compiles."""
    act()
    seconds = []
    for _ in range(2):
        began = time.process_time()
        act()
        seconds.append(time.process_time() - began)
    return 1e6 * min(seconds) / decisions


def measure(optimizee: BatchOptimizee, z: np.ndarray) -> dict[str, float]:
    """Return what a decision of z (n, D) costs, by the names of COLUMNS and `us`, and the mean fitness."""
    seeds = UNSEEN + np.arange(len(z))
    if isinstance(optimizee, MountainCar):
        return measure_car(replace(optimizee, episodes=1), z, seeds)
    if isinstance(optimizee, Vehicle):
        return measure_vehicle(optimizee, z, seeds)
    if not isinstance(optimizee, Agent):
        raise SystemExit(f"expected a MountainCar, a Vehicle or an Agent, got {type(optimizee).__name__}")
    found = optimizee.evaluate_batch(z, seeds)
    body, actions = optimizee.body, optimizee.make_task().actions
    neurons = 0 if optimizee.mode == "mlp" else body.hidden + 2 * actions * body.motor
    return costs_of(found.metrics, neurons * body.substeps) | {
        "fitness": float(found.fitness.mean()),
        "us": microseconds(lambda: optimizee.evaluate_batch(z, seeds), found.metrics["steps"].sum()),
    }


def costs_of(metrics: dict[str, np.ndarray], neuron_steps: float) -> dict[str, float]:
    """Return the means of the metrics that are costs, and what they don't say."""
    return {name: float(metrics[name].mean()) for name in COLUMNS[:3]} | {"neuron_steps": float(neuron_steps)}


def measure_car(optimizee: MountainCar, z: np.ndarray, seeds: np.ndarray) -> dict[str, float]:
    """Return the costs of a Mountain Car's driver, counted in all its recorded spikes."""
    found = optimizee.evaluate_batch(z, seeds, with_artifacts=True)
    decisions, network = found.metrics["steps"].sum(), optimizee.network
    us = microseconds(lambda: optimizee.evaluate_batch(z, seeds), decisions)
    result = dict.fromkeys(COLUMNS, 0.0) | {"fitness": float(found.fitness.mean()), "us": us}
    if optimizee.mode == "mlp":
        return result | {"multiply_adds": float(multiply_adds(optimizee.mlp_hidden))}
    neurons, inputs = found.artifacts["spike_neurons"], 2 * network.bins
    sent = ((neurons >= 0) & (neurons < inputs)).sum()
    hidden = ((neurons >= inputs) & (neurons < inputs + network.hidden)).sum()
    return result | {
        "spikes": float((neurons >= 0).sum() / decisions),
        "operations": float((sent * network.hidden + hidden * ACTIONS) / decisions),
        "neuron_steps": float((inputs + network.hidden + ACTIONS) * round(network.step_ms / network.resolution)),
    }


def measure_vehicle(optimizee: Vehicle, z: np.ndarray, seeds: np.ndarray) -> dict[str, float]:
    """Return the costs of a vehicle's driver in its unseen worlds; its learning is in none of them."""
    found = optimizee.evaluate_batch(z, seeds, with_artifacts=True)
    brain, arena, mlp = optimizee.brain, optimizee.arena, optimizee.mode == "mlp"
    with jax.enable_x64(False):
        if mlp:
            driver = Artificial(
                arena, Perceptron(**{k: np.float32(v) for k, v in optimizee.space.decode(z[0]).items()})
            )
        else:
            driver = Spiking(brain, arena, found.artifacts["after.sensor_motor"][0])
        act = jax.jit(lambda keys: drive(arena, driver, keys)[0].steps)
        keys = jax.random.split(jax.random.key(1), optimizee.tests)
        us = microseconds(lambda: act(keys).block_until_ready(), float(act(keys).sum()))
    neuron_steps = 0 if mlp else 2 * brain.motor * brain.substeps(arena)
    return costs_of(found.metrics, neuron_steps) | {"fitness": float(found.fitness.mean()), "us": us}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES, metavar="RUN_OR_JOB", help="all tasks' jobs by default")
    parser.add_argument("--store", default=DEFAULT_STORE)
    parser.add_argument("--genomes", type=int, default=8)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="of jobs, not of runs")
    options = parser.parse_args()
    print(
        "| name | genomes | fitness | spikes | synaptic operations | multiply-adds | neuron steps | us of processor |"
    )
    print("| --- |" + " --- |" * 7)
    for name in options.names:
        job = ROOT / f"jobs/{name}.yaml"
        if job.exists():
            optimizee = load(job, options.set)[1]
            origin, z = choose_genomes(name, optimizee, options.genomes)
        else:
            with Store(options.store, create=False) as store:
                _, optimizee, _ = stored_job(store, name)
                origin, z = "best of the run", np.repeat(store.individual(name).z[None], options.genomes, axis=0)
        cost = measure(optimizee, z)
        cells = [f"{cost['fitness']:.3g}", *(f"{cost[column]:.0f}" for column in COLUMNS), f"{cost['us']:.3g}"]
        print(f"| {name} | {origin} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
