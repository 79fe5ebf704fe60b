"""Who drives a run: a lease in the store, which a killed driver can't keep.

A driver is a process on a machine. Where a pid means the same process (one boot, one pid namespace), the
next driver can look whether the one in the lease still lives; elsewhere it can't, and the user must say.
"""

import json
import os
import platform
import time
import uuid
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Connection, Row, case, delete, update

from l2l_snn.space import Space
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.schema import RUNS, WORKERS


class RunBusy(StoreError):
    """Another driver holds the run."""


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

    @staticmethod
    def of(row: Row) -> "Driver":
        """Return who holds the lease of a row of `runs`."""
        return Driver(row.host, row.machine, row.pid, row.pid_started)

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
    genomes: str  # which are kept: all, elite or none


def columns(driver: Driver | None, owner: str | None = None, leased: float | None = None) -> dict[str, Any]:
    """Return the lease's columns of the table `runs`; with None, those of a run that nobody drives."""
    values: dict[str, Any] = asdict(driver) if driver else {f.name: None for f in fields(Driver)}
    return {"owner": owner, "leased": leased, **values}


def check_free(row: Row) -> None:
    """Refuse a row of `runs` that a driver holds which isn't certainly dead."""
    if row.owner is not None and not Driver.of(row).gone():
        raise RunBusy(Driver.of(row).busy(row.name, row.leased))


def take(connection: Connection, row: Row, take_over: bool, token: str) -> Lease:
    """Take the lease of a run.

    Args:
        connection: in a transaction that writes.
        row: the run's row of `runs`, locked.
        take_over: take it from a living driver too.
        token: random; a lease that has it already is ours.

    Raises:
        RunBusy: another driver has it, and it isn't certain that that one is dead.
    """
    if not take_over and row.owner != token:
        check_free(row)
    values = {"state": "running", "message": "", "finished": None, "stop_requested": None}
    values |= columns(Driver.here(), token, time.time())
    connection.execute(update(RUNS).where(RUNS.c.id == row.id).values(values))
    connection.execute(delete(WORKERS).where(WORKERS.c.run_id == row.id))
    size = Space.from_json(row.space).size
    genomes = json.loads(row.manifest).get("job", {}).get("genomes", "all")
    return Lease(row.name, row.id, token, size, time.monotonic(), row.seconds, genomes)


def check_held(lease: Lease, row: Row) -> None:
    """Refuse a lease that isn't that of the run's row any more."""
    if row.owner != lease.owner:
        by = f" by process {row.pid} on {row.host}" if row.owner else ""
        raise RunBusy(f"run {lease.name!r} was taken over{by}; this driver may not write to it any more")


def release(connection: Connection, lease: Lease, why: str) -> None:
    """Give a lease back, unless it was taken over; a run that nobody finished becomes "stopped"."""
    still = RUNS.c.state == "running"
    values = {
        "state": case((still, "stopped"), else_=RUNS.c.state),
        "message": case((still, why), else_=RUNS.c.message),
        "finished": case((still, time.time()), else_=RUNS.c.finished),
        "stop_requested": None,
        **columns(None),
    }
    ours = (RUNS.c.id == lease.run_id, RUNS.c.owner == lease.owner)
    if connection.execute(update(RUNS).where(*ours).values(values)).rowcount:
        connection.execute(delete(WORKERS).where(WORKERS.c.run_id == lease.run_id))


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
