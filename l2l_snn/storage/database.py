"""The database under the store: opening it, bringing its tables up to date, saying clearly what went wrong.

engine = connect(database_url("sqlite:///l2l.db"))
with explained("opening", "sqlite:///l2l.db"):      # whatever goes wrong becomes one line, a StoreError
    prepare(engine)
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, column, create_engine, event, inspect, make_url, select, table, text
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from l2l_snn.storage.credentials import is_secret, scrubbed, typed_password
from l2l_snn.storage.credentials import shown as shown  # where users of a store look for it
from l2l_snn.storage.network_file_system import mounted, network_file_system
from l2l_snn.storage.reconnect import lost
from l2l_snn.storage.schema import VERSION, VERSION_TABLE

PATIENCE = 30.0  # s that a connection waits for another's lock
GENOMES = "genomes"  # the URL's option that names the folder of large genomes; not the database's
# s, and times: a server that vanished without a word is noticed within about a minute
_TCP = {"connect_timeout": 10, "keepalives_idle": 20, "keepalives_interval": 10, "keepalives_count": 3}
_LOG = logging.getLogger(__name__)

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


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite store, as its URL has it; None for one in memory or on a server."""
    parsed = make_url(url)
    file = parsed.database
    return Path(file) if parsed.get_backend_name() == "sqlite" and file and file != ":memory:" else None


class StoreError(Exception):
    """What failed, on which store, and what to do, in one line for the user."""

    lost = False  # whether the server couldn't be reached, so that later it may go well


def _find_advice(error: Exception, reason: str) -> str:
    return next((todo for part, todo in _ADVICE.items() if part in reason.lower()), "")


@contextmanager
def explained(
    what: str,
    url: str,
    advise: Callable[[Exception, str], str] = _find_advice,
    errors: tuple[type[Exception], ...] = (SQLAlchemyError, sqlite3.Error, OSError, ImportError),
) -> Iterator[None]:
    """Turn what a database, a file system or their drivers raise into a `StoreError` of one line.

    Args:
        what: what was done, e.g. "opening".
        url: where, as it was typed: none of its passwords comes into the line.
        advise: returns what to do about an error and its reason in words, "" if that isn't known.
        errors: which errors.
    """
    try:
        yield
    except errors as error:
        reason = scrubbed(" ".join(str(getattr(error, "orig", None) or error).split()), url)[:300]
        todo = advise(error, reason)
        failed = StoreError(f"{what} {shown(url)} failed: {reason}{'; ' if todo else ''}{todo}")
        failed.lost = isinstance(error, DBAPIError) and lost(error)
        raise failed from error


def connect(url: str) -> Engine:
    """Return an engine on `url` whose transactions begin when SQLAlchemy says so.

    On SQLite, a transaction with the option `writes=True` takes the write lock at its beginning: one that
    reads first and asks for the lock later may be refused without waiting.
    """
    if "@" in typed_password(url):  # it would be read as a part of the host, and be told to a name server
        todo = "in a password, write @ as %40, / as %2F, : as %3A and % as %25"
        raise StoreError(f"opening {shown(url)} failed: its password has an @; {todo}")
    try:
        parsed: URL = make_url(url)
    except (ArgumentError, ValueError):  # their texts would show the URL
        todo = _ADVICE["could not parse"]
        raise StoreError(f"opening {shown(url)} failed: it is no URL of a database; {todo}") from None
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise StoreError(f"opening {shown(url)} failed: a store is in sqlite or postgresql; choose another --store")
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    secrets = {key: value for key, value in parsed.query.items() if is_secret(key)}
    parsed = parsed.difference_update_query([GENOMES, *secrets])  # SQLAlchemy would show the latter
    if parsed.get_backend_name() == "sqlite":
        name = parsed.database or ":memory:"
        if name != ":memory:" and not name.startswith("file:"):  # the current folder may change, e.g. in an evaluation
            parsed = parsed.set(database=str(Path(name).absolute()))
        engine = create_engine(parsed)
        _warn_of_network(parsed.database or "")
        event.listen(engine, "connect", _configure_connection)
        event.listen(engine, "begin", _begin_transaction)
        return engine
    patience = {key: value for key, value in _TCP.items() if key not in parsed.query}
    # pre-ping: a connection that died while it was idle is replaced without a word
    return create_engine(parsed, connect_args=patience | secrets, pool_pre_ping=True)


@lru_cache(maxsize=8)
def _warn_of_network(database: str) -> None:
    """Warn once of a SQLite file on a network file system."""
    kind = network_file_system(Path(database).parent, mounted())
    if kind:
        text = "%s lies on a network file system (%s), where SQLite's locks may fail and damage it; %s"
        _LOG.warning(text, database, kind, "put it on a local disk, or use PostgreSQL")


def _configure_connection(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # Python's sqlite3 begins and commits nothing by itself
    pragmas = (f"busy_timeout={int(PATIENCE * 1000)}", "synchronous=NORMAL", "foreign_keys=ON")
    # 64 MB of log before it is copied into the file: a large optimizer's state is there in many versions, copied once
    for pragma in (*pragmas, "wal_autocheckpoint=16384"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_transaction(connection: Connection) -> None:
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
        found = _read_version(connection)
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


def _read_version(connection: Connection) -> str | None:
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
        if _read_version(connection) == VERSION:
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


def vacuum(engine: Engine) -> int:
    """Give the room of deleted rows back to the file system; return the bytes of it.

    PostgreSQL does that by itself, and keeps most of the room for new rows: 0 bytes there.
    """
    if engine.dialect.name != "sqlite" or not engine.url.database:
        return 0
    files = [Path(engine.url.database + ending) for ending in ("", "-wal")]

    def size() -> int:
        return sum(file.stat().st_size for file in files if file.exists())

    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        before = size()
        connection.cursor().execute("VACUUM")
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.close()
    return max(before - size(), 0)
