"""Does an optimizer keep the contract of `Optimizer`? The problem is a sphere of 3 bounded and 3 free coordinates.

Its metrics, for algorithms that read some, are x0 and x1, the first two decoded coordinates, in [-1, 1].

Legend: P individuals, D search coordinates.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from l2l_snn.checks.common import Check, fingerprint, frozen_json, globals_untouched, rebuilt, run_claims
from l2l_snn.evaluation import Evaluation, Experience
from l2l_snn.loop.restarts import nearest
from l2l_snn.optimizer import Optimizer
from l2l_snn.space import Free, Real, Space
from l2l_snn.validate import message

TARGET = {"bounded": np.array([0.3, -0.5, 0.1]), "free": np.array([0.5, -1.0, 1.0])}
ABSURD = (1e60, 1.5e308, -1.5e308)  # finite fitness, its square perhaps not
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


@dataclass(frozen=True)
class SpherePolicy:
    """The sphere as a task of one step: an action is drawn around the decoded x, its reward is its own fitness."""

    spread: float = 0.3  # standard deviation of the actions
    episodes: int = 64

    def log_probs(self, z: Any, segments: Any) -> tuple[Any, Any]:
        """Return densities of the actions and entropies, (N, 1) each; see `l2l_snn.evaluation.Policy`."""
        import jax.numpy as jnp

        away = (segments["actions"] - self._center(z)) / self.spread  # (N, 1, 6)
        return -0.5 * (away**2).sum(axis=-1), jnp.zeros(away.shape[:2])

    def action_values(self, z: Any, observations: Any) -> Any:
        """Return the 6 decoded numbers as values of 6 actions, (N, 6)."""
        import jax.numpy as jnp

        return jnp.broadcast_to(self._center(z)[0, 0], (len(observations), 6))

    def rewire(self, before: Any, after: Any, rate: Any, words: Any) -> Any:
        """Return `after`: there is no network."""
        return after

    def _center(self, z: Any) -> Any:
        import jax.numpy as jnp

        params = SPACE.decode(z)
        return jnp.concatenate([params["bounded"], params["free"]])[None, None]

    def rollout(self, z: np.ndarray) -> Experience:
        """Return the experience of one z (6,)."""
        generator, n = np.random.default_rng(1), self.episodes
        noise = generator.standard_normal((n, 1, 6))
        actions = np.concatenate([*SPACE.decode(z).values()]) + self.spread * noise
        rewards = -((actions - np.concatenate([*TARGET.values()])) ** 2).sum(axis=-1)
        over, nothing = np.ones((n, 1), bool), np.zeros((n, 1, 1), np.float32)
        segments = {"actions": actions[:, None].astype(np.float32)}
        log_probs = -0.5 * (noise**2).sum(axis=-1)
        numbers = generator.integers(6, size=(n, 1))
        return Experience(nothing, nothing, rewards, over, ~over, numbers, log_probs, segments, self)


def failing(evaluation: Evaluation, failed: np.ndarray) -> Evaluation:
    """Return the evaluation in which some individuals failed, without any metrics if all did."""
    texts = tuple("ValueError: meant to fail" if bad else "" for bad in failed)
    grad = None if evaluation.grad is None else np.where(failed[:, None], np.nan, evaluation.grad)
    known = {} if failed.all() else evaluation.metrics
    metrics = {name: np.where(failed, np.nan, values) for name, values in known.items()}
    experience = tuple(None if bad else one for bad, one in zip(failed, evaluation.experience, strict=False))
    return Evaluation(
        np.where(failed, np.nan, evaluation.fitness), metrics, grad=grad, errors=texts, experience=experience
    )


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
        if self.optimizer.needs_experience:
            evaluation = replace(evaluation, experience=tuple(SpherePolicy().rollout(row) for row in z))
        return evaluation if self.optimizer.needs_grad else replace(evaluation, grad=None)


def _check_state(probe: Probe) -> str:
    for state in (probe.start(), probe.run(probe.start(), 2)):
        if text := _find_no_array("state", state):
            return text
        if fingerprint(stored(state)) != fingerprint(state):
            return message("state", f"{state} after a round trip through .npy", stored(state))
    return ""


def _find_no_array(name: str, state: Any) -> str:
    """Return "", or what in a state is neither an array nor a NamedTuple of such."""
    names = getattr(type(state), "_fields", None)  # what makes a tuple a NamedTuple
    if not isinstance(state, tuple) or names is None:
        return message(name, "a NamedTuple of numpy arrays", type(state).__name__)
    for field, value in zip(names, state, strict=True):
        if isinstance(value, tuple):
            if text := _find_no_array(f"{name}.{field}", value):
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


def _check_seeds(probe: Probe) -> str:
    if fingerprint(probe.run(probe.start(), 3)) != fingerprint(probe.run(probe.start(), 3)):
        return message("state", "the same bytes after 3 generations from the same seed", "others")
    later = probe.run(probe.start(), 3), probe.run(probe.optimizer.init(SPACE, probe.seed + 1), 3)
    if fingerprint(probe.optimizer.ask(SPACE, later[0])[0]) == fingerprint(probe.optimizer.ask(SPACE, later[1])[0]):
        return message("ask", "another z from another seed", "the same z", "use `seed` in init")
    return ""


def _check_ask(probe: Probe) -> str:
    for generations in (0, 1, 3):
        z, _ = probe.optimizer.ask(SPACE, probe.run(probe.start(), generations))
        if not isinstance(z, np.ndarray) or z.ndim != 2 or z.shape[1] != SPACE.size or z.dtype != np.float64:
            got = f"{type(z).__name__} {getattr(z, 'dtype', '')} {getattr(z, 'shape', '')}"
            return message("ask: z", f"a numpy array of float64 and shape (P, {SPACE.size})", got)
        if not np.isfinite(z).all():
            return message("ask: z", "finite numbers", z)
    return ""


def _check_recommend(probe: Probe) -> str:
    for generations in (0, 1, 3):
        z = probe.optimizer.recommend(SPACE, probe.run(probe.start(), generations))
        if not isinstance(z, np.ndarray) or z.shape != (SPACE.size,) or not np.isfinite(z).all():
            return message("recommend", f"a finite array of shape ({SPACE.size},), also before the first tell", z)
    return ""


def _check_purity(probe: Probe) -> str:
    optimizer = probe.optimizer
    for generations in (0, 1, 3):
        state = probe.run(probe.start(), generations)
        z, asked = optimizer.ask(SPACE, state)
        evaluation = _fail_some(probe.evaluate(z))
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


def _check_global_state(probe: Probe) -> str:
    return globals_untouched(lambda: probe.optimizer.recommend(SPACE, probe.run(probe.start(), 3)))


def _check_resuming(probe: Probe) -> str:
    whole = probe.run(probe.start(), 7)
    for stop in (0, 1, 3):
        again = Probe(rebuilt(probe.optimizer), probe.generations, probe.seed)
        if fingerprint(again.run(stored(probe.run(probe.start(), stop)), 7 - stop)) != fingerprint(whole):
            got = f"other bytes when stored and resumed after {stop}"
            return message(
                "state after 7 generations", "those of an uninterrupted run", got, "keep all that changes in the state"
            )
    return ""


def _check_resizing(probe: Probe) -> str:
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


def _check_start(probe: Probe) -> str:
    known, state = np.full((1, SPACE.size), 0.25), probe.start()
    before = fingerprint(state)
    try:
        begun = [probe.optimizer.started(SPACE, state, known) for _ in range(2)]
    except ValueError as error:
        text = str(error)
        return "" if text.startswith("start: ") else message("started", "a ValueError about start", repr(text))
    if fingerprint(state) != before or fingerprint(begun[0]) != fingerprint(begun[1]):
        return message("started", "the same result from the same state, which stays as it was", "another")
    z, after = probe.optimizer.ask(SPACE, begun[0])
    if not np.isfinite(z).all():
        return message("ask: z", "finite numbers after `started`", z)
    recommended = probe.optimizer.recommend(SPACE, after)
    if not ((z == known).all(axis=1).any() or np.allclose(recommended, known[0], atol=1e-9)):
        todo = "take it as a first member, or as the mean of the distribution"
        return message("ask, recommend", "the known point among those asked for, or recommended", "neither", todo)
    probe.optimizer.tell(SPACE, after, z, probe.evaluate(z))
    return ""


def _check_survival(make: Callable[[Evaluation], Evaluation], probe: Probe, todo: str = "") -> str:
    def made(z: np.ndarray) -> Evaluation:
        return make(probe.evaluate(z))

    todo = todo or "read `fitness`, not `evaluation.fitness`"
    for history in ((made, made), (probe.evaluate, made, probe.evaluate, made)):
        state = probe.start()
        for evaluate in history:
            state = probe.run(state, 1, evaluate)
            for name, z in (
                ("ask", probe.optimizer.ask(SPACE, state)[0]),
                ("recommend", probe.optimizer.recommend(SPACE, state)),
            ):
                if not np.isfinite(z).all():
                    return message(f"{name}: z", "finite numbers", z, todo)
    return ""


def _survives_absurd(probe: Probe) -> str:
    """Let one fitness be absurd in the first generation, and in the second and fourth."""
    todo = "use ranks, or leave out what search.shaping.ordinary doesn't take"
    return "".join(_check_survival(partial(_make_absurd, value), probe, todo) for value in ABSURD)


def _compare_after_absurd(probe: Probe) -> str:
    """Compare what is asked after absurd fitness with the best of a tenth as many random z."""
    state = probe.start()
    for value in ABSURD:
        state = probe.run(state, 1, lambda z, value=value: _make_absurd(value, probe.evaluate(z)))
    best, evaluations = -np.inf, 0
    for _ in range(max(2, probe.generations // 2)):
        z, state = probe.optimizer.ask(SPACE, state)
        state = probe.optimizer.tell(SPACE, state, z, probe.evaluate(z))
        best, evaluations = max(best, float(sphere(z).fitness.max())), evaluations + len(z)
    sampled = SPACE.sample(np.random.default_rng(probe.seed), max(1, evaluations // 10))
    if best > sphere(sampled).fitness.max():
        return ""
    return message(
        "ask",
        f"after three absurd fitnesses a true one above random search's {sphere(sampled).fitness.max():.3g}",
        f"{best:.3g} in {evaluations} evaluations",
        "keep in the state nothing that an absurd fitness makes huge for good; see search.shaping.ordinary",
    )


def _compare_with_random(probe: Probe) -> str:
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


def _fail_some(evaluation: Evaluation) -> Evaluation:
    return failing(evaluation, np.arange(len(evaluation.fitness)) % 2 == 0)


def _fail_all(evaluation: Evaluation) -> Evaluation:
    return failing(evaluation, np.ones(len(evaluation.fitness), bool))


def _make_equal(evaluation: Evaluation) -> Evaluation:
    grad = None if evaluation.grad is None else np.zeros_like(evaluation.grad)
    return replace(evaluation, fitness=np.ones_like(evaluation.fitness), grad=grad)


def _make_absurd(value: float, evaluation: Evaluation) -> Evaluation:
    """Return the evaluation with the worst individual absurdly good, or the best one absurdly bad."""
    fitness = evaluation.fitness.copy()
    fitness[fitness.argmin() if value > 0 else fitness.argmax()] = value
    return replace(evaluation, fitness=fitness)


CLAIMS: dict[str, Callable[[Probe], str]] = {
    "is a frozen dataclass whose fields survive JSON": lambda probe: frozen_json(probe.optimizer),
    "has a NamedTuple of arrays as state": _check_state,
    "gives the same bytes for the same seed, others for another": _check_seeds,
    "asks for finite z of shape (P, D)": _check_ask,
    "recommends one finite z at any time": _check_recommend,
    "changes no argument and repeats its results": _check_purity,
    "leaves the global random generators as they were": _check_global_state,
    "goes on after a restart as if it had not stopped": _check_resuming,
    "goes on when its population grows and shrinks": _check_resizing,
    "begins from a known point, or says that it can't": _check_start,
    "survives failures": partial(_check_survival, _fail_some),
    "survives a generation that failed altogether": partial(_check_survival, _fail_all),
    "survives a generation of equal fitness": partial(_check_survival, _make_equal),
    "survives one absurd fitness": _survives_absurd,
}
BEATS: dict[str, Callable[[Probe], str]] = {
    "beats random search on a sphere": _compare_with_random,
    "learns on after an absurd fitness": _compare_after_absurd,
}
