"""Making a store smaller: delete runs, thin genomes, remove files that nothing names, give the room back.

    prune.thin(store, ["line-1"], "elite")    # of its genomes, keep those that were as good as all before them
    prune.delete(store, ["line-2"])
    freed = prune.sweep(store)

A run that is driven is refused, and never loses anything.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, bindparam, func, select, update

from l2l_snn.space import Space
from l2l_snn.storage import rows as run_rows
from l2l_snn.storage.lease import check_free
from l2l_snn.storage.records import elite, stored_run
from l2l_snn.storage.schema import GENERATIONS, INDIVIDUALS, RUNS
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
        if again and not connection.scalars(select(RUNS.c.id).where(RUNS.c.name.in_(names))).all():
            return  # done, and the answer was lost
        rows = [run_rows.find(connection, store.url_shown, name, lock=True) for name in sorted(set(names))]
        for row in rows:
            check_free(row)
        for row in rows:
            run_rows.remove(connection, row.id)

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
            check_free(run_rows.find(connection, store.url_shown, name))

    store.reading(check)
    return sum(_thin_run(store, name, policy) for name in names)


def _thin_run(store: Store, name: str, policy: str) -> int:
    run = store.load(name)
    i = INDIVIDUALS.c
    columns = select(i.generation, i.individual, i.fitness).where(i.run_id == run.id)
    query = columns.order_by(i.generation, i.individual)
    rows = store.reading(lambda connection: connection.execute(query).all())
    scores = np.array([row.fitness for row in rows], np.float64)
    keep = elite(scores) if policy == "elite" else np.zeros(len(rows), bool)
    generation = np.array([row.generation for row in rows], np.int64)
    individual = np.array([row.individual for row in rows], np.int64)

    # a transaction for each generation, so that drivers of other runs needn't wait for all of them
    forgotten = 0
    for number in range(run.generation):
        here = generation == number

        def body(connection: Connection, again: bool, number: int = number, here: np.ndarray = here) -> int:
            check_free(run_rows.find(connection, store.url_shown, name, lock=True))
            return _thin_generation(store, connection, name, number, individual[here], keep[here])

        forgotten += store.writing(f"thinning run {name!r}", body)
    return forgotten


def _thin_generation(
    store: Store, connection: Connection, name: str, number: int, individual: np.ndarray, keep: np.ndarray
) -> int:
    """Forget the genomes of a generation that aren't to keep; return how many those were."""
    i, g = INDIVIDUALS.c, GENERATIONS.c
    run = run_rows.find(connection, store.url_shown, name)
    mine = (i.run_id == run.id) & (i.generation == number)
    with_z = set(connection.scalars(select(i.individual).where(mine, func.length(i.z) > 0)))
    away = [{"number": k} for k in individual[~keep].tolist() if k in with_z]
    if away:
        rows = update(INDIVIDUALS).where(mine, i.individual == bindparam("number")).values(z=b"")
        connection.execute(rows, away)
    row = (g.run_id == run.id) & (g.generation == number)
    file = connection.scalars(select(g.genomes).where(row)).one()
    if file is None:
        return len(away)
    run_rows.lock_genomes(connection)
    size = Space.from_json(run.space).size
    files = store.genome_files(name, size)
    numbers, z = files.read(file, size)
    stays = np.isin(numbers, individual[keep])
    if stays.all():
        return len(away)
    new = files.write(name, number, numbers[stays], z[stays]) if stays.any() else None
    connection.execute(update(GENERATIONS).where(row).values(genomes=new))
    return len(away) + int((~stays).sum())


def sweep(store: Store) -> Freed:
    """Remove the genome files that no generation names, and give the room of deleted rows back.

    The files of a run that is driven stay: its next commit may name them.
    """

    def body(connection: Connection, again: bool) -> list[int]:
        run_rows.lock_genomes(connection)
        if store.genomes is None:
            return []
        sizes = store.genomes.sizes()  # before the names are read: what is committed in between is among those
        named = set(connection.scalars(select(GENERATIONS.c.genomes).where(GENERATIONS.c.genomes.is_not(None))))
        driven = set(connection.scalars(select(RUNS.c.name).where(RUNS.c.owner.is_not(None))))
        left = [name for name in sizes if name not in named and name.partition("/")[0] not in driven]
        for name in left:
            store.genomes.remove(name)
        return [sizes[name] for name in left]

    rows = store.reading(lambda connection: connection.execute(select(RUNS)).all())
    removed = store.writing("removing genome files", body)
    if any(stored_run(row).state == "running" for row in rows):
        return Freed(len(removed), sum(removed), False)
    return Freed(len(removed), sum(removed) + store.vacuum(), True)
