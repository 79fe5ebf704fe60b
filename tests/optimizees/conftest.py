"""What several experiments need."""

import os
from pathlib import Path

import pytest
from pictures import write_pictures
from utterances import write_speech


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A tiny MNIST, where `L2L_DATA` says."""
    folder = tmp_path_factory.mktemp("data")
    write_pictures(folder / "mnist")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("L2L_DATA", str(folder))
        yield


@pytest.fixture(scope="module")
def speech(pictures):
    """Also a tiny TIMIT."""
    write_speech(Path(os.environ["L2L_DATA"]) / "timit")
