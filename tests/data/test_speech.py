"""Speech: the files of TIMIT, features against a loop and a tone, flite's output, and what isn't there."""

import os
import shutil
import struct

import numpy as np
import pytest
from typer.testing import CliRunner
from utterances import RATE, tones, write_speech

from l2l_snn.cli import app
from l2l_snn.data import flite, mel, speech
from l2l_snn.data.mel import differences, mel_features, mel_filters


def sphere(samples: np.ndarray, order: str = "01", coding: str = "pcm") -> bytes:
    """Return a recording as NIST's SPHERE, of which TIMIT is made: a header of 1024 bytes, then the samples."""
    lines = ["NIST_1A", "   1024", "channel_count -i 1", f"sample_rate -i {RATE}", "sample_n_bytes -i 2"]
    lines += [f"sample_byte_format -s2 {order}", f"sample_coding -s{len(coding)} {coding}", "end_head"]
    header = "\n".join(lines).encode()
    body = samples.astype("<i2" if order == "01" else ">i2").tobytes()
    return header + b" " * (1024 - len(header)) + body


@pytest.mark.parametrize("order", ["01", "10"])
def test_sphere_files_are_read_in_either_order_of_bytes(tmp_path, order):
    samples = np.array([0, 1, -1, 300, 32767, -32768])
    (tmp_path / "a.WAV").write_bytes(sphere(samples, order))
    sound = speech.read_sound(tmp_path / "a.WAV")
    assert sound.rate == RATE
    np.testing.assert_array_equal(sound.samples * 32768, samples)


def test_what_is_written_is_read(tmp_path):
    sound, phones = tones(["h#", "aa"])
    speech.write_utterance(tmp_path / "a", sound, phones)
    np.testing.assert_allclose(speech.read_sound(tmp_path / "a.WAV").samples, sound.samples, atol=2**-15)
    assert speech.read_phones(tmp_path / "a.PHN") == phones


def test_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "a.WAV"
    path.write_bytes(b"RIFX" + struct.pack("<I", 4) + b"abcd")
    with pytest.raises(ValueError, match="NIST SPHERE or RIFF"):
        speech.read_sound(path)
    path.write_bytes(sphere(np.zeros(9), coding="pcm,embedded-shorten-v2.00"))
    with pytest.raises(ValueError, match="sph2pipe"):
        speech.read_sound(path)
    (tmp_path / "a.PHN").write_text("0 100 h#\n100 200 xyz\n")
    with pytest.raises(ValueError, match="a phone of TIMIT's 61, got '100 200 xyz'"):
        speech.read_phones(tmp_path / "a.PHN")
    with pytest.raises(ValueError, match="at least 400 samples"):
        mel_features(np.zeros(399), RATE)


def test_features_are_those_of_a_loop_over_frames():
    sound = np.random.default_rng(0).normal(size=1600) * 0.1
    x = np.concatenate([[sound[0]], [sound[i] - 0.97 * sound[i - 1] for i in range(1, 1600)]])
    filters, static = mel_filters(512, RATE), []
    for start in range(0, 1600 - 400 + 1, 160):
        frame = x[start : start + 400] * np.hamming(400)
        f = np.arange(257)[:, None] * np.arange(400)[None] / 512
        power = np.abs((frame * np.exp(-2j * np.pi * f)).sum(axis=1)) ** 2 / 512
        bands = np.log(filters @ power)
        k, b = np.arange(1, 13)[:, None], np.arange(26)[None]
        cepstrum = np.sqrt(2 / 26) * (np.cos(np.pi * k * (b + 0.5) / 26) @ bands)
        static.append([*cepstrum, np.log(power.sum())])
    found = mel_features(sound, RATE)
    assert found.shape == (8, 39)
    np.testing.assert_allclose(found[:, :13], static, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found[:, 13:26], differences(np.array(static)), rtol=1e-3, atol=1e-4)


def test_filters_are_triangles_and_a_slope_is_a_slope():
    filters = mel_filters(512, RATE)
    assert filters.shape == (mel.BANDS, 257)
    assert (filters.argmax(axis=1)[1:] > filters.argmax(axis=1)[:-1]).all()
    first, last = filters.argmax(axis=1)[[0, -1]]
    np.testing.assert_allclose(filters.sum(axis=0)[first + 1 : last], 1.0)
    np.testing.assert_allclose(differences(3.0 * np.arange(9)[:, None])[2:-2], 3.0)


def test_a_frame_has_the_phone_in_its_middle_and_the_last_piece_is_filled_up(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    write_speech(tmp_path / "timit")
    sound, phones = tones(["h#", "aa", "s"])
    speech.write_utterance(tmp_path / "one", sound, phones)
    _, y = speech.read_utterance(tmp_path / "one.WAV")
    middle = (np.arange(len(y)) * 160 + 200) // (0.08 * RATE)
    assert [speech.PHONES[i] for i in y] == [("h#", "aa", "s")[int(m)] for m in middle]
    (tmp_path / "timit" / "TRAIN" / "DR1" / "MABC0" / "SA1.WAV").write_bytes(b"never read")
    frames = speech.read_frames("timit", "train", 30)
    assert frames.x.shape == (6 * 3, 30, 39)  # 78 frames an utterance
    there = frames.y != speech.NONE
    assert there.sum() == 6 * 78
    np.testing.assert_allclose(frames.x[there].mean(axis=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(frames.x[there].std(axis=0), 1.0, atol=1e-3)


def test_features_are_normalised_over_each_utterance_where_that_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    write_speech(tmp_path / "timit")
    frames = speech.read_frames("timit", "t10k", 30, "utterance")
    for x, y in zip(frames.x.reshape(-1, 90, 39), frames.y.reshape(-1, 90), strict=True):
        np.testing.assert_allclose(x[y != speech.NONE].mean(axis=0), 0.0, atol=1e-3)
        np.testing.assert_allclose(x[y != speech.NONE].std(axis=0), 1.0, atol=1e-3)
    over_set = speech.read_frames("timit", "t10k", 30)
    assert abs(over_set.x - frames.x).max() > 0.1


def test_there_are_the_61_phones_of_timit():
    assert len(set(speech.PHONES)) == len(speech.PHONES) == 61


def test_without_flite_the_command_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("L2L_DATA", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    found = CliRunner().invoke(app, ["data", "flite_speech"])
    assert found.exit_code != 0
    assert "apt install flite" in found.output
    listed = CliRunner().invoke(app, ["data"]).output
    assert "made of sentences, by Debian's flite" in " ".join(listed.split())


def test_flite_is_asked_for_each_voice_and_its_answer_written(tmp_path, monkeypatch):
    """A program in flite's place, which writes a tone and prints what flite prints."""
    sound, phones = tones(["h#", "aa"])
    speech.write_utterance(tmp_path / "tone", sound, phones)
    program = tmp_path / "flite"
    program.write_text(f'#!/bin/sh\ncp {tmp_path / "tone.WAV"} "$6"\necho "$2" >> {tmp_path / "asked"}\n')
    program.write_text(program.read_text() + 'printf "pau:0.08 aa:0.16 "\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    flite.make_flite_speech(tmp_path / "set", 2, 1)
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["kal16"] * 2 + ["awb"] * 2 + ["slt"] * 2 + ["rms"]
    plain = tmp_path / "set" / "TEST" / "FLITE" / "RMS" / "S0001"
    assert speech.read_phones(plain.with_suffix(".PHN")) == [(0, 1280, "pau"), (1280, 2560, "aa")]
    factors = []
    for path in (tmp_path / "set" / "TRAIN").rglob("*.PHN"):
        phones, samples = speech.read_phones(path), speech.read_sound(path.with_suffix(".WAV")).samples
        factors.append(phones[-1][1] / 2560)
        assert phones == [(0, phones[0][1], "pau"), (phones[0][1], phones[1][1], "aa")]
        assert abs(phones[0][1] - 1280 * factors[-1]) <= 1
        assert abs(len(samples) - len(sound.samples) * factors[-1]) <= 1
        peak = np.abs(np.fft.rfft(samples)).argmax()  # as many periods in a longer time
        assert peak == np.abs(np.fft.rfft(sound.samples)).argmax()
    assert len({round(factor, 3) for factor in factors}) == 6
    assert min(factors) > 0.874
    assert max(factors) < 1.144
    flite.make_flite_speech(tmp_path / "set", 2, 1)  # all is there
    assert len((tmp_path / "asked").read_text().split()) == 7


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite isn't installed")
def test_flite_says_phones_that_timit_has(tmp_path):
    flite._speak(tmp_path / "S1", "slt", flite.sentence(3))
    lines = speech.read_phones(tmp_path / "S1.PHN")
    assert len(lines) > 20
    assert abs(lines[-1][1] - len(speech.read_sound(tmp_path / "S1.WAV").samples)) < 1600
