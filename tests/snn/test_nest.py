from itertools import pairwise

import nest
import numpy as np
import pytest

from l2l_snn.snn.nest import FeedForward, FeedForwardSpec, feed_forward

SPEC = FeedForwardSpec((60, 5, 3), params=(("t_ref", 1.0),), record=True)
STEPS = 25  # environment steps of 20 ms


def random_weights(seed: int, copies: int = 1) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.uniform(-2000, 2000, (copies, 5, 60)), generator.uniform(-2000, 2000, (copies, 3, 5))]


def random_bins(seed: int, copies: int = 1) -> np.ndarray:
    """(steps, copies, 2) driven neurons; each is kept for two steps, as a slow car would."""
    generator = np.random.default_rng(seed)
    bins = generator.integers(0, 30, (STEPS, copies, 2)) + np.array([0, 30])
    return np.repeat(bins, 2, axis=0)[:STEPS]


def play(network: FeedForward, weights, bins, amplitude: float = 40000.0, delay: float = 1.2):
    """Return the counts (steps, copies, 3) and the spikes of all neurons as sorted (copy, time, neuron)."""
    network.load(weights)
    counts = []
    for driven in bins:
        network.run(delay)
        network.drive(driven, amplitude)
        network.run(20.0 - delay)
        counts.append(network.counts())
    times, copies, neurons = network.recorded()
    return np.array(counts), sorted(zip(copies.tolist(), times.round(3).tolist(), neurons.tolist(), strict=True))


def published_network(weights, bins):
    """The network as it was published: 60 generators, a recorder an output neuron, one Simulate a step."""
    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": 0.2})
    generators = nest.Create("dc_generator", 60)
    inputs, hidden, outputs = (nest.Create("iaf_psc_alpha", n, {"t_ref": 1.0}) for n in (60, 5, 3))
    recorders, everything = nest.Create("spike_recorder", 3), nest.Create("spike_recorder")
    nest.Connect(generators, inputs, "one_to_one")
    nest.Connect(inputs, hidden, "all_to_all", {"weight": weights[0][0]})
    nest.Connect(hidden, outputs, "all_to_all", {"weight": weights[1][0]})
    nest.Connect(outputs, recorders, "one_to_one")
    for layer in (inputs, hidden, outputs):
        nest.Connect(layer, everything)
    counts = []
    for driven in bins[:, 0]:
        generators.amplitude = 0.0
        recorders.n_events = 0
        generators[driven.tolist()].amplitude = 40000.0
        nest.Simulate(20.0)
        counts.append(recorders.n_events)
    events = everything.events
    first = inputs[0].global_id
    spikes = [(0, round(float(t), 3), int(s) - first) for t, s in zip(events["times"], events["senders"], strict=True)]
    return np.array(counts), sorted(spikes)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_spikes_equal_the_published_network_with_generators_one_for_one(seed):
    weights, bins = random_weights(seed), random_bins(seed)
    expected_counts, expected_spikes = published_network(weights, bins)
    counts, spikes = play(FeedForward(SPEC, 1), weights, bins)
    assert len(spikes) > 1000
    assert spikes == expected_spikes
    np.testing.assert_array_equal(counts[:, 0], expected_counts)


def test_a_copy_does_not_depend_on_its_neighbours_or_its_place():
    weights, bins = random_weights(4, 6), random_bins(4, 6)
    network = FeedForward(SPEC, 8)
    counts, spikes = play(network, weights, bins)
    for copy in range(6):
        own = slice(copy, copy + 1)
        alone, spikes_alone = play(FeedForward(SPEC, 1), [w[own] for w in weights], bins[:, own])
        np.testing.assert_array_equal(counts[:, copy], alone[:, 0])
        assert [(t, n) for c, t, n in spikes if c == copy] == [(t, n) for _, t, n in spikes_alone]


def test_a_network_that_was_used_before_starts_from_rest_exactly():
    network = FeedForward(SPEC, 2)
    weights, bins = random_weights(5, 2), random_bins(5, 2)
    fresh = play(network, weights, bins)
    play(network, random_weights(6, 2), random_bins(6, 2))
    network.halt(0)  # frozen while driven
    again = play(network, weights, bins)
    np.testing.assert_array_equal(fresh[0], again[0])
    assert fresh[1] == again[1]


def test_synaptic_currents_vanish_between_individuals():
    network = FeedForward(FeedForwardSpec((1, 1), params=(("t_ref", 1.0),)), 1)
    network.load([np.full((1, 1, 1), 500.0)])
    network.run(1.0)
    network.drive(np.array([[0]]), 40000.0)
    network.run(30.0)  # a current of its own now charges the second neuron
    network.load([np.zeros((1, 1, 1))])
    network.run(5.0)
    assert network._layers[1].V_m == network._layers[1].E_L  # to the last bit


@pytest.mark.parametrize(("amplitude", "freezes"), [(40000.0, True), (500.0, False)])
def test_leaving_neurons_at_rest_out_of_the_update_changes_no_spike(monkeypatch, amplitude, freezes):
    weights, bins = random_weights(7, 2), random_bins(7, 2)
    network = FeedForward(SPEC, 2)
    assert network._may_freeze(amplitude) is freezes
    counts, spikes = play(network, weights, bins, amplitude)
    monkeypatch.setattr(FeedForward, "_may_freeze", lambda self, amplitude: False)
    all_updated = FeedForward(SPEC, 2)
    weights_loaded = play(all_updated, weights, bins, amplitude)
    assert spikes
    assert spikes == weights_loaded[1]
    np.testing.assert_array_equal(counts, weights_loaded[0])


def test_counts_are_the_spikes_of_the_last_layer_also_after_many():
    weights, bins = random_weights(1, 16), random_bins(1, 16)
    counts, spikes = play(FeedForward(SPEC, 16), weights, bins)
    assert counts.sum() > 3000  # the counter was emptied on the way
    assert counts.sum() == sum(neuron >= 65 for _, _, neuron in spikes)


def test_recording_changes_no_spike():
    weights, bins = random_weights(8), random_bins(8)
    counts, _ = play(FeedForward(SPEC, 1), weights, bins)
    plain = FeedForward(FeedForwardSpec((60, 5, 3), params=(("t_ref", 1.0),)), 1)
    plain.load(weights)
    for step, driven in enumerate(bins):
        plain.run(1.2)
        plain.drive(driven, 40000.0)
        plain.run(18.8)
        np.testing.assert_array_equal(plain.counts(), counts[step])


def test_a_weight_reaches_its_own_target_from_its_own_source():
    network = FeedForward(FeedForwardSpec((4, 3), record=True), 2)
    weights = np.zeros((2, 3, 4))
    weights[1, 2, 0] = 3000.0  # in the second copy, from input 0 to output 2
    network.load([weights])
    network.drive(np.array([[0], [0]]), 40000.0)
    network.run(20.0)
    np.testing.assert_array_equal(network.counts()[0], [0, 0, 0])
    np.testing.assert_array_equal(network.counts(), np.zeros((2, 3)))  # told already
    _, copy, neuron = network.recorded()
    assert set(zip(copy.tolist(), neuron.tolist(), strict=True)) == {(0, 0), (1, 0), (1, 4 + 2)}


def test_a_halted_copy_is_silent_and_the_others_go_on():
    weights, bins = random_weights(9, 2), random_bins(9, 2)
    expected = play(FeedForward(SPEC, 2), weights, bins)[0]
    network = FeedForward(SPEC, 2)
    network.load(weights)
    counts = []
    for step, driven in enumerate(bins):
        driven = driven.copy()
        if step >= 10:
            driven[0] = -1
        network.run(1.2)
        network.drive(driven, 40000.0)
        network.run(18.8)
        counts.append(network.counts())
        if step == 9:
            network.halt(0)
    np.testing.assert_array_equal(np.array(counts)[:, 1], expected[:, 1])
    np.testing.assert_array_equal(np.array(counts)[:10, 0], expected[:10, 0])
    assert np.array(counts)[10:, 0].sum() == 0


def test_the_kernel_is_built_once_for_a_network_and_anew_for_another():
    first = feed_forward(SPEC, 4)
    assert feed_forward(SPEC, 3) is first
    assert feed_forward(SPEC, 5) is not first
    assert feed_forward(FeedForwardSpec((2, 2)), 1).spec.layers == (2, 2)


def test_a_network_is_built_anew_where_a_script_has_reset_the_kernel():
    first = feed_forward(SPEC, 1)
    assert feed_forward(SPEC, 1) is first
    nest.ResetKernel()
    nest.Create("iaf_psc_alpha", sum(SPEC.layers))
    again = feed_forward(SPEC, 1)
    assert again is not first
    again.load([np.zeros((1, post, pre)) for pre, post in pairwise(SPEC.layers)])


def test_wrong_networks_are_refused():
    with pytest.raises(ValueError, match="layers: expected two or more layers"):
        FeedForwardSpec((3,))
    with pytest.raises(ValueError, match=r"delay: expected a number >= 0.2, got 0.1; a spike can't arrive before"):
        FeedForwardSpec((3, 2), delay=0.1)
    with pytest.raises(ValueError, match=r"model: expected one of .* did you mean 'iaf_psc_alpha'"):
        FeedForwardSpec((3, 2), model="iaf_psc_alfa")
    with pytest.raises(ValueError, match=r"iaf_psc_alpha.tau: expected a parameter that NEST's model has"):
        FeedForwardSpec((3, 2), params=(("tau", 1.0),))
    with pytest.raises(ValueError, match=r"weights\[0\]: expected .* shape \(1, 2, 3\), got shape \(1, 3, 2\)"):
        FeedForward(FeedForwardSpec((3, 2)), 1).load([np.zeros((1, 3, 2))])
    with pytest.raises(ValueError, match="record: expected a network built with record=True"):
        FeedForward(FeedForwardSpec((3, 2)), 1).recorded()
