"""A feed-forward network in NEST's kernel, built once and kept; between individuals only weights and states change.

Several individuals are simulated side by side as *copies* that share nothing but the clock, so that the cost of a call
is paid once for all of them.

Legend: C copies (one an individual or episode), L layers, K driven input neurons a copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, prod
from typing import Any

import numpy as np

from l2l_snn.snn.nest.kernel import in_kernel, nest, new_kernel, set_neurons, set_weights
from l2l_snn.validate import check_choice, check_count, check_range, check_shape, message

MODELS = ("iaf_psc_alpha", "iaf_psc_delta", "iaf_psc_exp")  # those that `FeedForward` knows how to bring to rest


@dataclass(frozen=True)
class FeedForwardSpec:
    """A feed-forward network: every neuron of a layer projects to every neuron of the next."""

    layers: tuple[int, ...]  # neurons of each layer, inputs first
    model: str = "iaf_psc_alpha"
    params: tuple[tuple[str, float], ...] = ()  # NEST parameters of all neurons that differ from the model's
    delay: float = 1.0  # ms, synaptic delay
    resolution: float = 0.2  # ms, simulation step
    record: bool = False  # keep the spikes of all neurons, for pictures

    def __post_init__(self) -> None:
        if len(self.layers) < 2:
            raise ValueError(message("layers", "two or more layers", self.layers))
        for n in self.layers:
            check_count("layers", n)
        check_range("resolution", self.resolution, 0.0, open_low=True)
        check_range("delay", self.delay, self.resolution, todo="a spike can't arrive before the next simulation step")
        check_choice("model", self.model, MODELS)
        known = nest.GetDefaults(self.model)
        for name, _ in self.params:
            if name not in known:
                raise ValueError(
                    message(f"{self.model}.{name}", "a parameter that NEST's model has", "none of that name")
                )


class FeedForward:
    """C copies of a feed-forward network in the NEST kernel; made by `feed_forward`."""

    def __init__(self, spec: FeedForwardSpec, copies: int):
        self.spec = spec
        self.copies = copies
        self._number = new_kernel(spec.resolution)
        self._layers = [nest.Create(spec.model, copies * n, params=dict(spec.params)) for n in spec.layers]
        self._first = [int(layer[0].global_id) for layer in self._layers]
        for i in range(len(spec.layers) - 1):
            self._connect_layers(i)
        self._counter = nest.Create("spike_recorder")
        nest.Connect(self._layers[-1], self._counter)
        self._all = nest.Create("spike_recorder") if spec.record else None
        if self._all is not None:
            for layer in self._layers:
                nest.Connect(layer, self._all)
        nest.Simulate(spec.resolution)  # sorts the connections; handles taken before would then name others
        self._connections = [self._find_connections(i) for i in range(len(spec.layers) - 1)]
        status = nest.GetDefaults(spec.model) | dict(spec.params)
        self._rest = {"V_m": status["E_L"], "I_e": 0.0}
        self._taus = {name: status[name] for name in ("tau_syn_ex", "tau_syn_in") if name in status}
        self._drain = max(spec.delay, status["t_ref"]) + 2 * spec.resolution  # ms until nothing is under way
        self._status = status
        self._prepared = False
        self._used = 0
        self._driven: dict[int, float] = {}  # node id -> pA
        self._released: list[int] = []  # node ids without current since the last call of `drive`
        self._seen = 0  # spikes of the counter that `counts` has told already
        self._start = 0.0  # ms, biological time at which the copies started

    @property
    def in_kernel(self) -> bool:
        """Whether NEST's kernel still holds this network, and not one that was built later."""
        return in_kernel(self._number)

    def _connect_layers(self, i: int) -> None:
        """Connect layer i to i + 1 within every copy."""
        n_pre, n_post = self.spec.layers[i], self.spec.layers[i + 1]
        for c in range(self.copies):
            pre, post = self._layers[i][c * n_pre : (c + 1) * n_pre], self._layers[i + 1][c * n_post : (c + 1) * n_post]
            nest.Connect(pre, post, "all_to_all", {"weight": 0.0, "delay": self.spec.delay})

    def _find_connections(self, i: int) -> tuple[Any, np.ndarray]:
        """Return the connections from layer i to i + 1 and each one's index in (C, post, pre)."""
        connections = nest.GetConnections(self._layers[i], self._layers[i + 1])
        source = np.atleast_1d(connections.get("source")) - self._first[i]
        target = np.atleast_1d(connections.get("target")) - self._first[i + 1]
        n_pre = self.spec.layers[i]
        return connections, target * n_pre + source % n_pre

    def load(self, weights: Sequence[np.ndarray]) -> None:
        """Set the weights of the first C' <= C copies and bring all neurons to rest.

        Args:
            weights: L - 1 arrays (C', post, pre), pA. Copies beyond C' are switched off.

        Raises:
            ValueError: a shape doesn't fit.
        """
        self._used = len(weights[0])
        for i, (matrix, (connections, index)) in enumerate(zip(weights, self._connections, strict=True)):
            shape = (self._used, self.spec.layers[i + 1], self.spec.layers[i])
            matrix = check_shape(f"weights[{i}]", matrix, shape)
            flat = np.zeros(self.copies * prod(shape[1:]))
            flat[: matrix.size] = matrix.reshape(-1)
            set_weights(connections, flat[index].tolist())
        self._bring_to_rest()

    def _bring_to_rest(self) -> None:
        """Bring every neuron to exactly its resting state, whatever went before.

        NEST has no call for this. Membrane potentials can be set; refractory times and spikes under way run out in
        `_drain` ms without input; synaptic currents are made to vanish, not just to decay, by a time
        constant for which exp(-resolution / tau) underflows to 0.
        """
        self._clean_up()
        vanish = dict.fromkeys(self._taus, self.spec.resolution / 1000)
        for layer in self._layers:
            set_neurons(layer, **self._rest, **vanish, frozen=False)
        nest.Simulate(self._drain)
        for i, layer in enumerate(self._layers):
            set_neurons(layer, **self._rest, **self._taus, frozen=i == 0)
            if i and self._used < self.copies:
                idle = layer[self._used * self.spec.layers[i] :]
                set_neurons(idle, frozen=True)
        self._driven, self._released = {}, []
        self._forget_spikes()
        if self._all is not None:
            self._all.n_events = 0
        self._start = float(nest.biological_time)

    def _clean_up(self) -> None:
        if self._prepared:
            nest.Cleanup()
            self._prepared = False

    def _forget_spikes(self) -> None:
        self._clean_up()  # a recorder can't be emptied between Prepare and Cleanup
        self._counter.n_events = 0
        self._seen = 0

    def run(self, duration: float) -> None:
        """Simulate all copies for `duration` ms."""
        if not self._prepared:
            nest.Prepare()
            self._prepared = True
        nest.Run(duration)

    def drive(self, neurons: np.ndarray, amplitude: float) -> None:
        """Inject a direct current into some input neurons from now on, and into no others.

        Input neurons that are at rest are not updated by NEST ("frozen"), which changes no spike: see `_may_freeze`.

        Args:
            neurons: (C', K) indices of input neurons, one row a copy; a row of -1 leaves a copy without drive.
            amplitude: pA.
        """
        n = self.spec.layers[0]
        ids = neurons + (np.arange(len(neurons)) * n + self._first[0])[:, None]
        wanted = dict.fromkeys(ids[neurons >= 0].tolist(), amplitude)
        if self._may_freeze(amplitude):
            self._set_nodes([node for node in self._released if node not in wanted], frozen=True)
        self._released = [node for node in self._driven if node not in wanted]
        self._set_nodes(self._released, I_e=0.0)
        self._set_nodes([node for node in wanted if self._driven.get(node) != amplitude], I_e=amplitude, frozen=False)
        self._driven = wanted

    def halt(self, copy: int) -> None:
        """Stop updating one copy until the next `load`: its episode is over."""
        for first, n in zip(self._first, self.spec.layers, strict=True):
            self._set_nodes(list(range(first + copy * n, first + (copy + 1) * n)), frozen=True)
        first, n = self._first[0] + copy * self.spec.layers[0], self.spec.layers[0]
        self._driven = {node: current for node, current in self._driven.items() if not first <= node < first + n}
        self._released = [node for node in self._released if not first <= node < first + n]

    def counts(self) -> np.ndarray:
        """Return (C', neurons of the last layer) spikes since the last call, or since `load`."""
        n = self.spec.layers[-1]
        senders = self._counter.get("events")["senders"]
        new = np.asarray(senders[self._seen :], dtype=np.int64) - self._first[-1]
        self._seen = len(senders)
        if self._seen > 1500:  # reading costs 70 ns for each spike ever recorded, emptying 220 us
            self._forget_spikes()
        return np.bincount(new, minlength=self.copies * n).reshape(self.copies, n)[: self._used]

    def recorded(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all spikes since `load`: time (ms since then), copy, and neuron counted through a copy's layers."""
        if self._all is None:
            raise ValueError(message("record", "a network built with record=True", "record=False"))
        events = self._all.get("events")
        ids = np.asarray(events["senders"], dtype=np.int64)
        copy, neuron = np.zeros_like(ids), np.zeros_like(ids)
        offset = 0
        for first, n in zip(self._first, self.spec.layers, strict=True):
            here = (ids >= first) & (ids < first + self.copies * n)
            copy[here], neuron[here] = np.divmod(ids[here] - first, n)
            neuron[here] += offset
            offset += n
        return np.asarray(events["times"], dtype=np.float64) - self._start, copy, neuron

    def _may_freeze(self, amplitude: float) -> bool:
        """Return whether an input neuron is at exactly its resting state once its drive and refractory time are over.

        So it is where the drive lifts it from reset over threshold in a single step: then it never ends a step anywhere
        between. Otherwise a neuron without drive keeps decaying, and has to be updated.
        """
        s = self._status
        lift = amplitude * s["tau_m"] / s["C_m"] * -(exp(-self.spec.resolution / s["tau_m"]) - 1)  # mV in one step
        return s["V_reset"] == s["E_L"] and s["V_reset"] + lift >= s["V_th"]

    def _set_nodes(self, ids: list[int], **status: float | bool) -> None:
        if ids:
            set_neurons(nest.NodeCollection(sorted(ids)), **status)


_kept: FeedForward | None = None


def feed_forward(spec: FeedForwardSpec, copies: int) -> FeedForward:
    """Return the network of this process with at least `copies` copies: the one there is, if it fits."""
    global _kept
    if _kept is None or not _kept.in_kernel or _kept.spec != spec or _kept.copies < copies:
        _kept = FeedForward(spec, check_count("copies", copies))
    return _kept
