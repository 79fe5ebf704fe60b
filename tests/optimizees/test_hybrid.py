"""Hybrid networks: what joins their parts, what learns when, and evolution of their hybrid units."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import JOBS
from typer.testing import CliRunner

from l2l_snn.checks import check_optimizee, require
from l2l_snn.cli import app
from optimizees.hybrid import Modulation, Reasoning, Recordings, Scenes, Sensing, Tasks, Training
from optimizees.hybrid.modulation import similarity, vary
from optimizees.hybrid.scenes import ANSWERS, CONCEPTS, KINDS, WORDS, make_questions

pytestmark = pytest.mark.usefixtures("compiled_soon", "pictures")

FEW = Training(batch=6, iterations=3, tests=8)
TASKS = Tasks(pool=4, count=3, held_out=20, context=4, contexts=2)
HMN = Modulation(training=FEW, tasks=TASKS, hidden=20, backbone=8, backbone_iterations=2, steps=3, window=3, share=0.3)
RECORDINGS = Recordings(frames=2, count=12, validation=4, test=5)
HSN = Sensing(training=FEW, recordings=RECORDINGS, hidden=6, features=4, head=5, number=4)
HRN = Reasoning(
    training=FEW,
    scenes=Scenes(count=16, validation=8, test=8),
    steps=4,
    window=4,
    group=2,
    number=2,
    hidden=6,
    parser=5,
    words=4,
)
NETWORKS = {"modulation": HMN, "sensing": HSN, "reasoning": HRN}


def sample(net, seed=1):
    """Return z (D,) and the decoded weights in float64."""
    z = net.weights.sample(np.random.default_rng(seed), 1)[0]
    return z, {name: np.asarray(value, np.float64) for name, value in net.weights.decode(z).items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_keeps_the_contract(name):
    require(check_optimizee(NETWORKS[name], individuals=4))


@pytest.mark.parametrize("name", ["modulation", "sensing"])
def test_evolution_searches_the_units_and_an_evaluation_trains_the_weights(name):
    net = replace(NETWORKS[name], genome="units")
    z = net.space.sample(np.random.default_rng(1), 2)
    found = net.evaluate_batch(z, np.array([1, 2]))
    assert set(net.space.parameters) == set(net.designed)
    units = net.space.decode(z[0])
    again = net.score(net.train(units, 1), units, 1, "validation")
    assert found.fitness[0] == found.metrics["score"][0] == again["score"]
    with pytest.raises(ValueError, match="expected weights, where a gradient is asked for, got units"):
        net.evaluate_batch(z, np.array([1, 2]), with_grad=True)


def test_similarity_is_the_share_of_pixels_at_the_same_place():
    base = np.random.default_rng(1).permutation(50)
    tasks = np.stack([base, vary(base, 0.4, np.random.default_rng(2)), vary(base, 0.0, np.random.default_rng(3))])
    assert all(sorted(task) == list(range(50)) for task in tasks)
    np.testing.assert_allclose(similarity(tasks), [[1, 0.6, 1], [0.6, 1, 0.6], [1, 0.6, 1]], atol=1e-6)


def test_the_branch_is_the_equations_of_its_neurons_under_the_units_thresholds():
    """Thresholds from the mean of the backbone's signals; membranes, window and kernel of the readout in loops."""
    _, w = sample(HMN)
    batch = HMN.tasks.examples(np.arange(49), np.random.default_rng(3), 5)
    means = batch["contexts"].astype(np.float64)
    means = (means - means.mean(axis=1, keepdims=True)) / means.std(axis=1, keepdims=True)
    dense = [w[name] for name in HMN.context_network.parameters()]  # b1, w1, b2, w2 in Flax's order
    signal = (np.maximum(means @ dense[1] + dense[0], 0) @ dense[3] + dense[2]).mean(axis=0)
    signal = (signal - signal.mean()) / signal.std()
    expected = np.where(signal >= 0.5244, HMN.v_low, HMN.v_high)  # the upper 0.3 of a Gaussian
    found = HMN.measure(sample(HMN)[0], HMN.designed, batch)
    np.testing.assert_allclose(found["shown.thresholds"], expected, rtol=1e-6)
    assert 1 < (expected < 1).sum() < 12
    kernel = np.exp(-np.arange(3) / HMN.tau)
    kernel /= kernel.sum()
    drive = batch["x"] / 255 @ w["w1"] + w["b1"]
    u, o, read, spikes = 0.0, np.zeros((5, 20)), np.zeros((5, 20)), []
    for t in range(3):
        u = HMN.decay * u * (1 - o) + drive
        o = (u >= expected).astype(float)
        read += kernel[2 - t] * o
        spikes.append(o)
    scores = read @ w["w2"] + w["b2"]
    loss = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(5), batch["y"]])
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-4)
    np.testing.assert_array_equal(found["shown.hidden"], np.array(spikes)[:, 0])
    assert 0 < np.mean(spikes) < 0.9


def test_the_backbone_learns_similarity_and_the_branch_tasks_and_neither_the_others():
    z, _ = sample(HMN)
    seen = []
    HMN.train(HMN.designed, 1, begin=z, after=lambda lesson, z: seen.append(z))
    assert len(seen) == 1 + HMN.tasks.count
    changed = [
        {name for name, part in HMN.weights.slices.items() if not np.array_equal(a[part], b[part])}
        for a, b in zip([np.float32(z), *seen[:-1]], seen, strict=True)
    ]
    backbone = set(HMN.context_network.parameters())
    assert changed[0] == backbone
    assert all(names and not names & backbone for names in changed[1:])


def exam(net):
    return next(iter(net.exams(np.random.default_rng([1, 1]), "validation")))


def test_neurons_with_the_high_threshold_keep_their_weights():
    z, _ = sample(HMN)
    order = np.arange(49)
    batch = HMN.tasks.examples(order, np.random.default_rng(3), 6)
    off = HMN.measure(z, HMN.designed, batch)["shown.thresholds"] > 1

    def cost(z):
        return HMN.objective(HMN.weights.decode(z), HMN.designed, jax.random.key(0), batch)[0]

    grad = HMN.weights.decode(jax.jit(jax.grad(cost))(jnp.asarray(z, jnp.float32)))
    assert not np.asarray(grad["w2"])[off].any()
    assert np.asarray(grad["w2"])[~off].any()
    assert not np.asarray(grad["w1"])[:, off].any()


def test_positions_come_from_held_frames_and_from_windows_of_spikes():
    """The units in loops: numbers of a frame last 20 steps, spikes are summed over both windows' kernels."""
    z, w = sample(HSN)
    batch = exam(HSN)
    found = HSN.measure(z, HSN.designed, batch)
    decoded = {name: jnp.asarray(value, jnp.float32) for name, value in w.items()}
    what = np.asarray(HSN.what(decoded, batch["frames"]))[:, 0]  # (F, M)
    events = np.unpackbits(batch["events"][0], axis=-1).reshape(40, 2, 12, 2, 12, 2).max(axis=(3, 5)).reshape(40, -1)
    u, o, spikes = 0.0, 0.0, []
    for t in range(40):
        u = HSN.decay * u * (1 - o) + events[t] @ w["where_w"] + w["where_b"]
        o = (u >= HSN.v_th).astype(float)
        spikes.append(o)
    np.testing.assert_array_equal(found["shown.spikes"], spikes)
    assert 0.01 < np.mean(spikes) < 0.9
    long, short = np.zeros(40), np.exp(-np.arange(40) / HSN.tau)
    long[:20], first = 1 / 20, np.eye(1, 40)[0]
    kernels = [design + w[name] for design, name in zip((long, short / short.sum(), first), HSN_KERNELS, strict=True)]
    dense = [w[name] for name in HSN.head_network.parameters()]
    for t in (0, 25, 39):
        parts = [sum(kernels[2][s] * what[(t - s) // 20] for s in range(t + 1))]
        parts += [what[0] if t >= 20 else np.zeros(4)]
        passed = np.arange(6) < HSN.number
        parts += [sum(k[s] * spikes[t - s] * passed for s in range(t + 1)) for k in kernels[:2]]
        x = np.concatenate([*parts, [t % 20 / 20]])
        place = 5 * (np.maximum(x @ dense[1] + dense[0], 0) @ dense[3] + dense[2])
        np.testing.assert_allclose(found["shown.position"][t], place, rtol=1e-3, atol=1e-4)


HSN_KERNELS = ("kernel_rate", "kernel_timing", "kernel_what")


def test_a_twin_sees_nothing_of_the_other_way_and_the_scope_of_learning_is_as_said():
    z, _ = sample(HSN)
    batch, grads = exam(HSN), {}
    for name, net in {
        "both": HSN,
        "frames": replace(HSN, ways="frames"),
        "events": replace(HSN, ways="events"),
        "alone": replace(HSN, learned="alone"),
    }.items():

        def cost(z, net=net):
            return net.objective(net.weights.decode(z), net.designed, jax.random.key(0), batch)[0]

        grad = HSN.weights.decode(jax.jit(jax.grad(cost))(jnp.asarray(z, jnp.float32)))
        grads[name] = {part for part, value in grad.items() if np.asarray(value).any()}
    assert grads["both"] == set(HSN.weights.parameters)
    assert not grads["frames"] & {"where_w", "where_b", "kernel_rate", "kernel_timing"}
    assert not grads["events"] & {"kernel_what", *HSN.frame_network.parameters()}
    assert grads["alone"] == set(HSN_KERNELS)
    names = list(HSN.weights.parameters)
    assert replace(HSN, learned="designed").scope() == [name for name in names if name not in HSN_KERNELS]
    assert set(names) - set(replace(HSN, learned="neighbours").scope()) == {
        "what_layers_0_bias",
        "what_layers_0_kernel",
    }


def test_operations_are_less_for_a_twin_and_grow_with_spikes():
    both, frames, events = (replace(HSN, ways=ways).operations(0.1, 0.05) for ways in ("both", "frames", "events"))
    assert "events" not in frames
    assert "frames" not in events
    assert both["units"] == pytest.approx(frames["units"] + events["units"])
    assert HSN.operations(0.2, 0.1)["events"] > both["events"]


def test_questions_are_about_what_is_there_and_answers_are_right():
    """Each question read again from its words alone, and answered by going through the cells."""
    questions = make_questions(120, 5)
    assert np.bincount(questions.kind).tolist() == [30] * 4
    for i in range(120):
        words = [WORDS[w] for w in questions.words[i] if w]
        kind, things = KINDS[questions.kind[i]], []
        for cell in questions.concepts[i]:
            if cell[0]:
                things.append({name for name, there in zip(CONCEPTS, cell, strict=True) if there})
        assert 3 <= len(things) <= 6
        first = words[1 : words.index("than")] if kind == "compare" else words[1:]
        fits = [thing for thing in things if thing.issuperset(first)]
        if kind == "count":
            expected = str(len(fits))
        elif kind == "exist":
            expected = "yes" if fits else "no"
        elif kind == "compare":
            others = [thing for thing in things if thing.issuperset(words[words.index("than") + 1 :])]
            expected = "yes" if len(fits) > len(others) else "no"
        else:
            (thing,) = fits
            groups = {"what shape": {"square", "cross", "triangle"}, "what colour": {"red", "green", "blue"}}
            (expected,) = thing & groups.get(words[0], {"small", "large"})
        assert ANSWERS[questions.answer[i]] == expected
        assert {CONCEPTS[v] for v in np.flatnonzero(questions.demands[i, 0])} == set(first)


def test_a_scene_shows_a_thing_where_one_is():
    questions = make_questions(20, 6)
    cells = questions.scene.reshape(20, 3, 8, 3, 8, 3).swapaxes(2, 3).reshape(20, 9, 64, 3)
    there = questions.concepts[..., 0] > 0
    assert ((cells.max(axis=(2, 3)) > 200) >= there).mean() > 0.8
    coloured = questions.concepts[..., 4:7].argmax(axis=-1)
    brightest = np.sort(cells, axis=2)[:, :, -6:].mean(axis=2).argmax(axis=-1)
    assert (coloured == brightest)[there].mean() > 0.95


def certain(questions):
    """Return concepts and program as sure parsers would give them."""
    concepts = jnp.asarray(questions.concepts, jnp.float32)
    kinds = jax.nn.one_hot(questions.kind, 4)
    demands = questions.demands.reshape(len(kinds), -1)
    return concepts, jnp.concatenate([demands, kinds, questions.asked], axis=1).astype(jnp.float32)


@pytest.mark.parametrize("spiking", [True, False])
def test_neurons_fire_for_the_things_that_fit(spiking):
    """With sure parsers the last layer gets, in each step, how many things fit and which concepts they have."""
    net, questions = replace(HRN, spiking=spiking), make_questions(40, 5)
    concepts, program = certain(questions)
    find = jax.jit(lambda c, p: net.find(net.designed, jax.random.key(1), c, p))
    features = np.asarray(find(concepts, program))  # (T, B, 2 + V)
    for i in range(40):
        there = questions.concepts[i].astype(int)
        fits = [there[:, 0] * (there >= demand).all(axis=1) for demand in questions.demands[i]]
        expected = [fits[0].sum(), fits[1].sum(), *(questions.asked[i] * (fits[0][:, None] * there).sum(axis=0))]
        np.testing.assert_allclose(features[:, i], np.tile(expected, (len(features), 1)), atol=1e-5)


def test_a_tenth_that_is_removed_is_a_tenth():
    net = replace(HRN, removed=0.1)
    kept = [np.asarray(net.kept(jax.random.key(i), (3, 5, 2))) for i in (1, 2)]
    assert [one.sum() for one in kept] == [27, 27]
    assert not np.array_equal(*kept)
    assert HRN.kept(jax.random.key(1), (30,)).all()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Modulation(v_low=40.0), "v_low: expected below v_high, 30"),
        (lambda: Reasoning(window=11), "no more than steps, 6"),
        (lambda: Modulation(window=7), "no more than steps, 6"),
        (lambda: Tasks(pool=4, held_out=60).examples(np.arange(49), np.random.default_rng(1), 2), "held_out: expected"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_the_job_runs_and_draws_an_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [
        "recordings={frames: 2, count: 12, validation: 4, test: 5}",
        "hidden=6",
        "features=4",
        "head=5",
        "number=4",
    ]
    small += ["number=4", "training={batch: 6, iterations: 3, tests: 8}"]  # as HSN, which is compiled
    settings = [part for one in small for part in ("--set", f"optimizee.{one}")]
    job = str(JOBS / "hybrid_sensing.yaml")
    run = CliRunner().invoke(app, ["run", job, "--inline", "--set", "generations=1", *settings])
    assert run.exit_code == 0, run.output
    assert list(tmp_path.rglob("example.png"))
