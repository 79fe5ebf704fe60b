"""Speech made by Debian's flite, with the phones that it says: a stand-in for TIMIT.

Three voices, two of men and a woman's, are for training, a third man's for testing: TIMIT's speakers for testing, too,
are of kinds that were trained. As TIMIT has hundreds of speakers for training, each sentence for training has a speaker
of its own: the voice with a vocal tract up to an eighth shorter or longer, which is the same sound played faster or
slower. Sentences are drawn from a few words by their number, the same on every machine; those of the two parts differ.
A synthetic voice says a phone always alike: far easier than TIMIT.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.signal import resample

from l2l_snn.data.speech import FOLDERS, Sound, read_sound, write_utterance
from l2l_snn.validate import check_count, message

VOICES = {"train": ("kal16", "awb", "slt"), "t10k": ("rms",)}
ADJECTIVES, NOUNS, VERBS, PLACES = (
    line.split()
    for line in (
        "small young huge yellow quiet strange careful joyful wooden purple thirsty narrow royal cheap fair vague",
        "dog house teacher judge boy mother garden river engine path treasure camera bird ship voice thief measure "
        "window cloud village shoe music kitchen zebra father tower yacht book church lion",
        "watches follows finds pushes joins enjoys leaves draws catches buys thanks hears cooks measures loves shows",
        "under behind near beyond above without around through",
    )
)


def sentence(number: int) -> str:
    """Return the sentence of a number.

    >>> sentence(0) == sentence(0), sentence(0) == sentence(1)
    (True, False)
    """
    sample = np.random.default_rng(number).choice
    adjectives, nouns = sample(ADJECTIVES, 2, replace=False), sample(NOUNS, 3, replace=False)
    return (
        f"The {adjectives[0]} {nouns[0]} {sample(VERBS)} the {adjectives[1]} {nouns[1]} {sample(PLACES)} a {nouns[2]}."
    )


def make_flite_speech(
    folder: Path, train: int, test: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Write so many sentences a voice as files of TIMIT; those that are there stay.

    Args:
        folder: where TRAIN and TEST go.
        train, test: sentences a voice.
        progress: called after every file.

    Raises:
        FileNotFoundError: flite isn't on this machine.
    """
    check_count("train", train)
    check_count("test", test)
    if shutil.which("flite") is None:
        raise FileNotFoundError(message("flite", "the program, in PATH", "none", "on Debian: apt install flite"))
    counts, first = {"train": train, "t10k": test}, {"train": 0, "t10k": train}
    total, done = sum(counts[part] * len(voices) for part, voices in VOICES.items()), 0
    for part, voices in VOICES.items():
        for voice in voices:
            for i in range(counts[part]):
                path = folder / FOLDERS[part] / "FLITE" / voice.upper() / f"S{i + 1:04d}"
                if not path.with_suffix(".PHN").exists():
                    factor = tract(voice, i) if part == "train" else 1.0
                    _speak(path, voice, sentence(first[part] + i), factor)
                done += 1
                progress(done, total)


def tract(voice: str, number: int) -> float:
    """Return the length of a speaker's vocal tract, in that of the voice: 7/8 to 8/7, the same on every machine."""
    return (8 / 7) ** np.random.default_rng([*voice.encode(), number]).uniform(-1, 1)


def _speak(path: Path, voice: str, text: str, factor: float = 1.0) -> None:
    """Let flite say a text, by a vocal tract that is longer by a factor, and write PATH.WAV and PATH.PHN."""
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = path.with_suffix(".part")
    said = subprocess.run(
        ["flite", "-voice", voice, "-psdur", "-t", text, str(raw)], check=True, capture_output=True, text=True
    )
    samples, rate = read_sound(raw)
    raw.unlink()
    slower = Sound(np.asarray(resample(samples, round(len(samples) * factor))), rate)
    write_utterance(
        path, slower, [(round(a * factor), round(b * factor), p) for a, b, p in phones_of(said.stdout, rate)]
    )


def phones_of(printed: str, rate: int) -> list[tuple[int, int, str]]:
    """Return first sample, last sample and phone of what flite prints: each phone with the time of its end, s.

    >>> phones_of("pau:0.2 dh:0.25 ", 100)
    [(0, 20, 'pau'), (20, 25, 'dh')]
    """
    found, start = [], 0
    for one in printed.split():
        phone, _, time = one.rpartition(":")
        end = round(float(time) * rate)
        found.append((start, end, phone))
        start = end
    return found
