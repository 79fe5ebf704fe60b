"""Each command of the README and of docs/, as far as its own reading of its arguments: nothing is run or measured."""

import os
import re
import runpy
import shlex
import sys
from argparse import ArgumentParser

import pytest
import typer
from places import ROOT

from l2l_snn.cli import app
from l2l_snn.loop.job import load

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LOOP = re.compile(r"^\s*for (\w+) in ([^;$]+); do(.*)", re.MULTILINE)
COMMAND = re.compile(r"\s*(?:\w+=\S+ +|taskset -c \d+ +|nice -n \d+ +)*((?:l2l|[\w./]*python) .*)")
OTHERS = {"cocoex", "torch", "snntorch", "evotorch"}  # of the extra `benchmarks` and of environments of their own


def commands() -> list[tuple[str, str]]:
    """Return (page, command) of all lines of shell that call `l2l` or Python, loops unrolled."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            loops = {name: values.split() for name, values, _ in LOOP.findall(block)}
            for line in LOOP.sub(r"\3", block.replace("\\\n", " ")).splitlines():
                begin = COMMAND.match(line)
                if not begin or "[OPTIONS]" in line:
                    continue
                used = [name for name in loops if f"${name}" in line or f"${{{name}}}" in line]
                for k in range(len(loops[used[0]]) if used else 1):
                    text = begin[1].strip().removesuffix("done").rstrip("; ")
                    for name in used:
                        value = loops[name][k % len(loops[name])]
                        text = text.replace(f"${{{name}}}", value).replace(f"${name}", value)
                    found.append((page.name, text))
    return found


COMMANDS = commands()


class Parsed(BaseException):
    """A program has read its arguments."""


def test_there_are_commands_and_each_is_read():
    words = {text.split()[0].rsplit("/", 1)[-1] for _, text in COMMANDS}
    assert words == {"l2l", "python"}
    assert len(COMMANDS) > 80


@pytest.mark.parametrize("text", sorted({text for _, text in COMMANDS if text.startswith("l2l ")}))
def test_a_command_of_l2l_takes_its_arguments_and_a_job_its_settings(text):
    command = typer.main.get_command(app)
    name, *arguments = shlex.split(text, comments=True)[1:]
    with typer.Context(command, info_name="l2l") as context:
        own = command.get_command(context, name)
        assert own is not None, f"l2l has no command {name}"
        read = own.make_context(name, arguments, parent=context).params
    if name in ("run", "submit") and (ROOT / str(read["job"])).exists():
        settings = read.get("set") or read.get("settings") or []
        load(ROOT / str(read["job"]), list(settings))


@pytest.mark.parametrize("text", sorted({text for _, text in COMMANDS if "benchmarks/" in text}))
def test_a_benchmark_takes_its_arguments_and_measures_nothing_before(text, monkeypatch):
    _, script, *arguments = shlex.split(text, comments=True)
    assert (ROOT / script).is_file()
    read = ArgumentParser.parse_args

    def parse(self, args=None, namespace=None):
        read(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    monkeypatch.setattr(sys, "path", [str((ROOT / script).parent), *sys.path])
    monkeypatch.setattr(os, "environ", os.environ.copy())
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    except Parsed:
        return
    except ModuleNotFoundError as error:
        if error.name in OTHERS:
            pytest.skip(f"without {error.name}")
        raise
    raise AssertionError(f"{script} began without reading its arguments")


@pytest.mark.parametrize("text", sorted({text for _, text in COMMANDS if "pytest" in text}))
def test_a_test_that_a_page_names_is_there(text):
    named = [word for word in shlex.split(text, comments=True) if word.startswith("tests/")]
    assert named
    assert all((ROOT / word).exists() for word in named)
