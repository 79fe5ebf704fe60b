"""Networks of populations and projections, and their rollout in time.

    net = Network(
        {"in": Population(60), "out": Population(3, IafPscAlpha(t_ref=1.0))},  # no cell: a source of given spikes
        {"w": Projection("in", "out", delay=1.0)},
        dt=0.1,
    )
    state = net.init({"w": weights})                                # (60, 3), pA
    state, record = net.rollout(state, spikes={"in": trains}, record=("spikes.out",))   # (T, 60) -> (T, 3)

A network is configuration, its state a value. `init(weights, batch=B)` makes states of B networks that run side by
side: with the same weights, for B episodes, or with weights of their own, (B, n_pre, n_post). Inputs and records then
have B behind T. Everything else can be mapped by `jax.vmap`, cell parameters too: build the network inside the function
that is mapped, differentiated or compiled (a batch is faster where it is enough). `rollout` goes on from any state.

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

**How it is computed.** Blocks of C steps are taken at once, one population after the other: their spikes in one matrix
product, their cells in a scan. Populations that close a loop go together, in pieces as long as the shortest delay that
closes it, since no spike finds its way round in less. Results don't depend on it but for rounding.

Legend: T steps of a rollout, C of a block; N neurons; K delays; R receptors (2 where a cell keeps signs apart, else 1).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse.csgraph import connected_components

from l2l_snn.snn.cells import Cell, SignsApart
from l2l_snn.snn.parameters import Array, check_step, known
from l2l_snn.snn.rollout import Rollout, in_pieces
from l2l_snn.snn.state import Component, Inputs, Live, Record, State
from l2l_snn.snn.synapses import delay_steps
from l2l_snn.validate import check_count, check_finite, check_shape, did_you_mean, message

KINDS = ("spikes", "potentials", "weights", "counts")


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
    rule: Any = None  # a rule of plasticity.py or differentiable.py; None: fixed weights


@dataclass(frozen=True)
class Network:
    """Populations and projections, by name.

    >>> from l2l_snn.snn.cells import LIF
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
        if any(component.loop == 0 for component in self._components):
            todo = "let a spike take at least one step on its way round"
            raise ValueError(message("delay", "loops that take time", "projections with delay 0 that close one", todo))

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
            _check_shape(f"{name}.mask", projection.mask, shape)
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

    @cached_property
    def _components(self) -> list[Component]:
        """The populations, those that close a loop together, so that none comes before one that reaches it."""
        names = list(self.populations)
        reaches = np.zeros((len(names), len(names)))
        for projection in self.projections.values():
            reaches[names.index(projection.pre), names.index(projection.post)] = 1
        _, label = connected_components(reaches, connection="strong")
        members = {i: [name for name, of in zip(names, label, strict=True) if of == i] for i in label}
        before = {i: set(label[reaches[:, label == i].any(axis=1)]) - {i} for i in members}
        return [self._component(members[i]) for i in TopologicalSorter(before).static_order()]

    def _component(self, names: list[str]) -> Component:
        """Return populations that reach each other, in an order that holds for as many steps as can be."""
        inside = [name for name, (pre, post, *_) in self.projections.items() if pre in names and post in names]
        for loop in sorted({int(self._delays[name].min()) for name in inside}, reverse=True):
            graph: dict[str, set[str]] = {name: set() for name in names}
            for name in inside:
                if self._delays[name].min() < loop:
                    graph[self.projections[name].post].add(self.projections[name].pre)
            with suppress(CycleError):
                return Component(tuple(TopologicalSorter(graph).static_order()), tuple(inside), loop)
        return Component(tuple(names), (), None)

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

    def init(self, weights: Mapping[str, Array], batch: int | None = None) -> State:
        """Return the state at rest: no spike under way.

        Args:
            weights: (n_pre, n_post) of each projection, in the unit that the cell of `post` takes; with a batch
                also (B, n_pre, n_post).
            batch: B, networks side by side; None: one, and no batch axis anywhere.

        Raises:
            ValueError: a projection without weights, a shape that doesn't fit, nan.
        """
        if batch is not None:
            check_count("batch", batch)
        if set(weights) != set(self.projections):
            got = ", ".join(sorted(weights)) or "none"
            raise ValueError(message("weights", f"those of {', '.join(sorted(self.projections))}", got))
        for name, w in weights.items():
            if known(w):
                w = check_finite(f"weights.{name}", w)
            own = batch is not None and np.ndim(w) == 3
            _check_shape(f"weights.{name}", w, (*[batch] * own, *self._shape(name)), "pre along rows")
        longest = dict.fromkeys(self.populations, 0)
        for name, projection in self.projections.items():
            longest[projection.post] = max(longest[projection.post], int(self._delays[name].max()))
        cells = {name: p.cell.init(p.n) for name, p in self.populations.items() if p.cell is not None}
        state = State(
            cells,
            {name: jnp.zeros((longest[name], 1, self._receptors(name), self.populations[name].n)) for name in cells},
            {name: jnp.asarray(weights[name], dtype=float) for name in self.projections},
            {name: self.projections[name].rule.init(*self._shape(name)) for name in self._plastic},
            {name: jnp.zeros((int(self._delays[name]), 1, self._shape(name)[1])) for name in self._plastic},
        )
        if batch is None:
            return self._without_batch(state._replace(cells=_stacked(state.cells, 1), rules=_stacked(state.rules, 1)))
        own = {name: _stacked(w, batch) for name, w in state.weights.items() if name in self._changing and w.ndim == 2}
        return State(
            _stacked(state.cells, batch),
            {name: jnp.repeat(line, batch, axis=1) for name, line in state.arriving.items()},
            state.weights | own,
            _stacked(state.rules, batch),
            {name: jnp.repeat(line, batch, axis=1) for name, line in state.seen.items()},
        )

    @cached_property
    def _changing(self) -> list[str]:
        """Plastic projections whose rule changes the weights themselves, in every step, and not a trace beside them."""
        return self._plastic if self._interval == 1 else []

    def _with_batch(self, state: State) -> State:
        """Return the state of one network as that of a batch of one."""
        return State(
            jax.tree.map(lambda x: x[None], state.cells),
            {name: line[:, None] for name, line in state.arriving.items()},
            state.weights | {name: state.weights[name][None] for name in self._changing},
            jax.tree.map(lambda x: x[None], state.rules),
            {name: line[:, None] for name, line in state.seen.items()},
        )

    def _without_batch(self, state: State) -> State:
        """Undo `_with_batch`."""
        return State(
            jax.tree.map(lambda x: x[0], state.cells),
            {name: line[:, 0] for name, line in state.arriving.items()},
            {name: w[0] if w.ndim == 3 else w for name, w in state.weights.items()},
            jax.tree.map(lambda x: x[0], state.rules),
            {name: line[:, 0] for name, line in state.seen.items()},
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
        reverse_only: bool = False,
    ) -> tuple[State, Record]:
        """Advance the network by T steps.

        Args:
            state: from `init` or an earlier rollout.
            spikes: (T, N) of every source; 0 and 1, or numbers of spikes. With a batch (T, B, N), or (T, N) for all.
            currents: (T, N), or (N,) or () for constant ones, into populations with a cell; pA for NEST's cells.
                With a batch (T, B, N), or as without for all.
            signals: (T, ...) third factor of plastic projections, (T, B, ...) with a batch; 0 where none is given.
            steps: T, needed where no input has a time axis.
            record: kinds to keep, "spikes", "potentials", "weights", "counts" (the sum of spikes, which costs no
                memory over time), or one of them: "spikes.out".
            checkpoint_every: keep only the state at every so many steps and compute again what a gradient needs
                in between: with about sqrt(T) the memory grows with sqrt(T), for one more forward pass.
            reverse_only: use a backward pass that is faster where populations close a loop; forward-mode derivatives
                (`jax.jvp`) are then impossible.

        Returns:
            The state after T steps, and what was recorded.
        """
        wanted = self._wanted(record)
        line = next(iter(state.arriving.values()), None)
        batch = line.shape[1] if line is not None and line.ndim == 4 else None
        inputs, constant, T = self._inputs(spikes or {}, currents or {}, signals or {}, steps, batch)
        state = self._with_batch(state) if batch is None else state
        run = Rollout(self, state.weights, constant, wanted, reverse_only)
        every = run.interval
        if checkpoint_every is not None:
            check_count("checkpoint_every", checkpoint_every)
        if T % every or (checkpoint_every is not None and checkpoint_every % every):
            got = f"{T} steps" if T % every else f"checkpoint_every={checkpoint_every}"
            raise ValueError(message("steps", f"a multiple of {every}, the steps between updates of the rules", got))
        advance = run.learn if run.intervals else partial(run.blocks, run.wiring)
        if checkpoint_every is not None:
            advance = jax.checkpoint(advance, static_argnums=2, prevent_cse=False)
        plastic = {name: state.weights[name] for name in self._plastic}
        live = Live(state.cells, state.arriving, plastic, state.rules, state.seen)
        live, kept = in_pieces(advance, live, inputs, T, checkpoint_every or T)
        state = State(live.cells, live.arriving, state.weights | live.weights, live.rules, live.seen)
        kept = kept._replace(counts={name: parts.sum(axis=0) for name, parts in kept.counts.items()})
        if batch is not None:
            return state, kept
        alone = jax.tree.map(lambda x: x[:, 0], kept._replace(counts={}))
        return self._without_batch(state), alone._replace(counts={name: n[0] for name, n in kept.counts.items()})

    def _wanted(self, record: Iterable[str]) -> dict[str, list[str]]:
        """Return the names of what to keep, by kind."""
        everything = {kind: list(self.populations) for kind in ("spikes", "counts")} | {"weights": self._plastic}
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
        self,
        spikes: Mapping[str, Array],
        currents: Mapping[str, Array],
        signals: Mapping[str, Array],
        T: int | None,
        batch: int | None,
    ) -> tuple[Inputs, dict[str, Array], int]:
        """Return checked inputs in time, with a batch axis; constant currents; and T."""
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
        inputs = Inputs(dict(spikes), {k: v for k, v in currents.items() if k not in constant}, dict(signals))
        for kind, given in zip(Inputs._fields, inputs, strict=True):
            for name, value in given.items():
                T = np.shape(value)[0] if T is None and np.ndim(value) else T
                own = batch is not None and (kind == "signals" or np.ndim(value) == 3)  # one for each of the batch
                rest = np.shape(value)[1 + own :] if kind == "signals" else (self.populations[name].n,)
                _check_shape(f"{kind}.{name}", value, (T, *[batch] * own, *rest), "steps along rows")
                value = jnp.asarray(value, dtype=float).reshape(T, (batch or 1) if own else 1, *rest)
                given[name] = jnp.broadcast_to(value, (T, batch or 1, *rest)) if batch else value
        for name, value in constant.items():
            if np.ndim(value):
                _check_shape(f"currents.{name}", value, (self.populations[name].n,))
        if T is None:
            raise ValueError(message("steps", "a number of steps", "none", "no input has a time axis"))
        return inputs, constant, check_count("steps", T)


def _stacked(tree: Any, batch: int) -> Any:
    """Return the values, the same for each of a batch."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (batch, *x.shape)), tree)


def _check_shape(argument: str, value: Array, shape: tuple[int | None, ...], todo: str = "") -> None:
    """Refuse an array, traced or not, of another shape."""
    check_shape(argument, np.broadcast_to(False, np.shape(value)), shape, todo)
