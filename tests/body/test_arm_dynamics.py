"""The arm of an XML file: how it falls, by the formula and by MuJoCo, and what a bad file is told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT
from scipy.integrate import solve_ivp

from l2l_snn.body import Limb
from l2l_snn.body.dynamics import inertia, mover
from l2l_snn.body.geometry import muscles_of
from l2l_snn.body.mjcf import read_mjcf

pytestmark = pytest.mark.usefixtures("compiled_soon")

ARM, ARM_3D = (ROOT / f"optimizees/arm/{name}.xml" for name in ("arm", "arm_3d"))


def fall(move, q, torques):
    """Return angles (T, J) from rest at q (J,) under torques (T, J)."""

    def step(state, torque):
        state = move(*state, torque)
        return state, state[0]

    start = jnp.asarray(q), jnp.zeros(len(q))
    return np.asarray(jax.jit(lambda: jax.lax.scan(step, start, jnp.asarray(torques))[1])())


def test_without_torque_the_arm_falls_in_1_5_seconds_as_the_pendulum_of_its_numbers():
    skeleton = read_mjcf(ARM)
    total, (hinge,) = inertia(skeleton), skeleton.hinges
    assert total == pytest.approx(1.3333e-7 + 0.004 * 0.01**2 + 1e-6)
    with jax.enable_x64(True):
        q = fall(mover(skeleton, "closed_form"), np.array([0.01]), np.zeros((1600, 1)))[:, 0]
    weight = 0.004 * 9.81 * 0.01
    exact = solve_ivp(
        lambda t, x: [x[1], (weight * np.sin(x[0]) - hinge.damping * x[1]) / total],
        (0, 1.0), [0.01, 0.0], t_eval=[0.5, 1.0], rtol=1e-8, atol=1e-10,
    ).y[0]  # fmt: skip
    np.testing.assert_allclose(q[[399, 799]], exact, rtol=1e-2)
    assert 1.35 < 1.25e-3 * (np.flatnonzero(q >= hinge.high)[0] + 1) < 1.65
    assert (q[-100:] == hinge.high).all()  # at its stop


@pytest.mark.parametrize("ratio", [0.0, 0.75, 0.85])
def test_with_passive_muscles_the_arm_falls_from_every_tested_angle(ratio):
    limb = Limb(str(ARM))
    starts = jnp.radians(jnp.array([-30.0, -20.0, -10.0, -1.0, 1.0, 10.0, 20.0, 30.0]))

    def run(q):
        step = lambda state, _: (limb.move(state, ratio),) * 2  # noqa: E731
        return jax.lax.scan(step, limb.init()._replace(q=q[None]), length=800)[1].q[:, 0]

    q = np.sign(starts)[:, None] * np.asarray(jax.jit(jax.vmap(run))(starts))
    high = limb.skeleton.hinges[0].high
    assert ((np.diff(q, axis=1) > 0) | (q[:, 1:] == np.float32(high))).all()
    assert (q[[0, 1, 2, 5, 6, 7], -1] - q[[0, 1, 2, 5, 6, 7], 0] > 0.2).all()


def test_mujoco_moves_the_arm_as_the_formula_does():
    pytest.importorskip("mujoco.mjx")
    skeleton = read_mjcf(ARM)
    torques = 3e-4 * np.sin(np.arange(200) / 7.0)[:, None]
    ours, theirs = (fall(mover(skeleton, engine), np.array([0.3]), torques) for engine in ("closed_form", "mjx"))
    assert np.ptp(ours) > 0.1
    np.testing.assert_allclose(theirs, ours, atol=2e-5)


@pytest.mark.parametrize("path", [ARM, ARM_3D], ids=["one hinge", "two"])
def test_mujoco_finds_the_same_lengths_and_moment_arms(path):
    mujoco = pytest.importorskip("mujoco")
    skeleton = read_mjcf(path)
    model = mujoco.MjModel.from_xml_path(str(path))
    data = mujoco.MjData(model)
    data.qpos[:] = np.array([0.5, -0.3])[: len(skeleton.hinges)]
    mujoco.mj_forward(model, data)
    with jax.enable_x64(True):
        length, arms = muscles_of(skeleton, jnp.asarray(data.qpos))
    np.testing.assert_allclose(length, data.ten_length)
    moment = np.zeros((model.ntendon, model.nv))
    for row, strand in enumerate(skeleton.strands):
        assert model.tendon(row).name == strand.name
        adr, nnz = model.ten_J_rowadr[row], model.ten_J_rownnz[row]
        moment[row, model.ten_J_colind[adr : adr + nnz]] = data.ten_J[adr : adr + nnz]
    np.testing.assert_allclose(arms, -moment, atol=1e-9)


TEXT = ARM.read_text()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('type="hinge"', 'type="slide"', "bad.xml: expected an arm with a hinge, got no joint of the type hinge"),
        ('mass="0.004"', 'mass="-0.004"', "bad.xml: mass: expected a number > 0, got -0.004"),
        ('pos="0 0 0.002"', 'pos="0 0 0"', "bad.xml: arm of muscle flexor: expected a distance from the hinge > 0 m"),
        ('site="flexor_arm"', 'site="extensor_ground"', "bad.xml: muscle flexor: expected a site on the arm and one"),
        ("<tendon>", "<x>", "bad.xml: expected a body in MJCF XML, got no XML"),
        ('damping="1.1e-4"', 'damping="-1"', "bad.xml: damping of elbow: expected a number >= 0"),
        ('range="-1.5708 1.5708"', 'range="0.2 1"', "bad.xml: range of elbow: expected angles below and above 0"),
    ],
)
def test_a_bad_file_is_told_in_the_words_of_the_domain(tmp_path, old, new, text):
    bad = tmp_path / "bad.xml"
    assert old in TEXT
    bad.write_text(TEXT.replace(old, new))
    with pytest.raises(ValueError, match=text):
        read_mjcf(bad)


def test_the_formula_is_for_one_hinge():
    with pytest.raises(ValueError, match="engine closed_form: expected an arm with one hinge, got 2 hinges"):
        mover(read_mjcf(ARM_3D), "closed_form")
