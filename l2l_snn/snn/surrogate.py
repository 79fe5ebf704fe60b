"""Spikes with a surrogate derivative: forward the step function, backward something that isn't zero almost everywhere.

    spike = superspike(beta=10.0)
    spike(v)            # 1.0 where v >= 0, else 0.0, in the dtype of v
    jax.grad(spike)(v)  # 1 / (10 |v| + 1)^2

`v` is the distance of the potential to threshold: V - v_th in mV, or normalised, for example (V - v_th) / (v_th - E_L).
A parameter that is a width is in the unit of v; one that is a steepness, in its inverse. The derivative is with respect
to the v that was passed: the chain rule adds the factor of a normalisation by itself.

Every spike function is a pytree (`jax.tree_util.Partial`) whose leaves are its parameters. So it can be a field of a
cell that passes through jit, vmap and scan, and parameters may be floats or arrays, traced ones included, of shape ()
or one that broadcasts to v's: a steepness for each neuron, or under vmap for each individual of a population. Spikes
don't depend on them, so the derivative of spikes with respect to them is zero. A gradient taken through the spikes
does, and can be differentiated again: learning to learn may train them.

nan is not >= 0: a diverged potential gives no spike, as on NEST; its surrogate derivative is nan. Numbers too small for
full precision, below 1e-38 in float32, are 0 to XLA, so a v between -1e-38 and 0 spikes.

Legend: v (...) any shape, one value a neuron; h(v) the surrogate derivative; H the step function.
"""

from math import pi, sqrt

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from l2l_snn.snn.parameters import Array, check_numbers, spread
from l2l_snn.snn.spikes import Spike, check_floats, heaviside, surrogate

__all__ = [
    "Spike",
    "arctan",
    "exponential",
    "gaussian",
    "heaviside",
    "polynomial",
    "rectangular",
    "sigmoid",
    "smooth",
    "superspike",
    "triangle",
]


def _check_positive(argument: str, value: Array) -> Array:
    """Return a parameter that is > 0 and finite as far as that is known now: a traced one isn't."""
    todo = "without a gradient, take `heaviside`"
    return check_numbers(argument, value, "a number > 0", low=0.0, open_low=True, todo=todo)


@surrogate
def _superspike(beta: jax.Array, v: jax.Array) -> jax.Array:
    return 1.0 / jnp.square(beta * jnp.abs(v) + 1.0)


def superspike(beta: Array = 1.0) -> Partial:
    """Return the spike function of SuperSpike: the derivative of a fast sigmoid.

        h(v) = 1 / (beta |v| + 1)^2        peak 1, area 2 / beta

    Brand 2024, eq. 2.7-2.8, has beta = 1 without saying so; Zenke & Ganguli 2018 scale v by beta = 1 / mV first.
    Spikes at V = v_th, as in eq. 2.7.

    Args:
        beta: () or (...) steepness, 1 / unit of v, > 0.

    >>> spike = superspike(beta=10.0)
    >>> [float(spike(v)) for v in (-0.1, 0.0, 0.1)], [float(jax.grad(spike)(v)) for v in (-0.1, 0.0, 0.1)]
    ([0.0, 1.0, 1.0], [0.25, 1.0, 0.25])
    """
    return Partial(_superspike, _check_positive("superspike.beta", beta))


@surrogate
def _exponential(tau: jax.Array, scale: jax.Array, v: jax.Array) -> jax.Array:
    return scale / tau * jnp.exp(-jnp.abs(v) / tau)


def exponential(tau: Array = 1.0, scale: Array = 1.0) -> Partial:
    """Return the spike function of SLAYER, whose derivative is a two-sided exponential.

        h(v) = scale / tau * exp(-|v| / tau)        peak scale / tau, area 2 scale

    Shrestha & Orchard 2018, the probability of a change of spiking state, in the form of the authors' code (SLAYER for
    PyTorch), where tau is a "time constant" times the threshold. Schmidgall et al. 2021 use it without its formula
    (section 2.1), with both numbers 1 and a threshold of 10 mV (supplement, section 1.5): that is tau = 10 for v in mV,
    or tau = 1 for v in thresholds. The area is 2 for scale 1, as in that code; scale = 0.5 makes it 1.

    Args:
        tau: () or (...) width, unit of v, > 0.
        scale: () or (...) factor, > 0.

    >>> spike = exponential(tau=2.0)
    >>> [round(float(jax.grad(spike)(v)), 4) for v in (-2.0, 0.0, 2.0)]
    [0.1839, 0.5, 0.1839]
    """
    return Partial(_exponential, _check_positive("exponential.tau", tau), _check_positive("exponential.scale", scale))


@surrogate
def _triangle(damping: jax.Array, v: jax.Array) -> jax.Array:
    return damping * jnp.maximum(0.0, 1.0 - jnp.abs(v))


def triangle(damping: Array = 0.3) -> Partial:
    """Return the spike function of long short-term memory networks: a dampened triangle.

        h(v) = damping * max(0, 1 - |v|)        peak damping, area damping

    Bellec et al. 2018, section 3, in words ("increases from 0 to 1, and then decays back to 0 ... dampened by a factor
    < 1"); the formula and 0.3 are those of the authors' code. v is normalised there: (V - B) / B with the threshold B
    of the moment, so that -1 is rest and 0 threshold. That code spikes at v > 0; here, as everywhere, at v >= 0.

    Args:
        damping: () or (...) factor, > 0; below 1 it keeps gradients over thousands of steps from exploding.

    >>> spike = triangle()
    >>> [round(float(jax.grad(spike)(v)), 4) for v in (-1.5, -0.5, 0.0, 0.5)]
    [0.0, 0.15, 0.3, 0.15]
    """
    return Partial(_triangle, _check_positive("triangle.damping", damping))


@surrogate
def _rectangular(width: jax.Array, v: jax.Array) -> jax.Array:
    inside = jnp.where(jnp.abs(v) < width / 2, 1.0 / width, 0.0)
    return jnp.where(jnp.isnan(v), v, inside)


def rectangular(width: Array = 1.0) -> Partial:
    """Return the spike function of STBP with a rectangle as derivative.

        h1(v) = 1 / width where |v| < width / 2, else 0        area 1

    Wu et al. 2018; Labady 2023, eq. 4, with width = a1 and v = u - V_th. Its "sign(condition)" is taken to be 1 where
    the condition holds and 0 elsewhere.

    Args:
        width: () or (...) unit of v, > 0.

    >>> spike = rectangular(width=4.0)
    >>> [float(jax.grad(spike)(v)) for v in (-2.0, -1.9, 0.0, 1.9, 2.0)]
    [0.0, 0.25, 0.25, 0.25, 0.0]
    """
    return Partial(_rectangular, _check_positive("rectangular.width", width))


@surrogate
def _polynomial(a: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.maximum(0.0, jnp.sqrt(a) / 2 - a / 4 * jnp.abs(v))


def polynomial(a: Array = 1.0) -> Partial:
    """Return the spike function of STBP with a triangle as derivative (of a piecewise quadratic polynomial).

        h2(v) = sqrt(a) / 2 - a / 4 |v| where |v| < 2 / sqrt(a), else 0        peak sqrt(a) / 2, area 1

    Wu et al. 2018; Labady 2023, eq. 5, with a = a2. The report has (a2 sqrt(2) - a2^2 / 4 |v|) sign(2 a2 sqrt(-|v|)),
    which has no real value: taken to mean (sqrt(a2) / 2 - a2 / 4 |v|) sign(2 / sqrt(a2) - |v|), whose first factor is
    zero just where the sign changes and whose area is 1, as that of the other three. "sign" again is 1 or 0: with -1
    outside, the derivative would grow with |v|. A larger a is a narrower triangle.

    Args:
        a: () or (...) steepness, 1 / (unit of v)^2, > 0.

    >>> spike = polynomial(a=4.0)
    >>> [float(jax.grad(spike)(v)) for v in (-1.0, -0.5, 0.0, 0.5)]
    [0.0, 0.5, 1.0, 0.5]
    """
    return Partial(_polynomial, _check_positive("polynomial.a", a))


@surrogate
def _sigmoid(a: jax.Array, v: jax.Array) -> jax.Array:
    return jax.nn.sigmoid(v / a) * jax.nn.sigmoid(-v / a) / a  # not s (1 - s): that loses the tail above threshold


def sigmoid(a: Array = 1.0) -> Partial:
    """Return the spike function of STBP with the derivative of a sigmoid.

        h3(v) = 1 / a * exp(-v / a) / (1 + exp(-v / a))^2        peak 1 / (4 a), area 1

    Wu et al. 2018; Labady 2023, eq. 6, as printed, with a = a3. `smooth` is the sigmoid itself.

    Args:
        a: () or (...) width, unit of v, > 0.

    >>> spike = sigmoid(a=0.5)
    >>> [round(float(jax.grad(spike)(v)), 4) for v in (-0.5, 0.0, 0.5)]
    [0.3932, 0.5, 0.3932]
    """
    return Partial(_sigmoid, _check_positive("sigmoid.a", a))


@surrogate
def _gaussian(sigma: jax.Array, v: jax.Array) -> jax.Array:
    return jnp.exp(-0.5 * jnp.square(v / sigma)) / (sigma * sqrt(2 * pi))


def gaussian(sigma: Array = 1.0) -> Partial:
    """Return the spike function of STBP with a Gaussian as derivative.

        h4(v) = 1 / (sqrt(2 pi) sigma) exp(-v^2 / (2 sigma^2))        area 1

    Wu et al. 2018; Labady 2023, eq. 7. The report prints 1 / (2 pi a4) sqrt(exp(-v^2 / (2 a4^2))): the root is taken to
    stand over 2 pi, not over the exponential, which makes it the derivative of the "Gaussian cumulative distribution
    function" that its text names, with sigma = a4. Others quote Wu with a4 as the variance: sigma = sqrt(a4).

    Args:
        sigma: () or (...) width, unit of v, > 0.

    >>> spike = gaussian(sigma=0.5)
    >>> [round(float(jax.grad(spike)(v)), 4) for v in (-0.5, 0.0, 0.5)]
    [0.4839, 0.7979, 0.4839]
    """
    return Partial(_gaussian, _check_positive("gaussian.sigma", sigma))


@surrogate
def _arctan(alpha: jax.Array, v: jax.Array) -> jax.Array:
    return alpha / 2 / (1.0 + jnp.square(pi / 2 * alpha * v))


def arctan(alpha: Array = 2.0) -> Partial:
    """Return the spike function with the derivative of an arctangent.

        h(v) = alpha / 2 / (1 + (pi / 2 alpha v)^2)        peak alpha / 2, area 1

    Fang et al. 2021 (ICCV), the derivative of arctan(pi / 2 alpha v) / pi + 1 / 2.

    Args:
        alpha: () or (...) steepness, 1 / unit of v, > 0.

    >>> spike = arctan()
    >>> [round(float(jax.grad(spike)(v)), 4) for v in (-1.0, 0.0, 1.0)]
    [0.092, 1.0, 0.092]
    """
    return Partial(_arctan, _check_positive("arctan.alpha", alpha))


def _smooth(sharpness: Array, v: Array) -> jax.Array:
    v = check_floats(v)
    return jax.nn.sigmoid(spread("a spike function's parameter", sharpness, v) * v)


def smooth(sharpness: Array = 10.0) -> Partial:
    """Return a sigmoid in place of the step: 1 / (1 + exp(-sharpness v)), 1/2 at threshold.

    Not a spike: values lie between 0 and 1 and the derivative is exact, also with respect to sharpness. It makes a
    network smooth, so that finite differences can check the gradient of a whole rollout; with a surrogate they can't.

    Args:
        sharpness: () or (...) steepness, 1 / unit of v, > 0.

    >>> spike = smooth(sharpness=2.0)
    >>> [round(float(spike(v)), 4) for v in (-0.5, 0.0, 0.5)], float(jax.grad(spike)(0.0))
    ([0.2689, 0.5, 0.7311], 0.5)
    """
    return Partial(_smooth, _check_positive("smooth.sharpness", sharpness))
