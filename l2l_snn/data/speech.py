"""Recordings with the phone of every moment: the files of TIMIT (Garofolo et al. 1993), and frames of them.

A set has folders TRAIN and TEST, in them dialects, speakers and utterances, each a WAV file (16 bits, one channel, as
NIST SPHERE or RIFF) and a PHN file of the same name, whose lines are first sample, last sample and phone. TIMIT's
sentences SA1 and SA2, which every speaker reads, are left out, as usual.

Legend: n samples; F frames of 10 ms; S pieces of utterances of F frames each; K = 61 phones.
"""

import wave
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from l2l_snn.data import sets
from l2l_snn.data.mel import FEATURES, SHIFT, WINDOW, mel_features
from l2l_snn.validate import message

Over: TypeAlias = Literal["set", "utterance"]
FOLDERS = {"train": "TRAIN", "t10k": "TEST"}
PHONES = (
    *("b", "d", "g", "p", "t", "k", "dx", "q", "jh", "ch", "s", "sh", "z", "zh", "f", "th", "v", "dh", "m", "n", "ng"),
    *("em", "en", "eng", "nx", "l", "r", "w", "y", "hh", "hv", "el", "iy", "ih", "eh", "ey", "ae", "aa", "aw", "ay"),
    *("ah", "ao", "oy", "ow", "uh", "uw", "ux", "er", "ax", "ix", "axr", "ax-h"),
    *("bcl", "dcl", "gcl", "pcl", "tcl", "kcl", "pau", "epi", "h#"),
)
NONE = 255  # the phone of frames that fill up the last piece of an utterance


class Sound(NamedTuple):
    """A recording."""

    samples: np.ndarray  # (n,) in [-1, 1]
    rate: int  # samples a second


class Frames(NamedTuple):
    """Pieces of utterances."""

    x: np.ndarray  # (S, F, 39) float32, features of mean 0 and variance 1 over the training set or each utterance
    y: np.ndarray  # (S, F) uint8 phone, NONE: no frame


def read_sound(path: Path) -> Sound:
    """Return a recording of 16 bits and one channel, as NIST SPHERE or RIFF.

    Raises:
        ValueError: another kind of file.
    """
    content = path.read_bytes()
    if content[:7] == b"NIST_1A":
        return _read_sphere(path, content)
    try:
        with wave.open(str(path)) as file:
            kind = file.getnchannels(), 8 * file.getsampwidth()
            rate, raw = file.getframerate(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise ValueError(message(str(path), "a NIST SPHERE or RIFF file", str(error))) from None
    if kind != (1, 16):
        raise ValueError(message(str(path), "one channel of 16 bits", f"{kind[0]} of {kind[1]}"))
    return Sound(np.frombuffer(raw, "<i2") / 32768.0, rate)


def _read_sphere(path: Path, content: bytes) -> Sound:
    size = int(content[8:16])
    lines = [line.split(maxsplit=2) for line in content[:size].decode("ascii", "replace").splitlines()]
    header = {line[0]: line[2] for line in lines if len(line) == 3}
    kind = header.get("sample_coding", "pcm"), header.get("sample_n_bytes", "2"), header.get("channel_count", "1")
    if kind != ("pcm", "2", "1"):
        todo = "unpack it with NIST's sph2pipe"
        raise ValueError(message(str(path), "one channel of pcm of 2 bytes", " ".join(kind), todo))
    order = "<i2" if header.get("sample_byte_format", "01") == "01" else ">i2"
    return Sound(np.frombuffer(content[size:], order) / 32768.0, int(header["sample_rate"]))


def read_phones(path: Path) -> list[tuple[int, int, str]]:
    """Return first sample, last sample and phone of each line.

    Raises:
        ValueError: a line of another form, or an unknown phone.
    """
    found = []
    for line in path.read_text().splitlines():
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 3 or not (parts[0] + parts[1]).isdigit() or parts[2] not in PHONES:
            raise ValueError(message(str(path), "lines of two sample numbers and a phone of TIMIT's 61", repr(line)))
        found.append((int(parts[0]), int(parts[1]), parts[2]))
    return found


def write_utterance(path: Path, sound: Sound, phones: list[tuple[int, int, str]]) -> None:
    """Write PATH.WAV as RIFF and PATH.PHN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path.with_suffix(".WAV")), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(np.rint(np.clip(sound.samples, -1, 1 - 2**-15) * 32768).astype("<i2").tobytes())
    path.with_suffix(".PHN").write_text("".join(f"{start} {end} {phone}\n" for start, end, phone in phones))


def read_utterance(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return features (F, 39) and phones (F,) uint8 of a WAV file and the PHN file beside it.

    A frame has the phone in its middle; what no line covers has the phone of the line before.
    """
    sound = read_sound(path)
    x = mel_features(sound.samples, sound.rate)
    phones = read_phones(path.with_suffix(".phn" if path.suffix.islower() else ".PHN"))
    if not phones:
        raise ValueError(message(str(path.with_suffix(".PHN")), "at least one phone", "none"))
    middle = (np.arange(len(x)) * SHIFT + WINDOW / 2) * sound.rate
    line = np.searchsorted([start for start, _, _ in phones], middle, side="right") - 1
    return x, np.array([PHONES.index(phones[max(i, 0)][2]) for i in line], np.uint8)


def read_frames(name: str, part: str, frames: int, over: Over = "set") -> Frames:
    """Return a part of a set in pieces of some frames, utterances mixed in an order that is always the same.

    Args:
        name: of the set, "timit" or "flite_speech".
        part: "train" or "t10k", the part for testing.
        frames: F; the last piece of an utterance is filled up with frames of phone NONE and features 0.
        over: what features are brought to mean 0 and variance 1 over: the training set, or each utterance by itself,
            which takes away what distinguishes voices.
    """
    return _make_frames(sets.require_folder(name), part, frames, over)


@lru_cache(maxsize=8)
def _make_frames(folder: Path, part: str, frames: int, over: Over) -> Frames:
    pieces = []
    for x, y in _read_part(folder, part):
        mean, deviation = _measure_features(folder) if over == "set" else _mean_and_deviation(x)
        pieces.append(_cut((x - mean) / deviation, y, frames))
    x, y = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return Frames(x, y)


def _cut(x: np.ndarray, y: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    more = -len(x) % frames
    x, y = np.pad(x, ((0, more), (0, 0))), np.pad(y, (0, more), constant_values=NONE)
    return x.reshape(-1, frames, FEATURES).astype(np.float32), y.reshape(-1, frames)


@lru_cache(maxsize=8)
def _read_part(root: Path, part: str) -> list[tuple[np.ndarray, np.ndarray]]:
    folder = root / FOLDERS[part]
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.upper() == ".WAV" and path.stem.upper() not in ("SA1", "SA2")
    )
    if not files:
        raise ValueError(message(str(folder), "WAV files with PHN files beside them", "none"))
    order = np.random.default_rng(0).permutation(len(files))
    return [read_utterance(files[i]) for i in order]


@lru_cache(maxsize=8)
def _measure_features(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each feature over the training set."""
    return _mean_and_deviation(np.concatenate([x for x, _ in _read_part(folder, "train")]))


def _mean_and_deviation(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
