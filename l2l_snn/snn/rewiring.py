"""DEEP R: training with a fixed number of connections that are rewired on the way (Bellec et al. 2018, ICLR).

    signs = {"in": draw_signs(key, 80, 220), "rec": draw_signs(key2, 220, 220, loops=False)}    # 75 % excitatory rows
    weights = {name: sparse_weights(keys[name], s, connectivity=0.2) for name, s in signs.items()}
    rule = deep_r(optax.adam(0.01), signs, learning_rate=0.01, l1=0.01)
    memory = rule.init(weights)
    updates, memory = rule.update(gradients, memory, weights)
    weights = optax.apply_updates(weights, updates)

A connection k has a sign s_k that never changes and a parameter theta_k; its weight is s_k theta_k while theta_k >= 0,
and it is dormant otherwise, with weight 0. An update does

    theta_k += s_k u_k - eta l1 + sqrt(2 eta temperature) nu_k      for each active k        (algorithm 1 of the paper)
    theta_k < 0: dormant; as many dormant ones, drawn at random, become active with theta = START

with u_k the step that the wrapped rule takes (-eta times the gradient with SGD, as in the paper; Adam in 004), nu_k
standard normal. Dormant connections pass no gradient to the wrapped rule; what it remembers of them stays as it is. So
the number of connections of each projection is that of its initial weights, for ever.

Legend: n_pre, n_post neurons of a projection.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2l_snn.snn.parameters import Array, known
from l2l_snn.validate import check_count, check_finite, check_range, did_you_mean, message

START = 1e-12  # theta of a new connection: above 0, so that it is one (the authors' code)


class DeepRState(NamedTuple):
    """What `deep_r` knows between updates: arrays alone."""

    words: Array  # (2,) uint32 the random stream
    count: Array  # () int32 updates so far
    active: dict[str, Array]  # (n_pre, n_post) bool of each rewired projection
    inner: Any  # state of the wrapped rule


def draw_signs(key: Array, n_pre: int, n_post: int, *, excitatory: float = 0.75, loops: bool = True) -> jax.Array:
    """Return the signs of all possible connections: each presynaptic neuron is excitatory or inhibitory.

    Args:
        key: jax random key, used up.
        n_pre, n_post: neurons.
        excitatory: share of presynaptic neurons whose connections are positive; 0.75 in 004.
        loops: whether a neuron may connect to itself, where both populations are one; if not, its sign is 0.

    Returns:
        (n_pre, n_post) in {-1, 0, 1}, round(excitatory n_pre) rows positive.

    >>> signs = draw_signs(jax.random.key(0), 4, 2)
    >>> signs.shape, int((signs[:, 0] > 0).sum()), bool((signs[:, 0] == signs[:, 1]).all())
    ((4, 2), 3, True)
    """
    check_count("draw_signs.n_pre", n_pre)
    check_count("draw_signs.n_post", n_post)
    check_range("draw_signs.excitatory", excitatory, 0.0, 1.0)
    rows = jax.random.permutation(key, jnp.where(jnp.arange(n_pre) < round(excitatory * n_pre), 1.0, -1.0))
    signs = jnp.broadcast_to(rows[:, None], (n_pre, n_post))
    return signs if loops else signs * (1 - jnp.eye(n_pre, n_post))


def sparse_weights(key: Array, signs: Array, *, connectivity: float, scale: float = 1.0) -> jax.Array:
    """Return initial weights of connections drawn at random: s_k |normal| scale / sqrt(connectivity n_pre).

    Args:
        key: jax random key, used up.
        signs: (n_pre, n_post) in {-1, 0, 1}, known.
        connectivity: share of the n_pre n_post connections that exist, in (0, 1].
        scale: weights' standard deviation, times the root of how many a neuron gets; in the cells' unit.

    Returns:
        (n_pre, n_post), round(connectivity n_pre n_post) of them not 0, at least 1.
    """
    check_range("sparse_weights.connectivity", connectivity, 0.0, 1.0, open_low=True)
    signs = _checked_signs("sparse_weights.signs", signs)
    places, amount = int((signs != 0).sum()), max(1, round(connectivity * signs.size))
    if amount > places:
        got = f"{connectivity:g}, {amount} of {places}"
        raise ValueError(message("sparse_weights.connectivity", "no more connections than signs allow", got))
    where, size = jax.random.split(key)
    order = jnp.where(jnp.asarray(signs) != 0, jax.random.uniform(where, signs.shape), jnp.inf)
    active = _mark_lowest(order, amount)
    theta = jnp.maximum(jnp.abs(jax.random.normal(size, signs.shape)), START)
    return jnp.where(active, signs * theta * scale / np.sqrt(connectivity * len(signs)), 0.0)


def deep_r(
    inner: optax.GradientTransformation,
    signs: Mapping[str, Array],
    *,
    learning_rate: float | Callable[[Array], Array],
    l1: float = 0.0,
    temperature: float = 0.0,
    seed: int = 0,
) -> optax.GradientTransformation:
    """Return a rule of Optax that does what `inner` does, under DEEP R.

    Args:
        inner: the rule that turns gradients into steps: `optax.sgd(learning_rate)`, `optax.adam(learning_rate)` ...
        signs: (n_pre, n_post) in {-1, 0, 1} of each projection to rewire; 0 where no connection may be. Other weights
            take the steps of `inner` as they are.
        learning_rate: eta, of the decay and the noise, or a function of the number of updates so far.
        l1: decay of theta, per unit of learning rate; 0.01 in 004.
        temperature: of the random walk; 0 in 004.
        seed: of the random numbers.

    Returns:
        The rule; weights are a dict of arrays, `init` wants them with the signs given, and as many that aren't 0 as
        there are to be connections; `update` needs them too.

    Raises:
        ValueError: signs that aren't, weights of another sign or shape, a number below 0.
    """
    if not callable(learning_rate):
        check_range("deep_r.learning_rate", learning_rate, 0.0)
    check_range("deep_r.l1", l1, 0.0)
    check_range("deep_r.temperature", temperature, 0.0)
    fixed = {name: jnp.asarray(_checked_signs(f"deep_r.signs.{name}", s)) for name, s in signs.items()}

    def init(params: Any) -> Any:
        weights: Any = params
        for name, s in fixed.items():
            if name not in weights:
                todo = did_you_mean(name, weights)
                raise ValueError(message("deep_r.signs", "names of weights", repr(name), todo))
            w = weights[name]
            if w.shape != s.shape:
                raise ValueError(message(f"weights.{name}", f"the signs' shape {s.shape}", f"shape {w.shape}"))
            if known(w) and bool((w * s < 0).any() | ((w != 0) & (s == 0)).any()):
                todo = "take `sparse_weights`"
                raise ValueError(message(f"weights.{name}", "weights with the signs given", "others", todo))
        active = {name: weights[name] != 0 for name in fixed}
        words = jax.random.key_data(jax.random.key(seed))
        return DeepRState(words, jnp.zeros((), jnp.int32), active, inner.init(weights))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ValueError(message("deep_r.update", "the weights as third argument", "None"))
        weights: Any = params
        seen = {name: jnp.where(state.active[name], updates[name], 0.0) for name in fixed}
        inner_steps, memory = inner.update(updates | seen, state.inner, weights)
        active, steps = dict(state.active), dict[str, Any](inner_steps)  # pyright: ignore[reportCallIssue, reportArgumentType]
        eta = learning_rate(state.count) if callable(learning_rate) else learning_rate
        words, *keys = jax.random.split(jax.random.wrap_key_data(state.words), len(fixed) + 1)
        for key, (name, s) in zip(keys, fixed.items(), strict=True):
            w, before, s = weights[name], state.active[name], s.astype(weights[name].dtype)
            walk, draw = jax.random.split(key)
            noise = jnp.sqrt(2 * eta * temperature) * jax.random.normal(walk, w.shape, w.dtype) if temperature else 0.0
            theta = s * (w + steps[name]) - eta * l1 + noise
            stays = before & (theta >= 0)
            lost = before.sum() - stays.sum()
            free = ~stays & (s != 0)
            new = _mark_lowest(jnp.where(free, jax.random.uniform(draw, w.shape), jnp.inf), lost)
            active[name] = stays | new
            after = jnp.where(stays, s * theta, jnp.where(new, s * START, 0.0))
            steps[name] = (after - w).astype(w.dtype)
        return steps, DeepRState(jax.random.key_data(words), state.count + 1, active, memory)

    return optax.GradientTransformation(init, update)


def _mark_lowest(order: Array, amount: Array) -> jax.Array:
    """Return where the `amount` lowest entries are, bool; amount may be traced."""
    rank = jnp.argsort(jnp.argsort(order, axis=None)).reshape(order.shape)
    return (rank < amount) & jnp.isfinite(order)


def _checked_signs(argument: str, signs: Array) -> np.ndarray:
    signs = check_finite(argument, signs)
    if signs.ndim != 2 or not np.isin(signs, (-1, 0, 1)).all():
        raise ValueError(message(argument, "an array (n_pre, n_post) of -1, 0 and 1", f"shape {signs.shape}"))
    return signs
