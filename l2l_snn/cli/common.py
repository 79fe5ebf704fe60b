"""What the commands share: their options, how complaints and tables are printed, stores and stored jobs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from l2l_snn.loop.stored_job import stored_job

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
    from l2l_snn.loop.job import JobError
    from l2l_snn.storage.store import StoreError
    from l2l_snn.workers.base import EvaluatorError

    try:
        yield
    except (JobError, StoreError, EvaluatorError, ValueError, TypeError, OSError, ImportError) as error:
        if os.environ.get("L2L_TRACEBACK"):
            raise
        typer.echo(f"l2l: {error}", err=True)
        raise typer.Exit(2) from error


def open_store(url: str, create: bool = False) -> "Store":
    from l2l_snn.storage.store import Store

    return Store(url, create=create)


def folder_of(name: str) -> Path:
    return RESULTS / name


def draw(store: "Store", name: str) -> None:
    """Write the run's pictures and those of its best individual."""
    from l2l_snn.loop.run import repeat
    from l2l_snn.results import figures, tables
    from l2l_snn.storage.genomes import GenomeMissing

    folder = folder_of(name)
    folder.mkdir(parents=True, exist_ok=True)
    job, stored = stored_job(store, name, [])
    if not stored.generation:
        raise ValueError(f"run {name!r}: expected a committed generation, got none; go on with: l2l resume {name}")
    optimizee, _ = job.build()
    individuals, generations = tables.individuals(store, name), tables.generations(store, name)
    path, title = folder / "fitness.png", f"Fitness over the run {name}"
    goal, label = job.stop.fitness, optimizee.fitness_label
    files = [figures.fitness(individuals, generations, path, title, goal=goal, label=label)]
    if stored.best is not None:
        try:
            row, evaluation = repeat(store, name, job, optimizee)
            if not evaluation.failed[0]:
                files += optimizee.draw(stored.space.decode(row.z), evaluation, folder)
        except GenomeMissing as error:
            typer.echo(f"no picture of the best individual: {error}")
    list_files(files)


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
