"""Downloads that go on where they were cut off, and are kept only if they are what was expected."""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from l2l_snn.validate import message

PIECE = 1 << 18  # bytes read at once
Progress = Callable[[int, int], None]  # (bytes that are there, bytes in all)


def fetch(url: str, path: Path, progress: Progress = lambda done, total: None, timeout: float = 30.0) -> Path:
    """Return the path, with the content of the URL in it.

    What came before a connection broke is kept in PATH.part, and the next call asks the server for the rest alone.

    Args:
        url: http, https or file.
        path: where it goes; its folder is made.
        progress: called after every piece.
        timeout: s that the server may be silent.

    Raises:
        OSError: no connection, an answer that isn't the file, or one that ends too soon.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    there = part.stat().st_size if part.exists() else 0
    request = Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        answer = urlopen(request, timeout=timeout)
    except HTTPError as error:
        if error.code != 416:  # nothing is left to send
            raise
        error.close()
        part.replace(path)
        return path
    with answer, part.open("ab") as out:
        if answer.status != 206 and there:  # a server that begins anew
            out.truncate(0)
            there = 0
        total = there + int(answer.headers.get("Content-Length", 0))
        with suppress(IncompleteRead):  # said below
            while piece := answer.read(PIECE):
                out.write(piece)
                there += len(piece)
                progress(there, total)
    if there < total:
        raise OSError(message(url, f"{total} bytes", f"{there}", "ask again: it goes on from there"))
    part.replace(path)
    return path


def sha256(content: bytes) -> str:
    """Return the checksum in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
