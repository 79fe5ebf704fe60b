"""Speech as frames of mel-frequency cepstral coefficients (Davis & Mermelstein 1980).

A frame every 10 ms looks at 25 ms, as usual for TIMIT (Greff et al. 2017: 12 coefficients, the energy, and first and
second differences of both, 39 features).

Legend: n samples of a recording, F frames.
"""

import numpy as np
from scipy.fft import dct

from l2l_snn.validate import message

SHIFT = 0.010  # s from frame to frame
WINDOW = 0.025  # s that a frame looks at
BANDS = 26  # triangular filters, equally wide in mel
COEFFICIENTS = 12
FEATURES = 3 * (COEFFICIENTS + 1)
EMPHASIS = 0.97  # of high frequencies: each sample less this share of the one before
SPAN = 2  # frames on each side that a difference is fitted to
FLOOR = 1e-8  # of energies, before their logarithm


def mel_features(sound: np.ndarray, rate: int) -> np.ndarray:
    """Return the features (F, 39) float32 of a recording: 12 coefficients and log energy, first, second differences.

    Args:
        sound: (n,) samples in [-1, 1], n at least a window.
        rate: samples a second.
    """
    length, shift = round(WINDOW * rate), round(SHIFT * rate)
    sound = np.asarray(sound, np.float64)
    if sound.ndim != 1 or len(sound) < length:
        raise ValueError(message("sound", f"at least {length} samples in one row", f"shape {sound.shape}"))
    sound = np.append(sound[0], sound[1:] - EMPHASIS * sound[:-1])
    frames = np.lib.stride_tricks.sliding_window_view(sound, length)[::shift] * np.hamming(length)
    size = 1 << (length - 1).bit_length()
    power = np.abs(np.fft.rfft(frames, size)) ** 2 / size
    bands = np.log(np.maximum(power @ mel_filters(size, rate).T, FLOOR))
    energy = np.log(np.maximum(power.sum(axis=1), FLOOR))
    cepstrum = np.asarray(dct(bands, norm="ortho", axis=1))[:, 1 : COEFFICIENTS + 1]
    static = np.concatenate([cepstrum, energy[:, None]], axis=1)
    first = differences(static)
    return np.concatenate([static, first, differences(first)], axis=1).astype(np.float32)


def mel_filters(size: int, rate: int) -> np.ndarray:
    """Return the weights (26, size / 2 + 1) of the frequencies of a spectrum in each band."""

    def mel(f: np.ndarray | float) -> np.ndarray:
        return 2595 * np.log10(1 + np.asarray(f) / 700)

    edges = 700 * (10 ** (np.linspace(0, mel(rate / 2), BANDS + 2) / 2595) - 1)  # Hz
    f = np.arange(size // 2 + 1) * rate / size
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(0.0, np.minimum((f - low) / (middle - low), (high - f) / (high - middle)))


def differences(x: np.ndarray) -> np.ndarray:
    """Return the slope (F, n) of each column over two frames to each side, by least squares; the ends are repeated."""
    padded = np.pad(x, ((SPAN, SPAN), (0, 0)), mode="edge")
    steps = range(1, SPAN + 1)
    found = sum(k * (padded[SPAN + k : len(x) + SPAN + k] - padded[SPAN - k : len(x) + SPAN - k]) for k in steps)
    return np.asarray(found / (2 * sum(k**2 for k in steps)))
