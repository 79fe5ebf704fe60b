"""Workers on a cluster whose nodes have what each test says they have; none of them has a real GPU."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from clusters import nodes
from troublemakers import BatchTroublemaker, Threads, Troublemaker
from typer.testing import CliRunner

from l2l_snn import Optimizee, Real, Space
from l2l_snn.cli import app
from l2l_snn.evaluation import Evaluation, WorkerStatus
from l2l_snn.seeding import evaluation_seeds
from l2l_snn.workers.base import EvaluatorError
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool, RayWorkers
from l2l_snn.workers.resources import Resources
from optimizees.functions import Function

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning"),  # JAX's, of any; nodes are programs
]
P = 12
SEEDS = evaluation_seeds(3, 0, P)


@pytest.fixture(scope="module")
def address():
    """A head without work, a node of 2 CPUs, and one of 4 CPUs, 2 GPUs and 1 loihi."""
    with nodes() as cluster:
        cluster.add(2)
        cluster.add(4, num_gpus=2, resources={"loihi": 1})
        yield cluster.address


def population(optimizee: Optimizee, n: int = P) -> np.ndarray:
    return optimizee.space.sample(np.random.default_rng(2), n)


def expected() -> Evaluation:
    return Inline(Troublemaker(), chunk=5).evaluate(population(Troublemaker()), SEEDS).evaluation


def bad() -> np.ndarray:
    rows = Troublemaker.space.decode_columns(population(Troublemaker()))["x"][:, 0] > 0.5
    assert 0 < rows.sum() < P
    return rows


def assert_same(one: Evaluation, other: Evaluation) -> None:
    assert one.fitness.tobytes() == other.fitness.tobytes()
    assert one.errors == other.errors
    assert one.metrics.keys() == other.metrics.keys()
    for name, value in one.metrics.items():
        assert value.tobytes() == other.metrics[name].tobytes()


@pytest.mark.parametrize(
    ("optimizee", "workers"),
    [(Troublemaker(), 1), (BatchTroublemaker(), 3), (Function("ackley", 3), 2)],
    ids=lambda value: type(value).__name__,
)
def test_a_cluster_returns_the_bytes_of_inline_for_any_number_of_workers(address, optimizee, workers):
    inline = Inline(optimizee, chunk=5).evaluate(population(optimizee), SEEDS)
    with RayPool(optimizee, chunk=5, workers=workers, address=address) as pool:
        ray = pool.evaluate(population(optimizee), SEEDS)
    assert_same(ray.evaluation, inline.evaluation)
    assert all(not worker.endswith(f":{os.getpid()}") for worker in ray.workers)
    assert (ray.seconds > 0).all()


def test_a_ray_of_its_own_returns_the_bytes_of_inline():
    with RayPool(Troublemaker(), chunk=5, workers=2) as pool:
        assert_same(pool.evaluate(population(Troublemaker()), SEEDS).evaluation, expected())


def test_ray_returns_the_gradient_of_inline(address):
    optimizee = Function("rosenbrock", 3)
    inline = Inline(optimizee, chunk=4).evaluate(population(optimizee), SEEDS, with_grad=True).evaluation
    with RayPool(optimizee, chunk=4, workers=1, address=address) as pool:
        ray = pool.evaluate(population(optimizee), SEEDS, with_grad=True).evaluation
    assert inline.grad is not None
    assert ray.grad is not None
    assert ray.grad.tobytes() == inline.grad.tobytes()
    assert np.abs(inline.grad).max() > 0


@pytest.mark.parametrize(("cpus", "threads"), [(0.5, 1), (2, 2)])
def test_workers_use_as_many_threads_as_they_have_cpus(address, cpus, threads):
    with RayPool(Threads(), workers=1, address=address, resources=Resources(cpus=cpus)) as pool:
        metrics = pool.evaluate(np.zeros((2, 1)), SEEDS[:2]).evaluation.metrics
    for name in ("blas", "openmp", "xla"):
        np.testing.assert_array_equal(metrics[name], threads)


@dataclass(frozen=True)
class Devices(Optimizee):
    """Tells which GPUs its worker sees, as one number of their digits: -1 for none."""

    space = Space(x=Real(-1, 1))

    def evaluate(self, params, seed):
        time.sleep(0.1)
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
        cpu = os.environ.get("JAX_PLATFORMS", "") == "cpu"
        share = float(os.environ.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "nan"))
        return 0.0, {"gpu": float(visible or -1), "cpu": float(cpu), "share": share}


@pytest.mark.parametrize(
    ("gpus", "workers", "share"), [(0, 2, np.nan), (1, 2, np.nan), (0.5, 4, 0.45)], ids=["none", "whole", "half"]
)
def test_a_worker_sees_the_gpu_that_it_was_given_and_no_other(address, gpus, workers, share):
    need = Resources(cpus=0.5, gpus=gpus)
    with RayPool(Devices(), address=address, resources=need, workers=None if gpus else workers) as pool:
        done = pool.evaluate(np.zeros((12, 1)), np.arange(12))
        assert len(pool.workers.status()) <= workers
        deadline = time.monotonic() + 60
        while len(set(done.workers)) < workers and time.monotonic() < deadline:  # until all of them are up
            done = pool.evaluate(np.zeros((12, 1)), np.arange(12))
    gpu = done.evaluation.metrics["gpu"]
    of = {worker: gpu[i] for i, worker in enumerate(done.workers)}
    each = [-1.0] * workers if not gpus else sorted([0.0, 1.0] * (workers // 2))
    assert sorted(of.values()) == each
    np.testing.assert_array_equal(done.evaluation.metrics["share"], share)
    if not gpus:
        np.testing.assert_array_equal(done.evaluation.metrics["cpu"], 1.0)


def test_what_no_node_has_is_refused_in_words(address):
    pool = RayPool(Troublemaker(), address=address, resources=Resources(gpus=3), patience=0.5)
    text = r"resources.gpus: expected at most what a node has, got 3; the nodes have .*GPU 2, loihi 1"
    with pool, pytest.raises(EvaluatorError, match=text):
        pool.evaluate(population(Troublemaker()), SEEDS)


def test_this_machine_refuses_what_it_lacks_without_waiting():
    with (
        RayPool(Troublemaker(), resources=Resources(memory="9 TiB")) as pool,
        pytest.raises(EvaluatorError, match=r"resources.memory: expected at most what a node has"),
    ):
        pool.workers.open()


def test_the_number_of_workers_is_what_fits_on_all_nodes(address):
    with RayPool(Troublemaker(), address=address, resources=Resources(cpus=1.5)) as pool:
        assert pool.slots == 1 + 2
    with RayPool(Troublemaker(), address=address, resources=Resources(cpus=1, custom={"loihi": 0.5})) as pool:
        assert pool.slots == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["--set", "timeout=2"],
            "l2l: timeout: expected workers, which can be ended, got --inline; leave out --inline",
        ),
        (["--address", "auto"], "l2l: --address: expected an evaluation by workers, got --inline; leave one of them"),
        (["--workers", "2"], "l2l: --workers: expected an evaluation by workers, got --inline; leave one of them out"),
    ],
)
def test_what_needs_workers_is_refused_without_them_and_leaves_no_run(tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    Path("job.yaml").write_text(
        'optimizee: {class: "troublemakers:Troublemaker"}\noptimizer: {class: "optimizers.ga:GeneticAlgorithm"}\n'
    )
    result = CliRunner().invoke(app, ["run", "job.yaml", "--inline", *arguments])
    assert result.exit_code == 2
    assert result.output.startswith(text)
    assert not Path("l2l.db").exists()


def test_an_address_without_a_cluster_is_refused():
    with (
        RayPool(Troublemaker(), address="127.0.0.1:9") as pool,
        pytest.raises(EvaluatorError, match=r"no Ray cluster answers at '127.0.0.1:9': ConnectionRefusedError"),
    ):
        pool.evaluate(population(Troublemaker()), SEEDS)


@pytest.mark.parametrize("wrong", ["head", "ray://head:10001", "http://head:8265", "head:", ""])
def test_an_address_of_another_form_is_refused(wrong):
    with pytest.raises(ValueError, match=r'address: expected "auto" or "host:port", got .*; e.g. 10.0.0.1:6379'):
        RayPool(Troublemaker(), address=wrong)


@pytest.mark.parametrize("trouble", ["kill", "exit"])
def test_a_worker_lost_in_the_middle_changes_nothing(address, tmp_path, trouble):
    optimizee = Troublemaker(trouble, str(tmp_path / "once"))
    with RayPool(optimizee, chunk=5, workers=2, address=address) as pool:
        evaluation = pool.evaluate(population(optimizee), SEEDS).evaluation
        assert (tmp_path / "once").exists()
        assert_same(evaluation, expected())
        assert_same(pool.evaluate(population(optimizee), SEEDS).evaluation, expected())  # the pool is whole again


def test_an_individual_that_kills_every_worker_fails_and_its_neighbours_do_not(address, caplog, capfd):
    optimizee = Troublemaker("kill")
    rows = [int(np.flatnonzero(bad())[0]), *np.flatnonzero(~bad())[:3]]
    z = population(optimizee)[rows]
    workers = RayWorkers(optimizee, 2, address=address)
    with Evaluator(optimizee, workers, chunk=4, max_tries=2) as pool:
        evaluation = pool.evaluate(z, SEEDS[rows]).evaluation
        once = Evaluator(optimizee, workers, max_tries=1)
        once.submit(7, z[:2], SEEDS[rows[:2]])  # without generations, too
        number, submitted = once.collect()
    np.testing.assert_array_equal(np.isnan(evaluation.fitness), [True, False, False, False])
    assert evaluation.errors[0].startswith("WorkerLost: given up after 2 tries: ")
    np.testing.assert_array_equal(evaluation.fitness[1:], expected().fitness[rows[1:]])
    assert number == 7
    np.testing.assert_array_equal(submitted.evaluation.fitness, evaluation.fitness[:2])
    assert submitted.evaluation.errors[0].startswith("WorkerLost: given up after 1 try: ")
    said = [record.getMessage() for record in caplog.records]
    lost = [line for line in said if re.fullmatch("generation 0, from individual [07]: worker .* was lost: .*", line)]
    assert len(lost) == 6  # as a chunk and alone, twice each, and once each; a line each
    assert sum(line.startswith("what the workers print is in /") for line in said) == 1
    assert "raylet" not in "".join(capfd.readouterr())  # Ray's own texts have a page each


@pytest.mark.parametrize("trouble", ["hang", "stuck"])
def test_an_individual_that_takes_too_long_fails_and_its_neighbours_do_not(address, tmp_path, monkeypatch, trouble):
    began = tmp_path / "began"
    optimizee = Troublemaker(trouble, began=str(began))
    rows = [int(np.flatnonzero(~bad())[0]), int(np.flatnonzero(bad())[0]), int(np.flatnonzero(~bad())[1])]
    passed = 0.0  # s by which the pool's clock is ahead: it jumps when trouble has begun, however slow this machine is

    def watch(workers: tuple[WorkerStatus, ...]) -> None:
        nonlocal passed
        if began.exists():
            began.unlink()
            passed += 1e6

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed, time=time.time, sleep=time.sleep)
    monkeypatch.setattr("l2l_snn.workers.ray_pool.time", clock)
    with RayPool(optimizee, chunk=3, timeout=1e5, workers=1, address=address, patience=1e9) as pool:
        done = pool.evaluate(population(optimizee)[rows], SEEDS[rows], watch=watch)
        assert passed == 2e6  # the whole chunk, then the one of it
    assert done.evaluation.errors == ("", "Timeout: longer than 100000 s", "")
    np.testing.assert_array_equal(done.evaluation.fitness[[0, 2]], expected().fitness[rows][[0, 2]])
    assert done.seconds[1] == 1e5
    ours = psutil.Process().children(recursive=True)
    assert not [p for p in ours if p.is_running() and p.name() == "ray::_Worker.run"]  # it isn't left behind


def test_workers_tell_what_they_do(address):
    optimizee = Troublemaker(pause=0.2)
    seen = []
    with RayPool(optimizee, chunk=2, workers=2, address=address) as pool:
        began = time.time()
        done = pool.evaluate(population(optimizee), SEEDS, generation=4, watch=seen.extend)
        idle = pool.workers.status()
    busy = [status for status in seen if status.first >= 0]
    assert {(status.first, status.last) for status in busy} <= {(i, i + 1) for i in range(0, P, 2)}
    assert {status.worker for status in busy} <= set(done.workers)
    assert {status.generation for status in seen} == {4}
    assert busy
    assert all(began < status.since < time.time() for status in busy)
    assert [(status.first, status.last) for status in idle] == [(-1, -1)] * 2


NOTEBOOK = """
import os
from dataclasses import dataclass
import numpy as np
from l2l_snn import Optimizee, Real, Space
from l2l_snn.workers.ray_pool import RayPool

@dataclass(frozen=True)
class Cell(Optimizee):
    space = Space(x=Real(0, 1))
    def evaluate(self, params, seed):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"]) == ("1", "")
        return params["x"]

with RayPool(Cell(), workers=1{}) as pool:
    print(pool.evaluate(np.array([[0.25], [0.5]]), np.array([1, 2])).evaluation.fitness.tolist())
"""


ELSEWHERE = {**os.environ, "OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": "0"}  # a driver's; workers have their own


def test_a_class_written_in_a_notebook_reaches_the_workers():
    command = [sys.executable, "-c", NOTEBOOK.format("") + 'print(os.environ["OMP_NUM_THREADS"])']
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=ELSEWHERE)
    assert done.stdout == "[0.25, 0.5]\n3\n", done.stderr


def test_two_drivers_share_a_cluster_and_find_modules_beside_them(address, tmp_path):
    (tmp_path / "lab.py").write_text(NOTEBOOK.partition("\n\nwith")[0])
    with_address = NOTEBOOK.format(f", address={address!r}")
    script = (
        "from lab import Cell\nimport numpy as np\nfrom l2l_snn.workers.ray_pool import RayPool\nwith"
        + (with_address.partition("\n\nwith")[2])
    )
    environment = {**ELSEWHERE, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", script]
    drivers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd="/")
        for _ in range(2)
    ]
    for driver in drivers:
        out, err = driver.communicate(timeout=120)
        assert out == "[0.25, 0.5]\n", err


class Unreadable(Troublemaker):
    """Can be sent to a worker but not be read there."""

    def __reduce__(self):
        return (_raise_in_worker, ())


def _raise_in_worker():
    raise ImportError("no module named 'lab'")


class Deadly(Troublemaker):
    """Ends the process that reads it."""

    def __reduce__(self):
        return (os._exit, (3,))


def test_an_optimizee_that_workers_can_not_read_ends_the_run_with_the_reason(address):
    with (
        RayPool(Unreadable(), chunk=5, workers=1, address=address) as pool,
        pytest.raises(EvaluatorError, match="the worker can't evaluate: ImportError: no module named 'lab'"),
    ):
        pool.evaluate(population(Troublemaker()), SEEDS)


def test_an_optimizee_that_kills_workers_at_their_start_ends_the_run(address):
    with (
        RayPool(Deadly(), chunk=5, workers=1, address=address) as pool,
        pytest.raises(EvaluatorError, match="4 workers ended while they started, none could work: ActorDiedError"),
    ):
        pool.evaluate(population(Troublemaker()), SEEDS)
