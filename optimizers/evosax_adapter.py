"""Every algorithm of evosax by its name: evolution strategies, genetic algorithms, swarms, learned optimizers.

Lange (2022), evosax: JAX-based evolution strategies. How they are compiled and what their state becomes is in
`l2l_snn.search.evosax_algorithms`.

Legend: P individuals, D search coordinates, K numbers in the algorithm's state. z = center + sigma * scale * y.
"""

import inspect
import json
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

import jax
import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best
from l2l_snn.search.evosax_algorithms import (
    RULES,
    Compiled,
    adjusted,
    algorithms,
    compile_algorithm,
    exactly,
    known_options,
    known_params,
    random_key,
)
from l2l_snn.search.shaping import raw
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import (
    Count,
    Positive,
    check_choice,
    check_count,
    check_finite,
    check_range,
    did_you_mean,
    message,
)


class EvosaxState(NamedTuple):
    """What the adapter knows between generations."""

    words: np.ndarray  # (2,) the random stream, of which each call's jax key is drawn
    told: np.ndarray  # () int64, generations told so far
    packed: np.ndarray  # (K,) float64, the arrays of evosax's state one after another
    people: np.ndarray  # () int64, the P that it is made for
    recommended: np.ndarray  # (D,) the mean of the distribution, or the z of the best single evaluation so far
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness, -inf before any evaluation succeeded


@dataclass(frozen=True)
class Evosax(Optimizer[EvosaxState]):
    """One of evosax's algorithms, for one objective.

    An algorithm of distributions starts at the middle of the space and recommends its mean. One of populations starts
    from a sample of the space and recommends its best single evaluation, as those do that have several means.

    A fitness that is not of an ordinary size, more than 1e9 times that of most, counts as the worst: the algorithms
    reckon with it, and some would never forget it.

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
        generator, words = generator_of(stream(seed))
        with exactly():
            algorithm, params = self.compiled(space.size)
            packed = np.zeros(algorithm.size)
            if algorithm.means:
                means = np.zeros(space.size)
                if algorithm.means > 1:  # means in one place would stay together
                    means = (space.sample(generator, algorithm.means) - space.center) / (self.sigma * space.scale)
                packed = np.array(algorithm.start(random_key(generator), (means,), params))
        people, best = np.array(self.population), np.array(-np.inf)
        return EvosaxState(words, np.array(0), packed, people, space.center, space.center, best)

    def sized(self, individuals: int, size: int) -> Self:
        sized = replace(self, population=individuals)
        with exactly():
            sized.compiled(size)  # it refuses what evosax does
        return sized

    def resized(self, space: Space, state: EvosaxState) -> EvosaxState:
        people, size = int(state.people), space.size
        if people == self.population:
            return state
        generator, words = generator_of(state.words)
        with exactly():
            (old, _), (new, params) = replace(self, population=people).compiled(size), self.compiled(size)
            before = old.unpack(state.packed)
            if new.means:
                given = (before.mean,)
            elif self.population > people:
                rows = np.append(np.arange(people), generator.integers(people, size=self.population - people))
                given = before.population[rows], before.fitness[rows]
            else:
                rows = np.sort(np.argsort(np.asarray(before.fitness), kind="stable")[: self.population])
                given = before.population[rows], before.fitness[rows]
            fresh = new.unpack(new.start(random_key(generator), given, params))
            packed = new.pack(jax.tree.map(lambda a, b: a if a.shape == b.shape else b, before, fresh))
        return state._replace(words=words, packed=np.array(packed), people=np.array(self.population))

    def started(self, space: Space, state: EvosaxState, z: np.ndarray) -> EvosaxState:
        """Return the first state with the distribution's mean at that of z; algorithms of other kinds take none."""
        with exactly():
            algorithm, params = self.compiled(space.size)
            if algorithm.means != 1:
                got = f"{self.algorithm}, which has {algorithm.means or 'no'} means"
                raise ValueError(message("start", "an algorithm with one mean, e.g. CMA_ES", got))
            generator, words = generator_of(state.words)
            mean = (z.mean(axis=0) - space.center) / (self.sigma * space.scale)
            packed = np.array(algorithm.start(random_key(generator), (mean,), params))
        return state._replace(words=words, packed=packed, recommended=z.mean(axis=0), best_z=z[0].copy())

    def ask(self, space: Space, state: EvosaxState) -> tuple[np.ndarray, EvosaxState]:
        """Return the next generation's z, (P, D), and the state that `tell` takes.

        Raises:
            ValueError: evosax's algorithm broke down, what it asks for isn't finite.
        """
        generator, words = generator_of(state.words)
        state = state._replace(words=words)
        with exactly():
            algorithm, params = self.compiled(space.size)
            if state.told == 0 and not algorithm.means:  # a first population, as Space.sample draws it
                return space.sample(generator, self.population), state
            y, packed = algorithm.ask(random_key(generator), state.packed, params)
        z = space.center + self.sigma * space.scale * np.asarray(y)
        if not np.isfinite(z).all():
            todo = "try another population, sigma or params"
            raise ValueError(message(f"Evosax: {self.algorithm}", "finite z", "nan or infinity", todo))
        return space.clipped(z), state._replace(packed=np.array(packed))

    def learn(
        self, space: Space, state: EvosaxState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> EvosaxState:
        cost = -raw(fitness)
        generator, words = generator_of(state.words)
        y = (z - space.center) / (self.sigma * space.scale)
        with exactly():
            algorithm, params = self.compiled(space.size)
            if state.told == 0 and not algorithm.means:
                packed = algorithm.start(random_key(generator), (y, cost), params)
                mean = y[0]
            else:
                packed, mean = algorithm.tell(random_key(generator), state.packed, y, cost, params)
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

    def compiled(self, size: int) -> tuple[Compiled, Any]:
        """Return the algorithm and its parameters for D = `size`; call it within `exactly`.

        Raises:
            ValueError: evosax refuses the population, the options, the parameters or D.
        """
        options, params = (json.dumps(entry, sort_keys=True) for entry in (self.options, self.params))
        key = (self.algorithm, self.population, size, options)
        return compile_algorithm(*key), adjusted(*key, params)
