"""Known starting points of a run: the job's entry `start`, and the individuals in a file.

    start: {individuals: [{tau: 20.0, w: [0.1, 0.2]}]}      # given by hand
    start: {individuals: best.csv}                          # or from a file: .json, .yaml, .csv
    start: {run: mountain_car_ga-1}                         # the best of another run of the same store
    start: {run: mountain_car_ga-1, take: generation}       # its whole last generation
    start: {run: mountain_car_ga-1, take: state}            # go on where its optimizer stopped

Legend: K individuals, D search coordinates.
"""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from l2l_snn.entries import Entries
from l2l_snn.loop.job_file import Complaint
from l2l_snn.space import Choice, Integer, Space
from l2l_snn.validate import message

COLUMN = re.compile(r"(?:param\.)?(?P<name>\w+)(?:\[(?P<index>\d+(?:,\d+)*)\])?")


class Start(Entries):
    """Known individuals or another run to begin from, in place of a random start."""

    individuals: list[dict[str, Any]] | None = None  # parameters by name, or a file of them (.json, .yaml, .csv)
    run: Annotated[str, Field(min_length=1)] | None = None  # a run of the same store, this run's parent
    take: Literal["best", "generation", "state"] = "best"  # of it; with state its optimizer goes on where it stopped
    generation: Annotated[int, Field(ge=0)] | None = None  # of it; by default its last, or the one that has the best
    individual: Annotated[int, Field(ge=0)] | None = None  # of that generation; by default its best

    def check_entries(self) -> None:
        """Refuse entries that don't fit together.

        Raises:
            Complaint: neither individuals nor a run, or both.
        """
        if (self.individuals is None) == (self.run is None):
            raise Complaint(
                "start", "expected individuals or a run, got " + ("neither" if self.run is None else "both")
            )
        if self.individuals is not None and not self.individuals:
            raise Complaint("start.individuals", "expected one individual or more, got none")


def encode_individuals(space: Space, individuals: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the z (K, D) of individuals given by their parameters.

    Raises:
        ValueError: a parameter is missing, unknown or out of bounds.
    """
    rows = []
    for k, params in enumerate(individuals):
        try:
            rows.append(space.clipped(space.encode(params)))
        except (ValueError, TypeError) as error:
            raise ValueError(f"start.individuals[{k}]: {error}") from error
    return np.stack(rows)


def read_individuals(name: str, folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the individuals of a file: their parameters by name.

    Args:
        name: a .json or .yaml file with a list of mappings, or a .csv file with a column for each parameter as
            `l2l table --out` writes them; of arrays `w[0]` or `w[3,4]`. The first folder that has it counts.
        folders: where it may be.

    Raises:
        Complaint: there is no such file, or it holds something else.
    """
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        raise Complaint(
            "start.individuals", f"expected a list of individuals or a file, got {name!r}, which isn't there"
        )
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                return [_read_row(row) for row in csv.DictReader(file)]
        if path.suffix == ".json":
            return _check_list(json.loads(path.read_text(encoding="utf-8")))
        if path.suffix in (".yaml", ".yml"):
            import yaml

            return _check_list(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValueError, yaml_errors()) as error:
        raise Complaint("start.individuals", f"{path} can't be read: {error}") from error
    raise Complaint("start.individuals", f"expected a file ending in .json, .yaml or .csv, got {path.name}")


def yaml_errors() -> type[Exception]:
    """Return what YAML's reader raises."""
    import yaml

    return yaml.YAMLError


def _check_list(found: Any) -> list[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(message("individuals", "a list of mappings from parameters to values", type(found).__name__))
    return found


def _read_row(row: Mapping[str, str]) -> dict[str, Any]:
    """Return the parameters of a line of a CSV file; columns of other things than parameters are passed over."""
    only = [column for column in row if column.startswith("param.")]
    values: dict[str, Any] = {}
    entries: dict[str, dict[tuple[int, ...], float]] = {}
    for column in only or row:
        found = COLUMN.fullmatch(column)
        if found is None:
            raise ValueError(message("column", "NAME, NAME[0] or NAME[3,4]", repr(column)))
        if found["index"] is None:
            values[found["name"]] = _read_value(row[column])
        else:
            index = tuple(int(number) for number in found["index"].split(","))
            entries.setdefault(found["name"], {})[index] = float(row[column])
    for name, cells in entries.items():
        array = np.full(tuple(np.max(list(cells), axis=0) + 1), np.nan)
        for index, value in cells.items():
            array[index] = value
        values[name] = array.tolist()
    return values


def _read_value(text: str) -> Any:
    """Return a number if the text is one, a truth value, or the text."""
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False}.get(text, text)


def as_values(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return decoded parameters as plain values that JSON holds; integers and options keep their type."""
    plain: dict[str, Any] = {}
    for name, value in params.items():
        array = np.asarray(value)
        exact = isinstance(space.parameters[name], Integer | Choice)
        plain[name] = array.tolist() if exact or array.dtype != object else list(value)
    return plain
