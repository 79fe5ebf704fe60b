"""The web page in headless Chromium: what a visitor sees and does; nothing leaves this machine, nothing complains."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from browser import HOSTILE, MANIFEST, SPACE, Page, State, add_run, chromium, generation, serving
from places import ROOT

from l2l_snn.dashboard.settings import Settings
from l2l_snn.evaluation import WorkerStatus
from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import Store

JOB = """\
optimizee: {class: "painter:Painter"}
optimizer: {class: "optimizers.random_search:RandomSearch", population: 4}
generations: 200
"""
PAINTER = '''
import time
from dataclasses import dataclass
from l2l_snn import Optimizee, Real, Space
from l2l_snn.results.figures import new_figure, save

@dataclass(frozen=True)
class Painter(Optimizee):
    """A line that draws itself, slowly."""

    space = Space(x=Real(-1, 1, shape=(3,)))

    def evaluate(self, params, seed):
        time.sleep(0.05)
        print('{"error": "what a user prints is no answer"}')
        return -float(params["x"] @ params["x"]), {"first": float(params["x"][0])}

    def draw(self, params, evaluation, folder, *, video=False):
        figure, axes = new_figure(size=(3, 2))
        axes.plot(params["x"])
        return [save(figure, folder / "raster.png")]
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    (folder / "jobs").mkdir()
    (folder / "jobs" / "paint.yaml").write_text(JOB)
    (folder / "jobs" / "painter.py").write_text(PAINTER)
    before, path = os.getcwd(), os.environ.get("PYTHONPATH", "")
    os.chdir(folder)
    os.environ["PYTHONPATH"] = f"{ROOT}:{path}"
    yield folder
    os.chdir(before)
    os.environ["PYTHONPATH"] = path


@pytest.fixture(scope="module")
def store(place):
    with Store(f"sqlite:///{place}/l2l.db") as opened:
        add_run(opened, "line-1", 12, message="12 generations done", seed=1)
        add_run(opened, "line-2", 12, "failed", "7 of 10 individuals failed", seed=2, failing=0.4)
        add_run(opened, "nan-1", 3, "failed", HOSTILE, failing=2.0, job=HOSTILE, metric=HOSTILE)
        add_run(opened, "two-1", 1, objectives=2, job="two")
        yield opened


@pytest.fixture(scope="module")
def url(store, place):
    with serving(store, Settings(store.url_shown, control=True, jobs=place / "jobs")) as address:
        yield address


@pytest.fixture(scope="module")
def live_store(place):
    """A store whose runs are driven."""
    with Store(f"sqlite:///{place}/live.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def live_url(live_store, place):
    settings = Settings(live_store.url_shown, control=True, jobs=place / "jobs", results=Path("runs"))
    with serving(live_store, settings) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser, url):
    opened = Page(browser, url)
    yield opened
    opened.close()


@pytest.fixture
def live_page(browser, live_url):
    opened = Page(browser, live_url)
    yield opened
    opened.close()


LOADED = "document.body.dataset.loaded"
PATHS = (
    *("/", "/runs/line-2", "/runs/nan-1", "/runs/two-1", "/runs/nan-1/individuals", "/runs/line-1/individuals/2/3"),
    *("/start", "/compare?run=line-1&run=two-1&run=nan-1"),
)
CLIPPED = """[...document.querySelectorAll("button, h1, h2, label, dd, dt")].filter(element =>
    element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline")
    .map(element => element.innerText)"""
UNNAMED = """[...document.querySelectorAll("input, select, textarea, button")].filter(element =>
    !element.labels?.length && !element.innerText && !element.ariaLabel)
    .map(element => element.outerHTML)"""


def names(tab) -> list[str]:
    return tab.locator("#runs tbody tr").evaluate_all("rows => rows.map(row => row.dataset.run)")


def test_runs_are_listed_filtered_and_compared(page):
    tab = page.open("/")
    page.wait(LOADED)
    assert names(tab) == ["two-1", "nan-1", "line-2", "line-1"]
    assert "12 of 40" in tab.locator("tr[data-run=line-1]").inner_text()
    tab.get_by_label("Search").fill("LINE")
    page.wait("document.querySelectorAll('#runs tbody tr').length === 2")
    tab.get_by_label("State").select_option("failed")
    page.wait("document.querySelectorAll('#runs tbody tr').length === 1")
    tab.get_by_label("Search").fill("no such")
    page.wait("!document.getElementById('empty').hidden")
    tab.get_by_label("Search").fill("line")
    tab.get_by_label("State").select_option("")
    page.wait("document.querySelectorAll('#runs tbody tr').length === 2")
    for name in ("line-1", "line-2"):
        tab.get_by_label(f"Compare {name}").check()
    tab.get_by_role("button", name="Compare 2").click()
    page.drawn("curves")
    page.wait(LOADED)
    row = tab.locator("#groups tbody tr")
    assert row.count() == 1  # they differ in their seed alone
    assert row.get_by_role("link").all_inner_texts() == ["line-1", "line-2"]
    assert "median and quartiles" in tab.locator("#band-note").inner_text()


def test_a_run_that_goes_on_is_shown_live(live_page, live_store):
    live_store.create("live-1", "line", MANIFEST, SPACE)
    go, known = threading.Event(), []

    def commit_and_report():
        with Store(live_store.url_shown) as own, drive(own, "live-1") as driver:
            for number in range(6):
                driver.commit(generation(number), State(np.zeros(2)))
                driver.report([WorkerStatus("node-0:4000", number + 1, 0, 4, time.time())])
                if number == 2:
                    known.append(go.wait(120))
            driver.finish("failed", "it broke")

    driver = threading.Thread(target=commit_and_report)
    driver.start()
    try:
        tab = live_page.open("/runs/live-1")
        live_page.drawn()
        live_page.wait("document.getElementById('fitness').data.at(-1).x.length === 3")
        assert tab.locator("#state").inner_text() == "running"
        live_page.wait("document.getElementById('workers').innerText.includes('individuals 0 to 4')")
        requests = []
        tab.on("request", lambda request: requests.append(request.url))
    finally:
        go.set()
        driver.join(120)
    live_page.wait("document.getElementById('fitness').data.at(-1).x.length === 6")
    live_page.wait("document.getElementById('state').innerText === 'failed'")
    assert known == [True]
    assert tab.locator("#message").inner_text() == "it broke"
    new = [address for address in requests if "generations" in address]
    assert new
    assert all("after=" in address for address in new)  # only what is new was asked for
    shown = tab.evaluate("document.getElementById('fitness').data.at(-1).y")
    curve = [live_store.load("live-1").best]
    assert shown[-1:] == curve


def test_individuals_are_sorted_filtered_and_paged_by_keyboard_too(page, store):
    tab = page.open("/runs/line-1")
    page.drawn()
    tab.get_by_role("link", name="All individuals").click()
    page.wait(LOADED)
    first = "#individuals tbody tr:first-child"
    best = store.individual("line-1")
    cells = tab.locator(f"{first} td").all_inner_texts()
    assert cells[1:3] == [str(best.generation), str(best.index)]
    assert tab.locator("th[aria-sort=descending]").inner_text() == "fitness ↓"
    tab.get_by_role("button", name="rate").focus()
    tab.keyboard.press("Enter")
    page.wait("document.querySelector('th[aria-sort]')?.innerText === 'rate ↓'")
    assert tab.evaluate("document.activeElement.closest('th')?.dataset.column") == "metric.rate"
    tab.keyboard.press("Enter")
    page.wait("document.querySelector('th[aria-sort=ascending]')?.innerText === 'rate ↑'")
    tab.get_by_role("button", name="Next").click()
    page.wait("document.getElementById('pager').innerText.includes('51 to 100 of 120')")
    tab.get_by_label("Where").select_option("generation")
    tab.locator("#add [name=how]").select_option("eq")
    tab.locator("#add [name=value]").fill("3")
    tab.get_by_role("button", name="Add filter").click()
    page.wait("document.querySelectorAll('#individuals tbody tr').length === 10")
    tab.go_back()
    page.wait("document.getElementById('pager').innerText.includes('51 to 100 of 120')")
    tab.locator("#individuals tbody a").first.click()
    page.wait(LOADED)
    assert "Individual" in tab.locator("h1").inner_text()
    assert tab.locator(".parameter h3").all_inner_texts() == ["tau", "n", "rule", "w"]
    assert tab.locator(".parameter canvas").count() == 1


def test_a_run_is_started_stopped_resumed_and_replayed(live_page, live_store):
    tab = live_page.open("/start")
    live_page.wait(LOADED)
    tab.get_by_label("Job file").select_option("paint.yaml")
    tab.get_by_label("Settings").fill("seed=3\noptimizer.population=2")
    tab.get_by_label("in one process").check()
    tab.get_by_role("button", name="Check and start").click()
    tab.wait_for_url("**/runs/paint-1")
    live_page.wait("document.getElementById('state').innerText === 'running'")
    live_page.wait("document.getElementById('fitness').data?.at(-1).x.length > 1")
    live_page.expected = "404"  # the page asks for the run before its driver has made it
    tab.get_by_role("button", name="Stop").click()
    live_page.wait("document.getElementById('state').innerText === 'stopped'")
    done = live_store.load("paint-1").generation
    assert 1 < done < 200
    tab.locator("#resume input").fill(f"generations={done + 1}")
    tab.get_by_role("button", name="Resume").click()
    live_page.wait("document.getElementById('state').innerText === 'finished'")
    assert live_store.load("paint-1").generation == done + 1
    assert "run paint-1 in" in tab.locator("#log").inner_text()
    tab.get_by_role("link", name="Best individual").click()
    live_page.wait(LOADED)
    tab.get_by_role("button", name="Replay", exact=True).click()
    live_page.wait("document.querySelector('#pictures img')?.naturalWidth > 300")
    assert "the fitness is the same, bit for bit" in tab.locator("#replay-state").inner_text()
    assert tab.get_by_alt_text("raster of the replay").count() == 1


def test_what_the_store_says_is_shown_as_text(page):
    for path in ("/", "/runs/nan-1", "/runs/nan-1/individuals", "/runs/nan-1/individuals/0/0", "/compare?run=nan-1"):
        tab = page.open(path)
        if path == "/runs/nan-1" or "compare" in path:
            page.drawn("curves" if "compare" in path else "fitness")
        else:
            page.wait(LOADED)
        page.wait("document.body.innerText.includes('<img src=x')")
        assert tab.title() != "1"
        assert tab.locator("img, script:not([src])").count() == 0
        assert "{{7*7}}" in tab.evaluate("document.body.textContent")


@pytest.mark.parametrize(("width", "dark"), [(380, True), (1600, False)])
def test_every_page_fits_narrow_and_wide(browser, url, width, dark):
    page = Page(browser, url, width, 800, dark)
    paths = [
        "/",
        "/runs/line-2",
        "/runs/nan-1",
        "/runs/two-1",
        "/runs/nan-1/individuals",
        "/runs/line-1/individuals/2/3",
    ]
    for path in [*paths, "/start", "/compare?run=line-1&run=two-1&run=nan-1"]:
        tab = page.open(path)
        charts = path.count("/") == 2 or "compare" in path
        page.drawn("curves" if "compare" in path else "fitness") if charts else page.wait(LOADED)
        assert page.fits(), path
        assert tab.evaluate(CLIPPED) == [], path
        assert tab.evaluate(UNNAMED) == [], path
    page.close()


def test_an_empty_store_and_an_unknown_run_say_so(browser, tmp_path):
    with Store(f"sqlite:///{tmp_path}/l2l.db") as empty, serving(empty) as address:
        page = Page(browser, address)
        tab = page.open("/")
        page.wait(LOADED)
        assert "no runs yet" in tab.locator("#empty").inner_text()
        page.open("/runs/nothing")
        page.wait("document.getElementById('problem').innerText.includes('nothing')")
        page.expected = "404"
        page.close()
