"""What a failed evaluation tells: what was raised, at which lines of the user's own code, and no more than fits."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from stores import SPACE, make, state_after

from l2l_snn import Optimizee, Real, Space
from l2l_snn.dashboard import read_individual
from l2l_snn.evaluation import LONGEST_LINE, LONGEST_TEXT, bounded, describe_error, describe_in_line, in_line
from l2l_snn.loop.tally import failure_reason
from l2l_snn.results import tables
from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import Store
from l2l_snn.workers.in_process import Inline


@dataclass(frozen=True)
class Failing(Optimizee):
    how: str = "key"
    space = Space(x=Real(-1, 1))

    def evaluate(self, params, seed):
        if self.how == "shape":
            return np.zeros(3)
        if self.how == "library":
            return json.loads("{")
        if self.how == "silent":
            raise Wordless
        return self._read(params)

    def _read(self, params):
        return params["z" if self.how == "key" else "z" * 10**6]


class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no words")


def error_of(how: str) -> str:
    with Inline(Failing(how)) as evaluator:
        return evaluator.evaluate(np.zeros((1, 1)), np.array([1])).evaluation.errors[0]


def test_the_first_line_names_the_users_own_lines_and_the_traceback_stands_below_it():
    line, _, rest = error_of("key").partition("\n")
    evaluate, read = Failing.evaluate.__code__.co_firstlineno + 7, Failing._read.__code__.co_firstlineno + 1
    assert line == f"KeyError: 'z', at test_evaluation.py:{evaluate} in evaluate, test_evaluation.py:{read} in _read"
    assert rest.startswith("Traceback (most recent call last):\n")
    assert rest.endswith("KeyError: 'z'")


def test_lines_of_libraries_are_in_the_traceback_alone():
    text = error_of("library")
    assert in_line(text).endswith(f"evaluation.py:{Failing.evaluate.__code__.co_firstlineno + 4} in evaluate")
    assert "decoder.py" in text
    assert "decoder.py" not in in_line(text)


def test_a_refusal_of_this_package_has_no_traceback():
    text = error_of("shape")
    assert text.startswith("TypeError: Failing.evaluate: expected a number, or (number, dict), got an array")
    assert "\n" not in text


def test_an_exception_without_words_is_a_row_too():
    assert in_line(error_of("silent")).startswith("Wordless: (its text can't be made), at test_evaluation.py:")
    assert describe_in_line(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_long_texts_are_cut_with_a_note_and_the_lines_stay():
    text = error_of("long")
    assert len(text) < LONGEST_TEXT + 100
    assert len(in_line(text)) < LONGEST_LINE + 250
    assert "characters left out" in in_line(text)
    assert in_line(text).endswith("in _read")
    assert bounded(text, LONGEST_TEXT) == text
    assert bounded(bounded("x" * 10**6, 100), 100) == bounded("x" * 10**6, 100)


def test_every_stored_text_is_bounded(tmp_path):
    long = "x" * 10**6
    with Store(f"sqlite:///{tmp_path}/l2l.db") as store:
        store.create("a", "job", {}, SPACE)
        with drive(store, "a") as driver:
            driver.commit(make(0, errors=(long, "", "")), state_after(0))
            driver.finish("failed", long)
        assert "(992000 characters left out)" in store.individual("a", 0, 0).error
        assert len(store.load("a").message) < LONGEST_TEXT + 100


def test_tables_and_messages_have_the_line_and_the_individuals_page_the_traceback_too(tmp_path):
    try:
        Failing()._read({})
    except KeyError as error:
        text = describe_error(error)
    part = make(0, fitness=[np.nan, 1.0, np.nan], errors=(text, "", text))
    with Store(f"sqlite:///{tmp_path}/l2l.db") as store:
        store.create("a", "job", {}, SPACE)
        with drive(store, "a") as driver:
            driver.commit(part, state_after(0))
        assert tables.individuals(store, "a")["error"].tolist() == [in_line(text), "", in_line(text)]
        shown = read_individual.detail(store, store.load("a"), 0, 0)
    assert (shown.error, shown.traceback) == tuple(text.split("\n", 1))

    class Job:
        max_failed = 0.5

    assert failure_reason(Job, part) == f"2 of 3 individuals failed; the first: {in_line(text)}"  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["<string>", "/usr/lib/python3/dist-packages/numpy/core.py", json.__file__])
def test_what_is_installed_or_made_at_run_time_is_not_the_users(name):
    code = compile("def f():\n    raise ValueError('x')", name, "exec")
    space: dict = {}
    exec(code, space)
    with pytest.raises(ValueError, match="x") as caught:
        space["f"]()
    assert f"{name.rpartition('/')[2]}:" not in describe_in_line(caught.value)
