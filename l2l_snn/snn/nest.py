"""Networks on the NEST simulator; the only file that imports nest.

NEST has one kernel a process. `feed_forward` builds a network in it once and keeps it; between individuals only
weights and states change. Several individuals are simulated side by side as *copies* that share nothing
but the clock, so that the cost of a call is paid once for all of them. `driven_pairs` and `stdp_weights` build small
networks of their own for one call.

Legend: C copies (one an individual or episode), L layers, K driven input neurons a copy.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from math import ceil, exp, prod
from operator import attrgetter
from typing import Any

import numpy as np

from l2l_snn.validate import check_choice, check_count, check_range, check_shape, message

os.environ.setdefault("PYNEST_QUIET", "1")  # no banner in every worker

nest: Any = import_module("nest")  # made at run time: a type checker can't see what is in it
# the public calls read all nodes before they set them: 10 us a node, not 0.4
kernel: Any = import_module("nest.nestkernel_api")
datum = attrgetter("_datum")  # what those calls take of a collection; PyNEST has no public name for it
nest.verbosity = nest.VerbosityLevel.ERROR


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
        _new_kernel(spec.resolution)
        self._layers = [nest.Create(spec.model, copies * n, params=dict(spec.params)) for n in spec.layers]
        self._first = [int(layer[0].global_id) for layer in self._layers]
        for i in range(len(spec.layers) - 1):
            self._connect(i)
        self._counter = nest.Create("spike_recorder")
        nest.Connect(self._layers[-1], self._counter)
        self._all = nest.Create("spike_recorder") if spec.record else None
        if self._all is not None:
            for layer in self._layers:
                nest.Connect(layer, self._all)
        nest.Simulate(spec.resolution)  # sorts the connections; handles taken before would then name others
        self._connections = [self._found_connections(i) for i in range(len(spec.layers) - 1)]
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

    def _connect(self, i: int) -> None:
        """Connect layer i to i + 1 within every copy."""
        n_pre, n_post = self.spec.layers[i], self.spec.layers[i + 1]
        for c in range(self.copies):
            pre, post = self._layers[i][c * n_pre : (c + 1) * n_pre], self._layers[i + 1][c * n_post : (c + 1) * n_post]
            nest.Connect(pre, post, "all_to_all", {"weight": 0.0, "delay": self.spec.delay})

    def _found_connections(self, i: int) -> tuple[Any, np.ndarray]:
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
            kernel.llapi_set_connection_status(datum(connections), [{"weight": w} for w in flat[index].tolist()])
        self._to_rest()

    def _to_rest(self) -> None:
        """Bring every neuron to exactly its resting state, whatever went before.

        NEST has no call for this. Membrane potentials can be set; refractory times and spikes under way run out in
        `_drain` ms without input; synaptic currents are made to vanish, not just to decay, by a time
        constant for which exp(-resolution / tau) underflows to 0.
        """
        self._pause()
        vanish = dict.fromkeys(self._taus, self.spec.resolution / 1000)
        for layer in self._layers:
            kernel.llapi_set_nc_status(datum(layer), [{**self._rest, **vanish, "frozen": False}])
        nest.Simulate(self._drain)
        for i, layer in enumerate(self._layers):
            kernel.llapi_set_nc_status(datum(layer), [{**self._rest, **self._taus, "frozen": i == 0}])
            if i and self._used < self.copies:
                idle = layer[self._used * self.spec.layers[i] :]
                kernel.llapi_set_nc_status(datum(idle), [{"frozen": True}])
        self._driven, self._released = {}, []
        self._forget_spikes()
        if self._all is not None:
            self._all.n_events = 0
        self._start = float(nest.biological_time)

    def _pause(self) -> None:
        if self._prepared:
            nest.Cleanup()
            self._prepared = False

    def _forget_spikes(self) -> None:
        self._pause()  # a recorder can't be emptied between Prepare and Cleanup
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

        Input neurons that are at rest are not updated by NEST ("frozen"), which changes no spike: see `_freezable`.

        Args:
            neurons: (C', K) indices of input neurons, one row a copy; a row of -1 leaves a copy without drive.
            amplitude: pA.
        """
        n = self.spec.layers[0]
        ids = neurons + (np.arange(len(neurons)) * n + self._first[0])[:, None]
        wanted = dict.fromkeys(ids[neurons >= 0].tolist(), amplitude)
        if self._freezable(amplitude):
            self._set([node for node in self._released if node not in wanted], frozen=True)
        self._released = [node for node in self._driven if node not in wanted]
        self._set(self._released, I_e=0.0)
        self._set([node for node in wanted if self._driven.get(node) != amplitude], I_e=amplitude, frozen=False)
        self._driven = wanted

    def halt(self, copy: int) -> None:
        """Stop updating one copy until the next `load`: its episode is over."""
        for first, n in zip(self._first, self.spec.layers, strict=True):
            self._set(list(range(first + copy * n, first + (copy + 1) * n)), frozen=True)
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

    def _freezable(self, amplitude: float) -> bool:
        """Return whether an input neuron is at exactly its resting state once its drive and refractory time are over.

        So it is where the drive lifts it from reset over threshold in a single step: then it never ends a step anywhere
        between. Otherwise a neuron without drive keeps decaying, and has to be updated.
        """
        s = self._status
        lift = amplitude * s["tau_m"] / s["C_m"] * -(exp(-self.spec.resolution / s["tau_m"]) - 1)  # mV in one step
        return s["V_reset"] == s["E_L"] and s["V_reset"] + lift >= s["V_th"]

    def _set(self, ids: list[int], **status: float | bool) -> None:
        if ids:
            kernel.llapi_set_nc_status(datum(nest.NodeCollection(sorted(ids))), [status])


_built: FeedForward | None = None


def feed_forward(spec: FeedForwardSpec, copies: int) -> FeedForward:
    """Return the network of this process with at least `copies` copies: the one there is, if it fits."""
    global _built
    if _built is None or _built.spec != spec or _built.copies < copies:
        _built = FeedForward(spec, check_count("copies", copies))
    return _built


def _new_kernel(resolution: float) -> None:
    """Empty the kernel for another network: the one that `feed_forward` keeps is gone."""
    global _built
    _built = None
    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": resolution, "local_num_threads": 1})


def driven_pairs(
    params: Mapping[str, float],
    currents: np.ndarray,
    weights: np.ndarray,
    *,
    drive_delay: float,
    delay: float,
    duration: float,
    resolution: float,
    record: bool,
    model: str = "iaf_psc_alpha",
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate C pairs of neurons side by side: a generator drives the first of each, which drives the second.

    Args:
        params: NEST parameters of all neurons; they start at E_L.
        currents: (C,) pA, of the dc_generators, from 0 ms on.
        weights: (C,) of the synapses from the first neurons to the second, pA.
        drive_delay: from generator to neuron, ms.
        delay: of the synapses, ms.
        duration: ms.
        resolution: simulation step, ms.
        record: also return the potentials.

    Returns:
        spikes (C, 2, T) bool and V_m (C, 2, T) mV, T = 0 unless recorded; index k belongs to the step that ends at
        (k + 1) * resolution.
    """
    copies, steps = len(currents), round(duration / resolution)
    _new_kernel(resolution)
    generators = nest.Create("dc_generator", copies, {"amplitude": np.asarray(currents, np.float64)})
    neurons = nest.Create(model, 2 * copies, {**params, "V_m": params["E_L"]})  # C first ones, then C second ones
    nest.Connect(generators, neurons[:copies], "one_to_one", {"delay": drive_delay})
    synapses = {"weight": np.asarray(weights, np.float64), "delay": delay}
    nest.Connect(neurons[:copies], neurons[copies:], "one_to_one", synapses)
    recorder = nest.Create("spike_recorder")
    nest.Connect(neurons, recorder)
    meter = nest.Create("multimeter", params={"record_from": ["V_m"], "interval": resolution}) if record else None
    if meter is not None:
        nest.Connect(meter, neurons)
    nest.Simulate(duration + 2 * max(delay, drive_delay, 1.0))  # what is recorded arrives late
    first = int(neurons[0].global_id)

    def placed(events: Mapping[str, np.ndarray], values: Any, into: np.ndarray) -> np.ndarray:
        """Write values (n,) of events at their neuron and step."""
        step = np.rint(np.asarray(events["times"]) / resolution).astype(np.int64) - 1
        neuron, copy = np.divmod(np.asarray(events["senders"], np.int64) - first, copies)
        into[copy[step < steps], neuron[step < steps], step[step < steps]] = values[step < steps]
        return into

    events = recorder.get("events")
    spikes = placed(events, np.ones(len(events["times"]), bool), np.zeros((copies, 2, steps), bool))
    if meter is None:
        return spikes, np.zeros((copies, 2, 0))
    events = meter.get("events")
    return spikes, placed(events, np.asarray(events["V_m"]), np.full((copies, 2, steps), np.nan))


def stdp_weights(
    pre: np.ndarray,
    post: np.ndarray,
    w: float,
    params: Mapping[str, np.ndarray],
    tau_minus: np.ndarray,
    bounds: tuple[float, float],
    resolution: float,
) -> np.ndarray:
    """Return the weights of C stdp_synapses that see given spikes.

    A synapse of NEST learns of post spikes when a pre spike passes, so a column holds what the last pre spike up to
    then left behind. Only in the last column all post spikes count: a late pre spike asks for it, so late that the
    trace with which it depresses is nothing.

    NEST sees a post spike a synaptic delay after it; post spikes are sent as much earlier here, so that pre and post
    are taken as they stand. NEST doesn't stop a weight above Wmax if alpha < 0, and has no lower bound but 0: the
    weight is put back to the bounds after each pre spike.

    Args:
        pre: (C, T) bool, spikes of the step that ends at (k + 1) * resolution.
        post: (C, T) likewise.
        w: first weight.
        params: (C,) of lambda, alpha, tau_plus (ms), mu_plus, mu_minus and Wmax.
        tau_minus: (C,) ms, trace of post spikes.
        bounds: lowest and highest weight.
        resolution: simulation step, ms.

    Returns:
        (C, T) weights after each step.
    """
    copies, steps = pre.shape
    late = ceil(40 * float(np.max(tau_minus)) / resolution)  # steps: exp(-40) is below the last bit of 1
    _new_kernel(resolution)

    def parrots(spikes: np.ndarray, shift: int) -> Any:
        """Neurons that repeat spikes (C, .): step k at (k + shift) * resolution, one step after a generator."""
        times = [{"spike_times": ((np.flatnonzero(row) + shift - 1) * resolution).round(3)} for row in spikes]
        generators, neurons = nest.Create("spike_generator", copies, times), nest.Create("parrot_neuron", copies)
        nest.Connect(generators, neurons, "one_to_one", {"delay": resolution})
        return neurons

    asking = np.zeros((copies, late), bool)
    asking[:, -1] = True
    sources, targets = parrots(np.concatenate([pre, asking], axis=1), 3), parrots(post, 2)
    targets.set([{"tau_minus": tau} for tau in np.broadcast_to(tau_minus, copies).tolist()])
    # a parrot doesn't repeat what comes in at port 1
    synapse = {"synapse_model": "stdp_synapse", "weight": np.full(copies, w), "delay": resolution, "receptor_type": 1}
    each = {name: np.broadcast_to(np.asarray(value, np.float64), copies) for name, value in params.items()}
    nest.Connect(sources, targets, "one_to_one", synapse | each)
    found = nest.GetConnections(sources, targets)
    order = np.argsort(np.atleast_1d(found.get("source")))
    synapses = [datum(found)[i] for i in order]
    weights = np.full((copies, steps), w)

    def read(step: int, passed: np.ndarray) -> None:
        """Read and bound the weights of the synapses that a pre spike has passed in a step."""
        mine = [synapses[i] for i in passed]
        now = np.array([status["weight"] for status in kernel.llapi_get_connection_status(mine)])
        weights[passed, step:] = np.clip(now, *bounds)[:, None]
        for i in np.flatnonzero((now < bounds[0]) | (now > bounds[1])):
            kernel.llapi_set_connection_status([mine[i]], [{"weight": float(weights[passed[i], step])}])

    nest.Prepare()
    nest.Run(3 * resolution)
    for step in range(steps):
        nest.Run(resolution)  # NEST delivers a spike in the step after it
        passed = np.flatnonzero(pre[:, step])
        if passed.size:
            read(step, passed)
    nest.Run((late + 1) * resolution)
    read(steps - 1, np.arange(copies))
    nest.Cleanup()
    return weights
