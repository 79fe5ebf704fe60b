"""A tiny stand-in for speech: tones, one pitch a phone, written as the files of TIMIT."""

from pathlib import Path

import numpy as np

from l2l_snn.data.speech import Sound, write_utterance

TONES = {"h#": 0.0, "aa": 300.0, "iy": 1200.0, "s": 4000.0}  # Hz
RATE = 16_000


def tones(names: list[str], seconds: float = 0.08) -> tuple[Sound, list[tuple[int, int, str]]]:
    """Return a recording of phones one after the other, and its lines."""
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    samples = np.concatenate([0.5 * np.sin(2 * np.pi * TONES[name] * t) for name in names])
    return Sound(samples, RATE), [(i * n, (i + 1) * n, name) for i, name in enumerate(names)]


def write_speech(folder: Path, train: int = 6, test: int = 3) -> None:
    """Write utterances of ten tones, in an order that is the same each time."""
    generator = np.random.default_rng(0)
    for part, count in (("TRAIN", train), ("TEST", test)):
        for i in range(count):
            names = [str(name) for name in generator.choice(list(TONES), 10)]
            write_utterance(folder / part / "DR1" / "MABC0" / f"SX{i}", *tones(names))
