"""The rollout of a network in time: blocks of steps that are taken at once, and scans over them.

The order of a step, and why blocks may be, is written down in network.py.

Legend: T steps of a rollout, C of a block; N neurons; K delays; R receptors (2 where a cell keeps signs apart, else 1).
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from l2l_snn.snn.cells import Arriving, Exact
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.synapses import by_delay, deliver

if TYPE_CHECKING:
    from l2l_snn.snn.network import Network

BLOCK = 64  # steps taken at once where no loop asks for fewer; longer blocks leave the cache


class State(NamedTuple):
    """All that a network carries from step to step."""

    cells: dict[str, Any]  # of each population with a cell
    arriving: dict[str, Array]  # (longest delay in steps, R, N) what is under way to it
    weights: dict[str, Array]  # (n_pre, n_post) of each projection
    rules: dict[str, Any]  # of each plastic projection
    seen: dict[str, Array]  # (delay in steps, n_post) spikes on their way back to a plastic synapse


class Record(NamedTuple):
    """What a rollout was asked to keep."""

    spikes: dict[str, Array]  # (T, N) of a population
    potentials: dict[str, Array]  # (T, N) of a population, mV
    weights: dict[str, Array]  # (T / every, n_pre, n_post) of a plastic projection, after each update


class Live(NamedTuple):
    """The part of the state that changes in a rollout."""

    cells: dict[str, Any]
    arriving: dict[str, Array]
    weights: dict[str, Array]  # of plastic projections
    rules: dict[str, Any]
    seen: dict[str, Array]


class Inputs(NamedTuple):
    """Inputs with a leading time axis."""

    spikes: dict[str, Array]
    currents: dict[str, Array]
    signals: dict[str, Array]


class Rollout:
    """One rollout: what is the same in all its steps, and how a block of them is taken."""

    def __init__(self, net: "Network", weights: dict[str, Array], constant: dict[str, Array], wanted: dict[str, list]):
        self.net = net
        self.constant = constant
        self.wanted = wanted
        self.interval = net._interval
        self.intervals = self.interval > 1
        self.block_steps = 1 if net._plastic and not self.intervals else int(min(net._loop, self.interval_or_block))
        self.order = net._order(net._loop)
        self.propagators = {
            name: p.cell.propagators(net.dt) for name, p in net.populations.items() if isinstance(p.cell, Exact)
        }
        self.wiring = {name: self.wire(name, weights[name]) for name, p in net.projections.items() if p.rule is None}
        learning = {end for name in net._plastic for end in net.projections[name][:2]} if self.intervals else set()
        self.emitted = set(wanted["spikes"]) | learning

    @property
    def interval_or_block(self) -> int:
        return self.interval if self.intervals else BLOCK

    def wire(self, name: str, weights: Array) -> tuple[Array, tuple[int, ...]]:
        """Return the weights as one matrix (n_pre, K * R * n_post), and the K delays."""
        mask = self.net.projections[name].mask
        weights = weights if mask is None else weights * jnp.asarray(mask, weights.dtype)
        stack, delays = by_delay(weights, self.net._delays[name])  # (K, n_pre, n_post)
        if self.net._receptors(self.net.projections[name].post) == 2:
            stack = jnp.stack([jnp.maximum(stack, 0), jnp.minimum(stack, 0)], axis=1)
        else:
            stack = stack[:, None]
        return jnp.moveaxis(stack, 2, 0).reshape(weights.shape[0], -1), delays

    def plastic_wiring(self, live: Live, names: list[str]) -> dict[str, tuple[Array, tuple[int, ...]]]:
        return {name: self.wire(name, self.in_use(live, name)) for name in names}

    def in_use(self, live: Live, name: str) -> Array:
        return self.net.projections[name].rule.effective(live.weights[name], live.rules[name])

    def send(self, name: str, wiring: tuple[Array, tuple[int, ...]], sent: Array, lines: dict[str, Array]) -> None:
        """Add the spikes (C, n_pre) that a projection sends to the line of its target."""
        matrix, delays = wiring
        post = self.net.projections[name].post
        weighted = jnp.matmul(sent, matrix, precision=jax.lax.Precision.HIGHEST)
        weighted = weighted.reshape(sent.shape[0], len(delays), *lines[post].shape[1:])
        lines[post] = deliver(lines[post], jnp.moveaxis(weighted, 1, 0), delays)

    def blocks(self, wiring: dict[str, Any], live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        """Advance by n steps, a block at a time."""
        return in_pieces(partial(self.block, wiring), live, xs, n, _even(n, self.block_steps))

    def block(self, wiring: dict[str, Any], live: Live, xs: Inputs, C: int) -> tuple[Live, Record]:
        """Advance every population by C steps, in an order in which no spike comes too late."""
        at_once = self.net._plastic and not self.intervals  # learn in this very step
        later = [name for name in self.net._plastic if at_once and self.net._delays[name] > 0]
        if at_once:
            wiring = wiring | self.plastic_wiring(live, [name for name in self.net._plastic if name not in later])
        cells, emitted, kept = dict(live.cells), {}, Record({}, {}, {})
        lines = {name: _extended(line, C) for name, line in live.arriving.items()}
        for name in self.order:
            if name in xs.spikes:
                emitted[name] = jnp.asarray(xs.spikes[name], dtype=float)
            else:
                cells[name], emitted[name], v = self.advance(name, cells[name], lines[name][:C], xs, C)
                if v is not None:
                    kept.potentials[name] = v
            for projection, sending in wiring.items():
                if self.net.projections[projection].pre == name:
                    self.send(projection, sending, emitted[name], lines)
        kept.spikes.update({name: emitted[name] for name in self.emitted})
        live = live._replace(cells=cells)
        if at_once:
            live, changed = self.learn_step(live, emitted, xs)
            kept.weights.update(changed)
            for name, sending in self.plastic_wiring(live, later).items():
                self.send(name, sending, emitted[self.net.projections[name].pre], lines)
        return live._replace(arriving={name: line[C:] for name, line in lines.items()}), kept

    def advance(self, name: str, state: Any, arriving: Array, xs: Inputs, C: int) -> tuple[Any, Array, Array | None]:
        """Advance the cells of one population by C steps of input (C, R, N)."""
        cell: Any = self.net.populations[name].cell
        current = jnp.asarray(xs.currents.get(name, self.constant.get(name, 0.0)), arriving.dtype)
        current = jnp.broadcast_to(current, (C, arriving.shape[2])) if current.ndim < 2 else current
        apart = arriving.shape[1] == 2
        given = Arriving(arriving, current) if apart else arriving[:, 0] + current
        keep = name in self.wanted["potentials"]

        def one(state: Any, input: Any) -> tuple[Any, tuple[Array, Array | None]]:
            if name in self.propagators:
                state, spikes = cell.step(state, input, self.net.dt, self.propagators[name])
            else:
                state, spikes = cell.step(state, input, self.net.dt)
            return state, (spikes, cell.potential(state) if keep else None)

        if C > 1:
            state, (spikes, v) = jax.lax.scan(one, state, given)
            return state, spikes, v
        state, out = one(state, jax.tree.map(lambda x: x[0], given))
        spikes, v = jax.tree.map(lambda x: x[None], out)
        return state, spikes, v

    def learn_step(self, live: Live, emitted: dict[str, Array], xs: Inputs) -> tuple[Live, dict[str, Array]]:
        """Let every rule take one step; return the weights to record."""
        weights, rules, seen = dict(live.weights), dict(live.rules), dict(live.seen)
        for name in self.net._plastic:
            pre, post, _, _, rule = self.net.projections[name]
            signal = xs.signals[name][0] if name in xs.signals else 0.0
            back = jnp.concatenate([seen[name], emitted[post]])
            rules[name], weights[name] = rule.step(
                rules[name], weights[name], emitted[pre][0], back[0], signal, self.net.dt
            )
            seen[name] = back[1:]
        live = live._replace(weights=weights, rules=rules, seen=seen)
        return live, self.weights_to_keep(live)

    def weights_to_keep(self, live: Live) -> dict[str, Array]:
        return {name: self.in_use(live, name)[None] for name in self.wanted["weights"]}

    def learn(self, live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        """Advance by n steps, an interval of constant weights at a time, and let the rules learn after each."""
        return in_pieces(self.learn_interval, live, xs, n, self.interval)

    def learn_interval(self, live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        live, kept = self.blocks(self.wiring | self.plastic_wiring(live, self.net._plastic), live, xs, n)
        rules, seen = dict(live.rules), dict(live.seen)
        for name in self.net._plastic:
            pre, post, _, _, rule = self.net.projections[name]
            back = jnp.concatenate([seen[name], kept.spikes[post]])
            signal = xs.signals.get(name, jnp.zeros(n))

            def observe(state: Any, x: tuple, rule: Any = rule) -> tuple[Any, None]:
                return rule.observe(state, *x), None

            observed, _ = jax.lax.scan(observe, rules[name], (kept.spikes[pre], back[:n], signal))
            rules[name], seen[name] = rule.update(observed), back[n:]
        live = live._replace(rules=rules, seen=seen)
        spikes = {name: kept.spikes[name] for name in self.wanted["spikes"]}
        return live, Record(spikes, kept.potentials, self.weights_to_keep(live))


def _extended(line: Array, C: int) -> Array:
    return jnp.concatenate([line, jnp.zeros((C, *line.shape[1:]), line.dtype)])


def _even(n: int, most: int) -> int:
    """Return a block length <= most that divides n, if there is one above half of `most`; else `most`."""
    most = min(n, most)
    return next((size for size in range(most, most // 2, -1) if n % size == 0), most)


def in_pieces(
    advance: Callable[[Any, Any, int], tuple[Any, Any]], carry: Any, xs: Any, n: int, size: int
) -> tuple[Any, Any]:
    """Run advance(carry, xs, size) along the time axis of xs, n steps in all; the last piece may be shorter."""
    size = min(n, size)
    pieces, rest = divmod(n, size)
    if pieces == 1 and not rest:
        return advance(carry, xs, n)
    main = jax.tree.map(lambda x: x[: n - rest].reshape(pieces, size, *x.shape[1:]), xs)
    carry, ys = jax.lax.scan(lambda carry, xs: advance(carry, xs, size), carry, main, length=pieces)
    ys = jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), ys)
    if rest:
        carry, last = advance(carry, jax.tree.map(lambda x: x[n - rest :], xs), rest)
        ys = jax.tree.map(lambda y, z: jnp.concatenate([y, z]), ys, last)
    return carry, ys
