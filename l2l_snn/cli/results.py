"""l2l runs | show | table | plot | compare: what looks at the results."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from l2l_snn.cli.common import (
    OutOption,
    RunArgument,
    StoreOption,
    TrustOption,
    ask_trust,
    complaints,
    drawing_into,
    duration,
    indented,
    list_files,
    number,
    open_store,
    print_summary,
    print_table,
    results_folder,
    short,
)
from l2l_snn.cli.pictures import draw_run
from l2l_snn.results.kinds import QUESTIONS
from l2l_snn.storage import DEFAULT_STORE


def runs(
    store: StoreOption = DEFAULT_STORE,
    tag: Annotated[
        list[str] | None, typer.Option(help="Only runs with this tag, and with all others so given.")
    ] = None,
) -> None:
    """List the stored runs."""
    with complaints(), open_store(store) as opened:
        rows = [
            (
                r.name,
                r.job,
                r.state,
                str(r.generation),
                str(r.evaluations),
                str(r.failed),
                number(r.best),
                duration(r.seconds),
                " ".join(r.tags),
            )
            for r in opened.runs()
            if set(tag or ()) <= set(r.tags)
        ]
        print_table(("run", "job", "state", "generations", "evaluations", "failed", "best", "time", "tags"), rows)


def show(name: RunArgument, store: StoreOption = DEFAULT_STORE) -> None:
    """Show one run: what it is, how far it got, its best individual."""
    with complaints(), open_store(store) as opened:
        import yaml

        stored = opened.load(name)
        print_summary(opened, stored)
        typer.echo("\njob:\n" + indented(yaml.safe_dump(stored.manifest["job"], sort_keys=False)))
        typer.echo("versions:\n" + indented(yaml.safe_dump(stored.manifest["versions"])))
        if stored.best is not None:
            from l2l_snn.storage.genomes import GenomeMissing

            try:
                z = opened.individual(name).z
            except GenomeMissing as error:
                typer.echo(f"best individual's parameters: {error}")
                return
            params = {key: short(value) for key, value in stored.space.decode(z).items()}
            typer.echo("best individual's parameters:\n" + indented("\n".join(f"{k}: {v}" for k, v in params.items())))


def table(
    name: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[Path | None, typer.Option(help="Write x.csv or x.parquet instead of printing.")] = None,
) -> None:
    """Print or write the table of a run's individuals."""
    with complaints(), open_store(store) as opened:
        from l2l_snn.results import tables
        from l2l_snn.validate import counted

        if out is not None and out.suffix not in (".csv", ".parquet"):
            raise ValueError(f"--out: expected a file ending in .csv or .parquet, got {out}")
        frame = tables.individuals(opened, name, params=out is not None)
        if out is None:
            columns = [column for column in frame.columns if not column.startswith("param.")]
            typer.echo(frame[columns].to_string(index=False, max_rows=40))
        elif out.suffix == ".csv":
            frame.to_csv(out, index=False)
        else:
            frame.to_parquet(out, index=False)
        if out is not None:
            typer.echo(f"{counted(len(frame), 'row')}, {counted(len(frame.columns), 'column')}: {out}")


Kind = StrEnum("Kind", list(QUESTIONS))  # importance = "importance" and so on


def plot(
    name: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    kind: Annotated[
        Kind | None, typer.Option(help="One picture for understanding the run, instead of the usual ones.")
    ] = None,
    out: OutOption = None,
    trust: TrustOption = False,
) -> None:
    """Draw a run's pictures."""
    with complaints(), open_store(store) as opened:
        folder = out or results_folder(store) / name
        if kind is None:
            draw_run(opened, name, folder, ask_trust(opened, name, trust))
            return
        from l2l_snn.results import insight

        with drawing_into(folder):
            list_files([insight.draw(opened, name, kind.value, folder / f"{kind.value}.png")])


def track(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="Names of stored runs.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="KIND[:PLACE]", help="mlflow[:URI], tensorboard[:FOLDER], wandb[:PROJECT] or your module:Class."
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Tell a tracker all of stored runs: parameters, curves, the picture of the fitness."""
    with complaints(), open_store(store) as opened:
        from l2l_snn.loop.components import find_modules
        from l2l_snn.trackers.track import make_tracker
        from l2l_snn.trackers.track import track as track_run

        find_modules(Path.cwd())
        for name in names:
            stored = track_run(opened, name, make_tracker(to))
            typer.echo(f"told {to} of {name}: {stored.generation} generations")


def compare(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Names of stored runs; all of them by default.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    target: Annotated[float | None, typer.Option(help="Fitness to reach: also count the evaluations to it.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The picture to write; runs/comparison.png beside the store by default.")
    ] = None,
) -> None:
    """Compare runs: best fitness against evaluations, medians and quartiles over runs that differ in their seed."""
    with complaints(), open_store(store) as opened:
        from l2l_snn.results.compare import compare as compare_runs
        from l2l_snn.results.comparison import draw_comparison

        path = out or results_folder(store) / "comparison.png"
        if path.suffix != ".png":
            raise ValueError(f"--out: expected a file ending in .png, got {out}")
        groups, curves = compare_runs(opened, names or [], target=target)
        columns = ["best_q1", "best", "best_q3", "evaluations", "failed", "seconds"]
        if target is not None:
            columns += ["reached", "to_target_q1", "to_target", "to_target_q3"]
        rows = [
            (str(row["group"]), str(row["runs"]), *(number(float(row[column])) for column in columns))
            for row in groups.to_dict("records")
        ]
        print_table(("job", "runs", *(column.replace("_", " ") for column in columns)), rows)
        with drawing_into(path.parent):
            list_files([draw_comparison(curves, path, target=target)])
