"""The cue association task: what the input neurons of a T-maze fire while cues pass by (Schmidgall et al. 2021).

Seven cues, each left or right, follow one another; after a rest the decision cue begins and lasts to the horizon. The
side that had more cues is the right answer. Numbers: 001 section 3.1 and its supplement (000), section 1.6.

Legend: T steps of 1 ms, B trials side by side, K cues, G neurons of a group.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.validate import Count, NotNegative, Positive, check_fields, check_multiple, message

GROUPS = ("left", "right", "decision", "noise")  # of input neurons, in this order
LEFT, RIGHT, NONE = 0, 1, -1  # a cue; the first two are also the actions
STEP = 1.0  # ms


class Probabilities(NamedTuple):
    """Spikes a neuron and millisecond."""

    event: float  # a cue neuron, and a decision neuron, while its cue is there
    rest: float  # the same, while it isn't
    noise: float  # a noise neuron, always


NOISE = {"low": Probabilities(0.75, 0.05, 0.2), "high": Probabilities(0.65, 0.25, 0.4)}


@dataclass(frozen=True)
class Schedule:
    """What happens in a trial and when."""

    cues: Count = 7  # K, odd, so that one side has more
    cue: Positive = 25.0  # ms, a cue
    gap: NotNegative = 0.0  # ms between cues
    rests: tuple[NotNegative, ...] = (45.0, 75.0, 105.0)  # ms from the last cue to the decision cue, one a trial
    horizon: Positive = 500.0  # ms, a trial
    group: Count = 10  # G, neurons of each of the four input groups

    def __post_init__(self) -> None:
        check_fields(self)
        if self.cues % 2 == 0:
            raise ValueError(message("cues", "an odd number", self.cues, "with an even one, both sides may be equal"))
        if not self.rests:
            raise ValueError(message("rests", "at least one time in ms", "none"))
        for name in ("cue", "gap", "horizon"):
            check_multiple(name, getattr(self, name), STEP)
        for rest in self.rests:
            check_multiple("rests", rest, STEP)
        ends = self.cues_end + max(self.rests)
        if ends >= self.horizon:
            todo = "the decision comes after cues and rest"
            raise ValueError(message("horizon", f"more than {ends:g} ms", f"{self.horizon:g} ms", todo))

    @property
    def steps(self) -> int:
        """T."""
        return round(self.horizon / STEP)

    @property
    def cues_end(self) -> float:
        """When the last cue ends, ms."""
        return self.cues * self.cue + (self.cues - 1) * self.gap


class Trials(NamedTuple):
    """B trials."""

    spikes: Any  # (T, B, 4 G) of 0 and 1
    cues: Any  # (B, K) LEFT, RIGHT or NONE
    deciding: Any  # (T, B) 1 in the decision interval, else 0
    answer: Any  # (B,) LEFT or RIGHT, the side of more cues


def random_trials(
    schedule: Schedule, noise: Probabilities, key: Any, count: int, cues: Any = None, decision_cue: Any = True
) -> Trials:
    """Return B = `count` trials with random cues, rests and spikes; see `trials`."""
    of_order, of_spikes = jax.random.split(key)
    own, rests = sample_cues(schedule, of_order, count)
    return trials(schedule, noise, of_spikes, own if cues is None else cues, rests, decision_cue)


def sample_cues(schedule: Schedule, key: Any, trials: int) -> tuple[Any, Any]:
    """Return random cues (B, K) and rests (B,), ms."""
    of_cues, of_rests = jax.random.split(key)
    cues = jax.random.bernoulli(of_cues, 0.5, (trials, schedule.cues)).astype(jnp.int32)
    return cues, jax.random.choice(of_rests, jnp.array(schedule.rests), (trials,))


def trials(schedule: Schedule, noise: Probabilities, key: Any, cues: Any, rests: Any, decision_cue: Any) -> Trials:
    """Return trials with given cues.

    Args:
        schedule: times and sizes.
        noise: firing probabilities.
        key: of the spikes.
        cues: (B, K) LEFT, RIGHT or NONE.
        rests: (B,) ms between the last cue and the decision cue.
        decision_cue: whether its neurons tell of the decision interval.
    """
    time = jnp.arange(schedule.steps) * STEP
    period = schedule.cue + schedule.gap
    number = jnp.clip((time // period).astype(jnp.int32), 0, schedule.cues - 1)  # (T,) of the cue that may be there
    there = (time - number * period < schedule.cue) & (time < schedule.cues_end)
    shown = jnp.where(there[:, None], cues.T[number], NONE)  # (T, B)
    deciding = time[:, None] >= schedule.cues_end + rests[None, :]
    told = deciding & decision_cue
    p_cue = jnp.where(jnp.stack([shown == LEFT, shown == RIGHT, told], axis=-1), noise.event, noise.rest)
    p = jnp.concatenate([p_cue, jnp.full((*shown.shape, 1), noise.noise)], axis=-1)  # (T, B, 4)
    # drawn with four axes, (..., 4, G), it would take four times as long
    u = jax.random.uniform(key, (*shown.shape, 4 * schedule.group), p.dtype)
    spikes = (u < jnp.repeat(p, schedule.group, axis=-1)).astype(p.dtype)
    answer = (jnp.sum(cues == RIGHT, axis=1) > jnp.sum(cues == LEFT, axis=1)).astype(jnp.int32)
    return Trials(spikes, cues, deciding.astype(p.dtype), answer)


def novelty(counts: Any, interval: int) -> Any:
    """Return how much the input neurons' rates have changed from the interval before, (I, B), spikes a step.

    The mean over neurons of the absolute change; 0 in the first interval.

    Args:
        counts: (I, B, n) spikes in each interval.
        interval: its steps.
    """
    change = jnp.abs(jnp.diff(counts, axis=0)).mean(axis=2) / interval
    return jnp.concatenate([jnp.zeros_like(change[:1]), change])


def judged(deciding: Any, answer: Any, interval: int) -> Any:
    """Return what a spike of each output neuron is worth in each interval, (I, B, 2): a reward while it decides.

    1 for the right side and -1 for the other, times the share of the interval that is part of the decision.

    Args:
        deciding: (T, B) as `Trials` has it.
        answer: (B,) the right side.
        interval: steps.
    """
    share = deciding.reshape(-1, interval, deciding.shape[1]).mean(axis=1)
    right = 2.0 * jax.nn.one_hot(answer, 2, dtype=share.dtype) - 1.0
    return share[:, :, None] * right[None]


def reward(log_odds: Any, answer: Any, key: Any, decision: str) -> tuple[Any, Any]:
    """Return the mean reward, 1 for the right action and -1 for the other, and the share of right drawn actions.

    Args:
        log_odds: (B, 2) of left and right.
        answer: (B,) LEFT or RIGHT.
        key: of the drawn actions.
        decision: "expected": the mean is over both actions, weighted with their probabilities, and differentiable.
            "sampled": it is that of the drawn actions, and its gradient REINFORCE's (Williams 1992) with the batch's
            mean reward as baseline; as that contains a trial's own, the gradient is (B - 1) / B of the expected one.
    """
    right = 2.0 * jax.nn.one_hot(answer, 2, dtype=log_odds.dtype) - 1.0  # (B, 2)
    log_p = jax.nn.log_softmax(log_odds)
    action = jax.nn.one_hot(jax.random.categorical(key, log_odds), 2, dtype=log_odds.dtype)
    drawn = (action * right).sum(axis=1)
    mean = drawn.mean()
    accuracy = (1.0 + mean) / 2.0
    if decision == "expected":
        return (jnp.exp(log_p) * right).sum(axis=1).mean(), accuracy
    score = (jax.lax.stop_gradient(drawn - mean) * (action * log_p).sum(axis=1)).mean()
    return mean + score - jax.lax.stop_gradient(score), accuracy  # the reward's value and the score's gradient
