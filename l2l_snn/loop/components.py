"""Builds optimizees and optimizers from a job's entries: a class at "module:Class", its fields checked one by one."""

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from l2l_snn.evaluation import users_frames
from l2l_snn.loop.job_file import Complaint, JobError
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.validate import did_you_mean

ROOT = Path(__file__).parents[2]  # of this installation
PACKAGES = ("l2l_snn", "optimizers", "optimizees")


class ClassNotHere(JobError):
    """A class that a notebook or script has defined isn't in this process."""


def find_modules(directory: Path) -> None:
    """Let modules be imported from a job file's directory and from the current one, as in the project's checkout."""
    for place in (str(directory.absolute()), str(Path.cwd())):  # a relative one would follow whoever changes directory
        if place not in sys.path:
            sys.path.append(place)


def is_ours(address: str) -> bool:
    """Return whether the class at "module:Class" is of this installation, so that importing it runs nobody else's code.

    >>> is_ours("optimizers.ga:GeneticAlgorithm"), is_ours("mine:Mine"), is_ours("os:system")
    (True, False, False)
    """
    top = str(address).partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top) if top in PACKAGES else None
    return spec is not None and spec.origin is not None and Path(spec.origin).parents[1] == ROOT


def describe_class(component: Any) -> dict[str, str]:
    """Return the entry of a job that names the class of an optimizee or optimizer."""
    cls = type(component)
    return {"class": f"{cls.__module__}:{cls.__qualname__}"}


def load_class(address: str) -> type:
    """Return the class at "module:Class".

    Raises:
        JobError: what is missing, or why the import failed, in one line.
    """
    module_name, _, class_name = str(address).partition(":")
    if module_name == "__main__" or "<locals>" in class_name:
        return _find_in_session(module_name, class_name)
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        raise JobError(f"expected module:Class, got {address!r}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module may raise anything
        frames = users_frames(error)
        if isinstance(error, ModuleNotFoundError) and error.name and module_name.startswith(error.name):
            raise JobError(f"no module {error.name!r} here or beside the job file") from error
        place = f", at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        raise JobError(f"importing {module_name!r} failed: {type(error).__name__}: {error}{place}") from error
    found = getattr(module, class_name, None)
    if not isinstance(found, type):
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        raise JobError(f"module {module_name!r} has no class {class_name!r}; {did_you_mean(class_name, classes)}")
    return found


def _find_in_session(module_name: str, class_name: str) -> type:
    """Return a class that a notebook's cell or a script has defined.

    Raises:
        ClassNotHere: this process hasn't, with what to do.
    """
    found = getattr(sys.modules.get(module_name), class_name, None)
    if isinstance(found, type):
        return found
    name = class_name.rpartition(".")[2]
    if "<locals>" in class_name:
        todo = "move it out of the function, into a module, to go on or replay outside of the process that defined it"
        raise ClassNotHere(f"class {name} was defined within a function of {module_name!r}; {todo}")
    todo = (
        f"run its definition, then l2l_snn.load(RUN) there; or put it into a file {name.lower()}.py and begin from it"
    )
    raise ClassNotHere(f"class {name} was defined in a notebook or script, and not in this process; {todo}")


def build(component: Mapping[str, Any], key: str, base: type) -> Any:
    """Return an instance of a frozen dataclass from JSON-like entries, each checked against its field's type.

    Args:
        component: "class" with its module:Class, and the fields that are given.
        key: where the component stands in the job: "optimizee".
        base: what the class must derive from.

    Raises:
        Complaint: the class is not a frozen dataclass derived from `base`, or a field is unknown, missing or wrong.
    """
    settings = dict(component)
    if "class" not in settings:
        raise Complaint(key, "missing 'class: module:Class'")
    try:
        cls = load_class(settings.pop("class"))
    except JobError as error:
        raise Complaint(f"{key}.class", str(error)) from error
    if not issubclass(cls, base):
        kinds = "Optimizee, JaxOptimizee or BatchOptimizee" if base is BatchOptimizee else base.__name__
        raise Complaint(f"{key}.class", f"expected a subclass of {kinds}, got {cls.__name__}")
    if not _is_frozen_dataclass(cls):
        raise Complaint(
            f"{key}.class", f"{cls.__name__} is not a frozen dataclass: put @dataclass(frozen=True) above it"
        )
    return _build_instance(cls, settings, key)


def _build_instance(cls: type, settings: Mapping[str, Any], key: str, default: Any = None) -> Any:
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
            raise Complaint(dotted, f"unknown key, {_suggest_key(name, {field: hints[field] for field in known})}")
        inner = _find_nested_class(hints[name])
        if inner is not None and isinstance(value, Mapping):
            before = _make_default(known[name]) if default is None else getattr(default, name)
            values[name] = _build_instance(inner, value, dotted, before)
        elif inner is not None and inner is hints[name]:
            names = ", ".join(field.name for field in fields(inner) if field.init)
            raise Complaint(dotted, f"expected a mapping of {inner.__name__}'s fields ({names}), got {in_yaml(value)}")
        else:
            try:
                values[name] = TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                raise Complaint(dotted, describe_error(error.errors()[0])) from error
            if isinstance(value, bool) and not isinstance(values[name], bool):  # pydantic reads true as 1
                raise Complaint(dotted, f"expected a number, got {in_yaml(value)}")
    for name, field in known.items():
        if default is None and name not in values and field.default is field.default_factory is MISSING:
            raise Complaint(f"{key}.{name}", f"missing; {cls.__name__} has no default for it")
    try:
        return cls(**values) if default is None else replace(default, **values)
    except (ValueError, TypeError) as error:  # from __post_init__, in the words of validate.py: "name: expected ..."
        argument, _, text = str(error).partition(": ")
        parts = argument.split(".")
        own = next((i for i, part in enumerate(parts) if part in known), None)
        if own is None:
            raise Complaint(key, str(error)) from error
        raise Complaint(".".join([key, *parts[own:]]), text.replace("got None", "got null")) from error


def _suggest_key(name: str, hints: Mapping[str, Any]) -> str:
    """Return what to write instead of an unknown key: one within a nested field, or the closest.

    Args:
        name: the key.
        hints: the fields that there are -> their types.
    """
    for field, hint in hints.items():
        inner = _find_nested_class(hint)
        if inner is not None and name in [nested.name for nested in fields(inner)]:
            return f"did you mean '{field}.{name}'?"
    return did_you_mean(name, hints)


def _find_nested_class(hint: Any) -> type | None:
    """Return the frozen dataclass that a field's type is, or is beside None; None if it is something else."""
    options = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return next((option for option in options if _is_frozen_dataclass(option)), None)


def _is_frozen_dataclass(cls: Any) -> bool:
    return isinstance(cls, type) and is_dataclass(cls) and cls.__dataclass_params__.frozen  # pyright: ignore[reportAttributeAccessIssue]


def _make_default(field: Any) -> Any:
    """Return the value of a field that isn't given; None if there is none."""
    if field.default_factory is not MISSING:
        return field.default_factory()
    return None if field.default is MISSING else field.default


EXPECTED = {  # pydantic's type of an error -> what a field of ours would say
    "greater_than": "a number > {gt:g}",
    "greater_than_equal": "a number >= {ge:g}",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number <= {le:g}",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "literal_error": "one of {expected}",
    "byte_size": "a number of bytes, e.g. 2 GiB",
}


def describe_error(error: Any) -> str:
    """Return one pydantic complaint as a field of ours would say it: "expected ..., got ..."."""
    kind, text = error["type"], error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if kind == "missing":
        return "missing"
    if kind in EXPECTED:
        text = EXPECTED[kind].format(**error.get("ctx", {}))
    text = text if text.startswith("expected ") else f"expected {text[0].lower()}{text[1:]}"
    return f"{text}, got {in_yaml(error['input'])}"


def in_yaml(value: Any) -> str:
    """Return a value as a job file has it.

    >>> in_yaml(None), in_yaml(True), in_yaml("a")
    ('null', 'true', "'a'")
    """
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else repr(value)
