"""The spiking network that drives the Mountain Car, and the car, in JAX: many cars in one compiled call.

Spikes, actions and positions are those of NEST and gymnasium. Two things are known before a layer is simulated, so time
runs inside a layer and not over all of them (delays are at least one step, and nothing is recurrent): when an input
neuron under drive fires, and with that all that arrives at the hidden layer in an environment step; then the hidden
layer's spikes, and with these all that arrives at the output layer.

Legend: C cars, T environment steps, S simulation steps of each, H hidden neurons, B bins, N neurons of a layer.
"""

from functools import partial
from math import expm1
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.utils import seeding

from l2l_snn.snn import cells
from l2l_snn.snn.coding import bin_index, most_spikes
from l2l_snn.validate import check_choice, message
from optimizees.mountain_car.task import ACTIONS, GOAL, NONE, POSITIONS, VELOCITIES, CarNetwork, Episodes

FORCE = 0.001  # gymnasium's
GRAVITY = 0.0025
MODELS = {"iaf_psc_alpha": cells.IafPscAlpha, "iaf_psc_exp": cells.IafPscExp, "iaf_psc_delta": cells.IafPscDelta}


class _Layer(NamedTuple):
    state: Any
    queue: jax.Array  # (delay, 2, N, C) what is under way to it, positive and negative weights


class _Inputs(NamedTuple):
    neurons: jax.Array  # (2, C) the velocity and the position neuron of each car; 2 B is none
    weights: jax.Array  # (2, H, C) from them to the hidden layer


class _Carry(NamedTuple):
    car: tuple[jax.Array, jax.Array]  # (C,) positions, velocities
    over: jax.Array  # (C,) whether the flag has been reached
    driven: _Inputs  # under drive until the current moves
    wanted: _Inputs  # under drive from then on: those of the bins that the car is in
    age: jax.Array  # (2, C) simulation steps for which the first have been driven
    hidden: _Layer
    output: _Layer


class _Steps(NamedTuple):
    """Times in simulation steps, and the model of hidden and output neurons."""

    cell: Any
    network: CarNetwork
    substeps: int  # S
    drive_delay: int
    delay: int
    period: int  # from one spike of a driven input neuron to the next
    record: bool


def drive_cars(
    network: CarNetwork,
    steps: int,
    w_hidden: np.ndarray,
    w_out: np.ndarray,
    seeds: np.ndarray,
    record: bool,
    precision: str,
) -> Episodes:
    """Drive C cars.

    Args:
        network: the network.
        steps: T, the longest episode.
        w_hidden: (C, H, 2 B) pA.
        w_out: (C, 3, H) pA.
        seeds: (C,) of gymnasium's reset.
        record: also return all spikes.
        precision: float64, NEST's, or float32, of the network; the car is always gymnasium's float64.

    Raises:
        ValueError: a model that JAX has not, or a drive that doesn't lift an input neuron over threshold in one step.
    """
    starts = [seeding.np_random(int(seed))[0].uniform(low=-0.6, high=-0.4) for seed in seeds]
    with jax.enable_x64(True):
        weights = (jnp.asarray(w, precision) for w in (w_hidden, w_out))
        found = _drive_cars(network, steps, record, *weights, jnp.asarray(starts, jnp.float64))
    track, actions, counts, spikes = found
    track, actions, counts = (np.asarray(value) for value in (track, actions, counts))
    if not record:
        return Episodes(track.astype(np.float64), actions, counts, None)
    cars, step, substep, neuron = np.nonzero(np.asarray(spikes))
    times = (step * spikes.shape[2] + substep + 1) * network.resolution
    return Episodes(track.astype(np.float64), actions, counts, (times, cars, neuron))


def _time_steps(network: CarNetwork, record: bool) -> _Steps:
    """Return the times in steps; refuse what only NEST has."""
    check_choice("model", network.model, list(MODELS), "or take backend: nest")
    cell = MODELS[network.model](t_ref=network.t_ref)

    def steps(ms: float) -> int:
        return round(ms / network.resolution)

    lift = network.drive * cell.tau_m / cell.C_m * -expm1(-network.resolution / cell.tau_m)  # mV in one step
    if lift < cell.V_th - cell.V_reset or network.t_ref >= network.step_ms:
        expected = f"enough to lift an input neuron by {cell.V_th - cell.V_reset} mV in one step"
        got = f"{network.drive} pA, which lift it by {lift:.3g} mV"
        raise ValueError(message("drive", expected, got, "raise it, or take backend: nest"))
    return _Steps(
        cell,
        network,
        substeps=steps(network.step_ms),
        drive_delay=steps(network.drive_delay),
        delay=steps(network.delay),
        period=steps(network.t_ref) + 1,
        record=record,
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _drive_cars(
    network: CarNetwork, T: int, record: bool, w_hidden: jax.Array, w_out: jax.Array, starts: jax.Array
) -> tuple[jax.Array, ...]:
    """Drive the cars; returns what `Episodes` has, and the spikes as (C, T, S, 2 B + H + 3) bool if recorded.

    Cars stand last in every array, so that each operation runs along memory over all of them.
    """
    s, bins, none = _time_steps(network, record), network.bins, 2 * network.bins
    w_hidden, w_out = jnp.moveaxis(w_hidden, 0, -1).swapaxes(0, 1), jnp.moveaxis(w_out, 0, -1).swapaxes(0, 1)
    C = len(starts)  # w_hidden (2 B, H, C), w_out (H, 3, C)

    def inputs(car: tuple[jax.Array, jax.Array]) -> _Inputs:
        position, velocity = _observe_cars(car)
        neurons = jnp.stack([bin_index(velocity, *VELOCITIES, bins), bins + bin_index(position, *POSITIONS, bins)])
        return _Inputs(neurons.astype(jnp.int32), jnp.take_along_axis(w_hidden, neurons[:, None], axis=0))

    def environment_step(carry: _Carry, _: None) -> tuple[_Carry, Any]:
        before, after = _input_spikes(s, carry)  # (S, 2, C) each
        sent = jnp.where(before[:, :, None], carry.driven.weights[None], 0.0)
        sent = jnp.where(after[:, :, None], carry.wanted.weights[None], sent)  # (S, 2, H, C)
        hidden, hidden_spikes = _run_layer(s, carry.hidden, sent)  # (S, H, C)
        sent = jnp.where(hidden_spikes[:, :, None] > 0, w_out[None], 0.0)  # (S, H, 3, C)
        output, output_spikes = _run_layer(s, carry.output, sent)  # (S, 3, C)
        counts = output_spikes.sum(axis=0).astype(jnp.int32).T
        action = most_spikes(counts, tie=NONE)
        car = step(*carry.car, action)
        stays = carry.wanted.neurons == carry.driven.neurons
        age = jnp.where(stays, carry.age + s.substeps, s.substeps - s.drive_delay)
        over = carry.over | (_observe_cars(car)[0] >= GOAL)
        gone = carry.over[:, None]
        told = [
            jnp.where(gone, jnp.nan, _observe_cars(car).T),
            jnp.where(carry.over, -1, action),
            jnp.where(gone, 0, counts),
        ]
        if s.record:
            fired = _all_inputs(carry, before, after, none)
            fired = jnp.concatenate([fired, hidden_spikes > 0, output_spikes > 0], axis=1)
            told.append(fired & ~carry.over[None, None])  # (S, 2 B + H + 3, C)
        return _Carry(car, over, carry.wanted, inputs(car), age, hidden, output), tuple(told)

    car = starts, jnp.zeros_like(starts)
    begin = _Carry(
        car,
        jnp.zeros(C, bool),
        _Inputs(jnp.full((2, C), none, jnp.int32), jnp.zeros((2, *w_hidden.shape[1:]), w_hidden.dtype)),
        inputs(car),
        jnp.zeros((2, C), jnp.int32),
        _resting_layer(s, network.hidden, C, w_out.dtype),
        _resting_layer(s, ACTIONS, C, w_out.dtype),
    )
    _, (track, actions, counts, *spikes) = jax.lax.scan(environment_step, begin, None, length=T)
    track = jnp.concatenate([_observe_cars(begin.car).T[None], track])
    track, actions, counts = (value.swapaxes(0, 1) for value in (track, actions, counts))
    return track, actions, counts, jnp.moveaxis(spikes[0], -1, 0) if spikes else jnp.zeros(0)


def _observe_cars(car: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Return what the network is told of the cars, (2, C) float32."""
    return jnp.stack(car).astype(jnp.float32)


def _resting_layer(s: _Steps, n: int, C: int, dtype: Any) -> _Layer:
    """Return a layer of n neurons for each car at rest, with nothing under way to it."""

    def grid(x: jax.Array) -> jax.Array:  # not flat: to divide indices costs more than the arithmetic
        return x.reshape(*x.shape[:-1], n, C).astype(dtype if x.dtype.kind == "f" else x.dtype)

    return _Layer(jax.tree.map(grid, s.cell.init(n * C)), jnp.zeros((s.delay, 2, n, C), dtype))


def _all_inputs(carry: _Carry, before: jax.Array, after: jax.Array, n: int) -> jax.Array:
    """Return the spikes (S, n, C) of all n input neurons, given those (S, 2, C) of the driven ones."""
    neurons = jnp.arange(n)[None, :, None]
    fired = jnp.zeros((len(before), n, before.shape[-1]), bool)
    for fires, sources in ((before, carry.driven), (after, carry.wanted)):
        for i in range(2):
            fired |= fires[:, i, None] & (neurons == sources.neurons[i][None, None])
    return fired


def step(position: jax.Array, velocity: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return position and velocity after one step, equal to gymnasium's bit for bit; all of one shape, float64."""
    push = jnp.where(action == 0, -FORCE, jnp.where(action == 2, FORCE, 0.0))
    pull = _round_product(jnp.cos(3 * position) * (-GRAVITY), position)
    velocity = jnp.clip(velocity + (push + pull), *VELOCITIES)
    position = jnp.clip(position + velocity, *POSITIONS)
    return position, jnp.where((position == POSITIONS[0]) & (velocity < 0), 0.0, velocity)


def _round_product(product: jax.Array, finite: jax.Array) -> jax.Array:
    """Return a float64 product as it is, but rounded before it is added to something.

    The compiler would fuse product and sum to one operation that rounds once; gymnasium rounds twice. Flipping no bit,
    by a number that the compiler can't know to be 0 (`finite` is never nan), keeps them apart.
    """
    bits = jax.lax.bitcast_convert_type(product, jnp.int64)
    return jax.lax.bitcast_convert_type(bits ^ jnp.isnan(finite).astype(jnp.int64), product.dtype)


def _input_spikes(s: _Steps, carry: _Carry) -> tuple[jax.Array, jax.Array]:
    """Return when the neurons driven before and those driven after the current has moved fire: two (S, 2, C) bool.

    The drive lifts a neuron over threshold in one step, from its first step on and whenever it isn't refractory.
    """
    time = jnp.arange(s.substeps, dtype=jnp.int32)[:, None, None]
    moved = time >= s.drive_delay
    known = (carry.driven.neurons < 2 * s.network.bins)[None]
    stays = (carry.wanted.neurons == carry.driven.neurons)[None]
    goes_on = (carry.age[None] + time) % s.period == 0
    begins = (time - s.drive_delay) % s.period == 0
    return ~moved & known & goes_on, moved & jnp.where(stays, goes_on, begins)


def _run_layer(s: _Steps, layer: _Layer, sent: jax.Array) -> tuple[_Layer, jax.Array]:
    """Run a layer for one environment step on what its sources send, (S, sources, N, C); return it and its spikes.

    What is sent in step k arrives in step k + delay. Sources are added one after another, as NEST does.
    Spikes are (S, N, C) of 0 and 1.
    """
    low, high = (jnp.array(ends, sent.dtype)[None, :, None, None] for ends in ((0.0, -jnp.inf), (jnp.inf, 0.0)))
    total = jnp.clip(sent[:, 0, None], low, high)  # (S, 2, N, C)
    for i in range(1, sent.shape[1]):
        total = total + jnp.clip(sent[:, i, None], low, high)
    arriving = jnp.concatenate([layer.queue, total])
    dt = s.network.resolution
    constants = s.cell.propagators(dt)

    def one(state: Any, weights: jax.Array) -> tuple[Any, jax.Array]:
        return s.cell.step(state, cells.Arriving(weights, 0.0), dt, constants)

    state, spikes = jax.lax.scan(one, layer.state, arriving[: s.substeps])
    return _Layer(state, arriving[s.substeps :]), spikes
