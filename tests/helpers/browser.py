"""What the tests of the web page share: a store with runs of every kind, the server in a thread, headless Chromium.

with serving(store) as url, chromium() as browser:
    page = Page(browser, url)
    page.open("/runs/line-1")
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest

from l2l_snn.dashboard import app
from l2l_snn.dashboard.settings import Settings
from l2l_snn.evaluation import Evaluation
from l2l_snn.space import Choice, Free, Integer, Real, Space
from l2l_snn.storage.driver import drive
from l2l_snn.storage.records import Generation
from l2l_snn.storage.store import Store

LIMIT = 240_000  # ms, that anything in the browser may take
MANIFEST = {
    "job": {"optimizee": {"class": "a:B"}, "optimizer": {"class": "c:D"}, "generations": 40, "seed": 1},
    "file": "jobs/line.yaml",
    "versions": {"python": "3.11", "ray": None},
    "commit": None,
}
SPACE = Space(tau=Real(5, 50, log=True), n=Integer(1, 9), rule=Choice("stdp", "eprop"), w=Free((4, 6)))
HOSTILE = '<img src=x onerror="document.title=1">\'; DROP TABLE runs; -- {{7*7}} ../../etc'


class State(NamedTuple):
    mean: np.ndarray


def generation(
    number: int, p: int = 10, space: Space = SPACE, objectives: int = 1, failing: float = 0.1, metric: str = "rate"
) -> Generation:
    """Return a generation whose fitness grows with its number; the shares of it that fail carry an error."""
    rng = np.random.default_rng(number)
    fitness = -np.exp(-number / 12) * rng.gamma(2.0, 1.0, (p, objectives))
    failed = rng.random(p) < failing
    fitness[failed] = np.nan
    errors = tuple(f"FloatingPointError: {metric} diverged at 31.0 ms" if f else "" for f in failed)
    metrics = {metric: rng.gamma(2.0, 10.0, p), "spikes": rng.integers(0, 100, p).astype(float)}
    evaluation = Evaluation(fitness[:, 0] if objectives == 1 else fitness, metrics, errors=errors)
    z, seeds = rng.standard_normal((p, space.size)) * 0.3 + 0.5, rng.integers(1, 2**31, p)
    workers = tuple(f"node-{k % 3}:{4000 + k % 3}" for k in range(p))
    return Generation(number, z, seeds, evaluation, rng.gamma(2, 0.02, p), workers, 0.2 + 0.05 * rng.random())


def add_run(store: Store, name: str, generations: int = 12, end: str = "finished", message: str = "", **options: Any):
    """Store a run of `generation`s."""
    manifest = {**MANIFEST, "job": {**MANIFEST["job"], "seed": options.pop("seed", 1)}}
    store.create(name, options.pop("job", "line"), manifest, options.get("space", SPACE))
    with drive(store, name) as driver:
        for number in range(generations):
            driver.commit(generation(number, **options), State(np.zeros(2)))
        driver.finish(end, message)


@contextmanager
def serving(store: Store, settings: Settings | None = None) -> Iterator[str]:
    """Serve the page of a store in a thread; give its address."""
    settings = settings or Settings(store.url_shown)
    with app.listen(settings, 0) as listening:
        server = app.server(store, settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + 60
            while not server.started:
                assert thread.is_alive(), "the server ended"
                assert time.monotonic() < deadline, "the server doesn't start"
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


@contextmanager
def chromium() -> Iterator[Any]:
    """Give a headless Chromium; skip the test where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("Chromium is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    arguments = ["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Page:
    """A tab that remembers what it asked for and complained about."""

    def __init__(self, browser: Any, url: str, width: int = 1200, height: int = 900, dark: bool = False):
        self.url = url
        scheme = "dark" if dark else "light"
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(LIMIT)
        self.foreign: list[str] = []  # requests to another server
        self.complaints: list[str] = []  # of the console, and errors of scripts
        self.expected: str | None = None  # part of a complaint that is none
        self.tab.on("request", self._request)
        self.tab.on("console", self._console)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _request(self, request: Any) -> None:
        if urlsplit(request.url).scheme != "data" and not request.url.startswith(self.url + "/"):
            self.foreign.append(request.url)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning") or "CSP" in message.text:
            self.complaints.append(f"{message.type}: {message.text}")

    def open(self, path: str) -> Any:
        """Go to a path; return the tab."""
        self.tab.goto(self.url + path)
        return self.tab

    def wait(self, expression: str) -> None:
        """Wait until a JavaScript expression is true."""
        deadline = time.monotonic() + LIMIT / 1000
        while not self.tab.evaluate(f"!!({expression})"):  # wait_for_function needs eval, which the page forbids
            assert time.monotonic() < deadline, f"never true: {expression}"
            self.tab.wait_for_timeout(30)

    def drawn(self, chart: str = "fitness") -> None:
        """Wait until a chart is there."""
        self.wait(f"document.querySelector('#{chart} .main-svg') !== null")

    def fits(self) -> bool:
        """Return whether nothing makes the page wider than the window."""
        return self.tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    def close(self) -> None:
        """Close it; refuse what it complained about or asked for elsewhere."""
        self.context.close()
        assert [text for text in self.complaints if self.expected is None or self.expected not in text] == []
        assert self.foreign == []

    def shoot(self, path: Path, whole: bool = False) -> None:
        """Take a picture."""
        self.tab.screenshot(path=path, full_page=whole, animations="disabled")
