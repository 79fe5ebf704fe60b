"""Networks of populations and projections, and their rollout in time.

    net = Network(
        {"in": Population(60), "out": Population(3, IafPscAlpha(t_ref=1.0))},  # no cell: a source of given spikes
        {"w": Projection("in", "out", delay=1.0)},
        dt=0.1,
    )
    state = net.init({"w": weights})                                # (60, 3), pA
    state, record = net.rollout(state, spikes={"in": trains}, record=("spikes.out",))   # (T, 60) -> (T, 3)

A network is configuration, its state a value, so that batches are `jax.vmap`: over `spikes` for episodes with the same
weights, over `weights` (around `init` and `rollout`) for a population of networks. Cell parameters may be traced:
build the network inside the function that is mapped, differentiated or compiled. `rollout` goes on from any state.

**The order of one step** is NEST's. Step k covers the time from k dt to (k + 1) dt, and its spikes carry the latter:

1. What was sent in step k - delay / dt arrives, external spikes (those of sources) included.
2. Every cell advances: the potential, with the currents of the step before, unless refractory; then synaptic currents
   decay and take what arrives; the refractory counter falls by one; V >= V_th spikes, resets and sets the counter.
   An injected current acts from the next step on (NEST's cells; others take it at once).
3. Plastic projections learn from the presynaptic spikes of step k and the postsynaptic ones of step k - delay / dt (on
   NEST the whole delay is dendritic).
4. The spikes of step k are sent, with the weights that step 3 left.

A delay of 0 is not NEST's: the spike arrives in the step that it is sent in, before step 3, as in layered networks.
It may not close a loop. A rule whose weights stay the same for `rule.every(dt)` steps learns at the
end of each such interval, and step 3 comes after step 4.

**How it is computed.** Nothing sent within C steps arrives in them, if C is the shortest delay that closes a loop. So C steps of
one population after the other are taken at once: all spikes in one matrix product, then a scan over the cells alone.
Results don't depend on it but for rounding.

Legend: T steps of a rollout, C of a block; N neurons; K delays; R receptors (2 where a cell keeps signs apart, else 1).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import Arriving, Cell, Exact, SignsApart
from l2l_snn.snn.parameters import Array, check_step, known
from l2l_snn.snn.synapses import by_delay, delay_steps, deliver
from l2l_snn.validate import check_count, check_finite, check_shape, did_you_mean, message

BLOCK = 64  # steps taken at once where no loop asks for fewer; longer blocks leave the cache
KINDS = ("spikes", "potentials", "weights")


class Population(NamedTuple):
    """n neurons of one kind, or n sources whose spikes are given from outside."""

    n: int
    cell: Cell | None = None


class Projection(NamedTuple):
    """Synapses from every neuron of `pre` to every neuron of `post`; weights are given to `init`."""

    pre: str
    post: str
    delay: Any = 1.0  # ms, one or (n_pre, n_post); multiples of dt
    mask: Array | None = None  # (n_pre, n_post) of 0 and 1: which synapses there are
    rule: Any = None  # plasticity rule; None: fixed weights


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


class _Live(NamedTuple):
    """The part of the state that changes in a rollout."""

    cells: dict[str, Any]
    arriving: dict[str, Array]
    weights: dict[str, Array]  # of plastic projections
    rules: dict[str, Any]
    seen: dict[str, Array]


class _Inputs(NamedTuple):
    """Inputs with a leading time axis."""

    spikes: dict[str, Array]
    currents: dict[str, Array]
    signals: dict[str, Array]


@dataclass(frozen=True)
class Network:
    """Populations and projections, by name.

    >>> net = Network({"in": Population(2), "out": Population(1, LIF())}, {"w": Projection("in", "out")}, dt=1.0)
    >>> state = net.init({"w": jnp.ones((2, 1))})
    >>> state, record = net.rollout(state, spikes={"in": jnp.ones((20, 2))})
    >>> record.spikes["out"].sum().item()
    3.0
    """

    populations: Mapping[str, Population]
    projections: Mapping[str, Projection]
    dt: float = 0.1  # ms

    def __post_init__(self) -> None:
        check_step(self.dt)
        for name, (n, cell) in self.populations.items():
            check_count(f"populations.{name}", n)
            if cell is not None:
                jax.eval_shape(partial(cell.init, n))  # a cell checks its parameters there
        for name, projection in self.projections.items():
            self._check_projection(name, projection)
        if self._loop == 0:
            todo = "let a spike take at least one step on its way round"
            raise ValueError(message("delay", "a loop that takes time", "projections with delay 0 that close one", todo))

    def _check_projection(self, name: str, projection: Projection) -> None:
        for end in ("pre", "post"):
            population = getattr(projection, end)
            if population not in self.populations:
                known_as = did_you_mean(population, self.populations)
                raise ValueError(message(f"{name}.{end}", "a population of this network", repr(population), known_as))
        if self.populations[projection.post].cell is None:
            raise ValueError(message(f"{name}.post", "a population with a cell", f"{projection.post!r}, a source"))
        shape = self._shape(name)
        steps = delay_steps(f"{name}.delay", projection.delay, self.dt, shape)
        if projection.mask is not None:
            check_shape(f"{name}.mask", np.empty(np.shape(projection.mask)), shape)
        if projection.rule is not None:
            if steps.ndim:
                raise ValueError(message(f"{name}.delay", "one delay where a rule learns", "one a synapse"))
            jax.eval_shape(partial(projection.rule.init, *shape))

    def _shape(self, projection: str) -> tuple[int, int]:
        pre, post = self.projections[projection][:2]
        return self.populations[pre].n, self.populations[post].n

    @cached_property
    def _delays(self) -> dict[str, np.ndarray]:
        """Delays in steps, () or (n_pre, n_post), of each projection."""
        return {
            name: delay_steps(f"{name}.delay", projection.delay, self.dt, self._shape(name))
            for name, projection in self.projections.items()
        }

    def _order(self, below: float) -> list[str]:
        """Return the populations so that none comes before one that reaches it in fewer than `below` steps."""
        graph = {name: set() for name in self.populations}
        for name, projection in self.projections.items():
            if self._delays[name].min() < below:
                graph[projection.post].add(projection.pre)
        return list(TopologicalSorter(graph).static_order())

    @cached_property
    def _loop(self) -> float:
        """The longest block: the shortest delay, in steps, that closes a loop of delays up to it; inf without loops."""
        for shortest in sorted({int(steps.min()) for steps in self._delays.values()}):
            try:
                self._order(shortest + 1)
            except CycleError:
                return shortest
        return np.inf

    @cached_property
    def _plastic(self) -> list[str]:
        return [name for name, projection in self.projections.items() if projection.rule is not None]

    @cached_property
    def _interval(self) -> int:
        """Steps between two updates of plastic weights: what all rules agree on, else 1."""
        every = [self.projections[name].rule.every(self.dt) for name in self._plastic]
        return int(every[0]) if every and known(*every) and len(set(every)) == 1 else 1

    def _receptors(self, name: str) -> int:
        return 2 if isinstance(self.populations[name].cell, SignsApart) else 1

    def init(self, weights: Mapping[str, Array]) -> State:
        """Return the state at rest: no spike under way.

        Args:
            weights: (n_pre, n_post) of each projection, in the unit that the cell of `post` takes.

        Raises:
            ValueError: a projection without weights, a shape that doesn't fit, nan.
        """
        if set(weights) != set(self.projections):
            got = ", ".join(sorted(weights)) or "none"
            raise ValueError(message("weights", f"those of {', '.join(sorted(self.projections))}", got))
        for name, w in weights.items():
            if known(w):
                w = check_finite(f"weights.{name}", w)
            check_shape(f"weights.{name}", np.empty(np.shape(w)), self._shape(name), "pre along rows")
        longest = dict.fromkeys(self.populations, 0)
        for name, projection in self.projections.items():
            longest[projection.post] = max(longest[projection.post], int(self._delays[name].max()))
        cells = {name: p.cell.init(p.n) for name, p in self.populations.items() if p.cell is not None}
        return State(
            cells,
            {name: jnp.zeros((longest[name], self._receptors(name), self.populations[name].n)) for name in cells},
            {name: jnp.asarray(weights[name], dtype=float) for name in self.projections},
            {name: self.projections[name].rule.init(*self._shape(name)) for name in self._plastic},
            {name: jnp.zeros((int(self._delays[name]), self._shape(name)[1])) for name in self._plastic},
        )

    def rollout(
        self,
        state: State,
        *,
        spikes: Mapping[str, Array] | None = None,
        currents: Mapping[str, Array] | None = None,
        signals: Mapping[str, Array] | None = None,
        steps: int | None = None,
        record: Iterable[str] = ("spikes",),
        checkpoint_every: int | None = None,
    ) -> tuple[State, Record]:
        """Advance the network by T steps.

        Args:
            state: from `init` or an earlier rollout.
            spikes: (T, N) of every source; 0 and 1, or numbers of spikes.
            currents: (T, N), or (N,) or () for constant ones, into populations with a cell; pA for NEST's cells.
            signals: (T, ...) third factor of plastic projections; 0 where none is given.
            steps: T, needed where no input has a time axis.
            record: kinds to keep, "spikes", "potentials", "weights", or one of them: "spikes.out".
            checkpoint_every: keep only the state at every so many steps and compute again what a gradient needs
                in between: with about sqrt(T) the memory grows with sqrt(T), for one more forward pass.

        Returns:
            The state after T steps, and what was recorded.
        """
        wanted = self._wanted(record)
        inputs, constant, T = self._inputs(spikes or {}, currents or {}, signals or {}, steps)
        run = _Rollout(self, state.weights, constant, wanted)
        every = run.interval
        if T % every or (checkpoint_every is not None and checkpoint_every % every):
            got = f"{T} steps" if T % every else f"checkpoint_every={checkpoint_every}"
            raise ValueError(message("steps", f"a multiple of {every}, the steps between updates of the rules", got))
        advance = run.learn if run.intervals else partial(run.blocks, run.wiring)
        if checkpoint_every is not None:
            check_count("checkpoint_every", checkpoint_every)
            inner = advance

            def advance(live: _Live, xs: _Inputs, n: int) -> tuple[_Live, Record]:
                kept = jax.checkpoint(lambda live, xs, n=n: inner(live, xs, n), prevent_cse=False)
                return kept(live, xs)

        live = _Live(
            state.cells, state.arriving, {name: state.weights[name] for name in self._plastic}, state.rules, state.seen
        )
        live, kept = _in_pieces(advance, live, inputs, T, checkpoint_every or T)
        return State(live.cells, live.arriving, state.weights | live.weights, live.rules, live.seen), kept

    def _wanted(self, record: Iterable[str]) -> dict[str, list[str]]:
        """Return the names of what to keep, by kind."""
        everything = {"spikes": list(self.populations), "weights": self._plastic}
        everything["potentials"] = [name for name, p in self.populations.items() if p.cell is not None]
        wanted: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for entry in [record] if isinstance(record, str) else record:
            kind, _, name = entry.partition(".")
            choices = [*KINDS, *(f"{kind}.{name}" for kind in KINDS for name in everything[kind])]
            if entry not in choices:
                raise ValueError(message("record", "kinds, or kind.name", repr(entry), did_you_mean(entry, choices)))
            wanted[kind] += [name] if name else everything[kind]
        return wanted

    def _inputs(
        self, spikes: Mapping[str, Array], currents: Mapping[str, Array], signals: Mapping[str, Array], T: int | None
    ) -> tuple[_Inputs, dict[str, Array], int]:
        """Return checked inputs in time, constant currents, and T."""
        sources = {name for name, population in self.populations.items() if population.cell is None}
        if set(spikes) != sources:
            expected = f"those of the sources {', '.join(sorted(sources)) or '(none)'}"
            raise ValueError(message("spikes", expected, ", ".join(sorted(spikes)) or "none"))
        for argument, given, names in (
            ("currents", currents, set(self.populations) - sources),
            ("signals", signals, set(self._plastic)),
        ):
            for name in given:
                if name not in names:
                    raise ValueError(message(argument, "names that take them", repr(name), did_you_mean(name, names)))
        constant = {name: value for name, value in currents.items() if np.ndim(value) < 2}
        inputs = _Inputs(dict(spikes), {k: v for k, v in currents.items() if k not in constant}, dict(signals))
        for kind, given in zip(_Inputs._fields, inputs, strict=True):
            for name, value in given.items():
                T = np.shape(value)[0] if T is None and np.ndim(value) else T
                shape = (T, *np.shape(value)[1:]) if kind == "signals" else (T, self.populations[name].n)
                check_shape(f"{kind}.{name}", np.empty(np.shape(value), bool), shape, "steps along rows")
        for name, value in constant.items():
            if np.ndim(value):
                check_shape(f"currents.{name}", np.empty(np.shape(value)), (self.populations[name].n,))
        if T is None:
            raise ValueError(message("steps", "a number of steps", "none", "no input has a time axis"))
        return inputs, constant, check_count("steps", T)


class _Rollout:
    """One rollout: what is the same in all its steps, and how a block of them is taken."""

    def __init__(self, net: Network, weights: dict[str, Array], constant: dict[str, Array], wanted: dict[str, list]):
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
        self.wiring = {
            name: self.wire(name, weights[name]) for name, p in net.projections.items() if p.rule is None
        }
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

    def plastic_wiring(self, live: _Live) -> dict[str, tuple[Array, tuple[int, ...]]]:
        return {name: self.wire(name, self.in_use(live, name)) for name in self.net._plastic}

    def in_use(self, live: _Live, name: str) -> Array:
        return self.net.projections[name].rule.effective(live.weights[name], live.rules[name])

    def send(self, name: str, wiring: tuple[Array, tuple[int, ...]], sent: Array, lines: dict[str, Array]) -> None:
        """Add the spikes (C, n_pre) that a projection sends to the line of its target."""
        matrix, delays = wiring
        post = self.net.projections[name].post
        weighted = jnp.matmul(sent, matrix, precision=jax.lax.Precision.HIGHEST)
        weighted = weighted.reshape(sent.shape[0], len(delays), *lines[post].shape[1:])
        lines[post] = deliver(lines[post], jnp.moveaxis(weighted, 1, 0), delays)

    def blocks(self, wiring: dict[str, Any], live: _Live, xs: _Inputs, n: int) -> tuple[_Live, Record]:
        """Advance by n steps, a block at a time."""
        return _in_pieces(partial(self.block, wiring), live, xs, n, _even(n, self.block_steps))

    def block(self, wiring: dict[str, Any], live: _Live, xs: _Inputs, C: int) -> tuple[_Live, Record]:
        """Advance every population by C steps, in an order in which no spike comes too late."""
        at_once = bool(self.net._plastic) and not self.intervals  # learn in this very step
        if at_once:
            wiring = wiring | self.plastic_wiring(live)
        cells, emitted, kept = dict(live.cells), {}, Record({}, {}, {})
        lines = {name: _extended(line, C) for name, line in live.arriving.items()}
        later = [name for name in self.net._plastic if at_once and self.net._delays[name] > 0]
        for name in self.order:
            if name in xs.spikes:
                emitted[name] = jnp.asarray(xs.spikes[name], dtype=float)
            else:
                cells[name], emitted[name], v = self.advance(name, cells[name], lines[name][:C], xs, C)
                if v is not None:
                    kept.potentials[name] = v
            for projection, sending in wiring.items():
                if self.net.projections[projection].pre == name and projection not in later:
                    self.send(projection, sending, emitted[name], lines)
        kept.spikes.update({name: emitted[name] for name in self.emitted})
        live = live._replace(cells=cells)
        if at_once:
            live, changed = self.learn_step(live, emitted, xs)
            kept.weights.update(changed)
            for name, sending in self.plastic_wiring(live).items():
                if name in later:
                    self.send(name, sending, emitted[self.net.projections[name].pre], lines)
        return live._replace(arriving={name: line[C:] for name, line in lines.items()}), kept

    def advance(
        self, name: str, state: Any, arriving: Array, xs: _Inputs, C: int
    ) -> tuple[Any, Array, Array | None]:
        """Advance the cells of one population by C steps of input (C, R, N)."""
        cell: Any = self.net.populations[name].cell
        current = jnp.asarray(xs.currents.get(name, self.constant.get(name, 0.0)), arriving.dtype)
        current = jnp.broadcast_to(current, (C, arriving.shape[2])) if current.ndim < 2 else current
        apart = arriving.shape[1] == 2
        given = Arriving(arriving[:, 0], arriving[:, 1], current) if apart else arriving[:, 0] + current
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

    def learn_step(self, live: _Live, emitted: dict[str, Array], xs: _Inputs) -> tuple[_Live, dict[str, Array]]:
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

    def weights_to_keep(self, live: _Live) -> dict[str, Array]:
        return {name: self.in_use(live, name)[None] for name in self.wanted["weights"]}

    def learn(self, live: _Live, xs: _Inputs, n: int) -> tuple[_Live, Record]:
        """Advance by n steps, an interval of constant weights at a time, and let the rules learn after each."""
        return _in_pieces(self.learn_interval, live, xs, n, self.interval)

    def learn_interval(self, live: _Live, xs: _Inputs, n: int) -> tuple[_Live, Record]:
        live, kept = self.blocks(self.wiring | self.plastic_wiring(live), live, xs, n)
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


def _in_pieces(
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
