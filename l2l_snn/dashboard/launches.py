"""Drivers of runs that the page starts: `l2l run` and `l2l resume`, with what a visitor may choose of them.

Runs go on when the page ends; what they print is in runs/logs/RUN.log. Job files come from one folder alone, and a
setting can name neither a class nor a path, so that nobody can run code of their own through the page.
"""

import os
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from l2l_snn.dashboard.models import Launch
from l2l_snn.dashboard.processes import Process, Refused, start_command, tail
from l2l_snn.dashboard.settings import Settings
from l2l_snn.validate import did_you_mean, message

WORD = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+-]{0,99}")
ENTRIES = 1_000  # of a list in a setting
SUFFIXES = (".yaml", ".yml")


def job_files(folder: Path) -> list[str]:
    """Return the names of the job files in a folder; links that lead out of it are left out."""
    if not folder.is_dir():
        return []
    inside = folder.resolve()
    files = (path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    return sorted(path.name for path in files if path.resolve().parent == inside)


def job_file(folder: Path, name: str) -> Path:
    """Return the job file of a name.

    Raises:
        Refused: the folder has none.
    """
    files = job_files(folder)
    if name not in files:
        raise Refused(message("job", f"a job file in {folder}", repr(name), did_you_mean(name, files)))
    return folder / name


def check_settings(settings: Sequence[str], folder: Path) -> None:
    """Refuse settings by which code or a file could be chosen: classes, module addresses, paths, names of files.

    Values may be numbers, booleans, single words without a dot, and lists of these. A word that a file or folder has
    for its name, here or beside the job files, is refused too: a field might open it.

    Args:
        settings: key=value each.
        folder: of the job files.

    Raises:
        Refused: a setting isn't key=value, or is one of those.
    """
    for setting in settings:
        key, sign, text = setting.partition("=")
        parts = key.split(".")
        if not sign or not all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", part) for part in parts):
            raise Refused(message("setting", "key=value", repr(setting), "e.g. optimizer.population=64"))
        if "class" in parts or key in ("optimizee", "optimizer"):
            raise Refused(f"{key}: can't be set from the page; write another job file, or use the command line")
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise Refused(f"{key}: not YAML: {text!r}") from error
        entries = value if isinstance(value, list) else [value]
        if len(entries) > ENTRIES or not all(_is_plain(entry, folder) for entry in entries):
            expected = "a number, true, false, null, a word that no file has, or a list of these"
            raise Refused(message(key, expected, repr(text), "for others use the command line"))


def _is_plain(value: Any, folder: Path) -> bool:
    if not isinstance(value, str):
        return value is None or isinstance(value, (bool, int, float))
    if _is_number(value):
        return True
    return bool(WORD.fullmatch(value)) and not any(os.path.lexists(place / value) for place in (Path.cwd(), folder))


def _is_number(text: str) -> bool:
    """Return whether a text is a number that YAML 1.1 takes for a word, as 1e-3."""
    return bool(re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?[eE][+-]?[0-9]+", text))


class Launches:
    """The drivers that this page has started. Threads may share it."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._lock = threading.Lock()
        self._processes: dict[str, Process] = {}

    def log_file(self, run: str) -> Path:
        return self._settings.results / "logs" / f"{run}.log"

    def start(self, run: str, arguments: Sequence[str]) -> Launch:
        """Start the driver of a run, unless one that this page has started still runs.

        Args:
            run: its name, checked.
            arguments: of the `l2l` command.

        Raises:
            Refused: one still runs.
        """
        with self._lock:
            old = self._processes.get(run)
            if old is not None and old.poll() is None:
                raise Refused(f"run {run!r} is driven already, by process {old.pid}")
            path = self.log_file(run)
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab") as log:
                self._processes[run] = start_command(self._settings, arguments, log)
        return self.get(run)

    def get(self, run: str) -> Launch:
        """Return the driver of a run; without a status and not running if this page has started none."""
        with self._lock:
            process = self._processes.get(run)
            if process is None:
                return Launch(run=run, running=False, status=None, log="")
            status = process.poll()
        return Launch(run=run, running=status is None, status=status, log=tail(self.log_file(run)))

    def known(self, run: str) -> bool:
        """Return whether this page has started a driver of the run, whatever became of it."""
        with self._lock:
            return run in self._processes

    def driven(self, run: str) -> bool:
        """Return whether a driver that this page has started runs."""
        with self._lock:
            process = self._processes.get(run)
            return process is not None and process.poll() is None
