"""Numbers to spikes and back: encoders of observations and rates, decoders of spike counts and rates.

Pure functions for jit, vmap and scan, in float32 and float64: results have the dtype of what is coded, and integers
become jax's default float. What is random takes a jax key. Values are checked where they are known: not under jit.

Legend: (...) any shape, for example (B,) episodes or (B, K) of K observed quantities; n neurons for each number;
A actions; N neurons of a population; T steps of dt ms.
"""

from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from l2l_snn.validate import check_count, check_finite, message

Array: TypeAlias = Any  # jax or numpy, or a Python number


def _floats(x: Array) -> jax.Array:
    """Return x as a jax array of floating-point numbers."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.result_type(float))


def _checked(argument: str, value: Array, expected: str, low: float, high: float = np.inf, *, closed: bool) -> Array:
    """Return `value` if it lies in (low, high], or in [low, high] with `closed`; a traced one is taken as it is."""
    if isinstance(value, Tracer):
        return value
    array = check_finite(argument, value)
    bad = np.flatnonzero(~((array >= low if closed else array > low) & (array <= high)))
    if bad.size:
        where = f" at flat index {bad[0]}" if array.ndim else ""
        raise ValueError(message(argument, expected, f"{array.reshape(-1)[bad[0]]:g}{where}"))
    return value


def _checked_bounds(name: str, low: Array, high: Array) -> None:
    if isinstance(low, Tracer) or isinstance(high, Tracer):
        return
    if not (check_finite(f"{name}.low", low) < check_finite(f"{name}.high", high)).all():
        raise ValueError(message(name, "low < high", f"low {low}, high {high}"))


def _spread(argument: str, value: Array, like: jax.Array) -> jax.Array:
    """Return `value` in the shape and dtype of `like`: a scalar, or one that broadcasts to it."""
    shape = jnp.shape(value)
    try:
        fits = np.broadcast_shapes(shape, like.shape) == like.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(message(argument, f"a scalar or a shape that broadcasts to {like.shape}", shape))
    return jnp.broadcast_to(jnp.asarray(value, like.dtype), like.shape)


# --- encoders ---------------------------------------------------------------------------------------------------------


def bin_index(x: Array, low: Array, high: Array, n: int) -> jax.Array:
    """Return the bin of each value, of n equal bins over [low, high].

    Bin i is [edge i, edge i + 1); values outside count to the outermost bins. The bins of Mountain Car (Yegenoglu et
    al. 2022), equal to numpy.digitize on double-precision edges for float32 values too: an edge is rounded up to the
    next float32, and no float32 lies between the two. (XLA takes numbers too small for full precision, below 1e-38 in
    float32, for 0.)

    Args:
        x: (...) values, (..., K) where low and high are (K,).
        low, high: () or (K,) ends of the range, known numbers, not traced.
        n: bins.

    Returns:
        (...) int32 in {0, ..., n - 1}; -1 where x is nan.

    >>> bin_index(jnp.array([-1.3, -1.2, -0.31, 0.6, 0.7, jnp.nan]), -1.2, 0.6, 30).tolist()
    [0, 0, 14, 29, 29, -1]
    """
    check_count("bins.n", n)
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, Tracer):
            raise TypeError(message(f"bins.{name}", "a known number", "a traced one", "the edges are made before jit"))
    _checked_bounds("bins", low, high)
    x = _floats(x)
    exact = np.linspace(np.asarray(low, np.float64), np.asarray(high, np.float64), n + 1, axis=-1)[..., 1:-1]
    edges = exact.astype(x.dtype)
    edges = np.where(edges < exact, np.nextafter(edges, np.array(np.inf, x.dtype)), edges)  # rounded up
    if exact.ndim > 1 and x.shape[-1:] != exact.shape[:-1]:
        raise ValueError(message("bins.x", f"shape (..., {len(exact)}), as of the bounds", f"shape {x.shape}"))
    edges = edges.reshape((1,) * (x.ndim + 1 - edges.ndim) + edges.shape)
    index = (x[..., None] >= edges).sum(axis=-1, dtype=jnp.int32)
    return jnp.where(jnp.isnan(x), -1, index)


def bins(x: Array, low: Array, high: Array, n: int) -> jax.Array:
    """Return one-hot codes: 1 for the neuron whose bin holds the value, 0 for the others; see `bin_index`.

    Args:
        x: (...) values, (..., K) where low and high are (K,).
        low, high: () or (K,) ends of the range.
        n: bins, one neuron each.

    Returns:
        (..., n) in {0, 1}; all 0 where x is nan, which drives no neuron.

    >>> bins(jnp.array([-5.0, 0.5, 1.0]), 0.0, 1.0, 4).tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    """
    x = _floats(x)
    return jax.nn.one_hot(bin_index(x, low, high, n), n, dtype=x.dtype)


def place_centers(low: Array, high: Array, n: int) -> jax.Array:
    """Return the preferred values of n place cells: from low to high, both included, at equal distances.

    Schmidgall et al. 2021, supplement, eq. 1. As printed, P_min (m - P_num) - P_max (P_num - m), the centers are
    neither in the range nor spread over it, and P_num counts inputs, not cells. Taken to mean what the text says: the
    ends of the range are "represented by the first and last neuron in the population, and each neuron in-between is an
    intermediate value [...] linearly distributed based on the population size",

        center_m = low + (high - low) m / (n - 1),        m = 0 ... n - 1

    Args:
        low, high: (...) ends of the range.
        n: cells, at least 2.

    Returns:
        (..., n).

    >>> place_centers(-1.0, 1.0, 5).tolist()
    [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    check_count("place_centers.n", n, 2, "the first stands at low, the last at high")
    _checked_bounds("place_centers", low, high)
    low, high = jnp.broadcast_arrays(_floats(low), _floats(high))
    part = jnp.asarray(np.arange(n) / (n - 1), low.dtype).reshape((1,) * low.ndim + (n,))
    return low[..., None] * (1 - part) + high[..., None] * part  # both ends exact


def place_code(x: Array, low: Array, high: Array, n: int, *, sharpness: Array = 15.0, floor: Array = 0.05) -> jax.Array:
    """Return the spike probabilities of n place cells: a Gaussian around each one's preferred value.

        p_m = max(floor, exp(-sharpness (center_m - x)^2))

    Schmidgall et al. 2021, supplement, eq. 2 (its min(..., 1) changes nothing), with `place_centers`. Values are
    clipped to the range first, as section 3.2 of the paper says, without naming limits. The width doesn't follow the
    range: with 15 it is 0.18 (standard deviation) in the unit of x.

    Args:
        x: (...) values.
        low, high: () or a shape that broadcasts to x's, ends of the range.
        n: cells for each value, at least 2.
        sharpness: () > 0, 1 / (unit of x)^2; 15 in the source.
        floor: () in [0, 1], least probability of a spike; 0.05 in the source (section 1.8).

    Returns:
        (..., n) in [floor, 1], the probability of a spike in one step; draw them with `bernoulli_spikes`.

    >>> place_code(jnp.array(0.5), -1.0, 1.0, 5, floor=0.25).tolist()
    [0.25, 0.25, 0.25, 1.0, 0.25]
    """
    _checked_bounds("place_code", low, high)
    _checked("place_code.sharpness", sharpness, "a number > 0", 0.0, closed=False)
    _checked("place_code.floor", floor, "a probability in [0, 1]", 0.0, 1.0, closed=True)
    x = _floats(x)
    low, high = _spread("place_code.low", low, x), _spread("place_code.high", high, x)
    centers = place_centers(low, high, n)
    distance = centers - jnp.clip(x, low, high)[..., None]
    return jnp.maximum(jnp.asarray(floor, x.dtype), jnp.exp(-jnp.asarray(sharpness, x.dtype) * jnp.square(distance)))


def bernoulli_spikes(key: jax.Array, probability: Array) -> jax.Array:
    """Return independent spikes: 1 with the given probability, else 0.

    Args:
        key: jax random key, used up.
        probability: (...) in [0, 1].

    Returns:
        (...) in {0, 1}.

    >>> bernoulli_spikes(jax.random.key(0), jnp.array([0.0, 1.0])).tolist()
    [0.0, 1.0]
    """
    _checked("bernoulli_spikes.probability", probability, "probabilities in [0, 1]", 0.0, 1.0, closed=True)
    p = _floats(probability)
    return jax.random.bernoulli(key, p).astype(p.dtype)


def poisson(key: jax.Array, rate: Array, dt: Array) -> jax.Array:
    """Return one step of Poisson spike trains: 1 where the process has an event within dt, else 0.

        p = 1 - exp(-rate dt / 1000)

    That is exact for a Poisson process looked at in steps of dt, and at most 1 at any rate: silence over a given time
    is equally probable for every dt. Several events in a step count as one, so the mean count is p, below
    rate dt / 1000: by 5 % at 100 Hz and 1 ms, by 0.5 % at 0.1 ms.

    Args:
        key: jax random key, used up.
        rate: (...) Hz, >= 0; (T, N) gives T steps.
        dt: () ms, > 0.

    Returns:
        (...) in {0, 1}.

    >>> poisson(jax.random.key(0), jnp.array([0.0, 1e6]), 1.0).tolist()
    [0.0, 1.0]
    """
    _checked("poisson.rate", rate, "rates >= 0 Hz", 0.0, closed=True)
    _checked("poisson.dt", dt, "a step > 0 ms", 0.0, closed=False)
    rate = _floats(rate)
    return bernoulli_spikes(key, -jnp.expm1(-rate * jnp.asarray(dt, rate.dtype) / 1000))


def latency(x: Array, steps: int) -> jax.Array:
    """Return one spike for each value, the earlier the larger it is; none where it is 0.

        step = floor((1 - x) T), at most T - 1

    so that each step owns an equal part of the values: 1 spikes in step 0, the smallest in step T - 1. Values above
    1 count as 1; values <= 0 and nan give no spike.

    Args:
        x: (...) strengths in [0, 1].
        steps: T.

    Returns:
        (T, ...) in {0, 1}.

    >>> latency(jnp.array([1.0, 0.5, 0.0]), 4).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """
    check_count("latency.steps", steps)
    x = _floats(x)
    fires = x > 0
    step = jnp.clip(jnp.floor((1.0 - x) * steps), 0, steps - 1)
    step = jnp.where(fires, step, -1).astype(jnp.int32)
    return jax.nn.one_hot(step, steps, dtype=x.dtype, axis=0)


# --- decoders ---------------------------------------------------------------------------------------------------------


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
    counts = _with_axis("most_spikes.counts", counts, "(..., A)")
    if not isinstance(tie, Tracer) and check_count("most_spikes.tie", tie, 0) >= counts.shape[-1]:
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
    counts = _floats(_with_axis("signed_population.counts", counts, "(..., N)"))
    n = counts.shape[-1]
    if n % 2 or not n:
        raise ValueError(message("signed_population.counts", "an even number of neurons, half for each sign", n))
    _checked("signed_population.steps", steps, "a number of steps > 0", 0.0, closed=False)
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
    return jax.nn.softmax(_logits("softmax_rates", rates, temperature), axis=-1)


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
    return jax.random.categorical(key, _logits("sample_softmax", rates, temperature), axis=-1).astype(jnp.int32)


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
    inputs = _floats(_with_axis("leaky_readout.inputs", inputs, "(T, ...)"))
    _checked("leaky_readout.tau", tau, "a time constant > 0 ms", 0.0, closed=False)
    _checked("leaky_readout.dt", dt, "a step > 0 ms", 0.0, closed=False)
    y = jnp.zeros(inputs.shape[1:], inputs.dtype)
    exponent = -jnp.asarray(dt, inputs.dtype) / _spread("leaky_readout.tau", tau, y)
    decay, gain = jnp.exp(exponent), -jnp.expm1(exponent)

    def step(y: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = decay * y + gain * x
        return y, y

    return lax.scan(step, _spread("leaky_readout.initial", initial, y), inputs)[1]


def _with_axis(argument: str, value: Array, expected: str) -> jax.Array:
    array = jnp.asarray(value)
    if not array.ndim or not array.size:
        raise ValueError(message(argument, f"an array of shape {expected}", f"shape {array.shape}"))
    return array


def _logits(name: str, rates: Array, temperature: Array) -> jax.Array:
    rates = _floats(_with_axis(f"{name}.rates", rates, "(..., A)"))
    _checked(f"{name}.temperature", temperature, "a number > 0", 0.0, closed=False)
    return rates / jnp.asarray(temperature, rates.dtype)
