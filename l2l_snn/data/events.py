"""Events of a camera that sees changes: the files of N-MNIST (Orchard et al. 2015), and events as spikes in steps.

An event takes 5 bytes: column, row, and 24 bits of which the highest is the polarity (1: brighter) and the others the
time in microseconds, most significant first. A set has folders Train and Test, in them one for each class, 0 to 9.

Legend: E events, S samples, T steps, H rows and W columns of pixels.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2l_snn.data import sets
from l2l_snn.validate import message

SIDE = 34  # H = W of N-MNIST
DURATION = 300.0  # ms, three saccades
FOLDERS = {"train": "Train", "t10k": "Test"}
LONGEST = 1 << 23  # us, the first time that doesn't fit


class Events(NamedTuple):
    """Events in the order of time."""

    x: np.ndarray  # (E,) uint8 column
    y: np.ndarray  # (E,) uint8 row
    p: np.ndarray  # (E,) uint8, 1: brighter, 0: darker
    t: np.ndarray  # (E,) int64 us


class Spikes(NamedTuple):
    """Samples as spikes in steps, with labels."""

    x: np.ndarray  # (S, T, ceil(2 H W / 8)) uint8, packed as by numpy.packbits; darker pixels first
    y: np.ndarray  # (S,) uint8 class


def read_events(path: Path) -> Events:
    """Return the events of one file.

    Raises:
        ValueError: its length isn't a multiple of 5 bytes.
    """
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if len(content) % 5:
        raise ValueError(message(str(path), "a multiple of 5 bytes, as of N-MNIST's events", len(content)))
    x, y, high, middle, low = content.reshape(-1, 5).T
    t = (high & 0x7F).astype(np.int64) << 16 | middle.astype(np.int64) << 8 | low
    return Events(x, y, high >> 7, t)


def write_events(path: Path, events: Events) -> None:
    """Write events as a file of N-MNIST.

    Raises:
        ValueError: a time that doesn't fit into 23 bits of microseconds, 8.39 s.
    """
    t = np.asarray(events.t, np.int64)
    if len(t) and (t.min() < 0 or t.max() >= LONGEST):
        raise ValueError(message("events.t", f"times from 0 to {LONGEST - 1} us", int(t[np.argmax(np.abs(t))])))
    high = np.asarray(events.p, np.int64) << 7 | t >> 16
    rows = [events.x, events.y, high, t >> 8 & 0xFF, t & 0xFF]
    path.write_bytes(np.stack([np.asarray(row, np.uint8) for row in rows], axis=1).tobytes())


def in_steps(events: Events, steps: int, duration: float = DURATION, side: int = SIDE) -> np.ndarray:
    """Return (T, 2, H, W) uint8: 1 where there was an event of a polarity in a step, those after the end left out.

    Args:
        events: of one sample.
        steps: T.
        duration: ms, of all steps together.
        side: H = W; events beyond are left out, as the camera's few stray ones.
    """
    found = np.zeros((steps, 2, side, side), np.uint8)
    step = (events.t * (steps / (1000.0 * duration))).astype(np.int64)
    inside = (step < steps) & (events.x < side) & (events.y < side)
    found[step[inside], events.p[inside], events.y[inside], events.x[inside]] = 1
    return found


@lru_cache(maxsize=4)
def read_spikes(name: str, part: str, steps: int) -> Spikes:
    """Return a part of a set of events as spikes, classes mixed in an order that is always the same; kept in memory.

    Args:
        name: of the set, "n_mnist" or "digit_events".
        part: "train" or "t10k".
        steps: T, into which the 300 ms of a sample are cut.
    """
    folder = sets.require_folder(name) / FOLDERS[part]
    files = [(path, int(path.parent.name)) for path in sorted(folder.glob("[0-9]/*.bin"))]
    order = np.random.default_rng(0).permutation(len(files))
    x = [np.packbits(in_steps(read_events(files[i][0]), steps).reshape(steps, -1), axis=-1) for i in order]
    return Spikes(np.stack(x), np.array([files[i][1] for i in order], np.uint8))
