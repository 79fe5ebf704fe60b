"""Small networks on NEST that are built for one call: pairs of neurons, and synapses that see given spikes.

Legend: C copies, T steps.
"""

from collections.abc import Mapping
from math import ceil
from typing import Any

import numpy as np

from l2l_snn.snn.nest.kernel import api, handles, nest, new_kernel


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
    new_kernel(resolution)
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
    new_kernel(resolution)

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
    synapses = [handles(found)[i] for i in order]
    weights = np.full((copies, steps), w)

    def read(step: int, passed: np.ndarray) -> None:
        """Read and bound the weights of the synapses that a pre spike has passed in a step."""
        mine = [synapses[i] for i in passed]
        now = np.array([status["weight"] for status in api.llapi_get_connection_status(mine)])
        weights[passed, step:] = np.clip(now, *bounds)[:, None]
        for i in np.flatnonzero((now < bounds[0]) | (now > bounds[1])):
            api.llapi_set_connection_status([mine[i]], [{"weight": float(weights[passed[i], step])}])

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
