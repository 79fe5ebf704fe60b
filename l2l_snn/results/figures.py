"""The pictures of runs, for a projector: large type, thick lines, colours that colour-blind readers can tell apart.

Pictures are drawn by matplotlib without pyplot, so nothing global remains and no display is needed.

    @styled
    def rewards(reward, path):
        figure, axes = new_figure()
        axes.plot(reward)
        return save(figure, path)

Legend: N individuals in the order of the run, G generations, M objectives.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from l2l_snn.validate import message

DPI = 150
SIZE = (12.0, 6.75)  # inches: 1800 x 1012 pixels
MAX_DOTS = 20_000  # more than that are thinned
MAX_POINTS = 1_000  # a line over more generations than twice this is drawn in blocks of generations
PANEL = 5.0  # inches that a picture grows by for each objective beyond the first
FEW = 10  # dots that are always within the axis

# Okabe & Ito (2008)
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK, GREY = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"),
    "#8C8C8C",
)
COLORS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)

# `@styled` before a function that draws: matplotlib reads sizes when an artist is made
styled = matplotlib.rc_context(
    {
        "font.size": 16,
        "axes.titlesize": 19,
        "axes.labelsize": 17,
        "legend.fontsize": 15,
        "xtick.labelsize": 15,
        "ytick.labelsize": 15,
        "lines.linewidth": 3.0,
        "axes.linewidth": 1.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "axes.axisbelow": True,
        "legend.frameon": False,
    }
)


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] = SIZE, **options: Any) -> tuple[Figure, Any]:
    """Return a figure of `size` inches and its axes: one `Axes`, or a numpy array of them; see `Figure.subplots`."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def save(figure: Figure, path: Path) -> Path:
    """Write the figure at 150 dpi, the folder too where it is missing, and return the path; the name's end says PNG."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI)
    return path


def fitness(
    individuals: pd.DataFrame,
    generations: pd.DataFrame,
    path: Path,
    title: str = "Fitness of every individual",
    *,
    label: str = "fitness",
    goal: float | None = None,
) -> Path:
    """Draw the fitness of every individual over one run, with each generation's best and mean, and the best so far.

    With several objectives, each has a panel. Above 20,000 individuals, a random 20,000 get a dot;
    above 2,000 generations, a line's point stands for a block of generations; the legend says so. Dots far
    below all others would flatten the rest: the axis may cut up to 1 % of them off, and the legend counts them.

    Args:
        individuals: N rows of one run with the columns generation, individual and fitness (or fitness_0, fitness_1...).
        generations: G rows of the same run with the columns generation, best, mean and best_so_far.
        path: the file to write.
        title: the subject of the finding.
        label: of the y axis, with the fitness's unit where it has one.
        goal: the fitness that counts as solved, drawn as a line.

    Returns:
        The path.

    Raises:
        ValueError: there is no individual, or there is more than one run.
    """
    return save(draw_fitness(individuals, generations, title, label=label, goal=goal), path)


@styled
def draw_fitness(
    individuals: pd.DataFrame,
    generations: pd.DataFrame,
    title: str = "Fitness of every individual",
    *,
    label: str = "fitness",
    goal: float | None = None,
) -> Figure:
    """Return the figure that `fitness` writes."""
    if individuals.empty:
        raise ValueError(message("individuals", "at least one row", "none", "has the run finished a generation?"))
    for name, table in (("individuals", individuals), ("generations", generations)):
        runs = set(table["run"]) if "run" in table.columns else set()
        if len(runs) > 1:
            raise ValueError(message(name, "rows of one run", f"{len(runs)} runs", "select one by its column run"))
    individuals = individuals.sort_values(["generation", "individual"])
    columns = [name for name in individuals.columns if name.startswith("fitness_")] or ["fitness"]
    size = (SIZE[0], SIZE[1] + PANEL * (len(columns) - 1))
    figure, panels = new_figure(len(columns), 1, size, sharex=True, squeeze=False)
    for m, (axes, column) in enumerate(zip(panels[:, 0], columns, strict=True)):
        table = generations if m == 0 else _summarize_column(individuals, column)
        _draw_fitness_panel(axes, individuals, column, table, goal if m == 0 else None)
        axes.set_ylabel(label if len(columns) == 1 else f"objective {m + 1}" if m else f"{label}\n(objective 1)")
    numbers, edges = _find_generations(individuals)
    panels[0, 0].set_title(title)
    panels[-1, 0].set_xlabel("individual (number over the run)")
    axes = panels[-1, 0]
    axes.set_xlim(edges[0] - 0.01 * len(individuals), edges[-1] + 0.01 * len(individuals))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    _generation_axis(panels[0, 0], numbers, edges)
    entries = {text: handle for panel in panels[:, 0] for handle, text in zip(*_legend_of(panel), strict=True)}
    legend = figure.legend(
        [*entries.values()], [*entries], loc="outside lower center", ncols=3 if len(individuals) <= MAX_DOTS else 2
    )
    for entry in legend.legend_handles:
        if isinstance(entry, PathCollection):
            entry.set_sizes([80.0])
        elif entry is not None:
            entry.set_alpha(1.0)
    return figure


def _legend_of(axes: Any) -> tuple[list, list]:
    return axes.get_legend_handles_labels()


def _find_generations(individuals: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return (G,) numbers of the generations and (G + 1,) x where each begins, and the end."""
    numbers, edges = np.unique(individuals["generation"].to_numpy(np.int64), return_index=True)
    return numbers, np.append(edges, len(individuals)) + 0.5  # number from 1: the x of individual i is i + 1


def _summarize_column(individuals: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the columns of a table of generations for one of several objectives."""
    groups = individuals[column].where(np.isfinite(individuals[column])).groupby(individuals["generation"])
    table = pd.DataFrame({"best": groups.max(), "mean": groups.mean()})
    return table.assign(best_so_far=table["best"].cummax().ffill()).reset_index()


def _draw_fitness_panel(
    axes: Any, individuals: pd.DataFrame, column: str, generations: pd.DataFrame, goal: float | None
) -> None:
    """Draw dots, lines, failures and the goal of one objective."""
    values = individuals[column].to_numpy(np.float64)  # (N,)
    failed = ~np.isfinite(values)
    low = _lowest_shown(values[~failed])
    dots = _sample_indices(np.flatnonzero(~failed))
    text = "individual"
    if dots.size < len(values) - failed.sum():
        text += f" ({dots.size:,} of {len(values) - failed.sum():,}, drawn at random)"
    if dots.size:
        size = float(np.clip(36_000 / dots.size, 6.0, 70.0))  # area, points^2: smaller where there are many
        axes.scatter(dots + 1, values[dots], s=size, color=SKY, linewidths=0, label=text)
    below = np.flatnonzero(values < low)
    if below.size:
        shown = _sample_indices(below)
        text = f"{below.size:,} below the axis, down to {values[below].min():.3g}"
        marks = {"color": VERMILLION, "markersize": 9, "clip_on": False, "transform": axes.get_xaxis_transform()}
        axes.plot(shown + 1, np.full(shown.size, 0.02), "v", label=text, **marks)
    _generation_lines(axes, generations, *_find_generations(individuals))
    if goal is not None:
        axes.axhline(goal, color=BLACK, linestyle=":", label=f"goal ({goal:g})")
    if failed.any():
        ticks = _sample_indices(np.flatnonzero(failed))
        handle = axes.plot(
            ticks + 1, np.full(ticks.size, 0.015), "|", color=VERMILLION, markersize=16, markeredgewidth=2
        )
        handle[0].set(transform=axes.get_xaxis_transform(), label=f"failed ({failed.sum():,} of {len(values):,})")
        handle[0].set_alpha(min(1.0, 300 / ticks.size))  # where many failed, the band's shade shows how many
    if failed.all():
        axes.set(ylim=(0.0, 1.0), yticks=[])
        text = f"all {len(values):,} individuals failed"
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=22, transform=axes.transAxes)
    else:
        high = max(values[~failed].max(), low if goal is None else goal)
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.05
        axes.set_ylim(low - 2 * margin, high + margin)


def _sample_indices(indices: np.ndarray) -> np.ndarray:
    """Return at most MAX_DOTS of the indices, in order; the same ones every time."""
    if indices.size <= MAX_DOTS:
        return indices
    return np.sort(np.random.default_rng(0).choice(indices, MAX_DOTS, replace=False))


def _lowest_shown(values: np.ndarray) -> float:
    """Return the lowest value to show: the minimum, or that of all but a few (1 %, or one) that lie far below."""
    if not values.size:
        return 0.0
    lowest, highest = values.min(), values.max()
    kept = np.sort(values)[max(1, values.size // 100)] if values.size >= FEW else lowest
    if highest == kept or kept - lowest <= 2 * (highest - kept):
        return float(lowest)
    return float(values[values >= kept - 0.5 * (highest - kept)].min())  # what lies near the others is shown too


def _generation_lines(axes: Any, generations: pd.DataFrame, numbers: np.ndarray, edges: np.ndarray) -> None:
    """Draw best, mean and best so far over the middle of each generation, or over blocks of generations."""
    table = generations.set_index("generation").reindex(numbers)
    best, mean, so_far = (table[name].to_numpy(np.float64) for name in ("best", "mean", "best_so_far"))
    block = max(1, len(numbers) // MAX_POINTS)
    starts = np.arange(0, len(numbers), block)
    ends = np.append(starts[1:], len(numbers))
    middle = (edges[starts] + edges[ends]) / 2  # x of each block, of one generation where there are few
    best = np.fmax.reduceat(best, starts)  # fmax passes over nan, a generation in which all failed
    known = np.isfinite(mean)
    count = np.add.reduceat(known, starts, dtype=np.int64)
    mean = np.add.reduceat(np.where(known, mean, 0.0), starts) / np.where(count, count, np.nan)
    every = "each generation" if block == 1 else f"every {block} generations"
    marker = "o" if len(starts) == 1 else ""
    for name, color, width, values in (("mean", ORANGE, 3.0, mean), ("best", BLUE, 5.0, best)):
        if np.isfinite(values).any():
            (line,) = axes.plot(middle, values, color=color, linewidth=width, label=f"{name} of {every}")
            line.set(marker=marker, markersize=12)
    if np.isfinite(so_far).any():
        so_far = np.fmax.reduceat(so_far, starts)
        axes.plot(middle, so_far, "--", color=BLACK, linewidth=2.0, marker=marker, label="best so far")


def _generation_axis(axes: Any, numbers: np.ndarray, edges: np.ndarray) -> None:
    """Add the axis above that counts generations: generation g begins where its first individual stands."""
    marks = np.append(numbers, numbers[-1] + 1).astype(np.float64)
    slope = (edges[-1] - edges[0]) / (marks[-1] - marks[0])  # individuals a generation, to go on beyond both ends
    far = np.array([-1e3, 1e3]) * (marks[-1] - marks[0])
    x = np.concatenate([[edges[0] + far[0] * slope], edges, [edges[-1] + far[1] * slope]])
    y = np.concatenate([[marks[0] + far[0]], marks, [marks[-1] + far[1]]])
    above = axes.secondary_xaxis("top", functions=(lambda n: np.interp(n, x, y), lambda g: np.interp(g, y, x)))
    above.set_xlabel("generation")
    above.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    above.xaxis.set_major_formatter(FuncFormatter(lambda g, _: f"{g:,.0f}"))
