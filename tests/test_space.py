"""The search space: decode and encode are inverse, for numpy and for traced jax arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn import Choice, Evaluation, Free, Integer, Real, Space
from optimizers.openai_es import OpenES
from optimizers.xnes import XNES

SPACE = Space(
    tau=Real(5, 50, log=True),
    gain=Real(-2, 3, shape=(2, 3)),
    units=Integer(3, 7),
    layers=Integer(-1, 1, shape=(4,)),
    rule=Choice("stdp", "eprop", "none"),
    width=Choice(8, 16, 32, ordered=True),
    w=Free((3, 2), scale=0.5, mean=1.0),
    bias=Free(),
)
SIZE = 1 + 6 + 1 + 4 + 3 + 1 + 6 + 1
BOUNDED = np.array([*range(12), 15])


def random_z(seed, individuals=1):
    return SPACE.sample(np.random.default_rng(seed), individuals)


# Layout


def test_size_is_that_of_all_parameters_in_the_order_given():
    assert SPACE.size == SIZE
    assert [(s.start, s.stop) for s in SPACE.slices.values()] == [
        (0, 1), (1, 7), (7, 8), (8, 12), (12, 15), (15, 16), (16, 22), (22, 23),
    ]  # fmt: skip


def test_bounds_are_0_and_1_and_infinite_where_free():
    low, high = SPACE.low, SPACE.high
    np.testing.assert_array_equal(low, [0.0] * 12 + [-np.inf] * 3 + [0.0] + [-np.inf] * 7)
    np.testing.assert_array_equal(high, [1.0] * 12 + [np.inf] * 3 + [1.0] + [np.inf] * 7)


def test_clipped_is_within_the_bounds_and_leaves_what_is_free():
    z = np.linspace(-3.0, 3.0, 2 * SIZE).reshape(2, SIZE)
    expected = np.where(SPACE.bounded, np.clip(z, 0.0, 1.0), z)
    np.testing.assert_array_equal(SPACE.clipped(z), expected)
    assert SPACE.clipped(z, out=z) is z
    np.testing.assert_array_equal(z, expected)


def test_what_is_known_of_the_coordinates_is_made_once_and_stays_as_it_is():
    for name in ("low", "high", "bounded", "center", "scale"):
        assert getattr(SPACE, name) is getattr(SPACE, name)
        with pytest.raises(ValueError, match="read-only"):
            getattr(SPACE, name)[0] = 9


def test_sample_is_uniform_where_bounded_and_standard_normal_where_free():
    z = random_z(1, 4000)
    bounded, free = z[:, BOUNDED], np.delete(z, BOUNDED, axis=1)
    assert bounded.min() >= 0
    assert bounded.max() <= 1
    assert (bounded.mean(), bounded.std()) == pytest.approx((0.5, 12**-0.5), abs=0.01)
    assert (free.mean(), free.std()) == pytest.approx((0, 1), abs=0.02)


# Decode and encode


@pytest.mark.parametrize("seed", range(20))
def test_encode_is_the_inverse_of_decode(seed):
    params = SPACE.decode(random_z(seed)[0])
    again = SPACE.decode(SPACE.encode(params))
    assert list(again) == list(params)
    for name, value in params.items():
        if name == "rule":
            assert again[name] == value
        else:
            np.testing.assert_allclose(again[name], value, rtol=1e-12, atol=1e-12)
    for name in ("units", "layers"):
        np.testing.assert_array_equal(again[name], params[name])


@pytest.mark.parametrize("seed", range(20))
def test_decode_is_the_inverse_of_encode_for_continuous_parameters(seed):
    z = random_z(seed)[0]
    continuous = np.r_[0:7, 16:23]
    np.testing.assert_allclose(SPACE.encode(SPACE.decode(z))[continuous], z[continuous], atol=1e-12)


def test_single_parameters_decode_to_python_values_and_arrays_to_arrays():
    params = SPACE.decode(random_z(1)[0])
    assert {name: type(params[name]) for name in ("tau", "units", "rule", "bias")} == {
        "tau": float, "units": int, "rule": str, "bias": float,
    }  # fmt: skip
    assert {name: (params[name].shape, params[name].dtype) for name in ("gain", "layers", "w")} == {
        "gain": ((2, 3), np.dtype("float64")),
        "layers": ((4,), np.dtype("int64")),
        "w": ((3, 2), np.dtype("float64")),
    }


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("low_high", [(1.9, 7.63), (0.1, 0.3), (1e-12, 1e12), (5, 50)])
def test_real_keeps_its_bounds_whatever_z(log, low_high):
    real = Real(*low_high, log=log)
    values = real.decode(np.concatenate([[-1e9, -1e-18, 0.0], np.linspace(0, 1, 1001), [1.0, 1 + 1e-15, 7.0]]))
    assert (values.min(), values.max()) == low_high
    assert (values[0], values[-1]) == low_high
    assert (np.diff(values) >= 0).all()


def test_log_scale_is_geometric_and_the_other_linear():
    assert Real(1, 100, log=True).decode(np.array(0.5)) == pytest.approx(10.0)
    assert Real(1, 100).decode(np.array(0.5)) == pytest.approx(50.5)


@pytest.mark.parametrize("high", [6, 7], ids=["even number", "odd number"])
def test_every_integer_is_what_its_code_says(high):
    integer = Integer(3, high)
    values = np.arange(3, high + 1)
    np.testing.assert_allclose(integer.encode(values), (np.arange(len(values)) + 0.5) / len(values))
    np.testing.assert_array_equal(integer.decode((np.arange(len(values)) + 0.99) / len(values)), values)


def test_every_integer_owns_an_equal_share():
    z = (np.arange(5000) + 0.5) / 5000
    values, counts = np.unique(Integer(3, 7).decode(z), return_counts=True)
    np.testing.assert_array_equal(values, [3, 4, 5, 6, 7])
    np.testing.assert_array_equal(counts, 1000)
    for high in (6, 7):
        ends = Integer(3, high).decode(np.array([-5.0, 0.0, 1.0, 9.0]))
        np.testing.assert_array_equal(ends, [3, 3, high, high])


@pytest.mark.parametrize("options", [("a", 2), ("a", 2, True), (8, 16, 32, 64)], ids=str)
def test_every_choice_is_sampled_as_often_and_is_encoded(options):
    space = Space(x=Choice(*options), y=Choice(*options[::-1], ordered=True))
    z = space.sample(np.random.default_rng(1), 6000)
    for column in space.decode_columns(z).values():
        counts = [int((column == option).sum()) for option in options]
        assert min(counts) > 0.9 * 6000 / len(options)
    for option in options:
        found = space.decode(space.encode({"x": option, "y": option}))
        assert (found, type(found["x"])) == ({"x": option, "y": option}, type(option))


def test_of_options_without_order_the_largest_coordinate_wins():
    choice = Choice("a", "b", "c")
    assert choice.decode(np.array([[0.0, -1.0, 3.0], [2.0, 2.0, -1.0]])).tolist() == ["c", "a"]
    assert Space(x=choice).size == 3
    assert Space(x=Choice("a", "b")).size == Space(x=Choice("a", "b", "c", ordered=True)).size == 1
    assert int(jax.jit(Space(x=choice).decode)(jnp.array([0.0, 5.0, 3.0]))["x"]) == 1


@pytest.mark.parametrize("right", [0, 1, 2, 3])
def test_evolution_strategies_find_an_option_wherever_it_stands_among_the_others(right):
    """In one coordinate the neighbours' worth would decide: the best lies between the two worst."""
    options = ["c", "d", "b", "e"]
    options.insert(right, "a")
    space = Space(x=Choice(*options), y=Real(0, 1, shape=(2,)))
    worth = dict(zip("abcde", (1.0, 0.7, 0.6, 0.0, -0.1), strict=True))
    for optimizer in (XNES(population=12), OpenES(population=12, sigma=0.5)):
        state = optimizer.init(space, 1)
        for _ in range(60):
            z, state = optimizer.ask(space, state)
            columns = space.decode_columns(z)
            fitness = np.array([worth[x] for x in columns["x"][:, 0]]) - ((columns["y"] - 0.3) ** 2).sum(axis=1)
            state = optimizer.tell(space, state, z, Evaluation(fitness))
        assert space.decode(optimizer.recommend(space, state))["x"] == "a", (optimizer, options)


def test_a_space_stored_when_a_choice_was_one_coordinate_reads_as_that():
    again = Space.from_json('{"x": {"kind": "Choice", "options": ["a", "b", "c"]}}')
    assert again == Space(x=Choice("a", "b", "c", ordered=True))
    assert again != Space(x=Choice("a", "b", "c"))
    assert Space.from_json(Space(x=Choice("a", "b", "c")).to_json()) == Space(x=Choice("a", "b", "c"))


def test_every_ordered_choice_owns_an_equal_share():
    choice = Choice("a", 2, True, ordered=True)
    values = [choice.decode(np.array(z)) for z in (np.arange(300) + 0.5) / 300]
    assert [values.count(option) for option in ("a", 2)] == [100, 100]
    assert values[-1] is True
    assert choice.decode(np.array(1.0)) is True
    assert choice.decode(np.array(-1.0)) == "a"
    assert Choice("a", "b", ordered=True).decode(np.array(1.0)) == "b"


def test_free_is_mean_plus_scale_times_z():
    np.testing.assert_allclose(Free((2,), scale=0.5, mean=1.0).decode(np.array([2.0, -40.0])), [2.0, -19.0])


def test_decode_columns_equals_decode_of_each_row():
    z = random_z(3, 5)
    columns = SPACE.decode_columns(z)
    for name, column in columns.items():
        for i in range(5):
            np.testing.assert_array_equal(column[i], np.ravel(SPACE.decode(z[i])[name]))


def test_no_individuals_have_columns_of_the_right_width():
    columns = SPACE.decode_columns(np.zeros((0, SIZE)))
    assert {name: column.shape for name, column in columns.items()} == {
        name: (0, max(1, int(np.prod(p.shape)))) for name, p in SPACE.parameters.items()
    }


# Jax


def test_a_traced_z_decodes_to_the_values_of_numpy():
    z = random_z(5)[0]
    expected = SPACE.decode(z)
    with jax.enable_x64(True):
        params = jax.jit(SPACE.decode)(jnp.asarray(z))
    for name in ("tau", "gain", "units", "layers", "w", "bias"):
        assert params[name].shape == np.shape(expected[name])
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-14)
    assert SPACE.parameters["rule"].options[int(params["rule"])] == expected["rule"]  # an index, for lax.switch


def test_the_gradient_through_decode_is_that_of_its_formula():
    space = Space(t=Real(5, 50, log=True), x=Real(-2, 3), n=Integer(1, 9), w=Free(scale=0.5))
    z = np.array([0.3, 0.6, 0.4, 2.0])

    def total(z):
        params = space.decode(z)
        return params["t"] + params["x"] + params["n"] + params["w"]

    with jax.enable_x64(True):
        grad = jax.grad(total)(jnp.asarray(z))
        clipped = jax.grad(total)(jnp.asarray([1.5, -0.5, 0.4, 2.0]))
    tau = space.decode(z)["t"]
    np.testing.assert_allclose(grad, [tau * np.log(10), 5.0, 0.0, 0.5], rtol=1e-12)
    np.testing.assert_allclose(clipped, [0.0, 0.0, 0.0, 0.5])


@pytest.mark.parametrize("log", [False, True])
def test_no_bound_traps_a_gradient(log):
    """At z exactly 0 or 1 the gradient is half of that inside, and beyond it is 0."""
    real = Real(1.9, 7.63, log=log)
    slope = jax.vmap(jax.grad(real.decode))(jnp.array([0.0, 1e-6, 1.0 - 1e-6, 1.0, -0.1, 1.1]))
    np.testing.assert_allclose(slope[jnp.array([0, 3])], slope[1:3] / 2, rtol=1e-4)
    np.testing.assert_array_equal(slope[4:], 0.0)


# JSON and equality


def test_json_gives_back_the_space():
    again = Space.from_json(SPACE.to_json())
    assert again == SPACE
    assert hash(again) == hash(SPACE)
    assert repr(again) == repr(SPACE)
    np.testing.assert_array_equal([again.low, again.high], [SPACE.low, SPACE.high])


def test_another_order_or_option_is_another_space():
    a, b = Real(0, 1), Real(0, 2)
    assert Space(a=a, b=b) != Space(b=b, a=a)
    assert Space(a=Choice("x", "y")) != Space(a=Choice("y", "x"))
    assert Space(a=a) != Space(a=b)


def test_a_choice_shows_whether_it_is_ordered():
    assert repr(Choice("a", 2)) == "Choice('a', 2)"
    assert repr(Choice(8, 16, ordered=True)) == "Choice(8, 16, ordered=True)"


def test_the_least_that_is_allowed_is_allowed():
    assert Free((1,)).shape == (1,)
    assert Integer(-(2**52), 0).low == -(2**52)  # below it no halves are float64, which encode needs


# Refusals


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: Real(2, 1), ValueError, "Real: expected low < high, got low 2, high 1"),
        (lambda: Real(1, 1), ValueError, "Real: expected low < high"),
        (lambda: Real(0, 1, log=True), ValueError, "Real.low: expected a number > 0, got 0; a log scale needs"),
        (lambda: Real(0, np.inf), ValueError, "Real.high: expected finite numbers, got inf"),
        (lambda: Real(np.nan, 1), ValueError, "Real.low: expected finite numbers, got nan"),
        (lambda: Real(0, 1, shape=(2, 0)), ValueError, r"Real.shape: .* use \(\) for a single number"),
        (lambda: Integer(3, 3), ValueError, "Integer: expected low < high"),
        (lambda: Integer(4, 3), ValueError, "Integer: expected low < high, got low 4, high 3"),
        (lambda: Integer(0.5, 3), TypeError, r"Integer.low: expected an integer"),
        (lambda: Integer(-(2**52) - 1, 3), ValueError, "Integer.low: expected an integer >= -4503599627370496"),
        (lambda: Choice("a"), ValueError, "Choice: expected two or more different options"),
        (lambda: Choice("a", "a"), ValueError, "Choice: expected two or more different options"),
        (lambda: Choice("a", "b", ordered="no"), TypeError, "Choice.ordered: expected true or false, got 'no'"),
        (lambda: Choice("a", None), TypeError, "Choice: expected strings, numbers or booleans, got None"),
        (lambda: Free((2,), scale=0), ValueError, "Free.scale: expected a number > 0, got 0"),
        (lambda: Free(mean=np.nan), ValueError, "Free.mean: expected finite numbers"),
        (lambda: Space(), ValueError, "Space: expected at least one parameter, got none"),
        (lambda: Space(w=(-1, 1)), TypeError, r"Space.w: expected Real, .* got \(-1, 1\) \(tuple\)"),
        (lambda: SPACE.decode(np.zeros(3)), ValueError, r"z: expected an array of shape \(23,\), got shape \(3,\)"),
        (lambda: SPACE.decode(np.zeros(24)), ValueError, r"z: expected an array of shape \(23,\), got shape \(24,\)"),
        (lambda: SPACE.decode_columns(np.zeros((2, 3))), ValueError, r"z: expected an array of shape \(any, 23\)"),
    ],
)
def test_wrong_values_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"tau": 5.0 * (1 - 1e-6)}, r"params.tau: expected a value within Real"),  # roundings alone are let pass
        ({"tau": 50.0 * (1 + 1e-6)}, r"params.tau: expected a value within Real"),
        ({"tau": 51.0}, r"params.tau: expected a value within Real\(.*\), got 51.0"),
        ({"tau": 4.9}, r"params.tau: expected a value within Real\(.*\), got 4.9"),
        ({"units": 8}, "params.units: expected a value within Integer"),
        ({"rule": "stpd"}, "did you mean 'stdp'"),
        ({"w": np.zeros((2, 3))}, r"params.w: expected an array of shape \(3, 2\), got shape \(2, 3\)"),
        ({"bias": np.nan}, "params.bias: expected finite numbers"),
        ({"gian": 1.0}, "params: expected the names of the space, got 'gian'; did you mean 'gain'"),
    ],
)
def test_encode_refuses_what_does_not_fit(change, text):
    with pytest.raises(ValueError, match=text):
        SPACE.encode(SPACE.decode(random_z(1)[0]) | change)


def test_encode_takes_the_bounds_themselves():
    space = Space(x=Real(-2, 3, shape=(2,)), n=Integer(1, 4))
    np.testing.assert_allclose(space.encode({"x": [-2.0, 3.0], "n": 4}), [0.0, 1.0, 0.875])


def test_encode_refuses_a_missing_parameter():
    params = SPACE.decode(random_z(1)[0])
    del params["w"]
    with pytest.raises(ValueError, match="params: expected a value for 'w', got none"):
        SPACE.encode(params)


def test_spread_is_mean_and_standard_deviation_of_what_sample_draws():
    space = Space(x=Real(-5, 5, shape=(2,)), w=Free((2,), scale=3.0), n=Integer(1, 4))
    z = space.sample(np.random.default_rng(1), 100_000)
    mean, std = space.center, space.scale
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(z.std(axis=0), std, rtol=0.02)
