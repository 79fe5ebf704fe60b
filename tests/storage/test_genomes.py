"""Large genomes: in files, bit for bit, kept or not as the job says, whatever ends the driver."""

import signal

import numpy as np
import pytest
from places import HELPERS
from stores import SPACE, WIDE, files, fill, is_sqlite, make, on_postgres, start, state_after, wide
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.results import tables
from l2l_snn.space import Free, Space
from l2l_snn.storage import prune
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.driver import drive
from l2l_snn.storage.genomes import LARGE, GenomeMissing, Genomes, place_of
from l2l_snn.storage.records import Generation, elite
from l2l_snn.storage.store import RunBusy, Store

NO_FOLDER = r"have 64 KB each, and those above 64 KB go into files; name a folder .* URL: \?genomes=FOLDER"
SMALLEST = LARGE // 8 + 1  # coordinates of the smallest genome that goes into a file


@pytest.fixture
def url(store_url, tmp_path):
    return store_url if is_sqlite(store_url) else f"{store_url}&genomes={tmp_path}/l2l.genomes"


@pytest.fixture
def store(url):
    with Store(url) as opened:
        yield opened


def test_large_genomes_come_back_bit_for_bit_from_one_file_a_generation(store, tmp_path):
    parts = [wide(0), wide(1, 40)]
    fill(store, "a", *parts)
    assert [name[:9] for name in files(tmp_path)] == ["a/g000000", "a/g000001"]
    for part in parts:
        for k in range(len(part.z)):
            assert store.individual("a", part.number, k).z.tobytes() == part.z[k].tobytes()
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT max(length(z)) FROM individuals").scalar() == 0
    best = store.individual("a")
    assert best.fitness == max(part.evaluation.fitness.max() for part in parts)
    assert best.z.tobytes() == parts[best.generation].z[best.index].tobytes()


def test_only_genomes_above_the_limit_go_into_files(store, tmp_path):
    space = Space(w=Free((SMALLEST - 1,)))
    fill(store, "a", wide(0, size=SMALLEST - 1), space=space)
    assert files(tmp_path) == []
    assert store.individual("a", 0, 1).z.tobytes() == wide(0, size=SMALLEST - 1).z[1].tobytes()
    fill(store, "b", wide(0, size=SMALLEST), space=Space(w=Free((SMALLEST,))))
    assert len(files(tmp_path)) == 1


def test_one_genome_is_found_in_a_file_of_several_pieces(tmp_path):
    genomes = Genomes(str(tmp_path), "0123abcd")
    z = np.random.default_rng(1).standard_normal((9, 2**19))  # 4 MB each: 4 in a piece
    numbers = np.array([0, 1, 2, 5, 6, 9, 11, 12, 40])
    name = genomes.write("a", 7, numbers, z)
    for k in (0, 4, 8):
        found, row = genomes.read(name, 2**19, int(numbers[k]))
        assert found == [numbers[k]]
        assert row.tobytes() == z[k].tobytes()
    assert genomes.read(name, 2**19, 3)[1].shape == (0, 2**19)


def test_tables_hold_large_genomes(store):
    parts = [wide(0), wide(1)]
    for part in parts:
        part.z[0, :5] = 0.5
    fill(store, "a", *parts)
    table = tables.individuals(store, "a")
    assert [name for name in table.columns if name.startswith("param.")] == ["param.tau", "param.n", "param.rule"]
    decoded = [WIDE.decode(z) for part in parts for z in part.z]
    for name in ("tau", "n", "rule"):
        assert list(table[f"param.{name}"]) == [row[name] for row in decoded]
    assert table["param.n"].dtype == np.int64
    every = tables.individuals(store, "a", params=True)
    np.testing.assert_array_equal(every["param.w[99,81]"], [row["w"][99, 81] for row in decoded])


@pytest.mark.parametrize("space", [SPACE, WIDE], ids=["small", "large"])
def test_elite_keeps_what_was_as_good_as_all_before(store, space):
    fitness = [[1.0, 0.5, 2.0], [1.5, np.nan, 2.0], [np.inf, 3.0, 2.5]]
    kept = [[True, False, True], [False, False, True], [False, True, False]]
    parts = [wide(number, fitness=row, size=space.size) for number, row in enumerate(fitness)]
    for part in parts:
        part.z[0, :5] = 0.5
    fill(store, "a", *parts, genomes="elite", space=space)
    for number, row in enumerate(kept):
        for k, keep in enumerate(row):
            individual = store.individual("a", number, k)
            if keep:
                assert individual.z.tobytes() == parts[number].z[k].tobytes()
            else:
                text = f"genome of individual {k} in generation {number} of run 'a' in .* was not kept: the job's"
                with pytest.raises(GenomeMissing, match=text):
                    _ = individual.z
    assert store.individual("a").z.tobytes() == parts[2].z[1].tobytes()
    table = tables.individuals(store, "a")
    assert table["param.tau"].notna().tolist() == [keep for row in kept for keep in row]
    np.testing.assert_array_equal(table["fitness"], np.ravel(fitness))


def test_elite_goes_on_from_the_best_before(store):
    fill(store, "a", wide(0, fitness=[5.0, 1.0, 1.0]), genomes="elite")
    with drive(store, "a") as driver:
        driver.commit(wide(1, fitness=[4.0, 5.0, 3.0]), state_after(1))
    assert [bool(k) for k in tables.individuals(store, "a")["param.tau"].notna()][3:] == [False, True, False]


@pytest.mark.parametrize("space", [SPACE, WIDE], ids=["small", "large"])
def test_none_keeps_no_genome_and_all_else(store, space, tmp_path):
    fill(store, "a", wide(0, size=space.size), wide(1, size=space.size), genomes="none", space=space)
    assert files(tmp_path) == []
    best = store.individual("a")
    assert best.fitness == store.load("a").best
    with pytest.raises(GenomeMissing, match="was not kept"):
        _ = best.z
    table = tables.individuals(store, "a")
    assert table[["param.tau", "metric.rate"]].notna().mean().tolist() == [0.0, 1.0]
    with drive(store, "a") as driver:  # the optimizer's state is all that going on needs
        driver.commit(wide(2, size=space.size), state_after(2))


def test_elite_of_scores_by_hand():
    scores = np.array([np.nan, 1.0, 1.0, np.inf, 0.5, 3.0, -1.0])
    assert elite(scores).tolist() == [False, True, True, False, False, True, False]
    assert elite(scores, 2.0).tolist() == [False, False, False, False, False, True, False]


@on_postgres
def test_a_store_without_a_folder_for_large_genomes_says_so_before_anything_is_evaluated(store_url):
    with Store(store_url) as store:
        store.create("a", "job", {}, WIDE)
        with pytest.raises(StoreError, match=NO_FOLDER), drive(store, "a"):
            pass
        assert store.load("a").state == "stopped"
        store.create("b", "job", {}, SPACE)
        with drive(store, "b") as driver:
            driver.commit(make(0), state_after(0))
        store.create("c", "job", {"job": {"genomes": "none"}}, WIDE)
        with drive(store, "c") as driver:
            driver.commit(wide(0), state_after(0))


def test_places_of_genomes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place_of("sqlite:///l2l.db") == f"{tmp_path}/l2l.genomes"
    assert place_of("sqlite:////data/a.b.sqlite") == "/data/a.b.sqlite.genomes"
    assert place_of("sqlite:///l2l.db?genomes=g") == f"{tmp_path}/g"
    assert place_of("sqlite://") is None
    assert place_of("postgresql://u:p@h/db") is None
    assert place_of("postgresql://u:p@h/db?genomes=s3%3A%2F%2Fbucket%2Fl2l&host=x") == "s3://bucket/l2l"


def test_genomes_are_kept_wherever_fsspec_can_write(tmp_path):
    with Store(f"sqlite:///{tmp_path}/l2l.db?genomes=memory://bucket/l2l") as store:
        fill(store, "a", wide(0))
        assert store.individual("a", 0, 2).z.tobytes() == wide(0).z[2].tobytes()
        assert prune.sweep(store).files == 0
        prune.delete(store, ["a"])
        assert prune.sweep(store).files == 1


def test_a_damaged_or_missing_file_is_one_clear_line(store, tmp_path):
    fill(store, "a", wide(0), wide(1))
    first, second = (tmp_path / "l2l.genomes" / name for name in files(tmp_path))
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1  # one bit of a genome
    first.write_bytes(data)
    second.unlink()
    for number, path in enumerate((first, second)):
        with pytest.raises(GenomeMissing, match=rf"the genome file a/{path.name} in .* can't be read: ") as caught:
            _ = store.individual("a", number, 1).z
        assert "\n" not in str(caught.value)
    first.write_bytes(data[: len(data) // 2])
    with pytest.raises(GenomeMissing, match="can't be read"):
        tables.individuals(store, "a")
    assert store.load("a").generation == 2


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_evaluated(store, tmp_path):
    (tmp_path / "l2l.genomes").write_text("a file")
    store.create("a", "job", {}, WIDE)
    with pytest.raises(StoreError, match=r"making the genome folder of run 'a' in .* failed"), drive(store, "a"):
        pass
    assert store.load("a").state == "stopped"


KILLED_BEFORE_COMMIT = """
from l2l_snn.storage.genomes import Genomes
with Store(url) as store, drive(store, "a") as driver:
    driver.commit(wide(0), state_after(0))
    write = Genomes.write
    def write_and_die(*arguments):
        write(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)
    Genomes.write = write_and_die
    driver.commit(wide(1), state_after(1))
"""


def test_a_kill_between_file_and_commit_leaves_a_store_that_goes_on(store, url, tmp_path):
    store.create("a", "job", {}, WIDE)
    process = start(url, KILLED_BEFORE_COMMIT)
    assert process.wait(60) == -signal.SIGKILL, process.communicate()[1]
    process.communicate()
    assert len(files(tmp_path)) == 2
    assert store.load("a").generation == 1
    assert len(tables.individuals(store, "a")) == 3
    with drive(store, "a") as driver:
        driver.commit(wide(1), state_after(1))
        assert prune.sweep(store)[:2] == (0, 0)  # what a driver may be about to commit stays
    left = [path for path in files(tmp_path) if path.startswith("a/g000001")]
    assert len(left) == 2
    assert prune.sweep(store).files == 1
    assert len(files(tmp_path)) == 2
    for number in (0, 1):
        assert store.individual("a", number, 2).z.tobytes() == wide(number).z[2].tobytes()


def test_a_driver_that_was_replaced_can_not_change_the_files_of_its_successor(store):
    store.create("a", "job", {}, WIDE)
    with drive(store, "a") as first, drive(store, "a", take_over=True) as second:
        second.commit(wide(0), state_after(0))
        other = wide(0)
        other.z[:] = 7.0
        with pytest.raises(RunBusy, match="taken over"):
            first.commit(other, state_after(0))
    assert store.individual("a", 0, 1).z.tobytes() == wide(0).z[1].tobytes()


def test_a_copy_keeps_its_genomes_when_the_run_is_deleted_and_its_name_taken_again(store, tmp_path):
    fill(store, "a", wide(0))
    store.copy("a", "b")
    with drive(store, "b") as driver:
        driver.commit(wide(1), state_after(1))
    prune.delete(store, ["a"])
    prune.sweep(store)
    fill(store, "a", _as_first(wide(5)))
    for number in (0, 1):
        assert store.individual("b", number, 0).z.tobytes() == wide(number).z[0].tobytes()
    assert store.individual("a", 0, 0).z.tobytes() == wide(5).z[0].tobytes()
    prune.delete(store, ["b"])
    prune.sweep(store)
    assert len(files(tmp_path)) == 1
    assert store.individual("a", 0, 0).z.tobytes() == wide(5).z[0].tobytes()


def _as_first(part: Generation) -> Generation:
    return Generation(0, part.z, part.seeds, part.evaluation, part.seconds, part.workers, 0.5)


def test_stores_that_share_a_folder_leave_each_others_files_alone(tmp_path):
    urls = [f"sqlite:///{tmp_path}/{name}.db?genomes={tmp_path}/shared" for name in "xy"]
    with Store(urls[0]) as x, Store(urls[1]) as y:
        fill(x, "a", wide(0))
        fill(y, "a", _as_first(wide(1)))
        prune.delete(x, ["a"])
        assert prune.sweep(x).files == 1
        assert y.individual("a", 0, 2).z.tobytes() == wide(1).z[2].tobytes()


def test_a_job_says_which_genomes_are_kept_and_the_commands_live_with_it(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(HELPERS)
    job = "optimizee: {class: 'troublemakers:Troublemaker'}\noptimizer: {class: 'optimizers.ga:GeneticAlgorithm', "
    (tmp_path / "job.yaml").write_text(job + "population: 4}\ngenerations: 2\ngenomes: none\n")

    def l2l(*arguments: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, [*arguments, "--store", url])
        assert result.exit_code == status, result.output
        return result.output

    assert "no picture of the best individual: the genome of individual" in l2l("run", "job.yaml", "--inline")
    assert "best individual's parameters: the genome of individual" in l2l("show", "job-1")
    line = l2l("replay", "job-1", status=2)
    assert "was not kept" in line
    assert len(line.splitlines()) == 1
    assert "finished: 3 generations" in l2l("resume", "job-1", "--inline", "--set", "generations=3")
    l2l("run", "job.yaml", "--inline", "--set", "genomes=elite")
    assert "the same" in l2l("replay", "job-2")
    assert "genomes: expected one of 'all', 'elite' or 'none'" in l2l(
        "run", "job.yaml", "--inline", "--set", "genomes=some", status=2
    )
