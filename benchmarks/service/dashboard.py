"""The web page over a run of a million evaluations: time to the first chart, to an update, of the table; memory.

    python benchmarks/service/dashboard.py [--store sqlite:////tmp/big.db]

makes a store of 1,000 generations of 1,000 individuals (kept where it's named, else for this once), serves it by
`l2l dashboard` and looks at it with headless Chromium. Printed are the medians of several visits, each with an empty
cache, and the resident memory of the server's process.
"""

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from sqlalchemy import insert, update

from l2l_snn.evaluation import Evaluation
from l2l_snn.space import Free, Real, Space
from l2l_snn.storage.database import connect
from l2l_snn.storage.driver import drive
from l2l_snn.storage.records import Generation
from l2l_snn.storage.schema import GENERATIONS, INDIVIDUALS, RUNS
from l2l_snn.storage.store import Store

RUN, P = "big-1", 1_000
SPACE = Space(tau=Real(5, 50, log=True), w=Free((4,)))
NAMES = ("rate", "spikes")


class State(NamedTuple):
    mean: np.ndarray


def make(url: str, generations: int) -> None:
    """Fill a new store with one run."""
    with Store(url) as store:
        job = {"optimizee": {"class": "a:B"}, "optimizer": {"class": "c:D"}, "generations": generations + 100}
        store.create(RUN, "big", {"job": job, "file": "big.yaml", "versions": {}, "commit": None}, SPACE)
        run_id = store.load(RUN).id
    rng, so_far, failures = np.random.default_rng(1), -np.inf, 0
    engine = connect(url)
    with engine.execution_options(writes=True).begin() as connection:
        for number in range(generations):
            fitness = -np.exp(-number / 300) * rng.gamma(2, 1, P)
            failed = rng.random(P) < 0.01
            well = fitness[~failed]
            so_far, failures = max(so_far, float(well.max())), failures + int(failed.sum())
            z, metrics = rng.standard_normal((P, SPACE.size)), rng.standard_normal((P, len(NAMES)))
            key = {"run_id": run_id, "generation": number}
            totals = {
                "evaluations": P,
                "failed": int(failed.sum()),
                "best": float(well.max()),
                "mean": float(well.mean()),
            }
            totals |= {"std": float(well.std()), "best_so_far": so_far, "seconds": 1.0, "objectives": 1}
            connection.execute(insert(GENERATIONS), {**key, **totals, "metrics": json.dumps(NAMES)})
            rows = [
                {
                    **key,
                    "individual": k,
                    "seed": number * P + k,
                    "fitness": None if failed[k] else float(fitness[k]),
                    "seconds": 0.001 * (k % 7),
                    "worker": f"node-{k % 8}:4000",
                    "error": "FloatingPointError: v diverged" if failed[k] else "",
                    "objectives": None,
                    "metrics": metrics[k].tobytes(),
                    "z": z[k].tobytes(),
                }
                for k in range(P)
            ]
            connection.execute(insert(INDIVIDUALS), rows)
        totals = {"generation": generations, "evaluations": generations * P, "failed": failures, "best": so_far}
        connection.execute(update(RUNS).where(RUNS.c.id == run_id).values(**totals, seconds=float(generations)))
    engine.dispose()


def one_more(number: int) -> Generation:
    """Return the next generation."""
    rng = np.random.default_rng(number)
    metrics = {name: rng.standard_normal(P) for name in NAMES}
    evaluation = Evaluation(-rng.gamma(2, 0.1, P), metrics)
    z, seeds = rng.standard_normal((P, SPACE.size)), np.arange(P, dtype=np.int64)
    return Generation(number, z, seeds, evaluation, np.full(P, 0.001), ("a:1",) * P, 1.0)


def first_charts(browser, address: str, visits: int) -> list[float]:
    """Return the times from the navigation to the first chart, s."""
    times = []
    for _ in range(visits):
        context = browser.new_context(viewport={"width": 1200, "height": 900})
        tab = context.new_page()
        tab.goto(f"{address}/runs/{RUN}")
        while (drawn := tab.evaluate("document.getElementById('fitness').dataset.drawn ?? null")) is None:
            tab.wait_for_timeout(10)
        times.append(float(drawn) / 1000)
        context.close()
    return times


def updates(browser, address: str, url: str, count: int) -> list[float]:
    """Return the times from a commit to its generation in the chart, s: the wait for the next question included."""
    tab = browser.new_page()
    times = []
    with Store(url) as store, drive(store, RUN) as driver:
        tab.goto(f"{address}/runs/{RUN}")
        for _ in range(count):
            number = store.load(RUN).generation
            driver.commit(one_more(number), State(np.zeros(2)))
            began = time.perf_counter()
            while tab.evaluate("Number(document.getElementById('fitness').dataset.generation ?? 0)") <= number:
                tab.wait_for_timeout(10)
            times.append(time.perf_counter() - began)
        driver.finish("finished")
    return times


TABLES = (
    "sort=fitness",
    "sort=fitness&order=asc",
    "sort=seconds",
    "sort=generation&order=asc",
    "sort=metric.rate",
    "sort=fitness&where=has:error:diverged",
    "sort=metric.rate&where=gt:metric.spikes:1",
)


def answers(browser, address: str) -> dict[str, float]:
    """Return how long the API takes for pages of the table and other questions, s: medians of five."""
    tab = browser.new_page()
    tab.goto(f"{address}/")
    paths = {f"individuals?{query}": f"/api/runs/{RUN}/individuals?{query}" for query in TABLES}
    paths |= {name: f"/api/runs/{RUN}/{name}" for name in ("generations", "cloud", "cloud?after=998")}
    paths |= {"runs": "/api/runs"}
    ask = """async path => {
        const began = performance.now();
        await (await fetch(path)).text();
        return performance.now() - began;
    }"""
    times = {}
    for name, path in paths.items():
        times[name] = statistics.median(tab.evaluate(ask, path) for _ in range(5)) / 1000
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", help="URL of the store; made if it has no run yet")
    parser.add_argument("--generations", type=int, default=1_000)
    parser.add_argument("--visits", type=int, default=5)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        url = options.store or f"sqlite:///{folder}/big.db"
        with Store(url) as store:
            there = any(run.name == RUN for run in store.runs())
        if not there:
            began = time.perf_counter()
            make(url, options.generations)
            print(f"made {options.generations * P:,} evaluations in {time.perf_counter() - began:.0f} s")
        command = [sys.executable, "-m", "l2l_snn.cli", "dashboard", "--store", url, "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(folder))
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+?(?=/)(?=/\s|/$)", server.stdout.readline())[0]  # pyright: ignore
            process = psutil.Process(server.pid)

            def memory() -> str:
                return f"{process.memory_info().rss / 1e6:.0f} MB"

            print(f"server, before the first question: {memory()}")
            with sync_playwright() as playwright:
                program = shutil.which("chromium") or shutil.which("google-chrome")
                browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
                charts = first_charts(browser, address, options.visits)
                print(f"first chart: median {statistics.median(charts):.2f} s, all {[round(t, 2) for t in charts]}")
                new = updates(browser, address, url, options.visits)
                print(f"update: median {statistics.median(new):.2f} s, all {[round(t, 2) for t in new]}")
                for name, seconds in answers(browser, address).items():
                    print(f"  {seconds * 1000:6.0f} ms  {name}")
                browser.close()
            print(f"server, at the end: {memory()}")
        finally:
            server.terminate()
            server.communicate(timeout=60)


if __name__ == "__main__":
    main()
