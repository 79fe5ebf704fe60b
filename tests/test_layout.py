"""Imports go one way, and what is heavy is imported only where it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GROUND = {"space", "seeding", "validate", "snn"}  # know nobody above them
GROUND |= {"variation", "families", "shaping", "step_rules", "bounds"}  # what several optimizers share
CONTRACTS = {"optimizee", "optimizer"}
SHARED = ("optimizees.tasks", "optimizees.agent")  # what concrete classes may import; the second is abstract


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere, with the names taken from packages of ours."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """Return the parts of l2l_snn that a file imports: "store", "snn", ..."""
    parts = {name.split(".")[1] for name in imported(path) if name.startswith("l2l_snn.")}
    return {part for part in parts if (ROOT / "l2l_snn" / f"{part}.py").exists() or (ROOT / "l2l_snn" / part).is_dir()}


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found
    return found


def test_the_ground_knows_nobody_above_it():
    for path in [ROOT / f"l2l_snn/{name}.py" for name in sorted(GROUND - {"snn"})] + files("l2l_snn/snn"):
        assert ours(path) <= GROUND, path
        assert not any(name.startswith(("optimizees", "optimizers")) for name in imported(path)), path


def test_contracts_know_only_the_ground():
    for name in CONTRACTS:
        assert ours(ROOT / f"l2l_snn/{name}.py") <= GROUND | CONTRACTS


def test_the_package_does_not_know_the_concrete_classes():
    for path in files("l2l_snn"):
        assert not any(name.split(".")[0] in ("optimizees", "optimizers") for name in imported(path)), path


@pytest.mark.parametrize("folder", ["optimizees", "optimizers"])
def test_concrete_classes_know_contracts_and_ground_but_never_each_other(folder):
    other = {"optimizees": "optimizers", "optimizers": "optimizees"}[folder]
    for path in files(folder):
        assert ours(path) <= GROUND | CONTRACTS | {"figures"}, path
        names = {name for name in imported(path) if name.split(".")[0] in (folder, other)}
        assert all(name.startswith(SHARED) for name in names), path


@pytest.mark.parametrize(("library", "only"), [("ray", {"pool.py", "cluster.py"}), ("nest", {"snn/nest/kernel.py"})])
def test_only_the_files_of_ray_and_of_nest_import_them(library, only):
    for path in files("l2l_snn") + files("optimizees") + files("optimizers"):
        uses = library in {name.split(".")[0] for name in imported(path)}
        uses |= f'import_module("{library}' in path.read_text()
        assert uses == (path in {ROOT / "l2l_snn" / name for name in only}), path


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
    for path in files("l2l_snn") + files("optimizees") + files("optimizers"):
        assert len(path.read_text().splitlines()) <= 500, path
