"""What tests of stores share: runs that are made up, small and with large genomes, and processes that use them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from places import HELPERS, ROOT
from sqlalchemy import text

from l2l_snn.evaluation import Evaluation
from l2l_snn.space import Choice, Free, Integer, Real, Space
from l2l_snn.storage.database import connect
from l2l_snn.storage.driver import drive
from l2l_snn.storage.records import Generation
from l2l_snn.storage.store import Store

SPACE = Space(tau=Real(5, 50, log=True), w=Free((2, 3)), rule=Choice("stdp", "eprop"))


class State(NamedTuple):
    mean: np.ndarray
    words: np.ndarray
    step: np.ndarray


def state_after(number: int) -> State:
    return State(np.full(8, float(number)), np.array([7, number], np.uint64), np.array(number))


def make(number: int, p: int = 3, fitness=None, metrics=None, errors=()) -> Generation:
    rng = np.random.default_rng(number)
    fitness = rng.standard_normal(p) if fitness is None else np.asarray(fitness)
    metrics = {"rate": rng.standard_normal(p)} if metrics is None else metrics
    evaluation = Evaluation(fitness, metrics, errors=errors)
    seeds = rng.integers(1, 2**31, p)
    return Generation(number, rng.standard_normal((p, 8)), seeds, evaluation, rng.random(p), ("w1",) * p, 0.5)


on_sqlite = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


on_postgres = pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)


def execute(url: str, *commands: str, **values: object) -> list:
    """Run SQL behind the store's back, in one transaction; return the rows of the last."""
    engine = connect(url)
    with engine.begin() as connection:
        for command in commands:
            result = connection.execute(text(command), values)
        rows = list(result) if result.returns_rows else []
    engine.dispose()
    return rows


def is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


def start(url: str, code: str, *args: object) -> subprocess.Popen:
    """Start Python code that knows the names of this file, the store's errors, `url` and `args`."""
    lines = "import signal\nfrom stores import *\nfrom l2l_snn.storage.store import RunBusy, StoreError\n"
    lines += f"url, *args = {[url, *map(str, args)]!r}\n{code}"
    pipe = subprocess.PIPE
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{HELPERS}"}
    return subprocess.Popen([sys.executable, "-c", lines], stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env)


def ended(process: subprocess.Popen, say: str | None = None) -> str:
    """Return what the process wrote before it ended well."""
    out, err = process.communicate(say, timeout=60)
    assert process.returncode == 0, err
    return out


def contents(store: Store, p: int = 3) -> tuple[int, int, int]:
    """Return (generations, individuals, step of the state) of run a, after checking that they fit together."""
    with store.read() as connection:
        numbers = list(connection.scalars(text("SELECT generation FROM generations ORDER BY generation")))
        pairs = connection.execute(text("SELECT generation, individual FROM individuals ORDER BY 1, 2")).all()
    assert numbers == list(range(len(numbers)))
    assert [tuple(pair) for pair in pairs] == [(g, i) for g in numbers for i in range(p)]
    run = store.load("a")
    assert (run.generation, run.evaluations) == (len(numbers), len(pairs))
    state = store.optimizer_state("a", state_after(0))
    for have, want in zip(state, state_after(len(numbers) - 1), strict=True):
        np.testing.assert_array_equal(have, want)
    return len(numbers), len(pairs), int(state.step)


class Bomb:
    def __reduce__(self):
        return (os.mkdir, ("exploded",))


WIDE = Space(tau=Real(5, 50), n=Integer(1, 9), rule=Choice("stdp", "eprop"), w=Free((100, 82)))


def wide(number: int, p: int = 3, fitness=None, size: int = WIDE.size) -> Generation:
    part = make(number, p, fitness)
    z = np.random.default_rng(100 + number).standard_normal((p, size))
    z[0, :5] = [np.nan, np.inf, -0.0, 5e-324, -np.inf]
    z.view(np.uint64)[0, 0] = 0x7FF8_0000_0000_0001  # a nan of one's own
    return Generation(number, z, part.seeds, part.evaluation, part.seconds, part.workers, 0.5)


def fill(store: Store, name: str, *parts: Generation, genomes: str = "all", space: Space = WIDE) -> None:
    store.create(name, "job", {"job": {"genomes": genomes}}, space)
    with drive(store, name) as driver:
        for part in parts:
            driver.commit(part, state_after(part.number))


def files(tmp_path: Path) -> list[str]:
    return sorted(str(path.relative_to(tmp_path / "l2l.genomes")) for path in tmp_path.glob("l2l.genomes/*/*"))
