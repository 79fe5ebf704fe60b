"""The examples of the guides in docs/guide/, and the notebooks: all of them run, as they stand and in order.

A block of code that begins with "# name.ext" is a file. Other Python is run, one block after the other, in one
namespace a page. Lines of sh that begin with "l2l" are run, evaluated in this process; "# exit status N" is expected.
"""

import json
import re
import shlex
import sys
from types import ModuleType

import pytest
from places import ROOT
from typer.testing import CliRunner

from l2l_snn.cli import app

PAGES = ["python", "starts", "debugging", "simulators", "trackers"]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder, which is the current one; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def run_command(line: str) -> None:
    command, _, comment = line.partition("    # exit status ")
    words = shlex.split(command, comments=True)[1:]
    if words[0] in ("run", "resume") and "--debug" not in words:
        words.append("--inline")
    done = CliRunner().invoke(app, words)
    assert done.exit_code == int(comment or 0), f"{line}\n{done.output}\n{done.exception!r}"


def run_python(code: str, namespace: ModuleType, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", namespace)  # as in a notebook, or a script
    exec(compile(code, "<docs>", "exec"), vars(namespace))


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_guide_run(place, page, monkeypatch):
    namespace = ModuleType("__main__")
    blocks = re.findall(
        r"^```(python|yaml|sh)\n(.*?)^```", (ROOT / f"docs/guide/{page}.md").read_text(), re.DOTALL | re.M
    )
    assert blocks
    for language, text in blocks:
        file = re.match(r"# (\w+\.\w+)\n", text)
        if file:
            (place / file[1]).write_text(text)
        elif language == "python":
            run_python(text, namespace, monkeypatch)
        elif language == "sh":
            for line in text.splitlines():
                if line.startswith("l2l "):
                    run_command(line)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(place, path, monkeypatch):
    notebook = json.loads(path.read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(cells) >= 4
    namespace = ModuleType("__main__")
    for cell in cells:
        run_python(cell, namespace, monkeypatch)


def test_there_are_three_notebooks_without_stored_outputs():
    assert [path.stem for path in NOTEBOOKS] == ["mountain_car", "own_optimizee", "tables"]
    for path in NOTEBOOKS:
        cells = json.loads(path.read_text())["cells"]
        assert all(not cell.get("outputs") for cell in cells)


def test_every_optimizer_parameter_of_ours_in_the_page_for_l2l_users_exists():
    import make_reference

    from l2l_snn.search.step_rules import StepRule

    page = (ROOT / "docs/guide/from_l2l.md").read_text()
    classes = {f"{m.__name__[11:]}:{c.__name__}": c for m, c in make_reference.optimizer_classes()}
    known: set[str] = set()
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", page.split("beside ours")[1], re.M)
    named = 0
    for _, ours in rows:
        addresses = [address for address in re.findall(r"`(\w+:\w+)`", ours) if address in classes]
        if addresses:
            known = {name for address in addresses for name in classes[address].__dataclass_fields__}
            known |= {f"step.{name}" for name in StepRule.__dataclass_fields__} if "step" in known else set()
            continue
        for name in re.findall(r"`([a-z_0-9.]+)`", ours):
            if known and "_" + name not in ("_chunk", "_raw", "_adam", "_rmsprop", "_es") and "adapter" not in name:
                named += 1
                assert name in known, name
    assert named > 30
