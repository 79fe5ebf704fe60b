"""Many lives in one compiled call: genomes in; returns, metrics and what pictures need out.

Legend: P individuals, N episodes of a life, F fresh episodes after it, T control steps, S simulation steps of each.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.seeding import jax_key, seed_words
from l2l_snn.space import Space
from optimizees.agent.genome import learning_parameters
from optimizees.agent.life import LifeSetup, Lived, Newborn, live, live_all
from optimizees.agent.perceptron import Perceptron, most_spikes, multiply_adds, play, record


class Study(NamedTuple):
    """What is asked of an agent; hashable, known before the program runs."""

    setup: LifeSetup
    mode: str  # of optimizee.py; weights, mlp: N separate episodes, nothing learns; else one life of N episodes
    space: Space  # with the names of genome.py, or those of perceptron.py


def evaluate(study: Study, z: np.ndarray, seeds: np.ndarray, with_artifacts: bool) -> Evaluation:
    """Return the evaluation of P agents.

    Fitness is the mean return of all episodes (`weights`, `mlp`) or of the last `share` of those lived. Metrics:
    `mean_return` over the life, `first_return`, `last_return`, `fresh_return` over F episodes with the weights as they
    are at its end (nan if F is 0), `lived` (episodes), `steps` (control steps), `rate_motor` and `rate_inhibitory` (Hz;
    nan of an mlp), `drift` (mV, mean change of a plastic weight); of a control step `spikes` of all neurons, sensors
    included, `operations` (synapses that spikes arrive at) and `multiply_adds` (of an mlp, at its connections), beside
    which neurons and learning rules have work of their own. Artifacts: returns (P, N), nan where not lived; of one more
    episode with the last weights, state (P, T + 1, ...) as observed, action (P, T, ...) and lived_through (P, T) bool;
    of spiking networks, before.<projection> and after.<projection> (P, n_pre, n_post) mV, and of that episode sensor
    (P, T S, cells) and motor (P, T S, neurons) bool; of an mlp, of that episode activity (P, T, A).

    Args:
        study: what is asked.
        z: (P, D).
        seeds: (P,).
        with_artifacts: fill them.
    """
    with jax.enable_x64(False):
        found = compiled_study(study, type(study.setup.task), with_artifacts)(
            jnp.asarray(z, jnp.float32), seed_words(seeds)
        )
        found = {name: np.asarray(value) for name, value in found.items()}
    returns, share = found.pop("returns").astype(np.float64), study.setup.life.share
    metrics = {"mean_return": np.nanmean(returns, axis=1)}
    for name, at_end in (("first_return", False), ("last_return", True)):
        metrics[name] = np.array([part(row, share, at_end=at_end).mean() for row in returns])
    metrics |= {name: value.astype(np.float64) for name, value in found.items() if value.ndim == 1}
    artifacts = {"returns": returns} | {name: value for name, value in found.items() if value.ndim > 1}
    fitness = metrics["mean_return" if study.mode in ("weights", "mlp") else "last_return"]
    return Evaluation(fitness, metrics, artifacts if with_artifacts else {})


def part(returns: np.ndarray, share: float, *, at_end: bool) -> np.ndarray:
    """Return the first or last share of the episodes that were lived, at least one.

    >>> part(np.array([1.0, 2.0, 3.0, 4.0, np.nan]), 0.5, at_end=True).tolist()
    [3.0, 4.0]
    """
    lived = returns[np.isfinite(returns)]
    n = max(1, round(share * len(lived)))
    return lived[-n:] if at_end else lived[:n]


@lru_cache(maxsize=8)
def compiled_study(study: Study, task: type, with_artifacts: bool) -> Any:
    """Return the jitted function (z (P, D), words (P, 2)) -> metrics (P,), returns (P, N) and artifacts by name.

    `task` is the class of the study's task, for the cache: NamedTuples of two classes with the same values are equal.
    """

    def live_and_measure(z: jax.Array, words: jax.Array) -> dict[str, jax.Array]:
        if study.mode == "mlp":
            return _evaluate_perceptrons(study, z, words, with_artifacts)
        born, keys = jax.vmap(partial(newborn, study))(z, words)
        found, after = _live_and_measure(study, born, keys[:, 0])
        return found | (_record_episode(study.setup, born, after, keys[:, 1]) if with_artifacts else {})

    return jax.jit(live_and_measure)


def newborn(study: Study, z: jax.Array, words: jax.Array) -> tuple[Newborn, jax.Array]:
    """Return how an individual begins, and two keys for what comes after its life."""
    params, setup = study.space.decode(z), study.setup
    keys = jax.random.split(jax_key(words), 4)
    shapes = setup.body.learned(setup.task.actions)

    def first(name: str, shape: tuple[int, int], key: jax.Array) -> jax.Array:
        return params[name] if name in params else params["w_start"] * jax.random.uniform(key, shape, float, 0.5, 1.5)

    parts = jax.random.split(keys[0], len(shapes))
    weights = {name: first(name, shape, key) for (name, shape), key in zip(shapes.items(), parts, strict=True)}
    noise = jnp.asarray(params.get("noise", setup.body.noise), float)
    return Newborn(learning_parameters(params, setup.learning.hope), weights, noise, keys[1]), keys[2:]


def _evaluate_perceptrons(study: Study, z: jax.Array, words: jax.Array, with_artifacts: bool) -> dict[str, jax.Array]:
    """Return what became of P perceptrons, in the episodes that spiking networks with these seeds would have."""
    task, life, most = study.setup.task, study.setup.life, most_spikes(study.setup.body)
    nets = jax.vmap(lambda z: Perceptron(**study.space.decode(z)))(z)
    keys = jax.vmap(lambda words: jax.random.split(jax_key(words), 4))(words)

    def episodes(net: Perceptron, key: jax.Array, n: int) -> tuple[jax.Array, jax.Array]:
        return jax.vmap(partial(play, task, most, net))(jax.random.split(key, n))

    returns, steps = jax.vmap(partial(episodes, n=life.episodes))(nets, keys[:, 1])
    fresh = missing = jnp.full(len(z), jnp.nan)
    if life.fresh:
        fresh = jax.vmap(partial(episodes, n=life.fresh))(nets, keys[:, 2])[0].mean(axis=1)
    found = {
        "returns": returns,
        "fresh_return": fresh,
        "lived": jnp.full(len(z), life.episodes),
        "steps": steps.sum(axis=1),
        "rate_motor": missing,
        "rate_inhibitory": missing,
        "spikes": jnp.zeros(len(z)),
        "operations": jnp.zeros(len(z)),
        "multiply_adds": jnp.full(len(z), float(multiply_adds(nets) // len(z))),
        "drift": jnp.zeros(len(z)),
    }
    if with_artifacts:
        trace = jax.vmap(partial(record, task, most))(nets, keys[:, 3])
        found |= {
            "state": jax.vmap(jax.vmap(task.observe))(trace.state),
            "action": trace.action,
            "lived_through": trace.lived,
            "activity": trace.activity,
        }
    return found


def _reduce_to_episode(setup: LifeSetup) -> LifeSetup:
    """Return the setup of one episode without learning."""
    life = replace(setup.life, episodes=1, budget=setup.task.steps + setup.life.pause)
    return setup._replace(life=life, learning=replace(setup.learning, plasticity="frozen", reward="real"))


def _live_episodes(setup: LifeSetup, born: Newborn, keys: jax.Array, n: int) -> Lived:
    """Return n separate episodes of each of P agents, (P, n) leading."""
    keys = jax.vmap(lambda key: jax.random.split(key, n))(keys).reshape(-1)
    many = jax.tree.map(lambda x: jnp.repeat(x, n, axis=0), born._replace(key=jnp.zeros(len(born.noise))))
    lives = live_all(_reduce_to_episode(setup), many._replace(key=keys))
    return jax.tree.map(lambda x: x.reshape(-1, n, *x.shape[1:]), lives)


def _live_and_measure(study: Study, born: Newborn, keys: jax.Array) -> tuple[dict[str, jax.Array], Newborn]:
    """Return returns and metrics of P lives, and the agents as they are then."""
    setup = study.setup
    if study.mode == "weights":
        lived = _live_episodes(setup, born, born.key, setup.life.episodes)
        share = lived.steps / lived.steps.sum(axis=1, keepdims=True)
        lived = lived._replace(
            returns=lived.returns[:, :, 0],
            weights=born.weights,
            spikes=(lived.spikes * share[:, :, None]).sum(axis=1),
            fired=(lived.fired * share[:, :, None]).sum(axis=1),
            steps=lived.steps.sum(axis=1),
        )
    else:
        lived = live_all(setup, born)
    after = born._replace(weights={name: lived.weights[name] for name in born.weights})
    changes = [jnp.abs(after.weights[name] - born.weights[name]).mean(axis=(1, 2)) for name in setup.learning.changing]
    missing, fresh = jnp.full(len(lived.steps), jnp.nan), setup.life.fresh
    hertz = lived.spikes * 1000 / setup.body.step_ms
    fan_out = jnp.array([float(n) for n in setup.body.fan_out(setup.task.actions).values()])
    return {
        "returns": lived.returns,
        "fresh_return": _live_episodes(setup, after, keys, fresh).returns.mean((1, 2)) if fresh else missing,
        "lived": jnp.isfinite(lived.returns).sum(axis=1),
        "steps": lived.steps,
        "rate_motor": hertz[:, 0],
        "rate_inhibitory": hertz[:, 1],
        "spikes": lived.fired.sum(axis=1),
        "operations": lived.fired @ fan_out,
        "multiply_adds": jnp.zeros_like(missing),
        "drift": jnp.stack(changes).mean(axis=0) if changes else jnp.zeros_like(missing),
    }, after


def _record_episode(setup: LifeSetup, born: Newborn, after: Newborn, keys: jax.Array) -> dict[str, jax.Array]:
    """Return the artifacts: weights, and an episode that is recorded."""
    lives = jax.vmap(partial(live, _reduce_to_episode(setup)._replace(record=True)))
    record, T = lives(after._replace(key=keys)).record, setup.task.steps
    through = record.episode[:, :T] >= 0

    def flat(spikes: jax.Array) -> jax.Array:  # (P, T, S, n)
        spikes = spikes[:, :T] * through[:, :, None, None]
        return spikes.reshape(len(spikes), -1, spikes.shape[-1]) > 0

    return {
        **{f"before.{name}": w for name, w in born.weights.items()},
        **{f"after.{name}": w for name, w in after.weights.items()},
        "state": jax.vmap(jax.vmap(setup.task.observe))(record.state)[:, : T + 1],
        "action": record.action[:, :T],
        "lived_through": through,
        "sensor": flat(record.sensor),
        "motor": flat(record.motor),
    }
