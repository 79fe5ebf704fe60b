"""What a driver sees of its Ray: it starts one on this machine or joins a cluster, and looks at the nodes."""

import logging
import os
import signal
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from l2l_snn.workers.base import EvaluatorError

if TYPE_CHECKING:
    from l2l_snn.workers.resources import Resources

ANSWER = 10.0  # s that a head may take to answer the first time
LOOK = 1.0  # s between two looks at the nodes

log = logging.getLogger(__name__)


def connect(address: str | None, cpus: int, need: "Resources") -> "ClusterView":
    """Start a Ray on this machine, or join a cluster; return the view of its nodes.

    Args:
        address: None for a Ray of its own on this machine; "auto" or "host:port" joins a cluster.
        cpus: CPUs of a Ray of its own.
        need: what each worker gets; a Ray of its own hands its environment on to the workers.

    Raises:
        EvaluatorError: Ray didn't start, or no cluster answers; nothing is left of it.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    try:
        with warnings.catch_warnings(), _signals_kept(), _environment_set({} if address else need.environment()):
            # JAX warns of any fork; Ray's only starts its own programs
            warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
            _quieten_ray()
            where = _own_ray(cpus) if address is None else _joined_cluster(address)
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
        return ClusterView()
    except Exception as error:
        ray.shutdown()
        if address is not None:
            raise EvaluatorError(f"no Ray cluster answers at {address!r}: {first_line(error)}") from error
        raise EvaluatorError(f"Ray did not start: {first_line(error)}; --inline runs without it") from error


def _quieten_ray() -> None:
    """Let Ray's long texts about each lost worker go to the log for debugging: the pool says it in a line."""
    from ray._private import worker  # there is no public switch: `log_to_driver` leaves these

    def debug(data: Mapping[str, Any], ignore_prefix: bool) -> None:
        log.debug("%s", "\n".join(data.get("lines", ())))

    worker.print_to_stdstream = debug


def _own_ray(cpus: int) -> dict[str, Any]:
    """Return what `ray.init` needs to start a Ray here."""
    # "local" never joins a cluster that happens to run here
    return {"address": "local", "num_cpus": cpus, "include_dashboard": False, "object_store_memory": 256 * 2**20}


def _joined_cluster(address: str) -> dict[str, Any]:
    """Return what `ray.init` needs to join a cluster, which has answered."""
    if address != "auto":
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=ANSWER).close()  # Ray would try for ten minutes
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "2")  # its attempts, up to half a minute each
    return {"address": address, "namespace": f"l2l-{uuid.uuid4().hex}"}


class ClusterView(threading.Thread):
    """Looks at the cluster's nodes in the background: a head that doesn't answer must not hold up the loop."""

    def __init__(self):
        super().__init__(name="l2l-nodes", daemon=True)
        self._ended = threading.Event()
        self._look_at_nodes()
        self.start()

    def _look_at_nodes(self) -> None:
        import ray

        self._free: Mapping[str, float] = ray.available_resources()
        self._alive: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]
        self._seen = time.monotonic()

    def run(self) -> None:
        while not self._ended.wait(LOOK):
            with suppress(Exception):  # whatever Ray raises without its head, `silence` tells
                self._look_at_nodes()

    @property
    def alive(self) -> set[str]:
        """The ids of the nodes that are alive."""
        return {node["NodeID"] for node in self._alive}

    def places(self, need: "Resources") -> int:
        """Return how many workers all nodes can hold."""
        return sum(need.fits(node["Resources"]) for node in self._alive)

    def why_no_worker(self, need: "Resources") -> str:
        """Return in one line why there is no worker."""
        return need.why_none([node["Resources"] for node in self._alive], self._free)

    @property
    def silence(self) -> float:
        """For how many seconds the cluster hasn't answered."""
        return time.monotonic() - self._seen

    def close(self) -> None:
        """Look no more, and leave the cluster; a Ray of its own ends."""
        import ray

        self._ended.set()
        self.join(timeout=5.0)  # a look that doesn't come back ends with the process
        ray.shutdown()  # on a cluster, our actors end with this driver


@contextmanager
def _environment_set(variables: dict[str, str]) -> Iterator[None]:
    """Set environment variables for what is started within."""
    kept = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep how this process answers a polite kill: Ray puts a handler of its own in place, which ends it at once."""
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and kept is not None:
            signal.signal(signal.SIGTERM, kept)


def first_line(error: BaseException) -> str:
    """Return an error's class and the first line of its text."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no text'}"
