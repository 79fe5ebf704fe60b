"""A run on a cluster, followed to its end, and submitted again where its driver dies.

    client = connect("http://127.0.0.1:8265")
    submission = Submission("mine-1", "mine.yaml", store="sqlite:////data/l2l.db")
    ended = submit_until_done(client, submission, folder_with_the_job_and_its_modules, write=print)

A driver that dies (killed, out of memory, its node lost) leaves its run in the store, up to the last committed
generation. `drive` submits the run again, and `l2l_snn.cluster.submission` goes on with it there.
"""

import asyncio
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from l2l_snn.cluster.connection import NoAnswer
from l2l_snn.cluster.jobs import ENDED, Submitted, get_job, logs, submit
from l2l_snn.cluster.submission import Submission

if TYPE_CHECKING:
    from l2l_snn.cluster.connection import JobSubmissionClient

PATIENCE = 600.0  # s without an answer of the job server until following it is given up


def follow(client: "JobSubmissionClient", job_id: str, write: Callable[[str], Any]) -> Submitted:
    """Write what a job prints until it ends; return how it ended.

    A lost connection is made again, and nothing is written twice.

    Raises:
        ClusterError: the server didn't answer for `PATIENCE` seconds, or refuses.
    """
    written, heard = 0, time.monotonic()

    async def write_new() -> None:
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
                asyncio.run(write_new())
        except (RuntimeError, ClientError) as error:  # not OSError: where we write may be closed, too
            logging.getLogger(__name__).debug("the log's connection ended: %s", error)
            whole = False
        try:
            job = get_job(client, job_id)
        except NoAnswer:
            if time.monotonic() - heard > PATIENCE:
                raise
        else:
            heard = time.monotonic()
            if job.state in ENDED:
                if not whole and job.state != "lost":
                    write(logs(client, job_id)[written:])
                return job
        time.sleep(0.2 if whole else 1.0)  # the log ends a moment before the job does


def submit_until_done(
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
