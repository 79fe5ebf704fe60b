"""l2l check: does a class of the user's keep its contract?"""

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l2l_snn.cli.common import SetOption, complaints, wants_traceback

if TYPE_CHECKING:
    from l2l_snn.checks import Check

QUIET = 10.0  # s that a claim takes before it is said


def check(
    address: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="Your optimizee, optimizer, cell, rule or task.")
    ],
    settings: SetOption = None,
    limit: Annotated[float, typer.Option(min=0.1, help="Seconds that a claim may take; one that hangs fails.")] = 600.0,
) -> None:
    """Run the conformance suite on a class of your own; --set gives its fields."""
    with complaints():
        from l2l_snn import checks
        from l2l_snn.loop import components, job_file
        from l2l_snn.validate import message

        components.find_modules(Path.cwd())
        entries = {"class": address}
        for setting in settings or []:
            job_file.apply_setting(entries, setting)
        cls = components.load_class(address)
        base = next((base for base in checks.SUITES if issubclass(cls, base)), None)
        with checks.watched(_Reporter(limit).watch):
            if base is not None:
                results = checks.SUITES[base](components.build(entries, cls.__name__, base))
            elif missing := checks.missing_methods(cls):
                kinds = ", ".join(["Optimizee", "JaxOptimizee", *(base.__name__ for base in checks.SUITES)])
                expected = f"a subclass of {kinds}, or a task"
                todo = f"a task also has {', '.join(missing)}"
                raise ValueError(message(cls.__name__, expected, "another class", todo))
            else:
                results = checks.check_task(cls(**{name: entries[name] for name in entries if name != "class"}))
        if not all(result.ok for result in results):
            raise typer.Exit(1)


class _Reporter:
    """Prints each claim as it is answered, says which one takes long, and ends the command at one that hangs."""

    def __init__(self, limit: float):
        self._limit = limit  # s
        self._timers: list[threading.Timer] = []

    def watch(self, claim: str, result: "Check | None") -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        if result is None:
            for seconds, act in ((QUIET, self._say), (self._limit, self._give_up)):
                timer = threading.Timer(seconds, act, (claim,))
                timer.daemon = True
                timer.start()
                self._timers.append(timer)
            return
        typer.echo(f"{'ok  ' if result.ok else 'FAIL'} {claim}" + ("" if result.ok else f"\n     {result.text}"))
        if result.traceback and wants_traceback():
            typer.echo(result.traceback)

    def _say(self, claim: str) -> None:
        typer.echo(f"...  {claim}: not answered yet, at most {self._limit:g} s", err=True)

    def _give_up(self, claim: str) -> None:
        typer.echo(f"FAIL {claim}\n     not answered in {self._limit:g} s; where it only takes long: --limit")
        sys.stdout.flush()
        os._exit(1)  # the user's code can't be ended otherwise
