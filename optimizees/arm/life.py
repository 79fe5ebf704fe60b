"""Learning while the arm moves (Brand 2024, algorithm 1): epochs of windows, each with a step of gradient descent.

Legend: E epochs, T steps of the body in an epoch, B tests, N neurons of the reservoir, M muscles, J hinges.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from l2l_snn.snn.parameters import Array
from l2l_snn.validate import Count, NotNegative, Positive, check_fields, check_range, message
from optimizees.arm.gradients import Form, learn_window, run_window
from optimizees.arm.loop import Given, Loop, LoopState, Spikes


@dataclass(frozen=True)
class Training:
    """How long and from where an arm learns; the source's numbers, but for the ranges of a second hinge."""

    epochs: Count = 100  # E
    steps: Count = 4000  # T, steps of the body in an epoch, the first ones included
    settle: Count = 20  # steps at rest before the arm is put at an angle
    tail: Count = 2000  # last steps of an epoch, of which the mean loss is told
    angle_low: NotNegative = 0.4  # rad, to the left or to the right, from here ...
    angle_high: Positive = 0.6  # rad, ... to here
    speed_low: float = -0.01  # rad/s, first speed, from here ...
    speed_high: float = 0.1  # rad/s, ... to here
    clip: NotNegative = 0.0  # largest norm of a window's gradient; 0: any
    form: Form = "separable"  # of the gradient; see gradients.py

    def __post_init__(self) -> None:
        check_fields(self)
        check_range("Training.angle_high", self.angle_high, self.angle_low)
        check_range("Training.speed_high", self.speed_high, self.speed_low)
        if not self.tail < self.steps - self.settle:
            expected = f"fewer steps than the {self.steps - self.settle} after settling"
            raise ValueError(message("Training.tail", expected, self.tail))


class Hyper(NamedTuple):
    """What the outer loop may tune, but for the window."""

    learning_rate: Array  # () eta of eq. 2.21
    momentum: Array  # () mu
    initial_range: Array  # () of the trained weights, U(-r, r)
    tendon_ratio: Array  # ()


class Epoch(NamedTuple):
    """What an epoch was like."""

    loss: Array  # () mean of q^2 over its last steps
    whole: Array  # () mean of q^2 over all steps
    spikes: Spikes  # in the whole epoch
    steps: Array  # () in which the arm was within its range
    first: Array  # (J,) rad, the angle at which it was put
    w: Array  # (N, M) afterwards
    steepest: Array  # () largest norm of a window's gradient


class Life(NamedTuple):
    """What a life gives; E in front of every array of `epochs`."""

    first: Array  # (N, M) initial weights
    w: Array  # (N, M) learned ones
    given: Given
    epochs: Epoch


def learn(loop: Loop, training: Training, window: int, hyper: Hyper, key: jax.Array) -> Life:
    """Return a life of E epochs that starts with random weights; `window` steps of the body lie between updates.

    How algorithm 1 is read: its lines 12-14 would put the arm somewhere else every 20 steps; it is put once an epoch,
    after `settle` steps. An epoch that ends because the arm has left its range (`loop.max_angle`) ends with the update
    of line 26 for the window so far; a whole epoch has no window left. After it has left, the arm's loss goes on as
    that of the angle at which it left, so that falling early is no advantage.
    """
    keys = jax.random.split(key, 3)
    given = Given(loop.brain.sample_fixed(keys[0], loop.sensory), hyper.tendon_ratio)
    shape = loop.brain.reservoir, loop.muscles
    first = hyper.initial_range * jax.random.uniform(keys[1], shape, float, -1, 1)
    rule = optax.sgd(hyper.learning_rate, hyper.momentum, nesterov=True)
    if training.clip:
        rule = optax.chain(optax.clip_by_global_norm(training.clip), rule)

    def epoch(carry: Any, key: jax.Array) -> tuple[Any, Epoch]:
        w, moments = carry
        q, speed = sample_start(loop, training, key)
        start = -(-training.settle // window)  # windows at rest
        count = training.steps // window

        def advance(carry: Any, i: Array) -> tuple[Any, tuple[Array, Array, Array]]:
            w, moments, state, spikes, steps = carry
            state = jax.tree.map(lambda a, b: jnp.where(i == start, a, b), put(state, q, speed), state)
            found = learn_window(loop, given, w, state, window, training.form)
            norm = jnp.sqrt(jnp.sum(found.grad**2))
            updates, next_moments = rule.update(found.grad, moments, w)
            moved = w + updates
            good = state.alive & jnp.isfinite(moved).all()
            w, moments = jax.tree.map(lambda a, b: jnp.where(good, a, b), (moved, next_moments), (w, moments))
            spikes = jax.tree.map(lambda a, b: a + jnp.where(state.alive, b, 0.0), spikes, found.spikes)
            steps += jnp.where(state.alive, window, 0)
            return (w, moments, found.state, spikes, steps), (found.square, norm, state.alive)

        silence = Spikes(*(jnp.zeros(n) for n in (loop.sensory, *shape)))
        carry = w, moments, loop.init(), silence, jnp.zeros((), int)
        (w, moments, _, spikes, steps), (square, norm, alive) = jax.lax.scan(advance, carry, jnp.arange(count))
        tail = training.tail // window
        whole = square[start:].sum() / ((count - start) * window)
        steepest = jnp.where(alive, norm, 0.0).max()
        return (w, moments), Epoch(square[-tail:].sum() / (tail * window), whole, spikes, steps, q, w, steepest)

    (w, _), epochs = jax.lax.scan(epoch, (first, rule.init(first)), jax.random.split(keys[2], training.epochs))
    return Life(first, w, given, epochs)


def sample_start(loop: Loop, training: Training, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return random angles and speeds (J,) at which the arm is put."""
    keys, hinges = jax.random.split(key, 3), (len(loop.limb.skeleton.hinges),)
    size = jax.random.uniform(keys[0], hinges, float, training.angle_low, training.angle_high)
    side = jnp.where(jax.random.bernoulli(keys[1], 0.5, hinges), 1.0, -1.0)
    return side * size, jax.random.uniform(keys[2], hinges, float, training.speed_low, training.speed_high)


def put(state: LoopState, q: Array, w: Array) -> LoopState:
    """Return the state with the arm at angles and speeds (J,)."""
    limb = state.below.limb._replace(q=q, w=w)
    return state._replace(below=state.below._replace(limb=limb))


class Course(NamedTuple):
    """How the arm moves with frozen weights, a step of the body each."""

    q: Array  # (T, J) rad
    w: Array  # (T, J) rad/s
    torque: Array  # (T, J) N m, of the muscles
    level: Array  # (T, M) activation
    active: Array  # (T, M) N
    passive: Array  # (T, M) N
    spikes: Spikes  # (T, I), (T, N), (T, M) numbers of spikes


def course(loop: Loop, given: Given, w: Array, q: Array, steps: int, settle: int = 20) -> Course:
    """Return how the arm moves with frozen weights w (N, M), put at angles q (J,) after `settle` steps."""
    state = run_window(loop, given, w, loop.init(), settle).state

    def step(state: LoopState, _: Any) -> tuple[LoopState, Course]:
        state, _, spikes = loop.step(given, w, state)
        limb = state.below.limb
        forces = loop.limb.forces(limb, given.ratio)
        return state, Course(limb.q, limb.w, forces.torque, limb.activation.level, *forces.force, spikes)

    return jax.lax.scan(step, put(state, q, jnp.zeros_like(q)), length=steps)[1]
