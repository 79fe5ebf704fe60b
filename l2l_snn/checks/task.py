"""Does a task keep the contract of tasks, in which agents act? Whole episodes are played with random spikes.

A task is any value with these fields and methods, pure functions of one episode in JAX:

    actions: int                        # A, motor populations
    steps: int                          # control steps of an episode at most
    low, high: tuple[float, ...]        # (K,) range of each observation
    reset(key) -> state                 # any tree of arrays
    observe(state) -> seen              # (K,)
    act(key, spikes) -> action          # from (A,), mean number of spikes a neuron of each motor population
    step(state, action) -> state, reward, failed        # reward (), failed () bool
    error(state) -> error               # () >= 0

Legend: K observations, A motor populations.
"""

import copy
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from l2l_snn.checks.common import Check, fingerprint, run_claims
from l2l_snn.validate import check_count, message

MOST = 5.0  # spikes of a neuron in a control step, in random ones
FIRST = 8  # episodes of which the first step is taken
METHODS = ("reset", "observe", "act", "step", "error")


def missing_methods(cls: type) -> list[str]:
    """Return the methods of a task that a class lacks: tasks have no base class."""
    return [name for name in METHODS if not callable(getattr(cls, name, None))]


def check_task(task: Any, *, episodes: int = 2, seed: int = 1) -> list[Check]:
    """Check a task against the contract that stands in the module's docstring.

    Args:
        task: what to check.
        episodes: how many are played to their end.
        seed: of all that is random.
    """
    import jax

    with jax.enable_x64(False):
        return run_claims(CLAIMS, Probe(task, episodes, seed))


class Step(NamedTuple):
    """One control step."""

    state: Any  # before it
    seen: Any
    action: Any
    later: Any  # the state after it
    reward: Any
    failed: Any
    error: Any  # of the later state


class Probe:
    """A task with keys and spikes to act with; nothing is compiled, so that it shows in one claim what can't be."""

    def __init__(self, task: Any, episodes: int, seed: int):
        self.task = task
        self.episodes = episodes
        self.seed = seed

    def key(self, *words: int) -> Any:
        import jax

        key = jax.random.key(self.seed)
        for word in words:
            key = jax.random.fold_in(key, word)
        return key

    def spikes(self, *words: int) -> Any:
        import jax

        return jax.random.uniform(self.key(*words, 1), (self.task.actions,), float, 0.0, MOST)

    def take(self, state: Any, *words: int) -> Step:
        """Take a step; the words say which keys and spikes."""
        action = self.task.act(self.key(*words), self.spikes(*words))
        later, reward, failed = self.task.step(state, action)
        return Step(state, self.task.observe(state), action, later, reward, failed, self.task.error(later))

    def start(self, episode: int) -> Any:
        return self.task.reset(self.key(episode))

    @cached_property
    def steps(self) -> list[Step]:
        """The control steps of whole episodes, one after the other."""
        return [step for episode in range(self.episodes) for step in self.play(episode)]

    def play(self, episode: int) -> Iterator[Step]:
        state = self.start(episode)
        for t in range(self.task.steps):
            step = self.take(state, episode, t)
            yield step
            if step.failed:
                return
            state = step.later


def form(tree: Any) -> Any:
    """Return structure, shapes and types of a tree of arrays; numbers of Python count as arrays."""
    import jax

    leaves, structure = jax.tree.flatten(tree)
    kinds = [leaf.dtype if _is_key(leaf) else jax.numpy.result_type(leaf) for leaf in leaves]
    return structure, [(jax.numpy.shape(leaf), str(kind)) for leaf, kind in zip(leaves, kinds, strict=True)]


def arrays(tree: Any) -> list[np.ndarray]:
    """Return the leaves of a tree as numpy arrays, keys as their words."""
    import jax

    leaves = jax.tree.leaves(tree)
    return [np.asarray(jax.random.key_data(x) if _is_key(x) else x) for x in leaves]


def _is_key(leaf: Any) -> bool:
    import jax

    return isinstance(leaf, jax.Array) and jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _check_hashable(probe: Probe) -> str:
    again = copy.deepcopy(probe.task)
    if hash(probe.task) == hash(again) and probe.task == again:
        return ""
    return message("task", "a hashable value, equal to its copy", "another", "make it a NamedTuple of numbers")


def _check_fields(probe: Probe) -> str:
    task = probe.task
    for name in ("actions", "steps"):
        check_count(name, getattr(task, name))
    if len(task.low) != len(task.high) or not all(a < b for a, b in zip(task.low, task.high, strict=True)):
        return message("low, high", "a lower and a higher end for each observation", f"{task.low} and {task.high}")
    return ""


def _check_observations(probe: Probe) -> str:
    shape, wanted = np.shape(probe.task.observe(probe.start(0))), (len(probe.task.low),)
    todo = "give `low` and `high` an entry for each number that is observed"
    return "" if shape == wanted else message("observe", f"an array of shape {wanted}", f"shape {shape}", todo)


def _check_forms(probe: Probe) -> str:
    first = probe.steps[0]
    for step in probe.steps:
        for name, value, before in (("step: state", step.later, first.state), ("act", step.action, first.action)):
            if form(value) != form(before):
                todo = "keep structure, shapes and types, e.g. by `.astype(state.dtype)`"
                return message(name, f"the form {form(before)} at any time", form(value), todo)
    return ""


def _check_rewards(probe: Probe) -> str:
    for step in probe.steps:
        if np.shape(step.reward) != () or not np.isfinite(step.reward):
            return message("step: reward", "one finite number, of shape ()", step.reward)
    return ""


def _check_failures(probe: Probe) -> str:
    failed = [probe.take(probe.start(episode), episode).failed for episode in range(FIRST)]
    for value in failed:
        if np.shape(value) != () or np.asarray(value).dtype != bool:
            return message("step: failed", "one truth value, of shape ()", repr(value), "e.g. jnp.abs(x) > 1.0")
    if all(failed):
        return message("step: failed", "not in the first step of every episode", f"so in {FIRST} of {FIRST}")
    return ""


def _finite_observations(probe: Probe) -> str:
    for t, step in enumerate(probe.steps):
        if not np.isfinite(step.seen).all():
            return message("observe", "finite numbers", f"{step.seen} in step {t}")
    return ""


def _finite_states(probe: Probe) -> str:
    for t, step in enumerate(probe.steps):
        if not all(np.isfinite(array).all() for array in arrays(step.later)):
            got = f"{step.later} in step {t}, after the action {step.action}"
            return message("step: state", "finite numbers, whatever is done", got, "clip what may grow")
    return ""


def _check_errors(probe: Probe) -> str:
    for step in probe.steps:
        if np.shape(step.error) != () or not step.error >= 0:
            return message("error", "one number >= 0, of shape ()", step.error, "return a distance from the goal")
    return ""


def _single_precision(probe: Probe) -> str:
    step = probe.steps[0]
    for name, value in (("observe", step.seen), ("step: reward", step.reward), ("error", step.error)):
        kind = form(value)[1][0][1]
        if kind != "float32":
            return message(name, "numbers in float32", kind, "use `.astype(float)`")
    return ""


def _check_repeats(probe: Probe) -> str:
    for episode in range(FIRST):
        states = [probe.start(episode) for _ in range(2)]
        if fingerprint(arrays(states[0])) != fingerprint(arrays(states[1])):
            return message("reset", "the same bytes for the same key", "another state", "sample from the key alone")
        steps = [probe.take(states[0], episode) for _ in range(2)]
        for name, first, second in zip(Step._fields, *steps, strict=True):
            if fingerprint(arrays(first)) != fingerprint(arrays(second)):
                todo = "keep nothing outside the state, sample from the key alone"
                return message(name, "the same bytes for the same arguments", "others", todo)
    return ""


def _check_compiles(probe: Probe) -> str:
    import jax

    def first_step(key: Any, spikes: Any) -> Step:
        state = probe.task.reset(key)
        action = probe.task.act(key, spikes)
        later, reward, failed = probe.task.step(state, action)
        seen = probe.task.observe(later)
        return Step(state, seen, action, later, reward, failed, probe.task.error(later))

    keys, spikes = zip(*((probe.key(i), probe.spikes(i)) for i in range(FIRST)), strict=True)
    together = jax.jit(jax.vmap(first_step))(jax.numpy.stack(keys), jax.numpy.stack(spikes))
    for i in range(FIRST):
        for name, ours, alone in zip(Step._fields, together, first_step(keys[i], spikes[i]), strict=True):
            for a, b in zip(arrays(ours), arrays(alone), strict=True):
                if not np.allclose(a[i], b, rtol=1e-4, atol=1e-5):
                    return message(name, f"{b}, as uncompiled", f"{a[i]} by jit and vmap")
    return ""


CLAIMS: dict[str, Callable[[Probe], str]] = {
    "is a hashable value": _check_hashable,
    "has counts of actions and steps, and a range of each observation": _check_fields,
    "observes as many numbers as it has ranges": _check_observations,
    "keeps the form of states and actions": _check_forms,
    "pays one finite reward a step": _check_rewards,
    "says by one truth value whether an episode has failed": _check_failures,
    "observes finite numbers to the end of an episode": _finite_observations,
    "has finite states whatever is done": _finite_states,
    "has an error >= 0": _check_errors,
    "observes, pays and errs in float32": _single_precision,
    "gives the same bytes for the same key and state": _check_repeats,
    "gives the same compiled and side by side": _check_compiles,
}
