"""Neuron models one by one: closed forms, the sources' equations written out, and refused parameters."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import nest
import numpy as np
import pytest

from l2l_snn.snn.cells import (
    LIF,
    AdaptiveLIF,
    Arriving,
    CurrentLIF,
    IafPscAlpha,
    IafPscDelta,
    IafPscExp,
    IterativeLIF,
    LeakyReadout,
    SRMAlpha,
)
from l2l_snn.snn.surrogate import smooth, superspike

NEST_CELLS = {"iaf_psc_delta": IafPscDelta, "iaf_psc_exp": IafPscExp, "iaf_psc_alpha": IafPscAlpha}
OWN_CELLS = [CurrentLIF, LIF, AdaptiveLIF, SRMAlpha, LeakyReadout, IterativeLIF]


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def run(cell, n: int, inputs, dt: float):
    """Return (T, n) spikes and potentials for inputs (T, n), by the three-argument step of the contract."""

    def one(state, x):
        state, spikes = cell.step(state, x, dt)
        return state, (spikes, cell.potential(state))

    _, (spikes, v) = jax.jit(lambda xs: jax.lax.scan(one, cell.init(n), xs))(inputs)
    return np.asarray(spikes), np.asarray(v)


def names(cell) -> list[str]:
    return [field.name for field in fields(cell) if not field.metadata.get("static")]


def silence(steps: int, n: int) -> Arriving:
    return Arriving(jnp.zeros((steps, 2, n)), jnp.zeros((steps, n)))


@pytest.mark.parametrize("model", NEST_CELLS)
def test_the_rate_under_constant_current_is_the_closed_form(double, model):
    """The potential needs tau ln(R I / (R I - theta)) ms from reset to threshold, in whole steps, and then t_ref."""
    current = np.linspace(380.0, 2000.0, 40)  # pA; the threshold current is 375
    cell = NEST_CELLS[model](I_e=current, tau_m=10.0, C_m=250.0, t_ref=1.5)
    spikes, _ = run(cell, 40, silence(6000, 40), 0.1)
    resistance = 10.0 / 250.0  # GOhm
    climb = 10.0 * np.log(resistance * current / (resistance * current - 15.0))
    for neuron in range(40):
        intervals = np.diff(np.flatnonzero(spikes[:, neuron]))
        assert len(intervals) > 5
        assert set(intervals) == {int(np.ceil(climb[neuron] / 0.1 - 1e-9)) + 15}


@pytest.mark.parametrize("model", NEST_CELLS)
def test_below_the_threshold_current_the_potential_approaches_its_limit_without_a_spike(double, model):
    cell = NEST_CELLS[model](I_e=np.array([100.0, 374.9]))
    spikes, v = run(cell, 2, silence(3000, 2), 0.1)
    assert not spikes.any()
    np.testing.assert_allclose(v[-1], -70 + 0.04 * cell.I_e, rtol=1e-12)
    t = 0.1 * np.arange(1, 3001)[:, None]
    np.testing.assert_allclose(v, -70 + 0.04 * cell.I_e * -np.expm1(-t / 10), rtol=1e-12)


@pytest.mark.parametrize("model", NEST_CELLS)
def test_defaults_are_those_of_nest(model):
    defaults = nest.GetDefaults(model)
    cell = NEST_CELLS[model]()
    own = set(names(cell)) - {"spike", "V_min"}
    assert {name: getattr(cell, name) for name in own} == {name: defaults[name] for name in own}


@pytest.mark.parametrize("t_ref", [0.0, 0.1, 0.14, 0.15, 0.3, 0.7, 1.1, 2.0, 4.999])
def test_refractory_times_are_counted_in_steps_as_by_nest(t_ref):
    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": 0.1})
    neuron, recorder = nest.Create("iaf_psc_delta", params={"t_ref": t_ref, "I_e": 1e6}), nest.Create("spike_recorder")
    nest.Connect(neuron, recorder)
    nest.Simulate(20.0)
    spikes, _ = run(IafPscDelta(t_ref=t_ref, I_e=1e6), 1, silence(199, 1), 0.1)
    expected = np.rint(recorder.events["times"] / 0.1).astype(int) - 1
    np.testing.assert_array_equal(np.flatnonzero(spikes[:, 0]), expected[expected < 199])


def test_a_neuron_spikes_at_threshold_not_only_above(double):
    arriving = silence(2, 2)
    arriving = arriving._replace(weights=arriving.weights.at[0, 0].set(jnp.array([15.0, np.nextafter(15.0, 0.0)])))
    spikes, v = run(IafPscDelta(), 2, arriving, 0.1)
    np.testing.assert_array_equal(spikes[0], [1.0, 0.0])
    np.testing.assert_allclose(v[0], [-70.0, -55.0], rtol=1e-15)


@pytest.mark.parametrize("model", ["iaf_psc_delta", "iaf_psc_alpha"])
def test_the_potential_never_falls_below_v_min(double, model):
    arriving = silence(300, 2)
    arriving = arriving._replace(weights=arriving.weights.at[:, 1].set(-30.0))
    _, v = run(NEST_CELLS[model](V_min=np.array([-80.0, -np.inf])), 2, arriving, 0.1)
    assert v[:, 0].min() == -80.0
    assert v[:, 1].min() < -80.5


def heaviside(x):
    return (x >= 0).astype(float)


def test_current_lif_is_eq_2_4_to_2_6_of_003(double):
    generator = np.random.default_rng(1)
    tau_mem, tau_syn, v_th = generator.uniform(5, 30, 6), generator.uniform(2, 10, 6), generator.uniform(0.5, 1.5, 6)
    inputs, dt = generator.normal(0.2, 0.3, (500, 6)), 0.25
    spikes, potentials = run(CurrentLIF(tau_mem, tau_syn, v_th), 6, inputs, dt)
    beta, alpha = np.exp(-dt / tau_mem), np.exp(-dt / tau_syn)
    U, current = np.zeros(6), np.zeros(6)
    for t in range(500):
        S = heaviside(U - v_th)  # 2.6
        U, current = (1 - S) * (beta * U + current * dt), alpha * current + inputs[t]  # 2.4, 2.5
        np.testing.assert_array_equal(spikes[t], S)
        np.testing.assert_allclose(potentials[t], U, rtol=1e-9, atol=1e-12)
    assert 100 < spikes.sum() < 1500


@pytest.mark.parametrize("dt", [1.0, 0.5])
@pytest.mark.parametrize("adaptive", [True, False])
def test_lif_and_adaptive_lif_are_eq_1_and_2_of_004_and_its_code(double, adaptive, dt):
    generator = np.random.default_rng(1)
    b0, beta, tau_m = generator.uniform(0.5, 1.0, 6), generator.uniform(0.5, 2, 6), generator.uniform(10, 30, 6)
    tau_a, t_ref = generator.uniform(50, 300, 6), np.array([0.0, 1.0, 2.0, 3.0, 5.0, 5.0])
    inputs = generator.normal(1.5, 3.0, (800, 6))
    if adaptive:
        spikes, potentials = run(AdaptiveLIF(tau_m, b0, t_ref, beta, tau_a), 6, inputs, dt)
    else:
        spikes, potentials = run(LIF(tau_m, b0, t_ref), 6, inputs, dt)
        beta = np.zeros(6)
    alpha, rho = np.exp(-dt / tau_m), np.exp(-dt / tau_a)
    V, b, z = np.zeros(6), np.zeros(6), np.zeros(6)  # z in {0, 1 / dt}
    train = []
    for t in range(800):
        b = rho * b + (1 - rho) * z  # 2
        B = b0 + beta * b  # 1
        new_z = heaviside((V - B) / B) / dt  # the old potential, the new threshold
        for j in range(6):
            steps = round(t_ref[j] / dt)
            if steps and any(past[j] for past in train[-steps:]):
                new_z[j] = 0.0
        V = alpha * V + (1 - alpha) * inputs[t] - z * B * dt
        z = new_z
        train.append(z)
        np.testing.assert_array_equal(spikes[t], z * dt)
        np.testing.assert_allclose(potentials[t], V, rtol=1e-9, atol=1e-12)
    assert spikes.sum(0).min() > 10


@pytest.mark.parametrize("dt", [1.0, 0.5])
def test_srm_alpha_is_eq_1_to_5_of_001_by_convolution(double, dt):
    generator = np.random.default_rng(1)
    tau_s, tau_ref, v_th = generator.uniform(3, 10, 6), generator.uniform(1, 4, 6), generator.uniform(5, 10, 6)
    inputs = generator.normal(1.0, 2.0, (300, 6))
    spikes, potentials = run(SRMAlpha(v_th, tau_s, tau_ref, scale_ref=2.0), 6, inputs, dt)
    t = dt * np.arange(300)[:, None]
    epsilon = t / tau_s * np.exp(1 - t / tau_s)
    nu = -2.0 * v_th * t / tau_ref * np.exp(1 - t / tau_ref)
    s = np.zeros((300, 6))
    for k in range(300):
        a = (epsilon[: k + 1][::-1] * inputs[: k + 1]).sum(0)  # 1
        u = a + (nu[: k + 1][::-1] * s[: k + 1]).sum(0)  # 2
        s[k] = heaviside(u - v_th)  # 3 to 5
        np.testing.assert_array_equal(spikes[k], s[k])
        np.testing.assert_allclose(potentials[k], u, rtol=1e-9, atol=1e-9)
    assert 100 < s.sum() < 1500


def test_a_readout_is_an_exponential_average_that_never_spikes(double):
    inputs = np.random.default_rng(1).normal(5.0, 1.0, (50, 3))
    out, potentials = run(LeakyReadout(tau_m=np.array([5.0, 10.0, 20.0]), bias=0.5), 3, inputs, 1.0)
    kappa = np.exp(-1.0 / np.array([5.0, 10.0, 20.0]))
    weights = kappa ** np.arange(50)[:, None]
    expected = [((1 - kappa) * weights[: t + 1][::-1] * inputs[: t + 1]).sum(0) + 0.5 for t in range(50)]
    np.testing.assert_allclose(out, expected, rtol=1e-12)
    np.testing.assert_array_equal(out, potentials)


@pytest.mark.parametrize("cell", [*NEST_CELLS.values(), *OWN_CELLS])
def test_every_field_may_be_a_traced_array_and_gives_what_known_numbers_give(double, cell):
    generator = np.random.default_rng(1)
    fields = [name for name in names(cell) if name not in ("spike", "V_min")]
    values = {name: getattr(cell(), name) * generator.uniform(1.0, 1.1, 4) for name in fields}
    inputs = jnp.asarray(generator.normal(12.0, 30.0, (200, 4)))
    if cell in NEST_CELLS.values():
        scale = 1 if cell is IafPscDelta else 8  # mV, pA
        inputs = Arriving(scale * jnp.stack([jnp.maximum(inputs, 0), jnp.minimum(inputs, 0)], axis=1), 20 * inputs)
    known, v = run(cell(**values), 4, inputs, 0.5)

    @jax.jit
    def traced(values):
        model = cell(**values)

        def one(state, x):
            state, spikes = model.step(state, x, 0.5)
            return state, (spikes, model.potential(state))

        return jax.lax.scan(one, model.init(4), inputs)[1]

    spikes, potentials = traced(values)
    assert cell is LeakyReadout or known.sum() > 5
    np.testing.assert_allclose(spikes, known, rtol=1e-9)
    np.testing.assert_allclose(potentials, v, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("cell", [IafPscDelta, IafPscExp, IafPscAlpha, CurrentLIF, SRMAlpha])
def test_derivatives_with_respect_to_parameters_are_those_of_finite_differences(double, cell):
    """With a smooth function in place of the step; t_ref counts steps and has no derivative."""
    trained = [name for name in names(cell) if name not in ("spike", "V_min", "t_ref")]
    zero = {"t_ref": 0.0} if "t_ref" in names(cell) else {}
    inputs = jnp.asarray(np.random.default_rng(1).normal(1.0, 3.0, (30, 2)))
    if cell in NEST_CELLS.values():
        inputs = Arriving(jnp.stack([jnp.maximum(inputs, 0) * 40, jnp.minimum(inputs, 0) * 20], axis=1), 100 * inputs)

    @jax.jit
    def loss(values):
        model = cell(**values, **zero, spike=smooth(0.5))

        def one(state, x):
            state, spikes = model.step(state, x, 0.5)
            return state, (spikes * spikes).sum() + 0.01 * model.potential(state).sum()

        return jax.lax.scan(one, model.init(2), inputs)[1].sum()

    values = {name: jnp.asarray(getattr(cell(), name) + np.array([0.3, 0.1])) for name in trained}
    gradient = jax.jit(jax.grad(loss))(values)
    for name in trained:
        step = 1e-5 * max(1.0, float(abs(values[name][0])))
        up, down = (values | {name: values[name].at[0].add(sign * step)} for sign in (1, -1))
        finite = (float(loss(up)) - float(loss(down))) / (2 * step)
        assert float(gradient[name][0]) == pytest.approx(finite, rel=1e-4, abs=1e-8), name
        assert finite != 0.0, name


def test_a_surrogate_derivative_reaches_the_parameters_of_a_nest_cell():
    def count(v_th):
        cell = IafPscDelta(V_th=v_th, I_e=500.0, spike=superspike())
        state, total = cell.init(1), 0.0
        for _ in range(5):
            state, spikes = cell.step(state, Arriving(jnp.array([[3.0], [0.0]]), 0.0), 0.1)
            total += spikes.sum()
        return total

    assert jax.grad(count)(-55.0) < 0.0  # a higher threshold, fewer spikes


@pytest.mark.parametrize("cell", [*NEST_CELLS.values(), *OWN_CELLS])
def test_cells_are_pytrees_of_their_parameters(cell):
    doubled = jax.jit(lambda c: jax.tree.map(lambda x: 2 * x, c))(cell())
    assert type(doubled) is cell
    first = names(cell)[0]
    assert float(getattr(doubled, first)) == 2 * getattr(cell(), first)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (IafPscAlpha(tau_m=-1.0), r"IafPscAlpha.tau_m: expected > 0, got -1"),
        (IafPscExp(tau_syn_ex=np.array([2.0, 0.0, 2.0])), r"IafPscExp.tau_syn_ex: expected > 0, got 0.0 for neuron 1"),
        (IafPscDelta(C_m=0.0), r"IafPscDelta.C_m: expected > 0, got 0"),
        (IafPscDelta(t_ref=-0.1), r"IafPscDelta.t_ref: expected >= 0, got -0.1"),
        (IafPscExp(V_reset=-55.0), r"IafPscExp.V_reset: expected a potential below V_th, got -55 mV with V_th -55 mV"),
        (IafPscAlpha(E_L=np.nan), r"IafPscAlpha.E_L: expected finite numbers, got nan"),
        (IafPscAlpha(I_e=np.inf), r"IafPscAlpha.I_e: expected finite numbers, got inf"),
        (IafPscAlpha(V_min=np.nan), r"IafPscAlpha.V_min: expected numbers, got nan"),
        (
            IafPscAlpha(tau_m=np.ones(2)),
            r"IafPscAlpha.tau_m: .* shape \(3,\) with one entry a neuron, got shape \(2,\)",
        ),
        (CurrentLIF(tau_syn=-2.0), r"CurrentLIF.tau_syn: expected > 0, got -2"),
        (LIF(t_ref=-1.0), r"LIF.t_ref: expected >= 0, got -1"),
        (LIF(v_th=0.0), r"LIF.v_th: expected > 0, got 0"),
        (AdaptiveLIF(tau_a=0.0), r"AdaptiveLIF.tau_a: expected > 0, got 0"),
        (SRMAlpha(tau_ref=np.nan), r"SRMAlpha.tau_ref: expected > 0, got nan"),
        (LeakyReadout(tau_m=0.0), r"LeakyReadout.tau_m: expected > 0, got 0"),
    ],
)
def test_bad_parameters_are_refused_in_the_words_of_the_domain(cell, text):
    with pytest.raises(ValueError, match=text):
        cell.init(3)


def test_the_iterative_lif_is_its_printed_equations(double):
    """Wu et al. 2018: u_t = decay u_t-1 (1 - o_t-1) + I_t, as a loop."""
    inputs = np.random.default_rng(3).normal(0.15, 0.2, (200, 5))
    decay, v_th = np.linspace(0.0, 1.0, 5), np.array([0.2, 0.3, 0.4, 0.5, 0.6])
    spikes, v = run(IterativeLIF(decay=decay, v_th=v_th), 5, inputs, 1.0)
    u, o = np.zeros(5), np.zeros(5)
    for t in range(200):
        u = decay * u * (1 - o) + inputs[t]
        o = (u >= v_th).astype(float)
        np.testing.assert_allclose(v[t], u, rtol=1e-12)
        np.testing.assert_array_equal(spikes[t], o)
    assert (spikes.sum(axis=0) > 5).all()
