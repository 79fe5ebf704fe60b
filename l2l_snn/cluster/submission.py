"""One run on a cluster: the command that starts it on the head node, and what that command does there.

    submission = Submission("mine-1", "mine.yaml", store="sqlite:////data/l2l.db")
    submission.entrypoint()      # exec python -m l2l_snn.cluster.submission mine.yaml --name mine-1 --store ...

On the head node, in the folder with the job file and its modules, this module becomes `l2l run` or, where a driver died
before, `l2l resume`: a run has one name from its submission on, and the store says how far it got.
"""

import argparse
import os
import re
import secrets
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from l2l_snn.validate import message


@dataclass(frozen=True)
class Submission:
    """What runs on the cluster."""

    name: str  # of the run, the same in each attempt
    job: str  # the job file's name in the package
    store: str | None = None  # URL as the head node sees it, without a password; None: that in its L2L_STORE
    settings: tuple[str, ...] = ()  # key=value
    workers: int | None = None
    resume: bool = False  # go on with a run that is in the store
    since: float | None = None  # s since 1970, on the head: go on with the run if it was created after that

    def entrypoint(self) -> str:
        """Return the command for the head's shell."""
        words = ["exec", "python", "-m", "l2l_snn.cluster.submission", self.job, "--name", self.name]
        words += [] if self.store is None else ["--store", self.store]
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += [] if self.workers is None else ["--workers", str(self.workers)]
        words += ["--resume"] if self.resume else []
        words += [] if self.since is None else ["--since", f"{self.since:.3f}"]
        return shlex.join(words)


def check_store(url: str | None) -> None:
    """Refuse a store that a job on a cluster must not be given, or would lose.

    Raises:
        ValueError: it has a password, which the job server would show, or is a file in the job's temporary folder.
    """
    from l2l_snn.storage.credentials import shown

    if url is None:
        return
    if shown(url) != url:
        got = f"{shown(url)}, which the cluster's job list would show"
        todo = (
            "put it into ~/.pgpass on the head node, or into the L2L_STORE of `ray start` there and leave --store out"
        )
        raise ValueError(message("--store", "a URL without a password", got, todo))
    if url.startswith("sqlite:") and not url.startswith("sqlite:////"):
        expected = "a file on the head node from its root, e.g. sqlite:////data/l2l.db"
        raise ValueError(message("--store", expected, url, "a job's own folder there is deleted after it"))


def free_name(stem: str) -> str:
    """Return a name for a run that no other has: the store is out of sight from here, so time and chance make it."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", stem).lstrip(".-")[:70] or "run"
    return f"{stem}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Become `l2l run`, or `l2l resume` if the run is there already, on the cluster that this node belongs to."""
    parser = argparse.ArgumentParser(prog="python -m l2l_snn.cluster.submission", description=main.__doc__)
    parser.add_argument("job", help="job file")
    parser.add_argument("--name", required=True, help="of the run")
    parser.add_argument("--store", default=os.environ.get("L2L_STORE"), help="by default L2L_STORE")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--resume", action="store_true", help="the run must be there")
    parser.add_argument("--since", type=float, help="go on with the run if it was created after this, s since 1970")
    options = parser.parse_args(arguments)
    from l2l_snn.loop.errors import exit_status
    from l2l_snn.storage.database import StoreError

    try:
        os.environ["L2L_STORE"] = _check_head_store(options.store)  # so its password, if any, is on no command line
        there = options.resume or (options.since is not None and _was_created(options.name, options.since))
    except (StoreError, ValueError) as error:
        print(f"l2l: {error}", file=sys.stderr)
        sys.exit(exit_status(error))
    command = ["resume", options.name, "--take-over"] if there else ["run", options.job, "--name", options.name]
    if options.resume or not there:  # a run that goes on after its driver's death has its settings in the store
        command += [word for setting in options.settings for word in ("--set", setting)]
    command += ["--address", "auto"] + ([] if options.workers is None else ["--workers", str(options.workers)])
    print(shlex.join(["l2l", *command]), flush=True)
    os.execv(sys.executable, [sys.executable, "-m", "l2l_snn.cli", *command])


def _check_head_store(url: str | None) -> str:
    if not url:
        todo = "name it with --store, or start Ray on the head node with L2L_STORE set"
        raise ValueError(message("store", "a URL", "none", todo))
    if url.startswith("sqlite:"):
        check_store(url)
    return url


def _was_created(name: str, since: float) -> bool:
    """Return whether the run is in the store, made by this submission.

    Raises:
        ValueError: one of that name is older: it is somebody else's.
    """
    from l2l_snn.storage.store import RunUnknown, Store

    with Store(os.environ["L2L_STORE"]) as store:
        try:
            run = store.load(name)
        except RunUnknown:
            return False
        if run.started.timestamp() < since:
            raise ValueError(
                message("--name", "a name that no run has", repr(name), "choose another, or go on with it: --resume")
            )
        return True


if __name__ == "__main__":
    main()
