"""A moving digit: where it is said to be it is, and only what moves is seen by the event camera."""

import numpy as np
import pytest

from l2l_snn.data.moving import DIGIT, FRAME_STEPS, SIDE, make_paths, make_tracks

SQUARE = np.zeros((6, DIGIT, DIGIT), np.uint8)
SQUARE[:, 4:10, 4:10] = 255


@pytest.fixture(scope="module")
def tracks():
    return make_tracks(SQUARE, 2, seed=1, noise=0.0)


def spikes_of(tracks):
    return np.unpackbits(tracks.events, axis=-1).reshape(6, 2 * FRAME_STEPS, 2, SIDE, SIDE)


def test_a_frame_shows_the_digit_where_it_is(tracks):
    assert tracks.frames.shape == (6, 2, SIDE, SIDE)
    grid = np.arange(SIDE) - (SIDE - 1) / 2
    for sample in range(6):
        ink = np.maximum(tracks.frames[sample, 1] / 255.0 - 0.75, 0)  # brighter than any texture
        centre = np.array([(ink.sum(axis=0) * grid).sum(), (ink.sum(axis=1) * grid).sum()]) / ink.sum()
        place = (tracks.position[sample, FRAME_STEPS - 1] + tracks.position[sample, FRAME_STEPS]) / 2
        np.testing.assert_allclose(centre, place, atol=0.75)


def test_events_come_from_what_moves(tracks):
    moved = np.abs(np.diff(tracks.position, axis=1)).sum(axis=2)  # (S, T - 1) px
    counts = spikes_of(tracks).sum(axis=(2, 3, 4))[:, 1:]
    stands = moved == 0
    assert stands.any()
    assert counts[stands & np.roll(stands, 1, axis=1)].sum() == 0
    assert np.corrcoef(moved.ravel(), counts.ravel())[0, 1] > 0.6


def test_paths_stay_within_the_border_and_turn():
    path = make_paths(50, 400, np.random.default_rng(1))
    assert np.abs(path).max() <= (SIDE - DIGIT) / 2
    assert np.abs(np.diff(path, axis=1)).max() <= 0.06 + 1e-9
    assert (np.abs(np.diff(path, 2, axis=1)).sum(axis=2) > 1e-6).any(axis=1).mean() > 0.8


def test_the_same_seed_gives_the_same_samples_and_another_others(tracks):
    again, other = (make_tracks(SQUARE, 2, seed=seed, noise=0.0) for seed in (1, 2))
    for found, expected in zip(again, tracks, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(other.position, tracks.position)


def test_noise_is_as_frequent_as_said():
    still = make_tracks(SQUARE[:2], 1, seed=1, noise=0.1)
    plain = make_tracks(SQUARE[:2], 1, seed=1, noise=0.0)
    extra = np.unpackbits(still.events, axis=-1).mean() - np.unpackbits(plain.events, axis=-1).mean()
    assert 0.09 < extra < 0.11


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="frames: expected an integer >= 1"):
        make_tracks(SQUARE, 0, seed=1)
    with pytest.raises(ValueError, match="noise: expected a number in"):
        make_tracks(SQUARE, 1, seed=1, noise=2.0)
