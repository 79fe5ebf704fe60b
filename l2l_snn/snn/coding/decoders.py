"""Decoders: spike counts and rates to values and actions. Legend: see the package."""

import jax
import jax.numpy as jnp
from jax import lax

from l2l_snn.snn.parameters import Array, check_numbers, floats, known, spread
from l2l_snn.validate import check_count, message


def most_spikes(counts: Array, tie: Array) -> jax.Array:
    """Return the action whose neuron spiked most, or a given one where several did (Yegenoglu et al. 2022).

    Args:
        counts: (..., A) spikes of each action's neuron.
        tie: () action where the most spikes are shared, silence included: 1, "none", in Mountain Car.

    Returns:
        (...) int32 in {0, ..., A - 1}.

    >>> most_spikes(jnp.array([[3, 0, 1], [0, 2, 2], [0, 0, 1], [0, 0, 0]]), tie=1).tolist()
    [0, 1, 2, 1]
    """
    counts = _array_with_axis("most_spikes.counts", counts, "(..., A)")
    if known(tie) and check_count("most_spikes.tie", tie, 0) >= counts.shape[-1]:
        raise ValueError(message("most_spikes.tie", f"an action below {counts.shape[-1]}", tie))
    top = counts.max(axis=-1, keepdims=True)
    alone = (counts == top).sum(axis=-1) == 1
    return jnp.where(alone, counts.argmax(axis=-1), tie).astype(jnp.int32)


def signed_population(counts: Array, steps: Array, *, normalise: bool = True) -> jax.Array:
    """Return the value of a population of which the first half counts positive and the second negative.

        A = 1 / T sum_t sum_n w_n S_n(t),        w_n = 1 for n < N / 2, else -1

    Schmidgall et al. 2021, supplement, eq. 3. As printed this lies in [-N / 2, N / 2], but the text says [-1, 1]:
    divided by N / 2 unless `normalise` is False. The sum over t = 0 ... T is taken to have T terms.

    Args:
        counts: (..., N) spikes of each neuron over the T steps, N even.
        steps: T, () > 0.
        normalise: divide by N / 2, so that the value lies in [-1, 1].

    Returns:
        (...).

    >>> signed_population(jnp.array([[50, 50, 0, 0], [10, 20, 20, 35]]), 50).tolist()
    [1.0, -0.25]
    """
    counts = floats(_array_with_axis("signed_population.counts", counts, "(..., N)"))
    n = counts.shape[-1]
    if n % 2 or not n:
        raise ValueError(message("signed_population.counts", "an even number of neurons, half for each sign", n))
    check_numbers("signed_population.steps", steps, "a number of steps > 0", low=0.0, open_low=True)
    total = counts[..., : n // 2].sum(axis=-1) - counts[..., n // 2 :].sum(axis=-1)
    total = total / jnp.asarray(steps, total.dtype)
    return total / (n // 2) if normalise else total


def softmax_rates(rates: Array, temperature: Array = 1.0) -> jax.Array:
    """Return the probabilities of actions whose log-odds are the output neurons' rates.

        p_a = exp(rate_a / temperature) / sum_b exp(rate_b / temperature)

    Schmidgall et al. 2021, section 3.1, with rates in spikes a step (its average over the decision interval) and
    temperature 1. For a policy gradient take jax.nn.log_softmax(rates / temperature), not the log of this.

    Args:
        rates: (..., A) of each action's neuron, in any unit.
        temperature: () > 0, in the unit of the rates.

    Returns:
        (..., A), sums to 1.

    >>> softmax_rates(jnp.array([20.0, 20.0]), 5.0).tolist()
    [0.5, 0.5]
    """
    return jax.nn.softmax(_scale_rates("softmax_rates", rates, temperature), axis=-1)


def sample_softmax(key: jax.Array, rates: Array, temperature: Array = 1.0) -> jax.Array:
    """Return actions drawn with the probabilities of `softmax_rates`.

    Args:
        key: jax random key, used up.
        rates: (..., A) of each action's neuron, in any unit.
        temperature: () > 0, in the unit of the rates.

    Returns:
        (...) int32 in {0, ..., A - 1}.

    >>> sample_softmax(jax.random.key(0), jnp.array([[0.0, 1e4], [1e4, 0.0]])).tolist()
    [1, 0]
    """
    return jax.random.categorical(key, _scale_rates("sample_softmax", rates, temperature), axis=-1).astype(jnp.int32)


def leaky_readout(inputs: Array, tau: Array, dt: Array, initial: Array = 0.0) -> jax.Array:
    """Return inputs filtered over time by a leaky integrator that doesn't spike.

        y_t = a y_{t-1} + (1 - a) x_t,        a = exp(-dt / tau)

    the exact solution of tau dy/dt = x - y with x constant within a step (Rotter & Diesmann 1999): a constant input is
    reached, whatever tau and dt are.

    Args:
        inputs: (T, ...) spikes or currents, time first.
        tau: ms, > 0: () or a shape that broadcasts to (...).
        dt: () ms, > 0.
        initial: () or (...) y before the first step; the last y of a stretch goes on with the next.

    Returns:
        (T, ...) y after each step.

    >>> leaky_readout(jnp.ones(3), 20.0, 20.0 * jnp.log(2.0)).tolist()
    [0.5, 0.75, 0.875]
    """
    inputs = floats(_array_with_axis("leaky_readout.inputs", inputs, "(T, ...)"))
    check_numbers("leaky_readout.tau", tau, "a time constant > 0 ms", low=0.0, open_low=True)
    check_numbers("leaky_readout.dt", dt, "a step > 0 ms", low=0.0, open_low=True)
    y = jnp.zeros(inputs.shape[1:], inputs.dtype)
    exponent = -jnp.asarray(dt, inputs.dtype) / spread("leaky_readout.tau", tau, y)
    decay, gain = jnp.exp(exponent), -jnp.expm1(exponent)

    def step(y: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = decay * y + gain * x
        return y, y

    return lax.scan(step, spread("leaky_readout.initial", initial, y), inputs)[1]


def _array_with_axis(argument: str, value: Array, expected: str) -> jax.Array:
    array = jnp.asarray(value)
    if not array.ndim or not array.size:
        raise ValueError(message(argument, f"an array of shape {expected}", f"shape {array.shape}"))
    return array


def _scale_rates(name: str, rates: Array, temperature: Array) -> jax.Array:
    rates = floats(_array_with_axis(f"{name}.rates", rates, "(..., A)"))
    check_numbers(f"{name}.temperature", temperature, "a number > 0", low=0.0, open_low=True)
    return rates / jnp.asarray(temperature, rates.dtype)
