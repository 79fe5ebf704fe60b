"""l2l data: the data sets of supervised learning."""

from pathlib import Path
from typing import Annotated, Any

import typer

from l2l_snn.cli.common import complaints, print_table


def data(
    name: Annotated[str | None, typer.Argument(metavar="[SET]", help="Which to get; none: list all.")] = None,
    train: Annotated[int | None, typer.Option(min=1, help="For training; none: 60000, of speech 300 a voice.")] = None,
    test: Annotated[int | None, typer.Option(min=1, help="For testing; none: 10000, of speech 300 a voice.")] = None,
    take: Annotated[Path | None, typer.Option(help="Folder that has the set already; it is linked.")] = None,
) -> None:
    """List the data sets and whether they are there, or get one."""
    with complaints():
        from l2l_snn.data import sets

        if name is None:
            header = ("set", "there", "how to get it", "licence", "what it is")
            rows = [(key, _presence(key), _describe_way(one), one.licence, one.title) for key, one in sets.SETS.items()]
            print_table(header, rows)
            typer.echo(f"folder: {sets.root()} (L2L_DATA)")
        elif take is not None:
            typer.echo(f"{sets.take(name, take)} -> {take}")
        elif sets.find_set(name).made:
            _make_shown(name, train, test)
        elif sets.missing_files(name):
            one = sets.find_set(name)
            typer.echo(f"{one.title}; licence {one.licence}; {_format_size(one.download)} from {one.source}")
            for path in _fetch_shown(name):
                typer.echo(f"wrote {path}")
        else:
            for file, path in sets.find_files(name).items():
                sets.check_file(name, file, path)
            typer.echo(f"{name} is in {sets.root() / name}, complete")


def _format_size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} KB"


def _presence(name: str) -> str:
    from l2l_snn.data import sets

    return "no" if sets.missing_files(name) else "yes"


def _describe_way(one: Any) -> str:
    if one.source:
        return f"fetch {_format_size(one.download)}"
    return f"made of {one.made}" if one.made else "--take FOLDER"


def _make_shown(name: str, train: int | None, test: int | None) -> None:
    """Make the samples of a set that aren't there, with a bar."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from l2l_snn.data import flite, saccades, sets

    make, many = {
        "digit_events": (saccades.make_digit_events, (60_000, 10_000)),
        "flite_speech": (flite.make_flite_speech, (300, 300)),
    }[name]
    with Progress(BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True) as bars:
        bar = bars.add_task(name)
        folder = sets.root() / name
        make(
            folder, train or many[0], test or many[1], lambda done, total: bars.update(bar, completed=done, total=total)
        )
    typer.echo(f"{name} is in {folder}")


def _fetch_shown(name: str) -> list[Path]:
    """Fetch a set with a bar for each file."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from l2l_snn.data import sets

    with Progress(BarColumn(), DownloadColumn(), TransferSpeedColumn(), transient=True) as bars:
        bar = bars.add_task(name)
        return sets.get(name, lambda done, total: bars.update(bar, completed=done, total=total))
