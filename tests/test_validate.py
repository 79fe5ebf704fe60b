"""The checks accept what fits and say in one format what doesn't: argument, expected, got, what to do."""

from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
import pytest
from pydantic import TypeAdapter

from l2l_snn.validate import (
    AtLeast,
    Below1,
    Count,
    CountFromZero,
    Finite,
    NotNegative,
    Positive,
    Share,
    Within,
    check_choice,
    check_count,
    check_fields,
    check_finite,
    check_multiple,
    check_range,
    check_shape,
    did_you_mean,
    message,
)


def test_message_has_argument_expected_got_and_what_to_do():
    assert message("f.x", "an integer", 1.5) == "f.x: expected an integer, got 1.5"
    assert message("f.x", "an integer", 1.5, "round it") == "f.x: expected an integer, got 1.5; round it"


def test_did_you_mean_names_the_closest_or_all():
    assert did_you_mean("sigam", ["sigma", "alpha"]) == "did you mean 'sigma'?"
    assert did_you_mean("zzz", ["sigma", "alpha"]) == "known are alpha, sigma"
    assert did_you_mean("zzz", []) == "none are known here"


def test_what_fits_is_returned():
    assert check_shape("a", [[1, 2]], (None, 2)).tolist() == [[1, 2]]
    assert check_shape("a", 3.0, ()).shape == ()
    assert check_finite("a", [1, 2]).dtype == np.float64
    assert check_choice("a", "x", ("x", "y")) == "x"
    assert check_range("a", 0.0, 0.0, 1.0) == 0.0
    assert check_range("a", 1, 0.0, 1.0) == 1
    assert check_range("a", np.float32(0.5), 0.0, open_low=True) == 0.5
    assert check_count("a", 1) == 1
    assert check_count("a", np.int64(0), 0) == 0


@pytest.mark.parametrize(
    ("check", "error", "text"),
    [
        (lambda: check_shape("a", [1], (2,)), ValueError, r"a: expected an array of shape \(2\), got shape \(1,\)"),
        (lambda: check_shape("a", [1], (None, 2), "b"), ValueError, r"shape \(any, 2\), got shape \(1,\); b"),
        (lambda: check_shape("a", [1], ()), ValueError, r"shape \(\), got shape \(1,\)"),
        (lambda: check_finite("a", [0, np.inf, np.nan]), ValueError, r"got inf at flat index 1 \(2 of 3 are not"),
        (lambda: check_finite("a", "1.5"), TypeError, r"a: expected numbers, got '1.5' \(str\)"),
        (lambda: check_finite("a", [1, 2j]), TypeError, r"a: expected numbers, got \[1, 2j\] \(list\)"),
        (lambda: check_finite("a", None), TypeError, "a: expected numbers, got None"),
        (lambda: check_choice("a", "xx", ("xxx", "y")), ValueError, "one of 'xxx', 'y', got 'xx'; did you mean 'xxx'"),
        (lambda: check_choice("a", 3, (1, 2)), ValueError, "a: expected one of 1, 2, got 3$"),
        (lambda: check_range("a", 2, 0, 1), ValueError, r"a: expected a number in \[0, 1\], got 2$"),
        (lambda: check_range("a", 0, 0, 1, open_low=True), ValueError, r"a number in \(0, 1\], got 0"),
        (lambda: check_range("a", -1, 0, todo="b"), ValueError, "a number >= 0, got -1; b"),
        (lambda: check_range("a", 0, 0, open_low=True), ValueError, "a number > 0, got 0"),
        (lambda: check_range("a", np.nan, 0, 1), ValueError, r"got nan"),
        (lambda: check_range("a", "1", 0, 1), TypeError, r"a: expected a number, got '1' \(str\)"),
        (lambda: check_range("a", True, 0, 1), TypeError, r"got True \(bool\)"),
        (lambda: check_count("a", 0, todo="b"), ValueError, "a: expected an integer >= 1, got 0; b"),
        (lambda: check_count("a", 2.0), TypeError, r"a: expected an integer >= 1, got 2.0 \(float\)"),
        (lambda: check_count("a", True), TypeError, r"got True \(bool\)"),
    ],
)
def test_what_does_not_fit_is_refused(check, error, text):
    with pytest.raises(error, match=text):
        check()


def test_a_range_without_a_lower_bound_says_so():
    with pytest.raises(ValueError, match="a: expected a number <= 1, got 2"):
        check_range("a", 2, high=1)


@dataclass(frozen=True)
class Inner:
    size: Count = 1


@dataclass(frozen=True)
class Outer:
    """A field of each kind."""

    sigma: Annotated[Positive, "take 0.1"] = 1.0
    rate: NotNegative | None = None
    share: Share = 0.5
    momentum: Annotated[Below1, "1 forgets nothing"] = 0.9
    shift: Finite = 0.0
    difference: Annotated[float, Within(1e-9, 1e6), "0.001 is usual"] = 0.01
    limit: Annotated[float, Within(0.0, finite=False)] = np.inf
    population: Annotated[int, AtLeast(2), "a pair has two"] = 4
    elites: CountFromZero = 0
    rule: Annotated[Literal["adam", "sgd"], "or another class"] = "adam"
    mode: Literal["a", "b"] = "a"
    on: bool = True
    boundaries: tuple[Count, ...] = ()
    pair: tuple[str, Count] = ("x", 1)
    gamma: Positive | tuple[Positive, ...] = 0.1
    points: Count | dict[str, Count] = 5
    inner: Inner = Inner()
    entries: list[Share] = field(default_factory=list)

    def __post_init__(self):
        check_fields(self)


GOOD: list[dict[str, Any]] = [
    {"rate": 0.0},
    {"rate": None},
    {"momentum": 0.0},
    {"shift": -3},
    {"limit": np.inf},
    {"population": np.int64(2)},
    {"boundaries": (1, 2)},
    {"boundaries": [1]},
    {"gamma": (0.1, 0.2)},
    {"points": {"x": 3}},
    {"inner": Inner(3)},
    {"entries": [0.0, 1.0]},
]
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"sigma": 0.0}, ValueError, "Outer.sigma: expected a number > 0, got 0.0; take 0.1"),
    ({"sigma": "x"}, TypeError, "Outer.sigma: expected a number, got 'x' (str); take 0.1"),
    ({"sigma": np.inf}, ValueError, "Outer.sigma: expected finite numbers, got inf"),
    ({"sigma": np.nan}, ValueError, "Outer.sigma: expected a number > 0, got nan; take 0.1"),
    ({"sigma": None}, TypeError, "Outer.sigma: expected a number, got None (NoneType)"),
    ({"rate": -1.0}, ValueError, "Outer.rate: expected a number >= 0, got -1.0"),
    ({"share": 1.5}, ValueError, "Outer.share: expected a number in [0, 1], got 1.5"),
    ({"momentum": 1.0}, ValueError, "Outer.momentum: expected a number below 1, got 1.0; 1 forgets nothing"),
    ({"momentum": 2.0}, ValueError, "Outer.momentum: expected a number in [0, 1), got 2.0; 1 forgets nothing"),
    ({"shift": np.nan}, ValueError, "Outer.shift: expected finite numbers, got nan"),
    ({"shift": "x"}, TypeError, "Outer.shift: expected a number, got 'x' (str)"),
    ({"difference": 0.0}, ValueError, "Outer.difference: expected a number in [1e-09, 1e+06], got 0.0; 0.001 is usual"),
    ({"limit": np.nan}, ValueError, "Outer.limit: expected a number >= 0, got nan"),
    ({"population": 1}, ValueError, "Outer.population: expected an integer >= 2, got 1; a pair has two"),
    ({"population": 2.0}, TypeError, "Outer.population: expected an integer >= 2, got 2.0 (float); a pair has two"),
    ({"population": True}, TypeError, "Outer.population: expected an integer >= 2, got True (bool)"),
    ({"elites": -1}, ValueError, "Outer.elites: expected an integer >= 0, got -1"),
    ({"rule": "adma"}, ValueError, "Outer.rule: expected one of 'adam', 'sgd', got 'adma'; or another class"),
    ({"mode": "c"}, ValueError, "Outer.mode: expected one of 'a', 'b', got 'c'; known are a, b"),
    ({"on": 1}, TypeError, "Outer.on: expected true or false, got 1"),
    ({"boundaries": (1, 0)}, ValueError, "Outer.boundaries: expected an integer >= 1, got 0"),
    ({"boundaries": 3}, TypeError, "Outer.boundaries: expected a tuple, got 3 (int)"),
    ({"pair": ("x", 0)}, ValueError, "Outer.pair: expected an integer >= 1, got 0"),
    ({"gamma": -1.0}, ValueError, "Outer.gamma: expected a number > 0, got -1.0"),
    ({"gamma": (0.1, -1.0)}, ValueError, "Outer.gamma: expected a number > 0, got -1.0"),
    ({"gamma": "x"}, TypeError, "Outer.gamma: expected a number, got 'x' (str)"),
    ({"points": 0}, ValueError, "Outer.points: expected an integer >= 1, got 0"),
    ({"points": "x"}, TypeError, "Outer.points: expected an integer >= 1, got 'x' (str)"),
    ({"points": {"x": 0}}, ValueError, "Outer.points.x: expected an integer >= 1, got 0"),
    ({"inner": 3}, TypeError, "Outer.inner: expected an instance of Inner, got 3 (int)"),
    ({"entries": [2.0]}, ValueError, "Outer.entries: expected a number in [0, 1], got 2.0"),
]


@pytest.mark.parametrize("values", GOOD)
def test_fields_take_what_their_annotations_allow(values):
    Outer(**values)


@pytest.mark.parametrize(("values", "error", "text"), BAD)
def test_fields_refuse_what_their_annotations_exclude(values, error, text):
    with pytest.raises(error) as caught:
        Outer(**values)
    assert str(caught.value).startswith(text)


def test_a_job_file_reads_the_same_annotations():
    hints = get_type_hints(Outer)
    assert hints["population"] is int
    assert TypeAdapter(hints["gamma"]).validate_python([0.1, 0.2]) == (0.1, 0.2)


@pytest.mark.parametrize("annotation", ["Nowhere", "tuple[Nowhere]", Annotated[float, "ms"], "float", object(), None])
def test_other_annotations_say_nothing(annotation):
    cls = make_dataclass("Odd", [("x", annotation)], namespace={"__post_init__": check_fields}, frozen=True)
    assert cls(3).x == 3


def test_annotations_that_are_strings_are_read_too():
    cls = make_dataclass("Text", [("x", "Count")], namespace={"__post_init__": check_fields}, frozen=True)
    cls.__module__ = __name__
    with pytest.raises(ValueError, match=r"Text.x: expected an integer >= 1, got 0"):
        cls(0)


def test_a_tuple_of_another_length_is_refused():
    cls = make_dataclass("Pair", [("x", tuple[float, float])], namespace={"__post_init__": check_fields}, frozen=True)
    assert cls((1.0, 2.0)).x == (1.0, 2.0)
    with pytest.raises(ValueError, match=r"Pair.x: expected 2 values, got 3"):
        cls((1.0, 2.0, 3.0))


def test_a_time_is_a_whole_number_of_steps_and_of_as_many_as_are_needed():
    assert check_multiple("delay", 0.4, 0.2, least=2) == 0.4
    for value, least in ((0.5, 0), (0.2, 2), (1e-8, 1)):
        with pytest.raises(ValueError, match=r"delay: expected a multiple of the resolution, 0.2 ms, got"):
            check_multiple("delay", value, 0.2, "the resolution", least=least)


def test_what_a_class_gives_by_default_needs_no_check():
    cls = make_dataclass("Loose", [("x", Literal["a"], None)], namespace={"__post_init__": check_fields})
    assert cls().x is None
