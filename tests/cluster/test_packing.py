"""What a job takes along to another machine."""

import sys
from pathlib import Path

import pytest

from l2l_snn.cluster import packing
from l2l_snn.loop import job as jobs

MODEL = """\
from dataclasses import dataclass
from l2l_snn import Optimizee, Real, Space

@dataclass(frozen=True)
class Slope(Optimizee):
    space = Space(x=Real(-1, 1))

    def evaluate(self, params, seed):
        from my_noise import noise  # lies in the current directory, and is imported late
        return params["x"] + noise(seed)
"""
JOB = 'optimizee: {class: "my_model:Slope"}\noptimizer: {class: "optimizers.ga:GeneticAlgorithm", population: 4}\n'
NOISE = "def noise(seed):\n    return 0.0\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of a user, which is the current one: a job file in a folder with its model, a module beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/mine.yaml").write_text(JOB)
    (tmp_path / "jobs/my_model.py").write_text(MODEL)
    (tmp_path / "my_noise.py").write_text(NOISE)
    yield tmp_path
    sys.modules.pop("my_model", None)


@pytest.fixture
def packed(place):
    """Return the places of what a job needs, given further files to include."""

    def names(*include: str) -> set[str]:
        job, _, _ = jobs.load(Path("jobs/mine.yaml"))
        return set(packing.needed(Path("jobs/mine.yaml"), job, [Path(path) for path in include]))

    return names


def test_modules_are_packed_by_their_names_and_nothing_else_is(packed, place):
    own = {"mine.yaml", "my_model.py", "my_noise.py"}
    (place / "jobs/other.yaml").write_text(JOB)
    (place / "unused.py").write_text("")
    (place / "results.db").write_bytes(b"SQLite format 3\0")
    (place / ".venv/lib/python3/site-packages").mkdir(parents=True)
    assert packed() == own
    assert packed("jobs/other.yaml") == own | {"other.yaml"}


def test_a_package_comes_whole_but_for_databases_caches_and_what_is_hidden(packed, place):
    (place / "my_noise.py").write_text("from my_parts.deep import noise\nimport numpy, os, ray\n")
    for path in (
        "deep.py",
        "weights.npy",
        "runs.db",
        ".git/config",
        "__pycache__/deep.pyc",
        "venv/x.py",
        "sub/late.py",
    ):
        (place / "my_parts" / path).parent.mkdir(parents=True, exist_ok=True)
        (place / "my_parts" / path).write_text("import my_last\n" if path == "sub/late.py" else "")
    (place / "my_last.py").write_text("import my_model, my_last, no_such_module\n")  # in a circle, too
    inside = {"my_parts/deep.py", "my_parts/weights.npy", "my_parts/sub/late.py"}
    assert packed() == {"mine.yaml", "my_model.py", "my_noise.py", "my_last.py"} | inside


def test_a_module_that_is_installed_in_a_venv_here_is_not_packed(packed, place, monkeypatch):
    folder = place / ".venv/lib/python3/site-packages"
    folder.mkdir(parents=True)
    (folder / "my_installed.py").write_text("")
    (place / "my_noise.py").write_text(NOISE + "import my_installed\n")
    monkeypatch.syspath_prepend(folder)
    assert "my_installed.py" not in packed()


def test_packages_that_are_too_large_are_refused_with_the_largest_file(packed, place):
    with open(place / "spikes.npy", "wb") as file:
        file.truncate(60_000_000)
    with pytest.raises(
        ValueError, match=r"at most 50 MB, got 60 MB in 4 files, the largest spikes.npy with 60 MB; put"
    ):
        packed("spikes.npy")
    with pytest.raises(ValueError, match=r"--include: expected a file or folder, got nowhere.npy"):
        packed("nowhere.npy")


def test_two_files_for_one_place_are_refused(packed, place):
    (place / "old").mkdir()
    (place / "old/my_model.py").write_text("")
    with pytest.raises(ValueError, match=r"package: expected one file 'my_model.py', got .*; rename one of them"):
        packed("old/my_model.py")
