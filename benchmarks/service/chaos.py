"""Rounds in which a run's worker, node, driver or database is killed at random moments; its table must not show it.

    .venv/bin/python benchmarks/service/chaos.py --rounds 200 --rows runs/chaos.jsonl --markdown docs/results/chaos.md

Each round starts `l2l run` on a small cluster of this machine (a head and two nodes of one CPU), as a process of its
own, and does to it what its number and --seed say: at moments drawn at random it kills a worker, a node (which is
replaced), or the driver (which is resumed), or, with --postgres, stops the database and starts it again. Then the final
table of individuals, but for the seconds and the names of workers, must be the undisturbed run's byte for byte. A
round that isn't over after --limit seconds is a hang. Rounds are appended to the file of --rows; those that it has are
not done again.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from l2l_snn import Optimizee, Real, Space
from l2l_snn.results import tables
from l2l_snn.storage.store import Store

ROOT = Path(__file__).parents[2]
KINDS = ("worker", "node", "driver", "database")
SHORTEST, LONGEST = 0.02, 0.05  # s, an evaluation
JOB = """\
optimizee: {class: "chaos:Pausing"}
optimizer: {class: "optimizers.ga:GeneticAlgorithm", population: 16}
generations: 16
chunk: 2
"""
HEALTH = {  # a dead node is noticed after about a second
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}


@dataclass(frozen=True)
class Pausing(Optimizee):
    """A noisy sphere whose evaluation takes a time drawn with its seed."""

    pause: bool = True
    space = Space(x=Real(-1, 1, shape=(4,)))

    def evaluate(self, params, seed):
        noise = np.random.default_rng(seed)
        if self.pause:
            time.sleep(noise.uniform(SHORTEST, LONGEST))
        return -float(np.sum(params["x"] ** 2)) + 0.01 * np.random.default_rng(seed).standard_normal()


class Cluster:
    """A head that takes no work, and two nodes that may be killed."""

    def __init__(self):
        from ray.cluster_utils import Cluster as RayCluster

        self.settings = {"object_store_memory": 80 * 2**20, "include_dashboard": False, "dashboard_port": None}
        head = {"num_cpus": 0, "_system_config": HEALTH, **self.settings}
        self.ray = RayCluster(initialize_head=True, head_node_args=head)
        self.fill()

    def fill(self) -> None:
        """Replace the nodes that are gone."""
        alive = [node for node in self.ray.worker_nodes if not node.dead_processes()]
        for _ in range(2 - len(alive)):
            self.ray.add_node(num_cpus=1, **self.settings)

    def kill_node(self, random: np.random.Generator) -> bool:
        alive = [node for node in self.ray.worker_nodes if not node.dead_processes()]
        if not alive:
            return False
        self.ray.remove_node(alive[random.integers(len(alive))], allow_graceful=False)
        return True


def kill_worker(random: np.random.Generator) -> bool:
    """Kill one of the workers; return whether there was one."""
    ours = [p for p in psutil.Process().children(recursive=True) if _title(p).startswith("ray::_Worker")]
    if not ours:
        return False
    with suppress(psutil.NoSuchProcess):
        ours[random.integers(len(ours))].kill()
    return True


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline()[:1])
    return ""


@contextmanager
def database(postgres: bool, folder: Path) -> Iterator[tuple[str, object]]:
    """Give the store's URL, and the server that can be stopped, if any."""
    if not postgres:
        yield f"sqlite:///{folder / 'l2l.db'}", None
        return
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    from postgres import Server

    with Server() as server:
        yield server.database(), server


def table(url: str, name: str) -> str:
    """Return the final table, but for what depends on when and where it was evaluated."""
    return tables.individuals(url, name).drop(columns=["run", "seconds", "worker"]).to_csv()


def l2l(*arguments: str, folder: Path) -> subprocess.Popen:
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    with (folder / "l2l.log").open("a") as log:
        command = [sys.executable, "-m", "l2l_snn.cli", *arguments]
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def one_round(number: int, seed: int, cluster: Cluster, url: str, server, folder: Path, limit: float) -> dict:
    """Return what was done to a run in this round, and whether its table is the undisturbed one's."""
    random = np.random.default_rng([seed, number])
    name = f"round-{number}-{os.getpid()}"
    setting = f"seed={int(random.integers(10))}"
    began = time.monotonic()
    subprocess_l2l = ["--store", url, "--address", cluster.ray.address]
    kinds = [kind for kind in KINDS if kind != "database" or server is not None]
    plan = [kinds[number % len(kinds)]]  # and up to two more
    plan += [kinds[random.integers(len(kinds))] for _ in range(int(random.integers(3)))]
    kills: Counter[str] = Counter()
    resumes = 0
    cluster.fill()
    driver = l2l("run", "job.yaml", "--name", name, "--set", setting, *subprocess_l2l, folder=folder)
    hang = False
    try:
        while True:
            state, generation = _state(url, name)
            if state == "finished" and driver.poll() is not None:
                break
            if time.monotonic() - began > limit:
                hang = True
                break
            if driver.poll() is not None:  # killed by us, or ended by what we killed
                with suppress(Exception):
                    driver = l2l("resume", name, *subprocess_l2l, folder=folder)
                    resumes += 1
            elif plan and generation >= 1:
                time.sleep(random.uniform(0.0, 0.6))
                kind = plan.pop(0)
                if kind == "worker":
                    kills["worker"] += kill_worker(random)
                elif kind == "node":
                    kills["node"] += cluster.kill_node(random)
                    cluster.fill()
                elif kind == "driver" and driver.poll() is None:
                    driver.kill()
                    driver.wait()
                    kills["driver"] += 1
                elif kind == "database":
                    server.kill()
                    time.sleep(random.uniform(0.5, 3.0))
                    server.start()
                    kills["database"] += 1
            time.sleep(0.05)
    finally:
        driver.kill()  # a hang, or an end of this program
        driver.wait()
    same = not hang and table(url, name) == expected(url, setting, folder)
    seconds = round(time.monotonic() - began, 1)
    return {"round": number, "seed": seed, "kills": kills, "resumes": resumes, "same": same, "hang": hang} | {
        "seconds": seconds
    }


_EXPECTED: dict[str, str] = {}


def expected(url: str, setting: str, folder: Path) -> str:
    """Return the table of the undisturbed run in one process, which needn't pause."""
    if setting not in _EXPECTED:
        name = f"undisturbed-{setting.replace('=', '-')}-{os.getpid()}"
        quick = ["--set", setting, "--set", "optimizee.pause=false", "--store", url]
        done = l2l("run", "job.yaml", "--inline", "--name", name, *quick, folder=folder)
        if done.wait(timeout=300):
            raise SystemExit((folder / "l2l.log").read_text())
        _EXPECTED[setting] = table(url, name)
    return _EXPECTED[setting]


def _state(url: str, name: str) -> tuple[str, int]:
    with suppress(Exception), Store(url, create=False) as store:  # the run, or the database, isn't there
        stored = store.load(name)
        return stored.state, stored.generation
    return "", 0


def markdown(rows: list[dict]) -> str:
    kills = {kind: sum(row["kills"].get(kind, 0) for row in rows) for kind in KINDS}
    cells = [
        ("rounds", len(rows)),
        *((f"{kind}s killed" if kind != "database" else "databases stopped", n) for kind, n in kills.items()),
        ("resumes", sum(row["resumes"] for row in rows)),
        ("rounds whose table differs", sum(not row["same"] and not row["hang"] for row in rows)),
        ("hangs", sum(row["hang"] for row in rows)),
        ("seconds a round, median", float(np.median([row["seconds"] for row in rows]))),
    ]
    lines = ["| | |", "| --- | --- |", *(f"| {key} | {value:g} |" for key, value in cells)]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rows", type=Path, default=Path("runs/chaos.jsonl"), help="file of finished rounds")
    parser.add_argument("--limit", type=float, default=120.0, help="s that a round may take")
    parser.add_argument("--postgres", action="store_true", help="store in PostgreSQL, and stop it too")
    parser.add_argument("--markdown", type=Path, help="write the table there, under what the file has above it")
    options = parser.parse_args()
    os.environ["RAY_AUTH_MODE"] = "disabled"  # a cluster of this process alone
    options.rows.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    done = {row["round"] for row in rows if row["seed"] == options.seed}
    todo = [number for number in range(options.rounds) if number not in done]
    with tempfile.TemporaryDirectory(prefix="l2l-chaos-") as place, database(options.postgres, Path(place)) as at:
        folder = Path(place)
        (folder / "job.yaml").write_text(JOB)
        cluster = Cluster() if todo else None
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # not Ray's: end the cluster in any case
        try:
            for number in todo:
                assert cluster is not None
                row = one_round(number, options.seed, cluster, *at, folder, options.limit)
                with options.rows.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(json.dumps(row), flush=True)
                rows.append(row)
                if not row["same"]:
                    print((folder / "l2l.log").read_text()[-4000:], file=sys.stderr)
        finally:
            if cluster is not None:
                cluster.ray.shutdown()
    text = markdown(rows)
    print(text)
    if options.markdown:
        above = options.markdown.read_text().partition("| | |")[0] if options.markdown.exists() else "# Chaos\n\n"
        options.markdown.write_text(above + text)
    if not all(row["same"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
