"""The picture of a comparison of runs: best fitness so far against evaluations, together or a panel each."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from l2l_snn.results.compare import thinned
from l2l_snn.results.figures import BLUE, COLORS, GREY, SIZE, new_figure, save, styled
from l2l_snn.validate import message

POINTS = 2_000  # a curve with more is thinned
DECADES = 2.0  # an axis whose positive values span more is logarithmic
ROW = 0.4  # inches that the picture grows by for each row of the legend beyond the third
TOGETHER = len(COLORS)  # groups in one panel, at most: more can't be told apart
PANEL = 2.7  # inches, height of a panel of its own


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

    Above seven groups, each has a panel of its own with the others in grey. An axis is logarithmic where its values
    have one sign and span more than two decades. A curve of more than 2,000 points is thinned.

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
    groups = [(str(name), rows.iloc[thinned(len(rows), POINTS)]) for name, rows in curves.groupby("group", sort=False)]
    counts = {int(rows["runs"].iloc[0]) for _, rows in groups}
    which = f"{min(counts)} runs each" if len(counts) == 1 and len(groups) > TOGETHER else "runs"
    title = f"{title}: median and quartiles over {which}" if max(counts) > 1 else title
    draw = _draw_together if len(groups) <= TOGETHER else _draw_panels
    figure, axes = draw(groups, title, label, target)
    _scale_axis(axes, "x", curves["evaluations"].to_numpy(np.float64))
    values = curves[["q1", "median", "q3"]].to_numpy(np.float64).ravel()
    _scale_axis(axes, "y", np.append(values, np.nan if target is None else target))
    if not np.isfinite(values).any():
        axes.text(0.5, 0.5, "no run succeeded", ha="center", va="center", fontsize=22, transform=axes.transAxes)
    return save(figure, path)


def _draw_together(
    groups: list[tuple[str, pd.DataFrame]], title: str, label: str, target: float | None
) -> tuple[Figure, Any]:
    """Return a figure of all groups in one panel, and its axes."""
    figure, axes = new_figure()
    for color, (name, rows) in zip(COLORS, groups, strict=False):
        _draw_group(axes, rows, color, _describe_group(name, rows))
    if target is not None:
        axes.axhline(target, color=GREY, linestyle=":", label=f"target ({target:g})")
    axes.set(xlabel="evaluations (number since the run began)", ylabel=label, title=title)
    entries = len(axes.get_legend_handles_labels()[0])
    columns = 2 if entries > 3 else 1
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + ROW * max(0, -(-entries // columns) - 3))
    figure.legend(loc="outside lower center", ncols=columns)
    return figure, axes


def _draw_panels(
    groups: list[tuple[str, pd.DataFrame]], title: str, label: str, target: float | None
) -> tuple[Figure, Any]:
    """Return a figure with a panel for each group, the others behind it in grey, and the first panel."""
    alike = len({rows["runs"].iloc[0] for _, rows in groups}) == 1  # then the number of runs needn't be said in each
    columns = 3 if len(groups) <= 12 else 4
    count = -(-len(groups) // columns)
    figure, panels = new_figure(count, columns, (SIZE[0], PANEL * count + 1.2), sharex=True, sharey=True)
    for k, panel in enumerate(panels.flat):
        if k >= len(groups):
            panel.set_visible(False)
            panels.flat[k - columns].tick_params(labelbottom=True)
            continue
        for _, rows in groups:
            panel.plot(rows["evaluations"], rows["median"], color=GREY, alpha=0.4, linewidth=1, drawstyle="steps-post")
        if target is not None:
            panel.axhline(target, color=GREY, linestyle=":", linewidth=2)
        name, rows = groups[k]
        _draw_group(panel, rows, BLUE, "")
        panel.set_title(name if alike else _describe_group(name, rows), fontsize=13)
        panel.tick_params(labelsize=13)
    figure.supxlabel("evaluations (number since the run began)", fontsize=16)
    figure.supylabel(label, fontsize=16)
    figure.suptitle(title + ("" if target is None else f"; dotted: the target, {target:g}"), fontsize=19)
    return figure, panels.flat[0]


def _draw_group(axes: Any, rows: pd.DataFrame, color: str, text: str) -> None:
    """Draw the median of a group and, of several runs, the quartiles."""
    x, median = rows["evaluations"].to_numpy(np.float64), rows["median"].to_numpy(np.float64)
    marker = "o" if np.isfinite(median).sum() == 1 else ""
    axes.plot(x, median, color=color, drawstyle="steps-post", label=text, marker=marker, markersize=10)
    if rows["runs"].iloc[0] > 1:
        low, high = rows["q1"].to_numpy(np.float64), rows["q3"].to_numpy(np.float64)
        axes.fill_between(x, low, high, step="post", color=color, alpha=0.2, linewidth=0)


def _describe_group(name: str, rows: pd.DataFrame) -> str:
    count = int(rows["runs"].iloc[0])
    return f"{name}, {count} run{'s' * (count > 1)}"


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
