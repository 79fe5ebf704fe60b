"""Making a store smaller: delete runs, thin genomes, remove files that nothing names, give the room back.

    prune.thin(store, ["line-1"], "elite")    # of its genomes, keep those that were as good as all before them
    prune.delete(store, ["line-2"])
    freed = prune.sweep(store)

A run that is driven is refused, and never loses anything.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from l2l_snn.storage import rows
from l2l_snn.storage.lease import check_free
from l2l_snn.storage.records import StoredRun, elite
from l2l_snn.storage.store import Store
from l2l_snn.validate import check_choice


class Freed(NamedTuple):
    """What `sweep` gave back."""

    files: int
    bytes: int
    vacuumed: bool  # False: a run is driven, which shouldn't wait


def delete(store: Store, names: Sequence[str]) -> None:
    """Delete runs with all that belongs to them; their genome files go with the next `sweep`.

    Raises:
        RunUnknown: there is none of a name; nothing is deleted.
        RunBusy: one is driven; nothing is deleted.
    """

    def body(connection: Connection, again: bool) -> None:
        if again and not rows.names_of(connection).intersection(names):
            return  # done, and the answer was lost
        found = [rows.find(connection, store.url_shown, name, lock=True) for name in sorted(set(names))]
        for row in found:
            check_free(row)
        for row in found:
            rows.remove(connection, row.id)

    store.writing(f"deleting {', '.join(names)}", body)


def thin(store: Store, names: Sequence[str], policy: str) -> int:
    """Forget genomes of runs; what is measured of the individuals stays.

    Args:
        store: the store.
        names: the runs.
        policy: "elite" keeps those of the individuals at least as good as all before them, "none" none.

    Returns:
        How many genomes are forgotten.

    Raises:
        RunUnknown: there is none of a name; all are as they were.
        RunBusy: one is driven.
    """
    check_choice("genomes", policy, ("elite", "none"))

    def check(connection: Connection) -> None:
        for name in names:
            check_free(rows.find(connection, store.url_shown, name))

    store.reading(check)
    return sum(_thin_run(store, name, policy) for name in names)


def _thin_run(store: Store, name: str, policy: str) -> int:
    run = store.load(name)
    found = store.reading(
        lambda connection: rows.individuals(connection, run.id, "generation", "individual", "fitness")
    )
    scores = np.array([row.fitness for row in found], np.float64)
    keep = elite(scores) if policy == "elite" else np.zeros(len(found), bool)
    generation = np.array([row.generation for row in found], np.int64)
    individual = np.array([row.individual for row in found], np.int64)

    # a transaction for each generation, so that drivers of other runs needn't wait for all of them
    forgotten = 0
    for number in range(run.generation):
        here = generation == number

        def body(connection: Connection, again: bool, number: int = number, here: np.ndarray = here) -> int:
            check_free(rows.find(connection, store.url_shown, name, lock=True))
            return _thin_generation(store, connection, run, number, individual[here], keep[here])

        forgotten += store.writing(f"thinning run {name!r}", body)
    return forgotten


def _thin_generation(
    store: Store, connection: Connection, run: StoredRun, number: int, individual: np.ndarray, keep: np.ndarray
) -> int:
    """Forget the genomes of a generation that aren't to keep; return how many those were."""
    with_z = rows.with_genome(connection, run.id, number)
    away = [k for k in individual[~keep].tolist() if k in with_z]
    if away:
        rows.forget_genomes(connection, run.id, number, away)
    file = rows.genome_file(connection, run.id, number)
    if file is None:
        return len(away)
    rows.lock_genomes(connection)
    files = store.genome_files(run.name, run.space.size)
    numbers, z = files.read(file, run.space.size)
    stays = np.isin(numbers, individual[keep])
    if stays.all():
        return len(away)
    new = files.write(run.name, number, numbers[stays], z[stays]) if stays.any() else None
    rows.name_genome_file(connection, run.id, number, new)
    return len(away) + int((~stays).sum())


def sweep(store: Store) -> Freed:
    """Remove the genome files that no generation names, and give the room of deleted rows back.

    The files of a run that is driven stay: its next commit may name them.
    """

    def body(connection: Connection, again: bool) -> list[int]:
        rows.lock_genomes(connection)
        if store.genomes is None:
            return []
        sizes = store.genomes.sizes()  # before the names are read: what is committed in between is among those
        named, driven = rows.genome_files(connection), rows.driven(connection)
        left = [name for name in sizes if name not in named and name.partition("/")[0] not in driven]
        for name in left:
            store.genomes.remove(name)
        return [sizes[name] for name in left]

    runs = store.runs()
    removed = store.writing("removing genome files", body)
    if any(run.state == "running" for run in runs):
        return Freed(len(removed), sum(removed), False)
    return Freed(len(removed), sum(removed) + store.vacuum(), True)
