"""The adapter of evosax: every algorithm opens, what comes out is evosax's own, wrong names are refused."""

from dataclasses import fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from l2l_snn import Evaluation, Free, Real, Space
from l2l_snn.checks import check_optimizer, require
from l2l_snn.search.evosax_algorithms import (
    algorithms,
    compile_algorithm,
    constructed,
    exactly,
    known_params,
    random_key,
)
from l2l_snn.seeding import generator_of
from optimizers.evosax_adapter import Evosax

pytestmark = pytest.mark.usefixtures("compiled_soon")

SPACE = Space(x=Real(-5, 5, shape=(3,)), w=Free((3,)))
FREE = Space(w=Free((6,)))  # as large as that of the contract's check, which has compiled the variants
FAST = {"optimizer": {"rule": "adam", "learning_rate": 0.05}, "std_schedule": 0.2}
VARIANTS = [
    Evosax(),
    Evosax("SNES", 9, sigma=0.5),
    Evosax("Open_ES", 10, options=FAST),
    Evosax("SV_CMA_ES", 18, options={"num_populations": 3}),
    Evosax("DifferentialEvolution", 12, params={"elitism": False, "crossover_rate": 0.5}),
    Evosax("PSO", 16),
]


@pytest.mark.parametrize("evosax", VARIANTS, ids=str)
def test_keeps_the_contract(evosax):
    require(check_optimizer(evosax, generations=60))


# All of evosax


@pytest.mark.parametrize("name", list(algorithms()))
def test_every_algorithm_opens_and_its_state_keeps_its_shapes(name):
    with exactly():
        strategy = constructed(name, 12, 6, {})
        params, key = strategy.default_params, jax.random.key(0)
        algorithm = compile_algorithm(name, 12, 6, "{}")
        y = jax.ShapeDtypeStruct((12, 6), jnp.float64)
        words = jax.ShapeDtypeStruct((2,), jnp.uint32)
        packed = jax.ShapeDtypeStruct((algorithm.size,), jnp.float64)
        cost = jax.ShapeDtypeStruct((12,), jnp.float64)
        means = jax.ShapeDtypeStruct((algorithm.means, 6) if algorithm.means > 1 else (6,), jnp.float64)
        given = (means,) if algorithm.means else (y, cost)
        started = jax.eval_shape(strategy.init, key, *given, params)
        asked = jax.eval_shape(strategy.ask, key, started, params)
        told = jax.eval_shape(strategy.tell, key, y, cost, asked[1], params)[0]
        ours = [
            jax.eval_shape(algorithm.start, words, given, params),
            *jax.eval_shape(algorithm.ask, words, packed, params),
            *jax.eval_shape(algorithm.tell, words, packed, y, cost, params),
        ]
    shapes = [
        [(leaf.shape, jnp.dtype(leaf.dtype).kind) for leaf in jax.tree.leaves(tree)]
        for tree in (started, asked[1], told)
    ]
    assert shapes[0] == shapes[1] == shapes[2]  # else packing would cut a number to an integer
    assert [entry.shape for entry in ours] == [packed.shape, y.shape, packed.shape, packed.shape, (6,)]
    assert {entry.dtype for entry in ours} == {jnp.dtype("float64")}
    assert set(known_params(name)) == {entry.name for entry in fields(params)} - {"params"}


# What comes out is evosax's


def rosenbrock(z):
    return -(100 * (z[:, 1:] - z[:, :-1] ** 2) ** 2 + (1 - z[:, :-1]) ** 2).sum(axis=1)


def keys(seed, generations):
    """Return the jax keys of a run's calls: those of init, and the pairs of ask and tell."""
    generator, words = generator_of(np.array([seed, 0], np.uint64))
    all_keys = [random_key(generator)]
    for _ in range(2 * generations):
        generator, words = generator_of(words)
        all_keys.append(random_key(generator))
    return [jax.random.wrap_key_data(key) for key in all_keys]


def test_distributions_are_evosaxs_with_the_same_keys():
    ours = Evosax("CMA_ES", 32, sigma=0.5, params={"std_init": 0.7})
    with exactly():
        theirs = algorithms()["CMA_ES"](population_size=32, solution=jnp.zeros(6))
        params = theirs.default_params.replace(std_init=0.7)
        first, *rest = keys(5, 4)
        state = ours.init(FREE, 5)
        other = theirs.init(first, jnp.zeros(6), params)
        for ask_key, tell_key in zip(rest[::2], rest[1::2], strict=True):
            z, state = ours.ask(FREE, state)
            y, other = theirs.ask(ask_key, other, params)
            np.testing.assert_allclose(z, 0.5 * np.asarray(y), rtol=1e-9)
            state = ours.tell(FREE, state, z, Evaluation(rosenbrock(z)))
            other, _ = theirs.tell(tell_key, y, -rosenbrock(z), other, params)  # it minimises
            np.testing.assert_allclose(ours.recommend(FREE, state), 0.5 * np.asarray(other.mean), rtol=1e-9)


def test_populations_are_evosaxs_with_the_same_keys():
    ours = Evosax("DifferentialEvolution", 12)
    with exactly():
        theirs = algorithms()["DifferentialEvolution"](population_size=12, solution=jnp.zeros(6))
        params = theirs.default_params
        _, _, start_key, *rest = keys(5, 4)
        z, state = ours.ask(FREE, ours.init(FREE, 5))
        state = ours.tell(FREE, state, z, Evaluation(rosenbrock(z)))
        other = theirs.init(start_key, z, -rosenbrock(z), params)
        for ask_key, tell_key in zip(rest[::2], rest[1::2], strict=True):
            z, state = ours.ask(FREE, state)
            y, other = theirs.ask(ask_key, other, params)
            np.testing.assert_allclose(z, np.asarray(y), rtol=1e-9)
            state = ours.tell(FREE, state, z, Evaluation(rosenbrock(z)))
            other, _ = theirs.tell(tell_key, y, -rosenbrock(z), other, params)
            assert state.best_fitness == pytest.approx(-float(other.best_fitness), rel=1e-9)
    np.testing.assert_allclose(ours.recommend(FREE, state), np.asarray(other.best_solution), rtol=1e-9)


def test_distributions_start_at_the_space_s_middle_and_scale():
    evosax = Evosax("SNES", 2000, sigma=0.5)
    state = evosax.init(SPACE, 1)
    np.testing.assert_array_equal(evosax.recommend(SPACE, state), SPACE.center)
    z, _ = evosax.ask(SPACE, state)
    np.testing.assert_allclose(z.mean(axis=0), SPACE.center, atol=0.05)
    np.testing.assert_allclose(z.std(axis=0), 0.5 * SPACE.scale, rtol=0.05)


def test_populations_start_from_a_sample_of_the_space():
    evosax = Evosax("PSO", 16)
    z = np.concatenate([evosax.ask(SPACE, evosax.init(SPACE, seed))[0] for seed in range(60)])
    np.testing.assert_allclose(z.mean(axis=0), SPACE.center, atol=0.1)
    np.testing.assert_allclose(z.std(axis=0), SPACE.scale, rtol=0.1)
    assert z[:, :3].min() >= 0
    assert z[:, :3].max() <= 1


def test_several_means_start_apart():
    evosax = Evosax("SV_CMA_ES", 18, options={"num_populations": 3}, sigma=0.1)
    means = evosax.ask(FREE, evosax.init(FREE, 1))[0].reshape(3, 6, 6).mean(axis=1)
    assert np.linalg.norm(means - np.roll(means, 1, axis=0), axis=1).min() > 1


def test_z_stays_within_the_bounds():
    evosax = Evosax("SNES", 9, sigma=3.0)
    z, _ = evosax.ask(SPACE, evosax.init(SPACE, 1))
    assert set(np.unique(z[:, :3][(z[:, :3] <= 0) | (z[:, :3] >= 1)])) == {0.0, 1.0}
    assert np.abs(z[:, 3:]).max() > 3


def test_float64_is_kept_and_jax_left_as_it_was():
    evosax = Evosax("CMA_ES", 32)
    z, state = evosax.ask(FREE, evosax.init(FREE, 1))
    assert np.any(z != z.astype(np.float32))
    assert state.packed.dtype == np.float64
    assert jnp.zeros(1).dtype == np.float32
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.zeros((2, 3)) + jnp.zeros(3)


def test_is_compiled_once_for_an_algorithm_a_population_and_a_size():
    evosax = Evosax("SNES", 9)
    z, _ = evosax.ask(FREE, evosax.init(FREE, 1))
    before = compile_algorithm.cache_info().misses
    with exactly():
        algorithm = compile_algorithm("SNES", 9, 6, "{}")
    for other in (evosax, Evosax("SNES", 9, sigma=0.1), Evosax("SNES", 9, params={"std_init": 0.3})):
        other.tell(FREE, other.ask(FREE, other.init(FREE, 2))[1], z, Evaluation(np.arange(9.0)))
    assert compile_algorithm.cache_info().misses == before
    assert algorithm.ask._cache_size() <= 2  # params that are jax arrays, and ours


def test_solves_a_rotated_valley():
    evosax = Evosax("CMA_ES", 32, sigma=0.3)
    state = evosax.init(FREE, 1)
    for _ in range(400):  # 12,800 evaluations
        z, state = evosax.ask(FREE, state)
        state = evosax.tell(FREE, state, z, Evaluation(rosenbrock(z)))
    assert rosenbrock(evosax.recommend(FREE, state)[None])[0] > -1e-8


def test_a_run_goes_on_after_convergence_to_the_last_bit():
    evosax = Evosax("SNES", 9)  # evosax's own state is nan after some 500 generations, its bounded sigmas 0
    state = evosax.init(SPACE, 1)
    for _ in range(800):
        z, state = evosax.ask(SPACE, state)
        state = evosax.tell(SPACE, state, z, Evaluation(-((z - 0.6) ** 2).sum(axis=1)))
    np.testing.assert_allclose(evosax.recommend(SPACE, state), 0.6, rtol=1e-7)
    assert state.told == 800


# Refusals


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"algorithm": "CMAES"}, ValueError, "Evosax.algorithm: .* did you mean 'CMA_ES'"),
        ({"population": 0}, ValueError, "Evosax.population: expected an integer >= 1, got 0"),
        ({"sigma": 0.0}, ValueError, "Evosax.sigma: expected a number > 0"),
        (
            {"params": {"std_int": 1.0}},
            ValueError,
            "Evosax.params: expected names that CMA_ES has, got 'std_int'; did you mean 'std_init'",
        ),
        ({"params": {"std_init": float("nan")}}, ValueError, r"Evosax.params\['std_init'\]: expected finite"),
        ({"algorithm": "LES", "params": {"params": 1}}, ValueError, "got 'params'"),
        ({"algorithm": "Open_ES", "options": {"optimiser": {}}}, ValueError, "did you mean 'optimizer'"),
        ({"algorithm": "Open_ES", "options": {"optimizer": 0.1}}, ValueError, "expected a rule and a learning_rate"),
        (
            {"algorithm": "Open_ES", "options": {"optimizer": {"rule": "adm", "learning_rate": 1}}},
            ValueError,
            "did you mean 'adam'",
        ),
        (
            {"algorithm": "Open_ES", "options": {"optimizer": {"rule": "sgd", "learning_rate": 1, "momentm": 0}}},
            ValueError,
            "did you mean 'momentum'",
        ),
        (
            {"algorithm": "Open_ES", "options": {"optimizer": {"rule": "sgd", "learning_rate": 0}}},
            ValueError,
            "learning_rate'.: expected a number > 0, got 0",
        ),
        ({"algorithm": "Open_ES", "options": {"std_schedule": 0}}, ValueError, "std_schedule'.: expected a number > 0"),
        (
            {"algorithm": "SV_CMA_ES", "options": {"num_populations": 1}},
            ValueError,
            "num_populations'.: expected an int",
        ),
    ],
)
def test_wrong_fields_are_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        Evosax(**arguments)


@pytest.mark.parametrize(
    ("evosax", "text"),
    [
        (
            Evosax("PGPE", 7),
            "Evosax: PGPE: expected a population, .*, got population 7, D 6.*; Population size must be even",
        ),
        (Evosax("LM_MA_ES", 13), r"Evosax.population: expected at most 2 D \(12\) for LM_MA_ES, got 13"),
        (Evosax("SV_CMA_ES", 7), r"Evosax.population: expected a multiple of num_populations \(2\), got 7"),
        (Evosax("GuidedES", 8, options={"subspace_dims": 7}), "Evosax: GuidedES: expected .*, got .*subspace_dims"),
        (Evosax("CMA_ES", 32, params={"weights": [1, 2]}), r"params\['weights'\]: expected an array of shape \(32\)"),
    ],
    ids=str,
)
def test_what_the_algorithm_does_not_take_is_refused_by_init(evosax, text):
    with pytest.raises(ValueError, match=text):
        evosax.init(FREE, 1)


def test_an_algorithm_that_broke_down_says_so():
    evosax = Evosax("SNES", 9)
    state = evosax.init(FREE, 1)
    with pytest.raises(ValueError, match="Evosax: SNES: expected finite z, got nan or infinity; try"):
        evosax.ask(FREE, state._replace(packed=np.full_like(state.packed, np.nan)))


def test_another_shape_is_refused():
    evosax = Evosax("SNES", 9)
    z, state = evosax.ask(FREE, evosax.init(FREE, 1))
    with pytest.raises(ValueError, match=r"expected one objective, got \(9, 2\)"):
        evosax.tell(FREE, state, z, Evaluation(np.zeros((9, 2))))
    with pytest.raises(ValueError, match=r"Evosax: z: expected an array of shape \(9, 6\)"):
        evosax.tell(FREE, state, z[:8], Evaluation(np.zeros(8)))


# Another population


def unpacked(evosax, state):
    with exactly():
        return evosax.compiled(FREE.size)[0].unpack(state.packed)


def test_a_distribution_goes_on_under_another_population():
    small = Evosax("CMA_ES", 8)
    large = small.sized(16, FREE.size)
    state = small.init(FREE, 1)
    for _ in range(5):
        z, state = small.ask(FREE, state)
        state = small.tell(FREE, state, z, Evaluation(rosenbrock(z)))
    grown = large.resized(FREE, state)
    for name in ("mean", "std", "p_std", "p_c", "C", "B", "D", "best_fitness", "generation_counter"):
        ours, theirs = getattr(unpacked(large, grown), name), getattr(unpacked(small, state), name)
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    z, grown = large.ask(FREE, grown)
    assert z.shape == (16, 6)
    large.tell(FREE, grown, z, Evaluation(rosenbrock(z)))
    assert large.resized(FREE, grown) is grown


def test_of_a_population_the_best_stay_and_new_ones_are_copies():
    even = Evosax("DifferentialEvolution", 12)
    z, state = even.ask(FREE, even.init(FREE, 1))
    state = even.tell(FREE, state, z, Evaluation(np.arange(12.0)))
    fewer = unpacked(even.sized(8, FREE.size), even.sized(8, FREE.size).resized(FREE, state))
    np.testing.assert_array_equal(fewer.fitness, -np.arange(4.0, 12.0))
    np.testing.assert_allclose(fewer.population, z[4:], rtol=1e-12)
    more = unpacked(even.sized(24, FREE.size), even.sized(24, FREE.size).resized(FREE, state))
    np.testing.assert_allclose(more.population, z[(-np.asarray(more.fitness)).astype(int)], rtol=1e-12)
    assert set(np.asarray(more.fitness).tolist()) == set((-np.arange(12.0)).tolist())


def test_a_population_that_evosax_cuts_is_refused():
    with pytest.raises(
        ValueError, match="ESMC: expected a population that it takes whole, got 9, of which it asks for 8"
    ):
        Evosax("ESMC", 9).init(FREE, 1)
    with pytest.raises(ValueError, match="expected a multiple of num_populations"):
        Evosax("SV_CMA_ES", 18, options={"num_populations": 3}).sized(10, FREE.size)
