"""Pictures for understanding a run, a function each: what matters, what trades off, what was found, who waited.

    draw(store, "mountain_car_nsga2-1", "front", Path("front.png"))

Each function takes the table of individuals of one run (`results/tables.py`) and returns a figure.

Legend: N individuals that did not fail, K numbers that describe each (parameters or metrics), M objectives.
"""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from l2l_snn.results import tables
from l2l_snn.results.figures import BLUE, GREY, SKY, VERMILLION, new_figure, save, styled
from l2l_snn.storage.store import Store
from l2l_snn.validate import check_choice, message

SHOWN = 12  # parameters of a picture, at most: those whose rank goes most with the fitness's
TREES, REPEATS = 200, 10  # of the forest; permutations of each parameter
PAIRS = 3  # panels of contours, at most: of three parameters
GRID = 60  # points along each axis of a contour
DOTS = 5_000  # individuals that are drawn or learned from, at most; spread evenly over the run
LINES = 400  # of parallel coordinates
BLOCKS = 60  # generations of a timeline, at most; the last ones


def draw(store: str | Store, name: str, kind: str, path: Path) -> Path:
    """Draw one picture of a run and return its path.

    Args:
        store: a URL or an open store.
        name: the run.
        kind: of KINDS, see `results/kinds.py` for what each answers.
        path: the PNG to write.

    Raises:
        RunUnknown: there is no such run.
        ValueError: the kind is another, or the run hasn't what it shows.
        ImportError: importance needs scikit-learn.
    """
    check_choice("kind", kind, KINDS)
    if not isinstance(store, Store):
        with Store(store, create=False) as opened:
            return draw(opened, name, kind, path)
    stored = store.load(name)
    individuals = tables.individuals(store, name)
    if kind == "archive":
        figure = archive(individuals, stored.manifest.get("job", {}).get("optimizer", {}))
    elif kind == "timeline":
        figure = timeline(individuals, tables.generations(store, name))
    else:
        figure = KINDS[kind](individuals)
    return save(figure, path)


def succeeded(individuals: pd.DataFrame) -> pd.DataFrame:
    """Return the N rows with a finite fitness, the first of several objectives as `fitness` too.

    Raises:
        ValueError: there are fewer than two.
    """
    column = "fitness" if "fitness" in individuals else "fitness_0"
    found = individuals[np.isfinite(individuals[column].to_numpy(np.float64))]
    if len(found) < 2:
        raise ValueError(message("individuals", "two or more with a fitness", f"{len(found)}"))
    return found.assign(fitness=found[column])


def parameters(found: pd.DataFrame) -> pd.DataFrame:
    """Return (N, K) parameters that vary, without "param."; choices become the numbers of their options by name.

    Raises:
        ValueError: there are none in the table: they are large arrays, or their genomes weren't kept.
    """
    values = found.filter(regex=r"^param\.").rename(columns=lambda name: name.removeprefix("param."))
    texts = [name for name in values.columns if values[name].dtype.kind not in "iufb"]
    codes = {name: values[name].astype("category").cat.codes for name in texts}
    numbers = values.assign(**codes).astype(np.float64)
    numbers = numbers.loc[:, numbers.nunique() > 1]
    if numbers.empty:
        raise ValueError(message("individuals", "parameters that vary and were kept", "none"))
    return numbers


@styled
def importance(individuals: pd.DataFrame) -> Figure:
    """Return what a random forest that predicts the fitness loses where a parameter is permuted (Breiman 2001).

    The forest learns from three quarters of the individuals; R^2 and losses are of the others. Where R^2 is low, it has
    learned little, and the bars say little.
    """
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.inspection import permutation_importance
    except ModuleNotFoundError as error:
        raise ImportError(f'no module {error.name!r}; install it: pip install "l2l-snn[insight]"') from error
    found = _thin_rows(succeeded(individuals), DOTS)
    x, y = parameters(found), found["fitness"].to_numpy(np.float64)
    test = np.random.default_rng(0).permutation(len(y)) < max(1, len(y) // 4)
    if (~test).sum() < 8:
        raise ValueError(message("individuals", "at least 11 with a fitness", len(y)))
    forest = RandomForestRegressor(TREES, random_state=0).fit(x[~test], y[~test])
    score = forest.score(x[test], y[test])
    lost: Any = permutation_importance(forest, x[test], y[test], n_repeats=REPEATS, random_state=0)
    order = np.argsort(lost.importances_mean)[-2 * SHOWN :]
    figure, axes = new_figure(size=(12.0, 2.5 + 0.42 * len(order)))
    axes.barh(x.columns[order], lost.importances_mean[order], xerr=lost.importances_std[order], color=BLUE, ecolor=GREY)
    axes.set(xlabel=f"loss of R² when permuted (mean and deviation of {REPEATS})")
    axes.set_title(f"What the fitness depends on: a forest with R² = {score:.2f} on {test.sum()} individuals")
    axes.grid(axis="y", visible=False)
    return figure


@styled
def parallel(individuals: pd.DataFrame) -> Figure:
    """Return parallel coordinates (Inselberg 1985): a line an individual over its parameters and its fitness."""
    found = _thin_rows(succeeded(individuals), LINES).sort_values("fitness")
    values = _choose_columns(parameters(found), found["fitness"]).assign(fitness=found["fitness"])
    low, high = values.min(), values.max()
    shares = ((values - low) / (high - low).replace(0.0, 1.0)).to_numpy(np.float64)  # (N, K + 1)
    ranks = np.linspace(0.0, 1.0, len(found))
    figure, axes = new_figure(size=(14.0, 7.0))
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import LineCollection

    x = np.arange(shares.shape[1])
    lines = [np.column_stack([x, row]) for row in shares]
    axes.add_collection(LineCollection(lines, array=ranks, cmap="viridis", linewidths=0.6 + 1.4 * ranks**4, alpha=0.6))
    for k, name in enumerate(values.columns):
        axes.axvline(k, color=GREY, linewidth=1.0)
        for place, value, align in ((-0.02, low[name], "top"), (1.02, high[name], "bottom")):
            axes.text(k, place, f"{value:.3g}", ha="center", va=align, fontsize=13)
    axes.set(xlim=(-0.3, len(x) - 0.7), ylim=(-0.1, 1.1), yticks=())
    axes.set_xticks(x, values.columns, rotation=30 if len(x) > 6 else 0, ha="right" if len(x) > 6 else "center")
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    bar = figure.colorbar(ScalarMappable(cmap="viridis"), ax=axes, pad=0.02)
    bar.set_label("rank by fitness, the best 1")
    axes.set_title(f"Parameters and fitness of {len(found):,} individuals")
    return figure


@styled
def slices(individuals: pd.DataFrame) -> Figure:
    """Return the fitness against each parameter, a panel each; dots are coloured by their generation."""
    found = _thin_rows(succeeded(individuals), DOTS)
    values = _choose_columns(parameters(found), found["fitness"])
    columns = min(4, values.shape[1])
    rows = -(-values.shape[1] // columns)
    size = (max(8.0, 4.0 * columns), 1.2 + 3.2 * rows)
    figure, panels = new_figure(rows, columns, size, sharey=True, squeeze=False)
    dots: Any = None
    for panel, name in zip(panels.flat, values.columns, strict=False):
        dots = panel.scatter(values[name], found["fitness"], c=found["generation"], s=9, cmap="viridis", linewidths=0)
        panel.set_xlabel(name)
    for panel in list(panels.flat)[values.shape[1] :]:
        panel.set_visible(False)
    figure.supylabel("fitness", fontsize=17)
    whole = MaxNLocator(6, integer=True)
    figure.colorbar(dots, ax=panels, pad=0.02, ticks=whole).set_label("generation")
    figure.suptitle(f"Fitness over {'each parameter' if columns > 1 else 'the parameter'}", fontsize=19)
    return figure


@styled
def contour(individuals: pd.DataFrame) -> Figure:
    """Return the fitness over pairs of parameters as filled contours, with the individuals as dots.

    The pairs are of the three parameters whose rank goes most with the fitness's. The surface is a mean of the
    individuals, weighted by a Gaussian of their distance (Nadaraya 1964; Watson 1964) whose width is Scott's (1992);
    where none is within three widths, it is left blank. The lowest twentieth of the fitness counts as its 5 % quantile.

    Raises:
        ValueError: fewer than two parameters vary.
    """
    found = _thin_rows(succeeded(individuals), DOTS)
    values = _choose_columns(parameters(found), found["fitness"], PAIRS)
    pairs = list(combinations(values.columns, 2))
    if not pairs:
        raise ValueError(message("individuals", "two parameters that vary and were kept", f"{values.columns[0]} alone"))
    fitness = found["fitness"].to_numpy(np.float64)
    fitness = np.maximum(fitness, np.quantile(fitness, 0.05))
    surfaces = [smooth_surface(values[[a, b]].to_numpy(np.float64), fitness) for a, b in pairs]
    levels = MaxNLocator(12).tick_values(
        min(np.nanmin(surface) for *_, surface in surfaces), max(np.nanmax(surface) for *_, surface in surfaces)
    )
    figure, panels = new_figure(1, len(pairs), (max(8.0, 5.6 * len(pairs)), 6.0), squeeze=False)
    filled: Any = None
    for panel, (a, b), (x, y, surface) in zip(panels.flat, pairs, surfaces, strict=True):
        filled = panel.contourf(x, y, np.ma.masked_invalid(surface), levels, cmap="viridis")
        panel.scatter(values[a], values[b], s=12, color="white", edgecolors="black", linewidths=0.5)
        panel.set(xlabel=a, ylabel=b)
        panel.grid(False)
    figure.colorbar(filled, ax=panels, pad=0.02).set_label("mean fitness nearby")
    figure.suptitle(f"Fitness over {'pairs of parameters' if len(pairs) > 1 else 'two parameters'}", fontsize=19)
    return figure


def smooth_surface(points: np.ndarray, heights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a grid over points and the mean of the heights nearby, weighted by a Gaussian of Scott's width.

    Args:
        points: (N, 2), each column with two values or more.
        heights: (N,)

    Returns:
        x (GRID,), y (GRID,) and the surface (GRID, GRID), a row for each y; nan where no point is within three widths.
    """
    width = points.std(axis=0) * len(points) ** (-1 / 6)
    x, y = np.linspace(points.min(axis=0), points.max(axis=0), GRID).T
    near = [((axis[:, None] - column) / w) ** 2 for axis, column, w in zip((x, y), points.T, width, strict=True)]
    along_x, along_y = (
        np.exp(-squares / 2) for squares in near
    )  # (GRID, N) each: the Gaussian of both is their product
    weights = along_y @ along_x.T
    surface = np.divide((along_y * heights) @ along_x.T, weights, out=np.full(weights.shape, np.nan), where=weights > 0)
    closest = np.array([(row + near[0]).min(axis=1) for row in near[1]])
    return x, y, np.where(closest <= 9.0, surface, np.nan)


@styled
def correlation(individuals: pd.DataFrame) -> Figure:
    """Return Spearman's rank correlation of each metric with the fitness, of the individuals that have both."""
    found = succeeded(individuals)
    metrics = found.filter(regex=r"^metric\.").rename(columns=lambda name: name.removeprefix("metric."))
    metrics = metrics.loc[:, metrics.nunique() > 1]
    if metrics.empty:
        raise ValueError(message("individuals", "metrics that vary", "none"))
    values = metrics.corrwith(found["fitness"], method="spearman").dropna().sort_values()
    figure, axes = new_figure(size=(12.0, 2.5 + 0.42 * len(values)))
    axes.barh(values.index, values, color=np.where(values < 0, VERMILLION, BLUE))
    axes.axvline(0.0, color=GREY, linewidth=1.5)
    axes.set(xlim=(-1.0, 1.0), xlabel="Spearman's rank correlation with the fitness")
    axes.set_title(f"Metrics that go with the fitness of {len(found):,} individuals")
    axes.grid(axis="y", visible=False)
    return figure


@styled
def front(individuals: pd.DataFrame) -> Figure:
    """Return the objectives of all individuals with the Pareto front, and its hypervolume over generations.

    The hypervolume (Zitzler & Thiele 1998) is that between the front of all individuals so far and the worst value that
    the run has of each objective. Of more than two objectives, the first two are drawn; the front is that of all.
    """
    names = [name for name in individuals.columns if name.startswith("fitness_")]
    if len(names) < 2:
        raise ValueError(message("individuals", "several objectives", "one", "NSGA2 is an optimizer for several"))
    found: Any = individuals[np.isfinite(individuals[names]).all(axis=1)]
    if found.empty:
        raise ValueError(message("individuals", "one or more with all objectives", "none"))
    values = found[names].to_numpy(np.float64)
    best = values[non_dominated(values)]
    worst = values.min(axis=0)
    figure, (left, right) = new_figure(1, 2, (15.0, 6.75))
    shown = _thin_rows(found, DOTS)[names].to_numpy(np.float64)
    left.scatter(shown[:, 0], shown[:, 1], s=12, color=SKY, linewidths=0, label="individual")
    ordered = best[np.argsort(best[:, 0])]
    if len(names) == 2:
        left.step(ordered[:, 0], ordered[:, 1], where="pre", color=BLUE, linewidth=2)
    left.plot(ordered[:, 0], ordered[:, 1], "o", color=BLUE, markersize=8, label=f"front: {len(best)} individuals")
    left.set(xlabel="objective 1", ylabel="objective 2", title="Nobody is better in all objectives")
    numbers = np.unique(found["generation"])
    so_far, volumes = values[:0], []
    for number in numbers:
        so_far = np.concatenate([so_far, values[found["generation"] == number]])
        so_far = so_far[non_dominated(so_far)]
        volumes.append(hypervolume(so_far, worst))
    right.plot(numbers, volumes, color=BLUE, marker="o" if len(numbers) == 1 else "")
    right.set(xlabel="generation", ylabel="hypervolume", ylim=(0, None), title="Hypervolume of the front so far")
    right.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def non_dominated(values: np.ndarray) -> np.ndarray:
    """Return the indices of those rows of (N, M), larger is better, that no other dominates; of equal rows the first.

    >>> non_dominated(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [1.0, 2.0]])).tolist()
    [0, 1]
    """
    kept: list[int] = []
    for k in np.lexsort(-values.T[::-1]):  # whoever dominates another comes before it
        if not kept or not (values[kept] >= values[k]).all(axis=1).any():
            kept.append(int(k))
    return np.array(sorted(kept), np.int64)


def hypervolume(values: np.ndarray, reference: np.ndarray) -> float:
    """Return the volume that points (N, M) dominate above a reference (M,), by slices along the last objective.

    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0]]), np.zeros(2))
    3.0
    """
    values = values[(values > reference).all(axis=1)]
    if not len(values):
        return 0.0
    if values.shape[1] == 1:
        return float(values.max() - reference[0])
    values = values[np.argsort(-values[:, -1])]
    ends = np.append(values[1:, -1], reference[-1])
    heights = values[:, -1] - ends  # of the slice in which the first k + 1 points are
    rest, below = values[:, :-1], reference[:-1]
    volumes = (hypervolume(rest[: k + 1][non_dominated(rest[: k + 1])], below) for k in np.flatnonzero(heights))
    return float(sum(h * volume for h, volume in zip(heights[heights != 0], volumes, strict=True)))


@styled
def archive(individuals: pd.DataFrame, optimizer: dict[str, Any]) -> Figure:
    """Return the best fitness in each cell of a grid over two descriptors (Mouret & Clune 2015).

    Args:
        individuals: of one run.
        optimizer: its entries in the job: descriptors, low, high, cells, as of MapElites; the first two are drawn.
    """
    names = [f"metric.{name}" for name in optimizer.get("descriptors", ())][:2]
    if len(names) < 2 or not {"low", "high", "cells"} <= set(optimizer):
        todo = "run optimizers.map_elites:MapElites with two descriptors"
        raise ValueError(message("optimizer", "descriptors with low, high and cells", optimizer.get("class"), todo))
    known = succeeded(individuals)
    found: Any = known[np.isfinite(known[names]).all(axis=1)]
    low, high, cells = (np.array(optimizer[key][:2]) for key in ("low", "high", "cells"))
    share = (np.clip(found[names].to_numpy(np.float64), low, high) - low) / (high - low)
    place = np.minimum((share * cells).astype(np.int64), cells - 1)
    best = np.full(cells, -np.inf)
    np.maximum.at(best, tuple(place.T), found["fitness"].to_numpy(np.float64))
    filled = np.isfinite(best)
    figure, axes = new_figure(size=(10.0, 8.0))
    edges = [np.linspace(a, b, n + 1) for a, b, n in zip(low, high, cells, strict=True)]
    mesh = axes.pcolormesh(*edges, np.where(filled, best, np.nan).T, cmap="viridis")
    axes.set(xlabel=names[0].removeprefix("metric."), ylabel=names[1].removeprefix("metric."))
    axes.set_title(f"Best of each kind: {filled.sum():,} of {filled.size:,} cells")
    axes.grid(False)
    figure.colorbar(mesh, ax=axes, pad=0.02).set_label("fitness")
    return figure


@styled
def timeline(individuals: pd.DataFrame, generations: pd.DataFrame) -> Figure:
    """Return what share of each generation's time each worker evaluated; what is left it waited for the others.

    When an evaluation began isn't stored, so a worker's evaluations are added up. The last 60 generations are drawn.
    """
    table: Any = generations[generations["seconds"] > 0].tail(BLOCKS).set_index("generation")
    found = individuals[individuals["generation"].isin(table.index) & (individuals["worker"] != "")]
    if found.empty:
        raise ValueError(message("individuals", "workers and times of a generation", "none"))
    busy = found.pivot_table("seconds", "worker", "generation", "sum", fill_value=0.0)
    shares: Any = np.minimum(busy / table["seconds"].reindex(busy.columns), 1.0)
    figure, (top, panel) = new_figure(2, 1, (14.0, 4.5 + 0.35 * len(busy)), sharex=True, height_ratios=(2, len(busy)))
    numbers = shares.columns.to_numpy()
    top.bar(numbers, table["seconds"].reindex(numbers), width=1.0, color=GREY, label="wall time")
    top.bar(numbers, busy.mean(), width=1.0, color=BLUE, label="mean time that a worker evaluated")
    top.set(ylabel="s", title=f"Workers were busy for {shares.to_numpy().mean():.0%} of the time")
    edges = np.append(numbers, numbers[-1] + 1) - 0.5
    mesh = panel.pcolormesh(edges, np.arange(len(busy) + 1), shares, cmap="viridis", vmin=0, vmax=1)
    panel.set_yticks(np.arange(len(busy)) + 0.5, busy.index)
    panel.set(xlabel="generation")
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    panel.grid(False)
    figure.colorbar(mesh, ax=panel, pad=0.02, format="{x:.0%}").set_label("evaluated")
    figure.legend(*top.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _choose_columns(values: Any, fitness: Any, most: int = SHOWN) -> Any:
    """Return at most so many columns, those whose rank goes most with the fitness's, in their order."""
    if values.shape[1] <= most:
        return values
    strength = values.corrwith(fitness, method="spearman").abs().fillna(0.0)
    chosen = strength.nlargest(most).index.tolist()
    return values[[name for name in values.columns if name in chosen]]


def _thin_rows(found: Any, most: int) -> Any:
    return found if len(found) <= most else found.iloc[np.linspace(0, len(found) - 1, most).astype(np.int64)]


KINDS: dict[str, Callable[..., Figure]] = {
    "importance": importance,
    "parallel": parallel,
    "slices": slices,
    "contour": contour,
    "correlation": correlation,
    "front": front,
    "archive": archive,
    "timeline": timeline,
}
