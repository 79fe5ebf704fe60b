"""The command line: `l2l --help` lists the commands; each file here has those of one kind.

What the user can mend ends in one line on stderr and exit status 2; a run that failed in 1; Ctrl-C in 130.
Everything heavy is imported in the command that needs it, so that `l2l --help` answers at once.
"""

import typer

from l2l_snn.cli import cluster, page, results, runs, stores

app = typer.Typer(
    help="Evolve and meta-learn spiking neural networks over Ray workers.",
    no_args_is_help=True,
    add_completion=False,
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
    runs.replay,
    runs.check,
    cluster.submit,
    cluster.jobs,
    cluster.logs,
    cluster.stop,
    page.dashboard,
    stores.prune,
    stores.export,
):
    app.command()(command)
app.command("import")(stores.import_runs)


def main() -> None:
    """Entry point."""
    app()
