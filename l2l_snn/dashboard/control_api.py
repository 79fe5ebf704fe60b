"""The JSON API that starts, stops and resumes runs; only with `--control`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import APIRouter, Depends

from l2l_snn.dashboard import launches, models, processes
from l2l_snn.dashboard.addresses import RunName
from l2l_snn.dashboard.settings import Settings
from l2l_snn.loop.job import STOPPING
from l2l_snn.storage import annotations
from l2l_snn.storage.records import check_name
from l2l_snn.storage.store import Store


class NoControl(Exception):
    """The page was started without `--control`."""


def router(store: Store, settings: Settings, drivers: launches.Launches) -> APIRouter:
    """Return the routes."""

    def controlled() -> None:
        if not settings.control:
            raise NoControl("this page only looks; start it with --control to start, stop and resume runs")

    routes = APIRouter(
        tags=["control"],
        dependencies=[Depends(controlled)],
        responses={403: {"model": models.Error}, 409: {"model": models.Error}},
    )
    turn = threading.Lock()  # checks need seconds of CPU time each

    @contextmanager
    def in_turn() -> Iterator[None]:
        if not turn.acquire(timeout=settings.check_limit):
            raise processes.Refused("others are being checked; try again")
        try:
            yield
        finally:
            turn.release()

    @routes.get("/jobs")
    def jobs() -> models.Jobs:
        """List the job files that can be started."""
        return models.Jobs(jobs=launches.job_files(settings.jobs))

    @routes.post("/runs", status_code=201)
    def start(wanted: models.Start) -> models.Launch:
        """Start a run of a job file, once its settings are checked."""
        file = launches.job_file(settings.jobs, wanted.job)
        launches.check_settings(wanted.settings, settings.jobs)
        name = wanted.name
        if name is not None:
            check_name(name)
        with in_turn():
            check = {"file": str(file), "settings": wanted.settings}
            processes.ask(settings, "check_job", check, settings.check_limit)
            if name is None:
                name = _choose_name(store, drivers, file)
            elif any(run.name == name for run in store.runs()) or drivers.driven(name):
                raise processes.Refused(f"run {name!r} exists; choose another name, or resume it")
            arguments = ["run", *_list_options(wanted), "--name", name, "--", str(file)]
            return drivers.start(name, arguments)

    @routes.post("/runs/{run}/stop", status_code=202)
    def stop(run: RunName) -> models.Done:
        """Ask a run to stop; it does after what it is evaluating."""
        stored = store.load(run)
        if stored.state != "running":
            raise processes.Refused(f"run {run!r} isn't running, it is {stored.state}")
        store.request_stop(run)
        return models.Done(message="asked to stop; it ends after what it is evaluating")

    @routes.post("/runs/{run}/resume", status_code=202)
    def resume(run: RunName, wanted: models.Resume) -> models.Launch:
        """Go on with a run; its stopping rules alone may be set anew."""
        stored = store.load(run)
        check_name(stored.name)
        if stored.state == "running":
            raise processes.Refused(f"run {run!r} is running")
        launches.check_settings(wanted.settings, settings.jobs)
        for key in (setting.partition("=")[0] for setting in wanted.settings):
            if key.partition(".")[0] not in STOPPING:
                raise processes.Refused(f"{key}: can't change in a stored run, only {', '.join(STOPPING)} can")
        with in_turn():
            check = {"run": stored.name, "settings": wanted.settings}
            processes.ask(settings, "check_job", check, settings.check_limit)
            return drivers.start(stored.name, ["resume", *_list_options(wanted), "--", stored.name])

    @routes.put("/runs/{run}/notes")
    def annotate(run: RunName, wanted: models.Notes) -> models.Notes:
        """Put this note and these tags beside a run, in place of those before."""
        annotations.annotate(store, run, note=wanted.note, tags=wanted.tags)
        stored = store.load(run)
        return models.Notes(note=stored.note, tags=list(stored.tags))

    @routes.get("/launches/{run}")
    def launch(run: RunName) -> models.Launch:
        """Return the driver that this page has started for a run, and the end of what it printed."""
        return drivers.get(run)

    return routes


def _choose_name(store: Store, drivers: launches.Launches, file: Path) -> str:
    """Return a name that neither the store nor a driver that is about to make its run has."""
    name = store.next_name(file.stem)
    stem, _, number = name.rpartition("-")
    while drivers.driven(name):
        number = str(int(number) + 1)
        name = f"{stem}-{number}"
    return name


def _list_options(wanted: models.Start | models.Resume) -> list[str]:
    options = [part for setting in wanted.settings for part in ("--set", setting)]
    options += ["--workers", str(wanted.workers)] if wanted.workers is not None else []
    return options + (["--inline"] if wanted.inline else [])
