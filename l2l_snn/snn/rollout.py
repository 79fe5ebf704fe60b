"""The rollout of a network in time: blocks of steps that are taken at once, and scans over them.

The order of a step, and why blocks may be, is written down in network.py.

In here everything has a batch axis, behind time where there is time; of size 1 if the user has no batch.

Legend: T steps of a rollout, C of a block; B batch; N neurons; K delays; R receptors (2 where a cell keeps signs
apart, else 1).
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from l2l_snn.snn.cells import Arriving
from l2l_snn.snn.delays import deliver
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.pieces import even_size, in_pieces
from l2l_snn.snn.plasticity import Rule
from l2l_snn.snn.state import Inputs, Lines, Live, Record, TwoWays, Wiring
from l2l_snn.snn.topology import Component, Topology
from l2l_snn.snn.transmission import Transmission, exact_product

BLOCK = 64  # steps taken at once; more leave the cache ...
# ... but all steps at once where there are so few spikes: a backward pass has much to keep for each block
LARGE = 10_000  # synapses of a trace from which on traces are worked on one after the other
SMALL = 4_000_000


_keep_value = jax.lax.optimization_barrier  # a value as it is, where XLA would work it out again in each step


class Rollout:
    """One rollout: what is the same in all its steps, and how a block of them is taken."""

    def __init__(
        self,
        topology: Topology,
        weights: Lines,
        constant: Lines,
        wanted: dict[str, list],
        reverse_only: bool,
        unroll: bool,
    ):
        self.topology = topology
        self.constant = constant
        self.wanted = wanted
        self.reverse_only = reverse_only
        self.unroll = unroll
        self.interval = topology.interval
        self.intervals = self.interval > 1
        self.at_once = bool(topology.plastic) and not self.intervals  # rules learn in every step
        self.block_steps = 1 if self.at_once else min(BLOCK, self.interval) if self.intervals else BLOCK
        self.propagators = {name: cell.propagators(topology.dt) for name, cell in topology.cells.items()}
        ends = {
            end
            for name in topology.plastic
            for end in (topology.projections[name].pre, topology.projections[name].post)
        }
        self.emitted = set(wanted["spikes"]) | (ends if self.intervals else set())
        looped = {name for component in topology.components for name in component.projections}
        large = {name for name in topology.plastic if np.prod(topology.shape(name)) >= LARGE}
        self.transmission = Transmission(topology, large - looped if self.intervals else set())
        fixed = [name for name in topology.projections if name not in topology.rules]
        self.wiring = {name: self.transmission.wire(name, weights[name]) for name in fixed}

    def blocks(self, wiring: dict[str, Wiring], live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        """Advance by n steps, a block at a time."""
        steps = self.block_steps
        if steps == BLOCK:
            batch = next(iter(live.arriving.values())).shape[1]
            size = n * batch * sum(population.n for population in self.topology.populations.values())
            steps = n if size <= SMALL else steps
        return in_pieces(partial(self.block, wiring), live, xs, n, even_size(n, steps))

    def block(self, wiring: dict[str, Wiring], live: Live, xs: Inputs, C: int) -> tuple[Live, Record]:
        """Advance every population by C steps, in an order in which no spike comes too late."""
        later = [name for name in self.topology.plastic if self.at_once and self.topology.delays[name] > 0]
        if self.at_once:
            wiring = wiring | self.transmission.plastic_wiring(
                live, [name for name in self.topology.plastic if name not in later]
            )
        cells, emitted, potentials = dict(live.cells), {}, {}
        lines = {name: _extend_line(line, C) for name, line in live.arriving.items()}
        for component in self.topology.components:
            inside = {name: wiring[name] for name in component.projections if name in wiring}
            if component.names[0] in xs.spikes:
                emitted[component.names[0]] = jnp.asarray(xs.spikes[component.names[0]], dtype=float)
            else:
                matrices = all(self.topology.projections[name].convolution is None for name in inside)
                advance = self.reverse if self.reverse_only and inside and matrices else self.advance
                mine = {name: cells[name] for name in component.names}
                own = {name: lines[name] for name in component.names}
                currents = {name: xs.currents[name] for name in component.names if name in xs.currents}
                mine, own, spikes, v = advance(component, inside, mine, own, currents, C)
                cells, lines, emitted, potentials = cells | mine, lines | own, emitted | spikes, potentials | v
            for name in component.names:
                names = [p for p in wiring if self.topology.projections[p].pre == name and p not in inside]
                lines = self.transmission.send(names, wiring, emitted[name], lines, {})
        counts = {name: emitted[name].sum(axis=0)[None] for name in self.wanted["counts"]}
        kept = Record({name: emitted[name] for name in self.emitted}, potentials, {}, counts)
        live = live._replace(cells=cells)
        if self.at_once:
            live, changed = self.learn_step(live, emitted, xs)
            kept.weights.update(changed)
            wiring = self.transmission.plastic_wiring(live, later)
            for name in later:
                lines = self.transmission.send([name], wiring, emitted[self.topology.projections[name].pre], lines, {})
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
            post = self.topology.projections[name].post
            longest[post] = max(longest[post], *delays)

        def piece(carry: tuple[dict, Lines], xs: tuple[Lines, dict, Lines], c: int) -> tuple[Any, Any]:
            (cells, queues), (arriving, currents, probes) = carry, xs
            cells, spikes, potentials = dict(cells), {}, {}
            own = {name: _extend_line(queue, c) for name, queue in queues.items()}
            for name in component.names:
                given = arriving[name] + own[name][:c]
                cells[name], spikes[name], v = self.fire(name, cells[name], given, currents.get(name))
                if v is not None:
                    potentials[name] = v
                names = [p for p in wiring if self.topology.projections[p].pre == name]
                own = self.transmission.send(names, wiring, spikes[name], own, probes)
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
            both = {name: TwoWays(w, _keep_value(w.T)) if w.ndim == 2 else w for name, w in matrices.items()}
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
                pre = spikes[self.topology.projections[name].pre]
                if wiring[name][0].ndim == 2:
                    found[name] = exact_product(
                        pre.reshape(-1, pre.shape[2]).T, gradients.reshape(-1, gradients.shape[2])
                    )
                else:
                    found[name] = jnp.einsum("cbn,cbm->bnm", pre, gradients)
            return found, *rest

        rolled.defvjp(forward, backward)
        return rolled(matrices, cells, lines, currents, *constants)

    def fire(
        self,
        name: str,
        state: Any,
        arriving: Float[Array, "C B R N"],
        current: Float[Array, "C B N"] | None,
    ) -> tuple[Any, Float[Array, "C B N"], Float[Array, "C B N"] | None]:
        """Advance the cells of one population by C steps of input (C, B, R, N) and perhaps current (C, B, N)."""
        cell = self.topology.cells[name]
        constant = self.constant.get(name)
        keep = name in self.wanted["potentials"]

        def one(state: Any, xs: tuple[Array, Array | None]) -> tuple[Any, tuple[Array, Array | None]]:
            arriving, current = xs
            current = constant if current is None else current
            current = 0.0 if current is None else jnp.asarray(current, arriving.dtype)
            if arriving.shape[0] == 2:
                input = Arriving(arriving, current)
            else:
                input = arriving[0] if isinstance(current, float) else arriving[0] + current
            state, spikes = cell.step(state, input, self.topology.dt, self.propagators[name])
            return state, (spikes, cell.potential(state) if keep else None)

        batch = jax.vmap(one)
        if len(arriving) > 1:
            state, (spikes, v) = jax.lax.scan(batch, state, (arriving, current), unroll=self.unroll)
            return state, spikes, v
        state, out = batch(state, jax.tree.map(lambda x: x[0], (arriving, current)))
        spikes, v = jax.tree.map(lambda x: x[None], out)
        return state, spikes, v

    def learn_step(self, live: Live, emitted: dict[str, Array], xs: Inputs) -> tuple[Live, dict[str, Array]]:
        """Let every rule take one step; return the weights to record."""
        weights, rules, seen = dict(live.weights), dict(live.rules), dict(live.seen)
        for name, rule in self.topology.rules.items():
            p = self.topology.projections[name]
            back = jnp.concatenate([seen[name], emitted[p.post]])
            signal = xs.signals[name][0] if name in xs.signals else jnp.zeros(back.shape[1])

            def learn(state: Any, w: Array, pre: Array, post: Array, signal: Array, rule: Rule = rule) -> Any:
                return rule.step(state, w, pre, post, signal, self.topology.dt)

            rules[name], weights[name] = jax.vmap(learn)(rules[name], weights[name], emitted[p.pre][0], back[0], signal)
            seen[name] = back[1:]
        live = live._replace(weights=weights, rules=rules, seen=seen)
        return live, self.weights_to_keep(live)

    def weights_to_keep(self, live: Live) -> dict[str, Array]:
        return {name: self.transmission.in_use(live, name)[None] for name in self.wanted["weights"]}

    def learn(self, live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        """Advance by n steps, an interval of constant weights at a time, and let the rules learn after each."""
        return in_pieces(self.learn_interval, live, xs, n, self.interval)

    def learn_interval(self, live: Live, xs: Inputs, n: int) -> tuple[Live, Record]:
        live, kept = self.blocks(
            self.wiring | self.transmission.plastic_wiring(live, self.topology.plastic), live, xs, n
        )
        rules, seen = dict(live.rules), dict(live.seen)
        rule: Any  # only a TraceRule lets weights be for several steps
        for name, rule in self.topology.rules.items():
            p = self.topology.projections[name]
            back = jnp.concatenate([seen[name], kept.spikes[p.post]])
            signal = xs.signals.get(name, jnp.zeros(kept.spikes[p.pre].shape[:2]))

            def observe(state: Any, x: tuple, rule: Any = rule) -> tuple[Any, None]:
                return jax.vmap(rule.observe)(state, *x), None

            observed, _ = jax.lax.scan(observe, rules[name], (kept.spikes[p.pre], back[:n], signal))
            rules[name], seen[name] = self.transmission.each_trace(name, rule.update, observed), back[n:]
        live = live._replace(rules=rules, seen=seen)
        spikes = {name: kept.spikes[name] for name in self.wanted["spikes"]}
        return live, kept._replace(spikes=spikes, weights=self.weights_to_keep(live))


def _extend_line(line: Array, C: int) -> Array:
    return jnp.concatenate([line, jnp.zeros((C, *line.shape[1:]), line.dtype)])
