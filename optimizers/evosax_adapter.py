"""Every algorithm of evosax by its name: evolution strategies, genetic algorithms, swarms, learned optimizers.

Lange (2022), evosax: JAX-based evolution strategies. An algorithm works in coordinates y of order one, minimises, and
computes in float64 on the CPU, so that a run gives the same bytes on a machine with an accelerator. Its state is one
vector of float64, which holds float32, integers below 2^53 and booleans exactly.

Legend: P individuals, D search coordinates, K numbers in the algorithm's state. z = center + sigma * spread * y.
"""

import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.seeding import draw, stream
from l2l_snn.space import Space
from l2l_snn.validate import (
    Count,
    Positive,
    check_choice,
    check_count,
    check_finite,
    check_range,
    check_shape,
    did_you_mean,
    message,
)

# arguments of evosax's constructors that a job file can hold
OPTIONS = (
    "max_context_len",
    "m",
    "num_diff",
    "num_generations",
    "num_groups",
    "num_latent_dims",
    "num_populations",
    "optimizer",
    "std_schedule",
    "subspace_dims",
    "use_antithetic_sampling",
)
RULES: dict[str, Callable[..., Any]] = {"adam": optax.adam, "sgd": optax.sgd, "rmsprop": optax.rmsprop}


class EvosaxState(NamedTuple):
    """What the adapter knows between generations."""

    words: np.ndarray  # (2,) the random stream, of which each call's jax key is drawn
    told: np.ndarray  # () int64, generations told so far
    packed: np.ndarray  # (K,) float64, the arrays of evosax's state one after another
    people: np.ndarray  # () int64, the P that it is made for
    recommended: np.ndarray  # (D,) the mean of the distribution, or the z of the best single evaluation so far
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness, -inf before any evaluation succeeded


class Opened(NamedTuple):
    """An algorithm for P and D, compiled; params are evosax's own, key is (2,) uint32, y is (P, D)."""

    default_params: Any
    means: int  # how many means it has, 0 if it starts from an evaluated population
    size: int  # K
    start: Callable[..., Any]  # key, ((D,) or (means, D) means,) or (y, cost), params -> packed
    ask: Callable[..., Any]  # key, packed, params -> y, packed
    tell: Callable[..., Any]  # key, packed, y, (P,) cost, params -> packed, (D,) mean
    pack: Callable[[Any], Any]  # evosax's state -> packed
    unpack: Callable[[Any], Any]  # and back


@contextmanager
def exactly() -> Iterator[None]:
    """Let jax compute in float64 on the CPU, and let evosax broadcast and call Optax as it is used to."""
    cpu = jax.local_devices(backend="cpu")[0]
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"), jax.default_device(cpu), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def algorithms() -> Mapping[str, Any]:
    """Return evosax's algorithms: name -> class.

    Raises:
        ImportError: evosax is not installed.
    """
    try:
        from evosax.algorithms import algorithms
    except ImportError as error:
        todo = "pip install 'l2l-snn[evosax]'"
        raise ImportError(message("Evosax", "the package evosax", f"{type(error).__name__}: {error}", todo)) from error
    return algorithms


def known_options(algorithm: str) -> list[str]:
    """Return the names that `Evosax.options` may hold for this algorithm."""
    arguments = inspect.signature(algorithms()[algorithm].__init__).parameters
    return [name for name in OPTIONS if name in arguments]


def known_params(algorithm: str) -> list[str]:
    """Return the names that `Evosax.params` may hold for this algorithm; a network's weights are none."""
    annotations = inspect.get_annotations(algorithms()[algorithm]._default_params.fget)
    return [entry.name for entry in fields(annotations["return"]) if entry.name != "params"]


def constructed(algorithm: str, population: int, size: int, options: dict[str, Any]) -> Any:
    """Return evosax's object for one algorithm, P and D.

    Raises:
        ValueError: evosax refuses them.
    """
    arguments = dict(options)
    if "std_schedule" in arguments:
        arguments["std_schedule"] = optax.constant_schedule(arguments["std_schedule"])
    if "optimizer" in arguments:
        rule = dict(arguments["optimizer"])
        arguments["optimizer"] = RULES[rule.pop("rule")](**rule)
    if "num_populations" in known_options(algorithm):
        arguments.setdefault("num_populations", 2)
        if population % arguments["num_populations"]:
            expected = f"a multiple of num_populations ({arguments['num_populations']})"
            raise ValueError(message("Evosax.population", expected, population))
        population //= arguments["num_populations"]
    if "sampling_fn" in inspect.signature(algorithms()[algorithm].__init__).parameters:
        arguments["sampling_fn"] = lambda key: jax.random.normal(key, (size,))
    if algorithm == "LM_MA_ES" and population > 2 * size:  # its rate P / D would pass 2 and give the root of a negative
        raise ValueError(message("Evosax.population", f"at most 2 D ({2 * size}) for LM_MA_ES", population))
    try:
        return algorithms()[algorithm](population_size=population, solution=jnp.zeros(size), **arguments)
    except (AssertionError, TypeError, ValueError) as error:  # evosax's asserts are its refusals
        got = f"population {population}, D {size}, options {options}"
        expected = "a population, a space and options that it takes"
        raise ValueError(message(f"Evosax: {algorithm}", expected, got, str(error))) from error


@lru_cache(maxsize=64)
def opened(algorithm: str, population: int, size: int, options: str) -> Opened:
    """Return one algorithm, compiled for P and D; options as JSON text.

    Raises:
        ValueError: evosax refuses them, or asks for another number of individuals.
    """
    strategy = constructed(algorithm, population, size, json.loads(options))
    params = strategy.default_params
    means = getattr(strategy, "num_populations", 1)
    y = jnp.zeros((population, size))
    if "population" in inspect.signature(type(strategy).init).parameters:
        means, given = 0, (y, y[:, 0])
    else:
        given = (y[0] if means == 1 else y[:means],)
    key = jax.random.key(0)
    started = jax.eval_shape(strategy.init, key, *given, params)
    people = jax.eval_shape(strategy.ask, key, started, params)[0].shape[0]
    if people != population:  # some drop one of an odd number
        got = f"{population}, of which it asks for {people}"
        raise ValueError(message(f"Evosax: {algorithm}", "a population that it takes whole", got))
    leaves, tree = jax.tree.flatten(started)
    ends = np.cumsum([leaf.size for leaf in leaves])

    def pack(state: Any) -> Any:
        return jnp.concatenate([jnp.ravel(leaf).astype(jnp.float64) for leaf in jax.tree.leaves(state)])

    def unpack(packed: Any) -> Any:
        parts = zip(jnp.split(packed, ends[:-1]), leaves, strict=True)
        return tree.unflatten([part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in parts])

    def wrap(key: Any) -> Any:
        return jax.random.wrap_key_data(key, impl="threefry2x32")

    def start(key: Any, given: Any, params: Any) -> Any:
        return pack(strategy.init(wrap(key), *given, params))

    def ask(key: Any, packed: Any, params: Any) -> Any:
        y, state = strategy.ask(wrap(key), unpack(packed), params)
        return y, pack(state)

    def tell(key: Any, packed: Any, y: Any, fitness: Any, params: Any) -> Any:
        state, _ = strategy.tell(wrap(key), y, fitness, unpack(packed), params)
        return pack(state), state.mean if means == 1 else y[0]

    return Opened(params, means, int(ends[-1]), jax.jit(start), jax.jit(ask), jax.jit(tell), pack, unpack)


@lru_cache(maxsize=64)
def adjusted(algorithm: str, population: int, size: int, options: str, params: str) -> Any:
    """Return evosax's parameters with those of `params` (JSON text) instead of the defaults.

    Raises:
        ValueError: a value has another shape than the default.
    """
    defaults = opened(algorithm, population, size, options).default_params
    values = {}
    for name, value in json.loads(params).items():
        default = np.asarray(getattr(defaults, name))
        values[name] = check_shape(f"Evosax.params[{name!r}]", value, default.shape).astype(default.dtype)
    return defaults.replace(**values)


@dataclass(frozen=True)
class Evosax(Optimizer[EvosaxState]):
    """One of evosax's algorithms, for one objective.

    An algorithm of distributions starts at the middle of the space and recommends its mean. One of populations starts
    from a sample of the space and recommends its best single evaluation, as those do that have several means.

    When P changes, the algorithm starts again where it is, at its means or with its population, and all arrays of its
    state whose shape is the same under both P go on: mean, deviations, covariance, paths, moments. Of a population that
    shrinks the best stay, and one that grows gets copies of members chosen at random.
    """

    algorithm: str = "CMA_ES"  # its name in evosax.algorithms
    population: Count = 32  # P, all of its populations together; some need an even number, or four
    sigma: Positive = 1.0  # z per unit of its coordinates, in units of the space's spread; its std_init is in these
    params: dict[str, Any] = field(default_factory=dict)  # its params that differ from the defaults: name -> number(s)
    # arguments of its constructor, those of OPTIONS, e.g. {"num_diff": 2}; the std_schedule is a number, the optimizer
    # {"rule": "adam", "learning_rate": 0.05} with the arguments of Optax's function
    options: dict[str, Any] = field(default_factory=dict)

    def cross_check(self) -> None:
        check_choice("Evosax.algorithm", self.algorithm, tuple(algorithms()))
        for kind, known in (("params", known_params(self.algorithm)), ("options", known_options(self.algorithm))):
            for name in getattr(self, kind):
                if name not in known:
                    expected = f"names that {self.algorithm} has"
                    raise ValueError(message(f"Evosax.{kind}", expected, repr(name), did_you_mean(name, known)))
        for name, value in self.params.items():
            check_finite(f"Evosax.params[{name!r}]", value)
        if "std_schedule" in self.options:
            check_range("Evosax.options['std_schedule']", self.options["std_schedule"], 0.0, open_low=True)
        if "num_populations" in self.options:
            check_count("Evosax.options['num_populations']", self.options["num_populations"], 2)
        if "optimizer" in self.options:
            rule = self.options["optimizer"]
            if not isinstance(rule, dict) or not {"rule", "learning_rate"} <= set(rule):
                expected = "a rule and a learning_rate"
                raise ValueError(message("Evosax.options['optimizer']", expected, rule, "e.g. adam and 0.05"))
            check_choice("Evosax.options['optimizer']['rule']", rule["rule"], tuple(RULES))
            known = tuple(inspect.signature(RULES[rule["rule"]]).parameters)
            for name in set(rule) - {"rule"}:
                check_choice("Evosax.options['optimizer']", name, known)
            check_range("Evosax.options['optimizer']['learning_rate']", rule["learning_rate"], 0.0, open_low=True)

    def init(self, space: Space, seed: int) -> EvosaxState:
        """Return the state before the first generation.

        Raises:
            ValueError: the algorithm doesn't take this population, these options or this number of coordinates.
        """
        generator, words = draw(stream(seed))
        with exactly():
            algorithm, params = self._opened(space.size)
            packed = np.zeros(algorithm.size)
            if algorithm.means:
                means = np.zeros(space.size)
                if algorithm.means > 1:  # means in one place would stay together
                    means = (space.sample(generator, algorithm.means) - space.center) / (self.sigma * space.scale)
                packed = np.array(algorithm.start(_key(generator), (means,), params))
        people, best = np.array(self.population), np.array(-np.inf)
        return EvosaxState(words, np.array(0), packed, people, space.center, space.center, best)

    def sized(self, individuals: int, size: int) -> Self:
        sized = replace(self, population=individuals)
        with exactly():
            sized._opened(size)  # it refuses what evosax does
        return sized

    def resized(self, space: Space, state: EvosaxState) -> EvosaxState:
        people, size = int(state.people), space.size
        if people == self.population:
            return state
        generator, words = draw(state.words)
        with exactly():
            (old, _), (new, params) = replace(self, population=people)._opened(size), self._opened(size)
            before = old.unpack(state.packed)
            if new.means:
                given = (before.mean,)
            elif self.population > people:
                rows = np.append(np.arange(people), generator.integers(people, size=self.population - people))
                given = before.population[rows], before.fitness[rows]
            else:
                rows = np.sort(np.argsort(np.asarray(before.fitness), kind="stable")[: self.population])
                given = before.population[rows], before.fitness[rows]
            fresh = new.unpack(new.start(_key(generator), given, params))
            packed = new.pack(jax.tree.map(lambda a, b: a if a.shape == b.shape else b, before, fresh))
        return state._replace(words=words, packed=np.array(packed), people=np.array(self.population))

    def ask(self, space: Space, state: EvosaxState) -> tuple[np.ndarray, EvosaxState]:
        """Return the next generation's z, (P, D), and the state that `tell` takes.

        Raises:
            ValueError: evosax's algorithm broke down, what it asks for isn't finite.
        """
        generator, words = draw(state.words)
        state = state._replace(words=words)
        with exactly():
            algorithm, params = self._opened(space.size)
            if state.told == 0 and not algorithm.means:  # a first population, as Space.sample draws it
                return space.sample(generator, self.population), state
            y, packed = algorithm.ask(_key(generator), state.packed, params)
        z = space.center + self.sigma * space.scale * np.asarray(y)
        if not np.isfinite(z).all():
            todo = "try another population, sigma or params"
            raise ValueError(message(f"Evosax: {self.algorithm}", "finite z", "nan or infinity", todo))
        return space.clipped(z), state._replace(packed=np.array(packed))

    def learn(
        self, space: Space, state: EvosaxState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> EvosaxState:
        cost = -fitness
        generator, words = draw(state.words)
        y = (z - space.center) / (self.sigma * space.scale)
        with exactly():
            algorithm, params = self._opened(space.size)
            if state.told == 0 and not algorithm.means:
                packed = algorithm.start(_key(generator), (y, cost), params)
                mean = y[0]
            else:
                packed, mean = algorithm.tell(_key(generator), state.packed, y, cost, params)
        state = with_best(state, z, evaluation)
        recommended = state.best_z
        if algorithm.means == 1:
            if not np.isfinite(mean).all():  # some divide by a deviation that has shrunk to 0: they have converged
                return state._replace(words=words, told=np.array(state.told + 1))
            recommended = space.clipped(space.center + self.sigma * space.scale * np.asarray(mean))
        return state._replace(
            words=words, told=np.array(state.told + 1), packed=np.array(packed), recommended=recommended
        )

    def recommend(self, space: Space, state: EvosaxState) -> np.ndarray:
        """Return the mean of a distribution, else the z of the best single evaluation so far."""
        return state.recommended

    def _opened(self, size: int) -> tuple[Opened, Any]:
        options, params = (json.dumps(entry, sort_keys=True) for entry in (self.options, self.params))
        key = (self.algorithm, self.population, size, options)
        return opened(*key), adjusted(*key, params)


def _key(generator: np.random.Generator) -> np.ndarray:
    """Return the (2,) uint32 words of a jax key."""
    return generator.integers(0, 2**32, 2, dtype=np.uint32)
