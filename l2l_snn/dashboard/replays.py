"""Replays on request: one `replay_process` after another, what it drew kept for a while.

The pictures are copied from where they are drawn, as by `l2l replay` (runs/RUN/gG_iI), so that a later replay of
another store's run of the same name doesn't change them.
"""

import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from l2l_snn.dashboard import processes
from l2l_snn.dashboard.models import Replay
from l2l_snn.dashboard.settings import Settings
from l2l_snn.storage.records import check_name

KEPT = 50  # replays whose pictures are kept
WAITING = 10  # replays that may wait for their turn
PICTURES = (".png", ".gif")


class Key(NamedTuple):
    """Which evaluation; the run's id tells it from a later run of its name."""

    run: str
    run_id: int
    generation: int
    individual: int


class Busy(Exception):
    """Too many replays wait."""


class _Job:
    """One replay, as it goes on."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.state = "waiting"
        self.began = self.ended = 0.0
        self.same: bool | None = None
        self.log = ""
        self.pictures: list[Path] = []
        self.process: processes.Process | None = None


class Replays:
    """The replays of one page, run one after another. Threads may share it."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._folder = tempfile.TemporaryDirectory(prefix="l2l-replays-")
        self._lock = threading.Lock()
        self._jobs: OrderedDict[Key, _Job] = OrderedDict()
        self._made = 0
        self._turn = threading.Lock()  # held by the replay that runs

    def close(self) -> None:
        """End what runs, and forget all."""
        with self._lock:
            for job in self._jobs.values():
                self._cancel_job(job)
        with self._turn:  # the last one has noticed
            self._folder.cleanup()

    def start(self, key: Key) -> Replay:
        """Start a replay, unless there is one that runs or went well; return it.

        Raises:
            Busy: too many wait.
            ValueError: the run's name can't be one.
        """
        check_name(key.run)
        with self._lock:
            job = self._jobs.get(key)
            if job is not None and job.state in ("waiting", "running", "done"):
                return _describe_job(job)
            if sum(other.state in ("waiting", "running") for other in self._jobs.values()) >= WAITING:
                raise Busy(f"{WAITING} replays wait already; cancel one, or try again when one has ended")
            self._made += 1
            job = self._jobs[key] = _Job(Path(self._folder.name) / str(self._made))
            self._jobs.move_to_end(key)
            for old in [k for k, j in self._jobs.items() if j.state not in ("waiting", "running")][:-KEPT]:
                shutil.rmtree(self._jobs.pop(old).folder, ignore_errors=True)
        threading.Thread(target=self._run_job, args=(key, job), daemon=True).start()
        return _describe_job(job)

    def get(self, key: Key) -> Replay:
        """Return a replay; one that nobody asked for has the state "none"."""
        with self._lock:
            job = self._jobs.get(key)
            return (
                Replay(state="none", seconds=0, same=None, log="", pictures=[]) if job is None else _describe_job(job)
            )

    def cancel(self, key: Key) -> Replay:
        """End a replay that waits or runs; return it."""
        with self._lock:
            if key in self._jobs:
                self._cancel_job(self._jobs[key])
        return self.get(key)

    def picture(self, key: Key, name: str) -> Path | None:
        """Return the file of a picture that a replay drew."""
        with self._lock:
            job = self._jobs.get(key)
            return next((path for path in job.pictures if path.name == name), None) if job else None

    def _cancel_job(self, job: _Job) -> None:
        if job.state in ("waiting", "running"):
            job.state, job.ended = "cancelled", time.monotonic()
            if job.process is not None:
                processes.end(job.process)

    def _run_job(self, key: Key, job: _Job) -> None:
        with self._turn:
            job.folder.mkdir(parents=True)
            with open(job.folder / "log", "wb") as log:
                with self._lock:
                    if job.state != "waiting":
                        return
                    job.state, job.began = "running", time.monotonic()
                    wanted = {"run": key.run, "generation": key.generation, "individual": key.individual}
                    wanted["results"] = str(self._settings.results)
                    job.process = processes.start_module(self._settings, "replay_process", wanted, log)
                try:
                    answer = processes.answer_of(job.process, "the replay", self._settings.replay_limit)
                    refusal = ""
                except processes.Refused as error:
                    answer, refusal = None, str(error)
            with self._lock:
                job.log = processes.tail(job.folder / "log")
                job.ended = time.monotonic()
                if job.state == "cancelled":
                    return
                job.log = "\n".join(filter(None, (job.log.rstrip(), refusal)))
                if answer is None:
                    job.state = "failed"
                    return
                drawn = self._settings.results / key.run / f"g{key.generation}_i{key.individual}"
                job.pictures = _copy_pictures(answer["files"], drawn, job.folder)
                job.same, job.state = answer["same"], "done"


def _copy_pictures(files: list[str], source: Path, folder: Path) -> list[Path]:
    """Copy those of the files that are pictures in `source`; return the copies."""
    copies = []
    for file in files:
        path = Path(file)
        inside = path.parent.resolve() == source.resolve() and path.resolve().parent == source.resolve()
        if inside and path.suffix in PICTURES and path.is_file():
            copies.append(Path(shutil.copyfile(path, folder / path.name)))
    return copies


def _describe_job(job: _Job) -> Replay:
    seconds = 0.0 if not job.began else (job.ended or time.monotonic()) - job.began
    pictures = [path.name for path in job.pictures]
    return Replay(state=job.state, seconds=seconds, same=job.same, log=job.log, pictures=pictures)  # pyright: ignore[reportArgumentType]
