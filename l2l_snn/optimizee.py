"""The inner loop: what is optimised. Users subclass `Optimizee` or `JaxOptimizee`.

Legend: P individuals, D search coordinates, M objectives.

    @dataclass(frozen=True)
    class Line(Optimizee):
        slope: float = 2.0                                # a field: set in the job file
        space = Space(x=Real(-1, 1))

        def evaluate(self, params, seed):
            return self.slope * params["x"], {"x_squared": params["x"] ** 2}
"""

from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, final

import numpy as np

from l2l_snn.evaluation import Evaluation, failure
from l2l_snn.space import Space
from l2l_snn.validate import check_fields, check_shape, message


class Optimizee(ABC):
    """One inner loop. A subclass is a frozen dataclass: its fields are its JSON-able configuration.

    Annotations say what a field may hold, e.g. `tau_m: Positive = 20.0`; see `l2l_snn.validate.check_fields`.

    Write `evaluate` (one individual) or `evaluate_batch` (all at once, where that is faster). Both must
    depend on their arguments alone: the same z and seed give the same bytes, whoever their neighbours are.
    Instances travel to the workers as their class and fields, so what is slow to build belongs in a cache.
    """

    space: Space
    objectives: ClassVar[int] = 1  # M
    has_grad: ClassVar[bool] = False  # whether evaluate_batch(with_grad=True) fills Evaluation.grad
    fitness_label: ClassVar[str] = "fitness"  # what it is and its unit, for pictures

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # not where the class is made: a class of a notebook travels to the workers before its methods do
        if cls.evaluate is Optimizee.evaluate and cls.evaluate_batch is Optimizee.evaluate_batch:
            expected = "a method evaluate(self, params, seed) or evaluate_batch(self, z, seeds, ...)"
            raise TypeError(message(f"class {cls.__name__}", expected, "neither", "write one of them"))
        return super().__new__(cls)

    @final
    def __post_init__(self) -> None:
        check_fields(self)
        self.cross_check()

    def cross_check(self) -> None:  # noqa: B027
        """Refuse fields that don't fit together, after each was checked by its annotation; the default takes all.

        Raises:
            ValueError: see `validate.message`.
        """

    def evaluate(self, params: dict[str, Any], seed: int) -> Any:
        """Evaluate one individual.

        Args:
            params: name -> decoded value, as the space says.
            seed: seed of all that is random in this evaluation.

        Returns:
            fitness, a number ((M,) numbers with several objectives), or (fitness, dict). Numbers in the
            dict are metrics (columns of the table), arrays are artifacts (kept only when asked for).

        Raises:
            Exception: anything; the individual is recorded as failed, with the text.
        """
        raise NotImplementedError

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
        rows = [self._evaluate_row(z[i], int(seeds[i]), with_artifacts) for i in range(len(z))]
        return Evaluation.join(rows)

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

    def _evaluate_row(self, z: np.ndarray, seed: int, with_artifacts: bool) -> Evaluation:
        """Return the evaluation of one individual by `evaluate`; what it raises becomes its error."""
        shape = () if self.objectives == 1 else (self.objectives,)
        try:
            result = self.evaluate(self.space.decode(z), seed)
            fitness, details = result if _has_details(result) else (result, {})
            fitness = check_shape(
                "fitness", np.asarray(fitness, np.float64), shape, "return a number or (number, dict)"
            )
            arrays = {name: np.asarray(value) for name, value in details.items()}
            metrics = {name: value.astype(np.float64)[None] for name, value in arrays.items() if value.ndim == 0}
        except Exception as error:  # whatever a user's model raises is a row, not the end of the run
            return failure(1, self.objectives, f"{type(error).__name__}: {error}")
        artifacts = {name: value[None] for name, value in arrays.items() if value.ndim and with_artifacts}
        return Evaluation(fitness[None], metrics, artifacts)


class JaxOptimizee(Optimizee):
    """An optimizee written as a pure JAX function; the batch is its jitted vmap, and it has a gradient."""

    has_grad = True
    precision: ClassVar[Literal["float32", "float64"]] = "float32"

    @abstractmethod
    def evaluate(self, params: dict[str, Any], key: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Evaluate one individual; traced, pure.

        Args:
            params: name -> jax array of the parameter's shape.
            key: a `jax.random` key, from the evaluation's seed.

        Returns:
            fitness () or (M,), or (fitness, dict): numbers are metrics, arrays artifacts.
        """

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Evaluate P individuals in one compiled call; see `Optimizee.evaluate_batch`."""
        import jax

        with jax.enable_x64(self.precision == "float64"):
            keys = jax.vmap(jax.random.key)(jax.numpy.asarray(seeds, jax.numpy.uint32))
            (fitness, details), grad = _compiled(self, with_grad)(jax.numpy.asarray(z, self.precision), keys)
        arrays = {name: np.asarray(value) for name, value in details.items()}
        return Evaluation(
            np.asarray(fitness, np.float64),
            {name: value.astype(np.float64) for name, value in arrays.items() if value.ndim == 1},
            {name: value for name, value in arrays.items() if value.ndim > 1 and with_artifacts},
            np.asarray(grad, np.float64) if with_grad else None,
        )


def _has_details(result: Any) -> bool:
    """Return whether `evaluate` gave (fitness, dict) and not a bare fitness."""
    return isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)


@lru_cache(maxsize=16)
def _compiled(optimizee: JaxOptimizee, with_grad: bool) -> Any:
    """Return the jitted function (z (P, D), keys (P,)) -> ((fitness, details), grad or None)."""
    import jax

    def objective(z: Any, key: Any) -> Any:
        result = optimizee.evaluate(optimizee.space.decode(z), key)
        return result if _has_details(result) else (result, {})

    if with_grad:
        return jax.jit(jax.vmap(jax.value_and_grad(objective, has_aux=True)))
    return jax.jit(lambda z, keys: (jax.vmap(objective)(z, keys), None))


def validated(optimizee: Optimizee, evaluation: Evaluation, individuals: int, with_grad: bool) -> Evaluation:
    """Return what an optimizee's batch gave, in canonical form, or raise if it can't be read.

    Fitness becomes float64; a fitness that is not finite is a failure and gets a text; errors has P entries.

    Raises:
        TypeError: not an `Evaluation`.
        ValueError: an array has the wrong shape, or the gradient that was asked for is missing.
    """
    name = type(optimizee).__name__
    if not isinstance(evaluation, Evaluation):
        raise TypeError(message(f"{name}.evaluate_batch", "an Evaluation", type(evaluation).__name__))
    shape = (individuals,) if optimizee.objectives == 1 else (individuals, optimizee.objectives)
    fitness = check_shape(f"{name}: fitness", np.asarray(evaluation.fitness, np.float64), shape)
    metrics = {
        key: check_shape(f"{name}: metrics[{key!r}]", np.asarray(value, np.float64), (individuals,))
        for key, value in evaluation.metrics.items()
    }
    for key, value in evaluation.artifacts.items():
        if len(value) != individuals:
            raise ValueError(message(f"{name}: artifacts[{key!r}]", f"{individuals} rows", len(value)))
    grad = evaluation.grad
    if with_grad:
        if grad is None:
            raise ValueError(message(f"{name}: grad", "an array, since with_grad was asked", "None"))
        grad = check_shape(f"{name}: grad", np.asarray(grad, np.float64), (individuals, optimizee.space.size))
    errors = evaluation.errors or ("",) * individuals
    if len(errors) != individuals:
        raise ValueError(message(f"{name}: errors", f"{individuals} texts or none", len(errors)))
    rows = fitness.reshape(individuals, -1)
    bad = np.asarray(~np.isfinite(rows).all(axis=1))
    if grad is not None:
        bad = bad | ~np.isfinite(grad).all(axis=1)
    texts = tuple(
        (text or f"fitness is {rows[i].tolist() if rows.shape[1] > 1 else rows[i, 0]}, or its gradient is not finite")
        if bad[i] or text
        else ""
        for i, text in enumerate(errors)
    )
    failed = np.array([bool(text) for text in texts])
    fitness = np.where(failed.reshape((-1,) + (1,) * (fitness.ndim - 1)), np.nan, fitness)
    return Evaluation(fitness, metrics, evaluation.artifacts, grad, texts)
