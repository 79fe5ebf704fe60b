"""The single-neuron and STDP experiments: both back ends, closed forms, the equations by the letter, pictures."""

from pathlib import Path

import nest
import numpy as np
import pytest
from PIL import Image
from places import JOBS
from typer.testing import CliRunner

from l2l_snn.checks import check_optimizee
from l2l_snn.checks.common import require
from l2l_snn.cli import app
from l2l_snn.results import tables
from l2l_snn.snn.nest import FeedForwardSpec, feed_forward
from l2l_snn.space import Space
from optimizees.stdp_lab import Pair, SingleNeuron, STDPLab, STDPRule, figures
from optimizees.stdp_lab.trains import trace

BACKENDS = ("nest", "jax")


def middle(optimizee) -> np.ndarray:
    return np.full((1, optimizee.space.size), 0.5)


def z_of(optimizee, *values: dict) -> np.ndarray:
    """Return (P, D) the z of these parameters; those not named are the published ones."""
    published = optimizee.space.decode(middle(optimizee)[0])
    return np.array([optimizee.space.encode(published | value) for value in values])


def evaluated(optimizee, z=None, seeds=None):
    z = middle(optimizee) if z is None else z
    return optimizee.evaluate_batch(z, np.arange(1, len(z) + 1) if seeds is None else seeds, with_artifacts=True)


# --- a neuron that drives another


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"drive_delay": 0.3, "delay": 2.7, "t_ref": 0.0, "tau_syn": 5.0},
        {"resolution": 0.2, "E_L": -65.0, "V_th": -50.0, "V_reset": -72.0, "C_m": 150.0, "tau_m": 12.0},
        {"tau_m": 10.0, "tau_syn": 10.0},  # where the regular expressions for the propagators are singular
    ],
    ids=str,
)
def test_spikes_are_the_same_on_both_back_ends_and_potentials_within_1e_9(fields):
    pair, weight = Pair(**{"duration": 300.0, **fields}), 3e3 if "C_m" in fields else 1e3
    on = [SingleNeuron(weight=weight, pair=pair, backend=backend) for backend in BACKENDS]
    z = np.concatenate([middle(on[0]), on[0].space.sample(np.random.default_rng(3), 15)])
    one, other = (evaluated(optimizee, z) for optimizee in on)
    np.testing.assert_array_equal(one.artifacts["spikes"], other.artifacts["spikes"])
    np.testing.assert_allclose(one.artifacts["potentials"], other.artifacts["potentials"], rtol=1e-9)
    np.testing.assert_array_equal(one.fitness, other.fitness)
    first, second = one.artifacts["spikes"].sum(axis=(0, 2))
    assert first > 100
    assert second > 30


def test_the_published_pair_is_the_one_that_nest_builds_from_its_parts():
    nest.ResetKernel()
    nest.resolution = 0.1
    neurons = nest.Create("iaf_psc_alpha", 2)
    nest.Connect(nest.Create("dc_generator", params={"amplitude": 500.0}), neurons[0])
    nest.Connect(neurons[0], neurons[1], syn_spec={"weight": 1000.0})
    meter, recorder = nest.Create("multimeter"), nest.Create("spike_recorder")
    meter.set(record_from=["V_m"], interval=0.1)
    nest.Connect(meter, neurons)
    nest.Connect(neurons, recorder)
    nest.Simulate(1000.0)
    senders, times = (np.asarray(recorder.events[name]) for name in ("senders", "times"))
    expected = [times[senders == id].round(1).tolist() for id in neurons.tolist()]
    potentials = [np.asarray(meter.events["V_m"])[meter.events["senders"] == id] for id in neurons.tolist()]
    found = evaluated(SingleNeuron())
    assert [((np.flatnonzero(row) + 1) * 0.1).round(1).tolist() for row in found.artifacts["spikes"][0]] == expected
    for ours, theirs in zip(found.artifacts["potentials"][0], potentials, strict=True):
        np.testing.assert_array_equal(ours[: len(theirs)], theirs)
    assert [len(row) for row in expected] == [62, 31]
    assert (found.metrics["rate_first"][0], found.metrics["rate_second"][0]) == (62, 31)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_driven_neuron_has_the_f_i_curve_of_the_closed_form(backend):
    optimizee = SingleNeuron(pair=Pair(duration=200.0), backend=backend)
    currents = np.array([374.0, 376.0, 400.0, 500.0, 700.0, 1000.0])  # rheobase: 15 mV / 40 MOhm = 375 pA
    spikes = evaluated(optimizee, z_of(optimizee, *({"current": i} for i in currents))).artifacts["spikes"][:, 0]
    assert not spikes[0].any()
    for current, row in zip(currents[1:], spikes[1:], strict=True):
        v_inf = current * 10.0 / 250.0  # mV above rest
        rise = np.ceil(10.0 * np.log(v_inf / (v_inf - 15.0)) / 0.1)  # steps from reset to threshold
        at = np.flatnonzero(row) + 1  # steps
        assert at[0] == 11 + rise  # the drive takes 1 ms to arrive and acts in the step after
        assert set(np.diff(at)) <= {20 + rise}  # 2 ms refractory
        assert len(at) == 1 + (2000 - at[0]) // (20 + rise)


def test_without_a_synapse_the_second_neuron_rests():
    optimizee = SingleNeuron(pair=Pair(duration=100.0, E_L=-68.0))
    found = evaluated(optimizee, z_of(optimizee, {"weight": 0.0}))
    np.testing.assert_array_equal(found.artifacts["potentials"][0, 1], -68.0)


def test_a_network_that_was_in_the_kernel_before_is_built_anew():
    spec = FeedForwardSpec((2, 2))
    before = feed_forward(spec, 1)
    evaluated(SingleNeuron(pair=Pair(duration=10.0)))
    after = feed_forward(spec, 1)
    assert after is not before
    after.load([np.full((1, 2, 2), 3000.0)])
    after.drive(np.array([[0]]), 40000.0)
    after.run(20.0)
    assert after.counts().sum() > 0
    evaluated(STDPLab(backend="nest", duration=10.0))
    assert feed_forward(spec, 1) is not after


# --- STDP


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"alpha": 1.0},
        {"rule": STDPRule(mu_plus=0.0, mu_minus=0.0), "alpha": 1.2},
        {"rule": STDPRule(mu_plus=0.5, mu_minus=0.3, w_max=80.0, w_start=30.0), "alpha": 0.9, "target": 60.0},
        {"lam": 0.1, "rate_pre": 60.0, "rate_post": 60.0},  # alpha -1 beyond w_max, where NEST itself doesn't stop
        {"alpha": 3.0, "rule": STDPRule(w_min=300.0), "rate_post": 60.0},  # a lower bound that NEST hasn't
        {"rate_pre": 900.0, "rate_post": 900.0, "alpha": 1.0},  # spikes in successive steps, and on both sides at once
        {"resolution": 0.1, "alpha": 0.7, "tau_pre": 17.0, "tau_post": 31.0},
    ],
    ids=str,
)
def test_weights_agree_on_both_back_ends_at_every_pre_spike_and_at_the_end(fields):
    on = [STDPLab(**{"duration": 400.0, "pairs": 2, **fields}, backend=backend) for backend in BACKENDS]
    z = np.concatenate([middle(on[0]), on[0].space.sample(np.random.default_rng(4), 7)])
    nest_, jax_ = (evaluated(optimizee, z) for optimizee in on)
    pre = jax_.artifacts["pre"].copy()
    np.testing.assert_array_equal(pre, nest_.artifacts["pre"])
    pre[:, -1] = True
    for name in ("weight", "weight_other_sign"):
        np.testing.assert_allclose(nest_.artifacts[name][pre], jax_.artifacts[name][pre], rtol=1e-9)
    np.testing.assert_allclose(nest_.metrics["last_weight"], jax_.metrics["last_weight"], rtol=1e-9)
    np.testing.assert_allclose(nest_.fitness, jax_.fitness, rtol=1e-9, atol=1e-7)
    assert np.ptp(jax_.artifacts["weight"]) > 0.05 * on[0].rule.w_max


def test_the_bounds_are_met_where_the_rule_drives_the_weight_beyond_them():
    beyond = {"rate_pre": 60.0, "rate_post": 60.0, "duration": 500.0, "lam": 0.1}
    for backend in BACKENDS:
        assert evaluated(STDPLab(**beyond, backend=backend)).artifacts["weight"].max() == 1000.0
        low = STDPLab(**beyond | {"alpha": 5.0, "rule": STDPRule(w_min=300.0)}, backend=backend)
        assert evaluated(low).artifacts["weight"].min() == 300.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("alpha", "sign"), [(-1.0, 1), (1.0, -1)])
def test_alpha_of_minus_one_as_printed_potentiates_on_both_sides_and_plus_one_depresses_post_before_pre(
    alpha, sign, backend
):
    fields = {"alpha": alpha, "duration": 100.0, "backend": backend}
    before = STDPLab(**fields, pre_times=(50.0,), post_times=(60.0,))
    after = STDPLab(**fields, pre_times=(60.0,), post_times=(50.0,))
    step = 1000 * 0.01 * 0.5 * np.exp(-10.0 / 20.0)  # eq. 10 and 11 at w = 500
    assert evaluated(before).metrics["last_weight"][0] == pytest.approx(500 + step, rel=1e-12)
    assert evaluated(after).metrics["last_weight"][0] == pytest.approx(500 + sign * step, rel=1e-12)


def test_on_poisson_trains_the_weight_only_grows_as_printed_and_goes_both_ways_with_the_other_sign():
    found = evaluated(STDPLab())
    printed, other = (np.diff(found.artifacts[name][0]) for name in ("weight", "weight_other_sign"))
    assert printed.min() == 0.0
    assert printed.max() > 0.0
    assert other.min() < 0.0 < other.max()
    swapped = evaluated(STDPLab(alpha=1.0))
    np.testing.assert_array_equal(found.artifacts["weight"], swapped.artifacts["weight_other_sign"])


def test_with_alpha_of_one_500_units_are_where_both_sides_balance():
    """In the mean, w grows by w_max lam (1 - w / w_max) tau and shrinks by w_max alpha lam (w / w_max) tau."""
    fields = {"pairs": 400, "alpha": 1.0}
    balanced = evaluated(STDPLab(**fields)).metrics["last_weight"][0]
    low, high = (
        evaluated(STDPLab(**fields, rule=STDPRule(w_start=w))).metrics["last_weight"][0] for w in (200.0, 800.0)
    )
    assert balanced == pytest.approx(500.0, abs=5.0)  # the standard error is about 1.5
    assert 200.0 + 20 < low < 500.0 < high < 800.0 - 20


def test_the_traces_are_sums_over_the_spikes_so_far():
    spikes = np.random.default_rng(5).random(300) < 0.1
    at = np.flatnonzero(spikes)
    expected = [np.exp((at[at <= k] - k) * 0.5 / 17.0).sum() for k in range(300)]
    np.testing.assert_allclose(trace(spikes, 17.0, 0.5), expected, rtol=1e-12)


@pytest.mark.parametrize("alpha", [-1.0, 1.0, 2.5])
def test_update_in_steps_is_equations_8_to_12_by_the_letter(alpha):
    optimizee = STDPLab(alpha=alpha, duration=300.0, rule=STDPRule(mu_minus=0.5, w_start=600.0, update="steps"))
    found = evaluated(optimizee)
    pre, post, weight = (found.artifacts[name][0] for name in ("pre", "post", "weight"))
    pre_trace = post_trace = 0.0
    w, w_max, lam = 600.0, 1000.0, 0.01
    for k in range(300):
        pre_trace = pre_trace * np.exp(-1.0 / 20.0) + pre[k]
        post_trace = post_trace * np.exp(-1.0 / 20.0) + post[k]
        w_pot = w_max * (w / w_max + lam * (1 - w / w_max) * pre_trace)
        w_dep = w_max * (w / w_max - alpha * lam * np.sqrt(w / w_max) * post_trace)
        w = min(max(0.0, w_dep), w_pot)
        assert weight[k] == pytest.approx(w, rel=1e-11)
    steps = np.diff(weight)
    assert (steps >= 0).all() if alpha < 0 else (steps <= 0).all()  # with alpha > 0 nothing ever potentiates
    assert np.ptp(weight) > 10


def test_trains_come_from_the_seed_with_the_rates_asked_for_or_are_the_times_given():
    optimizee = STDPLab(pairs=1000, rate_pre=15.0, rate_post=40.0)
    pre, post = optimizee.trains(7)
    assert pre.shape == post.shape == (1000, 1000)
    for train, rate in ((pre, 15.0), (post, 40.0)):
        expected = 1000 * (1 - np.exp(-rate / 1000))  # two in one step count as one
        assert train.mean() * 1000 == pytest.approx(expected, abs=4 * np.sqrt(rate / 1000))  # four standard errors
    np.testing.assert_array_equal(pre, optimizee.trains(7)[0])
    assert (pre != optimizee.trains(8)[0]).any()
    given = STDPLab(pairs=2, pre_times=(1.0, 1000.0), resolution=0.5)
    pre, post = given.trains(7)
    assert [np.flatnonzero(row).tolist() for row in pre] == [[1, 1999]] * 2
    assert post.any()


# --- as optimizees


@pytest.mark.parametrize(
    "optimizee",
    [
        SingleNeuron(pair=Pair(duration=100.0)),
        SingleNeuron(pair=Pair(duration=100.0), backend="jax"),
        STDPLab(duration=200.0, pairs=3),
        STDPLab(duration=100.0, backend="nest", alpha=1.0, pairs=2),
        STDPLab(duration=200.0, rule=STDPRule(update="steps"), pre_times=(10.0, 20.0)),
    ],
    ids=lambda o: f"{type(o).__name__}-{o.backend}",
)
def test_conformance(optimizee):
    require(check_optimizee(optimizee))


def test_the_middle_of_the_space_is_what_was_published():
    for optimizee in (SingleNeuron(), STDPLab(), STDPLab(alpha=1.0)):
        for name, value in optimizee.space.decode(middle(optimizee)[0]).items():
            assert value == pytest.approx(getattr(optimizee, name), rel=1e-12), name
        assert Space.from_json(optimizee.space.to_json()) == optimizee.space
    published = STDPLab()
    assert (published.lam, published.alpha, published.tau_pre, published.tau_post) == (0.01, -1.0, 20.0, 20.0)
    assert (published.rule.w_start, published.rule.w_min, published.rule.w_max) == (500.0, 0.0, 1000.0)
    assert (SingleNeuron().current, SingleNeuron().weight) == (500.0, 1000.0)


def test_fitness_is_the_error_of_the_rates_and_of_the_weights():
    pair = evaluated(SingleNeuron(target_first=60.0, target_second=40.0))
    assert pair.fitness[0] == -(abs(62 - 60) + abs(31 - 40)) / 2
    lab = STDPLab(pairs=5, target=520.0)
    pre, post = lab.trains(1)
    alone = [
        evaluated(STDPLab(pre_times=tuple(np.flatnonzero(a) + 1.0), post_times=tuple(np.flatnonzero(b) + 1.0)))
        for a, b in zip(pre, post, strict=True)
    ]
    last = np.array([one.metrics["last_weight"][0] for one in alone])
    found = evaluated(lab)
    assert found.fitness[0] == pytest.approx(-np.abs(last - 520.0).mean(), rel=1e-9)
    assert found.metrics["scatter"][0] == pytest.approx(last.std(), rel=1e-9)
    assert found.metrics["post_spikes"][0] == post.sum() / 5
    np.testing.assert_allclose(found.artifacts["weight"][0], alone[0].artifacts["weight"][0], rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "fields", "text"),
    [
        (SingleNeuron, {"backend": "brian"}, r"backend: expected one of 'nest', 'jax', got 'brian'"),
        (Pair, {"tau_m": 0.0}, r"tau_m: expected a number > 0, got 0.0"),
        (SingleNeuron, {"current": float("nan")}, r"current: expected a number > 0, got nan"),
        (
            Pair,
            {"V_reset": -50.0},
            r"V_reset: expected a potential below V_th, got -50.0 mV with V_th -55.0 mV",
        ),
        (Pair, {"delay": 0.05}, r"delay: expected a number >= 0.1, got 0.05; nothing arrives before"),
        (Pair, {"delay": 1.05}, r"delay: expected a multiple of the resolution, 0.1 ms, got 1.05 ms"),
        (Pair, {"duration": float("inf")}, r"duration: expected finite numbers"),
        (Pair, {"resolution": 0.0005}, r"resolution: expected a multiple of 0.001 ms, got 0.0005"),
        (STDPRule, {"update": "never"}, r"update: expected one of 'spikes', 'steps', got 'never'"),
        (
            STDPLab,
            {"rule": STDPRule(update="steps"), "backend": "nest"},
            r"rule.update: expected 'spikes' on NEST.* take backend",
        ),
        (STDPLab, {"alpha": 0.0}, r"alpha: expected a number other than 0"),
        (STDPRule, {"w_start": 1200.0}, r"w_start: expected a number in \[0, 1000\], got 1200.0"),
        (STDPRule, {"w_min": 2000.0}, r"w_min: expected a number in \[0, 1000\], got 2000.0"),
        (STDPRule, {"mu_plus": -0.1}, r"mu_plus: expected a number >= 0, got -0.1"),
        (STDPLab, {"pairs": 0}, r"pairs: expected an integer >= 1, got 0"),
        (STDPLab, {"pre_times": (10.0, 2000.0)}, r"pre_times: expected a number in \[1, 1000\], got 2000.0"),
        (STDPLab, {"post_times": (10.5,)}, r"post_times: expected a multiple of the resolution, 1 ms, got 10.5 ms"),
    ],
    ids=str,
)
def test_wrong_fields_are_refused(kind, fields, text):
    with pytest.raises(ValueError, match=text):
        kind(**fields)


# --- jobs and pictures


def l2l(*arguments) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def png(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert np.count_nonzero(image.convert("L").histogram()) > 20  # not a blank
        return image.size


@pytest.mark.parametrize(
    ("job", "pictures", "other"),
    [
        ("single_neuron", {"potentials.png": (1950, 1425)}, "jax"),
        ("stdp", {"stdp.png": (1800, 1500), "signs.png": (2400, 1500)}, "nest"),
    ],
)
def test_a_job_runs_a_generation_and_replays_on_the_other_back_end_with_pictures(
    job, pictures, other, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    printed = l2l("run", JOBS / f"{job}.yaml", "--inline", "--set", "generations=1", "--set", "optimizer.population=16")
    assert "16, 0 failed" in printed
    for name, size in pictures.items():
        assert png(tmp_path / f"runs/{job}-1/{name}") == size
    assert "the same" in l2l("replay", f"{job}-1")
    printed = l2l("replay", f"{job}-1", "--set", f"optimizee.backend={other}")
    lines = [line for line in printed.splitlines() if line.startswith("fitness ")]
    stored, repeated = (float(line.split()[2].rstrip(":")) for line in lines)
    assert repeated == pytest.approx(stored, rel=1e-9, abs=1e-9)
    assert set(pictures) <= {path.name for path in (tmp_path / f"runs/{job}-1").glob("g0_*/*.png")}


def test_the_single_neuron_job_finds_a_current_and_a_weight(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    l2l("run", JOBS / "single_neuron.yaml", "--inline")
    found = tables.individuals("sqlite:///l2l.db").sort_values("fitness").iloc[-1]
    assert found["fitness"] == 0.0
    assert (found["metric.rate_first"], found["metric.rate_second"]) == (90, 30)
    v_inf = found["param.current"] * 10.0 / 250.0
    assert 2.0 + 10.0 * np.log(v_inf / (v_inf - 15.0)) == pytest.approx(1000.0 / 90.0, abs=0.2)  # ms between spikes


def test_the_stdp_job_finds_better_rules_than_the_published_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    l2l("run", JOBS / "stdp.yaml", "--inline", "--set", "generations=10")
    best = tables.individuals("sqlite:///l2l.db").sort_values("fitness").iloc[-1]
    fresh = STDPLab(pairs=200)
    found, published = evaluated(
        fresh, z_of(fresh, {name: best[f"param.{name}"] for name in fresh.space.parameters}, {}), np.array([99, 99])
    ).fitness
    assert found > published + 20  # on trains that the run didn't see


def test_pictures_show_the_numbers_that_they_are_given():
    one = {name: value[0] for name, value in evaluated(SingleNeuron(pair=Pair(duration=300.0))).artifacts.items()}
    panels = figures.draw_potentials(one["potentials"], one["spikes"], 0.1, -55.0, "both").axes
    for neuron in range(2):
        np.testing.assert_array_equal(panels[neuron].lines[0].get_ydata(), one["potentials"][neuron, :2000])
        drawn = panels[neuron].collections[0].get_segments()
        at = (np.flatnonzero(one["spikes"][neuron]) + 1) * 0.1
        np.testing.assert_allclose([segment[0, 0] for segment in drawn], at[at <= 200.0])
        assert len(panels[2].collections[neuron].get_segments()) == one["spikes"][neuron].sum()
    assert panels[0].get_ylabel().endswith("V (mV)")

    lab = STDPLab()
    one = {name: value[0] for name, value in evaluated(lab).artifacts.items()}
    traces = trace(one["pre"], 20.0, 1.0), trace(one["post"], 20.0, 1.0)
    runs = {-1.0: one["weight"], 1.0: one["weight_other_sign"]}
    figure = figures.draw_stdp(one["pre"], one["post"], traces, runs, 1.0, 700.0, "numbers")
    panels = np.array(figure.axes).reshape(4, 2)
    for column, weight in zip(panels.T, runs.values(), strict=True):
        np.testing.assert_array_equal(column[1].lines[0].get_ydata(), traces[0])
        np.testing.assert_array_equal(column[2].lines[0].get_ydata(), traces[1])
        np.testing.assert_array_equal(column[3].lines[0].get_ydata(), weight)
        assert [len(lines.get_segments()) for lines in column[0].collections] == [one["pre"].sum(), one["post"].sum()]
    assert [panel.get_title() for panel in panels[0]] == ["α = \N{MINUS SIGN}1", "α = +1"]


def test_pictures_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"spikes: expected an array of shape \(2, 10\), got shape \(2, 9\)"):
        figures.draw_potentials(np.zeros((2, 10)), np.zeros((2, 9), bool), 0.1, -55.0, "")
    with pytest.raises(ValueError, match="weights: expected at least one alpha"):
        figures.draw_stdp(np.zeros(5, bool), np.zeros(5, bool), (np.zeros(5), np.zeros(5)), {}, 1.0, 700.0, "")
