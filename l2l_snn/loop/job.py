"""What a jobs/*.yaml file says: one experiment.

A `Job` is read from YAML with `module:Class` for the optimizee and the optimizer, checked whole before anything
runs, and stored with the run. Every complaint names file, line and key.
"""

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, ValidationError
from pydantic_core import to_json

from l2l_snn.entries import Entries
from l2l_snn.loop.components import (
    ClassNotHere,
    build,
    describe_class,
    describe_error,
    find_modules,
    is_ours,
    load_class,
)
from l2l_snn.loop.job_file import Complaint, JobError, apply_setting, apply_value, read
from l2l_snn.loop.restarts import Restarting
from l2l_snn.loop.schedules import Schedules, check_schedules, read_schedules, with_schedules, with_values
from l2l_snn.loop.start import Start, encode_individuals, read_individuals
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.space import Space
from l2l_snn.validate import describe, did_you_mean, message
from l2l_snn.workers.resources import Resources

if TYPE_CHECKING:
    from l2l_snn.storage.records import StoredRun
    from l2l_snn.storage.store import Store

STOPPING = ("generations", "stop", "max_failed", "max_tries", "timeout", "resources")  # may change when a run goes on
STORED = "stored job"  # where a complaint about a stored run's job stands


class Stop(Entries):
    """When to stop before all generations are done; any that holds stops the run."""

    fitness: float | None = None  # best fitness reached
    stagnation: Annotated[int, Field(ge=1)] | None = None  # generations without a better best
    evaluations: Annotated[int, Field(ge=1)] | None = None  # in all
    hours: Annotated[float, Field(gt=0)] | None = None  # of wall time, all drivers of the run together


class Restart(Entries):
    """When to start again with a new population, by stagnation; the best of all restarts counts."""

    stagnation: Annotated[int, Field(ge=1)]  # generations without a better individual since the last restart
    population: Annotated[float, Field(ge=0.1, le=10)] = 2.0  # factor on the population at each restart (IPOP: 2)
    times: Annotated[int, Field(ge=1)] = 9  # at most


class Resize(Entries):
    """How the population grows or shrinks."""

    factor: Annotated[float, Field(ge=0.1, le=10)]  # of the population, once in `every` generations
    every: Annotated[int, Field(ge=1)] = 1  # generations
    limit: Annotated[int, Field(ge=1)] = 100_000  # individuals at most


class Job(Entries):
    """One experiment, as the job file has it."""

    optimizee: dict[str, Any]  # class: module:Class, and its fields
    optimizer: dict[str, Any]  # class: module:Class, and its fields
    generations: Annotated[int, Field(ge=1)] = 100  # at most
    stop: Stop = Stop()
    start: Start | None = None
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
        entries = with_values(self.optimizee, self.schedules)
        return self.fit(build(entries, "optimizee", BatchOptimizee), build(self.optimizer, "optimizer", Optimizer))

    @property
    def schedules(self) -> Schedules:
        """How numbers of the optimizee change over the generations: dotted field -> schedule."""
        return read_schedules(self.optimizee)

    def fit(self, optimizee: BatchOptimizee, optimizer: Optimizer) -> tuple[BatchOptimizee, Optimizer]:
        """Return an optimizee and an optimizer that were built from this job, with its restarts, if they fit together.

        Raises:
            JobError: they don't, or the job's settings don't fit them.
        """
        _check_space(optimizee)
        if optimizer.needs_grad and not optimizee.has_grad:
            raise Complaint(
                "optimizer.class",
                f"{type(optimizer).__name__} needs a gradient and {type(optimizee).__name__} has none; "
                "subclass JaxOptimizee, or take an optimizer that needs only the fitness",
            )
        if optimizer.needs_experience and not optimizee.has_experience:
            raise Complaint(
                "optimizer.class",
                f"{type(optimizer).__name__} learns from what individuals met and did, and {type(optimizee).__name__} "
                "doesn't tell; take optimizees.gym:Gym, or an optimizer that needs only the fitness",
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
        if schedules := self.schedules:
            if self.asynchronous:
                field = f"optimizee.{next(iter(schedules))}"
                raise Complaint(
                    field, "a schedule counts generations, and with asynchronous there are none; take one out"
                )
            check_schedules(optimizee, schedules, self.generations)
        if self.start is not None:
            self._check_start(self.start, optimizee, optimizer)
        return optimizee, self._with_restarts(optimizer)

    def _check_start(self, start: Start, optimizee: BatchOptimizee, optimizer: Optimizer) -> None:
        """Refuse a start that the optimizer can't take, or individuals that the space hasn't."""
        start.check_entries()
        if self.asynchronous and start.take == "state":
            raise Complaint("start.take", "expected best or generation with asynchronous, got 'state'")
        try:
            if start.individuals is not None:
                z = encode_individuals(optimizee.space, start.individuals)
            else:
                z = optimizee.space.center[None]
            if start.take != "state":
                optimizer.started(optimizee.space, optimizer.init(optimizee.space, self.seed), z)
        except (ValueError, TypeError) as error:
            raise Complaint("start", str(error)) from error

    def _with_restarts(self, optimizer: Optimizer) -> Optimizer:
        """Return the optimizer with the job's restarts and changes of its population."""
        if not (self.restart or self.resize):
            return optimizer
        settings: dict[str, Any] = {} if self.resize is None else self.resize.model_dump()
        if self.restart is not None:
            again = self.restart
            settings |= {"stagnation": again.stagnation, "growth": again.population, "times": again.times}
        try:
            return Restarting(optimizer, **settings)
        except ValueError as error:
            key, _, text = str(error).partition(": ")
            raise Complaint(key, text) from error


def check_before_run(optimizee: BatchOptimizee, optimizer: Optimizer) -> None:
    """Refuse a population that this machine can't hold, and what the optimizer can't learn from.

    A replay may have other settings, such as the best actions of an agent that learned by sampled ones.

    Raises:
        JobError: see above.
    """
    _check_memory(optimizer, optimizee.space.size)
    if optimizer.needs_experience:
        try:
            optimizer.check_acting(optimizee)
        except ValueError as error:
            raise JobError(f"optimizer.class: {type(optimizer).__name__} can't learn from this: {error}") from error


def _check_memory(optimizer: Optimizer, size: int) -> None:
    """Refuse a population that this machine can't hold, before anything of it is made.

    An individual takes two vectors of its coordinates at least, and about 1 kB for its row.

    Args:
        optimizer: says P.
        size: D.

    Raises:
        JobError: P individuals need more than all memory.
    """
    try:
        P = optimizer.individuals(size)
    except TypeError:  # it has no such number
        return
    need, have = P * (16 * size + 1000), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > have:
        got = f"{P:,} of {size} coordinates, at least {need / 1e9:,.0f} GB"
        todo = f"this machine has {have / 1e9:,.0f} GB"
        raise JobError(message("optimizer.population", "individuals that fit into memory", got, todo))


def _check_space(optimizee: BatchOptimizee) -> None:
    """Refuse an optimizee that has no search space.

    Raises:
        Complaint: it can't be made, or is something else.
    """
    try:
        space = optimizee.space
    except (TypeError, ValueError) as error:
        raise Complaint("optimizee.class", str(error)) from error
    if not isinstance(space, Space):
        text = message(f"class {type(optimizee).__name__}: space", "a Space", describe(space))
        raise Complaint("optimizee.class", text)


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


def assemble(optimizee: BatchOptimizee, optimizer: Optimizer, settings: dict[str, Any]) -> Experiment:
    """Return the job of an optimizee and an optimizer that were made in Python, and both.

    Args:
        optimizee: the inner loop.
        optimizer: the algorithm.
        settings: the other entries of a job by name, and `schedules`: dotted field of the optimizee -> schedule.

    Raises:
        JobError: one line for each thing that is wrong.
    """
    settings = dict(settings)
    try:
        entries = {**describe_class(optimizee), **_list_fields(optimizee, "optimizee")}
        for field, schedule in (settings.pop("schedules", None) or {}).items():
            apply_value(entries, field, schedule)
        given = {
            "optimizee": entries,
            "optimizer": {**describe_class(optimizer), **_list_fields(optimizer, "optimizer")},
            **settings,
        }
        return _check_job(given, (), "", {}, (optimizee, optimizer))
    except Complaint as error:
        raise JobError(str(error)) from error


def load(path: Path, settings: Sequence[str] = ()) -> Experiment:
    """Return the job of a YAML file, with its defaults filled in, and its optimizee and optimizer.

    Args:
        path: the file. Modules are found from its directory and from the current one.
        settings: "key=value" each, dotted keys, values in YAML: "optimizer.population=64". Where one changes a class,
            entries of the file that the new class has no field for are left out.

    Raises:
        JobError: one line for each thing that is wrong, with file, line and key.
    """
    data, lines = read(path)
    find_modules(path.resolve().parent)
    return _check_job(data, settings, str(path), lines)


def change(job: Job, settings: Sequence[str]) -> Experiment:
    """Return a stored job with settings changed, and its optimizee and optimizer; see `load`."""
    return _check_job(job.model_dump(), settings, STORED, {})


class Untrusted(JobError):
    """An imported run's job names code that nobody here has vouched for."""


def foreign_code(run: "StoredRun") -> str:
    """Return which code an imported run's job names, and where; "" if it is this installation's, or the run's own.

    Building a job imports its classes' modules, and so runs them. A run that was made here has the job file that its
    user named; one that came from a folder may name any file of this machine, or one that came with it.
    """
    job = run.manifest.get("job")
    parts = [job.get(key) for key in ("optimizee", "optimizer")] if isinstance(job, dict) else []
    addresses = [str(part.get("class")) for part in parts if isinstance(part, dict)]
    foreign = [address for address in addresses if not is_ours(address)]
    return f"{' and '.join(foreign)}, of {_folder_of(run)}" if run.imported and foreign else ""


def stored_job(store: "Store", name: str, settings: Sequence[str] = (), *, trust: bool = False) -> Experiment:
    """Return the job of a stored run with settings changed, and its optimizee and optimizer; see `load`.

    Args:
        store: the store.
        name: the run.
        settings: "key=value" each, see `load`.
        trust: import code of others too, see `foreign_code`.

    Raises:
        Untrusted: the run was imported, with code of others.
        JobError: as `load`; or the search space has another number of coordinates than the run's genomes.
        StoreError: there is no such run.
    """
    run = store.load(name)
    job, optimizee, optimizer = change(read_stored(run, trust=trust), settings)
    if optimizee.space.size != run.space.size:
        where = "--set" if settings else STORED
        expected = f"a search space of {run.space.size} coordinates, as the run's genomes have"
        todo = "take a setting that leaves it" if settings else "its class has changed since"
        raise JobError(f"{where}: {message('optimizee', expected, optimizee.space.size, todo)}")
    return job, optimizee, optimizer


def read_stored(run: "StoredRun", *, trust: bool = False) -> Job:
    """Return the job of a stored run, whose modules can be imported from now on.

    Raises:
        Untrusted: the run was imported, with code of others, and there is no `trust` in it.
        JobError: this version can't read it.
    """
    found = foreign_code(run)
    if found and not trust:
        todo = (
            f"if you know what it does: l2l replay {run.name} --trust, in Python l2l_snn.load({run.name!r}, trust=True)"
        )
        raise Untrusted(f"run {run.name!r} was imported, and its job runs code that came with it, {found}; {todo}")
    if found or not run.imported:
        find_modules(_folder_of(run))
    try:
        return Job.model_validate(run.manifest.get("job"))
    except ValidationError as error:
        raise JobError(f"{STORED}: run {run.name!r} has none that this version can read") from error


def _folder_of(run: "StoredRun") -> Path:
    """Return where a run's job file is, or was."""
    return Path(str(run.manifest.get("file", ""))).parent


def _check_job(
    data: dict[str, Any],
    settings: Sequence[str],
    source: str,
    lines: dict[str, int],
    made: tuple[BatchOptimizee, Optimizer] | None = None,
) -> Experiment:
    """Return the job of plain data with settings applied and defaults filled in, or raise every complaint.

    Args:
        data: the job's entries.
        settings: "key=value" each.
        source: where complaints stand: a file, or "" of a job made in Python.
        lines: dotted key -> line in that file.
        made: the optimizee and the optimizer, where they exist already.
    """
    before = {key: data[key].get("class") for key in ("optimizee", "optimizer") if isinstance(data.get(key), dict)}
    set_keys = [apply_setting(data, setting) for setting in settings]
    for key in before:
        if f"{key}.class" in set_keys and data[key]["class"] != before[key]:
            kept = {k.split(".")[1] for k in set_keys if k.startswith(f"{key}.")} | {"class"}
            data[key] = _without_others(data[key], kept)

    def place(key: str) -> str:
        while key:
            if any(key == k or key.startswith(f"{k}.") for k in set_keys):
                return "--set: "
            if key in lines:
                return f"{source}:{lines[key]}: "
            if any(k.startswith(f"{key}.") for k in set_keys):
                return "--set: "
            key = key.rpartition(".")[0]
        return f"{source}: " if source else ""

    try:
        job = Job.model_validate(_with_individuals(data, Path(source).parent))
        optimizee, optimizer = job.build() if made is None else job.fit(*made)
        alone = optimizer.optimizer if isinstance(optimizer, Restarting) else optimizer
        fields_of = {"class": job.optimizee["class"], **_list_fields(optimizee, "optimizee")}
        filled = {
            "optimizee": with_schedules(fields_of, job.schedules),
            "optimizer": {"class": job.optimizer["class"], **_list_fields(alone, "optimizer")},
        }
    except ValidationError as error:
        keys = [".".join(str(part) for part in found["loc"]) for found in error.errors()]
        texts = [_describe_entry(found) for found in error.errors()]
        complaints = [f"{place(key)}{key}: {text}" for key, text in zip(keys, texts, strict=True)]
        raise JobError("\n".join(complaints)) from error
    except Complaint as error:
        where = place(error.key)
        again = "; this version can't read it: use the one that stored the run, or start a new run"
        unreadable = where == f"{STORED}: " and not isinstance(error.__cause__, ClassNotHere)
        raise JobError(f"{where}{error.key}: {error.text}{again if unreadable else ''}") from error
    return job.model_copy(update=filled), optimizee, optimizer


def _with_individuals(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a job's entries with the individuals of its start read from their file, so that the job holds them."""
    start = data.get("start")
    if not isinstance(start, dict) or not isinstance(start.get("individuals"), str):
        return data
    return {**data, "start": {**start, "individuals": read_individuals(start["individuals"], [Path.cwd(), folder])}}


def _without_others(component: dict[str, Any], kept: set[str]) -> dict[str, Any]:
    """Return a component's entries without those of another class: what its class has no field for, but for `kept`."""
    try:
        cls = load_class(component["class"])
    except JobError:  # said where it is built
        return component
    known = {field.name for field in fields(cls)} if is_dataclass(cls) else set()
    return {name: value for name, value in component.items() if name in known | kept}


def _list_fields(component: Any, key: str) -> dict[str, Any]:
    """Return a component's fields by their names, as the store keeps them.

    Raises:
        Complaint: one holds what JSON doesn't.
    """
    values = asdict(component)
    for name, value in values.items():
        try:
            to_json(value)
        except ValueError as error:
            todo = f"without an annotation, `{name} = ...`, it is no field but an attribute of the class"
            expected = "numbers, strings, booleans, lists or mappings"
            raise Complaint(f"{key}.{name}", f"expected {expected}, got {describe(value)}; {todo}") from error
    return values


def _describe_entry(error: Any) -> str:
    """Return what pydantic found wrong with an entry of a job."""
    if error["type"] != "extra_forbidden":
        return describe_error(error)
    *groups, name = error["loc"]
    models = {"stop": Stop, "start": Start, "restart": Restart, "resize": Resize, "resources": Resources}
    known = (models[groups[0]] if groups else Job).model_fields
    return f"unknown key, {did_you_mean(str(name), known)}"
