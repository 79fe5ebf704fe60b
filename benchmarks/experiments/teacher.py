"""How a trained network learns from teachers it has never met, beside linear prediction and backpropagation.

    python benchmarks/experiments/teacher.py teacher_sinus-1 --store sqlite:///l2l.db --episodes 1000

The weights are those that the run's optimizer holds now (of single evaluations the best is mostly a lucky one). Errors
are means over functions drawn from a seed that no evaluation of a run has (those are >= 1); backpropagation is that of
the best of five learning rates. Then: from which example on the network's error is under that of the optimal linear
predictor fitted to all examples before; and whether the network's memory or its answers fall short, by the error of a
readout outside the network that multiplies the slow traces of its adaptive neurons with the input.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from l2l_snn.loop.job import stored_job
from l2l_snn.storage import DEFAULT_STORE
from l2l_snn.storage.store import Store
from optimizees.teacher import Teacher
from optimizees.teacher.functions import backpropagation_predictions, sample_episodes

SHOWN = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 50, 100, 200, 500)


def backpropagation(teacher: Teacher, episodes: int) -> np.ndarray:
    """Return the mean squared error over examples (E,) of the best of a few learning rates."""
    sampled, _ = sample_episodes("network", jax.random.key(1), episodes, teacher.examples, teacher.gain)
    x, y = np.asarray(sampled.x), np.asarray(sampled.y)
    errors = [
        ((backpropagation_predictions(x, y, gain=teacher.gain, learning_rate=rate) - y) ** 2).mean(axis=0)
        for rate in (0.01, 0.03, 0.1, 0.3, 1.0)
    ]
    return min(errors, key=lambda error: error.mean())


def from_memory(teacher: Teacher, z: np.ndarray, episodes: int) -> float:
    """Return the mean squared error over the last ten examples of answers linear in (1, traces) x (1, input).

    Traces are those before an example is shown. Weights are fitted to the first half of the functions, the error is
    that of the second.
    """
    learner, params = teacher.learner, teacher.space.decode(z)
    key, noise = jax.random.split(jax.random.key(2))
    sampled, _ = sample_episodes(teacher.family, key, episodes, teacher.examples, teacher.gain)

    def remembered() -> jax.Array:
        return learner.traces(learner.counts(learner.run(params, noise, sampled)[1][1]))

    traces = np.swapaxes(jax.jit(remembered)(), 0, 1)[:, -11:-1]  # (B, 10, A)
    x, y = (np.asarray(array, np.float64)[:, -10:] for array in sampled)
    known, asked = (np.concatenate([np.ones((*y.shape, 1)), array], axis=-1) for array in (traces, x))
    features = (known[..., None] * asked[..., None, :]).reshape(*y.shape, -1)
    half, width = episodes // 2, features.shape[-1]
    fitted, target = features[:half].reshape(-1, width), y[:half].ravel()
    weights = np.linalg.solve(fitted.T @ fitted + 1e-3 * np.eye(width), fitted.T @ target)
    return float(np.mean((features[half:] @ weights - y[half:]) ** 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--store", default=DEFAULT_STORE)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--examples", type=int, help="of each episode; as in the run by default")
    parser.add_argument("--out", type=Path, help="folder for pictures")
    options = parser.parse_args()
    with Store(options.store, create=False) as store:
        stored = store.load(options.run)
        job, trained, optimizer = stored_job(store, options.run)
        if not isinstance(trained, Teacher):
            parser.error(f"run: expected one of optimizees.teacher:Teacher, got {type(trained).__name__}")
        z = store.optimizer_state(options.run, optimizer.init(trained.space, job.seed)).z[:1]
    teacher = replace(trained, episodes=options.episodes, examples=options.examples or trained.examples)
    evaluation = teacher.evaluate_batch(z, np.array([0]), with_artifacts=True)
    errors, linear = evaluation.artifacts["errors"][0], evaluation.artifacts["linear_errors"][0]
    bp = backpropagation(teacher, options.episodes) if teacher.family == "network" else np.full(len(errors), np.nan)
    print(f"{options.run}, {stored.generation} generations, {options.episodes} functions; ", end="")
    print(", ".join(f"{name} {value[0]:.4g}" for name, value in evaluation.metrics.items()))
    print("\n| example | network | linear predictor | backpropagation |\n| --: | --: | --: | --: |")
    for n in [n for n in SHOWN if n <= len(errors)]:
        print(f"| {n} | {errors[n - 1]:.4g} | {linear[n - 1]:.4g} | {bp[n - 1]:.4g} |")
    above = np.flatnonzero(errors >= linear)
    first = 1 if not len(above) else above[-1] + 2
    print(
        f"\nunder the linear predictor from example {first} on" if first <= len(errors) else "\nnot under it at the end"
    )
    if teacher.lsnn.adaptive and teacher.examples > 10:
        print(f"from the traces of its adaptive neurons: {from_memory(teacher, z[0], options.episodes):.4g}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for file in teacher.draw(teacher.space.decode(z[0]), evaluation, options.out):
            print(file)


if __name__ == "__main__":
    main()
