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
from sqlalchemy import Row

from l2l_snn.storage.database import StoreError


class RunBusy(StoreError):
    """Another driver holds the run."""


@dataclass(frozen=True)
class Process:
    """A process that drives runs; the fields are columns of the table `runs`."""

    host: str
    machine: str  # equal where a pid means the same process
    pid: int
    pid_started: float  # s after the machine's start: a later process with this pid is another one

    @staticmethod
    def here() -> "Process":
        """Return this process."""
        return Process(platform.node(), _this_machine(), os.getpid(), _seconds_after_boot(psutil.Process()))

    @staticmethod
    def of(row: Row) -> "Process":
        """Return who holds the lease of a row of `runs`."""
        return Process(row.host, row.machine, row.pid, row.pid_started)

    def gone(self) -> bool:
        """Return whether this process certainly runs no more; False where that can't be told from here."""
        if self.machine != _this_machine():
            return False
        try:
            process = psutil.Process(self.pid)
            return (
                process.status() == psutil.STATUS_ZOMBIE or abs(_seconds_after_boot(process) - self.pid_started) > 2.0
            )
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:
            return False

    def busy(self, name: str, leased: float) -> str:
        """Return why nobody else may drive the run `name` now, and what to do."""
        since = datetime.fromtimestamp(leased, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        text = f"run {name!r} is driven by process {self.pid} on {self.host} since {since}"
        if self.machine == _this_machine():
            return f"{text}; wait for it, or stop it first: kill {self.pid}"
        return f"{text}; if that one is certainly dead: l2l resume {name} --take-over"


def columns(process: Process | None, owner: str | None = None, leased: float | None = None) -> dict[str, Any]:
    """Return the lease's columns of the table `runs`; with None, those of a run that nobody drives."""
    values: dict[str, Any] = asdict(process) if process else {f.name: None for f in fields(Process)}
    return {"owner": owner, "leased": leased, **values}


def check_free(row: Row) -> None:
    """Refuse a row of `runs` that a driver holds which isn't certainly dead."""
    if row.owner is not None and not Process.of(row).gone():
        raise RunBusy(Process.of(row).busy(row.name, row.leased))


def check_held(row: Row, owner: str) -> None:
    """Refuse the token `owner` if the lease of a row of `runs` has another one by now."""
    if row.owner != owner:
        by = f" by process {row.pid} on {row.host}" if row.owner else ""
        raise RunBusy(f"run {row.name!r} was taken over{by}; this driver may not write to it any more")


@lru_cache(maxsize=1)
def _this_machine() -> str:
    """Return what is equal for two processes just where a pid means the same to both."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux
        return f"{uuid.getnode():x} {platform.node()}"


def _seconds_after_boot(process: psutil.Process) -> float:
    # relative to the boot, read at once: setting the clock moves both
    return process.create_time() - psutil.boot_time()
