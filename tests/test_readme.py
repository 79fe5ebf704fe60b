"""The README's examples, run as they stand."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.loop import job as jobs
from l2l_snn.results.tables import generations

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(language: str, first_line: str) -> str:
    """Return the README's code block that begins with a line."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return next(text for text in blocks if text.startswith(first_line))


def test_the_example_optimizee_is_about_20_lines():
    code = [line for line in block("python", "# target_rate.py").splitlines() if line.strip()]
    assert len(code) <= 21


def test_the_example_optimizee_runs_and_its_tables_are_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "target_rate.py").write_text(block("python", "# target_rate.py"))
    (tmp_path / "target_rate.yaml").write_text(block("yaml", "# target_rate.yaml"))
    checked = CliRunner().invoke(app, ["check", "target_rate:TargetRate"])
    assert checked.exit_code == 0, checked.output
    ran = CliRunner().invoke(app, ["run", "target_rate.yaml", "--inline"])
    assert ran.exit_code == 0, ran.output
    assert re.search(r"fitness -?0 reached 0", ran.output)
    names: dict = {}
    exec(block("python", "from l2l_snn.tables"), names)
    assert names["best"]["target_rate-1"] == 0
    assert names["curve"]["best_so_far"].is_monotonic_increasing


def test_a_task_of_your_own_is_a_screen_of_code_and_is_learned(tmp_path, monkeypatch):
    task, job = block("python", "# reach.py"), block("yaml", "# reach.yaml")
    assert len([line for line in task.splitlines() if line.strip()]) <= 36
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reach.py").write_text(task)
    (tmp_path / "reach.yaml").write_text(job)
    ran = CliRunner().invoke(app, ["run", "reach.yaml", "--inline", "--set", "generations=6"])
    assert ran.exit_code == 0, ran.output
    mean = generations("sqlite:///l2l.db", "reach-1")["mean"]
    assert mean.iloc[-1] > mean.iloc[0] + 2
    assert {file.name for file in (tmp_path / "runs/reach-1").glob("*.png")} > {"episode.png", "raster.png"}


def test_the_tables_have_the_columns_that_the_readme_lists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    CliRunner().invoke(app, ["run", str(ROOT / "jobs/smoke.yaml"), "--inline", "--set", "generations=1"])
    names: dict = {}
    exec(block("python", "from l2l_snn.tables").splitlines()[0], names)
    rows = dict(re.findall(r"^\| `(runs|generations|individuals)`: \w+ \| (.*) \|$", README, re.MULTILINE))
    for table in ("runs", "generations", "individuals"):
        listed = re.findall(r"`([a-z_]+)`", re.sub(r"\([^)]*\)", "", rows[table]))
        plain = [column for column in names[table]("sqlite:///l2l.db").columns if "." not in column]
        assert listed == plain


def test_the_job_keys_are_those_that_the_readme_lists():
    part = README.split("## The job file")[1].split("## Commands")[0]
    listed = [key for row in re.findall(r"^\| (`.*?) \|", part, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)]
    assert listed == list(jobs.Job.model_fields)


def test_all_commands_are_listed():
    listed = set(re.findall(r"`l2l (\w+)", README))
    commands = app.registered_commands
    assert listed == {c.name or c.callback.__name__ for c in commands if c.callback}


@pytest.mark.parametrize("path", sorted((ROOT / "jobs").glob("*.yaml")), ids=lambda path: path.name)
def test_every_job_can_be_read(path):
    optimizee, optimizer = jobs.load(path).build()
    assert optimizer.ask(optimizee.space, optimizer.init(optimizee.space, 1))[0].shape[1] == optimizee.space.size


def test_links_lead_somewhere():
    for link in re.findall(r"\]\(([^)]*)\)", README):
        assert (ROOT / link).exists(), link
