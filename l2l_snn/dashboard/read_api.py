"""The JSON API of what is stored: runs, curves, cloud, individuals, workers, comparisons."""

import re
from enum import StrEnum
from typing import Annotated, Any, Literal

import yaml
from fastapi import APIRouter, Query, Response

from l2l_snn.dashboard import models, processes, read_beside, read_individual, read_runs, read_table
from l2l_snn.dashboard.addresses import Index, RunName
from l2l_snn.dashboard.pictures import Pictures
from l2l_snn.dashboard.settings import Settings
from l2l_snn.results.kinds import QUESTIONS
from l2l_snn.storage.records import StoredRun, clean
from l2l_snn.storage.store import Store, StoreError

RunOrder = Literal["started", "run", "state", "generation", "evaluations", "failed", "best", "rate"]
PictureKind = StrEnum("PictureKind", list(QUESTIONS))
COMPARED = 30  # runs, at most
COMPARE_LIMIT = 90.0  # s, that a comparison may take


def router(store: Store, settings: Settings) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["results"])
    pictures = Pictures(settings)
    compared: dict[Any, list[dict[str, Any]]] = {}  # the last comparison alone

    @routes.get("/runs")
    def runs(
        q: Annotated[str, Query(max_length=200, description="part of name, job, message, note or tags")] = "",
        state: Literal["running", "finished", "stopped", "failed"] | None = None,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        sort: RunOrder = "started",
        order: Literal["asc", "desc"] = "desc",
    ) -> models.Runs:
        """List runs, the newest first unless told otherwise."""
        found, total, stored = read_runs.runs(store, q, state, offset, limit, sort, order == "desc")
        speeds = read_runs.speeds(store, [run for run in found if run.state == "running"])
        objectives = read_runs.objectives(store, found)
        listed = [run_model(run, speeds.get(run.id), objectives.get(run.id)) for run in found]
        return models.Runs(runs=listed, total=total, stored=stored, store=store.url_shown)

    @routes.get("/runs/{run}")
    def run(run: RunName) -> models.RunDetail:
        """Return one run, with its job."""
        stored = store.load(run)
        speeds = read_runs.speeds(store, [stored] if stored.state == "running" else [])
        return detail_model(stored, speeds.get(stored.id), store)

    @routes.get("/runs/{run}/generations")
    def generations(
        run: RunName, after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="only what is later")] = -1
    ) -> models.Generations:
        """Return the curves, thinned where there are many generations."""
        stored = store.load(run)
        return read_runs.generations(store, stored.id, stored.generation, after)

    @routes.get("/runs/{run}/cloud")
    def cloud(
        run: RunName, after: Annotated[int, Query(ge=-1, le=2**31 - 1, description="only what is later")] = -1
    ) -> models.Cloud:
        """Return a sample of the individuals with their fitness."""
        stored = store.load(run)
        return read_runs.cloud(store, stored.id, stored.generation, after)

    @routes.get("/runs/{run}/individuals")
    def individuals(
        run: RunName,
        sort: Annotated[str, Query(max_length=300)] = "fitness",
        order: Literal["asc", "desc"] = "desc",
        first: Annotated[int | None, Query(ge=0, le=2**31 - 1, description="generation")] = None,
        last: Annotated[int | None, Query(ge=0, le=2**31 - 1, description="generation")] = None,
        where: Annotated[list[str], Query(max_length=10, description="ge:fitness:0.5")] = [],  # noqa: B006
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> models.Rows:
        """Return a page of the table of individuals."""
        conditions = tuple(read_table.condition(text) for text in where)
        query = read_table.Query(clean(sort), order == "desc", first, last, conditions, offset, limit)
        return read_table.individuals(store, store.load(run), query)

    @routes.get("/runs/{run}/individuals/{generation}/{index}")
    def individual(run: RunName, generation: Index, index: Index) -> models.IndividualDetail:
        """Return one individual, with its parameters decoded."""
        return read_individual.detail(store, store.load(run), generation, index)

    @routes.get(
        "/runs/{run}/individuals/{generation}/{index}/parameter",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}, "text/csv": {}}}},
    )
    def parameter(
        run: RunName,
        generation: Index,
        index: Index,
        name: Annotated[str, Query(max_length=300)],
        form: Literal["npy", "csv"] = "npy",
    ) -> Response:
        """Return all entries of one parameter as a file."""
        stored = store.load(run)
        read_individual.detail(store, stored, generation, index)
        data = read_individual.download(name, read_individual.parameters(store, stored, generation, index), form)
        file = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{run}_g{generation}_i{index}_{name}.{form}")
        kind = "text/csv" if form == "csv" else "application/octet-stream"
        return Response(data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{file}"'})

    @routes.get("/runs/{run}/individuals/{generation}/{index}/beside")
    def beside(
        run: RunName,
        generation: Index,
        index: Index,
        other: Annotated[str, Query(alias="run", max_length=100, description="run of the other one")],
        other_generation: Annotated[int, Query(alias="generation", ge=0, le=2**31 - 1)],
        other_index: Annotated[int, Query(alias="index", ge=0, le=2**31 - 1)],
    ) -> models.Differences:
        """Return where the parameters of two individuals differ."""
        sides = []
        for name, g, i in ((run, generation, index), (clean(other), other_generation, other_index)):
            stored = store.load(name)
            read_individual.find_row(store, stored, g, i)
            try:
                sides.append(read_individual.parameters(store, stored, g, i))
            except StoreError as error:
                return models.Differences(same=0, differing=[], note=str(error))
        return read_beside.compare_parameters(*sides)

    @routes.get("/runs/{run}/workers")
    def workers(run: RunName) -> list[models.Worker]:
        """Return what each worker of a running run does."""
        store.load(run)
        return [models.Worker(**status._asdict()) for status in store.workers(run)]

    @routes.get("/runs/{run}/pictures/{kind}", responses={429: {"model": models.Error}})
    def picture(run: RunName, kind: PictureKind) -> models.Picture:
        """Draw a picture for understanding a run, as `l2l plot --kind` does."""
        return pictures.get(store.load(run), kind.value)

    @routes.get("/compare")
    def compare(
        run: Annotated[list[str], Query(min_length=1, max_length=COMPARED)],
        target: Annotated[float | None, Query(allow_inf_nan=False, description="fitness to reach")] = None,
    ) -> models.Comparison:
        """Compare runs; those of one job that differ in their seed are one group."""
        found = [store.load(clean(name)) for name in run]
        key = (target, tuple((stored.id, stored.generation) for stored in found))
        groups = compared.get(key)
        if groups is None:
            names = [stored.name for stored in found]
            answer = processes.ask(settings, "compare_process", {"runs": names, "target": target}, COMPARE_LIMIT)
            groups = answer["groups"]
            compared.clear()
            compared[key] = groups
        running = any(stored.state == "running" for stored in found)
        several = bool(read_runs.objectives(store, found))
        return models.Comparison(groups=[models.Group(**one) for one in groups], running=running, several=several)

    return routes


def run_model(run: StoredRun, speed: tuple[float, float] | None, objectives: list[float] | None) -> models.Run:
    """Return a run as the API shows it; `speed` and `objectives` are those of `read_runs`."""
    return models.Run(**_describe_run(run, speed, objectives))


def detail_model(run: StoredRun, speed: tuple[float, float] | None, store: Store) -> models.RunDetail:
    """Return a run with its job."""
    job, versions = run.manifest.get("job", {}), run.manifest.get("versions", {})
    stop = job.get("stop") if isinstance(job, dict) else None
    goal = stop.get("fitness") if isinstance(stop, dict) else None
    return models.RunDetail(
        **_describe_run(run, speed, read_runs.objectives(store, [run]).get(run.id)),
        id=run.id,
        settings=yaml.safe_dump(job, sort_keys=False, allow_unicode=True),
        file=str(run.manifest.get("file", "")),
        versions={str(k): None if v is None else str(v) for k, v in versions.items()},
        commit=run.manifest.get("commit"),
        metrics=read_runs.metric_names(store, run),
        parameters=[f"{name}: {parameter!r}" for name, parameter in run.space.parameters.items()],
        goal=float(goal) if isinstance(goal, (int, float)) else None,
    )


def _describe_run(run: StoredRun, speed: tuple[float, float] | None, objectives: list[float] | None) -> dict[str, Any]:
    job = run.manifest.get("job")
    most = job.get("generations") if isinstance(job, dict) else None
    most = most if isinstance(most, int) else None
    left = None
    if run.state == "running" and speed is not None and most is not None:
        left = max(0, most - run.generation) * speed[1]
    rate = speed[0] if speed is not None else run.evaluations / run.seconds if run.seconds else None
    return {
        "run": run.name,
        "job": run.job,
        "state": run.state,
        "message": run.message,
        "stop_requested": run.stop_requested and run.state == "running",
        "generation": run.generation,
        "generations": most,
        "evaluations": run.evaluations,
        "failed": run.failed,
        "best": run.best,
        "objectives": objectives or [],
        "started": run.started.timestamp(),
        "finished": None if run.finished is None else run.finished.timestamp(),
        "seconds": run.seconds,
        "evaluations_per_s": rate,
        "seconds_left": left,
        "note": run.note,
        "tags": list(run.tags),
    }
