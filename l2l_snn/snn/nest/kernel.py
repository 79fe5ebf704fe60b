"""NEST's kernel, of which a process has one; the only file that imports nest."""

import os
from collections.abc import Iterable
from importlib import import_module
from operator import attrgetter
from typing import Any

os.environ.setdefault("PYNEST_QUIET", "1")  # no banner in every worker

nest: Any = import_module("nest")  # made at run time: a type checker can't see what is in it
# the public calls read all nodes before they set them: 10 us a node, not 0.4
api: Any = import_module("nest.nestkernel_api")
handles = attrgetter("_datum")  # what those calls take of a collection; PyNEST has no public name for it
nest.verbosity = nest.VerbosityLevel.ERROR

# A setting of waveform relaxation, which our networks don't use, holds a network's number: a script that resets the
# kernel behind our back resets it too.
_MARK = "wfr_max_iterations"
_networks = 1_000_000  # one less than the number of the first


def new_kernel(resolution: float) -> int:
    """Empty the kernel for another network, and return its number: one that was built before is gone.

    Args:
        resolution: simulation step, ms.
    """
    nest.ResetKernel()
    nest.SetKernelStatus({"resolution": resolution, "local_num_threads": 1})
    return claim_kernel()


def claim_kernel() -> int:
    """Return a new number for what the kernel holds now."""
    global _networks
    _networks += 1
    nest.SetKernelStatus({_MARK: _networks})
    return _networks


def in_kernel(network: int) -> bool:
    """Return whether the network of a number is the one that the kernel holds."""
    return network == _networks == nest.GetKernelStatus(_MARK)


def set_neurons(neurons: Any, **status: float | bool) -> None:
    """Set the status of all neurons of a collection."""
    api.llapi_set_nc_status(handles(neurons), [status])


def set_weights(connections: Any, weights: Iterable[float]) -> None:
    """Set the weights of connections, one after the other."""
    api.llapi_set_connection_status(handles(connections), [{"weight": w} for w in weights])
