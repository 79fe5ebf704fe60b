"""The pool of workers: Ray actors on this machine or on a cluster, which may come and go while a run goes on.

    with RayPool(optimizee, chunk=4, timeout=60.0) as pool:                       # a Ray of its own, on this machine
        pool.evaluate(z, seeds)
    with RayPool(optimizee, address="auto", resources=Resources(gpus=0.5)) as pool:   # the cluster that this node is in
        pool.evaluate(z, seeds)

A worker is an actor that never restarts by itself. About once a second the pool compares what it has with what the
nodes that are alive can hold: actors of nodes that left are dropped, new ones are asked for, and whatever a lost actor
had under way is evaluated elsewhere. Nothing here waits without a bound.
"""

import logging
import math
import os
import pickle
import re
import signal
import socket
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.validate import check_count, check_range, message
from l2l_snn.workers.chunks import Backlog, Chunk, Lost, Outcome, here, run_chunk, size_alone, status
from l2l_snn.workers.evaluator import Evaluator, EvaluatorError

if TYPE_CHECKING:
    from l2l_snn.evaluation import WorkerStatus
    from l2l_snn.workers.resources import Resources

PATIENCE = 600.0  # s to wait for a worker while there is none
JOINING = 20.0  # s for nodes to join before a request that none of them can hold is refused
ANSWER = 10.0  # s that a head may take to answer the first time
SILENCE = 40.0  # s without an answer of the cluster's head; after 60, Ray would end this process without a word
LOOK = 1.0  # s between two looks at the nodes
QUIET = 10.0  # s without a worker before it is said, then once a minute

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Member:
    """One actor of the pool."""

    actor: Any
    worker: str = ""  # host:pid; "" until it answered its first call
    node: str = ""  # id
    chunk: Chunk | None = None  # under way
    since: float = field(default_factory=time.time)  # s since 1970, when it began that, or began to wait
    ends: float = math.inf  # s, time.monotonic() at which its chunk has taken too long


class RayPool(Evaluator):
    """Evaluates on Ray actors; lost ones are replaced.

    Ray starts, or the cluster is joined, with the first evaluation; `close` ends that.

    Args:
        optimizee: what the workers hold.
        chunk: individuals a worker takes at once.
        max_tries: how often a chunk may lose its worker.
        workers: how many at most; what fits on all nodes by default. On this machine that is one a CPU.
        resources: what each worker gets; one CPU by default.
        timeout: s that one individual may take, a chunk that many times its individuals. The first evaluation of
            a worker includes what it compiles.
        address: None for a Ray of its own on this machine; "auto" or "host:port" joins a cluster.
        patience: s to wait while there is no worker at all.
    """

    def __init__(
        self,
        optimizee: BatchOptimizee,
        chunk: int = 1,
        max_tries: int = 3,
        workers: int | None = None,
        *,
        resources: "Resources | None" = None,
        timeout: float | None = None,
        address: str | None = None,
        patience: float = PATIENCE,
    ):
        if resources is None:
            from l2l_snn.workers.resources import Resources

            resources = Resources()
        self.optimizee = optimizee
        self.chunk = check_count("chunk", chunk)
        self.workers = None if workers is None else check_count("workers", workers)
        self.resources = resources
        self.timeout = None if timeout is None else check_range("timeout", timeout, 0.0, open_low=True)
        if address is not None and not re.fullmatch(r"auto|[^/]+:\d+", address):
            raise ValueError(message("address", '"auto" or "host:port"', repr(address), "e.g. 10.0.0.1:6379"))
        self.address = address
        self.patience = check_range("patience", patience, 0.0)
        self._backlog = Backlog(optimizee, max_tries)
        self._new: Any = None  # makes an actor
        self._nodes: _Nodes | None = None
        self._members: list[_Member] = []
        self._calls: dict[Any, _Member] = {}  # by object reference
        self._failed_starts = 0  # since a worker started
        self._any_yet = False
        self._without = 0.0  # s, time.monotonic() since when there is no worker
        self._said = 0.0  # s, when that was said last
        self._due = 0.0  # s, when to look at the nodes next

    # the evaluator's side

    @property
    def slots(self) -> int:
        self._open()
        return max(1, len(self._members))

    def _free(self) -> bool:
        return any(member.worker and member.chunk is None for member in self._members)

    def _start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> None:
        member = next(member for member in self._members if member.worker and member.chunk is None)
        self._calls[member.actor.run.remote(chunk, z, seeds, with_grad)] = member
        member.chunk, member.since, member.ends = chunk, time.time(), math.inf
        if self.timeout is not None:
            member.ends = time.monotonic() + self._allowed(chunk)

    def _allowed(self, chunk: Chunk) -> float:
        """Return how many seconds a chunk may take."""
        assert self.timeout is not None
        size = chunk.stop - chunk.start
        return self.timeout * (size if chunk.alone is None else size_alone(self.optimizee, size))

    def _wait(self) -> tuple[Chunk, Outcome] | None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        self._keep()
        until = min((member.ends for member in self._members), default=math.inf) - time.monotonic()
        if not self._calls:
            time.sleep(0.05)  # the next look at the nodes brings some
            return None
        done, _ = ray.wait(list(self._calls), num_returns=1, timeout=min(max(until, 0.0), LOOK))
        if not done:
            return self._late()
        member = self._calls.pop(done[0])
        chunk, member.chunk, began = member.chunk, None, member.since
        member.since, member.ends = time.time(), math.inf
        try:
            answer = ray.get(done[0])
        except RayTaskError as error:  # our own code failed there: no retry can mend that
            raise EvaluatorError(f"the worker can't evaluate: {_first_line(error.cause)}") from error
        except RayError as error:
            self._drop(member)
            if chunk is not None:
                return chunk, Lost(_first_line(error), seconds=time.time() - began)
            self._failed_starts += 1
            if self._failed_starts > 3 * max(1, self._wanted()):
                text = f"{self._failed_starts} workers ended while they started, none could work"
                raise EvaluatorError(f"{text}: {_first_line(error)}") from error
            return None
        if chunk is None:
            member.worker, member.node = answer
            self._failed_starts, self._any_yet = 0, True
            return None
        return chunk, answer

    def _late(self) -> tuple[Chunk, Outcome] | None:
        """End a worker whose chunk takes too long; return the chunk."""
        for member in self._members:
            if member.chunk is not None and time.monotonic() >= member.ends:
                allowed = self._allowed(member.chunk)
                chunk = member.chunk
                self._drop(member)
                return chunk, Lost(f"longer than {allowed:g} s", late=True, seconds=allowed)
        return None

    def _abandon(self) -> None:
        for member in [member for member in self._members if member.chunk is not None]:
            self._drop(member)  # its evaluation can't be stopped otherwise

    def working(self) -> tuple["WorkerStatus", ...]:
        return tuple(
            status(member.worker, self.generation, member.chunk, member.since)
            for member in self._members
            if member.worker
        )

    # Ray and the members

    def _open(self) -> None:
        if self._nodes is not None:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import cloudpickle
        import ray

        need = self.resources
        try:
            with warnings.catch_warnings(), _signals_kept(), _inherited({} if self.address else need.environment()):
                # JAX warns of any fork; Ray's only starts its own programs
                warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called", category=RuntimeWarning)
                ray.init(log_to_driver=False, logging_level=logging.ERROR, **self._where())
            # pickled here, so that an actor that can't read it says so in a call and not by dying at its start
            stored = ray.put(cloudpickle.dumps(self.optimizee))
            nodes = _Nodes()
        except Exception as error:
            ray.shutdown()
            if self.address is not None:
                raise EvaluatorError(f"no Ray cluster answers at {self.address!r}: {_first_line(error)}") from error
            raise EvaluatorError(f"Ray did not start: {_first_line(error)}; --inline runs without it") from error
        made = ray.remote(_Worker).options(
            num_cpus=need.cpus,
            num_gpus=need.gpus,
            memory=need.memory or None,
            resources=need.custom or None,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            # merged into that of a Ray job, not put in its place; a Ray of our own has it from this process
            runtime_env={"env_vars": need.environment()} if self.address else None,
        )
        paths = [path for path in sys.path if Path(path).is_dir()]
        self._new = lambda: made.remote(stored, paths)
        self._nodes = nodes
        self._any_yet, self._failed_starts = False, 0
        self._without = self._said = time.monotonic()
        self._due = 0.0
        self._keep()

    def _where(self) -> dict[str, Any]:
        """Return what `ray.init` needs to start a Ray here, or to join one."""
        if self.address is not None:
            if self.address != "auto":
                host, _, port = self.address.rpartition(":")
                socket.create_connection((host, int(port)), timeout=ANSWER).close()  # Ray would try for ten minutes
            os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "2")  # its attempts, up to half a minute each
            return {"address": self.address, "namespace": f"l2l-{uuid.uuid4().hex}"}
        cpus = _cpus() if self.workers is None else math.ceil(self.workers * self.resources.cpus)
        # "local" never joins a cluster that happens to run here
        return {
            "address": "local",
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": 256 * 2**20,
        }

    def _wanted(self) -> int:
        """Return how many workers to have; one at least, which makes a cluster that can grow do so."""
        assert self._nodes is not None
        return self.workers or max(1, sum(self._nodes.hold(self.resources)))

    def _keep(self) -> None:
        """Bring the members in line with the nodes, and see to it that a pool without workers doesn't wait for ever."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK
        assert self._nodes is not None
        if self._nodes.silent() > SILENCE:
            raise EvaluatorError(f"the Ray cluster doesn't answer since {SILENCE:.0f} s; go on with: l2l resume")
        alive = {node["NodeID"] for node in self._nodes.alive}
        for member in [m for m in self._members if m.worker and m.chunk is None and m.node not in alive]:
            self._drop(member)
        wanted = self._wanted()
        starting = [member for member in self._members if not member.worker]
        for member in starting[: max(0, len(self._members) - wanted)]:
            self._drop(member)
        while len(self._members) < wanted:
            member = _Member(self._new())
            self._members.append(member)
            self._calls[member.actor.place.remote()] = member
        if any(member.worker for member in self._members):
            self._without = self._said = time.monotonic()
        else:
            self._bear()

    def _bear(self) -> None:
        """Say that there is no worker, and end when that has lasted too long."""
        assert self._nodes is not None
        fits = any(self._nodes.hold(self.resources))
        bound = self.patience
        if not fits and not self._any_yet and self.workers is None:
            bound = min(bound, JOINING)
        if not fits and self.address is None:  # nothing can join
            bound = 0.0
        waited = time.monotonic() - self._without
        why = self.resources.why_none([node["Resources"] for node in self._nodes.alive], self._nodes.free)
        if waited >= bound:
            raise EvaluatorError(why)
        if time.monotonic() - self._said > QUIET:
            self._said = time.monotonic() + 60.0 - QUIET
            log.warning("waiting for a worker, at most %.0f s: %s", bound, why)

    def _drop(self, member: _Member) -> None:
        """End a worker; the next look replaces it."""
        import ray

        ray.kill(member.actor)
        self._members.remove(member)
        self._calls = {call: other for call, other in self._calls.items() if other is not member}
        self._due = 0.0

    def close(self) -> None:
        """End the workers, and the local Ray."""
        if self._nodes is None:
            return
        import ray

        self._nodes.close()
        ray.shutdown()  # on a cluster, our actors end with this driver
        self._nodes, self._new = None, None
        self._members, self._calls = [], {}


@contextmanager
def _inherited(variables: dict[str, str]) -> Iterator[None]:
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


class _Nodes(threading.Thread):
    """Looks at the cluster's nodes in the background: a head that doesn't answer must not hold up the loop."""

    def __init__(self):
        super().__init__(name="l2l-nodes", daemon=True)
        self._ended = threading.Event()
        self._look()
        self.start()

    def _look(self) -> None:
        import ray

        self.free: Mapping[str, float] = ray.available_resources()
        self.alive: list[dict[str, Any]] = [node for node in ray.nodes() if node["Alive"]]
        self._seen = time.monotonic()

    def hold(self, need: "Resources") -> list[int]:
        """Return how many workers each node can hold."""
        return [need.fits(node["Resources"]) for node in self.alive]

    def silent(self) -> float:
        """Return for how many seconds the cluster hasn't answered."""
        return time.monotonic() - self._seen

    def run(self) -> None:
        while not self._ended.wait(LOOK):
            with suppress(Exception):  # whatever Ray raises without its head, `silent` tells
                self._look()

    def close(self) -> None:
        self._ended.set()
        self.join(timeout=5.0)  # a look that doesn't come back ends with the process


class _Worker:
    """What a Ray actor holds: the optimizee, read at the first call."""

    def __init__(self, stored: bytes, paths: list[str]):
        self._stored = stored
        self._optimizee: BatchOptimizee | None = None
        # behind what this node has itself, e.g. the working directory of a Ray job
        sys.path.extend(path for path in paths if path not in sys.path and Path(path).is_dir())

    def place(self) -> tuple[str, str]:
        """Read the optimizee; return host:pid and the node's id."""
        import ray

        self._optimizee = pickle.loads(self._stored)
        return here(), ray.get_runtime_context().get_node_id()

    def run(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, with_grad: bool) -> tuple[Evaluation, float, str]:
        assert self._optimizee is not None
        # arrays from Ray's object store are read-only; an optimizee may expect its own
        return run_chunk(self._optimizee, chunk, np.array(z), np.array(seeds), with_grad)


def _cpus() -> int:
    try:
        return len(os.sched_getaffinity(0))  # those that this process may use
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no text'}"
