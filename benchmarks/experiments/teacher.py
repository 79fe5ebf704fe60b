"""How a trained network learns from teachers it has never met, beside linear prediction and backpropagation.

    python benchmarks/experiments/teacher.py teacher_sinus-1 --store sqlite:///l2l.db --episodes 1000
    python benchmarks/experiments/teacher.py gain_1 gain_2 gain_4 gain_8 --out runs/gains

The weights are those that the run's optimizer holds now (of single evaluations the best is mostly a lucky one). Errors
are means over functions drawn from a seed that no evaluation of a run has (those are >= 1); backpropagation is that of
the best of five learning rates. Then: from which example on the network's error is under that of the optimal linear
predictor fitted to all examples before; and whether the network's memory or its answers fall short, by the error of a
readout outside the network that multiplies the slow traces of its adaptive neurons with the input. Last, a table of
all runs: at which gain the claim holds, that the error from the 20th example on is under the linear predictor's; and
what share of its functions' variance the best line leaves.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np

from l2l_snn.loop.job import stored_job
from l2l_snn.results.figures import save
from l2l_snn.results.tables import individuals
from l2l_snn.storage import DEFAULT_STORE
from l2l_snn.storage.store import Store
from optimizees.teacher import Teacher
from optimizees.teacher.figures import draw_training
from optimizees.teacher.functions import backpropagation_predictions, batch_linear_errors, sample_episodes

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


def study(store: Store, name: str, episodes: int, examples: int | None, out: Path | None) -> dict[str, str]:
    """Print the tables of a run and draw its pictures; return its row of the last table."""
    stored = store.load(name)
    job, trained, optimizer = stored_job(store, name)
    if not isinstance(trained, Teacher):
        raise SystemExit(f"{name}: expected one of optimizees.teacher:Teacher, got {type(trained).__name__}")
    z = store.optimizer_state(name, optimizer.init(trained.space, job.seed)).z[:1]
    teacher = replace(trained, episodes=episodes, examples=examples or trained.examples)
    evaluation = teacher.evaluate_batch(z, np.array([0]), with_artifacts=True)
    errors, linear = evaluation.artifacts["errors"][0], evaluation.artifacts["linear_errors"][0]
    bp = backpropagation(teacher, episodes) if teacher.family == "network" else np.full(len(errors), np.nan)
    print(f"{name}, {stored.generation} generations, {episodes} functions; ", end="")
    print(", ".join(f"{name} {value[0]:.4g}" for name, value in evaluation.metrics.items()))
    print("\n| example | network | linear predictor | backpropagation |\n| --: | --: | --: | --: |")
    for n in [n for n in SHOWN if n <= len(errors)]:
        print(f"| {n} | {errors[n - 1]:.4g} | {linear[n - 1]:.4g} | {bp[n - 1]:.4g} |")
    above = np.flatnonzero(errors >= linear)
    first = 1 if not len(above) else above[-1] + 2
    holds = first <= len(errors)
    print(f"\nunder the linear predictor from example {first} on" if holds else "\nnot under it at the end")
    if teacher.lsnn.adaptive and teacher.examples > 10:
        print(f"from the traces of its adaptive neurons: {from_memory(teacher, z[0], episodes):.4g}")
    sampled, _ = sample_episodes(teacher.family, jax.random.key(1), episodes, teacher.examples, teacher.gain)
    left = batch_linear_errors(*map(np.asarray, sampled))
    if out:
        params = teacher.space.decode(z[0])
        answers = jax.jit(lambda: teacher.learner.run(params, jax.random.key(2), sampled)[0])()
        after = np.asarray((answers - sampled.y) ** 2).mean(axis=1)
        during = individuals(store, name)["metric.mse"].to_numpy()
        files = [save(draw_training(during, left.mean(), after), out / "training.png")]
        for file in files + teacher.draw(params, evaluation, out):
            print(file)
    return {
        "run": name,
        "gain": f"{teacher.gain:g}",
        "a line leaves": f"{100 * left.mean() / np.asarray(sampled.y).var(axis=1).mean():.2g} %",
        "network": f"{evaluation.metrics['mse_late'][0]:.4g}",
        "linear predictor": f"{evaluation.metrics['linear_late'][0]:.4g}",
        "under it from example": str(first) if holds else "none",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--store", default=DEFAULT_STORE)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--examples", type=int, help="of each episode; as in the run by default")
    parser.add_argument("--out", type=Path, help="folder for pictures; of several runs, with a folder for each")
    options = parser.parse_args()
    rows = []
    with Store(options.store, create=False) as store:
        for name in options.runs:
            out = options.out / name if options.out and len(options.runs) > 1 else options.out
            rows.append(study(store, name, options.episodes, options.examples, out))
            print(flush=True)
    print(f"| {' | '.join(rows[0])} |\n|{' --- |' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(row.values())} |")


if __name__ == "__main__":
    main()
