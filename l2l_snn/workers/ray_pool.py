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
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np

from l2l_snn.evaluation import Wanted, WorkerStatus
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.validate import check_count, check_range, message
from l2l_snn.workers.base import EvaluatorError, Workers
from l2l_snn.workers.children import prepare_children
from l2l_snn.workers.chunks import Chunk, Done, Lost, Outcome, here, run_chunk, size_alone, worker_status
from l2l_snn.workers.cluster_view import LOOK, ClusterView, connect, first_line
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.patience import Patience

if TYPE_CHECKING:
    from l2l_snn.workers.resources import Resources

PATIENCE = 600.0  # s to wait for a worker while there is none
JOINING = 20.0  # s for nodes to join before a request that none of them can hold is refused
SILENCE = 40.0  # s without an answer of the cluster's head; after 60, Ray would end this process without a word
QUIET = 10.0  # s without a worker before it is said, then once a minute

log = logging.getLogger(__name__)


def RayPool(
    optimizee: BatchOptimizee,
    chunk: int = 1,
    max_tries: int = 3,
    workers: int | None = None,
    *,
    resources: "Resources | None" = None,
    timeout: float | None = None,
    address: str | None = None,
    patience: float = PATIENCE,
) -> Evaluator:
    """Return an evaluator that runs on Ray workers; the arguments are those of `Evaluator` and `RayWorkers`."""
    pool = RayWorkers(optimizee, workers, resources=resources, timeout=timeout, address=address, patience=patience)
    return Evaluator(optimizee, pool, chunk, max_tries)


@dataclass(eq=False)
class _Member:
    """One actor of the pool."""

    actor: Any
    worker: str = ""  # host:pid; "" until it answered its first call
    node: str = ""  # id
    chunk: Chunk | None = None  # under way
    since: float = field(default_factory=time.time)  # s since 1970, when it began that, or began to wait
    ends: float = math.inf  # s, time.monotonic() at which its chunk has taken too long


@final
class RayWorkers(Workers):
    """Ray actors; lost ones are replaced.

    `open` starts Ray or joins the cluster, `close` ends that.

    Args:
        optimizee: what the workers hold.
        number: how many at most; what fits on all nodes by default. On this machine that is one a CPU.
        resources: what each worker gets; one CPU by default.
        timeout: s that one individual may take, a chunk that many times its individuals. The first evaluation of
            a worker includes what it compiles.
        address: None for a Ray of its own on this machine; "auto" or "host:port" joins a cluster.
        patience: s to wait while there is no worker at all.
    """

    def __init__(
        self,
        optimizee: BatchOptimizee,
        number: int | None = None,
        *,
        resources: "Resources | None" = None,
        timeout: float | None = None,
        address: str | None = None,
        patience: float = PATIENCE,
    ):
        if resources is None:
            from l2l_snn.workers.resources import Resources

            resources = Resources()
        if address is not None and not re.fullmatch(r"auto|[^/]+:\d+", address):
            raise ValueError(message("address", '"auto" or "host:port"', repr(address), "e.g. 10.0.0.1:6379"))
        self._optimizee = optimizee
        self._number = None if number is None else check_count("workers", number)
        self._resources = resources
        self._timeout = None if timeout is None else check_range("timeout", timeout, 0.0, open_low=True)
        self._address = address
        self.patience = check_range("patience", patience, 0.0)
        self._patience = Patience("" if timeout is not None else "; a timeout in the job would end it")
        self._view: ClusterView | None = None
        self._make_actor: Any = None
        self._stored: Any = None  # reference to the pickled optimizee
        self._members: list[_Member] = []
        self._calls: dict[Any, _Member] = {}  # by object reference
        self._failed_starts = 0  # since a worker started
        self._any_yet = False
        self._without = 0.0  # s, time.monotonic() since when there is no worker
        self._said = 0.0  # s, when that was said last
        self._due = 0.0  # s, when to look at the nodes next

    def open(self) -> None:
        if self._view is not None:
            return
        import ray

        need = self._resources
        if self._address is None and need.cpus > (have := self._count_own_cpus()):  # Ray would believe it has more
            raise EvaluatorError(need.why_none([{"CPU": float(have)}], {}))
        view = connect(self._address, self._count_cpus(), need)
        try:
            self._stored = ray.put(_pickle_optimizee(self._optimizee))
        except Exception:
            view.close()
            raise
        made = ray.remote(_Worker).options(
            num_cpus=need.cpus,
            num_gpus=need.gpus,
            memory=need.memory or None,
            resources=need.custom or None,
            max_restarts=0,
            scheduling_strategy="SPREAD",
            # merged into that of a Ray job, not put in its place; a Ray of our own has it from this process
            runtime_env={"env_vars": need.environment()} if self._address else None,
        )
        paths = [path for path in sys.path if Path(path).is_dir()]
        self._make_actor = lambda: made.remote(self._stored, paths)
        self._view = view
        self._any_yet, self._failed_starts = False, 0
        self._without = self._said = time.monotonic()
        self._due = 0.0
        self._match_nodes(view)

    def hold(self, optimizee: BatchOptimizee) -> None:
        self._optimizee = optimizee
        if self._view is not None:
            import ray

            self._stored = ray.put(_pickle_optimizee(optimizee))
            for member in self._members:  # an actor's calls are run in their order
                member.actor.hold.remote(self._stored)

    def close(self) -> None:
        """End the workers, and the local Ray."""
        if self._view is None:
            return
        self._view.close()
        self._view, self._make_actor = None, None
        self._members, self._calls = [], {}

    @property
    def slots(self) -> int:
        return max(1, len(self._members))

    def status(self) -> tuple[WorkerStatus, ...]:
        members = [member for member in self._members if member.worker]
        return tuple(worker_status(member.worker, self.generation, member.chunk, member.since) for member in members)

    # chunks

    def idle(self) -> bool:
        return any(member.worker and member.chunk is None for member in self._members)

    def start(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, wanted: Wanted) -> None:
        member = next(member for member in self._members if member.worker and member.chunk is None)
        self._calls[member.actor.run.remote(chunk, z, seeds, wanted)] = member
        member.chunk, member.since, member.ends = chunk, time.time(), time.monotonic() + self._seconds_allowed(chunk)

    def _seconds_allowed(self, chunk: Chunk) -> float:
        """Return how many seconds a chunk may take."""
        if self._timeout is None:
            return math.inf
        size = chunk.stop - chunk.start
        return self._timeout * (size if chunk.alone is None else size_alone(self._optimizee, size))

    def wait(self) -> tuple[Chunk, Outcome] | None:
        import ray
        from ray.exceptions import RayError, RayTaskError

        assert self._view is not None  # opened
        self._match_nodes(self._view)
        until = min((member.ends for member in self._members), default=math.inf) - time.monotonic()
        if not self._calls:
            time.sleep(0.05)  # the next look at the nodes brings some
            return None
        done, _ = ray.wait(list(self._calls), num_returns=1, timeout=min(max(until, 0.0), LOOK))
        if not done:
            return self._end_late_chunk()
        member = self._calls.pop(done[0])
        chunk, member.chunk, began = member.chunk, None, member.since
        member.since, member.ends = time.time(), math.inf
        try:
            answer = ray.get(done[0])
        except RayTaskError as error:  # our own code failed there: no retry can mend that
            raise EvaluatorError(f"the worker can't evaluate: {first_line(error.cause)}") from error
        except RayError as error:
            self._drop_member(member)
            if chunk is not None:
                text = "generation %d, from individual %d: worker %s was lost: %s"
                first = chunk.start if chunk.alone is None else chunk.alone
                log.warning(text, self.generation, first, member.worker, first_line(error))
                return chunk, Lost(first_line(error), seconds=time.time() - began)
            self._failed_starts += 1
            if self._failed_starts > 3 * self._wanted_members(self._view):
                text = f"{self._failed_starts} workers ended while they started, none could work"
                raise EvaluatorError(f"{text}: {first_line(error)}") from error
            return None
        if chunk is None:
            member.worker, member.node, prints = answer
            if prints and not self._any_yet:
                log.warning("what the workers print is in %s/worker-*, on their node", Path(prints).parent)
            self._failed_starts, self._any_yet = 0, True
            return None
        self._patience.took(time.time() - began)
        return chunk, answer

    def _end_late_chunk(self) -> tuple[Chunk, Outcome] | None:
        """End a worker whose chunk takes too long; return the chunk."""
        for member in self._members:
            if member.chunk is not None and time.monotonic() >= member.ends:
                self._drop_member(member)
                allowed = self._seconds_allowed(member.chunk)
                return member.chunk, Lost(f"longer than {allowed:g} s", late=True, seconds=allowed)
        return None

    def abandon(self) -> None:
        for member in [member for member in self._members if member.chunk is not None]:
            self._drop_member(member)  # its evaluation can't be stopped otherwise

    # members

    def _count_cpus(self) -> int:
        """Return the CPUs of a Ray of our own."""
        if self._number is not None:
            return math.ceil(self._number * self._resources.cpus)
        return self._count_own_cpus()

    def _count_own_cpus(self) -> int:
        """Return how many CPUs this process may use."""
        try:
            return len(os.sched_getaffinity(0))
        except AttributeError:  # not Linux
            return os.cpu_count() or 1

    def _wanted_members(self, view: ClusterView) -> int:
        """Return how many workers to have; one at least, which makes a cluster that can grow do so."""
        return self._number or max(1, view.places(self._resources))

    def _match_nodes(self, view: ClusterView) -> None:
        """Bring the members in line with the nodes, and see to it that a pool without workers doesn't wait for ever."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK
        self._patience.look(self.status())
        if view.silence > SILENCE:
            raise EvaluatorError(f"the Ray cluster doesn't answer since {SILENCE:.0f} s; go on with: l2l resume")
        alive = view.alive
        for member in [m for m in self._members if m.worker and m.chunk is None and m.node not in alive]:
            self._drop_member(member)
        wanted = self._wanted_members(view)
        starting = [member for member in self._members if not member.worker]
        for member in starting[: max(0, len(self._members) - wanted)]:
            self._drop_member(member)
        while len(self._members) < wanted:
            member = _Member(self._make_actor())
            self._members.append(member)
            self._calls[member.actor.place.remote()] = member
        if any(member.worker for member in self._members):
            self._without = self._said = time.monotonic()
        else:
            self._wait_without_workers(view)

    def _wait_without_workers(self, view: ClusterView) -> None:
        """Say that there is no worker, and end when that has lasted too long."""
        fits = view.places(self._resources) > 0
        bound = self.patience
        if not fits and not self._any_yet and self._number is None:
            bound = min(bound, JOINING)
        if not fits and self._address is None:  # nothing can join
            bound = 0.0
        waited = time.monotonic() - self._without
        why = view.why_no_worker(self._resources)
        if waited >= bound:
            raise EvaluatorError(why)
        if time.monotonic() - self._said > QUIET:
            self._said = time.monotonic() + 60.0 - QUIET
            log.warning("waiting for a worker, at most %.0f s: %s", bound, why)

    def _drop_member(self, member: _Member) -> None:
        """End a worker; the next look replaces it."""
        import ray

        ray.kill(member.actor)
        self._members.remove(member)
        self._calls = {call: other for call, other in self._calls.items() if other is not member}
        self._due = 0.0


def _end_with_raylet() -> None:
    """Have the kernel end this worker with the raylet, its parent: when a driver is killed, none of them stays."""
    if sys.platform == "linux":
        import ctypes

        parent_death_signal = 1
        ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)


def _pickle_optimizee(optimizee: BatchOptimizee) -> bytes:
    """Return the optimizee for workers; classes of a notebook or a script travel whole.

    It is pickled here, so that an actor that can't read it says so in a call and not by dying at its start.

    Raises:
        EvaluatorError: it can't be pickled.
    """
    import cloudpickle

    try:
        return cloudpickle.dumps(optimizee)
    except Exception as error:
        raise EvaluatorError(f"the optimizee can't be sent to workers: {first_line(error)}") from error


class _Worker:
    """What a Ray actor holds: the optimizee, read at the first call."""

    def __init__(self, stored: bytes, paths: list[str]):
        self._stored = stored
        self._optimizee: BatchOptimizee | None = None
        # behind what this node has itself, e.g. the working directory of a Ray job
        sys.path.extend(path for path in paths if path not in sys.path and Path(path).is_dir())

    def place(self) -> tuple[str, str, str]:
        """Read the optimizee; return host:pid, the node's id, and the file of what this worker prints, or ""."""
        import ray

        self._optimizee = pickle.loads(self._stored)
        prepare_children("ray", type(self._optimizee).__module__)
        _end_with_raylet()
        prints = Path("/proc/self/fd/1")
        file = str(prints.readlink()) if prints.is_symlink() else ""
        return here(), ray.get_runtime_context().get_node_id(), file if file.startswith("/") else ""

    def hold(self, stored: bytes) -> None:
        """Evaluate with another optimizee from now on."""
        self._stored, self._optimizee = stored, pickle.loads(stored)

    def run(self, chunk: Chunk, z: np.ndarray, seeds: np.ndarray, wanted: Wanted) -> Done:
        assert self._optimizee is not None
        # arrays from Ray's object store are read-only; an optimizee may expect its own
        return run_chunk(self._optimizee, chunk, np.array(z), np.array(seeds), wanted)
