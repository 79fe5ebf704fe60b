"""The web page in headless Chromium: what a visitor sees and does; nothing leaves this machine, nothing complains."""

import os
import re
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


LOADED = "document.body?.dataset.loaded"
PATHS = (
    *("/", "/runs/line-2", "/runs/nan-1", "/runs/two-1", "/runs/nan-1/individuals", "/runs/line-1/individuals/2/3"),
    *("/start", "/compare?run=line-1&run=two-1&run=nan-1"),
)
CLIPPED = """[...document.querySelectorAll("button, h1, h2, label, dd, dt")].filter(element =>
    element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline")
    .map(element => element.innerText)"""
UNNAMED = """[...document.querySelectorAll("input, select, textarea, button")].filter(element =>
    !element.labels?.length && !element.textContent.trim() && !element.ariaLabel)
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
    tab.locator("#filter [name=state]").select_option("failed")
    page.wait("document.querySelectorAll('#runs tbody tr').length === 1")
    tab.get_by_label("Search").fill("no such")
    page.wait("!document.getElementById('empty').hidden")
    tab.get_by_label("Search").fill("line")
    tab.locator("#filter [name=state]").select_option("")
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
    live_page.wait("document.querySelector('.pictures img')?.naturalWidth > 300")
    assert "the fitness is the same, bit for bit" in tab.locator(".replay-state").inner_text()
    assert tab.get_by_alt_text("raster of the replay").count() == 1
    tab.get_by_text("Beside another individual").click()
    tab.get_by_label("Generation", exact=True).fill("0")
    tab.get_by_label("Individual", exact=True).fill("1")
    tab.get_by_role("button", name="Show both").click()
    tab.wait_for_url("**/beside?run=paint-1&generation=0&index=1")
    live_page.wait(LOADED)
    assert tab.locator("#differences tbody th").all_inner_texts() == ["x"]
    tab.get_by_role("button", name="Replay both").click()
    live_page.wait("[...document.querySelectorAll('.pictures img')].filter(e => e.naturalWidth > 300).length === 2")
    assert tab.get_by_text("the fitness is the same, bit for bit").count() == 2
    assert live_page.fits()


def test_what_the_store_says_is_shown_as_text(page):
    for path in ("/", "/runs/nan-1", "/runs/nan-1/individuals", "/runs/nan-1/individuals/0/0", "/compare?run=nan-1"):
        tab = page.open(path)
        if path == "/runs/nan-1" or "compare" in path:
            page.drawn("curves" if "compare" in path else "fitness")
        else:
            page.wait(LOADED)
        page.wait("document.body.innerText.includes('<img src=x')")
        assert tab.title() != "1"
        assert tab.locator("main img, script:not([src])").count() == 0
        assert "{{7*7}}" in tab.evaluate("document.body.textContent")


def test_names_in_a_charts_legend_are_text(live_page, live_store):
    add_run(live_store, "bold-1", 3, job="a<b>c</b> & <i>d</i>")
    tab = live_page.open("/compare?run=bold-1")
    live_page.drawn("curves")
    live_page.wait(LOADED)
    assert tab.locator("#curves .legendtext").all_text_contents() == ["a<b>c</b> & <i>d</i>, 1 run"]


def test_a_few_values_far_from_all_others_do_not_rule_an_axis_and_are_marked(live_page, live_store):
    live_store.create("far-1", "line", MANIFEST, SPACE)
    with drive(live_store, "far-1") as driver:
        for number in range(4):
            part = generation(number, failing=0.0)
            part.evaluation.fitness[3 + number :: 20] = -1e6 if number == 2 else -0.5
            driver.commit(part, State(np.zeros(2)))
        driver.finish("finished")
    tab = live_page.open("/runs/far-1")
    live_page.drawn("speed")
    below = tab.evaluate(
        "document.getElementById('fitness').data.filter(trace => trace.name === 'below the axis')"
        ".map(trace => [trace.x, trace.customdata, trace.text])"
    )
    assert below == [[[2], [5], ["−1e6"]]]
    assert tab.evaluate("document.getElementById('fitness').layout.yaxis.range[0]") > -100
    assert "1 below the axis" in tab.locator("#cloud-note").inner_text()
    assert tab.locator("#failures").is_hidden()  # an empty frame says nothing


def test_all_objectives_are_shown(page, store):
    tab = page.open("/runs/two-1")
    page.drawn("front-1-2")
    page.drawn("objective-2")
    shown = tab.evaluate("document.getElementById('front-1-2').data.map(trace => [trace.x, trace.y])")
    fitness = np.array([store.individual("two-1", 0, k).fitness for k in range(10)])
    fitness = fitness[np.isfinite(fitness).all(axis=1)]
    front = [a for a in fitness if not any((b >= a).all() and (b > a).any() for b in fitness)]
    assert sorted(zip(*shown[0], strict=True)) == sorted(map(tuple, fitness))
    assert sorted(zip(*shown[1], strict=True)) == sorted(map(tuple, front))
    best = store.individual("two-1").fitness
    facts = tab.locator("#facts").inner_text()
    assert f"{best[0]:.5g}".replace("-", "−") in facts
    assert f"{best[1]:.5g}".replace("-", "−") in facts


def test_note_and_tags_are_written_on_the_page_and_lead_to_their_runs(page, store):
    tab = page.open("/runs/line-2")
    page.drawn()
    tab.get_by_text("Edit note and tags").focus()
    tab.keyboard.press("Enter")
    tab.get_by_label("Note", exact=True).fill("<i>first</i> line\nsecond")
    tab.get_by_label("Tags, with").fill("baseline  sigma-0.1 -x")
    tab.get_by_role("button", name="Save").click()
    page.expected = "422"
    page.wait("document.getElementById('edit-answer').innerText.includes(\"got '-x'\")")
    tab.get_by_label("Tags, with").fill("baseline  sigma-0.1")
    tab.get_by_role("button", name="Save").click()
    page.wait("document.getElementById('edit-answer').innerText === 'saved'")
    assert tab.locator("#note").inner_text() == "<i>first</i> line\nsecond"
    assert (store.load("line-2").note, store.load("line-2").tags) == (
        "<i>first</i> line\nsecond",
        ("baseline", "sigma-0.1"),
    )
    tab.locator("#tags").get_by_text("sigma-0.1").click()
    page.wait(LOADED)
    assert names(tab) == ["line-2"]
    assert "<i>first</i> line" in tab.locator("#runs").inner_text()


def test_an_answer_from_before_a_save_does_not_take_the_saved_note_away(page, store):
    tab, held = page.open("/runs/line-2"), []
    page.drawn()
    tab.route(re.compile(r"/api/runs/line-2$"), lambda route: held.append((route, route.fetch())))
    for _ in range(100):  # the page asks again every 5 s
        if held:
            break
        tab.wait_for_timeout(100)
    tab.get_by_text("Edit note and tags").click()
    tab.get_by_label("Note", exact=True).fill("kept")
    tab.get_by_role("button", name="Save").click()
    page.wait("document.getElementById('edit-answer').innerText === 'saved'")
    route, answer = held[0]
    with tab.expect_response(re.compile(r"/api/runs/line-2$")):
        route.fulfill(response=answer)
    tab.wait_for_timeout(200)
    assert tab.locator("#note").inner_text() == "kept"


def test_pictures_are_drawn_when_they_are_opened_and_what_a_run_has_not_is_said(page):
    tab = page.open("/runs/line-1")
    page.drawn()
    assert tab.locator(".pictures img").count() == 0
    tab.get_by_text("What trades off between objectives").focus()
    tab.keyboard.press("Enter")
    page.wait("document.querySelector('[data-kind=front]').innerText.includes('Not of this run')")
    assert "expected several objectives" in tab.locator("[data-kind=front] [role=status]").inner_text()
    assert tab.locator("[data-kind=front] .problem").count() == 0
    tab.get_by_text("Which worker waited").click()
    page.wait("document.querySelector('[data-kind=timeline] img')?.naturalWidth > 500")
    assert tab.locator("[data-kind=timeline] [role=status]").inner_text() == "After 12 generations"
    assert tab.get_by_role("button", name="Draw it anew").count() == 0  # it is of the last generation
    assert page.fits()


def test_runs_are_sorted_by_their_headings_and_take_two_lines_each_where_the_window_is_narrow(browser, url, store):
    page = Page(browser, url)
    tab = page.open("/")
    page.wait(LOADED)
    tab.get_by_role("button", name="Best").click()
    page.wait("document.querySelector('#runs th[aria-sort=descending]')?.innerText === 'Best ↓'")
    best = {run.name: run.best for run in store.runs() if run.best is not None}
    assert names(tab) == [*sorted(best, key=best.get, reverse=True), "nan-1"]
    tab.get_by_role("button", name="Best").click()
    page.wait("document.querySelector('#runs th[aria-sort=ascending]') !== null")
    assert names(tab) == [*sorted(best, key=best.get), "nan-1"]
    assert "sort=best&order=asc" in tab.url
    page.close()
    page = Page(browser, url, 390, 844)
    tab = page.open("/")
    page.wait(LOADED)
    lines = "[...document.querySelectorAll('#runs tr')].filter(row => row.dataset.state === 'finished')"
    heights = tab.evaluate(lines + ".map(row => row.getBoundingClientRect().height)")
    line = tab.evaluate("parseFloat(getComputedStyle(document.querySelector('#runs td.wide')).lineHeight)")
    assert heights
    assert max(heights) < 3 * line + 10  # two lines and the space around them
    tab.get_by_label("Sort by").select_option("run")
    page.wait("document.querySelector('#runs tbody tr')?.dataset.run === 'line-1'")
    page.close()


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
        assert "got 'nothing'" in tab.locator(".problem").inner_text()
        page.expected = "404"
        page.close()
