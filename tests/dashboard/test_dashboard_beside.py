"""Two individuals beside each other: the API says where their parameters differ."""

import httpx
import numpy as np
import pytest
from browser import SPACE, add_run, serving

from l2l_snn.dashboard.read_beside import compare_parameters
from l2l_snn.space import Real, Space
from l2l_snn.storage.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with Store(f"sqlite:///{tmp_path_factory.mktemp('beside')}/l2l.db") as opened:
        add_run(opened, "line-1", 2)
        add_run(opened, "other-1", 1, space=Space(tau=Real(5, 50), g=Real(0, 1)))
        yield opened


@pytest.fixture(scope="module")
def api(store):
    with serving(store) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_parameters_that_differ_are_named_with_their_largest_difference(api, store):
    found = api.get("/api/runs/line-1/individuals/0/3/beside?run=line-1&generation=1&index=4").json()
    left, right = (SPACE.decode(store.individual("line-1", *which).z) for which in ((0, 3), (1, 4)))
    differing = {one["name"]: one for one in found["differing"]}
    assert found["same"] == sum(np.array_equal(left[name], right[name]) for name in left)
    assert list(differing) == [name for name in left if not np.array_equal(left[name], right[name])]
    assert differing["w"]["largest"] == pytest.approx(np.abs(left["w"] - right["w"]).max())
    assert (differing["w"]["entries"], differing["w"]["size"]) == (24, 24)
    assert differing["tau"]["left"] == f"{left['tau']:.6g}"


def test_runs_of_other_spaces_and_the_same_one_twice_are_compared(api):
    found = api.get("/api/runs/line-1/individuals/0/3/beside?run=other-1&generation=0&index=1").json()
    assert [one["name"] for one in found["differing"]] == ["tau", "n", "rule", "w", "g"]
    assert [one["left"] for one in found["differing"] if one["name"] == "g"] == [""]
    found = api.get("/api/runs/line-1/individuals/0/3/beside?run=line-1&generation=0&index=3").json()
    assert (found["same"], found["differing"]) == (4, [])


def test_values_are_compared_entry_by_entry():
    same = {"a": 1.0, "w": np.zeros(3), "rule": "x"}
    found = compare_parameters(same, {"a": 1.0, "w": np.array([0.0, 2.0, -3.0]), "rule": "y"})
    assert found.same == 1
    w, rule = found.differing
    assert (w.name, w.right, w.largest, w.entries, w.size) == ("w", "0, 2, -3", 3.0, 2, 3)
    assert (rule.left, rule.right, rule.largest) == ("x", "y", None)


def test_who_is_not_there_is_said(api):
    for path, text in (
        ("?run=nope&generation=0&index=0", "got 'nope'"),
        ("?run=line-1&generation=7&index=0", "no individual 0 in generation 7"),
    ):
        for prefix in ("", "/api"):
            answer = api.get(f"{prefix}/runs/line-1/individuals/0/3/beside{path}", headers={"accept": "text/html"})
            assert answer.status_code == 404
            assert text in answer.text.replace("&#39;", "'")
    page = api.get("/runs/line-1/individuals/0/3/beside?run=line-1&generation=1&index=4")
    assert page.status_code == 200
    assert page.text.count('class="replay"') == 2
