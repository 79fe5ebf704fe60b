"""The store as pandas tables: `runs`, `generations`, `individuals`.

    tables.generations("sqlite:///l2l.db", "mountain_car_ga-1").plot(x="generation", y="best_so_far")

Numbers that are missing (all of a generation failed, another run's metric) are nan.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Row

from l2l_snn.evaluation import in_line
from l2l_snn.space import Parameter, Space
from l2l_snn.storage import DEFAULT_STORE, rows
from l2l_snn.storage.store import Store, StoredRun

if TYPE_CHECKING:
    from pandas import DataFrame

WIDEST = 200  # entries of a parameter that has columns without being asked for


@contextmanager
def _open_store(store: str | Store) -> Iterator[Store]:
    if isinstance(store, Store):
        yield store
    else:
        with Store(store) as opened:
            yield opened


def runs(store: str | Store = DEFAULT_STORE) -> "DataFrame":
    """Return the runs, the oldest first.

    Args:
        store: a URL or an open store.

    Returns:
        One row a run, with the columns

        - `run`: its name
        - `job`: stem of the job file
        - `state`: running, finished, stopped or failed
        - `generation`: how many are committed
        - `evaluations`: how many in all
        - `failed`: evaluations without a fitness
        - `best`: best score, that of the first objective where there are several
        - `started`: UTC
        - `finished`: UTC; missing while it runs
        - `seconds`: s, all its drivers together
        - `tags`: with a space between them
        - `note`: what users wrote beside it
    """
    import pandas as pd

    with _open_store(store) as opened:
        found = opened.runs()
    return pd.DataFrame(
        {
            "run": pd.Series([run.name for run in found], dtype=str),
            "job": pd.Series([run.job for run in found], dtype=str),
            "state": pd.Series([run.state for run in found], dtype=str),
            "generation": np.array([run.generation for run in found], np.int64),
            "evaluations": np.array([run.evaluations for run in found], np.int64),
            "failed": np.array([run.failed for run in found], np.int64),
            "best": _as_floats([run.best for run in found]),
            "started": pd.to_datetime([run.started for run in found], utc=True),
            "finished": pd.to_datetime([run.finished for run in found], utc=True),
            "seconds": _as_floats([run.seconds for run in found]),
            "tags": pd.Series([" ".join(run.tags) for run in found], dtype=str),
            "note": pd.Series([run.note for run in found], dtype=str),
        }
    )


def generations(store: str | Store = DEFAULT_STORE, *names: str) -> "DataFrame":
    """Return the generations of some runs, one after another.

    Args:
        store: a URL or an open store.
        names: the runs; all if none is named.

    Returns:
        One row a generation, with the columns

        - `run`: name of the run
        - `generation`: its number, from 0
        - `evaluations`: individuals evaluated
        - `failed`: how many of them failed
        - `best`: best score of those that did not fail
        - `mean`: their mean
        - `std`: their standard deviation, with divisor n
        - `best_so_far`: best score since the run began
        - `seconds`: s, wall time
        - `evaluations_per_s`: 1/s

    Raises:
        RunUnknown: the store has no run of a name.
    """
    import pandas as pd

    columns = ("generation", "evaluations", "failed", "best", "mean", "std", "best_so_far", "seconds")
    frames = []
    with _open_store(store) as opened:
        for run in _choose_runs(opened, names):
            found = opened.reading(lambda connection, run=run: rows.generations(connection, run.id, *columns))
            frames.append(_generations_frame(run.name, found))
    return pd.concat(frames or [_generations_frame("", [])], ignore_index=True)


def _generations_frame(name: str, rows: Any) -> "DataFrame":
    import pandas as pd

    number, evaluations, failed, *floats = _transpose_rows(rows, 8)
    best, mean, std, best_so_far, seconds = (_as_floats(column) for column in floats)
    count = np.array(evaluations, np.int64)
    rate = np.divide(count, seconds, out=np.full(len(count), np.nan), where=seconds > 0)
    return pd.DataFrame(
        {
            "run": pd.Series([name] * len(rows), dtype=str),
            "generation": np.array(number, np.int64),
            "evaluations": count,
            "failed": np.array(failed, np.int64),
            "best": best,
            "mean": mean,
            "std": std,
            "best_so_far": best_so_far,
            "seconds": seconds,
            "evaluations_per_s": rate,
        }
    )


def individuals(store: str | Store = DEFAULT_STORE, *names: str, params: bool = False) -> "DataFrame":
    """Return the individuals of some runs, in order of generation and number.

    Args:
        store: a URL or an open store.
        names: the runs; all if none is named.
        params: also give columns to parameters of more than 200 entries.

    Returns:
        One row an evaluation, with the columns

        - `run`: name of the run
        - `generation`: its number, from 0
        - `individual`: its number in the generation, from 0
        - `seed`: seed of its evaluation
        - `fitness`: larger is better, nan: failed; `fitness_0`, `fitness_1`... where there are several objectives
        - `seconds`: s, of the evaluation
        - `worker`: host:pid
        - `error`: "" or what went wrong, in a line; `Store.individual` has the traceback too
        - `metric.NAME`: what the optimizee returned beside the fitness; it says the units
        - `param.NAME`: decoded, in the space's units; `param.w[0]` or `param.w[3,4]` of an array; nan where the genome
          was not kept; arrays of more than 200 entries only with `params=True`

    Raises:
        RunUnknown: the store has no run of a name.
        GenomeMissing: a file of large genomes can't be read.
    """
    import pandas as pd

    with _open_store(store) as opened:
        frames = [_individuals_frame(opened, run, params) for run in _choose_runs(opened, names)]
    if len(frames) == 1:
        return frames[0]
    joined = pd.concat(frames or [pd.DataFrame(_list_columns("", []) | {"fitness": _as_floats([])})], ignore_index=True)
    return joined.reindex(columns=sorted(joined.columns, key=_place_column))


def _individuals_frame(store: Store, run: StoredRun, params: bool) -> "DataFrame":
    import pandas as pd

    shown = {name: p for name, p in run.space.parameters.items() if params or prod(p.shape) <= WIDEST}
    columns = ("generation", "individual", "seed", "seconds", "worker", "error", "fitness", "objectives", "metrics")
    columns += ("z",) if shown else ()

    def body(connection: Connection) -> tuple[Sequence[Row], Sequence[Row]]:
        numbers = rows.generations(connection, run.id, "generation", "metrics", "genomes")
        return numbers, rows.individuals(connection, run.id, *columns)

    numbers, found = store.reading(body)
    metric_names = {row.generation: tuple(json.loads(row.metrics)) for row in numbers}
    *fixed, fitness, objectives, metrics = _transpose_rows(found, len(columns))[:9]
    table = _list_columns(run.name, fixed)
    if found and objectives[0] is not None:
        table |= {f"fitness_{m}": values for m, values in enumerate(_as_matrix(objectives).T)}
    else:
        table["fitness"] = _as_floats(fitness)
    table |= _metric_columns(table["generation"], metrics, metric_names)
    ordered = {name: table[name] for name in sorted(table, key=_place_column)}
    if not shown:
        return pd.DataFrame(ordered)
    files = {row.generation: row.genomes for row in numbers if row.genomes is not None}
    place = np.concatenate([np.arange(run.space.size)[run.space.slices[name]] for name in shown])
    kept, z = _read_genomes(
        store, run, [row[-1] for row in found], table["generation"], table["individual"], files, place
    )
    del found
    decoded = Space(**shown).decode_columns(z)
    blocks = [pd.DataFrame(decoded[name], columns=_name_entries(name, p), copy=False) for name, p in shown.items()]
    if not kept.all():
        blocks = [block.set_axis(np.flatnonzero(kept)).reindex(range(len(kept))) for block in blocks]
    return pd.concat([pd.DataFrame(ordered), *blocks], axis=1)


def _read_genomes(
    store: Store,
    run: StoredRun,
    blobs: list[bytes],
    generation: np.ndarray,
    individual: np.ndarray,
    files: dict[int, str],
    place: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows,) which genomes were kept, and the chosen coordinates of those: (kept, chosen).

    Args:
        store: the store.
        run: the run.
        blobs: (rows,) the genomes' bytes, empty where they aren't in the row.
        generation: (rows,)
        individual: (rows,) its number in the generation.
        files: generation -> file of its large genomes.
        place: (chosen,) indices of the coordinates.
    """
    kept = np.array([bool(blob) for blob in blobs], bool)
    found = _as_matrix([blob for blob in blobs if blob]) if kept.any() else np.empty((0, run.space.size))
    if not files:
        return kept, found if len(place) == run.space.size else found[:, place]
    z = np.full((len(blobs), len(place)), np.nan)
    z[kept] = found[:, place]
    for number, name in files.items():
        numbers, genomes = store.genome_files(run.name, run.space.size).read(name, run.space.size)
        start, stop = np.searchsorted(generation, [number, number + 1])
        where = start + np.searchsorted(individual[start:stop], numbers)
        z[where], kept[where] = genomes[:, place], True
    return kept, z[kept]


def _list_columns(name: str, columns: list) -> dict[str, Any]:
    """Return the columns that every table of individuals has, fitness left out."""
    import pandas as pd

    generation, individual, seed, seconds, worker, error = columns or [()] * 6
    return {
        "run": pd.Series([name] * len(seed), dtype=str),
        "generation": np.array(generation, np.int64),
        "individual": np.array(individual, np.int64),
        "seed": np.array(seed, np.int64),
        "seconds": _as_floats(seconds),
        "worker": pd.Series(worker, dtype=str),
        "error": pd.Series([in_line(text) for text in error], dtype=str),
    }


def _metric_columns(generation: np.ndarray, blobs: Any, names_of: dict[int, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """Return a column of each metric that any generation has, nan in the others.

    Args:
        generation: (rows,) number of each individual's generation.
        blobs: (rows,) its metrics' bytes.
        names_of: generation -> the names of its metrics, in the bytes' order.
    """
    columns = {f"metric.{name}": np.full(len(blobs), np.nan) for names in names_of.values() for name in names}
    for names in dict.fromkeys(names_of.values()):
        numbers = [number for number, its_names in names_of.items() if its_names == names]
        where = np.flatnonzero(np.isin(generation, numbers))
        if names and len(where):
            values = _as_matrix([blobs[k] for k in where])
            for m, name in enumerate(names):
                columns[f"metric.{name}"][where] = values[:, m]
    return columns


def _name_entries(name: str, parameter: Parameter) -> list[str]:
    """Return the names of a parameter's columns: param.tau, param.w[0]..., param.v[3,4]..."""
    if parameter.shape == ():
        return [f"param.{name}"]
    return [f"param.{name}[{','.join(map(str, index))}]" for index in np.ndindex(parameter.shape)]


_GROUPS = ["run", "generation", "individual", "seed", "fitness", "seconds", "worker", "error", "metric", "param"]


def _place_column(column: str) -> int:
    """Return where a column stands in a table of individuals; those of one place keep their order."""
    return _GROUPS.index(column.split(".")[0].split("_")[0])


def _choose_runs(store: Store, names: tuple[str, ...]) -> list[StoredRun]:
    return [store.load(name) for name in names] if names else store.runs()


def _as_floats(values: Any) -> np.ndarray:
    return np.array(values, np.float64)  # None becomes nan


def _as_matrix(blobs: Any) -> np.ndarray:
    """Return rows of float64 bytes, all of one length and at least one, as an array (rows, length)."""
    return np.frombuffer(b"".join(blobs), "<f8").reshape(len(blobs), -1)


def _transpose_rows(rows: Any, width: int) -> list:
    return list(zip(*rows, strict=True)) if rows else [()] * width
