"""Typed equations of docstrings become formulas on the site, and nothing else does."""

import ast

import pytest
from equations import NoEquation, formula, formulas
from places import ROOT


def inner(line: str) -> str:
    return formula(line).removeprefix('<math display="block">').removesuffix("</math>")


def test_an_index_may_be_a_sum():
    assert inner("U_t+1 = v") == (
        "<msub><mi>U</mi><mrow><mi>t</mi><mo>+</mo><mn>1</mn></mrow></msub><mo>=</mo><mi>v</mi>"
    )
    assert inner("y_{t-1} = v") == inner("y_t-1 = v")


def test_a_slash_divides_its_two_neighbours_and_no_more():
    assert inner("w = a / (b + c) d") == (
        "<mi>w</mi><mo>=</mo><mfrac><mi>a</mi><mrow><mi>b</mi><mo>+</mo><mi>c</mi></mrow></mfrac>"
        '<mspace width="0.25em"/><mi>d</mi>'
    )


def test_a_power_binds_closer_than_a_slash():
    assert inner("w = 1 / a^2").endswith("<mfrac><mn>1</mn><msup><mi>a</mi><mn>2</mn></msup></mfrac>")


def test_a_sum_in_a_denominator_takes_what_follows_with_it():
    assert inner("p = x / sum_b x_b").endswith(
        "<mfrac><mi>x</mi><mrow><munder><mo>∑</mo><mi>b</mi></munder>"
        "<msub><mi>x</mi><mrow><mi>b</mi></mrow></msub></mrow></mfrac>"
    )


def test_greek_letters_and_roots_are_what_they_say():
    assert (
        inner("sigma = sqrt(2 pi)") == '<mi>σ</mi><mo>=</mo><msqrt><mn>2</mn><mspace width="0.25em"/><mi>π</mi></msqrt>'
    )


def test_text_behind_an_equation_stays_text():
    assert inner("h = 1        peak 1 & area 2").endswith("<mtext>peak 1 &amp; area 2</mtext>")


@pytest.mark.parametrize("line", ["a = (b", "a = b)", "a = b $ c"])
def test_what_is_no_equation_is_refused(line):
    with pytest.raises(NoEquation):
        formula(line)


def test_code_of_a_docstring_stays_code():
    text = "Return it.\n\n    x = step(y)\n    z = x + 1\n\nMore."
    assert formulas(text) == text


def test_the_equations_of_the_engine_are_set():
    found = {}
    for path in sorted((ROOT / "l2l_snn/snn").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                found[getattr(node, "name", path.stem)] = formulas(text).count("<math")
    assert found["CurrentLIF"] == 1
    assert found["SRMAlpha"] == 2
    assert found["EProp"] == 1
    assert sum(found.values()) >= 25
