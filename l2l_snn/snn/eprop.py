"""E-prop: eligibility traces times learning signals, forward in time (Bellec et al. 2020).

    found = EProp()(net, state, loss, targets, spikes={"in": trains}, record=("spikes.out",))

The arguments are those of every rule of gradients.py. The network's outputs are its `LeakyReadout` populations.

Legend: T steps; B batch; N neurons; n presynaptic ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.arguments import wanted_records
from l2l_snn.snn.cells import LIF, AdaptiveLIF, LeakyReadout
from l2l_snn.snn.eprop_traces import Trace, advance_trace, start_trace
from l2l_snn.snn.gradients import Gradient, GradientRule, Problem
from l2l_snn.snn.network import Network
from l2l_snn.snn.parameters import Array
from l2l_snn.snn.pieces import in_pieces
from l2l_snn.snn.state import Inputs, Record, State, with_batch
from l2l_snn.validate import message


class EPropState(NamedTuple):
    """What e-prop carries from step to step, by trained projection."""

    traces: dict[str, Trace]
    filtered: dict[tuple[str, str], Array]  # (n, B, N) traces as the readout of the second projection filters them
    queues: dict[tuple[str, str], Array]  # (delay in steps, n, B, N) traces on their way there
    totals: dict[str, Array]  # (n_pre, n_post) gradient so far


@dataclass(frozen=True, eq=False)
class EProp(GradientRule):
    """E-prop (Bellec et al. 2020, Nature Communications 11:3625): eligibility traces times learning signals.

        d loss / d w_ij ~ sum_t L_j,t F(e_ij)_t,        L_j = sum_k B_jk d loss / d y_k

    with F the filter of the readout y (a `LeakyReadout`) that j projects to and B its weights, or those of `feedback`.
    Where the loss reads the spikes of j themselves (their rate, say), their derivative times e_ij is added. Exact but
    for what goes through the spikes of other neurons than readouts, and (see `through_reset`) through a neuron's reset.
    Traces start at 0 with every call.

    Random feedback: `EProp(random_feedback(net, key))`. Adaptive feedback: `adapted_feedback` after each update.
    """

    feedback: Mapping[str, Array] | None = None  # (n_hidden, n_out) of projections to readouts; None: their weights
    through_reset: bool = False  # the paper takes the reset of LIF and AdaptiveLIF as given; True keeps its derivative

    def find(self, problem: Problem, state: State) -> Gradient:
        net = problem.net
        links = self._find_links(problem, state)
        line = next(iter(state.arriving.values()))
        batch = line.shape[1] if line.ndim == 4 else None

        def spread(x: Array) -> Array:
            return x if batch else x[None]

        traces, filtered, queues = {}, {}, {}
        for name in problem.theta:
            post, (n, m), B = net.projections[name].post, net.topology.shape(name), batch or 1
            traces[name] = start_trace(net.topology.cells[post], n, m, B, int(net.topology.delays[name].max()))
            for out in links[post]:
                filtered[name, out] = jnp.zeros((n, B, m))
                queues[name, out] = jnp.zeros((int(net.topology.delays[out]), n, B, m))
        start = EPropState(traces, filtered, queues, jax.tree.map(jnp.zeros_like, problem.theta))

        def step(carry: tuple[State, EPropState, Array], xs: tuple[Inputs, Any], n: int) -> tuple[Any, None]:
            before, learning, total = carry
            state, record = problem.rollout(before, xs[0], 1, record=("spikes",))
            spikes = {name: spread(z[0]) for name, z in record.spikes.items()}

            def loss(outputs: dict[str, Array]) -> Array:
                return problem.loss(_build_record(problem, outputs), xs[1])

            value, slopes = jax.value_and_grad(loss)(record.spikes)
            slopes = {name: spread(slope[0]) for name, slope in slopes.items()}
            whole = before if batch else with_batch(before, ())
            given = {name: _sum_input(problem, whole, name, spikes, xs[0]) for name in links}
            traces, filtered = dict(learning.traces), dict(learning.filtered)
            queues, totals = dict(learning.queues), dict(learning.totals)
            for name in problem.theta:
                pre, post = net.projections[name].pre, net.projections[name].post
                cell, delays = net.topology.cells[post], net.topology.delays[name]
                traces[name], e = advance_trace(
                    traces[name], cell, net.dt, whole.cells[post], given[post], spikes[pre], delays, self.through_reset
                )
                totals[name] += jnp.einsum("ibj,bj->ij", e, slopes[post])
                for out in links[post]:
                    end = net.projections[out].post
                    readout: Any = net.topology.cells[end]
                    kappa = readout.propagators(net.dt).kappa
                    queue = jnp.concatenate([queues[name, out], e[None]])
                    filtered[name, out] = kappa * filtered[name, out] + (1 - kappa) * queue[0]
                    queues[name, out] = queue[1:]
                    signal = slopes[end] @ self._feedback_weights(net, state, out).T  # L (B, N)
                    totals[name] += jnp.einsum("ibj,bj->ij", filtered[name, out], signal)
            return (state, EPropState(traces, filtered, queues, totals), total + value), None

        (state, learning, value), _ = in_pieces(step, (state, start, jnp.zeros(())), problem.xs, problem.steps, 1)
        grads = {name: _apply_mask(net, name, total) for name, total in learning.totals.items()}
        return Gradient(value, grads, state)

    def _feedback_weights(self, net: Network, state: State, name: str) -> Array:
        """Return the weights (n_hidden, n_out) by which errors of readouts come back."""
        if self.feedback is None:
            return _apply_mask(net, name, state.weights[name])
        return jnp.asarray(self.feedback[name], float)

    def _find_links(self, problem: Problem, state: State) -> dict[str, list[str]]:
        """Return the projections to readouts of each population that a trained projection ends in, all checked."""
        net = problem.net
        if net.topology.plastic:
            raise ValueError(message("EProp", "projections without a rule", f"{net.topology.plastic[0]} with one"))
        for entry in problem.record:
            if entry.partition(".")[0] not in ("spikes", "counts"):
                raise ValueError(message("record", "spikes or counts with EProp", repr(entry), "see `LeakyReadout`"))
        for name, p in net.projections.items():
            if p.convolution is not None:
                raise ValueError(message(f"projections.{name}", "a weight for each pair with EProp", "a convolution"))
        readouts = _find_readouts(net)
        links: dict[str, list[str]] = {}
        for name in problem.theta:
            post = net.projections[name].post
            links[post] = [out for out in readouts if net.projections[out].pre == post]
            cell = net.topology.cells[post]
            kinds = (LIF, AdaptiveLIF, LeakyReadout)
            if net.topology.receptors(post) == 2 or not (self.through_reset or isinstance(cell, kinds)):
                todo = "with through_reset any cell will do that takes positive and negative weights together"
                raise ValueError(message(f"{post}.cell", "LIF, AdaptiveLIF or LeakyReadout", type(cell).__name__, todo))
            if state.weights[name].ndim == 3:
                raise ValueError(message(f"weights.{name}", "one matrix for all of the batch", "one for each"))
        for out in {out for some in links.values() for out in some}:
            end = net.projections[out].post
            readout: Any = net.topology.cells[end]
            if net.topology.delays[out].ndim or np.ndim(readout.tau_m):
                got = "one for each synapse or neuron"
                raise ValueError(message(f"{out}.delay, {end}.tau_m", "one delay and one time constant", got))
            if self.feedback is not None:
                if out not in self.feedback:
                    raise ValueError(message("feedback", f"weights for {out}", ", ".join(self.feedback) or "none"))
                if jnp.shape(self.feedback[out]) != net.topology.shape(out):
                    got = f"shape {jnp.shape(self.feedback[out])}"
                    raise ValueError(message(f"feedback.{out}", f"an array of shape {net.topology.shape(out)}", got))
        return links


def _find_readouts(net: Network) -> list[str]:
    return [name for name, p in net.projections.items() if isinstance(net.topology.cells[p.post], LeakyReadout)]


def _build_record(problem: Problem, spikes: dict[str, Array]) -> Record:
    """Return the record of one step that the loss was promised, from the spikes (1, B, N) of all populations."""
    wanted = wanted_records(problem.net.topology, problem.record)
    counts = {name: spikes[name][0] for name in wanted["counts"]}
    return Record({name: spikes[name] for name in wanted["spikes"]}, {}, {}, counts)


def _apply_mask(net: Network, name: str, weights: Array) -> Array:
    mask = net.projections[name].mask
    return weights if mask is None else weights * jnp.asarray(mask, weights.dtype)


def _sum_input(problem: Problem, before: State, name: str, spikes: dict[str, Array], xs: Inputs) -> Array:
    """Return what the cells of a population take in one step, (B, N)."""
    net, line = problem.net, before.arriving[name]
    total = line[0, :, 0] if len(line) else jnp.zeros((line.shape[1], line.shape[3]), line.dtype)
    for projection, p in net.projections.items():
        now = net.topology.delays[projection] == 0
        if p.post == name and now.any():
            total += spikes[p.pre] @ (_apply_mask(net, projection, before.weights[projection]) * now)
    current = jnp.asarray(xs.currents[name][0] if name in xs.currents else problem.constant.get(name, 0.0), total.dtype)
    return total + jnp.broadcast_to(current, total.shape)


def random_feedback(net: Network, key: Array, scale: float = 1.0) -> dict[str, Array]:
    """Return normal weights for the way back from every readout, (n_hidden, n_out), independent of those forth.

    Args:
        net: the network.
        key: jax random key, used up.
        scale: standard deviation, in the unit of the weights.
    """
    names = _find_readouts(net)
    keys = jax.random.split(key, max(len(names), 1))
    return {
        name: scale * jax.random.normal(key, net.topology.shape(name)) for name, key in zip(names, keys, strict=False)
    }


def adapted_feedback(feedback: Mapping[str, Array], updates: Mapping[str, Array], decay: float) -> dict[str, Array]:
    """Return feedback weights after the same updates as the readouts' weights (Kolen & Pollack 1994).

    Where the readouts' own weights also lose `decay` of themselves in each update, both become the same in time.

    Args:
        feedback: (n_hidden, n_out) of each projection.
        updates: what is added to the weights of the same projections, decay not included.
        decay: share that is lost, in [0, 1).
    """
    return {name: (1 - decay) * back + updates[name] for name, back in feedback.items()}
