"""Mirrored sampling: every point of a normal sample has its mirror image in it.

Brockhoff, Auger, Hansen, Arnold & Hohm (2010), Mirrored sampling and sequential selection for evolution strategies.

Legend: P individuals, D search coordinates.
"""

import numpy as np

from l2l_snn.space import Space


def mirrored_sample(
    space: Space, mean: np.ndarray, std: np.ndarray, population: int, mirrored: bool, generator: np.random.Generator
) -> np.ndarray:
    """Return (P, D) z of a normal distribution, within the bounds.

    Args:
        space: whose z they are.
        mean: (D,)
        std: (D,) standard deviations.
        population: P.
        mirrored: whether the second half mirrors the first; else all are independent.
        generator: source of the normal numbers.
    """
    z = np.empty((population, len(mean)))
    first, second = np.split(z, [population // 2 if mirrored else population])
    generator.standard_normal(out=first)
    first *= std
    np.subtract(mean, first[: len(second)], out=second)
    first += mean
    return space.clipped(z, out=z)
