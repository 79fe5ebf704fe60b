"""l2l prune: what is deleted is gone, what stays is as it was, and a run that is driven loses nothing."""

import os

import numpy as np
import pytest
from stores import SPACE, WIDE, files, fill, is_sqlite, make, on_sqlite, state_after, wide
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.results import tables
from l2l_snn.storage import prune
from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import RunBusy, RunUnknown, Store

FITNESS = [[1.0, 0.5, 2.0], [1.5, np.nan, 2.0]]
ELITE = [True, False, True, False, False, True]


@pytest.fixture
def url(store_url, tmp_path):
    return store_url if is_sqlite(store_url) else f"{store_url}&genomes={tmp_path}/l2l.genomes"


@pytest.fixture
def store(url):
    with Store(url) as opened:
        yield opened


def l2l(*arguments: str, status: int = 0, say: str = "") -> str:
    result = CliRunner().invoke(app, list(arguments), input=say)
    assert result.exit_code == status, result.output
    return result.output


def parts(space) -> list:
    made = [wide(number, fitness=row, size=space.size) for number, row in enumerate(FITNESS)]
    for part in made:
        part.z[0, :5] = 0.5
    return made


def test_deleted_runs_are_gone_and_the_others_as_they_were(store, url, tmp_path):
    for name in "abc":
        fill(store, name, *parts(WIDE))
    before = tables.individuals(store, "b", params=True)
    printed = l2l("prune", "a", "c", "--yes", "--store", url)
    assert "deleted a, c\nremoved 4 genome files; freed" in printed
    assert [run.name for run in store.runs()] == ["b"]
    assert [name[:2] for name in files(tmp_path)] == ["b/", "b/"]
    assert tables.individuals(store, "b", params=True).equals(before)
    with store.read() as connection:
        for table, count in (("generations", 2), ("individuals", 6), ("states", 3)):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar() == count
    store.create("a", "job", {}, SPACE)


@pytest.mark.parametrize("space", [SPACE, WIDE], ids=["small", "large"])
def test_thinned_runs_keep_the_elite_and_all_that_was_measured(store, url, space):
    made = parts(space)
    fill(store, "a", *made, space=space)
    with drive(store, "a") as driver:
        driver.finish("finished")
    fill(store, "stopped", *made, space=space)
    store.copy("a", "copy")
    measured = tables.individuals(store, "a")
    assert "forgot 3 genomes of 1 run" in l2l("prune", "--genomes", "elite", "--yes", "--store", url)
    table = tables.individuals(store, "a")
    assert table["param.tau"].notna().tolist() == ELITE
    same = [name for name in measured.columns if not name.startswith("param.")]
    assert table[same].equals(measured[same])
    best = store.individual("a")
    assert best.z.tobytes() == made[0].z[2].tobytes()
    for other in ("stopped", "copy"):
        assert tables.individuals(store, other)["param.tau"].notna().all()
    assert "forgot 0 genomes" in l2l("prune", "--genomes", "elite", "--yes", "--store", url)
    assert "forgot 3 genomes of 1 run" in l2l("prune", "a", "--genomes", "none", "--yes", "--store", url)
    assert tables.individuals(store, "a")["param.tau"].isna().all()
    assert store.optimizer_state("a", state_after(0)).step == 1
    with drive(store, "a") as driver:
        driver.commit(wide(2, size=space.size), state_after(2))


def test_a_run_that_is_driven_is_refused_and_loses_nothing(store, url, tmp_path):
    fill(store, "a", *parts(WIDE))
    fill(store, "b", *parts(WIDE))
    with drive(store, "b"):
        for arguments in (["a", "b"], ["a", "b", "--genomes", "none"]):
            assert "run 'b' is driven by process" in l2l("prune", *arguments, "--yes", "--store", url, status=2)
        for act in (prune.delete, lambda opened, names: prune.thin(opened, names, "none")):
            with pytest.raises(RunBusy):
                act(store, ["a", "b"])
        assert "when no run is driven" in l2l("prune", "--store", url)
    for name in "ab":
        assert tables.individuals(store, name, params=True)["param.tau"].notna().all()
    assert len(files(tmp_path)) == 4


def test_nothing_is_deleted_without_a_yes_or_by_a_wrong_name(store, url):
    fill(store, "a", make(0), space=SPACE)
    assert "delete a?" in l2l("prune", "a", "--store", url, status=1, say="n\n")
    assert "did you mean 'a'" in l2l("prune", "a", "aa", "--yes", "--store", url, status=2)
    with pytest.raises(RunUnknown):
        prune.delete(store, ["a", "b"])
    assert store.load("a").generation == 1
    l2l("prune", "a", "--store", url, say="y\n")
    assert store.runs() == []


@on_sqlite
def test_room_is_given_back(store, url, tmp_path):
    fill(store, "a", *(make(number, 500) for number in range(4)), space=SPACE)
    store.close()  # puts all into the one file
    size = os.path.getsize(tmp_path / "l2l.db")
    printed = l2l("prune", "a", "--yes", "--store", url)
    freed = int(printed.split("freed ")[1].split()[0])
    assert freed > 100_000
    assert size - os.path.getsize(tmp_path / "l2l.db") == pytest.approx(freed, abs=40_000)


def test_a_store_without_large_genomes_needs_no_folder(store, url, tmp_path):
    fill(store, "a", make(0), space=SPACE)
    assert "removed 0 genome files" in l2l("prune", "--store", url)
    assert not (tmp_path / "l2l.genomes").exists()
