"""Share of the BBOB targets that each optimizer reaches: 24 functions, 5 instances each, 200 x D evaluations.

    python benchmarks/optimizers/bbob.py                                    # every class of optimizers/, beside pycma
    python benchmarks/optimizers/bbob.py cma_es:CMAES ga:GeneticAlgorithm population=64 pycma --dimensions 5
    python benchmarks/optimizers/bbob.py --write ours.json
    python benchmarks/optimizers/bbob.py --read ours.json l2l.json    # only print the table; l2l.json is of bbob_l2l.py

COCO's noiseless suite (Hansen et al. 2021, COCO: a platform for comparing continuous optimizers in a black-box
setting). A run's score is the share of 51 targets, f - f_opt = 10^2 .. 10^-8 in equal steps of the exponent, that its
best evaluation reaches within the budget; the table has the mean over functions and instances, in percent. All begin
alike: the first sample or mean is at 0 with a standard deviation of 2 in each coordinate, in COCO's region of interest
[-5, 5]; nothing is bounded. pycma doesn't restart and may end before the budget does; pycma_ipop restarts with twice
the population from a uniform point in [-4, 4] (Auger & Hansen 2005). Python's own modules, numpy and cocoex are all
that this file needs before it builds an optimizer.

Legend: P individuals, D coordinates.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import chdir
from functools import partial
from pathlib import Path
from typing import Any

for library in ("OMP", "OPENBLAS", "MKL"):  # one thread a process, set before numpy is imported
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")

import cocoex  # noqa: E402
import numpy as np  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
START_STD = 2.0  # of the first sample around 0
TARGETS = np.logspace(2, -8, 51)
BUDGET = 200  # evaluations, in units of D
GROUPS = {  # COCO's, by function number
    "separable": range(1, 6),
    "moderate": range(6, 10),
    "ill-conditioned": range(10, 15),
    "multi-modal": range(15, 20),
    "weak structure": range(20, 25),
}
PEERS = ("pycma", "pycma_ipop")


class OutOfBudget(Exception):
    """All evaluations are used, or the last target is reached."""


class Recorder:
    """A problem's f, which ends the run when the budget is used or the last target reached, and knows the best."""

    def __init__(self, dimension: int, function: int, instance: int, budget: int):
        self._suite = cocoex.Suite("bbob", "", f"dimensions:{dimension} function_indices:{function}")
        self._problem = self._suite.get_problem_by_function_dimension_instance(function, dimension, instance)
        self.optimum = self._optimum()
        self.budget = budget
        self.evaluations = 0
        self.gap = np.inf  # best f so far - f_opt

    def _optimum(self) -> float:
        """Return f_opt: the value at the best x, which cocoex writes to a file in the current folder.

        BBOB rounds f_opt to 1e-2, so the last bits of f at that x don't matter.
        """
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            self._problem._best_parameter("print")  # noqa: SLF001, COCO has no other way
            (file,) = Path(folder).iterdir()
            value = self._problem(np.loadtxt(file))
        if not self._problem.final_target_hit or abs(value - round(value, 2)) > 1e-9:
            raise RuntimeError(f"{self._problem.id}: f at cocoex's best x is {value}, which isn't the optimum")
        return round(value, 2)

    def __call__(self, x: np.ndarray) -> float:
        """Return f(x) of one x (D,)."""
        if self.evaluations >= self.budget or self.gap <= TARGETS[-1]:
            raise OutOfBudget
        self.evaluations += 1
        value = self._problem(x)
        self.gap = min(self.gap, value - self.optimum)
        return value

    def batch(self, x: np.ndarray) -> np.ndarray:
        """Return f (P,) of x (P, D)."""
        return np.array([self(row) for row in x])


def ours(optimizer: Any, recorder: Recorder, dimension: int, seed: int) -> None:
    """Run one of our optimizers until the budget is used."""
    from l2l_snn.evaluation import Evaluation
    from l2l_snn.space import Free, Space

    space = Space(x=Free((dimension,), scale=START_STD))
    state = optimizer.init(space, seed)
    while True:
        z, state = optimizer.ask(space, state)
        state = optimizer.tell(space, state, z, Evaluation(-recorder.batch(START_STD * z)))


def pycma(recorder: Recorder, dimension: int, seed: int, restarts: bool) -> None:
    """Run pycma with its own settings until it stops, or with restarts until the budget is used."""
    import cma

    generator = np.random.default_rng(seed)
    start, options = np.zeros(dimension), {"verbose": -9, "seed": seed + 1}
    while True:
        search = cma.CMAEvolutionStrategy(start, START_STD, options)
        while not search.stop():
            x = search.ask()
            search.tell(x, recorder.batch(np.array(x)))
        if not restarts:
            return
        start = generator.uniform(-4, 4, dimension)
        options = {**options, "popsize": 2 * search.popsize, "seed": options["seed"] + 1}


def build(name: str, settings: dict[str, Any]) -> Any:
    """Return one of our optimizers, "module:Class" of the folder optimizers/, with settings as a job file has them."""
    from l2l_snn.loop import components
    from l2l_snn.optimizer import Optimizer

    components.find_modules(ROOT)
    return components.build({"class": f"optimizers.{name}", **settings}, "optimizer", Optimizer)


def found(gradients: bool = False, settings: dict[str, dict[str, Any]] | None = None) -> list[str]:
    """Return "module:Class" of our optimizers that can be built, and say which are left out.

    Args:
        gradients: also those that need a gradient.
        settings: "module:Class" -> its fields, for those that have no defaults.
    """
    import importlib
    import inspect

    from l2l_snn.loop.job import JobError
    from l2l_snn.optimizer import Optimizer

    sys.path.insert(0, str(ROOT))
    names = []
    for file in sorted((ROOT / "optimizers").glob("[!_]*.py")):
        try:
            module = importlib.import_module(f"optimizers.{file.stem}")
        except Exception as error:  # a file may need a library that isn't here
            print(f"left out: optimizers/{file.name}, {type(error).__name__}: {error}", file=sys.stderr)
            continue
        for name, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ != module.__name__ or not issubclass(kind, Optimizer) or inspect.isabstract(kind):
                continue
            try:
                optimizer = build(f"{file.stem}:{name}", (settings or {}).get(f"{file.stem}:{name}", {}))
            except JobError as error:
                print(f"left out: {file.stem}:{name}, {error}", file=sys.stderr)
                continue
            if optimizer.needs_grad and not gradients:
                print(f"left out: {file.stem}:{name}, it needs a gradient and BBOB has none", file=sys.stderr)
            else:
                names.append(f"{file.stem}:{name}")
    return names


def record(algorithm: str, recorder: Recorder, dimension: int, function: int, instance: int, run: Callable) -> dict:
    """Return what became of one run, for JSON."""
    start, error = time.perf_counter(), ""
    try:
        run()
    except OutOfBudget:
        pass
    except Exception as problem:  # one that breaks is a line of the table, not the end of the others
        error = f"{type(problem).__name__}: {problem}"
    return {
        "algorithm": algorithm,
        "dimension": dimension,
        "function": function,
        "instance": instance,
        "gap": recorder.gap,
        "evaluations": recorder.evaluations,
        "budget": recorder.budget,
        "seconds": time.perf_counter() - start,
        "error": error,
    }


def work(task: tuple[str, dict[str, Any], int, int, int, int]) -> dict[str, Any]:
    """Do one run."""
    name, settings, dimension, function, instance, budget = task
    recorder = Recorder(dimension, function, instance, budget * dimension)
    seed = 1000 * function + instance

    if name in PEERS:
        import cma  # noqa: F401, so that the time to import isn't the first run's

        run = partial(pycma, recorder, dimension, seed, restarts=name == "pycma_ipop")
    else:
        run = partial(ours, build(name, settings), recorder, dimension, seed)

    label = " ".join([name.rpartition(":")[2], *(f"{key}={value}" for key, value in settings.items())])
    return record(label, recorder, dimension, function, instance, run)


def shares(records: Iterable[dict[str, Any]]) -> np.ndarray:
    """Return the share of the targets that each run reached, (runs,), in percent."""
    return np.array([100 * float(np.mean(r["gap"] <= TARGETS)) for r in records])


def table(records: list[dict[str, Any]]) -> str:
    """Return Markdown: for each D, a row for each algorithm, the best first; every run counts alike."""
    lines = []
    for dimension in sorted({r["dimension"] for r in records}):
        rows = []
        for name in dict.fromkeys(r["algorithm"] for r in records):
            mine = [r for r in records if r["algorithm"] == name and r["dimension"] == dimension]
            if not mine:
                continue
            groups = [shares(r for r in mine if r["function"] in numbers) for numbers in GROUPS.values()]
            cells = [f"{group.mean():.1f}" if len(group) else "-" for group in groups]
            used = np.mean([r["evaluations"] / r["budget"] for r in mine])
            broken = sum(bool(r["error"]) for r in mine)
            cells += [f"{len(mine)}", f"{broken}", f"{100 * used:.0f}", f"{sum(r['seconds'] for r in mine):.1f}"]
            rows.append((float(shares(mine).mean()), name, cells))
        head = ["algorithm", "all", *GROUPS, "runs", "broken", "budget used, %", "time, s"]
        functions = len({r["function"] for r in records if r["dimension"] == dimension})
        budgets = sorted({r["budget"] for r in records if r["dimension"] == dimension})
        lines += [f"D = {dimension}: targets reached, %, of {functions} functions within {budgets} evaluations", ""]
        lines += [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
        lines += [
            f"| {name} | {share:.1f} | {' | '.join(cells)} |" for share, name, cells in sorted(rows, reverse=True)
        ]
        lines.append("")
    errors = dict.fromkeys(f"{r['algorithm']}: {r['error']}" for r in records if r["error"])
    return "\n".join(lines + [f"- {error}" for error in list(errors)[:20]])


def arguments(description: str, defaults: str) -> argparse.ArgumentParser:
    """Return the options that bbob_l2l.py has too."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=defaults)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[5, 20], choices=[2, 3, 5, 10, 20, 40])
    parser.add_argument("--functions", type=int, nargs="+", default=range(1, 25), choices=range(1, 25), metavar="1..24")
    parser.add_argument("--instances", type=int, nargs="+", default=range(1, 6), choices=range(1, 16), metavar="1..15")
    parser.add_argument("--budget", type=int, default=BUDGET, help="evaluations of a run, in units of D")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--write", type=Path, help="write all runs to this JSON file")
    return parser


def run_all(tasks: list[Any], job: Callable[[Any], dict[str, Any]], options: argparse.Namespace) -> list[dict]:
    """Return the records of all tasks, in order; one process for each of `options.workers`."""
    from multiprocessing import get_context

    done, start = [], time.perf_counter()
    with get_context("spawn").Pool(options.workers) as pool:
        for one in pool.imap(job, tasks, chunksize=5):
            done.append(one)
            if len(done) % 100 == 0 or len(done) == len(tasks):
                print(f"{len(done)} of {len(tasks)} runs, {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if options.write is not None:
        options.write.write_text(json.dumps(done))
    return done


def main() -> None:
    names = "module:Class of optimizers/, each followed by its settings key=value; pycma, pycma_ipop; default: all"
    parser = arguments(__doc__ or "", names)
    parser.add_argument("--read", type=Path, nargs="+", default=[], help="add the runs of these JSON files")
    options = parser.parse_args()
    chosen: list[tuple[str, dict[str, Any]]] = []
    for word in options.names:
        key, sign, value = word.partition("=")
        if not sign:
            chosen.append((word, {}))
        elif chosen:
            chosen[-1][1][key] = json.loads(value) if value[:1] in '-0123456789."[{tfn' else value
        else:
            parser.error(f"{word}: expected after the name of an optimizer")
    if not chosen and not options.read:
        chosen = [(name, {}) for name in [*found(), *PEERS]]
    for name, settings in chosen:
        if name not in PEERS:
            build(name, settings)  # complains before anything runs
    grid = [(d, f, i) for d in options.dimensions for f in options.functions for i in options.instances]
    tasks = [(name, settings, *place, options.budget) for name, settings in chosen for place in grid]
    records = run_all(tasks, work, options) if tasks else []
    for file in options.read:
        records += json.loads(file.read_text())
    print(table(records))


if __name__ == "__main__":
    main()
