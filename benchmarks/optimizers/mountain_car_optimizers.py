"""Every optimizer on Mountain Car with the same budget: who reaches the flag, and after how many evaluations.

    python benchmarks/optimizers/mountain_car_optimizers.py [NAME...] [--seeds 5] [--store X.db] [--picture X.png]

Runs jobs/mountain_car_NAME.yaml, all of them by default, in JAX (float64, the spikes of NEST) on one pool of workers,
and prints the table of `l2l compare`. What the store already has is not run again; what was interrupted goes on.
"""

import argparse
import tempfile
import time
from pathlib import Path

from l2l_snn.loop.job import Job, load, manifest
from l2l_snn.loop.run import run
from l2l_snn.results.compare import compare
from l2l_snn.results.comparison import draw_comparison
from l2l_snn.storage.store import Store
from l2l_snn.workers.ray_pool import RayPool

JOBS = Path(__file__).parents[2] / "jobs"
BUDGET = 9600  # evaluations: 300 generations of 32
FLAG = 0.5
LEFT_OUT = ("jax", "published")  # the genetic algorithm again


def found(name: str, seed: int) -> tuple[Path, Job]:
    path = JOBS / f"mountain_car_{name}.yaml"
    settings = ["optimizee.backend=jax", "generations=100000", f"stop.evaluations={BUDGET}", f"seed={seed}"]
    return path, load(path, settings)[0]


def main() -> None:
    names = sorted(path.stem.removeprefix("mountain_car_") for path in JOBS.glob("mountain_car_*.yaml"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[name for name in names if name not in LEFT_OUT])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--store", type=Path, help="kept; a temporary one by default")
    parser.add_argument("--picture", type=Path, default=Path("mountain_car_optimizers.png"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = options.store or Path(folder) / "l2l.db"
        with Store(f"sqlite:///{file}") as store:
            optimizee = found("ga", 1)[1].build()[0]
            there = {stored.name: stored.state for stored in store.runs()}
            with RayPool(optimizee, chunk=16) as pool:
                for seed in range(1, options.seeds + 1):
                    for name in options.names:
                        path, job = found(name, seed)
                        if there.get(f"{name}-{seed}") == "finished":
                            continue
                        pool.chunk = job.chunk
                        began = time.perf_counter()
                        if f"{name}-{seed}" not in there:
                            store.create(f"{name}-{seed}", path.stem, manifest(job, path), optimizee.space)
                        stored = run(store, f"{name}-{seed}", job, job.build()[1], pool)
                        seconds = time.perf_counter() - began
                        print(f"{name}-{seed}: {stored.best:.3f}, {stored.evaluations}, {seconds:.0f} s", flush=True)
            runs = [f"{name}-{seed}" for name in options.names for seed in range(1, options.seeds + 1)]
            table, curves = compare(store, runs, target=FLAG)
            draw_comparison(curves, options.picture, "Mountain Car", target=FLAG)
    table = table.sort_values(["reached", "to_target", "best"], ascending=[False, True, False], na_position="last")
    print("\n| optimizer | flag reached | evaluations to it, median (quartiles) | best fitness, median (quartiles) |")
    print("| --- | --- | --- | --- |")
    for row in table.to_dict("records"):
        name = str(row["group"]).removeprefix("mountain_car_")
        needed = " ".join("never" if row[k] != row[k] else f"{row[k]:.0f}" for k in ("to_target_q1", "to_target_q3"))
        middle = "never" if row["to_target"] != row["to_target"] else f"{row['to_target']:.0f}"
        best = f"{row['best']:.3f} ({row['best_q1']:.3f} {row['best_q3']:.3f})"
        print(f"| {name} | {row['reached']} of {row['runs']} | {middle} ({needed}) | {best} |")


if __name__ == "__main__":
    main()
