"""A SQLite file that is deleted, moved or replaced while it is open is noticed, and what it held is saved."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from stores import SPACE, WIDE, contents, execute, make, state_after, wide

from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import Store, StoreError

FILE = Path("l2l.db")
LOST = "was deleted, moved or replaced while it was open; all that was stored is in l2l-rescued-1.db, go on with: "


def delete():
    FILE.unlink()


def move():
    FILE.rename("elsewhere.db")


def replace():
    shutil.copy(FILE, "copy.db")
    Path("copy.db").replace(FILE)


def delete_log():
    Path("l2l.db-wal").unlink()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store() as opened:
        opened.create("a", "job", {"seed": 1}, SPACE)
        yield opened


@pytest.mark.parametrize("lose", [delete, move, replace, delete_log])
def test_a_driver_whose_file_is_lost_ends_with_what_to_do_and_nothing_is_missing(store, lose):
    def go_on():
        with drive(store, "a") as driver:
            driver.commit(make(0), state_after(0))
            lose()
            driver.commit(make(1), state_after(1))

    with pytest.raises(StoreError, match=LOST) as caught:
        go_on()
    text = str(caught.value)
    assert text.startswith("committing generation 1 of run 'a' in sqlite:///l2l.db failed: l2l.db")
    with Store(text.rpartition(" --store ")[2], create=False) as saved:
        run = saved.load("a")
        assert (run.generation, run.state, run.message) == (1, "stopped", "saved when the store was lost")
        with drive(saved, "a") as driver:
            driver.commit(make(1), state_after(1))
        assert contents(saved) == (2, 6, 1)


@pytest.mark.parametrize("act", ["finish", "report"])
def test_neither_a_finish_nor_a_report_goes_into_a_lost_file(store, act):
    def go_on():
        with drive(store, "a") as driver:
            driver.commit(make(0), state_after(0))
            delete()
            driver.finish("finished") if act == "finish" else driver.report([])

    with pytest.raises(StoreError, match=LOST):
        go_on()
    assert len(list(Path().glob("*rescued*.db"))) == 1  # saved once, though the lease is given back after it
    assert not FILE.exists()


def test_a_file_that_is_lost_while_it_is_written_to_is_noticed_after_it(store):
    with pytest.raises(StoreError, match=LOST):
        store.writing("trying", lambda connection, again: delete())


def test_large_genomes_are_found_from_the_copy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    part = wide(0)

    def go_on(store):
        with drive(store, "a") as driver:
            driver.commit(part, state_after(0))
            delete()
            driver.report([])

    with Store() as store:
        store.create("a", "job", {"job": {}}, WIDE)
        with pytest.raises(StoreError, match=LOST) as caught:
            go_on(store)
    with Store(str(caught.value).rpartition(" --store ")[2], create=False) as saved:
        np.testing.assert_array_equal(saved.individual("a", 0, 1).z, part.z[1])


def test_without_room_for_a_copy_it_is_said(store, monkeypatch):
    monkeypatch.setattr("l2l_snn.storage.sqlite_file._make_file", lambda path: path.joinpath("x").touch())
    with pytest.raises(StoreError, match=r"while it was open, and no copy could be made; put it back and resume"):
        store.writing("trying", lambda connection, again: delete())


def test_who_only_reads_goes_on_with_what_is_at_the_place(store):
    delete()
    with pytest.raises(StoreError, match="there is no such file; runs make it"):
        store.runs()
    assert not FILE.exists()
    with Store() as other:
        other.create("b", "job", {}, SPACE)
        assert [run.name for run in store.runs()] == ["b"]
        other.create("c", "job", {}, SPACE)
        assert [run.name for run in store.runs()] == ["b", "c"]


def test_a_store_stays_where_it_was_opened_when_the_current_folder_changes(store, tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir("other")
    with drive(store, "a") as driver:
        driver.commit(make(0), state_after(0))
    assert execute(f"sqlite:///{tmp_path}/l2l.db", "SELECT generation FROM runs") == [(1,)]
    assert list(Path().iterdir()) == []
