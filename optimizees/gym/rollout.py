"""Rollouts: networks act in environments side by side, and what they met and did is kept.

Legend: B environments side by side, H steps of each at most, O numbers of an observation, A outputs, K steps of a
segment, S = H / K segments.
"""

from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.seeding import jax_key, seed_words
from optimizees.gym.actions import choose, judge
from optimizees.gym.environment import Friction, Noise, side_by_side
from optimizees.gym.setup import Setup


class Rollout(NamedTuple):
    """What happened, time first; after the end of its first episode an environment begins another one."""

    seen: np.ndarray  # (H, B, O) scaled observations
    told: np.ndarray  # (H, B, O') what a critic gets: the same, or more (`Twin.reveal`)
    told_next: np.ndarray  # (H, B, O') after the action, before any reset
    rewards: np.ndarray  # (H, B)
    shaped: np.ndarray  # (H, B) what learning gets: the same, or more (`Shaping`)
    terminated: np.ndarray  # (H, B) bool
    truncated: np.ndarray  # (H, B) bool
    actions: np.ndarray  # (H, B) int or (H, B, A)
    log_probs: np.ndarray  # (H, B)
    fresh: np.ndarray  # (H, B) bool, whether the step is the first of an episode
    words: np.ndarray  # (H, B, 2) uint32 random keys
    spikes: np.ndarray  # (H, B) mean number of a neuron
    states: Any  # (S, B, ...) of the network before each segment; None where no steps were to be repeated


def roll_out(setup: Setup, z: np.ndarray, seed: int, whole: bool) -> Rollout:
    """Let an individual act.

    Args:
        setup: who acts where.
        z: (D,) search coordinates.
        seed: of all that is random.
        whole: whether all H steps are taken, to be repeated; if not, it ends with the last first episode.
    """
    worlds = side_by_side(setup.environment, setup.envs)
    act = _compile_action(replace(setup, noise=Noise(), epsilon=0.0))  # once for all kinds of noise: it comes later
    point, words = jnp.asarray(z, jnp.float32), make_keys(setup, seed_words(seed))
    generator, convert = np.random.default_rng(seed), setup.worlds.actions.make_conversion()
    seen = worlds.reset([int(one) for one in generator.integers(2**31, size=setup.envs)])
    fresh, first, over = (np.ones(setup.envs, bool) for _ in range(3))
    state, steps, states = setup.first_states(point), [], []
    now = _disturb_observation(setup, seen, generator)
    with Friction(worlds, setup.noise.friction, generator) as friction:
        for t in range(setup.horizon):
            friction.change(over)
            if whole and t % setup.segment == 0:
                states.append(state)
            state, found = act(point, state, now, fresh, words[t], setup.epsilons)
            action, log_prob, spikes = map(np.asarray, found)
            done = convert(action)
            if setup.noise.action:
                done = (done * (1 + setup.noise.action * generator.standard_normal(done.shape))).astype(done.dtype)
            seen, ended, rewards, terminated, truncated = worlds.step(done)
            over = terminated | truncated
            later = _disturb_observation(setup, seen, generator)
            same = ended is seen and not setup.noise.observation
            ended = later if same else setup.scale_observation(ended)
            steps.append((now, ended, rewards, terminated, truncated, action, log_prob, fresh, words[t], spikes))
            first &= ~over
            now, fresh = later, over | (setup.forget & (rewards > 0))
            if not whole and not first.any():
                break
    now, ended, rewards, *others = (np.stack(column) for column in zip(*steps, strict=True))
    kept = jax.tree.map(lambda *rows: np.stack(rows), *jax.device_get(states)) if whole else None
    return Rollout(now, now, ended, rewards, rewards, *others, states=kept)


def _disturb_observation(setup: Setup, seen: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return what the network gets of raw observations (B, all numbers), scaled: (B, O)."""
    if setup.noise.observation:
        seen = seen + setup.noise.observation * generator.standard_normal(seen.shape)
    return setup.scale_observation(seen)


def first_returns(rollout: Rollout) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of rewards and the number of steps of each environment's first episode, (B,) each."""
    lived = _mark_first(rollout)
    return (rollout.rewards * lived).sum(axis=0), lived.sum(axis=0)


def first_rate(rollout: Rollout) -> float:
    """Return the mean number of spikes of a neuron in a step of the first episodes."""
    return float(rollout.spikes[_mark_first(rollout)].mean())


def _mark_first(rollout: Rollout) -> np.ndarray:
    """Return (H, B) bool, which steps belong to the first episode of their environment."""
    over = (rollout.terminated | rollout.truncated).astype(int)
    return (np.cumsum(over, axis=0) - over) == 0


def cut_segments(rollout: Rollout) -> dict[str, Any]:
    """Return what repeats the segments: arrays (B, S, K, ...), and states (B, S, ...)."""
    steps, envs = rollout.fresh.shape
    segments = jax.tree.leaves(rollout.states)
    count = segments[0].shape[0] if segments else steps
    columns = {"seen": rollout.seen, "fresh": rollout.fresh, "words": rollout.words, "actions": rollout.actions}
    cut = {name: value.swapaxes(0, 1).reshape(envs, count, -1, *value.shape[2:]) for name, value in columns.items()}
    return cut | {"state": jax.tree.map(lambda x: x.swapaxes(0, 1), rollout.states)}


def log_probs(setup: Setup, z: Any, segments: dict[str, Any]) -> tuple[Any, Any]:
    """Return what `Policy.log_probs` says, the steps of a segment one after another from its first state."""
    params = setup.space.decode(z)
    actions, log_std = setup.worlds.actions, params.get("log_std")

    def one(segment: dict[str, Any]) -> tuple[Any, Any]:
        def step(state: Any, now: dict[str, Any]) -> tuple[Any, tuple[Any, Any]]:
            state, out, _, _ = advance_network(setup, params, state, now["seen"], now["fresh"], now["words"])
            return state, judge(actions, now["actions"], out, log_std)

        return jax.lax.scan(step, segment["state"], {k: v for k, v in segment.items() if k != "state"})[1]

    return jax.vmap(one)(segments)


def advance_network(setup: Setup, params: Any, state: Any, seen: Any, fresh: Any, words: Any) -> Any:
    """Return the next state, outputs (A,), spikes and the key of the action, of one environment."""
    state = _begin_anew(fresh, setup.acting.init(params), state)
    of_network, of_action = jax.random.split(jax.random.wrap_key_data(words))
    state, out, spikes = setup.acting.step(params, state, seen, of_network)
    return state, out, spikes, of_action


@partial(jax.checkpoint, prevent_cse=False)  # a gradient keeps `fresh` alone, not a bool for each number of the state
def _begin_anew(fresh: Any, first: Any, state: Any) -> Any:
    """Return the first state where an episode begins, else the one that there is."""
    return jax.tree.map(lambda new, old: jnp.where(fresh, new, old), first, state)


@lru_cache(maxsize=8)
def _compile_action(setup: Setup) -> Any:
    """Return the jitted function (z, states, seen (B, O), fresh (B,), words (B, 2), epsilons (B,)) -> (states, ...)."""
    return jax.jit(make_action(setup))


def make_action(setup: Setup) -> Any:
    """Return what `_compile_action` says, to be traced."""

    def act(z: Any, states: Any, seen: Any, fresh: Any, words: Any, epsilons: Any) -> Any:
        params = setup.space.decode(z)

        def one(state: Any, seen: Any, fresh: Any, words: Any, epsilon: Any) -> Any:
            state, out, spikes, key = advance_network(setup, params, state, seen, fresh, words)
            action, log_prob = choose(setup.worlds.actions, setup.choice, key, out, params.get("log_std"), epsilon)
            return state, (action, log_prob, spikes)

        return jax.vmap(one)(states, seen, fresh, words, epsilons)

    return act


def make_keys(setup: Setup, words: Any) -> np.ndarray:
    """Return the key data (H, B, 2) of all steps."""
    return np.asarray(_split_key(words, setup.horizon, setup.envs))


def _split_keys(words: Any, steps: int, envs: int) -> Any:
    return jax.random.key_data(jax.random.split(jax_key(words), (steps, envs)))


_split_key = jax.jit(_split_keys, static_argnums=(1, 2))
