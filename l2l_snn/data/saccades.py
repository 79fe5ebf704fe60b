"""Events of a picture that is looked at in three saccades: a stand-in for N-MNIST, made of MNIST's digits.

As in the recordings of Orchard et al. 2015, the gaze goes along the three sides of a triangle, 100 ms each; a pixel
tells when its logarithmic brightness has changed by a threshold since it last did (Lichtsteiner et al. 2008). Theirs is
a camera before a screen, with its noise, latency and refraction; here there are none but the threshold.

Legend: H rows and W columns of pixels.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from l2l_snn.data.events import DURATION, FOLDERS, SIDE, Events, write_events
from l2l_snn.data.images import Part, read_pictures
from l2l_snn.validate import check_count

CORNERS = np.array([[0.0, 0.0], [3.0, 1.5], [0.0, 3.0], [0.0, 0.0]])  # pixels (right, down), where saccades begin
STEP = 3.0  # ms between two looks
THRESHOLD = 0.25  # of the logarithm of brightness
DARK = 0.05  # brightness of a black pixel, of 1.05


def look(picture: np.ndarray) -> Events:
    """Return the events of a picture (H, W) uint8, at most 31 x 31, in 300 ms.

    A pixel that changes by several thresholds between two looks has as many events, at equal distances.
    """
    height, width = picture.shape
    canvas = np.full((SIDE + 4, SIDE + 4), DARK)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    canvas[top + 2 : top + 2 + height, left + 2 : left + 2 + width] += picture / 255.0
    looks = round(DURATION / STEP)
    reference, found = np.log(_shift_view(canvas, CORNERS[0])), []
    for i in range(1, looks + 1):
        side, share = divmod(i * (len(CORNERS) - 1) / looks, 1)
        k = min(int(side), len(CORNERS) - 2)
        share = share if int(side) == k else 1.0
        gaze = (1 - share) * CORNERS[k] + share * CORNERS[k + 1]
        reference, change = count_changes(reference, np.log(_shift_view(canvas, gaze)))
        y, x = np.nonzero(change)
        times = np.abs(change[y, x])
        which = np.repeat(np.arange(len(times)), times)
        number = np.arange(len(which)) - np.repeat(np.cumsum(times) - times, times)  # of an event in its pixel's look
        t = 1000 * STEP * (i - 1 + (number + 1) / (times[which] + 1))
        order = np.argsort(t, kind="stable")
        found.append((x[which][order], y[which][order], change[y, x][which][order] > 0, t[order]))
    x, y, p, t = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Events(x.astype(np.uint8), y.astype(np.uint8), p.astype(np.uint8), t.astype(np.int64))


def count_changes(reference: np.ndarray, view: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what pixels compare with from now on, and how many events each has: > 0 brighter, < 0 darker.

    Args:
        reference: (...) logarithm of the brightness of which each pixel last told.
        view: (...) logarithm of the brightness that it sees.
    """
    change = view - reference
    count = np.sign(change) * np.floor(np.abs(change) / THRESHOLD)
    return reference + count * THRESHOLD, count.astype(int)


def _shift_view(canvas: np.ndarray, gaze: np.ndarray) -> np.ndarray:
    """Return what is seen (SIDE, SIDE) with the gaze `gaze` pixels right and down, by bilinear interpolation."""
    column, row = np.floor(gaze).astype(int)
    right, down = gaze - (column, row)
    rows = [
        (1 - right) * canvas[i : i + SIDE, column : column + SIDE]
        + right * canvas[i : i + SIDE, column + 1 : column + 1 + SIDE]
        for i in (row, row + 1)
    ]
    return (1 - down) * rows[0] + down * rows[1]


def make_digit_events(
    folder: Path, train: int, test: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Write the first digits of MNIST's two parts as files of N-MNIST; those that are there stay.

    Args:
        folder: where Train and Test go.
        train, test: how many.
        progress: called after every file.
    """
    check_count("train", train)
    check_count("test", test)
    done, parts = 0, {"train": train, "t10k": test}
    counts = {part: min(count, len(read_pictures("mnist", _part(part)).y)) for part, count in parts.items()}
    for part, count in counts.items():
        pictures = read_pictures("mnist", _part(part))
        for i in range(count):
            path = folder / FOLDERS[part] / str(pictures.y[i]) / f"{i + 1:05d}.bin"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_events(path.with_suffix(".part"), look(pictures.x[i]))
                path.with_suffix(".part").replace(path)
            done += 1
            progress(done, sum(counts.values()))


def _part(name: str) -> Part:
    return "train" if name == "train" else "t10k"
