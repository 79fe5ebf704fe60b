"""Reads job files: YAML of bounded size, with the line of every key, and the settings that change its entries."""

from itertools import chain
from pathlib import Path
from typing import Any

import yaml

LARGEST = 200_000  # characters of a job file; it is read by a slow parser
MOST_ENTRIES = 20_000  # of a job file


class JobError(Exception):
    """A job that can't be run; the text has one line for each complaint."""


class Complaint(JobError):
    """A complaint about one key, before file and line are known."""

    def __init__(self, key: str, text: str):
        super().__init__(f"{key}: {text}")
        self.key, self.text = key, text


def read(path: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Return the plain data of a YAML file, and the line of each of its dotted keys.

    Raises:
        JobError: the file can't be read, is too large, or isn't a mapping in YAML with each key once.
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
        if _count_entries(node, {}) > MOST_ENTRIES:
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
    return data, _find_lines(node, path)


def apply_setting(data: dict[str, Any], setting: str) -> str:
    """Put one "a.b=value" into nested data; return its key.

    Raises:
        JobError: it has another form, or `a` is a value.
    """
    key, sign, text = setting.partition("=")
    if not sign or not all(key.split(".")):
        raise JobError(f"--set: expected key=value, got {setting!r}; e.g. --set optimizer.population=64")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise JobError(f"--set: {key}: not YAML: {text!r}") from error
    try:
        apply_value(data, key, value)
    except Complaint as error:
        raise JobError(f"--set: {error}") from error
    return key


def apply_value(data: dict[str, Any], key: str, value: Any) -> None:
    """Put a value at a dotted key of nested data.

    Raises:
        Complaint: a part of the key before the last is a value.
    """
    *parents, last = key.split(".")
    for parent in parents:
        inner = data.get(parent)
        inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise Complaint(key, f"{parent!r} is a value, not a group of keys")
        data[parent] = dict(inner)
        data = data[parent]
    data[last] = value


def _count_entries(node: Any, known: dict[int, int]) -> int:
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
        known[id(node)] = 1 + sum(_count_entries(value, known) for value in inner)
    elif not known[id(node)]:
        raise ValueError(f"the anchor on line {node.start_mark.line + 1} contains itself")
    return known[id(node)]


def _find_lines(node: Any, path: Path) -> dict[str, int]:
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
