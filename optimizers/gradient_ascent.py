"""Gradient ascent by Optax: with the gradient that the optimizee gives, or with one estimated from fitness alone.

Rules are those of `l2l_snn.search.step_rules`. Estimates: central differences, or antithetic evolution strategies
(Salimans et al. 2017, Evolution strategies as a scalable alternative to reinforcement learning, with
mirrored samples).

Legend: S starts side by side, E evaluations of each in a generation, P = S E, D search coordinates, M directions of
an estimate, K numbers in the memory of the step rule of one start.
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizer import Optimizer, with_best, with_members
from l2l_snn.search.shaping import ordinary
from l2l_snn.search.step_rules import StepRule
from l2l_snn.seeding import generator_of, stream
from l2l_snn.space import Space
from l2l_snn.validate import Count, NotNegative, Within, did_you_mean, message


class GradientAscentState(NamedTuple):
    """What gradient ascent knows between generations."""

    words: np.ndarray  # (2,) the random stream
    z: np.ndarray  # (S, D) where each start has come to, within the bounds
    memory: np.ndarray  # (S, K) of the step rule: moments and step count, packed
    safe: np.ndarray  # (S, D) where each was last evaluated without failure
    succeeded: np.ndarray  # (S,) bool, whether it ever was
    fitness: np.ndarray  # (S,) of its last success, -inf before
    best_z: np.ndarray  # (D,) z of the best fitness so far, averaged over the evaluations of one z
    best_fitness: np.ndarray  # () that fitness, -inf before any evaluation succeeded


OF_STARTS = ("z", "memory", "safe", "succeeded", "fitness")  # what each start has of its own


@dataclass(frozen=True)
class Ascent(Optimizer[GradientAscentState]):
    """What both classes below share. Starts are samples of the space; each step is projected on the bounds.

    A start that failed altogether goes back half the way to where it last succeeded, its moments kept; one that never
    succeeded is sampled anew.

    When P changes, S does: new starts are samples of the space, with moments and schedule of their own, and the best
    stay.
    """

    starts: Count = 1  # S
    step: StepRule = StepRule()  # in z; weights decay towards the middle of the space
    # factors of the steps of some parameters, by their names, or by patterns such as w_m_*; the last that fits counts
    rates: dict[str, NotNegative] = field(default_factory=dict)

    @abstractmethod
    def _count_evaluations(self, size: int) -> int:
        """Return E in a space of D = `size`."""

    @abstractmethod
    def _choose_points(self, space: Space, state: GradientAscentState, generator: np.random.Generator) -> np.ndarray:
        """Return (S, E, D) z to evaluate, first that of the start itself; not yet clipped."""

    @abstractmethod
    def _estimate_gradient(
        self, z: np.ndarray, fitness: np.ndarray, ok: np.ndarray, grad: np.ndarray, std: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gradient (S, D), fitness (S,) of each start, nan if failed, and bool (S,) whether it has a gradient.

        Args:
            z: (S, E, D) what was evaluated.
            fitness: (S, E) failures filled.
            ok: (S, E) which evaluations did not fail.
            grad: (S, E, D) given gradients, 0 where failed.
            std: (D,) spread of the space.
        """

    def init(self, space: Space, seed: int) -> GradientAscentState:
        self._find_factors(space)
        generator, words = generator_of(stream(seed))
        z = space.sample(generator, self.starts)
        memory = np.tile(self.step.first_memory(space.size), (self.starts, 1))
        none, never, best = np.zeros(self.starts, bool), np.full(self.starts, -np.inf), np.array(-np.inf)
        return GradientAscentState(words, z, memory, z.copy(), none, never, z[0].copy(), best)

    def individuals(self, size: int) -> int:
        """Return P = S E."""
        return self.starts * self._count_evaluations(size)

    def sized(self, individuals: int, size: int) -> Self:
        return replace(self, starts=individuals // self._count_evaluations(size))

    def resized(self, space: Space, state: GradientAscentState) -> GradientAscentState:
        more = self.starts - len(state.z)
        kept = np.sort(np.argsort(-state.fitness, kind="stable")[: self.starts])
        state = state._replace(**{name: getattr(state, name)[kept] for name in OF_STARTS})
        if more <= 0:
            return state
        generator, words = generator_of(state.words)
        z = space.sample(generator, more)
        memory = np.tile(self.step.first_memory(space.size), (more, 1))
        new = (z, memory, z, np.zeros(more, bool), np.full(more, -np.inf))
        parts = {name: np.concatenate([getattr(state, name), rows]) for name, rows in zip(OF_STARTS, new, strict=True)}
        return state._replace(words=words, **parts)

    def started(self, space: Space, state: GradientAscentState, z: np.ndarray) -> GradientAscentState:
        starts = with_members(state.z, z)
        return state._replace(z=starts, safe=starts.copy(), best_z=z[0].copy())

    def ask(self, space: Space, state: GradientAscentState) -> tuple[np.ndarray, GradientAscentState]:
        generator, words = generator_of(state.words)
        z = self._choose_points(space, state, generator).reshape(-1, space.size)
        return space.clipped(z), state._replace(words=words)

    def learn(
        self, space: Space, state: GradientAscentState, z: np.ndarray, fitness: np.ndarray, evaluation: Evaluation
    ) -> GradientAscentState:
        size = space.size
        fitness = fitness.reshape(self.starts, -1)
        ok = ~evaluation.failed
        grad = np.zeros(z.shape)
        if self.needs_grad and evaluation.grad is not None:  # there is none where all failed
            ok = ok & np.isfinite(evaluation.grad).all(axis=1)
            grad = np.where(ok[:, None], evaluation.grad, 0.0)
        z, grad, ok = z.reshape(self.starts, -1, size), grad.reshape(self.starts, -1, size), ok.reshape(fitness.shape)
        slope, score, usable = self._estimate_gradient(z, fitness, ok, grad, space.scale)
        here = z[:, 0]
        state = with_best(state, here, Evaluation(score))

        step, memory = self.step.step(slope, state.memory, here - space.center)
        x = here - space.center + (step * self._find_factors(space) if self.rates else step)
        generator, words = generator_of(state.words)
        fresh = space.sample(generator, len(here))
        back = np.where(state.succeeded[:, None], (here + state.safe) / 2, fresh)
        move = usable & np.isfinite(x).all(axis=1) & np.isfinite(memory).all(axis=1)
        return state._replace(
            words=words,
            z=space.clipped(np.where(move[:, None], x + space.center, back)),
            memory=np.where(move[:, None], memory, state.memory),
            safe=np.where(usable[:, None], here, state.safe),
            succeeded=state.succeeded | usable,
            fitness=np.where(np.isnan(score), state.fitness, score),
        )

    def _find_factors(self, space: Space) -> np.ndarray:
        """Return (D,) what the steps of each coordinate are multiplied with: `rates`."""
        factors = np.ones(space.size)
        for pattern, factor in self.rates.items():
            names = [name for name in space.slices if fnmatchcase(name, pattern)]
            if not names:
                got, todo = repr(pattern), did_you_mean(pattern, space.slices)
                raise ValueError(message(f"{type(self).__name__}.rates", "names of parameters", got, todo))
            for name in names:
                factors[space.slices[name]] = factor
        return factors

    def recommend(self, space: Space, state: GradientAscentState) -> np.ndarray:
        """Return the z of the best fitness so far, averaged over the evaluations that one z had in a generation."""
        return state.best_z


@dataclass(frozen=True)
class GradientAscent(Ascent):
    """Gradient ascent with the optimizee's own gradient, averaged over evaluations with different seeds.

    The evaluations are the shards of data-parallel training: workers take one each (the job's `chunk: 1`), and where
    fitness is a mean over B tasks drawn from the seed, the step is that of one evaluation of E B tasks. Failed
    evaluations are left out of the mean. `stop: {fitness: ...}` in a job is that of a single evaluation. See
    jobs/cue_association_parallel.yaml.
    """

    needs_grad: ClassVar[bool] = True
    evaluations: Count = 1  # E of each start in a generation

    @property
    def averages(self) -> bool:
        return self.evaluations > 1

    def _count_evaluations(self, size: int) -> int:
        return self.evaluations

    def _choose_points(self, space: Space, state: GradientAscentState, generator: np.random.Generator) -> np.ndarray:
        return np.repeat(state.z[:, None], self.evaluations, axis=1)

    def _estimate_gradient(
        self, z: np.ndarray, fitness: np.ndarray, ok: np.ndarray, grad: np.ndarray, std: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        count = ok.sum(axis=1)
        divisor = np.maximum(count, 1)
        score = np.where(count > 0, np.where(ok, fitness, 0.0).sum(axis=1) / divisor, np.nan)
        return grad.sum(axis=1) / divisor[:, None], score, count > 0


@dataclass(frozen=True)
class EstimatedGradientAscent(Ascent):
    """Gradient ascent with a gradient estimated from fitness, for optimizees that have none.

    A generation of each start is E = 1 + 2 M evaluations: itself, and M points on either side. With
    "finite_differences" the M = D directions are the coordinates; where one side failed the start itself takes its
    place. With "es" they are `pairs` normal ones; a pair of which one failed is left out. An absurd fitness, more than
    1e9 times as large as most of the start's, counts as failed. On a noisy fitness take "es", or a larger
    `difference`, and one seed a generation (`seeds: generation` in the job).
    """

    estimate: Literal["finite_differences", "es"] = "finite_differences"
    # distance to either side (es: its standard deviation), in units of the space's spread
    difference: Annotated[float, Within(1e-9, 1e6), "0.001 to 0.1 are usual"] = 0.01
    pairs: Count = 8  # M of es

    def _count_evaluations(self, size: int) -> int:
        return 1 + 2 * (self.pairs if self.estimate == "es" else size)

    def _choose_points(self, space: Space, state: GradientAscentState, generator: np.random.Generator) -> np.ndarray:
        size = space.size
        if self.estimate == "es":
            directions = generator.standard_normal((self.starts, self.pairs, size))
        else:
            directions = np.broadcast_to(np.eye(size), (self.starts, size, size))
        offset, centre = self.difference * space.scale * directions, state.z[:, None]
        return np.concatenate([centre, centre + offset, centre - offset], axis=1)

    def _estimate_gradient(
        self, z: np.ndarray, fitness: np.ndarray, ok: np.ndarray, grad: np.ndarray, std: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ok = ok & ordinary(fitness)  # no moment of a step rule forgets a slope of 1e60
        score = np.where(ok[:, 0], fitness[:, 0], np.nan)
        plus, minus = np.split(np.arange(1, z.shape[1]), 2)
        if self.estimate == "es":
            pair = ok[:, plus] & ok[:, minus]
            rise = np.where(pair, fitness[:, plus] - fitness[:, minus], 0.0)
            apart = z[:, plus] - z[:, minus]  # 2 s epsilon, less what clipping took; the sum is over (f+ - f-) epsilon
            slope = np.einsum("sm,smd->sd", rise, apart) / np.maximum(pair.sum(axis=1), 1)[:, None]
            return slope / (2 * self.difference * std) ** 2, score, np.asarray(pair.any(axis=1))
        # a failed side becomes the start itself: no height without a width
        value = np.where(ok, fitness, fitness[:, :1])
        place = np.where(ok[..., None], z, z[:, :1])
        rise = value[:, plus] - value[:, minus]
        run = np.diagonal(place[:, plus] - place[:, minus], axis1=1, axis2=2)
        known = (run != 0) & ((ok[:, plus] & ok[:, minus]) | ok[:, :1])
        return np.where(known, rise / np.where(known, run, 1.0), 0.0), score, np.asarray(known.any(axis=1))
