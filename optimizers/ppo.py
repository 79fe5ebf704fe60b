"""Proximal policy optimisation: policy gradients of an individual that acts, with several epochs a rollout.

PPO with the clipped objective (Schulman et al. 2017, Proximal policy optimization algorithms) on generalised advantage
estimates (Schulman et al. 2016), by Adam (Kingma & Ba 2015).

A generation is an update: E evaluations of one z, the shards, are rolled out by any workers, and come back with their
experience; the driver makes all steps of the update from that. What acts belongs to the optimizee, since it is what is
stored as a genome and replayed: the network, its random keys, and how likely an action is (`log_probs`). What only
learning needs belongs here: the critic, the advantages, the moments of Adam. So evolution searches the same space.

Legend: E shards, B environments side by side in each, H steps, K steps of a segment, N = E B H / K segments, O numbers
of an observation, D search coordinates, C numbers of the critic, U steps of Adam in an update, M segments of each.
"""

import logging
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from l2l_snn.evaluation import Acting, Evaluation, Experience, Policy
from l2l_snn.optimizer import Optimizer
from l2l_snn.search.critic import Critic
from l2l_snn.search.returns import advantages
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import Below1, Count, CountFromZero, NotNegative, Positive, Share, message

log = logging.getLogger(__name__)


class PPOState(NamedTuple):
    """What PPO knows between updates."""

    words: np.ndarray  # (2,) the random stream
    z: np.ndarray  # (D,) the policy
    critic: np.ndarray  # (C,) weights of the value function; (0,) before the first update
    memory: np.ndarray  # moments and step counts of Adam, of z and of the critic, packed; (0,) before the first update
    updates: np.ndarray  # () how many there were


@dataclass(frozen=True)
class PPO(Optimizer[PPOState]):
    """PPO for optimizees with `has_experience`, such as `optimizees.gym`.

    The objective is min(r A, clip(r, 1 - clip, 1 + clip) A) plus `entropy` times the entropy, r the ratio of the
    probabilities of the action now and in the rollout, A normalised in each minibatch. The critic's is half the squared
    error to A + V. Minibatches are drawn from segments, within which the gradient goes back through the network's
    state. An update that isn't finite is left out. With `block` the gradient of a minibatch is the mean of those of its
    blocks, the same but for rounding: so little memory at once suits networks with a state for each synapse.
    """

    needs_experience: ClassVar[bool] = True
    evaluations: Count = 1  # E, shards of a generation
    epochs: Count = 10  # passes through the experience
    minibatches: Count = 4  # steps of Adam an epoch; segments that are left over sit out that epoch
    learning_rate: Positive = 0.0005  # of z, in its units, at first ...
    anneal: CountFromZero = 0  # ... falls linearly to 0 in so many updates; 0: stays
    critic_rate: Positive = 0.001  # the same of the critic, with the same schedule
    discount: Share = 0.99  # gamma
    decay: Share = 0.97  # lambda of the advantages
    clip: Positive = 0.2  # epsilon, of the ratio
    entropy: NotNegative = 0.0  # price of a narrow distribution of actions
    max_norm: Positive = 0.5  # of the gradients of policy and critic, each
    reward_scale: Positive = 1.0  # factor of rewards; returns of order 1 to 10 suit the critic
    critic: tuple[Count, ...] = (64, 64)  # hidden tanh units of the value function
    b2: Below1 = 0.999  # decay of Adam's second moment
    block: CountFromZero = 0  # segments of a minibatch whose gradient is taken at once, a divisor of M; 0: all

    @property
    def averages(self) -> bool:
        return self.evaluations > 1

    def individuals(self, size: int) -> int:
        """Return E."""
        return self.evaluations

    def sized(self, individuals: int, size: int) -> Self:
        return replace(self, evaluations=individuals)

    def init(self, space: Space, seed: int) -> PPOState:
        generator, words = generator_of(stream(seed))
        return PPOState(words, space.sample(generator, 1)[0], np.zeros(0), np.zeros(0), np.array(0))

    def started(self, space: Space, state: PPOState, z: np.ndarray) -> PPOState:
        return state._replace(z=z[0].copy())

    def ask(self, space: Space, state: PPOState) -> tuple[np.ndarray, PPOState]:
        return np.repeat(state.z[None], self.evaluations, axis=0), state

    def learn(
        self, space: Space, state: PPOState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> PPOState:
        shards = [one for one in evaluation.experience if one is not None]
        if not shards:
            return state
        generator, words = generator_of(state.words)
        policy = shards[0].policy
        batch = _join_shards(shards)
        critic = Critic(batch["observations"].shape[-1], self.critic)
        weights = state.critic if state.critic.size else critic.sample(generator)
        if weights.size != critic.size:
            todo = f"the stored one has {weights.size} weights; this one would have {critic.size}"
            raise ValueError(message("PPO.critic", "as in the run that goes on", self.critic, todo))
        update, first = _compile_update(self, policy, critic, space.size)
        memory = state.memory if state.memory.size else first
        segments = len(batch["rewards"]) * _count_segments(batch)
        order = self._choose_minibatches(generator, segments, segments // len(shards) * self.evaluations)
        if not len(order):
            log.warning("PPO: no update, the segments of %d of %d shards are too few", len(shards), self.evaluations)
            return state
        share = max(0.0, 1.0 - float(state.updates) / self.anneal) if self.anneal else 1.0
        words_of = generator.integers(2**32, size=(len(order), 2), dtype=np.uint32)
        found = update(
            *(np.asarray(one, np.float32) for one in (state.z, weights, memory, share)), batch, order, words_of
        )
        new_z, weights, memory = (np.asarray(one, np.float64) for one in found)
        if self.anneal and state.updates == self.anneal:
            log.warning("PPO.anneal: the learning rate is 0 from now on, after %d updates", self.anneal)
        state = state._replace(words=words, updates=np.array(state.updates + 1))
        if not all(np.isfinite(one).all() for one in (new_z, weights, memory)):
            log.warning("PPO: an update that isn't finite is left out")
            return state
        return state._replace(z=space.clipped(new_z), critic=weights, memory=memory)

    def check_acting(self, acting: Acting) -> None:
        acting.check_learning("log_probs")
        if acting.segments is not None:
            segments, steps = acting.segments
            size = self._size_minibatch(segments * self.evaluations)
            if size * steps < 2:  # whose advantage, normalised, is 0
                most = segments * self.evaluations // 2
                raise ValueError(message("PPO.minibatches", f"at most {most}, of two steps each", self.minibatches))

    def _size_minibatch(self, segments: int) -> int:
        """Return M, of all segments of all shards.

        Raises:
            ValueError: they are too few, or not to be cut into blocks.
        """
        size = segments // self.minibatches
        if not size:
            raise ValueError(message("PPO.minibatches", f"at most {segments}, the segments", self.minibatches))
        if self.block and size % self.block:
            raise ValueError(message("PPO.block", f"a divisor of {size}, the segments of a minibatch", self.block))
        return size

    def _choose_minibatches(self, generator: np.random.Generator, segments: int, whole: int) -> np.ndarray:
        """Return (U, M) which of N segments each step of Adam sees; fewer steps where shards of the `whole` failed."""
        size = self._size_minibatch(whole)
        used = size * min(self.minibatches, segments // size)
        epochs = [generator.permutation(segments)[:used].reshape(-1, size) for _ in range(self.epochs)]
        return np.concatenate(epochs).astype(np.int32)

    def recommend(self, space: Space, state: PPOState) -> np.ndarray:
        """Return the policy after the last update."""
        return state.z


def _join_shards(shards: list[Experience]) -> dict[str, Any]:
    """Return the arrays of all shards as one experience, their environments one after another."""
    import jax

    parts = [{name: value for name, value in shard._asdict().items() if name != "policy"} for shard in shards]
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)


def _count_segments(batch: dict[str, Any]) -> int:
    """Return S, the segments of one environment."""
    import jax

    return jax.tree.leaves(batch["segments"])[0].shape[1]


@lru_cache(maxsize=8)
def _compile_update(ppo: PPO, policy: Policy, critic: Critic, size: int) -> tuple[Any, np.ndarray]:
    """Return the jitted function (z, critic, memory, share, batch, order (U, M), words (U, 2)) -> (z, critic, memory),
    and a memory.

    `share` is that of the learning rates which the schedule has left.
    """
    import jax
    import jax.numpy as jnp
    import optax
    from jax.flatten_util import ravel_pytree

    rule = optax.chain(optax.clip_by_global_norm(ppo.max_norm), optax.scale_by_adam(b2=ppo.b2, eps=1e-5))
    nothing = tuple(jnp.zeros(n, jnp.float32) for n in (size, len(critic.sample(np.random.default_rng(0)))))
    packed, unpack = ravel_pytree(tuple(rule.init(one) for one in nothing))
    rates = (ppo.learning_rate, ppo.critic_rate)

    def loss(weights: Any, some: dict[str, Any]) -> Any:
        log_probs, entropies = policy.log_probs(weights[0], some["segments"])
        gain = some["advantages"]
        ratio = jnp.exp(log_probs - some["log_probs"])
        objective = jnp.minimum(ratio * gain, jnp.clip(ratio, 1 - ppo.clip, 1 + ppo.clip) * gain)  # 2017, eq. 7
        error = critic.values(weights[1], some["observations"]) - some["returns"]
        return 0.5 * (error**2).mean() - objective.mean() - ppo.entropy * entropies.mean()

    def slope_of(both: Any, some: dict[str, Any]) -> Any:
        gain = some["advantages"]
        some = some | {"advantages": (gain - gain.mean()) / (gain.std() + 1e-8)}
        size = len(gain)
        if ppo.block in (0, size):
            return jax.grad(loss)(both, some)
        blocks = jax.tree.map(lambda x: x.reshape(-1, ppo.block, *x.shape[1:]), some)

        def add(total: Any, one: Any) -> tuple[Any, None]:
            return jax.tree.map(lambda x, y: x + y * (ppo.block / size), total, jax.grad(loss)(both, one)), None

        return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, both), blocks)[0]

    def update(z: Any, weights: Any, memory: Any, share: Any, batch: dict[str, Any], order: Any, words: Any) -> Any:
        values = critic.values(weights, batch["observations"])
        next_values = critic.values(weights, batch["next_observations"])
        rewards = ppo.reward_scale * batch["rewards"]
        gains = advantages(
            rewards, values, next_values, batch["terminated"], batch["truncated"], ppo.discount, ppo.decay
        )
        rows, segments = len(rewards), _count_segments(batch)

        def cut(rows_of: Any) -> Any:  # (B, H, ...) -> (N, K, ...)
            return rows_of.reshape(rows * segments, -1, *rows_of.shape[2:])

        steps = {"observations": batch["observations"], "log_probs": batch["log_probs"]}
        steps |= {"advantages": gains, "returns": gains + values}
        whole = jax.tree.map(lambda x: x.reshape(rows * segments, *x.shape[2:]), batch["segments"])
        data = {"segments": whole} | {name: cut(value) for name, value in steps.items()}

        def step(now: Any, given: Any) -> tuple[Any, None]:
            (both, memories), (chosen, words) = now, given
            slopes = slope_of(both, jax.tree.map(lambda x: x[chosen], data))
            moves, memories = zip(
                *(rule.update(slope, one) for slope, one in zip(slopes, memories, strict=True)), strict=True
            )
            moved = tuple(one - share * rate * move for one, rate, move in zip(both, rates, moves, strict=True))
            return ((policy.rewire(both[0], moved[0], share * rates[0], words), moved[1]), memories), None

        ((z, weights), memories), _ = jax.lax.scan(
            step, ((z, weights), unpack(memory.astype(packed.dtype))), (order, words)
        )
        return z, weights, ravel_pytree(memories)[0]

    return jax.jit(update), np.asarray(packed, np.float64)
