"""Networks: equal to NEST's spike for spike, equal to loops written out, and what they refuse."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import nest
import numpy as np
import pytest

from l2l_snn.snn import rollout as blocks
from l2l_snn.snn.cells import LIF, CurrentLIF, IafPscAlpha, IafPscDelta, IafPscExp, IterativeLIF, LeakyReadout
from l2l_snn.snn.differentiable import DPOja
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.plasticity import PairSTDP
from l2l_snn.snn.surrogate import smooth

pytestmark = pytest.mark.usefixtures("compiled_soon")

MODELS = {IafPscDelta: "iaf_psc_delta", IafPscExp: "iaf_psc_exp", IafPscAlpha: "iaf_psc_alpha"}
SCALE = {IafPscDelta: 1.0, IafPscExp: 120.0, IafPscAlpha: 60.0}  # mV or pA, of weights that make neurons spike


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def on_nest(net: Network, weights: dict, trains: dict, T: int, currents: dict | None = None) -> tuple[dict, dict]:
    """Return (T, N) spikes and potentials of each population of the same network on NEST."""
    dt = net.dt
    nest.ResetKernel()
    nest.verbosity = nest.VerbosityLevel.ERROR
    nest.SetKernelStatus({"resolution": dt})
    nodes: dict[str, Any] = {}
    for name, population in net.populations.items():
        n, cell = population.n, population.cell
        if cell is None:
            nodes[name] = nest.Create("spike_generator", n)
            for node, train in zip(nodes[name], np.asarray(trains[name]).T, strict=True):
                node.spike_times = (np.flatnonzero(train) + 1) * dt
        else:
            nodes[name] = nest.Create(MODELS[type(cell)], n)
            for field, value in vars(cell).items():
                if field != "spike" and np.isfinite(value).all():
                    nodes[name].set({field: value if np.ndim(value) == 0 else list(value)})
            nodes[name].V_m = np.broadcast_to(cell.E_L, n).tolist()  # a change of E_L leaves V_m where it was
    for name, projection in net.projections.items():
        delay = np.broadcast_to(projection.delay, weights[name].shape).T
        synapse = {"weight": np.asarray(weights[name]).T, "delay": delay}
        nest.Connect(nodes[projection.pre], nodes[projection.post], "all_to_all", synapse)
    for name, current in (currents or {}).items():
        for neuron, amplitudes in zip(nodes[name], np.asarray(current).T, strict=True):
            # an amplitude from time k dt on leaves the generator in step k - 1 and arrives a delay of one step later
            times = np.arange(1, T) * dt
            generator = nest.Create(
                "step_current_generator", params={"amplitude_times": times, "amplitude_values": amplitudes[1:]}
            )
            nest.Connect(generator, neuron, syn_spec={"delay": dt})
    spikes, potentials, devices = {}, {}, {}
    for name, population in net.populations.items():
        cell = population.cell
        if cell is not None:
            devices[name] = (
                nest.Create("spike_recorder"),
                nest.Create("multimeter", params={"record_from": ["V_m"], "interval": dt}),
            )
            nest.Connect(nodes[name], devices[name][0])
            nest.Connect(devices[name][1], nodes[name])
    nest.Simulate((T + 1) * dt)  # a device hears of the last step one step later
    for name, pair in devices.items():
        spikes[name], potentials[name] = np.zeros((2, T, net.populations[name].n))
        for device, out, key in ((pair[0], spikes[name], None), (pair[1], potentials[name], "V_m")):
            events = device.events
            step = np.rint(events["times"] / dt).astype(int) - 1
            value = np.ones(len(step)) if key is None else events[key]
            inside = step < T
            out[step[inside], (events["senders"] - nodes[name][0].global_id)[inside]] = value[inside]
    return spikes, potentials


def mixed_delays(generator, shape: tuple[int, int]) -> np.ndarray:
    """1 to 5 ms, multiples of 0.1 ms."""
    return generator.integers(10, 51, shape) / 10


def random_cell(model, generator, n: int):
    """Return n different neurons; refractory times 0 to 5 ms."""
    fields: dict[str, Any] = {
        "t_ref": generator.integers(0, 51, n) / 10,
        "tau_m": generator.uniform(8.0, 20.0, n),
        "I_e": generator.uniform(0.0, 300.0, n),
        "C_m": generator.uniform(200.0, 300.0, n),
        "E_L": generator.uniform(-72.0, -68.0, n),
        "V_reset": generator.uniform(-75.0, -65.0, n),
        "V_th": generator.uniform(-56.0, -52.0, n),
    }
    if model is not IafPscDelta:
        fields |= {"tau_syn_ex": generator.uniform(0.5, 4.0, n), "tau_syn_in": generator.uniform(0.5, 4.0, n)}
        fields["tau_syn_ex"][:2] = fields["tau_m"][:2] + np.array([0.0, 1e-3])  # singular, and next to it
    return model(**fields)


def recurrent(model, seed: int, n: int = 50, m: int = 20, delay: float | None = None):
    """Return a network with random weights of both signs and one delay, or a delay of its own for each synapse."""
    generator, scale = np.random.default_rng(seed), SCALE[model]
    weights = {"in": generator.normal(1.5 * scale, 2 * scale, (m, n)), "rec": generator.normal(0, scale, (n, n))}
    net = Network(
        {"source": Population(m), "cells": Population(n, random_cell(model, generator, n))},
        {
            "in": Projection("source", "cells", delay=delay or mixed_delays(generator, (m, n))),
            "rec": Projection("cells", "cells", delay=delay or mixed_delays(generator, (n, n))),
        },
        dt=0.1,
    )
    return net, weights, generator


def layered(model, seed: int):
    """Return 20 sources, then 30 and 20 neurons."""
    generator, scale = np.random.default_rng(seed), SCALE[model]
    sizes = {"first": (20, 30), "second": (30, 20)}
    weights = {name: generator.normal(2.5 * scale, 4 * scale, shape) for name, shape in sizes.items()}
    net = Network(
        {
            "source": Population(20),
            "a": Population(30, random_cell(model, generator, 30)),
            "b": Population(20, random_cell(model, generator, 20)),
        },
        {
            "first": Projection("source", "a", delay=mixed_delays(generator, (20, 30))),
            "second": Projection("a", "b", delay=mixed_delays(generator, (30, 20))),
        },
        dt=0.1,
    )
    return net, weights, generator


def rollout(net: Network, weights: dict, **inputs):
    return jax.jit(lambda w, inputs: net.rollout(net.init(w), **inputs, record=("spikes", "potentials"))[1])(
        weights, inputs
    )


def assert_equal_to_nest(record, spikes: dict, potentials: dict, rtol: float = 1e-9) -> None:
    for name in spikes:
        rates = spikes[name].sum(0)
        assert (rates > 0).mean() > 0.7, "a comparison of silent neurons shows nothing"
        np.testing.assert_array_equal(record.spikes[name], spikes[name])
        np.testing.assert_allclose(record.potentials[name], potentials[name], rtol=rtol)


@pytest.mark.parametrize("build", [recurrent, layered])
@pytest.mark.parametrize("model", MODELS)
def test_spike_times_equal_nests_over_1000_ms_and_potentials_to_9_digits(double, model, build):
    net, weights, generator = build(model, seed=1)
    T = 10_000
    trains = {"source": (generator.random((T, 20)) < 0.004).astype(float)}
    record = rollout(net, weights, spikes=trains)
    assert_equal_to_nest(record, *on_nest(net, weights, trains, T))


@pytest.mark.parametrize("model", MODELS)
def test_injected_currents_act_as_nests_do(double, model):
    net, weights, generator = recurrent(model, seed=2, n=8, m=4, delay=1.5)
    T = 2000
    trains = {"source": (generator.random((T, 4)) < 0.01).astype(float)}
    currents = {"cells": generator.normal(300.0, 400.0, (T, 8))}
    currents["cells"][0] = 0.0  # before a generator's first can arrive
    record = rollout(net, weights, spikes=trains, currents=currents)
    assert_equal_to_nest(record, *on_nest(net, weights, trains, T, currents))


def test_loops_that_are_unrolled_change_no_spike(double):
    generator = np.random.default_rng(4)
    weights = {"first": generator.normal(0.1, 0.3, (20, 30)), "second": generator.normal(0.1, 0.3, (30, 10))}
    net = Network(
        {"source": Population(20), "a": Population(30, IterativeLIF()), "b": Population(10, IterativeLIF())},
        {"first": Projection("source", "a", delay=0.0), "second": Projection("a", "b", delay=0.0)},
        dt=1.0,
    )
    trains = {"source": (generator.random((8, 20)) < 0.3).astype(float)}

    def run(w: dict, unroll: bool) -> dict:
        return net.rollout(net.init(w), spikes=trains, unroll=unroll)[1].spikes

    compiled = {unroll: jax.jit(partial(run, unroll=unroll)).lower(weights) for unroll in (False, True)}
    assert ["stablehlo.while" in one.as_text() for one in compiled.values()] == [True, False]
    looped, unrolled = (one.compile()(weights) for one in compiled.values())
    for name in "ab":
        assert 0.1 < looped[name].mean() < 0.9
        np.testing.assert_array_equal(unrolled[name], looped[name])


@pytest.mark.parametrize("delay", [0.1, 1.3])
def test_a_network_with_one_delay_equals_nests(double, delay):
    net, weights, generator = recurrent(IafPscAlpha, seed=3, n=20, m=10, delay=delay)
    T = 3000
    trains = {"source": (generator.random((T, 10)) < 0.01).astype(float)}
    assert_equal_to_nest(rollout(net, weights, spikes=trains), *on_nest(net, weights, trains, T))


def test_in_single_precision_spikes_hardly_differ_from_nests():
    net, weights, generator = recurrent(IafPscAlpha, seed=1, n=20, delay=1.5)
    T = 3000
    trains = {"source": (generator.random((T, 20)) < 0.004).astype(np.float32)}
    spikes, potentials = on_nest(net, weights, trains, T)
    record = rollout(net, weights, spikes=trains)
    assert record.spikes["cells"].dtype == jnp.float32
    same = np.cumsum(np.abs(record.spikes["cells"] - spikes["cells"]).sum(1)) == 0  # until the first that differs
    assert same.mean() > 0.5
    np.testing.assert_allclose(record.potentials["cells"][same], potentials["cells"][same], rtol=2e-5)


def test_a_plastic_projection_takes_spikes_and_delivers_weights_in_nests_order(double):
    """sources -> relays -> cells by stdp_synapse with a delay; a relay follows each of its source's spikes."""
    generator = np.random.default_rng(1)
    T, dt, delay = 5000, 0.1, 1.7
    rule = {"lambda": 0.05, "alpha": 1.1, "mu_plus": 0.6, "mu_minus": 0.8, "tau_plus": 15.0, "Wmax": 800.0}
    w0 = generator.uniform(200.0, 600.0, (10, 5))
    cell = IafPscAlpha(t_ref=np.array([1.0, 2.0, 0.0, 3.0, 2.0]), I_e=100.0)
    net = Network(
        {"source": Population(10), "relay": Population(10, IafPscDelta(t_ref=0.0)), "cells": Population(5, cell)},
        {
            "drive": Projection("source", "relay", delay=1.0),
            "plastic": Projection("relay", "cells", delay, rule=PairSTDP(0.05, 1.1, 0.6, 0.8, 15.0, 20.0, 0.0, 800.0)),
        },
        dt=dt,
    )
    train = (generator.random((T, 10)) < 0.005).astype(float)
    train[-100:] = 0.0
    train[-50] = 1.0  # NEST updates a synapse when a pre spike passes: let one pass everywhere at the end

    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": dt})
    source, relay = nest.Create("spike_generator", 10), nest.Create("iaf_psc_delta", 10, {"t_ref": 0.0})
    cells, recorder = nest.Create("iaf_psc_alpha", 5, {"I_e": 100.0, "tau_minus": 20.0}), nest.Create("spike_recorder")
    cells.set({"t_ref": [1.0, 2.0, 0.0, 3.0, 2.0]})
    for node, spikes in zip(source, train.T, strict=True):
        node.spike_times = (np.flatnonzero(spikes) + 1) * dt
    nest.Connect(source, relay, "one_to_one", {"weight": 1000.0, "delay": 1.0})
    nest.Connect(relay, cells, "all_to_all", {"synapse_model": "stdp_synapse", "weight": w0.T, "delay": delay, **rule})
    nest.Connect(cells, recorder)
    nest.Simulate(T * dt)
    expected = np.zeros((T, 5))
    events = recorder.events
    expected[np.rint(events["times"] / dt).astype(int) - 1, events["senders"] - cells[0].global_id] = 1.0
    synapses = nest.GetConnections(relay, cells)
    final = np.zeros((10, 5))
    final[np.array(synapses.source) - relay[0].global_id, np.array(synapses.target) - cells[0].global_id] = (
        synapses.weight
    )

    weights = {"drive": 1000.0 * np.eye(10), "plastic": w0}
    state, record = jax.jit(lambda w, x: net.rollout(net.init(w), spikes={"source": x}, record=("spikes", "weights")))(
        weights, train
    )
    assert 100 < expected.sum() < 5000
    np.testing.assert_array_equal(record.spikes["cells"][:-1], expected[:-1])
    last = T - 50 + 10 + 1  # steps until the last spike of the relays has been sent
    np.testing.assert_allclose(record.weights["plastic"][last - 1], final, rtol=1e-9)
    assert np.abs(final - w0).min() > 1.0
    np.testing.assert_array_equal(state.weights["drive"], weights["drive"])


def loop_of_lif(w_in, w_rec, steps_in, steps_rec, x, cell, dt):
    """A recurrent network step by step, spikes kept in lists; returns (T, N) spikes."""
    T, n = len(x), len(w_rec)
    state, out = cell.init(n), np.zeros((T, n))
    step = jax.jit(lambda state, current: cell.step(state, current, dt))
    for k in range(T):
        current = np.zeros(n)
        for w, steps, sent in ((w_in, steps_in, x), (w_rec, steps_rec, out)):
            for i, j in np.ndindex(w.shape):
                if k >= steps[i, j]:
                    current[j] += w[i, j] * sent[k - steps[i, j], i]
        state, out[k] = step(state, current)
    return out


def small(seed: int = 1, low: int = 1, cell=None):
    """Return a recurrent LIF network of 4 sources and 6 neurons, with weights and delays in steps of 1 ms."""
    generator = np.random.default_rng(seed)
    steps = {"in": generator.integers(low, 6, (4, 6)), "rec": generator.integers(max(low, 1), 6, (6, 6))}
    weights = {"in": generator.normal(3.0, 3.0, (4, 6)), "rec": generator.normal(0.0, 4.0, (6, 6))}
    net = Network(
        {"source": Population(4), "cells": Population(6, cell or LIF(tau_m=10.0, v_th=0.5, t_ref=2.0))},
        {
            "in": Projection("source", "cells", delay=steps["in"] * 1.0),
            "rec": Projection("cells", "cells", delay=steps["rec"] * 1.0),
        },
        dt=1.0,
    )
    return net, weights, steps, (generator.random((97, 4)) < 0.3).astype(float)


@pytest.mark.parametrize("low", [0, 1, 3])
def test_each_synapse_has_its_own_delay_down_to_0_from_sources(double, low):
    net, weights, steps, x = small(low=low)
    record = rollout(net, weights, spikes={"source": x})
    expected = loop_of_lif(
        weights["in"], weights["rec"], steps["in"], steps["rec"], x, net.populations["cells"].cell, 1.0
    )
    assert 30 < expected.sum() < 300
    np.testing.assert_array_equal(record.spikes["cells"], expected)


def test_layers_without_delay_pass_spikes_on_in_the_same_step(double):
    generator = np.random.default_rng(1)
    a, b, x = generator.normal(3, 3, (4, 6)), generator.normal(3, 4, (6, 2)), generator.random((150, 4)) < 0.3
    cell, readout = LIF(v_th=0.3), LeakyReadout(tau_m=5.0)
    net = Network(
        {"out": Population(2, readout), "hidden": Population(6, cell), "in": Population(4)},
        {"b": Projection("hidden", "out", delay=0.0), "a": Projection("in", "hidden", delay=0.0)},
        dt=1.0,
    )
    record = rollout(net, {"a": a, "b": b}, spikes={"in": x})
    hidden, out = cell.init(6), readout.init(2)
    for k in range(150):
        hidden, spikes = cell.step(hidden, x[k] @ a, 1.0)
        out, y = readout.step(out, spikes @ b, 1.0)
        np.testing.assert_array_equal(record.spikes["hidden"][k], spikes)
        np.testing.assert_allclose(record.spikes["out"][k], y, rtol=1e-12)
    assert record.spikes["hidden"].sum() > 20


def test_a_mask_takes_synapses_away(double):
    net, weights, _, x = small()
    mask = np.random.default_rng(2).integers(0, 2, (6, 6))
    masked = {name: replace(p, mask=mask) if name == "rec" else p for name, p in net.projections.items()}
    record = rollout(Network(net.populations, masked, net.dt), weights, spikes={"source": x})
    expected = rollout(net, weights | {"rec": weights["rec"] * mask}, spikes={"source": x})
    np.testing.assert_array_equal(record.spikes["cells"], expected.spikes["cells"])
    assert (expected.spikes["cells"] != rollout(net, weights, spikes={"source": x}).spikes["cells"]).any()


def test_constant_currents_equal_the_same_current_in_each_step(double):
    net, weights, _, x = small()
    amplitude = np.linspace(0.0, 1.0, 6)
    constant = rollout(net, weights, spikes={"source": x}, currents={"cells": amplitude})
    in_time = rollout(net, weights, spikes={"source": x}, currents={"cells": np.tile(amplitude, (97, 1))})
    jax.tree.map(np.testing.assert_array_equal, constant, in_time)
    plain = rollout(net, weights, spikes={"source": x})
    assert constant.spikes["cells"].sum() > plain.spikes["cells"].sum()


def test_a_network_without_sources_runs_for_as_many_steps_as_asked():
    net = Network({"cells": Population(3, IafPscDelta(I_e=500.0))}, {}, dt=0.1)
    state, record = net.rollout(net.init({}), steps=1000)
    assert record.spikes["cells"].shape == (1000, 3)
    assert record.spikes["cells"].sum() > 3
    assert state.weights == {}


def test_a_batch_of_weights_equals_a_python_loop(double):
    net, weights, _, x = small()
    generator = np.random.default_rng(2)
    many = jax.tree.map(lambda w: w * generator.uniform(0.8, 1.2, (5, *w.shape)), weights)

    def one(w):
        return net.rollout(net.init(w), spikes={"source": x}, record=("spikes", "potentials"))

    batch = jax.jit(jax.vmap(one))(many)
    for i in range(5):
        alone = jax.jit(one)(jax.tree.map(lambda w, i=i: w[i], many))
        np.testing.assert_array_equal(batch[1].spikes["cells"][i], alone[1].spikes["cells"])
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-12, atol=1e-14), batch, alone)
    assert len({float(total) for total in batch[1].spikes["cells"].sum((1, 2))}) > 1


def test_a_batch_of_episodes_equals_a_python_loop(double):
    net, weights, _, _ = small()
    episodes = (np.random.default_rng(2).random((5, 60, 4)) < 0.3).astype(float)
    state = net.init(weights)

    def one(x):
        return net.rollout(state, spikes={"source": x})[1].spikes["cells"]

    batch = jax.jit(jax.vmap(one))(episodes)
    for i in range(5):
        np.testing.assert_array_equal(batch[i], jax.jit(one)(episodes[i]))


@pytest.mark.parametrize("own_weights", [False, True])
def test_a_batch_in_the_state_equals_one_by_vmap(double, own_weights):
    net, weights, _, _ = small()
    generator = np.random.default_rng(2)
    episodes = (generator.random((60, 5, 4)) < 0.3).astype(float)
    if own_weights:
        weights = jax.tree.map(lambda w: w * generator.uniform(0.8, 1.2, (5, *w.shape)), weights)
    record = ("spikes", "potentials", "counts")
    state, kept = net.rollout(net.init(weights, batch=5), spikes={"source": episodes}, record=record)

    def one(w, x):
        return net.rollout(net.init(w), spikes={"source": x}, record=record)

    expected_state, expected = jax.vmap(one, (0 if own_weights else None, 1))(weights, episodes)
    np.testing.assert_array_equal(kept.spikes["cells"], expected.spikes["cells"].swapaxes(0, 1))
    np.testing.assert_allclose(kept.potentials["cells"], expected.potentials["cells"].swapaxes(0, 1), rtol=1e-12)
    np.testing.assert_array_equal(kept.counts["cells"], expected.spikes["cells"].sum(axis=1))
    np.testing.assert_array_equal(expected.counts["cells"], kept.counts["cells"])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), state.cells, expected_state.cells)
    alone = one(jax.tree.map(lambda w: w[1] if own_weights else w, weights), episodes[:, 1])[1]
    np.testing.assert_array_equal(alone.counts["cells"], kept.counts["cells"][1])


def test_the_faster_backward_pass_gives_the_same_gradient_and_refuses_forward_mode(double):
    """Two populations in a loop, delays of one and more steps, a trained time constant, more steps than a block."""
    generator = np.random.default_rng(5)
    weights = {"in": generator.normal(0.5, 0.5, (4, 3)), "ab": generator.normal(0, 0.5, (3, 2))}
    weights |= {"ba": generator.normal(0, 0.5, (2, 3)), "aa": generator.normal(0, 0.5, (3, 3))}
    x = (generator.random((150, 2, 4)) < 0.3).astype(float)
    target = generator.random((2, 2))

    def loss(trained, reverse_only):
        cell = CurrentLIF(trained["tau"], 5.0, 1.0, spike=smooth(4.0))
        populations = {"source": Population(4), "a": Population(3, cell), "b": Population(2, cell)}
        delays = np.array([[1.0, 3.0, 1.0], [2.0, 2.0, 1.0], [1.0, 1.0, 4.0]])
        ends = {"in": ("source", "a", 0.0), "ab": ("a", "b", 2.0), "ba": ("b", "a", 1.0), "aa": ("a", "a", delays)}
        net = Network(populations, {name: Projection(*end) for name, end in ends.items()}, dt=1.0)
        state = net.init(trained["weights"], batch=2)
        _, kept = net.rollout(state, spikes={"source": x}, record=("counts.b",), reverse_only=reverse_only)
        return jnp.sum((kept.counts["b"] - target) ** 2)

    trained = {"weights": weights, "tau": jnp.array(8.0)}
    plain, fast = (jax.jit(jax.value_and_grad(partial(loss, reverse_only=faster)))(trained) for faster in (False, True))
    assert float(fast[0]) == pytest.approx(float(plain[0]), rel=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-13), fast[1], plain[1])
    assert all(np.abs(g).max() > 1e-5 for g in jax.tree.leaves(plain[1]))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(partial(loss, reverse_only=True), (trained,), (trained,))


def test_large_traces_one_after_the_other_give_what_all_at_once_give(double, monkeypatch):
    generator = np.random.default_rng(6)
    x = (generator.random((40, 3, 4)) < 0.4).astype(float)
    weights = generator.normal(0.1, 0.05, (4, 2))

    def loss(trained):
        rule = DPOja(eta=trained["eta"], alpha=trained["alpha"], delta_tau=5.0)
        populations = {"in": Population(4), "out": Population(2, CurrentLIF(8.0, 5.0, 1.0, spike=smooth(4.0)))}
        net = Network(populations, {"w": Projection("in", "out", delay=1.0, rule=rule)}, dt=1.0)
        state, kept = net.rollout(net.init({"w": trained["w"]}, batch=3), spikes={"in": x})
        return jnp.sum(kept.spikes["out"] ** 2) + jnp.sum(state.rules["w"].e)

    trained = {"w": weights, "alpha": generator.normal(0, 1, (4, 2)), "eta": jnp.array(0.3)}
    together = jax.jit(jax.value_and_grad(loss))(trained)
    monkeypatch.setattr(blocks, "LARGE", 1)
    apart = jax.jit(jax.value_and_grad(lambda t: loss(t)))(trained)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), apart, together)
    assert all(np.abs(g).max() > 1e-3 for g in jax.tree.leaves(together[1]))


def test_networks_with_evolved_parameters_are_built_inside_the_mapped_function(double):
    _, weights, steps, x = small()
    taus = np.array([5.0, 10.0, 40.0])

    def total(tau):
        net = small(cell=LIF(tau_m=tau, v_th=0.5, t_ref=2.0))[0]
        return net.rollout(net.init(weights), spikes={"source": x})[1].spikes["cells"]

    batch = jax.jit(jax.vmap(total))(taus)
    for tau, spikes in zip(taus, batch, strict=True):
        cell = LIF(tau_m=tau, v_th=0.5, t_ref=2.0)
        expected = loop_of_lif(weights["in"], weights["rec"], steps["in"], steps["rec"], x, cell, 1.0)
        np.testing.assert_array_equal(spikes, expected)


@pytest.mark.parametrize("cut", [1, 90])
def test_a_rollout_in_two_parts_equals_the_whole(double, cut):
    net, weights, _, x = small()
    state = net.init(weights)
    whole_state, whole = net.rollout(state, spikes={"source": x}, record=("spikes", "potentials"))
    state, first = net.rollout(state, spikes={"source": x[:cut]}, record=("spikes", "potentials"))
    state, second = net.rollout(state, spikes={"source": x[cut:]}, record=("spikes", "potentials"))
    both = jax.tree.map(lambda a, b: np.concatenate([a, b]), first, second)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), both, whole)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14), state, whole_state)


def smooth_loss(checkpoint_every=None, T: int = 40):
    """Return a function of the weights that has a derivative, and weights."""
    net, weights, _, x = small(cell=CurrentLIF(10.0, 5.0, 1.0, spike=smooth(4.0)))
    target = np.random.default_rng(3).random((T, 6))

    def loss(w):
        _, record = net.rollout(
            net.init(w), spikes={"source": x[:T]}, checkpoint_every=checkpoint_every, record=("spikes.cells",)
        )
        return ((record.spikes["cells"] - target) ** 2).sum()

    return loss, weights


def test_the_gradient_through_a_rollout_is_that_of_finite_differences(double):
    loss, weights = smooth_loss()
    loss, gradient = jax.jit(loss), jax.jit(jax.grad(loss))(weights)
    for name in weights:
        for index in np.ndindex(2, 6):
            step = np.zeros_like(weights[name])
            step[index] = 1e-6
            finite = (
                loss(weights | {name: weights[name] + step}) - loss(weights | {name: weights[name] - step})
            ) / 2e-6
            assert float(gradient[name][index]) == pytest.approx(float(finite), rel=1e-5, abs=1e-7)
    assert all(np.abs(g).max() > 0.01 for g in gradient.values())


def test_forward_mode_gives_the_same_derivative(double):
    loss, weights = smooth_loss()
    direction = jax.tree.map(lambda w: np.random.default_rng(4).normal(size=w.shape), weights)
    _, tangent = jax.jit(lambda w: jax.jvp(loss, (w,), (direction,)))(weights)
    gradient = jax.jit(jax.grad(loss))(weights)
    assert float(tangent) == pytest.approx(sum(float((gradient[k] * direction[k]).sum()) for k in weights), rel=1e-10)


@pytest.mark.parametrize("every", [7, 64])
def test_a_checkpointed_rollout_has_the_same_value_and_gradient(double, every):
    plain, weights = smooth_loss()
    value, gradient = jax.jit(jax.value_and_grad(plain))(weights)
    again, other = jax.jit(jax.value_and_grad(smooth_loss(every)[0]))(weights)
    assert float(again) == pytest.approx(float(value), rel=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), other, gradient)


def test_memory_of_the_gradient_grows_with_the_root_of_time_when_checkpointed():
    net, weights, _, _ = small(cell=CurrentLIF(10.0, 5.0, 1.0, spike=smooth(4.0)))
    net = Network(net.populations, {name: replace(p, delay=1.0) for name, p in net.projections.items()}, net.dt)

    def needed(T: int, every: int | None) -> int:
        def loss(w, x):
            state, _ = net.rollout(net.init(w, batch=2), spikes={"source": x}, checkpoint_every=every, record=())
            return state.cells["cells"].v.sum()

        compiled = jax.jit(jax.grad(loss)).lower(weights, jnp.zeros((T, 2, 4))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert needed(16 * 1024, None) > 12 * needed(1024, None)
    assert needed(16 * 1024, 128) < 6 * needed(1024, 32)
    assert needed(16 * 1024, 128) < 0.1 * needed(16 * 1024, None)


@pytest.mark.parametrize("delay", [0.0, 2.0])
@pytest.mark.parametrize("rule", [PairSTDP(w_max=10.0), DPOja(delta_tau=5.0)])
def test_a_plastic_rollout_equals_its_rule_step_by_step(double, rule, delay):
    """Pre spikes as sent, post spikes `delay` later; a spike is sent with the weights that its own step left,
    or, where weights change only every few steps or nothing is delayed, with those before."""
    generator = np.random.default_rng(1)
    x, w = (generator.random((60, 4)) < 0.4).astype(float), generator.uniform(0.0, 4.0, (4, 3))
    cell, d = LIF(tau_m=5.0, v_th=0.5, t_ref=1.0), int(delay)
    net = Network(
        {"source": Population(4), "cells": Population(3, cell)},
        {"w": Projection("source", "cells", delay=delay, rule=rule)},
        dt=1.0,
    )
    signal = generator.normal(size=60)
    _, record = net.rollout(
        net.init({"w": w}), spikes={"source": x}, signals={"w": signal}, record=("spikes", "weights")
    )
    every, step = rule.every(1.0), jax.jit(cell.step, static_argnums=2)  # dt is known before the program runs
    learn = jax.jit(rule.step, static_argnums=5)
    state, learning, sent, post = cell.init(3), rule.init(4, 3), [np.zeros(3)] * d, [np.zeros(3)] * d
    for k in range(60):
        before = rule.effective(w, learning)
        current = before.T @ x[k] if d == 0 else sent[k]
        state, spikes = step(state, current, 1.0)
        np.testing.assert_array_equal(record.spikes["cells"][k], spikes)
        post.append(spikes)
        learning, w = learn(learning, w, x[k], post[k], signal[k], 1.0)
        sent.append((before if every > 1 else rule.effective(w, learning)).T @ x[k])
        if (k + 1) % every == 0:
            np.testing.assert_allclose(record.weights["w"][k // every], rule.effective(w, learning), rtol=1e-9)
    assert record.weights["w"].shape == (60 // every, 4, 3)
    assert record.spikes["cells"].sum() > 10
    assert np.abs(record.weights["w"][-1] - record.weights["w"][0]).max() > 1e-3


def test_only_what_was_asked_for_is_recorded():
    net, weights, _, x = small()
    _, record = net.rollout(net.init(weights), spikes={"source": x}, record=("potentials.cells",))
    assert (list(record.spikes), list(record.potentials), list(record.weights)) == ([], ["cells"], [])
    _, record = net.rollout(net.init(weights), spikes={"source": x}, record="spikes")
    assert list(record.spikes) == ["cells", "source"]


POPULATIONS = {"source": Population(4), "cells": Population(6, LIF()), "more": Population(2, LIF())}


@pytest.mark.parametrize(
    ("projections", "text"),
    [
        ({"w": Projection("cels", "more")}, r"w.pre: expected a population of this network, got 'cels'; did you mean"),
        ({"w": Projection("cells", "source")}, r"w.post: expected a population with a cell, got 'source', a source"),
        ({"w": Projection("source", "cells", 0.5)}, r"w.delay: expected a delay of at least one step, 1 ms, got 0.5"),
        ({"w": Projection("source", "cells", 1.5)}, r"w.delay: expected a multiple of the step, 1 ms, got 1.5 ms"),
        ({"w": Projection("source", "cells", np.ones((6, 4)))}, r"w.delay: expected an array of shape \(4, 6\)"),
        ({"w": Projection("source", "cells", mask=np.ones(6))}, r"w.mask: expected an array of shape \(4, 6\)"),
        ({"w": Projection("cells", "cells", 0.0)}, r"delay: expected loops that take time, got projections with delay"),
        (
            {"w": Projection("cells", "more", 0.0), "v": Projection("more", "cells", 0.0)},
            r"delay: expected loops that take time",
        ),
        (
            {"w": Projection("source", "cells", np.ones((4, 6)), rule=PairSTDP())},
            r"w.delay: expected one delay where a rule learns, got one a synapse",
        ),
        ({"w": Projection("source", "cells", rule=PairSTDP(tau_plus=-1.0))}, r"PairSTDP.tau_plus: expected > 0"),
    ],
)
def test_projections_that_do_not_fit_are_refused(projections, text):
    with pytest.raises(ValueError, match=text):
        Network(POPULATIONS, projections, dt=1.0)


@pytest.mark.parametrize(
    ("population", "dt", "text"),
    [
        (Population(0, LIF()), 1.0, r"populations.p: expected an integer >= 1, got 0"),
        (Population(3, IafPscExp(tau_m=-1.0)), 1.0, r"IafPscExp.tau_m: expected > 0, got -1"),
        (Population(3, LIF(tau_m=np.ones(2))), 1.0, r"LIF.tau_m: .* \(3,\) with one entry a neuron, got shape \(2,\)"),
        (Population(3, LIF()), 0.0, r"dt: expected a simulation step > 0 ms, a multiple of 0.001 ms, got 0"),
        (Population(3, LIF()), 0.00015, r"dt: expected a simulation step > 0 ms, a multiple of 0.001 ms"),
    ],
)
def test_populations_and_steps_that_make_no_sense_are_refused(population, dt, text):
    with pytest.raises(ValueError, match=text):
        Network({"p": population}, {}, dt=dt)


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ({"in": np.ones((4, 6))}, r"weights: expected those of in, rec, got in"),
        (
            {"in": np.ones((6, 4)), "rec": np.ones((6, 6))},
            r"weights.in: .* shape \(4, 6\), got shape \(6, 4\); pre along",
        ),
        ({"in": np.full((4, 6), np.nan), "rec": np.ones((6, 6))}, r"weights.in: expected finite numbers, got nan"),
    ],
)
def test_weights_that_do_not_fit_are_refused(weights, text):
    with pytest.raises(ValueError, match=text):
        small()[0].init(weights)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, r"spikes: expected those of the sources source, got none"),
        (
            {"spikes": {"source": np.ones((9, 3))}},
            r"spikes.source: expected an array of shape \(9, 4\), got shape \(9, 3",
        ),
        ({"spikes": {"source": np.ones((9, 4))}, "steps": 8}, r"spikes.source: expected an array of shape \(8, 4\)"),
        (
            {"spikes": {"source": np.ones((9, 4))}, "currents": {"cells": np.ones((8, 6))}},
            r"currents.cells: expected an array of shape \(9, 6\), got shape \(8, 6\)",
        ),
        (
            {"spikes": {"source": np.ones((9, 4))}, "currents": {"cells": np.ones(5)}},
            r"currents.cells: expected an array of shape \(6\), got shape \(5,\)",
        ),
        ({"spikes": {"source": np.ones((9, 4))}, "currents": {"source": 1.0}}, r"currents: expected names that take"),
        ({"spikes": {"source": np.ones((9, 4))}, "signals": {"rec": np.ones(9)}}, r"signals: expected names that take"),
        (
            {"spikes": {"source": np.ones((9, 4))}, "record": ("spike",)},
            r"record: .* got 'spike'; did you mean 'spikes'",
        ),
        ({"spikes": {"source": np.ones((9, 4))}, "record": ("spikes.cell",)}, r"did you mean 'spikes.cells'"),
        ({"spikes": {"source": np.ones((9, 4))}, "checkpoint_every": 0}, r"checkpoint_every: expected an integer >= 1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, text):
    net, weights, _, _ = small()
    with pytest.raises(ValueError, match=text):
        net.rollout(net.init(weights), **inputs)


def test_steps_are_asked_for_where_no_input_tells_them_and_have_to_fill_the_intervals_of_the_rules():
    net = Network({"p": Population(2, LIF())}, {"w": Projection("p", "p", rule=DPOja(delta_tau=5.0))}, dt=1.0)
    state = net.init({"w": np.ones((2, 2))})
    with pytest.raises(ValueError, match="steps: expected a number of steps, got none; no input has a time axis"):
        net.rollout(state)
    with pytest.raises(ValueError, match=r"steps: expected a multiple of 5, .* got 12 steps"):
        net.rollout(state, steps=12)
    with pytest.raises(ValueError, match=r"steps: expected a multiple of 5, .* got checkpoint_every=7"):
        net.rollout(state, steps=10, checkpoint_every=7)
