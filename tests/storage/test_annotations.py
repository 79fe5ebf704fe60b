"""Notes and tags stay beside a run, whoever drives, copies, exports or deletes it."""

import pytest
from stores import SPACE, make, state_after
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.results import tables, transfer
from l2l_snn.storage.annotations import annotate, change_tags
from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import RunUnknown, Store


@pytest.fixture
def store(store_url):
    with Store(store_url) as opened:
        opened.create("a", "job", {"job": {}, "versions": {}}, SPACE)
        opened.create("b", "job", {"job": {}, "versions": {}}, SPACE)
        yield opened


def test_they_stay_while_a_run_is_driven_copied_and_moved_to_another_store(store, tmp_path):
    text = "sigma of the paper, µ = 0.1\r\nsee also: b; 'quoted' -- <b>"
    with drive(store, "a") as driver:
        annotate(store, "a", note=text, tags=["baseline", "σ-0.1", "baseline"])
        driver.commit(make(0), state_after(0))
        driver.finish("finished")
    store.copy("a", "c")
    transfer.export(store, ["a", "b"], tmp_path / "out")
    assert "note" not in (tmp_path / "out/b/stored/run.json").read_text()  # earlier versions read it too
    with Store(f"sqlite:///{tmp_path}/other.db") as other:
        transfer.import_runs(other, tmp_path / "out")
        for run in (store.load("a"), store.load("c"), other.load("a")):
            assert (run.note, run.tags) == (text.replace("\r", ""), ("baseline", "σ-0.1"))
        table = tables.runs(other).set_index("run")
    assert table.loc["a", "tags"] == "baseline σ-0.1"
    assert table.loc["b", "note"] == ""
    annotate(store, "a", note="")
    annotate(store, "a", tags=())
    assert (store.load("a").note, store.load("a").tags) == ("", ())


def test_tags_are_added_and_taken_off_one_by_one(store):
    assert change_tags(store, "a", ["x", "y"]) == ("x", "y")
    assert change_tags(store, "a", ["y", "z"], ["x"]) == ("y", "z") == store.load("a").tags
    assert store.load("b").tags == ()


@pytest.mark.parametrize(
    ("note", "tags", "match"),
    [
        ("x" * 4001, None, "note: expected at most 4000 characters, got 4001"),
        ("a\x1b[31mb", None, r"note: expected plain text, got the control character '\\x1b'"),
        (None, ["two words"], "tag: expected 1 to 50 letters, .* got 'two words'; e.g. baseline"),
        (None, ["-x"], "beginning with a letter or digit, got '-x'"),
        (None, ["x" * 51], "tag: expected 1 to 50"),
        (None, [""], "tag: expected 1 to 50"),
        (None, [str(k) for k in range(21)], "tags: expected at most 20 on a run, got 21"),
        ("fine", ["a\nb"], "tag: expected"),
    ],
)
def test_what_is_no_note_or_tag_is_refused_and_nothing_changes(store, note, tags, match):
    annotate(store, "a", note="before", tags=["before"])
    with pytest.raises(ValueError, match=match):
        annotate(store, "a", note=note, tags=tags)
    assert (store.load("a").note, store.load("a").tags) == ("before", ("before",))


def test_a_word_in_place_of_a_list_and_an_unknown_run_are_refused(store):
    with pytest.raises(TypeError, match=r"tags: expected a list of words, got 'draft'; write \['draft'\]"):
        annotate(store, "a", tags="draft")
    with pytest.raises(RunUnknown, match="got 'nope'"):
        annotate(store, "nope")


def test_the_commands_write_print_and_find_them(store, store_url):
    def l2l(*words: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, [*words, "--store", store_url])
        assert result.exit_code == status, result.output
        return result.output

    assert l2l("note", "a") == l2l("note", "a", "of the paper\nline 2") == ""
    assert l2l("note", "a") == "of the paper\nline 2\n"
    assert l2l("tag", "a", "baseline", "sigma-0.1") == "baseline sigma-0.1\n"
    assert l2l("tag", "b", "baseline") == l2l("tag", "b") == "baseline\n"
    assert [line.split()[0] for line in l2l("runs", "--tag", "baseline").splitlines()] == ["run", "a", "b"]
    found = l2l("runs", "--tag", "baseline", "--tag", "sigma-0.1").splitlines()
    assert [line.split()[0] for line in found] == ["run", "a"]
    assert found[1].endswith("baseline sigma-0.1")
    assert l2l("tag", "a", "--remove", "baseline") == "sigma-0.1\n"
    shown = l2l("show", "a")
    for line in ("tags          sigma-0.1", "note          of the paper", "              line 2"):
        assert line in shown.splitlines()
    assert l2l("note", "a", "--clear") == l2l("note", "a") == ""
    for words, text in (
        (("tag", "a", "--remove", "x"), "--remove: expected one of sigma-0.1, got 'x'"),
        (("tag", "b", "two words"), "tag: expected 1 to 50"),
        (("note", "a", "x", "--clear"), "--clear: expected no text beside it, got 'x'"),
    ):
        complaint = l2l(*words, status=2)
        assert text in complaint
        assert complaint.count("\n") == 1
