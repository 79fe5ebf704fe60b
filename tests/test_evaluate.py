import os
import subprocess
import sys

import numpy as np
import pytest
from troublemakers import BatchTroublemaker, Threads, Troublemaker

from l2l_snn.evaluate import EvaluatorError, Inline, RayPool
from l2l_snn.optimizee import Evaluation
from l2l_snn.seeding import evaluation_seeds
from optimizees.functions import Function

P = 12
SEEDS = evaluation_seeds(3, 0, P)


def population(optimizee, n: int = P) -> np.ndarray:
    return optimizee.space.sample(np.random.default_rng(2), n)


def expected() -> Evaluation:
    return Inline(Troublemaker(), chunk=5).evaluate(population(Troublemaker()), SEEDS).evaluation


def bad(optimizee) -> np.ndarray:
    rows = optimizee.space.decode_columns(population(optimizee))["x"][:, 0] > 0.5
    assert 0 < rows.sum() < P
    return rows


def assert_same(one: Evaluation, other: Evaluation) -> None:
    assert one.fitness.tobytes() == other.fitness.tobytes()
    assert one.errors == other.errors
    assert one.metrics.keys() == other.metrics.keys()
    for name, value in one.metrics.items():
        assert value.tobytes() == other.metrics[name].tobytes()


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ("raise", "FloatingPointError: v diverged at 31.0 ms"),
        ("nan", "fitness is nan"),
        ("shape", r"ValueError: fitness: expected an array of shape \(\), got shape \(2,\); return a number"),
        ("text", "ValueError: could not convert string to float: 'high'"),
    ],
)
def test_an_individual_that_fails_is_a_row_with_its_text_and_the_others_are_untouched(trouble, text):
    optimizee = Troublemaker(trouble)
    evaluation = Inline(optimizee, chunk=5).evaluate(population(optimizee), SEEDS).evaluation
    failed = bad(optimizee)
    np.testing.assert_array_equal(np.isnan(evaluation.fitness), failed)
    np.testing.assert_array_equal(evaluation.fitness[~failed], expected().fitness[~failed])
    for error, is_bad in zip(evaluation.errors, failed, strict=True):
        assert bool(error) == is_bad
        if is_bad:
            with pytest.raises(AssertionError, match=text):
                raise AssertionError(error)


@pytest.mark.parametrize("trouble", ["raise", "nan"])
def test_one_bad_individual_of_a_batch_fails_alone(trouble):
    optimizee = BatchTroublemaker(trouble)
    evaluation = Inline(optimizee, chunk=4).evaluate(population(optimizee), SEEDS).evaluation
    good = Inline(BatchTroublemaker(), chunk=4).evaluate(population(optimizee), SEEDS).evaluation
    np.testing.assert_array_equal(np.isnan(evaluation.fitness), bad(optimizee))
    np.testing.assert_array_equal(evaluation.fitness[~bad(optimizee)], good.fitness[~bad(optimizee)])


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ("shape", "ValueError: BatchTroublemaker: fitness: expected an array of shape (4), got shape (3,)"),
        ("type", "TypeError: BatchTroublemaker.evaluate_batch: expected an Evaluation, got ndarray"),
    ],
)
def test_a_batch_of_the_wrong_form_fails_with_its_text(trouble, text):
    optimizee = BatchTroublemaker(trouble)
    evaluation = Inline(optimizee, chunk=4).evaluate(population(optimizee), SEEDS).evaluation
    assert evaluation.errors == (text,) * P


def test_sys_exit_in_process_is_tried_again_and_then_a_failed_row(tmp_path):
    optimizee = Troublemaker("exit", str(tmp_path / "once"))
    assert_same(Inline(optimizee, chunk=5).evaluate(population(optimizee), SEEDS).evaluation, expected())
    always = Inline(Troublemaker("exit"), chunk=5).evaluate(population(optimizee), SEEDS).evaluation
    np.testing.assert_array_equal(np.isnan(always.fitness), bad(optimizee))
    np.testing.assert_array_equal(always.fitness[~bad(optimizee)], expected().fitness[~bad(optimizee)])
    text = "WorkerLost: given up after 3 tries: sys.exit(0) was called"
    assert {error for error in always.errors if error} == {text}


@pytest.mark.parametrize(
    "optimizee", [Troublemaker(), BatchTroublemaker(), Function("ackley", 3)], ids=lambda o: str(o)
)
def test_ray_returns_the_bytes_of_inline_for_any_number_of_workers(optimizee):
    inline = Inline(optimizee, chunk=5).evaluate(population(optimizee), SEEDS)
    with RayPool(optimizee, chunk=5, workers=2) as pool:
        ray = pool.evaluate(population(optimizee), SEEDS)
    assert_same(ray.evaluation, inline.evaluation)
    assert all(not worker.endswith(f":{os.getpid()}") for worker in ray.workers)
    assert (ray.seconds > 0).all()


def test_workers_use_one_thread_each(monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PJRT_NPROC"):
        monkeypatch.delenv(name, raising=False)
    with RayPool(Threads(), workers=2) as pool:
        metrics = pool.evaluate(np.zeros((4, 1)), SEEDS[:4]).evaluation.metrics
    for name in ("blas", "openmp", "xla"):
        np.testing.assert_array_equal(metrics[name], 1.0)


def test_ray_returns_the_gradient_of_inline():
    optimizee = Function("rosenbrock", 3)
    inline = Inline(optimizee, chunk=4).evaluate(population(optimizee), SEEDS, with_grad=True).evaluation
    with RayPool(optimizee, chunk=4, workers=1) as pool:
        ray = pool.evaluate(population(optimizee), SEEDS, with_grad=True).evaluation
    assert inline.grad is not None
    assert ray.grad is not None
    assert ray.grad.tobytes() == inline.grad.tobytes()
    assert np.abs(inline.grad).max() > 0


@pytest.mark.parametrize("trouble", ["kill", "exit"])
def test_a_worker_lost_in_the_middle_changes_nothing(tmp_path, trouble):
    optimizee = Troublemaker(trouble, str(tmp_path / "once"))
    with RayPool(optimizee, chunk=5, workers=2) as pool:
        evaluation = pool.evaluate(population(optimizee), SEEDS).evaluation
        assert (tmp_path / "once").exists()
        assert_same(evaluation, expected())
        assert_same(pool.evaluate(population(optimizee), SEEDS).evaluation, expected())  # the pool is whole again


def test_an_individual_that_kills_every_worker_fails_and_its_neighbours_do_not():
    optimizee = Troublemaker("kill")
    rows = [int(np.flatnonzero(bad(optimizee))[0]), *np.flatnonzero(~bad(optimizee))[:3]]
    z = population(optimizee)[rows]
    with RayPool(optimizee, chunk=4, max_tries=2, workers=2) as pool:
        evaluation = pool.evaluate(z, SEEDS[rows]).evaluation
    np.testing.assert_array_equal(np.isnan(evaluation.fitness), [True, False, False, False])
    assert evaluation.errors[0].startswith("WorkerLost: given up after 2 tries: ")
    np.testing.assert_array_equal(evaluation.fitness[1:], expected().fitness[rows[1:]])


NOTEBOOK = """
from dataclasses import dataclass
import numpy as np
from l2l_snn import Optimizee, Real, Space
from l2l_snn.evaluate import RayPool

@dataclass(frozen=True)
class Cell(Optimizee):
    space = Space(x=Real(0, 1))
    def evaluate(self, params, seed):
        return params["x"]

with RayPool(Cell(), workers=1) as pool:
    print(pool.evaluate(np.array([[0.25], [0.5]]), np.array([1, 2])).evaluation.fitness.tolist())
"""


def test_a_class_written_in_a_notebook_reaches_the_workers():
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], capture_output=True, text=True, check=False)
    assert done.stdout == "[0.25, 0.5]\n", done.stderr


class Unreadable(Troublemaker):
    """Can be sent to a worker but not be read there."""

    def __reduce__(self):
        return (_raise_in_worker, ())


def _raise_in_worker():
    raise ImportError("no module named 'lab'")


def test_an_optimizee_that_workers_can_not_read_ends_the_run_with_the_reason():
    with (
        RayPool(Unreadable(), chunk=5, workers=1) as pool,
        pytest.raises(EvaluatorError, match="the worker can't evaluate: ImportError: no module named 'lab'"),
    ):
        pool.evaluate(population(Troublemaker()), SEEDS)
