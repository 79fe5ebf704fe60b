"""A tiny stand-in for MNIST: each class lights its own rows; written as the IDX files of a set."""

from pathlib import Path

import numpy as np

from l2l_snn.data.idx import write_idx


def write_pictures(folder: Path, train: int = 60, test: int = 20, seed: int = 0) -> None:
    """Write the four files of a set of noisy bars, 28 x 28, ten classes."""
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for part, count in (("train", train), ("t10k", test)):
        y = generator.integers(0, 10, count).astype(np.uint8)
        x = generator.integers(0, 60, (count, 28, 28))
        x[np.arange(count), 2 * y + 3] = 255
        x[np.arange(count), 2 * y + 4] = 255
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", x.astype(np.uint8))
        write_idx(folder / f"{part}-labels-idx1-ubyte", y)
