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
the number of connections of each projection, and of weights that aren't 0, is that of its initial weights, for ever.

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
    shared: bool | Mapping[str, float] = False,
    dormant_gradients: bool = False,
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
        shared: whether only the number of connections of all projections together stays, so that connections move
            where they are of use. True: the new ones are drawn among the dormant of all. Shares p by name: how many
            new ones a projection gets is drawn with probabilities proportional to its size times p, as in the
            authors' code of 004; what finds no place there goes where there is one.
        dormant_gradients: whether the wrapped rule sees the gradients of dormant connections too, so that its moments
            know them when they wake; a dormant one takes no step in any case.

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
    if not isinstance(shared, bool):
        for name in signs:
            if name not in shared:
                todo = "each projection to rewire has one"
                raise ValueError(message("deep_r.shared", f"a share for {name}", ", ".join(shared) or "none", todo))
            check_range(f"deep_r.shared.{name}", shared[name], 0.0, open_low=True)
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
        seen = {name: jnp.where(state.active[name] | dormant_gradients, updates[name], 0.0) for name in fixed}
        inner_steps, memory = inner.update(updates | seen, state.inner, weights)
        active: dict[str, Any] = dict(state.active)
        steps: dict[str, Any] = {**inner_steps}  # pyright: ignore[reportGeneralTypeIssues]
        eta = learning_rate(state.count) if callable(learning_rate) else learning_rate
        theta_of, stays_of, order, lost = {}, {}, {}, {}
        words, *keys = jax.random.split(jax.random.wrap_key_data(state.words), len(fixed) + 1)
        for key, (name, s) in zip(keys, fixed.items(), strict=True):
            w, before, s = weights[name], state.active[name], s.astype(weights[name].dtype)
            walk, draw = jax.random.split(key)
            noise = jnp.sqrt(2 * eta * temperature) * jax.random.normal(walk, w.shape, w.dtype) if temperature else 0.0
            theta_of[name] = theta = s * (w + steps[name]) - eta * l1 + noise
            stays_of[name] = stays = before & (theta >= 0)
            lost[name] = before.sum() - stays.sum()
            free = ~stays & (s != 0)
            order[name] = jnp.where(free, jax.random.uniform(draw, w.shape), jnp.inf)
        if shared is True:
            drawn = _mark_lowest_of_all(order, sum(lost.values()))
        else:
            dealt = _deal_out(jax.random.fold_in(keys[0], 1), lost, order, shared) if shared else lost
            drawn = jax.tree.map(_mark_lowest, order, dealt)
        for name, s in fixed.items():
            w, theta, stays, new = weights[name], theta_of[name], stays_of[name], drawn[name]
            s = s.astype(w.dtype)
            active[name] = stays | new
            after = jnp.where(stays, s * theta, jnp.where(new, s * max(START, float(jnp.finfo(w.dtype).tiny)), 0.0))
            step = (after - w).astype(w.dtype)
            # the sum of weight and step may round to 0, which is no connection: the least that it can be then
            steps[name] = jnp.where(active[name] & (w + step == 0), -jnp.nextafter(w, jnp.zeros_like(w)), step)
        return steps, DeepRState(jax.random.key_data(words), state.count + 1, active, memory)

    return optax.GradientTransformation(init, update)


def _mark_lowest(order: Array, amount: Array) -> jax.Array:
    """Return where the `amount` lowest entries are, bool; amount may be traced. Of equal ones the first count."""
    flat = order.ravel()
    last = jnp.sort(flat)[jnp.maximum(amount - 1, 0)]  # sorting values alone is several times as fast as ranking them
    below, equal = flat < last, flat == last
    chosen = below | (equal & (jnp.cumsum(equal) <= amount - below.sum()))
    return (chosen & (amount > 0) & jnp.isfinite(flat)).reshape(order.shape)


def _mark_lowest_of_all(orders: dict[str, jax.Array], amount: Array) -> dict[str, jax.Array]:
    """Return where the `amount` lowest entries of all arrays together are."""
    marked = _mark_lowest(jnp.concatenate([order.ravel() for order in orders.values()]), amount)
    ends = np.cumsum([order.size for order in orders.values()])[:-1]
    parts = zip(orders.items(), jnp.split(marked, ends), strict=True)
    return {name: part.reshape(order.shape) for (name, order), part in parts}


def _deal_out(
    key: Array, lost: dict[str, Array], orders: dict[str, jax.Array], shares: Mapping[str, float]
) -> dict[str, jax.Array]:
    """Return how many connections each projection gets of those that all have lost; no more than it has places for."""
    names, total = list(lost), sum(lost.values())
    weights = jnp.array([orders[name].size * shares[name] for name in names])
    drawn = jax.random.multinomial(key, jnp.asarray(total, weights.dtype), weights / weights.sum())
    free = jnp.stack([jnp.isfinite(orders[name]).sum() for name in names])
    dealt = jnp.minimum(drawn.astype(free.dtype), free)
    for i in range(len(names)):
        dealt = dealt.at[i].add(jnp.minimum(free[i] - dealt[i], total - dealt.sum()))
    return dict(zip(names, dealt, strict=True))


def _checked_signs(argument: str, signs: Array) -> np.ndarray:
    signs = check_finite(argument, signs)
    if signs.ndim != 2 or not np.isin(signs, (-1, 0, 1)).all():
        raise ValueError(message(argument, "an array (n_pre, n_post) of -1, 0 and 1", f"shape {signs.shape}"))
    return signs
