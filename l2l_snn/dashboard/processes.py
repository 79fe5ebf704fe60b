"""Processes that the page starts, in this environment and on its store: `l2l` commands, and modules that answer JSON.

    process = start_command(settings, ["run", "--name", "a-1", "--", "jobs/a.yaml"], log)
    ask(settings, "check_job", {"file": "jobs/a.yaml", "settings": []}, limit=120)      # {"generations": 300}

A module that answers ends with `answer(function)`, and runs what the page must not hold: modules of the user, pandas.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from l2l_snn.dashboard.settings import Settings

TAIL = 16 * 1024  # bytes of a log that are shown
Process = subprocess.Popen[bytes]


class Refused(Exception):
    """What a visitor asked for can't be done; the text says why, in one line or a few."""


def start_command(settings: Settings, arguments: Sequence[str], log: IO[bytes]) -> Process:
    """Start an `l2l` command that prints to a log."""
    return _start_python(settings, ["l2l_snn.cli", *arguments], log, subprocess.STDOUT)


def start_module(
    settings: Settings, module: str, arguments: dict[str, Any], log: IO[bytes] | int = subprocess.DEVNULL
) -> Process:
    """Start `python -m l2l_snn.dashboard.MODULE` with JSON arguments; `answer_of` returns what it answers."""
    words = [f"l2l_snn.dashboard.{module}", json.dumps(arguments)]
    return _start_python(settings, words, subprocess.PIPE, log)


def _start_python(settings: Settings, words: Sequence[str], out: IO[bytes] | int, errors: IO[bytes] | int) -> Process:
    """Start `python -m WORDS` in a process group of its own."""
    # the store's URL may have a password: other users can read arguments, the environment they can't
    environment = {**os.environ, "L2L_STORE": settings.store_url}
    command = [sys.executable, "-m", *words]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=environment, start_new_session=True
    )


def answer_of(process: Process, what: str, limit: float) -> dict[str, Any]:
    """Return what a process of `start_module` answers; it has ended then.

    Args:
        process: the process.
        what: its name in a complaint.
        limit: how long it may take, s.

    Raises:
        Refused: it answers {"error": ...}, ends without an answer, or takes longer.
    """
    try:
        out, _ = process.communicate(timeout=limit)
        answer = json.loads(out)
    except subprocess.TimeoutExpired as error:
        end(process)
        process.communicate()
        raise Refused(f"{what} has not ended in {limit:g} s") from error
    except ValueError as error:
        raise Refused(f"{what} ended with status {process.returncode} and no answer") from error
    finally:
        end(process)
    if "error" in answer:
        raise Refused(answer["error"])
    return answer


def ask(settings: Settings, module: str, arguments: dict[str, Any], limit: float) -> dict[str, Any]:
    """Return what a module answers to JSON arguments within `limit` seconds.

    Raises:
        Refused: as of `answer_of`.
    """
    return answer_of(start_module(settings, module, arguments), module, limit)


def answer(function: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer what `function` returns for the arguments of `start_module`, or {"error": ...} with what a user can mend.

    All else that is printed meanwhile, by the user's modules too, goes to stderr.
    """
    from l2l_snn.loop.errors import USER_ERRORS

    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        try:
            result = function(json.loads(sys.argv[1]))
        except USER_ERRORS as error:
            result = {"error": str(error)}
        json.dump(result, out)


def end(process: Process) -> None:
    """End a process, with all of the group that it leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(path: Path) -> str:
    """Return the end of a log, as text; "" if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            text = file.read(TAIL).decode("utf-8", "replace")
    except OSError:
        return ""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[^\n\t -~\u00a0-\uffff]", "", re.sub(r"[^\n]*\r(?=[^\n])", "", text))
