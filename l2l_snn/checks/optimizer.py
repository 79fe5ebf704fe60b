"""Does an optimizer keep the contract of `Optimizer`? The problem is a sphere of 3 bounded and 3 free coordinates.

Its metrics, for algorithms that read some, are x0 and x1, the first two decoded coordinates, in [-1, 1].

Legend: P individuals, D search coordinates.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from l2l_snn.checks.common import Check, fingerprint, frozen_json, globals_untouched, rebuilt, run_claims
from l2l_snn.evaluation import Evaluation
from l2l_snn.loop.restarts import nearest
from l2l_snn.optimizer import Optimizer
from l2l_snn.space import Free, Real, Space
from l2l_snn.validate import message

TARGET = {"bounded": np.array([0.3, -0.5, 0.1]), "free": np.array([0.5, -1.0, 1.0])}
SPACE = Space(bounded=Real(-1, 1, shape=(3,)), free=Free((3,)))


def check_optimizer(
    optimizer: Optimizer, *, beats_random: bool = True, generations: int = 100, seed: int = 1
) -> list[Check]:
    """Check an optimizer against the contract of `Optimizer`, on a sphere of 6 coordinates.

    Args:
        optimizer: what to check.
        beats_random: also compare it with random search of the same budget, unless it says that it doesn't learn.
        generations: that budget, in generations.
        seed: of the runs.
    """
    claims = CLAIMS | (BEATS if beats_random and optimizer.learns else {})
    return run_claims(claims, Probe(optimizer, generations, seed))


def sphere(z: np.ndarray) -> Evaluation:
    """Return the evaluation of (P, 6) z: fitness = -|x - target|^2 of the decoded x, and its gradient by z."""
    columns = SPACE.decode_columns(z)
    bounded, free = (columns[name] - target for name, target in TARGET.items())
    inside = (z[:, :3] >= 0) & (z[:, :3] <= 1)
    grad = np.concatenate([-2 * bounded * 2 * inside, -2 * free], axis=1)
    metrics = {"x0": columns["bounded"][:, 0], "x1": columns["bounded"][:, 1]}
    return Evaluation(-(bounded**2).sum(axis=1) - (free**2).sum(axis=1), metrics, grad=grad)


def failing(evaluation: Evaluation, failed: np.ndarray) -> Evaluation:
    """Return the evaluation in which some individuals failed, without any metrics if all did."""
    texts = tuple("ValueError: meant to fail" if bad else "" for bad in failed)
    grad = None if evaluation.grad is None else np.where(failed[:, None], np.nan, evaluation.grad)
    known = {} if failed.all() else evaluation.metrics
    metrics = {name: np.where(failed, np.nan, values) for name, values in known.items()}
    return Evaluation(np.where(failed, np.nan, evaluation.fitness), metrics, grad=grad, errors=texts)


class Probe:
    """An optimizer with a problem to solve."""

    def __init__(self, optimizer: Optimizer[Any], generations: int, seed: int):
        self.optimizer = optimizer
        self.generations = generations
        self.seed = seed

    def start(self) -> Any:
        return self.optimizer.init(SPACE, self.seed)

    def run(self, state: Any, generations: int, evaluate: Callable[[np.ndarray], Evaluation] | None = None) -> Any:
        for _ in range(generations):
            z, state = self.optimizer.ask(SPACE, state)
            state = self.optimizer.tell(SPACE, state, z, (evaluate or self.evaluate)(z))
        return state

    def evaluate(self, z: np.ndarray) -> Evaluation:
        evaluation = sphere(z)
        return evaluation if self.optimizer.needs_grad else replace(evaluation, grad=None)


def _state_of_arrays(probe: Probe) -> str:
    for state in (probe.start(), probe.run(probe.start(), 2)):
        if text := _not_arrays("state", state):
            return text
        if fingerprint(stored(state)) != fingerprint(state):
            return message("state", f"{state} after a round trip through .npy", stored(state))
    return ""


def _not_arrays(name: str, state: Any) -> str:
    """Return "", or what in a state is neither an array nor a NamedTuple of such."""
    names = getattr(type(state), "_fields", None)  # what makes a tuple a NamedTuple
    if not isinstance(state, tuple) or names is None:
        return message(name, "a NamedTuple of numpy arrays", type(state).__name__)
    for field, value in zip(names, state, strict=True):
        if isinstance(value, tuple):
            if text := _not_arrays(f"{name}.{field}", value):
                return text
        elif not isinstance(value, np.ndarray) or value.dtype == object:
            got = f"{type(value).__name__} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
            return message(f"{name}.{field}", "a numpy array, no objects", got, "wrap a number in np.array")
    return ""


def stored(state: Any) -> Any:
    """Return the state after a round trip through .npy bytes, no pickle."""
    arrays = []
    for value in state:
        if isinstance(value, tuple):
            arrays.append(stored(value))
            continue
        file = io.BytesIO()
        np.save(file, value, allow_pickle=False)
        file.seek(0)
        arrays.append(np.load(file, allow_pickle=False))
    return type(state)(*arrays)


def _seeded(probe: Probe) -> str:
    if fingerprint(probe.run(probe.start(), 3)) != fingerprint(probe.run(probe.start(), 3)):
        return message("state", "the same bytes after 3 generations from the same seed", "others")
    later = probe.run(probe.start(), 3), probe.run(probe.optimizer.init(SPACE, probe.seed + 1), 3)
    if fingerprint(probe.optimizer.ask(SPACE, later[0])[0]) == fingerprint(probe.optimizer.ask(SPACE, later[1])[0]):
        return message("ask", "another z from another seed", "the same z", "use `seed` in init")
    return ""


def _asks(probe: Probe) -> str:
    for generations in (0, 1, 3):
        z, _ = probe.optimizer.ask(SPACE, probe.run(probe.start(), generations))
        if not isinstance(z, np.ndarray) or z.ndim != 2 or z.shape[1] != SPACE.size or z.dtype != np.float64:
            got = f"{type(z).__name__} {getattr(z, 'dtype', '')} {getattr(z, 'shape', '')}"
            return message("ask: z", f"a numpy array of float64 and shape (P, {SPACE.size})", got)
        if not np.isfinite(z).all():
            return message("ask: z", "finite numbers", z)
    return ""


def _recommends(probe: Probe) -> str:
    for generations in (0, 1, 3):
        z = probe.optimizer.recommend(SPACE, probe.run(probe.start(), generations))
        if not isinstance(z, np.ndarray) or z.shape != (SPACE.size,) or not np.isfinite(z).all():
            return message("recommend", f"a finite array of shape ({SPACE.size},), also before the first tell", z)
    return ""


def _pure(probe: Probe) -> str:
    optimizer = probe.optimizer
    for generations in (0, 1, 3):
        state = probe.run(probe.start(), generations)
        z, asked = optimizer.ask(SPACE, state)
        evaluation = _some_failed(probe.evaluate(z))
        calls: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
            ("ask", optimizer.ask, (SPACE, state)),
            ("tell", optimizer.tell, (SPACE, asked, z, evaluation)),
            ("recommend", optimizer.recommend, (SPACE, asked)),
        ]
        for name, method, arguments in calls:
            before = fingerprint(arguments)
            results = [fingerprint(method(*arguments)) for _ in range(2)]
            if fingerprint(arguments) != before:
                return message(name, "its arguments unchanged", "changed in place", "copy before you write")
            if results[0] != results[1]:
                return message(
                    name, "the same result from the same arguments", "another", "keep nothing outside the state"
                )
    return ""


def _global_state(probe: Probe) -> str:
    return globals_untouched(lambda: probe.optimizer.recommend(SPACE, probe.run(probe.start(), 3)))


def _resumes(probe: Probe) -> str:
    whole = probe.run(probe.start(), 7)
    for stop in (0, 1, 3):
        again = Probe(rebuilt(probe.optimizer), probe.generations, probe.seed)
        if fingerprint(again.run(stored(probe.run(probe.start(), stop)), 7 - stop)) != fingerprint(whole):
            got = f"other bytes when stored and resumed after {stop}"
            return message(
                "state after 7 generations", "those of an uninterrupted run", got, "keep all that changes in the state"
            )
    return ""


def _resizes(probe: Probe) -> str:
    try:
        began = probe.optimizer.individuals(SPACE.size)
    except TypeError:  # it has no population, and a job that changes it is refused
        return ""
    todo = "write `resized` if arrays of the state have P rows; else read P from the optimizer, not from the state"
    optimizer, state = probe.optimizer, probe.run(probe.start(), 3)
    for wanted in (2 * began, began):  # one other size alone: some compile for each
        before, rows = optimizer.individuals(SPACE.size), len(optimizer.ask(SPACE, state)[0])
        optimizer = nearest(probe.optimizer, wanted, SPACE.size, wanted + 64)
        arguments = fingerprint(state)
        resized = [optimizer.resized(SPACE, state) for _ in range(2)]
        if fingerprint(state) != arguments or fingerprint(resized[0]) != fingerprint(resized[1]):
            return message("resized", "the same result from the same state, which stays as it was", "another")
        state, now = resized[0], optimizer.individuals(SPACE.size)
        z = optimizer.ask(SPACE, state)[0]
        if rows == before and len(z) != now:  # not so where a generation is only a part of P
            return message("ask: z", f"{now} rows after P has changed from {before}", len(z), todo)
        for _ in range(3):
            z, recommended = optimizer.ask(SPACE, state)[0], optimizer.recommend(SPACE, state)
            if z.shape[1:] != (SPACE.size,) or not np.isfinite(z).all() or not np.isfinite(recommended).all():
                return message("ask, recommend", f"finite z, also after P has changed from {before}", z, todo)
            state = Probe(optimizer, probe.generations, probe.seed).run(state, 1)
    return ""


def _survives(make: Callable[[Evaluation], Evaluation], probe: Probe) -> str:
    def made(z: np.ndarray) -> Evaluation:
        return make(probe.evaluate(z))

    for history in ((made, made), (probe.evaluate, made, probe.evaluate, made)):
        state = probe.start()
        for evaluate in history:
            state = probe.run(state, 1, evaluate)
            for name, z in (
                ("ask", probe.optimizer.ask(SPACE, state)[0]),
                ("recommend", probe.optimizer.recommend(SPACE, state)),
            ):
                if not np.isfinite(z).all():
                    return message(f"{name}: z", "finite numbers", z, "read `fitness`, not `evaluation.fitness`")
    return ""


def _beats_random(probe: Probe) -> str:
    """Compare the fitness of what is recommended, median of three seeds, with the best of as many random z."""
    ours, random_best = [], []
    for seed in range(probe.seed, probe.seed + 3):
        state = probe.run(probe.optimizer.init(SPACE, seed), probe.generations)
        ours.append(sphere(probe.optimizer.recommend(SPACE, state)[None]).fitness[0])
        evaluations = probe.generations * len(probe.optimizer.ask(SPACE, state)[0])
        random_best.append(sphere(SPACE.sample(np.random.default_rng(seed), evaluations)).fitness.max())
    if np.median(ours) > np.median(random_best):
        return ""
    return message(
        "recommend",
        f"a fitness above random search's {np.median(random_best):.3g} on a sphere",
        f"{np.median(ours):.3g} after {probe.generations} generations",
        "look for a sign (larger is better), allow more generations, or set learns = False if it only samples",
    )


def _some_failed(evaluation: Evaluation) -> Evaluation:
    return failing(evaluation, np.arange(len(evaluation.fitness)) % 2 == 0)


def _all_failed(evaluation: Evaluation) -> Evaluation:
    return failing(evaluation, np.ones(len(evaluation.fitness), bool))


def _all_equal(evaluation: Evaluation) -> Evaluation:
    grad = None if evaluation.grad is None else np.zeros_like(evaluation.grad)
    return replace(evaluation, fitness=np.ones_like(evaluation.fitness), grad=grad)


CLAIMS: dict[str, Callable[[Probe], str]] = {
    "is a frozen dataclass whose fields survive JSON": lambda probe: frozen_json(probe.optimizer),
    "has a NamedTuple of arrays as state": _state_of_arrays,
    "gives the same bytes for the same seed, others for another": _seeded,
    "asks for finite z of shape (P, D)": _asks,
    "recommends one finite z at any time": _recommends,
    "changes no argument and repeats its results": _pure,
    "leaves the global random generators as they were": _global_state,
    "goes on after a restart as if it had not stopped": _resumes,
    "goes on when its population grows and shrinks": _resizes,
    "survives failures": partial(_survives, _some_failed),
    "survives a generation that failed altogether": partial(_survives, _all_failed),
    "survives a generation of equal fitness": partial(_survives, _all_equal),
}
BEATS: dict[str, Callable[[Probe], str]] = {"beats random search on a sphere": _beats_random}
