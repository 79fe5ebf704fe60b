"""The command line: `l2l --help` lists the commands; each file here has those of one kind.

What the user can mend ends in one line on stderr and exit status 2; a run that failed in 1; Ctrl-C in 130; a lost
server in 75.
Everything heavy is imported in the command that needs it, so that `l2l --help` answers at once.
"""

import os
import sys
import threading
import time
from contextlib import suppress
from typing import Annotated

import typer

from l2l_snn.cli import check, classes, cluster, data, notes, page, results, runs, stores

GRACE = 5.0  # s that threads of the user's code may go on after a command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    runs.run,
    runs.resume,
    results.runs,
    results.show,
    results.table,
    results.plot,
    results.compare,
    results.track,
    runs.replay,
    runs.recommend,
    notes.note,
    notes.tag,
    check.check,
    classes.new,
    classes.describe,
    cluster.submit,
    cluster.jobs,
    cluster.logs,
    cluster.stop,
    page.dashboard,
    data.data,
    stores.prune,
    stores.export,
):
    app.command()(command)
app.command("import")(stores.import_runs)
app.command("list")(classes.list_classes)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"l2l-snn {version('l2l-snn')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Evolve and meta-learn spiking neural networks over Ray workers."""


def main() -> None:
    """Entry point."""
    try:
        app()
    except SystemExit as ended:
        _end_beside_threads(ended.code)
        raise


def _end_beside_threads(status: str | int | None) -> None:
    """End this process at once if threads still run: the interpreter may crash or hang while it ends beside them."""
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    deadline = time.monotonic() + GRACE
    for thread in others:
        if not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
    if not any(thread.is_alive() for thread in others):
        return
    import multiprocessing

    for child in multiprocessing.active_children():
        child.kill()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))
