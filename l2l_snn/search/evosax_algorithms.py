"""Algorithms of evosax, compiled for a population and a space: what `optimizers.evosax_adapter` adapts.

Lange (2022), evosax: JAX-based evolution strategies. An algorithm works in coordinates y of order one, minimises, and
computes in float64 on the CPU, so that a run gives the same bytes on a machine with an accelerator. Its state is one
vector of float64, which holds float32, integers below 2^53 and booleans exactly.

Legend: P individuals, D search coordinates, K numbers in the algorithm's state.
"""

import inspect
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import lru_cache
from importlib import import_module
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from l2l_snn.validate import check_shape, message

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


class Compiled(NamedTuple):
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
    params = import_module(algorithms()[algorithm].__module__).Params
    return [entry.name for entry in fields(params) if entry.name != "params"]


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
def compile_algorithm(algorithm: str, population: int, size: int, options: str) -> Compiled:
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

    return Compiled(params, means, int(ends[-1]), jax.jit(start), jax.jit(ask), jax.jit(tell), pack, unpack)


@lru_cache(maxsize=64)
def adjusted(algorithm: str, population: int, size: int, options: str, params: str) -> Any:
    """Return evosax's parameters with those of `params` (JSON text) instead of the defaults.

    Raises:
        ValueError: a value has another shape than the default.
    """
    defaults = compile_algorithm(algorithm, population, size, options).default_params
    values = {}
    for name, value in json.loads(params).items():
        default = np.asarray(getattr(defaults, name))
        values[name] = check_shape(f"Evosax.params[{name!r}]", value, default.shape).astype(default.dtype)
    return defaults.replace(**values)


def random_key(generator: np.random.Generator) -> np.ndarray:
    """Return the (2,) uint32 words of a jax key."""
    return generator.integers(0, 2**32, 2, dtype=np.uint32)
