"""The pictures of runs, for a projector: large type, thick lines, colours that colour-blind readers can tell apart.

Pictures are drawn by matplotlib without pyplot, so nothing global remains and no display is needed.

    @styled
    def rewards(reward, path):
        figure, axes = new_figure()
        axes.plot(reward)
        return save(figure, path)

Legend: N individuals in the order of the run, G generations.
"""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from l2l_snn.results.compare import thinned
from l2l_snn.validate import message

DPI = 150
SIZE = (12.0, 6.75)  # inches: 1800 x 1012 pixels
MAX_DOTS = 20_000  # more than that are thinned
MAX_POINTS = 1_000  # a line over more generations than twice this is drawn in blocks of generations
COMPARED_POINTS = 2_000  # a curve of a comparison with more is thinned
DECADES = 2.0  # an axis of a comparison whose positive values span more is logarithmic
ROW = 0.4  # inches that a comparison grows by for each row of the legend beyond the third

# Okabe & Ito (2008)
BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK, GREY = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"),
    "#8C8C8C",
)
COLORS = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)
LINES = ("-", "--", ":", "-.")  # one round of the colours each

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

    With several objectives, the first one is drawn. Above 20,000 individuals, a random 20,000 get a dot;
    above 2,000 generations, a line's point stands for a block of generations; the legend says so. Dots far
    below all others would flatten the rest: the axis may cut up to 1 % of them off, and the legend counts them.

    Args:
        individuals: N rows of one run with the columns generation, individual and fitness (or fitness_0).
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
    column = "fitness" if "fitness" in individuals.columns else "fitness_0"
    values = individuals[column].to_numpy(np.float64)  # (N,)
    failed = ~np.isfinite(values)
    figure, axes = new_figure()

    low = _lowest_shown(values[~failed])
    dots = _sample_indices(np.flatnonzero(~failed))
    text = "individual"
    if dots.size < len(values) - failed.sum():
        text += f" ({dots.size:,} of {len(values) - failed.sum():,}, drawn at random)"
    below = int((values[~failed] < low).sum())
    if below:
        text += f", {below:,} below the axis"
    # number from 1: the x of individual i is i + 1
    if dots.size:
        size = float(np.clip(36_000 / dots.size, 6.0, 70.0))  # area, points^2: smaller where there are many
        axes.scatter(dots + 1, values[dots], s=size, color=SKY, linewidths=0, label=text)
    numbers, edges = np.unique(individuals["generation"].to_numpy(np.int64), return_index=True)
    edges = np.append(edges, len(values)) + 0.5  # (G + 1,) where each generation begins, and the end
    _generation_lines(axes, generations, numbers, edges)
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

    axes.set(xlabel="individual (number over the run)", title=title)
    axes.set_ylabel(label if column == "fitness" else f"{label} (first objective)")
    axes.set_xlim(edges[0] - 0.01 * len(values), edges[-1] + 0.01 * len(values))
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    _generation_axis(axes, numbers, edges)
    legend = figure.legend(loc="outside lower center", ncols=3 if len(values) <= MAX_DOTS else 2)
    for entry in legend.legend_handles:
        if isinstance(entry, PathCollection):
            entry.set_sizes([80.0])
        elif entry is not None:
            entry.set_alpha(1.0)
    return figure


def _sample_indices(indices: np.ndarray) -> np.ndarray:
    """Return at most MAX_DOTS of the indices, in order; the same ones every time."""
    if indices.size <= MAX_DOTS:
        return indices
    return np.sort(np.random.default_rng(0).choice(indices, MAX_DOTS, replace=False))


def _lowest_shown(values: np.ndarray) -> float:
    """Return the lowest value to show: the minimum, or the lowest percentile where outliers lie far below."""
    if not values.size:
        return 0.0
    lowest, percentile, highest = values.min(), np.percentile(values, 1), values.max()
    return float(percentile if percentile - lowest > 2 * (highest - percentile) and highest > percentile else lowest)


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


@styled
def draw_comparison(
    curves: pd.DataFrame,
    path: Path,
    title: str = "Best fitness so far",
    *,
    label: str = "best fitness so far",
    target: float | None = None,
) -> Path:
    """Draw the best fitness so far against evaluations, a line (the median) and a band (the quartiles) for each group.

    An axis is logarithmic where its values have one sign and span more than two decades. A curve of more than 2,000
    points is thinned.

    Args:
        curves: of `compare`.
        path: the PNG to write; its folder is made where it's missing.
        title: the subject of the finding.
        label: of the y axis, with the fitness's unit where it has one.
        target: the fitness to reach, drawn as a line.

    Returns:
        The path.

    Raises:
        ValueError: the curves have no rows.
    """
    if curves.empty:
        raise ValueError(message("curves", "at least one row", "none", "have the runs finished a generation?"))
    figure, axes = new_figure()
    bands = False
    for i, (name, rows) in enumerate(curves.groupby("group", sort=False)):
        rows = rows.iloc[thinned(len(rows), COMPARED_POINTS)]
        x, median = rows["evaluations"].to_numpy(np.float64), rows["median"].to_numpy(np.float64)
        count = int(rows["runs"].iloc[0])
        style = {"color": COLORS[i % len(COLORS)], "drawstyle": "steps-post"}
        line = LINES[i // len(COLORS) % len(LINES)]
        marker = "o" if np.isfinite(median).sum() == 1 else ""
        text = f"{name}, {count} run{'s' * (count > 1)}"
        axes.plot(x, median, line, label=text, marker=marker, markersize=10, **style)
        low, high = rows["q1"].to_numpy(np.float64), rows["q3"].to_numpy(np.float64)
        if count > 1:
            bands = True
            axes.fill_between(x, low, high, step="post", color=style["color"], alpha=0.2, linewidth=0)
    if target is not None:
        axes.axhline(target, color=GREY, linestyle=":", label=f"target ({target:g})")
    _scale_axis(axes, "x", curves["evaluations"].to_numpy(np.float64))
    values = curves[["q1", "median", "q3"]].to_numpy(np.float64).ravel()
    _scale_axis(axes, "y", np.append(values, np.nan if target is None else target))
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "no run succeeded", ha="center", va="center", fontsize=22, transform=axes.transAxes)
    axes.set(xlabel="evaluations (number since the run began)", ylabel=label)
    axes.set_title(f"{title}: median and quartiles over runs" if bands else title)
    entries = len(axes.get_legend_handles_labels()[0])
    columns = 2 if entries > 3 else 1
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + ROW * max(0, -(-entries // columns) - 3))
    figure.legend(loc="outside lower center", ncols=columns)
    return save(figure, path)


def _scale_axis(axes: Any, axis: str, values: np.ndarray) -> None:
    """Make an axis ("x" or "y") logarithmic if its finite values have one sign and span more than DECADES."""
    values = values[np.isfinite(values)]
    sizes = np.abs(values[values != 0])
    if len(np.unique(np.sign(values[values != 0]))) != 1:
        return
    smallest, largest = np.log10(sizes.min()), np.log10(sizes.max())
    if largest - smallest <= DECADES:
        return
    margin = 0.04 * (largest - smallest)
    low, high = 10 ** (smallest - margin), 10 ** (largest + margin)
    ends = np.array([0.0 if len(sizes) < len(values) else low, high])  # of the sizes; a zero is shown too
    if (values < 0).any():
        ends = -ends[::-1]
    set_scale, set_limits = (axes.set_xscale, axes.set_xlim) if axis == "x" else (axes.set_yscale, axes.set_ylim)
    if ends[0] > 0:
        set_scale("log")
    else:  # linear only between zero and the smallest size
        set_scale("symlog", linthresh=low)
    set_limits(*ends)
