"""A vehicle's life in two compiled calls: lessons, then drives in worlds that it has never seen; and their pictures.

Legend: W unseen worlds, V of these that are shown, T control steps, S simulation steps of each.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.seeding import jax_key
from l2l_snn.space import Space
from optimizees.agent.perceptron import Perceptron, multiply_adds
from optimizees.vehicle.brain import Brain, Spiking
from optimizees.vehicle.drive import Artificial, Controller, drive, record
from optimizees.vehicle.lessons import LessonParameters, Training, first_weights, learn
from optimizees.vehicle.world import COLLIDED, LATE, REACHED, Arena


class TrainingSetup(NamedTuple):
    """All that is known of a life before the program runs; hashable."""

    mode: str  # rstdp or mlp
    arena: Arena
    brain: Brain
    training: Training
    tests: int  # W
    shown: int  # V
    space: Space

    def driver(self, net: Any) -> Controller:
        """Return who drives with these weights, or with this perceptron."""
        return Artificial(self.arena, net) if self.mode == "mlp" else Spiking(self.brain, self.arena, net)


class Keys(NamedTuple):
    """Keys of what is random in a life."""

    weights: jax.Array
    training: jax.Array
    unseen: jax.Array


@lru_cache(maxsize=8)
def compiled_life(setup: TrainingSetup) -> tuple[Any, Any]:
    """Return jitted functions: (z (D,), words (2,)) -> metrics, artifacts; (their `nets`, words) -> more artifacts.

    `nets`: weights before and after learning, or the perceptron, with the number of them leading.
    """

    def live(z: jax.Array, words: jax.Array) -> tuple[dict[str, Any], dict[str, Any]]:
        params, keys = setup.space.decode(z), _split_key(words)
        if setup.mode == "mlp":
            return _test_drivers(setup, Perceptron(**{name: x[None] for name, x in params.items()}), keys.unseen)
        return _learn_and_test(setup, LessonParameters(**params), keys)

    def show(nets: Any, words: jax.Array) -> dict[str, Any]:
        return _record_drives(setup, nets, _split_key(words).unseen)

    return jax.jit(live), jax.jit(show)


def _split_key(words: jax.Array) -> Keys:
    return Keys(*jax.random.split(jax_key(words), 3))


def _learn_and_test(
    setup: TrainingSetup, parameters: LessonParameters, keys: Keys
) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """Return metrics and artifacts of lessons and of the drives before and after them."""
    first = first_weights(setup.brain, setup.arena, parameters, keys.weights)
    lessons = learn(setup.brain, setup.arena, setup.training, parameters, first, keys.training)
    metrics, artifacts = _test_drivers(setup, jnp.stack([first, lessons.weights]), keys.unseen)
    untrained = artifacts["outcome"][0]
    return metrics | {
        "untrained_reached": (untrained == REACHED).mean(),
        "untrained_collided": (untrained == COLLIDED).mean(),
        "training_reached": (lessons.outcomes == REACHED).sum(),
        "training_collided": (lessons.outcomes == COLLIDED).sum(),
        "training_late": (lessons.outcomes == LATE).sum(),
        "training_steps": lessons.ticks,
        "drift": jnp.abs(lessons.weights - first).mean(),
    }, artifacts | {
        "training_outcome": lessons.outcomes,
        "training_length": lessons.steps,
        "training_error": lessons.errors,
        "before.sensor_motor": first,
        "after.sensor_motor": lessons.weights,
    }


def _test_drivers(setup: TrainingSetup, nets: Any, key: jax.Array) -> tuple[dict[str, jax.Array], dict[str, Any]]:
    """Return metrics of the last net's drives in the W unseen worlds, and the outcomes of all nets."""
    unseen = jax.random.split(key, setup.tests)
    drives, best = jax.vmap(lambda net: drive(setup.arena, setup.driver(net), unseen))(nets)
    last = drives.outcome[-1]
    reached = last == REACHED
    sensor, motor = drives.spikes[-1].sum(axis=0) / drives.steps[-1].sum()  # of a control step
    mlp = setup.mode == "mlp"
    metrics = {
        "reached": reached.mean(),
        "collided": (last == COLLIDED).mean(),
        "late": (last == LATE).mean(),
        "progress": drives.progress[-1].mean(),
        "detour": jnp.where(reached, drives.length[-1] / best[-1], 0.0).sum() / reached.sum(),
        "spikes": sensor + motor,
        "operations": sensor * 2 * setup.brain.motor,  # nothing hears the motor neurons
        "multiply_adds": jnp.asarray(float(multiply_adds(nets) // len(nets.b_out)) if mlp else 0.0),
    }
    return metrics, {"outcome": drives.outcome, "nets": nets}


def _record_drives(setup: TrainingSetup, nets: Any, key: jax.Array) -> dict[str, Any]:
    """Return the artifacts of all nets' drives in the first V unseen worlds."""
    unseen = jax.random.split(key, setup.tests)[: setup.shown]
    each = jax.vmap(lambda net: jax.vmap(lambda key: record(setup.arena, setup.driver(net), key))(unseen))
    worlds, _, steps = each(nets)
    found = {
        "path": jnp.where(steps.on[..., None], steps.state.position, jnp.nan),
        "heading": jnp.where(steps.on, steps.state.heading, jnp.nan),
        **{name: value[0] for name, value in worlds._asdict().items()},
        "wheels": steps.wheels[-1, 0],
    }
    for name, spikes in zip(("sensor", "motor"), steps.seen, strict=False):  # of an mlp, none
        found[name] = spikes[-1, 0].reshape(-1, spikes.shape[-1]) > 0
    return found
