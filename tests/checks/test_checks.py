"""Each claim of the conformance suites catches a class that breaks it, and passes one that keeps it."""

import itertools
import random
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn import BatchOptimizee, Evaluation, JaxOptimizee, Optimizee, Optimizer, Real, Space
from l2l_snn.checks import Check, CheckFailed, check_optimizee, check_optimizer, require
from l2l_snn.checks.optimizee import CLAIMS as OPTIMIZEE_CLAIMS
from l2l_snn.checks.optimizee import SMOOTH
from l2l_snn.checks.optimizer import BEATS
from l2l_snn.checks.optimizer import CLAIMS as OPTIMIZER_CLAIMS
from l2l_snn.evaluation import Experience
from l2l_snn.optimizer import with_best
from l2l_snn.seeding import generator_of, stream
from optimizers.random_search import RandomSearch, RandomSearchState

SPACE = Space(x=Real(-1, 1, shape=(3,)))


def failed(checks: list[Check]) -> dict[str, str]:
    return {check.claim: check.text for check in checks if not check.ok}


# Optimizees, one broken in each claim


@dataclass(frozen=True)
class Good(Optimizee):
    sizes: tuple[int, ...] = (2, 3)
    space = SPACE

    def evaluate(self, params, seed):
        return -float((params["x"] ** 2).sum()) + np.random.default_rng(seed).normal(), {"first": params["x"][0]}


class NotFrozen(Optimizee):
    space = SPACE

    def evaluate(self, params, seed):
        return 0.0


class DecoratorForgotten(Good):
    noise: float = 1.0


@dataclass(frozen=True)
class NotJson(Good):
    table: Any = np.float64


@dataclass(frozen=True)
class NoSpace(Good):
    space = {"x": (-1, 1)}  # noqa: RUF012, what a user may write


@dataclass(frozen=True)
class WrongForm(BatchOptimizee):
    space = SPACE

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        return Evaluation(np.zeros((len(z), 1)))


@dataclass(frozen=True)
class NotAlone(BatchOptimizee):
    space = SPACE

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        if len(z) == 1:
            raise IndexError("too few")
        return Evaluation(z.sum(axis=1))


@dataclass(frozen=True)
class Watched(BatchOptimizee):
    space = SPACE

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        return Evaluation(z.sum(axis=1) + with_artifacts)


@dataclass(frozen=True)
class OwnRandomness(Good):
    def evaluate(self, params, seed):
        return np.random.default_rng().normal()


COUNTER = itertools.count()


@dataclass(frozen=True)
class HiddenField(Good):
    def cross_check(self):
        object.__setattr__(self, "bias", float(next(COUNTER)))

    def evaluate(self, params, seed):
        return self.bias


@dataclass(frozen=True)
class ReadsPosition(BatchOptimizee):
    space = SPACE

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        return Evaluation(z.sum(axis=1) + 1e-12 * np.arange(len(z)))


@dataclass(frozen=True)
class ReadsNeighbours(BatchOptimizee):
    space = SPACE

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        return Evaluation(z.sum(axis=1) - z.max())


@dataclass(frozen=True)
class SmallSeeds(Good):
    def evaluate(self, params, seed):
        if seed == 2**31 - 1:
            raise OverflowError("seed")
        return 0.0


@dataclass(frozen=True)
class MostlyFails(Good):
    def evaluate(self, params, seed):
        raise FloatingPointError(f"v diverged with {params}")


@dataclass(frozen=True)
class ForgotReturn(Good):
    def evaluate(self, params, seed):
        self.sizes  # noqa: B018


@dataclass(frozen=True)
class ForgotReturnInJax(JaxOptimizee):
    space = SPACE

    def evaluate(self, params, key, *, watch):
        pass


@dataclass(frozen=True)
class ForgotSpace(Optimizee):
    def evaluate(self, params, seed):
        return 0.0


@dataclass(frozen=True)
class OtherMetrics(Good):
    def evaluate(self, params, seed):
        return 0.0, {"left" if params["x"][0] < 0 else "right": 1.0}


@dataclass(frozen=True)
class ChangesArguments(BatchOptimizee):
    space = SPACE

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        z *= 0.5
        return Evaluation(z.sum(axis=1))


@dataclass(frozen=True)
class SeedsNumpy(Good):
    def evaluate(self, params, seed):
        np.random.seed(seed)  # noqa: NPY002
        return np.random.rand()  # noqa: NPY002


@dataclass(frozen=True)
class SeedsPython(Good):
    def evaluate(self, params, seed):
        random.seed(seed)
        return random.random()


@dataclass(frozen=True)
class NanGradient(JaxOptimizee):
    space = SPACE

    def evaluate(self, params, key, *, watch):
        return -jnp.sqrt(jnp.sum((0.0 * params["x"]) ** 2))


@dataclass(frozen=True)
class Smooth(JaxOptimizee):
    space = SPACE

    def evaluate(self, params, key, *, watch):
        return -jnp.sum(params["x"] ** 2) + jax.random.normal(key)


@dataclass(frozen=True)
class CutGradient(JaxOptimizee):
    space = SPACE

    def evaluate(self, params, key, *, watch):
        return -jnp.sum(params["x"] * jax.lax.stop_gradient(params["x"]))


@dataclass(frozen=True)
class Acting(Optimizee):
    """Acts once, by chance; its experience has everything it needs."""

    has_experience = True
    space = SPACE

    def evaluate(self, params, seed):
        return -float((params["x"] ** 2).sum())

    def gather(self, z, seeds):
        action = np.random.default_rng(int(seeds[0])).normal(z[:, :1], 1.0)  # (P, H)
        told = [self.tell_experience(*pair) for pair in zip(z, action[:, None], strict=True)]
        return Evaluation(self.evaluate_batch(z, seeds).fitness + self.besides, experience=tuple(told))

    besides = 0.0

    def tell_experience(self, z, action):
        over, segments = np.ones(action.shape, bool), {"actions": action[..., None] + self.noise}
        log_probs = -0.5 * (action - z[0]) ** 2
        return Experience(action[..., None], action[..., None], action, over, over, action, log_probs, segments, self)

    noise = 0.0

    def log_probs(self, z, segments):
        return -0.5 * (segments["actions"] - z[0]) ** 2, jnp.zeros(segments["actions"].shape)

    def action_values(self, z, observations):
        raise NotImplementedError

    def rewire(self, before, after, rate, words):
        return after


@dataclass(frozen=True)
class OtherExperience(Acting):
    besides = 1.0


@dataclass(frozen=True)
class OtherNoise(Acting):
    noise = 1.0


BROKEN_OPTIMIZEES = [
    (Watched(), "gives the same fitness and metrics when artifacts are wanted", "as without artifacts"),
    (NotFrozen(), "is a frozen dataclass whose fields survive JSON", "expected a frozen dataclass, got another class"),
    (DecoratorForgotten(), "is a frozen dataclass whose fields survive JSON", "put @dataclass"),
    (NotJson(), "is a frozen dataclass whose fields survive JSON", "not JSON serializable"),
    (NoSpace(), "has a space that survives JSON", "space: expected a Space, got dict"),
    (WrongForm(), "gives an evaluation of the right form", r"shape \(6, 1\)"),
    (NotAlone(), "takes a batch of one", "IndexError: too few"),
    (OwnRandomness(), "gives the same bytes for the same z and seed", "from the seed"),
    (HiddenField(), "gives the same bytes when rebuilt from its fields", "must follow from the fields"),
    (ReadsPosition(), "doesn't depend on the position in the batch", "row number"),
    (ReadsNeighbours(), "doesn't depend on the neighbours in the batch", "only their neighbours changed"),
    (SmallSeeds(), "takes any seed", "OverflowError"),
    (MostlyFails(), "succeeds for most random z", "6 failed, the first: FloatingPointError: v diver"),
    (OtherMetrics(), "names the same metrics for every individual", r"\['left'\]"),
    (ChangesArguments(), "leaves its arguments as they were", "changed in place"),
    (SeedsNumpy(), "leaves the global random generators as they were", "global state"),
    (SeedsPython(), "leaves the global random generators as they were", "global state"),
    (NanGradient(), "has a finite gradient if it declares one", "sqrt"),
    (OtherExperience(), "repeats its experience if it gathers some", "as without experience"),
    (OtherNoise(), "repeats its experience if it gathers some", "keep the random keys"),
    (CutGradient(), "has the gradient that finite differences show", "slope"),
]


@pytest.mark.parametrize(("optimizee", "claim", "text"), BROKEN_OPTIMIZEES, ids=lambda value: type(value).__name__)
def test_a_broken_optimizee_is_caught_with_its_claim(optimizee, claim, text):
    caught = failed(check_optimizee(optimizee, smooth=claim in SMOOTH))
    assert claim in caught
    with pytest.raises(CheckFailed, match=text):
        require([Check(claim, False, caught[claim])])


@pytest.mark.parametrize(
    ("optimizee", "text"),
    [
        (
            ForgotReturn(),
            "at most half of 6 random z to fail, got all of them, for one reason: TypeError: ForgotReturn.ev",
        ),
        (
            ForgotReturnInJax(),
            "TypeError: ForgotReturnInJax.evaluate: expected a number, .*, got None; is a return missing",
        ),
        (ForgotSpace(), "TypeError: class ForgotSpace: expected a search space, got none; write space ="),
    ],
    ids=lambda value: type(value).__name__,
)
def test_one_cause_of_all_is_said_once(optimizee, text):
    (cause,) = failed(check_optimizee(optimizee)).values()
    assert re.search(text, cause), cause
    assert "narrow" not in cause


def test_every_optimizee_claim_has_a_broken_class():
    assert {claim for _, claim, _ in BROKEN_OPTIMIZEES} == set(OPTIMIZEE_CLAIMS | SMOOTH)


def test_good_optimizees_pass():
    assert require(check_optimizee(Good())) == list(OPTIMIZEE_CLAIMS)
    assert require(check_optimizee(Smooth(), smooth=True)) == list(OPTIMIZEE_CLAIMS | SMOOTH)
    require(check_optimizee(Acting()))


# Optimizers, one broken in each claim


@dataclass(frozen=True)
class Climber(Optimizer[RandomSearchState]):
    """A small optimizer that keeps the contract: normal steps from the best of the last generation."""

    step: float = 0.1
    population: int = 8

    def init(self, space, seed):
        return RandomSearchState(stream(seed), space.center.copy(), np.array(-np.inf))

    def ask(self, space, state):
        generator, words = generator_of(state.words)
        noise = generator.standard_normal((self.population, len(state.best_z)))
        return state.best_z + self.step * noise, state._replace(words=words)

    def learn(self, space, state, z, fitness, evaluation):
        if evaluation.failed.all():
            return state
        return state._replace(best_z=z[fitness.argmax()].copy(), best_fitness=np.array(fitness.max()))

    def recommend(self, space, state):
        return state.best_z


class UndecoratedClimber(Climber):
    extra: float = 0.0


@dataclass(frozen=True)
class FloatState(Climber):
    def init(self, space, seed):
        return super().init(space, seed)._replace(best_fitness=-np.inf)


@dataclass(frozen=True)
class SeedIgnored(Climber):
    def init(self, space, seed):
        return super().init(space, 0)


@dataclass(frozen=True)
class AsksSingle(Climber):
    def ask(self, space, state):
        z, state = super().ask(space, state)
        return z.astype(np.float32), state


@dataclass(frozen=True)
class RecommendsNothing(Climber):
    def recommend(self, space, state):
        return np.where(state.best_fitness == -np.inf, np.nan, state.best_z)


@dataclass(frozen=True)
class WritesState(Climber):
    def learn(self, space, state, z, fitness, evaluation):
        state.best_z[:] = z[np.nanargmax(evaluation.fitness)]
        return state


@dataclass(frozen=True)
class WritesEvaluation(Climber):
    def learn(self, space, state, z, fitness, evaluation):
        evaluation.fitness[np.isnan(evaluation.fitness)] = -1e9
        return super().learn(space, state, z, fitness, evaluation)


@dataclass(frozen=True)
class GlobalRandom(Climber):
    def ask(self, space, state):
        z, state = super().ask(space, state)
        return z + np.random.rand(*z.shape), state  # noqa: NPY002


@dataclass(frozen=True)
class HiddenState(Climber):
    def cross_check(self):
        object.__setattr__(self, "told", [])

    def learn(self, space, state, z, fitness, evaluation):
        self.told.append(len(z))
        state = super().learn(space, state, z, fitness, evaluation)
        return state._replace(best_z=state.best_z + len(self.told))


@dataclass(frozen=True)
class NanArithmetic(Climber):
    def learn(self, space, state, z, fitness, evaluation):
        return state._replace(best_z=state.best_z + 0.0 * evaluation.fitness.mean())


@dataclass(frozen=True)
class EmptyAverage(Climber):
    def learn(self, space, state, z, fitness, evaluation):
        return state._replace(best_z=z[~evaluation.failed][0].copy())


@dataclass(frozen=True)
class DividesBySpread(Climber):
    def learn(self, space, state, z, fitness, evaluation):
        with np.errstate(invalid="ignore"):
            weight = (fitness - fitness.mean()) / fitness.std()
        return state._replace(best_z=state.best_z + 0.01 * weight @ z)


@dataclass(frozen=True)
class Minimizes(Climber):
    def learn(self, space, state, z, fitness, evaluation):
        return super().learn(space, state, z, -fitness, evaluation)


@dataclass(frozen=True)
class SquaresFitness(Climber):
    """Reckons with a variance."""

    def learn(self, space, state, z, fitness, evaluation):
        with np.errstate(over="ignore", invalid="ignore"):
            spread = 0.0 * fitness.var()
        return super().learn(space, state, z + spread, fitness, evaluation)


@dataclass(frozen=True)
class NeverForgets(Climber):
    """Steps from the best ever, which it never evaluates again."""

    def learn(self, space, state, z, fitness, evaluation):
        return with_best(state, z, evaluation)


class OneSizeState(NamedTuple):
    words: np.ndarray
    best_z: np.ndarray
    best_fitness: np.ndarray
    rows: np.ndarray  # (P,)


@dataclass(frozen=True)
class OneSize(Climber):
    def init(self, space, seed):
        return OneSizeState(*super().init(space, seed), np.zeros(self.population))

    def ask(self, space, state):
        generator, words = generator_of(state.words)
        noise = generator.standard_normal((len(state.rows), space.size))
        return state.best_z + self.step * noise, state._replace(words=words)


@dataclass(frozen=True)
class ForgetsStart(Climber):
    """Takes known individuals and does nothing with them."""

    def started(self, space, state, z):
        return state


@dataclass(frozen=True)
class StartsInPlace(Climber):
    """Changes the state that it is given."""

    def started(self, space, state, z):
        state.best_z[:] = z[0]
        return state


BROKEN_OPTIMIZERS = [
    (ForgetsStart(), "begins from a known point, or says that it can't", "take it as a first member"),
    (StartsInPlace(), "begins from a known point, or says that it can't", "which stays as it was"),
    (UndecoratedClimber(), "is a frozen dataclass whose fields survive JSON", "put @dataclass"),
    (FloatState(), "has a NamedTuple of arrays as state", "state.best_fitness: expected a numpy array"),
    (SeedIgnored(), "gives the same bytes for the same seed, others for another", "use `seed` in init"),
    (AsksSingle(), "asks for finite z of shape (P, D)", "float32"),
    (RecommendsNothing(), "recommends one finite z at any time", "also before the first tell"),
    (WritesState(), "changes no argument and repeats its results", "tell: expected its arguments unchanged"),
    (WritesEvaluation(), "changes no argument and repeats its results", "tell: expected its arguments unchanged"),
    (HiddenState(), "changes no argument and repeats its results", "keep nothing outside the state"),
    (GlobalRandom(), "leaves the global random generators as they were", "global state"),
    (HiddenState(), "goes on after a restart as if it had not stopped", "stored and resumed after"),
    (OneSize(), "goes on when its population grows and shrinks", "16 rows after P has changed from 8, got 8; write"),
    (NanArithmetic(), "survives failures", "read `fitness`"),
    (EmptyAverage(), "survives a generation that failed altogether", "IndexError"),
    (DividesBySpread(), "survives a generation of equal fitness", "finite numbers"),
    (SquaresFitness(), "survives one absurd fitness", "ask: z: expected finite numbers"),
    (NeverForgets(), "learns on after an absurd fitness", "a true one above random search's .*; keep in the state"),
    (Minimizes(), "beats random search on a sphere", "look for a sign"),
]


@pytest.mark.parametrize(("optimizer", "claim", "text"), BROKEN_OPTIMIZERS, ids=lambda value: type(value).__name__)
def test_a_broken_optimizer_is_caught_with_its_claim(optimizer, claim, text):
    caught = failed(check_optimizer(optimizer, beats_random=claim in BEATS))
    assert claim in caught
    with pytest.raises(CheckFailed, match=text):
        require([Check(claim, False, caught[claim])])


def test_every_optimizer_claim_has_a_broken_class():
    assert {claim for _, claim, _ in BROKEN_OPTIMIZERS} == set(OPTIMIZER_CLAIMS | BEATS)


def test_good_optimizers_pass():
    assert require(check_optimizer(Climber())) == list(OPTIMIZER_CLAIMS | BEATS)
    assert require(check_optimizer(RandomSearch())) == list(OPTIMIZER_CLAIMS)  # it needn't beat itself


@dataclass(frozen=True)
class WithoutPopulation(Climber):
    """Has no number that could grow."""

    def individuals(self, size):
        raise TypeError("none")


def test_an_optimizer_without_a_population_keeps_the_contract():
    require(check_optimizer(WithoutPopulation(), beats_random=False))


@dataclass(frozen=True)
class Ascent(Climber):
    """Follows the mean gradient, which it must be given."""

    needs_grad = True

    def learn(self, space, state, z, fitness, evaluation):
        return state._replace(best_z=state.best_z + 0.05 * evaluation.filled().grad.mean(axis=0))


def test_an_optimizer_that_needs_a_gradient_gets_the_true_one():
    require(check_optimizer(Ascent()))


@dataclass(frozen=True)
class ReadsMetrics(Climber):
    """Needs the metrics of whatever did not fail."""

    def learn(self, space, state, z, fitness, evaluation):
        if not evaluation.failed.all():
            expected = 2 * np.clip(z[:, :2], 0, 1) - 1
            metrics = np.stack([evaluation.metrics["x0"], evaluation.metrics["x1"]], axis=1)
            np.testing.assert_allclose(metrics, np.where(evaluation.failed[:, None], np.nan, expected), atol=1e-12)
        return super().learn(space, state, z, fitness, evaluation)


def test_an_optimizer_that_reads_metrics_gets_two_coordinates():
    require(check_optimizer(ReadsMetrics()))


def test_the_suite_leaves_the_global_generators_as_they_were():
    random.random(), np.random.rand()  # noqa: NPY002
    python, legacy = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    check_optimizer(Climber(), beats_random=False)
    require(check_optimizee(Good()))
    assert random.getstate() == python
    np.testing.assert_array_equal(np.random.get_state()[1], legacy)  # noqa: NPY002
