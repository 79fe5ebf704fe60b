"""The database under the store: opening it, bringing its tables up to date, saying clearly what went wrong.

engine = connect(database_url("sqlite:///l2l.db"))
with explained("opening", "sqlite:///l2l.db"):      # whatever goes wrong becomes one line, a StoreError
    prepare(engine)
"""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, column, create_engine, event, inspect, make_url, select, table, text
from sqlalchemy.exc import SQLAlchemyError

from l2l_snn.migrations.schema import VERSION, VERSION_TABLE

PATIENCE = 30.0  # s that a connection waits for another's lock

_ADVICE = {  # part of the reason, in lower case -> what to do
    "unable to open": "check that it names a file, in a folder that exists and that you may write to",
    "readonly": "you need the right to write to the file and its folder; or choose another --store",
    "not a database": "it is a file of another kind; choose another --store",
    "malformed": "the file is damaged; put a backup in its place, or choose another --store",
    "is full": "make room, then go on with: l2l resume",
    "disk i/o error": "the disk is full or failing; see to it, then go on with: l2l resume",
    "locked": f"another program has kept it locked for {PATIENCE:.0f} s; end that one, and keep off network drives",
    "could not parse": "write e.g. sqlite:///l2l.db or postgresql+psycopg://user@host/database",
    "can't load plugin": "write e.g. sqlite:///l2l.db or postgresql+psycopg://user@host/database",
    "no module named": 'install the driver: pip install "l2l-snn[postgres]"',
    "connection": "check that the server runs and that the URL is right",
}


class StoreError(Exception):
    """What failed, on which store, and what to do, in one line for the user."""


def shown(url: str) -> str:
    """Return the URL as it may be printed: without passwords.

    >>> shown("postgresql://me:secret@host/db?password=secret")
    'postgresql://me:***@host/db?password=***'
    """
    return re.sub(r"(?i)(\bpassword=)[^&]*", r"\1***", re.sub(r"^([^:]*://[^/:@]*):.*@", r"\1:***@", url))


@contextmanager
def explained(what: str, url: str) -> Iterator[None]:
    """Turn what the database, its driver or the operating system raise into a `StoreError` of one line."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())[:300]
        todo = next((todo for part, todo in _ADVICE.items() if part in reason.lower()), "")
        raise StoreError(f"{what} {shown(url)} failed: {reason}{'; ' if todo else ''}{todo}") from error


def connect(url: str) -> Engine:
    """Return an engine on `url` whose transactions begin when SQLAlchemy says so.

    On SQLite, a transaction with the option `writes=True` takes the write lock at its beginning: one that
    reads first and asks for the lock later may be refused without waiting.
    """
    parsed: URL = make_url(url)
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"opening {shown(url)} failed: a store is in sqlite or postgresql; choose another --store")
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _configure)
        event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # Python's sqlite3 begins and commits nothing by itself
    for pragma in (f"busy_timeout={int(PATIENCE * 1000)}", "synchronous=NORMAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def prepare(engine: Engine, url: str, create: bool = True) -> None:
    """Create or upgrade the tables if they aren't at `VERSION`; without `create`, they must be there.

    Raises:
        StoreError: they are newer than this code, aren't there, or the file is another program's database.
    """
    file = engine.url.database
    if not create and engine.dialect.name == "sqlite" and file and file != ":memory:" and not Path(file).exists():
        raise StoreError(f"opening {shown(url)} failed: there is no such file; runs make it, or name it with --store")
    with engine.connect() as connection:
        found = _version(connection)
        names = inspect(connection).get_table_names() if found is None else []
    if found == VERSION:
        return
    if found is not None and found > VERSION:
        newer = f"its tables have version {found}, this l2l knows versions up to {VERSION}"
        raise StoreError(f"opening {shown(url)} failed: {newer}; install a newer l2l-snn, or choose another --store")
    if names and engine.dialect.name == "sqlite" and VERSION_TABLE not in names:  # else another one was faster
        holds = f"it is another program's database, with the tables {', '.join(sorted(names)[:5])}"
        raise StoreError(f"opening {shown(url)} failed: {holds}; choose another --store")
    upgrade(engine)


def _version(connection: Connection) -> str | None:
    """Return the version of the database's tables, None if ours aren't there."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))


def upgrade(engine: Engine) -> None:
    """Create or upgrade the tables in one transaction; of several processes that try, one does it."""
    if engine.dialect.name == "sqlite":
        _use_wal(engine)
    with engine.execution_options(writes=True).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(7617283)"))
        if _version(connection) == VERSION:
            return
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, VERSION)


def _use_wal(engine: Engine) -> None:
    """Let readers and the writer of this file work at once; the file remembers it.

    SQLite doesn't wait for its lock here, whatever the busy timeout, so this does.
    """
    connection = engine.raw_connection()
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
    finally:
        connection.close()
