"""Runs on a Ray cluster, by the cluster's job server: submit, look, follow, stop.

    client = connect("http://127.0.0.1:8265")
    submission = Submission("mine-1", "mine.yaml", store="sqlite:////home/ubuntu/l2l.db")
    ended = drive(client, submission, folder_with_the_job_and_its_modules, write=print)

A driver that dies (killed, out of memory, its node lost) leaves its run in the store, up to the last committed
generation. `drive` submits the run again, and `l2l_snn.cluster.submission` goes on with it there.
"""

import asyncio
import logging
import os
import re
import secrets
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l2l_snn.cluster.submission import Submission, check_store
from l2l_snn.validate import did_you_mean, message

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

PATIENCE = 600.0  # s without an answer of the job server until following it is given up
STOP_WAIT = 60  # s that a driver has for a polite end, until it is killed
OWN_STATUSES = (0, 1, 2, 130)  # exit statuses of `l2l run`: whatever it ended with, once more ends the same
_STOP = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT)}
_NEVER_BEGAN = (126, 127)  # the shell found no python
_RUN = "l2l_run"  # key of a job's metadata
ENDED = ("succeeded", "failed", "stopped", "lost")


class ClusterError(ConnectionError):
    """The job server can't be reached or refused; the text is one line for the user."""


@dataclass(frozen=True)
class Submitted:
    """A job that the server knows, or has forgotten."""

    id: str
    run: str  # "" if it isn't one of ours
    state: str  # pending, running, succeeded, failed, stopped; lost: the server was started anew and knows it no more
    started: float  # s since 1970, the head's clock
    ended: float | None
    status: int | None  # the driver's exit status; negative: the signal that killed it
    text: str  # why it ended, one line

    @property
    def driver_died(self) -> bool:
        """Whether the driver ended by no doing of its own, so that once more makes sense."""
        if self.state == "failed":
            never = self.status is None and "runtime_env setup failed" in self.text
            return not never and self.status not in (*OWN_STATUSES, *_NEVER_BEGAN)
        return self.state == "lost"


def connect(address: str) -> "JobSubmissionClient":
    """Return a client of a job server.

    A token, from RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token, is sent along unless
    RAY_AUTH_MODE is "disabled".

    Raises:
        ClusterError: nobody answers there, or the token is wrong.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if not re.match(r"https?://", address):
        raise ClusterError(message("--address", "http://HOST:PORT, e.g. http://127.0.0.1:8265", repr(address)))
    with _explained(address):
        from ray.job_submission import JobSubmissionClient

        for name in ("dashboard_sdk", "job.sdk"):  # else they tell of each upload and closed connection
            logging.getLogger(f"ray.dashboard.modules.{name}").setLevel(logging.WARNING)
        before = os.environ.get("RAY_API_SERVER_ADDRESS")
        os.environ["RAY_API_SERVER_ADDRESS"] = address  # else the environment's goes before ours
        try:
            return JobSubmissionClient(address, headers=_headers())
        finally:
            os.environ.pop("RAY_API_SERVER_ADDRESS")
            if before is not None:
                os.environ["RAY_API_SERVER_ADDRESS"] = before


def _headers() -> dict[str, str]:
    """Return the header with the token; an empty one keeps Ray from looking for a token by itself."""
    if os.environ.get("RAY_AUTH_MODE", "token").lower() != "token":
        return {"Authorization": ""}
    token = os.environ.get("RAY_AUTH_TOKEN", "")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if not token and (path.exists() or "RAY_AUTH_TOKEN_PATH" in os.environ):
        token = path.read_text(encoding="utf-8").strip()
    return {"Authorization": f"Bearer {token}" if token else ""}


@contextmanager
def _explained(address: str) -> Iterator[None]:
    """Turn what Ray's client raises into a `ClusterError` of one line."""
    try:
        from ray.exceptions import AuthenticationError
        from requests import RequestException
    except ImportError as error:
        raise ClusterError(f"{error}; install what a cluster needs: pip install 'ray[default]'") from error
    try:
        yield
    except ClusterError:
        raise
    except AuthenticationError as error:
        todo = "copy ~/.ray/auth_token from who started it, or set RAY_AUTH_TOKEN_PATH"
        wrong = "wants a token" if "Authentication required" in str(error) else "refused the token"
        raise ClusterError(f"the cluster at {address} {wrong}; {todo}") from error
    except (ConnectionError, RequestException) as error:
        todo = "check --address; a tunnel to the head is opened by: ray dashboard cluster.yaml"
        raise ClusterError(f"no answer from a cluster at {address}; {todo}") from error
    except RuntimeError as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ClusterError(f"the cluster at {address}: {first[:300]}") from error


def _submitted(details: "JobDetails") -> Submitted:
    lines = (details.message or "").strip().splitlines()
    return Submitted(
        id=details.submission_id or details.job_id or "",
        run=(details.metadata or {}).get(_RUN, ""),
        state=details.status.value.lower(),
        started=(details.start_time or 0) / 1000,
        ended=None if not details.end_time else details.end_time / 1000,
        status=details.driver_exit_code,
        text=_why(details.driver_exit_code) or (lines[0] if lines else ""),
    )


def _why(status: int | None) -> str:
    """Return what a driver's exit status means, "" if there is none."""
    if status is None or status == 0:
        return ""
    number = -status if status < 0 else status - 128  # a shell says 128 + signal
    if number in set(signal.Signals) and status not in OWN_STATUSES:
        return f"killed by {signal.Signals(number).name}"
    return f"exit status {status}"


def submitted(client: "JobSubmissionClient") -> list[Submitted]:
    """Return the submitted jobs that the server knows, the oldest first."""
    with _explained(client.get_address()):
        jobs = [_submitted(details) for details in client.list_jobs() if details.submission_id]
    return sorted(jobs, key=lambda job: job.started)


def find(client: "JobSubmissionClient", name: str) -> Submitted:
    """Return the job with an id, or a run's last one.

    Raises:
        ValueError: there is none.
    """
    jobs = submitted(client)
    for job in reversed(jobs):
        if name in (job.id, job.run):
            return job
    known = sorted({job.id for job in jobs} | {job.run for job in jobs if job.run})
    todo = did_you_mean(name, known) if len(known) <= 8 else "see: l2l jobs"
    raise ValueError(message("ID|RUN", "a job or run of this cluster", repr(name), todo))


def submit(client: "JobSubmissionClient", submission: Submission, folder: Path) -> Submitted:
    """Hand a folder with the job file and its modules to the cluster, and start the run."""
    check_store(submission.store)
    with _explained(client.get_address()):
        job_id = client.submit_job(
            entrypoint=submission.entrypoint(),
            submission_id=f"{submission.name}-{secrets.token_hex(3)}",
            runtime_env={"working_dir": str(folder), "env_vars": _STOP},
            metadata={_RUN: submission.name},
        )
    return status(client, job_id)


def status(client: "JobSubmissionClient", job_id: str) -> Submitted:
    """Return what the server knows of a job now; its state is "lost" if that is nothing."""
    with _explained(client.get_address()):
        try:
            return _submitted(client.get_job_info(job_id))
        except RuntimeError as error:
            if "status code 404" not in str(error):
                raise
            return Submitted(job_id, "", "lost", 0.0, None, None, "the job server was started anew")


def logs(client: "JobSubmissionClient", job_id: str) -> str:
    """Return what a job printed."""
    with _explained(client.get_address()):
        return client.get_job_logs(job_id)


def stop(client: "JobSubmissionClient", job_id: str) -> Submitted:
    """Ask a job's driver to stop politely (SIGTERM), wait until it has, and return how it ended.

    A driver that doesn't within `STOP_WAIT` is killed by the cluster; its run can be resumed either way.
    """
    with _explained(client.get_address()):
        client.stop_job(job_id)
    deadline = time.monotonic() + STOP_WAIT + PATIENCE
    while (job := status(client, job_id)).state not in ENDED and time.monotonic() < deadline:
        time.sleep(0.2)
    return job


def follow(client: "JobSubmissionClient", job_id: str, write: Callable[[str], Any]) -> Submitted:
    """Write what a job prints until it ends; return how it ended.

    A lost connection is made again, and nothing is written twice.

    Raises:
        ClusterError: the server didn't answer for `PATIENCE` seconds, or refuses.
    """
    written, heard = 0, time.monotonic()

    async def tail() -> None:
        nonlocal written, heard
        seen = 0
        async for text in client.tail_job_logs(job_id):
            new = text[max(0, written - seen) :]
            seen += len(text)
            heard = time.monotonic()
            if new:
                write(new)
                written = max(written, seen)

    from aiohttp import ClientError

    while True:
        whole = True
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "ssl=None is deprecated", DeprecationWarning)  # Ray's own call
                asyncio.run(tail())
        except (RuntimeError, ClientError) as error:  # not OSError: where we write may be closed, too
            logging.getLogger(__name__).debug("the log's connection ended: %s", error)
            whole = False
        try:
            job = status(client, job_id)
        except ClusterError as error:
            if time.monotonic() - heard > PATIENCE or "no answer" not in str(error):
                raise
        else:
            heard = time.monotonic()
            if job.state in ENDED:
                if not whole and job.state != "lost":
                    write(logs(client, job_id)[written:])
                return job
        time.sleep(1.0)


def drive(
    client: "JobSubmissionClient",
    submission: Submission,
    folder: Path,
    *,
    retries: int = 3,
    write: Callable[[str], Any],
    tell: Callable[[str], Any] = lambda text: None,
    began: Submitted | None = None,
) -> Submitted:
    """Submit a run and follow it to its end; submit it again, to go on from the store, when its driver dies.

    Args:
        client: from `connect`.
        submission: the run.
        folder: has the job file and its modules.
        retries: how often to submit again.
        write: gets what the driver prints, in pieces.
        tell: gets a line when the run is submitted again.
        began: the run's first job, if it is submitted already.

    Returns:
        How the last attempt ended.
    """
    job = first = began or submit(client, submission, folder)
    for attempt in range(retries + 1):
        job = follow(client, job.id, write)
        if not job.driver_died or attempt == retries:
            break
        tell(f"the driver of run {submission.name} died ({job.text or job.state}); attempt {attempt + 2}")
        job = submit(client, replace(submission, since=first.started), folder)
    return job
