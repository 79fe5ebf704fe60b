"""l2l run | resume | replay | recommend: what evaluates."""

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l2l_snn.cli.beside import Place, print_differences, read_place
from l2l_snn.cli.common import (
    OutOption,
    RunArgument,
    SetOption,
    StoreOption,
    TrustOption,
    ask_trust,
    complaints,
    drawing_into,
    list_files,
    open_store,
    print_summary,
    results_folder,
    wants_traceback,
)
from l2l_snn.cli.debugging import debug_job, debug_replay
from l2l_snn.cli.pictures import draw_run
from l2l_snn.storage import DEFAULT_STORE

if TYPE_CHECKING:
    from l2l_snn.loop.job import Job
    from l2l_snn.loop.progress import Progress
    from l2l_snn.loop.replay import Replay
    from l2l_snn.optimizee import BatchOptimizee
    from l2l_snn.optimizer import Optimizer
    from l2l_snn.storage.records import StoredRun
    from l2l_snn.storage.store import Store
    from l2l_snn.workers.evaluator import Evaluator

WorkersOption = Annotated[int | None, typer.Option(min=1, help="Worker processes; all CPUs by default.")]
InlineOption = Annotated[bool, typer.Option("--inline", help="Evaluate in this process, without Ray.")]
AddressOption = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT", help="Ray cluster to join; auto: the one of this node. By default a Ray of its own."
    ),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track", metavar="KIND[:PLACE]", help="Also tell mlflow, tensorboard, wandb or your module:Class, live."
    ),
]
TakeOverOption = Annotated[
    bool, typer.Option("--take-over", help="Take the run from a driver on another machine that is certainly dead.")
]


def run(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file, e.g. jobs/smoke.yaml.")],
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[str | None, typer.Option(help="Name of the run; the job file's and a number by default.")] = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    inline: InlineOption = False,
    address: AddressOption = None,
    out: OutOption = None,
    track: TrackOption = None,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", help="Evaluate here up to the first failure, show its traceback and a debugger; store nothing."
        ),
    ] = False,
) -> None:
    """Start a new run of a job file."""
    if debug:
        debug_job(job, settings or [])
        return
    with complaints():
        from l2l_snn.loop import job as jobs
        from l2l_snn.loop.first_state import pinned

        loaded, optimizee, optimizer = jobs.load(job, settings or [])
        jobs.check_before_run(optimizee, optimizer)
        evaluator = _make_evaluator(loaded, optimizee, workers, inline, address)
        with open_store(store, create=True) as opened:
            loaded = pinned(opened, loaded)
            manifest = jobs.manifest(loaded, job)
            if name is None:
                name = opened.create_numbered(job.stem, manifest, optimizee.space)
            else:
                opened.create(name, job.stem, manifest, optimizee.space)
            folder = out or results_folder(store) / name
            _run_and_report(opened, name, loaded, optimizer, evaluator, folder, track=track)


def resume(
    name: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    new_name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Go on with a copy under this name; --set may then change anything, from there on."
        ),
    ] = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    inline: InlineOption = False,
    address: AddressOption = None,
    take_over: TakeOverOption = False,
    out: OutOption = None,
    trust: TrustOption = False,
    track: TrackOption = None,
) -> None:
    """Go on with a run after its last committed generation; --set may move its stopping rules, which are stored."""
    with complaints():
        from l2l_snn.loop import job as jobs
        from l2l_snn.loop.first_state import branched

        with open_store(store) as opened:
            keys = [setting.partition("=")[0] for setting in settings or []]
            other = [key for key in keys if key.partition(".")[0] not in jobs.STOPPING]
            if other and new_name is None:
                kept = ", ".join(jobs.STOPPING)
                todo = "start a new run for it, or go on as a new run: --name NEW"
                raise jobs.JobError(f"--set: {other[0]}: can't change in a stored run, only {kept} can; {todo}")
            trust = ask_trust(opened, name, trust)
            read = branched if other else jobs.stored_job
            loaded, optimizee, optimizer = read(opened, name, settings or [], trust=trust)
            jobs.check_before_run(optimizee, optimizer)
            evaluator = _make_evaluator(loaded, optimizee, workers, inline, address)
            if new_name is not None and other:
                stored = opened.load(name)
                manifest = jobs.manifest(loaded, Path(stored.manifest["file"]))
                opened.create(new_name, stored.job, manifest, optimizee.space)
            elif new_name is not None:
                opened.copy(name, new_name)
            folder = out or results_folder(store) / (new_name or name)
            _run_and_report(
                opened, new_name or name, loaded, optimizer, evaluator, folder, take_over, trust, track=track
            )


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
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures; runs/RUN/gG_iI beside the store by default.")
    ] = None,
    trust: TrustOption = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show the traceback of a stored failure, the first by default, and a debugger."),
    ] = False,
    beside: Annotated[
        str | None,
        typer.Option(
            metavar="[RUN:]G:I", help="Also repeat this one, and list the parameters in which the two differ."
        ),
    ] = None,
) -> None:
    """Repeat one stored evaluation exactly, print its fitness beside the stored one, and draw it."""
    with complaints(), open_store(store) as opened:
        if individual is not None and generation is None:
            raise ValueError("-i: expected together with -g, got -i alone; e.g. -g 12 -i 3")
        places = [Place(name, generation, individual)] + ([] if beside is None else [read_place(beside, name)])
        if debug and beside is not None:
            raise ValueError("--beside: expected no --debug with it, got both; debug one at a time")
        trusted = {place.run: ask_trust(opened, place.run, trust) for place in places}
        if debug:
            debug_replay(opened, name, settings or [], generation, individual, trusted[name])
            return
        pictures = out or results_folder(store)
        alone = out if beside is None else None  # its pictures go into --out itself
        done = [_replay_one(opened, place, settings, trusted[place.run], video, pictures, alone) for place in places]
        if beside is not None:
            print_differences(*done)
        if not settings and not all(one.same for one in done):
            raise typer.Exit(1)


def recommend(
    name: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    evaluations: Annotated[int, typer.Option("-n", "--evaluations", min=1, help="With as many new seeds.")] = 20,
    settings: SetOption = None,
    video: Annotated[bool, typer.Option("--video", help="Also write an animation.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the pictures; runs/RUN/recommended beside the store by default.")
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Evaluate what the optimizer recommends in the end with seeds that the run never had, and draw it."""
    with complaints(), open_store(store) as opened:
        from l2l_snn.loop.recommended import judge_recommended

        trusted = ask_trust(opened, name, trust)
        done = judge_recommended(opened, name, evaluations, settings or [], trust=trusted)
        typer.echo(done.report())
        folder = out or results_folder(store) / name / "recommended"
        with drawing_into(folder):
            files, missing = done.draw(folder, video=video)
        list_files(files)
        for line in missing:
            typer.echo(line)


def _replay_one(
    store: "Store",
    place: Place,
    settings: list[str] | None,
    trust: bool,
    video: bool,
    pictures: Path,
    alone: Path | None,
) -> "Replay":
    """Repeat an evaluation, report on it and draw it into its folder below `pictures`, or into `alone`."""
    from l2l_snn.loop.replay import replay as replay_stored

    begin = partial(typer.echo, "evaluating again", err=True)
    done = replay_stored(store, place.run, settings or [], place.generation, place.individual, trust=trust, begin=begin)
    typer.echo(done.report())
    if not done.evaluation.failed[0]:
        typer.echo("drawing", err=True)
    folder = alone or pictures / done.subfolder
    with drawing_into(folder):
        files = done.draw(folder, video=video)
    list_files(files)
    for missing in done.missing(files, video):
        typer.echo(missing)
    return done


def _make_evaluator(
    job: "Job", optimizee: "BatchOptimizee", workers: int | None, inline: bool, address: str | None
) -> "Evaluator":
    """Return what evaluates a job; processes that it starts here get on with this command's signals and threads."""
    from l2l_snn.loop.evaluators import make_evaluator
    from l2l_snn.workers.children import prepare_children

    evaluator = make_evaluator(job, optimizee, workers, inline, address)
    if inline:
        prepare_children("l2l_snn.cli", type(optimizee).__module__)
    return evaluator


def _run_and_report(
    store: "Store",
    name: str,
    job: "Job",
    optimizer: "Optimizer",
    evaluator: "Evaluator",
    folder: Path,
    take_over: bool = False,
    trust: bool = False,
    *,
    track: list[str] | None = None,
) -> None:
    """Run a stored run with progress, then say how it ended, draw it, and say how to go on."""
    import signal

    from l2l_snn.evaluation import describe_error, describe_in_line
    from l2l_snn.loop.progress import describe_start, show_progress
    from l2l_snn.loop.run import run as run_loop
    from l2l_snn.trackers.track import LiveTrackers, make_tracker

    live = LiveTrackers([make_tracker(text) for text in track or []], name, job.model_dump(mode="json"))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill stops as cleanly as Ctrl-C
    again = f"l2l resume {name}" + (f" --store {store.url_shown}" if store.url_shown != DEFAULT_STORE else "")
    typer.echo(f"run {name} in {store.url_shown}")
    try:
        with evaluator, show_progress(name, sys.stdout.isatty(), describe_start(evaluator.ready)) as tell:

            def tell_all(progress: "Progress") -> None:
                tell(progress)
                live.tell(progress)

            stored = run_loop(store, name, job, optimizer, evaluator, tell=tell_all, take_over=take_over)
    except KeyboardInterrupt:  # outside the loop: while workers end
        stored = store.load(name)
    print_summary(store, stored)
    if stored.state == "finished":
        pictures: list[Path] = []
        try:
            pictures = draw_run(store, name, folder, trust)
        except Exception as error:  # the run is whole without them
            text = describe_error(error) if wants_traceback() else describe_in_line(error)
            typer.echo(f"l2l: run {name} is stored whole, but its pictures failed: {text}", err=True)
            typer.echo(f"l2l: to draw them: {again.replace('l2l resume', 'l2l plot')}", err=True)
        live.end(stored.state, {path.stem: path for path in pictures if path.suffix == ".png"})
        store.load(name)  # raises where the store was lost meanwhile
        return
    live.end(stored.state, {})
    if stored.state == "stopped":
        typer.echo(f"to go on: {again}")
        raise typer.Exit(130)
    if wants_traceback() and stored.generation:
        typer.echo(_find_traceback(store, stored), err=True)
    typer.echo(f"l2l: run {name} failed: {stored.message}\nl2l: to go on after mending it: {again}", err=True)
    raise typer.Exit(1)


def _find_traceback(store: "Store", stored: "StoredRun") -> str:
    """Return the error of the first individual that failed in the newest generation in which any did, in full."""
    from l2l_snn.evaluation import LONGEST_TEXT
    from l2l_snn.storage import queries

    return store.reading(lambda connection: queries.first_error(connection, stored.id, 2 * LONGEST_TEXT))
