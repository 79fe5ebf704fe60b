"""How fast the store takes a run in and gives it back, on SQLite and on PostgreSQL, beside plain sqlite3.

    python benchmarks/service/store.py [--individuals 320] [--generations 100] [--size 500] [--metrics 5] [--url URL]

PostgreSQL is measured where --url names a database; what it adds there it deletes again. Above a --size of 8192, the
genomes are in Parquet files. The baseline writes the same numbers by `executemany` into one table without keys, state
or lease, each generation one transaction, with the same settings of SQLite, and reads them into one array.
"""

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sqlalchemy import text

from l2l_snn.evaluation import Evaluation
from l2l_snn.results import tables
from l2l_snn.space import Free, Space
from l2l_snn.storage import prune
from l2l_snn.storage.driver import drive
from l2l_snn.storage.records import Generation
from l2l_snn.storage.store import Store


class State(NamedTuple):
    mean: np.ndarray
    std: np.ndarray
    words: np.ndarray


def generation(rng: np.random.Generator, number: int, p: int, d: int, m: int) -> Generation:
    """Return a random generation of p individuals with d coordinates and m metrics."""
    evaluation = Evaluation(rng.standard_normal(p), {f"m{k}": rng.standard_normal(p) for k in range(m)})
    seeds = rng.integers(1, 2**31, p)
    return Generation(number, rng.standard_normal((p, d)), seeds, evaluation, np.full(p, 0.1), ("worker-1",) * p, 1.0)


def ours(url: str, parts: list[Generation], d: int) -> tuple[list[float], float, float, float]:
    """Return the seconds of each commit, of reading all but the parameters, of reading all; and a server's MB."""
    state = State(np.zeros(d), np.ones(d), np.zeros(2, np.uint64))
    commits = []
    with Store(url) as store:
        before = server_size(store)
        name = store.next_name("benchmark")
        store.create(name, "benchmark", {}, Space(w=Free((d,))))
        with drive(store, name) as driver:
            for part in parts:
                start = time.perf_counter()
                driver.commit(part, state)
                commits.append(time.perf_counter() - start)
        start = time.perf_counter()
        tables.individuals(store, name)
        some = time.perf_counter() - start
        start = time.perf_counter()
        table = tables.individuals(store, name, params=True)
        everything = time.perf_counter() - start
        size = server_size(store) - before
        if size:
            prune.delete(store, [name])
    rows = np.concatenate([part.z for part in parts])
    if not np.array_equal(table[[f"param.w[{i}]" for i in range(d)]].to_numpy(), rows):
        raise SystemExit("what came back differs from what went in")
    return commits, some, everything, size


def server_size(store: Store) -> float:
    """Return the MB of the database where it is a server's."""
    with store.read() as connection:
        if connection.dialect.name == "sqlite":
            return 0.0
        return connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one() / 1e6


def plain(path: Path, parts: list[Generation], d: int) -> tuple[list[float], float, float, float]:
    """The same by sqlite3 alone."""
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", "CREATE TABLE t (g, i, f, m, z)"):
        connection.execute(statement)
    commits = []
    for part in parts:
        start = time.perf_counter()
        metrics = np.stack(list(part.evaluation.metrics.values()), axis=1)
        fitness = part.evaluation.fitness.tolist()
        rows = [(part.number, i, fitness[i], metrics[i].tobytes(), z.tobytes()) for i, z in enumerate(part.z)]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        commits.append(time.perf_counter() - start)
    start = time.perf_counter()
    connection.execute("SELECT g, i, f, m FROM t").fetchall()
    some = time.perf_counter() - start
    start = time.perf_counter()
    rows = connection.execute("SELECT g, i, f, m, z FROM t").fetchall()
    np.frombuffer(b"".join([row[4] for row in rows])).reshape(-1, d)
    everything = time.perf_counter() - start
    connection.close()
    return commits, some, everything, 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--individuals", type=int, default=320, help="a generation")
    parser.add_argument("--generations", type=int, default=100)
    parser.add_argument("--size", type=int, default=500, help="float64 an individual")
    parser.add_argument("--metrics", type=int, default=5)
    parser.add_argument("--url", help="a store on PostgreSQL, to be measured too")
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of each is shown")
    args = parser.parse_args()
    rng = np.random.default_rng(1)
    p, d, m = args.individuals, args.size, args.metrics
    parts = [generation(rng, number, p, d, m) for number in range(args.generations)]
    print(f"{p * len(parts)} evaluations of {d} float64 and {m} metrics in {len(parts)} commits")
    print(f"{'':12}{'in, s':>8}{'p50, ms':>9}{'max, ms':>9}{'MB':>7}{'metrics out, s':>16}{'all out, s':>12}")
    results: dict[str, list] = {label: [] for label in ("SQLite", *(["PostgreSQL"] if args.url else []), "sqlite3")}
    for _ in range(args.repeats):  # in turn, so that what else the machine does hits all
        for label, found in results.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "b.db"
                url = args.url if label == "PostgreSQL" else f"sqlite:///{path}"
                *times, size = plain(path, parts, d) if label == "sqlite3" else ours(url, parts, d)
                size = size or sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6
            found.append((sum(times[0]), *times, size))
    totals = {}
    for label, found in results.items():
        total, commits, some, everything, size = (min(values) for values in zip(*found, strict=True))
        totals[label] = total, some, everything, size
        p50, slowest = 1e3 * float(np.median(commits)), 1e3 * max(commits)
        print(f"{label:12}{total:8.2f}{p50:9.1f}{slowest:9.1f}{size:7.0f}{some:16.3f}{everything:12.3f}")
    for one, other in (("SQLite", "sqlite3"), ("PostgreSQL", "SQLite")):
        if one in totals:
            into, some, everything, size = (a / b for a, b in zip(totals[one], totals[other], strict=True))
            print(f"{one} / {other}: in {into:.1f}, metrics out {some:.1f}, all out {everything:.1f}, size {size:.1f}")


if __name__ == "__main__":
    main()
