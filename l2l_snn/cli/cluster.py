"""l2l submit | jobs | logs | stop: runs on a Ray cluster."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from l2l_snn.cli.common import SetOption, complaints, duration, print_table

if TYPE_CHECKING:
    from l2l_snn.cluster.connection import JobSubmissionClient
    from l2l_snn.cluster.jobs import Submitted

AddressOption = Annotated[
    str,
    typer.Option(
        help="Job server of the cluster; the tunnel of `ray dashboard cluster.yaml` ends at the default.",
        envvar=["L2L_ADDRESS", "RAY_API_SERVER_ADDRESS"],
    ),
]
IdArgument = Annotated[str, typer.Argument(metavar="ID|RUN", help="A job's id, or the name of its run.")]
DEFAULT_ADDRESS = "http://127.0.0.1:8265"


def submit(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="Job file, e.g. jobs/smoke.yaml.")],
    address: AddressOption = DEFAULT_ADDRESS,
    store: Annotated[
        str | None,
        typer.Option(help="Results store as the head node sees it, without a password; its L2L_STORE by default."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run; the job file's and the time by default.")] = None,
    settings: SetOption = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers; what the cluster has by default.")] = None,
    include: Annotated[list[Path] | None, typer.Option(help="Also pack this file or folder.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run --name, whose driver is gone.")] = False,
    retries: Annotated[int, typer.Option(min=0, help="How often to submit again if the driver dies.")] = 3,
    follow: Annotated[bool, typer.Option(help="Print what the run prints until it ends.")] = True,
) -> None:
    """Start a run on a cluster, with the modules of your own that it needs, and follow it."""
    with complaints():
        from l2l_snn.cluster import packing
        from l2l_snn.cluster.connection import connect
        from l2l_snn.cluster.follow import submit_until_done
        from l2l_snn.cluster.jobs import submit as submit_job
        from l2l_snn.cluster.submission import Submission, check_store, free_name
        from l2l_snn.loop import job as jobs
        from l2l_snn.storage.records import check_name

        if resume and name is None:
            raise ValueError("--resume: expected together with --name, got it alone; e.g. --name mine-1 --resume")
        check_store(store)
        chosen = check_name(name) if name is not None else free_name(job.stem)
        found = packing.needed(job, jobs.load(job, [] if resume else settings or [])[0], include or [])
        typer.echo(f"packed {packing.described(found)}")
        submission = Submission(chosen, job.name, store, tuple(settings or ()), workers, resume)
        client = connect(address)
        with tempfile.TemporaryDirectory() as folder:
            packing.copy(found, Path(folder))
            began = submit_job(client, submission, Path(folder))
            typer.echo(f"run {chosen} is job {began.id} on {address}")
            if not follow:
                typer.echo(f"to see it: l2l logs {chosen} --follow; to stop it: l2l stop {chosen}")
                return
            try:
                package, out = Path(folder), _write_text
                ended = submit_until_done(
                    client, submission, package, retries=retries, write=out, tell=_tell_user, began=began
                )
            except KeyboardInterrupt:
                _tell_user(f"not followed any more, run {chosen} goes on; see it: l2l logs {chosen} --follow")
                _tell_user(f"to stop it: l2l stop {chosen}")
                raise typer.Exit(130) from None
        _exit_as_job(client, ended, chosen)


def jobs(address: AddressOption = DEFAULT_ADDRESS) -> None:
    """List the jobs of a cluster."""
    with complaints():
        from l2l_snn.cluster.connection import connect
        from l2l_snn.cluster.jobs import list_jobs

        rows = [
            (
                job.id,
                job.run or "-",
                job.state,
                _format_moment(job.started),
                _format_length(job),
                job.text if _has_failed(job) else "",
            )
            for job in list_jobs(connect(address))
        ]
        print_table(("id", "run", "state", "started (UTC)", "time", "why"), rows)


def logs(
    name: IdArgument,
    address: AddressOption = DEFAULT_ADDRESS,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends.")] = False,
) -> None:
    """Print what a job, or a run's last job, printed."""
    with complaints():
        from l2l_snn.cluster import jobs as cluster
        from l2l_snn.cluster.connection import connect
        from l2l_snn.cluster.follow import follow as follow_job

        client = connect(address)
        job = cluster.find_job(client, name)
        if not follow:
            _write_text(cluster.logs(client, job.id))
            return
        try:
            ended = follow_job(client, job.id, _write_text)
        except KeyboardInterrupt:
            _tell_user(f"not followed any more, job {job.id} goes on; to stop it: l2l stop {job.id}")
            raise typer.Exit(130) from None
        typer.echo(f"job {ended.id} {ended.state}" + (f": {ended.text}" if _has_failed(ended) else ""))


def stop(name: IdArgument, address: AddressOption = DEFAULT_ADDRESS) -> None:
    """Stop a job politely: its run is then "stopped", and can be gone on with."""
    with complaints():
        from l2l_snn.cluster import jobs as cluster
        from l2l_snn.cluster.connection import connect

        client = connect(address)
        job = cluster.find_job(client, name)
        if job.state in cluster.ENDED:
            typer.echo(f"job {job.id} has ended before: {job.state}")
            return
        ended = cluster.stop(client, job.id)
        typer.echo(f"job {ended.id} {ended.state}")
        if job.run and ended.state == "stopped":
            typer.echo(f"to go on: l2l submit JOB --name {job.run} --resume")


def _exit_as_job(client: "JobSubmissionClient", ended: "Submitted", name: str) -> None:
    """Say how a followed run ended, and exit with its driver's status."""
    from l2l_snn.cluster import jobs as cluster

    if ended.state == "succeeded":
        return
    if ended.state == "stopped":
        _tell_user(f"run {name} was stopped; to go on: l2l submit JOB --name {name} --resume")
        raise typer.Exit(130)
    _tell_user(f"job {ended.id} {ended.state}: {ended.text}")
    if ended.state == "failed" and "No module named" in (text := cluster.logs(client, ended.id)):
        missing = text.rpartition("No module named")[2].split()[0].strip("';")
        if missing.partition(".")[0] == "l2l_snn":
            _tell_user(
                "the cluster's python has no l2l_snn: install it on each node, as cluster.yaml does in setup_commands"
            )
        else:
            _tell_user(f"the cluster's python has no {missing}: install it on each node, or add it with --include")
    if ended.driver_died:
        _tell_user(f"what is committed stays; to go on: l2l submit JOB --name {name} --resume")
    raise typer.Exit(ended.exit_status if ended.exit_status in (1, 2, 130) else 1)


def _write_text(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _tell_user(text: str) -> None:
    typer.echo(f"l2l: {text}", err=True)


def _has_failed(job: "Submitted") -> bool:
    return job.state in ("failed", "lost")


def _format_moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _format_length(job: "Submitted") -> str:
    import time

    return duration((time.time() if job.ended is None else job.ended) - job.started)
