"""The command line: l2l run | resume | runs | show | table | plot | compare | replay | check.

What the user can mend ends in one line on stderr and exit status 2; a run that failed in 1; Ctrl-C in 130.
Everything heavy is imported in the command that needs it, so that `l2l --help` answers at once.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from l2l_snn.evaluate import Evaluator
    from l2l_snn.job import Job
    from l2l_snn.optimizee import Optimizee
    from l2l_snn.optimizer import Optimizer
    from l2l_snn.store import Store, StoredRun

app = typer.Typer(
    help="Evolve and meta-learn spiking neural networks over Ray workers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StoreOption = Annotated[
    str, typer.Option(help="Results store: sqlite:///file.db or postgresql+psycopg://...", envvar="L2L_STORE")
]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one entry of the job.")]
WorkersOption = Annotated[int | None, typer.Option(min=1, help="Worker processes; all CPUs by default.")]
InlineOption = Annotated[bool, typer.Option("--inline", help="Evaluate in this process, without Ray.")]
TakeOverOption = Annotated[
    bool, typer.Option("--take-over", help="Take the run from a driver on another machine that is certainly dead.")
]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Name of a stored run.")]
DEFAULT_STORE = "sqlite:///l2l.db"
RESULTS = Path("runs")


@app.command()
def run(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file, e.g. jobs/smoke.yaml.")],
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[str | None, typer.Option(help="Name of the run; the job file's and a number by default.")] = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    inline: InlineOption = False,
) -> None:
    """Start a new run of a job file."""
    with _complaints():
        from l2l_snn import job as jobs

        loaded = jobs.load(job, settings or [])
        optimizee, optimizer = loaded.build()
        with _open(store, create=True) as opened:
            chosen = name if name is not None else opened.next_name(job.stem)
            opened.create(chosen, job.stem, jobs.manifest(loaded, job), optimizee.space)
            _drive(opened, chosen, loaded, optimizee, optimizer, workers, inline)


@app.command()
def resume(
    name: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    new_name: Annotated[
        str | None, typer.Option("--name", help="Go on with a copy of the run under this name.")
    ] = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    inline: InlineOption = False,
    take_over: TakeOverOption = False,
) -> None:
    """Go on with a run after its last committed generation; --set may move its stopping rules."""
    with _complaints():
        from l2l_snn import job as jobs

        with _open(store) as opened:
            for key in (setting.partition("=")[0] for setting in settings or []):
                if key.partition(".")[0] not in jobs.STOPPING:
                    kept = ", ".join(jobs.STOPPING)
                    raise jobs.JobError(
                        f"--set: {key}: can't change in a stored run, only {kept} can; start a new run for it"
                    )
            loaded, _ = _stored_job(opened, name, settings or [])
            optimizee, optimizer = loaded.build()
            if new_name is not None:
                opened.copy(name, new_name)
            _drive(opened, new_name or name, loaded, optimizee, optimizer, workers, inline, take_over)


@app.command()
def runs(store: StoreOption = DEFAULT_STORE) -> None:
    """List the stored runs."""
    with _complaints(), _open(store) as opened:
        rows = [
            (
                r.name,
                r.job,
                r.state,
                str(r.generation),
                str(r.evaluations),
                str(r.failed),
                _number(r.best),
                _duration(r.seconds),
            )
            for r in opened.runs()
        ]
        _print_table(("run", "job", "state", "generation", "evaluations", "failed", "best", "time"), rows)


@app.command()
def show(name: RunArgument, store: StoreOption = DEFAULT_STORE) -> None:
    """Show one run: what it is, how far it got, its best individual."""
    with _complaints(), _open(store) as opened:
        import yaml

        stored = opened.load(name)
        _summary(opened, stored)
        typer.echo("\njob:\n" + _indented(yaml.safe_dump(stored.manifest["job"], sort_keys=False)))
        typer.echo("versions:\n" + _indented(yaml.safe_dump(stored.manifest["versions"])))
        if stored.best is not None:
            row = opened.individual(name)
            params = {key: _short(value) for key, value in stored.space.decode(row.z).items()}
            typer.echo("best individual's parameters:\n" + _indented("\n".join(f"{k}: {v}" for k, v in params.items())))


@app.command()
def table(
    name: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    out: Annotated[Path | None, typer.Option(help="Write x.csv or x.parquet instead of printing.")] = None,
) -> None:
    """Print or write the table of a run's individuals."""
    with _complaints(), _open(store) as opened:
        from l2l_snn import tables

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
            typer.echo(f"{len(frame)} rows, {len(frame.columns)} columns: {out}")


@app.command()
def plot(name: RunArgument, store: StoreOption = DEFAULT_STORE) -> None:
    """Draw a run's pictures into runs/RUN/."""
    with _complaints(), _open(store) as opened:
        _draw(opened, name)


@app.command()
def compare(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Names of stored runs; all of them by default.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    target: Annotated[float | None, typer.Option(help="Fitness to reach: also count the evaluations to it.")] = None,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = RESULTS / "comparison.png",
) -> None:
    """Compare runs: best fitness against evaluations, medians and quartiles over runs that differ in their seed."""
    with _complaints(), _open(store) as opened:
        from l2l_snn.compare import compare as compare_runs
        from l2l_snn.compare import draw_comparison

        if out.suffix != ".png":
            raise ValueError(f"--out: expected a file ending in .png, got {out}")
        groups, curves = compare_runs(opened, names or [], target=target)
        columns = ["best_q1", "best", "best_q3", "evaluations", "failed", "seconds"]
        if target is not None:
            columns += ["reached", "to_target_q1", "to_target", "to_target_q3"]
        rows = [
            (str(row["group"]), str(row["runs"]), *(_number(float(row[column])) for column in columns))
            for row in groups.to_dict("records")
        ]
        _print_table(("job", "runs", *(column.replace("_", " ") for column in columns)), rows)
        _list_files([draw_comparison(curves, out, target=target)])


@app.command()
def replay(
    name: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    generation: Annotated[
        int | None, typer.Option("-g", "--generation", min=0, help="Generation; of the best by default.")
    ] = None,
    individual: Annotated[
        int | None, typer.Option("-i", "--individual", min=0, help="Individual of that generation.")
    ] = None,
    settings: SetOption = None,
    video: Annotated[bool, typer.Option("--video", help="Also write an animation.")] = False,
) -> None:
    """Repeat one stored evaluation exactly, print its fitness beside the stored one, and draw it."""
    with _complaints(), _open(store) as opened:
        import numpy as np

        from l2l_snn.run import repeat

        if individual is not None and generation is None:
            raise ValueError("-i: expected together with -g, got -i alone; e.g. -g 12 -i 3")
        loaded, stored = _stored_job(opened, name, settings or [])
        optimizee, _ = loaded.build()
        row, evaluation = repeat(opened, name, loaded, optimizee, generation, individual)
        stored_fitness, fitness = (np.asarray(value).tolist() for value in (row.fitness, evaluation.fitness[0]))
        same = np.array_equal(fitness, stored_fitness, equal_nan=True)
        verdict = "the same" if same else "NOT the same"
        typer.echo(f"{name}, generation {row.generation}, individual {row.index}, seed {row.seed}")
        typer.echo(f"fitness stored   {stored_fitness}\nfitness repeated {fitness}: {verdict}")
        for key, value in evaluation.metrics.items():
            typer.echo(f"{key}: {value[0]:.6g}")
        if evaluation.errors[0] or row.error:
            typer.echo(f"error stored   {row.error or 'none'}\nerror repeated {evaluation.errors[0] or 'none'}")
        if not evaluation.failed[0]:
            folder = _folder(name) / f"g{row.generation}_i{row.index}"
            folder.mkdir(parents=True, exist_ok=True)
            _list_files(optimizee.draw(stored.space.decode(row.z), evaluation, folder, video=video))
        if not same and not settings:
            raise typer.Exit(1)


@app.command()
def check(
    address: Annotated[str, typer.Argument(metavar="MODULE:CLASS", help="Your optimizee or optimizer.")],
    settings: SetOption = None,
) -> None:
    """Run the conformance suite on a class of your own; --set gives its fields."""
    with _complaints():
        import yaml

        from l2l_snn import checks
        from l2l_snn import job as jobs
        from l2l_snn.optimizee import Optimizee
        from l2l_snn.optimizer import Optimizer

        jobs.find_modules(Path.cwd())
        fields = {key: yaml.safe_load(text) for key, _, text in (setting.partition("=") for setting in settings or [])}
        is_optimizer = issubclass(jobs.load_class(address), Optimizer)
        instance = jobs.build(address, fields, Optimizer if is_optimizer else Optimizee, "class")
        results = checks.check_optimizer(instance) if is_optimizer else checks.check_optimizee(instance)
        for result in results:
            typer.echo(
                f"{'ok  ' if result.ok else 'FAIL'} {result.claim}" + (f"\n     {result.text}" if not result.ok else "")
            )
        if not all(result.ok for result in results):
            raise typer.Exit(1)


def main() -> None:
    """Entry point."""
    app()


@contextmanager
def _complaints() -> Iterator[None]:
    """Turn what a user can mend into one line each on stderr and exit status 2."""
    from l2l_snn.evaluate import EvaluatorError
    from l2l_snn.job import JobError
    from l2l_snn.store import StoreError

    try:
        yield
    except (JobError, StoreError, EvaluatorError, ValueError, TypeError, OSError, ImportError) as error:
        if os.environ.get("L2L_TRACEBACK"):
            raise
        typer.echo(f"l2l: {error}", err=True)
        raise typer.Exit(2) from error


def _open(url: str, create: bool = False) -> "Store":
    from l2l_snn.store import Store

    return Store(url, create=create)


def _folder(name: str) -> Path:
    return RESULTS / name


def _stored_job(store: "Store", name: str, settings: list[str]) -> tuple["Job", "StoredRun"]:
    """Return a stored run's job, with settings changed, and the run; its modules can be imported after this."""
    from l2l_snn import job as jobs

    stored = store.load(name)
    jobs.find_modules(Path(stored.manifest["file"]).parent)
    return jobs.change(jobs.Job.model_validate(stored.manifest["job"]), settings), stored


def _drive(
    store: "Store",
    name: str,
    job: "Job",
    optimizee: "Optimizee",
    optimizer: "Optimizer",
    workers: int | None,
    inline: bool,
    take_over: bool = False,
) -> None:
    """Run a stored run with progress, then say how it ended, draw it, and say how to go on."""
    import signal

    from l2l_snn.evaluate import Inline, RayPool
    from l2l_snn.progress import shown
    from l2l_snn.run import run as run_loop

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill stops as cleanly as Ctrl-C
    again = f"l2l resume {name}" + (f" --store {store.url_shown}" if store.url_shown != DEFAULT_STORE else "")
    typer.echo(f"run {name} in {store.url_shown}")
    evaluator: Evaluator
    try:
        if inline:
            evaluator = Inline(optimizee, job.chunk, job.max_tries)
        else:
            evaluator = RayPool(optimizee, job.chunk, job.max_tries, workers)
        with evaluator, shown(name, sys.stdout.isatty()) as tell:
            stored = run_loop(store, name, job, optimizer, evaluator, tell=tell, take_over=take_over)
    except KeyboardInterrupt:  # outside the loop: while workers end
        stored = store.load(name)
    _summary(store, stored)
    if stored.state == "finished":
        _draw(store, name)
        return
    if stored.state == "stopped":
        typer.echo(f"to go on: {again}")
        raise typer.Exit(130)
    typer.echo(f"l2l: run {name} failed: {stored.message}\nl2l: to go on after mending it: {again}", err=True)
    raise typer.Exit(1)


def _draw(store: "Store", name: str) -> None:
    """Write the run's pictures and those of its best individual."""
    from l2l_snn import figures, tables
    from l2l_snn.run import repeat

    folder = _folder(name)
    folder.mkdir(parents=True, exist_ok=True)
    job, stored = _stored_job(store, name, [])
    if not stored.generation:
        raise ValueError(f"run {name!r}: expected a committed generation, got none; go on with: l2l resume {name}")
    optimizee, _ = job.build()
    individuals, generations = tables.individuals(store, name), tables.generations(store, name)
    path, title = folder / "fitness.png", f"Fitness over the run {name}"
    goal, label = job.stop.fitness, optimizee.fitness_label
    files = [figures.fitness(individuals, generations, path, title, goal=goal, label=label)]
    if stored.best is not None:
        row, evaluation = repeat(store, name, job, optimizee)
        if not evaluation.failed[0]:
            files += optimizee.draw(stored.space.decode(row.z), evaluation, folder)
    _list_files(files)


def _summary(store: "Store", stored: "StoredRun") -> None:
    rows = [
        ("run", stored.name),
        ("job", stored.job),
        ("state", stored.state + (f": {stored.message}" if stored.message else "")),
        ("generations", str(stored.generation)),
        ("evaluations", f"{stored.evaluations}, {stored.failed} failed"),
        ("best fitness", _number(stored.best)),
        ("time", _duration(stored.seconds)),
        ("store", store.url_shown),
    ]
    if stored.best is not None:
        row = store.individual(stored.name)
        rows.insert(6, ("best individual", f"generation {row.generation}, individual {row.index}"))
    _print_table(("", ""), rows)


def _print_table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in ([header] if any(header) else []) + rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _list_files(files: list[Path]) -> None:
    for file in files:
        typer.echo(f"wrote {file}")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.6g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(seconds, 60)
    return f"{int(minutes)} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"


def _short(value: Any) -> str:
    import numpy as np

    return np.array2string(np.asarray(value), precision=4, threshold=8, edgeitems=3).replace("\n", "")


if __name__ == "__main__":
    main()
