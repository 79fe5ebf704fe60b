"""One individual: what its row says, and its parameters, decoded and made small enough for a page.

Long arrays become a heat map of block means; the whole of them can be downloaded.
"""

import io
from typing import Any

import numpy as np
from sqlalchemy import Row

from l2l_snn.dashboard.models import Heat, IndividualDetail, ParameterValue
from l2l_snn.dashboard.read_table import row_model
from l2l_snn.space import Parameter
from l2l_snn.storage import rows
from l2l_snn.storage.records import StoredRun
from l2l_snn.storage.store import Store, StoreError
from l2l_snn.validate import did_you_mean, message

FIRST = 12  # entries of an array that are written out
SMALL = 8  # entries of an array that needs no heat map
HEAT = (48, 96)  # rows and columns of a heat map, at most


class Missing(Exception):
    """The run has no such individual."""


def find_row(store: Store, run: StoredRun, generation: int, index: int) -> Row:
    """Return an individual's row.

    Raises:
        Missing: there is none of that number.
    """
    row = store.reading(lambda connection: rows.individual(connection, run.id, generation, index))
    if row is None:
        has = f"it has the generations 0 to {run.generation - 1}" if run.generation else "it has no generation yet"
        raise Missing(f"run {run.name!r} has no individual {index} in generation {generation}; {has}")
    return row


def detail(store: Store, run: StoredRun, generation: int, index: int) -> IndividualDetail:
    """Return all that the page shows of an individual.

    Raises:
        Missing: there is none of that number.
    """
    row = find_row(store, run, generation, index)
    try:
        values = parameters(store, run, generation, index)
        note = ""
    except StoreError as error:
        values, note = {}, str(error)
    return IndividualDetail(
        **row_model(row).model_dump(),
        run=run.name,
        population=row.population,
        traceback=row.error.partition("\n")[2],
        parameters=[_describe_value(name, run.space.parameters[name], value) for name, value in values.items()],
        note=note,
    )


def parameters(store: Store, run: StoredRun, generation: int, index: int) -> dict[str, Any]:
    """Return an individual's decoded parameters, by name.

    Raises:
        StoreError: there is no such individual, or its genome wasn't kept.
    """
    z = store.individual(run.name, generation, index).z
    if z is None or z.shape != (run.space.size,):
        raise StoreError("the genome of this individual was not kept (see the job's entry 'genomes')")
    return run.space.decode(z)


def download(name: str, values: dict[str, Any], form: str) -> bytes:
    """Return one parameter as the bytes of a .npy or .csv file; arrays of more than two axes are flattened for .csv.

    Raises:
        ValueError: there is no parameter of that name.
    """
    if name not in values:
        raise ValueError(message("name", "the name of a parameter", repr(name), did_you_mean(name, values)))
    array = np.asarray(values[name])
    array = array.astype(str) if array.dtype.kind == "O" else array
    if form == "npy":
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        return file.getvalue()
    rows = array.reshape(1, -1) if array.ndim < 2 else array.reshape(len(array), -1)
    return "".join(",".join(_format_cell(value) for value in row) + "\n" for row in rows.tolist()).encode()


def _format_cell(value: Any) -> str:
    return repr(value) if not isinstance(value, str) else '"' + value.replace('"', '""') + '"'


def _describe_value(name: str, parameter: Parameter, value: Any) -> ParameterValue:
    array = np.asarray(value)
    flat = array.reshape(-1)
    numeric = array.dtype.kind in "iuf"
    known = flat[np.isfinite(flat)] if numeric else flat[:0]
    low, mean, high = (float(known.min()), float(known.mean()), float(known.max())) if known.size else (None,) * 3
    return ParameterValue(
        name=name,
        kind=repr(parameter).replace(", shape=()", ""),
        shape=list(array.shape),
        first=[_format_entry(entry) for entry in flat[:FIRST].tolist()],
        size=array.size,
        low=low,
        mean=mean,
        high=high,
        heat=heat(array) if numeric and array.size > SMALL else None,
    )


def _format_entry(value: Any) -> str:
    return f"{value + 0.0:.6g}" if isinstance(value, float) else str(value)[:100]


def heat(array: np.ndarray) -> Heat:
    """Return block means of an array of numbers, at most `HEAT`.

    One axis is folded into rows; of more than two, all but the first are joined.
    """
    if array.ndim == 1:
        width = array.size if array.size <= HEAT[1] else int(np.ceil(np.sqrt(2.0 * array.size)))
        grid = np.full(-(-array.size // width) * width, np.nan)
        grid[: array.size] = array
        grid = grid.reshape(-1, width)
    else:
        grid = array.reshape(len(array), -1).astype(np.float64)
    rows, columns = (min(have, most) for have, most in zip(grid.shape, HEAT, strict=True))
    known = np.isfinite(grid)
    sums, counts = np.where(known, grid, 0.0), known.astype(np.float64)
    for axis, blocks in enumerate((rows, columns)):
        starts = np.linspace(0, grid.shape[axis], blocks, endpoint=False).astype(int)
        sums, counts = np.add.reduceat(sums, starts, axis=axis), np.add.reduceat(counts, starts, axis=axis)
    means = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return Heat(rows=rows, columns=columns, values=means.reshape(-1).tolist())
