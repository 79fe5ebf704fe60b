"""A database server that goes away: the store waits, goes on, commits nothing twice, and gives up in one line."""

import socket
import sqlite3
import threading
from contextlib import closing, contextmanager, suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from stores import SPACE, contents, make, on_postgres, on_sqlite, state_after

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.loop.errors import exit_status
from l2l_snn.results import tables
from l2l_snn.storage import reconnect
from l2l_snn.storage.driver import drive
from l2l_snn.storage.reconnect import lost, persist
from l2l_snn.storage.store import Store, StoreError

psycopg = pytest.importorskip("psycopg", reason='psycopg isn\'t installed: pip install "l2l-snn[postgres]"')
LIMIT = 120  # s


@pytest.fixture
def store(store_url):
    with Store(store_url) as opened:
        opened.create("a", "job", {}, SPACE)
        yield opened


@on_postgres
def test_reads_and_commits_wait_for_a_server_that_is_killed_and_started_again(store, postgres, caplog):
    problems, ended = [], threading.Event()
    committed = [threading.Event() for _ in range(6)]

    def read() -> None:
        while not ended.is_set():
            assert len(tables.individuals(store, "a")) % 3 == 0

    def commit_and_report() -> None:
        with drive(store, "a") as driver:
            for number in range(6):
                assert not driver.report([WorkerStatus("n:1", number, 0, 2, 1.0)])
                driver.commit(make(number), state_after(number))
                committed[number].set()
            driver.finish("finished")

    def noted(what) -> None:
        try:
            what()
        except BaseException as error:
            problems.append(error)

    reader, driver = (threading.Thread(target=noted, args=(what,)) for what in (read, commit_and_report))
    reader.start()
    driver.start()
    try:
        for number, pause in ((1, 1.5), (3, 0.0)):
            assert committed[number].wait(LIMIT), problems
            postgres.kill()
            ended.wait(pause)
            postgres.start()
    finally:
        driver.join(LIMIT)
        ended.set()
        reader.join(LIMIT)
    assert problems == []
    assert contents(store) == (6, 18, 5)
    waits = [record.getMessage() for record in caplog.records if record.name == "l2l_snn.storage.reconnect"]
    assert waits
    assert all("***" in wait and "the database server is lost; waiting up to 120 s for it" in wait for wait in waits)


@on_postgres
def test_what_waits_longer_than_its_patience_is_one_line(store, postgres, monkeypatch, caplog):
    monkeypatch.setattr(reconnect, "PATIENCE", 0.3)
    postgres.kill()
    try:
        for attempt in (store.runs, lambda: store.create("b", "job", {}, SPACE), lambda: store.read().__enter__()):
            with pytest.raises(StoreError, match=r"postgresql://l2l:\*\*\*@.* failed: .*; check that the server") as e:
                attempt()
            assert "\n" not in str(e.value)
        assert len([record for record in caplog.records if record.name == "l2l_snn.storage.reconnect"]) == 3  # one each
    finally:
        postgres.start()
    assert [run.name for run in store.runs()] == ["a"]


@on_postgres
def test_opening_does_not_wait(store_url, postgres, caplog):
    postgres.kill()
    try:
        with pytest.raises(StoreError, match=r"opening .* failed: connection .*; check that the server runs"):
            Store(store_url)
    finally:
        postgres.start()
    assert caplog.records == []


@on_sqlite
def test_opening_waits_for_a_server_that_starts_up(store_url, monkeypatch, caplog):
    Store(store_url).close()
    refusals = [psycopg.OperationalError("connection failed: FATAL:  the database system is starting up")] * 2
    refusals += [psycopg.errors.CannotConnectNow()]
    calls = []

    def refuse(*arguments):
        calls.append(arguments)
        if refusals:
            raise OperationalError("", {}, refusals.pop())

    monkeypatch.setattr("l2l_snn.storage.store.prepare", refuse)
    monkeypatch.setattr("l2l_snn.storage.reconnect.time.sleep", lambda seconds: None)
    Store(store_url).close()
    assert len(calls) == 4
    assert "the database server is lost; waiting up to 120 s" in caplog.text
    refusals += [psycopg.OperationalError("connection refused")]
    with pytest.raises(StoreError, match="connection refused") as caught:
        Store(store_url)
    assert caught.value.lost
    assert exit_status(caught.value) == 75  # `l2l submit` tries again
    with pytest.raises(StoreError) as caught:
        Store(store_url.replace("sqlite", "mysql"))
    assert exit_status(caught.value) == 2


@contextmanager
def proxy(target: str, broken: list[str]):
    """Stand between clients and a server: cut a connection in its COMMIT as `broken` says, one entry a commit.

    "before": the server doesn't get it; "after": it does, and its answer is dropped.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    cut: list[str] = []

    def serve(client: socket.socket) -> None:
        with closing(client), closing(socket.socket(socket.AF_UNIX)) as server:
            server.connect(target)
            dropped = threading.Event()

            def answer() -> None:
                with suppress(OSError):  # either end may be gone already
                    while data := server.recv(65536):
                        if dropped.is_set():
                            break
                        client.sendall(data)
                    client.shutdown(socket.SHUT_RDWR)

            answering = threading.Thread(target=answer)
            answering.start()
            with suppress(OSError):
                while data := client.recv(65536):
                    if b"COMMIT" in data and broken:
                        cut.append(broken.pop(0))
                        dropped.set()
                        if cut[-1] == "before":
                            break
                    server.sendall(data)
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)
            answering.join(LIMIT)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(client,), daemon=True).start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield listener.getsockname()[1], cut
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(LIMIT)


@on_postgres
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_committed_without_an_answer_is_not_committed_twice(store_url, postgres, when, caplog):
    broken: list[str] = []
    with proxy(str(postgres.socket), broken) as (port, cut):
        folder = str(postgres.socket.parent)
        url = store_url.replace(f"host={folder}", f"host=127.0.0.1&port={port}&sslmode=disable&gssencmode=disable")
        assert url != store_url
        with Store(url) as store:
            broken.append(when)
            store.create("a", "job", {}, SPACE)
            broken.append(when)
            with drive(store, "a") as driver:
                for number in range(2):
                    broken.append(when)
                    driver.commit(make(number), state_after(number))
                broken.append(when)
                assert driver.report([WorkerStatus("n:1", 2, 0, 2, 1.0)]) is False
                broken.append(when)
                driver.finish("finished", "done")
                broken.append(when)
            broken.append(when)
            store.copy("a", "b")
    assert cut == [when] * 8
    assert len(caplog.records) == 8
    with Store(store_url) as store:
        assert [(run.name, run.generation, run.state) for run in store.runs()] == [
            ("a", 2, "finished"),
            ("b", 2, "stopped"),
        ]
        with store.read() as connection:
            counts = text("SELECT run_id, count(*) FROM individuals GROUP BY 1 ORDER BY 1")
            assert [count for _, count in connection.execute(counts)] == [6, 6]


@on_postgres
def test_a_generation_committed_by_somebody_else_is_not_taken_for_ones_own(store):
    with drive(store, "a") as driver:
        driver.commit(make(0), state_after(0))
        with pytest.raises(StoreError, match="generation 0 can't be committed, its next one is 1"):
            driver.commit(make(0), state_after(0))


@pytest.mark.parametrize(
    ("orig", "expected"),
    [
        (psycopg.OperationalError("connection refused"), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.CannotConnectNow(), True),
        (psycopg.errors.ConnectionFailure(), True),
        (psycopg.errors.TooManyConnections(), True),
        (psycopg.errors.DiskFull(), False),
        (psycopg.errors.LockNotAvailable(), False),
        (psycopg.errors.InvalidPassword(), False),
        (sqlite3.OperationalError("disk I/O error"), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_server_refuses_is_not_waited_for(orig, expected):
    assert lost(OperationalError("SELECT 1", {}, orig)) is expected


def test_pauses_grow_to_a_limit_and_end_at_the_bound(monkeypatch):
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(reconnect.time, "sleep", sleep)
    monkeypatch.setattr(reconnect.time, "monotonic", lambda: now[0])

    def attempt(again: bool) -> None:
        assert again == bool(pauses)
        raise OperationalError("SELECT 1", {}, psycopg.OperationalError("connection refused"))

    with pytest.raises(OperationalError):
        persist("reading", attempt)
    assert pauses[:7] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0]
    assert set(pauses[7:]) == {5.0}
    assert 115 < now[0] <= 120
