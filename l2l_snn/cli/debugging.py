"""l2l run --debug, l2l replay --debug: the first failure with its traceback, parameters and seed, and a debugger."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from l2l_snn.cli.common import complaints

if TYPE_CHECKING:
    from l2l_snn.storage.store import Store
    from l2l_snn.workers.debugging import FailedIndividual


def debug_job(job: Path, settings: Sequence[str]) -> None:
    """Run a job in this process until an individual fails, in a store that is thrown away."""
    with complaints(), tempfile.TemporaryDirectory(prefix="l2l-debug-") as folder:
        from l2l_snn.loop import job as jobs
        from l2l_snn.loop.progress import describe_start, show_progress
        from l2l_snn.loop.run import run as run_loop
        from l2l_snn.storage.store import Store
        from l2l_snn.validate import message
        from l2l_snn.workers.debugging import Debugging, FailedIndividual

        loaded, optimizee, optimizer = jobs.load(job, settings)
        if loaded.start is not None and loaded.start.run is not None:
            raise ValueError(message("--debug", "a job without start.run", loaded.start.run, "--set start=null"))
        with Store(f"sqlite:///{folder}/debug.db") as store:
            store.create("debug", job.stem, jobs.manifest(loaded, job), optimizee.space)
            try:
                with (
                    Debugging(optimizee, loaded.chunk) as evaluator,
                    show_progress("debug", False, describe_start(True)) as tell,
                ):
                    stored = run_loop(store, "debug", loaded, optimizer, evaluator, tell=tell)
            except FailedIndividual as failed:
                _show_failure(failed, store.load("debug").generation)
            typer.echo(f"no individual failed in {stored.generation} generations ({stored.message})")


def debug_replay(
    store: "Store", name: str, settings: Sequence[str], generation: int | None, individual: int | None, trust: bool
) -> None:
    """Evaluate a stored failure again in this process, and show why it fails."""
    from l2l_snn.loop.replay import debug_individual

    failed = debug_individual(store, name, settings, generation, individual, trust=trust)
    if failed is None:
        typer.echo("it doesn't fail here: has the code changed, or does it depend on its worker?")
        return
    _show_failure(failed, generation)


def _show_failure(failed: "FailedIndividual", generation: int | None) -> None:
    """Print a failure, open a debugger where the terminal allows it, and exit with status 1."""
    where = f"individual {failed.index}" + ("" if generation is None else f" of generation {generation}")
    typer.echo(f"l2l: {where} failed: {failed}", err=True)
    typer.echo(failed.report(), err=True)
    if failed.cause is not None and sys.stdin.isatty() and sys.stdout.isatty():
        import pdb

        pdb.post_mortem(failed.cause.__traceback__)
    raise typer.Exit(1)
