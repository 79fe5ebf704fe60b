"""What the page was started with, and the token that guards it."""

import ipaddress
import os
import secrets
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from l2l_snn.validate import message

TOKEN_FILE = Path(".config/l2l/dashboard.token")  # in the home directory
LONGEST_TOKEN = 1_000  # characters
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Settings:
    """One started page."""

    store_url: str
    host: str = "127.0.0.1"  # address that it listens on
    control: bool = False  # may start, stop and resume runs
    jobs: Path = Path("jobs")  # where the job files are that it may start
    token: str | None = None  # what a visitor must know; None: nothing
    hosts: frozenset[str] = frozenset()  # further names that a visitor may call it by
    results: Path = Path("runs")  # where pictures and log files go, as those of the command line
    replay_limit: float = 900.0  # s, that a replay may take
    check_limit: float = 120.0  # s, that checking a job file may take


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches `host`.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def known_hosts(settings: Settings) -> frozenset[str]:
    """Return the names, in lower case, by which a visitor may call this page.

    A page of another site that made its own name point here (DNS rebinding) calls it by that name. Numbers can't be
    made to point elsewhere: see `Guard`, which admits them where the page is open to the network.
    """
    names = {"localhost", settings.host.strip("[]"), *settings.hosts}
    if not is_loopback(settings.host):
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def read_or_make_token(path: Path) -> tuple[str, bool]:
    """Return the token in a file, and whether it was made just now.

    Args:
        path: the file; one that is made can be read by its owner alone.

    Raises:
        ValueError: others may read the file, or what is in it isn't a token.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            token = secrets.token_urlsafe(32)
            file.write(token + "\n")
        return token, True
    except FileExistsError:
        pass
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise ValueError(message(f"--token-file {path}", "mode 600", f"{mode:o}", f"chmod 600 {path}"))
    token = path.read_text(encoding="utf-8", errors="replace")[: LONGEST_TOKEN + 1].strip()
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN or not (token.isascii() and token.isprintable()):
        expected = f"one line of {SHORTEST_TOKEN} to {LONGEST_TOKEN} printable ASCII characters"
        raise ValueError(
            message(f"--token-file {path}", expected, f"{len(token)} characters", "remove it for a new one")
        )
    return token, False
