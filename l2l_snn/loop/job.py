"""What a jobs/*.yaml file says: one experiment.

A `Job` is read from YAML with `module:Class` for the optimizee and the optimizer, checked whole before anything
runs, and stored with the run. Every complaint names file, line and key.
"""

import importlib
import platform
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from l2l_snn.loop.restarts import Restarting
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.optimizer import Optimizer
from l2l_snn.validate import did_you_mean
from l2l_snn.workers.resources import Resources

STOPPING = ("generations", "stop", "max_failed", "max_tries", "timeout", "resources")  # may change when a run goes on
LARGEST = 200_000  # characters of a job file; it is read by a slow parser
MOST_ENTRIES = 20_000  # of a job file


class JobError(Exception):
    """A job that can't be run; the text has one line for each complaint."""


class Stop(BaseModel):
    """When to stop before all generations are done; any that holds stops the run."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fitness: float | None = None  # best fitness reached
    stagnation: Annotated[int, Field(ge=1)] | None = None  # generations without a better best
    evaluations: Annotated[int, Field(ge=1)] | None = None
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
    factor: Annotated[float, Field(ge=0.1, le=10)]  # on the population ...
    every: Annotated[int, Field(ge=1)] = 1  # ... once in so many generations
    limit: Annotated[int, Field(ge=1)] = 100_000  # individuals at most


class Job(BaseModel):
    """One experiment, as the job file has it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    optimizee: dict[str, Any]  # class: module:Class, and its fields
    optimizer: dict[str, Any]
    generations: Annotated[int, Field(ge=1)] = 100
    stop: Stop = Stop()
    restart: Restart | None = None
    resize: Resize | None = None
    asynchronous: bool = False  # ask for one more as soon as one is told, without waiting for a generation
    seed: Annotated[int, Field(ge=0)] = 1
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
        optimizee, optimizer = (
            _build(self.optimizee, "optimizee", BatchOptimizee),
            _build(self.optimizer, "optimizer", Optimizer),
        )
        if optimizer.needs_grad and not optimizee.has_grad:
            raise _Complaint(
                "optimizer.class",
                f"{type(optimizer).__name__} needs a gradient and {type(optimizee).__name__} has none; "
                "subclass JaxOptimizee, or take an optimizer that needs only the fitness",
            )
        if optimizer.averages and self.seeds != "individual":
            text = f"{type(optimizer).__name__} averages several evaluations of one point; with {self.seeds!r} they'd "
            raise _Complaint("seeds", text + "all be the same; expected 'individual', or one evaluation")
        if self.asynchronous and not optimizer.asynchronous:
            text = (
                f"{type(optimizer).__name__} learns from whole generations; take one that needn't, e.g. SteadyStateGA"
            )
            raise _Complaint("asynchronous", text)
        if self.asynchronous and (self.restart or self.resize):
            raise _Complaint(
                "asynchronous", "there are no generations to restart or resize after; take one of them out"
            )
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
            raise _Complaint(key, text) from error


class _Complaint(JobError):
    """A complaint about one key, before file and line are known."""

    def __init__(self, key: str, text: str):
        super().__init__(f"{key}: {text}")
        self.key, self.text = key, text


def load(path: Path, settings: Sequence[str] = ()) -> Job:
    """Return the job of a YAML file, with its defaults filled in.

    Args:
        path: the file. Modules are found from its directory and from the current one.
        settings: "key=value" each, dotted keys, values in YAML: "optimizer.population=64".

    Raises:
        JobError: one line for each thing that is wrong, with file, line and key.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from error
    if len(text) > LARGEST:
        raise JobError(f"{path}: expected a job file of at most {LARGEST} characters, got more; is it another file?")
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if _entries(node, {}) > MOST_ENTRIES:
            raise JobError(f"{path}: expected at most {MOST_ENTRIES} entries, got more, anchors (&, *) written out")
        data = loader.construct_document(node) if node else None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise JobError(f"{place}: not YAML: {getattr(error, 'problem', None) or error}") from error
    except (ValueError, RecursionError) as error:
        raise JobError(f"{path}: not YAML: {error}") from error
    finally:
        loader.dispose()
    if not isinstance(data, dict):
        raise JobError(f"{path}:1: expected a mapping with 'optimizee' and 'optimizer', got {type(data).__name__}")
    lines = _lines(node, path)
    find_modules(path.resolve().parent)
    return _checked(data, settings, str(path), lines)


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


def change(job: Job, settings: Sequence[str]) -> Job:
    """Return a stored job with settings changed; see `load` for their form."""
    return _checked(job.model_dump(), settings, "stored job", {})


def find_modules(directory: Path) -> None:
    """Let modules be imported from a job file's directory and from the current one, as in the project's checkout."""
    for place in (str(directory), str(Path.cwd())):
        if place not in sys.path:
            sys.path.append(place)


def load_class(address: str) -> type:
    """Return the class at "module:Class".

    Raises:
        JobError: what is missing, or why the import failed, in one line.
    """
    module_name, _, class_name = str(address).partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        raise JobError(f"expected module:Class, got {address!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
        if isinstance(error, ModuleNotFoundError) and error.name and module_name.startswith(error.name):
            raise JobError(f"no module {error.name!r} here or beside the job file") from error
        place = f" at {frames[-1].filename}:{frames[-1].lineno}" if len(frames) > 1 else ""
        raise JobError(f"importing {module_name!r} failed: {type(error).__name__}: {error}{place}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise JobError(f"module {module_name!r} has no class {class_name!r}; {did_you_mean(class_name, classes)}")
    return found


def build(address: str, settings: dict[str, Any], base: type, key: str) -> Any:
    """Return an instance of a frozen dataclass from JSON-like fields, each checked against its type.

    Raises:
        JobError: the class is not a frozen dataclass derived from `base`, or a field is unknown, missing or wrong.
    """
    try:
        cls = load_class(address)
    except JobError as error:
        raise _Complaint(f"{key}.class", str(error)) from error
    if not issubclass(cls, base):
        kinds = "Optimizee, JaxOptimizee or BatchOptimizee" if base is BatchOptimizee else base.__name__
        raise _Complaint(f"{key}.class", f"expected a subclass of {kinds}, got {cls.__name__}")
    if not _is_frozen(cls):
        raise _Complaint(
            f"{key}.class", f"{cls.__name__} is not a frozen dataclass: put @dataclass(frozen=True) above it"
        )
    return _instance(cls, settings, key)


def _instance(cls: type, settings: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return an instance of a dataclass; a field whose type is a frozen dataclass takes a mapping of its own.

    Args:
        cls: the dataclass.
        settings: the fields that are given, JSON-like.
        key: its dotted key in the job file.
        default: an instance that has the other fields; None: they have their defaults.
    """
    known = {field.name: field for field in fields(cls) if field.init}
    hints = get_type_hints(cls)
    values = {}
    for name, value in settings.items():
        dotted = f"{key}.{name}"
        if name not in known:
            raise _Complaint(dotted, f"unknown key, {_where_it_is(name, known, hints)}")
        inner = _nested_class(hints[name])
        if inner is not None and isinstance(value, Mapping):
            before = _default_of(known[name]) if default is None else getattr(default, name)
            values[name] = _instance(inner, value, dotted, before)
        elif inner is not None and inner is hints[name]:
            names = ", ".join(field.name for field in fields(inner) if field.init)
            raise _Complaint(dotted, f"expected a mapping of {inner.__name__}'s fields ({names}), got {value!r}")
        else:
            try:
                values[name] = TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                raise _Complaint(dotted, _what(error.errors()[0])) from error
    for name, field in known.items():
        if default is None and name not in values and field.default is field.default_factory is MISSING:
            raise _Complaint(f"{key}.{name}", f"missing; {cls.__name__} has no default for it")
    try:
        return cls(**values) if default is None else replace(default, **values)
    except (ValueError, TypeError) as error:  # from __post_init__, in the words of validate.py: "name: expected ..."
        argument, _, text = str(error).partition(": ")
        parts = argument.split(".")
        own = next((i for i, part in enumerate(parts) if part in known), None)
        if own is None:
            raise _Complaint(key, str(error)) from error
        raise _Complaint(".".join([key, *parts[own:]]), text) from error


def _where_it_is(name: str, known: Mapping[str, Any], hints: Mapping[str, Any]) -> str:
    """Return what to write instead of an unknown key: one within a nested field, or the closest."""
    for field in known:
        inner = _nested_class(hints[field])
        if inner is not None and name in [nested.name for nested in fields(inner)]:
            return f"did you mean '{field}.{name}'?"
    return did_you_mean(name, known)


def _nested_class(hint: Any) -> type | None:
    """Return the frozen dataclass that a field's type is, or is beside None; None if it is something else."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((option for option in options if _is_frozen(option)), None)


def _is_frozen(cls: Any) -> bool:
    return isinstance(cls, type) and is_dataclass(cls) and cls.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]


def _default_of(field: Any) -> Any:
    """Return the value of a field that isn't given; None if there is none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


def _build(component: dict[str, Any], key: str, base: type) -> Any:
    settings = dict(component)
    if "class" not in settings:
        raise _Complaint(key, "missing 'class: module:Class'")
    return build(settings.pop("class"), settings, base, key)


def _checked(data: dict[str, Any], settings: Sequence[str], source: str, lines: dict[str, int]) -> Job:
    """Return the job of plain data with settings applied and defaults filled in, or raise every complaint."""
    set_keys = [_apply(data, setting) for setting in settings]

    def place(key: str) -> str:
        if any(key == k or key.startswith(f"{k}.") for k in set_keys):
            return "--set"
        while key and key not in lines:
            key = key.rpartition(".")[0]
        return f"{source}:{lines[key]}" if key else source

    try:
        job = Job.model_validate(data)
        optimizee, optimizer = job.build()
        optimizer = optimizer.optimizer if isinstance(optimizer, Restarting) else optimizer
    except ValidationError as error:
        complaints = []
        for one in error.errors():
            key = ".".join(str(part) for part in one["loc"])
            what = _what(one)
            if one["type"] == "extra_forbidden":
                groups = {"stop": Stop, "restart": Restart, "resize": Resize, "resources": Resources}
                known = (groups[str(one["loc"][0])] if len(one["loc"]) > 1 else Job).model_fields
                what = f"unknown key, {did_you_mean(key.rpartition('.')[2], known)}"
            complaints.append(f"{place(key)}: {key}: {what}")
        raise JobError("\n".join(complaints)) from error
    except _Complaint as error:
        raise JobError(f"{place(error.key)}: {error.key}: {error.text}") from error
    filled = {
        "optimizee": {"class": data["optimizee"]["class"], **asdict(optimizee)},  # pyright: ignore[reportArgumentType]
        "optimizer": {"class": data["optimizer"]["class"], **asdict(optimizer)},  # pyright: ignore[reportArgumentType]
    }
    return job.model_copy(update=filled)


def _apply(data: dict[str, Any], setting: str) -> str:
    """Put one "a.b=value" into nested data; return its key."""
    key, sign, text = setting.partition("=")
    if not sign or not all(key.split(".")):
        raise JobError(f"--set: expected key=value, got {setting!r}; e.g. --set optimizer.population=64")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise JobError(f"--set: {key}: not YAML: {text!r}") from error
    *parents, last = key.split(".")
    for parent in parents:
        inner = data.get(parent)
        inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise JobError(f"--set: {key}: {parent!r} is a value, not a group of keys")
        data[parent] = dict(inner)
        data = data[parent]
    data[last] = value
    return key


def _what(error: Any) -> str:
    """Return one pydantic complaint as "expected ..., got ..."."""
    if error["type"] == "missing":
        return "missing"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    return f"{message}, got {error['input']!r}"


def _entries(node: Any, known: dict[int, int]) -> int:
    """Return how many entries a YAML document has once its anchors are written out.

    A few hundred characters of anchors within anchors can stand for millions of entries ("billion laughs").

    Args:
        node: the document; None if it is empty.
        known: id of a node -> its entries; empty at first.

    Raises:
        ValueError: an entry contains itself.
    """
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        known[id(node)] = 0
        inner = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        known[id(node)] = 1 + sum(_entries(one, known) for one in inner)
    elif not known[id(node)]:
        raise ValueError(f"the anchor on line {node.start_mark.line + 1} contains itself")
    return known[id(node)]


def _lines(node: Any, path: Path) -> dict[str, int]:
    """Return dotted key -> line of every key in a YAML document; refuse one that stands twice."""
    lines: dict[str, int] = {}

    def walk(node: Any, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                key = f"{prefix}{key_node.value}"
                line = key_node.start_mark.line + 1
                if key in lines:
                    raise JobError(f"{path}:{line}: {key}: stands twice, first on line {lines[key]}; take one out")
                lines[key] = line
                walk(value_node, f"{key}.")

    walk(node, "")
    return lines
