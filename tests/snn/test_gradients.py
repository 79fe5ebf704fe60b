"""Gradients: each rule equals autodiff where theory says so, and what it leaves out is just what it says."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.snn.cells import LIF, AdaptiveLIF, CurrentLIF, IafPscDelta, LeakyReadout
from l2l_snn.snn.differentiable import DPOja
from l2l_snn.snn.eprop import EProp, adapted_feedback, random_feedback
from l2l_snn.snn.gradients import BPTT, FPTT, forward_gradient, start_sensitivity
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.plasticity import PairSTDP
from l2l_snn.snn.surrogate import smooth, triangle

pytestmark = pytest.mark.usefixtures("compiled_soon")

T, B = 30, 3


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def build(cell: Any = None, recurrent: bool = True, delay_out: float = 0.0, delays: Any = 1.0) -> tuple:
    """Return a network 5 -> 4 -> 2, its state for a batch, inputs and targets."""
    generator = np.random.default_rng(1)
    cell = AdaptiveLIF(5.0, 0.3, 2.0, 0.5, 30.0, triangle(0.5)) if cell is None else cell
    populations = {"in": Population(5), "a": Population(4, cell), "out": Population(2, LeakyReadout(8.0))}
    projections = {"in": Projection("in", "a", delay=0.0), "w": Projection("a", "out", delay=delay_out)}
    weights = {"in": generator.normal(1.0, 1.0, (5, 4)), "w": generator.normal(0.0, 1.0, (4, 2))}
    if recurrent:
        projections["rec"] = Projection("a", "a", delay=delays)
        weights["rec"] = generator.normal(0.0, 1.0, (4, 4))
    net = Network(populations, projections, dt=1.0)
    x = (generator.random((T, B, 5)) < 0.3).astype(float)
    return net, net.init(weights, batch=B), {"in": x}, generator.normal(0.0, 0.3, (T, B, 2))


def loss(record, targets):
    return jnp.sum((record.spikes["out"] - targets) ** 2)


def autodiff(net, state, inputs, targets, loss=loss, record=("spikes.out",)):
    def total(weights):
        _, kept = net.rollout(state._replace(weights=weights), spikes=inputs, record=record)
        return loss(kept, targets)

    return jax.jit(jax.value_and_grad(total))(state.weights)


def found_by(rule, net, state, inputs, targets, loss=loss, record=("spikes.out",), **options):
    return jax.jit(lambda state: rule(net, state, loss, targets, spikes=inputs, record=record, **options))(state)


def assert_same(found, expected, names=None, rtol=1e-9):
    for name in names or expected:
        assert np.abs(expected[name]).max() > 1e-3, f"{name}: a comparison of zeros shows nothing"
        np.testing.assert_allclose(found[name], expected[name], rtol=rtol, atol=1e-12)


def test_over_the_whole_sequence_backward_and_forward_propagation_equal_autodiff():
    net, state, inputs, targets = build(delays=2.0)
    value, expected = autodiff(net, state, inputs, targets)
    after, record = jax.jit(lambda state: net.rollout(state, spikes=inputs))(state)
    assert record.spikes["a"].sum() > 30
    for rule in (BPTT(checkpoint_every=7, truncate=50), FPTT()):
        found = found_by(rule, net, state, inputs, targets)
        assert float(found.loss) == pytest.approx(float(value), rel=1e-12)
        assert_same(found.weights, expected)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), found.state, after)


def test_truncation_leaves_out_what_reaches_over_a_multiple_of_k_steps():
    net, state, inputs, targets = build()

    @jax.jit
    def piece(state, x, y):
        def value(weights):
            after, kept = net.rollout(state._replace(weights=weights), spikes={"in": x}, record=("spikes.out",))
            return loss(kept, y), after

        return jax.value_and_grad(value, has_aux=True)(state.weights)

    value, expected, running = 0.0, jax.tree.map(jnp.zeros_like, state.weights), state
    for start in range(0, T, 10):
        x, y = inputs["in"][start : start + 10], targets[start : start + 10]
        (more, running), grads = piece(running, x, y)
        value, expected = value + more, jax.tree.map(jnp.add, expected, grads)
    found = found_by(BPTT(truncate=10), net, state, inputs, targets)
    assert float(found.loss) == pytest.approx(float(value), rel=1e-12)
    assert_same(found.weights, expected)
    whole = autodiff(net, state, inputs, targets)[1]
    assert np.abs(found.weights["rec"] - whole["rec"]).max() > 1e-3


@pytest.mark.parametrize("rule", [BPTT(), FPTT()])
def test_a_smooth_network_passes_finite_differences(rule):
    net, state, inputs, targets = build(CurrentLIF(10.0, 5.0, 1.0, smooth(4.0)))
    found = found_by(rule, net, state, inputs, targets)
    value = jax.jit(lambda weights: loss(net.rollout(state._replace(weights=weights), spikes=inputs)[1], targets))
    for name, index in (("in", (0, 1)), ("in", (4, 3)), ("rec", (0, 2)), ("rec", (1, 1)), ("w", (3, 0))):
        w = np.array(state.weights[name])
        step = np.zeros_like(w)
        step[index] = 1e-6
        ends = [float(value(state.weights | {name: w + sign * step})) for sign in (1, -1)]
        assert float(found.weights[name][index]) == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-7)
        assert abs(float(found.weights[name][index])) > 1e-4


def lif_loop(weights, x, delays, targets, cut, adaptive, through_reset):
    """The loss of a network of LIF or adaptive LIF neurons written out step by step, with `cut` on what others get."""
    dt, tau_m, v_th, t_ref, beta, tau_a = 1.0, 5.0, 0.3, 2, 0.5, 30.0
    beta = beta if adaptive else 0.0
    spike, alpha, rho, kappa = triangle(0.5), np.exp(-dt / tau_m), np.exp(-dt / tau_a), np.exp(-dt / 8.0)

    def step(carry, given):
        v, z, b, r, y, sent = carry
        x, target = given
        b = rho * b + (1 - rho) * z / dt
        threshold = v_th + beta * b
        fired = jnp.where(r > 0, 0.0, spike((v - threshold) / threshold))
        current = x @ weights["in"]
        for d in range(1, 5):  # sent[-d]: d steps ago
            current += cut(sent[-d]) @ (weights["rec"] * (delays == d))
        reset = threshold * z
        v = alpha * v + (1 - alpha) * current - (reset if through_reset else jax.lax.stop_gradient(reset))
        r = jnp.where(fired > 0.5, t_ref, jnp.maximum(r - 1, 0))
        y = kappa * y + (1 - kappa) * (fired @ weights["w"])
        value = jnp.sum((y - target) ** 2) + 0.1 * jnp.sum(fired @ jnp.arange(1.0, 5.0))
        return (v, fired, b, r, y, jnp.concatenate([sent[1:], fired[None]])), value

    v, z, b = (jnp.zeros((B, 4)) for _ in range(3))
    start = v, z, b, jnp.zeros((B, 4), int), jnp.zeros((B, 2)), jnp.zeros((4, B, 4))
    return jax.lax.scan(step, start, (x, targets))[1].sum()


def rated(record, targets):
    """The readout's error and, at once, a price of each neuron's spikes."""
    return loss(record, targets) + 0.1 * jnp.sum(record.counts["a"] @ jnp.arange(1.0, 5.0))


@pytest.mark.parametrize(("adaptive", "through_reset"), [(False, False), (True, False), (True, True)])
def test_eprop_is_autodiff_without_what_goes_through_other_neurons_spikes_and_the_reset(adaptive, through_reset):
    delays = np.array([[1, 2, 3, 1], [2, 2, 1, 1], [4, 1, 1, 1], [1, 3, 1, 2]])
    spike = triangle(0.5)
    cell = AdaptiveLIF(5.0, 0.3, 2.0, 0.5, 30.0, spike) if adaptive else LIF(5.0, 0.3, 2.0, spike)
    net, state, inputs, targets = build(cell, delays=delays * 1.0)
    written = partial(lif_loop, x=inputs["in"], delays=delays, targets=targets, adaptive=adaptive)
    of = jax.jit(jax.value_and_grad(partial(written, cut=jax.lax.stop_gradient, through_reset=through_reset)))
    value, expected = of(state.weights)
    found = found_by(EProp(through_reset=through_reset), net, state, inputs, targets, rated, ("spikes.out", "counts.a"))
    assert float(found.loss) == pytest.approx(float(value), rel=1e-12)
    assert_same(found.weights, expected)
    if not adaptive:
        whole = autodiff(net, state, inputs, targets, rated, ("spikes.out", "counts.a"))[1]
        assert np.abs(found.weights["rec"] - whole["rec"]).max() > 1e-3
        assert_same(found.weights, whole, ["w"])  # a readout's own weights: nothing is left out


@pytest.mark.parametrize("delay_out", [0.0, 3.0])
def test_without_recurrence_eprop_equals_backpropagation_through_time(delay_out):
    net, state, inputs, targets = build(recurrent=False, delay_out=delay_out)
    _, expected = autodiff(net, state, inputs, targets)
    found = found_by(EProp(through_reset=True), net, state, inputs, targets)
    assert_same(found.weights, expected)


def test_eprop_takes_any_cell_of_one_input_and_masks_currents_and_single_networks():
    net, state, inputs, targets = build(CurrentLIF(10.0, 5.0, 1.0, smooth(4.0)), recurrent=False, delay_out=1.0)
    mask = np.random.default_rng(2).integers(0, 2, (5, 4))
    projections = dict(net.projections) | {"in": replace(net.projections["in"], mask=mask)}
    net = Network(net.populations, projections, dt=1.0)
    state = net.init(state.weights)
    inputs, targets = {"in": inputs["in"][:, 0]}, targets[:, 0]
    currents = {"a": np.linspace(0.0, 0.3, T * 4).reshape(T, 4), "out": 0.1}

    def total(weights):
        kept = net.rollout(state._replace(weights=weights), spikes=inputs, currents=currents)[1]
        return loss(kept, targets)

    expected = jax.jit(jax.grad(total))(state.weights)
    found = found_by(EProp(through_reset=True), net, state, inputs, targets, currents=currents)
    assert_same(found.weights, expected)
    assert (np.asarray(found.weights["in"])[mask == 0] == 0).all()


def test_random_feedback_replaces_the_readouts_weights_on_the_way_back_alone():
    net, state, inputs, targets = build()
    by = jax.jit(lambda w: EProp({"w": w})(net, state, loss, targets, spikes=inputs, record=("spikes.out",)).weights)
    symmetric = found_by(EProp(), net, state, inputs, targets).weights
    assert_same(by(state.weights["w"]), symmetric, rtol=1e-12)
    feedback = random_feedback(net, jax.random.key(1))
    random = by(feedback["w"])
    np.testing.assert_allclose(random["w"], symmetric["w"], rtol=1e-12)
    assert np.abs(random["in"] - symmetric["in"]).max() > 1e-2


def test_adapted_feedback_becomes_the_readouts_weights():
    generator = np.random.default_rng(1)
    w, feedback = generator.normal(size=(4, 2)), {"w": generator.normal(size=(4, 2))}
    first = np.abs(w - feedback["w"]).max()
    for _ in range(200):
        update = generator.normal(size=(4, 2))
        feedback = adapted_feedback(feedback, {"w": update}, decay=0.05)
        w = 0.95 * w + update
    np.testing.assert_allclose(np.abs(w - feedback["w"]).max(), first * 0.95**200, rtol=1e-9)


@pytest.mark.parametrize("rule", [BPTT(truncate=7), FPTT(), EProp()])
def test_what_is_trained_can_be_chosen_and_a_call_goes_on_from_the_last(rule):
    net, state, inputs, targets = build(recurrent=False, delay_out=2.0)
    whole = found_by(rule, net, state, inputs, targets)

    @jax.jit
    def half(state, x, y):
        return rule(net, state, loss, y, spikes={"in": x}, record=("spikes.out",), trained=["w"])

    first = half(state, inputs["in"][:15], targets[:15])
    second = half(first.state, inputs["in"][15:], targets[15:])
    assert list(first.weights) == ["w"]
    assert float(first.loss + second.loss) == pytest.approx(float(whole.loss), rel=1e-12)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), second.state, whole.state)


@pytest.mark.parametrize("plastic", [PairSTDP(w_max=10.0), DPOja(delta_tau=5.0)])
def test_weights_that_a_rule_changes_have_the_gradient_of_their_start_forward_as_backward(plastic):
    net, state, inputs, targets = build(CurrentLIF(10.0, 5.0, 1.0, smooth(4.0)), recurrent=False)
    projections = dict(net.projections) | {"in": Projection("in", "a", delay=1.0, rule=plastic)}
    net = Network(net.populations, projections, dt=1.0)
    state = net.init(jax.tree.map(jnp.abs, state.weights), batch=B)
    _, expected = autodiff(net, state, inputs, targets)
    found = found_by(FPTT(), net, state, inputs, targets)
    assert_same(found.weights, expected)
    assert np.abs(found.state.weights["in"] - state.weights["in"]).max() > 1e-6 or isinstance(plastic, DPOja)


def test_memory_of_forward_rules_stays_flat_over_time():
    net, state, _, _ = build(recurrent=False)

    def needed(rule, steps: int) -> int:
        def gradient(state, x, y):
            return rule(net, state, loss, y, spikes={"in": x}, record=("spikes.out",)).weights

        compiled = jax.jit(gradient).lower(state, jnp.zeros((steps, B, 5)), jnp.zeros((steps, B, 2))).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    given = 19_000 * B * (5 + 2) * 8  # bytes of the inputs and targets that the longer sequence has more
    for rule in (FPTT(), EProp()):
        assert needed(rule, 20_000) - needed(rule, 1000) <= 1.05 * given, rule
    assert needed(BPTT(), 20_000) - needed(BPTT(), 1000) > 5 * given


def test_the_sensitivity_matrix_can_be_carried_on_from_call_to_call():
    """x' = a x + b x^2 + u with an integer counter in the state; loss x^2, against autodiff through a Python loop."""
    u = np.random.default_rng(1).normal(0.0, 0.3, 40)

    def step(theta, state, u):
        x, count = state
        x = theta["a"] * x + theta["b"] * x**2 + u
        return (x, count + 1), jnp.sum(x**2)

    def total(theta):
        state, value = (jnp.array([0.1, 0.2]), 0), 0.0
        for value_in in u:
            state, more = step(theta, state, value_in)
            value += more
        return value

    theta = {"a": jnp.array(0.8), "b": jnp.array([0.1, -0.1])}
    state = jnp.array([0.1, 0.2]), jnp.array(0)
    value, expected = jax.value_and_grad(total)(theta)
    first, g1, middle, D = forward_gradient(step, theta, state, u[:17])
    second, g2, last, _ = forward_gradient(step, theta, middle, u[17:], sensitivity=D)
    assert float(first + second) == pytest.approx(float(value), rel=1e-12)
    jax.tree.map(lambda a, b, c: np.testing.assert_allclose(a + b, c, rtol=1e-10), g1, g2, expected)
    assert int(last[1]) == 40
    reset = forward_gradient(step, theta, middle, u[17:])[1]  # without it, what came before is forgotten
    assert abs(float(reset["a"] - g2["a"])) > 1e-4
    D = start_sensitivity(theta, state, lambda theta, x: (x[0] * theta["a"], x[1]))
    np.testing.assert_allclose(D[0], [[0.1, 0.2], [0.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize("rule", [BPTT(), EProp()])
def test_descent_along_a_rule_learns_a_pattern(rule):
    """A fixed input pattern to two smooth curves: the error falls to less than a tenth."""
    net, state, inputs, _ = build(AdaptiveLIF(5.0, 0.3, 2.0, 0.5, 30.0, triangle(0.5)))
    t = np.arange(T)[:, None, None] / T
    targets = jnp.asarray(np.concatenate([np.sin(4 * t), 0.5 * t], axis=2) * np.ones((1, B, 1)))

    @jax.jit
    def descend(weights):
        def one(weights, _):
            found = rule(net, state._replace(weights=weights), loss, targets, spikes=inputs, record=("spikes.out",))
            return jax.tree.map(lambda w, g: w - 0.02 * g, weights, found.weights), found.loss

        return jax.lax.scan(one, weights, None, length=300)[1]

    losses = descend(state.weights)
    assert losses[-20:].mean() < 0.2 * losses[0]


@pytest.mark.parametrize(
    ("rule", "change", "text"),
    [
        (BPTT(), {"trained": ["recc"]}, r"trained: expected projections, got 'recc'; did you mean 'rec'"),
        (
            FPTT(),
            {"targets": np.ones((T + 1, B, 2))},
            r"targets: expected as many steps as the inputs have, got 30",
        ),
        (
            EProp(),
            {"record": ("potentials.out",)},
            r"record: expected spikes or counts with EProp, got 'potent",
        ),
        (EProp({}), {}, r"feedback: expected weights for w, got none"),
        (EProp({"w": np.ones((2, 4))}), {}, r"feedback.w: expected an array of shape \(4, 2\), got shape \(2, 4\)"),
    ],
)
def test_what_a_rule_cannot_take_is_refused(rule, change, text):
    net, state, inputs, targets = build()
    options = {"targets": targets, "record": ("spikes.out",)} | change
    with pytest.raises(ValueError, match=text):
        rule(net, state, loss, spikes=inputs, **options)


@pytest.mark.parametrize(
    ("populations", "projection", "weights", "text"),
    [
        (
            {"a": Population(4, CurrentLIF())},
            {},
            None,
            r"a.cell: expected LIF, AdaptiveLIF or LeakyReadout, got C",
        ),
        ({"a": Population(4, IafPscDelta())}, {}, None, r"a.cell: expected LIF, AdaptiveLIF or LeakyReadout, got I"),
        ({"out": Population(2, LeakyReadout(np.ones(2)))}, {}, None, r"w.delay, out.tau_m: expected one delay and one"),
        ({}, {"w": Projection("a", "out", np.ones((4, 2)))}, None, r"w.delay, out.tau_m: expected one delay and one"),
        (
            {},
            {"in": Projection("in", "a", rule=PairSTDP())},
            None,
            r"EProp: expected projections without a rule",
        ),
        ({}, {}, np.ones((B, 5, 4)), r"weights.in: expected one matrix for all of the batch, got one for each"),
    ],
)
def test_networks_that_eprop_cannot_take_are_refused(populations, projection, weights, text):
    net, state, inputs, targets = build()
    net = Network(dict(net.populations) | populations, dict(net.projections) | projection, dt=1.0)
    own = dict(state.weights) | ({} if weights is None else {"in": weights})
    with pytest.raises(ValueError, match=text):
        EProp()(net, net.init(own, batch=B), loss, targets, spikes=inputs, record=("spikes.out",))


def test_configurations_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"BPTT.truncate: expected an integer >= 1, got 0"):
        BPTT(truncate=0)
    net, state, inputs, targets = build(recurrent=False)
    projections = dict(net.projections) | {"in": Projection("in", "a", rule=DPOja(delta_tau=7.0))}
    net = Network(net.populations, projections, dt=1.0)
    with pytest.raises(ValueError, match="steps: expected a multiple of 7, the steps between updates of the rules"):
        FPTT()(net, net.init(state.weights, batch=B), loss, targets, spikes=inputs, record=("spikes.out",))
