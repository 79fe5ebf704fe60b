"""The test functions equal DEAP's and scipy's, and their optimum is where they say."""

import numpy as np
import pytest
from deap import benchmarks
from scipy.optimize import rosen, rosen_der

from l2l_snn.checks import check_optimizee, require
from optimizees.functions import FUNCTIONS, Function

NAMES = list(FUNCTIONS)
REFERENCES = {
    "sphere": lambda x: benchmarks.sphere(x)[0],
    "rosenbrock": rosen,
    "rastrigin": lambda x: benchmarks.rastrigin(x)[0],
    "ackley": lambda x: benchmarks.ackley(x)[0],
}


def fitness(function, z, **options):
    return function.evaluate_batch(np.atleast_2d(z), np.arange(1, len(np.atleast_2d(z)) + 1), **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_keeps_the_contract_and_has_the_gradient_of_finite_differences(name, noise):
    require(check_optimizee(Function(name, dimension=5, noise=noise), smooth=True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_equals_an_independent_implementation(name, shift):
    function = Function(name, dimension=7, shift=shift)
    z = function.space.sample(np.random.default_rng(1), 20)
    expected = [-REFERENCES[name](function.space.decode(row)["x"] - function.offset()) for row in z]
    np.testing.assert_allclose(fitness(function, z).fitness, expected, rtol=1e-12)


def test_gradient_equals_scipys():
    function = Function("rosenbrock", dimension=6, shift=0.0)
    z = function.space.sample(np.random.default_rng(1), 4)
    grad = fitness(function, z, with_grad=True).grad
    expected = [-rosen_der(function.space.decode(row)["x"]) * 4.096 for row in z]  # dx/dz
    np.testing.assert_allclose(grad, expected, rtol=1e-10)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shift", [0.0, 0.1, 0.25])
def test_the_optimum_is_inside_the_box_and_has_fitness_0_and_no_slope(name, shift):
    function = Function(name, dimension=4, shift=shift)
    z = function.space.encode(function.optimum())
    assert (z >= 0).all()
    assert (z <= 1).all()
    best = fitness(function, z, with_grad=True)
    assert best.fitness[0] == pytest.approx(0.0, abs=1e-11)
    assert best.metrics["distance"][0] == pytest.approx(0.0, abs=1e-13)
    if name != "ackley" or shift == 0.0:  # a kink: where rounding puts us beside it, its slope isn't small
        np.testing.assert_allclose(best.grad, 0.0, atol=1e-9)
    assert np.isfinite(best.grad).all()
    around = z + 0.01 * np.random.default_rng(1).standard_normal((50, 4))
    assert (fitness(function, around).fitness < best.fitness[0]).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_optimum_is_not_the_middle_by_default(name):
    function = Function(name)
    assert np.abs(function.space.encode(function.optimum()) - 0.5).min() > 0.05


def test_distance_is_measured_in_x():
    function = Function("sphere", dimension=2)
    x = function.optimum()["x"] + [3.0, 4.0]
    metrics = fitness(function, function.space.encode({"x": x})).metrics
    assert metrics["distance"][0] == pytest.approx(5.0)


def test_noise_has_the_std_asked_for_and_follows_the_seed():
    function = Function("sphere", dimension=2, noise=0.5)
    z = np.tile(function.space.encode(function.optimum()), (2000, 1))
    values = fitness(function, z).fitness
    assert (values.mean(), values.std()) == pytest.approx((0.0, 0.5), abs=0.05)
    np.testing.assert_array_equal(values, fitness(function, z).fitness)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": "spher"}, "Function.name: .* did you mean 'sphere'"),
        ({"dimension": 1}, "Function.dimension: expected an integer >= 2, got 1"),
        ({"noise": -1.0}, "Function.noise: expected a number >= 0"),
        ({"noise": float("inf")}, "Function.noise: expected finite"),
        ({"shift": 0.5}, r"Function.shift: expected a number in \[0, 0.25\], got 0.5"),
    ],
)
def test_wrong_fields_are_refused(fields, text):
    with pytest.raises(ValueError, match=text):
        Function(**fields)
