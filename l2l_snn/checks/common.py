"""What the conformance suites use: the result of a claim, fingerprints, watching the global generators."""

import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar, get_type_hints

import numpy as np
from pydantic import TypeAdapter

from l2l_snn.evaluation import Evaluation, describe_error
from l2l_snn.validate import message

T = TypeVar("T")


@dataclass(frozen=True)
class Check:
    """What became of one claim."""

    claim: str
    ok: bool
    text: str = ""  # what was expected, what came, what to do
    traceback: str = ""  # of what was raised instead


class CheckFailed(AssertionError):
    """One or more claims of a conformance suite don't hold; the text has a line for each."""


def require(checks: Iterable[Check]) -> list[str]:
    """Return the claims that passed.

    Raises:
        CheckFailed: any failed.
    """
    checks = list(checks)
    failed = [f"{check.claim}: {check.text}" for check in checks if not check.ok]
    if failed:
        raise CheckFailed("\n".join(failed))
    return [check.claim for check in checks]


Watch = Callable[[str, Check | None], None]
_WATCH: ContextVar[Watch] = ContextVar("watch", default=lambda claim, check: None)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Call `watch` with each claim that begins within, and None, and again with what became of it."""
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


def run_claims(claims: dict[str, Callable[[T], str]], probe: T) -> list[Check]:
    """Return what became of each claim: name -> function that returns "" or what is wrong.

    What one claim raised is said once: another that raises the same could not be checked, and is left out.
    """
    checks, watch, raised = [], _WATCH.get(), set()
    for claim, holds in claims.items():
        watch(claim, None)
        traceback = ""
        try:
            text = holds(probe)
        except Exception as error:  # a broken class may raise anything, anywhere
            text, _, traceback = describe_error(error).partition("\n")
            if text in raised:
                continue
            raised.add(text)
        checks.append(Check(claim, not text, text, traceback))
        watch(claim, checks[-1])
    return checks


def fingerprint(value: Any) -> Any:
    """Return a fingerprint that is equal for values of the same types and bytes, nan included."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Evaluation):
        return fingerprint(vars(value))
    if isinstance(value, dict):
        return {key: fingerprint(entry) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [fingerprint(entry) for entry in value]
    return value


def globals_untouched(act: Callable[[], Any]) -> str:
    """Return "" if `act` leaves the module-level generators of random and numpy as they were."""

    def generators() -> Any:
        return random.getstate(), np.random.get_state()  # noqa: NPY002, these are what is watched

    python, legacy = generators()
    random.seed(2718281828)  # not a state that an earlier evaluation with the same seeds may have left
    np.random.seed(2718281828)  # noqa: NPY002
    before = fingerprint(generators())
    try:
        act()
        changed = fingerprint(generators()) != before
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
    todo = "draw from the seed or the stream; wrap code that draws from `random` in seeding.python_random"
    return message("random, numpy.random", "global state unchanged", "changed", todo) if changed else ""


def rebuilt(component: Any) -> Any:
    """Return a new instance from the JSON text of the fields, as a job builds it."""
    hints = get_type_hints(type(component))
    values = json.loads(json.dumps(asdict(component)))
    names = [field.name for field in fields(component) if field.init]
    return type(component)(**{name: TypeAdapter(hints[name]).validate_python(values[name]) for name in names})


def frozen_json(component: Any) -> str:
    """Return "", or why `component` isn't a frozen dataclass whose fields survive JSON."""
    name = type(component).__name__
    parameters = vars(type(component)).get("__dataclass_params__")  # vars: an inherited decorator misses new fields
    if parameters is None or not parameters.frozen:
        return message(name, "a frozen dataclass", "another class", "put @dataclass(frozen=True) above it")
    again = rebuilt(component)
    if again != component:
        todo = "make the fields numbers, strings, booleans, tuples or dicts of these"
        return message(name, f"{component} after a round trip through JSON", again, todo)
    return ""
