"""FACE: the sample grows as long as its elite isn't better, and is the cross-entropy method where it can't grow."""

import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from optimizers.cross_entropy import CrossEntropy
from optimizers.face import FACE

SPACE = Space(x=Real(-5, 5, shape=(2,)), w=Free((2,)))
SMALL = FACE(min_population=6, max_population=15, expand=4, elites=3, smoothing=0.0)
VARIANTS = [
    FACE(),
    FACE(covariance="full"),
    FACE(components=2, noise=0.2, temp_decay=0.9),
    FACE(components=3, covariance="full", elites=40, min_population=96),
    FACE(min_population=2, max_population=2, elites=2),
    FACE(min_population=7, max_population=30, expand=9, elites=5),
]


def sphere(z):
    return (z**2).sum(axis=1)


@pytest.mark.parametrize("face", VARIANTS, ids=str)
def test_keeps_the_contract(face):
    require(check_optimizer(face, beats_random=face.min_population > 2))


@pytest.mark.parametrize("fields", [{}, {"components": 2, "temp_decay": 0.9}, {"covariance": "full", "noise": 0.3}])
def test_a_sample_that_cannot_grow_is_the_cross_entropy_method(fields):
    face = FACE(min_population=40, max_population=40, elites=10, smoothing=0.1, **fields)
    ce = CrossEntropy(population=40, rho=0.25, smoothing=0.1, **fields)
    ours, theirs = face.init(SPACE, 3), ce.init(SPACE, 3)
    for _ in range(15):
        z, ours = face.ask(SPACE, ours)
        same, theirs = ce.ask(SPACE, theirs)
        np.testing.assert_array_equal(z, same)
        ours = face.tell(SPACE, ours, z, Evaluation(-sphere(z - 0.3)))
        theirs = ce.tell(SPACE, theirs, z, Evaluation(-sphere(z - 0.3)))
    np.testing.assert_array_equal(face.recommend(SPACE, ours), ce.recommend(SPACE, theirs))


def tell(state, fitness):
    """Return (z, state) after asking and telling this fitness, which must be for as many as are asked."""
    z, state = SMALL.ask(SPACE, state)
    assert len(z) == len(fitness)
    return z, SMALL.tell(SPACE, state, z, Evaluation(np.asarray(fitness, float)))


def test_the_sample_grows_until_an_elite_is_better():
    first, state = tell(SMALL.init(SPACE, 1), [1, 2, 3, 4, 5, 6])  # anything beats nothing
    np.testing.assert_allclose(state.mixture.means[0], first[3:].mean(axis=0))
    assert (float(state.best), float(state.gamma)) == (6, 4)

    z, later = tell(state, [0, 6, 1, 4, 2, 5])  # equal is not better
    np.testing.assert_array_equal(later.mixture.means, state.mixture.means)
    more, later = tell(later, [0, 0, 0, 3])
    np.testing.assert_array_equal(later.mixture.means, state.mixture.means)
    assert len(later.z) == 10
    most, later = tell(later, [0, 4.5, 0, 0])  # the worst of three elites is 4.5 now, more than 4
    elite = np.stack([z[1], z[5], most[1]])
    np.testing.assert_allclose(later.mixture.means[0], elite.mean(axis=0))
    np.testing.assert_allclose(later.mixture.covariances[0], elite.var(axis=0))
    assert (float(later.best), float(later.gamma)) == (6, 4.5)

    _, last = tell(later, [7, 0, 0, 0, 0, 0])  # the best is better, the sample is small again
    assert (float(last.best), float(last.gamma), len(last.z)) == (7, 0, 0)
    assert more.shape == (4, 4)
    assert not last.z.any()  # an old sample is forgotten


def test_at_its_largest_a_sample_is_taken_as_it_is_and_becomes_what_to_beat():
    _, state = tell(SMALL.init(SPACE, 1), [1, 2, 3, 4, 5, 6])
    means = state.mixture.means
    for fitness in ([0, 1, 2, 3, 2, 1], [0, 0, 0, 0], [0, 1, 0, 1]):
        _, state = tell(state, fitness)
        np.testing.assert_array_equal(state.mixture.means, means)
    _, state = tell(state, [2.5])  # 6 + 4 + 4 + 1 = 15
    assert (state.mixture.means != means).all()
    assert (float(state.best), float(state.gamma), len(state.z)) == (3, 2, 0)
    assert len(SMALL.ask(SPACE, state)[0]) == 6


def test_a_sample_with_too_few_successes_for_its_elite_grows():
    nan = np.nan
    first, state = tell(SMALL.init(SPACE, 1), [nan, 1, nan, 2, nan, nan])
    assert (len(state.z), float(state.best)) == (6, -np.inf)
    second, state = tell(state, [nan, nan, 0, nan])
    np.testing.assert_allclose(state.mixture.means[0], np.stack([first[1], first[3], second[2]]).mean(axis=0))
    assert (len(state.z), float(state.best)) == (0, 2)


def test_a_growing_sample_is_one_sample_of_one_distribution():
    space = Space(w=Free((2,)))
    face = FACE(min_population=500, max_population=4000, expand=500)
    state = face.init(space, 1)
    z, state = face.ask(space, state)
    state = face.tell(space, state, z, Evaluation(-sphere(z)))
    parts = []
    for _ in range(7):
        z, state = face.ask(space, state)
        state = face.tell(space, state, z, Evaluation(np.full(500, -99.0)))
        parts.append(z)
    assert len(np.unique(np.concatenate(parts), axis=0)) == 3500
    np.testing.assert_array_equal(state.z[:3500], np.concatenate(parts))
    np.testing.assert_allclose(state.z[:3500].std(axis=0), np.sqrt(state.mixture.covariances[0]), rtol=0.05)


def test_grows_only_when_progress_is_slow():
    face = FACE(min_population=30, max_population=300, expand=30, elites=10, smoothing=0.2)

    def evaluations_a_fit(noise):
        generator, used = np.random.default_rng(1), 0
        state = face.init(SPACE, 1)
        while state.fitted < 25:
            z, state = face.ask(SPACE, state)
            used += len(z)
            state = face.tell(SPACE, state, z, Evaluation(-sphere(z - 0.3) + noise * generator.normal(size=len(z))))
        return used / 25

    assert 30 <= evaluations_a_fit(0.0) < 45
    assert evaluations_a_fit(5.0) > 1.3 * evaluations_a_fit(0.0)


def test_converges_with_bounds_and_keeps_the_size_of_its_state():
    face = FACE()
    target = np.array([0.0, 1.0, 1.5, -1.0])
    first = state = face.init(SPACE, 1)
    for _ in range(150):
        z, state = face.ask(SPACE, state)
        assert z[:, :2].min() >= 0
        assert z[:, :2].max() <= 1
        state = face.tell(SPACE, state, z, Evaluation(-sphere(z - target)))
        assert len(state.z) == len(state.fitness) < face.max_population
    np.testing.assert_allclose(face.recommend(SPACE, state), target, atol=1e-4)
    sample = {"z": first.z, "fitness": first.fitness}
    assert [(a.shape, a.dtype) for a in first.mixture] == [(a.shape, a.dtype) for a in state.mixture]
    rest = {"mixture": first.words}
    one, other = first._replace(**rest), state._replace(**sample, **rest)
    assert [(a.shape, a.dtype) for a in one] == [(a.shape, a.dtype) for a in other]


def test_all_numbers_of_individuals_change_in_proportion():
    face = FACE(min_population=60, max_population=500, expand=30, elites=12, components=2)
    assert face.sized(90, 3) == FACE(min_population=90, max_population=750, expand=45, elites=18, components=2)
    assert face.sized(20, 3) == FACE(min_population=20, max_population=167, expand=10, elites=4, components=2)
    with pytest.raises(ValueError, match=r"FACE\.elites: expected an integer >= 4, got 3"):
        face.sized(15, 3)


def test_a_sample_that_is_too_large_after_a_change_gets_one_last_addition():
    face = FACE(min_population=20, max_population=60, expand=10, elites=4)
    z, state = face.ask(SPACE, face.init(SPACE, 1))
    state = face.tell(SPACE, state, z, Evaluation(-sphere(z)))
    for _ in range(4):  # 20 + 10 + 10 + 10 individuals, all worse than before
        z, state = face.ask(SPACE, state)
        state = face.tell(SPACE, state, z, Evaluation(-99.0 - sphere(z)))
    assert len(state.z) == 50
    small = face.sized(10, 4)
    assert small.max_population == 30
    z, state = small.ask(SPACE, small.resized(SPACE, state))
    assert len(z) == small.expand == 5
    state = small.tell(SPACE, state, z, Evaluation(-99.0 - sphere(z)))
    assert (len(state.z), int(state.fitted)) == (0, 2)


def test_an_elite_that_has_outgrown_its_sample_waits_for_more():
    face = FACE(min_population=6, max_population=60, expand=1, elites=6)
    z, state = face.ask(SPACE, face.init(SPACE, 1))
    state = face.tell(SPACE, state, z, Evaluation(-sphere(z)))
    z, state = face.ask(SPACE, state)
    state = face.tell(SPACE, state, z, Evaluation(-99.0 - sphere(z)))
    large = face.sized(60, 4)
    z, state = large.ask(SPACE, large.resized(SPACE, state))
    state = large.tell(SPACE, state, z, Evaluation(np.full(10, 5.0)))
    assert (len(z), len(state.z)) == (10, 16)  # an elite of 60 it is not yet


@pytest.mark.parametrize("fitness", [np.nan, 1.0], ids=["failed", "equal"])
def test_samples_that_tell_nothing_change_no_distribution(fitness):
    state = first = SMALL.init(SPACE, 1)
    for _ in range(20):
        z, state = SMALL.ask(SPACE, state)
        state = SMALL.tell(SPACE, state, z, Evaluation(np.full(len(z), fitness)))
    np.testing.assert_array_equal(state.mixture.means, first.mixture.means)
    np.testing.assert_array_equal(state.mixture.covariances, first.mixture.covariances)


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"elites": 1}, ValueError, r"FACE.elites: expected an integer >= 2, got 1; take at least two a component"),
        ({"components": 7}, ValueError, "FACE.elites: expected an integer >= 14, got 13"),
        ({"min_population": 8}, ValueError, "FACE.min_population: expected an integer >= 13, got 8; it has to hold"),
        ({"max_population": 63}, ValueError, "FACE.max_population: expected an integer >= 64, got 63; not less"),
        ({"expand": 0}, ValueError, "FACE.expand: expected an integer >= 1, got 0"),
        ({"expand": 1.5}, TypeError, "FACE.expand: expected an integer"),
        ({"smoothing": 1}, ValueError, "FACE.smoothing: expected a number below 1, got 1; at 1 nothing"),
        ({"covariance": "diag"}, ValueError, "FACE.covariance: .* did you mean 'diagonal'"),
        ({"noise": -1}, ValueError, "FACE.noise: expected a number >= 0"),
        ({"noise": float("inf")}, ValueError, "FACE.noise: expected finite"),
        ({"noise_decay": -0.1}, ValueError, "FACE.noise_decay"),
        ({"temp_decay": 2}, ValueError, "FACE.temp_decay"),
    ],
)
def test_wrong_fields_are_refused(fields, error, text):
    with pytest.raises(error, match=text):
        FACE(**fields)


def test_wrong_evaluations_are_refused():
    z, state = SMALL.ask(SPACE, SMALL.init(SPACE, 1))
    with pytest.raises(ValueError, match=r"FACE: fitness: expected one objective, got \(6, 2\)"):
        SMALL.tell(SPACE, state, z, Evaluation(np.zeros((6, 2))))
    with pytest.raises(ValueError, match=r"FACE: z: expected an array of shape \(6, 4\), got shape \(5, 4\)"):
        SMALL.tell(SPACE, state, z[:5], Evaluation(np.zeros(5)))
