"""The checks accept what fits and say in one format what doesn't: argument, expected, got, what to do."""

import numpy as np
import pytest

from l2l_snn.validate import (
    check_choice,
    check_count,
    check_finite,
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
