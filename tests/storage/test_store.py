"""The store: what goes in comes back, a generation is all or nothing, one driver at a time, clear refusals.

All of it on SQLite and on PostgreSQL, but for what only one of them has.
"""

import os
import random
import signal
import sqlite3
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pytest
from sqlalchemy import event, text
from stores import (
    SPACE,
    Bomb,
    State,
    contents,
    ended,
    execute,
    is_sqlite,
    make,
    on_postgres,
    on_sqlite,
    start,
    state_after,
)

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.storage import rows
from l2l_snn.storage.database import connect, shown
from l2l_snn.storage.driver import drive
from l2l_snn.storage.records import Generation
from l2l_snn.storage.store import RunBusy, RunExists, RunUnknown, Store, StoreError


@pytest.fixture
def url(store_url):
    return store_url


@pytest.fixture
def store(url):
    with Store(url) as opened:
        opened.create("a", "job", {"seed": 1}, SPACE)
        yield opened


# round trips


def test_individual_comes_back_bit_for_bit(store):
    fitness = np.array([1 / 3, np.nan, -1e-308])
    part = make(
        0, fitness=fitness, metrics={"b": np.array([0.1, np.nan, -np.inf]), "a": np.zeros(3)}, errors=("", "X: é", "")
    )
    part.z[1] = [np.nan, np.inf, -0.0, 5e-324, 1, 2, 3, 4]
    with drive(store, "a") as driver:
        driver.commit(part, state_after(0))
    for i in range(3):
        found = store.individual("a", 0, i)
        assert (found.generation, found.index, found.population) == (0, i, 3)
        assert found.z.tobytes() == part.z[i].tobytes()
        assert np.float64(found.fitness).tobytes() == fitness[i].tobytes()
        assert found.seed == part.seeds[i]
        assert found.error == part.evaluation.errors[i]
        assert list(found.metrics) == ["b", "a"]
        assert np.array_equal(found.metrics["b"], part.evaluation.metrics["b"][i], equal_nan=True)


def test_several_objectives_come_back(store):
    fitness = np.array([[1.0, 5.0], [2.0, np.nan], [2.0, -1.0]])
    with drive(store, "a") as driver:
        driver.commit(make(0, fitness=fitness), state_after(0))
    for i in range(3):
        np.testing.assert_array_equal(store.individual("a", 0, i).fitness, fitness[i])
    best = store.individual("a")  # the second has no second objective: it failed
    assert best.index == 2
    assert store.load("a").failed == 1


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">i2").reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(2.5),
        np.zeros((0, 4), np.float32),
        np.array([True, False]),
        np.array([2**64 - 1, 0], np.uint64),
        np.array([1 + 2j, np.nan]),
        np.array(["stdp", "e"]),
    ],
)
def test_optimizer_state_comes_back_with_type_and_shape(store, array):
    state = State(array, np.array([1], np.uint64), 3)
    with drive(store, "a") as driver:
        driver.commit(make(0), state)
    found = store.optimizer_state("a", state_after(0))
    assert type(found) is State
    assert found.mean.dtype == array.dtype
    assert found.mean.shape == array.shape
    np.testing.assert_array_equal(found.mean, array)
    assert found.step == 3


def test_of_a_state_only_what_changed_is_written_and_all_of_it_by_each_driver(store, monkeypatch):
    written, append = [], rows.append

    def watched(connection, run, generation, individuals, states, seconds):
        written.append({row["field"] for row in states})
        append(connection, run, generation, individuals, states, seconds)

    monkeypatch.setattr(rows, "append", watched)
    whole = set(State._fields)
    first = State(np.zeros(8), np.array([1], np.uint64), np.array(0))
    second = first._replace(step=np.array(1))
    third = second._replace(mean=np.ones(8))
    with drive(store, "a") as driver:
        driver.commit(make(0), first)
        driver.commit(make(1), second)
        driver.commit(make(2), second)
        with pytest.raises(StoreError, match="generation 7 can't be committed"):
            driver.commit(make(7), third)
        driver.commit(make(3), third)
    with drive(store, "a") as driver:
        driver.commit(make(4), third)
    assert written == [whole, {"step"}, set(), whole, whole]
    for field, value in zip(State._fields, store.optimizer_state("a", state_after(0)), strict=True):
        np.testing.assert_array_equal(value, getattr(third, field))


class Whole(NamedTuple):
    """A state that holds states."""

    best: np.ndarray
    inner: State
    pair: tuple  # of two NamedTuples, one of which holds nothing
    none: tuple


class Pair(NamedTuple):
    left: State
    right: "Empty"


class Empty(NamedTuple):
    pass


def whole(number: int) -> Whole:
    return Whole(np.array(1.5), state_after(number), Pair(state_after(number + 1), Empty()), Empty())


def test_states_in_a_state_come_back_and_are_stored_by_dotted_names(store, url):
    with drive(store, "a") as driver:
        driver.commit(make(0), whole(4))
    fields = ["best", "inner.mean", "inner.step", "inner.words", "pair.left.mean", "pair.left.step", "pair.left.words"]
    assert [row.field for row in execute(url, "SELECT field FROM states ORDER BY field")] == fields
    found = store.optimizer_state("a", whole(0))
    assert [type(found), type(found.pair), type(found.pair.left), found.none] == [Whole, Pair, State, Empty()]
    assert found.best == 1.5
    for have, want in ((found.inner, state_after(4)), (found.pair.left, state_after(5))):
        for array, other in zip(have, want, strict=True):
            assert (array.dtype, array.tobytes()) == (other.dtype, other.tobytes())


def test_of_a_state_in_a_state_only_what_changed_is_written(store, url):
    with drive(store, "a") as driver:
        driver.commit(make(0), whole(0))
        execute(url, "UPDATE states SET data = :data WHERE field LIKE '%words'", data=b"as it was")
        later = whole(0)
        driver.commit(make(1), later._replace(inner=state_after(1)))
    rows = execute(url, "SELECT field FROM states WHERE data = :data", data=b"as it was")
    assert [row.field for row in rows] == ["pair.left.words"]


def test_a_state_whose_inner_state_changed_its_form_is_refused(store):
    with drive(store, "a") as driver:
        driver.commit(make(0), whole(0))
    flat = Whole(np.zeros(1), np.zeros(1), whole(0).pair, Empty())
    with pytest.raises(StoreError, match=r"it lacks inner and has inner\.mean, inner\.step, inner\.words besides"):
        store.optimizer_state("a", flat)
    with (
        pytest.raises(TypeError, match=r"state\.inner\.mean: expected an array of numbers"),
        drive(store, "a") as driver,
    ):
        driver.commit(make(1), whole(0)._replace(inner=state_after(0)._replace(mean=(1, 2))))


@pytest.mark.parametrize("value", [None, object(), np.random.default_rng(), (1, 2), {"a": 1}, np.zeros(2, "V2")])
def test_state_that_is_no_array_of_numbers_is_refused(store, value):
    with drive(store, "a") as driver, pytest.raises(TypeError, match=r"state\.mean: expected an array of numbers"):
        driver.commit(make(0), State(value, np.zeros(1), np.zeros(1)))
    assert store.load("a").generation == 0


def test_run_carries_totals_of_its_generations(store):
    with drive(store, "a") as driver:
        driver.commit(make(0, fitness=[1.0, 2.0, np.nan]), state_after(0))
        driver.commit(make(1, fitness=[np.nan] * 3), state_after(1))
        assert store.load("a").state == "running"
        driver.commit(make(2, fitness=[0.5, 0.25, -1.0]), state_after(2))
        driver.finish("finished", "fitness reached", seconds=12.5)
    run = store.load("a")
    assert (run.job, run.manifest, run.space) == ("job", {"seed": 1}, SPACE)
    assert (run.generation, run.evaluations, run.failed, run.best) == (3, 9, 4, 2.0)
    assert (run.state, run.message, run.seconds) == ("finished", "fitness reached", 12.5)
    assert run.finished >= run.started
    assert run.started.tzinfo is not None
    with drive(store, "a") as driver:
        assert store.load("a").finished is None
        driver.finish("stopped", seconds=1.0)
    assert store.load("a").seconds == 13.5


def test_best_individual_is_that_of_the_largest_score(store):
    with drive(store, "a") as driver:
        driver.commit(make(0, fitness=[1.0, 2.0, np.nan]), state_after(0))
        driver.commit(make(1, fitness=[4.0, 0.0, 4.0]), state_after(1))
        driver.commit(make(2, fitness=[3.0, np.nan, -9.0]), state_after(2))
    best = store.individual("a")
    assert (best.generation, best.index, best.fitness) == (1, 0, 4.0)
    assert store.individual("a", 0).index == 1
    assert store.individual("a", 2).index == 0


def test_missing_individual_is_a_clear_line(store):
    with pytest.raises(StoreError, match=r"has no individual with a fitness; it has no generation yet"):
        store.individual("a")
    with drive(store, "a") as driver:
        driver.commit(make(0, fitness=[np.nan] * 3), state_after(0))
    with pytest.raises(StoreError, match=r"no individual with a fitness in generation 0"):
        store.individual("a", 0)
    with pytest.raises(StoreError, match=r"no individual 3 in generation 0; it has the generations 0 to 0"):
        store.individual("a", 0, 3)
    with pytest.raises(ValueError, match="generation: expected a number beside the index"):
        store.individual("a", index=0)


def test_copy_goes_on_by_itself(store):
    with drive(store, "a") as driver:
        driver.commit(make(0), state_after(0))
        store.copy("a", "b")  # while it runs
    assert store.optimizer_state("b", state_after(0)).step == 0
    with drive(store, "b") as driver:
        driver.commit(make(1), state_after(1))
    a, b = store.load("a"), store.load("b")
    assert (a.generation, b.generation, b.evaluations, b.state) == (1, 2, 6, "stopped")
    assert (b.manifest, b.space) == (a.manifest, a.space)
    assert store.individual("b", 0, 2).z.tobytes() == store.individual("a", 0, 2).z.tobytes()
    assert store.optimizer_state("a", state_after(0)).step == 0
    assert store.optimizer_state("b", state_after(0)).step == 1
    with pytest.raises(RunExists):
        store.copy("a", "b")
    with pytest.raises(RunUnknown):
        store.copy("c", "d")


def test_texts_that_databases_refuse_are_stored_without_the_bad_characters(store):
    with drive(store, "a") as driver:
        driver.commit(make(0, errors=("\ud800x", "a\0b", "")), state_after(0))
        driver.report([WorkerStatus("w\ud800\0", 0, 0, 0, 0.0)])
        assert store.workers("a")[0].worker == "w?"
        driver.finish("failed", "\ud800\0no")
    assert [store.individual("a", 0, i).error for i in range(3)] == ["?x", "ab", ""]
    assert store.load("a").message == "?no"
    store.create("b", "j\ud800\0", {"key \0": "\ud800"}, SPACE)
    assert (store.load("b").job, store.load("b").manifest) == ("j?", {"key \0": "\ud800"})


def test_the_largest_and_smallest_seeds_come_back(store):
    part = make(0)
    part.seeds[:] = [2**63 - 1, -(2**63), 2**31]
    with drive(store, "a") as driver:
        driver.commit(part, state_after(0))
    assert [store.individual("a", 0, i).seed for i in range(3)] == part.seeds.tolist()


def test_infinite_scores_are_stored_and_are_not_the_best(store):
    with drive(store, "a") as driver:
        driver.commit(make(0, fitness=[np.inf, 1.0, -np.inf]), state_after(0))
    assert [store.individual("a", 0, i).fitness for i in range(3)] == [np.inf, 1.0, -np.inf]
    assert store.individual("a").index == 1


# names


@pytest.mark.parametrize("name", ["", ".a", "-a", "a/b", "a b", "ü", "a\n", "x" * 101, "..", None])
def test_name_that_is_no_folder_name_is_refused(store, name):
    with pytest.raises(ValueError, match="run name: expected 1 to 100 letters"):
        store.create(name, "job", {}, SPACE)
    with pytest.raises(ValueError, match="run name: expected 1 to 100 letters"):
        store.copy("a", name)


def test_taken_name_is_refused(store):
    with pytest.raises(RunExists, match=r"run 'a' exists in .*choose another --name, or .*: l2l resume a$"):
        store.create("a", "job", {}, SPACE)
    store.create("A.b_c-" + "d" * 94, "job", {}, SPACE)


def test_unknown_run_is_refused_with_the_closest_name(store):
    store.create("mountain_car-1", "job", {}, SPACE)
    for method in (store.load, store.individual, lambda name: store.optimizer_state(name, state_after(0))):
        with pytest.raises(RunUnknown, match="got 'moutain_car-1'; did you mean 'mountain_car-1'"):
            method("moutain_car-1")
    with pytest.raises(RunUnknown, match="known are a, mountain_car-1"), drive(store, "zzz"):
        pass


def test_next_name_is_the_first_free_one(store):
    for name in ("j-1", "j-3", "j-10", "jx-2", "k_l-1", "kml-2"):
        store.create(name, "j", {}, SPACE)
    assert store.next_name("j") == "j-2"
    assert store.next_name("k_l") == "k_l-2"
    assert store.next_name("new") == "new-1"
    store.create(store.next_name("-my job.v2"), "j", {}, SPACE)
    assert [run.name for run in store.runs()][-1] == "my-job.v2-1"


# atomic commits


def test_commit_of_a_wrong_generation_is_refused(store):
    with drive(store, "a") as driver:
        driver.commit(make(0), state_after(0))
        for number in (0, 2):
            with pytest.raises(StoreError, match=f"generation {number} can't be committed, its next one is 1"):
                driver.commit(make(number), state_after(number))
    assert store.load("a").evaluations == 3


def test_commit_of_a_wrong_shape_is_refused(store):
    good = make(0)
    wrong = [
        Generation(0, good.z[:, :7], good.seeds, good.evaluation, good.seconds, good.workers, 0.5),
        Generation(0, good.z, good.seeds[:2], good.evaluation, good.seconds, good.workers, 0.5),
        Generation(0, good.z, good.seeds, good.evaluation, good.seconds, good.workers[:2], 0.5),
        Generation(0, good.z[:2], good.seeds, good.evaluation, good.seconds, good.workers, 0.5),
    ]
    with drive(store, "a") as driver:
        for part in wrong:
            with pytest.raises(ValueError, match=r"expected an array|argument"):
                driver.commit(part, state_after(0))
    assert store.load("a").generation == 0


def test_error_in_the_middle_of_a_commit_leaves_nothing_of_it(store, url):
    with drive(store, "a") as driver:
        driver.commit(make(0), state_after(0))
        if is_sqlite(url):
            when = "BEFORE INSERT ON states WHEN NEW.field = 'words'"
            bad, good = [f"CREATE TRIGGER bad {when} BEGIN SELECT RAISE(ABORT, 'bang'); END"], "DROP TRIGGER bad"
        else:
            bang = "CREATE FUNCTION bang() RETURNS trigger AS 'BEGIN RAISE ''bang''; END' LANGUAGE plpgsql"
            when = "BEFORE INSERT ON states FOR EACH ROW WHEN (NEW.field = 'words')"
            bad, good = [bang, f"CREATE TRIGGER bad {when} EXECUTE FUNCTION bang()"], "DROP TRIGGER bad ON states"
        execute(url, *bad)
        with pytest.raises(StoreError, match=r"committing generation 1 of run 'a' in \w+:.* failed: bang"):
            driver.commit(make(1), state_after(1))
        assert contents(store) == (1, 3, 0)
        execute(url, good)
        driver.commit(make(1), state_after(1))
    assert contents(store) == (2, 6, 1)


COMMIT_FOR_EVER = """
with Store(url) as store, drive(store, "a") as driver:
    number = store.load("a").generation
    while True:
        driver.commit(make(number, 200), state_after(number))
        print(number, flush=True)
        number += 1
"""


def test_killed_driver_leaves_whole_generations(store, url):
    delays = random.Random(1)
    done = 0
    for _ in range(3):
        process = start(url, COMMIT_FOR_EVER)
        told = [int(process.stdout.readline()) for _ in range(delays.randint(1, 4))]  # then at no special moment
        for _ in range(delays.randint(0, 20000)):
            pass
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.communicate(timeout=60)[0].split()]
        assert told[0] == done  # it went on from the last one, and a dead driver's lease didn't stop it
        done = contents(store, 200)[0]
        assert done in (told[-1] + 1, told[-1] + 2)  # all that it was told is there
    if is_sqlite(url):
        assert execute(url, "PRAGMA integrity_check") == [("ok",)]


@on_sqlite
def test_full_disk_is_told_and_nothing_is_lost(store, url):
    # a limit on the file's size, as the kernel gives it
    code = """
import resource
with Store(url) as store:
    try:
        with drive(store, "a") as driver:
            for number in range(100):
                if number == 3:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
                driver.commit(make(number, 200), state_after(number))
    except StoreError as error:
        print(error)
        print(number)
"""
    message, number = ended(start(url, code)).splitlines()
    assert f"committing generation {number} of run 'a' in sqlite:///" in message
    assert "then go on with: l2l resume" in message
    assert contents(store, 200)[0] == int(number)
    with drive(store, "a") as driver:
        driver.commit(make(int(number), 200), state_after(int(number)))


@on_sqlite
def test_full_database_is_told_and_nothing_is_lost(store):
    with drive(store, "a") as driver:
        driver.commit(make(0, 200), state_after(0))
        with store.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 3}")
        with pytest.raises(StoreError, match="database or disk is full; make room, then go on with: l2l resume"):
            driver.commit(make(1, 200), state_after(1))
        assert contents(store, 200) == (1, 200, 0)


# leases


def test_second_driver_is_refused(store, url):
    with drive(store, "a"), Store(url) as other:
        with (
            pytest.raises(RunBusy, match=rf"run 'a' is driven by process {os.getpid()} on .* UTC; wait .*kill"),
            drive(other, "a"),
        ):
            pass
        assert store.load("a").state == "running"
    with drive(store, "a"):
        pass


def test_lease_taken_over_ends_the_first_driver(store):
    with drive(store, "a") as first:
        first.commit(make(0), state_after(0))
        with drive(store, "a", take_over=True) as second:
            with pytest.raises(RunBusy, match="run 'a' was taken over by process"):
                first.commit(make(1), state_after(1))
            with pytest.raises(RunBusy, match="taken over"):
                first.finish("finished")
            second.commit(make(1), state_after(1))
    with pytest.raises(RunBusy, match="taken over; this"):
        second.commit(make(2), state_after(2))
    assert contents(store) == (2, 6, 1)


def test_released_first_lease_leaves_the_second_alone(store):
    first = drive(store, "a")
    first.__enter__()
    with drive(store, "a", take_over=True) as second:
        first.__exit__(None, None, None)
        assert store.load("a").state == "running"
        second.commit(make(0), state_after(0))


def test_driver_that_raises_leaves_a_stopped_run(store):
    with pytest.raises(KeyboardInterrupt), drive(store, "a"):
        raise KeyboardInterrupt
    run = store.load("a")
    assert run.state == "stopped"
    assert run.message.startswith("ended by KeyboardInterrupt, at test_store.py:")
    assert run.finished is not None


@pytest.mark.parametrize("reaped", [True, False])
def test_dead_drivers_lease_is_taken_over_silently(store, url, reaped):
    code = 'store = Store(url); taken = drive(store, "a"); taken.__enter__(); print("mine", flush=True); input()'
    process = start(url, code)
    assert process.stdout.readline() == "mine\n"
    with pytest.raises(RunBusy, match=f"process {process.pid} "), drive(store, "a"):
        pass
    process.kill()
    if reaped:
        process.communicate(timeout=60)
    else:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the process table
    run = store.load("a")
    assert run.state == "stopped"
    assert f"process {process.pid} " in run.message
    assert "l2l resume a" in run.message
    with drive(store, "a"):
        assert store.load("a").state == "running"
    process.communicate(timeout=60)


def change_lease(url: str, **values) -> None:
    execute(url, f"UPDATE runs SET {', '.join(f'{key} = :{key}' for key in values)}", **values)


def test_driver_on_another_machine_is_busy_until_told_otherwise(store, url):
    with drive(store, "a"):
        change_lease(url, machine="elsewhere", host="node7", pid=2**22 + 1)
        with (
            pytest.raises(RunBusy, match=r"on node7 since .*certainly dead: l2l resume a --take-over"),
            drive(store, "a"),
        ):
            pass
        assert store.load("a").state == "running"
        with drive(store, "a", take_over=True) as driver:
            driver.commit(make(0), state_after(0))


def test_another_process_with_the_pid_of_the_driver_is_not_the_driver(store, url):
    with drive(store, "a"):
        started = psutil.Process().create_time() - psutil.boot_time()
        change_lease(url, pid_started=started - 100)
        with drive(store, "a"):
            pass


def test_of_drivers_that_race_exactly_one_wins(store, url):
    code = """
store = Store(url)
print("ready", flush=True)
input()
try:
    with drive(store, "a"):
        print("won", flush=True)
        input()
except RunBusy:
    print("busy", flush=True)
"""
    drivers = [start(url, code) for _ in range(3)]
    assert [driver.stdout.readline() for driver in drivers] == ["ready\n"] * 3
    for driver in drivers:
        driver.stdin.write("go\n")
        driver.stdin.flush()
    answers = [driver.stdout.readline() for driver in drivers]
    assert sorted(answers) == ["busy\n"] * 2 + ["won\n"]
    for driver in drivers:
        ended(driver, "end\n")


# what the workers do, and the wish to stop


STATUS = [WorkerStatus("n1:12", 3, 0, 4, 1.5), WorkerStatus("n2:9", 3, -1, -1, 2.5)]


def test_workers_are_what_was_reported_last(store):
    assert store.workers("a") == []
    with drive(store, "a") as driver:
        assert driver.report(STATUS[::-1]) is False
        assert store.workers("a") == STATUS
        assert driver.report([STATUS[0]._replace(generation=4)]) is False
        assert store.workers("a") == [WorkerStatus("n1:12", 4, 0, 4, 1.5)]
        store.create("b", "job", {}, SPACE)
        with drive(store, "b") as other:
            other.report(STATUS)
            assert len(store.workers("a")) == 1
            other.report([])
            assert store.workers("b") == []
        with drive(store, "a", take_over=True) as second:
            assert store.workers("a") == []
            with pytest.raises(RunBusy, match="taken over"):
                driver.report(STATUS)
            second.report(STATUS)
    assert store.workers("a") == []
    with pytest.raises(RunUnknown):
        store.workers("zzz")


def test_a_stop_is_asked_for_and_told_to_the_driver_until_the_next_one(store):
    with pytest.raises(StoreError, match=r"run 'a' in .* can't be asked to stop: it is stopped, not running"):
        store.request_stop("a")
    with drive(store, "a") as driver:
        assert driver.report(STATUS) is False
        assert not store.load("a").stop_requested
        store.request_stop("a")
        store.request_stop("a")
        assert store.load("a").stop_requested
        assert driver.report(STATUS) is True
        driver.finish("stopped", "stop requested")
    assert not store.load("a").stop_requested
    with drive(store, "a") as driver:
        assert driver.report(STATUS) is False
        store.request_stop("a")
        store.copy("a", "b")
        with drive(store, "a", take_over=True) as second:
            assert second.report([]) is False
    assert not store.load("b").stop_requested
    with pytest.raises(RunUnknown):
        store.request_stop("zzz")


# several at once


def test_a_reader_sees_one_state_while_a_driver_commits(store, url):
    with drive(store, "a") as driver, store.read() as connection:
        count = text("SELECT count(*) FROM individuals")
        assert connection.execute(count).scalar() == 0
        with Store(url) as other:
            driver.commit(make(0), state_after(0))
            assert other.load("a").evaluations == 3
        assert connection.execute(count).scalar() == 0
        assert connection.execute(text("SELECT generation FROM runs")).scalar() == 0


DRIVE_ANOTHER = """
with Store(url) as store, drive(store, args[0]) as driver:
    for number in range(10):
        driver.commit(make(number), state_after(number))
        driver.report([])
    driver.finish("finished")
"""


def test_drivers_of_different_runs_work_at_once(store, url):
    store.create("A", "job", {}, SPACE)  # another name than "a"
    drivers = [start(url, DRIVE_ANOTHER, name) for name in ("a", "A")]
    for driver in drivers:
        ended(driver)
    for name in ("a", "A"):
        run = store.load(name)
        assert (run.generation, run.evaluations, run.state) == (10, 30, "finished")
        for number in range(10):
            assert store.individual(name, number, 2).z.tobytes() == make(number).z[2].tobytes()


def test_runs_without_a_name_get_one_each_in_a_race(store, url):
    code = "store = Store(url)\nprint('ready', flush=True)\ninput()\n"
    code += "for _ in range(10): print(store.create_numbered('j', {}, SPACE))"
    processes = [start(url, code) for _ in range(3)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    names = [name for process in processes for name in ended(process, "").split()]
    assert sorted(names) == sorted(f"j-{i}" for i in range(1, 31))
    assert len(store.runs()) == 31


def test_a_name_that_was_taken_in_between_is_not_taken_twice(store, monkeypatch):
    free = store.next_name("j")

    def taken_at_once(stem: str) -> str:
        monkeypatch.undo()
        store.create(free, "other", {}, SPACE)
        return free

    monkeypatch.setattr(store, "next_name", taken_at_once)
    assert store.create_numbered("j", {"seed": 1}, SPACE) == "j-2"
    assert (store.load("j-1").job, store.load("j-2").job) == ("other", "j")


@on_postgres
def test_a_row_is_locked_by_what_changes_it_and_not_by_what_reads_it(store):
    told = []
    event.listen(store._engine, "before_cursor_execute", lambda _c, _k, statement, *_: told.append(statement))
    calls = {
        "load": lambda: store.load("a"),
        "workers": lambda: store.workers("a"),
        "copy": lambda: store.copy("a", "b"),
        "request_stop": lambda: store.request_stop("a"),
    }
    locks = {}
    with drive(store, "a"):
        for name, call in calls.items():
            told.clear()
            call()
            locks[name] = any("FOR UPDATE" in statement for statement in told)
    assert locks == {"load": False, "workers": False, "copy": True, "request_stop": True}


# opening


@pytest.fixture
def empty_url(url, request):
    """The URL of a database without tables."""
    return url if is_sqlite(url) else request.getfixturevalue("postgres").database()


def test_processes_that_open_a_new_store_at_once_all_succeed(empty_url):
    url = empty_url
    code = 'print("ready", flush=True); input()\nwith Store(url) as store: store.create(args[0], "j", {}, SPACE)'
    processes = [start(url, code, f"run-{i}") for i in range(4)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        ended(process, "")
    with Store(url) as store:
        assert sorted(run.name for run in store.runs()) == [f"run-{i}" for i in range(4)]


def test_store_waits_for_another_process_that_is_creating_it(tmp_path, monkeypatch):
    path = tmp_path / "new.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waits = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            other.execute("COMMIT")

    monkeypatch.setattr("l2l_snn.storage.database.time.sleep", sleep)
    Store(f"sqlite:///{path}").close()
    assert len(waits) == 3
    other.close()


def test_only_creating_a_store_imports_alembic_and_nothing_is_printed(empty_url):
    url = empty_url
    code = 'import logging\nStore(url).close()\nprint("alembic" in sys.modules, logging.getLogger().handlers)'
    for imported in (True, False):
        process = start(url, code)
        out, err = process.communicate(timeout=60)
        assert (out, err) == (f"{imported} []\n", "")


def test_migrations_lead_to_the_tables_of_the_code(url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from l2l_snn.storage.schema import METADATA, VERSION_TABLE

    Store(url).close()
    engine = connect(url)
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
    engine.dispose()


def test_newest_migration_is_the_version_of_the_code():
    from alembic.script import ScriptDirectory

    from l2l_snn.storage import migrations
    from l2l_snn.storage.schema import VERSION

    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_heads() == [VERSION]


def test_store_of_a_newer_version_is_refused(url):
    Store(url).close()
    execute(url, "UPDATE l2l_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"version 9999, this l2l knows versions up to \d+; install a newer l2l-snn"):
        Store(url)


def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE moz_places (id)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program's database, with the tables moz_places; choose another"):
        Store(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_what_cannot_be_opened_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("text.db").write_text("this is no database, but a text that is long enough to look like one " * 20)
    cases = {
        "sqlite:///nowhere/l2l.db": "unable to open database file; check that it names a file, in a folder that exists",
        "sqlite:///.": "unable to open database file; check that it names a file",
        "sqlite:///text.db": "file is not a database; it is a file of another kind; choose another --store",
        "l2l.db": "write e.g. sqlite:///l2l.db",
        "mysql://me:secret@host/db": "a store is in sqlite or postgresql",
        "nothing://me:secret@host/db": "a store is in sqlite or postgresql",
        "postgresql+nodriver://me:secret@host/db": "write e.g. sqlite:///l2l.db",
    }
    for url, expected in cases.items():
        with pytest.raises(StoreError) as caught:
            Store(url)
        line = str(caught.value)
        assert line.startswith(f"opening {shown(url)} failed: ")
        assert expected in line
        assert "\n" not in line
        assert "secret" not in line


@on_sqlite
def test_store_that_cannot_be_written_is_one_clear_line(store, url):
    # the connection's own refusal: file permissions don't stop a test that runs as root
    with store.read() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(StoreError, match=r"creating run 'b' in sqlite:.*readonly.*; you need the right to write"):
        store.create("b", "job", {}, SPACE)


@on_sqlite
def test_locked_store_is_one_clear_line(store, url):
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with store.read() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30000
        connection.exec_driver_sql("PRAGMA busy_timeout=1")
    with pytest.raises(StoreError, match="database is locked; another program has kept it locked"):
        store.create("b", "job", {}, SPACE)
    assert store.load("a").generation == 0  # readers go on
    other.close()


@on_sqlite
def test_damaged_store_is_one_clear_line(store, url):
    store.close()
    path = Path(url.removeprefix("sqlite:///"))
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(StoreError, match=r"failed: .*; put a backup in its place"), Store(url) as again:
        again.runs()


@on_sqlite
def test_settings_of_the_connection_are_the_documented_ones(store):
    with store.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1}


# a state that doesn't fit


def test_state_of_another_class_is_refused(store):
    class Other(NamedTuple):
        mean: np.ndarray
        sigma: np.ndarray

    with pytest.raises(StoreError, match="has no state of an optimizer: nothing is committed yet"):
        store.optimizer_state("a", state_after(0))
    with drive(store, "a") as driver:
        driver.commit(make(0), state_after(0))
    text = (
        "the optimizer's state of run 'a' in .* was stored in another form than Other has now: it lacks sigma and has "
        r"step, words besides; continue it with the code that made it \(see: l2l show a\), or start a new run$"
    )
    with pytest.raises(StoreError, match=text):
        store.optimizer_state("a", Other(np.zeros(1), np.zeros(1)))


def test_pickles_in_the_store_are_refused_unread(store, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with drive(store, "a") as driver:
        driver.commit(make(0), state_after(0))
    np.save(tmp_path / "bomb.npy", np.array([Bomb()], object), allow_pickle=True)
    bomb = (tmp_path / "bomb.npy").read_bytes()
    for data in (bomb, bomb[128:], b"", b"\x93NUMPY", b"PK\x03\x04" + b"\0" * 100, np.zeros(3).tobytes()):
        execute(url, "UPDATE states SET data = :data WHERE field = 'words'", data=data)
        with pytest.raises(StoreError, match="is damaged: words is not an array of numbers"):
            store.optimizer_state("a", state_after(0))
    assert not (tmp_path / "exploded").exists()
