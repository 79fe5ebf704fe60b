"""Simulated annealing: random walks that accept a worse fitness ever more rarely, as a temperature falls.

Kirkpatrick, Gelatt & Vecchi (1983), Optimization by simulated annealing; the rule of acceptance is that of
Metropolis et al. (1953), Equation of state calculations by fast computing machines. Cooling schedules: Luke (2005),
Simulated annealing cooling schedules, and Díaz Martín & Riaño Sierra (2009), A comparison of cooling schedules for
simulated annealing.

Legend: P chains, D search coordinates, k the number of steps made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, exp, log, log1p, pi
from typing import Annotated, Literal, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best, with_members
from l2l_snn.search.shaping import absurdly_good
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import Count, NotNegative, Positive, Within, check_range, message


class SimulatedAnnealingState(NamedTuple):
    """What simulated annealing knows between generations."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations told so far; the first is that of the starts
    z: np.ndarray  # (P, D) where each chain is
    fitness: np.ndarray  # (P,) its fitness there, -inf while the chain has not succeeded once
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness, -inf before any evaluation succeeded


# k, first temperature T0, last temperature Tn, number of steps n, rate alpha -> T_k
Schedule = Callable[[float, float, float, float, float], float]
SCHEDULES: dict[str, Schedule] = {
    "constant": lambda k, t0, tn, n, a: t0,
    # multiplicative: T0 times a factor
    "exponential": lambda k, t0, tn, n, a: t0 * a**k,
    "logarithmic": lambda k, t0, tn, n, a: t0 / (1 + a * log1p(k)),
    "linear": lambda k, t0, tn, n, a: t0 / (1 + a * k),
    "quadratic": lambda k, t0, tn, n, a: t0 / (1 + a * k**2),
    # additive: from T0 to Tn in n steps, where they stay
    "linear_additive": lambda k, t0, tn, n, a: tn + (t0 - tn) * _share_left(k, n),
    "quadratic_additive": lambda k, t0, tn, n, a: tn + (t0 - tn) * _share_left(k, n) ** 2,
    "trigonometric_additive": lambda k, t0, tn, n, a: tn + (t0 - tn) / 2 * (1 + cos((1 - _share_left(k, n)) * pi)),
    # this one is a logistic curve with its middle at n / 2, which comes near Tn only after n
    "exponential_additive": lambda k, t0, tn, n, a: (
        tn + (t0 - tn) / (1 + exp(min(2 * log(t0 - tn) / n * (k - n / 2), 700.0)))
    ),
}


def _share_left(k: float, n: float) -> float:
    """Return the share of the n steps that is left, 0 after them."""
    return max(n - k, 0.0) / n


def reflect(z: np.ndarray, bounded: np.ndarray) -> np.ndarray:
    """Return (P, D) z with bounded coordinates folded back into [0, 1]; unlike clipping it keeps steps symmetric.

    >>> reflect(np.array([[-0.25, 1.25, -3.0]]), np.array([True, True, False])).tolist()
    [[0.25, 0.75, -3.0]]
    """
    return np.where(bounded, 1.0 - np.abs(1.0 - np.mod(z, 2.0)), z)


@dataclass(frozen=True)
class SimulatedAnnealing(Optimizer[SimulatedAnnealingState]):
    """P independent chains with one temperature; they start from a sample of the space and are not restarted.

    The fitness of where a chain is counts as evaluated once: with noisy fitness a lucky evaluation is kept until a
    luckier one, or the temperature, removes it. A failed proposal is rejected, and one of an absurd fitness, more than
    1e9 times as large as most; a chain that has not succeeded once samples the space anew. New chains begin as copies
    of chains chosen at random; of those that go, the best stay.
    """

    population: Count = 32  # P
    # standard deviation of a proposal, in units of the spread of the space
    step: Annotated[float, Within(0.0, 1e6, open_low=True), "0.02 to 0.5 are usual"] = 0.1
    schedule: Literal[
        "constant",
        "exponential",
        "logarithmic",
        "linear",
        "quadratic",
        "linear_additive",
        "quadratic_additive",
        "exponential_additive",
        "trigonometric_additive",
    ] = "exponential"
    # T0, in units of the fitness; a fitness lower by T is accepted with probability 1/e
    temperature: Annotated[float, Within(0.0, 1e100, open_low=True), "take a typical difference of fitness"] = 1.0
    last_temperature: NotNegative = 0.001  # Tn of the additive schedules
    steps: Count = 300  # n of the additive schedules, generations
    # alpha of the multiplicative schedules; exponential needs less than 1, logarithmic is slow below 1
    rate: Positive = 0.95

    def cross_check(self) -> None:
        name = "SimulatedAnnealing"
        if self.schedule == "exponential":
            check_range(f"{name}.rate", self.rate, 0.0, 1.0, open_low=True, todo="0.8 to 0.99 are usual")
        fall = self.temperature - self.last_temperature
        if self.schedule.endswith("additive") and fall < 0:
            expected = f"at most temperature ({self.temperature})"
            raise ValueError(message(f"{name}.last_temperature", expected, self.last_temperature))
        if self.schedule == "exponential_additive" and fall <= 1:
            todo = (
                "multiply the fitness and both temperatures, or take another schedule: this one falls with log(T0 - Tn)"
            )
            expected = f"more than last_temperature + 1 ({self.last_temperature + 1}) for exponential_additive"
            raise ValueError(message(f"{name}.temperature", expected, self.temperature, todo))

    def temperature_at(self, step: int) -> float:
        """Return T_k, the temperature at which the proposals of step k = 0, 1, ... are judged; fitness units."""
        settings = (step, self.temperature, self.last_temperature, self.steps, self.rate)
        return SCHEDULES[self.schedule](*map(float, settings))

    def init(self, space: Space, seed: int) -> SimulatedAnnealingState:
        generator, words = generator_of(stream(seed))
        z = space.sample(generator, self.population)
        fitness, best = np.full(self.population, -np.inf), np.array(-np.inf)
        return SimulatedAnnealingState(words, np.array(0), z, fitness, space.center, best)

    def started(self, space: Space, state: SimulatedAnnealingState, z: np.ndarray) -> SimulatedAnnealingState:
        return state._replace(z=with_members(state.z, z), best_z=z[0].copy())

    def ask(self, space: Space, state: SimulatedAnnealingState) -> tuple[np.ndarray, SimulatedAnnealingState]:
        if state.told == 0:
            return state.z, state
        generator, words = generator_of(state.words)
        noise = generator.standard_normal(state.z.shape)
        z = reflect(state.z + self.step * space.scale * noise, space.bounded)
        lost = np.flatnonzero(state.fitness == -np.inf)
        if lost.size:
            uniform = generator.random((lost.size, z.shape[1]))
            z[lost] = np.where(space.bounded, uniform, noise[lost])
        return z, state._replace(words=words)

    def learn(
        self, space: Space, state: SimulatedAnnealingState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> SimulatedAnnealingState:
        state = with_best(state, z, evaluation)
        generator, words = generator_of(state.words)
        temperature = self.temperature_at(max(int(state.told) - 1, 0))
        # Metropolis: log(uniform) < (f' - f) / T, where -log(uniform) is exponential; f may be -inf
        threshold = state.fitness - temperature * generator.standard_exponential(len(z))
        # an absurdly good fitness is not accepted, and one that was, since it came first, not kept
        new, old = np.split(absurdly_good(np.concatenate([fitness, state.fitness])), 2)
        accepted = ((fitness >= threshold) | old) & ~new & ~evaluation.failed
        return state._replace(
            words=words,
            told=np.array(state.told + 1),
            z=np.where(accepted[:, None], z, state.z),
            fitness=np.where(accepted, fitness, state.fitness),
        )

    def resized(self, space: Space, state: SimulatedAnnealingState) -> SimulatedAnnealingState:
        people, more = len(state.z), self.population - len(state.z)
        if more > 0:
            generator, words = generator_of(state.words)
            rows = np.append(np.arange(people), generator.integers(people, size=more))
            state = state._replace(words=words)
        else:
            rows = np.sort(np.argsort(-state.fitness, kind="stable")[: self.population])
        return state._replace(z=state.z[rows], fitness=state.fitness[rows])

    def recommend(self, space: Space, state: SimulatedAnnealingState) -> np.ndarray:
        """Return the z of the best single evaluation so far (with noisy fitness that is partly luck)."""
        return state.best_z
