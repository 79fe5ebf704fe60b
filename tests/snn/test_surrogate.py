"""Spikes are exactly the step function; their derivative is exactly the surrogate, in every mode of differentiation."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
from jax import lax

from l2l_snn.snn.surrogate import (
    arctan,
    exponential,
    gaussian,
    heaviside,
    polynomial,
    rectangular,
    sigmoid,
    smooth,
    superspike,
    triangle,
)

E = np.e
LN3 = np.log(3.0)

# by hand: the function, then v and its derivative there, below, at and above threshold
BY_HAND = {
    "superspike": (superspike(beta=4.0), {-0.5: 1 / 9, 0.0: 1.0, 0.25: 1 / 4, 1.0: 1 / 25}),
    "superspike, eq. 2.8": (superspike(), {-1.0: 1 / 4, 0.0: 1.0, 3.0: 1 / 16}),
    "exponential, 10 mV": (exponential(tau=10.0), {-10.0: 0.1 / E, 0.0: 0.1, 20.0: 0.1 / E**2}),
    "exponential, scaled": (exponential(tau=0.5, scale=3.0), {-0.5: 6 / E, 0.0: 6.0, 1.0: 6 / E**2}),
    "triangle": (triangle(), {-2.0: 0.0, -1.0: 0.0, -0.5: 0.15, 0.0: 0.3, 0.25: 0.225, 1.0: 0.0, 2.0: 0.0}),
    "triangle, undampened": (triangle(damping=1.0), {-0.75: 0.25, 0.0: 1.0, 0.5: 0.5}),
    "rectangular": (rectangular(width=4.0), {-2.0: 0.0, -1.99: 0.25, 0.0: 0.25, 1.99: 0.25, 2.0: 0.0, 9.0: 0.0}),
    "polynomial": (polynomial(a=4.0), {-3.0: 0.0, -1.0: 0.0, -0.5: 0.5, 0.0: 1.0, 0.75: 0.25, 1.0: 0.0, 3.0: 0.0}),
    "sigmoid": (sigmoid(a=0.5), {-LN3 / 2: 0.375, 0.0: 0.5, LN3 / 2: 0.375}),
    "gaussian": (gaussian(sigma=2.0), {-2.0: 0.1209853623, 0.0: 0.1994711402, 4.0: 0.0269954833}),
    "arctan": (arctan(alpha=2.0), {-1 / np.pi: 0.5, 0.0: 1.0, 1 / np.pi: 0.5, 3 / np.pi: 0.1}),
}
# what the docstrings name, from scipy: a density, times the area
DENSITIES = {
    "exponential": (exponential(1.5, 0.7), scipy.stats.laplace(scale=1.5), 1.4),
    "triangle": (triangle(0.3), scipy.stats.triang(0.5, loc=-1, scale=2), 0.3),
    "rectangular": (rectangular(1.5), scipy.stats.uniform(-0.75, 1.5), 1.0),
    "polynomial": (polynomial(2.5), scipy.stats.triang(0.5, loc=-2 / np.sqrt(2.5), scale=4 / np.sqrt(2.5)), 1.0),
    "sigmoid": (sigmoid(0.3), scipy.stats.logistic(scale=0.3), 1.0),
    "gaussian": (gaussian(0.6), scipy.stats.norm(scale=0.6), 1.0),
    "arctan": (arctan(3.0), scipy.stats.cauchy(scale=2 / (3.0 * np.pi)), 1.0),
}
MAKERS = {
    "superspike": superspike,
    "exponential": exponential,
    "triangle": triangle,
    "rectangular": rectangular,
    "polynomial": polynomial,
    "sigmoid": sigmoid,
    "gaussian": gaussian,
    "arctan": arctan,
}
surrogates = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@jax.jit
def slope(spike, v):
    """Return the derivative of each value: reverse mode, one pass."""
    return jax.grad(lambda v: spike(v).sum())(v)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spike", [*(make() for make in MAKERS.values()), heaviside], ids=[*MAKERS, "heaviside"])
def test_spikes_are_exactly_the_step_function(spike, dtype):
    """A neuron spikes at threshold, also where the difference is -0.0; a diverged potential doesn't."""
    tiny = np.finfo(dtype).tiny
    v = np.array([-np.inf, -1.0, -tiny, -0.0, 0.0, tiny, 1.0, np.inf, np.nan], dtype)
    expected = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0], dtype)
    with jax.enable_x64(dtype == np.float64):
        for run in (spike, jax.jit(spike), jax.vmap(spike), lambda v: jax.vjp(spike, v)[0]):
            spikes = run(jnp.asarray(v))
            assert spikes.dtype == dtype
            np.testing.assert_array_equal(spikes, expected)


@pytest.mark.parametrize(("spike", "values"), BY_HAND.values(), ids=BY_HAND)
def test_derivative_below_at_and_above_threshold_is_the_one_by_hand(spike, values):
    with jax.enable_x64(True):
        v = jnp.array(list(values))
        np.testing.assert_allclose(slope(spike, v), list(values.values()), rtol=1e-7, atol=1e-15)
        for one, expected in values.items():
            np.testing.assert_allclose(jax.grad(spike)(one), expected, rtol=1e-7, atol=1e-15)


@pytest.mark.parametrize(("spike", "density", "area"), DENSITIES.values(), ids=DENSITIES)
def test_derivative_is_the_density_that_the_docstring_names(spike, density, area):
    v = np.random.default_rng(1).uniform(-3, 3, 1000)
    with jax.enable_x64(True):
        np.testing.assert_allclose(slope(spike, jnp.array(v)), area * density.pdf(v), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("spike", "area"),
    [
        (superspike(2.5), 2 * 40 / (2.5 * 40 + 1)),  # of 2 / beta, what lies within +-40
        (exponential(1.5, 0.7), 1.4),
        (triangle(0.3), 0.3),
        (rectangular(1.5), 1.0),
        (polynomial(2.5), 1.0),
        (sigmoid(0.3), 1.0),
        (gaussian(0.6), 1.0),
        (arctan(3.0), 2 / np.pi * np.arctan(np.pi / 2 * 3.0 * 40)),  # of 1, what lies within +-40
    ],
    ids=MAKERS,
)
def test_area_is_the_one_of_the_docstring(spike, area):
    with jax.enable_x64(True):
        v, step = np.linspace(-40, 40, 400_000, retstep=True)
        np.testing.assert_allclose(np.sum(slope(spike, jnp.array(v))) * step, area, rtol=2e-4)


@surrogates
def test_derivative_is_symmetric_about_threshold(make):
    v = jnp.linspace(0.0, 5.0, 501)
    np.testing.assert_array_equal(slope(make(), v), slope(make(), -v))


@surrogates
def test_forward_and_reverse_mode_agree(make):
    spike = make(jnp.linspace(0.5, 2.0, 50))
    v, tangent = jax.random.normal(jax.random.key(1), (2, 50))
    spikes, forward = jax.jvp(spike, (v,), (tangent,))
    same_spikes, back = jax.vjp(spike, v)
    np.testing.assert_array_equal(spikes, same_spikes)
    np.testing.assert_allclose(forward, slope(spike, v) * tangent, rtol=1e-6)
    np.testing.assert_array_equal(back(tangent)[0], forward)
    np.testing.assert_array_equal(jax.jacfwd(spike)(v), jax.jacrev(spike)(v))
    assert np.any(np.asarray(forward) != 0)


@surrogates
def test_derivative_is_the_same_under_jit_vmap_and_scan(make):
    spike = make()
    v = jnp.linspace(-1.4, 1.3, 12).reshape(4, 3)
    expected = slope(spike, v)
    assert np.any(np.asarray(expected) != 0)

    def scanned(v):
        return lax.scan(lambda total, row: (total + spike(row).sum() + spike(2 * row).sum(), None), 0.0, v)[0]

    np.testing.assert_allclose(jax.jit(lambda v: slope(spike, v))(v), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(lambda row: slope(spike, row))(v), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(jax.vmap(jax.grad(spike)))(v), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.grad(scanned))(v), expected + 2 * slope(spike, 2 * v), rtol=1e-6)
    np.testing.assert_allclose(jax.jacfwd(scanned)(v), expected + 2 * slope(spike, 2 * v), rtol=1e-6)


@surrogates
def test_far_from_threshold_the_derivative_is_zero_and_of_nan_it_is_nan(make):
    v = jnp.array([-jnp.inf, jnp.inf, jnp.nan])
    np.testing.assert_array_equal(slope(make(), v), [0.0, 0.0, np.nan])


@pytest.mark.parametrize("v", [-1.0, 0.0, 1.0])
def test_heaviside_passes_no_gradient(v):
    assert jax.grad(heaviside)(v) == 0.0
    assert jax.jvp(heaviside, (v,), (1.0,))[1] == 0.0


@surrogates
def test_a_parameter_may_differ_between_neurons(make):
    parameter = jnp.array([0.5, 1.0, 2.0])
    v = jnp.array([[0.1, 0.1, 0.1], [-0.2, -0.2, -0.2]])
    expected = np.stack([slope(make(float(p)), v[:, i]) for i, p in enumerate(parameter)], axis=1)
    np.testing.assert_allclose(slope(make(parameter), v), expected, rtol=1e-6)
    assert expected[0, 0] != expected[0, 1]


@surrogates
def test_a_population_may_have_different_parameters(make):
    """Evolved: traced, one for each individual."""
    parameter = jnp.array([0.5, 1.0, 2.0])
    v = jnp.array([-0.2, 0.0, 0.1])
    found = jax.jit(jax.vmap(lambda p: slope(make(p), v)))(parameter)
    np.testing.assert_allclose(found, [slope(make(float(p)), v) for p in parameter], rtol=1e-6)
    spikes = jax.jit(jax.vmap(lambda p: make(p)(v)))(parameter)
    np.testing.assert_array_equal(spikes, np.tile([0.0, 1.0, 1.0], (3, 1)))


@surrogates
@pytest.mark.parametrize("v", [-0.3, 0.2])
def test_a_parameter_can_be_trained_through_the_gradient_that_it_shapes(make, v):
    """Spikes don't depend on it; a gradient taken through them does: against a central difference."""
    with jax.enable_x64(True):

        def gradient(p):
            return jax.grad(make(p))(v)

        assert jax.grad(lambda p: make(p)(v))(0.8) == 0.0
        difference = (gradient(0.8 + 1e-6) - gradient(0.8 - 1e-6)) / 2e-6
        np.testing.assert_allclose(jax.grad(gradient)(0.8), difference, rtol=1e-7)
        assert difference != 0.0


def test_a_superspike_steepness_has_the_derivative_by_hand():
    trained = jax.grad(lambda beta: jax.grad(superspike(beta))(-0.5))(4.0)
    np.testing.assert_allclose(trained, -2 * 0.5 / (4.0 * 0.5 + 1) ** 3, rtol=1e-6)


def test_a_spike_function_is_an_argument_of_jit_and_compiles_once():
    """As a field of a cell it passes through jit; another value of a parameter is no other program."""
    traced = 0

    @jax.jit
    def gradient(spike, v):
        nonlocal traced
        traced += 1
        return slope(spike, v)

    v = jnp.array([-0.25, 0.25])
    for beta in (1.0, 4.0, 12.0):
        np.testing.assert_allclose(gradient(superspike(beta), v), np.full(2, (beta / 4 + 1) ** -2.0), rtol=1e-6)
    assert traced == 1
    np.testing.assert_array_equal(gradient(heaviside, v), [0.0, 0.0])
    assert jax.tree.leaves(heaviside) == []


@surrogates
def test_spike_functions_can_be_pickled(make):
    """Ray sends them to workers."""
    spike = pickle.loads(pickle.dumps(make(0.5)))
    assert jax.tree.structure(spike) == jax.tree.structure(make(0.5))
    np.testing.assert_array_equal(slope(spike, jnp.array([0.1, 0.2])), slope(make(0.5), jnp.array([0.1, 0.2])))


@surrogates
def test_a_double_precision_parameter_leaves_single_precision_potentials_single(make):
    with jax.enable_x64(True):
        spike = make(np.array([0.5, 1.0]))
        v = jnp.array([-0.1, 0.1], jnp.float32)
        assert spike(v).dtype == slope(spike, v).dtype == jnp.float32
        assert smooth(np.array([0.5, 1.0]))(v).dtype == jnp.float32


@surrogates
def test_gradient_through_three_steps_of_a_neuron_is_the_chain_rule_by_hand(make):
    """v_t = a v_{t-1} (1 - s_{t-1}) + w x_t, s_t = H(v_t - 1), loss = sum c_t s_t: one spike, in the second step."""
    with jax.enable_x64(True):
        spike = make()
        a, w = 0.9, 0.8
        x, c = np.array([0.7, 0.9, 1.0]), np.array([2.0, -1.0, 3.0])

        def loss(w):
            def step(state, xc):
                v, s = state
                v = a * v * (1 - s) + w * xc[0]
                s = spike(v - 1.0)
                return (v, s), xc[1] * s

            return lax.scan(step, (0.0, 0.0), jnp.stack([x, c], axis=1))[1].sum()

        v = np.zeros(4)
        s = np.zeros(4)
        dv = np.zeros(4)
        ds = np.zeros(4)
        for t in (1, 2, 3):
            v[t] = a * v[t - 1] * (1 - s[t - 1]) + w * x[t - 1]
            dv[t] = a * dv[t - 1] * (1 - s[t - 1]) - a * v[t - 1] * ds[t - 1] + x[t - 1]
            s[t] = v[t] >= 1.0
            ds[t] = float(jax.grad(spike)(v[t] - 1.0)) * dv[t]
        assert s.tolist() == [0, 0, 1, 0]
        assert np.count_nonzero(ds) >= 2
        assert loss(w) == -1.0
        np.testing.assert_allclose(jax.grad(loss)(w), c @ ds[1:], rtol=1e-12)
        np.testing.assert_allclose(jax.jacfwd(loss)(w), c @ ds[1:], rtol=1e-12)


def test_smooth_is_a_sigmoid_with_its_own_derivative():
    with jax.enable_x64(True):
        v = np.linspace(-2, 2, 41)
        y = scipy.special.expit(3.0 * v)
        np.testing.assert_allclose(smooth(3.0)(jnp.array(v)), y, rtol=1e-12)
        np.testing.assert_allclose(slope(smooth(3.0), jnp.array(v)), 3.0 * y * (1 - y), rtol=1e-12)
        by_sharpness = jax.vmap(jax.grad(lambda sharpness, v: smooth(sharpness)(v)), in_axes=(None, 0))(3.0, v)
        np.testing.assert_allclose(by_sharpness, v * y * (1 - y), rtol=1e-12, atol=1e-15)


def rollout(spike, w):
    def step(state, x):
        v, s = state
        v = 0.9 * v * (1 - s) + w @ x + 0.2 * s[::-1]
        s = spike(v - 1.0)
        return (v, s), s

    inputs = jax.random.uniform(jax.random.key(3), (30, 4))
    return lax.scan(step, (jnp.zeros(2), jnp.zeros(2)), inputs)[1].mean()


def test_finite_differences_check_a_rollout_with_smooth_and_not_with_a_surrogate():
    with jax.enable_x64(True):
        w = jax.random.normal(jax.random.key(2), (2, 4))
        direction = jax.random.normal(jax.random.key(4), (2, 4))
        for spike, agrees in ((smooth(5.0), True), (superspike(5.0), False)):
            along = (jax.grad(lambda w, spike=spike: rollout(spike, w))(w) * direction).sum()
            difference = (rollout(spike, w + 1e-6 * direction) - rollout(spike, w - 1e-6 * direction)) / 2e-6
            assert np.isclose(along, difference, rtol=1e-6) == agrees
            assert along != 0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: superspike(beta=-1.0), ValueError, r"superspike.beta: expected a number > 0, got -1.0; .*`heaviside`"),
        (lambda: superspike(beta=0), ValueError, "superspike.beta: expected a number > 0, got 0;"),
        (lambda: exponential(tau=0.0), ValueError, "exponential.tau: expected a number > 0, got 0.0"),
        (lambda: exponential(scale=-2.0), ValueError, "exponential.scale: expected a number > 0, got -2.0"),
        (lambda: triangle(damping=[0.3, -0.3]), ValueError, "triangle.damping: .* got -0.3 at flat index 1"),
        (lambda: rectangular(width=np.nan), ValueError, "rectangular.width: expected a number > 0, got nan"),
        (lambda: polynomial(a=jnp.inf), ValueError, "polynomial.a: expected finite numbers, got inf"),
        (lambda: sigmoid(a="1"), TypeError, r"sigmoid.a: expected a number or an array of numbers, got '1' \(str\)"),
        (lambda: gaussian(sigma=True), TypeError, r"gaussian.sigma: expected a number .* got True \(bool\)"),
        (lambda: arctan(alpha=None), TypeError, r"arctan.alpha: expected a number .* got None \(NoneType\)"),
        (lambda: smooth(sharpness=0.0), ValueError, "smooth.sharpness: expected a number > 0, got 0.0"),
        (lambda: superspike()(jnp.arange(3)), TypeError, "v: expected floating-point numbers, .* got int32"),
        (lambda: heaviside(1), TypeError, "v: expected floating-point numbers, .* got int32"),
        (
            lambda: superspike(np.ones(3))(jnp.ones(2)),
            ValueError,
            r"a spike function's parameter: expected a scalar or a shape that broadcasts to \(2,\), got \(3,\)",
        ),
        (lambda: superspike(np.ones(3))(0.5), ValueError, r"a shape that broadcasts to \(\), got \(3,\)"),
        (lambda: smooth(np.ones(3))(jnp.ones(2)), ValueError, r"a shape that broadcasts to \(2,\), got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()
