"""l2l dashboard: the live web page."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from l2l_snn.cli.common import StoreOption, complaints, open_store, results_folder
from l2l_snn.storage import DEFAULT_STORE


def dashboard(
    store: StoreOption = DEFAULT_STORE,
    host: Annotated[str, typer.Option(help="Address to listen on; another than this machine's own needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8710,
    control: Annotated[bool, typer.Option("--control", help="Also start, stop and resume runs from the page.")] = False,
    jobs: Annotated[Path, typer.Option(help="Folder of the job files that it may start.")] = Path("jobs"),
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that visitors need; made if there is none.")
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A further name that the page may be called by, e.g. behind a proxy.")
    ] = None,
) -> None:
    """Show the runs on a live web page."""
    with complaints():
        try:
            from l2l_snn.dashboard import app
        except ModuleNotFoundError as error:
            todo = 'install what the page needs: pip install "l2l-snn[dashboard]"'
            raise ImportError(f"no module {error.name!r}; {todo}") from error
        from l2l_snn.dashboard.settings import TOKEN_FILE, Settings, is_loopback, read_or_make_token
        from l2l_snn.validate import message

        token, made = None, False
        path = token_file or Path.home() / TOKEN_FILE
        if token_file is not None or not is_loopback(host):
            token, made = read_or_make_token(path)
        if control and not jobs.is_dir():
            todo = "name the folder of your job files with --jobs"
            raise ValueError(message("--jobs", "a folder", f"{jobs}, which is none", todo))
        names = frozenset(allow_host or [])
        with ExitStack() as stack:
            opened = stack.enter_context(open_store(store, create=control))
            settings = Settings(store, host, control, jobs, token, names, results_folder(store))
            listening = stack.enter_context(app.listen(settings, port))
            link = app.address(settings, listening.getsockname()[1])
            if made:
                typer.echo(f"made a token, kept in {path}; open {link}?token={token}")
            elif token is not None:
                typer.echo(f"dashboard of {opened.url_shown}: {link} (token in {path}: open {link}?token=TOKEN once)")
            else:
                typer.echo(f"dashboard of {opened.url_shown}: {link}")
            app.server(opened, settings).run(sockets=[listening])
