"""Processes that an evaluation starts, and evaluations that take long."""

import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from places import HELPERS, ROOT

from l2l_snn import BatchOptimizee, Evaluation, Optimizee, Real, Space
from l2l_snn.evaluation import WorkerStatus
from l2l_snn.workers import patience
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.patience import Patience

LIMIT = 120  # s


@dataclass(frozen=True)
class Forking(Optimizee):
    how: str = "exit"
    space = Space(x=Real(-1, 1))

    def evaluate(self, params, seed):
        return fork(self.how)


@dataclass(frozen=True)
class ForkingBatch(BatchOptimizee):
    how: str = "exit"
    space = Space(x=Real(-1, 1))

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        return Evaluation(np.full(len(z), fork(self.how)))


def fork(how: str) -> float:
    """Return the exit status of a child that leaves the evaluation in one of the ways there are."""
    pid = os.fork()
    if pid == 0:
        if how == "exit":
            sys.exit(7)
        if how == "raise":
            raise ValueError("in the child")
        return 0.0
    return float(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("cls", [Forking, ForkingBatch])
@pytest.mark.parametrize(("how", "status"), [("exit", 7), ("raise", 1), ("return", 0)])
def test_a_forked_child_ends_with_the_evaluation_and_never_goes_on_as_a_second_driver(cls, how, status, capfd):
    pid = os.getpid()
    with Inline(cls(how), chunk=2) as evaluator:
        done = evaluator.evaluate(np.zeros((2, 1)), np.array([1, 2]))
    assert os.getpid() == pid, os._exit(99)  # the child got here
    assert done.evaluation.fitness.tolist() == [status] * 2
    assert ("ValueError: in the child" in capfd.readouterr().err) == (how == "raise")


PREPARED = """
import multiprocessing, os, signal, sys, time
from l2l_snn.workers.children import prepare_children
import test_children
if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    prepare_children("test_children")
    print(multiprocessing.get_start_method())
    import jax.numpy as jnp
    jnp.ones(3).sum().block_until_ready()
    with multiprocessing.Pool(1) as pool:
        print(pool.map(test_children.add_up, [3]))
    child = multiprocessing.get_context("fork").Process(target=test_children.sleep_on)
    child.start()
    child.terminate()
    child.join(60)
    print(child.exitcode)
"""


def add_up(n: int) -> float:
    import jax.numpy as jnp

    return float(jnp.arange(n).sum())


def sleep_on() -> None:
    for _ in range(1000):
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            continue


def test_a_pool_works_beside_jax_and_a_forked_child_is_ended_by_a_polite_kill(tmp_path):
    (tmp_path / "prepared.py").write_text(PREPARED)
    path = f"{ROOT}:{HELPERS}:{ROOT / 'tests' / 'workers'}"
    command, env = [sys.executable, "prepared.py"], {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.stdout.split() == ["forkserver", "[3.0]", "-15"], done.stderr


def test_what_takes_long_is_said_each_time_that_it_has_doubled(monkeypatch, caplog):
    now = 1000.0
    monkeypatch.setattr(patience.time, "time", lambda: now)
    looking = Patience("; a timeout would end it")
    slow, other = WorkerStatus("a:1", 3, 4, 4, 1000.0), WorkerStatus("a:2", 3, 0, 3, 1030.0)
    for seconds in range(0, 301, 10):
        now = 1000.0 + seconds
        looking.look([WorkerStatus("a:3", 3, -1, -1, 0.0), other, slow])
    text = "individual 4 of generation 3 has been evaluated for {} s by a:1; a timeout would end it"
    assert [record.getMessage() for record in caplog.records] == [text.format(s) for s in (60, 120, 240)]
    caplog.clear()
    looking.took(300.0)  # it came back, so the next one is given twice as long
    now = 1030.0 + 599.0
    looking.look([other])
    assert not caplog.records
    now = 1030.0 + 600.0
    looking.look([other])
    assert "individuals 0 to 3 of generation 3 have been evaluated for 600 s by a:2" in caplog.text


@dataclass(frozen=True)
class Slow(Optimizee):
    space = Space(x=Real(-1, 1))

    def evaluate(self, params, seed):
        deadline = time.monotonic() + LIMIT
        while not SAID and time.monotonic() < deadline:
            time.sleep(0.005)
        return 0.0


SAID: list[str] = []


def test_a_long_evaluation_in_this_process_is_said_while_it_goes_on_and_leaves_no_thread(monkeypatch):
    monkeypatch.setattr(patience, "FIRST", 0.05)
    monkeypatch.setattr(patience, "LOOK", 0.01)
    monkeypatch.setattr(patience.log, "warning", lambda text, *values: SAID.append(text % values))
    before = set(threading.enumerate())
    with Inline(Slow(), chunk=2) as evaluator:
        evaluator.evaluate(np.zeros((2, 1)), np.array([1, 2]), generation=5)
    assert SAID[0].startswith("individuals 0 to 1 of generation 5 have been evaluated for 0 s by ")
    assert set(threading.enumerate()) == before
