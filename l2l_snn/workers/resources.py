"""What each worker gets of a node: CPUs, GPUs, memory, and whatever a cluster names itself.

resources: {cpus: 2, gpus: 0.5, memory: 4 GiB, custom: {loihi: 1}}      # in a job file
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import ByteSize, Field, field_validator

from l2l_snn.entries import Entries
from l2l_snn.validate import message

# BLAS, OpenMP and XLA would otherwise take all cores in every worker
THREADS: tuple[str, ...] = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "PJRT_NPROC",
)
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Resources(Entries):
    """What each worker gets; a node that lacks any of it gets no worker."""

    cpus: Amount = 1.0  # also its threads, rounded down, one at least
    gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0  # below 1: workers share one
    memory: ByteSize = ByteSize(0)  # bytes, or e.g. "2 GiB", set aside on its node; nothing hinders it to take more
    custom: dict[str, Amount] = Field(default_factory=dict)  # Ray's custom resources: name -> amount

    @field_validator("gpus")
    @classmethod
    def _whole_above_one(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("expected a whole number above 1: a worker shares a GPU or has all of it")
        return gpus

    @field_validator("custom")
    @classmethod
    def _not_built_in(cls, custom: dict[str, float]) -> dict[str, float]:
        if taken := sorted({"CPU", "GPU", "memory", "object_store_memory"} & set(custom)):
            raise ValueError(f"expected names of your own, not {taken[0]}; there are the keys cpus, gpus and memory")
        return custom

    def needs(self) -> dict[str, tuple[str, float]]:
        """Return what a worker takes: Ray's name -> (key here, amount), without what it takes nothing of."""
        own = {"CPU": ("cpus", self.cpus), "GPU": ("gpus", self.gpus), "memory": ("memory", float(self.memory))}
        own |= {name: (f"custom.{name}", amount) for name, amount in self.custom.items()}
        return {name: entry for name, entry in own.items() if entry[1]}

    def fits(self, node: Mapping[str, float]) -> int:
        """Return how many workers a node can hold.

        Args:
            node: Ray's name -> amount, all that it has.

        >>> Resources(cpus=2, gpus=0.5).fits({"CPU": 8.0, "GPU": 1.0})
        2
        """
        return int(min(node.get(name, 0.0) / amount for name, (_, amount) in self.needs().items()) + 1e-9)

    def why_none(self, nodes: Sequence[Mapping[str, float]], free: Mapping[str, float]) -> str:
        """Return in one line why there is no worker.

        Args:
            nodes: what each node has.
            free: what of all of it nobody uses.
        """
        if not nodes:
            return "the Ray cluster has no node"
        have = Counter(_describe_resources(node) for node in nodes).most_common(5)
        text = "the nodes have " + ", ".join(f"{n} x ({one})" if n > 1 else f"({one})" for one, n in have)
        if any(self.fits(node) for node in nodes):
            return f"no worker could start: {text}, and of all that ({_describe_resources(free)}) is free"
        needs = self.needs().items()
        for name, (key, amount) in needs:
            if max(node.get(name, 0.0) for node in nodes) < amount:
                return message(f"resources.{key}", "at most what a node has", _check_amount(name, amount), text)
        got = ", ".join(f"{key} {_check_amount(name, amount)}" for name, (key, amount) in needs)
        return message("resources", "what one node has at once", got, text)

    def environment(self) -> dict[str, str]:
        """Return the environment of a worker: as many threads as CPUs, and no GPU but those that it was given."""
        threads = str(max(1, int(self.cpus)))
        variables: dict[str, str] = dict.fromkeys(THREADS, threads)
        if not self.gpus:
            variables |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
        elif self.gpus < 1:  # JAX takes three quarters of a GPU's memory for itself unless told
            variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 * self.gpus:.3f}"
        return variables  # Ray itself sets CUDA_VISIBLE_DEVICES where it gave some


def _check_amount(name: str, amount: float) -> str:
    return f"{amount / 2**30:.3g} GiB" if name == "memory" else f"{amount:g}"


def _describe_resources(resources: Mapping[str, float]) -> str:
    """Return resources as the user counts them, e.g. "CPU 4, GPU 1, memory 12 GiB"."""
    own = [name for name in resources if not name.startswith(("node:", "object_store_memory", "accelerator_type:"))]
    return ", ".join(f"{name} {_check_amount(name, resources[name])}" for name in sorted(own)) or "nothing"
