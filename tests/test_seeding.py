"""Seeds are data: recorded, reproducible, unequal; the global generators stay as they were."""

import random

import numpy as np
import pytest

from l2l_snn.seeding import evaluation_seeds, generator_of, jax_key, python_random, seed_words, stream


def test_recorded_values_never_change():
    """A stored run is replayed from these: another numpy, or another version of us, must give the same."""
    np.testing.assert_array_equal(evaluation_seeds(1, 0, 4), [1163370823, 1955449850, 551034477, 49247531])
    np.testing.assert_array_equal(evaluation_seeds(1, 7, 2, "generation"), [1943681962, 1943681962])
    np.testing.assert_array_equal(evaluation_seeds(1, 7, 2, "run"), [1475911029, 1475911029])
    assert generator_of(stream(1))[0].random() == 0.8815491373372915


def test_a_stream_counts_its_draws():
    words = stream(5)
    for drawn in range(1, 4):
        _, words = generator_of(words)
        np.testing.assert_array_equal(words, [5, drawn])


def test_the_words_of_a_seed_are_its_halves():
    seeds = np.array([0, 7, 2**32 - 1, 2**32, 2**33 + 5, 2**63 - 1])
    np.testing.assert_array_equal(seed_words(seeds), np.stack([seeds % 2**32, seeds // 2**32], axis=1))
    assert seed_words(7).tolist() == [7, 0]


def test_the_key_of_a_seed_is_jaxs_own_and_from_2_to_the_32_on_one_more_word():
    import jax

    own = jax.random.key(7)
    assert jax_key(seed_words(7)) == own
    assert jax_key(seed_words(2**32 + 7)) == jax.random.fold_in(own, 1)
    assert jax_key(seed_words(3 * 2**32 + 7)) == jax.random.fold_in(own, 3)


def test_seeds_are_positive_and_below_2_to_the_31():
    seeds = evaluation_seeds(5, 3, 100_000)
    assert seeds.dtype == np.int64
    assert seeds.min() >= 1
    assert seeds.max() < 2**31


def test_a_larger_population_begins_with_the_seeds_of_a_smaller_one():
    many = evaluation_seeds(3, 4, 1000)
    for individuals in (1, 2, 31, 999):
        np.testing.assert_array_equal(evaluation_seeds(3, 4, individuals), many[:individuals])


def test_individual_seeds_differ_by_individual_generation_and_run():
    seeds = [evaluation_seeds(run, generation, 50) for run in range(10) for generation in range(10)]
    assert len(np.unique(seeds)) == 5000


def test_generation_seeds_are_shared_within_a_generation_only():
    seeds = np.array([evaluation_seeds(1, generation, 5, "generation") for generation in range(20)])
    assert (seeds == seeds[:, :1]).all()
    assert len(np.unique(seeds)) == 20


def test_run_seeds_are_shared_by_all_generations_only():
    seeds = np.array([[evaluation_seeds(run, generation, 5, "run") for generation in range(4)] for run in range(9)])
    assert (seeds == seeds[:, :1, :1]).all()
    assert len(np.unique(seeds)) == 9


def test_no_two_uses_share_their_random_bits():
    """Not even where the numbers that they are made of agree: a run's seed is also its optimizer's."""
    seeds = [evaluation_seeds(2, 0, 8, policy)[0] for policy in ("individual", "generation", "run")]
    seeds += [evaluation_seeds(2 + (3 << 32), 0, 8)[0], evaluation_seeds(2, 3, 8)[0]]
    words = generator_of(stream(2))[0].bit_generator.seed_seq.generate_state(8, np.uint64)
    seeds += (words % np.uint64(2**31 - 1) + np.uint64(1)).tolist()
    assert len(set(map(int, seeds))) == 13


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match=r"seeds: .* did you mean 'generation'"):
        evaluation_seeds(1, 0, 2, "generations")


def test_a_negative_seed_is_refused():
    for make in (lambda: evaluation_seeds(-1, 0, 3), lambda: stream(-1)):
        with pytest.raises(ValueError, match="seed: expected an integer >= 0, got -1"):
            make()


def test_a_stream_gives_the_same_draws_from_the_same_words_and_new_ones_after():
    words = stream(4)
    first, after = generator_of(words)
    again, _ = generator_of(words)
    second, _ = generator_of(after)
    other, _ = generator_of(stream(5))
    values = first.random()
    assert again.random() == values
    assert len({values, second.random(), other.random()}) == 3
    np.testing.assert_array_equal(words, stream(4))  # pure
    assert words.dtype == after.dtype == np.uint64
    assert after.tolist() == [4, 1]


def test_a_stream_takes_the_largest_seed():
    words = stream(2**64 - 1)
    _, after = generator_of(words)
    assert after.tolist() == [2**64 - 1, 1]


def test_python_random_draws_from_the_generator_and_puts_the_global_one_back():
    random.seed(3)
    expected = random.random()
    random.seed(3)
    drawn = []
    for seed in (1, 1, 2):
        with python_random(np.random.default_rng(seed)):
            drawn.append(random.random())
    assert random.random() == expected
    assert drawn[0] == drawn[1] != drawn[2]
    words = np.random.default_rng(1).bytes(16)  # 128 bits, the lowest first
    assert drawn[0] == random.Random(int.from_bytes(words, "little")).random()


def test_python_random_puts_the_global_one_back_after_an_error():
    before = random.getstate()
    with pytest.raises(KeyError), python_random(np.random.default_rng(1)):  # noqa: PT012
        random.random()
        raise KeyError
    assert random.getstate() == before


def test_python_random_takes_from_the_generator():
    generator = np.random.default_rng(1)
    with python_random(generator):
        pass
    assert generator.random() != np.random.default_rng(1).random()
