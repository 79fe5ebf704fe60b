"""DEEP R (Bellec et al. 2018, ICLR) of networks that act: a step of training keeps the number of their connections.

An LSNN has, in each of its matrices, a connection for every theta above 0. What leaves is replaced by as many dormant
ones, drawn at random (`l2l_snn.snn.rewiring`).
"""

from typing import Any

import jax.numpy as jnp
import optax

from l2l_snn.snn.rewiring import DeepRState, deep_r
from optimizees.gym.lsnn import LSNN
from optimizees.gym.setup import Setup

NEW = 1e-3  # theta of a new connection, in standard deviations of the space
LEAST = 1e-6  # of one that stays: float32 tells it from 0


def rewire(setup: Setup, before: Any, after: Any, rate: Any, words: Any) -> Any:
    """Return z (D,) of a step from `before` to `after` under DEEP R; see `l2l_snn.evaluation.Policy.rewire`."""
    net, space = setup.acting, setup.space
    if not isinstance(net, LSNN):
        return after
    signs = net.signs(len(setup.low), setup.worlds.actions.outputs)
    old, new = ({k: z[space.slices[k]].reshape(s.shape) for k, s in signs.items()} for z in (before, after))
    theta = {name: one - net.rest for name, one in old.items()}  # in standard deviations
    active = {name: (one > 0) & (signs[name] != 0) for name, one in theta.items()}
    w = {name: signs[name] * jnp.maximum(one, 0.0) for name, one in theta.items()}
    rule = deep_r(optax.identity(), signs, learning_rate=lambda count: rate, l1=net.l1, temperature=net.temperature)
    state = DeepRState(words, jnp.zeros((), jnp.int32), active, optax.identity().init(w))
    steps: Any
    steps, _ = rule.update({name: signs[name] * (new[name] - old[name]) for name in signs}, state, w)
    for name, s in signs.items():
        moved = s * (w[name] + steps[name])
        found = jnp.where(active[name], jnp.maximum(moved, LEAST), NEW)
        kept = jnp.where(active[name], net.rest, old[name])  # of those that left, and of those that were dormant
        z = jnp.where(moved > 0, net.rest + found, kept)
        after = after.at[space.slices[name]].set(z.ravel())
    return after
