"""IDX files, byte by byte, and pictures made of them."""

import numpy as np
import pytest
from pictures import write_pictures

from l2l_snn.data.idx import read_idx, write_idx
from l2l_snn.data.images import read_pictures


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_what_is_written_is_read(tmp_path, dtype, suffix):
    array = np.random.default_rng(1).normal(0, 100, (3, 4, 5)).astype(dtype)
    path = tmp_path / f"array{suffix}"
    write_idx(path, array)
    found = read_idx(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, array)


def test_the_bytes_are_those_of_the_format(tmp_path):
    (tmp_path / "labels").write_bytes(b"\0\0\x08\x01" + b"\0\0\0\x03" + b"\x05\x00\x04")  # how MNIST's labels begin
    assert read_idx(tmp_path / "labels").tolist() == [5, 0, 4]
    write_idx(tmp_path / "again", np.array([5, 0, 4], np.uint8))
    assert (tmp_path / "again").read_bytes() == (tmp_path / "labels").read_bytes()


@pytest.mark.parametrize("content", [b"", b"PK\3\4 a zip", b"\0\0\x08\x01\0\0\0\x03\x05", b"\0\0\x07\x01\0\0\0\0"])
def test_what_is_no_whole_idx_file_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="expected"):
        read_idx(tmp_path / "file")


def test_a_type_that_idx_lacks_is_refused(tmp_path):
    with pytest.raises(TypeError, match="one of the types"):
        write_idx(tmp_path / "file", np.zeros(3, np.uint16))


def test_pooled_pictures_are_means_of_squares(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    write_pictures(tmp_path / "mnist")
    whole, small = (read_pictures("mnist", "t10k", pool).x for pool in (1, 4))
    assert small.shape == (20, 7, 7)
    assert small[3, 2, 5] == round(whole[3, 8:12, 20:24].mean())
    with pytest.raises(ValueError, match="a divisor of 28"):
        read_pictures("mnist", "t10k", 3)


def test_pictures_that_are_not_there_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="l2l data mnist, or name its folder"):
        read_pictures("mnist", "train")


def test_labels_of_other_pictures_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    write_pictures(tmp_path / "mnist")
    write_idx(tmp_path / "mnist" / "train-labels-idx1-ubyte", np.zeros(5, np.uint8))
    with pytest.raises(ValueError, match="60 labels, as many as pictures, got 5"):
        read_pictures("mnist", "train")
