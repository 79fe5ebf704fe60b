"""Classification: forward and backward passes against the equations as loops, validation, shards, strategies."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pictures import write_pictures
from places import JOBS
from typer.testing import CliRunner

from l2l_snn.checks import check_optimizee, require
from l2l_snn.cli import app
from l2l_snn.data.images import Pictures
from l2l_snn.data.saccades import make_digit_events
from l2l_snn.loop.job import load
from l2l_snn.search.step_rules import StepRule
from optimizees.classify import STBP, Classifier, Examples, Gated, SequentialLSNN, figures
from optimizers.gradient_ascent import GradientAscent
from optimizers.openai_es import OpenES

DATA = Examples(batch=12, pool=4, held_out=20)
LAYERS = STBP(data=DATA, hidden=(9,), steps=5)
LSNN = SequentialLSNN(
    data=DATA, regular=4, adaptive=3, thresholds=4, cue_ms=12, answer_ms=5, tau_a=40.0, delay=2.0, t_ref=2.0
)
NETWORKS = {"stbp": LAYERS, "lsnn": LSNN, "gated": Gated(data=DATA, units=4)}

pytestmark = pytest.mark.usefixtures("compiled_soon", "pictures")


def sample(net: Classifier, seed: int = 1):
    """Return z (1, D) and the decoded parameters in float64."""
    z = net.space.sample(np.random.default_rng(seed), 1)
    return z, {name: np.asarray(value, np.float64) for name, value in net.space.decode(z[0]).items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_keeps_the_contract(name):
    require(check_optimizee(NETWORKS[name]))


def stbp_loop(net: STBP, params, x, y):
    """Return loss and gradients of the first-hidden-layer network by Wu's equations, in float64.

    Forward: u_t = decay u_t-1 (1 - o_t-1) + I_t, o = H(u - v_th). Backward in time, with h the curve:
    dL/do_t = what comes from above - decay u_t dL/du_t+1; dL/du_t = h(u_t) dL/do_t + decay (1 - o_t) dL/du_t+1.
    """
    T, B = net.steps, len(x)
    w1, b1, w2, b2 = (params[name] for name in ("w1", "b1", "w2", "b2"))
    u, o = [np.zeros((T + 2, B, n)) for n in net.sizes[1:]], [np.zeros((T + 2, B, n)) for n in net.sizes[1:]]
    for t in range(1, T + 1):
        for k, current in enumerate((lambda: x @ w1 + b1, lambda t=t: o[0][t] @ w2 + b2)):
            u[k][t] = net.decay * u[k][t - 1] * (1 - o[k][t - 1]) + current()
            o[k][t] = u[k][t] >= net.v_th
    right = np.eye(10)[y]
    rates = o[1][1 : T + 1].mean(axis=0)
    loss = ((rates - right) ** 2).sum(axis=1).mean()

    def curve(v):
        return {
            "rectangular": (np.abs(v) < net.a / 2) / net.a,
            "polynomial": np.maximum(0, np.sqrt(net.a) / 2 - net.a / 4 * np.abs(v)),
            "sigmoid": np.exp(-v / net.a) / (1 + np.exp(-v / net.a)) ** 2 / net.a,
            "gaussian": np.exp(-(v**2) / (2 * net.a**2)) / np.sqrt(2 * np.pi) / net.a,
        }[net.curve]

    du = [np.zeros_like(one) for one in u]
    above = 2 * (rates - right) / B / T
    for t in range(T, 0, -1):
        for k in (1, 0):
            do = (above if k else du[1][t] @ w2.T) - net.decay * u[k][t] * du[k][t + 1]
            du[k][t] = curve(u[k][t] - net.v_th) * do + net.decay * (1 - o[k][t]) * du[k][t + 1]
    inside = slice(1, T + 1)
    grads = {
        "w1": x.T @ du[0][inside].sum(axis=0),
        "b1": du[0][inside].sum(axis=(0, 1)),
        "w2": np.einsum("tbi,tbj->ij", o[0][inside], du[1][inside]),
        "b2": du[1][inside].sum(axis=(0, 1)),
    }
    return loss, grads, rates


@pytest.mark.parametrize(
    ("curve", "a"), [("rectangular", 1.0), ("polynomial", 4.0), ("sigmoid", 0.3), ("gaussian", 0.3)]
)
def test_stbp_is_the_sources_equations_forward_and_backward(curve, a):
    net = STBP(data=DATA, hidden=(9,), steps=5, decay=0.6, curve=curve, a=a)
    z, params = sample(net)
    x, y = net.data.sample(3)
    found = net.evaluate_batch(z, np.array([3]), with_grad=True)
    loss, grads, rates = stbp_loop(net, params, x.reshape(len(x), -1) / 255, y)
    assert 0.02 < rates.mean() < 0.98  # neither silent nor saturated
    np.testing.assert_allclose(found.metrics["loss"][0], loss, rtol=1e-5)
    np.testing.assert_allclose(found.fitness, -found.metrics["loss"])
    assert found.metrics["accuracy"][0] == np.mean(rates.argmax(axis=1) == y)
    for name, expected in grads.items():
        scale = net.space.parameters[name].scale
        got = -found.grad[0][net.space.slices[name]].reshape(expected.shape) / scale
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=1e-5 * np.abs(expected).max(), err_msg=name)


def conv_loop(net: STBP, params, x):
    """Return the rates of a network of convolutions by Wu's equations, place by place, in float64."""

    def convolve(maps, w, b):  # (B, C, H, W) -> (B, C', H', W')
        k, side = len(w), maps.shape[2] - len(w) + 1
        out = np.zeros((len(maps), w.shape[3], side, side))
        for i, j in np.ndindex(side, side):
            out[:, :, i, j] = np.einsum("bcij,ijcd->bd", maps[:, :, i : i + k, j : j + k], w)
        return out + b[:, None, None]

    def average(maps):
        half = maps.shape[2] // 2
        return maps[:, :, : 2 * half, : 2 * half].reshape(*maps.shape[:2], half, 2, half, 2).mean(axis=(3, 5))

    def layer(o, u, current):
        u = net.decay * u * (1 - o) + current
        return (u >= net.v_th).astype(float), u

    x, first = x[:, None] / 255, None
    o, u, counts = [0.0] * 3, [0.0] * 3, 0.0
    for _ in range(net.steps):
        first = convolve(x, params["w1"], params["b1"])
        o[0], u[0] = layer(o[0], u[0], first)
        o[1], u[1] = layer(o[1], u[1], convolve(average(o[0]), params["w2"], params["b2"])[:, :, 0, 0])
        o[2], u[2] = layer(o[2], u[2], o[1] @ params["w3"] + params["b3"])
        counts = counts + o[2]
    return counts / net.steps


def test_convolutional_layers_are_the_sources_equations():
    net = STBP(data=replace(DATA, pool=4), convolutions=(3,), kernel=2, hidden=(9,), steps=5)
    assert net.sizes == (49, 3 * 6 * 6, 9, 10)
    z, params = sample(net, seed=3)
    x, y = net.data.sample(3)
    rates = conv_loop(net, params, x)
    assert 0.02 < rates.mean() < 0.98
    found = net.evaluate_batch(z, np.array([3]), with_grad=True)
    loss = ((rates - np.eye(10)[y]) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(found.metrics["loss"][0], loss, rtol=1e-5)
    assert all(np.abs(found.grad[0][net.space.slices[name]]).max() > 0 for name in ("w1", "b1", "w2", "w3"))


def test_bernoulli_pixels_fire_as_often_as_they_are_bright():
    net = STBP(data=DATA, hidden=(9,), steps=400, code="bernoulli")
    _, params = sample(net)
    params = {name: jnp.zeros_like(value) for name, value in params.items()} | {"w1": 0.22 * jnp.eye(49, 9)}
    params["w2"] = jnp.zeros((9, 10))
    x = jnp.linspace(0.0, 1.0, 49).reshape(1, 7, 7)
    shown = net.answer(params, jax.random.key(1), x).shown["layer 1"]  # fires where two spikes follow each other
    p = np.linspace(0.0, 1.0, 49)[:9]
    assert shown.mean(axis=0)[0] == 0
    assert abs(shown.sum() - 400 * (p**2 / (1 + p)).sum()) < 40


def lsnn_loop(net: SequentialLSNN, params, x):
    """Return readouts (T, B, 10) and spikes (T, B, N) by the equations of the source, neuron state by neuron state."""
    pixels = x.reshape(len(x), -1).T / 255
    thresholds, T, delay = np.linspace(0, 1, net.thresholds), len(pixels) + net.cue_ms, round(net.delay)
    given = np.zeros((T, len(x), net.sources))
    for t in range(len(pixels)):
        for i, limit in enumerate(thresholds[:-1]):
            if t + 1 < len(pixels):
                given[t, :, i] = (pixels[t] < limit) & (pixels[t + 1] >= limit)
                given[t, :, net.thresholds - 1 + i] = (pixels[t] >= limit) & (pixels[t + 1] < limit)
        given[t, :, -2] = pixels[t] >= 1
    given[len(pixels) :, :, -1] = 1
    n, w_rec = net.neurons, params["w_rec"] * (1 - np.eye(net.neurons))
    beta = np.where(np.arange(n) >= net.regular, net.beta, 0.0)
    alpha, rho = np.exp(-1 / net.tau_m), np.exp(-1 / net.tau_a)
    v, b, z, wait = (np.zeros((len(x), n)) for _ in range(4))
    y = np.zeros((len(x), 10))
    spikes, readouts = np.zeros((T, len(x), n)), np.zeros((T, len(x), 10))
    for t in range(T):
        current = given[t - delay] @ params["w_in"] + spikes[t - delay] @ w_rec if t >= delay else 0.0
        b = rho * b + (1 - rho) * z
        threshold = net.v_th + beta * b
        fires = (v >= threshold) & (wait == 0)
        v = alpha * v + (1 - alpha) * current - threshold * z
        wait = np.where(fires, round(net.t_ref), np.maximum(wait - 1, 0))
        z = spikes[t] = fires.astype(float)
        y = alpha * y + (1 - alpha) * z @ params["w_out"]
        readouts[t] = y
    return readouts + params["b_out"], spikes


@pytest.mark.parametrize("adaptive", [3, 0])
def test_the_lsnn_is_the_sources_equations(adaptive):
    net = replace(LSNN, adaptive=adaptive, price=50.0)
    z, params = sample(net)
    x, y = net.data.sample(3)
    readouts, spikes = lsnn_loop(net, params, x)
    assert 0.01 < spikes.mean() < 0.3
    scores = readouts[-net.answer_ms :].mean(axis=0)
    loss = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y])
    found = net.evaluate_batch(z, np.array([3]))
    np.testing.assert_allclose(found.metrics["loss"][0], loss, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["rate"][0], 1000 * spikes.mean(), rtol=1e-5)
    price = 50 * np.sum((spikes.mean(axis=(0, 1)) - 0.01) ** 2)
    np.testing.assert_allclose(found.fitness[0], -(loss + price), rtol=1e-4)


def test_pixels_of_two_ms_take_twice_the_time_and_cross_as_often():
    one, two = (replace(LSNN, pixel_ms=ms) for ms in (1, 2))
    x = jnp.asarray(LSNN.data.sample(1).x / 255, jnp.float32)
    first, second = (np.asarray(net.encode(jax.random.key(0), x)) for net in (one, two))
    assert (first.shape, second.shape) == ((49 + 12, 12, 8), (98 + 12, 12, 8))
    np.testing.assert_array_equal(first[..., :6].sum(axis=0), second[..., :6].sum(axis=0))
    assert first[..., -1].sum() == second[..., -1].sum() == 12 * 12


def test_a_population_codes_grey_by_who_fires():
    net = replace(LSNN, code="population", thresholds=6)
    spikes = np.asarray(net.encode(jax.random.key(0), jnp.full((1, 20, 20), 0.5)))[:400, 0]
    assert spikes.shape[1] == 12
    assert 350 < spikes[:, 5].sum() <= 400  # of eleven cells from 0 to 1, the sixth
    assert spikes[:, [0, 10, 11]].sum() == 0


def test_validation_is_the_fitness_and_leaves_the_gradient_as_it_is():
    z, _ = sample(LAYERS)
    data = Examples(batch=12, pool=4, held_out=20, validate=15)
    validated = STBP(data=data, hidden=(9,), steps=5, fitness="validation")
    plain, found = (net.evaluate_batch(z, np.array([5]), with_grad=True) for net in (LAYERS, validated))
    np.testing.assert_array_equal(found.grad, plain.grad)
    x, y = data.validation()
    loss, accuracy = LAYERS.measure(z[0], Pictures(x[:15], y[:15]))
    assert (found.fitness[0], found.metrics["validation_accuracy"][0]) == (-loss, accuracy)
    assert found.metrics["loss"] == plain.metrics["loss"]
    other = validated.evaluate_batch(z, np.array([6]))
    assert other.fitness == found.fitness  # whatever the minibatch
    assert other.metrics["loss"] != found.metrics["loss"]


def test_training_validation_and_test_share_no_example():
    parts = [DATA.training(), DATA.validation(), DATA.testing()]
    assert [len(part.x) for part in parts] == [40, 20, 20]
    seen = {picture.tobytes() for part in parts for picture in part.x}
    assert len(seen) == 80


def test_measuring_in_parts_is_measuring_at_once(monkeypatch):
    z, _ = sample(LAYERS)
    whole = LAYERS.measure(z[0], DATA.training())
    monkeypatch.setattr("optimizees.classify.classifier.AT_ONCE", 16)
    np.testing.assert_allclose(LAYERS.measure(z[0], DATA.training()), whole, rtol=1e-5)


@pytest.mark.parametrize(("name", "left"), [("stbp", 0.8), ("lsnn", 0.94)])
def test_gradient_ascent_learns_the_bars(name, left):
    net = NETWORKS[name]
    ascent = GradientAscent(evaluations=2, step=StepRule(learning_rate=0.1))
    state, losses = ascent.init(net.space, 1), []
    for i in range(25):
        z, state = ascent.ask(net.space, state)
        evaluation = net.evaluate_batch(z, np.array([2 * i + 1, 2 * i + 2]), with_grad=True)
        state = ascent.tell(net.space, state, z, evaluation)
        losses.append(evaluation.metrics["loss"].mean())
    assert np.mean(losses[-5:]) < left * np.mean(losses[:5])


def test_the_same_network_goes_under_an_evolution_strategy():
    net = LSNN
    strategy = OpenES(population=4, sigma=0.5)
    z, state = strategy.ask(net.space, strategy.init(net.space, 1))
    evaluation = net.evaluate_batch(z, np.full(4, 7))
    after = strategy.tell(net.space, state, z, evaluation)
    assert np.isfinite(evaluation.fitness).all()
    assert len(set(evaluation.fitness)) > 1
    assert not np.array_equal(strategy.recommend(net.space, after), strategy.recommend(net.space, state))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: STBP(fitness="validation"), "data.validate: expected how many"),
        (lambda: STBP(data=DATA, convolutions=(2,), kernel=8), "no larger than a map of 7 x 7"),
        (lambda: Examples(held_out=10, validate=11), "no more than held_out, 10"),
        (lambda: SequentialLSNN(regular=0, adaptive=0), "at least one neuron"),
        (lambda: SequentialLSNN(answer_ms=60), "no more than cue_ms, 56"),
        (lambda: SequentialLSNN(delay=1.5), "a multiple of the network's step"),
        (lambda: Examples(batch=50, held_out=20).sample(1), "at least 70 examples"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_the_job_runs_and_draws_an_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["optimizee.data.pool=4", "optimizee.data.batch=12", "optimizee.data.held_out=20", "generations=2"]
    small += ["optimizee.hidden=[5]", "optimizee.data.validate=10"]
    settings = [part for setting in small for part in ("--set", setting)]
    run = CliRunner().invoke(app, ["run", str(JOBS / "stbp_mnist.yaml"), "--inline", *settings])
    assert run.exit_code == 0, run.output
    assert list(tmp_path.rglob("example.png"))


def test_the_jobs_are_the_published_networks():
    _, layers, _ = load(JOBS / "stbp_mnist.yaml")
    assert layers.sizes == (784, 512, 10)
    _, maps, _ = load(JOBS / "stbp_mnist_conv.yaml", ["optimizee.convolutions=[15,40]", "optimizee.hidden=[300]"])
    assert maps.sizes == (784, 15 * 24 * 24, 40 * 8 * 8, 300, 10)
    assert maps.space.parameters["w3"].shape == (4, 4, 40, 300)
    _, lsnn, _ = load(JOBS / "sequential_mnist.yaml", ["optimizee.data.pool=1", "optimizee.tau_a=700"])
    assert (lsnn.sources, lsnn.neurons, lsnn.adaptive) == (80, 220, 100)
    assert lsnn.encode(jax.random.key(0), jnp.zeros((1, 28, 28))).shape[0] == 840


def test_events_are_spikes_of_the_first_layer(tmp_path, monkeypatch):
    """The same layers, with what the camera saw in each step in place of a current."""
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    write_pictures(tmp_path / "mnist", train=8, test=3)
    make_digit_events(tmp_path / "digit_events", 8, 3)
    net = STBP(data=Examples(set="digit_events", batch=4, held_out=2, steps=6), hidden=(9,))
    z, params = sample(net)
    x, y = net.data.sample(1)
    given = np.unpackbits(x, axis=-1)[..., :2312].astype(float)
    assert 0.001 < given.mean() < 0.5
    u, o, counts = [np.zeros((4, 9)), np.zeros((4, 10))], [np.zeros((4, 9)), np.zeros((4, 10))], np.zeros((4, 10))
    for t in range(6):
        current = given[:, t]
        for k, (w, b) in enumerate((("w1", "b1"), ("w2", "b2"))):
            u[k] = net.decay * u[k] * (1 - o[k]) + current @ params[w] + params[b]
            current = o[k] = (u[k] >= net.v_th).astype(float)
        counts += current
    loss = ((counts / 6 - np.eye(10)[y]) ** 2).sum(axis=1).mean()
    np.testing.assert_allclose(net.evaluate_batch(z, np.array([1])).metrics["loss"][0], loss, rtol=1e-5)
    with pytest.raises(ValueError, match="pictures, to be shown pixel by pixel, got digit_events"):
        replace(LSNN, data=net.data)


def test_the_four_curves_are_drawn_with_their_peaks_and_areas(tmp_path):
    figure = figures.draw_curves()
    peaks, areas = {}, {}
    for line in figure.axes[1].lines:
        v, h = line.get_xdata(), line.get_ydata()
        peaks[line.get_label()[:2]], areas[line.get_label()[:2]] = h.max(), np.trapezoid(h, v)
    assert peaks == pytest.approx({"h1": 1.0, "h2": 0.5, "h3": 0.25, "h4": 1 / np.sqrt(2 * np.pi)}, rel=1e-5)
    assert areas == pytest.approx({"h1": 1.0, "h2": 1.0, "h3": np.tanh(1.5), "h4": 0.9973}, abs=0.02)
    assert figures.curves(tmp_path / "curves.png").stat().st_size > 10_000


def test_connections_are_drawn_in_percent_and_pairs_without_places_stay_empty(tmp_path):
    shares = {"X+ to E": 0.2, "X+ to A": 0.05, "E to E": 0.123, "E to A": 0.0, "E to Y": 0.5}
    panel = figures.draw_connections(shares).axes[0]
    drawn = panel.images[0].get_array()
    np.testing.assert_allclose(np.ma.filled(drawn, np.nan), [[20, 5, np.nan], [12.3, 0, 50]])
    names = [[label.get_text() for label in labels] for labels in (panel.get_yticklabels(), panel.get_xticklabels())]
    assert names == [["X+", "E"], ["E", "A", "Y"]]
    assert [text.get_text() for text in panel.texts] == ["20.0", "5.0", "12.3", "0.0", "50.0"]
    assert figures.connections(shares, tmp_path / "shares.png").stat().st_size > 10_000
