"""What a job needs on another machine: its file, and the modules of the user that its classes come from.

    found = needed(Path("jobs/mine.yaml"), job)         # {"mine.yaml": Path(...), "my_model.py": Path(...)}
    copy(found, Path("/tmp/package"))

A module is the user's own when it lies beside the job file or in the current directory and isn't installed there.
Imports are followed through the text of the files, so those inside functions count and nothing runs; a module that
only its name in a string leads to is not found, nor is data beside a module: name them with `include`.
"""

import ast
import importlib.util
import os
import shutil
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from l2l_snn.loop.job import Job
from l2l_snn.validate import message

LIMIT = 50_000_000  # bytes of all files together: more is data, which belongs on a disk that the nodes share
_INSTALLED = {"site-packages", "dist-packages"}
_NOT_PACKED = {"__pycache__", "venv", "node_modules"}  # and what begins with "."
_DATABASES = (".db", ".db-wal", ".db-shm", ".sqlite", ".sqlite3")


def needed(job_file: Path, job: Job, include: Sequence[Path] = ()) -> dict[str, Path]:
    """Return the files that a job needs: path in the package -> file here.

    The job file and what is included lie at the top of the package, a module where its name says, and of a package
    of modules comes the whole folder.

    Args:
        job_file: the YAML file that `job` was loaded from, so that its modules can be found.
        job: the job.
        include: further files and folders.

    Raises:
        ValueError: two of them would have the same place, a file isn't there, or they are too large together.
    """
    roots = [job_file.resolve().parent, Path.cwd().resolve()]
    found = {job_file.name: job_file.resolve()}
    for path in include:
        if not path.exists():
            raise ValueError(message("--include", "a file or folder", f"{path}, which isn't there"))
        _add_files(found, _list_files(path.resolve()))
    names = [str(part["class"]).partition(":")[0] for part in (job.optimizee, job.optimizer)]
    waiting, seen = [name.partition(".")[0] for name in names], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        modules = dict(_list_own_files(name, roots))
        _add_files(found, modules.items())
        for file in modules.values():
            if file.suffix == ".py":
                waiting += _read_imports(file)
    _check_size(found)
    return found


def copy(found: dict[str, Path], folder: Path) -> None:
    """Copy files to their places in an existing folder."""
    for place, file in found.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def described(found: dict[str, Path]) -> str:
    """Return in one line what is packed, folders as one entry.

    >>> described({})
    '0 files, 0.0 kB'
    """
    tops: dict[str, int] = {}
    for place in found:
        top, _, inner = place.partition("/")
        tops[f"{top}/" if inner else top] = tops.get(f"{top}/" if inner else top, 0) + 1
    total = sum(file.stat().st_size for file in found.values())
    entries = ", ".join(f"{top} ({count} files)" if top.endswith("/") else top for top, count in sorted(tops.items()))
    files = f"{len(found)} file{'' if len(found) == 1 else 's'}"
    return f"{files}, {total / 1000:.1f} kB{': ' if entries else ''}{entries}"


def _list_own_files(name: str, roots: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    """Yield the files of a top-level module if it is the user's own."""
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # ValueError: a module that says nothing of where it comes from
        return
    if spec is None:
        return
    folders = [Path(folder).resolve() for folder in spec.submodule_search_locations or ()]
    for path in folders or [Path(spec.origin or "").resolve()]:
        if any(path.is_relative_to(root) for root in roots) and not _INSTALLED & set(path.parts):
            yield from _list_files(path)


def _list_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield a file, or what is worth packing of a folder, with its place in the package."""
    if path.is_file():
        yield path.name, path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(f for f in folders if f not in _NOT_PACKED and not f.startswith("."))
        for file in sorted(files):
            if not file.startswith(".") and not file.endswith((*_DATABASES, ".pyc")):
                full = Path(folder) / file
                yield full.relative_to(path.parent).as_posix(), full


def _add_files(found: dict[str, Path], files: Iterable[tuple[str, Path]]) -> None:
    for place, file in files:
        if found.setdefault(place, file) != file:
            raise ValueError(
                message("package", f"one file {place!r}", f"{found[place]} and {file}", "rename one of them")
            )


def _read_imports(file: Path) -> list[str]:
    """Return the top-level modules that a file imports anywhere; none if it isn't Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a user's text, such as an escape that isn't one
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # it may lie in a package and never be imported
        return []
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return [name.partition(".")[0] for name in names]


def _check_size(found: dict[str, Path]) -> None:
    sizes = {place: file.stat().st_size for place, file in found.items()}
    total = sum(sizes.values())
    if total > LIMIT:
        largest = max(sizes, key=lambda place: sizes[place])
        got = f"{total / 1e6:.0f} MB in {len(sizes)} files, the largest {largest} with {sizes[largest] / 1e6:.0f} MB"
        todo = "put data where all nodes read it, and its path into the job"
        raise ValueError(message("package", f"at most {LIMIT / 1e6:.0f} MB", got, todo))
