import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from staged import Clock, Staged
from troublemakers import BatchTroublemaker, Troublemaker

from l2l_snn.evaluation import Evaluation, Experience, failure
from l2l_snn.optimizee import BatchOptimizee, Optimizee
from l2l_snn.seeding import evaluation_seeds
from l2l_snn.space import Real, Space
from l2l_snn.workers.chunks import Chunk, Lost, evaluate_alone, run_chunk
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import Inline

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


@dataclass(frozen=True)
class Placed(BatchOptimizee):
    """Gives each individual its place in the batch."""

    space = Troublemaker.space

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        return Evaluation(np.arange(len(seeds), dtype=float))


def test_an_individual_alone_fills_a_chunk_and_its_own_row_is_read():
    z = population(Placed(), 4)
    assert evaluate_alone(Placed(), z, SEEDS[:4], 2).fitness == [2.0]
    assert evaluate_alone(Placed(), z[:2], SEEDS[:2], 1).fitness == [1.0]
    assert evaluate_alone(Troublemaker(), z, SEEDS[:4], 2).fitness == expected().fitness[2]


def met(reward: float) -> Experience:
    one, over = np.ones((1, 1)), np.ones((1, 1), bool)
    return Experience(one[None], one[None], reward * one, over, over, one, one, {}, None)


@dataclass(frozen=True)
class Gathering(Placed):
    """Gives `entries` individuals' experience; the first failed, the third met a reward that isn't finite."""

    has_experience = True
    entries: int = 3

    def gather(self, z, seeds):
        found = [met(reward) for reward in (1.0, 2.0, np.nan)]
        return Evaluation(np.full(3, 2.0), errors=("fell", "", ""), experience=tuple(found[: self.entries]))


def test_experience_comes_with_each_individual_but_those_that_failed():
    done = run_chunk(Gathering(), Chunk(0, 3), population(Placed(), 3), SEEDS[:3], "experience").evaluation
    assert [one and one.rewards.item() for one in done.experience] == [None, 2.0, None]
    assert done.errors == ("fell", "", "the rollout's rewards aren't finite, first at (environment, step, ...) (0, 0)")
    np.testing.assert_array_equal(done.fitness, [np.nan, 2.0, np.nan])
    assert done.grad is None
    few = run_chunk(Gathering(entries=2), Chunk(0, 3), population(Placed(), 3), SEEDS[:3], "experience")
    assert all("Gathering: experience" in error and "3 entries, got 2" in error for error in few.evaluation.errors)


@dataclass(frozen=True)
class Fallen(Gathering):
    """Says that everybody failed, and has no experience of it."""

    def gather(self, z, seeds):
        return failure(len(z), 1, "fell")


@pytest.mark.parametrize("size", [1, 3])
def test_where_all_of_a_chunk_failed_each_keeps_its_own_text(size):
    done = Inline(Fallen(), chunk=size).evaluate(population(Placed(), 3), SEEDS[:3], with_experience=True).evaluation
    assert done.errors == ("fell",) * 3


@dataclass(frozen=True)
class Sloping(BatchOptimizee):
    """Gives a gradient where one is asked for."""

    space = Troublemaker.space
    has_grad = True

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        artifacts = {"z": z} if with_artifacts else {}
        return Evaluation(np.zeros(len(z)), artifacts=artifacts, grad=np.ones_like(z) if with_grad else None)


def test_gradient_and_artifacts_come_where_they_are_asked_for():
    z = population(Sloping(), 3)
    assert run_chunk(Sloping(), Chunk(0, 3), z, SEEDS[:3], "fitness").evaluation.artifacts == {}
    assert evaluate_alone(Sloping(), z, SEEDS[:3], 1).artifacts == {}
    np.testing.assert_array_equal(
        evaluate_alone(Sloping(), z, SEEDS[:3], 1, with_artifacts=True).artifacts["z"], z[1:2]
    )
    assert run_chunk(Sloping(), Chunk(0, 3), z, SEEDS[:3], "fitness").evaluation.grad is None
    np.testing.assert_array_equal(
        run_chunk(Sloping(), Chunk(0, 3), z, SEEDS[:3], "grad").evaluation.grad, np.ones_like(z)
    )


def test_an_equal_optimizee_is_not_handed_to_the_workers_again(monkeypatch):
    evaluator, held = Inline(Troublemaker()), []
    monkeypatch.setattr(evaluator.workers, "hold", held.append)
    evaluator.hold(Troublemaker())
    evaluator.hold(Troublemaker(pause=0.5))
    assert held == [evaluator.optimizee] == [Troublemaker(pause=0.5)]


def test_a_chunk_says_how_long_it_took_and_where():
    optimizee = Troublemaker(pause=0.01)
    before = time.perf_counter()
    done = run_chunk(optimizee, Chunk(0, 3), population(optimizee, 3), SEEDS[:3], "fitness")
    assert 0.03 <= done.seconds <= time.perf_counter() - before
    assert done.worker == f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True)
class Lonely(Optimizee):
    """Fails where another thread evaluates too."""

    inside: ClassVar[list[int]] = []

    def make_space(self):
        return Space(x=Real(0, 1))

    def evaluate(self, params, seed):
        self.inside.append(seed)
        time.sleep(0.002)
        alone = len(self.inside) == 1
        self.inside.remove(seed)
        return float(alone)


def test_threads_of_a_process_evaluate_in_turn():
    with ThreadPoolExecutor(3) as threads:
        done = threads.map(lambda i: Inline(Lonely()).evaluate(population(Lonely()), SEEDS + i).evaluation, range(3))
    assert all((evaluation.fitness == 1).all() for evaluation in done)


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ("raise", "FloatingPointError: v diverged at 31.0 ms"),
        ("nan", "fitness is nan"),
        (
            "shape",
            r"TypeError: Troublemaker.evaluate: expected a number, .*, got an array of float64 and shape \(2,\); put",
        ),
        ("text", r"TypeError: Troublemaker.evaluate: expected a number, or \(number, dict\), got .high. \(str\)"),
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


def losing(optimizee, chunk, *, deadly=(), slow=()) -> tuple[Evaluator, list[Chunk]]:
    """Return an evaluator, and the list of the chunks that it starts.

    A worker that gets an individual of `deadly` is lost, one that gets one of `slow` is ended as too slow.
    """
    started: list[Chunk] = []

    def lose(chunk, outcome):
        has = set(range(chunk.start, chunk.stop)) if chunk.alone is None else {chunk.alone}
        if has & set(slow):
            return Lost("longer than 2 s", late=True, seconds=2.0)
        return Lost("it was killed") if has & set(deadly) else outcome

    workers = Staged(optimizee, on_start=lambda chunk, seeds: started.append(chunk), change=lose)
    return Evaluator(optimizee, workers, chunk), started


@pytest.mark.parametrize("submitted", [False, True], ids=["generation", "chunk"])
def test_a_chunk_that_loses_its_workers_is_taken_apart_with_and_without_generations(submitted):
    optimizee = BatchTroublemaker()
    z, whole = population(optimizee, 4), Inline(optimizee, chunk=4).evaluate(population(optimizee, 4), SEEDS[:4])
    evaluator, started = losing(optimizee, 4, deadly=[2])
    if submitted:
        evaluator.submit(0, z, SEEDS[:4])
        number, done = evaluator.collect()
        assert (number, evaluator.under_way) == (0, 0)
    else:
        done = evaluator.evaluate(z, SEEDS[:4])
    text = "WorkerLost: given up after 3 tries: it was killed"
    assert done.evaluation.errors == ("", "", text, "")
    rows = [0, 1, 3]
    assert done.evaluation.fitness[rows].tobytes() == whole.evaluation.fitness[rows].tobytes()
    assert [chunk.alone for chunk in started] == [None] * 3 + [0, 1, 2, 2, 2, 3]
    assert done.seconds[2] == 0.0  # nobody said how long its worker lived


def test_one_that_is_too_slow_is_found_without_repetition():
    evaluator, started = losing(Troublemaker(), 3, slow=[4])
    done = evaluator.evaluate(population(Troublemaker(), 6), SEEDS[:6])
    assert done.evaluation.errors == ("", "", "", "", "Timeout: longer than 2 s", "")
    assert [chunk.alone for chunk in started] == [None, None, 3, 4, 5]
    assert done.seconds[4] == 2.0


def test_one_that_is_too_slow_in_a_chunk_of_its_own_is_evaluated_once():
    evaluator, started = losing(Troublemaker(), 1, slow=[0])
    done = evaluator.evaluate(population(Troublemaker(), 2), SEEDS[:2])
    assert done.evaluation.errors == ("Timeout: longer than 2 s", "")
    assert len(started) == 2


def test_longest_first_ends_sooner_and_returns_the_same_bytes():
    optimizee, n = Troublemaker(), 64
    z, seeds = population(optimizee, n), evaluation_seeds(3, 0, n)
    over = []
    for trial in range(20):
        seconds = np.minimum(1 + np.random.default_rng(trial).pareto(1.5, n), 20.0)
        ideal = max(seconds.sum() / 4, seconds.max())
        asked, sorted_ = (Clock(lambda chunk, _, of=seconds: of[chunk.start : chunk.stop].sum()) for _ in range(2))
        first = sorted_.evaluator(optimizee, chunk=2).evaluate(z, seeds, expected=seconds)
        assert_same(first.evaluation, asked.evaluator(optimizee, chunk=2).evaluate(z, seeds).evaluation)
        over.append((asked.now / ideal, sorted_.now / ideal))
    as_asked, longest_first = np.mean(over, axis=0)
    assert longest_first < 1.03 < 1.08 < as_asked
    assert max(ratio for _, ratio in over) <= 4 / 3  # Graham 1969: 4/3 - 1/12 at most of the best there is


def test_what_a_process_does_is_told_between_chunks():
    optimizee = Troublemaker(pause=0.02)
    evaluator = Inline(optimizee, chunk=5)
    seen = []
    began = time.time()
    evaluator.evaluate(population(optimizee), SEEDS, generation=7, watch=seen.extend)
    worker = f"{socket.gethostname()}:{os.getpid()}"
    assert [status[:4] for status in seen] == [(worker, 7, 0, 4)]  # once a second at most
    assert began <= seen[0].since <= time.time()
    assert [status[:4] for status in evaluator.workers.status()] == [(worker, 7, -1, -1)]
    evaluator.evaluate(population(optimizee), SEEDS)  # of no generation that is named
    assert evaluator.workers.status()[0].generation == 0


class Arriving(Staged):
    """One worker that can begin once `wait` has been called three times."""

    waits = 0

    def idle(self) -> bool:
        return self.waits >= 3

    def wait(self):
        self.waits += 1


def test_open_waits_until_a_worker_can_begin_and_tells_meanwhile_once_a_second(monkeypatch):
    workers, told = Arriving(Troublemaker()), []
    seconds = iter([10.0, 10.0, 10.9, 11.0, 11.0])  # two looks at the clock where `watch` is called
    clock = SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr("l2l_snn.workers.evaluator.time", clock)
    evaluator = Evaluator(Troublemaker(), workers)
    assert not evaluator.ready
    evaluator.open(watch=lambda statuses: told.append(workers.waits))
    assert (evaluator.ready, workers.waits, told) == (True, 3, [0, 2])
    evaluator.open()
    assert workers.waits == 3


def test_a_chunk_is_one_individual_and_its_generation_0_where_nothing_is_said():
    started = []
    evaluator = Evaluator(Troublemaker(), Staged(Troublemaker(), on_start=lambda chunk, _: started.append(chunk)))
    z = population(Troublemaker(), 2)
    evaluator.evaluate(z, SEEDS[:2], generation=4)
    assert started == [Chunk(0, 1), Chunk(1, 2)]
    evaluator.submit(5, z, SEEDS[:2])
    assert evaluator.collect()[0] == 5
    assert evaluator.workers.generation == 0


def test_collecting_what_was_not_submitted_is_refused():
    with pytest.raises(RuntimeError, match="collect: expected a chunk under way, got none"):
        Inline(Troublemaker()).collect()
