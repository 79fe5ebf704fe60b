"""l2l prune | export | import: what changes a store without evaluating anything."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from l2l_snn.cli.common import StoreOption, complaints, open_store
from l2l_snn.storage import DEFAULT_STORE


class Format(StrEnum):
    csv = "csv"
    parquet = "parquet"


class Thinned(StrEnum):
    elite = "elite"
    none = "none"


def prune(
    names: Annotated[list[str] | None, typer.Argument(metavar="[RUN]...", help="Names of stored runs.")] = None,
    genomes: Annotated[
        Thinned | None,
        typer.Option(
            help="Forget genomes of the runs, by default of all finished ones, instead of deleting the runs: "
            "all but those as good as every one before (elite), or all of them (none)."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Delete runs or thin their genomes, remove left-over genome files, and give the room back."""
    with complaints(), open_store(store) as opened:
        from l2l_snn.storage import prune as pruning
        from l2l_snn.validate import counted

        chosen = list(dict.fromkeys(names or []))
        if genomes is not None and not chosen:
            chosen = [run.name for run in opened.runs() if run.state == "finished"]
        for name in chosen:
            opened.load(name)
        if chosen and not yes:
            what = "delete" if genomes is None else "forget genomes of"
            typer.confirm(f"{what} {', '.join(chosen)}?", abort=True)
        if genomes is not None:
            forgotten = pruning.thin(opened, chosen, genomes.value)
            typer.echo(f"forgot {counted(forgotten, 'genome')} of {counted(len(chosen), 'run')}")
        elif chosen:
            pruning.delete(opened, chosen)
            typer.echo(f"deleted {', '.join(chosen)}")
        freed = pruning.sweep(opened)
        typer.echo(f"removed {counted(freed.files, 'genome file')}; freed {counted(freed.bytes, 'byte')}")
        if not freed.vacuumed:
            typer.echo("the room of deleted rows is given back by: l2l prune, when no run is driven")


def export(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names of stored runs.")],
    out: Annotated[Path, typer.Option(help="Folder to make.")],
    form: Annotated[Format, typer.Option("--format", help="Of the tables.")] = Format.csv,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write runs to a folder: their tables, and all that `l2l import` needs to go on with them elsewhere."""
    with complaints(), open_store(store) as opened:
        from l2l_snn.results import transfer
        from l2l_snn.validate import counted

        for run in transfer.export(opened, names, out, form.value):
            done = f"{counted(run.generation, 'generation')}, {counted(run.evaluations, 'evaluation')}"
            typer.echo(f"wrote {out / run.name}: {done}")


def import_runs(
    source: Annotated[
        str,
        typer.Argument(metavar="FOLDER|FILE|URL", help="What l2l export wrote, an Optuna database, or DEAP's JSON."),
    ],
    name: Annotated[str | None, typer.Option(help="Another name for the run.")] = None,
    study: Annotated[str | None, typer.Option(help="Which study of an Optuna database.")] = None,
    store: StoreOption = DEFAULT_STORE,
    trust: Annotated[
        bool, typer.Option("--trust", help="Take the runs as your own: their code is imported without a question.")
    ] = False,
) -> None:
    """Read the runs of an exported folder into a store, or for comparison an Optuna study or what DEAP has logged."""
    with complaints(), open_store(store, create=True) as opened:
        folder = Path(source)
        if not folder.is_dir():
            from l2l_snn.results.foreign import import_file

            typer.echo(f"run {import_file(opened, source, name, study)} in {opened.url_shown}")
            return
        from l2l_snn.results import transfer

        for imported in transfer.import_runs(opened, folder, name, trust=trust):
            typer.echo(f"run {imported} in {opened.url_shown}")
