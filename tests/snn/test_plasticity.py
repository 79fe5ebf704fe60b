"""STDP rules against NEST, closed forms and direct sums over spike pairs; all in double precision unless said."""

from typing import Any

import jax
import jax.numpy as jnp
import nest
import numpy as np
import pytest

from l2l_snn.snn.plasticity import RSTDP, DopamineSTDP, PairSTDP, TripletSTDP

RULES = [PairSTDP, TripletSTDP, RSTDP, DopamineSTDP]
DT = 0.1  # ms
STEPS = 4000
nest.verbosity = nest.VerbosityLevel.ERROR


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def roll(rule, w, pre, post, signal: Any = 0.0, dt=DT):
    """Return the last state and the weights after each step, (T, n_pre, n_post), of spike trains (T, n)."""
    steps = len(pre)
    signal = np.broadcast_to(signal, (steps,)) if np.ndim(signal) < 2 else signal

    def one(carry, x):
        state, w = rule.step(*carry, *x, dt)
        return (state, w), w

    start = rule.init(pre.shape[1], post.shape[1]), jnp.asarray(w)
    (state, _), weights = jax.lax.scan(one, start, (jnp.asarray(pre), jnp.asarray(post), jnp.asarray(signal)))
    return state, weights


def train(times, steps=STEPS, dt=DT):
    """Return (T, 1) the spikes of one neuron; index k is the step that ends at k dt."""
    spikes = np.zeros((steps, 1))
    spikes[np.rint(np.asarray(times) / dt).astype(int)] = 1
    return spikes


def trains(seed, *rates):
    """Return sorted spike times, ms, on the grid; some of the first two trains coincide once delays are added."""
    generator = np.random.default_rng(seed)
    times = [np.sort(generator.choice(np.arange(50, STEPS - 50), n, replace=False)) * DT for n in rates]
    shared = generator.choice(times[0][:-1], 10, replace=False)
    times[1] = np.unique(np.concatenate([times[1], shared, shared - 1.0, shared - 0.1]).round(1))
    return times


def in_nest(model, params, trains, w0, delay, tau_minus, tau_minus_triplet=110.0, dopamine_delay=1.0, interval=1):
    """Return times of pre spikes and the weight that each one carried, from a synapse between two parrots."""
    nest.ResetKernel()
    nest.resolution = DT
    times = [{"spike_times": np.round(t - DT, 3)} for t in trains]  # a parrot repeats one step later
    generators = nest.Create("spike_generator", len(trains), times)
    parrots = nest.Create("parrot_neuron", len(trains))
    parrots.set({"tau_minus": tau_minus, "tau_minus_triplet": tau_minus_triplet})
    nest.Connect(generators, parrots, "one_to_one", {"delay": DT})
    recorder = nest.Create("weight_recorder")
    extra = {"weight_recorder": recorder}
    if model == "stdp_dopamine_synapse":
        extra["volume_transmitter"] = nest.Create("volume_transmitter", params={"deliver_interval": interval})
        nest.Connect(parrots[2], extra["volume_transmitter"], syn_spec={"delay": dopamine_delay})
    nest.CopyModel(model, "plastic", params | extra)
    # a parrot repeats no spike that comes in at port 1: the post spikes are those of its generator alone
    synapse = {"synapse_model": "plastic", "weight": w0, "delay": delay, "receptor_type": 1}
    nest.Connect(parrots[0], parrots[1], syn_spec=synapse)
    nest.Simulate(STEPS * DT)
    events = recorder.events
    np.testing.assert_allclose(events["times"], trains[0])
    return np.rint(events["times"] / DT).astype(int), events["weights"]


@pytest.mark.parametrize("delay", [0.1, 1.0])
@pytest.mark.parametrize(("mu_plus", "mu_minus"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (0.5, 1.0), (0.0, 1.0)])
def test_pair_stdp_equals_nest_at_every_pre_spike(mu_plus, mu_minus, delay):
    pre, post = trains(1, 60, 60)
    assert len(set(pre.round(1)) & set((post + delay).round(1))) >= 5  # both sides in one step
    shared = {"mu_plus": mu_plus, "mu_minus": mu_minus, "alpha": 1.1, "tau_plus": 17.0}
    at, expected = in_nest("stdp_synapse", shared | {"lambda": 0.02, "Wmax": 80.0}, (pre, post), 40.0, delay, 31.0)
    rule = PairSTDP(lam=0.02, w_max=80.0, tau_minus=31.0, **shared)
    _, weights = roll(rule, [[40.0]], train(pre), train(post + delay))
    np.testing.assert_allclose(weights[at, 0, 0], expected, rtol=0, atol=1e-9)
    assert np.ptp(expected) > 5


@pytest.mark.parametrize(("alpha", "bound"), [(6.0, 0.0), (0.1, 80.0)])
def test_pair_stdp_meets_its_hard_bounds_where_nest_does(alpha, bound):
    pre, post = trains(2, 60, 60)
    params = {"lambda": 0.05, "alpha": alpha, "mu_plus": 0.0, "mu_minus": 0.0, "Wmax": 80.0}
    at, expected = in_nest("stdp_synapse", params, (pre, post), 40.0, 1.0, 20.0)
    rule = PairSTDP(lam=0.05, alpha=alpha, mu_plus=0.0, mu_minus=0.0, w_max=80.0)
    _, weights = roll(rule, [[40.0]], train(pre), train(post + 1.0))
    np.testing.assert_allclose(weights[at, 0, 0], expected, rtol=0, atol=1e-9)
    assert np.count_nonzero(weights == bound) > 5


def test_with_a_negative_alpha_pair_stdp_equals_nest_until_w_max_where_only_nest_goes_on():
    pre, post = trains(3, 60, 60)
    params = {"lambda": 0.01, "alpha": -1.0, "mu_plus": 1.0, "mu_minus": 1.0, "Wmax": 1000.0}
    at, expected = in_nest("stdp_synapse", params, (pre, post), 500.0, 1.0, 20.0)
    rule = PairSTDP(alpha=-1.0, w_max=1000.0)
    _, weights = roll(rule, [[500.0]], train(pre), train(post + 1.0))
    until = int(np.argmax(expected > 1000.0))
    assert until > 5
    np.testing.assert_allclose(weights[at[:until], 0, 0], expected[:until], rtol=0, atol=1e-9)
    assert weights.max() == 1000.0


def test_triplet_stdp_equals_nest_at_every_pre_spike():
    pre, post = trains(4, 60, 60)
    params = {"Aplus": 0.3, "Aplus_triplet": 0.62, "Aminus": 0.7, "Aminus_triplet": 0.23, "Wmax": 80.0}
    taus = {"tau_plus": 16.8, "tau_plus_triplet": 101.0}
    at, expected = in_nest("stdp_triplet_synapse", params | taus, (pre, post), 40.0, 1.0, 33.7, 125.0)
    rule = TripletSTDP(0.3, 0.62, 0.7, 0.23, w_max=80.0)
    _, weights = roll(rule, [[40.0]], train(pre), train(post + 1.0))
    np.testing.assert_allclose(weights[at, 0, 0], expected, rtol=0, atol=1e-9)
    assert weights.min() == 0.0
    assert weights.max() == 80.0


def test_with_a_negative_depression_triplet_stdp_equals_nest_until_w_max_where_only_nest_goes_on():
    pre, post = trains(4, 60, 60)
    params = {"Aplus": 0.3, "Aplus_triplet": 0.0, "Aminus": -0.7, "Aminus_triplet": 0.0, "Wmax": 60.0}
    at, expected = in_nest("stdp_triplet_synapse", params | {"tau_plus": 16.8}, (pre, post), 40.0, 1.0, 33.7)
    _, weights = roll(TripletSTDP(0.3, 0.0, -0.7, 0.0, w_max=60.0), [[40.0]], train(pre), train(post + 1.0))
    until = int(np.argmax(expected > 60.0))
    assert until > 3
    np.testing.assert_allclose(weights[at[:until], 0, 0], expected[:until], rtol=0, atol=1e-9)
    assert weights.max() == 60.0


@pytest.mark.parametrize(
    ("delay", "dopamine_delay", "interval"),
    [(0.1, 0.1, 1), (1.0, 1.0, 1), (1.0, 2.5, 1), (1.0, 1.0, 10), (3.0, 0.5, 7)],
)
def test_dopamine_stdp_equals_nest_at_every_pre_spike(delay, dopamine_delay, interval):
    pre, post, dopamine = trains(5, 60, 60, 20)
    shared = {"b": 0.002, "tau_c": 100.0, "tau_n": 50.0, "tau_plus": 17.0}
    params = shared | {"A_plus": 1.3, "A_minus": 1.1, "Wmin": 20.0, "Wmax": 200.0}
    nest_args = {"dopamine_delay": dopamine_delay, "interval": interval}
    at, expected = in_nest("stdp_dopamine_synapse", params, (pre, post, dopamine), 100.0, delay, 31.0, **nest_args)
    rule = DopamineSTDP(a_plus=1.3, a_minus=1.1, tau_minus=31.0, w_min=20.0, w_max=200.0, **shared)
    signal = train(dopamine + dopamine_delay)[:, 0]
    _, weights = roll(rule, [[100.0]], train(pre), train(post + delay), signal)
    np.testing.assert_allclose(weights[at, 0, 0], expected, rtol=0, atol=1e-9)
    assert np.ptp(expected) > 10


def test_single_pairs_change_the_weight_by_the_exponential_window():
    rule = PairSTDP(lam=0.01, alpha=1.2, mu_plus=0.0, mu_minus=0.0, tau_plus=15.0, tau_minus=30.0)
    gaps = DT * np.array([1, 5, 40, 300, -1, -5, -40, -300])  # of one pre neuron and eight post neurons
    _, weights = roll(rule, np.full((1, 8), 50.0), train([50.0]), np.hstack([train([50.0 + gap]) for gap in gaps]))
    ltp, ltd = 100.0 * 0.01 * np.exp(-gaps[:4] / 15.0), -100.0 * 1.2 * 0.01 * np.exp(gaps[4:] / 30.0)
    np.testing.assert_allclose(weights[-1, 0] - 50.0, np.concatenate([ltp, ltd]), rtol=1e-11)


@pytest.mark.parametrize("rule", [rule() for rule in RULES], ids=lambda rule: type(rule).__name__)
def test_spikes_of_the_same_step_do_not_pair(rule):
    _, weights = roll(rule, [[50.0]], train([50.0]), train([50.0]), 1.0)
    np.testing.assert_array_equal(weights, 50.0)


@pytest.mark.parametrize(("alpha", "sign"), [(-1.0, 1), (1.0, -1)])
def test_alpha_of_minus_one_as_printed_potentiates_on_both_sides_and_plus_one_depresses_post_before_pre(alpha, sign):
    rule = PairSTDP(alpha=alpha, w_max=1000.0)
    before, after = (roll(rule, [[500.0]], train([50.0]), train([t]))[1][-1, 0, 0] - 500.0 for t in (60.0, 40.0))
    np.testing.assert_allclose(before, 1000 * 0.01 * 0.5 * np.exp(-0.5), rtol=1e-11)
    np.testing.assert_allclose(after, sign * 1000 * 0.01 * 0.5 * np.exp(-0.5), rtol=1e-11)


def triplet_sum(rule, pre, post):
    """Return the weight's change by sums over all earlier spikes (Pfister & Gerstner 2006), event by event."""

    def earlier(times, t, tau):
        return np.exp((times[times < t - 1e-9] - t) / tau).sum()

    plus = sum(
        earlier(pre, t, rule.tau_plus) * (rule.a2_plus + rule.a3_plus * earlier(post, t, rule.tau_y)) for t in post
    )
    minus = sum(
        earlier(post, t, rule.tau_minus) * (rule.a2_minus + rule.a3_minus * earlier(pre, t, rule.tau_x)) for t in pre
    )
    return plus - minus


def test_triplet_stdp_gives_the_frequency_dependence_of_the_pairing_protocol():
    """60 pairs at 0.1 to 50 Hz, 10 ms apart (Sjoestroem et al. 2001; Pfister & Gerstner 2006, figure 5)."""
    rule, change = TripletSTDP(), {}
    for frequency in (0.1, 10, 20, 40, 50):
        for gap in (10.0, -10.0):
            pre = 20.0 + np.arange(60) * 1000.0 / frequency
            steps = int((pre[-1] + 50.0) / 5.0)
            _, weights = roll(rule, [[1.0]], train(pre, steps, 5.0), train(pre + gap, steps, 5.0), dt=5.0)
            change[gap, frequency] = float(weights[-1, 0, 0] - 1)
            np.testing.assert_allclose(change[gap, frequency], triplet_sum(rule, pre, pre + gap), rtol=1e-9, atol=1e-12)
    before = [change[10.0, frequency] for frequency in (0.1, 10, 20, 40, 50)]
    assert abs(before[0]) < 0.05  # pairs alone don't potentiate
    assert before == sorted(before)
    assert all(change[-10.0, frequency] < -0.1 for frequency in (0.1, 10, 20))
    assert all(change[-10.0, frequency] > 0.1 for frequency in (40, 50))  # depression turns into potentiation


def test_a_delayed_reward_finds_what_the_eligibility_trace_still_holds():
    rule = RSTDP(eta=0.3, g=0.7, a_plus=1.4, tau_plus=15.0, tau_e=250.0)
    wait, reward = np.array([0, 0, 10, 10, 2000, 2000]), np.array([1.0, -0.5] * 3)  # steps; one for each post neuron
    signal = np.zeros((STEPS, 6))
    signal[1050 + wait, np.arange(6)] = reward
    state, weights = roll(rule, np.full((1, 6), 50.0), train([100.0]), np.repeat(train([105.0]), 6, axis=1), signal)
    expected = 0.3 * 0.7 * reward * 1.4 * np.exp(-5.0 / 15.0) * np.exp(-wait * DT / 250.0)
    np.testing.assert_allclose(weights[-1, 0] - 50.0, expected, rtol=1e-11)
    np.testing.assert_array_equal(weights[: 1050 + 2000, 0, 4:], 50.0)
    np.testing.assert_allclose(state.e, 1.4 * np.exp(-5.0 / 15.0 - (STEPS - 1051) * DT / 250.0), rtol=1e-11)


def test_without_reward_r_stdp_changes_nothing_and_with_post_before_pre_a_reward_depresses():
    generator = np.random.default_rng(6)
    pre, post = (generator.random((STEPS, n)) < 0.02 for n in (3, 2))
    _, weights = roll(RSTDP(), np.full((3, 2), 50.0), pre, post)
    np.testing.assert_array_equal(weights, 50.0)
    signal = np.zeros(STEPS)
    signal[1100] = 1.0
    _, weights = roll(RSTDP(), [[50.0]], train([105.0]), train([100.0]), signal)
    assert weights[-1, 0, 0] < 50.0


def test_a_reward_may_differ_between_post_neurons_and_between_synapses():
    pre, post = np.repeat(train([100.0]), 3, axis=1), np.repeat(train([105.0]), 2, axis=1)
    gain = np.exp(-5.0 / 20.0) * 0.01
    for reward in (np.array([1.0, -1.0]), np.arange(6.0).reshape(3, 2)):
        signal = np.zeros((STEPS, *reward.shape))
        signal[1050] = reward
        _, weights = roll(RSTDP(), np.full((3, 2), 50.0), pre, post, signal)
        expected = np.broadcast_to(gain * reward, (3, 2))
        np.testing.assert_allclose(weights[-1] - 50.0, expected, rtol=1e-11, atol=1e-12)


def test_dopamine_above_its_baseline_potentiates_what_is_eligible_and_below_depresses():
    changes = []
    for b, dopamine in [(0.0, 1.0), (0.01, 0.0)]:
        signal = np.zeros(STEPS)
        signal[1500] = dopamine
        _, weights = roll(DopamineSTDP(b=b), [[50.0]], train([100.0]), train([105.0]), signal)
        changes.append(float(weights[-1, 0, 0]) - 50.0)
    c, rate, t = np.exp(-5.0 / 20.0), 1 / 1000 + 1 / 200, (STEPS - 1 - 1500) * DT
    np.testing.assert_allclose(changes[0], c * np.exp(-45.0 / 1000) / 200 / rate * (1 - np.exp(-rate * t)), rtol=1e-10)
    np.testing.assert_allclose(changes[1], -c * 0.01 * 1000 * (1 - np.exp(-(STEPS - 1 - 1050) * DT / 1000)), rtol=1e-10)


SMOOTH = {
    PairSTDP: {"lam": 0.01, "alpha": 1.1, "mu_plus": 0.6, "mu_minus": 0.4, "tau_plus": 15.0, "w_max": 90.0},
    TripletSTDP: {"a2_plus": 0.1, "a3_plus": 0.2, "a2_minus": 0.3, "a3_minus": 0.1, "tau_x": 90.0, "tau_y": 120.0},
    RSTDP: {"eta": 0.2, "g": 1.5, "a_plus": 1.2, "a_minus": 0.8, "tau_plus": 15.0, "tau_minus": 30.0, "tau_e": 60.0},
    DopamineSTDP: {"a_plus": 1.2, "a_minus": 0.8, "tau_minus": 25.0, "tau_c": 80.0, "tau_n": 40.0, "b": 0.01},
}


def noise(seed, n_pre=3, n_post=2, steps=300):
    """Return pre and post spikes (T, n) and a third factor (T,)."""
    generator = np.random.default_rng(seed)
    pre, post = (1.0 * (generator.random((steps, n)) < 0.1) for n in (n_pre, n_post))
    return pre, post, generator.normal(size=steps)


@pytest.mark.parametrize("rule", RULES)
def test_gradients_with_respect_to_parameters_and_weights_equal_finite_differences(rule):
    pre, post, signal = noise(7)
    w = np.random.default_rng(8).uniform(30.0, 60.0, (3, 2))

    @jax.jit
    def loss(params, w):
        return jnp.sum(jnp.cos(roll(rule(**params), w, pre, post, signal, 1.0)[1][-1]))

    params = SMOOTH[rule]
    by_params, by_w = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, w)
    for name, value in params.items():
        h = 1e-6 * value
        numeric = (loss(params | {name: value + h}, w) - loss(params | {name: value - h}, w)) / (2 * h)
        np.testing.assert_allclose(by_params[name], numeric, rtol=1e-5, atol=1e-9, err_msg=name)
        assert abs(numeric) > 1e-8, name
    direction = np.random.default_rng(9).normal(size=w.shape)
    numeric = (loss(params, w + 1e-5 * direction) - loss(params, w - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(np.sum(by_w * direction), numeric, rtol=1e-6)


def test_gradients_are_finite_on_the_bounds():
    pre, post, _ = noise(10)

    @jax.jit
    @jax.grad
    def slope(params):
        mu, w = params
        return roll(PairSTDP(mu_plus=mu, mu_minus=mu, lam=0.3), w * jnp.ones((3, 2)), pre, post, dt=1.0)[1][-1].sum()

    for mu in (0.0, 0.5, 1.0):
        for w in (0.0, 100.0):
            assert np.isfinite(slope((mu, w))).all(), (mu, w)


@pytest.mark.parametrize("rule", RULES)
def test_every_synapse_may_have_its_own_parameters(rule):
    pre, post, signal = noise(11)
    generator = np.random.default_rng(12)
    params = {name: value * generator.uniform(0.8, 1.2, (3, 2)) for name, value in SMOOTH[rule].items()}
    _, together = roll(rule(**params), np.full((3, 2), 50.0), pre, post, signal, 1.0)
    for i in range(3):
        for j in range(2):
            own = rule(**{name: float(value[i, j]) for name, value in params.items()})
            _, alone = roll(own, [[50.0]], pre[:, i : i + 1], post[:, j : j + 1], signal, 1.0)
            np.testing.assert_allclose(together[:, i, j], alone[:, 0, 0], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_bounds_are_kept_and_the_dtype_too(rule, dtype):
    strong = {PairSTDP: {"lam": 0.5, "mu_plus": 0.0, "mu_minus": 0.0}, TripletSTDP: {"a3_plus": 40.0, "a2_minus": 40.0}}
    changes = strong.get(rule, {"a_plus": 300.0, "a_minus": 300.0})
    pre, post, signal = noise(13)
    with jax.enable_x64(dtype == "float64"):
        rule = rule(w_min=-10.0, w_max=30.0, **changes)
        state, weights = roll(rule, np.full((3, 2), 5.0, dtype), pre.astype(dtype), post > 0, signal.astype(dtype), 1.0)
        assert weights.dtype == dtype
        assert {leaf.dtype.name for leaf in jax.tree.leaves(state)} == {dtype}
        assert weights.min() == -10.0
        assert weights.max() == 30.0
        np.testing.assert_array_equal(rule.effective(weights[-1], state), weights[-1])
        assert rule.every(1.0) == 1


@pytest.mark.parametrize("rule", RULES)
def test_a_population_of_rules_under_vmap_equals_one_after_another(rule):
    pre, post, signal = noise(14)
    scale = np.array([0.8, 1.0, 1.3])
    params = {name: value * scale for name, value in SMOOTH[rule].items()}
    w = np.random.default_rng(15).uniform(30.0, 60.0, (3, 3, 2))
    together = jax.jit(jax.vmap(lambda p, w: roll(rule(**p), w, pre, post, signal, 1.0)[1]))(params, w)
    for k in range(3):
        _, alone = roll(rule(**{name: float(value[k]) for name, value in params.items()}), w[k], pre, post, signal, 1.0)
        np.testing.assert_allclose(together[k], alone, rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (PairSTDP(tau_plus=0.0), r"PairSTDP.tau_plus: expected > 0, got 0.0"),
        (PairSTDP(tau_minus=np.array([[20.0, -1.0]])), r"PairSTDP.tau_minus: expected > 0, got -1.0"),
        (PairSTDP(mu_plus=-0.5), r"PairSTDP.mu_plus: expected >= 0, got -0.5"),
        (PairSTDP(alpha=float("nan")), r"PairSTDP.alpha: expected numbers, got nan"),
        (PairSTDP(w_max=-80.0), r"PairSTDP.w_max: expected > 0, got -80.0"),
        (
            PairSTDP(w_min=200.0),
            r"PairSTDP.w_min: expected w_min <= w_max, got 200.0 with w_max 100.0; swap the bounds",
        ),
        (PairSTDP(lam=np.ones(2)), r"PairSTDP.lam: expected .* \(3, 2\), by .*None.*, got shape \(2,\)"),
        (PairSTDP(lam=np.ones((2, 3))), r"PairSTDP.lam: .* got shape \(2, 3\)"),
        (TripletSTDP(tau_x=-1.0), r"TripletSTDP.tau_x: expected > 0, got -1.0"),
        (RSTDP(tau_e=0.0), r"RSTDP.tau_e: expected > 0, got 0.0"),
        (RSTDP(w_min=np.array([[0.0], [1.0], [9.0]]), w_max=5.0), r"RSTDP.w_min: .* got 9.0 with w_max 5.0"),
        (DopamineSTDP(tau_n=float("nan")), r"DopamineSTDP.tau_n: expected > 0, got nan"),
    ],
)
def test_parameters_outside_their_domain_are_refused(rule, text):
    with pytest.raises(ValueError, match=text):
        rule.init(3, 2)


@pytest.mark.parametrize("rule", [rule() for rule in RULES], ids=lambda rule: type(rule).__name__)
def test_arguments_that_do_not_fit_are_refused(rule):
    with pytest.raises(ValueError, match="init n_post: expected an integer >= 1, got 0"):
        rule.init(3, 0)
    state, w = rule.init(3, 2), jnp.full((3, 2), 50.0)
    with pytest.raises(ValueError, match=r"step pre: expected shape \(3,\) .* got shape \(2,\); batch by jax.vmap"):
        rule.step(state, w, jnp.zeros(2), jnp.zeros(2), 0.0, DT)
    with pytest.raises(ValueError, match=r"step post: expected shape \(2,\) .* got shape \(4, 2\)"):
        rule.step(state, w, jnp.zeros(3), jnp.zeros((4, 2)), 0.0, DT)
    with pytest.raises(
        ValueError, match=r"step w: expected real numbers of shape \(n_pre, n_post\), got shape \(3, 2\) of int"
    ):
        rule.step(state, w.astype(int), jnp.zeros(3), jnp.zeros(2), 0.0, DT)
    if isinstance(rule, (RSTDP, DopamineSTDP)):
        with pytest.raises(ValueError, match=r"step signal: expected a scalar, \(n_post,\) .* got shape \(1, 3\)"):
            rule.step(state, w, jnp.zeros(3), jnp.zeros(2), jnp.zeros(3), DT)
