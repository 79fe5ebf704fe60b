"""Runs on a Ray cluster, by the cluster's job server: submit, look, stop.

    client = connect("http://127.0.0.1:8265")
    submission = Submission("mine-1", "mine.yaml", store="sqlite:////data/l2l.db")
    job = submit(client, submission, folder_with_the_job_and_its_modules)
    job = stop(client, job.id)

A job is one attempt to drive a run: a run that was submitted again has several.
"""

import secrets
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from l2l_snn.cluster.connection import explain_cluster_errors
from l2l_snn.cluster.submission import Submission, check_store
from l2l_snn.loop.errors import LATER
from l2l_snn.validate import did_you_mean, message

if TYPE_CHECKING:
    from l2l_snn.cluster.connection import JobDetails, JobSubmissionClient

STOP_LIMIT = 600.0  # s that the cluster may take to kill a driver
STOP_WAIT = 60  # s that a driver has for a polite end, until it is killed
OWN_STATUSES = (0, 1, 2, 130)  # exit statuses of `l2l run`: whatever it ended with, once more ends the same
_STOP = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT)}
_NEVER_BEGAN = (126, 127)  # the shell found no python
_RUN = "l2l_run"  # key of a job's metadata
ENDED = ("succeeded", "failed", "stopped", "lost")


@dataclass(frozen=True)
class Submitted:
    """A job that the server knows, or has forgotten."""

    id: str
    run: str  # "" if it isn't one of ours
    state: str  # pending, running, succeeded, failed, stopped; lost: the server was started anew and knows it no more
    started: float  # s since 1970, the head's clock
    ended: float | None
    exit_status: int | None  # the driver's exit status; negative: the signal that killed it
    text: str  # why it ended, one line

    @property
    def driver_died(self) -> bool:
        """Whether the driver ended by no doing of its own, so that once more makes sense."""
        if self.state == "failed":
            never = self.exit_status is None and "runtime_env setup failed" in self.text
            return not never and self.exit_status not in (*OWN_STATUSES, *_NEVER_BEGAN)
        return self.state == "lost"


def _read_details(details: "JobDetails") -> Submitted:
    lines = (details.message or "").strip().splitlines()
    return Submitted(
        id=details.submission_id or details.job_id or "",
        run=(details.metadata or {}).get(_RUN, ""),
        state=details.status.value.lower(),
        started=(details.start_time or 0) / 1000,
        ended=None if not details.end_time else details.end_time / 1000,
        exit_status=details.driver_exit_code,
        text=_explain_status(details.driver_exit_code) or (lines[0] if lines else ""),
    )


def _explain_status(status: int | None) -> str:
    """Return what a driver's exit status means, "" if there is none."""
    if status is None or status == 0:
        return ""
    if status == LATER:
        return "the store's server couldn't be reached"
    number = -status if status < 0 else status - 128  # a shell says 128 + signal
    if number in set(signal.Signals) and status not in OWN_STATUSES:
        return f"killed by {signal.Signals(number).name}"
    return f"exit status {status}"


def list_jobs(client: "JobSubmissionClient") -> list[Submitted]:
    """Return the submitted jobs that the server knows, the oldest first."""
    with explain_cluster_errors(client.get_address()):
        jobs = [_read_details(details) for details in client.list_jobs() if details.submission_id]
    return sorted(jobs, key=lambda job: job.started)


def find_job(client: "JobSubmissionClient", name: str) -> Submitted:
    """Return the job with an id, or a run's last one.

    Raises:
        ValueError: there is none.
    """
    jobs = list_jobs(client)
    for job in reversed(jobs):
        if name in (job.id, job.run):
            return job
    known = sorted({job.id for job in jobs} | {job.run for job in jobs if job.run})
    todo = did_you_mean(name, known) if len(known) <= 8 else "see: l2l jobs"
    raise ValueError(message("ID|RUN", "a job or run of this cluster", repr(name), todo))


def submit(client: "JobSubmissionClient", submission: Submission, folder: Path) -> Submitted:
    """Hand a folder with the job file and its modules to the cluster, and start the run."""
    check_store(submission.store)
    with explain_cluster_errors(client.get_address()):
        job_id = client.submit_job(
            entrypoint=submission.entrypoint(),
            submission_id=f"{submission.name}-{secrets.token_hex(3)}",
            runtime_env={"working_dir": str(folder), "env_vars": _STOP},
            metadata={_RUN: submission.name},
        )
    return get_job(client, job_id)


def get_job(client: "JobSubmissionClient", job_id: str) -> Submitted:
    """Return what the server knows of a job now; its state is "lost" if that is nothing."""
    with explain_cluster_errors(client.get_address()):
        try:
            return _read_details(client.get_job_info(job_id))
        except RuntimeError as error:
            if "status code 404" not in str(error):
                raise
            return Submitted(job_id, "", "lost", 0.0, None, None, "the job server was started anew")


def logs(client: "JobSubmissionClient", job_id: str) -> str:
    """Return what a job printed."""
    with explain_cluster_errors(client.get_address()):
        return client.get_job_logs(job_id)


def stop(client: "JobSubmissionClient", job_id: str) -> Submitted:
    """Ask a job's driver to stop politely (SIGTERM), wait until it has, and return how it ended.

    A driver that doesn't within `STOP_WAIT` is killed by the cluster; its run can be resumed either way.
    """
    with explain_cluster_errors(client.get_address()):
        client.stop_job(job_id)
    deadline = time.monotonic() + STOP_WAIT + STOP_LIMIT
    while (job := get_job(client, job_id)).state not in ENDED and time.monotonic() < deadline:
        time.sleep(0.2)
    return job
