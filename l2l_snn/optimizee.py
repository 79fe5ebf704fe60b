"""The inner loop: what is optimised. Users subclass `Optimizee`, `JaxOptimizee` or `BatchOptimizee`.

Legend: P individuals, D search coordinates, M objectives.

    @dataclass(frozen=True)
    class Line(Optimizee):
        slope: float = 2.0                                # a field: set in the job file
        space = Space(x=Real(-1, 1))

        def evaluate(self, params, seed):
            return self.slope * params["x"], {"x_squared": params["x"] ** 2}
"""

import os
import sys
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, cast, final

import numpy as np

from l2l_snn.evaluation import Evaluation, Experience, Learning, describe_error, failure
from l2l_snn.seeding import jax_key, seed_words
from l2l_snn.space import Space
from l2l_snn.validate import (
    check_fields,
    check_numbers,
    check_shape,
    describe,
    holds_numbers,
    message,
    refuse_post_init,
)


class BatchOptimizee(ABC):
    """An inner loop that evaluates many individuals in one call; what `Optimizee` and `JaxOptimizee` are too.

    A subclass is a frozen dataclass: its fields are its JSON-able configuration, and frozen dataclasses among them
    nest. Annotations say what a field may hold, e.g. `tau_m: Positive = 20.0`; see `l2l_snn.validate.check_fields`.

    An evaluation must depend on its arguments alone: the same z and seed give the same bytes, whoever their neighbours
    are. Instances travel to the workers as their class and fields, so what is slow to build belongs in a cache.

    Raises:
        TypeError: a subclass of `Optimizee` or `JaxOptimizee` defines `evaluate_batch`.
    """

    objectives: ClassVar[int] = 1  # M
    has_grad: ClassVar[bool] = False  # whether evaluate_batch(with_grad=True) fills Evaluation.grad
    has_experience: ClassVar[bool] = False  # whether `gather` fills Evaluation.experience
    side_by_side: ClassVar[bool] = True  # whether how many are evaluated at once may change an individual's last bits
    fitness_label: ClassVar[str] = "fitness"  # what it is and its unit, for pictures
    # a class attribute, or made once by `make_space` where it depends on the fields
    space: Space = cast(Space, cached_property(lambda self: self.make_space()))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        refuse_post_init(cls)
        inherited = getattr(super(cls, cls), "evaluate_batch", None)
        if "evaluate_batch" in vars(cls) and getattr(inherited, "__final__", False):
            got = f"a subclass of {cls.__mro__[1].__name__}"
            raise TypeError(
                message(f"class {cls.__name__}", "no method evaluate_batch", got, "subclass BatchOptimizee")
            )

    @final
    def __post_init__(self) -> None:
        check_fields(self)
        self.cross_check()

    def cross_check(self) -> None:  # noqa: B027
        """Refuse fields that don't fit together, after each was checked by its annotation; the default takes all.

        Raises:
            ValueError: see `validate.message`.
        """

    def make_space(self) -> Space:
        """Return the search space that these fields have; not called where the class has an attribute `space`."""
        todo = "write space = Space(...) in the class, or a method make_space(self)"
        raise TypeError(message(f"class {type(self).__name__}", "a search space", "none", todo))

    @abstractmethod
    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Evaluate several individuals.

        Args:
            z: (P, D) search coordinates; `self.space.decode(z[i])` gives parameters.
            seeds: (P,) int64, one an individual.
            with_grad: fill `grad`; asked only of classes with `has_grad`.
            with_artifacts: fill `artifacts` with what pictures need.

        Returns:
            The evaluation of the P individuals, in order.
        """

    def gather(self, z: np.ndarray, seeds: np.ndarray) -> Evaluation:
        """Evaluate individuals that act, with what they met and did; asked only of classes with `has_experience`.

        Args:
            z: (P, D) search coordinates.
            seeds: (P,) int64, one an individual.

        Returns:
            The evaluation, as of `evaluate_batch`, with `experience`.
        """
        todo = "write a method gather(self, z, seeds), or take an optimizer that needs only the fitness"
        raise TypeError(message(f"class {type(self).__name__}", "experience", "none", todo))

    @property
    def segments(self) -> tuple[int, int] | None:
        """What `l2l_snn.evaluation.Acting.segments` says."""
        return None

    def check_learning(self, by: Learning) -> None:  # noqa: B027
        """Do what `l2l_snn.evaluation.Acting.check_learning` says; the default takes all."""

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write this optimizee's own pictures of one individual; the default draws none.

        Args:
            params: the individual's decoded parameters.
            evaluation: its evaluation, with artifacts, P = 1.
            folder: existing folder for the files.
            video: also write an animation.

        Returns:
            The files written.
        """
        return []


class Optimizee(BatchOptimizee):
    """An inner loop that evaluates one individual after the other, by `evaluate`."""

    side_by_side = False

    @abstractmethod
    def evaluate(self, params: dict[str, Any], seed: int) -> Any:
        """Evaluate one individual.

        Args:
            params: name -> decoded value, as the space says.
            seed: seed of all that is random in this evaluation.

        Returns:
            fitness, a number ((M,) numbers with several objectives), or (fitness, dict). Numbers in the
            dict are metrics (columns of the table), arrays are artifacts (kept only when asked for).

        Raises:
            Exception: anything; the individual is recorded as failed, with the text and the traceback.
        """

    @final
    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Evaluate P individuals, one after the other; see `BatchOptimizee.evaluate_batch`."""
        rows = [self._evaluate_row(z[i], int(seeds[i]), with_artifacts) for i in range(len(z))]
        return Evaluation.join(rows)

    def _evaluate_row(self, z: np.ndarray, seed: int, with_artifacts: bool) -> Evaluation:
        """Return the evaluation of one individual by `evaluate`; what it raises becomes its error."""
        try:
            with children_end_here():
                result = self.evaluate(self.space.decode(z), seed)
            fitness, arrays = _read_result(self, result, np.asarray)
            metrics = {name: value.astype(np.float64)[None] for name, value in arrays.items() if value.ndim == 0}
        except Exception as error:  # whatever a user's model raises is a row, not the end of the run
            return failure(1, self.objectives, describe_error(error))
        artifacts = {name: value[None] for name, value in arrays.items() if value.ndim and with_artifacts}
        return Evaluation(fitness.astype(np.float64)[None], metrics, artifacts)


class JaxOptimizee(BatchOptimizee):
    """An optimizee written as a pure JAX function, which is compiled once and has a gradient.

    Individuals run side by side, by vmap, or with `side_by_side = False` one after the other, where one is work enough.
    """

    has_grad = True
    precision: Literal["float32", "float64"] = "float32"  # of the compiled function; a class attribute or a field

    @abstractmethod
    def evaluate(self, params: dict[str, Any], key: Any, *, watch: bool) -> Any:
        """Evaluate one individual; traced, pure.

        Args:
            params: name -> jax array of the parameter's shape.
            key: a `jax.random` key, from the evaluation's seed.
            watch: whether artifacts are wanted; those that are returned though they aren't are dropped.

        Returns:
            fitness () or (M,), or (fitness, dict): numbers are metrics, arrays artifacts.
        """

    def summarize(self, found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return metrics (P,) and artifacts (P, ...) from what `evaluate` returned; in numpy, by default unchanged."""
        return found

    @final
    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Evaluate P individuals by one compiled function; see `BatchOptimizee.evaluate_batch`."""
        import jax

        run = _compile_evaluation(self, with_grad, with_artifacts)
        z, words = np.asarray(z, self.precision), seed_words(seeds)
        with jax.enable_x64(self.precision == "float64"):
            if self.side_by_side:
                results = jax.device_get(run(z, words))
            else:
                rows = jax.device_get([run(*row) for row in zip(z, words, strict=True)])
                results = jax.tree.map(lambda *values: np.stack(values), *rows)
        (fitness, found), grad = results
        arrays = {name: np.asarray(value) for name, value in self.summarize(found).items()}
        return Evaluation(
            np.asarray(fitness, np.float64),
            {name: _read_metric(self, name, value) for name, value in arrays.items() if value.ndim == 1},
            {name: value for name, value in arrays.items() if value.ndim > 1 and with_artifacts},
            np.asarray(grad, np.float64) if with_grad else None,
        )


@contextmanager
def children_end_here() -> Iterator[None]:
    """End the processes that were forked within, so that none goes on as a second worker or driver."""
    pid, status = os.getpid(), 0
    try:
        yield
    except BaseException as error:
        if os.getpid() == pid:
            raise
        status = error.code if isinstance(error, SystemExit) else 1
        if not isinstance(error, SystemExit):
            traceback.print_exception(error)
    if os.getpid() != pid:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status if isinstance(status, int) else int(status is not None))


def _read_result(optimizee: BatchOptimizee, result: Any, as_array: Callable[[Any], Any]) -> tuple[Any, dict[str, Any]]:
    """Return fitness, () or (M,), and details of what a method `evaluate` returned, as arrays.

    Args:
        optimizee: whose method it is.
        result: fitness, or (fitness, dict).
        as_array: makes an array of a number or an array.

    Raises:
        TypeError: it is something else.
    """
    name, M = f"{type(optimizee).__name__}.evaluate", optimizee.objectives
    expected = "a number, or (number, dict)" if M == 1 else f"{M} numbers, or ({M} numbers, dict)"
    has_details = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
    fitness, details = result if has_details else (result, {})
    array = _read_entry(as_array, fitness)
    if array is None or not holds_numbers(array) or array.shape != (() if M == 1 else (M,)):
        todo = "is a return missing?" if result is None else ""
        if isinstance(fitness, tuple) or (array is not None and array.shape):
            todo = "put what isn't fitness into the dict; `objectives` of the class says how many numbers that is"
        raise TypeError(message(name, expected, describe(fitness), todo))
    return array, {key: _read_detail(name, key, value, as_array) for key, value in details.items()}


def _read_detail(name: str, key: Any, value: Any, as_array: Callable[[Any], Any]) -> Any:
    """Return an entry of the dict that a method `evaluate`, called `name`, returned, as an array."""
    if not isinstance(key, str):
        raise TypeError(message(f"{name}: a key of the dict", "a name", describe(key)))
    array = _read_entry(as_array, value)
    if array is None or not (array.shape or holds_numbers(array, flags=True)):
        todo = "give a missing number as nan" if value is None else "only numbers become columns of the table"
        raise TypeError(message(f"{name}: {key!r} in the dict", "a number or an array", describe(value), todo))
    return array


def _read_entry(as_array: Callable[[Any], Any], value: Any) -> Any:
    """Return a value as an array; None if it is none."""
    with suppress(TypeError, ValueError):  # e.g. lists of different lengths
        return as_array(value)
    return None


def _read_metric(optimizee: BatchOptimizee, name: str, value: Any) -> np.ndarray:
    """Return the metric (P,) of a batch in float64."""
    return check_numbers(f"{type(optimizee).__name__}: metrics[{name!r}]", value, flags=True)


@lru_cache(maxsize=16)
def _compile_evaluation(optimizee: JaxOptimizee, with_grad: bool, watch: bool) -> Any:
    """Return the jitted function (z (D,), words (2,)) -> ((fitness, dict), gradient or None); of P side by side."""
    import jax

    def objective(z: Any, words: Any) -> Any:
        result = optimizee.evaluate(optimizee.space.decode(z), jax_key(words), watch=watch)
        return _read_result(
            optimizee, result, lambda value: value if isinstance(value, jax.Array) else np.asarray(value)
        )

    one = jax.value_and_grad(objective, has_aux=True) if with_grad else lambda z, words: (objective(z, words), None)
    return jax.jit(jax.vmap(one) if optimizee.side_by_side else one)


def find_not_finite(experience: Experience | None) -> str:
    """Return "", or which numbers of an individual's experience are no finite ones: nobody could learn from them."""
    for name in ("observations", "next_observations", "rewards", "actions", "log_probs") if experience else ():
        bad = np.argwhere(~np.isfinite(getattr(experience, name)))
        if len(bad):
            return f"the rollout's {name} aren't finite, first at (environment, step, ...) {tuple(bad[0].tolist())}"
    return ""


def validated(
    optimizee: BatchOptimizee, evaluation: Evaluation, individuals: int, with_grad: bool, with_experience: bool = False
) -> Evaluation:
    """Return what an optimizee's batch gave, in canonical form, or raise if it can't be read.

    Fitness becomes float64; a fitness that is not finite is a failure and gets a text; errors has P entries, and so has
    experience that was asked for.

    Raises:
        TypeError: not an `Evaluation`, or something in it is no number.
        ValueError: an array has the wrong shape, or the gradient or experience that was asked for is missing.
    """
    name = type(optimizee).__name__
    if not isinstance(evaluation, Evaluation):
        raise TypeError(message(f"{name}.evaluate_batch", "an Evaluation", type(evaluation).__name__))
    shape = (individuals,) if optimizee.objectives == 1 else (individuals, optimizee.objectives)
    fitness = check_shape(f"{name}: fitness", check_numbers(f"{name}: fitness", evaluation.fitness), shape)
    metrics = {
        key: check_shape(f"{name}: metrics[{key!r}]", _read_metric(optimizee, key, value), (individuals,))
        for key, value in evaluation.metrics.items()
    }
    for key, value in evaluation.artifacts.items():
        if len(value) != individuals:
            raise ValueError(message(f"{name}: artifacts[{key!r}]", f"{individuals} rows", len(value)))
    grad = evaluation.grad
    if with_grad:
        if grad is None:
            raise ValueError(message(f"{name}: grad", "an array, since with_grad was asked", "None"))
        grad = check_shape(f"{name}: grad", check_numbers(f"{name}: grad", grad), (individuals, optimizee.space.size))
    errors = evaluation.errors or ("",) * individuals
    if len(errors) != individuals:
        raise ValueError(message(f"{name}: errors", f"{individuals} texts or none", len(errors)))
    rows = fitness.reshape(individuals, -1)
    bad = np.asarray(~np.isfinite(rows).all(axis=1))
    if grad is not None:
        bad = bad | ~np.isfinite(grad).all(axis=1)
    experience = evaluation.experience
    if with_experience:
        if not experience and all(text or wrong for text, wrong in zip(errors, bad, strict=True)):
            experience = (None,) * individuals
        if len(experience) != individuals:
            raise ValueError(message(f"{name}: experience", f"{individuals} entries", len(experience)))
        errors = tuple(text or find_not_finite(one) for text, one in zip(errors, experience, strict=True))
    texts = tuple(
        (text or f"fitness is {rows[i].tolist() if rows.shape[1] > 1 else rows[i, 0]}, or its gradient is not finite")
        if bad[i] or text
        else ""
        for i, text in enumerate(errors)
    )
    failed = np.array([bool(text) for text in texts])
    fitness = np.where(failed.reshape((-1,) + (1,) * (fitness.ndim - 1)), np.nan, fitness)
    if with_experience:
        experience = tuple(None if failed[i] else one for i, one in enumerate(experience))
    return Evaluation(fitness, metrics, evaluation.artifacts, grad, texts, experience)
