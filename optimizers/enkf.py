"""Ensemble Kalman filter: moves an ensemble of z so that what each member is observed to do comes near a target.

Iglesias, Law & Stuart (2013), Ensemble Kalman methods for inverse problems. For training networks, with several
updates from one evaluation and the worst members replaced by the best: Yegenoglu, Krajsek, Diaz Pier & Herty (2020),
Ensemble Kalman filter optimizing deep neural networks; Yegenoglu et al. (2022), Exploring parameter and
hyper-parameter spaces of neuroscience models on high performance computers with learning to learn.

Legend: P members of the ensemble, n of them evaluated without failure, D search coordinates, K observations.
"""

from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best, with_members
from l2l_snn.search.shaping import ordinary
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import AtLeast, Count, CountFromZero, Finite, Within, did_you_mean, message


class EnsembleKalmanState(NamedTuple):
    """What the filter knows between generations."""

    words: np.ndarray  # (2,) the random stream
    z: np.ndarray  # (P, D) the ensemble, not clipped
    best_z: np.ndarray  # (D,) z of the best single evaluation so far
    best_fitness: np.ndarray  # () its fitness, -inf before any evaluation succeeded


def kalman_step(deviation: np.ndarray, residual: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return residual (C_gg + I)^-1 C_gz for each member: how far each of its M quantities moves.

    The covariances are those of the ensemble, observations in units of their noise (the analysis step of
    Iglesias et al.). No matrix larger than (min(n, K))^2 is solved with, and none of D x D is made.

    Args:
        deviation: (n, K) observations less their mean, divided by the noise.
        residual: (n, K) target less observation, divided by the noise.
        moved: (n, M) the quantities, less their mean.

    >>> g = np.array([[-1.0], [1.0]])  # variance 2, noise 1: the gain is 2 / 3
    >>> kalman_step(g, np.array([[3.0], [0.0]]), g).round(6).tolist()
    [[2.0], [0.0]]
    """
    n, k = deviation.shape
    scaled = deviation / np.sqrt(n - 1)
    if (scaled**2).sum() > 1e10:  # S'S would swallow the identity
        left, values, right = np.linalg.svd(scaled, full_matrices=False)
        gain = (right.T * (values / (values**2 + 1.0))) @ (left.T @ moved)
        return residual @ gain / np.sqrt(n - 1)
    if k <= n:
        gain = np.linalg.solve(scaled.T @ scaled + np.eye(k), scaled.T @ moved)
        return residual @ gain / np.sqrt(n - 1)
    # (S'S + I)^-1 S' = S' (SS' + I)^-1
    weights = np.linalg.solve(scaled @ scaled.T + np.eye(n), scaled @ residual.T).T
    return weights @ moved / np.sqrt(n - 1)


Noise = Annotated[float, Within(1e-30, 1e100), "the smaller, the larger the steps"]


@dataclass(frozen=True)
class EnsembleKalmanFilter(Optimizer[EnsembleKalmanState]):
    """An ensemble Kalman filter whose observations are metrics of the optimizee, or its fitness.

    The first ensemble is normal around the middle of the space. Without `jitter` every later one lies in the span of
    the first: of a space with D >= P, D - P + 1 directions are never searched.

    Members that failed, or whose observation is not below 1e100, are left out of the covariances and drawn anew from
    a normal distribution with the mean and the covariance of the others, within their span. When fewer than two
    succeed nothing is learnt, and the failed are drawn as in the first ensemble. Without `targets` an absurd fitness,
    more than 1e9 times as large as most, counts as failed: it would set the target for good.

    An ensemble that grows gets members drawn from a normal distribution with its mean and covariance, one that shrinks
    keeps members chosen at random; either way it is moved as a whole to keep its mean.
    """

    population: Annotated[int, AtLeast(3), "covariances need an ensemble"] = 32  # P
    observations: tuple[str, ...] = ()  # metrics: a name, or "y" for y_0, y_1, ...; none: the fitness is observed
    targets: Finite | tuple[Finite, ...] | None = None  # of the K observations, one for all or each; None, for the
    # fitness only: the best so far plus a standard deviation of the generation's, a step that is always ahead
    gamma: Noise | tuple[Noise, ...] = 0.1  # standard deviation of the noise of an observation, in its unit
    perturb: bool = True  # each member sees the target plus such noise: right spread; else all see it as it is
    # updates from one evaluation; the observations are carried along as if they were linear in z
    repetitions: Count = 1
    # standard deviation of noise added to z, in units of the space's spread
    jitter: Annotated[float, Within(0.0, 1e6)] = 0.0
    replaced: CountFromZero = 0  # worst members replaced by copies of the best, with jitter
    # standard deviation of the first ensemble, in units of the space's spread
    sigma: Annotated[float, Within(0.0, 1e6, open_low=True)] = 1.0

    def cross_check(self) -> None:
        name = "EnsembleKalmanFilter"
        if self.observations and self.targets is None:
            raise ValueError(message(f"{name}.targets", "a target for each observation", "None"))
        if len(set(self.observations)) < len(self.observations):
            raise ValueError(message(f"{name}.observations", "different names", self.observations))
        if self.replaced > self.population // 2:
            expected = f"at most half of population ({self.population // 2})"
            raise ValueError(message(f"{name}.replaced", expected, self.replaced))
        if self.replaced and not self.jitter:
            todo = "without it copies stay copies, and the ensemble loses directions"
            raise ValueError(message(f"{name}.jitter", "a number > 0 with replaced", self.jitter, todo))

    def init(self, space: Space, seed: int) -> EnsembleKalmanState:
        generator, words = generator_of(stream(seed))
        z = space.center + self.sigma * space.scale * generator.standard_normal((self.population, space.size))
        return EnsembleKalmanState(words, z, space.center, np.array(-np.inf))

    def started(self, space: Space, state: EnsembleKalmanState, z: np.ndarray) -> EnsembleKalmanState:
        return state._replace(z=with_members(state.z, z), best_z=z[0].copy())

    def ask(self, space: Space, state: EnsembleKalmanState) -> tuple[np.ndarray, EnsembleKalmanState]:
        return space.clipped(state.z), state

    def learn(
        self, space: Space, state: EnsembleKalmanState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> EnsembleKalmanState:
        """Return the state after a generation; the ensemble that moves is the z given. See `Optimizer.tell`.

        Raises:
            ValueError: several objectives, another number of individuals than the population's, no metrics of the
                names in `observations`, or another number of them than of `targets` or `gamma`.
        """
        if self.targets is None:  # one absurd fitness would set the target for good
            evaluation = replace(evaluation, fitness=np.where(ordinary(fitness), evaluation.fitness, np.nan))
        state = with_best(state, z, evaluation)
        generator, words = generator_of(state.words)
        observed = fitness[:, None]
        if self.observations and not evaluation.failed.all():
            observed = self._read_observations(evaluation.metrics)
        ok = ~evaluation.failed & (np.abs(observed) < 1e100).all(axis=1)  # squares of larger ones overflow
        moved = np.array(z)
        if np.count_nonzero(ok) > 1:
            target, gamma = self._read_targets(state, observed[ok])
            members = self._update_members(z[ok], observed[ok], target, gamma, generator)
            moved[ok] = members
            mean = members.mean(axis=0)
            weights = generator.standard_normal((np.count_nonzero(~ok), len(members)))
            moved[~ok] = mean + weights @ (members - mean) / np.sqrt(len(members) - 1)
            ranked = np.flatnonzero(ok)[np.argsort(-fitness[ok], kind="stable")]
            count = min(self.replaced, len(ranked) // 2)
            moved[ranked[len(ranked) - count :]] = moved[ranked[:count][::-1]]  # the very worst becomes the best
        else:
            noise = generator.standard_normal((np.count_nonzero(~ok), z.shape[1]))
            moved[~ok] = space.center + self.sigma * space.scale * noise
        if self.jitter:
            moved += self.jitter * space.scale * generator.standard_normal(z.shape)
        return state._replace(words=words, z=moved)

    def resized(self, space: Space, state: EnsembleKalmanState) -> EnsembleKalmanState:
        people, more = len(state.z), self.population - len(state.z)
        if not more:
            return state
        generator, words = generator_of(state.words)
        mean = state.z.mean(axis=0)
        if more > 0:
            weights = generator.standard_normal((more, people))
            z = np.concatenate([state.z, mean + weights @ (state.z - mean) / np.sqrt(people - 1)])
        else:
            z = state.z[np.sort(generator.permutation(people)[: self.population])]
        return state._replace(words=words, z=z + (mean - z.mean(axis=0)))

    def recommend(self, space: Space, state: EnsembleKalmanState) -> np.ndarray:
        """Return the mean of the ensemble, clipped to the bounds."""
        return space.clipped(state.z.mean(axis=0))

    def _read_observations(self, metrics: dict[str, np.ndarray]) -> np.ndarray:
        """Return (P, K) the metrics that `observations` names, in order."""
        columns = []
        for name in self.observations:
            numbered = [key for key in metrics if key.startswith(f"{name}_") and key[len(name) + 1 :].isdecimal()]
            found = [name] if name in metrics else sorted(numbered, key=lambda key: int(key.rpartition("_")[2]))
            if not found:
                expected = f"a metric {name} or {name}_0, {name}_1, ..."
                todo = did_you_mean(name, list(metrics))
                raise ValueError(message("EnsembleKalmanFilter.observations", expected, "none", todo))
            columns += [metrics[key] for key in found]
        return np.stack(columns, axis=1)

    def _read_targets(self, state: EnsembleKalmanState, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return target and noise of each observation: two (K,)."""
        k = observed.shape[1]
        target = self.targets
        if target is None:
            target = float(state.best_fitness + observed.std())
        both = []
        for name, value in (("targets", target), ("gamma", self.gamma)):
            array = np.asarray(value, np.float64)
            if array.ndim and len(array) != k:
                expected = f"one number, or {k} for the {k} observations"
                raise ValueError(message(f"EnsembleKalmanFilter.{name}", expected, f"{len(array)} numbers"))
            both.append(np.broadcast_to(array, (k,)))
        return both[0], both[1]

    def _update_members(
        self, z: np.ndarray, observed: np.ndarray, target: np.ndarray, gamma: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        """Return the members z (n, D) after all repetitions."""
        for repetition in range(self.repetitions):
            deviation = (observed - observed.mean(axis=0)) / gamma
            residual = (target - observed) / gamma
            if self.perturb:
                residual = residual + generator.standard_normal(observed.shape)  # y + eta of Iglesias et al.
            moved = z - z.mean(axis=0)
            if repetition == self.repetitions - 1:
                return z + kalman_step(deviation, residual, moved)
            step = kalman_step(deviation, residual, np.concatenate([moved, deviation * gamma], axis=1))
            z, observed = z + step[:, : z.shape[1]], observed + step[:, z.shape[1] :]
        return z
