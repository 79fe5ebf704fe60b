"""Pictures of one agent in any task: its returns, its weights, one episode and its spikes; and returns of many lives.

Legend: N episodes, K observations, A actions (motor populations), T control steps of the episode that is shown.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator

from l2l_snn.results.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, new_figure, save, styled

RASTER_STEPS = 100  # control steps of a raster: more can't be told apart


class Episode(NamedTuple):
    """What was seen and done in an episode."""

    observed: np.ndarray  # (T + 1, K)
    action: np.ndarray  # (T,)
    activity: np.ndarray  # (T, A) mean spikes of a neuron of each motor population; of a perceptron, its outputs


@styled
def returns(values: np.ndarray, path: Path, label: str = "return") -> Path:
    """Draw the return (N,) of each episode, nan where it was not lived, and its running mean over ten, or the mean."""
    lived = values[np.isfinite(values)]
    figure, axes = new_figure()
    axes.plot(np.arange(1, len(lived) + 1), lived, "o", color=SKY, markersize=6, label="an episode")
    if len(lived) >= 20:
        mean = np.convolve(lived, np.full(10, 0.1), mode="valid")
        axes.plot(np.arange(10, len(lived) + 1), mean, color=BLUE, label="mean of the last ten")
    elif len(lived):
        axes.axhline(lived.mean(), color=BLUE, label=f"mean {lived.mean():.1f}")
    axes.set(xlabel="episode", ylabel=label, title="Return of each episode")
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(0.5 - 0.01 * len(lived), len(lived) + 0.5 + 0.01 * len(lived))
    if len(lived) and lived.min() >= 0:
        axes.set_ylim(0, None)
    figure.legend(loc="outside lower center", ncols=2)
    return save(figure, path)


@styled
def curves(lives: Mapping[str, np.ndarray], path: Path, title: str, block: int = 5) -> Path:
    """Draw median and quartiles over lives of the return of each block of episodes.

    Args:
        lives: name -> (L, N) returns of L lives, nan where not lived.
        path: the file.
        title: the subject.
        block: episodes whose mean is one point.
    """
    figure, axes = new_figure()
    for color, (name, values) in zip((BLUE, VERMILLION, GREEN, ORANGE, GREY, SKY), lives.items(), strict=False):
        n = values.shape[1] // block
        blocks = values[:, : n * block].reshape(len(values), n, block)
        held = np.isfinite(blocks).any(axis=2)
        means = np.where(held, np.nansum(blocks, axis=2) / np.maximum(np.isfinite(blocks).sum(axis=2), 1), np.nan)
        means = means[:, held.sum(axis=0) >= 2]
        x = (np.arange(means.shape[1]) + 0.5) * block
        low, middle, high = np.nanquantile(means, [0.25, 0.5, 0.75], axis=0)
        axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(x, middle, color=color, label=name)
    axes.set(xlabel="episode", ylabel="return: median and quartiles", title=title)
    if all(np.nanmin(values) >= 0 for values in lives.values()):
        axes.set_ylim(0, None)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    figure.legend(loc="outside lower center", ncols=3)
    return save(figure, path)


@styled
def weights(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path) -> Path:
    """Draw histograms of each projection's weights (n_pre, n_post) before and after the life, mV."""
    figure, panels = new_figure(1, len(pairs), squeeze=False)
    for panel, (name, (before, after)) in zip(panels[0], pairs.items(), strict=True):
        edges = np.linspace(0, max(before.max(), after.max(), 1e-3), 31)
        panel.hist(before.ravel(), edges, color=GREY, alpha=0.6, label="before")
        panel.hist(after.ravel(), edges, color=BLUE, histtype="step", linewidth=3, label="after")
        panel.set(xlabel="weight (mV)", title=name.replace("_", " to "))
    panels[0, 0].set_ylabel("synapses")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return save(figure, path)


def draw_actions(panel: Any, action: np.ndarray) -> None:
    """Draw the actions (T,) as steps, each as long as its control step, the last one too."""
    panel.stairs(action, np.arange(len(action) + 1), baseline=None, color=BLACK, linewidth=1.5)
    panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))


@styled
def episode(
    lived: Episode,
    path: Path,
    observations: Sequence[str] = (),
    action: str = "action",
    populations: Sequence[str] = (),
) -> Path:
    """Draw what was observed and done over an episode, a panel each.

    Args:
        lived: the episode.
        path: the file.
        observations: (K,) their names; "observation 0"... by default.
        action: its name.
        populations: (A,) names of the motor populations, for an action that is the number of one.
    """
    K = lived.observed.shape[1]
    names = observations or [f"observation {k}" for k in range(K)]
    figure, panels = new_figure(K + 1, 1, size=(12.0, 2.2 * (K + 1)), sharex=True)
    for panel, name, values in zip(panels, names, lived.observed.T, strict=False):
        panel.plot(values, color=BLUE)
        panel.set_ylabel(name)
    draw_actions(panels[-1], lived.action)
    panels[-1].set(xlabel="control step", ylabel=action)
    if populations and np.issubdtype(lived.action.dtype, np.integer):
        panels[-1].set_yticks(range(len(populations)), populations)
        panels[-1].set_ylim(-0.2, len(populations) - 0.8)
    panels[0].set_title(f"One episode with the last weights: {len(lived.action)} steps")
    figure.align_ylabels()
    return save(figure, path)
