"""A PostgreSQL server of the tests' own: a new folder, a Unix socket, no port, gone with the process that started it.

with Server() as server:
    url = server.database()      # a new empty database
    server.kill()                # as a crash would end it
    server.start()
"""

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from urllib.parse import quote

import pytest

USER, PASSWORD = "l2l", "p@ss:w/rd %41&?#x"  # what an URL needs escapes for
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "listen_addresses": "", "shared_buffers": "16MB"}
_SETTINGS |= {"max_connections": "40", "log_min_messages": "fatal", "autovacuum": "off"}
_LIMIT = 120.0  # s, that starting or ending may take


def programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, None if it isn't installed."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which("initdb")
    return next((f for f in [*folders, *([Path(found).parent] if found else [])] if (f / "initdb").exists()), None)


def _end_with_parent() -> None:
    """Have the kernel end this process when the thread that started it is gone, however that ended."""
    parent_death_signal = 1
    ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGQUIT)


class Server:
    """A running server; a context manager that ends it and removes its folder."""

    def __init__(self) -> None:
        programs_at = programs()
        if programs_at is None:
            pytest.skip("PostgreSQL isn't installed; on Debian: apt install postgresql")
        self._programs = programs_at
        self._folder = Path(tempfile.mkdtemp(prefix="l2l-pg-"))
        self._account: dict[str, object] = {}
        if os.geteuid() == 0:  # the server refuses to run as root
            self._account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self._folder, "nobody", "nogroup")
        self._process: subprocess.Popen | None = None
        self._numbers = count()
        self._store: str | None = None

    def __enter__(self) -> "Server":
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        options = ["-A", "scram-sha-256", "-U", USER, "--pwfile", secret, "--no-sync", "-E", "UTF8", "--no-locale"]
        command = [self._programs / "initdb", "-D", self._folder / "data", *options]
        try:
            subprocess.run(command, check=True, capture_output=True, cwd=self._folder, timeout=_LIMIT, **self._account)
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def start(self) -> None:
        """Start the server and wait until it answers; by the main thread, since it ends with the thread that did."""
        settings = [f"-c{key}={value}" for key, value in _SETTINGS.items()]
        command = [self._programs / "postgres", "-D", self._folder / "data", "-k", self._folder, *settings]
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests
                preexec_fn=_end_with_parent,
                **self._account,
            )
        ready = [self._programs / "pg_isready", "-q", "-h", self._folder]
        deadline = time.monotonic() + _LIMIT
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PostgreSQL doesn't start: {(self._folder / 'log').read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the server at once, without a farewell to its clients, as `pg_ctl stop -m immediate` does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(_LIMIT)
            self._process = None

    @property
    def socket(self) -> Path:
        return self._folder / ".s.PGSQL.5432"

    def url(self, database: str, **options: str) -> str:
        """Return the URL of a database."""
        parts = "".join(f"&{key}={quote(value, safe='')}" for key, value in options.items())
        return f"postgresql://{USER}:{quote(PASSWORD, safe='')}@/{database}?host={self._folder}{parts}"

    def sql(self, *commands: str, database: str = "postgres") -> list[tuple]:
        """Run commands, each its own transaction; return the rows of the last."""
        import psycopg

        options = {"host": str(self._folder), "user": USER, "password": PASSWORD, "dbname": database}
        with psycopg.connect(**options, autocommit=True) as connection:
            for command in commands:
                cursor = connection.execute(command)
            return cursor.fetchall() if cursor.description else []

    def store(self) -> str:
        """Return the URL of a database with the store's empty tables: the same one for each test, emptied."""
        from l2l_snn.storage.schema import METADATA, VERSION, VERSION_TABLE
        from l2l_snn.storage.store import Store

        if self._store is None:
            url = self.database()
            Store(url).close()
            self._store = url
            return url
        name = self._store.partition("@/")[2].partition("?")[0]
        tables = ", ".join(table for table in METADATA.tables if table != "identity")
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid <> pg_backend_pid()",
            f"TRUNCATE {tables} RESTART IDENTITY",
            f"UPDATE {VERSION_TABLE} SET version_num = '{VERSION}'",
            database=name,
        )
        return self._store

    def database(self) -> str:
        """Return the URL of a new empty database."""
        name = f"test{next(self._numbers)}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)
