"""What the commands share: their options, how complaints and tables are printed, stores."""

import os
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
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one entry of the job.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Name of a stored run.")]
RESULTS = Path("runs")


@contextmanager
def complaints() -> Iterator[None]:
    """Turn what a user can mend into one line each on stderr and exit status 2."""
    from l2l_snn.loop.errors import USER_ERRORS

    try:
        yield
    except USER_ERRORS as error:
        if os.environ.get("L2L_TRACEBACK"):
            raise
        typer.echo(f"l2l: {error}", err=True)
        raise typer.Exit(2) from error


def open_store(url: str, create: bool = False) -> "Store":
    from l2l_snn.storage.store import Store

    return Store(url, create=create)


def folder_of(name: str) -> Path:
    return RESULTS / name


def print_summary(store: "Store", stored: "StoredRun") -> None:
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
    if stored.best is not None:
        row = store.individual(stored.name)
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
    return "-" if value is None or value != value else f"{value:.6g}"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(seconds, 60)
    return f"{int(minutes)} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"


def short(value: Any) -> str:
    import numpy as np

    return np.array2string(np.asarray(value), precision=4, threshold=8, edgeitems=3).replace("\n", "")
