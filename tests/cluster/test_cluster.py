"""Runs on a real Ray head with its job server: submitted, followed, killed, stopped, refused."""

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.cluster import follow as following
from l2l_snn.cluster.connection import ClusterError, connect
from l2l_snn.cluster.jobs import Submitted, get_job
from l2l_snn.cluster.submission import Submission, check_store, free_name
from l2l_snn.results import tables
from l2l_snn.storage.store import Store

LIMIT = 240  # s, that anything here may take
MODEL = """\
import time
from dataclasses import dataclass
from pathlib import Path
from l2l_snn import Optimizee, Real, Space

@dataclass(frozen=True)
class Slope(Optimizee):
    pause: float = 0.0
    space = Space(x=Real(-1, 1, shape=(3,)))

    def evaluate(self, params, seed):
        from my_noise import noise  # lies in the current directory, and is imported late
        time.sleep(self.pause)
        return -float(params["x"] @ params["x"]) + float(Path("scale.txt").read_text()) * noise(seed)
"""
NOISE = "import numpy as np\ndef noise(seed):\n    return float(np.random.default_rng(seed).standard_normal())\n"
JOB = """\
optimizee: {class: "my_model:Slope"}
optimizer: {class: "optimizers.ga:GeneticAlgorithm", population: 4}
generations: 6
chunk: 2
"""


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, outside of those that Ray gives to workers."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3 * count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    return [port for port in ports if not 10002 <= port <= 19999][:count]


@pytest.fixture(scope="module")
def head():
    """Address of a head's job server; its token is in the environment, its store in its own."""
    names = ["port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port"]
    names += ["runtime-env-agent-port", "metrics-export-port", "node-manager-port", "object-manager-port"]
    with tempfile.TemporaryDirectory(prefix="l2l-", ignore_cleanup_errors=True) as place:  # short, for unix sockets
        token = Path(place, "token")
        token.write_text(secrets.token_hex(32))
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", "--num-cpus=2"]
        command += ["--dashboard-host=127.0.0.1", "--node-ip-address=127.0.0.1", "--object-store-memory=100000000"]
        command += [f"--temp-dir={place}/ray", *(f"--{name}={port}" for name, port in ports.items())]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "PYTHONPATH"))}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # `python` of the submitted command
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_USAGE_STATS_ENABLED": "0",
            "L2L_STORE": f"sqlite:///{place}/l2l.db",
        }
        address = f"http://127.0.0.1:{ports['dashboard-port']}"
        with open(f"{place}/head.log", "w") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            with pytest.MonkeyPatch.context() as patch:
                for name in [name for name in os.environ if name.startswith("RAY_")]:
                    patch.delenv(name)
                patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
                patch.setenv("L2L_ADDRESS", address)
                wait(lambda: process.poll() is not None or answers(address), "the head does not answer")
                assert process.poll() is None, Path(place, "head.log").read_text()
                yield address
        finally:
            end(process)


def answers(address: str) -> bool:
    try:
        return requests.get(f"{address}/api/version", timeout=5).status_code in (200, 401)
    except requests.RequestException:
        return False


def end(process: subprocess.Popen) -> None:
    """End the head and all that it began, by their ids: asked politely it takes its time."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    for child in children:
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def wait(holds, why: str):
    """Return the first true value of `holds()`."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if value := holds():
            return value
        time.sleep(0.05)
    raise AssertionError(why)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of a user, which is the current one: a job file in a folder with its model, a module beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("my_model", "my_noise"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/mine.yaml").write_text(JOB)
    (tmp_path / "jobs/my_model.py").write_text(MODEL)
    (tmp_path / "my_noise.py").write_text(NOISE)
    (tmp_path / "scale.txt").write_text("0.01")
    yield tmp_path
    for name in ("my_model", "my_noise"):
        sys.modules.pop(name, None)


def l2l(*arguments: object, status: int = 0) -> str:
    """Run a command in this process; return what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, result.output
    return result.output


def table(store: str, name: str) -> str:
    """Return all of a run's table that must not depend on where it ran."""
    return tables.individuals(store, name).drop(columns=["run", "seconds", "worker"]).to_csv()


def inline(*settings: str) -> str:
    """Return the table of the same run in this process."""
    l2l("run", "jobs/mine.yaml", "--inline", "--name", "whole", *settings)
    return table("sqlite:///l2l.db", "whole")


def generations(url: str, name: str) -> int:
    """Return how many generations a run has committed; 0 if it isn't there yet."""
    if not Path(url.removeprefix("sqlite:///")).exists():
        return 0
    with Store(url) as store:
        return max((run.generation for run in store.runs() if run.name == name), default=0)


def drivers(name: str) -> list[psutil.Process]:
    """Return the processes that drive a run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "l2l_snn.cli" in command and name in command:
            found.append(process)
    return found


def test_a_submitted_run_is_followed_and_its_table_equals_the_inline_runs(head, place):
    store = f"sqlite:///{place}/results.db"
    data = ("--include", "scale.txt")
    printed = l2l("submit", "jobs/mine.yaml", "--store", store, "--name", "mine", "--set", "generations=3", *data)
    assert "packed 4 files" in printed
    assert ": mine.yaml, my_model.py, my_noise.py, scale.txt\n" in printed
    assert re.search(r"run mine is job mine-[0-9a-f]{6} on http://127", printed)
    assert "generation 2  done 3/3" in printed, printed
    assert re.search(r"state +finished: 3 generations done", printed)
    assert table(store, "mine") == inline("--set", "generations=3")
    listed = l2l("jobs")
    assert re.search(r"^mine-[0-9a-f]{6} +mine +succeeded", listed, re.M), listed
    assert l2l("logs", "mine") in l2l("logs", re.search(r"mine-[0-9a-f]{6}", listed)[0], "--follow")


def test_a_run_survives_its_drivers_death_and_a_stop_and_ends_with_the_inline_runs_table(head, place):
    begin = ("submit", "jobs/mine.yaml", "--name", "again", "--include", "scale.txt")  # its store is the head's own
    store = f"sqlite:///{Path(os.environ['RAY_AUTH_TOKEN_PATH']).parent}/l2l.db"
    seen: dict[str, Any] = {}

    def interfere() -> None:
        wait(lambda: generations(store, "again") >= 2, "no generations")
        drivers("again")[0].kill()
        seen["killed"] = wait(lambda: not drivers("again") and generations(store, "again"), "still driven")
        wait(lambda: generations(store, "again") > seen["killed"], "nobody went on")
        stop = [sys.executable, "-m", "l2l_snn.cli", "stop", "again"]
        seen["stop"] = subprocess.run(stop, capture_output=True, text=True, check=False, timeout=LIMIT).stdout

    other = threading.Thread(target=interfere)
    other.start()
    printed = l2l(*begin, "--set", "optimizee.pause=0.1", "--set", "generations=500", status=130)
    other.join()
    assert "l2l: the driver of run again died (killed by SIGKILL); attempt 2" in printed
    assert "l2l resume again --take-over" in printed
    assert re.match(r"job again-\w+ stopped\nto go on: l2l submit JOB --name again --resume\n", seen["stop"])
    assert re.search(r"state +stopped: interrupted", printed)
    assert printed.endswith("l2l: run again was stopped; to go on: l2l submit JOB --name again --resume\n")
    assert drivers("again") == []
    assert "has ended before: stopped" in l2l("stop", "again")

    shown = [job for job in connect(head).list_jobs() if (job.submission_id or "").startswith("again-")]
    assert len(shown) == 2
    assert not any(store in f"{job.entrypoint} {job.metadata} {job.runtime_env}" for job in shown)

    last = generations(store, "again") + 2
    assert seen["killed"] < last - 2
    printed = l2l(*begin, "--resume", "--no-follow", "--set", f"generations={last}")
    assert "to see it: l2l logs again --follow; to stop it: l2l stop again" in printed
    assert re.search(r"job again-\w+ succeeded\n$", l2l("logs", "again", "--follow"))
    assert table(store, "again") == inline("--set", f"generations={last}")
    assert re.findall(r"^again-\w+ +again +(\w+)", l2l("jobs"), re.M) == ["failed", "stopped", "succeeded"]


def on_the_head(*arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Run what a submission runs, without a cluster; return its exit status and what it wrote to stderr."""
    command = [sys.executable, "-m", "l2l_snn.cluster.submission", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT)
    return done.returncode, done.stderr


def test_a_name_that_another_run_has_is_not_gone_on_with(place):
    store = f"sqlite:///{place}/results.db"
    l2l("run", "jobs/mine.yaml", "--inline", "--name", "taken", "--store", store, "--set", "generations=1")
    before = table(store, "taken")
    submission = ("jobs/mine.yaml", "--name", "taken", "--store", store)
    status, line = on_the_head(*submission)
    assert (status, line.startswith("l2l: run 'taken' exists in ")) == (2, True)
    status, line = on_the_head(*submission, "--since", str(time.time()))  # the first attempt died before it began
    expected = "l2l: --name: expected a name that no run has, got 'taken'; choose another, or go on with it: --resume\n"
    assert (status, line) == (2, expected)
    assert table(store, "taken") == before


@pytest.mark.parametrize(
    ("token", "line"),
    [
        ("wrong", r"l2l: the cluster at \S+ refused the token; copy ~/.ray/auth_token from who started it, or set RAY"),
        ("", r"l2l: the cluster at \S+ wants a token; copy ~/.ray/auth_token"),
    ],
)
def test_a_wrong_or_missing_token_is_refused_in_one_line(head, place, monkeypatch, token, line):
    path = place / "token"
    path.write_text(token)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    for command in (("jobs",), ("submit", "jobs/mine.yaml"), ("logs", "x"), ("stop", "x")):
        printed = l2l(*command, status=2).splitlines()
        assert re.match(line, printed[-1]), printed
        assert len(printed) == (2 if command[0] == "submit" else 1), printed


def test_a_token_file_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/nowhere/token")
    printed = l2l("jobs", "--address", "http://127.0.0.1:1", status=2)
    assert printed == "l2l: [Errno 2] No such file or directory: '/nowhere/token'\n"


def test_an_unknown_job_is_refused_in_one_line(head):
    for command in ("logs", "stop"):
        printed = l2l(command, "mien", status=2)
        assert re.match(r"l2l: ID\|RUN: expected a job or run of this cluster, got 'mien'; ", printed)
        assert printed.count("\n") == 1


def test_what_the_server_forgot_is_lost_and_worth_another_attempt(head):
    job = get_job(connect(head), "gone-123456")
    assert (job.state, job.driver_died) == ("lost", True)


class Server:
    """A job server that is lost now and then: each time it is asked for a log it goes on with its script."""

    def __init__(self, script: list[Any], ends: list[dict[str, Any]]):
        self.script, self.ends, self.entrypoints = script, ends, []

    def get_address(self) -> str:
        return "http://127.0.0.1:1"

    def submit_job(self, *, entrypoint: str, submission_id: str, **options: Any) -> str:
        self.entrypoints.append(entrypoint)
        return submission_id

    async def tail_job_logs(self, job_id: str):
        for part in self.script.pop(0) if self.script else []:
            if isinstance(part, Exception):
                raise part
            yield part

    def get_job_logs(self, job_id: str) -> str:
        return "one\ntwo\nthree\nend\n"

    def get_job_info(self, job_id: str):
        from ray.job_submission import JobDetails

        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if isinstance(end, Exception):
            raise end
        return JobDetails(type="SUBMISSION", submission_id=job_id, entrypoint="", start_time=7000, **end)


@pytest.fixture
def no_waiting(monkeypatch):
    monkeypatch.setattr(following.time, "sleep", lambda seconds: None)


def test_a_lost_connection_is_made_again_and_nothing_is_written_twice(no_waiting):
    lost, done = RuntimeError("WebSocket connection closed unexpectedly with close code 1006"), {"status": "SUCCEEDED"}
    log = [["one\ntw", lost], [lost], ["one\n", "two\nth", lost], ["one\ntwo\nthree\n", lost]]
    server = Server(log, [{"status": "RUNNING"}, ConnectionError("no"), {"status": "RUNNING"}, done])
    written: list[str] = []
    assert following.follow(server, "x-1", written.append).state == "succeeded"
    assert written == ["one\ntw", "o\nth", "ree\n", "end\n"]  # the last piece came after the connection was lost


def test_a_server_that_stays_away_is_given_up(no_waiting, monkeypatch):
    clock = iter(range(0, 10**6, 100))
    monkeypatch.setattr(following.time, "monotonic", lambda: float(next(clock)))
    with pytest.raises(ClusterError, match=r"no answer from a cluster at http://127.0.0.1:1; check --address"):
        following.follow(Server([], [ConnectionError("no")]), "x-1", print)
    assert following.PATIENCE <= next(clock) <= following.PATIENCE + 500


def test_a_driver_that_always_dies_is_submitted_again_no_more_than_retries_times(no_waiting, tmp_path):
    server = Server([], [{"status": "FAILED", "driver_exit_code": -9}])
    told: list[str] = []
    submission = Submission("mine", "mine.yaml", "sqlite:////x.db", ("seed=3",))
    job = following.submit_until_done(server, submission, tmp_path, retries=2, write=print, tell=told.append)
    assert (job.state, job.text) == ("failed", "killed by SIGKILL")
    assert [line.rpartition("; ")[2] for line in told] == ["attempt 2", "attempt 3"]
    first, *others = server.entrypoints
    assert first.endswith("mine.yaml --name mine --store sqlite:////x.db --set seed=3")
    assert others == [f"{first} --since 7.000"] * 2  # the head's clock at the first submission


def test_no_server_is_one_line(monkeypatch):
    address = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:1")  # --address goes before it
    printed = l2l("jobs", "--address", address, status=2)
    assert printed == (
        f"l2l: no answer from a cluster at {address}; check --address; a tunnel to the head is opened by: "
        "ray dashboard cluster.yaml\n"
    )
    assert os.environ["RAY_API_SERVER_ADDRESS"] == "http://127.0.0.1:1"
    printed = l2l("jobs", "--address", "head:6379", status=2)
    assert printed == ("l2l: --address: expected http://HOST:PORT, e.g. http://127.0.0.1:8265, got 'head:6379'\n")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgresql+psycopg://me:secret@db/l2l", r"expected a URL without a password, got .*me:\*\*\*@db.*pgpass"),
        ("postgresql+psycopg://me@db/l2l?password=secret", "expected a URL without a password"),
        ("sqlite:///l2l.db", "expected a file on the head node from its root, e.g. sqlite:////data/l2l.db"),
    ],
)
def test_a_store_that_would_be_shown_or_lost_is_refused_before_anything_is_sent(place, url, problem):
    printed = l2l("submit", "jobs/mine.yaml", "--store", url, "--address", "http://127.0.0.1:1", status=2)
    assert re.match(f"l2l: --store: {problem}", printed)
    assert "secret" not in printed
    with pytest.raises(ValueError, match="--store: expected a"):
        check_store(url)


def test_the_stores_that_a_job_may_have():
    for url in (None, "postgresql+psycopg://me@db:5432/l2l", "sqlite:////data/l2l.db"):
        check_store(url)


@pytest.mark.parametrize(
    ("state", "status", "text", "died"),
    [
        ("failed", -signal.SIGKILL, "", True),
        ("failed", 137, "", True),
        ("failed", None, "Job supervisor actor died: its node is gone", True),
        ("lost", None, "", True),
        ("failed", None, "runtime_env setup failed: no space left", False),
        ("failed", 1, "", False),
        ("failed", 2, "", False),
        ("failed", 130, "", False),
        ("failed", 75, "", True),
        ("failed", 127, "", False),
        ("stopped", None, "", False),
        ("succeeded", 0, "", False),
    ],
)
def test_only_a_driver_that_did_not_end_by_itself_is_worth_another_attempt(state, status, text, died):
    assert Submitted("x-1", "x", state, 0.0, 1.0, status, text).driver_died is died


def test_the_command_survives_the_shell_whatever_the_settings_are():
    nasty = "optimizee.path='a b'; $(touch /tmp/x) `x` \"y\""
    words = Submission("mine", "my job.yaml", "sqlite:////x.db", (nasty,), 3).entrypoint().removeprefix("exec python ")
    show = 'import sys; print("\\n".join(sys.argv[1:]))'
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -c '{show}' {words}"], capture_output=True, text=True, check=True
    )
    expected = ["-m", "l2l_snn.cluster.submission", "my job.yaml", "--name", "mine", "--store", "sqlite:////x.db"]
    assert done.stdout.splitlines() == [*expected, "--set", nasty, "--workers", "3"]


def test_a_job_without_a_store_is_refused_on_the_head_in_one_line():
    bare = {name: value for name, value in os.environ.items() if name != "L2L_STORE"}
    status, line = on_the_head("x.yaml", "--name", "x", environment=bare)
    todo = "name it with --store, or start Ray on the head node with L2L_STORE set"
    assert (status, line) == (2, f"l2l: store: expected a URL, got none; {todo}\n")
    status, line = on_the_head("x.yaml", "--name", "x", environment={**bare, "L2L_STORE": "sqlite:///x.db"})
    assert status == 2
    assert line.startswith("l2l: --store: expected a file on the head node from its root")


def test_names_are_free_and_allowed():
    from l2l_snn.storage.records import check_name

    assert len({free_name("x") for _ in range(50)}) == 50
    for stem in ("mine", "..", "a b/c", "x" * 200):
        assert check_name(free_name(stem))
