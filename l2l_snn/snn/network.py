"""Networks of populations and projections, and their rollout in time.

    net = Network(
        {"in": Population(60), "out": Population(3, IafPscAlpha(t_ref=1.0))},  # no cell: a source of given spikes
        {"w": Projection("in", "out", delay=1.0)},
        dt=0.1,
    )
    state = net.init({"w": weights})                                # (60, 3), pA
    state, record = net.rollout(state, spikes={"in": trains}, record=("spikes.out",))   # (T, 60) -> (T, 3)

A network is configuration, its state a value. `init(weights, batch=B)` makes states of B networks that run side by
side: with the same weights, for B episodes, or with weights of their own, (B, n_pre, n_post); those of a convolution
are a kernel (convolution.py). Inputs and records then have B behind T. Everything else can be mapped by `jax.vmap`,
cell parameters too: build the network inside the function that is mapped, differentiated or compiled (a batch is faster
where it is enough). `rollout` goes on from any state.

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
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.arguments import timed_inputs, wanted_records
from l2l_snn.snn.parameters import Array, check_shape_of, known
from l2l_snn.snn.pieces import in_pieces
from l2l_snn.snn.rollout import Rollout
from l2l_snn.snn.state import Live, Record, State, with_batch, without_batch
from l2l_snn.snn.topology import Population, Projection, Topology
from l2l_snn.validate import check_count, check_finite, message

__all__ = ["Network", "Population", "Projection"]


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
        _ = self.topology  # which checks all of it

    @cached_property
    def topology(self) -> Topology:
        """What follows from the fields, as the rollout and the gradients use it."""
        return Topology(self.populations, self.projections, self.dt)

    def init(self, weights: Mapping[str, Array], batch: int | None = None) -> State:
        """Return the state at rest: no spike under way.

        Args:
            weights: (n_pre, n_post) of each projection, in the unit that the cell of `post` takes; with a batch
                also (B, n_pre, n_post). Of a convolution (k, k, C_in, C_out), the same for all of a batch.
            batch: B, networks side by side; None: one, and no batch axis anywhere.

        Raises:
            ValueError: a projection without weights, a shape that doesn't fit, nan.
        """
        topology = self.topology
        if batch is not None:
            check_count("batch", batch)
        if set(weights) != set(self.projections):
            got = ", ".join(sorted(weights)) or "none"
            raise ValueError(message("weights", f"those of {', '.join(sorted(self.projections))}", got))
        for name, w in weights.items():
            if known(w):
                w = check_finite(f"weights.{name}", w)
            own = batch is not None and np.ndim(w) == 3
            check_shape_of(f"weights.{name}", w, (*[batch] * own, *topology.weight_shape(name)), "pre along rows")
        longest = dict.fromkeys(self.populations, 0)
        for name, projection in self.projections.items():
            longest[projection.post] = max(longest[projection.post], int(topology.delays[name].max()))
        cells = {name: cell.init(self.populations[name].n) for name, cell in topology.cells.items()}
        state = State(
            cells,
            {name: jnp.zeros((longest[name], 1, topology.receptors(name), self.populations[name].n)) for name in cells},
            {name: jnp.asarray(weights[name], dtype=float) for name in self.projections},
            {name: rule.init(*topology.shape(name)) for name, rule in topology.rules.items()},
            {name: jnp.zeros((int(topology.delays[name]), 1, topology.shape(name)[1])) for name in topology.plastic},
        )
        if batch is None:
            return without_batch(state._replace(cells=_repeat_tree(state.cells, 1), rules=_repeat_tree(state.rules, 1)))
        own = {
            name: _repeat_tree(w, batch)
            for name, w in state.weights.items()
            if name in topology.changing and w.ndim == 2
        }
        return State(
            _repeat_tree(state.cells, batch),
            {name: jnp.repeat(line, batch, axis=1) for name, line in state.arriving.items()},
            state.weights | own,
            _repeat_tree(state.rules, batch),
            {name: jnp.repeat(line, batch, axis=1) for name, line in state.seen.items()},
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
        unroll: bool = False,
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
            unroll: write out the loops over steps of a population, so that a compiler joins them; of up to about 8
                steps a gradient becomes cheaper, of more it takes longer to compile.

        Returns:
            The state after T steps, and what was recorded.
        """
        topology = self.topology
        wanted = wanted_records(topology, record)
        line = next(iter(state.arriving.values()), None)
        batch = line.shape[1] if line is not None and line.ndim == 4 else None
        inputs, constant, T = timed_inputs(topology, spikes or {}, currents or {}, signals or {}, steps, batch)
        state = with_batch(state, topology.changing) if batch is None else state
        run = Rollout(topology, state.weights, constant, wanted, reverse_only, unroll)
        every = run.interval
        if checkpoint_every is not None:
            check_count("checkpoint_every", checkpoint_every)
        if T % every or (checkpoint_every is not None and checkpoint_every % every):
            got = f"{T} steps" if T % every else f"checkpoint_every={checkpoint_every}"
            raise ValueError(message("steps", f"a multiple of {every}, the steps between updates of the rules", got))
        advance = run.learn if run.intervals else partial(run.blocks, run.wiring)
        if checkpoint_every is not None:
            advance = jax.checkpoint(advance, static_argnums=2, prevent_cse=False)
        plastic = {name: state.weights[name] for name in topology.plastic}
        live = Live(state.cells, state.arriving, plastic, state.rules, state.seen)
        live, kept = in_pieces(advance, live, inputs, T, checkpoint_every or T)
        state = State(live.cells, live.arriving, state.weights | live.weights, live.rules, live.seen)
        kept = kept._replace(counts={name: parts.sum(axis=0) for name, parts in kept.counts.items()})
        if batch is not None:
            return state, kept
        alone = jax.tree.map(lambda x: x[:, 0], kept._replace(counts={}))
        return without_batch(state), alone._replace(counts={name: n[0] for name, n in kept.counts.items()})


def _repeat_tree(tree: Any, batch: int) -> Any:
    """Return the values, the same for each of a batch."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (batch, *x.shape)), tree)
