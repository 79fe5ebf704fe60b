"""docs/architecture.md says what the tree is."""

import re

import pytest
from places import ROOT
from test_layout import GROUND, NEIGHBOURS

PAGE = (ROOT / "docs/architecture.md").read_text()
ROOMS = PAGE.split("## Who may import whom")[1].split("\n## ")[0]


def test_the_table_of_imports_is_that_of_the_layout_test():
    rows = re.findall(r"^\| `(\w+)` \| .* \|(.*)\|$", ROOMS, re.MULTILINE)
    listed = {room: set(re.findall(r"`(\w+)`", cell)) | (GROUND if "ground" in cell else set()) for room, cell in rows}
    assert listed == {room: set(neighbours) for room, neighbours in NEIGHBOURS.items()}


def test_the_ground_is_that_of_the_layout_test():
    assert set(re.findall(r"`(\w+)`", ROOMS.split('"ground" is')[1].split(".")[0])) == GROUND


def test_every_folder_of_the_tree_is_listed():
    part = PAGE.split("## The tree")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)/` \|", part, re.MULTILINE)
    folders = {path.parent.name for path in ROOT.glob("*/*") if path.suffix in (".py", ".yaml", ".md")}
    folders |= {path.parents[1].name for path in ROOT.glob("*/*/*.py")}
    assert set(listed) == {name for name in folders if not name.startswith((".", "build", "dist", "site", "runs"))}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w/]+(?:/|\.py|\.md|\.js))`", PAGE))))
def test_a_file_that_is_named_exists(path):
    folders = ("l2l_snn", "optimizees", "optimizers", "jobs", "tests", "benchmarks", "docs")
    found = [f"/{one.relative_to(ROOT)}" for folder in folders for one in (ROOT / folder, *(ROOT / folder).rglob("*"))]
    assert any(f"{one}/".endswith(f"/{path.rstrip('/')}/") for one in found), path
