"""Activation, Hill-type muscles and their geometry, against the equations of Brand 2024 in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT

from l2l_snn.body import Activation, HillMuscle, Limb
from l2l_snn.body.geometry import muscles_of, triangle
from l2l_snn.body.mjcf import read_mjcf

pytestmark = pytest.mark.usefixtures("compiled_soon")

ARM, ARM_3D = (ROOT / f"optimizees/arm/{name}.xml" for name in ("arm", "arm_3d"))


def levels(activation, spikes):
    """Return the activation level (T,) of one muscle for spikes (T,)."""
    state = activation.init(1)
    _, level = jax.lax.scan(lambda s, x: (activation.step(s, x[None]),) * 2, state, jnp.asarray(spikes, float))
    return np.asarray(level.level[:, 0]), np.asarray(level.counter[:, 0])


def test_a_spike_stimulates_for_the_time_that_reaches_95_percent_and_the_twitch_decays_exponentially():
    spikes = np.zeros(900)
    spikes[10] = 1
    level, counter = levels(Activation(), spikes)
    assert Activation().pulse == 120
    np.testing.assert_array_equal(counter[10:131], np.arange(119, -2, -1))
    assert (level[:10] == 0).all()
    assert level.argmax() == 129
    assert level.max() == pytest.approx(0.95, abs=5e-4)
    since = np.arange(1, 121) * 0.25
    np.testing.assert_allclose(level[10:130], 1 - np.exp(-since / 10.0), rtol=1e-5)
    after = np.arange(1, 701) * 0.25
    np.testing.assert_allclose(level[130:830], level[129] * np.exp(-after / 40.0), rtol=1e-4)
    assert level[-1] < 0.02  # at rest 200 ms after the spike


def test_spikes_add_no_more_stimulation_than_one_pulse():
    spikes = np.zeros(400)
    spikes[[5, 6, 7, 50]] = 1
    level, counter = levels(Activation(), spikes)
    assert counter.max() == 120
    assert counter[-1] == -1
    assert level.max() < 1
    assert np.flatnonzero(np.diff(level) < 0)[0] == 51 + 119  # the last one's stimulation goes on to here


@pytest.mark.parametrize(
    ("clip", "unit", "slope_of_h"), [("pass", "step", 1 / 4), ("pass", "pulse", (120 / 121) ** 2), ("exact", "step", 0)]
)
def test_a_muscle_at_rest_has_a_derivative_only_if_it_passes_the_limit(clip, unit, slope_of_h):
    activation, expected = Activation(clip=clip, unit=unit), 121 * slope_of_h * (1 - np.exp(-0.025))
    slope = jax.jvp(lambda s: activation.step(activation.init(1), s).level, (jnp.zeros(1),), (jnp.ones(1),))[1]
    assert float(slope[0]) == pytest.approx(expected, rel=1e-4, abs=1e-9)


def test_forces_are_those_of_eq_2_15_to_2_17():
    muscle, fibre = HillMuscle(), np.linspace(0.3, 1.9, 9)
    zero, one = np.zeros(9), np.ones(9)
    f_max = muscle.f_max
    still = muscle.pull(one, fibre, zero)
    np.testing.assert_allclose(still.active, f_max * np.exp(-((fibre - 1) ** 2) / 0.25), rtol=1e-5)
    np.testing.assert_allclose(still.passive, f_max * np.where(fibre > 1, (fibre - 1) ** 2, 0), rtol=1e-5, atol=1e-9)
    speed = np.array([-0.5, -0.1, 0.0, 0.1, 0.5, 2.0])
    moving = muscle.pull(np.ones(6), np.ones(6), muscle.v_max * speed)
    expected = np.maximum(1 - np.arctan(10 * speed) / 1.5, 0)
    np.testing.assert_allclose(moving.active, f_max * expected, rtol=1e-5, atol=1e-9)
    assert (np.diff(moving.active) < 0)[:4].all()  # the faster it shortens, the weaker


def test_the_printed_slope_of_the_passive_force_is_eq_2_18():
    exact, printed = HillMuscle(), HillMuscle(passive_slope="printed")
    at = jnp.array([0.7, 1.3])

    def slope(muscle):
        return jax.jvp(lambda x: muscle.pull(jnp.zeros(2), x, jnp.zeros(2)).passive, (at,), (jnp.ones(2),))

    (value, own), (same, other) = slope(exact), slope(printed)
    np.testing.assert_array_equal(value, same)
    np.testing.assert_allclose(own, exact.f_max * np.array([0.0, 0.6]), rtol=1e-5)
    np.testing.assert_allclose(other, exact.f_max * np.array([0.49, 1.69]) / 1.3, rtol=1e-5)


def test_a_longer_tendon_makes_the_same_swing_a_larger_strain():
    rest = np.full(2, 10.0)
    for ratio in (0.0, 0.75, 0.85):
        fibre = HillMuscle(tendon_ratio=ratio).fibre_length(np.array([9.0, 11.0]), rest)
        np.testing.assert_allclose(fibre, 1 + np.array([-0.1, 0.1]) / (1 - ratio))


def test_length_and_moment_arm_are_those_of_the_triangle():
    a, b, angle = 2e-3, 1e-2, np.linspace(0.6, 2.5, 7)
    with jax.enable_x64(True):
        length, arm = (np.asarray(x) for x in triangle(a, b, angle))
    np.testing.assert_allclose(length, np.sqrt(a**2 + b**2 - 2 * a * b * np.cos(angle)))
    printed = a * np.sin(np.arccos((-(b**2) + length**2 + a**2) / (2 * length * a)))  # eq. 2.19
    np.testing.assert_allclose(arm, printed)


@pytest.mark.parametrize("path", [ARM, ARM_3D], ids=["one hinge", "two"])
def test_moment_arms_are_the_derivative_of_lengths_in_space(path):
    skeleton = read_mjcf(path)
    hinges, q = len(skeleton.hinges), np.array([0.5, -0.3])
    x, y = q if hinges == 2 else (q[0], 0.0)
    q = q[:hinges]
    with jax.enable_x64(True):
        length, arms = (np.asarray(v) for v in muscles_of(skeleton, jnp.asarray(q)))
        step = 1e-6 * np.eye(hinges)
        lengths = [[np.asarray(muscles_of(skeleton, jnp.asarray(q + s * d))[0]) for s in (1, -1)] for d in step]
    tip = np.array([np.sin(x) * np.cos(y), -np.sin(y), np.cos(x) * np.cos(y)])  # turned about x first, then about y
    for i, strand in enumerate(skeleton.strands):
        assert length[i] == pytest.approx(np.linalg.norm(2e-3 * tip - strand.ground))
    for j, (up, down) in enumerate(lengths):
        np.testing.assert_allclose(arms[:, j], -(up - down) / 2e-6, atol=1e-9)


def test_muscles_have_their_resting_length_at_the_rest_angle():
    for angle in (0.0, 0.3):
        limb = Limb(str(ARM), rest_angle=angle)
        state = limb.init()._replace(q=jnp.array([angle]))
        np.testing.assert_allclose(limb.forces(state).fibre, 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Activation(dt=12.0), "Activation.dt: expected a step of at most tau_act, got 12 ms"),
        (lambda: Activation(tau_deact=-1.0), "Activation.tau_deact: expected a number > 0"),
        (lambda: HillMuscle(f_max=-1.0), "HillMuscle.f_max: expected a number > 0"),
        (lambda: HillMuscle(tendon_ratio=1.0), "HillMuscle.tendon_ratio: expected a number"),
        (lambda: Limb(str(ARM), rest_angle=2.0), "Limb.rest_angle: expected an angle within the range of elbow"),
        (lambda: Limb(str(ARM), Activation(dt=0.4)), "timestep of the XML: expected a multiple of activation.dt"),
    ],
)
def test_what_does_not_fit_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()
