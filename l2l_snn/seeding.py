"""Every random number of a run comes from here: seeds as data, generators as state.

A run has one seed. An evaluation's seed follows from (run seed, generation, individual) by numpy's
`SeedSequence`, so it can be repeated alone, on any worker, after any crash. An optimizer keeps the two
words of a *stream* in its state and asks `generator_of` for the generator of its next draw.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from l2l_snn.validate import check_choice, check_count

SeedPolicy = Literal["individual", "generation", "run"]


def evaluation_seeds(run_seed: int, generation: int, individuals: int, policy: SeedPolicy = "individual") -> np.ndarray:
    """Return the seeds of one generation's evaluations.

    Args:
        run_seed: the run's seed, >= 0.
        generation: the generation's number, from 0.
        individuals: P, how many there are.
        policy: "individual" gives each its own; "generation" one for all of a generation (common random
            numbers); "run" the same one for the whole run.

    Returns:
        (P,) int64 seeds in [1, 2**31), which NEST, JAX and gymnasium all accept.
    """
    check_count("seed", run_seed, 0)
    keys = {"individual": (1, generation), "generation": (2, generation), "run": (3,)}  # 0 is that of streams
    check_choice("seeds", policy, keys)
    source = np.random.SeedSequence(run_seed, spawn_key=keys[policy])
    if policy == "individual":
        words = source.generate_state(individuals, np.uint64)
    else:
        words = np.repeat(source.generate_state(1, np.uint64), individuals)
    return (words % np.uint64(2**31 - 1)).astype(np.int64) + 1


def seed_words(seeds: ArrayLike) -> np.ndarray:
    """Return the lower and the upper half of int64 seeds (P,) or (): (P, 2) or (2,) uint32, for `jax_key`."""
    words = np.asarray(seeds, np.int64).view(np.uint64)
    return np.stack([words & np.uint64(2**32 - 1), words >> np.uint64(32)], axis=-1).astype(np.uint32)


def jax_key(words: Any) -> Any:
    """Return the `jax.random` key of one seed, given its `seed_words` (2,); they may be traced.

    It is that of `jax.random.key(seed)` below 2^32; from there on, the upper word is folded in.
    """
    import jax

    key = jax.random.key(words[0])
    return jax.numpy.where(words[1] > 0, jax.random.fold_in(key, words[1]), key)


def stream(seed: int) -> np.ndarray:
    """Return a new stream: (2,) uint64 words, the seed and how often it has been drawn from."""
    return np.array([check_count("seed", seed, 0), 0], dtype=np.uint64)


def generator_of(words: np.ndarray) -> tuple[np.random.Generator, np.ndarray]:
    """Return the generator of a stream's next draw, and the stream after it.

    Pure: the same words give the same generator. A generator is used once, in one `ask` or `tell`.
    """
    seed, drawn = (int(word) for word in words)
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(0, drawn))))
    return generator, words + np.array([0, 1], dtype=np.uint64)


@contextmanager
def python_random(generator: np.random.Generator) -> Iterator[None]:
    """Let code that draws from the module `random` (DEAP's operators) draw from `generator`'s bits.

    The global generator is put back as it was.
    """
    before = random.getstate()
    random.seed(int.from_bytes(generator.bytes(16), "little"))
    try:
        yield
    finally:
        random.setstate(before)
