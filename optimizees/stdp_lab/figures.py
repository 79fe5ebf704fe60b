"""Pictures of the single-neuron and STDP experiments: figures 8 and 9 of Labady 2023.

Legend: T steps; index k is the time (k + 1) * dt.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from l2l_snn.results.figures import BLACK, BLUE, GREEN, GREY, VERMILLION, new_figure, save, styled
from l2l_snn.validate import check_range, check_shape, message

SHOWN = 200.0  # ms of the potentials; more would be a blur
NEURONS = ("first neuron", "second neuron")
MINUS = "\N{MINUS SIGN}"


def potentials(potential: np.ndarray, spikes: np.ndarray, dt: float, threshold: float, title: str, path: Path) -> Path:
    """Draw the potentials of two neurons with their spikes in the first 200 ms, and all spikes below.

    Args:
        potential: (2, T) mV.
        spikes: (2, T) bool.
        dt: sampling interval, ms.
        threshold: mV.
        title: what drives them.
        path: the file to write.

    Returns:
        The path.
    """
    return save(draw_potentials(potential, spikes, dt, threshold, title), path)


@styled
def draw_potentials(potential: np.ndarray, spikes: np.ndarray, dt: float, threshold: float, title: str) -> Figure:
    """Return the figure that `potentials` writes."""
    potential = check_shape("potential", potential, (2, None))
    spikes = check_shape("spikes", spikes, potential.shape)
    check_range("dt", dt, 0.0, open_low=True)
    time = (np.arange(potential.shape[1]) + 1) * dt
    end = min(SHOWN, time[-1])
    shown = time <= end
    low = float(potential.min())
    top = threshold + 0.25 * (threshold - low)  # of a spike's line: the model itself jumps from threshold to reset
    figure, panels = new_figure(3, 1, size=(13.0, 9.5), gridspec_kw={"height_ratios": [2.2, 2.2, 1.0]})
    for panel, name, color, v, fired in zip(panels, NEURONS, (BLUE, VERMILLION), potential, spikes, strict=False):
        panel.plot(time[shown], v[shown], color=color, linewidth=2.5)
        panel.vlines(time[fired & shown], threshold, top, color=color, linewidth=2.5)
        panel.axhline(threshold, color=GREY, linestyle="--", linewidth=1.5)
        panel.annotate("threshold", (end, threshold), (5, 0), textcoords="offset points", va="center", color="#666666")
        panel.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.set(xlim=(0, end), ylim=(low - 1.0, top + 0.5), ylabel=f"{name}\nV (mV)")
    panels[0].tick_params(labelbottom=False)
    panels[0].set_title(title)
    panels[1].set_xlabel("time (ms); a line above threshold is a spike")
    rates = spikes.sum(axis=1) / (time[-1] / 1000.0)  # (2,) Hz
    for row, (color, fired) in enumerate(zip((BLUE, VERMILLION), spikes, strict=True)):
        panels[2].vlines(time[fired], 0.6 - row, 1.4 - row, color=color, linewidth=1.5)
    panels[2].set(xlim=(0, time[-1]), ylim=(-0.5, 1.5), yticks=[1, 0], xlabel="time (ms)")
    panels[2].set_yticklabels([f"{name}\n{rate:.0f} Hz" for name, rate in zip(("first", "second"), rates, strict=True)])
    panels[2].grid(axis="y", visible=False)
    figure.align_ylabels(panels[:2])
    return figure


def stdp(
    pre: np.ndarray,
    post: np.ndarray,
    traces: tuple[np.ndarray, np.ndarray],
    weights: Mapping[float, np.ndarray],
    dt: float,
    target: float,
    numbers: str,
    path: Path,
) -> Path:
    """Draw two spike trains, their traces, and the weight, one column for each alpha.

    Args:
        pre: (T,) bool.
        post: (T,) bool.
        traces: (T,) of pre and (T,) of post spikes.
        weights: alpha -> (T,) units.
        dt: ms.
        target: the weight that is wanted at the end, units.
        numbers: the rule's other parameters, for the title.
        path: the file to write.

    Returns:
        The path.
    """
    return save(draw_stdp(pre, post, traces, weights, dt, target, numbers), path)


@styled
def draw_stdp(
    pre: np.ndarray,
    post: np.ndarray,
    traces: tuple[np.ndarray, np.ndarray],
    weights: Mapping[float, np.ndarray],
    dt: float,
    target: float,
    numbers: str,
) -> Figure:
    """Return the figure that `stdp` writes."""
    check_range("dt", dt, 0.0, open_low=True)
    if not weights:
        raise ValueError(message("weights", "at least one alpha: (T,) weights", "none"))
    pre = check_shape("pre", pre, (None,))
    post = check_shape("post", post, pre.shape)
    time = (np.arange(len(pre)) + 1) * dt
    figure, panels = new_figure(
        4,
        len(weights),
        size=(12.0 if len(weights) == 1 else 16.0, 10.0),
        sharex=True,
        sharey="row",
        squeeze=False,
        gridspec_kw={"height_ratios": [0.8, 1.0, 1.0, 2.2]},
    )
    for column, (alpha, weight) in zip(panels.T, weights.items(), strict=True):
        weight = check_shape(f"weights[{alpha}]", weight, pre.shape)
        for row, (color, fired) in enumerate(((BLUE, pre), (VERMILLION, post))):
            column[0].vlines(time[fired], 0.6 - row, 1.4 - row, color=color, linewidth=2.0)
        for panel, color, x in zip(column[1:3], (BLUE, VERMILLION), traces, strict=True):
            panel.plot(time, check_shape("traces", x, pre.shape), color=color, linewidth=2.0)
        column[3].plot(time, weight, color=BLACK, drawstyle="steps-post")
        column[3].axhline(target, color=GREEN, linestyle="--", linewidth=2.0, label=f"target {target:g}")
        last = (time[-1], weight[-1])
        column[3].annotate(
            f"{weight[-1]:.0f}", last, (5, 0), textcoords="offset points", va="center", fontweight="bold"
        )
        column[3].legend(loc="best")
        column[0].set(ylim=(-0.5, 1.5), yticks=[1, 0], xlim=(0, time[-1]))
        column[0].set_yticklabels([f"{pre.sum()} pre\nspikes", f"{post.sum()} post\nspikes"])
        column[0].grid(axis="y", visible=False)
        column[0].set_title(f"\N{GREEK SMALL LETTER ALPHA} = {alpha:+.3g}".replace("-", MINUS))
        column[3].set_xlabel("time (ms)")
    for panel, label in zip(panels[1:, 0], ("pre trace", "post trace", "weight (units)"), strict=True):
        panel.set_ylabel(label)
    for panel in panels[1:3].flat:
        panel.set_ylim(bottom=0.0)
    figure.align_ylabels(panels[1:, 0])
    figure.suptitle(f"STDP: {numbers}", fontsize=19)
    return figure
