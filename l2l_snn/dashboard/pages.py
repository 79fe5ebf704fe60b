"""The HTML pages: shells with no data of the store but names; static/*.js fills them from the JSON API."""

import importlib.util
import mmap
import re
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader

from l2l_snn.dashboard.parameters import Index, RunName
from l2l_snn.dashboard.settings import Settings

HERE = Path(__file__).parent


def plotly_folder() -> Path:
    """Return where the installed plotly package keeps plotly.min.js, without importing it.

    Raises:
        ImportError: it isn't installed.
    """
    spec = importlib.util.find_spec("plotly")
    folder = Path(next(iter(spec.submodule_search_locations or [])), "package_data") if spec else Path()
    if not (folder / "plotly.min.js").is_file():
        raise ImportError('the page needs plotly; install it with: pip install "l2l-snn[dashboard]"')
    return folder


def plotly_style_ids(script: Path) -> list[str]:
    """Return the ids of the style elements that the script adds unless the page has them.

    The page's policy admits no styles of that kind; with elements of these ids there, the script adds none.
    """
    with open(script, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        found = re.findall(rb'if\(!document\.getElementById\("([0-9a-f]{64})"\)\)', text)
    return [name.decode() for name in dict.fromkeys(found)]


def router(settings: Settings, store_shown: str, style_ids: list[str]) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True)
    environment.globals |= {"control": settings.control, "store": store_shown, "style_ids": style_ids}

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


def wants_page(request: Request) -> bool:
    """Return whether a request is for a page, not for the API."""
    return not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")
