"""The rollout of a network in time: blocks of steps that are taken at once, and scans over them.

The order of a step, and why blocks may be, is written down in network.py.

In here everything has a batch axis, behind time where there is time; of size 1 if the user has no batch.

Legend: T steps of a rollout, C of a block; B batch; N neurons; K delays; R receptors (2 where a cell keeps signs
apart, else 1).
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import Arriving, Exact
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.pieces import even_size, in_pieces
from l2l_snn.snn.state import Inputs, Lines, Live, Record, Traces, TwoWays, Wiring
from l2l_snn.snn.synapses import by_delay, deliver
from l2l_snn.snn.topology import Component, Topology

BLOCK = 64  # steps taken at once; more leave the cache ...
# ... but all steps at once where there are so few spikes: a backward pass has much to keep for each block
LARGE = 10_000  # synapses of a trace from which on traces are worked on one after the other
SMALL = 4_000_000


_exact = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)
_kept = jax.lax.optimization_barrier  # a value as it is, where XLA would work it out again in each step


@jax.custom_vjp
def _product(sent: Array, matrix: Array, transposed: Array) -> Array:
    """Return sent @ matrix; the way back takes the transposed matrix, which is made once and not in each step."""
    return _exact(sent, matrix)


def _product_forward(sent: Array, matrix: Array, transposed: Array) -> tuple[Array, tuple[Array, Array]]:
    return _exact(sent, matrix), (sent, transposed)


def _product_backward(kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array, None]:
    sent, transposed = kept
    return _exact(gradient, transposed), _exact(sent.T, gradient), None


_product.defvjp(_product_forward, _product_backward)


class Rollout:
    """One rollout: what is the same in all its steps, and how a block of them is taken."""

    def __init__(self, net: Topology, weights: Lines, constant: Lines, wanted: dict[str, list], reverse_only: bool):
        self.net = net
        self.constant = constant
        self.wanted = wanted
        self.reverse_only = reverse_only
        self.interval = net.interval
        self.intervals = self.interval > 1
        self.at_once = bool(net.plastic) and not self.intervals  # rules learn in every step
        self.block_steps = 1 if self.at_once else min(BLOCK, self.interval) if self.intervals else BLOCK
        self.propagators = {
            name: p.cell.propagators(net.dt) for name, p in net.populations.items() if isinstance(p.cell, Exact)
        }
        self.wiring = {name: self.wire(name, weights[name]) for name, p in net.projections.items() if p.rule is None}
        ends = {end for name in net.plastic for end in (net.projections[name].pre, net.projections[name].post)}
        self.emitted = set(wanted["spikes"]) | (ends if self.intervals else set())
        looped = {name for component in net.components for name in component.projections}
        large = {name for name in net.plastic if np.prod(net.shape(name)) >= LARGE}
        self.by_trace = large - looped if self.intervals else set()

    def wire(self, name: str, weights: Array) -> tuple[Array, tuple[int, ...]]:
        """Return the weights as one matrix (n_pre, K * R * n_post), or one for each of a batch, and the K delays."""
        if weights.ndim == 3:
            return jax.vmap(lambda w: self.wire(name, w)[0])(weights), self.wire(name, weights[0])[1]
        mask = self.net.projections[name].mask
        weights = weights if mask is None else weights * jnp.asarray(mask, weights.dtype)
        stack, delays = by_delay(weights, self.net.delays[name])  # (K, n_pre, n_post)
        if self.net.receptors(self.net.projections[name].post) == 2:
            stack = jnp.stack([jnp.maximum(stack, 0), jnp.minimum(stack, 0)], axis=1)
        else:
            stack = stack[:, None]
        return jnp.moveaxis(stack, 2, 0).reshape(weights.shape[0], -1), delays

    def plastic_wiring(self, live: Live, names: list[str]) -> dict[str, tuple[Array, tuple[int, ...]]]:
        return {
            name: (Traces(live.weights[name], live.rules[name]), (int(self.net.delays[name]),))
            if name in self.by_trace
            else self.wire(name, self.in_use(live, name))
            for name in names
        }

    def each_trace(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function gives for each of a batch: side by side, or one after the other if traces are large.

        One after the other, a trace stays in the cache for all that is done with it, forward and backward.
        """
        if name not in self.by_trace:
            return jax.vmap(function)(*arguments)
        again = jax.checkpoint(function, prevent_cse=False)
        return jax.lax.map(lambda one: again(*one), arguments)

    def in_use(self, live: Live, name: str) -> Array:
        weights = live.weights[name]
        in_axes = (0 if weights.ndim == 3 else None, 0)
        return jax.vmap(self.net.projections[name].rule.effective, in_axes)(weights, live.rules[name])

    def weighted(self, name: str, wiring: Wiring, sent: Array, probe: Array | None = None) -> Array:
        """Return what a projection sends in C steps, by delay (K, C, B, R, n_post), of spikes (C, B, n_pre)."""
        matrix, delays = wiring
        if isinstance(matrix, TwoWays):
            arriving = _product(sent.reshape(-1, sent.shape[2]), *matrix).reshape(*sent.shape[:2], -1)
        elif isinstance(matrix, Traces):
            rule = self.net.projections[name].rule

            def product(state: Any, sent: Array) -> Array:
                return _exact(sent, self.wire(name, rule.effective(matrix.weights, state))[0])

            arriving = self.each_trace(name, product, matrix.rules, sent.swapaxes(0, 1)).swapaxes(0, 1)
        elif matrix.ndim == 3:  # not by einsum: it would turn neurons and steps about, at more than the product's cost
            arriving = _exact(sent.swapaxes(0, 1), matrix).swapaxes(0, 1)
        else:  # as one matrix: of three axes, XLA would take the gradient of the weights at half the speed
            arriving = _exact(sent.reshape(-1, sent.shape[2]), matrix).reshape(*sent.shape[:2], -1)
        arriving = arriving if probe is None else arriving + probe
        post = self.net.projections[name].post
        arriving = arriving.reshape(*sent.shape[:2], len(delays), self.net.receptors(post), -1)
        return jnp.moveaxis(arriving, 2, 0)

    def send(self, names: Iterable[str], wiring: dict[str, Wiring], sent: Array, lines: Lines, probes: Lines) -> Lines:
        """Return the lines with the spikes (C, B, n_pre) of one population added to those of its targets."""
        lines = dict(lines)
        for name in names:
            post = self.net.projections[name].post
            weighted = self.weighted(name, wiring[name], sent, probes.get(name))
            lines[post] = deliver(lines[post], weighted, wiring[name][1])
        return lines

    def blocks(self, wiring: dict[str, Wiring], live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        """Advance by n steps, a block at a time."""
        steps = self.block_steps
        if steps == BLOCK:
            batch = next(iter(live.arriving.values())).shape[1]
            size = n * batch * sum(population.n for population in self.net.populations.values())
            steps = n if size <= SMALL else steps
        return in_pieces(partial(self.block, wiring), live, xs, n, even_size(n, steps))

    def block(self, wiring: dict[str, Wiring], live: Live, xs: Inputs, C: int) -> tuple[Live, Record]:
        """Advance every population by C steps, in an order in which no spike comes too late."""
        later = [name for name in self.net.plastic if self.at_once and self.net.delays[name] > 0]
        if self.at_once:
            wiring = wiring | self.plastic_wiring(live, [name for name in self.net.plastic if name not in later])
        cells, emitted, potentials = dict(live.cells), {}, {}
        lines = {name: _extended(line, C) for name, line in live.arriving.items()}
        for component in self.net.components:
            inside = {name: wiring[name] for name in component.projections if name in wiring}
            if component.names[0] in xs.spikes:
                emitted[component.names[0]] = jnp.asarray(xs.spikes[component.names[0]], dtype=float)
            else:
                advance = self.reverse if self.reverse_only and inside else self.advance
                mine = {name: cells[name] for name in component.names}
                own = {name: lines[name] for name in component.names}
                currents = {name: xs.currents[name] for name in component.names if name in xs.currents}
                mine, own, spikes, v = advance(component, inside, mine, own, currents, C)
                cells, lines, emitted, potentials = cells | mine, lines | own, emitted | spikes, potentials | v
            for name in component.names:
                names = [p for p in wiring if self.net.projections[p].pre == name and p not in inside]
                lines = self.send(names, wiring, emitted[name], lines, {})
        counts = {name: emitted[name].sum(axis=0)[None] for name in self.wanted["counts"]}
        kept = Record({name: emitted[name] for name in self.emitted}, potentials, {}, counts)
        live = live._replace(cells=cells)
        if self.at_once:
            live, changed = self.learn_step(live, emitted, xs)
            kept.weights.update(changed)
            wiring = self.plastic_wiring(live, later)
            for name in later:
                lines = self.send([name], wiring, emitted[self.net.projections[name].pre], lines, {})
        return live._replace(arriving={name: line[C:] for name, line in lines.items()}), kept

    def advance(
        self,
        component: Component,
        wiring: dict[str, Wiring],
        cells: dict[str, Any],
        lines: Lines,
        currents: dict[str, Array],
        C: int,
        probes: Lines | None = None,
    ) -> tuple[dict[str, Any], Lines, dict[str, Array], dict[str, Array]]:
        """Advance populations that reach each other by C steps, as many at once as a loop between them allows.

        Args:
            component: the populations.
            wiring: of the projections among them.
            cells: their states.
            lines: (L + C, B, R, N) what arrives from elsewhere.
            currents: (C, B, N) into some of them.
            C: steps.
            probes: (C, B, K * R * n_post) added to what projections send; for gradients.

        Returns:
            States and lines after it, spikes (C, B, N), and potentials (C, B, N) if they are recorded.
        """
        longest = dict.fromkeys(component.names, 0)
        for name, (_, delays) in wiring.items():
            post = self.net.projections[name].post
            longest[post] = max(longest[post], *delays)

        def piece(carry: tuple[dict, Lines], xs: tuple[Lines, dict, Lines], c: int) -> tuple[Any, Any]:
            (cells, queues), (arriving, currents, probes) = carry, xs
            cells, spikes, potentials = dict(cells), {}, {}
            own = {name: _extended(queue, c) for name, queue in queues.items()}
            for name in component.names:
                given = arriving[name] + own[name][:c]
                cells[name], spikes[name], v = self.fire(name, cells[name], given, currents.get(name))
                if v is not None:
                    potentials[name] = v
                names = [p for p in wiring if self.net.projections[p].pre == name]
                own = self.send(names, wiring, spikes[name], own, probes)
            return (cells, {name: line[c:] for name, line in own.items()}), (spikes, potentials)

        queues = {name: jnp.zeros((longest[name], *lines[name].shape[1:]), lines[name].dtype) for name in lines}
        arriving = {name: line[:C] for name, line in lines.items()}
        carry = cells, queues
        carry, (spikes, v) = in_pieces(piece, carry, (arriving, currents, probes or {}), C, component.loop or C)
        cells, queues = carry
        lines = {name: deliver(line, queues[name][None], (C,)) for name, line in lines.items()}
        return cells, lines, spikes, v

    def reverse(
        self,
        component: Component,
        wiring: dict[str, Wiring],
        cells: dict[str, Any],
        lines: Lines,
        currents: dict[str, Array],
        C: int,
    ) -> tuple[dict[str, Any], Lines, dict[str, Array], dict[str, Array]]:
        """Return what `advance` does, with a backward pass of its own that can't be differentiated forward.

        Autodiff would add to the gradient of the weights in every step; here it is one product of all spikes with the
        gradients of all that they sent.
        """
        matrices = {name: matrix for name, (matrix, _) in wiring.items()}

        def run(matrices: Lines, probes: Lines, cells: Any, lines: Lines, currents: Lines) -> Any:
            both = {name: TwoWays(w, _kept(w.T)) if w.ndim == 2 else w for name, w in matrices.items()}
            given = {name: (w, wiring[name][1]) for name, w in both.items()}
            return self.advance(component, given, cells, lines, currents, C, probes)

        B = next(iter(lines.values())).shape[1]

        def silent() -> Lines:
            return {name: jnp.zeros((C, B, matrix.shape[-1]), matrix.dtype) for name, matrix in matrices.items()}

        closed, constants = jax.closure_convert(run, matrices, silent(), cells, lines, currents)

        @jax.custom_vjp
        def rolled(matrices: Lines, *rest: Any) -> Any:
            return closed(matrices, silent(), *rest)

        def forward(matrices: Lines, *rest: Any) -> Any:
            out, back = jax.vjp(partial(closed, matrices), silent(), *rest)
            return out, (back, out[2])

        def backward(kept: Any, gradient: Any) -> Any:
            back, spikes = kept
            sent, *rest = back(gradient)
            found = {}
            for name, gradients in sent.items():
                pre = spikes[self.net.projections[name].pre]
                if wiring[name][0].ndim == 2:
                    found[name] = _exact(pre.reshape(-1, pre.shape[2]).T, gradients.reshape(-1, gradients.shape[2]))
                else:
                    found[name] = jnp.einsum("cbn,cbm->bnm", pre, gradients)
            return found, *rest

        rolled.defvjp(forward, backward)
        return rolled(matrices, cells, lines, currents, *constants)

    def fire(self, name: str, state: Any, arriving: Array, current: Array | None) -> tuple[Any, Array, Array | None]:
        """Advance the cells of one population by C steps of input (C, B, R, N) and perhaps current (C, B, N)."""
        cell: Any = self.net.populations[name].cell
        constant = self.constant.get(name)
        extra = (self.propagators[name],) if name in self.propagators else ()
        keep = name in self.wanted["potentials"]

        def one(state: Any, xs: tuple[Array, Array | None]) -> tuple[Any, tuple[Array, Array | None]]:
            arriving, current = xs
            current = constant if current is None else current
            current = 0.0 if current is None else jnp.asarray(current, arriving.dtype)
            if arriving.shape[0] == 2:
                input = Arriving(arriving, current)
            else:
                input = arriving[0] if isinstance(current, float) else arriving[0] + current
            state, spikes = cell.step(state, input, self.net.dt, *extra)
            return state, (spikes, cell.potential(state) if keep else None)

        batch = jax.vmap(one)
        if len(arriving) > 1:
            state, (spikes, v) = jax.lax.scan(batch, state, (arriving, current))
            return state, spikes, v
        state, out = batch(state, jax.tree.map(lambda x: x[0], (arriving, current)))
        spikes, v = jax.tree.map(lambda x: x[None], out)
        return state, spikes, v

    def learn_step(self, live: Live, emitted: dict[str, Array], xs: Inputs) -> tuple[Live, dict[str, Array]]:
        """Let every rule take one step; return the weights to record."""
        weights, rules, seen = dict(live.weights), dict(live.rules), dict(live.seen)
        for name in self.net.plastic:
            p = self.net.projections[name]
            back = jnp.concatenate([seen[name], emitted[p.post]])
            signal = xs.signals[name][0] if name in xs.signals else jnp.zeros(back.shape[1])

            def learn(state: Any, w: Array, pre: Array, post: Array, signal: Array, rule: Any = p.rule) -> Any:
                return rule.step(state, w, pre, post, signal, self.net.dt)

            rules[name], weights[name] = jax.vmap(learn)(rules[name], weights[name], emitted[p.pre][0], back[0], signal)
            seen[name] = back[1:]
        live = live._replace(weights=weights, rules=rules, seen=seen)
        return live, self.weights_to_keep(live)

    def weights_to_keep(self, live: Live) -> dict[str, Array]:
        return {name: self.in_use(live, name)[None] for name in self.wanted["weights"]}

    def learn(self, live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        """Advance by n steps, an interval of constant weights at a time, and let the rules learn after each."""
        return in_pieces(self.learn_interval, live, xs, n, self.interval)

    def learn_interval(self, live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        live, kept = self.blocks(self.wiring | self.plastic_wiring(live, self.net.plastic), live, xs, n)
        rules, seen = dict(live.rules), dict(live.seen)
        for name in self.net.plastic:
            p = self.net.projections[name]
            back = jnp.concatenate([seen[name], kept.spikes[p.post]])
            signal = xs.signals.get(name, jnp.zeros(kept.spikes[p.pre].shape[:2]))

            def observe(state: Any, x: tuple, rule: Any = p.rule) -> tuple[Any, None]:
                return jax.vmap(rule.observe)(state, *x), None

            observed, _ = jax.lax.scan(observe, rules[name], (kept.spikes[p.pre], back[:n], signal))
            rules[name], seen[name] = self.each_trace(name, p.rule.update, observed), back[n:]
        live = live._replace(rules=rules, seen=seen)
        spikes = {name: kept.spikes[name] for name in self.wanted["spikes"]}
        return live, kept._replace(spikes=spikes, weights=self.weights_to_keep(live))


def _extended(line: Array, C: int) -> Array:
    return jnp.concatenate([line, jnp.zeros((C, *line.shape[1:]), line.dtype)])
