"""Differentiable plasticity against closed forms, numpy and finite differences; in double precision unless said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.snn.differentiable import DPBCM, NDPBCM, DPLinearDecay, DPOja, NDPOja, Oja

pytestmark = pytest.mark.usefixtures("compiled_soon")

RULES = [DPLinearDecay, DPOja, Oja, DPBCM, NDPOja, NDPBCM]
W_M = np.array([[0.5, -1.0], [2.0, 0.3]])  # from neuron (row) to neuron (column)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def learn(rule, x, y, signal=0.0, e=None):
    """Return the state after one update for each row of averages x (K, n_pre) and y (K, n_post)."""
    state = rule.init(x.shape[1], y.shape[1])
    state = state if e is None else state._replace(e=jnp.asarray(e))

    def one(state, xy):
        return rule.update(rule.observe(state, *xy, signal)), None

    return jax.lax.scan(one, state, (jnp.asarray(x), jnp.asarray(y)))[0]


def spikes(seed, n, steps=200, rate=0.3):
    return 1.0 * (np.random.default_rng(seed).random((steps, n)) < rate)


def roll(rule, w, pre, post, signal=0.0, dt=1.0):
    """Return the states after each step."""

    def one(state, x):
        state, same = rule.step(state, w, *x, signal, dt)
        assert same is w
        return state, state

    return jax.lax.scan(one, rule.init(pre.shape[1], post.shape[1]), (jnp.asarray(pre), jnp.asarray(post)))[1]


def in_numpy(rule, pre, post, signal=0.0):
    """Return E (n_post, n_pre), phi and M after each interval, as the source has them, from eq. 10-21."""
    n, name = round(rule.delta_tau), type(rule).__name__
    e, phi, found = np.zeros((post.shape[1], pre.shape[1])), np.zeros(pre.shape[1]), []
    for k in range(len(pre) // n):
        x, y = pre[k * n : (k + 1) * n].mean(axis=0), post[k * n : (k + 1) * n].mean(axis=0)
        m = W_M.T @ y + signal if name in ("NDPOja", "NDPBCM") else np.ones_like(y)
        left, right = y, x
        if name in ("DPOja", "NDPOja"):
            left = m * y - e @ x
        elif name in ("DPBCM", "NDPBCM"):
            left, right = m * y, x * (x - (phi + rule.psi))
            phi = (1 - rule.eta_phi) * phi + rule.eta_phi * x
        e = (1 - rule.eta) * e + rule.eta * np.outer(left, right)
        found.append((e, phi, m))
    return found


@pytest.mark.parametrize(
    "rule",
    [
        DPLinearDecay(eta=0.3, delta_tau=20.0),
        DPOja(eta=0.3, delta_tau=20.0),
        DPBCM(eta=0.3, psi=0.1, eta_phi=0.2, delta_tau=20.0),
        NDPOja(W_M, eta=0.3, delta_tau=20.0),
        NDPBCM(W_M, eta=0.3, psi=0.1, eta_phi=0.2, delta_tau=20.0),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_each_rule_equals_the_source_equations_in_numpy(rule):
    pre, post = spikes(1, 4), spikes(2, 2)
    states = roll(rule, jnp.ones((4, 2)), pre, post, signal=0.25)
    for k, (e, phi, m) in enumerate(in_numpy(rule, pre, post, signal=0.25)):
        at = (k + 1) * 20 - 1
        np.testing.assert_allclose(states.e[at], e.T, rtol=1e-12, atol=1e-15)
        if isinstance(rule, (DPBCM, NDPBCM)):
            np.testing.assert_allclose(states.phi[at], phi, rtol=1e-12)
        if isinstance(rule, (NDPOja, NDPBCM)):
            np.testing.assert_allclose(states.modulation[at], m, rtol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_step_equals_the_loop_of_intervals_and_the_weights_are_constant_within_one(rule):
    rule, dt = rule(delta_tau=10.0, alpha=0.7, eta=0.3), 0.5
    n = rule.every(dt)
    assert n == 20
    pre, post, w = spikes(3, 3, 60), spikes(4, 2, 60), np.random.default_rng(5).normal(size=(3, 2))

    def interval(state, trains):
        used = rule.effective(w, state)
        state, _ = jax.lax.scan(lambda state, x: (rule.observe(state, *x, 1.5), None), state, trains)
        state = rule.update(state)
        return state, (state, used)

    states = roll(rule, w, pre, post, 1.5, dt)
    trains = tuple(jnp.asarray(train.reshape(60 // n, n, -1)) for train in (pre, post))
    _, (after, used) = jax.lax.scan(interval, rule.init(3, 2), trains)
    for stepped, looped in zip(states, after, strict=True):
        np.testing.assert_allclose(stepped[n - 1 :: n], looped, rtol=1e-12)
    np.testing.assert_allclose(used[1:], w + 0.7 * np.asarray(after.e[:-1]), rtol=1e-12)
    np.testing.assert_array_equal(used[0], w)
    e = np.concatenate([np.zeros((1, 3, 2)), states.e])[:-1].reshape(60 // n, n, 3, 2)  # as each step found it
    np.testing.assert_array_equal(e, np.repeat(e[:, :1], n, axis=1))
    assert np.abs(np.diff(used, axis=0)).max() > 0.01


def test_linear_decay_approaches_the_product_of_the_rates_geometrically():
    x, y = np.tile([0.2, 0.9, 0.4], (12, 1)), np.tile([0.5, 0.1], (12, 1))
    state = learn(DPLinearDecay(eta=0.2), x, y)
    np.testing.assert_allclose(state.e, np.outer(x[0], y[0]) * (1 - 0.8**12), rtol=1e-12)
    silent = learn(DPLinearDecay(eta=0.2), 0 * x, 0 * y, e=np.ones((3, 2)))
    np.testing.assert_allclose(silent.e, np.full((3, 2), 0.8**12), rtol=1e-12)


def test_the_fixed_point_of_oja_is_the_first_principal_component_of_the_input_correlations():
    generator = np.random.default_rng(6)
    mixing = generator.normal(size=(4, 4))
    x = generator.normal(size=(30000, 4)) @ mixing
    rule = Oja(eta=5e-4, delta_tau=3.0, e_max=10.0)
    w = jnp.zeros((4, 2))

    def interval(state, x):
        y = x @ rule.effective(w, state)  # linear neurons
        for share in (0.0, 1.0, 2.0):  # three steps whose average is (x, y)
            state = rule.observe(state, share * x, share * y)
        return rule.update(state), None

    start = rule.init(4, 2)._replace(e=jnp.asarray(generator.normal(size=(4, 2))))
    state, _ = jax.lax.scan(interval, start, jnp.asarray(x))
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    assert values[-1] > 1.5 * values[-2]
    first = vectors[:, -1]
    np.testing.assert_allclose(np.abs(first @ np.asarray(state.e)), 1.0, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(state.e, axis=0), 1.0, atol=0.02)


def test_dp_oja_as_printed_approaches_the_ridge_regression_of_post_on_pre_rates():
    generator = np.random.default_rng(7)
    x, y = generator.uniform(0, 2, (5, 3)), generator.uniform(0, 2, (5, 2))
    state = learn(DPOja(eta=1e-3), np.tile(x, (4000, 1)), np.tile(y, (4000, 1)))
    ridge = np.linalg.solve(x.T @ x / 5 + np.eye(3), x.T @ y / 5)
    np.testing.assert_allclose(state.e, ridge, atol=5e-3)
    assert np.abs(ridge).max() > 0.3


def test_the_threshold_of_bcm_separates_potentiation_from_depression():
    rates = np.array([0.1, 0.29, 0.3, 0.31, 0.8])
    x, y = rates[None, :], np.array([[0.5]])
    state = learn(DPBCM(psi=0.3), x, y)
    np.testing.assert_array_equal(np.sign(state.e[:, 0].round(15)), [-1, -1, 0, 1, 1])
    per_neuron = learn(DPBCM(psi=np.array([0.0, 0.4, 0.2, 0.4, 0.9])), x, y)
    np.testing.assert_array_equal(np.sign(per_neuron.e[:, 0]), [1, -1, 1, -1, -1])


def test_the_threshold_of_bcm_slides_towards_the_mean_rate_so_that_a_rise_potentiates_and_a_fall_depresses():
    x = np.tile([0.2, 0.6], (30, 1))
    state = learn(DPBCM(eta_phi=0.1), x, np.ones((30, 1)))
    np.testing.assert_allclose(state.phi, x[0] * (1 - 0.9**30), rtol=1e-12)
    rule = DPBCM(eta=1.0, eta_phi=0.1)
    state = rule.observe(state, jnp.array([0.4, 0.4]), jnp.ones(1))
    np.testing.assert_array_equal(np.sign(rule.update(state).e[:, 0]), [1, -1])


@pytest.mark.parametrize("rule", [NDPOja, NDPBCM])
@pytest.mark.parametrize("w_m", [None, np.zeros((2, 2))])
def test_with_a_modulator_of_zero_nothing_is_learned_and_what_there_is_decays(rule, w_m):
    x, y = spikes(8, 3), spikes(9, 2)
    np.testing.assert_array_equal(learn(rule(w_m), x, y).e, 0.0)
    assert np.abs(learn(rule(w_m), x, y, e=np.ones((3, 2))).e).max() < 1e-3
    assert np.abs(learn(rule(w_m), x, y, signal=1.0).e).max() > 1e-2


@pytest.mark.parametrize(("modulated", "plain"), [(NDPOja, DPOja), (NDPBCM, DPBCM)])
def test_with_a_modulator_of_one_the_plain_rule_is_back_and_minus_one_learns_the_opposite(modulated, plain):
    x, y = spikes(10, 3), spikes(11, 2)
    expected = learn(plain(eta=0.2), x, y).e
    np.testing.assert_allclose(learn(modulated(eta=0.2), x, y, signal=1.0).e, expected, rtol=1e-12)
    np.testing.assert_allclose(learn(modulated(eta=0.2), x, y, signal=-1.0).e, -expected, rtol=1e-12)


def test_the_modulator_reaches_each_post_neuron_by_its_own_weights_and_signal():
    x, y = np.array([[1.0, 0.5]]), np.array([[0.5, 1.0]])
    rule = NDPOja(W_M, eta=1.0)
    state = learn(rule, x, y, signal=np.array([0.1, -0.2]))
    m = np.array([0.5 * 0.5 + 2.0 * 1.0 + 0.1, -1.0 * 0.5 + 0.3 * 1.0 - 0.2])
    np.testing.assert_allclose(state.modulation, m, rtol=1e-14)
    np.testing.assert_allclose(state.e, np.outer(x[0], m * y[0]), rtol=1e-14)


@pytest.mark.parametrize("rule", [DPLinearDecay, DPOja, Oja, DPBCM])
def test_rules_without_a_third_factor_ignore_the_signal(rule):
    x, y = spikes(12, 3), spikes(13, 2)
    np.testing.assert_array_equal(learn(rule(), x, y, signal=7.0).e, learn(rule(), x, y).e)


OWN = {"psi": np.array([0.1, 0.05, 0.2]), "eta_phi": np.array([0.2, 0.1, 0.3])}
PARAMS = {DPLinearDecay: {}, DPOja: {}, Oja: {}, DPBCM: OWN, NDPOja: {"w_m": W_M}, NDPBCM: {"w_m": W_M, **OWN}}
SHARED = {"eta": 0.2, "alpha": 0.9}


def task(rule, params, w, x):
    """Return a loss of smooth neurons over several updates: y = tanh(x (w + alpha E)), which E then learns from."""
    rule = rule(delta_tau=3.0, **params)

    def one(state, x):
        y = jnp.tanh(x @ rule.effective(w, state))
        state, _ = rule.step(state, w, x, y, 0.3, 1.0)
        return state, y

    _, y = jax.lax.scan(one, rule.init(*w.shape), x)
    return jnp.sum(jnp.cos(3 * y))


@pytest.mark.parametrize("rule", RULES)
def test_gradients_through_several_updates_equal_finite_differences_for_parameters_of_each_synapse(rule):
    generator = np.random.default_rng(14)
    x, w = jnp.asarray(generator.uniform(0, 1, (15, 3))), jnp.asarray(generator.normal(size=(3, 2)))
    params = PARAMS[rule] | {name: generator.uniform(low, 1.2 * low, (3, 2)) for name, low in SHARED.items()}
    loss = jax.jit(lambda params, w: task(rule, params, w, x))
    by_params, by_w = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, w)
    h = 1e-6
    for name, value in params.items():
        direction = generator.normal(size=np.shape(value))
        up, down = (loss(params | {name: value + s * h * direction}, w) for s in (1, -1))
        numeric = (up - down) / (2 * h)
        np.testing.assert_allclose(np.sum(by_params[name] * direction), numeric, rtol=1e-6, atol=1e-9, err_msg=name)
        assert abs(numeric) > 1e-5, name
    direction = generator.normal(size=(3, 2))
    numeric = (loss(params, w + h * direction) - loss(params, w - h * direction)) / (2 * h)
    np.testing.assert_allclose(np.sum(by_w * direction), numeric, rtol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_of_episodes_under_vmap_equals_one_after_another_and_single_precision_is_kept(rule):
    rule = rule(eta=0.3, delta_tau=10.0)
    with jax.enable_x64(False):
        pre = np.stack([spikes(seed, 3) for seed in (15, 16, 17)]).astype("float32")
        post = np.stack([spikes(seed, 2) for seed in (18, 19, 20)]) > 0
        w = jnp.ones((3, 2))
        one = jax.jit(lambda pre, post: roll(rule, w, pre, post, 1.0))
        together = jax.jit(jax.vmap(one))(pre, post)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(together)} == {"float32", "int32"}
        assert rule.effective(w, jax.tree.map(lambda leaf: leaf[0, -1], together)).dtype == "float32"
        for k in range(3):
            np.testing.assert_allclose(together.e[k], one(pre[k], post[k]).e, rtol=1e-5, atol=1e-7)


def test_the_trace_is_clipped_and_the_gradient_ends_there():
    x, y = np.full((50, 3), 4.0), np.full((50, 2), 3.0)
    state = learn(DPLinearDecay(eta=0.5, e_max=2.5), x, y)
    np.testing.assert_array_equal(state.e, 2.5)
    by_eta, by_bound = jax.grad(
        lambda eta, bound: learn(DPLinearDecay(eta=eta, e_max=bound), x, y).e.sum(), argnums=(0, 1)
    )(0.5, 2.5)
    assert by_eta == 0.0
    assert by_bound == 6.0
    np.testing.assert_allclose(learn(DPLinearDecay(eta=0.5, e_max=np.inf), x, y).e, 12.0)


def test_the_interval_may_be_evolved():
    pre, post = spikes(21, 3), spikes(22, 2)
    run = jax.jit(jax.vmap(lambda tau: roll(DPLinearDecay(delta_tau=tau), jnp.ones((3, 2)), pre, post).e[-1]))
    together = run(jnp.array([5.0, 20.0]))
    for k, tau in enumerate((5.0, 20.0)):
        alone = roll(DPLinearDecay(delta_tau=tau), jnp.ones((3, 2)), pre, post).e[-1]
        np.testing.assert_allclose(together[k], alone, rtol=1e-12)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (DPOja(delta_tau=0.0), r"DPOja.delta_tau: expected > 0, got 0.0"),
        (DPOja(delta_tau=np.ones((3, 2))), r"DPOja.delta_tau: expected a number, got shape \(3, 2\)"),
        (DPLinearDecay(e_max=-1.0), r"DPLinearDecay.e_max: expected >= 0, got -1.0"),
        (DPLinearDecay(eta=float("nan")), r"DPLinearDecay.eta: expected numbers, got nan"),
        (Oja(alpha=np.ones(2)), r"Oja.alpha: expected .* \(3, 2\), by .*, got shape \(2,\)"),
        (DPBCM(psi=np.ones(2)), r"DPBCM.psi: expected a number or shape \(3,\), got shape \(2,\)"),
        (NDPBCM(eta_phi=np.ones((3, 1))), r"NDPBCM.eta_phi: expected a number or shape \(3,\), got shape \(3, 1\)"),
        (NDPOja(np.ones((3, 3))), r"NDPOja.w_m: expected shape \(2, 2\), got shape \(3, 3\)"),
        (NDPOja(np.ones((1, 2))), r"NDPOja.w_m: expected shape \(2, 2\), got shape \(1, 2\)"),
        (NDPOja(0.5), r"NDPOja.w_m: expected shape \(2, 2\), got shape \(\)"),
    ],
)
def test_parameters_outside_their_domain_are_refused(rule, text):
    with pytest.raises(ValueError, match=text):
        rule.init(3, 2)


def test_an_interval_that_is_no_whole_number_of_steps_is_refused():
    for tau in (25.5, 0.4):
        with pytest.raises(
            ValueError, match=rf"DPOja.delta_tau: expected a whole number of steps of 1.0 ms, got {tau} ms"
        ):
            DPOja(delta_tau=tau).every(1.0)
    assert DPOja(delta_tau=0.3).every(0.1) == 3


@pytest.mark.parametrize("rule", RULES)
def test_spikes_and_signals_that_do_not_fit_are_refused(rule):
    rule = rule()
    state, w = rule.init(3, 2), jnp.ones((3, 2))
    with pytest.raises(
        ValueError, match=r"step pre: expected shape \(3,\) for weights of shape \(3, 2\), got shape \(2,\)"
    ):
        rule.step(state, w, jnp.zeros(2), jnp.zeros(2), 0.0, 1.0)
    with pytest.raises(ValueError, match=r"observe signal: expected a scalar or shape \(2,\), got shape \(3, 2\)"):
        rule.observe(state, jnp.zeros(3), jnp.zeros(2), jnp.zeros((3, 2)))
