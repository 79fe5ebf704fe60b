"""The HTML pages: shells with no data of the store but names; static/*.js fills them from the JSON API."""

import re
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from l2l_snn.dashboard.addresses import Index, RunName
from l2l_snn.dashboard.settings import Settings

HERE = Path(__file__).parent
PLOTLY = HERE / "static" / "plotly" / "plotly-basic.min.js"  # plotly.js 4.1.1, as its npm package has it


def plotly_style_ids() -> list[str]:
    """Return the ids of the style elements that plotly.js adds unless the page has them.

    The page's policy admits no styles of that kind; with elements of these ids there, the script adds none.
    """
    found = re.findall(rb'document\.getElementById\("([0-9a-f]{64})"\)', PLOTLY.read_bytes())
    return [name.decode() for name in dict.fromkeys(found)]


def router(settings: Settings, store_shown: str) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True)
    environment.globals |= {"control": settings.control, "store": store_shown, "style_ids": plotly_style_ids()}

    def page(template: str, **values: object) -> HTMLResponse:
        return HTMLResponse(environment.get_template(template).render(**values))

    @routes.get("/")
    def runs() -> HTMLResponse:
        return page("runs.html")

    @routes.get("/runs/{run}")
    def run(run: RunName) -> HTMLResponse:
        return page("run.html", run=run)

    @routes.get("/runs/{run}/individuals")
    def individuals(run: RunName) -> HTMLResponse:
        return page("individuals.html", run=run)

    @routes.get("/runs/{run}/individuals/{generation}/{index}")
    def individual(run: RunName, generation: Index, index: Index) -> HTMLResponse:
        return page("individual.html", run=run, generation=generation, index=index)

    @routes.get("/compare")
    def compare() -> HTMLResponse:
        return page("compare.html")

    @routes.get("/start")
    def start() -> HTMLResponse:
        return page("start.html")

    return routes
