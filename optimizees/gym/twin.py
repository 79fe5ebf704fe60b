"""Environments that are also written in JAX, and rollouts in them that are compiled as a whole.

An environment of gymnasium that has a twin says so: `env.unwrapped.twin` is one.

Legend: B environments side by side, H steps of each, K steps of a segment, S = H / K segments, O numbers of an
observation, Q numbers hidden from the agent, U uniform numbers.
"""

from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.seeding import jax_key, seed_words
from optimizees.gym.rollout import Rollout, make_action, make_keys
from optimizees.gym.setup import Setup


class Twin(Protocol):
    """An environment as pure functions, traced by JAX; a frozen dataclass. Randomness comes as uniform numbers."""

    @property
    def draws(self) -> int:
        """U, how many uniform numbers a reset or a step takes."""
        ...

    def reset(self, u: Any) -> Any:
        """Return the state at the start of an episode; u (U,) in [0, 1)."""
        ...

    def observe(self, state: Any) -> Any:
        """Return what is seen, as gymnasium's environment gives it."""
        ...

    def reveal(self, state: Any) -> Any:
        """Return what an agent doesn't see but its critic may know, (Q,) of order one; only learning uses it."""
        ...

    def potential(self, state: Any) -> Any:
        """Return how good a state is, (), for `Shaping`."""
        ...

    def step(self, state: Any, action: Any, u: Any) -> tuple[Any, Any, Any, Any]:
        """Return the next state, the reward, and whether the episode terminated and was truncated, all ()."""
        ...


def roll_out_compiled(setup: Setup, z: np.ndarray, seed: int, whole: bool) -> Rollout:
    """Let an individual act in the twin of an environment, all H steps; see `optimizees.gym.rollout.roll_out`.

    Random numbers are others than gymnasium's: the two give equal worlds, not equal episodes.
    """
    del whole
    return follow(setup, z, seed)[0]


def follow(setup: Setup, z: np.ndarray, seed: int) -> tuple[Rollout, Any]:
    """Return a rollout and the states of its worlds before each step, leaves (H, B, ...)."""
    keys, run = make_keys(setup, seed_words(seed)), _compile_rollout(replace(setup, epsilon=0.0))
    columns, states, worlds = jax.device_get(run(np.asarray(z, np.float32), seed_words(seed), keys, setup.epsilons))
    return Rollout(words=keys, states=states, **columns), worlds


@lru_cache(maxsize=8)
def _compile_rollout(setup: Setup) -> Any:
    """Return the jitted function (z, words (2,), keys (H, B, 2), epsilons (B,)) -> (columns, states, worlds)."""
    twin, act = setup.worlds.twin, make_action(setup)
    envs, segments = setup.envs, setup.horizon // setup.segment
    reset, convert = jax.vmap(twin.reset), jax.vmap(setup.worlds.actions.make_conversion(jnp))

    def see(worlds: Any) -> Any:
        return jax.vmap(lambda world: setup.scale_observation(twin.observe(world), jnp))(worlds)

    def tell(worlds: Any) -> Any:
        return jnp.concatenate([see(worlds), jax.vmap(twin.reveal)(worlds)], axis=-1)

    potential = jax.vmap(twin.potential)

    def roll(z: Any, words: Any, keys: Any, epsilons: Any) -> Any:
        u = jax.random.uniform(jax.random.fold_in(jax_key(words), 2**32 - 1), (setup.horizon + 1, 2, envs, twin.draws))

        def step(now: Any, given: Any) -> tuple[Any, Any]:
            worlds, state, fresh = now
            (u_step, u_reset), key = given
            seen = see(worlds)
            state, (action, log_prob, spikes) = act(z, state, seen, fresh, key, epsilons)
            after, rewards, terminated, truncated = jax.vmap(twin.step)(worlds, convert(action), u_step)
            over = terminated | truncated
            begun = reset(u_reset)
            later = jax.tree.map(lambda a, b: jnp.where(over.reshape(-1, *[1] * (a.ndim - 1)), b, a), after, begun)
            gain = setup.shaping.discount * potential(after) - potential(worlds)
            shaped = rewards + setup.shaping.weight * gain if setup.shaping.weight else rewards
            columns = {
                "seen": seen,
                "shaped": shaped,
                "told": tell(worlds),
                "told_next": tell(after),
                "rewards": rewards,
            }
            columns |= {"terminated": terminated}
            columns |= {"truncated": truncated, "actions": action, "log_probs": log_prob}
            columns |= {"fresh": fresh, "spikes": spikes}
            return (later, state, over | (setup.forget & (rewards > 0))), (columns, worlds)

        def segment(now: Any, given: Any) -> tuple[Any, Any]:
            after, found = jax.lax.scan(step, now, given)
            return after, (found, now[1])

        first = reset(u[0, 0]), setup.first_states(z), jnp.ones(envs, bool)
        given = jax.tree.map(lambda x: x.reshape(segments, setup.segment, *x.shape[1:]), ((u[1:, 0], u[1:, 1]), keys))
        _, (found, states) = jax.lax.scan(segment, first, given)
        columns, worlds = jax.tree.map(lambda x: x.reshape(setup.horizon, *x.shape[2:]), found)
        return columns, states, worlds

    return jax.jit(roll)
