"""Pictures with labels. Legend: S samples, H rows and W columns of pixels."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from l2l_snn.data import sets
from l2l_snn.data.idx import read_idx
from l2l_snn.validate import check_shape, message

Part: TypeAlias = Literal["train", "t10k"]
SIDE = 28  # H = W of MNIST and Fashion-MNIST
CLASSES = 10


class Pictures(NamedTuple):
    """Pictures with labels."""

    x: np.ndarray  # (S, H, W) uint8
    y: np.ndarray  # (S,) uint8 class


def read_pictures(name: str, part: Part, pool: int = 1) -> Pictures:
    """Return a part of MNIST or Fashion-MNIST, in the order of its files; kept in memory, read only.

    Args:
        name: of the set.
        part: "train", 60,000 pictures, or "t10k", 10,000 for testing.
        pool: squares of pool x pool pixels become their mean.

    Raises:
        FileNotFoundError: it isn't on this machine; the text says how to get it.
        ValueError: files that don't belong together.
    """
    if SIDE % pool:
        raise ValueError(message("pool", f"a divisor of {SIDE}", pool))
    files = sets.require(name)
    return _read_part(*(files[f"{part}-{kind}-ubyte"] for kind in ("images-idx3", "labels-idx1")), pool)


@lru_cache(maxsize=8)
def _read_part(images: Path, labels: Path, pool: int) -> Pictures:
    x, y = read_idx(images), read_idx(labels)
    check_shape(str(images), x, (None, SIDE, SIDE))
    if len(y) != len(x):
        raise ValueError(message(str(labels), f"{len(x)} labels, as many as pictures", len(y)))
    side = SIDE // pool
    x = np.rint(x.reshape(-1, side, pool, side, pool).mean(axis=(2, 4))).astype(np.uint8) if pool > 1 else x
    x.flags.writeable = y.flags.writeable = False
    return Pictures(x, y)
