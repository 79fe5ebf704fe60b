"""Ray clusters for tests: nodes are real processes of this machine, with the resources that a test says they have."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

STORE = 80 * 2**20  # bytes of an object store, the least that Ray takes
HEALTH = {  # a dead node is noticed after about a second; Ray's own settings take 12
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
# Ray turns tokens on in a process that started a Ray of its own; it could join no cluster without tokens after that
os.environ.setdefault("RAY_AUTH_MODE", "disabled")


class Nodes:
    """A head that takes no work, and nodes that come and go."""

    def __init__(self):
        from ray.cluster_utils import Cluster

        self._settings = {"object_store_memory": STORE, "include_dashboard": False, "dashboard_port": None}
        self._cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "_system_config": HEALTH, **self._settings}
        )

    @property
    def address(self) -> str:
        return self._cluster.address

    def add(self, cpus: int = 1, **resources: Any) -> Any:
        return self._cluster.add_node(num_cpus=cpus, **resources, **self._settings)

    def remove(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)

    def alive(self) -> list[Any]:
        """Return the nodes beside the head whose raylet runs."""
        return [node for node in self._cluster.worker_nodes if not node.dead_processes()]

    def at_least(self, number: int) -> None:
        """Add nodes of one CPU until there are so many."""
        for _ in range(number - len(self.alive())):
            self.add()

    def close(self) -> None:
        self._cluster.shutdown()


@contextmanager
def nodes() -> Iterator[Nodes]:
    cluster = Nodes()
    try:
        yield cluster
    finally:
        cluster.close()


def free_ports(number: int) -> list[int]:
    """Return ports that were free a moment ago, outside of those that Ray gives to workers."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(3 * number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1] for probe in probes]
    return [port for port in ports if not 10002 <= port <= 19999][:number]


@contextmanager
def head(port: int, cpus: int = 2, wait: float = 120.0) -> Iterator[subprocess.Popen]:
    """Start a head as its users do; kill all of its processes at the end."""
    names = ["dashboard-agent-listen-port", "dashboard-agent-grpc-port", "runtime-env-agent-port"]
    names += ["metrics-export-port", "node-manager-port", "object-manager-port", "ray-client-server-port"]
    command = [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", f"--num-cpus={cpus}"]
    command += ["--node-ip-address=127.0.0.1", f"--port={port}", "--include-dashboard=false"]
    command += [f"--{name}={other}" for name, other in zip(names, free_ports(len(names)), strict=True)]
    with tempfile.TemporaryDirectory(prefix="l2l-", ignore_cleanup_errors=True) as place:  # short, for Unix sockets
        log = Path(place, "head.log")
        command += [f"--object-store-memory={STORE}", f"--temp-dir={place}/ray", "--disable-usage-stats"]
        with log.open("w") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + wait
            while "Ray runtime started" not in log.read_text():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield process
        finally:
            kill(process.pid)
            process.wait(timeout=60)


def kill(pid: int) -> None:
    """Kill a process and all that it started."""
    try:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(tree, timeout=30)
