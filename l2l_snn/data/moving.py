"""A digit that moves over a texture, seen by two cameras: frames at 10 Hz, and events of the same at 1 kHz.

A frame shows what is there, with noise; an event camera tells which pixels changed, by the same logarithmic threshold
as in `saccades.py`, with events at random in between. The digit goes straight on, turns, stops for a while, and turns
at the border.

Legend: S samples, F frames, T steps of 5 ms, H = W = SIDE pixels.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l2l_snn.data import sets
from l2l_snn.data.images import Part, read_pictures
from l2l_snn.data.saccades import DARK, count_changes
from l2l_snn.validate import check_count, check_range

SIDE = 24  # H = W
DIGIT = 14  # pixels of a digit's sides, MNIST's 28 pooled
FRAME_STEPS = 20  # steps of 5 ms from one frame to the next
LOOKS = 5  # of the event camera in a step, one a ms
SPEED = 60.0  # pixels / s, the fastest
STOPS = 0.3  # share of the stretches between turns in which the digit stands
STRETCH = 80  # ms between turns, on average
GREY_NOISE = 0.1  # standard deviation, of a frame's grey values in [0, 1]
EVENT_NOISE = 0.005  # chance of an event of a pixel and polarity in a step that nothing has caused
CHUNK = 100  # samples made at once


class Tracks(NamedTuple):
    """Samples of a moving digit."""

    frames: np.ndarray  # (S, F, H, W) uint8
    events: np.ndarray  # (S, T, 2 H W / 8) uint8, packed as by numpy.packbits; darker first; T = F FRAME_STEPS
    position: np.ndarray  # (S, T, 2) float32, px right and down of the middle, of the digit's centre at a step's end


def make_tracks(pictures: np.ndarray, frames: int, seed: int, noise: float = EVENT_NOISE) -> Tracks:
    """Return one sample for each picture; frame i is taken at the beginning of step i FRAME_STEPS.

    Args:
        pictures: (S, DIGIT, DIGIT) uint8.
        frames: F.
        seed: of paths, textures and noise.
        noise: chance of an event that nothing has caused, for a pixel, polarity and step.
    """
    check_count("make_tracks.frames", frames)
    check_range("make_tracks.noise", noise, 0.0, 1.0)
    parts = [
        _make_chunk(pictures[i : i + CHUNK], frames, np.random.default_rng([seed, i]), noise)
        for i in range(0, len(pictures), CHUNK)
    ]
    return Tracks(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def read_tracks(part: Part, count: int, frames: int, start: int = 0) -> Tracks:
    """Return samples of MNIST's digits, always the same; kept in memory.

    Args:
        part: of MNIST.
        count: S.
        frames: F.
        start: number of the first digit.
    """
    return _make_part(sets.require("mnist")[f"{part}-images-idx3-ubyte"], part, count, frames, start)


@lru_cache(maxsize=4)
def _make_part(pictures: Path, part: Part, count: int, frames: int, start: int) -> Tracks:
    """Return the tracks of `read_tracks`; `pictures`, their file, tells one folder's from another's."""
    return make_tracks(read_pictures("mnist", part, 2).x[start : start + count], frames, 1 if part == "train" else 2)


def make_paths(samples: int, ms: int, generator: np.random.Generator) -> np.ndarray:
    """Return (samples, ms, 2) positions, px from the middle, within the border."""
    limit = (SIDE - DIGIT) / 2
    place, velocity = generator.uniform(-limit, limit, (samples, 2)), np.zeros((samples, 2))
    path = np.empty((samples, ms, 2))
    for t in range(ms):
        turns = generator.uniform(size=samples) < (1.0 if t == 0 else 1.0 / STRETCH)
        angle = generator.uniform(0, 2 * np.pi, samples)
        speed = generator.uniform(0.3, 1.0, samples) * (generator.uniform(size=samples) >= STOPS) * SPEED / 1000
        fresh = speed[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        velocity = np.where(turns[:, None], fresh, velocity)
        beyond = np.abs(place + velocity) > limit
        velocity = np.where(beyond, -velocity, velocity)
        place = np.clip(place + velocity, -limit, limit)
        path[:, t] = place
    return path


def _make_chunk(pictures: np.ndarray, frames: int, generator: np.random.Generator, noise: float) -> Tracks:
    S, steps = len(pictures), frames * FRAME_STEPS
    path = make_paths(S, steps * LOOKS + 1, generator)
    digits = pictures / np.float32(255)
    texture = _make_texture(S, generator)
    reference = np.log(DARK + _place_digits(digits, texture, path[:, 0]))
    shots, spikes = [], np.zeros((S, steps, 2, SIDE, SIDE), bool)
    for step in range(steps):
        if step % FRAME_STEPS == 0:
            view = _place_digits(digits, texture, path[:, step * LOOKS])
            view = view + GREY_NOISE * generator.standard_normal(view.shape, np.float32)
            shots.append(np.rint(255 * np.clip(view, 0, 1)).astype(np.uint8))
        for look in range(1, LOOKS + 1):
            view = np.log(DARK + _place_digits(digits, texture, path[:, step * LOOKS + look]))
            reference, count = count_changes(reference, view)
            spikes[:, step, 0] |= count < 0
            spikes[:, step, 1] |= count > 0
    spikes |= generator.random(spikes.shape, np.float32) < noise
    packed = np.packbits(spikes.reshape(S, steps, -1), axis=-1)
    return Tracks(np.stack(shots, axis=1), packed, path[:, LOOKS::LOOKS].astype(np.float32))


def _make_texture(samples: int, generator: np.random.Generator) -> np.ndarray:
    """Return smooth random grey values (samples, H, W) in [0, 0.5]."""
    coarse = 0.5 * generator.random((samples, SIDE // 4 + 1, SIDE // 4 + 1), np.float32)
    return _interpolate(np.arange(SIDE) / 4, coarse, np.arange(SIDE) / 4)


def _place_digits(digits: np.ndarray, texture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Return brightness (S, H, W) in [0, 1] with digits over the texture, `place` (S, 2) px right and down."""
    corner = (SIDE - DIGIT) / 2 + place
    right, down = (np.arange(SIDE) - corner[:, i, None] for i in range(2))
    ink = _interpolate(down, digits, right)
    return texture * (1 - ink) + ink


def _interpolate(rows: np.ndarray, values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return values (S, h, w) at places (..., H) and (..., W), bilinearly; 0 beyond."""
    weights = [
        np.maximum(0, 1 - np.abs(at[..., None].astype(np.float32) - np.arange(size, dtype=np.float32)))
        for at, size in zip((rows, columns), values.shape[1:], strict=True)
    ]
    return weights[0] @ values @ np.swapaxes(weights[1], -1, -2)
