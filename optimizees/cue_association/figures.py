"""Pictures of cue association: figures 1, 2 and A1-A4 of Schmidgall et al. 2021.

Legend: T steps of 1 ms, I intervals between updates of the traces, G generations (training iterations), S seeds.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from l2l_snn.results.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, new_figure, save, styled
from l2l_snn.validate import check_shape, message
from optimizees.cue_association.trials import LEFT, RIGHT, Schedule

SIDES = {"left": BLUE, "right": VERMILLION}
INPUTS = {**SIDES, "decision": GREEN, "noise": GREY}
RULES = {
    "none": ("plain SNN", GREY),
    "decay": ("DP-linear decay", ORANGE),
    "oja": ("DP-Oja", GREEN),
    "oja_1982": ("DP-Oja, 1982", PURPLE),
    "bcm": ("DP-BCM", SKY),
    "nd_oja": ("NDP-Oja", VERMILLION),
    "nd_bcm": ("NDP-BCM", BLUE),
}


def trial(
    shown: Mapping[str, np.ndarray], schedule: Schedule, delta_tau: float, v_th: float, title: str, path: Path
) -> Path:
    """Draw one trial: spikes of all neurons, output potentials and rates, modulatory signals.

    Args:
        shown: one trial of what `CueAssociation.watch` returns.
        schedule: of the task.
        delta_tau: interval between updates, ms.
        v_th: threshold, mV.
        title: which network.
        path: the file to write.

    Returns:
        The path.
    """
    return save(draw_trial(shown, schedule, delta_tau, v_th, title), path)


@styled
def draw_trial(
    shown: Mapping[str, np.ndarray], schedule: Schedule, delta_tau: float, v_th: float, title: str
) -> Figure:
    """Return the figure that `trial` writes."""
    steps = shown["inputs"].shape[0]
    modulated = bool(np.any(shown["modulation_hidden"]))
    heights = [3.2, 1.4, 1.2, *[1.2] * modulated]
    figure, panels = new_figure(
        len(heights), 1, size=(13.0, 3.2 * len(heights)), sharex=True, gridspec_kw={"height_ratios": heights}
    )
    rows = (_draw_raster, _draw_potentials, _draw_rates, *[_draw_modulation] * modulated)
    for panel, row in zip(panels, rows, strict=True):
        row(panel, shown, schedule, delta_tau)
    panels[1].axhline(v_th, color=GREY, linestyle="--", linewidth=1.5)
    panels[-1].set(xlabel="time (ms)", xlim=(0, steps))
    chosen = shown["probability"]
    right = int((shown["cues"] == RIGHT).sum() > (shown["cues"] == LEFT).sum())
    answer, odds = tuple(SIDES)[right], f"{100 * chosen[right]:.0f} %"
    panels[0].set_title(f"{title}: more cues {answer}, chosen with probability {odds}")
    return figure


def _shade_intervals(panel: Any, shown: Mapping[str, np.ndarray], schedule: Schedule) -> None:
    """Shade cues in their side's colour, and the decision interval."""
    for i, cue in enumerate(shown["cues"]):
        if cue in (LEFT, RIGHT):
            begin = i * (schedule.cue + schedule.gap)
            panel.axvspan(begin, begin + schedule.cue, color=tuple(SIDES.values())[int(cue)], alpha=0.13, linewidth=0)
    deciding = np.flatnonzero(shown["deciding"])
    if deciding.size:
        panel.axvspan(deciding[0], deciding[-1] + 1, color=GREEN, alpha=0.10, linewidth=0)
    panel.grid(axis="y", visible=False)


def _draw_raster(panel: Any, shown: Mapping[str, np.ndarray], schedule: Schedule, delta_tau: float) -> None:
    _shade_intervals(panel, shown, schedule)
    spikes = np.concatenate([shown["inputs"], shown["hidden"], shown["out"]], axis=1) > 0  # (T, neurons)
    group, hidden = schedule.group, shown["hidden"].shape[1]
    colors = [color for color in INPUTS.values() for _ in range(group)] + [BLACK] * hidden + list(SIDES.values())
    for neuron, color in enumerate(colors):
        times = np.flatnonzero(spikes[:, neuron])
        panel.vlines(times + 0.5, neuron - 0.4, neuron + 0.4, color=color, linewidth=0.8)
    edges = [*(group * i for i in range(5)), 4 * group + hidden, len(colors)]
    panel.set_yticks([(low + high - 1) / 2 for low, high in pairwise(edges)])
    panel.set_yticklabels([*INPUTS, "hidden", "output"])
    for edge in edges[1:-1]:
        panel.axhline(edge - 0.5, color=BLACK, linewidth=0.8)
    panel.set_ylim(-0.5, len(colors) - 0.5)


def _draw_potentials(panel: Any, shown: Mapping[str, np.ndarray], schedule: Schedule, delta_tau: float) -> None:
    _shade_intervals(panel, shown, schedule)
    for (side, color), u in zip(SIDES.items(), shown["potential"].T, strict=True):
        panel.plot(np.arange(len(u)) + 1, u, color=color, linewidth=1.5, label=side)
    panel.set_ylabel("output\npotential (mV)")
    panel.legend(loc="upper left", ncols=2)


def _draw_rates(panel: Any, shown: Mapping[str, np.ndarray], schedule: Schedule, delta_tau: float) -> None:
    _shade_intervals(panel, shown, schedule)
    counts = shown["out"].reshape(-1, round(delta_tau), 2).sum(axis=1)  # (I, 2)
    for color, count in zip(SIDES.values(), counts.T, strict=True):
        panel.stairs(1000.0 * count / delta_tau, np.arange(len(count) + 1) * delta_tau, color=color, linewidth=3)
    panel.set_ylabel("output\nrate (Hz)")


def _draw_modulation(panel: Any, shown: Mapping[str, np.ndarray], schedule: Schedule, delta_tau: float) -> None:
    _shade_intervals(panel, shown, schedule)
    time = (np.arange(len(shown["modulation_hidden"])) + 1) * delta_tau
    panel.plot(time, shown["modulation_hidden"], color=GREY, linewidth=0.6, alpha=0.7)
    for color, m in zip(SIDES.values(), shown["modulation_out"].T, strict=True):
        panel.plot(time, m, color=color, linewidth=3)
    panel.set_ylabel("modulation M\n(hidden grey)")


def modulation(cases: Mapping[str, Mapping[str, np.ndarray]], schedule: Schedule, delta_tau: float, path: Path) -> Path:
    """Draw modulatory signals and plastic weights in several trials side by side (figures A1-A4).

    Args:
        cases: name -> one trial of what `CueAssociation.watch` returns.
        schedule: of the task.
        delta_tau: interval between updates, ms.
        path: the file to write.

    Returns:
        The path.
    """
    return save(draw_modulation(cases, schedule, delta_tau), path)


@styled
def draw_modulation(cases: Mapping[str, Mapping[str, np.ndarray]], schedule: Schedule, delta_tau: float) -> Figure:
    """Return the figure that `modulation` writes."""
    if not cases:
        raise ValueError(message("cases", "at least one name: trial", "none"))
    figure, panels = new_figure(3, len(cases), size=(5.0 * len(cases), 11.0), sharex=True, sharey="row", squeeze=False)
    for column, (name, shown) in zip(panels.T, cases.items(), strict=True):
        time = (np.arange(len(shown["modulation_out"])) + 1) * delta_tau
        for panel in column:
            _shade_intervals(panel, shown, schedule)
        for (side, color), m in zip(SIDES.items(), shown["modulation_out"].T, strict=True):
            column[0].plot(time, m, color=color, label=side)
        column[1].plot(time, shown["modulation_hidden"], color=GREY, linewidth=0.8)
        for layer, color in (("hidden", PURPLE), ("out", BLACK)):
            column[2].plot(time, shown[f"plasticity_{layer}"], color=color, label=layer)
        column[0].set_title(name)
        column[2].set(xlabel="time (ms)", xlim=(0, len(shown["inputs"])))
    for panel, label in zip(panels[:, 0], ("M, output", "M, hidden neurons", "mean |\u03b1 E| (mV)"), strict=True):
        panel.set_ylabel(label)
    panels[0, 0].legend(loc="best")
    panels[2, 0].legend(loc="best")
    return figure


def learning(curves: Mapping[str, list[np.ndarray]], goal: float, label: str, title: str, path: Path) -> Path:
    """Draw a quantity over training iterations, one thin line a seed and a thick one for their median (figure 2).

    A run that reached the goal has ended; in the median it keeps its last value.

    Args:
        curves: rule -> (G,) a seed.
        goal: drawn as a line; nan: none.
        label: of the y axis.
        title: which noise level.
        path: the file to write.

    Returns:
        The path.
    """
    return save(draw_learning(curves, goal, label, title), path)


@styled
def draw_learning(curves: Mapping[str, list[np.ndarray]], goal: float, label: str, title: str) -> Figure:
    """Return the figure that `learning` writes."""
    if not any(curves.values()):
        raise ValueError(message("curves", "at least one rule: (G,) values a seed", "none"))
    figure, axes = new_figure()
    for rule, seeds in curves.items():
        if not seeds:
            continue
        name, color = RULES[rule]
        smoothed = [_smooth_values(check_shape(f"curves[{rule}]", values, (None,))) for values in seeds]
        longest = max(len(values) for values in smoothed)
        kept = np.stack([np.pad(values, (0, longest - len(values)), mode="edge") for values in smoothed])  # (S, G)
        for values in smoothed:
            axes.plot(np.arange(len(values)) + 1, values, color=color, linewidth=0.8, alpha=0.5)
        axes.plot(np.arange(longest) + 1, np.median(kept, axis=0), color=color, linewidth=3.5, label=name)
    if np.isfinite(goal):
        axes.axhline(goal, color=BLACK, linestyle=":", linewidth=2)
    axes.set(xlabel="training iteration", ylabel=label, title=title)
    figure.legend(loc="outside right center")
    return figure


def _smooth_values(values: np.ndarray, width: int = 10) -> np.ndarray:
    """Return the mean of the last `width` values, or of as many as there are."""
    total = np.cumsum(np.insert(values, 0, 0.0))
    end = np.arange(1, len(total))
    begin = np.maximum(end - width, 0)
    return (total[end] - total[begin]) / (end - begin)
