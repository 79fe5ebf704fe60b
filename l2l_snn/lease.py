"""Who drives a run: a lease in the store, which a killed driver can't keep.

A driver is a process on a machine. Where a pid means the same process (one boot, one pid namespace), the
next driver can look whether the one in the lease still lives; elsewhere it can't, and the user must say.
"""

import os
import platform
import uuid
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True)
class Driver:
    """A process that drives runs; the fields are columns of the table `runs`."""

    host: str
    machine: str  # equal where a pid means the same process
    pid: int
    pid_started: float  # s after the machine's start: a later process with this pid is another one

    @staticmethod
    def here() -> "Driver":
        """Return this process."""
        return Driver(platform.node(), _machine(), os.getpid(), _started(psutil.Process()))

    def gone(self) -> bool:
        """Return whether this driver certainly runs no more; False where that can't be told from here."""
        if self.machine != _machine():
            return False
        try:
            process = psutil.Process(self.pid)
            return process.status() == psutil.STATUS_ZOMBIE or abs(_started(process) - self.pid_started) > 2.0
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False

    def busy(self, name: str, leased: float) -> str:
        """Return why nobody else may drive the run `name` now, and what to do."""
        since = datetime.fromtimestamp(leased, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        text = f"run {name!r} is driven by process {self.pid} on {self.host} since {since}"
        if self.machine == _machine():
            return f"{text}; wait for it, or stop it first: kill {self.pid}"
        return f"{text}; if that one is certainly dead: l2l resume {name} --take-over"


@dataclass(frozen=True)
class Lease:
    """The right to write to a run, until it is released or taken over."""

    name: str
    run_id: int
    owner: str  # token
    size: int  # D
    began: float  # s, time.monotonic()
    seconds: float  # s of driver time before this lease

    @staticmethod
    def token() -> str:
        return uuid.uuid4().hex


def columns(driver: Driver | None, owner: str | None, leased: float | None) -> dict[str, Any]:
    """Return the lease's columns of the table `runs`; with None, those of a run that nobody drives."""
    values: dict[str, Any] = asdict(driver) if driver else {f.name: None for f in fields(Driver)}
    return {"owner": owner, "leased": leased, **values}


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return what is equal for two processes just where a pid means the same to both."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{uuid.getnode():x} {platform.node()}"


def _started(process: psutil.Process) -> float:
    # relative to the boot, read at once: setting the clock moves both
    return process.create_time() - psutil.boot_time()
