"""cluster.yaml and the files in docs/cluster.md, as far as they can be held to something without a cloud."""

import copy
import json
import re
import shlex
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from places import ROOT

DOCS = (ROOT / "docs/cluster.md").read_text()
TEXT = (ROOT / "cluster.yaml").read_text()
COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
PINNED = re.search(r"^ray==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)


def on_google() -> dict:
    """Return cluster.yaml with the keys replaced that the docs replace for Google Cloud."""
    return yaml.safe_load(TEXT) | yaml.safe_load(blocks("yaml")[0])


CONFIGS = {"aws": yaml.safe_load(TEXT), "gcp": on_google(), "local": yaml.safe_load(blocks("yaml")[1])}


@pytest.fixture(params=sorted(CONFIGS))
def config(request):
    return copy.deepcopy(CONFIGS[request.param])


def test_ray_accepts_the_files(config):
    import ray
    from ray.autoscaler._private.util import prepare_config, validate_config

    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    validate_config(prepare_config(config))
    with pytest.raises(jsonschema.ValidationError, match="Additional properties are not allowed"):
        jsonschema.validate({**config, "idle_timeout": 5}, schema)


def test_the_files_install_the_version_of_ray_that_was_tested(config):
    assert re.findall(r"ray\[default\]==([\w.]+)", " ".join(config["setup_commands"])) == [PINNED]
    assert any("-c ~/l2l/constraints.txt" in command for command in config["setup_commands"])


def test_only_the_head_is_spared_and_only_workers_may_be_taken_away():
    for provider, spot in (("aws", "InstanceMarketOptions"), ("gcp", "scheduling")):
        types = CONFIGS[provider]["available_node_types"]
        head = types["head"]
        assert head["resources"]["CPU"] == 0
        assert spot not in head["node_config"]
        workers = [kind for name, kind in types.items() if name != "head"]
        assert all(spot in kind["node_config"] for kind in workers)
        assert all(kind["max_workers"] >= kind["min_workers"] == 0 for kind in workers)
    kinds = CONFIGS["aws"]["available_node_types"].values()
    assert sum(kind["max_workers"] for kind in kinds) == CONFIGS["aws"]["max_workers"]


def test_token_mode_is_on_wherever_ray_starts(config):
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert "chmod 600 ~/.ray/auth_token" in config["initialization_commands"]
    environment = next((c for c in config["initialization_commands"] if "> ~/l2l/environment" in c), "")
    starts = [c for key in COMMANDS[4:] for c in config[f"{key}_commands"] if "ray start" in c]
    assert len(starts) == 2
    for command in starts:
        command = command.replace(". ~/l2l/environment", environment)
        assert command.index("RAY_AUTH_MODE=token") < command.index("ray start")


def test_nothing_listens_to_the_world(config):
    head = next(c for c in config["head_start_ray_commands"] if "ray start" in c)
    assert re.findall(r"--dashboard-host[= ](\S+)", head) == ["127.0.0.1"]
    assert "0.0.0.0" not in re.sub(r"#.*", "", TEXT)
    if config["provider"]["type"] == "aws":  # with a group of its own Ray adds none, whose SSH is open to all
        groups = [kind["node_config"]["SecurityGroupIds"] for kind in config["available_node_types"].values()]
        assert len(groups) == 3
        assert all(group == groups[0] for group in groups)


def test_no_secret_stands_in_the_files(config):
    assert not re.search(r"(?i)password=|auth_token=\S|:[^/@\s]+@", json.dumps(config))


def test_every_value_of_cluster_yaml_is_commented():
    lines = TEXT.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        value = re.match(r"\s*(?:- )?[\w/.~]+: *([^|>\s].*)$", line)
        if value and not value[1].startswith(("*", "&")):  # those are said where they stand first
            assert "#" in line or before.strip().startswith("#"), line


def as_ray_runs_it(command: str) -> list[str]:
    """Return how Ray runs a command on a node, the shell's interactivity left out."""
    return ["bash", "-c", f"source ~/.bashrc; export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore && ({command})"]


def test_the_commands_are_bash(config):
    for key in COMMANDS:
        for command in config.get(f"{key}_commands", []):
            *_, text = as_ray_runs_it(command)
            subprocess.run(["bash", "-n"], input=text, text=True, check=True, capture_output=True)


def test_the_environment_that_a_node_gets_is_read_once_and_holds(tmp_path):
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray/auth_token").write_text("x")
    (tmp_path / ".bashrc").write_text("export EARLIER=1\n")
    (tmp_path / "l2l").mkdir()
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    for command in [*CONFIGS["aws"]["initialization_commands"]] * 2:  # a second `ray up` repeats them
        subprocess.run(as_ray_runs_it(command), env=environment, check=True, capture_output=True)
    assert (tmp_path / ".ray/auth_token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / ".bashrc").read_text().count("l2l/environment") == 1
    show = as_ray_runs_it("echo $EARLIER $RAY_AUTH_MODE $L2L_STORE $PATH")
    shown = subprocess.run(show, env=environment, check=True, capture_output=True, text=True).stdout.split()
    assert shown[:3] == ["1", "token", f"sqlite:///{tmp_path}/l2l.db"]
    assert shown[3].split(":")[0] == f"{tmp_path}/l2l/venv/bin"


def test_the_shell_in_the_docs_is_bash():
    assert len(blocks("bash")) == 1
    for text in blocks("sh") + blocks("bash"):
        done = subprocess.run(["bash", "-n"], input=text, text=True, check=False, capture_output=True)
        assert done.returncode == 0, done.stderr


def lines_of(program: str) -> list[list[str]]:
    """Return the words of each command of `program` in the docs: whole lines, continued ones joined, and in `...`."""
    text = "\n".join(blocks("sh") + blocks("bash")).replace("\\\n", " ")
    inline = re.findall(rf"`({program} [^`]+)`", DOCS)
    found = re.findall(rf"^ *({program} .*)$", text, re.MULTILINE) + inline
    return [shlex.split(command.partition(" #")[0]) for command in found]


def test_the_commands_of_l2l_in_the_docs_exist_with_their_options():
    import typer

    from l2l_snn.cli import app

    commands = typer.main.get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    used = lines_of("l2l")
    assert {words[1] for words in used} >= {"submit", "jobs", "logs", "stop", "run", "plot"}
    for words in used:
        known = {name for parameter in commands[words[1]].params for name in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, words


def test_the_commands_of_ray_in_the_docs_exist_with_their_options():
    from ray.scripts.scripts import cli
    from ray.scripts.symmetric_run import symmetric_run

    used = lines_of("ray")
    assert {"up", "down", "dashboard", "exec", "rsync-down", "start", "symmetric-run"} <= {words[1] for words in used}
    for words in used:
        words = words[: words.index("--")] if "--" in words else words
        known = {name for parameter in cli.commands[words[1]].params for name in parameter.opts}
        if words[1] == "symmetric-run":  # it hands the rest to `ray start`
            known = {name for p in [*symmetric_run.params, *cli.commands["start"].params] for name in p.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= known, words


def test_the_links_in_the_docs_lead_somewhere():
    titles = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in re.findall(r"^## (.*)$", DOCS, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", DOCS):
        assert target.startswith("#") or (ROOT / "docs" / target).exists(), target
        assert not target.startswith("#") or target[1:] in titles, target
