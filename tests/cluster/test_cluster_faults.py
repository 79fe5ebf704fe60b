"""What a run on a cluster survives: its final table is the undisturbed run's, byte for byte, and nothing hangs."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clusters import free_ports, head, kill, nodes
from places import HELPERS
from postgres import Server
from troublemakers import Troublemaker

from l2l_snn.evaluation import WorkerStatus
from l2l_snn.loop.job import Job
from l2l_snn.loop.progress import Progress
from l2l_snn.loop.run import run
from l2l_snn.results.tables import generations, individuals
from l2l_snn.storage.store import Store
from l2l_snn.workers.base import EvaluatorError
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool, RayWorkers
from optimizers.ga import GeneticAlgorithm

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),  # JAX's, of any; nodes are programs
]
LIMIT = 240.0  # s, that anything here may take
GA = GeneticAlgorithm(population=8)
JOB = """\
optimizee: {class: "troublemakers:Troublemaker", pause: 0.02}
optimizer: {class: "optimizers.ga:GeneticAlgorithm", population: 8}
generations: 6
chunk: 2
"""


@pytest.fixture(scope="module")
def cluster():
    with nodes() as started:
        yield started


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path / 'l2l.db'}") as opened:
        yield opened


def job(**entries) -> Job:
    classes = {"optimizee": {"class": "a:B"}, "optimizer": {"class": "a:B"}}
    return Job.model_validate({**classes, "generations": 6, "chunk": 2, **entries})


def drive(store: Store, name: str, evaluator: Evaluator, tell: Callable[[Progress], None] = lambda progress: None):
    store.create(name, "job", {}, Troublemaker.space)
    with evaluator:
        return run(store, name, job(), GA, evaluator, tell=tell)


def table(store: str, name: str) -> tuple[str, str]:
    """Return all that must not depend on what happened on the way."""
    individual = individuals(store, name).drop(columns=["run", "seconds", "worker"])
    generation = generations(store, name).drop(columns=["run", "seconds", "evaluations_per_s"])
    return individual.to_csv(), generation.to_csv()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The table of the run in one process."""
    url = f"sqlite:///{tmp_path_factory.mktemp('undisturbed') / 'l2l.db'}"
    with Store(url) as store:
        drive(store, "a", Inline(Troublemaker(), chunk=2))
    return table(url, "a")


def assert_undisturbed(store: Store, name: str, undisturbed) -> None:
    assert store.load(name).state == "finished"
    assert table(store.url_shown, name) == undisturbed


@pytest.mark.parametrize("trouble", ["kill", "node"])
def test_a_worker_and_a_node_killed_in_the_middle_of_a_generation_change_nothing(
    cluster, store, tmp_path, undisturbed, trouble
):
    cluster.at_least(2)
    before = len(cluster.alive())
    optimizee = Troublemaker(trouble, str(tmp_path / "once"))
    drive(store, "a", RayPool(optimizee, chunk=2, address=cluster.address))
    assert (tmp_path / "once").exists()
    assert before - len(cluster.alive()) == (1 if trouble == "node" else 0)
    assert_undisturbed(store, "a", undisturbed)


def test_a_node_that_joins_is_used_and_changes_nothing(cluster, store, undisturbed):
    cluster.at_least(1)
    pool = RayPool(Troublemaker(pause=0.02), chunk=2, address=cluster.address)
    before = len(cluster.alive())
    z, seeds = Troublemaker.space.sample(np.random.default_rng(1), 8), np.arange(8)

    def tell(progress: Progress) -> None:
        if progress.generation == 1:
            cluster.add()
            deadline = time.monotonic() + LIMIT
            while len(set(pool.evaluate(z, seeds).workers)) <= before:  # until its worker is up
                assert time.monotonic() < deadline

    drive(store, "a", pool, tell)
    rows = individuals(store, "a")
    assert rows[rows["generation"] == 1]["worker"].nunique() == before
    assert rows[rows["generation"] == 2]["worker"].nunique() == before + 1
    assert_undisturbed(store, "a", undisturbed)


def test_a_stop_that_is_asked_for_loses_nothing(cluster, store, undisturbed):
    cluster.at_least(1)
    asked = []

    def tell(progress: Progress) -> None:
        if progress.generation == 1:
            with Store(store.url_shown) as page:
                asked.extend(page.workers("a"))
                page.request_stop("a")

    stopped = drive(store, "a", RayPool(Troublemaker(pause=0.3), chunk=2, address=cluster.address), tell)
    assert (stopped.state, stopped.message) == ("stopped", "stop requested")
    assert 2 <= stopped.generation < 6
    assert asked
    with RayPool(Troublemaker(), chunk=2, address=cluster.address) as again:
        run(store, "a", job(), GA, again)
    assert_undisturbed(store, "a", undisturbed)


def test_a_pool_whose_nodes_are_all_gone_waits_for_one_but_not_for_ever(cluster):
    cluster.at_least(1)
    z, seeds = Troublemaker.space.sample(np.random.default_rng(1), 4), np.arange(4)
    added = []

    def watch(workers: tuple[WorkerStatus, ...]) -> None:
        if not workers and not added:
            added.append(cluster.add())

    def lose_all() -> None:
        for node in cluster.alive():
            cluster.remove(node)

    slow = Troublemaker(pause=0.5)  # a worker outlives its node by a moment
    workers = RayWorkers(slow, address=cluster.address)
    with Evaluator(slow, workers, chunk=2) as pool:
        before = pool.evaluate(z, seeds)
        lose_all()
        after = pool.evaluate(z, seeds, watch=watch)
        assert added
        assert set(after.workers).isdisjoint(before.workers)
        assert after.evaluation.fitness.tobytes() == before.evaluation.fitness.tobytes()
        lose_all()
        workers.patience = 1.0
        # which of the two depends on whether the cluster has noticed
        with pytest.raises(EvaluatorError, match=r"at most what a node has, got 1|no worker could start: the nodes"):
            pool.evaluate(z, seeds)


def test_a_cluster_that_does_not_answer_ends_the_run_in_words(cluster, monkeypatch):
    cluster.at_least(1)
    monkeypatch.setattr("l2l_snn.workers.ray_pool.SILENCE", -1.0)
    with (
        RayPool(Troublemaker(), address=cluster.address) as pool,
        pytest.raises(EvaluatorError, match=r"the Ray cluster doesn't answer since .* go on with: l2l resume"),
    ):
        pool.evaluate(np.zeros((2, 3)), np.arange(2))


def start(*arguments: str, folder: Path, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "l2l_snn.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HELPERS), **environment}
    with (folder / "driver.log").open("a") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def wait_for_generation(url: str, name: str, number: int, driver: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        assert driver.poll() is None, log.read_text()
        if Path(url.removeprefix("sqlite:///")).exists():
            with Store(url) as store:
                if any(stored.name == name and stored.generation >= number for stored in store.runs()):
                    return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def test_a_run_goes_on_after_its_head_was_killed_and_started_again(tmp_path, undisturbed):
    (tmp_path / "job.yaml").write_text(JOB)
    url, log, port = f"sqlite:///{tmp_path / 'l2l.db'}", tmp_path / "driver.log", free_ports(1)[0]
    on_it = ["--store", url, "--address", f"127.0.0.1:{port}"]
    with head(port) as first:
        quick = {"RAY_gcs_rpc_server_reconnect_timeout_s": "5"}  # Ray ends a driver 60 s after its head by default
        slow = ["--set", "optimizee.pause=0.3"]
        driver = start("run", "job.yaml", "--name", "a", *slow, *on_it, folder=tmp_path, **quick)
        wait_for_generation(url, "a", 2, driver, log)
        kill(first.pid)
        assert driver.wait(timeout=LIMIT) != 0
    with head(port):
        resumed = start("resume", "a", *on_it, folder=tmp_path)
        assert resumed.wait(timeout=LIMIT) == 0, log.read_text()
    with Store(url) as store:
        assert_undisturbed(store, "a", undisturbed)


def test_a_database_that_stops_and_comes_back_loses_nothing(undisturbed):
    with Server() as server:
        url = server.database()
        stopped: list[int] = []

        def tell(progress: Progress) -> None:
            if progress.generation == 2:
                stopped.append(progress.generation)
                server.kill()
                back.start()

        over = threading.Event()
        back = threading.Thread(target=lambda: (over.wait(0.5), server.start(), over.wait(LIMIT)))
        with Store(url) as store:
            drive(store, "a", Inline(Troublemaker(), chunk=2), tell)
            assert stopped == [2]
            assert store.load("a").state == "finished"
            assert table(url, "a") == undisturbed
        over.set()  # the server ends with the thread that started it
        back.join()
