"""The pictures show the numbers that they are given, are real files, and stay readable and quick."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from l2l_snn.results import figures
from l2l_snn.results.raster import draw_raster, raster
from optimizees.mountain_car import figures as car


def tables(generations: int, population: int, failed: float = 0.0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the two tables of a made-up run that gets better, a share `failed` of whose individuals failed."""
    generator = np.random.default_rng(3)
    generation = np.repeat(np.arange(generations), population)
    fitness = generator.normal(generation / generations, 0.1)
    fitness[generator.random(fitness.size) < failed] = np.nan
    individual = np.tile(np.arange(population), generations)
    rows = pd.DataFrame({"run": "r", "generation": generation, "individual": individual, "fitness": fitness})
    groups = rows.groupby("generation")["fitness"]
    summary = pd.DataFrame({"best": groups.max(), "mean": groups.mean(), "best_so_far": groups.max().cummax()})
    return rows, summary.reset_index().assign(run="r")


def lines(axes) -> dict[str, np.ndarray]:
    """Return label -> (x, y) of the labelled lines."""
    return {line.get_label(): np.array(line.get_data()) for line in axes.lines}


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def drive(steps: int = 110, start: float = -0.42) -> dict[str, np.ndarray]:
    """Return an episode of gymnasium's equations in which the car is pushed the way it goes."""
    position, velocity, actions = [start], [0.0], []
    for _ in range(steps):
        actions.append(2 if velocity[-1] >= 0 else 0)
        speed = velocity[-1] + (actions[-1] - 1) * 0.001 - np.cos(3 * position[-1]) * 0.0025
        velocity.append(speed)
        position.append(position[-1] + speed)
        if position[-1] >= 0.5:
            break
    counts = np.random.default_rng(5).poisson(1.0, (len(actions), 3))
    counts[np.arange(len(actions)), actions] += 5
    names = ("position", "velocity", "counts", "actions")
    return dict(zip(names, map(np.array, (position, velocity, counts, actions)), strict=True))


def inches(path: Path) -> tuple[float, float]:
    """Return the size of a PNG at 150 dpi, inches."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return image.size[0] / 150, image.size[1] / 150


# --- fitness over a run


def test_fitness_writes_a_png_of_a_slide_and_makes_the_folder(tmp_path):
    path = figures.fitness(*tables(3, 8), tmp_path / "new" / "fitness.png", "A run")
    assert path == tmp_path / "new" / "fitness.png"
    assert inches(path) == pytest.approx((12.0, 6.75), abs=0.01)


def test_every_individual_is_a_dot_at_its_number_whatever_the_order_of_the_rows():
    rows, summary = tables(5, 8)
    axes = figures.draw_fitness(rows.sample(frac=1, random_state=1), summary).axes[0]
    np.testing.assert_array_equal(
        axes.collections[0].get_offsets(), np.column_stack([np.arange(1, 41), rows["fitness"]])
    )


def test_lines_are_the_generations_table_at_the_middle_of_each_generation():
    rows, summary = tables(5, 8)
    drawn = lines(figures.draw_fitness(rows, summary).axes[0])
    middle = 4.5 + 8 * np.arange(5)
    for label, column in (
        ("best of each generation", "best"),
        ("mean of each generation", "mean"),
        ("best so far", "best_so_far"),
    ):
        np.testing.assert_array_equal(drawn[label], [middle, summary[column]])


def test_the_upper_axis_counts_generations_of_unequal_size():
    rows, summary = tables(4, 10)
    rows = rows[(rows["generation"] != 1) | (rows["individual"] < 4)]  # sizes 10, 4, 10, 10
    figure = figures.draw_fitness(rows, summary)
    (above,) = figure.axes[0].child_axes
    forward, back = above._functions
    np.testing.assert_allclose(forward(np.array([0.5, 10.5, 12.5, 14.5, 34.5])), [0, 1, 1.5, 2, 4])
    np.testing.assert_allclose(back(np.array([0, 1, 1.5, 2, 4])), [0.5, 10.5, 12.5, 14.5, 34.5])
    assert above.get_xlabel() == "generation"


def test_failed_individuals_are_ticks_at_the_bottom_and_counted():
    rows, summary = tables(6, 20, failed=0.2)
    failed = np.flatnonzero(rows["fitness"].isna())
    figure = figures.draw_fitness(rows, summary)
    label = f"failed ({len(failed)} of 120)"
    assert label in legend(figure)
    np.testing.assert_array_equal(lines(figure.axes[0])[label][0], failed + 1)
    assert len(figure.axes[0].collections[0].get_offsets()) == 120 - len(failed)


def test_a_run_in_which_all_failed_says_so(tmp_path):
    figure = figures.draw_fitness(*tables(2, 16, failed=1.1))
    figures.save(figure, tmp_path / "failed.png")
    assert [text.get_text() for text in figure.axes[0].texts] == ["all 32 individuals failed"]
    assert legend(figure) == ["failed (32 of 32)"]


def test_a_generation_in_which_all_failed_leaves_a_gap_and_no_warning(tmp_path):
    rows, summary = tables(3, 4)
    rows.loc[rows["generation"] == 1, "fitness"] = np.nan
    summary.loc[1, ["best", "mean"]] = np.nan
    figure = figures.draw_fitness(rows, summary)
    figures.save(figure, tmp_path / "gap.png")
    assert np.isnan(lines(figure.axes[0])["best of each generation"][1]).tolist() == [False, True, False]


@pytest.mark.parametrize(("generations", "population"), [(1, 32), (1, 1), (2, 1)])
def test_the_shortest_runs_can_be_drawn(tmp_path, generations, population):
    assert figures.fitness(*tables(generations, population), tmp_path / "short.png").stat().st_size > 10_000


def test_a_single_generation_is_drawn_with_markers():
    axes = figures.draw_fitness(*tables(1, 32)).axes[0]
    assert all(line.get_marker() == "o" for line in axes.lines)


def test_each_of_several_objectives_has_a_panel_with_its_own_lines(tmp_path):
    rows, summary = tables(3, 8)
    other = np.random.default_rng(4).normal(size=24)
    other[9] = np.nan
    two = rows.rename(columns={"fitness": "fitness_0"}).assign(fitness_1=other)
    figure = figures.draw_fitness(two, summary)
    first, second = figure.axes
    np.testing.assert_array_equal(first.collections[0].get_offsets()[:, 1], rows["fitness"])
    np.testing.assert_array_equal(lines(first)["best of each generation"][1], summary["best"])
    np.testing.assert_array_equal(second.collections[0].get_offsets()[:, 1], other[np.isfinite(other)])
    best = np.nanmax(other.reshape(3, 8), axis=1)
    np.testing.assert_array_equal(lines(second)["best of each generation"][1], best)
    np.testing.assert_array_equal(lines(second)["best so far"][1], np.maximum.accumulate(best))
    assert (first.get_ylabel(), second.get_ylabel()) == ("fitness\n(objective 1)", "objective 2")
    assert inches(figures.save(figure, tmp_path / "two.png"))[1] == pytest.approx(11.75, abs=0.01)


def test_a_million_individuals_take_less_than_ten_seconds_of_a_core_and_the_legend_says_what_is_drawn(tmp_path):
    rows, summary = tables(31_250, 32, failed=0.05)
    finite = int(rows["fitness"].notna().sum())
    start = time.process_time()  # of this process: others may keep the machine busy
    figure = figures.draw_fitness(rows, summary)
    figures.save(figure, tmp_path / "million.png")
    assert time.process_time() - start < 10
    assert len(figure.axes[0].collections[0].get_offsets()) == figures.MAX_DOTS
    assert f"individual (20,000 of {finite:,}, drawn at random)" in legend(figure)
    assert f"failed ({1_000_000 - finite:,} of 1,000,000)" in legend(figure)
    assert lines(figure.axes[0])["best of every 31 generations"][1].max() == rows["fitness"].max()


def test_the_same_tables_give_the_same_dots():
    rows, summary = tables(800, 32)
    first, second = (figures.draw_fitness(rows, summary).axes[0].collections[0].get_offsets() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_few_outliers_do_not_flatten_the_rest_and_are_counted():
    rows, summary = tables(50, 32)
    rows.loc[[3, 500, 900], "fitness"] = -1e6
    figure = figures.draw_fitness(rows, summary)
    low, high = figure.axes[0].get_ylim()
    assert -3 < low < high < 3
    (text,) = [text for text in legend(figure) if "below the axis" in text]
    assert text == "3 below the axis, down to -1e+06"
    np.testing.assert_array_equal(lines(figure.axes[0])[text][0], [4, 501, 901])


def test_one_outlier_of_a_short_run_does_not_flatten_the_rest():
    rows, summary = tables(2, 8)
    rows.loc[3, "fitness"] = -1e6
    assert figures.draw_fitness(rows, summary).axes[0].get_ylim()[0] > -3


def test_without_outliers_the_axis_shows_every_dot():
    rows, summary = tables(50, 32)
    figure = figures.draw_fitness(rows, summary, goal=4.0)
    low, high = figure.axes[0].get_ylim()
    assert low < rows["fitness"].min()
    assert high > 4.0
    assert "goal (4)" in legend(figure)


def test_a_constant_fitness_has_an_axis(tmp_path):
    rows, summary = tables(2, 4)
    figures.fitness(rows.assign(fitness=0.0), summary.assign(best=0.0, mean=0.0, best_so_far=0.0), tmp_path / "c.png")


def test_type_is_large_enough_for_a_projector(tmp_path):
    figure = figures.draw_fitness(*tables(3, 8))
    axes = figure.axes[0]
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label, *axes.get_xticklabels(), *figure.legends[0].get_texts()]
    assert min(text.get_fontsize() for text in texts) >= 14


def test_no_individuals_and_mixed_runs_are_refused():
    rows, summary = tables(2, 4)
    with pytest.raises(ValueError, match="individuals: expected at least one row, got none"):
        figures.draw_fitness(rows.iloc[:0], summary)
    rows.loc[0, "run"] = "other"
    with pytest.raises(ValueError, match="individuals: expected rows of one run, got 2 runs"):
        figures.draw_fitness(rows, summary)


def test_drawing_leaves_the_global_style_alone(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    figures.fitness(*tables(2, 4), tmp_path / "a.png")
    assert dict(matplotlib.rcParams) == before


# --- one Mountain Car individual


def test_output_maps_show_the_given_spikes_on_one_scale(tmp_path):
    spikes = np.random.default_rng(1).integers(0, 9, (3, 20, 30))
    positions, velocities = np.linspace(-1.2, 0.6, 31), np.linspace(-0.07, 0.07, 21)
    figure = car.draw_output_maps(spikes, positions, velocities)
    panels = figure.axes[:3]
    assert [panel.get_title() for panel in panels] == ["left", "none", "right"]
    for panel, expected in zip(panels, spikes, strict=True):
        mesh = panel.collections[0]
        np.testing.assert_array_equal(mesh.get_array(), expected)
        np.testing.assert_array_equal(mesh.get_coordinates()[0, :, 0], positions)
        np.testing.assert_array_equal(mesh.get_coordinates()[:, 0, 1], velocities)
        assert mesh.get_clim() == (0, spikes.max())
        assert panel.get_xlabel() == "position (track units)"
    assert panels[0].get_ylabel() == "velocity (track units / step)"
    assert figure.axes[3].get_ylabel() == "spikes in 20 ms"
    (path,) = car.output_maps(spikes, positions, velocities, tmp_path)
    assert inches(path) == pytest.approx((15.0, 6.0), abs=0.01)


def test_bins_may_be_given_by_their_middles():
    edges = np.linspace(-1.2, 0.6, 31)
    np.testing.assert_allclose(car._find_edges("positions", (edges[1:] + edges[:-1]) / 2, 30), edges, atol=1e-12)
    with pytest.raises(ValueError, match=r"positions: expected 30 middles .* or 31 edges"):
        car._find_edges("positions", edges[:-2], 30)


def test_output_maps_can_carry_the_episode():
    run = drive()
    trajectory = (run["position"], run["velocity"])
    figure = car.draw_output_maps(np.zeros((3, 4, 5)), np.arange(6), np.arange(5), trajectory)
    for panel in figure.axes[:3]:
        (line,) = (line for line in panel.lines if line.get_label() == "episode")
        np.testing.assert_array_equal(line.get_data(), trajectory)


def test_episode_shows_position_velocity_rates_in_hertz_and_actions(tmp_path):
    run = drive()
    figure = car.draw_episode(**run, step_ms=20.0)
    panels = figure.axes
    steps = len(run["actions"])
    np.testing.assert_array_equal(panels[0].lines[0].get_data(), [np.arange(steps + 1), run["position"]])
    np.testing.assert_array_equal(panels[1].lines[1].get_data(), [np.arange(steps + 1), run["velocity"]])
    for neuron in range(3):
        values, edges, _ = panels[2 + neuron].patches[0].get_data()
        np.testing.assert_allclose(values, run["counts"][:, neuron] * 50.0)  # 1 spike in 20 ms is 50 Hz
        np.testing.assert_array_equal(edges, np.arange(steps + 1))
    np.testing.assert_array_equal(panels[5].collections[0].get_array()[0], run["actions"])
    labels = [panel.get_ylabel().replace("\n", " ") for panel in panels]
    assert labels[:5] == ["position (track units)", "velocity (units / step)", "left (Hz)", "none (Hz)", "right (Hz)"]
    assert panels[5].get_xlabel() == "environment step (20 ms each)"
    assert inches(car.episode(**run, step_ms=20.0, path=tmp_path / "e.png")) == pytest.approx((12.0, 10.0), abs=0.01)


def test_the_title_says_whether_and_when_the_flag_was_reached():
    reached, missed = drive(200), drive(50)
    when = int(np.flatnonzero(reached["position"] >= 0.5)[0])
    assert car.draw_episode(**reached).axes[0].get_title() == f"One episode: flag reached in {when} steps"
    best = missed["position"].max()
    expected = f"One episode: flag not reached in 50 steps (highest position {best:.2f})"
    assert car.draw_episode(**missed).axes[0].get_title() == expected


def test_arrays_of_an_episode_must_agree():
    run = drive(20)
    with pytest.raises(ValueError, match=r"position: expected an array of shape \(21\), got shape \(20,\)"):
        car.draw_episode(**{**run, "position": run["position"][1:]})
    with pytest.raises(ValueError, match=r"counts: expected an array of shape \(20, 3\)"):
        car.draw_episode(**{**run, "counts": run["counts"].T})
    with pytest.raises(ValueError, match="actions: expected one or more of 0"):
        car.draw_episode(**{**run, "actions": run["actions"] + 1})


def test_raster_draws_each_spike_in_the_panel_of_its_layer(tmp_path):
    generator = np.random.default_rng(2)
    times, neurons = generator.uniform(0, 400, 500), generator.integers(0, 68, 500)
    layers = {"position": (0, 29), "velocity": (30, 59), "hidden": (60, 64), "output": (65, 67)}
    figure = draw_raster(times, neurons, layers, 400.0, step_ms=20.0)
    for panel, (name, (first, last)) in zip(figure.axes, layers.items(), strict=True):
        mine = (neurons >= first) & (neurons <= last)
        ticks = np.array(panel.collections[0].get_segments())  # (n, 2 ends, x and y)
        np.testing.assert_array_equal(ticks[:, 0, 0], times[mine])
        np.testing.assert_allclose(ticks[:, :, 1].mean(axis=1), neurons[mine])
        assert panel.get_ylabel() == f"{name}\n{mine.sum()} spikes"
    assert figure.axes[-1].get_xlabel() == "time (ms)"
    path = raster(times, neurons, layers, 400.0, tmp_path / "raster.png")
    assert inches(path) == pytest.approx((12.0, 8.0), abs=0.01)


def test_a_silent_layer_is_an_empty_panel(tmp_path):
    empty = np.array([])
    assert raster(empty, empty, {"output": (0, 2)}, 20.0, tmp_path / "silent.png").exists()


def test_the_film_has_a_frame_for_each_state_and_takes_less_than_twenty_seconds_of_a_core(tmp_path):
    run = drive()
    assert len(run["actions"]) == 110
    start = time.process_time()  # of this process: others may keep the machine busy
    path = car.animation(**run, path=tmp_path / "film.gif")
    assert time.process_time() - start < 20
    with Image.open(path) as film:
        assert film.format == "GIF"
        assert film.size == (480, 320)
        assert film.n_frames == 111
        film.seek(50)
        assert film.info["duration"] == 50  # ms
        film.seek(110)
        assert film.info["duration"] > 1000  # the end stays


def test_each_frame_shows_its_state():
    run = drive()
    figure, show = car._make_film(**run, goal=0.5)
    track, bars = figure.axes
    for step in (0, 60, 110):
        show(step)
        heights = [bar.get_height() for bar in bars.patches]
        assert heights == (run["counts"][step].tolist() if step < 110 else [0, 0, 0])
        outline = track.patches[-1].get_xy()  # the car, on the hill at its position
        assert abs(outline[:, 0].mean() - run["position"][step]) < 0.12
        assert abs(outline[:, 1].min() - car.hill(run["position"][step])) < 0.12
        assert figure.texts[0].get_text().startswith(f"step {step} of 110")


def test_the_hill_is_gymnasiums():
    from gymnasium.envs.classic_control.mountain_car import MountainCarEnv

    x = np.linspace(-1.2, 0.6, 50)
    np.testing.assert_allclose(car.hill(x), MountainCarEnv()._height(x))
