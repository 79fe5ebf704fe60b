"""Data sets: fetched from a server on this machine, cut off and gone on with, checked, listed, taken from a folder."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.data import sets
from l2l_snn.data.fetch import fetch, sha256

CONTENT = {"a": b"first " * 60_000, "b": b"second"}


class Source:
    """A server of gzipped files that can break off, ignore ranges or send something else."""

    def __init__(self):
        self.files = {
            f"/{name}.gz": gzip.compress(content, mtime=0, compresslevel=0) for name, content in CONTENT.items()
        }
        self.asked, self.break_after, self.ranges = [], None, True
        source = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                source.answer(self)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def answer(self, request):
        begin = int((request.headers.get("Range") or "bytes=0-")[6:].rstrip("-"))
        self.asked.append((request.path, begin))
        if request.path not in self.files:
            request.send_error(404)
            return
        content = self.files[request.path]
        if begin >= len(content):
            request.send_error(416)
            return
        begin = begin if self.ranges else 0
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(content) - begin))
        request.end_headers()
        end = len(content) if self.break_after is None else min(len(content), begin + self.break_after)
        request.wfile.write(content[begin:end])

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def source():
    source = Source()
    yield source
    source.close()


@pytest.fixture
def described(source, tmp_path, monkeypatch):
    """A set of two files that the source has."""
    files = {name: sets.Content(len(content), sha256(content)) for name, content in CONTENT.items()}
    monkeypatch.setattr(sets, "SETS", {"small": sets.DataSet("Two files", "CC0", files, source.url, 1234)})
    monkeypatch.setenv("L2L_DATA", str(tmp_path / "data"))
    return tmp_path / "data" / "small"


def test_a_download_that_broke_off_goes_on_where_it_was(source, tmp_path):
    source.break_after = 300_000
    seen = []
    with pytest.raises(OSError, match="it goes on from there"):
        fetch(source.url + "a.gz", tmp_path / "a.gz", lambda *progress: seen.append(progress))
    assert seen[-1][0] == 300_000
    assert not (tmp_path / "a.gz").exists()
    source.break_after = None
    fetch(source.url + "a.gz", tmp_path / "a.gz", lambda *progress: seen.append(progress))
    assert source.asked == [("/a.gz", 0), ("/a.gz", 300_000)]
    assert (tmp_path / "a.gz").read_bytes() == source.files["/a.gz"]
    assert seen[-1] == (len(source.files["/a.gz"]),) * 2


def test_a_source_that_knows_no_ranges_begins_anew(source, tmp_path):
    source.ranges = False
    (tmp_path / "a.gz.part").write_bytes(b"x" * 50)
    fetch(source.url + "a.gz", tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == source.files["/a.gz"]


def test_a_part_that_is_whole_already_is_taken(source, tmp_path):
    (tmp_path / "a.gz.part").write_bytes(source.files["/a.gz"])
    fetch(source.url + "a.gz", tmp_path / "a.gz")
    assert (tmp_path / "a.gz").read_bytes() == source.files["/a.gz"]


def test_only_what_is_missing_is_fetched(source, described):
    described.mkdir(parents=True)
    (described / "b").write_bytes(CONTENT["b"])
    assert sets.get("small") == [described / "a.gz"]
    assert [path for path, _ in source.asked] == ["/a.gz"]
    assert sets.require("small") == {"a": described / "a.gz", "b": described / "b"}
    assert sets.get("small") == []


def test_another_file_than_the_published_one_is_refused_and_not_kept(source, described):
    source.files["/b.gz"] = gzip.compress(b"SECOND")
    with pytest.raises(ValueError, match="isn't the published one"):
        sets.get("small")
    assert [path.name for path in described.iterdir()] == ["a.gz"]


def test_a_folder_that_the_user_has_is_checked_and_linked(described, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "a").write_bytes(CONTENT["a"])
    with pytest.raises(ValueError, match="the files of small, packed or not, got no b"):
        sets.take("small", own)
    (own / "b").write_bytes(b"second?")
    with pytest.raises(ValueError, match="isn't the published one"):
        sets.take("small", own)
    (own / "b").write_bytes(CONTENT["b"])
    sets.take("small", own)
    assert sets.missing_files("small") == []
    sets.take("small", own)  # again: the link is made anew
    assert described.resolve() == own


def test_the_command_lists_fetches_and_checks(source, described):
    run = CliRunner()
    before = run.invoke(app, ["data"]).output
    assert "small  no " in before
    assert "1.2 KB" in before
    fetched = run.invoke(app, ["data", "small"])
    assert fetched.exit_code == 0
    assert "licence CC0" in fetched.output
    assert "a.gz" in fetched.output
    assert "small  yes" in run.invoke(app, ["data"]).output
    assert "complete" in run.invoke(app, ["data", "small"]).output
    (described / "b.gz").write_bytes(gzip.compress(b"damaged"))
    damaged = run.invoke(app, ["data", "small"])
    assert damaged.exit_code == 2
    assert "isn't the published one" in damaged.output
    unknown = run.invoke(app, ["data", "smal"])
    assert unknown.exit_code == 2
    assert "did you mean 'small'" in unknown.output


def test_every_set_names_a_licence_and_a_source_or_says_how_it_is_made():
    for one in sets.SETS.values():
        assert one.licence
        assert one.files or one.folders
        assert one.source.startswith(("http://", "https://")) or one.folders
