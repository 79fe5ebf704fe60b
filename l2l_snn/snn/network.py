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

**How it is computed.** If C is the shortest delay that closes a loop, then no spike finds its way round a loop within C
steps. So C steps are taken at once, one population after the other: their spikes in one matrix product, their
cells in a scan. Results don't depend on it but for rounding.

Legend: T steps of a rollout, C of a block; N neurons; K delays; R receptors (2 where a cell keeps signs apart, else 1).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import Cell, SignsApart
from l2l_snn.snn.parameters import Array, check_step, known
from l2l_snn.snn.rollout import Inputs, Live, Record, Rollout, State, in_pieces
from l2l_snn.snn.synapses import delay_steps
from l2l_snn.validate import check_count, check_finite, check_shape, did_you_mean, message

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
        if self._loop == 0:
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
            _check_shape(f"weights.{name}", w, self._shape(name), "pre along rows")
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
        run = Rollout(self, state.weights, constant, wanted)
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
    ) -> tuple[Inputs, dict[str, Array], int]:
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
        inputs = Inputs(dict(spikes), {k: v for k, v in currents.items() if k not in constant}, dict(signals))
        for kind, given in zip(Inputs._fields, inputs, strict=True):
            for name, value in given.items():
                T = np.shape(value)[0] if T is None and np.ndim(value) else T
                shape = (T, *np.shape(value)[1:]) if kind == "signals" else (T, self.populations[name].n)
                _check_shape(f"{kind}.{name}", value, shape, "steps along rows")
        for name, value in constant.items():
            if np.ndim(value):
                _check_shape(f"currents.{name}", value, (self.populations[name].n,))
        if T is None:
            raise ValueError(message("steps", "a number of steps", "none", "no input has a time axis"))
        return inputs, constant, check_count("steps", T)


def _check_shape(argument: str, value: Array, shape: tuple[int | None, ...], todo: str = "") -> None:
    """Refuse an array, traced or not, of another shape."""
    check_shape(argument, np.broadcast_to(False, np.shape(value)), shape, todo)
