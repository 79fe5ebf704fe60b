"""Numbers of an optimizee that change over the generations of a run, given in a job in place of the number.

    optimizee:
      class: optimizees.functions:Function
      noise: {from: 0.03, to: 0.0, over: 500, how: cosine}     # a schedule
      shift: {curriculum: {0: 0.05, 100: 0.1, 300: 0.2}}       # steps: from which generation on which value

A value follows from the job and the number of the generation alone, so a resumed run and a replay have the same.
Cosine annealing: Loshchilov & Hutter (2017); curricula: Bengio, Louradour, Collobert & Weston (2009).
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from math import cos, pi
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from l2l_snn.entries import Entries
from l2l_snn.loop.job_file import Complaint
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.validate import message

Number = int | float


class Schedule(Entries):
    """A number that goes from one value to another and stays there."""

    start: Annotated[Number, Field(alias="from", allow_inf_nan=False)]  # value of generation 0
    to: Annotated[Number, Field(allow_inf_nan=False)]  # value of generation `over` and of all later ones
    over: Annotated[int, Field(ge=1)]  # generations
    how: Literal["linear", "cosine", "exponential"] = "linear"
    every: Annotated[int, Field(ge=1)] = 1  # generations for which a value holds; what is compiled is compiled anew

    @model_validator(mode="after")
    def check_signs(self) -> "Schedule":
        if self.how == "exponential" and self.start * self.to <= 0:
            raise ValueError("exponential needs two numbers of one sign, none of them 0; take cosine")
        return self

    def value(self, generation: int) -> float:
        """Return the value of a generation."""
        share = min((generation - generation % self.every) / self.over, 1.0)
        if share == 1.0:
            return self.to
        if self.how == "cosine":
            return self.to + (self.start - self.to) * (1 + cos(pi * share)) / 2
        if self.how == "exponential":
            return self.start * (self.to / self.start) ** share
        return self.start + (self.to - self.start) * share


class Curriculum(Entries):
    """A number that changes at given generations."""

    curriculum: dict[Annotated[int, Field(ge=0)], Number]  # generation -> value from then on

    @model_validator(mode="after")
    def check_first(self) -> "Curriculum":
        if 0 not in self.curriculum:
            raise ValueError("expected a value for generation 0")
        return self

    def value(self, generation: int) -> float:
        """Return the value of a generation."""
        return self.curriculum[max(begin for begin in self.curriculum if begin <= generation)]


Schedules = Mapping[str, Schedule | Curriculum]  # dotted field of the optimizee -> how it changes


def read_schedules(entries: Mapping[str, Any], prefix: str = "optimizee") -> dict[str, Schedule | Curriculum]:
    """Return the schedules among an optimizee's entries, by the dotted field.

    Raises:
        Complaint: one that is wrong.
    """
    found: dict[str, Schedule | Curriculum] = {}
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            continue
        kind = Curriculum if "curriculum" in entry else Schedule if {"from", "to"} <= set(entry) else None
        if kind is None:
            inner = read_schedules(entry, f"{prefix}.{name}")
            found |= {f"{name}.{field}": schedule for field, schedule in inner.items()}
            continue
        try:
            found[str(name)] = kind.model_validate(entry)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join([f"{prefix}.{name}", *(str(part) for part in first["loc"])])
            raise Complaint(place, first["msg"].removeprefix("Value error, ")) from error
    return found


def with_values(entries: Mapping[str, Any], schedules: Schedules, generation: int = 0) -> dict[str, Any]:
    """Return an optimizee's entries with the values that the schedules have in a generation."""
    filled = dict(entries)
    for field, schedule in schedules.items():
        _put_entry(filled, field, schedule.value(generation))
    return filled


def with_schedules(entries: Mapping[str, Any], schedules: Schedules) -> dict[str, Any]:
    """Return an optimizee's entries with the schedules in place of their values, as a job has them."""
    filled = dict(entries)
    for field, schedule in schedules.items():
        _put_entry(filled, field, schedule.model_dump(mode="json", by_alias=True))
    return filled


def scheduled(optimizee: BatchOptimizee, schedules: Schedules, generation: int) -> BatchOptimizee:
    """Return the optimizee with the values of a generation.

    A number of a field that holds an integer is rounded.

    Raises:
        ValueError, TypeError: a value isn't one that its field takes, or the search space would change.
    """
    changed: Any = optimizee
    for field, schedule in schedules.items():
        changed = _replace_field(changed, field.split("."), schedule.value(generation), field)
    if schedules and changed.space != optimizee.space:
        names = ", ".join(f"optimizee.{field}" for field in schedules)
        got = f"another space in generation {generation}"
        raise ValueError(message(names, "the same search space in all generations", got, "leave these fields alone"))
    return changed


def check_schedules(optimizee: BatchOptimizee, schedules: Schedules, generations: int) -> None:
    """Refuse schedules whose values the optimizee doesn't take at their begin, between, and at their end.

    Raises:
        Complaint: one of them.
    """
    for field, schedule in schedules.items():
        if isinstance(schedule, Curriculum):
            moments = [begin for begin in schedule.curriculum if begin < generations]
        else:
            moments = [0, schedule.over // 2, schedule.over]
        for generation in moments:
            try:
                scheduled(optimizee, {field: schedule}, generation)
            except (ValueError, TypeError) as error:
                raise Complaint(f"optimizee.{field}", f"in generation {generation}: {error}") from error


def _put_entry(entries: dict[str, Any], field: str, value: Any) -> None:
    """Put a value at a dotted field; mappings on the way are copied."""
    *parents, last = field.split(".")
    for parent in parents:
        entries[parent] = dict(entries[parent])
        entries = entries[parent]
    entries[last] = value


def _replace_field(component: Any, path: list[str], value: float, dotted: str) -> Any:
    """Return a dataclass with a field at the end of a path replaced."""
    name, *rest = path
    if not is_dataclass(component) or name not in {field.name for field in fields(component) if field.init}:
        raise TypeError(message(f"optimizee.{dotted}", "a field", "none of that name"))
    before = getattr(component, name)
    if rest:
        new = _replace_field(before, rest, value, dotted)
    elif isinstance(before, bool) or not isinstance(before, Number):
        raise TypeError(message(f"optimizee.{dotted}", "a field that holds a number", repr(before)))
    else:
        new = round(value) if isinstance(before, int) else float(value)
    return replace(component, **{name: new})  # pyright: ignore[reportArgumentType]
