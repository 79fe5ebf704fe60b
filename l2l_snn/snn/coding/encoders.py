"""Encoders: observations and rates to spikes. Legend: see the package."""

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.parameters import Array, check_numbers, floats, known, spread
from l2l_snn.validate import check_count, check_finite, message


def _check_order(name: str, low: Array, high: Array) -> None:
    if known(low, high) and not (check_finite(f"{name}.low", low) < check_finite(f"{name}.high", high)).all():
        raise ValueError(message(name, "low < high", f"low {low}, high {high}"))


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
        if not known(bound):
            raise TypeError(message(f"bins.{name}", "a known number", "a traced one", "the edges are made before jit"))
    _check_order("bins", low, high)
    x = floats(x)
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
    x = floats(x)
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
    _check_order("place_centers", low, high)
    low, high = jnp.broadcast_arrays(floats(low), floats(high))
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
    _check_order("place_code", low, high)
    check_numbers("place_code.sharpness", sharpness, "a number > 0", low=0.0, open_low=True)
    check_numbers("place_code.floor", floor, "a probability in [0, 1]", low=0.0, high=1.0)
    x = floats(x)
    low, high = spread("place_code.low", low, x), spread("place_code.high", high, x)
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
    check_numbers("bernoulli_spikes.probability", probability, "probabilities in [0, 1]", low=0.0, high=1.0)
    p = floats(probability)
    return jax.random.bernoulli(key, p).astype(p.dtype)


def even_spikes(key: jax.Array, probability: Array, steps: int) -> jax.Array:
    """Return trains of evenly spaced spikes, each from a phase of its own, drawn at random.

    A train has as many spikes as Bernoulli's has on average, but for less than one.

    Args:
        key: jax random key, used up.
        probability: (...) spikes a step, in [0, 1].
        steps: T.

    Returns:
        (T, ...) in {0, 1}.

    >>> even_spikes(jax.random.key(0), jnp.array([0.0, 0.5, 1.0]), 4).sum(axis=0).tolist()
    [0.0, 2.0, 4.0]
    """
    check_count("even_spikes.steps", steps)
    p = floats(probability)
    phase = jax.random.uniform(key, p.shape, p.dtype)
    passed = jnp.floor(phase[None] + p[None] * jnp.arange(steps + 1, dtype=p.dtype).reshape(-1, *[1] * p.ndim))
    return jnp.diff(passed, axis=0)


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
    check_numbers("poisson.rate", rate, "rates >= 0 Hz", low=0.0)
    check_numbers("poisson.dt", dt, "a step > 0 ms", low=0.0, open_low=True)
    rate = floats(rate)
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
    x = floats(x)
    fires = x > 0
    step = jnp.clip(jnp.floor((1.0 - x) * steps), 0, steps - 1)
    step = jnp.where(fires, step, -1).astype(jnp.int32)
    return jax.nn.one_hot(step, steps, dtype=x.dtype, axis=0)
