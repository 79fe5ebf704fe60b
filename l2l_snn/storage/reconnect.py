"""What to do when the database server goes away: wait for it, and try again what was under way.

    persist("reading postgresql://host/db", attempt)    # calls attempt(again) until the connection holds

A network drop, a restart and a failover look alike: the connection is lost and new ones are refused for a while. An
attempt must be one transaction, so that half of it never stays; `again` says that an earlier one may have been
committed without an answer. SQLite has no connection to lose.
"""

import logging
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError

T = TypeVar("T")
PATIENCE = 120.0  # s
LONGEST = 5.0  # s between two attempts
# SQLSTATE: the server ends, crashed, starts, has no free connection (PostgreSQL's manual, appendix A)
_NOT_NOW = "57P03"
_GONE = {"57P01", "57P02", _NOT_NOW, "53300"}
_LOG = logging.getLogger(__name__)


def lost(error: DBAPIError) -> bool:
    """Return whether an error means that the server can't be reached now, rather than that it refused something."""
    if error.connection_invalidated:
        return True
    if not isinstance(error, OperationalError) or isinstance(error.orig, sqlite3.Error):
        return False
    state = getattr(error.orig, "sqlstate", None)  # psycopg has none for a connection that never was
    return state is None or state.startswith("08") or state in _GONE


def starting(error: DBAPIError) -> bool:
    """Return whether the server is there, and starts or ends: it will take connections soon, or be lost."""
    state = getattr(error.orig, "sqlstate", None)
    words = ("is starting up", "is shutting down", "in recovery mode", "not yet accepting connections")
    return state == _NOT_NOW or (state is None and any(word in str(error.orig) for word in words))


def persist(
    what: str,
    attempt: Callable[[bool], T],
    patience: float | None = None,
    worth: Callable[[DBAPIError], bool] = lost,
) -> T:
    """Return what `attempt` returns, calling it again for as long as the connection is lost.

    Args:
        what: what is tried, for the warning; without passwords.
        attempt: one transaction; its argument is False the first time, then True.
        patience: s to go on for after the first loss; PATIENCE if left out.
        worth: which errors are waited for.

    Raises:
        DBAPIError: the server refused, or the connection stayed lost.
    """
    patience = PATIENCE if patience is None else patience
    deadline, pause = 0.0, 0.1
    again = False
    while True:
        try:
            return attempt(again)
        except DBAPIError as error:
            if not worth(error):
                raise
            if not again:
                deadline = time.monotonic() + patience
                _LOG.warning("%s: the database server is lost; waiting up to %.0f s for it", what, patience)
            if time.monotonic() + pause > deadline:
                raise
        again = True
        time.sleep(pause)
        pause = min(2 * pause, LONGEST)
