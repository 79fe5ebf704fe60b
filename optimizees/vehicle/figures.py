"""Pictures of one vehicle: its ways before and after learning, its weights, how it learned, and a film.

Legend: V worlds that are shown, T control steps, S simulation steps of each, C target cells, K proximity sectors,
M neurons of a motor population, N training worlds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from l2l_snn.results.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, new_figure, save, styled
from optimizees.vehicle.world import COLLIDED, LATE, REACHED, Arena, World

COLORS = {REACHED: GREEN, COLLIDED: VERMILLION, LATE: GREY}
NAMES = {REACHED: "reached", COLLIDED: "collided", LATE: "too late"}
FPS = 20  # a control step is 50 ms


def _draw_ground(axes: Any, arena: Arena, world: World) -> None:
    """Draw obstacles and target."""
    for center, radius in zip(np.asarray(world.centers), np.asarray(world.radii), strict=True):
        if radius > 0:
            axes.add_patch(Circle(tuple(center), radius, color=GREY))
    axes.add_patch(Circle(tuple(np.asarray(world.target)), arena.reach, color=ORANGE, alpha=0.6, linewidth=0))
    limit = arena.size + 0.5
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=(), yticks=())


@styled
def paths(
    arena: Arena, worlds: Sequence[World], drives: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path
) -> Path:
    """Draw drives in the same worlds, a row for each name.

    Args:
        arena: for the sizes.
        worlds: V of them.
        drives: name -> ways (V, T, 2) m, nan when they are over, and outcomes (V,).
        path: the file.
    """
    figure, panels = new_figure(len(drives), len(worlds), size=(3.4 * len(worlds), 3.9 * len(drives)), squeeze=False)
    for row, (name, (ways, outcomes)) in zip(panels, drives.items(), strict=True):
        for axes, world, way, outcome in zip(row, worlds, ways, outcomes, strict=True):
            _draw_ground(axes, arena, world)
            axes.plot(*way.T, color=COLORS[int(outcome)])
            axes.plot(*way[0], "o", color=BLACK, markersize=8)
            axes.set_xlabel(NAMES[int(outcome)])
        row[0].set_ylabel(name)
    figure.suptitle("From the dot to the target (orange), round obstacles (grey)", fontsize=19)
    return save(figure, path)


@styled
def weights(before: np.ndarray, after: np.ndarray, cells: int, sectors: int, path: Path) -> Path:
    """Draw the mean weights (C + K, 2 M) onto the left and the right motor population, mV, before and after."""
    figure, panels = new_figure(1, 2, sharey=True, gridspec_kw={"width_ratios": (cells, sectors)})
    angles = (np.arange(cells) + 0.5) * 360 / cells - 180
    bearings = (np.arange(sectors) + 0.5) * 180 / sectors - 90
    for axes, x, rows, title in (
        (panels[0], angles, slice(0, cells), "from target cells"),
        (panels[1], bearings, slice(cells, None), "from proximity sectors"),
    ):
        for side, color in enumerate((BLUE, VERMILLION)):
            for values, style, when in ((before, ":", "before"), (after, "-", "after")):
                mean = values[rows].reshape(len(x), 2, -1)[:, side].mean(axis=1)
                axes.plot(x, mean, style, marker="o", color=color, label=f"{('left', 'right')[side]} motor, {when}")
        axes.set(xlabel="angle, left > 0 (degrees)", title=title)
    panels[0].set(ylabel="mean weight (mV)", ylim=(0, 1.3 * panels[0].get_ylim()[1]))
    panels[0].legend(ncols=2)
    return save(figure, path)


@styled
def learning(outcomes: np.ndarray, steps: np.ndarray, errors: np.ndarray, path: Path) -> Path:
    """Draw the error over the control steps of the training, and how the drives ended.

    Args:
        outcomes: (N,) of each training world; 0: it did not get there.
        steps: (N,) control steps in each.
        errors: (budget,) what the wheels were off in each control step, share of full speed; nan where not taken.
        path: the file.
    """
    figure, (curve, bars) = new_figure(2, 1)
    taken = errors[np.isfinite(errors)]
    block = max(1, min(10, len(taken)))
    mean = taken[: len(taken) // block * block].reshape(-1, block).mean(axis=1)
    curve.plot((np.arange(len(mean)) + 0.5) * block, mean, color=BLUE, linewidth=1.5)
    curve.set(xlabel="control step", ylabel="error of the wheels", ylim=(0, None), title="Learning while driving")
    world = np.arange(1, len(outcomes) + 1)
    for outcome, color in COLORS.items():
        own = outcomes == outcome
        bars.bar(world, np.where(own, steps, 0), color=color, label=f"{NAMES[outcome]}: {own.sum()}")
    bars.set(xlabel="training world", ylabel="control steps", ylim=(0, 1.35 * max(steps.max(), 1)))
    bars.legend(loc="upper center", ncols=3)
    return save(figure, path)


def animation(arena: Arena, world: World, way: np.ndarray, heading: np.ndarray, wheels: np.ndarray, path: Path) -> Path:
    """Write a GIF of one drive: positions (T, 2) m, headings (T,) rad, wheels (T, 2); every second control step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, show = _make_film(arena, world)
    writer = PillowWriter(fps=FPS)
    with writer.saving(figure, path, dpi=60):
        for t in range(0, len(way), 2):
            show(way[: t + 1], heading[t], wheels[t])
            writer.grab_frame()
    return path


def frame(arena: Arena, world: World, way: np.ndarray, heading: float) -> np.ndarray:
    """Return one picture, (480, 480, 3) uint8, of a vehicle that came along `way` (t, 2) m."""
    figure, show = _make_film(arena, world, bars=False)
    show(way, heading, np.zeros(2))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@styled
def _make_film(arena: Arena, world: World, *, bars: bool = True) -> tuple[Figure, Any]:
    """Return a film's figure, and the function of way, heading and wheels that changes its artists."""
    figure = Figure(figsize=(8.0, 6.0) if bars else (6.0, 6.0), dpi=80)
    ground = figure.add_axes((0.01, 0.01, 0.73, 0.98) if bars else (0.01, 0.01, 0.98, 0.98))
    _draw_ground(ground, arena, world)
    (line,) = ground.plot([], [], color=SKY)
    body = Circle((0, 0), arena.body, color=BLUE)
    ground.add_patch(body)
    (nose,) = ground.plot([], [], color=BLACK, linewidth=3)
    speeds: Any = None
    if bars:
        axes = figure.add_axes((0.83, 0.12, 0.15, 0.76))
        speeds = axes.bar(range(2), [0, 0], color=(BLUE, VERMILLION))
        axes.set(xticks=range(2), ylim=(0, 1), title="wheels")
        axes.set_xticklabels(("left", "right"))
        axes.grid(axis="x", visible=False)

    def show(way: np.ndarray, heading: float, wheels: np.ndarray) -> None:
        line.set_data(*way.T)
        x, y = way[-1]
        body.center = x, y
        nose.set_data([x, x + 1.6 * arena.body * np.cos(heading)], [y, y + 1.6 * arena.body * np.sin(heading)])
        for bar, speed in zip(speeds or (), wheels, strict=bars):
            bar.set_height(speed)

    return figure, show
