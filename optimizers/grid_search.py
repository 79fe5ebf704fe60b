"""Grid search: every combination of some values of each parameter.

Bergstra & Bengio (2012), Random search for hyper-parameter optimization, say when not to.

Legend: P individuals, D search coordinates, A axes of the grid, L largest number of levels of one, N points of it.
"""

from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Choice, Free, Integer, Parameter, Space
from l2l_snn.validate import Count, Within, check_choice, did_you_mean, message


class GridSearchState(NamedTuple):
    """What grid search knows between generations. The grid itself is not stored: its points follow from the levels."""

    words: np.ndarray  # (2,) the random stream; the order is drawn from it, the same in each ask
    # (A, L) z of the levels of each axis, low to high; unused entries are 0. An axis is a coordinate, or all those of a
    # `Choice` without order, whose levels are the numbers of its options
    levels: np.ndarray
    counts: np.ndarray  # (A,) int64, how many levels each axis has
    asked: np.ndarray  # () int64, points asked for so far
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness (the first objective), -inf before any evaluation succeeded


def level_values(parameter: Parameter, points: int, reach: float) -> np.ndarray:
    """Return the z of an axis' levels, low to high; of a `Choice` without order the numbers of its options.

    Args:
        parameter: whose coordinate it is.
        points: how many levels; fewer where an `Integer` has fewer values. A `Choice` always has all its options,
            since they have no order.
        reach: largest |z| of a `Free` coordinate.

    >>> level_values(Free(), 3, 2.0).tolist()
    [-2.0, 0.0, 2.0]
    >>> level_values(Integer(0, 3), 9, 2.0).tolist()
    [0.125, 0.375, 0.625, 0.875]
    """
    if isinstance(parameter, Choice) and parameter.one_hot:
        return np.arange(len(parameter.options), dtype=np.float64)
    if isinstance(parameter, Integer | Choice):
        values = len(parameter.options) if isinstance(parameter, Choice) else parameter.high - parameter.low + 1
        count = values if isinstance(parameter, Choice) else min(points, values)
        chosen = np.round(_make_equal_steps(0, values - 1, count))
        return (chosen + 0.5) / values  # the middle of the part of z that each value owns
    low, high = (-reach, reach) if isinstance(parameter, Free) else (0.0, 1.0)
    return _make_equal_steps(low, high, points)


def _make_equal_steps(low: float, high: float, count: int) -> np.ndarray:
    """Return `count` numbers from low to high, or the middle if one alone is wanted."""
    return np.linspace(low, high, count) if count > 1 else np.array([(low + high) / 2])


def coarseness(count: int) -> np.ndarray:
    """Return (count,) int64, the pass in which each level comes: the middle, then the ends, then ever finer steps.

    >>> coarseness(9).tolist()
    [1, 4, 3, 4, 0, 4, 3, 4, 1]
    """
    passes = np.zeros(count, np.int64)
    finest = 1 + (count - 1).bit_length()
    for step in range(finest, 0, -1):  # a coarser grid overwrites the finer ones that contain it
        passes[np.round(np.linspace(0, count - 1, 2 ** (step - 1) + 1)).astype(np.int64)] = step
    passes[round((count - 1) / 2)] = 0
    return passes


@dataclass(frozen=True)
class GridSearch(Optimizer[GridSearchState]):
    """Evaluate the points of a grid, P at a time; after the last it begins again, so that noisy points get new seeds.

    The generation in which the grid ends is filled up with the first points of the next pass. A whole pass takes
    ceil(N / P) generations; N is `GridSearch.size`.
    """

    learns: ClassVar[bool] = False
    several_objectives: ClassVar[bool] = True
    population: Count = 32  # P
    points: Count | dict[str, Count] = 5  # levels of each coordinate, or for each parameter by its name
    order: Literal["random", "coarse", "lexicographic"] = "random"  # coarse: coarse grid first, random within a pass;
    # lexicographic: last coordinate fastest, the same for every seed
    reach: Annotated[float, Within(0.0, 1e6, open_low=True)] = 2.0  # largest |z| of a free coordinate's levels
    limit: Count = 100_000  # more points are refused

    def cross_check(self) -> None:
        for name, count in self.points.items() if isinstance(self.points, dict) else (("", self.points),):
            if count > self.limit:
                field = f"GridSearch.points{'.' if name else ''}{name}"
                raise ValueError(message(field, f"at most limit ({self.limit})", count))

    def size(self, space: Space) -> int:
        """Return N, the number of points of the grid in this space.

        Raises:
            ValueError: `points` doesn't fit the space.
        """
        return prod(len(levels) for levels in self._list_levels(space))

    def init(self, space: Space, seed: int) -> GridSearchState:
        """Return the first state.

        Raises:
            ValueError: `points` doesn't fit the space, or the grid has more than `limit` points.
        """
        levels = self._list_levels(space)
        counts = np.array([len(values) for values in levels])
        size = prod(counts.tolist())  # of Python integers: it may be huge
        if size > self.limit:
            todo = "take fewer points or parameters, raise limit, or take an algorithm that doesn't try everything"
            digits = int(np.log10(counts.astype(float)).sum())  # Python doesn't print numbers of 5,000 digits
            got = f"{size if digits < 15 else f'10^{digits}'} points"
            raise ValueError(message("GridSearch.points", f"a grid of at most limit ({self.limit}) points", got, todo))
        table = np.zeros((len(levels), counts.max()))
        for row, values in zip(table, levels, strict=True):
            row[: len(values)] = values
        return GridSearchState(stream(seed), table, counts, np.array(0), space.center, np.array(-np.inf))

    def ask(self, space: Space, state: GridSearchState) -> tuple[np.ndarray, GridSearchState]:
        order = self._order_points(state)
        chosen = order[(int(state.asked) + np.arange(self.population)) % len(order)]
        columns = np.unravel_index(chosen, tuple(state.counts))
        on_axes = iter([levels[column] for levels, column in zip(state.levels, columns, strict=True)])
        parts: list[np.ndarray] = []
        for parameter in space.parameters.values():
            if isinstance(parameter, Choice) and parameter.one_hot:
                parts += list(np.eye(len(parameter.options))[next(on_axes).astype(np.int64)].T)
            else:
                parts += islice(on_axes, prod(parameter.shape))
        return np.stack(parts, axis=1), state._replace(asked=np.array(state.asked + self.population))

    def learn(
        self, space: Space, state: GridSearchState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> GridSearchState:
        return with_best(state, z, evaluation)

    def recommend(self, space: Space, state: GridSearchState) -> np.ndarray:
        """Return the z of the best single evaluation so far (with noisy fitness that is partly luck)."""
        return state.best_z

    def _list_levels(self, space: Space) -> list[np.ndarray]:
        """Return for each of the A axes its levels."""
        named = self.points if isinstance(self.points, dict) else dict.fromkeys(space.parameters, self.points)
        for name in named:
            if name not in space.parameters:
                todo = did_you_mean(name, list(space.parameters))
                raise ValueError(message("GridSearch.points", "the names of the space", repr(name), todo))
        levels = []
        for name, parameter in space.parameters.items():
            if name not in named and not isinstance(parameter, Choice):
                raise ValueError(message("GridSearch.points", f"a number of levels for {name!r}", "none"))
            values = level_values(parameter, named.get(name, 1), self.reach)
            if isinstance(self.points, dict) and isinstance(parameter, Choice) and name in named:
                check_choice(f"GridSearch.points.{name}", named[name], (len(values),), "a Choice has all its options")
            levels += [values] * prod(parameter.shape)
        return levels

    def _order_points(self, state: GridSearchState) -> np.ndarray:
        """Return (N,) the numbers of the points in the order in which they are asked for."""
        size = prod(state.counts.tolist())
        if self.order == "lexicographic":
            return np.arange(size)
        generator, _ = generator_of(state.words)  # the words stay as they are: the order holds for the whole run
        order = generator.permutation(size)
        if self.order == "random":
            return order
        passes = np.zeros(1, np.int64)  # of a point, the finest of its coordinates'
        for count in state.counts.tolist():
            passes = np.maximum(passes[:, None], coarseness(count)[None, :]).reshape(-1)
        return order[np.argsort(passes[order], kind="stable")]
