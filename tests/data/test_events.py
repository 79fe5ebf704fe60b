"""Events: the bytes of N-MNIST's files, spikes in steps, and a picture looked at in three saccades."""

import numpy as np
import pytest
from pictures import write_pictures
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.data.events import Events, in_steps, read_events, read_spikes, write_events
from l2l_snn.data.saccades import DARK, THRESHOLD, look


def random_events(count: int = 200) -> Events:
    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 34, (2, count)).astype(np.uint8)
    p = generator.integers(0, 2, count).astype(np.uint8)
    return Events(x, y, p, np.sort(generator.integers(0, 1 << 23, count)))


def test_an_event_has_the_bytes_of_the_format(tmp_path):
    # column 3, row 33, brighter, 0x012345 us; then column 0, row 1, darker, the last time that there is
    (tmp_path / "one.bin").write_bytes(bytes([3, 33, 0x81, 0x23, 0x45, 0, 1, 0x7F, 0xFF, 0xFF]))
    events = read_events(tmp_path / "one.bin")
    assert [value.tolist() for value in events] == [[3, 0], [33, 1], [1, 0], [0x12345, (1 << 23) - 1]]
    write_events(tmp_path / "again.bin", events)
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "one.bin").read_bytes()


def test_what_is_written_is_read(tmp_path):
    write_events(tmp_path / "file.bin", random_events())
    for found, expected in zip(read_events(tmp_path / "file.bin"), random_events(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_files_and_times_that_do_not_fit_are_refused(tmp_path):
    (tmp_path / "cut.bin").write_bytes(b"abcdefg")
    with pytest.raises(ValueError, match="a multiple of 5 bytes"):
        read_events(tmp_path / "cut.bin")
    late = random_events()._replace(t=np.full(200, 1 << 23))
    with pytest.raises(ValueError, match="times from 0 to 8388607 us, got 8388608"):
        write_events(tmp_path / "late.bin", late)


def test_a_step_has_a_spike_where_there_was_an_event():
    events = Events(*(np.array(value) for value in ([1, 1, 2, 33, 40], [5, 5, 6, 0, 0], [0, 0, 1, 1, 1])), np.zeros(5))
    events = events._replace(t=np.array([0, 9_000, 10_000, 299_999, 5_000]))
    spikes = in_steps(events, 30)
    assert spikes.shape == (30, 2, 34, 34)
    assert np.argwhere(spikes).tolist() == [[0, 0, 5, 1], [1, 1, 6, 2], [29, 1, 0, 33]]  # one is off the camera
    assert in_steps(events._replace(t=np.full(5, 300_000)), 30).sum() == 0


def test_a_saccade_gives_each_pixel_as_many_events_as_its_brightness_changes_by_thresholds():
    """A picture that is there again at the end: brighter and darker are as many, within one a pixel."""
    picture = np.zeros((28, 28), np.uint8)
    picture[10:18, 12:16] = 255
    events = look(picture)
    balance = np.zeros((34, 34))
    np.add.at(balance, (events.y, events.x), 2.0 * events.p - 1)
    assert np.abs(balance).max() <= 1
    most = np.bincount(events.x + 34 * events.y.astype(int)).max()
    assert most > np.log((1 + DARK) / DARK) / THRESHOLD  # there and back
    assert (np.diff(events.t) >= 0).all()
    assert 300_000 > events.t.max() > 250_000
    seen = in_steps(events, 1)[0].any(axis=0)
    assert seen[13:21, 15:19].any(axis=0).all()  # at its place, in the middle
    assert not seen[:9].any()
    assert look(np.zeros((28, 28), np.uint8)).t.size == 0


def test_the_command_makes_a_set_that_is_read_as_spikes(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    write_pictures(tmp_path / "mnist", train=8, test=3)
    done = CliRunner().invoke(app, ["data", "digit_events", "--train", "6", "--test", "9"])
    assert done.exit_code == 0, done.output
    spikes = read_spikes("digit_events", "train", 10)
    assert spikes.x.shape == (6, 10, 289)
    paths = sorted((tmp_path / "digit_events/Train").glob("*/*.bin"))
    assert sorted(int(path.parent.name) for path in paths) == sorted(spikes.y)
    assert len(list((tmp_path / "digit_events/Test").glob("*/*.bin"))) == 3
    packed = {np.packbits(in_steps(read_events(path), 10).reshape(10, -1), axis=-1).tobytes() for path in paths}
    assert {one.tobytes() for one in spikes.x} == packed
    before = [path.stat().st_mtime_ns for path in paths]
    CliRunner().invoke(app, ["data", "digit_events", "--train", "6", "--test", "3"])
    assert [path.stat().st_mtime_ns for path in paths] == before  # those that were there
    with pytest.raises(FileNotFoundError, match="name its folder: l2l data n_mnist --take"):
        read_spikes("n_mnist", "train", 10)
    own = CliRunner().invoke(app, ["data", "n_mnist", "--take", str(tmp_path / "digit_events")])
    assert own.exit_code == 0, own.output
    np.testing.assert_array_equal(read_spikes("n_mnist", "train", 10).x, spikes.x)
    fetched = CliRunner().invoke(app, ["data", "n_mnist"])
    assert "complete" in fetched.output
