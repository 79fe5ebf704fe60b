"""Cue association: the task's statistics, the network's equations, its gradient, and that plasticity learns it."""

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stepping import with_step

from l2l_snn.checks import check_optimizee, require
from l2l_snn.loop.job import load
from l2l_snn.snn.cells import SRMAlpha
from l2l_snn.snn.surrogate import smooth
from optimizees.cue_association import CueAssociation, RecurrentCueAssociation, figures
from optimizees.cue_association.network import Extras, layer, send
from optimizees.cue_association.optimizee import RULES
from optimizees.cue_association.trials import LEFT, NOISE, NONE, RIGHT, Schedule, reward, sample_cues, trials
from optimizers.gradient_ascent import GradientAscent

pytestmark = pytest.mark.usefixtures("compiled_soon")

TINY = CueAssociation(
    schedule=Schedule(cues=3, cue=10.0, gap=5.0, rests=(10.0, 15.0), horizon=80.0, group=3),
    trials=4, delta_tau=10.0, hidden=6, w_hidden=2.0, w_out=8.0, alpha=20.0, precision="float64",
)  # fmt: skip


def genome(optimizee, seed=1):
    return optimizee.space.sample(np.random.default_rng(seed), 1)


@pytest.fixture(scope="module")
def many():
    """400 trials of each noise level, as the source has them."""
    schedule = Schedule()

    @jax.jit
    def drawn(key, noise):
        cues, rests = sample_cues(schedule, key, 400)
        return trials(schedule, noise, key, cues, rests, True), rests

    return {name: jax.device_get(drawn(jax.random.key(1), noise)) for name, noise in NOISE.items()}


@pytest.mark.parametrize(("noise", "event", "rest", "always"), [("low", 0.75, 0.05, 0.2), ("high", 0.65, 0.25, 0.4)])
def test_each_group_fires_as_often_as_the_source_says(many, noise, event, rest, always):
    found, rests = many[noise]
    spikes = found.spikes.reshape(500, 400, 4, 10)
    assert set(np.unique(spikes)) == {0.0, 1.0}
    time = np.arange(500)
    shown = np.zeros((500, 400, 4), bool)
    for trial in range(400):
        for k, cue in enumerate(found.cues[trial]):
            shown[25 * k : 25 * (k + 1), trial, cue] = True
        shown[:, trial, 2] = time >= 175 + rests[trial]
    for group, (low, high) in enumerate([(rest, event)] * 3 + [(always, always)]):
        for there, p in ((False, low), (True, high)):
            sample = spikes[:, :, group][shown[:, :, group] == there]
            if sample.size:
                assert sample.mean() == pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / sample.size))
    cue_spikes = spikes[:25, found.cues[:, 0] == LEFT, LEFT].reshape(25, -1)  # independent in time, and of each other
    assert abs(np.corrcoef(cue_spikes[:-1].ravel(), cue_spikes[1:].ravel())[0, 1]) < 0.03


def test_cues_rests_and_answers_are_those_of_the_source(many):
    found, rests = many["low"]
    assert found.cues.shape == (400, 7)
    assert (found.cues == RIGHT).mean() == pytest.approx(0.5, abs=4.5 * 0.5 / np.sqrt(2800))
    assert [np.isclose(rests, rest).mean() for rest in (45, 75, 105)] == pytest.approx([1 / 3] * 3, abs=0.11)
    np.testing.assert_array_equal(found.answer, (found.cues.sum(axis=1) >= 4).astype(int))
    np.testing.assert_array_equal(found.deciding.sum(axis=0), 500 - 175 - rests)
    assert found.answer.mean() == pytest.approx(0.5, abs=0.12)


def alpha_kernel(spikes, tau):
    """Return sum over s < t of (t - s) / tau exp(1 - (t - s) / tau) spikes[s], by the sum itself."""
    out = np.zeros_like(spikes)
    for t in range(len(spikes)):
        for s in range(t):
            out[t] += (t - s) / tau * np.exp(1 - (t - s) / tau) * spikes[s]
    return out


def growth(optimizee, mean, hertz):
    """Return the factor of scaled weights after an interval at a constant rate, and the mean rate, by small steps."""
    exponent, dt = 0.0, optimizee.delta_tau / 20_000
    for _ in range(20_000):
        step = (hertz - mean) * dt / optimizee.scaling_tau
        exponent = exponent + optimizee.scaling * (optimizee.scaling_target - mean - step / 2) * dt / 1000
        mean = mean + step
    return np.exp(exponent), mean


def by_the_letter(optimizee, p, name, pre, third=None):
    """Return spikes, potentials and modulation of one layer in one trial (T, n_pre), eq. 6-21 with loops over time.

    `third`: the third factor of an interval, of its number and the spikes a step of the layer in it.
    """
    T, interval = len(pre), round(optimizee.delta_tau)
    W = p[f"w_{name}"].T  # (n_post, n_pre), as the source has it
    n_post, n_pre = W.shape
    E, phi = np.zeros(W.shape), np.zeros(n_pre)
    a = alpha_kernel(pre, optimizee.tau_s)
    s, u, modulation = np.zeros((T, n_post)), np.zeros((T, n_post)), []
    alpha = np.zeros_like(W) if optimizee.rule == "none" else p[f"alpha_{name}"].T
    mean = np.full(n_post, optimizee.scaling_target)
    for t in range(T):
        d = t - np.arange(t)  # ms since each step before
        nu = -optimizee.scale_ref * optimizee.v_th * d / optimizee.tau_ref * np.exp(1 - d / optimizee.tau_ref)
        u[t] = (W + alpha * E) @ a[t] + nu @ s[:t]
        s[t] = u[t] >= optimizee.v_th
        if (t + 1) % interval:
            continue
        r_pre, r_post = (x[t + 1 - interval : t + 1].mean(axis=0) for x in (pre, s))
        if optimizee.scaling and name == "hidden":
            factor, mean = growth(optimizee, mean, 1000 * r_post)
            W = np.where(W > 0, factor[:, None] * W, W)
        if optimizee.rule == "none":
            continue
        eta = p[f"eta_{name}"]
        M = p[f"w_m_{name}"].T @ r_post if optimizee.rule.startswith("nd") else np.ones(n_post)
        if third is not None:
            M = M + p[f"w_third_{name}"] * third((t + 1) // interval - 1, r_post)
        modulation.append(M)
        if optimizee.rule == "decay":
            change = np.outer(r_post, r_pre)
        elif optimizee.rule == "oja_1982":
            change = np.outer(r_post, r_pre) + E - r_post[:, None] ** 2 * E  # and (1 - eta) E below
        elif optimizee.rule.endswith("oja"):
            change = np.outer(M * r_post - E @ r_pre, r_pre)
        else:
            change = np.outer(M * r_post, r_pre * (r_pre - (phi + p[f"psi_{name}"])))
            phi = (1 - p[f"eta_phi_{name}"]) * phi + p[f"eta_phi_{name}"] * r_pre
        E = np.clip((1 - eta) * E + eta * change, -optimizee.e_max, optimizee.e_max)
    return s, u, np.array(modulation)


@pytest.mark.parametrize("rule", RULES)
def test_network_equals_the_equations_as_loops_in_numpy(rule):
    optimizee = replace(TINY, rule=rule, eta=0.3, alpha=100.0)
    params = optimizee.space.decode(genome(optimizee)[0])
    params["w_out"] = np.abs(params["w_out"])  # both outputs fire
    shown = optimizee.watch(params, 5, np.array([[LEFT, RIGHT, LEFT], [RIGHT, RIGHT, LEFT], [LEFT, LEFT, LEFT]]))
    spikes = np.zeros(2)
    for one in ({key: value[i] for key, value in shown.items()} for i in range(3)):
        hidden, _, m_hidden = by_the_letter(optimizee, params, "hidden", one["inputs"])
        out, potential, m_out = by_the_letter(optimizee, params, "out", hidden)
        np.testing.assert_array_equal(one["hidden"], hidden)
        np.testing.assert_array_equal(one["out"], out)
        np.testing.assert_allclose(one["potential"], potential, rtol=0, atol=1e-9)
        modulation = (m_hidden, m_out) if rule.startswith("nd") else (0.0 * one["modulation_hidden"], 0.0)
        np.testing.assert_allclose(one["modulation_hidden"], modulation[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(one["modulation_out"], modulation[1], rtol=0, atol=1e-12)
        log_odds = optimizee.gain * out[one["deciding"] > 0].mean(axis=0)
        np.testing.assert_allclose(one["probability"], np.exp(log_odds) / np.exp(log_odds).sum(), rtol=1e-12)
        spikes += hidden.sum(), out.sum()
        if rule != "none":  # traces matter here: without them the hidden layer fires otherwise
            fixed = by_the_letter(replace(optimizee, rule="none"), params, "hidden", one["inputs"])[0]
            assert (fixed != hidden).any()
    assert (spikes > 20).all()


@pytest.mark.parametrize(("rule", "third"), [("nd_oja", "novelty"), ("nd_bcm", "reward"), ("nd_bcm", "novelty")])
def test_modulators_get_the_change_of_the_inputs_rates_or_the_reward_of_what_the_output_says(rule, third):
    optimizee = replace(TINY, rule=rule, third=third, w_third=30.0, eta=0.3, alpha=100.0)
    params = optimizee.space.decode(genome(optimizee)[0])
    params["w_out"] = np.abs(params["w_out"])
    assert ("w_third_hidden" in params) == (third == "novelty")
    shown = optimizee.watch(params, 5, np.array([[LEFT, RIGHT, LEFT], [RIGHT, RIGHT, LEFT]]))
    heard = []
    for i, right in enumerate((LEFT, RIGHT)):
        one = {key: value[i] for key, value in shown.items()}
        rates, deciding = one["inputs"].reshape(8, 10, 12).mean(axis=1), one["deciding"].reshape(8, 10).mean(axis=1)

        def new(k, r_post, rates=rates):
            heard.append(np.abs(rates[k] - rates[k - 1]).mean() if k else 0.0)
            return heard[-1]

        def rewarded(k, r_post, right=right, deciding=deciding):
            heard.append(deciding[k] * (r_post[right] - r_post[1 - right]))
            return heard[-1]

        of_hidden, of_out = (new, new) if third == "novelty" else (None, rewarded)
        hidden, _, m_hidden = by_the_letter(optimizee, params, "hidden", one["inputs"], of_hidden)
        out, potential, m_out = by_the_letter(optimizee, params, "out", hidden, of_out)
        np.testing.assert_array_equal(one["hidden"], hidden)
        np.testing.assert_array_equal(one["out"], out)
        np.testing.assert_allclose(one["potential"], potential, rtol=0, atol=1e-9)
        np.testing.assert_allclose(one["modulation_hidden"], m_hidden, rtol=0, atol=1e-12)
        np.testing.assert_allclose(one["modulation_out"], m_out, rtol=0, atol=1e-12)
    assert len({round(value, 6) for value in heard}) > 4


@pytest.mark.parametrize("rule", ["none", "decay"])
def test_synaptic_scaling_brings_hidden_neurons_nearer_to_their_rate_by_their_positive_weights(rule):
    optimizee = replace(TINY, rule=rule, scaling=0.3, scaling_target=40.0, scaling_tau=20.0)
    params = optimizee.space.decode(genome(optimizee)[0])
    shown = optimizee.watch(params, 5, np.array([[LEFT, RIGHT, LEFT], [RIGHT, RIGHT, LEFT]]))
    for i in range(2):
        hidden, _, _ = by_the_letter(optimizee, params, "hidden", shown["inputs"][i])
        _, potential, _ = by_the_letter(optimizee, params, "out", hidden)
        np.testing.assert_array_equal(shown["hidden"][i], hidden)
        np.testing.assert_allclose(shown["potential"][i], potential, rtol=0, atol=1e-9)
    plain = replace(optimizee, scaling=0.0).watch(params, 5, shown["cues"])
    off, on = (np.abs(1000 * found["hidden"][:, 30:].mean(axis=1) - 40.0).mean() for found in (plain, shown))
    assert on < 0.8 * off


@pytest.mark.parametrize("rule", ["none", "nd_bcm"])
def test_gradient_of_a_smooth_network_is_that_of_finite_differences_and_the_contract_is_kept(rule):
    require(check_optimizee(replace(TINY, rule=rule, smooth=0.5), smooth=True, individuals=4))


@pytest.mark.parametrize("through", [True, False])
def test_slayers_gradient_passes_nothing_through_refractoriness(through):
    """One neuron, one weight, smooth spikes: d u_t / d w is what arrives, unless own spikes count too."""
    cell = SRMAlpha(spike=smooth(0.5), through_refractory=through)
    trains = np.random.default_rng(1).binomial(1, 0.5, (12, 1, 1)).astype(float)
    sent = send(cell, jnp.asarray(trains), 1.0, 12)
    slope = jax.grad(lambda w: layer(cell, None, w, sent, 1.0, 1).sent.counts.sum())(jnp.array([[6.0]]))
    arrives = alpha_kernel(trains[:, 0, 0], 10.0)
    u, s, du, ds = np.zeros((4, 12))
    for t in range(12):
        nu = np.array([-20.0 * (t - k) / 2 * np.exp(1 - (t - k) / 2) for k in range(t)])
        u[t], du[t] = 6.0 * arrives[t] + nu @ s[:t], arrives[t] + through * nu @ ds[:t]
        s[t] = 1 / (1 + np.exp(-0.5 * (u[t] - 10.0)))
        ds[t] = 0.5 * s[t] * (1 - s[t]) * du[t]
    assert slope[0, 0] == pytest.approx(ds.sum(), rel=1e-4)


@pytest.mark.parametrize("fields", [{"third": "reward", "scaling": 0.05}, {"third": "novelty"}])
def test_the_gradient_passes_through_third_factor_and_scaling(fields):
    require(check_optimizee(replace(TINY, rule="nd_oja", smooth=0.5, **fields), smooth=True, individuals=4))


def test_truncated_gradients_are_those_of_the_pieces_and_whole_where_a_piece_is_as_long_as_the_trial():
    """One neuron, one weight, smooth spikes: own spikes count since the last cut."""
    trains = np.random.default_rng(1).binomial(1, 0.5, (12, 1, 1)).astype(float)
    cell = SRMAlpha(spike=smooth(0.5))
    sent = send(cell, jnp.asarray(trains), 1.0, 2)

    def slope(intervals):
        extras = Extras(truncate=intervals)
        spikes = lambda w: layer(cell, None, w, sent, 1.0, 1, extras).sent.counts.sum()  # noqa: E731
        return jax.grad(spikes)(jnp.array([[6.0]]))[0, 0]

    arrives = alpha_kernel(trains[:, 0, 0], 10.0)
    for intervals in (1, 2, 6, 9):
        u, s, du, ds = np.zeros((4, 12))
        for t in range(12):
            nu = np.array([-20.0 * (t - k) / 2 * np.exp(1 - (t - k) / 2) for k in range(t)])
            cut = t - t % (2 * intervals)
            u[t], du[t] = 6.0 * arrives[t] + nu @ s[:t], arrives[t] + nu[cut:] @ ds[cut:t]
            s[t] = 1 / (1 + np.exp(-0.5 * (u[t] - 10.0)))
            ds[t] = 0.5 * s[t] * (1 - s[t]) * du[t]
        assert slope(intervals) == pytest.approx(ds.sum(), rel=1e-4)
    found = {}
    for truncate in (0, 20, 80, 200):
        optimizee = replace(TINY, smooth=0.5, truncate=truncate)
        found[truncate] = optimizee.evaluate_batch(genome(optimizee), np.array([3]), with_grad=True)
        assert found[truncate].fitness == found[0].fitness
    np.testing.assert_allclose(found[80].grad, found[0].grad, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found[200].grad, found[0].grad, rtol=1e-9, atol=1e-15)
    assert np.abs(found[20].grad - found[0].grad).max() > 0.1 * np.abs(found[0].grad).max()


def test_a_spiking_network_keeps_the_contract():
    require(check_optimizee(replace(TINY, precision="float32", decision="sampled"), individuals=4))


def test_no_bit_depends_on_the_chunk():
    optimizee = replace(TINY, precision="float32")
    z = optimizee.space.sample(np.random.default_rng(2), 3)
    seeds = np.array([4, 5, 6])
    together = optimizee.evaluate_batch(z, seeds, with_grad=True)
    for i in range(3):
        alone = optimizee.evaluate_batch(z[i : i + 1], seeds[i : i + 1], with_grad=True)
        assert alone.fitness[0] == together.fitness[i]
        assert alone.grad is not None
        assert together.grad is not None
        assert alone.grad[0].tobytes() == together.grad[i].tobytes()


def test_a_replay_gives_the_fitness_of_the_evaluation_that_had_a_gradient():
    optimizee = replace(TINY, precision="float32")
    z = optimizee.space.sample(np.random.default_rng(2), 5)
    seeds = np.arange(1, 6)
    with_grad = optimizee.evaluate_batch(z, seeds, with_grad=True)
    replayed = optimizee.evaluate_batch(z, seeds, with_artifacts=True)
    np.testing.assert_array_equal(replayed.fitness, with_grad.fitness)
    assert replayed.artifacts["inputs"].shape == (5, 80, 12)


def test_reinforce_has_the_gradient_of_the_mean_reward_in_expectation():
    """Its mean over many draws of the actions is the exact gradient times (B - 1) / B, which the baseline costs."""
    log_odds, answer = np.array([[0.5, -0.3], [1.0, 2.0], [0.0, 0.0]]), np.array([LEFT, LEFT, RIGHT])
    slope = jax.value_and_grad(lambda x, key, decision: reward(x, answer, key, decision)[0])
    keys = jax.random.split(jax.random.key(3), 20_000)
    values, grads = map(np.asarray, jax.vmap(lambda key: slope(log_odds, key, "sampled"))(keys))
    value, grad = slope(log_odds, keys[0], "expected")
    p = np.exp(log_odds) / np.exp(log_odds).sum(axis=1, keepdims=True)
    p_right = p[np.arange(3), answer]
    assert value == pytest.approx((2 * p_right - 1).mean(), abs=1e-6)
    by_hand = 2 / 3 * p_right * (1 - p_right)  # d (2 p - 1) / d log-odds of the right one, of the mean of three
    np.testing.assert_allclose(grad[np.arange(3), answer], by_hand, rtol=1e-5)
    np.testing.assert_allclose(np.unique(values.round(3)), [-1.0, -1 / 3, 1 / 3, 1.0], atol=1e-3)
    assert values.mean() == pytest.approx(value, abs=4.5 * values.std() / np.sqrt(len(values)))
    error = 4.5 * grads.std(axis=0) / np.sqrt(len(grads))
    assert (np.abs(grads.mean(axis=0) - 2 / 3 * grad) <= error).all()


@pytest.mark.parametrize(("rule", "low", "high"), [("decay", 0.9, 1.0), ("none", -0.3, 0.3)])
def test_plasticity_learns_and_fixed_weights_do_not(rule, low, high):
    """Three cues and one rest of 50 ms; with seed 2 `decay` comes to 0.99, and `none` to 0.09."""
    schedule = Schedule(cues=3, rests=(50.0,), horizon=175.0)
    optimizee = CueAssociation(rule, trials=24, hidden=16, schedule=schedule)
    optimizer = with_step(GradientAscent, learning_rate=0.05, clip="global_norm")
    state, fitness = optimizer.init(optimizee.space, 2), []
    for iteration in range(65):
        z, state = optimizer.ask(optimizee.space, state)
        evaluation = optimizee.evaluate_batch(z, np.array([iteration + 1]), with_grad=True)
        state = optimizer.tell(optimizee.space, state, z, evaluation)
        fitness.append(evaluation.fitness[0])
    assert low <= np.mean(fitness[-10:]) <= high


@pytest.mark.parametrize("name", ["adam", "es", "published"])
def test_jobs_run(name):
    _, optimizee, optimizer = load(Path(f"jobs/cue_association_{name}.yaml"))
    assert isinstance(optimizee, CueAssociation)
    assert optimizee.schedule.horizon == 500.0
    assert not optimizer.needs_grad or optimizee.has_grad


def test_e_prop_and_bptt_agree_on_the_fitness_the_readouts_gradient_and_the_direction_of_the_rest():
    """Exact where nothing goes through other spikes; beyond that e-prop's gradient points the same way."""
    small = {"schedule": TINY.schedule, "trials": 8, "regular": 4, "adaptive": 4, "precision": "float64", "w_in": 0.3}
    found = {}
    for gradient in ("bptt", "eprop"):
        optimizee = RecurrentCueAssociation(gradient, price=1.0, **small)
        z = genome(optimizee)
        found[gradient] = optimizee.evaluate_batch(z, np.array([3]), with_grad=True)
    space, (exact, near) = optimizee.space, (found["bptt"], found["eprop"])
    assert exact.metrics["rate"] > 5
    assert near.fitness == exact.fitness
    for name in ("w_out", "b_out"):
        part = space.slices[name]
        np.testing.assert_allclose(near.grad[0, part], exact.grad[0, part], rtol=1e-9, atol=1e-14)
    for name in ("w_in", "w_rec"):
        one, other = (found[gradient].grad[0, space.slices[name]] for gradient in found)
        assert (one != other).any()
        assert one @ other > 0.5 * np.linalg.norm(one) * np.linalg.norm(other)


@pytest.mark.parametrize("gradient", ["bptt", "eprop"])
def test_the_jobs_of_recurrent_networks_are_readable(gradient):
    _, optimizee, _ = load(Path(f"jobs/cue_association_{gradient}.yaml"))
    assert isinstance(optimizee, RecurrentCueAssociation)
    assert (optimizee.gradient, optimizee.space.size) == (gradient, 40 * 50 + 50 * 50 + 50 * 2 + 2)


def test_a_replay_draws_a_trial_with_modulation_where_there_is_one(tmp_path):
    optimizee = replace(TINY, precision="float32")
    z = genome(optimizee)
    evaluation = optimizee.evaluate_batch(z, np.array([1]), with_artifacts=True)
    (path,) = optimizee.draw(optimizee.space.decode(z[0]), evaluation, tmp_path)
    assert path.stat().st_size > 10_000
    shown = {name: value[0] for name, value in evaluation.artifacts.items()}
    for scale, panels in ((1.0, 4), (0.0, 3)):
        shown["modulation_hidden"] = scale * shown["modulation_hidden"]
        figure = figures.draw_trial(shown, optimizee.schedule, optimizee.delta_tau, optimizee.v_th, "nd_bcm")
        assert len(figure.axes) == panels
        ticks = [text.get_text() for text in figure.axes[0].get_yticklabels()]
        assert ticks == ["left", "right", "decision", "noise", "hidden", "output"]


def test_without_cues_only_background_fires_and_the_modulators_are_drawn(tmp_path):
    params = TINY.space.decode(genome(TINY)[0])
    cases = {}
    for name, cue in (("left", LEFT), ("right", RIGHT), ("no cues", NONE)):
        shown = TINY.watch(params, 1, np.full((60, 3), cue), decision_cue=cue != NONE)
        cases[name] = {key: value[0] for key, value in shown.items()}
        rates = shown["inputs"].reshape(60, 80, 4, 3)[:, :30].mean(axis=(0, 1, 3))  # cues and gaps
        during = {NONE: [0.05, 0.05], LEFT: [0.75 * 2 / 3 + 0.05 / 3, 0.05], RIGHT: [0.05, 0.75 * 2 / 3 + 0.05 / 3]}
        assert rates[:2] == pytest.approx(during[cue], abs=0.03)
        late = shown["inputs"][:, 60:].reshape(60, 20, 4, 3)[:, :, 2].mean()
        assert late == pytest.approx(0.05 if cue == NONE else 0.75, abs=0.03)
    assert figures.modulation(cases, TINY.schedule, TINY.delta_tau, tmp_path / "m.png").stat().st_size > 10_000


def test_the_median_keeps_the_last_value_of_runs_that_have_ended():
    curves = {"oja": [np.full(30, 0.2), np.full(10, 0.8), np.full(10, 1.0)], "none": []}
    axes = figures.draw_learning(curves, 0.97, "mean reward", "low noise").axes[0]
    median = next(line for line in axes.lines if line.get_label() == "DP-Oja")
    np.testing.assert_allclose(median.get_ydata(), 0.8)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"rule": "ojas"}, "rule: expected one of .* did you mean 'oja'"),
        ({"delta_tau": 30.0}, "schedule.horizon: expected a multiple of delta_tau, 30 ms, got 500 ms"),
        ({"delta_tau": 0.5}, "delta_tau: expected a multiple of 1 ms"),
        ({"gain": 0.0}, "gain: expected a number > 0"),
        ({"truncate": 30}, "truncate: expected a multiple of delta_tau, 25 ms, got 30 ms"),
        (
            {"rule": "bcm", "third": "reward"},
            "third: expected none with rule: bcm, got reward; other rules have no",
        ),
        ({"trials": 0}, "trials: expected an integer >= 1, got 0"),
    ],
)
def test_refuses_in_words(fields, text):
    with pytest.raises(ValueError, match=text):
        CueAssociation(**fields)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cues": 4}, "cues: expected an odd number, got 4"),
        ({"gap": 75.0}, "horizon: expected more than 730 ms, got 500 ms; the decision comes after"),
        ({"rests": ()}, "rests: expected at least one time in ms, got none"),
        ({"rests": (7.5,)}, "rests: expected a multiple of 1 ms, got 7.5"),
        ({"rests": (-1.0,)}, "rests: expected a number >= 0, got -1"),
    ],
)
def test_a_schedule_refuses_in_words(fields, text):
    with pytest.raises(ValueError, match=text):
        Schedule(**fields)


def test_refuses_cues_of_another_number():
    with pytest.raises(ValueError, match=r"cues: expected an array of shape \(any, 3\), got shape \(2, 7\)"):
        TINY.watch(TINY.space.decode(genome(TINY)[0]), 1, np.zeros((2, 7), int))
