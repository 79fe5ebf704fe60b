"""The application: routes, what becomes of errors, the guard around it; and the server that runs it."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from l2l_snn.dashboard import control_api, models, pages, read_api, replay_api
from l2l_snn.dashboard.launches import Launches
from l2l_snn.dashboard.processes import Refused
from l2l_snn.dashboard.read_individual import Missing
from l2l_snn.dashboard.replays import Busy, Replays
from l2l_snn.dashboard.security import Guard
from l2l_snn.dashboard.settings import Settings, is_loopback
from l2l_snn.storage.store import RunUnknown, Store, StoreError
from l2l_snn.validate import message

if TYPE_CHECKING:
    from uvicorn import Server

THREADS = 8  # that read the store at once
LONGEST = 600  # characters of an error
STATUS: dict[type[Exception], int] = {
    RunUnknown: 404,
    Missing: 404,
    StoreError: 503,
    ValueError: 422,
    control_api.NoControl: 403,
    Refused: 409,
    Busy: 429,
}


def create_app(store: Store, settings: Settings) -> FastAPI:
    """Return the application over an open store, without its `Guard`; whoever opened the store closes it."""
    replays = Replays(settings)
    drivers = Launches(settings)
    page = pages.make_renderer(settings, store.url_shown)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        yield
        await anyio.to_thread.run_sync(replays.close)

    # its own pages of documentation would load scripts from elsewhere
    app = FastAPI(title="l2l dashboard", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"model": models.Error} for status in (401, 404, 409, 413, 421, 422, 503)
    }
    api = APIRouter(prefix="/api", responses=refusals)
    api.include_router(control_api.router(store, settings, drivers))
    api.include_router(replay_api.router(store, replays))
    api.include_router(read_api.router(store, settings))
    app.include_router(api)
    app.include_router(pages.router(store, drivers, page))
    app.mount("/static", _StaticFiles(directory=pages.HERE / "static"))
    for kind, status in STATUS.items():
        app.add_exception_handler(kind, _make_handler(status, page))
    app.add_exception_handler(HTTPException, _make_http_handler(page))
    app.add_exception_handler(RequestValidationError, _make_invalid_handler(page))
    app.add_exception_handler(ValidationError, _report_failure)  # of an answer; those of requests are of another class
    app.add_exception_handler(Exception, _report_failure)
    return app


class _StaticFiles(StaticFiles):
    """Files that a browser keeps, but asks each time whether they are the same."""

    def file_response(self, *args: Any, **options: Any) -> Any:
        response = super().file_response(*args, **options)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _answer_json(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": _shorten_line(text)}, status)


def _shorten_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[:LONGEST] + " ..."


def _answer_error(request: Request, page: pages.Renderer, status: int, text: str) -> Response:
    """Return an error as JSON, or to a browser that asked for a page as one."""
    if pages.wants_page(request):
        return page("problem.html", status, code=status, text=_shorten_line(text))
    return _answer_json(status, text)


def _make_handler(status: int, page: pages.Renderer) -> Any:
    def handle(request: Request, error: Exception) -> Response:
        return _answer_error(request, page, status, str(error))

    return handle


def _make_http_handler(page: pages.Renderer) -> Any:
    def refuse_http(request: Request, error: Any) -> Response:
        response = _answer_error(request, page, error.status_code, str(error.detail))
        response.headers.update(error.headers or {})
        return response

    return refuse_http


def _make_invalid_handler(page: pages.Renderer) -> Any:
    def refuse_invalid(request: Request, error: Any) -> Response:
        complaints = []
        for one in error.errors()[:3]:
            place = ".".join(str(part) for part in one["loc"][1:]) or str(one["loc"][0])
            complaints.append(f"{place}: {one['msg'][0].lower()}{one['msg'][1:]}")
        return _answer_error(request, page, 422, "; ".join(complaints))

    return refuse_invalid


def _report_failure(request: Request, error: Exception) -> JSONResponse:
    return _answer_json(500, f"the page failed: {type(error).__name__}; what happened stands in its terminal")


def listen(settings: Settings, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: the address can't be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host.strip("[]"), port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise OSError(f"{settings.host}:{port}: {error.strerror or error}; choose another --host or --port") from error
    return listening


def address(settings: Settings, port: int) -> str:
    """Return the page's address as a visitor types it, without the token."""
    host = socket.gethostname() if settings.host in ("0.0.0.0", "::") else settings.host.strip("[]")
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def server(store: Store, settings: Settings) -> "Server":
    """Return what serves the page: `server(...).run(sockets=[listen(...)])` does until Ctrl-C.

    Raises:
        ValueError: it would be open to the network without a token.
    """
    import uvicorn

    if settings.token is None and not is_loopback(settings.host):
        raise ValueError(message("token", "one, for a page that is open to the network", "none"))
    config = uvicorn.Config(
        Guard(create_app(store, settings), settings),  # pyright: ignore[reportArgumentType]
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        lifespan="on",
        loop="asyncio",
        ws="none",
    )
    return uvicorn.Server(config)
