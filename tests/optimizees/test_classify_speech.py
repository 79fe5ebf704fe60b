"""Speech, frame by frame: networks against the equations as loops, pieces that are filled up, learning."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from places import JOBS
from utterances import write_speech

from l2l_snn.checks import check_optimizee, require
from l2l_snn.data.speech import NONE
from l2l_snn.loop.job import load
from l2l_snn.search.step_rules import StepRule
from optimizees.classify import STBP, Examples, FrameLSNN, Gated, LinearFrames, SequentialLSNN
from optimizers.gradient_ascent import GradientAscent

DATA = Examples(set="timit", batch=3, frames=20, held_out=4)
LSNN = FrameLSNN(data=DATA, excitatory=5, inhibitory=2, adaptive=4, frame_ms=3, delay=2.0, tau_a=40.0)
NETWORKS = {"lsnn": LSNN, "linear": LinearFrames(data=DATA, context=1), "gated": Gated(data=DATA, units=4)}

pytestmark = pytest.mark.usefixtures("compiled_soon", "speech")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    write_speech(folder / "timit")
    return folder


@pytest.fixture
def speech(folder, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(folder))


@pytest.mark.parametrize("name", NETWORKS)
def test_keeps_the_contract(name):
    require(check_optimizee(NETWORKS[name], individuals=4))


def frame_loop(net: FrameLSNN, params, x):
    """Return the scores (B, F, K) and spikes (T, B, N) by the source's equations, a neuron state at a time."""
    B, F, _ = x.shape
    n, delay, T = net.neurons, round(net.delay), F * net.frame_ms
    w_rec = params["w_rec"] * (1 - np.eye(n))
    beta = np.where(np.arange(n) >= net.regular, net.beta, 0.0)
    alpha, rho = np.exp(-1 / net.tau_m), np.exp(-1 / net.tau_a)
    v, b, z, wait, y = (*(np.zeros((B, n)) for _ in range(4)), np.zeros((B, net.classes)))
    spikes, scores = np.zeros((T, B, n)), np.zeros((B, F, net.classes))
    for t in range(T):
        frame = x[:, t // net.frame_ms]
        if net.code == "thresholds":
            limits = np.linspace(-1.5, 1.5, net.thresholds + 2)[1:-1]
            frame = (frame[..., None] >= limits).reshape(B, -1) * (t % net.frame_ms == 0)
        current = frame @ params["w_in"] + (spikes[t - delay] @ w_rec if t >= delay else 0.0)
        b = rho * b + (1 - rho) * z
        threshold = net.v_th + beta * b
        fires = (v >= threshold) & (wait == 0)
        v = alpha * v + (1 - alpha) * current - threshold * z
        wait = np.where(fires, round(net.t_ref), np.maximum(wait - 1, 0))
        z = spikes[t] = fires.astype(float)
        y = alpha * y + (1 - alpha) * z @ params["w_out"]
        scores[:, t // net.frame_ms] += y / net.frame_ms
    return scores + params["b_out"], spikes


def cross_entropy(scores, y):
    """Return mean loss and accuracy over the frames that are there."""
    there = y != NONE
    scores, y = scores[there], y[there]
    loss = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(len(y)), y]
    return loss.mean(), (scores.argmax(axis=1) == y).mean()


@pytest.mark.parametrize("code", ["current", "thresholds"])
def test_the_lsnn_is_the_sources_equations(code):
    net = replace(LSNN, code=code, price=50.0)
    z = net.space.sample(np.random.default_rng(1), 1)
    params = {name: np.asarray(value, np.float64) for name, value in net.space.decode(z[0]).items()}
    x, y = net.data.sample(4)
    assert (y == NONE).any()
    assert (y != NONE).any()
    scores, spikes = frame_loop(net, params, np.asarray(x, np.float64))
    assert 0.005 < spikes.mean() < 0.4
    loss, accuracy = cross_entropy(scores, y)
    found = net.evaluate_batch(z, np.array([4]))
    np.testing.assert_allclose(found.metrics["loss"][0], loss, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["accuracy"][0], accuracy, atol=1e-6)
    price = 50 * np.sum((spikes.mean(axis=(0, 1)) - 0.01) ** 2)
    np.testing.assert_allclose(found.fitness[0], -(loss + price), rtol=1e-4)


def test_the_linear_map_sees_the_frames_around():
    net = NETWORKS["linear"]
    z = net.space.sample(np.random.default_rng(1), 1)
    params = net.space.decode(z[0])
    x, y = net.data.sample(1)
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
    seen = np.concatenate([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], axis=-1)
    loss, accuracy = cross_entropy(seen @ np.asarray(params["w"]) + np.asarray(params["b"]), y)
    found = net.evaluate_batch(z, np.array([1]))
    np.testing.assert_allclose(found.metrics["loss"][0], loss, rtol=1e-4)
    np.testing.assert_allclose(found.metrics["accuracy"][0], accuracy, atol=1e-6)


def test_the_gated_network_answers_every_frame_from_what_came_before():
    net = NETWORKS["gated"]
    params = net.space.decode(net.space.sample(np.random.default_rng(1), 1)[0])
    x = jnp.asarray(net.data.sample(1).x)
    whole, first = (np.asarray(net.answer(params, None, part).scores) for part in (x, x[:, :7]))
    assert whole.shape == (3, 20, 61)
    np.testing.assert_allclose(whole[:, :7], first, rtol=1e-5, atol=1e-6)


def test_measuring_in_parts_weighs_each_frame_alike(monkeypatch):
    net = NETWORKS["linear"]
    z = net.space.sample(np.random.default_rng(1), 1)[0]
    whole = net.measure(z, net.data.training())
    monkeypatch.setattr("optimizees.classify.classifier.PIECES_AT_ONCE", 4)
    np.testing.assert_allclose(net.measure(z, net.data.training()), whole, rtol=1e-5)


def test_gradient_ascent_learns_the_tones():
    net = LSNN
    ascent = GradientAscent(step=StepRule(learning_rate=0.2))
    state, losses = ascent.init(net.space, 1), []
    for i in range(25):
        z, state = ascent.ask(net.space, state)
        evaluation = net.evaluate_batch(z, np.array([i + 1]), with_grad=True)
        state = ascent.tell(net.space, state, z, evaluation)
        losses.append(evaluation.metrics["loss"][0])
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: STBP(data=DATA), "pictures or events, got timit"),
        (lambda: SequentialLSNN(data=DATA), "to be shown pixel by pixel, got timit"),
        (lambda: FrameLSNN(data=Examples()), "speech, timit or flite_speech, got mnist"),
        (lambda: LinearFrames(data=Examples()), "speech, timit or flite_speech, got mnist"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_the_jobs_are_the_published_network_and_those_beside_it():
    _, lsnn, _ = load(JOBS / "speech_lsnn.yaml")
    assert (lsnn.excitatory, lsnn.inhibitory, lsnn.adaptive, lsnn.sources, lsnn.classes) == (200, 100, 100, 39, 61)
    _, linear, _ = load(JOBS / "speech_linear.yaml")
    _, gated, _ = load(JOBS / "speech_lstm.yaml")
    assert lsnn.data == linear.data == gated.data
