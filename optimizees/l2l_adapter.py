"""An optimizee of the L2L framework (Yegenoglu et al. 2022), run unchanged on this service.

    optimizee:
      class: optimizees.l2l_adapter:L2LOptimizee
      optimizee: my_model:MyOptimizee         # its class, or a function of a trajectory that returns one
      arguments: {parameters: {n_hidden: 10, seed: 1}}
      weights: [-1.0]                         # optimizee_fitness_weights

The framework itself (PyPI: l2lforhpc, GPL) is installed beside this package and called; none of it is here.
"""

import copy
import importlib
import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from l2l_snn.optimizee import Optimizee
from l2l_snn.space import Free, Integer, Parameter, Real, Space
from l2l_snn.validate import AtLeast, message

FAR = 1e9  # a value that any bounding_func with bounds brings back


@dataclass(frozen=True)
class L2LOptimizee(Optimizee):
    """One of the L2L framework's optimizees: `create_individual`, `bounding_func` and `simulate` are called as there.

    Its search space is read off it. Of what `create_individual` returns, an entry that `bounding_func` brings back from
    far away lies between the two values that it brings it to; any other is free, with mean and standard deviation of
    some created individuals. `bounds` says it for those whose bounds can't be read.

    Each evaluation begins with a copy of the optimizee as it was made, as in the framework's workers. The global
    generators of `random` and numpy are seeded with the evaluation's seed and put back after it, so a replay is exact
    where `simulate` draws from them.
    """

    optimizee: str  # module:Class, or module:function
    # given beside the trajectory; a mapping as `parameters` becomes an object with these attributes
    arguments: dict[str, Any] = field(default_factory=dict)
    # a factor for each entry of the fitness tuple: -1 where less is better
    weights: tuple[float, ...] = (1.0,)
    bounds: dict[str, tuple[float, float]] = field(default_factory=dict)  # parameter -> low, high
    samples: int = 32  # individuals created to learn the scale of free parameters

    def cross_check(self) -> None:
        module, _, name = self.optimizee.partition(":")
        if not module or not name.isidentifier():
            raise ValueError(message("L2LOptimizee.optimizee", "module:Class", repr(self.optimizee)))
        AtLeast(2).check("L2LOptimizee.samples", self.samples)

    @property
    def objectives(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return len(self.weights)

    def make_space(self) -> Space:
        """Return the space of what `create_individual` returns.

        Raises:
            ValueError: an entry isn't a number or an array of numbers.
        """
        made = self._made
        with _seeded(0):
            creator = copy.deepcopy(made)
            found = [creator.create_individual() for _ in range(self.samples)]
        parameters: dict[str, Parameter] = {}
        for name in found[0]:
            values = np.array([one[name] for one in found])
            if values.dtype.kind not in "iuf":
                expected = "numbers or arrays of numbers"
                raise ValueError(message(f"L2LOptimizee: create_individual()[{name!r}]", expected, values.dtype))
            parameters[name] = self._describe_parameter(name, values, found[0])
        return Space(**parameters)

    def evaluate(self, params: dict[str, Any], seed: int) -> Any:
        """Return the weighted fitness, one number or several; metrics `raw_0`, ... are what `simulate` returned."""
        optimizee = copy.deepcopy(self._made)
        individual = {name: np.asarray(value) if np.ndim(value) else value for name, value in params.items()}
        with _seeded(seed):
            individual = _bring_back(optimizee, individual)
            trajectory = _make_trajectory()
            for name, value in individual.items():
                trajectory.individual.f_add_parameter(f"individual.{name}", value)
            raw = np.atleast_1d(np.asarray(optimizee.simulate(trajectory), np.float64)).reshape(-1)
        if len(raw) != len(self.weights):
            todo = "give a weight for each"
            raise ValueError(message("L2LOptimizee.weights", f"{len(raw)} numbers", len(self.weights), todo))
        weighted = raw * np.array(self.weights)
        details = {f"raw_{k}": value for k, value in enumerate(raw)}
        return (weighted if len(raw) > 1 else weighted[0]), details

    @property
    def _made(self) -> Any:
        """The optimizee as it was made; evaluations take copies."""
        return _make_optimizee(self.optimizee, json.dumps(self.arguments))

    def _describe_parameter(self, name: str, values: np.ndarray, individual: dict[str, Any]) -> Parameter:
        """Return the parameter that holds values (samples, ...) of an entry."""
        low, high = self.bounds.get(name) or self._read_bounds(name, individual)
        shape = values.shape[1:]
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            spread = float(values.std())
            return Free(shape, spread if spread > 0 else 1.0, float(values.mean()))
        if values.dtype.kind in "iu":
            return Integer(int(low), int(high), shape)
        return Real(float(low), float(high), shape=shape)

    def _read_bounds(self, name: str, individual: dict[str, Any]) -> tuple[float, float]:
        """Return what `bounding_func` brings an entry to from far below and far above; infinite if it doesn't."""
        ends = []
        for far in (-FAR, FAR):
            moved = {**individual, name: np.full_like(np.asarray(individual[name], np.float64), far)}
            back = np.asarray(_bring_back(self._made, moved)[name], np.float64)
            end = back.min() if far < 0 else back.max()
            ends.append(float(end) if abs(end) < FAR else np.inf * np.sign(far))
        return ends[0], ends[1]


def _bring_back(optimizee: Any, individual: dict[str, Any]) -> dict[str, Any]:
    """Return an individual within the bounds, if the optimizee has a `bounding_func`."""
    bound: Any = getattr(optimizee, "bounding_func", None)
    return individual if bound is None else bound(individual)


@lru_cache(maxsize=8)
def _make_optimizee(address: str, arguments: str) -> Any:
    """Return the optimizee of a class or function of the user's, made once a process; arguments in JSON."""
    module, _, name = address.partition(":")
    given = {key: _as_object(value) for key, value in json.loads(arguments).items()}
    with _seeded(0):
        return getattr(importlib.import_module(module), name)(_make_trajectory(), **given)


def _make_trajectory() -> Any:
    """Return a new trajectory of the framework.

    Raises:
        ImportError: it isn't installed.
    """
    try:
        from l2l.utils.trajectory import Trajectory  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        todo = "pip install --no-deps l2lforhpc"
        raise ImportError(message("L2LOptimizee", "the L2L framework", "no module 'l2l'", todo)) from error
    return Trajectory(name="l2l_snn")


def _as_object(value: Any) -> Any:
    """Return an object whose attributes are a mapping's entries, as the framework's namedtuples of parameters."""
    if not isinstance(value, dict):
        return value
    from types import SimpleNamespace

    return SimpleNamespace(**value)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, and put them back after it."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002, the framework's optimizees draw from it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002
