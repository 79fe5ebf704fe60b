"""The pages of docs/reference/ say what the code says now."""

import re

import make_reference
import pytest
from places import ROOT

from l2l_snn.cli import app
from l2l_snn.loop.errors import LATER, exit_status
from l2l_snn.loop.job import Job

PAGES = ("jobs", "commands", "tables", "optimizers")
TEXT = {name: (ROOT / f"docs/reference/{name}.md").read_text() for name in PAGES}


@pytest.fixture(scope="module")
def made():
    return make_reference.pages()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_gives(made, name):
    assert made[name] == TEXT[name], "stale; make docs writes it anew"


def test_every_key_of_a_job_has_a_meaning():
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", TEXT["jobs"], re.MULTILINE)
    assert set(Job.model_fields) <= {key for key, _ in rows}
    assert all(meaning.strip() for _, meaning in rows)


def test_every_command_and_option_is_explained():
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert set(re.findall(r"^## l2l (\w+)$", TEXT["commands"], re.MULTILINE)) == commands
    rows = re.findall(r"^\| (`.*) \| (.*) \| .* \|$", TEXT["commands"], re.MULTILINE)
    assert len(rows) > 60
    assert all(meaning.strip() for _, meaning in rows)


def test_exit_statuses_are_those_of_the_commands():
    code = "".join(path.read_text() for path in (ROOT / "l2l_snn/cli").glob("*.py"))
    listed = re.findall(r"^\| (\d+) \|", TEXT["commands"], re.MULTILINE)
    mended = {str(exit_status(ValueError())), str(LATER)}
    assert set(listed) == {"0", *mended, *re.findall(r"typer\.Exit\((\d+)\)", code)}


def test_environment_variables_are_those_that_are_read():
    code = "".join(path.read_text() for path in (ROOT / "l2l_snn").rglob("*.py"))
    part = TEXT["commands"].split("## Environment variables")[1]
    assert set(re.findall(r"\bL2L_[A-Z_]+\b", part)) == set(re.findall(r"\bL2L_[A-Z_]+\b", code))


def test_every_optimizer_has_papers_a_file_and_an_algorithm():
    rows = re.findall(r"^\| \[`\w+:\w+`\]\(\S+/(\w+)\.py\) \| (.+?) \| (.+?) \|", TEXT["optimizers"], re.MULTILINE)
    assert {stem for stem, *_ in rows} == {path.stem for path in (ROOT / "optimizers").glob("[!_]*.py")}
    assert all(re.search(r" (19|20)\d\d", papers) for *_, papers in rows)


def test_no_paper_of_an_optimizer_is_missed():
    for module, _ in make_reference.optimizer_classes():
        paragraph = module.__doc__.split("\n\n")[1]
        years = re.findall(r"(?<!those of )\b(?:19|20)\d\d\b", paragraph)
        assert {paper[-4:] for paper in make_reference.papers(module)} == set(years), module.__name__
