"""Deep Q-learning: an individual's outputs become the values of its discrete actions.

DQN with replay and a target network (Mnih et al. 2015, Human-level control through deep reinforcement learning), double
(van Hasselt, Guez & Silver 2016), with actors that explore each at a rate of its own (Horgan et al. 2018), which the
optimizee does: `choice: epsilon` of `optimizees.gym`.

A generation is a rollout by E shards on any workers, and the steps of Adam that follow on the driver. The replay memory
is part of the state that is stored, so that a resumed run goes on byte for byte. What acts belongs to the optimizee
(`action_values`), what only learning needs stays here, as in `ppo.py`.

Legend: E shards, D search coordinates, O numbers of an observation, R transitions in the replay memory, U steps of
Adam in a generation, M transitions of each.
"""

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from l2l_snn.evaluation import Acting, Evaluation, Experience, Policy
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import Count, CountFromZero, Positive, Share, message

log = logging.getLogger(__name__)


class Replay(NamedTuple):
    """Transitions, the oldest overwritten first; no rows before the first generation."""

    observations: np.ndarray  # (R, O)
    next_observations: np.ndarray  # (R, O)
    actions: np.ndarray  # (R,) int
    rewards: np.ndarray  # (R,)
    terminated: np.ndarray  # (R,) bool


class DQNState(NamedTuple):
    """What DQN knows between generations."""

    words: np.ndarray  # (2,) the random stream
    z: np.ndarray  # (D,) the Q-network
    target: np.ndarray  # (D,) the one whose values are believed
    memory: np.ndarray  # of Adam, packed; (0,) before the first step
    generations: np.ndarray  # () how many there were
    seen: np.ndarray  # () transitions so far
    best_z: np.ndarray  # (D,) the Q-network of the best generation so far, by the mean over its shards
    best_fitness: np.ndarray  # () that mean, exploration included
    replay: Replay


@dataclass(frozen=True)
class DQN(Optimizer[DQNState]):
    """Double Q-learning for optimizees with `has_experience` and discrete actions, of a network without state.

    The target is r + gamma Q'(s', argmax Q(s')), without the second term where the task terminated; after each step of
    Adam, Q' goes `follow` of the way to Q. The loss is Huber's. A generation whose steps aren't finite is left out.
    The Q-network of the best generation so far is recommended.
    """

    needs_experience: ClassVar[bool] = True
    evaluations: Count = 1  # E, shards of a generation
    replay: Count = 50_000  # R
    steps: Count = 500  # U
    batch: Count = 64  # M
    warmup: CountFromZero = 1000  # transitions before the first step
    learning_rate: Positive = 0.003  # of z, in its units, at first ...
    anneal: CountFromZero = 0  # ... falls linearly to a tenth in so many generations; 0: stays
    discount: Share = 0.99  # gamma
    follow: Share = 0.01  # share of the way that the target goes in a step
    reward_scale: Positive = 1.0  # factor of rewards; values of order 1 to 10 suit the network
    max_norm: Positive = 10.0  # of the gradient

    @property
    def averages(self) -> bool:
        return self.evaluations > 1

    def individuals(self, size: int) -> int:
        """Return E."""
        return self.evaluations

    def sized(self, individuals: int, size: int) -> Self:
        return replace(self, evaluations=individuals)

    def init(self, space: Space, seed: int) -> DQNState:
        generator, words = generator_of(stream(seed))
        z, none, nothing = space.sample(generator, 1)[0], np.zeros((0, 1), np.float32), np.zeros(0)
        empty = Replay(none, none, nothing.astype(np.int32), nothing.astype(np.float32), nothing.astype(bool))
        none_yet = np.array(0), np.array(0), z.copy(), np.array(-np.inf)
        return DQNState(words, z, z.copy(), nothing, *none_yet, empty)

    def started(self, space: Space, state: DQNState, z: np.ndarray) -> DQNState:
        return state._replace(z=z[0].copy(), target=z[0].copy(), best_z=z[0].copy())

    def ask(self, space: Space, state: DQNState) -> tuple[np.ndarray, DQNState]:
        return np.repeat(state.z[None], self.evaluations, axis=0), state

    def learn(
        self, space: Space, state: DQNState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> DQNState:
        shards = [one for one in evaluation.experience if one is not None]
        if not shards:
            return state
        mean = Evaluation(np.array([np.nanmean(evaluation.score)]))
        state = with_best(state, z[:1], mean)
        stored, seen = self._store_transitions(state.replay, int(state.seen), shards)
        state = state._replace(replay=stored, seen=np.array(seen), generations=np.array(state.generations + 1))
        filled = min(seen, self.replay)
        if seen < self.warmup:
            return state
        generator, words = generator_of(state.words)
        chosen = generator.integers(filled, size=(self.steps, self.batch))
        update, first = _compile_update(self, shards[0].policy, space.size)
        memory = state.memory if state.memory.size else first
        done = float(state.generations) - 1
        share = max(0.1, 1.0 - 0.9 * done / self.anneal) if self.anneal else 1.0
        numbers = (np.asarray(one, np.float32) for one in (state.z, state.target, memory, share))
        found = update(*numbers, Replay(*(column[chosen] for column in stored)))
        new_z, target, memory = (np.asarray(one, np.float64) for one in found)
        state = state._replace(words=words)
        if not all(np.isfinite(one).all() for one in (new_z, target, memory)):
            log.warning("DQN: steps that aren't finite are left out")
            return state
        return state._replace(z=space.clipped(new_z), target=target, memory=memory)

    def check_acting(self, acting: Acting) -> None:
        acting.check_learning("action_values")

    def _store_transitions(self, before: Replay, seen: int, shards: list[Experience]) -> tuple[Replay, int]:
        """Return the replay memory with the experience of the shards, and how many transitions there were."""
        for one in shards:
            if one.actions.ndim != 2 or not np.issubdtype(one.actions.dtype, np.integer):
                got = f"those of shape {one.actions.shape[2:]} and {one.actions.dtype}"
                raise ValueError(message("DQN: actions", "discrete ones", got, "take optimizers.ppo:PPO"))
            columns = Replay(
                one.observations, one.next_observations, one.actions, self.reward_scale * one.rewards, one.terminated
            )
            count = one.rewards.size
            if count > self.replay:  # the last steps of all environments
                columns = Replay(*(column.swapaxes(0, 1) for column in columns))
            rows = Replay(*(column.reshape(-1, *column.shape[2:])[-self.replay :] for column in columns))
            if not len(before.rewards):
                empty = zip(rows, before, strict=True)
                before = Replay(*(np.zeros((self.replay, *new.shape[1:]), old.dtype) for new, old in empty))
            if len(before.rewards) != self.replay:
                todo = f"the stored memory has {len(before.rewards)} transitions"
                raise ValueError(message("DQN.replay", "as in the run that goes on", self.replay, todo))
            places = (seen + count - len(rows.rewards) + np.arange(len(rows.rewards))) % self.replay
            before = Replay(*(column.copy() for column in before))
            for column, new in zip(before, rows, strict=True):
                column[places] = new
            seen += count
        return before, seen

    def recommend(self, space: Space, state: DQNState) -> np.ndarray:
        """Return the Q-network of the best generation: what comes after may have forgotten."""
        return state.best_z


@lru_cache(maxsize=8)
def _compile_update(dqn: DQN, policy: Policy, size: int) -> tuple[Any, np.ndarray]:
    """Return the jitted function (z, target, memory, share, transitions (U, M, ...)), and a first memory."""
    import jax
    import jax.numpy as jnp
    import optax
    from jax.flatten_util import ravel_pytree

    rule = optax.chain(optax.clip_by_global_norm(dqn.max_norm), optax.scale_by_adam())
    packed, unpack = ravel_pytree(rule.init(jnp.zeros(size, jnp.float32)))

    def loss(z: Any, target: Any, some: Replay) -> Any:
        best = jnp.argmax(policy.action_values(z, some.next_observations), axis=1)
        ahead = _take(policy.action_values(target, some.next_observations), best)
        goal = some.rewards + dqn.discount * jnp.where(some.terminated, 0.0, ahead)
        value = _take(policy.action_values(z, some.observations), some.actions)
        return optax.huber_loss(value, jax.lax.stop_gradient(goal)).mean()

    def update(z: Any, target: Any, memory: Any, share: Any, transitions: Replay) -> Any:
        def step(now: Any, some: Replay) -> tuple[Any, None]:
            z, target, memory = now
            move, memory = rule.update(jax.grad(loss)(z, target, some), memory)
            z = z - share * dqn.learning_rate * move
            return (z, target + dqn.follow * (z - target), memory), None

        (z, target, memory), _ = jax.lax.scan(step, (z, target, unpack(memory.astype(packed.dtype))), transitions)
        return z, target, ravel_pytree(memory)[0]

    return jax.jit(update), np.asarray(packed, np.float64)


def _take(values: Any, actions: Any) -> Any:
    """Return (M,) the values (M, A) of actions (M,)."""
    import jax.numpy as jnp

    return jnp.take_along_axis(values, actions[:, None], axis=1)[:, 0]
