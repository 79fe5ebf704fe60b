"""The search space: named parameters on one side, one flat vector z of order one on the other.

Legend: D search coordinates, P individuals.

    space = Space(tau=Real(5, 50, log=True), w=Free((10, 5)), rule=Choice("stdp", "eprop"))
    space.size            # 52, of a Choice of three it would be 54
    space.decode(z)       # {"tau": 13.2, "w": array (10, 5), "rule": "stdp"}
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import log, prod
from typing import Any, TypeAlias

import numpy as np

from l2l_snn.validate import check_count, check_finite, check_range, check_shape, did_you_mean, message

Array: TypeAlias = Any  # numpy or jax; jax is not imported for a type


def _find_namespace(z: Array) -> Any:
    """Return numpy, or jax.numpy where `z` is (or is traced as) a jax array."""
    if isinstance(z, np.ndarray):
        return np
    import jax.numpy as jnp

    return jnp


def _read_shape(argument: str, shape: int | tuple[int, ...]) -> tuple[int, ...]:
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    for n in shape:
        check_count(f"{argument}.shape", n, 1, "use () for a single number")
    return shape


def _make_read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Real:
    """A real parameter in [low, high]; z in [0, 1] maps to it linearly, or geometrically with `log`.

    Outside [0, 1], z is clipped.
    """

    low: float
    high: float
    log: bool = False
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _read_shape("Real", self.shape))
        check_finite("Real.low", self.low)
        check_finite("Real.high", self.high)
        if not self.low < self.high:
            raise ValueError(message("Real", "low < high", f"low {self.low}, high {self.high}"))
        if self.log:
            check_range("Real.low", self.low, 0.0, open_low=True, todo="a log scale needs positive bounds")

    def decode(self, z: Array) -> Array:
        xp = _find_namespace(z)
        u = xp.clip(z, 0.0, 1.0)
        # from the nearer bound, so that both are met exactly and none is passed by a rounding
        if self.log:
            width = log(self.high) - log(self.low)
            return xp.where(u < 0.5, self.low * xp.exp(u * width), self.high * xp.exp((u - 1.0) * width))
        width = self.high - self.low
        return xp.where(u < 0.5, self.low + u * width, self.high + (u - 1.0) * width)

    def encode(self, value: Array) -> np.ndarray:
        value = np.asarray(value, np.float64)
        if self.log:
            return (np.log(value) - log(self.low)) / (log(self.high) - log(self.low))
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Integer:
    """An integer parameter in {low, ..., high}; each value owns an equal part of z in [0, 1]."""

    low: int
    high: int
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _read_shape("Integer", self.shape))
        for name, value in (("Integer.low", self.low), ("Integer.high", self.high)):
            check_count(name, value, -(2**52))
        if not self.low < self.high:
            raise ValueError(message("Integer", "low < high", f"low {self.low}, high {self.high}"))

    def decode(self, z: Array) -> Array:
        xp = _find_namespace(z)
        count = self.high - self.low + 1
        value = self.low + xp.clip(xp.floor(z * count), 0, count - 1)
        return value.astype(np.int64) if xp is np else value.astype(int)

    def encode(self, value: Array) -> np.ndarray:
        return (np.asarray(value, np.float64) - self.low + 0.5) / (self.high - self.low + 1)


class Choice:
    """One of several values (strings, numbers, booleans).

    Options have no order: each has a free coordinate in z, and the largest wins, the first of equals (one-hot coding
    with arg max; Hamano et al. 2024, CatCMA). In one coordinate a strategy that follows a slope from the first to the
    third would have to pass the second, and may stay there. Two options need only one coordinate: there is nothing
    between them. With `ordered`, for options such as 8, 16, 32, there is one coordinate, and each owns an equal part of
    z in [0, 1].

    A traced z decodes to the option's index, since a string can't be traced: use it with `lax.switch`.
    """

    shape: tuple[int, ...] = ()

    def __init__(self, *options: Any, ordered: bool = False):
        if len(options) < 2 or len(set(options)) < len(options):
            raise ValueError(message("Choice", "two or more different options", options))
        for option in options:
            if not isinstance(option, (str, int, float, bool)):
                raise TypeError(message("Choice", "strings, numbers or booleans", repr(option)))
        if not isinstance(ordered, bool):
            raise TypeError(message("Choice.ordered", "true or false", repr(ordered)))
        self.options = options
        self.ordered = ordered
        self.one_hot = not ordered and len(options) > 2  # whether each option has a coordinate

    @property
    def coordinates(self) -> tuple[int, ...]:
        """The shape of its part of z."""
        return (len(self.options),) if self.one_hot else ()

    def __repr__(self) -> str:
        return f"Choice({', '.join(map(repr, self.options))}{', ordered=True' if self.ordered else ''})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and (other.options, other.one_hot) == (self.options, self.one_hot)

    def __hash__(self) -> int:
        return hash((self.options, self.one_hot))

    def decode(self, z: Array) -> Any:
        """Return an option, or one for each row where z has an axis more; of a jax z the index."""
        xp = _find_namespace(z)
        if self.one_hot:
            index = xp.argmax(z, axis=-1)
        else:
            index = xp.clip(xp.floor(z * len(self.options)), 0, len(self.options) - 1).astype(int)
        if xp is not np:
            return index
        return self.options[int(index)] if index.ndim == 0 else np.array(self.options, object)[index]

    def encode(self, value: Any) -> np.ndarray:
        """Return the z of an option; of a one-hot coding 1 for it and 0 for the others."""
        if value not in self.options:
            todo = did_you_mean(str(value), [str(option) for option in self.options])
            raise ValueError(message("Choice", f"one of {self.options}", repr(value), todo))
        index = self.options.index(value)
        return np.eye(len(self.options))[index] if self.one_hot else np.asarray((index + 0.5) / len(self.options))


@dataclass(frozen=True)
class Free:
    """An unbounded array of reals: value = mean + scale * z, with z of order one."""

    shape: tuple[int, ...] = ()
    scale: float = 1.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", _read_shape("Free", self.shape))
        check_range("Free.scale", self.scale, 0.0, open_low=True)
        check_finite("Free.mean", self.mean)

    def decode(self, z: Array) -> Array:
        return self.mean + self.scale * z

    def encode(self, value: Array) -> np.ndarray:
        return (np.asarray(value, np.float64) - self.mean) / self.scale


Parameter: TypeAlias = Real | Integer | Choice | Free
_KINDS: dict[str, Any] = {"Real": Real, "Integer": Integer, "Choice": Choice, "Free": Free}


def _coordinates_of(parameter: Parameter) -> tuple[int, ...]:
    """Return the shape of a parameter's part of z."""
    return parameter.coordinates if isinstance(parameter, Choice) else parameter.shape


def _is_free(parameter: Parameter) -> bool:
    """Return whether a parameter's part of z has no bounds."""
    return parameter.one_hot if isinstance(parameter, Choice) else isinstance(parameter, Free)


class Space:
    """Named parameters, laid one after another into z in the order given."""

    def __init__(self, **parameters: Parameter):
        if not parameters:
            raise ValueError(message("Space", "at least one parameter", "none", "e.g. Space(w=Real(-1, 1))"))
        for name, parameter in parameters.items():
            if type(parameter) not in _KINDS.values():
                got = f"{parameter!r} ({type(parameter).__name__})"
                raise TypeError(message(f"Space.{name}", "Real, Integer, Choice or Free", got))
        self.parameters: Mapping[str, Parameter] = parameters
        self.slices: dict[str, slice] = {}
        start = 0
        for name, parameter in parameters.items():
            stop = start + prod(_coordinates_of(parameter))
            self.slices[name] = slice(start, stop)
            start = stop
        self.size: int = start  # D
        free = np.zeros(self.size, bool)
        for name, parameter in parameters.items():
            free[self.slices[name]] = _is_free(parameter)
        self.bounded = _make_read_only(~free)  # (D,) which coordinates lie in [0, 1]; the others are free
        self.low = _make_read_only(np.where(free, -np.inf, 0.0))  # (D,) lowest useful z
        self.high = _make_read_only(np.where(free, np.inf, 1.0))  # (D,) highest useful z
        self.center = _make_read_only(np.where(free, 0.0, 0.5))  # (D,) mean of what `sample` gives
        self.scale = _make_read_only(np.where(free, 1.0, 12**-0.5))  # (D,) its standard deviation

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{name}={p!r}' for name, p in self.parameters.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and list(other.parameters.items()) == list(self.parameters.items())

    def __hash__(self) -> int:
        return hash(tuple(self.parameters.items()))

    def sample(self, generator: np.random.Generator, individuals: int) -> np.ndarray:
        """Return (P, D) random z: uniform in [0, 1] where bounded, standard normal where free."""
        uniform = generator.random((individuals, self.size))
        normal = generator.standard_normal((individuals, self.size))
        return np.where(self.bounded, uniform, normal)

    def clipped(self, z: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return z (..., D) within the bounds, written to `out` if that is given."""
        clipped = np.maximum(z, self.low, out=out)  # both faster than np.clip by half
        return np.minimum(clipped, self.high, out=clipped)

    def decode(self, z: Array) -> dict[str, Any]:
        """Return the parameters of one z.

        Args:
            z: (D,) numpy or (traced) jax array.

        Returns:
            name -> Python number or option for a parameter of shape (), else an array of its shape.
            Values of a jax z stay jax arrays.

        Raises:
            ValueError: the shape of z is not (D,).
        """
        if z.shape != (self.size,):
            raise ValueError(message("z", f"an array of shape ({self.size},)", f"shape {z.shape}"))
        params = {}
        for name, parameter in self.parameters.items():
            value = parameter.decode(z[self.slices[name]].reshape(_coordinates_of(parameter)))
            params[name] = value.item() if isinstance(value, (np.ndarray, np.generic)) and not value.shape else value
        return params

    def decode_columns(self, z: np.ndarray) -> dict[str, np.ndarray]:
        """Return the decoded parameters of many z: name -> (P, entries of the parameter)."""
        z = check_shape("z", z, (None, self.size))
        columns = {name: np.asarray(p.decode(z[:, self.slices[name]])) for name, p in self.parameters.items()}
        return {name: column if column.ndim > 1 else column[:, None] for name, column in columns.items()}

    def encode(self, params: Mapping[str, Any]) -> np.ndarray:
        """Return the z (D,) that decodes to `params`; the inverse of `decode`.

        Raises:
            ValueError: a name is missing or unknown, a shape doesn't fit, or a value is out of bounds.
        """
        for name in params:
            if name not in self.parameters:
                todo = did_you_mean(name, list(self.parameters))
                raise ValueError(message("params", "the names of the space", repr(name), todo))
        z = np.empty(self.size)
        for name, parameter in self.parameters.items():
            if name not in params:
                raise ValueError(message("params", f"a value for {name!r}", "none"))
            entry = check_finite(f"params.{name}", parameter.encode(params[name]))
            check_shape(f"params.{name}", entry, _coordinates_of(parameter))
            if not _is_free(parameter) and not np.all((entry > -1e-9) & (entry < 1 + 1e-9)):
                raise ValueError(message(f"params.{name}", f"a value within {parameter!r}", params[name]))
            z[self.slices[name]] = entry.reshape(-1)
        return z

    def to_json(self) -> str:
        """Return the space as JSON text, for the store; `from_json` reads it."""
        entries = {}
        for name, parameter in self.parameters.items():
            fields = dict(vars(parameter))
            if isinstance(parameter, Choice):
                fields = {"options": parameter.options, "ordered": not parameter.one_hot}
            entries[name] = {"kind": type(parameter).__name__, **fields}
        return json.dumps(entries)

    @staticmethod
    def from_json(text: str) -> "Space":
        """Return the space that `to_json` wrote."""
        parameters = {}
        for name, fields in json.loads(text).items():
            kind = _KINDS[fields.pop("kind")]
            if kind is Choice:  # spaces were stored without `ordered` when there was only this
                parameters[name] = Choice(*fields["options"], ordered=fields.get("ordered", True))
            else:
                parameters[name] = kind(**fields)
        return Space(**parameters)
