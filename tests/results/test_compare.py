"""Comparison of runs: seeds are grouped, numbers are those of the individuals, the picture shows them."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from stores import SPACE, make, state_after

from l2l_snn.results import comparison, figures, tables
from l2l_snn.results.compare import compare, quartiles
from l2l_snn.results.comparison import draw_comparison
from l2l_snn.storage.driver import drive
from l2l_snn.storage.store import RunUnknown, Store

NAN = float("nan")


@pytest.fixture
def store(tmp_path):
    with Store(f"sqlite:///{tmp_path}/l2l.db") as opened:
        yield opened


def add(store, name, fitness, job="job", seed=1, **optimizer):
    """Add a run whose generations have this fitness: a list of lists."""
    store.create(name, job, {"job": {"seed": seed, "optimizer": {"class": "m:A", **optimizer}}}, SPACE)
    with drive(store, name) as driver:
        for number, values in enumerate(fitness):
            part = make(number, len(values), fitness=np.array(values), metrics={})
            driver.commit(part, state_after(number))
        driver.finish("finished", seconds=10.0 * seed)


def random_fitness(seed, generations, population, failed=0.2):
    generator = np.random.default_rng(seed)
    fitness = generator.normal(size=(generations, population))
    return np.where(generator.random(fitness.shape) < failed, NAN, fitness).tolist()


# Numbers


def test_quartiles_are_numpys_where_all_are_numbers():
    for count in range(1, 9):
        values = np.random.default_rng(count).normal(size=(count, 5))
        np.testing.assert_allclose(quartiles(values), np.quantile(values, [0.25, 0.5, 0.75], axis=0), rtol=1e-14)


def test_what_is_missing_counts_as_the_worst():
    np.testing.assert_array_equal(quartiles(np.array([NAN, 5.0, 4.0, 3.0, 2.0])), [2.0, 3.0, 4.0])
    np.testing.assert_array_equal(quartiles(np.array([NAN, NAN, 4.0, 3.0, 2.0])), [NAN, 2.0, 3.0])
    np.testing.assert_array_equal(quartiles(np.array([NAN, 1.0])), [NAN] * 3)  # between a number and none is none


def test_the_table_has_the_numbers_of_a_group_worked_out_by_hand(store):
    add(store, "a-1", [[1.0, NAN], [3.0, 0.0], [9.0, NAN]], seed=1)
    add(store, "a-2", [[5.0, 2.0], [4.0, 4.0]], seed=2)
    add(store, "a-3", [[NAN, NAN], [2.0, 2.0], [2.0, 2.0], [2.0, 2.5]], seed=3)
    table, _ = compare(store, ["a-1", "a-2", "a-3"], target=3.0)
    assert list(table["group"]) == ["job"]
    row = table.iloc[0]
    assert (row["runs"], row["seeds"], row["names"], row["reached"]) == (3, "1 2 3", "a-1 a-2 a-3", 2)
    expected = {
        "best": (3.75, 5.0, 7.0),  # of 2.5, 5, 9
        "evaluations": (5.0, 6.0, 7.0),  # of 4, 6, 8
        "failed": (1.0, 2.0, 2.0),  # of 0, 2, 2
        "seconds": (15.0, 20.0, 25.0),
        "to_target": (3.0, 4.0, NAN),  # of 2, 4 and never
    }
    for name, (low, median, high) in expected.items():
        np.testing.assert_array_equal([row[f"{name}_q1"], row[name], row[f"{name}_q3"]], [low, median, high], name)


def test_without_a_target_there_are_no_columns_for_it(store):
    add(store, "a-1", [[1.0]])
    table, _ = compare(store)
    assert not {"reached", "to_target"} & set(table.columns)


def test_curves_are_the_quartiles_of_the_best_of_the_individuals_so_far(store):
    shapes = {"a": (9, 3), "b": (4, 5), "c": (7, 4)}  # generations, population: they stop at different points
    for seed, (name, shape) in enumerate(shapes.items()):
        add(store, name, random_fitness(seed, *shape), seed=seed)
    _, curves = compare(store, list(shapes))
    flat = {name: tables.individuals(store, name)["fitness"].to_numpy() for name in shapes}
    assert list(curves["evaluations"]) == sorted({p * (g + 1) for n, p in shapes.values() for g in range(n)})
    for row in curves.itertuples():
        bests = []
        for name, (_, population) in shapes.items():
            complete = flat[name][: row.evaluations // population * population]
            complete = complete[np.isfinite(complete)]
            bests.append(complete.max() if complete.size else NAN)
        np.testing.assert_allclose([row.q1, row.median, row.q3], quartiles(np.array(bests)), rtol=1e-12)
    assert set(curves["runs"]) == {3}


def test_a_run_that_ended_early_keeps_its_best(store):
    add(store, "a-1", [[7.0]], seed=1)
    add(store, "a-2", [[1.0], [2.0], [3.0]], seed=2)
    _, curves = compare(store, ["a-1", "a-2"])
    assert list(curves["evaluations"]) == [1, 2, 3]
    assert list(curves["median"]) == [4.0, 4.5, 5.0]


def test_of_several_objectives_the_first_is_compared(store):
    store.create("a", "job", {"job": {"seed": 1}}, SPACE)
    with drive(store, "a") as driver:
        driver.commit(make(0, fitness=np.array([[1.0, 9.0], [3.0, 5.0], [7.0, NAN]])), state_after(0))
    table, curves = compare(store, ["a"], target=2.5)
    assert table["best"][0] == 3.0
    assert list(curves["median"]) == [3.0]
    assert table["to_target"][0] == 3


# Groups


def test_runs_that_differ_only_in_their_seed_are_one_group_in_the_order_named(store):
    add(store, "b-1", [[1.0]], job="b", seed=1, population=4)
    add(store, "a-1", [[1.0]], job="a", seed=1)
    add(store, "b-2", [[1.0]], job="b", seed=2, population=4)
    add(store, "b-3", [[1.0]], job="b", seed=3, population=8)
    table, curves = compare(store, ["b-2", "a-1", "b-3", "b-1"])
    assert list(table["group"]) == ["b (population=4)", "a", "b (population=8)"]
    assert list(table["names"]) == ["b-2 b-1", "a-1", "b-3"]
    assert list(curves["group"]) == list(table["group"])
    everything, _ = compare(store)
    assert list(everything["names"]) == ["b-1 b-2", "a-1", "b-3"]


def test_labels_say_what_differs_and_are_never_the_same(store):
    add(store, "a-1", [[1.0]], sigma=1.0, elites=2)
    add(store, "a-2", [[1.0]], **{"class": "other:B"}, tournament=3)
    assert list(compare(store)[0]["group"]) == ["job (A)", "job (B)"]
    add(store, "a-3", [[1.0]], sigma=2.0, elites=2)
    assert list(compare(store)[0]["group"]) == ["job (A) [a-1]", "job (B)", "job (A) [a-3]"]
    for name, value in (("p-1", 1), ("p-2", 2)):
        add(store, name, [[1.0]], job="p", a=value, b=value, c=value, d=value)
    assert list(compare(store)[0]["group"])[3:] == ["p (a=1, b=1, c=1, ...)", "p (a=2, b=2, c=2, ...)"]


def test_runs_without_a_generation_are_passed_over_unless_named(store):
    add(store, "a-1", [[1.0]], seed=1)
    add(store, "a-2", [], seed=2)
    assert compare(store)[0]["runs"][0] == 1
    table, curves = compare(store, ["a-1", "a-2"])
    assert table["runs"][0] == 2
    assert np.isnan(table["best"][0])
    assert np.isnan(curves["median"][0])


def test_the_store_can_be_a_url_and_is_not_made(store, tmp_path):
    add(store, "a-1", [[1.0]])
    for ours, theirs in zip(compare(f"sqlite:///{tmp_path}/l2l.db", ["a-1"]), compare(store, ["a-1"]), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)
    with pytest.raises(Exception, match="nowhere"):
        compare(f"sqlite:///{tmp_path}/nowhere.db")
    assert not (tmp_path / "nowhere.db").exists()


def test_wrong_runs_are_refused(store):
    with pytest.raises(ValueError, match="at least one run with a generation, got an empty store"):
        compare(store)
    add(store, "a-1", [[1.0]])
    add(store, "a-2", [])
    with pytest.raises(RunUnknown, match="did you mean 'a-1'"):
        compare(store, ["a-11"])
    with pytest.raises(ValueError, match="runs: expected each run once, got 'a-1' 2 times"):
        compare(store, ["a-1", "a-2", "a-1"])
    with pytest.raises(ValueError, match="at least one run with a generation, got a-2"):
        compare(store, ["a-2"])
    with pytest.raises(ValueError, match="target: expected finite"):
        compare(store, ["a-1"], target=NAN)


# The picture


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Return a function that draws curves and returns their axes; the file is written too."""
    kept = []
    save = figures.save
    monkeypatch.setattr(comparison, "save", lambda figure, path: kept.append(figure) or save(figure, path))

    def draw(curves, **options):
        path = draw_comparison(curves, tmp_path / "new" / "comparison.png", **options)
        with Image.open(path) as image:
            assert image.width == 1800
            assert image.height >= 1012  # more where the legend has many rows
        return kept[-1].axes[0]

    return draw


def group(name, evaluations, median, runs=3, spread=0.1):
    median = np.asarray(median, float)
    columns = {"evaluations": evaluations, "q1": median - spread, "median": median, "q3": median + spread}
    return pd.DataFrame({"group": name, "runs": runs, **columns})


def test_the_picture_has_a_line_for_each_group_and_bands_where_there_are_several_runs(drawn):
    curves = pd.concat([group("ga", [10, 20], [1.0, 2.0]), group("es", [5, 50], [0.5, 3.0], runs=1)])
    axes = drawn(curves, label="reward", target=2.5)
    lines = {line.get_label(): np.array(line.get_data()) for line in axes.lines}
    assert list(lines) == ["ga, 3 runs", "es, 1 run", "target (2.5)"]
    np.testing.assert_array_equal(lines["ga, 3 runs"], [[10, 20], [1.0, 2.0]])
    np.testing.assert_array_equal(lines["es, 1 run"], [[5, 50], [0.5, 3.0]])
    assert len(axes.collections) == 1
    assert axes.get_title() == "Best fitness so far: median and quartiles over runs"
    assert axes.get_ylabel() == "reward"
    assert "evaluations" in axes.get_xlabel()
    assert [text.get_text() for text in axes.figure.legends[0].get_texts()] == list(lines)
    assert drawn(curves[curves["group"] == "es"]).get_title() == "Best fitness so far"


@pytest.mark.parametrize(
    ("evaluations", "median", "scales"),
    [
        ([10, 900], [1.0, 90.0], ("linear", "linear")),
        ([10, 2000], [-1e4, -1e-3], ("log", "symlog")),
        ([10, 2000], [1e-3, 1e4], ("log", "log")),
        ([10, 900], [-1e4, 0.0], ("linear", "linear")),  # one size alone spans no decades
        ([10, 100, 900], [-1e4, -1.0, 0.0], ("linear", "symlog")),
        ([10, 900], [-1e4, 1e4], ("linear", "linear")),
    ],
)
def test_axes_are_logarithmic_where_values_of_one_sign_span_decades_and_show_all(drawn, evaluations, median, scales):
    axes = drawn(group("ga", evaluations, median, spread=0.0))
    assert (axes.get_xscale(), axes.get_yscale()) == scales
    for values, limits in ((evaluations, axes.get_xlim()), (median, axes.get_ylim())):
        assert limits[0] <= min(values) < max(values) <= limits[1]


def test_long_curves_are_thinned_and_keep_their_ends(drawn):
    curves = group("ga", np.arange(1, 100_001), np.arange(100_000) / 1e5)
    x, _ = drawn(curves).lines[0].get_data()
    assert len(x) <= 2000
    assert (x[0], x[-1]) == (1, 100_000)
    np.testing.assert_array_equal(x[:5], [1, 2, 3, 4, 5])


def test_more_groups_than_can_be_told_apart_have_a_panel_each_with_the_others_in_grey(drawn):
    many = [group(f"g{i}", [1, 2], [i, i + 1]) for i in range(18)]
    panels = [axes for axes in drawn(pd.concat(many), target=4.0).figure.axes if axes.get_visible()]
    assert [panel.get_title() for panel in panels] == [f"g{i}" for i in range(18)]
    assert "over 3 runs each" in panels[0].figure.get_suptitle()
    for i, panel in enumerate(panels):
        own = [line for line in panel.lines if line.get_color() == figures.BLUE]
        np.testing.assert_array_equal(own[0].get_data(), [[1, 2], [i, i + 1]])
        assert (len(own), len(panel.collections)) == (1, 1)
        assert sum(line.get_color() == figures.GREY for line in panel.lines) == 19  # and the target
    assert len(drawn(pd.concat(many[:7])).figure.axes) == 1


def test_runs_that_all_failed_are_drawn_as_such_and_no_rows_are_refused(drawn):
    axes = drawn(group("ga", [10, 20], [NAN, NAN]))
    assert "no run succeeded" in [text.get_text() for text in axes.texts]
    with pytest.raises(ValueError, match="curves: expected at least one row"):
        drawn(group("ga", [], []))
