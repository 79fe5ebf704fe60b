"""What a jobs/*.yaml file says: one experiment.

A `Job` is read from YAML with `module:Class` for the optimizee and the optimizer, checked whole before anything
runs, and stored with the run. Every complaint names file, line and key.
"""

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from l2l_snn.loop.components import build, describe_error, find_modules
from l2l_snn.loop.job_file import Complaint, JobError, apply_setting, read
from l2l_snn.loop.restarts import Restarting
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.validate import did_you_mean
from l2l_snn.workers.resources import Resources

if TYPE_CHECKING:
    from l2l_snn.storage.store import Store

STOPPING = ("generations", "stop", "max_failed", "max_tries", "timeout", "resources")  # may change when a run goes on
STORED = "stored job"  # where a complaint about a stored run's job stands


class Stop(BaseModel):
    """When to stop before all generations are done; any that holds stops the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fitness: float | None = None  # best fitness reached
    stagnation: Annotated[int, Field(ge=1)] | None = None  # generations without a better best
    evaluations: Annotated[int, Field(ge=1)] | None = None  # in all
    hours: Annotated[float, Field(gt=0)] | None = None  # of wall time, all drivers of the run together


class Restart(BaseModel):
    """When to start again with a new population, by stagnation; the best of all restarts counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stagnation: Annotated[int, Field(ge=1)]  # generations without a better individual since the last restart
    population: Annotated[float, Field(ge=0.1, le=10)] = 2.0  # factor on the population at each restart (IPOP: 2)
    times: Annotated[int, Field(ge=1)] = 9  # at most


class Resize(BaseModel):
    """How the population grows or shrinks."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    factor: Annotated[float, Field(ge=0.1, le=10)]  # of the population, once in `every` generations
    every: Annotated[int, Field(ge=1)] = 1  # generations
    limit: Annotated[int, Field(ge=1)] = 100_000  # individuals at most


class Job(BaseModel):
    """One experiment, as the job file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    optimizee: dict[str, Any]  # class: module:Class, and its fields
    optimizer: dict[str, Any]  # class: module:Class, and its fields
    generations: Annotated[int, Field(ge=1)] = 100  # at most
    stop: Stop = Stop()
    restart: Restart | None = None
    resize: Resize | None = None
    asynchronous: bool = False  # ask for one more as soon as one is told, without waiting for a generation
    seed: Annotated[int, Field(ge=0)] = 1  # of everything random in the run
    seeds: Literal["individual", "generation", "run"] = "individual"  # which evaluations share a seed
    chunk: Annotated[int, Field(ge=1)] = 1  # individuals a worker takes at once
    max_failed: Annotated[float, Field(ge=0, le=1)] = 0.5  # a larger share of failures in a generation stops the run
    max_tries: Annotated[int, Field(ge=1)] = 3  # how often a chunk may lose its worker
    timeout: Annotated[float, Field(gt=0)] | None = None  # s for one individual; a worker that takes longer is ended
    resources: Resources = Resources()  # of each worker
    genomes: Literal["all", "elite", "none"] = "all"  # which are kept; elite: those as good as all before them

    def build(self) -> tuple[BatchOptimizee, Optimizer]:
        """Return the optimizee and the optimizer.

        Raises:
            JobError: a class or one of its fields is wrong.
        """
        optimizee = build(self.optimizee, "optimizee", BatchOptimizee)
        optimizer = build(self.optimizer, "optimizer", Optimizer)
        if optimizer.needs_grad and not optimizee.has_grad:
            raise Complaint(
                "optimizer.class",
                f"{type(optimizer).__name__} needs a gradient and {type(optimizee).__name__} has none; "
                "subclass JaxOptimizee, or take an optimizer that needs only the fitness",
            )
        if optimizer.averages and self.seeds != "individual":
            text = f"{type(optimizer).__name__} averages several evaluations of one point; with {self.seeds!r} they'd "
            raise Complaint("seeds", text + "all be the same; expected 'individual', or one evaluation")
        if self.asynchronous and not optimizer.asynchronous:
            text = (
                f"{type(optimizer).__name__} learns from whole generations; take one that needn't, e.g. SteadyStateGA"
            )
            raise Complaint("asynchronous", text)
        if self.asynchronous and (self.restart or self.resize):
            raise Complaint("asynchronous", "there are no generations to restart or resize after; take one of them out")
        return optimizee, self._with_restarts(optimizer)

    def _with_restarts(self, optimizer: Optimizer) -> Optimizer:
        """Return the optimizer with the job's restarts and changes of its population."""
        if not (self.restart or self.resize):
            return optimizer
        fields: dict[str, Any] = {} if self.resize is None else self.resize.model_dump()
        if self.restart is not None:
            again = self.restart
            fields |= {"stagnation": again.stagnation, "growth": again.population, "times": again.times}
        try:
            return Restarting(optimizer, **fields)
        except ValueError as error:
            key, _, text = str(error).partition(": ")
            raise Complaint(key, text) from error


Experiment = tuple[Job, BatchOptimizee, Optimizer]


def manifest(job: Job, path: Path) -> dict[str, Any]:
    """Return what a run has to remember of where it came from: the resolved job, its file, versions, git commit."""

    def installed(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    packages = ("l2l-snn", "nest-simulator", "jax", "ray", "numpy", "deap", "gymnasium")
    git = ["git", "-C", str(path.resolve().parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=False, timeout=5).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        commit = ""
    return {
        "job": job.model_dump(mode="json"),
        "file": str(path.resolve()),
        "versions": {"python": platform.python_version(), **{name: installed(name) for name in packages}},
        "commit": commit or None,
    }


def load(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """Return the job of a YAML file, with its defaults filled in, and its optimizee and optimizer.

    Args:
        path: the file. Modules are found from its directory and from the current one.
        settings: "key=value" each, dotted keys, values in YAML: "optimizer.population=64".

    Raises:
        JobError: one line for each thing that is wrong, with file, line and key.
    """
    data, lines = read(path)
    find_modules(path.resolve().parent)
    return _check_job(data, settings, str(path), lines)


def change(job: Job, settings: Sequence[str]) -> Experiment:
    """Return a stored job with settings changed, and its optimizee and optimizer; see `load`."""
    return _check_job(job.model_dump(), settings, STORED, {})


def stored_job(store: "Store", name: str, settings: Sequence[str] = ()) -> Experiment:
    """Return the job of a stored run with settings changed, and its optimizee and optimizer; see `load`.

    Raises:
        JobError: as `load`.
        StoreError: there is no such run.
    """
    manifest = store.load(name).manifest
    find_modules(Path(manifest["file"]).parent)
    return change(Job.model_validate(manifest["job"]), settings)


def _check_job(data: dict[str, Any], settings: Sequence[str], source: str, lines: dict[str, int]) -> Experiment:
    """Return the job of plain data with settings applied and defaults filled in, or raise every complaint."""
    set_keys = [apply_setting(data, setting) for setting in settings]

    def place(key: str) -> str:
        if any(key == k or key.startswith(f"{k}.") for k in set_keys):
            return "--set"
        while key and key not in lines:
            key = key.rpartition(".")[0]
        return f"{source}:{lines[key]}" if key else source

    try:
        job = Job.model_validate(data)
        optimizee, optimizer = job.build()
    except ValidationError as error:
        keys = [".".join(str(part) for part in found["loc"]) for found in error.errors()]
        texts = [_describe_entry(found) for found in error.errors()]
        complaints = [f"{place(key)}: {key}: {text}" for key, text in zip(keys, texts, strict=True)]
        raise JobError("\n".join(complaints)) from error
    except Complaint as error:
        where = place(error.key)
        again = "; this version can't read it: use the one that stored the run, or start a new run"
        raise JobError(f"{where}: {error.key}: {error.text}{again if where == STORED else ''}") from error
    alone = optimizer.optimizer if isinstance(optimizer, Restarting) else optimizer
    filled = {
        "optimizee": {"class": job.optimizee["class"], **asdict(optimizee)},  # pyright: ignore[reportArgumentType]
        "optimizer": {"class": job.optimizer["class"], **asdict(alone)},  # pyright: ignore[reportArgumentType]
    }
    return job.model_copy(update=filled), optimizee, optimizer


def _describe_entry(error: Any) -> str:
    """Return what pydantic found wrong with an entry of a job."""
    if error["type"] != "extra_forbidden":
        return describe_error(error)
    *groups, name = error["loc"]
    models = {"stop": Stop, "restart": Restart, "resize": Resize, "resources": Resources}
    known = (models[groups[0]] if groups else Job).model_fields
    return f"unknown key, {did_you_mean(str(name), known)}"
