"""The gradient through network, muscles and arm: three forms give the same numbers; differences give them too."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn.body import Activation
from optimizees.arm import gradients
from optimizees.arm.brain import Brain
from optimizees.arm.gradients import learn_window, run_window
from optimizees.arm.life import put
from optimizees.arm.loop import Given, Loop

pytestmark = pytest.mark.usefixtures("compiled_soon")

BRAIN = Brain(reservoir=12, density=0.5)
LOOP = Loop(brain=BRAIN, spike_cost=1e-3, contraction_cost=1e-2)
SMOOTH = replace(LOOP, brain=replace(BRAIN, smooth=4.0), activation=Activation(smooth=0.1, clip="exact"))
STEPS = 12


@pytest.fixture(autouse=True)
def _two_stages(monkeypatch):
    """Each stage is compiled by itself."""
    monkeypatch.setattr(gradients, "STAGES", 2)


@partial(jax.jit, static_argnums=0)
def state_of(loop):
    """Return what is given, weights and a first state, in float64."""
    keys = jax.random.split(jax.random.key(0))
    given = Given(loop.brain.sample_fixed(keys[0], loop.sensory), jnp.array(0.75))
    w = 0.6 * jax.random.uniform(keys[1], (loop.brain.reservoir, loop.muscles), float, -1, 1)
    return given, w, put(loop.init(), jnp.array([0.5]), jnp.array([0.1]))


@partial(jax.jit, static_argnums=0)
def run(loop, given, w, state):
    return run_window(loop, given, w, state, STEPS)


@partial(jax.jit, static_argnums=(0, 1))
def learn(loop, form, given, w, state):
    return learn_window(loop, given, w, state, STEPS, form)


@pytest.mark.parametrize(
    ("loop", "forms"),
    [(LOOP, ("separable", "general", "backward")), (Loop(brain=BRAIN, sense="muscle"), ("separable", "backward"))],
    ids=["angle", "length and tension"],
)
def test_separable_general_and_backward_form_give_the_same_gradient(loop, forms):
    with jax.enable_x64(True):
        given, w, state = state_of(loop)
        for _ in range(5):  # into the middle of things
            state = run(loop, given, w, state).state
        plain = jax.device_get(run(loop, given, w, state))
        found = {form: jax.device_get(learn(loop, form, given, w, state)) for form in forms}
    grad = found["backward"].grad
    assert (np.abs(grad).max(axis=0) > 1e-6).all()
    for form, one in found.items():
        np.testing.assert_allclose(one.grad, grad, rtol=1e-8, atol=1e-12, err_msg=form)
        for name in ("loss", "square", "spikes", "state"):
            jax.tree.map(np.testing.assert_allclose, getattr(one, name), getattr(plain, name))
    assert all(spikes.sum() > 0 for spikes in plain.spikes)


def test_where_all_is_smooth_it_is_that_of_differences():
    with jax.enable_x64(True):
        given, w, state = state_of(SMOOTH)
        state = run(SMOOTH, given, w, state).state
        grad = np.asarray(learn(SMOOTH, "separable", given, w, state).grad)
        for d in np.random.default_rng(1).standard_normal((20, *w.shape)):
            up, down = (float(run(SMOOTH, given, w + sign * 1e-5 * d, state).loss) for sign in (1, -1))
            assert (up - down) / 2e-5 == pytest.approx(float((grad * d).sum()), rel=1e-4)


def test_the_way_through_the_senses_is_part_of_the_gradient():
    with jax.enable_x64(True):
        given, w, state = state_of(SMOOTH)
        deaf = given._replace(fixed=given.fixed._replace(w_in=jnp.zeros_like(given.fixed.w_in)))
        hears, hears_not = (np.asarray(learn(SMOOTH, "separable", one, w, state).grad) for one in (given, deaf))
    assert not np.allclose(hears, hears_not)


def test_an_arm_that_has_left_its_range_stays_and_gives_no_gradient():
    with jax.enable_x64(True):
        given, w, state = state_of(LOOP)
        outside = put(run(LOOP, given, w, state).state, jnp.array([1.3]), jnp.array([1.0]))
        outside = outside._replace(alive=jnp.array(False))
        for form in ("separable", "backward"):
            found = jax.device_get(learn(LOOP, form, given, w, outside))
            assert found.state.below.limb.q[0] == 1.3
            assert found.square == pytest.approx(STEPS * 1.3**2)
            np.testing.assert_array_equal(found.grad, 0)
