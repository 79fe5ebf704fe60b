"""Pictures for understanding a run, as the page's API draws, bounds and keeps them."""

import base64
import io
import threading
from dataclasses import replace

import httpx
import numpy as np
import pytest
from browser import add_run, serving
from matplotlib.image import imread

from l2l_snn.dashboard import pictures, processes
from l2l_snn.dashboard.replays import Busy
from l2l_snn.dashboard.settings import Settings
from l2l_snn.results import insight
from l2l_snn.storage.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(f"sqlite:///{tmp_path_factory.mktemp('pictures')}/l2l.db") as opened:
        add_run(opened, "line-1", 3)
        yield opened


@pytest.fixture(scope="module")
def api(store):
    with serving(store) as url, httpx.Client(base_url=f"{url}/api", timeout=150) as client:
        yield client


def test_a_picture_is_that_of_the_command_and_is_drawn_once_a_generation(api, store, tmp_path, monkeypatch):
    answer = api.get("/runs/line-1/pictures/timeline")
    found = answer.json()
    assert (answer.status_code, found["kind"], found["generation"], found["missing"]) == (200, "timeline", 3, "")
    file = insight.draw(store, "line-1", "timeline", tmp_path / "timeline.png")
    np.testing.assert_array_equal(imread(io.BytesIO(base64.b64decode(found["png"]))), imread(file))
    monkeypatch.setattr(processes, "ask", None)
    assert api.get("/runs/line-1/pictures/timeline").json() == found  # no process is asked


def test_what_a_run_has_not_is_said_in_place_of_a_picture(api):
    answer = api.get("/runs/line-1/pictures/front")
    assert (answer.status_code, answer.json()["png"]) == (200, "")
    assert "expected several objectives, got one" in answer.json()["missing"]
    assert api.get("/runs/line-1/pictures/nope").status_code == 422
    assert api.get("/runs/nope/pictures/front").status_code == 404


def test_pictures_are_of_the_run_as_it_is_and_few_are_kept(store, monkeypatch):
    asked = []

    def ask(settings, module, arguments, limit):
        asked.append(arguments["kind"])
        return {"png": "", "missing": "nothing"}

    monkeypatch.setattr(processes, "ask", ask)
    monkeypatch.setattr(pictures, "KEPT", 2)
    run, kept = store.load("line-1"), pictures.Pictures(Settings("sqlite://"))
    for kind in ("front", "front", "slices", "front", "contour", "slices", "front"):
        assert kept.get(run, kind).kind == kind
    assert asked == ["front", "slices", "contour", "slices", "front"]
    later, another = replace(run, generation=13), replace(run, id=99)
    assert [kept.get(one, "front").generation for one in (later, another)] == [13, 3]
    assert len(asked) == 7


def test_no_more_than_some_requests_wait_for_pictures(store, monkeypatch):
    begun, end = threading.Event(), threading.Event()

    def ask(settings, module, arguments, limit):
        begun.set()
        assert end.wait(60)
        return {"png": "", "missing": "nothing"}

    monkeypatch.setattr(processes, "ask", ask)
    monkeypatch.setattr(pictures, "WAITING", 1)
    run, small = store.load("line-1"), pictures.Pictures(Settings("sqlite://"))
    thread = threading.Thread(target=small.get, args=(run, "slices"))
    thread.start()
    assert begun.wait(60)
    with pytest.raises(Busy, match="1 pictures are waited for already"):
        small.get(run, "front")
    end.set()
    thread.join(60)
    assert small.get(run, "front").missing == "nothing"
