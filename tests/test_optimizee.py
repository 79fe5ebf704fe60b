"""Evaluations are joined, cut and filled correctly; whatever an optimizee does wrong is a row or a clear message."""

import pickle
from dataclasses import asdict, dataclass, replace
from typing import Any

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn import BatchOptimizee, Evaluation, Free, JaxOptimizee, Optimizee, Optimizer, Real, Space
from l2l_snn.evaluation import failure
from l2l_snn.optimizee import validated
from l2l_snn.workers.chunks import evaluate_alone

NAN = np.nan
SPACE = Space(x=Real(-1, 1), w=Free((2,)))
Z = SPACE.sample(np.random.default_rng(1), 5)
SEEDS = np.arange(1, 6)


# Evaluation


@pytest.mark.parametrize("base", [Optimizee, JaxOptimizee, BatchOptimizee, Optimizer], ids=lambda base: base.__name__)
def test_a_class_that_would_replace_the_check_of_its_fields_is_refused(base):
    with pytest.raises(TypeError, match=r"class Own: expected no method __post_init__, got one; write cross_check"):
        type("Own", (base,), {"__post_init__": lambda self: None})


def test_an_optimizer_that_replaces_tell_is_refused_when_it_is_written():
    with pytest.raises(TypeError, match=r"class Own: expected no method tell, got one; write learn\(self, space"):
        type("Own", (Optimizer,), {"tell": lambda self, space, state, z, evaluation: state})


def test_failed_is_any_nan_of_an_individual():
    assert Evaluation(np.array([1.0, NAN])).failed.tolist() == [False, True]
    assert Evaluation(np.array([[1.0, 2.0], [NAN, 2.0]])).failed.tolist() == [False, True]


def test_score_is_the_first_objective():
    assert Evaluation(np.array([1.0, 2.0])).score.tolist() == [1.0, 2.0]
    assert Evaluation(np.array([[1.0, 9.0], [2.0, 8.0]])).score.tolist() == [1.0, 2.0]


def test_filled_puts_the_worst_that_succeeded():
    assert Evaluation(np.array([3.0, NAN, 1.0])).filled().fitness.tolist() == [3.0, 1.0, 1.0]
    assert Evaluation(np.array([NAN, NAN])).filled().fitness.tolist() == [0.0, 0.0]


def test_filled_works_by_objective_and_drops_what_a_failed_one_has():
    fitness = np.array([[3.0, -1.0], [NAN, 99.0], [1.0, 5.0]])
    assert Evaluation(fitness).filled().fitness.tolist() == [[3.0, -1.0], [1.0, -1.0], [1.0, 5.0]]


def test_filled_puts_0_for_the_gradient_of_a_failure_and_changes_nothing_in_place():
    fitness, grad = np.array([1.0, NAN, 2.0]), np.array([[1.0, 2.0], [3.0, 4.0], [NAN, 5.0]])
    evaluation = Evaluation(fitness.copy(), grad=grad.copy())
    assert evaluation.filled().grad.tolist() == [[1.0, 2.0], [0.0, 0.0], [0.0, 5.0]]
    np.testing.assert_array_equal(evaluation.fitness, fitness)
    np.testing.assert_array_equal(evaluation.grad, grad)


def full(fitness, **more):
    count = len(fitness)
    return Evaluation(
        np.array(fitness, float),
        {"m": np.arange(count) + 0.5},
        {"raster": np.arange(count * 6).reshape(count, 2, 3)},
        np.ones((count, 3)) * np.arange(count)[:, None],
        tuple(f"e{i}" if np.isnan(f) else "" for i, f in enumerate(fitness)),
    )


@pytest.mark.parametrize("rows", [slice(1, 3), [1, 2]])
def test_take_cuts_everything(rows):
    part = full([1.0, NAN, 3.0, 4.0]).take(rows)
    np.testing.assert_array_equal(part.fitness, [NAN, 3.0])
    np.testing.assert_array_equal(part.metrics["m"], [1.5, 2.5])
    assert part.artifacts["raster"].shape == (2, 2, 3)
    np.testing.assert_array_equal(part.grad[:, 0], [1, 2])
    assert part.errors == ("e1", "")


def test_join_is_the_inverse_of_take():
    whole = full([1.0, NAN, 3.0, 4.0])
    again = Evaluation.join([whole.take(slice(0, 1)), whole.take(slice(1, 4))])
    np.testing.assert_array_equal(again.fitness, whole.fitness)
    np.testing.assert_array_equal(again.metrics["m"], whole.metrics["m"])
    np.testing.assert_array_equal(again.artifacts["raster"], whole.artifacts["raster"])
    np.testing.assert_array_equal(again.grad, whole.grad)
    assert again.errors == whole.errors


def test_join_puts_nan_where_a_part_lacks_a_metric_and_empty_texts_where_it_has_none():
    joined = Evaluation.join([Evaluation(np.zeros(2), {"a": np.ones(2)}), failure(1, 1, "broke")])
    np.testing.assert_array_equal(joined.metrics["a"], [1.0, 1.0, NAN])
    assert joined.errors == ("", "", "broke")
    other_way = Evaluation.join([failure(1, 1, "broke"), Evaluation(np.zeros(2), {"a": np.ones(2)})])
    np.testing.assert_array_equal(other_way.metrics["a"], [NAN, 1.0, 1.0])


def test_join_keeps_the_gradients_of_the_others_when_a_part_failed():
    grad = np.ones((2, 3))
    good = Evaluation(np.zeros(2), artifacts={"raster": np.ones((2, 4), bool)}, grad=grad)
    for parts, rows in (([good, failure(1, 1, "broke")], [0, 1]), ([failure(1, 1, "broke"), good], [1, 2])):
        joined = Evaluation.join(parts)
        assert joined.grad.shape == (3, 3)
        np.testing.assert_array_equal(joined.grad[rows], grad)
        assert joined.filled().grad.sum() == 6.0
        assert joined.artifacts == {}


def test_failure_has_nan_and_a_text():
    evaluation = failure(2, 3, "broke")
    assert evaluation.fitness.shape == (2, 3)
    assert evaluation.failed.all()
    assert evaluation.errors == ("broke", "broke")
    assert failure(1, 1, "").errors == ("failed without a text",)


# Optimizee


@dataclass(frozen=True)
class Behaves(Optimizee):
    """Does what `how` says, for x below 0; succeeds elsewhere."""

    how: str = "succeed"
    space = SPACE

    def evaluate(self, params, seed):
        if params["x"] < 0 and self.how == "raise":
            raise FloatingPointError("v diverged")
        if params["x"] < 0 and self.how == "nan":
            return NAN, {"rate": 3.0}
        if params["x"] < 0 and self.how == "shape":
            return np.zeros(2)
        if params["x"] < 0 and self.how == "text":
            return "good"
        return params["x"] + seed, {"rate": 2, "raster": params["w"] > 0}


LOW = np.array([SPACE.decode(z)["x"] < 0 for z in Z])


def test_evaluate_gives_fitness_metrics_and_artifacts_when_asked():
    plain = Behaves().evaluate_batch(Z, SEEDS)
    np.testing.assert_allclose(plain.fitness, 2 * Z[:, 0] - 1 + SEEDS)
    np.testing.assert_array_equal(plain.metrics["rate"], [2.0] * 5)
    assert plain.metrics["rate"].dtype == np.float64
    assert plain.artifacts == {}
    with_artifacts = Behaves().evaluate_batch(Z, SEEDS, with_artifacts=True)
    np.testing.assert_array_equal(with_artifacts.artifacts["raster"], Z[:, 1:] > 0)


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("raise", "FloatingPointError: v diverged"),
        ("nan", "fitness is nan"),
        ("shape", "TypeError: Behaves.evaluate: expected a number, or (number, dict), got an array of float64 and sh"),
        ("text", "TypeError: Behaves.evaluate: expected a number, or (number, dict), got 'good' (str)"),
    ],
)
def test_what_goes_wrong_in_one_individual_is_its_row(how, text):
    assert 0 < LOW.sum() < 5
    evaluation = validated(Behaves(), Behaves(how).evaluate_batch(Z, SEEDS), 5, False)
    np.testing.assert_array_equal(evaluation.failed, LOW)
    for low, error in zip(LOW, evaluation.errors, strict=True):
        assert text in error if low else error == ""
    np.testing.assert_allclose(evaluation.fitness[~LOW], (2 * Z[:, 0] - 1 + SEEDS)[~LOW])


@dataclass(frozen=True)
class Returns(Optimizee):
    """Returns what the test says."""

    what: Any = None
    space = SPACE

    def evaluate(self, params, seed):
        return self.what


class ReturnsInJax(JaxOptimizee):
    space = SPACE

    def __init__(self, what):
        self.__dict__["what"] = what

    def evaluate(self, params, key, *, watch):
        return self.what


NO_FITNESS = [
    (None, "got None; is a return missing?"),
    ("1.5", "got '1.5' (str)"),
    (True, "got True (bool)"),
    (1.5 + 2j, "got (1.5+2j) (complex)"),
    ({"rate": 3.0}, "got {'rate': 3.0} (dict)"),
    ((1.0, {"rate": 3.0}, {}), "got (1.0, {'rate': 3.0}, {}) (tuple); put what isn't fitness into the dict"),
    (({"rate": 3.0}, 1.0), "got ({'rate': 3.0}, 1.0) (tuple); put what"),
    ([1.0, [2.0, 3.0]], "got [1.0, [2.0, 3.0]] (list)"),
]
NO_DETAIL = [
    ({"rate": "high"}, "'rate' in the dict: expected a number or an array, got 'high' (str); only numbers become"),
    ({"rate": None}, "'rate' in the dict: expected a number or an array, got None; give a missing number as nan"),
    ({"rate": 2j}, "'rate' in the dict: expected a number or an array, got 2j (complex)"),
    ({"rate": {"mean": 3.0}}, "'rate' in the dict: expected a number or an array, got {'mean': 3.0} (dict)"),
    ({"raster": [[1.0], [2.0, 3.0]]}, "'raster' in the dict: expected a number or an array, got [[1.0], [2.0, 3.0]]"),
    ({3: 1.0}, "a key of the dict: expected a name, got 3 (int)"),
]


@pytest.mark.parametrize("kind", [Returns, ReturnsInJax])
@pytest.mark.parametrize(("what", "text"), NO_FITNESS, ids=repr)
def test_what_is_no_fitness_is_refused_in_words(kind, what, text):
    optimizee = kind(what)
    error = evaluate_alone(optimizee, Z[:2], SEEDS[:2], 0).errors[0]
    assert error.startswith(f"TypeError: {kind.__name__}.evaluate: expected a number, or (number, dict), {text}"), error


@pytest.mark.parametrize("kind", [Returns, ReturnsInJax])
@pytest.mark.parametrize(("what", "text"), NO_DETAIL, ids=repr)
def test_what_is_neither_metric_nor_artifact_is_refused_in_words(kind, what, text):
    error = evaluate_alone(kind((1.0, what)), Z[:2], SEEDS[:2], 0).errors[0]
    assert error.startswith(f"TypeError: {kind.__name__}.evaluate: {text}"), error


def test_several_numbers_without_objectives_are_refused_in_words():
    for what in ((1.0, 2.0), np.ones(2)):
        assert (
            "; put what isn't fitness into the dict; `objectives` of"
            in Returns(what).evaluate_batch(Z, SEEDS).errors[0]
        )


@pytest.mark.parametrize(
    "what", [2, np.float32(2), np.int8(2), np.array(2.0), np.uint64(2), jnp.ones((), jnp.bfloat16) * 2]
)
def test_every_kind_of_number_is_a_fitness(what):
    evaluation = Returns((what, {"reached": True, "m": what, "names": ["a", "b"]})).evaluate_batch(Z, SEEDS)
    assert evaluation.fitness.tolist() == [2.0] * 5
    assert {name: value.tolist() for name, value in evaluation.metrics.items()} == {
        "reached": [1.0] * 5,
        "m": [2.0] * 5,
    }


def test_keyboard_interrupt_is_not_a_row():
    @dataclass(frozen=True)
    class Interrupted(Optimizee):
        space = SPACE

        def evaluate(self, params, seed):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Interrupted().evaluate_batch(Z, SEEDS)


def test_several_objectives():
    @dataclass(frozen=True)
    class Two(Optimizee):
        space = SPACE
        objectives = 2

        def evaluate(self, params, seed):
            return (params["x"], -params["x"]) if params["x"] > 0 else params["x"]

    evaluation = Two().evaluate_batch(Z, SEEDS)
    assert evaluation.fitness.shape == (5, 2)
    np.testing.assert_array_equal(evaluation.failed, LOW)
    np.testing.assert_array_equal(evaluation.fitness[~LOW].sum(axis=1), 0.0)


def test_a_class_without_evaluate_is_refused():
    class Empty(Optimizee):
        pass

    with pytest.raises(TypeError, match=r"abstract class Empty .*\bevaluate\b"):
        Empty()


def test_a_jax_class_without_evaluate_is_refused():
    class Empty(JaxOptimizee):
        space = SPACE

    with pytest.raises(TypeError, match=r"abstract class Empty .*\bevaluate\b"):
        Empty()


def test_a_batch_class_without_evaluate_batch_is_refused():
    class Empty(BatchOptimizee):
        space = SPACE

    with pytest.raises(TypeError, match=r"abstract class Empty .*\bevaluate_batch\b"):
        Empty()


@pytest.mark.parametrize("base", [Optimizee, JaxOptimizee])
def test_evaluate_batch_belongs_to_batch_optimizees(base):
    text = f"class Both: expected no method evaluate_batch, got a subclass of {base.__name__}; subclass BatchOptimizee"
    with pytest.raises(TypeError, match=text):
        type("Both", (base,), {"evaluate_batch": lambda self, z, seeds: None})


def test_an_optimizee_without_a_space_is_refused():
    @dataclass(frozen=True)
    class Spaceless(Optimizee):
        def evaluate(self, params, seed):
            return 0.0

    with pytest.raises(TypeError, match="class Spaceless: expected a search space, got none; write space = Space"):
        _ = Spaceless().space


def test_a_space_is_made_once_and_is_no_part_of_the_optimizee():
    made = []

    @dataclass(frozen=True)
    class Sized(Optimizee):
        size: int = 3

        def make_space(self):
            made.append(self.size)
            return Space(x=Free((self.size,)))

        def evaluate(self, params, seed):
            return params["x"].sum()

    used, fresh = Sized(4), Sized(4)
    assert used.space is used.space
    assert used.evaluate_batch(np.ones((2, 4)), SEEDS[:2]).fitness.tolist() == [4.0, 4.0]
    assert made == [4]
    assert (used, hash(used), repr(used), asdict(used)) == (fresh, hash(fresh), repr(fresh), {"size": 4})
    assert replace(used, size=2).space.size == 2
    for original in (used, fresh):  # a local class travels to workers by value
        arrived = pickle.loads(cloudpickle.dumps(original))
        assert arrived.evaluate_batch(np.ones((1, 4)), SEEDS[:1]).fitness.tolist() == [4.0]


def test_draw_makes_no_pictures_by_default(tmp_path):
    assert Behaves().draw({}, Evaluation(np.zeros(1)), tmp_path) == []


# validated


def ok(**fields):
    return Evaluation(**({"fitness": np.zeros(5)} | fields))


@pytest.mark.parametrize(
    ("result", "with_grad", "error", "text"),
    [
        (np.zeros(5), False, TypeError, "Behaves.evaluate_batch: expected an Evaluation, got ndarray"),
        (ok(fitness=np.zeros(5, bool)), False, TypeError, r"fitness: expected numbers, got an array of bool and shape"),
        (ok(fitness=["1.5"] * 5), False, TypeError, "Behaves: fitness: expected numbers, got .*list"),
        (
            ok(metrics={"m": np.zeros(5, complex)}),
            False,
            TypeError,
            r"metrics\['m'\]: expected numbers, got an array of c",
        ),
        (
            ok(grad=np.zeros((5, 3), complex)),
            True,
            TypeError,
            "Behaves: grad: expected numbers, got an array of complex",
        ),
        (ok(fitness=np.zeros(4)), False, ValueError, r"fitness: expected an array of shape \(5\), got shape \(4,\)"),
        (ok(fitness=np.zeros((5, 2))), False, ValueError, r"fitness: .* got shape \(5, 2\)"),
        (ok(metrics={"m": np.zeros((5, 1))}), False, ValueError, r"metrics\['m'\]: expected .* got shape \(5, 1\)"),
        (ok(artifacts={"r": np.zeros((4, 2))}), False, ValueError, r"artifacts\['r'\]: expected 5 rows, got 4"),
        (ok(errors=("",)), False, ValueError, "errors: expected 5 texts or none, got 1"),
        (ok(), True, ValueError, "grad: expected an array, since with_grad was asked, got None"),
        (ok(grad=np.zeros((5, 2))), True, ValueError, r"grad: expected an array of shape \(5, 3\)"),
    ],
)
def test_an_unreadable_evaluation_is_refused(result, with_grad, error, text):
    with pytest.raises(error, match=text):
        validated(Behaves(), result, 5, with_grad)


def test_validated_makes_a_failure_of_all_that_is_not_finite():
    raw = Evaluation(np.array([1, np.inf, NAN, 4, 5], np.float32), errors=("", "", "", "said so", ""))
    evaluation = validated(Behaves(), raw, 5, False)
    assert evaluation.fitness.dtype == np.float64
    np.testing.assert_array_equal(evaluation.fitness, [1, NAN, NAN, NAN, 5])
    assert [bool(text) for text in evaluation.errors] == [False, True, True, True, False]
    assert evaluation.errors[3] == "said so"
    assert "fitness is inf" in evaluation.errors[1]


def test_validated_makes_a_failure_of_a_gradient_that_is_not_finite():
    grad = np.ones((5, 3))
    grad[2, 1] = np.inf
    evaluation = validated(Behaves(), ok(grad=grad), 5, True)
    assert evaluation.failed.tolist() == [False, False, True, False, False]
    assert "gradient is not finite" in evaluation.errors[2]


# JaxOptimizee


@dataclass(frozen=True)
class Bowl(JaxOptimizee):
    depth: float = 2.0
    space = SPACE
    precision = "float64"

    def evaluate(self, params, key, *, watch):
        fitness = self.depth - params["x"] ** 2 - jnp.sum(params["w"] ** 4)
        return fitness, {"x": params["x"], "trace": params["w"] * jnp.ones(2), "draw": jax.random.uniform(key)}


@dataclass(frozen=True)
class Single(Bowl):
    precision = "float32"


def test_jax_fitness_metrics_and_gradient_are_those_of_the_formula():
    x, w = 2 * Z[:, 0] - 1, Z[:, 1:]
    evaluation = Bowl().evaluate_batch(Z, SEEDS, with_grad=True)
    np.testing.assert_allclose(evaluation.fitness, 2 - x**2 - (w**4).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(evaluation.grad, np.column_stack([-4 * x, -4 * w**3]), rtol=1e-12)
    np.testing.assert_allclose(evaluation.metrics["x"], x, rtol=1e-13)
    assert evaluation.artifacts == {}
    assert evaluation.fitness.dtype == evaluation.grad.dtype == evaluation.metrics["x"].dtype == np.float64


def test_jax_artifacts_come_when_asked():
    evaluation = Bowl().evaluate_batch(Z, SEEDS, with_artifacts=True)
    assert list(evaluation.artifacts) == ["trace"]
    np.testing.assert_allclose(evaluation.artifacts["trace"], Z[:, 1:])


def test_jax_precision_is_that_of_the_class_whatever_the_global_setting():
    exact = Bowl().evaluate_batch(Z, SEEDS).fitness
    rounded = Single().evaluate_batch(Z, SEEDS).fitness
    assert 1e-9 < np.abs(exact - rounded).max() < 1e-5
    assert not jax.config.jax_enable_x64


def test_jax_randomness_follows_each_individuals_seed():
    first = Bowl().evaluate_batch(Z, SEEDS).metrics["draw"]
    swapped = Bowl().evaluate_batch(Z, SEEDS[::-1]).metrics["draw"]
    np.testing.assert_array_equal(first, swapped[::-1])
    assert len(np.unique(first)) == 5


def test_jax_fields_are_part_of_what_is_compiled():
    difference = Bowl(depth=3.0).evaluate_batch(Z, SEEDS).fitness - Bowl().evaluate_batch(Z, SEEDS).fitness
    np.testing.assert_allclose(difference, 1.0)


@dataclass(frozen=True)
class OneByOne(JaxOptimizee):
    precision: str = "float64"  # here a field
    side_by_side = False
    space = SPACE

    def evaluate(self, params, key, *, watch):
        told = {"x": params["x"], "draw": jax.random.uniform(key)}
        return Bowl().evaluate(params, key, watch=watch)[0], told | ({"trace": params["w"]} if watch else {})


def test_jax_individuals_may_run_one_after_the_other_and_no_bit_depends_on_how_many():
    whole = OneByOne().evaluate_batch(Z, SEEDS, with_grad=True, with_artifacts=True)
    together = Bowl().evaluate_batch(Z, SEEDS, with_grad=True)
    np.testing.assert_allclose(whole.fitness, together.fitness, rtol=1e-13)
    np.testing.assert_allclose(whole.grad, together.grad, rtol=1e-12)
    np.testing.assert_array_equal(whole.metrics["draw"], together.metrics["draw"])
    np.testing.assert_array_equal(whole.artifacts["trace"], Z[:, 1:])
    assert OneByOne().evaluate_batch(Z, SEEDS).artifacts == {}
    for i in range(5):
        alone = OneByOne().evaluate_batch(Z[i : i + 1], SEEDS[i : i + 1], with_grad=True)
        assert (alone.fitness[0], alone.grad[0].tolist()) == (whole.fitness[i], whole.grad[i].tolist())
    rounded = OneByOne("float32").evaluate_batch(Z, SEEDS).fitness
    assert 1e-9 < np.abs(whole.fitness - rounded).max() < 1e-5


def test_jax_results_may_be_summarized_in_numpy():
    @dataclass(frozen=True)
    class Summed(OneByOne):
        def summarize(self, found):
            return {"sum": found["x"] + found["draw"], "pair": np.stack([found["x"], found["draw"]], axis=1)}

    raw, evaluation = OneByOne().evaluate_batch(Z, SEEDS), Summed().evaluate_batch(Z, SEEDS, with_artifacts=True)
    np.testing.assert_array_equal(evaluation.metrics["sum"], raw.metrics["x"] + raw.metrics["draw"])
    assert list(evaluation.metrics) == ["sum"]
    np.testing.assert_array_equal(evaluation.artifacts["pair"][:, 0], raw.metrics["x"])


@pytest.mark.parametrize("optimizee", [Bowl(), Single(), OneByOne()], ids=lambda value: type(value).__name__)
def test_jax_keys_are_those_of_jax_for_small_seeds_and_differ_for_large_ones(optimizee):
    seeds = np.array([7, 2**32 - 1, 2**32 + 7, 2 * 2**32 + 7, 2**62])
    drawn = optimizee.evaluate_batch(Z, seeds).metrics["draw"]
    with jax.enable_x64(optimizee.precision == "float64"):
        expected = [float(jax.random.uniform(jax.random.key(np.uint32(seed)))) for seed in seeds[:2]]
    assert drawn[:2].tolist() == expected
    assert len(np.unique(drawn)) == 5
