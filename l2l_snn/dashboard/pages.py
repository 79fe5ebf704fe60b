"""The HTML pages: shells with no data of the store but names; static/*.js fills them from the JSON API.

A page of what the store hasn't is the answer 404, with the reason in words.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from l2l_snn.dashboard.addresses import Index, RunName
from l2l_snn.dashboard.launches import Launches
from l2l_snn.dashboard.read_individual import find_row
from l2l_snn.dashboard.settings import Settings
from l2l_snn.results.kinds import QUESTIONS
from l2l_snn.storage.records import clean
from l2l_snn.storage.store import RunUnknown, Store

Renderer = Callable[..., HTMLResponse]
HERE = Path(__file__).parent
PLOTLY = HERE / "static" / "plotly" / "plotly-basic.min.js"  # plotly.js 4.1.1, as its npm package has it


def plotly_style_ids() -> list[str]:
    """Return the ids of the style elements that plotly.js adds unless the page has them.

    The page's policy admits no styles of that kind; with elements of these ids there, the script adds none.
    """
    found = re.findall(rb'document\.getElementById\("([0-9a-f]{64})"\)', PLOTLY.read_bytes())
    return [name.decode() for name in dict.fromkeys(found)]


def wants_page(request: Request) -> bool:
    """Return whether a request is a browser's, for a page rather than for JSON or a file."""
    asked = request.url.path.startswith(("/api/", "/static/"))
    return not asked and "text/html" in request.headers.get("accept", "")


def make_renderer(settings: Settings, store_shown: str) -> Renderer:
    """Return the function that renders a template by its name, with values, and perhaps a `status` of the answer."""
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True)
    environment.globals |= {"control": settings.control, "store": store_shown, "style_ids": plotly_style_ids()}

    def page(template: str, status: int = 200, **values: object) -> HTMLResponse:
        return HTMLResponse(environment.get_template(template).render(**values), status)

    return page


def router(store: Store, drivers: Launches, page: Renderer) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)

    def check_run(name: str) -> None:
        """Refuse the page of a run that isn't there, and that no driver of ours is about to make."""
        try:
            store.load(name)
        except RunUnknown:
            if not drivers.known(name):
                raise

    @routes.get("/")
    def runs() -> HTMLResponse:
        return page("runs.html")

    @routes.get("/runs/{run}")
    def run(run: RunName) -> HTMLResponse:
        check_run(run)
        return page("run.html", run=run, kinds=QUESTIONS)

    @routes.get("/runs/{run}/individuals")
    def individuals(run: RunName) -> HTMLResponse:
        check_run(run)
        return page("individuals.html", run=run)

    @routes.get("/runs/{run}/individuals/{generation}/{index}")
    def individual(run: RunName, generation: Index, index: Index) -> HTMLResponse:
        find_row(store, store.load(run), generation, index)
        return page("individual.html", run=run, generation=generation, index=index)

    @routes.get("/runs/{run}/individuals/{generation}/{index}/beside")
    def beside(
        run: RunName,
        generation: Index,
        index: Index,
        other: Annotated[str, Query(alias="run", max_length=100)],
        other_generation: Annotated[int, Query(alias="generation", ge=0, le=2**31 - 1)],
        other_index: Annotated[int, Query(alias="index", ge=0, le=2**31 - 1)],
    ) -> HTMLResponse:
        sides = [
            {"run": name, "generation": g, "index": i}
            for name, g, i in ((run, generation, index), (clean(other), other_generation, other_index))
        ]
        for one in sides:
            find_row(store, store.load(one["run"]), one["generation"], one["index"])
        return page("beside.html", run=run, other=clean(other), sides=sides)

    @routes.get("/compare")
    def compare(run: Annotated[list[str], Query()] = []) -> HTMLResponse:  # noqa: B006
        for name in run:
            store.load(clean(name))
        return page("compare.html")

    @routes.get("/start")
    def start() -> HTMLResponse:
        return page("start.html")

    return routes
