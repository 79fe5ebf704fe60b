"""What the commands share: their options, how complaints and tables are printed, stores."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from l2l_snn.storage.store import Store, StoredRun

StoreOption = Annotated[
    str, typer.Option(help="Results store: sqlite:///file.db or postgresql+psycopg://...", envvar="L2L_STORE")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one entry of the job. Another class keeps of the file's entries those that it has fields for.",
    ),
]
TrustOption = Annotated[
    bool, typer.Option("--trust", help="Import the code that an imported run names; you are asked otherwise.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for the pictures; runs/RUN beside the store by default.")
]


def complete_run(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of stored runs that begin so, for the shell's completion."""
    from l2l_snn.storage import DEFAULT_STORE
    from l2l_snn.storage.database import StoreError
    from l2l_snn.storage.store import Store

    try:
        with Store(context.params.get("store") or os.environ.get("L2L_STORE") or DEFAULT_STORE, create=False) as store:
            return [run.name for run in store.runs() if run.name.startswith(incomplete)]
    except StoreError:
        return []


RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Name of a stored run.", autocompletion=complete_run)]


@contextmanager
def complaints() -> Iterator[None]:
    """Turn what a user can mend into one line each on stderr and exit status 2, or 75 where it may go well later."""
    from l2l_snn.loop.errors import USER_ERRORS, exit_status

    try:
        yield
    except USER_ERRORS as error:
        if wants_traceback():
            raise
        typer.echo(f"l2l: {error}", err=True)
        raise typer.Exit(exit_status(error)) from error


def wants_traceback() -> bool:
    """Return whether errors are shown in full."""
    return bool(os.environ.get("L2L_TRACEBACK"))


def ask_trust(store: "Store", name: str, trust: bool) -> bool:
    """Return whether code that an imported run names may be imported: as said, or as answered on a terminal."""
    from l2l_snn.loop.job import foreign_code

    found = "" if trust else foreign_code(store.load(name))
    if not found or not sys.stdin.isatty():
        return trust
    return typer.confirm(f"run {name} was imported; import and run its code, {found}?", abort=True)


def open_store(url: str, create: bool = False) -> "Store":
    from l2l_snn.storage.store import Store

    return Store(url, create=create)


def results_folder(url: str) -> Path:
    """Return where pictures and logs of a store's runs go: beside its file, or at home where it is on a server."""
    from l2l_snn.storage.database import file_of

    file = file_of(url)
    return (Path.home() / "l2l" if file is None else file.parent) / "runs"


@contextmanager
def drawing_into(folder: Path) -> Iterator[None]:
    """Say what to do where a folder for pictures can't be made or written to."""
    try:
        yield
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise OSError(f"{folder}: {error.strerror}; choose another place with --out") from error


def print_summary(store: "Store", stored: "StoredRun") -> None:
    import numpy as np

    rows = [
        ("run", stored.name),
        ("job", stored.job),
        ("state", stored.state + (f": {stored.message}" if stored.message else "")),
        ("generations", str(stored.generation)),
        ("evaluations", f"{stored.evaluations}, {stored.failed} failed"),
        ("best fitness", number(stored.best)),
        ("time", duration(stored.seconds)),
        ("store", store.url_shown),
    ]
    rows += [("tags", " ".join(stored.tags))] if stored.tags else []
    rows += [("" if k else "note", line) for k, line in enumerate(stored.note.splitlines())]
    if stored.best is not None:
        row = store.individual(stored.name)
        rows[5] = ("best fitness", ", ".join(number(float(value)) for value in np.atleast_1d(row.fitness)))
        rows.insert(6, ("best individual", f"generation {row.generation}, individual {row.index}"))
    print_table(("", ""), rows)


def print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in ([header] if any(header) else []) + rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def list_files(files: list[Path]) -> None:
    for file in files:
        typer.echo(f"wrote {file}")


def indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())


def number(value: float | None) -> str:
    from l2l_snn.evaluation import describe_number

    return describe_number(value)


def duration(seconds: float) -> str:
    minutes, seconds = divmod(seconds, 60)
    return f"{int(minutes)} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"


def short(value: Any) -> str:
    import numpy as np

    return np.array2string(np.asarray(value), precision=4, threshold=8, edgeitems=3).replace("\n", "")
