"""The arm that learns to stand: its life, what the outer loop sees of it, its network by itself."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from l2l_snn.body import Activation
from optimizees.arm import Brain, EmbodiedArm, Loop, ShiftedSine, Training
from optimizees.arm.gradients import learn_window
from optimizees.arm.life import Hyper, course, learn, put, sample_start
from optimizees.arm.loop import Given
from optimizees.arm.optimizee import _count_to_half

pytestmark = pytest.mark.usefixtures("compiled_soon")

SMALL = Brain(reservoir=16)
CLIP = 2000.0  # between the norms of that life's gradients
TRAINING = Training(epochs=3, steps=240, tail=100, form="backward", angle_low=0.58)
LOOP = Loop(brain=SMALL, max_angle=0.61)  # it is soon beyond
ARM = EmbodiedArm(LOOP, TRAINING, windows=(20,), angles=(20.0, -20.0))


@pytest.fixture(scope="module")
def evaluation():
    z = np.stack([ARM.by_hand, ARM.by_hand])
    z[1, 0] = 1.0  # a learning rate that is far too large
    return ARM.evaluate_batch(z, np.array([7, 7]), with_artifacts=True)


def test_a_life_is_algorithm_1_written_out():
    loop, training, hyper = Loop(brain=SMALL), replace(TRAINING, epochs=1, clip=CLIP), Hyper(3e-3, 0.9, 0.3, 0.75)
    keys = jax.random.split(jax.random.key(3), 3)
    life = jax.device_get(jax.jit(lambda: learn(loop, training, 20, hyper, jax.random.key(3)))())
    window = jax.jit(lambda w, state: learn_window(loop, life.given, w, state, 20, "backward"))
    w, m, state, squares, norms = life.first.copy(), 0.0, loop.init(), [], []
    for i in range(12):
        if i == 1:  # after 20 steps at rest
            state = put(state, *sample_start(loop, training, jax.random.split(keys[2], 1)[0]))
        found = window(w, state)
        norm = np.linalg.norm(found.grad)
        g = np.asarray(found.grad) * (CLIP / norm if norm > CLIP else 1.0)
        norms.append(norm)
        m = g + 0.9 * m  # Nesterov's momentum as in Optax
        w = w - 3e-3 * (g + 0.9 * m)
        state, squares = found.state, [*squares, float(found.square)]
    assert min(norms) < CLIP < max(norms)
    assert np.abs(w - life.first).max() > 1e-4
    np.testing.assert_allclose(life.w, w, rtol=1e-4, atol=1e-6)
    assert life.epochs.loss[0] == pytest.approx(sum(squares[-5:]) / 100, rel=1e-4)
    assert life.epochs.whole[0] == pytest.approx(sum(squares[1:]) / 220, rel=1e-4)
    assert 0.58 <= abs(life.epochs.first[0, 0]) <= 0.6


def test_the_table_has_what_an_outer_loop_needs(evaluation):
    assert evaluation.errors == ()
    names = {f"rate_{kind}{name}" for kind in ("", "max_") for name in ("sensory", "reservoir", "motor")}
    assert set(evaluation.metrics) == names | {"loss_first", "loss_last", "half", "fallen", "error"}
    loss = evaluation.artifacts["loss"]
    np.testing.assert_allclose(evaluation.fitness, -loss.mean(axis=1), rtol=1e-6)
    last = np.degrees(np.abs(evaluation.artifacts["q"][:, :, -800:]).max(axis=(1, 2, 3)))
    np.testing.assert_allclose(evaluation.metrics["error"], last, rtol=1e-5)


def test_an_arm_that_leaves_its_range_is_a_low_fitness_and_not_nan(evaluation):
    for values in (evaluation.fitness, *evaluation.metrics.values()):
        assert np.isfinite(values).all()
    assert (evaluation.metrics["fallen"] == 1).all()
    assert (evaluation.fitness < -(0.61**2)).all()
    assert (evaluation.fitness > -(0.65**2)).all()


def test_it_draws_its_pictures_and_its_film(evaluation, tmp_path):
    files = ARM.draw(ARM.space.decode(ARM.by_hand), evaluation, tmp_path, video=True)
    assert [file.name for file in files] == ["learning.png", "tests.png", "behaviour.png", "arm.gif"]
    for file in files:
        with Image.open(file) as image:
            image.load()
            assert np.count_nonzero(image.convert("L").histogram()) > 20  # not a blank
    with Image.open(tmp_path / "arm.gif") as film:
        assert getattr(film, "n_frames", 1) > 5


def test_an_individual_is_the_same_beside_others_and_alone(evaluation):
    alone = ARM.evaluate_batch(ARM.by_hand[None], np.array([7]), with_artifacts=True)
    assert alone.fitness[0] == evaluation.fitness[0]


def test_the_window_is_one_of_those_allowed():
    arm = replace(ARM, windows=(10, 20))
    assert arm.space.decode(arm.by_hand)["window"] == 20
    assert "window" not in ARM.space.parameters
    assert EmbodiedArm().space.size == 5  # windows have an order: one coordinate for the three


def test_half_is_when_five_losses_in_a_row_are_under_it():
    losses = jnp.array([1.0, 0.0, 1.0, 1.0, 1.0, 0.2, 0.2, 0.2, 0.0, 0.0])
    assert int(_count_to_half(losses, 0.6)) == 8  # 1, 1, 0.2, 0.2, 0.2 are the first whose mean is below
    assert int(_count_to_half(losses, 0.01)) == 10


def test_frozen_weights_move_the_arm_only_through_spikes():
    given = Given(LOOP.brain.sample_fixed(jax.random.key(0), LOOP.sensory), jnp.array(0.75))
    still = jax.jit(lambda: course(LOOP, given, jnp.zeros((16, 2)), jnp.array([0.2]), 200))()
    assert (np.diff(np.asarray(still.q[:, 0])) > 0).all()  # it falls
    assert float(still.spikes.motor.sum()) == 0 < float(still.spikes.reservoir.sum())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Loop(max_angle=2.0), "Loop.max_angle: expected an angle within the range of elbow, -1.57.* got 2 rad"),
        (lambda: Loop(activation=Activation(dt=0.125)), "Loop.activation.dt: expected brain.dt, 0.25 ms, got 0.125 ms"),
        (lambda: Brain(dt=3.0), "Brain.dt: expected a step of at most tau_syn, got 3 ms"),
        (lambda: Training(tail=4000), "Training.tail: expected fewer steps than the 3980 after settling"),
        (lambda: EmbodiedArm(angles=(80.0,)), "angles: expected a number in .* got 80.0; an arm that begins beyond"),
        (lambda: EmbodiedArm(training=Training(angle_high=1.3)), "training.angle_high: expected a number in"),
        (lambda: ShiftedSine(steps=30), "steps: expected a multiple of the window, 20 steps, got 30"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_sensory_neurons_fire_between_10_and_100_hz():
    brain = Brain()

    def count(sense):
        step = lambda state, _: brain.cell.step(state, brain.currents(sense), brain.dt)  # noqa: E731
        return jax.lax.scan(step, brain.cell.init(4), length=8000)[1].sum(axis=0) / 2

    rates = np.asarray(jax.jit(count)(jnp.array([-1.0, 1e-6, 0.5, 1.0])))
    assert rates[0] == 0
    assert rates[1] == pytest.approx(10, abs=4)
    assert rates[2] == pytest.approx(60, abs=10)
    assert rates[3] == pytest.approx(100, abs=8)


def test_the_sense_of_tension_is_at_its_span_where_an_active_muscle_is_stretched():
    loop = Loop(brain=SMALL, sense="muscle")
    limb = loop.init().below.limb
    active = limb._replace(activation=limb.activation._replace(level=jnp.ones(2)))
    for w, low, high in ((0.0, 0.45, 0.55), (2.0, 0.9, 1.0)):  # rad/s: held; stretched by a fall
        tension = loop.sense_limb(active._replace(w=jnp.array([w])), jnp.array(0.75))[2:] / loop.tension_span
        assert low < float(tension.max()) < high


def test_the_network_by_itself_learns_the_shifted_sine_by_the_gradient_of_its_error(tmp_path):
    sine = ShiftedSine(brain=SMALL, iterations=4, steps=400, frequency=4.0)
    z = sine.space.encode({"learning_rate": 1e-5, "momentum": 0.5, "initial_range": 1.0})
    found = sine.evaluate_batch(z[None], np.array([1]), with_artifacts=True)
    assert found.metrics["loss_last"] < 0.5 * found.metrics["loss_first"]
    output, target = (found.artifacts[name][0] for name in ("output", "target"))
    assert found.metrics["loss_last"] == pytest.approx(np.mean((output[-1] - target) ** 2), rel=1e-3)
    (file,) = sine.draw(sine.space.decode(z), found, tmp_path)
    assert file.name == "isolated.png"
    assert file.stat().st_size > 10_000
