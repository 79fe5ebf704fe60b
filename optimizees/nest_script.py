"""A NEST user's own network as an optimizee: one method builds it, another sets parameters, simulates and reads.

    @dataclass(frozen=True)
    class Rate(NestScript):
        space = Space(weight=Real(1, 200))                      # pA

        def build(self):
            neurons, recorder = nest.Create("iaf_psc_alpha", 20), nest.Create("spike_recorder")
            nest.Connect(neurons, recorder)
            return neurons, recorder

        def read(self, network, params, seed):
            ...
            nest.Simulate(500.0)

The network is built once a worker. Each evaluation runs in a copy of that process, made by fork, so that it begins with
the network exactly as it was built: nothing that one individual leaves in the kernel reaches the next, and one that
crashes NEST is one bad row.
"""

import os
import pickle
import select
import signal
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from l2l_snn.optimizee import Optimizee
from l2l_snn.validate import Positive

_BUILT: dict[str, Any] = {}  # what this process's kernel holds: the optimizee, the kernel's number, its network


@dataclass(frozen=True)
class NestScript(Optimizee):
    """A network of NEST that is built once, by `build`, and evaluated by `read`."""

    resolution: Positive = 0.1  # ms, simulation step
    limit: Positive | None = None  # s that one evaluation may take

    @abstractmethod
    def build(self) -> Any:
        """Build the network in NEST's empty kernel; return whatever `read` needs of it."""

    @abstractmethod
    def read(self, network: Any, params: dict[str, Any], seed: int) -> Any:
        """Set the parameters, simulate, and read; NEST's random numbers follow from the seed.

        Args:
            network: what `build` returned.
            params: name -> decoded value.
            seed: of the evaluation.

        Returns:
            As of `Optimizee.evaluate`.
        """

    def evaluate(self, params: dict[str, Any], seed: int) -> Any:
        """Return what `read` returns in a copy of this process.

        Raises:
            RuntimeError: it raised, with the text and the traceback as a note, or the copy crashed.
            TimeoutError: it took longer than `limit`.
        """
        from l2l_snn.snn.nest.kernel import claim_kernel, in_kernel, nest, new_kernel

        if _BUILT.get("optimizee") != self or not in_kernel(_BUILT["number"]):
            new_kernel(self.resolution)
            network = self.build()  # which may reset the kernel once more
            _BUILT.update(optimizee=self, number=claim_kernel(), network=network)

        def read() -> Any:
            nest.rng_seed = seed
            return self.read(_BUILT["network"], params, seed)

        return evaluate_in_copy(read, self.limit)


def evaluate_in_copy(act: Callable[[], Any], limit: float | None = None) -> Any:
    """Return what `act` returns in a copy of this process, which is left as it was.

    Args:
        act: what it returns is pickled.
        limit: s that it may take.

    Raises:
        RuntimeError: `act` raised, or the copy ended without an answer.
        TimeoutError: it took too long.
    """
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(ours)
            with os.fdopen(theirs, "wb") as file:
                pickle.dump(_answer(act), file)
            status = 0
        finally:
            os._exit(status)  # past everything that this process would do at its end
    os.close(theirs)
    data, ends = b"", None if limit is None else time.monotonic() + limit
    try:
        while True:
            if not select.select([ours], [], [], None if ends is None else max(0.0, ends - time.monotonic()))[0]:
                raise TimeoutError(f"longer than {limit:g} s")
            part = os.read(ours, 1 << 20)
            if not part:
                break
            data += part
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(ours)
        _, status = os.waitpid(child, 0)
    if not data or status:
        code = os.waitstatus_to_exitcode(status)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        raise RuntimeError(f"the simulation ended by {how}, without an answer")
    ok, found = pickle.loads(data)  # of our own copy
    if ok:
        return found
    error = RuntimeError(found[0])
    error.add_note(found[1])
    raise error


def _answer(act: Callable[[], Any]) -> tuple[bool, Any]:
    """Return (True, what `act` returns), or (False, (text, traceback))."""
    try:
        return True, act()
    except BaseException as error:
        return False, (f"{type(error).__name__}: {error}", traceback.format_exc())
