"""l2l run | resume | replay | check: what evaluates."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l2l_snn.cli.common import (
    RESULTS,
    RunArgument,
    SetOption,
    StoreOption,
    complaints,
    list_files,
    open_store,
    print_summary,
)
from l2l_snn.cli.pictures import draw_run
from l2l_snn.storage import DEFAULT_STORE

if TYPE_CHECKING:
    from l2l_snn.loop.job import Job
    from l2l_snn.optimizee import BatchOptimizee
    from l2l_snn.optimizer import Optimizer
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
) -> None:
    """Start a new run of a job file."""
    with complaints():
        from l2l_snn.loop import job as jobs

        loaded, optimizee, optimizer = jobs.load(job, settings or [])
        evaluator = _make_evaluator(loaded, optimizee, workers, inline, address)
        with open_store(store, create=True) as opened:
            manifest = jobs.manifest(loaded, job)
            if name is None:
                name = opened.create_numbered(job.stem, manifest, optimizee.space)
            else:
                opened.create(name, job.stem, manifest, optimizee.space)
            _run_and_report(opened, name, loaded, optimizer, evaluator)


def resume(
    name: RunArgument,
    store: StoreOption = DEFAULT_STORE,
    new_name: Annotated[
        str | None, typer.Option("--name", help="Go on with a copy of the run under this name.")
    ] = None,
    settings: SetOption = None,
    workers: WorkersOption = None,
    inline: InlineOption = False,
    address: AddressOption = None,
    take_over: TakeOverOption = False,
) -> None:
    """Go on with a run after its last committed generation; --set may move its stopping rules."""
    with complaints():
        from l2l_snn.loop import job as jobs

        with open_store(store) as opened:
            for key in (setting.partition("=")[0] for setting in settings or []):
                if key.partition(".")[0] not in jobs.STOPPING:
                    kept = ", ".join(jobs.STOPPING)
                    raise jobs.JobError(
                        f"--set: {key}: can't change in a stored run, only {kept} can; start a new run for it"
                    )
            loaded, optimizee, optimizer = jobs.stored_job(opened, name, settings or [])
            evaluator = _make_evaluator(loaded, optimizee, workers, inline, address)
            if new_name is not None:
                opened.copy(name, new_name)
            _run_and_report(opened, new_name or name, loaded, optimizer, evaluator, take_over)


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
    with complaints(), open_store(store) as opened:
        from l2l_snn.loop.replay import replay as replay_stored

        if individual is not None and generation is None:
            raise ValueError("-i: expected together with -g, got -i alone; e.g. -g 12 -i 3")
        done = replay_stored(opened, name, settings or [], generation, individual)
        typer.echo(done.report())
        list_files(done.draw(RESULTS, video=video))
        if not done.same and not settings:
            raise typer.Exit(1)


def check(
    address: Annotated[
        str, typer.Argument(metavar="MODULE:CLASS", help="Your optimizee, optimizer, cell, rule or task.")
    ],
    settings: SetOption = None,
) -> None:
    """Run the conformance suite on a class of your own; --set gives its fields."""
    with complaints():
        from l2l_snn import checks
        from l2l_snn.loop import components, job_file
        from l2l_snn.validate import message

        components.find_modules(Path.cwd())
        entries = {"class": address}
        for setting in settings or []:
            job_file.apply_setting(entries, setting)
        cls = components.load_class(address)
        base = next((base for base in checks.SUITES if issubclass(cls, base)), None)
        if base is not None:
            results = checks.SUITES[base](components.build(entries, cls.__name__, base))
        elif missing := checks.missing_methods(cls):
            kinds = ", ".join(["Optimizee", "JaxOptimizee", *(base.__name__ for base in checks.SUITES)])
            expected = f"a subclass of {kinds}, or a task"
            raise ValueError(message(cls.__name__, expected, "another class", f"a task also has {', '.join(missing)}"))
        else:
            results = checks.check_task(cls(**{name: entries[name] for name in entries if name != "class"}))
        for result in results:
            typer.echo(
                f"{'ok  ' if result.ok else 'FAIL'} {result.claim}" + (f"\n     {result.text}" if not result.ok else "")
            )
        if not all(result.ok for result in results):
            raise typer.Exit(1)


def _make_evaluator(
    job: "Job", optimizee: "BatchOptimizee", workers: int | None, inline: bool, address: str | None
) -> "Evaluator":
    """Return what evaluates a job: this process, or workers here or on a cluster."""
    from l2l_snn.validate import message
    from l2l_snn.workers.in_process import Inline
    from l2l_snn.workers.ray_pool import RayPool

    if not inline:
        return RayPool(
            optimizee,
            job.chunk,
            job.max_tries,
            workers,
            resources=job.resources,
            timeout=job.timeout,
            address=address,
        )
    if address is not None or workers is not None:
        option = "--address" if address is not None else "--workers"
        raise ValueError(message(option, "an evaluation by workers", "--inline", "leave one of them out"))
    if job.timeout is not None:
        todo = "leave out --inline, or --set timeout=null"
        raise ValueError(message("timeout", "workers, which can be ended", "--inline", todo))
    return Inline(optimizee, job.chunk, job.max_tries)


def _run_and_report(
    store: "Store",
    name: str,
    job: "Job",
    optimizer: "Optimizer",
    evaluator: "Evaluator",
    take_over: bool = False,
) -> None:
    """Run a stored run with progress, then say how it ended, draw it, and say how to go on."""
    import signal

    from l2l_snn.loop.progress import shown
    from l2l_snn.loop.run import run as run_loop

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite kill stops as cleanly as Ctrl-C
    again = f"l2l resume {name}" + (f" --store {store.url_shown}" if store.url_shown != DEFAULT_STORE else "")
    typer.echo(f"run {name} in {store.url_shown}")
    try:
        with evaluator, shown(name, sys.stdout.isatty()) as tell:
            stored = run_loop(store, name, job, optimizer, evaluator, tell=tell, take_over=take_over)
    except KeyboardInterrupt:  # outside the loop: while workers end
        stored = store.load(name)
    print_summary(store, stored)
    if stored.state == "finished":
        draw_run(store, name)
        return
    if stored.state == "stopped":
        typer.echo(f"to go on: {again}")
        raise typer.Exit(130)
    typer.echo(f"l2l: run {name} failed: {stored.message}\nl2l: to go on after mending it: {again}", err=True)
    raise typer.Exit(1)
