"""Runs as folders: written from one store, read into another, the same to the byte.

    export(store, ["line-1"], Path("out"), "csv")
    import_runs(other, Path("out"))

A folder holds, with csv or parquet as format:

    runs.csv                            the table of runs
    line-1/generations.csv              the run's tables, as results/tables.py gives them; no column for each entry
    line-1/individuals.csv              of an array above 200 entries where a genome has more than 64 KB
    line-1/stored/run.json              what `import_runs` reads, whatever the format is: the run's row, with its
    line-1/stored/generations.parquet       manifest and its space as JSON; the other rows, with arrays as raw
    line-1/stored/individuals.parquet       little-endian float64 (z: null where it wasn't kept);
    line-1/stored/state/mean.npy            each field of the optimizer's state

Nothing of it is a pickle or code. Importing reads these files alone and writes to the store alone. The manifest names
code: an imported run is marked, unless who imports it trusts it, and whoever builds its job looks at the mark.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Connection

from l2l_snn.space import Space
from l2l_snn.storage import rows
from l2l_snn.storage.database import StoreError
from l2l_snn.storage.encoding import stored_run
from l2l_snn.storage.genomes import LARGE
from l2l_snn.storage.records import IMPORTED, StoredRun, check_name, check_note, check_tags, clean
from l2l_snn.storage.states import from_bytes
from l2l_snn.storage.store import RunExists, Store
from l2l_snn.validate import check_choice, message

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("csv", "parquet")
_PIECE = 64 * 2**20  # bytes of genomes that are written at once
_Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
_Text = Annotated[str, AfterValidator(clean)]


def _check_json(text: str) -> str:
    if not isinstance(json.loads(text), dict):
        raise ValueError("expected a mapping")
    return text


def _check_space(text: str) -> str:
    try:
        Space.from_json(text)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"expected a space, got {text[:60]!r}") from error
    return text


def _check_tags(text: str) -> str:
    return " ".join(check_tags(text.split()))


class _Run(BaseModel):
    """A run's row, as run.json has it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    format: Literal[1] = 1
    name: Annotated[str, AfterValidator(check_name)]
    job: _Text
    manifest: Annotated[str, AfterValidator(_check_json)]
    space: Annotated[str, AfterValidator(_check_space)]
    state: Literal["finished", "stopped", "failed"]
    message: _Text
    generation: _Count
    evaluations: _Count
    failed: _Count
    best: float | None
    started: float
    finished: float | None
    seconds: float
    note: Annotated[str, AfterValidator(check_note)] = ""
    tags: Annotated[str, AfterValidator(_check_tags)] = ""


def _arrow_schema(table: str, leave_out: tuple[str, ...] = ()) -> "pa.Schema":
    """Return the columns of a table of the store as arrow has them."""
    import pyarrow as pa

    kinds = {"Integer": pa.int32(), "BigInteger": pa.int64(), "Double": pa.float64(), "Text": pa.string()}
    kinds["LargeBinary"] = pa.binary()
    columns = rows.column_kinds(table).items()
    return pa.schema([(name, kinds[kind]) for name, kind in columns if name not in leave_out])


# export


def export(store: Store, names: Sequence[str], folder: Path, form: str = "csv") -> list[StoredRun]:
    """Write runs to a new folder; half of it is never there.

    Args:
        store: the store.
        names: the runs.
        folder: where; it doesn't exist or is empty.
        form: of the tables, "csv" or "parquet".

    Returns:
        The runs as they were written; one that is driven now is written as it is after its last generation.

    Raises:
        RunUnknown: there is none of a name.
        GenomeMissing: a file of genomes can't be read.
        ValueError: the folder holds something.
    """
    from l2l_snn.results import tables

    check_choice("format", form, FORMATS)
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(message("--out", "a new or an empty folder", folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        part.mkdir()
        runs = [_write_run(store, name, part / name) for name in dict.fromkeys(names)]
        table = tables.runs(store)
        _write_table(table[table["run"].isin(list(names))], part / "runs", form)
        for run in runs:
            params = 8 * run.space.size <= LARGE
            generations, individuals = (
                tables.generations(store, run.name),
                tables.individuals(store, run.name, params=params),
            )
            for label, table in (("generations", generations), ("individuals", individuals)):
                _write_table(table[table["generation"] < run.generation], part / run.name / label, form)
        os.replace(part, folder)
    finally:
        if part.exists():
            shutil.rmtree(part)
    return runs


def _write_table(table: Any, path: Path, form: str) -> None:
    if form == "csv":
        table.to_csv(path.with_suffix(".csv"), index=False)
    else:
        table.to_parquet(path.with_suffix(".parquet"), index=False)


def _write_run(store: Store, name: str, folder: Path) -> StoredRun:
    """Write all that `import_runs` needs, from one state of the store."""
    from pyarrow import parquet

    stored = folder / "stored"
    (stored / "state").mkdir(parents=True)
    with store.read(f"exporting run {name!r} from") as connection:
        row = rows.find(connection, store.url_shown, name)
        run = stored_run(row)
        values = {field: getattr(row, field) for field in _Run.model_fields if field != "format"}
        if run.imported:  # the mark is this store's
            values["manifest"] = _mark_manifest(row.manifest, imported=False)
        if run.state == "running":
            values |= {"state": "stopped", "message": "exported while it ran"}
        else:
            values |= {"state": run.state, "message": run.message}
        for field, data in rows.state_fields(connection, row.id).items():
            (stored / "state" / f"{field}.npy").write_bytes(data)
        generations = rows.generations(connection, row.id)
        schema = _arrow_schema("generations", ("genomes",))
        parquet.write_table(_arrow_table(schema, [r._asdict() for r in generations]), stored / "generations.parquet")
        with parquet.ParquetWriter(stored / "individuals.parquet", _arrow_schema("individuals")) as writer:
            for piece in _read_pieces(store, connection, run, [(r.generation, r.genomes) for r in generations]):
                writer.write_table(_arrow_table(writer.schema, piece))
    (stored / "run.json").write_text(
        json.dumps({"format": 1, **_Run.model_validate(values).model_dump(exclude_defaults=True)}, indent=1)
    )
    return run


def _read_pieces(
    store: Store, connection: Connection, run: StoredRun, generations: list[tuple[int, str | None]]
) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of the individuals, with their genomes from wherever they are, about 64 MB at a time."""
    piece = []
    for number, file in generations:
        files: dict[int, bytes] = {}
        if file is not None:
            numbers, z = store.genome_files(run.name, run.space.size).read(file, run.space.size)
            files = {int(k): row.tobytes() for k, row in zip(numbers, z, strict=True)}
        for row in rows.individuals(connection, run.id, generation=number):
            piece.append({**row._asdict(), "z": row.z or files.get(row.individual)})
            if len(piece) * 8 * run.space.size >= _PIECE:
                yield piece
                piece = []
    if piece:
        yield piece


def _arrow_table(schema: "pa.Schema", found: Sequence[dict[str, Any]]) -> "pa.Table":
    import pyarrow as pa

    return pa.table([pa.array([row[name] for row in found], schema.field(name).type) for name in schema.names], schema)


# import


def import_runs(store: Store, folder: Path, name: str | None = None, *, trust: bool = False) -> list[str]:
    """Read the runs of a folder that `export` wrote; each comes whole or not at all.

    Args:
        store: where they go.
        folder: the folder.
        name: of the one run in it; by default each keeps its own.
        trust: take the runs as one's own: replaying them then imports their code without a question.

    Returns:
        The names.

    Raises:
        RunExists: the store has a run of a name; nothing is imported.
        StoreError: a file isn't what `export` writes.
        ValueError: there is no run in the folder, or several for one name.
    """
    places = sorted(path.parent.parent for path in Path(folder).glob("*/stored/run.json"))
    if not places:
        raise ValueError(message("folder", "one that l2l export wrote", folder, "is it there, and whole?"))
    if name is not None and len(places) > 1:
        raise ValueError(message("--name", "a folder with one run", f"{len(places)} runs in {folder}"))
    runs = [_read_run(place) for place in places]
    names = [run.name if name is None else check_name(name) for run in runs]
    taken = {run.name for run in store.runs()} & set(names)
    if taken or len(set(names)) < len(names):
        twice = min(taken) if taken else next(n for n in names if names.count(n) > 1)
        raise RunExists(f"run {twice!r} exists in {store.url_shown}; choose another name with --name")
    for place, run, its_name in zip(places, runs, names, strict=True):
        _import_run(store, place / "stored", run, its_name, trust)
    return names


def _read_run(place: Path) -> _Run:
    path = place / "stored" / "run.json"
    for file in (place, *place.rglob("*")):
        if file.is_symlink():
            raise StoreError(f"importing {file} failed: it is a link, which export never makes")
    try:
        return _Run.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise StoreError(f"importing {path} failed: {where}: {first['msg']}") from error


def _import_run(store: Store, stored: Path, run: _Run, name: str, trust: bool) -> None:
    values = run.model_dump(exclude={"format", "name"})
    values["manifest"] = _mark_manifest(run.manifest, imported=not trust)
    space = Space.from_json(run.space)

    def body(connection: Connection, again: bool) -> None:
        if again and rows.is_there(connection, name, values):
            return
        run_id = rows.add(connection, store.url_shown, name, values)
        rows.lock_genomes(connection)
        generations = _read_rows(stored / "generations.parquet", _arrow_schema("generations", ("genomes",)))
        by_number = {row["generation"]: row | {"genomes": None} for piece in generations for row in piece}
        _check_part(
            stored, sorted(by_number) == list(range(run.generation)), f"the generations 0 to {run.generation - 1}"
        )
        count = 0
        for individuals in _read_generations(stored, by_number, space.size):
            number = individuals[0]["generation"]
            count += len(individuals)
            if 8 * space.size > LARGE:
                kept = [row for row in individuals if row["z"]]
                if kept:
                    z = np.frombuffer(b"".join(row["z"] for row in kept), "<f8").reshape(-1, space.size)
                    numbers = np.array([row["individual"] for row in kept])
                    file = store.genome_files(name, space.size).write(name, number, numbers, z)
                    by_number[number]["genomes"] = file
                individuals = [row | {"z": b""} for row in individuals]
            rows.insert_into(connection, "individuals", run_id, individuals)
        _check_part(stored, count == run.evaluations, f"{run.evaluations} individuals, found {count}")
        rows.insert_into(connection, "generations", run_id, list(by_number.values()))
        states = [{"field": field, "data": data} for field, data in _read_states(stored)]
        _check_part(stored, bool(states) == bool(by_number), "a state of the optimizer")
        rows.insert_into(connection, "states", run_id, states)

    store.writing(f"importing run {name!r}", body)


def _mark_manifest(text: str, *, imported: bool) -> str:
    """Return a manifest with the mark of imported runs, or without it."""
    manifest = {key: value for key, value in json.loads(text).items() if key != IMPORTED}
    return json.dumps(manifest | {IMPORTED: True} if imported else manifest)


def _check_part(stored: Path, right: bool, expected: str) -> None:
    if not right:
        raise StoreError(f"importing {stored} failed: expected {expected}; export the run again")


def _metric_names(stored: Path, text: str) -> list[str]:
    try:
        names = json.loads(text)
    except ValueError:
        names = None
    _check_part(
        stored, isinstance(names, list) and all(isinstance(name, str) for name in names or []), "names of metrics"
    )
    return names or []


def _read_states(stored: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted((stored / "state").glob("*.npy")):
        names = path.stem.split(".")  # of states in states: mixture.means
        good = all(name.isidentifier() for name in names) and len(path.stem) <= 100
        _check_part(stored, good, f"names of fields, found {path.name!r}")
        data = path.read_bytes()
        from_bytes(f"importing {path} failed: it", path.stem, data)
        yield path.stem, data


def _read_generations(stored: Path, by_number: dict[int, dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the checked rows of the individuals, z as bytes, those of one generation at a time."""
    path = stored / "individuals.parquet"
    widths = {number: 8 * len(_metric_names(stored, row["metrics"])) for number, row in by_number.items()}
    found: list[dict[str, Any]] = []
    for piece in _read_rows(path, _arrow_schema("individuals")):
        for row in piece:
            number, objectives = row["generation"], row["objectives"]
            _check_part(
                stored, number in by_number and (not found or number >= found[-1]["generation"]), "ordered rows"
            )
            many = by_number[number]["objectives"]
            _check_part(stored, row["z"] is None or len(row["z"]) == 8 * size, f"genomes of {size} numbers")
            _check_part(stored, len(row["metrics"]) == widths[number], "as many metrics as names of them")
            _check_part(stored, len(objectives or b"") == (8 * many if many > 1 else 0), f"{many} objectives")
            if found and number != found[-1]["generation"]:
                yield found
                found = []
            found.append(row | {"z": row["z"] or b""})
    if found:
        yield found


def _read_rows(path: Path, schema: "pa.Schema") -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a Parquet file of ours, texts cleaned, some at a time."""
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            if not file.schema_arrow.equals(schema):
                raise ValueError(f"expected the columns {', '.join(schema.names)}")
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                names = [field.name for field in schema]
                texts = {field.name for field in schema if str(field.type) == "string"}
                columns = [table[name].to_pylist() for name in names]
                yield [
                    {k: clean(v) if k in texts else v for k, v in zip(names, row, strict=True)}
                    for row in zip(*columns, strict=True)
                ]
    except StoreError:
        raise
    except Exception as error:  # damaged or hostile bytes may fail anywhere in the reader
        reason = " ".join(str(error).split())[:200]
        raise StoreError(f"importing {path} failed: {reason}; export the run again") from error
