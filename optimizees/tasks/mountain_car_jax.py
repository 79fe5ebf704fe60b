"""The spiking network that drives the Mountain Car, and the car, in JAX: many cars in one compiled call.

Spikes, actions and positions are those of NEST and gymnasium. Two things are known before a layer is simulated, so time
runs inside a layer and not over all of them (delays are at least one step, and nothing is recurrent): when an input
neuron under drive fires, and with that all that arrives at the hidden layer in an environment step; then the hidden
layer's spikes, and with these all that arrives at the output layer.

Legend: C cars, T environment steps, S simulation steps of each, H hidden neurons, B bins, N neurons of a layer.
"""

from functools import lru_cache
from math import expm1
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.utils import seeding

from l2l_snn.snn import nest_cells as cells
from l2l_snn.snn.coding import bin_index, most_spikes
from l2l_snn.validate import check_choice, message
from optimizees.tasks.mountain_car import ACTIONS, GOAL, NONE, POSITIONS, VELOCITIES, Episodes, Network

FORCE = 0.001  # gymnasium's
GRAVITY = 0.0025
MODELS = {"iaf_psc_alpha": cells.IafPscAlpha, "iaf_psc_exp": cells.IafPscExp, "iaf_psc_delta": cells.IafPscDelta}


class _Layer(NamedTuple):
    state: Any
    queue: cells.Arriving  # (delay, N) each: what is under way to it


class _Carry(NamedTuple):
    car: tuple[jax.Array, jax.Array]  # position, velocity
    over: jax.Array  # whether the flag has been reached
    driven: jax.Array  # (2,) the velocity and position neuron under drive; 2 B, which is none, at first
    age: jax.Array  # (2,) simulation steps for which they have been
    hidden: _Layer
    output: _Layer


class _Steps(NamedTuple):
    """Times in simulation steps, and the model of hidden and output neurons."""

    cell: Any
    network: Network
    substeps: int  # S
    drive_delay: int
    delay: int
    period: int  # from one spike of a driven input neuron to the next
    record: bool


def drive(
    network: Network, w_hidden: np.ndarray, w_out: np.ndarray, seeds: np.ndarray, record: bool, precision: str
) -> Episodes:
    """Drive C cars.

    Args:
        network: the network and the episode's length.
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
        track, actions, counts, spikes = _compiled(network, record)(*weights, jnp.asarray(starts, jnp.float64))
    track, actions, counts = (np.asarray(value) for value in (track, actions, counts))
    if not record:
        return Episodes(track.astype(np.float64), actions, counts, None)
    cars, step, substep, neuron = np.nonzero(np.asarray(spikes))
    times = (step * spikes.shape[2] + substep + 1) * network.resolution
    return Episodes(track.astype(np.float64), actions, counts, (times, cars, neuron))


@lru_cache(maxsize=8)
def _compiled(network: Network, record: bool) -> Any:
    check_choice("model", network.model, list(MODELS), "or take backend: nest")
    cell = MODELS[network.model](t_ref=network.t_ref)

    def steps(ms: float) -> int:
        return round(ms / network.resolution)

    lift = network.drive * cell.tau_m / cell.C_m * -expm1(-network.resolution / cell.tau_m)  # mV in one step
    if lift < cell.V_th - cell.V_reset or network.t_ref >= network.step_ms:
        expected = f"enough to lift an input neuron by {cell.V_th - cell.V_reset} mV in one step"
        got = f"{network.drive} pA, which lift it by {lift:.3g} mV"
        raise ValueError(message("drive", expected, got, "raise it, or take backend: nest"))
    times = _Steps(
        cell,
        network,
        substeps=steps(network.step_ms),
        drive_delay=steps(network.drive_delay),
        delay=steps(network.delay),
        period=steps(network.t_ref) + 1,
        record=record,
    )
    return jax.jit(jax.vmap(lambda w_hidden, w_out, start: _episode(times, w_hidden, w_out, start)))


def _episode(s: _Steps, w_hidden: jax.Array, w_out: jax.Array, start: jax.Array) -> tuple[jax.Array, ...]:
    """Drive one car; returns what `Episodes` has, and the spikes as (T, S, 2 B + H + 3) bool if recorded."""
    bins, none = s.network.bins, 2 * s.network.bins

    def layer(n: int) -> _Layer:
        nothing = jnp.zeros((s.delay, n), w_hidden.dtype)
        state = jax.tree.map(lambda x: x.astype(nothing.dtype) if x.dtype.kind == "f" else x, s.cell.init(n))
        return _Layer(state, cells.Arriving(nothing, nothing, nothing))

    def observe(car: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.stack(car).astype(jnp.float32)

    def environment_step(carry: _Carry, _: None) -> tuple[_Carry, Any]:
        position, velocity = observe(carry.car)
        wanted = jnp.stack([bin_index(velocity, *VELOCITIES, bins), bins + bin_index(position, *POSITIONS, bins)])
        before, after = _input_spikes(s, carry, wanted)  # (S, 2) each
        sent = _from_inputs(w_hidden, carry.driven, before) + _from_inputs(w_hidden, wanted, after)
        hidden, hidden_spikes = _run(s, carry.hidden, sent)  # (S, H)
        output, output_spikes = _run(
            s, carry.output, jnp.where(hidden_spikes[:, :, None] > 0, w_out.T[None], 0.0)
        )  # (S, 3)
        counts = output_spikes.sum(axis=0).astype(jnp.int32)
        action = most_spikes(counts, tie=NONE)
        car = step(*carry.car, action)
        age = jnp.where(wanted == carry.driven, carry.age + s.substeps, s.substeps - s.drive_delay)
        over = carry.over | (observe(car)[0] >= GOAL)
        told = [jnp.where(carry.over, gone, x) for x, gone in ((observe(car), jnp.nan), (action, -1), (counts, 0))]
        if s.record:
            inputs = jnp.zeros((s.substeps, none), bool)
            inputs = inputs.at[:, carry.driven].max(before, mode="drop").at[:, wanted].max(after)
            told.append(jnp.concatenate([inputs, hidden_spikes > 0, output_spikes > 0], axis=1) & ~carry.over)
        return _Carry(car, over, wanted.astype(jnp.int32), age, hidden, output), tuple(told)

    begin = _Carry(
        (start, jnp.zeros_like(start)),
        jnp.zeros((), bool),
        jnp.full(2, none, jnp.int32),
        jnp.zeros(2, jnp.int32),
        layer(s.network.hidden),
        layer(ACTIONS),
    )
    _, (track, actions, counts, *spikes) = jax.lax.scan(environment_step, begin, None, length=s.network.steps)
    return jnp.concatenate([observe(begin.car)[None], track]), actions, counts, spikes[0] if spikes else jnp.zeros(0)


def step(position: jax.Array, velocity: jax.Array, action: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return position and velocity after one step, equal to gymnasium's bit for bit; all of one shape, float64."""
    push = jnp.where(action == 0, -FORCE, jnp.where(action == 2, FORCE, 0.0))
    pull = _rounded(jnp.cos(3 * position) * (-GRAVITY), position)
    velocity = jnp.clip(velocity + (push + pull), *VELOCITIES)
    position = jnp.clip(position + velocity, *POSITIONS)
    return position, jnp.where((position == POSITIONS[0]) & (velocity < 0), 0.0, velocity)


def _rounded(product: jax.Array, finite: jax.Array) -> jax.Array:
    """Return a float64 product as it is, but rounded before it is added to something.

    The compiler would fuse product and sum to one operation that rounds once; gymnasium rounds twice. Flipping no bit,
    by a number that the compiler can't know to be 0 (`finite` is never nan), keeps them apart.
    """
    bits = jax.lax.bitcast_convert_type(product, jnp.int64)
    return jax.lax.bitcast_convert_type(bits ^ jnp.isnan(finite).astype(jnp.int64), product.dtype)


def _input_spikes(s: _Steps, carry: _Carry, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return when the neurons driven before and those driven after the current has moved fire: two (S, 2) bool.

    The drive lifts a neuron over threshold in one step, from its first step on and whenever it isn't refractory.
    """
    time = jnp.arange(s.substeps)[:, None]
    moved = time >= s.drive_delay
    known = (carry.driven < 2 * s.network.bins)[None]
    goes_on = (carry.age[None] + time) % s.period == 0
    begins = (time - s.drive_delay) % s.period == 0
    return ~moved & known & goes_on, moved & jnp.where((wanted == carry.driven)[None], goes_on, begins)


def _from_inputs(w: jax.Array, neurons: jax.Array, fires: jax.Array) -> jax.Array:
    """Return the weights (S, 2, H) that two input neurons send, 0 where they don't fire."""
    weights = jnp.take(w, neurons, axis=1, mode="fill", fill_value=0).T  # (2, H)
    return jnp.where(fires[:, :, None], weights[None], 0.0)


def _run(s: _Steps, layer: _Layer, sent: jax.Array) -> tuple[_Layer, jax.Array]:
    """Run a layer for one environment step on what its sources send, (S, sources, N); return it and its spikes (S, N).

    What is sent in step k arrives in step k + delay. Sources are added one after another, as NEST does.
    """
    excitatory, inhibitory = jnp.zeros_like(sent[:, 0]), jnp.zeros_like(sent[:, 0])
    for i in range(sent.shape[1]):
        excitatory = excitatory + jnp.maximum(sent[:, i], 0.0)
        inhibitory = inhibitory + jnp.minimum(sent[:, i], 0.0)
    whole = (
        jnp.concatenate([layer.queue.exc, excitatory]),
        jnp.concatenate([layer.queue.inh, inhibitory]),
        jnp.zeros((s.delay + s.substeps, sent.shape[2]), sent.dtype),
    )
    now = cells.Arriving(*(part[: s.substeps] for part in whole))
    later = cells.Arriving(*(part[s.substeps :] for part in whole))
    dt = s.network.resolution
    constants = s.cell.propagators(dt)
    state, spikes = jax.lax.scan(lambda state, arriving: s.cell.step(state, arriving, dt, constants), layer.state, now)
    return _Layer(state, later), spikes
