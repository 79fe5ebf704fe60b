"""Parallel tempering: random walks at several temperatures that exchange their places.

Swendsen & Wang (1986), Replica Monte Carlo simulation of spin glasses; Earl & Deem (2005), Parallel tempering:
theory, applications, and new perspectives. Each replica samples the Boltzmann distribution exp(fitness / T) of its
temperature T; exchanges bring what the hot ones find to the cold ones.

Legend: L ladders, R rungs (temperatures) of a ladder, P = L R individuals, D search coordinates.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, NamedTuple, Self

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best, with_members
from l2l_snn.search.shaping import absurdly_good
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Count, Within, message


class ParallelTemperingState(NamedTuple):
    """What parallel tempering knows between generations. Row l R + r is rung r of ladder l, coldest first."""

    words: np.ndarray  # (2,) the random stream
    told: np.ndarray  # () int64, generations told so far; the first is that of the starts
    z: np.ndarray  # (P, D) where each replica is
    fitness: np.ndarray  # (P,) its fitness there, -inf while it has not succeeded once
    moved: np.ndarray  # (R,) int64, proposals accepted on each rung, of L each generation after the first; these counts
    # begin again when R changes
    tried: np.ndarray  # (R - 1,) int64, exchanges tried between rungs r and r + 1
    swapped: np.ndarray  # (R - 1,) int64, of them accepted
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness, -inf before any evaluation succeeded


def log_swap(cold: np.ndarray, hot: np.ndarray, cold_t: np.ndarray, hot_t: np.ndarray) -> np.ndarray:
    """Return the logarithm of the ratio of Boltzmann weights with and without the exchange, any shape.

    Args:
        cold: fitness at the lower temperature, finite.
        hot: fitness at the higher one, finite.
        cold_t: lower temperature, fitness units.
        hot_t: higher one.

    Returns:
        (1 / cold_t - 1 / hot_t) (hot - cold), as in Earl & Deem (2005); accepted with probability min(1, exp(it)).

    >>> float(log_swap(np.array(1.0), np.array(0.0), np.array(0.5), np.array(1.0)))
    -1.0
    """
    return (1.0 / cold_t - 1.0 / hot_t) * (hot - cold)


@lru_cache(maxsize=64)
def geometric_ladder(coldest: float, hottest: float, rungs: int) -> np.ndarray:
    """Return (R,) temperatures, coldest first, each the same factor above the last."""
    temperatures = np.geomspace(coldest, hottest, rungs)
    temperatures.flags.writeable = False  # it's the same array for whoever asks
    return temperatures


@dataclass(frozen=True)
class ParallelTempering(Optimizer[ParallelTemperingState]):
    """Ladders of replicas at geometric temperatures, started from a sample of the space.

    In each generation every replica makes one Metropolis step, then neighbours of every second pair, (0, 1), (2, 3)
    ... and (1, 2), (3, 4), ... in turns, may exchange. A failed proposal is rejected; a replica that has not succeeded
    once samples the space anew, and exchanges with nobody. The fitness of where a replica is counts as evaluated
    once, so noisy fitness flatters it; one that is more than 1e9 times as large as most is rejected.

    When P changes, ladders do: new ones begin as copies of ladders chosen at random, and those with the best replicas
    stay. Only a P below R leaves one ladder of P rungs, spaced anew between the same temperatures and taken by the
    replicas of the old rungs in order.
    """

    # R; neighbours should exchange in 20 to 40 % of the tries
    rungs: Annotated[int, AtLeast(2), "for one temperature take SimulatedAnnealing, schedule constant"] = 8
    ladders: Count = 4  # L, independent of each other
    coldest: Annotated[float, Within(1e-100, 1e100)] = 0.001  # temperature of rung 0, in units of the fitness
    hottest: Annotated[float, Within(1e-100, 1e100)] = 1.0  # of rung R - 1
    # standard deviation of a proposal on the hottest rung, in units of the spread of the space
    step: Annotated[float, Within(0.0, 1e6, open_low=True), "0.1 to 1 are usual"] = 0.3
    # the step on a rung is step (T / hottest)^step_power; 0.5 fits a quadratic fitness
    step_power: Annotated[float, Within(0.0, 10.0)] = 0.5
    swap_every: Count = 1  # generations between exchanges

    def cross_check(self) -> None:
        if not self.coldest < self.hottest:
            expected = f"more than coldest ({self.coldest})"
            raise ValueError(message("ParallelTempering.hottest", expected, self.hottest))

    def temperatures(self) -> np.ndarray:
        """Return (R,) the geometric ladder, coldest first; fitness units."""
        return geometric_ladder(self.coldest, self.hottest, self.rungs)

    def init(self, space: Space, seed: int) -> ParallelTemperingState:
        generator, words = generator_of(stream(seed))
        z = space.sample(generator, self.ladders * self.rungs)
        none, pairs = np.zeros(self.rungs, np.int64), np.zeros(self.rungs - 1, np.int64)
        fitness, best = np.full(len(z), -np.inf), np.array(-np.inf)
        return ParallelTemperingState(words, np.array(0), z, fitness, none, pairs, pairs.copy(), space.center, best)

    def individuals(self, size: int) -> int:
        """Return P = L R."""
        return self.ladders * self.rungs

    def sized(self, individuals: int, size: int) -> Self:
        if individuals < self.rungs:
            return replace(self, ladders=1, rungs=individuals)
        return replace(self, ladders=individuals // self.rungs)

    def resized(self, space: Space, state: ParallelTemperingState) -> ParallelTemperingState:
        rungs = len(state.moved)
        rows = np.arange(len(state.z)).reshape(-1, rungs)
        more = self.ladders - len(rows)
        if more > 0:
            generator, words = generator_of(state.words)
            rows = np.concatenate([rows, rows[generator.integers(len(rows), size=more)]])
            state = state._replace(words=words)
        else:
            best = state.fitness[rows].max(axis=1)
            rows = rows[np.sort(np.argsort(-best, kind="stable")[: self.ladders])]
        if rungs != self.rungs:
            rows = rows[:, np.round(np.linspace(0, rungs - 1, self.rungs)).astype(np.int64)]
            none, pairs = np.zeros(self.rungs, np.int64), np.zeros(self.rungs - 1, np.int64)
            state = state._replace(moved=none, tried=pairs, swapped=pairs.copy())
        return state._replace(z=state.z[rows.reshape(-1)], fitness=state.fitness[rows.reshape(-1)])

    def started(self, space: Space, state: ParallelTemperingState, z: np.ndarray) -> ParallelTemperingState:
        return state._replace(z=with_members(state.z, z), best_z=z[0].copy())

    def ask(self, space: Space, state: ParallelTemperingState) -> tuple[np.ndarray, ParallelTemperingState]:
        if state.told == 0:
            return state.z, state
        generator, words = generator_of(state.words)
        noise = generator.standard_normal(state.z.shape)
        scale = self.step * (self.temperatures() / self.hottest) ** self.step_power
        z = state.z + np.tile(scale[:, None] * space.scale, (self.ladders, 1)) * noise
        z = np.where(space.bounded, 1.0 - np.abs(1.0 - np.mod(z, 2.0)), z)  # reflected, so that steps stay symmetric
        lost = np.flatnonzero(state.fitness == -np.inf)
        if lost.size:
            z[lost] = np.where(space.bounded, generator.random((lost.size, z.shape[1])), noise[lost])
        return z, state._replace(words=words)

    def learn(
        self, space: Space, state: ParallelTemperingState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> ParallelTemperingState:
        state = with_best(state, z, evaluation)
        generator, words = generator_of(state.words)
        shape = (self.ladders, self.rungs)

        # Metropolis on each rung: log(uniform) < (f' - f) / T, where -log(uniform) is exponential; f may be -inf
        threshold = state.fitness - np.tile(self.temperatures(), self.ladders) * generator.standard_exponential(len(z))
        # an absurdly good fitness is not accepted, and one that was, since it came first, not kept
        new, old = np.split(absurdly_good(np.concatenate([fitness, state.fitness])), 2)
        accepted = ((fitness >= threshold) | old) & ~new & ~evaluation.failed
        z = np.where(accepted[:, None], z, state.z)
        fitness = np.where(accepted, fitness, state.fitness)
        moved = accepted.reshape(shape).sum(axis=0) if state.told > 0 else 0

        row = np.arange(len(z))  # which row a replica comes from
        tried, swapped = state.tried.copy(), state.swapped.copy()
        turn, rest = divmod(int(state.told), self.swap_every)
        if rest == 0:
            cold = np.arange(turn % 2 if self.rungs > 2 else 0, self.rungs - 1, 2)
            exchanged, possible = self._choose_exchanges(fitness.reshape(shape), cold, generator)
            tried[cold] += possible.sum(axis=0)
            swapped[cold] += exchanged.sum(axis=0)
            ladder, pair = np.nonzero(exchanged)
            first = ladder * self.rungs + cold[pair]
            row[first], row[first + 1] = first + 1, first
        return state._replace(
            words=words,
            told=np.array(state.told + 1),
            z=z[row],
            fitness=fitness[row],
            moved=state.moved + moved,
            tried=tried,
            swapped=swapped,
        )

    def recommend(self, space: Space, state: ParallelTemperingState) -> np.ndarray:
        """Return the z of the best single evaluation so far (with noisy fitness that is partly luck)."""
        return state.best_z

    def _choose_exchanges(
        self, fitness: np.ndarray, cold: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return which neighbours exchange, and which could have: two bool (L, pairs); fitness is (L, R)."""
        left, right = fitness[:, cold], fitness[:, cold + 1]
        possible = np.isfinite(left) & np.isfinite(right)
        temperatures = np.tile(self.temperatures(), (self.ladders, 1))
        with np.errstate(over="ignore"):  # infinite is right, too
            log_ratio = log_swap(
                np.where(possible, left, 0.0),
                np.where(possible, right, 0.0),
                temperatures[:, cold],
                temperatures[:, cold + 1],
            )
        return possible & (-generator.standard_exponential(left.shape) <= log_ratio), possible
