"""The examples of the README and of the pages in docs/, run as they stand."""

import re

import make_reference
import pytest
from places import ROOT
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.loop import job as jobs
from l2l_snn.results.tables import generations

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def block(page: str, language: str, first_line: str) -> str:
    """Return the code block of a page that begins with a line."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return next(text for text in blocks if text.startswith(first_line))


def test_the_example_optimizee_is_about_20_lines():
    code = [line for line in block("README.md", "python", "# target_rate.py").splitlines() if line.strip()]
    assert len(code) <= 21


def test_the_example_optimizee_runs_and_its_tables_are_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "target_rate.py").write_text(block("README.md", "python", "# target_rate.py"))
    (tmp_path / "target_rate.yaml").write_text(block("README.md", "yaml", "# target_rate.yaml"))
    checked = CliRunner().invoke(app, ["check", "target_rate:TargetRate"])
    assert checked.exit_code == 0, checked.output
    ran = CliRunner().invoke(app, ["run", "target_rate.yaml", "--inline"])
    assert ran.exit_code == 0, ran.output
    assert re.search(r"fitness -?0 reached 0", ran.output)
    names: dict = {}
    exec(block("README.md", "python", "from l2l_snn.tables"), names)
    assert names["best"]["target_rate-1"] == 0
    assert names["curve"]["best_so_far"].is_monotonic_increasing


def test_a_task_of_your_own_is_a_screen_of_code_and_is_learned(tmp_path, monkeypatch):
    task, job = (block("docs/guide/task.md", *first) for first in (("python", "# reach.py"), ("yaml", "# reach.yaml")))
    assert len([line for line in task.splitlines() if line.strip()]) <= 36
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reach.py").write_text(task)
    (tmp_path / "reach.yaml").write_text(job)
    ran = CliRunner().invoke(app, ["run", "reach.yaml", "--inline", "--set", "generations=6"])
    assert ran.exit_code == 0, ran.output
    mean = generations("sqlite:///l2l.db", "reach-1")["mean"]
    assert mean.iloc[-1] > mean.iloc[0] + 2
    assert {file.name for file in (tmp_path / "runs/reach-1").glob("*.png")} > {"episode.png", "raster.png"}


def test_the_readme_has_the_tables_example_of_the_reference():
    example = block("README.md", "python", "from l2l_snn.tables")
    assert block("docs/reference/tables.md", "python", "from l2l_snn.tables") == example


def test_the_tables_have_the_columns_that_the_reference_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(app, ["run", str(ROOT / "jobs/smoke.yaml"), "--inline", "--set", "generations=1"])
    names: dict = {}
    exec(block("README.md", "python", "from l2l_snn.tables").splitlines()[0], names)
    parts = re.split(r"^## `(\w+)`$", (ROOT / "docs/reference/tables.md").read_text(), flags=re.MULTILINE)
    for table, rows in zip(parts[1::2], parts[2::2], strict=True):
        listed = re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE)
        plain = [column for column in names[table]("sqlite:///l2l.db").columns if "." not in column]
        assert listed == plain


def test_the_job_keys_are_those_that_the_reference_lists():
    part = (ROOT / "docs/reference/jobs.md").read_text().split("## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(jobs.Job.model_fields)


def test_all_commands_are_listed_for_a_start():
    listed = set(re.findall(r"`l2l (\w+)", (ROOT / "docs/getting_started.md").read_text()))
    commands = app.registered_commands
    assert listed == {c.name or c.callback.__name__ for c in commands if c.callback}


def test_the_readme_lists_every_optimizer_with_papers_of_its_file():
    rows = re.findall(r"^\| (\[`.*) \| (.*) \| .* \|$", (ROOT / "README.md").read_text(), re.MULTILINE)
    listed = {name for names, _ in rows for name in re.findall(r"`([\w:]+)`", names)}
    assert listed == {f"{module.__name__[11:]}:{cls.__name__}" for module, cls in make_reference.optimizer_classes()}
    papers = {module.__name__[11:]: make_reference.papers(module) for module, _ in make_reference.optimizer_classes()}
    for names, text in rows:
        known = {paper for stem in re.findall(r"`(\w+):", names) for paper in papers[stem]}
        cited = re.findall(r"[A-Z]\w+(?: et al\.| & [A-Z]\w+)? (?:19|20)\d\d", text)
        assert cited
        assert set(cited) <= known


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_job_can_be_read(path):
    _, optimizee, optimizer = jobs.load(path)
    assert optimizer.ask(optimizee.space, optimizer.init(optimizee.space, 1))[0].shape[1] == optimizee.space.size


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)]*)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}, link
