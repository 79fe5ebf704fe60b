"""Pictures for understanding a run say what is in its table, and what is missing where they can't be drawn."""

import numpy as np
import pandas as pd
import pytest
from browser import MANIFEST, State, generation
from stores import SPACE
from typer.testing import CliRunner

from l2l_snn.cli import app
from l2l_snn.cli.results import Kind
from l2l_snn.results import insight
from l2l_snn.results.kinds import QUESTIONS
from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import Store


def table(n: int = 200, objectives: int = 1) -> pd.DataFrame:
    """Return n individuals of 10 generations whose fitness depends on a, a little on rule, and not on b."""
    rng = np.random.default_rng(0)
    a, b, rule = rng.random(n), rng.random(n), rng.choice(["x", "y"], n)
    fitness = -((a - 0.3) ** 2) + 0.1 * (rule == "y")
    fitness[::20] = np.nan
    found = pd.DataFrame({"generation": np.repeat(np.arange(10), n // 10), "worker": np.where(b < 0.5, "n:1", "n:2")})
    found = found.assign(seconds=0.1, **{"param.a": a, "param.b": b, "param.rule": rule, "param.same": 1.0})
    found = found.assign(**{"metric.same_order": 2 * fitness, "metric.noise": rng.random(n), "metric.flat": 3.0})
    if objectives == 1:
        return found.assign(fitness=fitness)
    return found.assign(**{f"fitness_{m}": fitness if m == 0 else rng.random(n) for m in range(objectives)})


def bars(axes) -> dict[str, float]:
    """Return name -> length of each bar, from the bottom."""
    names = [text.get_text() for text in axes.get_yticklabels()]
    return dict(zip(names, [bar.get_width() for bar in axes.patches], strict=True))


def test_importance_is_largest_for_what_the_fitness_depends_on():
    pytest.importorskip("sklearn")
    figure = insight.importance(table())
    (axes,) = figure.axes
    widths = bars(axes)
    assert list(widths)[::-1][:2] == ["a", "rule"]  # the largest on top
    assert widths["a"] > 10 * abs(widths["b"])
    assert "same" not in widths
    assert float(axes.get_title().split("R² = ")[1].split()[0]) > 0.9


def test_parallel_coordinates_and_slices_show_the_parameters_that_vary():
    axes = insight.parallel(table()).axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b", "rule", "fitness"]
    lines = np.array(axes.collections[0].get_segments())
    assert lines.shape == (190, 4, 2)
    assert (lines[-1, -1, 1], lines[0, -1, 1]) == (1, 0)  # the best comes last, above the others
    panels = insight.slices(table()).axes
    assert [panel.get_xlabel() for panel in panels[:3]] == ["a", "b", "rule"]
    known = table().dropna(subset=["fitness"])
    np.testing.assert_array_equal(panels[0].collections[0].get_offsets(), known[["param.a", "fitness"]])


def test_of_many_parameters_those_are_shown_whose_rank_goes_with_the_fitness():
    rng, n = np.random.default_rng(1), 300
    values = pd.DataFrame(rng.random((n, 40)), columns=[f"param.w[{k}]" for k in range(40)])
    found = values.assign(fitness=values["param.w[7]"] + values["param.w[31]"], generation=0)
    panels = insight.slices(found).axes
    assert len(panels) == insight.SHOWN + 1  # and the bar
    assert {"w[7]", "w[31]"} <= {panel.get_xlabel() for panel in panels}


def test_contours_are_the_weighted_mean_of_the_individuals_nearby():
    figure = insight.contour(table())
    panels = figure.axes[:-1]
    assert [(panel.get_xlabel(), panel.get_ylabel()) for panel in panels] == [("a", "b"), ("a", "rule"), ("b", "rule")]
    known = table().dropna(subset=["fitness"])
    np.testing.assert_array_equal(panels[0].collections[-1].get_offsets(), known[["param.a", "param.b"]])
    points, heights = known[["param.a", "param.b"]].to_numpy(), known["fitness"].to_numpy()
    x, y, surface = insight.smooth_surface(points, heights)
    width = points.std(axis=0) * len(points) ** (-1 / 6)
    for j, k in ((20, 30), (41, 7)):
        weights = np.exp(-0.5 * (((points - [x[k], y[j]]) / width) ** 2).sum(axis=1))
        assert surface[j, k] == pytest.approx(np.average(heights, weights=weights))
    assert abs(x[surface[30].argmax()] - 0.3) < 0.1  # where the fitness is largest


def test_contours_are_blank_where_nobody_is():
    points = np.concatenate([np.random.default_rng(0).random((200, 2)) * 0.1, [[1.0, 1.0]]])
    _, _, surface = insight.smooth_surface(points, np.arange(201.0))
    assert surface[-1, -1] == pytest.approx(200)  # alone
    assert np.isnan(surface[0, -1])
    assert np.isnan(surface[30, 30])
    assert surface[:4, :4].max() < 200


def test_correlations_are_spearmans():
    axes = insight.correlation(table()).axes[0]
    shown = bars(axes)
    known = table().dropna(subset=["fitness"])
    assert shown.keys() == {"same_order", "noise"}
    assert shown["same_order"] == pytest.approx(1.0)
    ranks = known[["metric.noise", "fitness"]].rank()
    assert shown["noise"] == pytest.approx(np.corrcoef(ranks.T)[0, 1])


@pytest.mark.parametrize("m", [2, 3, 4])
def test_the_front_and_its_hypervolume_are_those_of_a_loop_and_of_chance(m):
    rng = np.random.default_rng(m)
    values = rng.random((40, m))
    loop = [k for k, a in enumerate(values) if not any((b >= a).all() and (b > a).any() for b in values)]
    front = insight.non_dominated(values)
    assert front.tolist() == loop
    points = rng.random((100_000, m))
    share = np.mean((points[:, None] <= values[front]).all(axis=2).any(axis=1))
    assert insight.hypervolume(values, np.zeros(m)) == pytest.approx(share, abs=0.006)
    assert insight.hypervolume(values[front], np.zeros(m)) == pytest.approx(insight.hypervolume(values, np.zeros(m)))


def test_the_hypervolume_of_a_run_grows_and_its_front_is_drawn():
    left, right = insight.front(table(objectives=2)).axes
    volumes = right.lines[0].get_ydata()
    assert (np.diff(volumes) >= 0).all()
    known = table(objectives=2).dropna(subset=["fitness_0"])[["fitness_0", "fitness_1"]].to_numpy()
    assert volumes[-1] == pytest.approx(insight.hypervolume(known, known.min(axis=0)))
    assert len(left.lines[-1].get_xdata()) == len(insight.non_dominated(known))


def test_an_archive_has_the_best_of_each_cell():
    cells = {"descriptors": ("noise", "same_order"), "low": (0, -1), "high": (1, 1), "cells": (4, 2)}
    mesh = insight.archive(table(), cells).axes[0].collections[0].get_array()
    known = table().dropna(subset=["fitness"])
    for i in range(4):
        for j in range(2):
            inside = (known["metric.noise"] * 4).astype(int).eq(i) & (known["metric.same_order"] >= 0).eq(bool(j))
            assert mesh[j, i] == known["fitness"][inside].max()


def test_the_timeline_says_how_long_each_worker_evaluated():
    found = table()
    generations = pd.DataFrame({"generation": np.arange(10), "seconds": 2.0})
    top, panel, *_ = insight.timeline(found, generations).axes
    shares = panel.collections[0].get_array()
    counts = found.groupby(["worker", "generation"]).size().unstack().to_numpy()
    np.testing.assert_allclose(shares, 0.1 * counts / 2.0)
    assert [text.get_text() for text in panel.get_yticklabels()] == ["n:1", "n:2"]
    assert "50%" in top.get_title()


@pytest.mark.parametrize(
    ("draw", "found", "match"),
    [
        (insight.front, table(), "expected several objectives, got one; NSGA2"),
        (insight.slices, table()[["fitness", "generation"]], "parameters that vary and were kept, got none"),
        (insight.contour, table()[["fitness", "generation", "param.a"]], "two parameters that vary .* got a alone"),
        (insight.correlation, table()[["fitness"]], "metrics that vary, got none"),
        (insight.slices, table().assign(fitness=np.nan), "two or more with a fitness, got 0"),
        (
            lambda found: insight.archive(found, {"class": "a:B"}),
            table(),
            "low, high and cells, got a:B",
        ),
        (lambda found: insight.timeline(found, found.iloc[:0]), table(), "workers and times"),
    ],
)
def test_what_a_run_has_not_is_said(draw, found, match):
    with pytest.raises(ValueError, match=match):
        draw(found)


def test_the_command_draws_every_kind_beside_the_store(tmp_path):
    assert [kind.value for kind in Kind] == list(insight.KINDS) == list(QUESTIONS)
    url = f"sqlite:///{tmp_path}/l2l.db"
    with Store(url) as store:
        store.create("a", "job", MANIFEST, SPACE)
        with drive(store, "a") as driver:
            driver.commit(generation(0, space=SPACE, objectives=2), State(np.zeros(2)))
    for kind in ("front", "timeline"):
        result = CliRunner().invoke(app, ["plot", "a", "--kind", kind, "--store", url])
        assert result.output == f"wrote {tmp_path}/runs/a/{kind}.png\n"
        assert (tmp_path / f"runs/a/{kind}.png").stat().st_size > 10_000
    result = CliRunner().invoke(app, ["plot", "a", "--kind", "archive", "--store", url])
    assert (result.exit_code, result.output.count("\n")) == (2, 1)
