"""The L2L framework's own optimizers on the targets of bbob.py; run this with the Python of an environment of its own.

    VENV/bin/python benchmarks/optimizers/bbob_l2l.py --write l2l.json
    python benchmarks/optimizers/bbob.py --read l2l.json ours.json

The environment is that of benchmarks/l2l_framework/README.md with coco-experiment and scikit-learn added, which the
framework's cross entropy imports. The framework (PyPI: l2lforhpc, GPL-3) is only called, none of its code is here: its
optimizers are driven in this process by what they are built for, `eval_pop` and `post_process`, without its workers.

Settings are those of the framework's own examples (bin/l2l-fun-*.py), but for the number of iterations, which follows
from the budget. All begin as in bbob.py: populations are normal around 0 with a standard deviation of 2, single points
begin at 0, and its natural evolution strategy, which has no example, begins there with sigma = 2 and its defaults. As
in the examples, individuals are clipped to [-5, 5] where the example gives a bounding function. Its grid takes as many
points a coordinate as the budget has room for; where that isn't two, it's left out.

Legend: D coordinates.
"""

import random
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from typing import Any

from bbob import START_STD, Recorder, arguments, record, run_all  # first: it sets the number of threads

import numpy as np  # isort: skip

FOREVER = 10**9


class Sink:
    """Where its prints go."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


def parameters(name: str, dimension: int, budget: int, seed: int) -> tuple[type, Any]:
    """Return the class of one of its optimizers, and its parameters."""
    if name == "GeneticAlgorithm":
        from l2l.optimizers.evolution import GeneticAlgorithmOptimizer, GeneticAlgorithmParameters

        return GeneticAlgorithmOptimizer, GeneticAlgorithmParameters(
            seed=seed, pop_size=50, cx_prob=0.5, mut_prob=0.3, n_iteration=FOREVER, ind_prob=0.02, tourn_size=15,
            mate_par=0.5, mut_par=1,
        )  # fmt: skip
    if name == "EvolutionStrategies":
        from l2l.optimizers.evolutionstrategies import EvolutionStrategiesOptimizer, EvolutionStrategiesParameters

        return EvolutionStrategiesOptimizer, EvolutionStrategiesParameters(
            learning_rate=0.1, noise_std=1.0, mirrored_sampling_enabled=True, fitness_shaping_enabled=True, pop_size=20,
            n_iteration=FOREVER, stop_criterion=np.inf, seed=seed,
        )  # fmt: skip
    if name == "NaturalEvolutionStrategies":
        from l2l.optimizers import naturalevolutionstrategies as nes

        return nes.NaturalEvolutionStrategiesOptimizer, nes.NaturalEvolutionStrategiesParameters(
            learning_rate_mu=None, learning_rate_sigma=None, mu=np.zeros(dimension),
            sigma=np.full(dimension, START_STD), mirrored_sampling_enabled=True, fitness_shaping_enabled=True,
            pop_size=None, n_iteration=FOREVER, stop_criterion=np.inf, seed=seed,
        )  # fmt: skip
    if name == "CrossEntropy":
        from l2l.optimizers.crossentropy import CrossEntropyOptimizer, CrossEntropyParameters
        from l2l.optimizers.crossentropy.distribution import NoisyGaussian

        return CrossEntropyOptimizer, CrossEntropyParameters(
            pop_size=10, rho=0.9, smoothing=0.0, temp_decay=0, n_iteration=FOREVER,
            distribution=NoisyGaussian(noise_magnitude=1.0, noise_decay=0.99), stop_criterion=np.inf, seed=seed,
        )  # fmt: skip
    if name == "FACE":
        from l2l.optimizers.crossentropy.distribution import Gaussian
        from l2l.optimizers.face import FACEOptimizer, FACEParameters

        return FACEOptimizer, FACEParameters(
            min_pop_size=20, max_pop_size=50, n_elite=10, smoothing=0.2, temp_decay=0, n_iteration=FOREVER,
            distribution=Gaussian(), n_expand=5, stop_criterion=np.inf, seed=seed,
        )  # fmt: skip
    if name == "SimulatedAnnealing":
        from l2l.optimizers.simulatedannealing import optimizer as annealing

        return annealing.SimulatedAnnealingOptimizer, annealing.SimulatedAnnealingParameters(
            n_parallel_runs=50, noisy_step=0.03, temp_decay=0.99, n_iteration=-(-budget // 50), stop_criterion=np.inf,
            seed=seed, cooling_schedule=annealing.AvailableCoolingSchedules.QUADRATIC_ADDAPTIVE,
        )  # fmt: skip
    if name == "ParallelTempering":
        from l2l.optimizers.paralleltempering import optimizer as tempering

        kinds = tempering.AvailableCoolingSchedules
        return tempering.ParallelTemperingOptimizer, tempering.ParallelTemperingParameters(
            n_parallel_runs=5, noisy_step=0.03, n_iteration=-(-budget // 5), stop_criterion=np.inf, seed=seed,
            cooling_schedules=[kinds.EXPONENTIAL_ADDAPTIVE] * 3 + [kinds.LINEAR_ADDAPTIVE] * 2,
            temperature_bounds=np.array([[0.8, 0], [0.7, 0], [0.6, 0], [1, 0.1], [0.9, 0.2]]),
            decay_parameters=np.full(5, 0.99),
        )  # fmt: skip
    if name == "GradientDescent":
        from l2l.optimizers.gradientdescent.optimizer import GradientDescentOptimizer, RMSPropParameters

        return GradientDescentOptimizer, RMSPropParameters(
            learning_rate=0.01, exploration_step_size=0.01, n_random_steps=5, momentum_decay=0.5, n_iteration=FOREVER,
            stop_criterion=np.inf, seed=seed,
        )  # fmt: skip
    from l2l.optimizers.gridsearch import GridSearchOptimizer, GridSearchParameters

    return GridSearchOptimizer, GridSearchParameters(param_grid={"x": (-5.0, 5.0, points(dimension, budget) - 1)})


def points(dimension: int, budget: int) -> int:
    """Return how many points a coordinate a full grid may have."""
    return int(budget ** (1 / dimension) + 1e-9)


NAMES = (
    *("GeneticAlgorithm", "EvolutionStrategies", "NaturalEvolutionStrategies", "CrossEntropy", "FACE"),
    *("SimulatedAnnealing", "ParallelTempering", "GradientDescent", "GridSearch"),
)
POINTS = ("EvolutionStrategies", "NaturalEvolutionStrategies", "GradientDescent")  # begin at one point
UNBOUNDED = ("GeneticAlgorithm", "NaturalEvolutionStrategies", "GridSearch")  # no bounding function in the example


def drive(name: str, recorder: Recorder, dimension: int, seed: int) -> None:
    """Let one of its optimizers ask and learn until the budget is used or it wants nothing more evaluated."""
    from l2l.utils.trajectory import Trajectory

    random.seed(seed)  # its GA and its parallel tempering draw from the global generators
    np.random.seed(seed)  # noqa: NPY002
    generator = np.random.default_rng(seed)

    def create_individual() -> dict[str, np.ndarray]:
        return {"x": np.zeros(dimension) if name in POINTS else generator.normal(0.0, START_STD, dimension)}

    def bounded(individual: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"x": np.clip(individual["x"], -5.0, 5.0)}

    kind, settings = parameters(name, dimension, recorder.budget, seed)
    trajectory = Trajectory(name=name, debug=False, stop_run=True, timeout=False)
    optimizer = kind(
        trajectory,
        optimizee_create_individual=create_individual,
        optimizee_fitness_weights=(1.0,),
        parameters=settings,
        optimizee_bounding_func=None if name in UNBOUNDED else bounded,
    )
    if name == "GridSearch":  # one generation, which it keeps only in the trajectory
        for individual in trajectory.individuals[0]:
            recorder(np.asarray(individual.x))
        return
    while optimizer.eval_pop:
        generation = optimizer.g
        asked = [np.array(individual["x"], np.float64) for individual in optimizer.eval_pop]
        results = [(i, (-recorder(x),)) for i, x in enumerate(asked)]
        trajectory.current_results = results
        optimizer.post_process(trajectory, results)
        trajectory.individuals.pop(generation, None)  # it keeps them all
        if optimizer.g == generation:
            return


def work(task: tuple[str, int, int, int, int]) -> dict[str, Any]:
    """Do one run."""
    name, dimension, function, instance, budget = task
    recorder = Recorder(dimension, function, instance, budget * dimension)
    run: Callable[[], None] = partial(drive, name, recorder, dimension, 1000 * function + instance)
    parameters(name, dimension, recorder.budget, 1)  # so that the time to import isn't the first run's
    with redirect_stdout(Sink()), warnings.catch_warnings():  # type: ignore[type-var]
        warnings.simplefilter("ignore")  # temperatures that reach 0, DEAP's class made again
        return record(f"L2L {name}", recorder, dimension, function, instance, run)


def main() -> None:
    parser = arguments(__doc__ or "", f"any of {', '.join(NAMES)}; default: all")
    options = parser.parse_args()
    unknown = set(options.names) - set(NAMES)
    if unknown:
        parser.error(f"expected names of {', '.join(NAMES)}, got {', '.join(unknown)}")
    tasks = []
    for name in options.names or NAMES:
        for dimension in options.dimensions:
            if name == "GridSearch" and points(dimension, options.budget * dimension) < 2:
                print(
                    f"left out: GridSearch for D = {dimension}, two points a coordinate are too many", file=sys.stderr
                )
                continue
            tasks += [(name, dimension, f, i, options.budget) for f in options.functions for i in options.instances]
    if options.write is None:
        parser.error("expected --write FILE; bbob.py --read FILE prints it as a table")
    run_all(tasks, work, options)


if __name__ == "__main__":
    main()
