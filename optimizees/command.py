"""An optimizee whose evaluation is a command: any simulator, script or binary, without a line of Python.

    optimizee:
      class: optimizees.command:CommandOptimizee
      command: python model.py --tau {tau_m} --seed {seed}
      files: [model.py]
      parameters: {tau_m: {low: 5, high: 50, log: true}, rule: {options: [stdp, eprop]}}
      limit: 60

The command runs in a new folder for each individual. It finds the parameters on its command line or in params.json,
and tells the fitness in its last line: a number, or JSON with `fitness` and further numbers, which become metrics.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from l2l_snn.optimizee import Optimizee
from l2l_snn.space import Space
from l2l_snn.validate import Positive, did_you_mean, message

PLACEHOLDER = re.compile(r"\{(\w+)\}")
OWN = ("seed", "file", "python")  # placeholders beside the parameters
SHOWN = 300  # characters of stderr in an error


@dataclass(frozen=True)
class CommandOptimizee(Optimizee):
    """A command that is given parameters and tells their fitness.

    In the command, `{NAME}` is a parameter (an array in JSON), `{seed}` the seed of all that is random, `{file}` the
    file with the parameters, `{python}` the Python that runs this. There is no shell: no pipes, no variables.
    """

    command: str | tuple[str, ...]  # one line, split as a shell does, or its words
    # name -> low, high, log of a Real; kind: Integer or Free, options of a Choice, shape of an array; see l2l_snn.space
    parameters: dict[str, dict[str, Any]]
    files: tuple[str, ...] = ()  # files and folders to copy into the individual's folder, from the current one
    file: str = "params.json"  # with the parameters and the seed, written into the individual's folder
    result: str = ""  # file of the individual's folder that tells the fitness; "": what the command prints
    pattern: str = ""  # regular expression with a group `fitness`; other named groups are metrics; "": the last line
    limit: Positive | None = None  # s that the command may take
    folder: str = "runs/command"  # where the individuals' folders are made
    keep: Literal["failed", "all", "none"] = "failed"  # whose folders stay

    def cross_check(self) -> None:
        known = [*self.parameters, *OWN]
        for name in PLACEHOLDER.findall(" ".join(self._split_command())):
            if name not in known:
                todo = did_you_mean(name, known)
                raise ValueError(message("CommandOptimizee.command", "names of parameters", f"{{{name}}}", todo))
        if self.pattern:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                raise ValueError(message("CommandOptimizee.pattern", "a regular expression", error)) from error
            if "fitness" not in groups:
                expected = "a group named fitness"
                raise ValueError(
                    message("CommandOptimizee.pattern", expected, self.pattern, r"e.g. fit=(?P<fitness>\S+)")
                )

    def make_space(self) -> Space:
        """Return the space that `parameters` describes."""
        entries = {}
        for name, entry in self.parameters.items():
            kind = "Choice" if "options" in entry else "Real" if "low" in entry else "Free"
            entries[name] = {"kind": kind, **entry}
        try:
            return Space.from_json(json.dumps(entries))
        except (TypeError, KeyError) as error:
            todo = "e.g. tau_m: {low: 5, high: 50, log: true}"
            got = f"{type(error).__name__}: {error}"
            raise ValueError(message("CommandOptimizee.parameters", "parameters of a space", got, todo)) from error

    def evaluate(self, params: dict[str, Any], seed: int) -> Any:
        """Return the fitness, and as metrics whatever numbers the command tells beside it.

        Raises:
            TimeoutError: it took longer than `limit`, and was ended with all that it started.
            RuntimeError: it ended with another status than 0, or told no fitness; the text names the folder kept.
        """
        root = Path(self.folder).absolute()
        root.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=f"seed{seed}-", dir=root))
        keep = self.keep != "none"
        try:
            found = self._run_command(place, params, seed)
            keep = self.keep == "all"
            return found
        except (RuntimeError, TimeoutError) as error:
            if keep:
                raise type(error)(f"{error}; its files are in {place}") from None
            raise
        finally:
            if not keep:
                shutil.rmtree(place, ignore_errors=True)

    def _run_command(self, place: Path, params: dict[str, Any], seed: int) -> tuple[Any, dict[str, float]]:
        """Return fitness and metrics of one call in a folder of its own."""
        for name in self.files:
            source, target = Path(name), place / Path(name).name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
        plain = {name: np.asarray(value).tolist() for name, value in params.items()}
        (place / self.file).write_text(json.dumps({**plain, "seed": seed}, indent=1))
        words = {**{name: _as_word(value) for name, value in plain.items()}, "seed": str(seed)}
        words |= {"file": self.file, "python": sys.executable}
        command = [PLACEHOLDER.sub(lambda found: words[found[1]], word) for word in self._split_command()]
        with (place / "stdout.txt").open("wb") as out, (place / "stderr.txt").open("wb") as err:
            status = _wait_for(command, place, out, err, self.limit)
        said = (place / "stderr.txt").read_text(errors="replace").strip()
        if status:
            how = f"exit status {status}" if status > 0 else f"ended by {signal.Signals(-status).name}"
            raise RuntimeError(f"{how}: {' '.join(said[-SHOWN:].split())}" if said else how)
        told = place / (self.result or "stdout.txt")
        if not told.is_file():
            raise RuntimeError(f"it wrote no file {self.result!r}")
        return self._read_fitness(told.read_text(errors="replace"))

    def _read_fitness(self, text: str) -> tuple[Any, dict[str, float]]:
        """Return fitness and metrics from what the command told."""
        if self.pattern:
            found = re.search(self.pattern, text, re.MULTILINE)
            if found is None:
                raise RuntimeError(f"what it told doesn't match {self.pattern!r}: {_shorten(text)}")
            told: Any = {name: value for name, value in found.groupdict().items() if value is not None}
        else:
            lines = [line for line in text.splitlines() if line.strip()]
            whole = text if self.result else lines[-1] if lines else ""
            try:
                told = json.loads(whole)
            except ValueError:
                told = whole.strip()
        if not isinstance(told, dict):
            told = {"fitness": told}
        try:
            fitness = told.pop("fitness")
            metrics = {name: float(value) for name, value in told.items()}
            return [float(value) for value in fitness] if isinstance(fitness, list) else float(fitness), metrics
        except (KeyError, TypeError, ValueError):
            raise RuntimeError(f"expected a fitness in its last line, got {_shorten(text)}") from None

    def _split_command(self) -> list[str]:
        return shlex.split(self.command) if isinstance(self.command, str) else list(self.command)


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shorten(text: str) -> str:
    return repr(text.strip()[-100:])


def _wait_for(command: list[str], place: Path, out: Any, err: Any, limit: float | None) -> int:
    """Run a command in a folder; return its exit status, negative for a signal.

    Raises:
        TimeoutError: it took too long; it and what it started are ended.
    """
    process = subprocess.Popen(
        command, cwd=place, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
    )
    try:
        return process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        raise TimeoutError(f"longer than {limit:g} s") from None
    finally:
        if process.poll() is None:  # also at Ctrl-C
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
