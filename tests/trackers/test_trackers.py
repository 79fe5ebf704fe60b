"""Runs in other tools: what they are told, live and later, and that their failure is not the run's."""

import logging
import struct
from pathlib import Path

import pytest
from bowls import Bowl

import l2l_snn as l2l
from l2l_snn.results import tables
from l2l_snn.storage.store import Store
from l2l_snn.trackers.track import flatten_job, make_tracker, track
from l2l_snn.trackers.tracker import Tracker
from optimizers.snes import SNES

CURVES = {"best_so_far", "mean", "failed", "evaluations", "evaluations_per_s"}


class Notes(Tracker):
    """Writes down what it is told."""

    def __init__(self, breaks_at: int = -1):
        self.told, self.job, self.pictures, self.breaks_at = [], {}, [], breaks_at

    def begin(self, run, job):
        self.told.append(run)
        self.job = dict(job)

    def log(self, generation, values):
        if generation == self.breaks_at:
            raise ConnectionError("no server")
        self.told.append((generation, dict(values)))

    def picture(self, name, path):
        self.pictures.append((name, Path(path).stat().st_size > 10_000))

    def end(self, state):
        self.told.append(state)


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path}/l2l.db"


def start(url, *trackers, **settings):
    options = {"generations": 3, "inline": True, "show": False, "store": url, "trackers": trackers, "seed": 2}
    return l2l.run(Bowl(), SNES(population=6), **{**options, **settings})


def test_a_tracker_is_told_the_same_live_and_later(url):
    live, later = Notes(), Notes()
    run = start(url, live)
    with Store(url) as store:
        track(store, run.name, later)
    assert [note for note in live.told if isinstance(note, str)] == ["bowl-1", "finished"]
    assert len(live.told) == 5
    assert live.job == later.job
    assert live.pictures == later.pictures == [("fitness", True)]
    for ours, theirs in zip(live.told[1:-1], later.told[1:-1], strict=True):
        assert ours[0] == theirs[0]
        assert ours[1] == pytest.approx(theirs[1])
        assert set(ours[1]) == CURVES
    table = tables.generations(url, run.name)
    assert [values["evaluations"] for _, values in live.told[1:-1]] == table["evaluations"].cumsum().tolist()
    assert live.job["optimizer.population"] == 6
    assert live.job["seed"] == 2


def test_a_tracker_that_fails_is_left_out_and_the_run_goes_on(url, caplog):
    broken, other = Notes(breaks_at=1), Notes()
    with caplog.at_level(logging.WARNING):
        run = start(url, broken, other)
    assert run.state == "finished"
    assert broken.told[-1][0] == 0
    assert other.told[-1] == "finished"
    assert (
        "Notes can't follow this run any more: ConnectionError: no server; tell it later with: l2l track" in caplog.text
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [("nothing", "expected mlflow, tensorboard, wandb"), ("bowls:Bowl", "expected a subclass of Tracker, got Bowl")],
)
def test_a_text_that_names_no_tracker_is_refused(text, error):
    with pytest.raises(ValueError, match=error):
        make_tracker(text)


def test_entries_of_a_job_become_parameters():
    assert flatten_job({"a": {"b": [1, 2], "c": None, "d": True}}) == {"a.b": "[1, 2]", "a.c": "none", "a.d": True}


def read_events(folder):
    """Return what TensorBoard's event files of a folder hold: (tag, step, value or None)."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(Path(folder).glob("events.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (size,) = struct.unpack_from("<Q", data, place)
            event = Event.FromString(data[place + 12 : place + 12 + size])
            place += 16 + size
            for value in event.summary.value:
                kind = value.WhichOneof("value")
                found.append((value.tag, event.step, value.simple_value if kind == "simple_value" else kind))
    return found


def test_tensorboard_has_curves_the_job_and_the_picture(url):
    pytest.importorskip("tensorboardX")
    run = start(url)
    with Store(url) as store:
        track(store, run.name, make_tracker("tensorboard:tb"))
    events = read_events("tb/bowl-1")
    table = tables.generations(url, run.name)
    curve = [(step, value) for tag, step, value in events if tag == "best_so_far"]
    assert curve == [(g, pytest.approx(best)) for g, best in enumerate(table["best_so_far"])]
    assert {tag for tag, *_ in events} >= CURVES | {"job/text_summary", "fitness"}
    assert ("fitness", 2, "image") in events


def test_mlflow_has_curves_parameters_and_the_picture_and_goes_on_with_a_run(url, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    from l2l_snn.trackers.mlflow import MLflowTracker

    place = (tmp_path / "mlruns").as_uri()
    run = start(url, MLflowTracker(place))
    run.resume(generations=4, show=False)
    client = mlflow.MlflowClient(place)
    (found,) = client.search_runs([client.get_experiment_by_name("l2l").experiment_id])
    assert (found.info.run_name, found.info.status) == ("bowl-1", "FINISHED")
    assert found.data.params["optimizer.population"] == "6"
    curve = client.get_metric_history(found.info.run_id, "best_so_far")
    assert [one.step for one in curve] == [0, 1, 2, 3]
    assert [one.value for one in curve] == tables.generations(url, run.name)["best_so_far"].tolist()
    assert [one.path for one in client.list_artifacts(found.info.run_id)] == ["fitness.png"]


def test_wandb_has_an_offline_run(url, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from l2l_snn.trackers.wandb import WandbTracker

    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    run = start(url)
    with Store(url) as store:
        track(store, run.name, WandbTracker(folder=str(tmp_path), mode="offline"))
    wandb.teardown()  # its own process writes the file, and has ended after this
    (file,) = tmp_path.glob("wandb/offline-run-*/run-bowl-1.wandb")
    data = file.read_bytes()
    assert b"best_so_far" in data
    assert b"optimizer.population" in data
