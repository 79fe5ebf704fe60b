"""Imports go one way, in no circle, past nobody's private names; what is heavy is imported only where it is needed."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from places import ROOT

GROUND = {"validate", "space", "seeding", "evaluation"}
CONTRACTS = {"optimizee", "optimizer"}
NEIGHBOURS = {  # a room -> the rooms that it may import from, besides itself
    "validate": set(),
    "space": {"validate"},
    "seeding": {"validate"},
    "evaluation": {"validate"},
    "entries": set(),
    "optimizee": GROUND,
    "optimizer": GROUND,
    "search": GROUND,
    "snn": {"validate"},
    "body": {"validate", "snn"},
    "data": {"validate"},
    "workers": GROUND | {"entries", "optimizee"},
    "storage": GROUND,
    "loop": GROUND | CONTRACTS | {"entries", "workers", "storage"},
    "results": GROUND | {"storage"},
    "tables": {"results"},
    "trackers": GROUND | {"storage", "loop", "results"},
    "api": GROUND | CONTRACTS | {"storage", "loop", "results", "trackers"},
    "cluster": GROUND | {"storage", "loop"},
    "checks": GROUND | CONTRACTS | {"snn", "loop"},
    "dashboard": GROUND | CONTRACTS | {"workers", "storage", "loop", "results"},
    "cli": GROUND
    | CONTRACTS
    | {"workers", "storage", "loop", "results", "trackers", "cluster", "checks", "dashboard", "data"},
    "optimizers": GROUND | {"optimizer", "search"},
    "optimizees": GROUND | {"optimizee", "snn", "body", "data", "results"},
}
SHARED = {"agent"}  # the one experiment that others build on; it is abstract


@cache
def modules() -> dict[str, Path]:
    """Return all our modules by their dotted name, a package by that of its folder."""
    found = {}
    for folder in ("l2l_snn", "optimizers", "optimizees"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    assert len(found) > 100
    return found


@cache
def imported(name: str) -> frozenset[str]:
    """Return what a module of ours imports anywhere, in functions and for type checkers too: modules, as "a.b"."""
    found = set()
    for node in ast.walk(ast.parse(modules()[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {one if one in modules() else node.module for one in inner}
    return frozenset(found)


def room(name: str) -> str:
    """Return the room of a module: "storage" of "l2l_snn.storage.rows", "optimizers" of "optimizers.ga"."""
    parts = name.split(".")
    return parts[1] if parts[0] == "l2l_snn" and len(parts) > 1 else parts[0]


def ours(name: str) -> set[str]:
    return {other for other in imported(name) if other in modules()}


@pytest.mark.parametrize("name", sorted(set(map(room, modules())) - {"l2l_snn"}))
def test_a_room_imports_only_from_its_neighbours(name):
    for module in (one for one in modules() if room(one) == name):
        assert {room(other) for other in ours(module)} - {name} <= NEIGHBOURS[name], module


def test_no_room_is_missing_in_the_table_and_none_too_many():
    assert set(NEIGHBOURS) == set(map(room, modules())) - {"l2l_snn"}


def test_there_is_no_circle_of_imports():
    try:
        TopologicalSorter({name: ours(name) for name in modules()}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' -> '.join(error.args[1])}")


def test_no_room_is_above_one_that_is_above_it():
    TopologicalSorter(NEIGHBOURS).prepare()  # raises CycleError


def test_no_module_imports_a_private_name_of_another():
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
                "l2l_snn",
                "optimizers",
                "optimizees",
            ):
                assert not [alias.name for alias in node.names if alias.name.startswith("_")], name


def test_optimizers_and_experiments_know_nothing_of_each_other():
    for name in modules():
        if name.startswith("optimizers."):
            assert not {other for other in ours(name) if other.startswith(("optimizers", "optimizees"))}, name
        if name.startswith("optimizees."):
            experiment = name.split(".")[1]
            others = {other.split(".")[1] for other in ours(name) if other.startswith("optimizees.")}
            assert others <= {experiment} | SHARED, name
            assert {other for other in ours(name) if room(other) == "results"} <= {
                "l2l_snn.results.figures",
                "l2l_snn.results.raster",
            }, name


@pytest.mark.parametrize(
    ("library", "only"),
    [("ray", {"workers.ray_pool", "workers.cluster_view", "cluster.connection"}), ("nest", {"snn.nest.kernel"})],
    ids=["ray", "nest"],
)
def test_only_the_files_of_ray_and_of_nest_import_them(library, only):
    for name, path in modules().items():
        uses = library in {other.split(".")[0] for other in imported(name)}
        uses |= f'import_module("{library}' in path.read_text()
        assert uses == (name.removeprefix("l2l_snn.") in only), name


def test_help_imports_nothing_heavy():
    code = (
        "import sys, l2l_snn.cli as cli\n"
        "try: cli.app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'pandas', 'ray', 'nest', 'jax', 'matplotlib', 'sqlalchemy', 'yaml', 'pydantic'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout, done.stdout[-200:]


def test_no_file_is_longer_than_500_lines():
    for name, path in modules().items():
        assert len(path.read_text().splitlines()) <= 500, name
