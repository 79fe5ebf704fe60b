"""Time the L2L framework (l2lforhpc) on its own Mountain Car; run this with the Python of its environment.

    VENV/bin/python benchmarks/l2l_framework/run.py --generations 3 --workers 32

The genetic algorithm has the published setting (population 32). One generation warms up: the workers import
NEST while it runs. The next `--generations` are timed. The last line on stdout is one JSON object:

    framework, population, workers, poll_s (null: the framework's own 5 s), generations (timed),
    evaluations (in them), seconds (from the end of the first generation to the end of the last one, breeding
    included), evaluations_per_s, total_seconds (start-up, warm-up and end included), best (fitness, warm-up included)

The framework leaves its workers behind, so it runs in a process group of its own that is ended here.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

POPULATION = 32


def shorten_sleeps(poll: float) -> None:
    """Let master and workers of the framework sleep `poll` seconds where they sleep 5."""
    from l2l.utils import runner

    runner.time = SimpleNamespace(sleep=lambda seconds: time.sleep(min(seconds, poll)))
    prepare = runner.Runner.prepare_run_file

    def prepare_run_file(self):
        prepare(self)
        script = Path(self.path, "run_optimizee.py")
        text = script.read_text()
        if text.count("time.sleep(5)") != 1:
            raise RuntimeError("the workers' script: expected one time.sleep(5), as in l2lforhpc 2.0.0b0")
        script.write_text(text.replace("time.sleep(5)", f"time.sleep({poll})"))

    runner.Runner.prepare_run_file = prepare_run_file


def experiment(folder: Path, generations: int, workers: int, poll: float | None, seed: int) -> dict:
    """Run 1 + `generations` generations in this process and return what is printed, but for `total_seconds`."""
    import numpy as np
    from l2l.optimizees.mc_gym import NeuroEvolutionOptimizeeMC, NeuroEvolutionOptimizeeMCParameters
    from l2l.optimizers.evolution import GeneticAlgorithmOptimizer, GeneticAlgorithmParameters
    from l2l.utils.experiment import Experiment

    random.seed(seed)  # its GA draws from the global generators and ignores its own seed
    np.random.seed(seed)  # noqa: NPY002
    if poll is not None:
        shorten_sleeps(poll)
    Path(folder, "results").mkdir()  # the workers would race to make it, and the loser's individual would never end
    outer = Experiment(root_dir_path=str(folder))
    trajectory, _ = outer.prepare_experiment(
        name="mountain_car", runner_params={"exec": sys.executable, "max_workers": workers}
    )
    inner_parameters = NeuroEvolutionOptimizeeMCParameters(
        path=str(folder), seed=seed, save_n_generation=10, run_headless=True, load_parameter=False
    )
    optimizee = NeuroEvolutionOptimizeeMC(trajectory, inner_parameters)
    parameters = GeneticAlgorithmParameters(
        seed=seed,
        pop_size=POPULATION,
        cx_prob=0.7,
        mut_prob=0.7,
        n_iteration=1 + generations,
        ind_prob=0.45,
        tourn_size=4,
        mate_par=0.5,
        mut_par=1,
    )
    optimizer = GeneticAlgorithmOptimizer(
        trajectory,
        optimizee_create_individual=optimizee.create_individual,
        optimizee_fitness_weights=(1,),
        parameters=parameters,
        optimizee_bounding_func=optimizee.bounding_func,
    )
    ends: list[float] = []  # (1 + generations,) when each generation was evaluated, s
    fitness: list[list[float]] = []  # of each generation's evaluations
    breed = optimizer.post_process

    def post_process(trajectory, results):
        ends.append(time.perf_counter())
        fitness.append([float(value[0]) for _, value in results])
        breed(trajectory, results)

    optimizer.post_process = post_process
    outer.run_experiment(
        optimizer=optimizer,
        optimizee=optimizee,
        optimizer_parameters=parameters,
        optimizee_parameters=inner_parameters,
    )
    seconds = ends[-1] - ends[0]
    evaluations = sum(len(values) for values in fitness[1:])
    return {
        "framework": f"l2lforhpc {version('l2lforhpc')}",
        "population": POPULATION,
        "workers": workers,
        "poll_s": poll,
        "generations": generations,
        "evaluations": evaluations,
        "seconds": round(seconds, 3),
        "evaluations_per_s": round(evaluations / seconds, 4),
        "best": max(max(values) for values in fitness),
    }


def in_own_group(command: list[str], folder: Path, limit: float) -> str:
    """Run `command` in a new process group, end the whole group, and return what it printed on standard error."""
    log = Path(folder, "log.txt")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that `finally` runs
    with log.open("w") as stream:
        child = subprocess.Popen(command, cwd=folder, stdout=stream, stderr=stream, process_group=0)
        try:
            child.wait(limit)
        except subprocess.TimeoutExpired:
            print(f"not done after {limit:g} s", flush=True)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return log.read_text(errors="replace")


def main() -> int:
    """Start the experiment in a group of its own and print its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=3, help="timed generations, after one that warms up")
    parser.add_argument("--workers", type=int, default=32, help="its worker processes, 1 to 32 (its default is 32)")
    parser.add_argument("--poll", type=float, help="cut its sleeps of 5 s to this, s (default: leave them as shipped)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=3600.0, help="give up after this, s")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # set in the inner process only
    options = parser.parse_args()
    if options.generations < 1 or not 1 <= options.workers <= POPULATION:
        parser.error(f"expected --generations >= 1 and --workers in 1..{POPULATION}")
    if options.folder is not None:
        result = experiment(options.folder, options.generations, options.workers, options.poll, options.seed)
        Path(options.folder, "result.json").write_text(json.dumps(result))
        return 0
    with tempfile.TemporaryDirectory(prefix="l2l_framework_", ignore_cleanup_errors=True) as name:
        start = time.perf_counter()
        command = [sys.executable, str(Path(__file__).resolve()), *sys.argv[1:], "--folder", name]
        log = in_own_group(command, Path(name), options.limit)
        answer = Path(name, "result.json")
        if not answer.exists():
            print(log[-4000:], file=sys.stderr)
            return 1
        result = json.loads(answer.read_text())
        print(json.dumps({**result, "total_seconds": round(time.perf_counter() - start, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
