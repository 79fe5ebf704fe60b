"""Pictures of hybrid networks: what one does with an example. Legend: T steps, n signals, H rows, W columns."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from l2l_snn.results.figures import BLACK, BLUE, COLORS, new_figure, save, styled

LABELS = {
    "hidden": "neuron",
    "events": "pixel with an event",
    "spikes": "spiking neuron",
    "frames": "frames",
    "scene": "scene",
    "position": "position (px)",
    "thresholds": "threshold",
    "activity": "spikes a step",
    "scores": "score",
}


def example(shown: Mapping[str, np.ndarray], path: Path) -> Path:
    """Draw what a network got and did with one example, and return the path.

    Args:
        shown: "hidden", "events", "spikes": (T, n) in {0, 1}; "frames": (F, H, W); "scene": (H, W, 3) in [0, 1];
            "position": (T, 2) with the "true" one; "thresholds", "activity", "scores": (n,).
        path: the file to write.
    """
    return save(draw_example(shown), path)


@styled
def draw_example(shown: Mapping[str, np.ndarray]) -> Figure:
    """Return the figure that `example` writes."""
    names = [name for name in LABELS if name in shown]
    figure, panels = new_figure(len(names), 1, size=(12.0, 3.0 * len(names)), squeeze=False)
    for name, panel in zip(names, panels[:, 0], strict=True):
        values = np.asarray(shown[name])
        panel.set_ylabel(LABELS[name])
        if name in ("frames", "scene"):
            draw_images(panel, values if name == "frames" else values[None])
        elif name in ("thresholds", "activity", "scores"):
            panel.plot(values, ".", color=BLACK, markersize=4)
            panel.set_xlabel("answer" if name == "scores" else "neuron")
        elif name == "position":
            draw_course(panel, shown["true"], values)
        else:
            draw_spikes(panel, values)
    figure.suptitle("What the network did with one example")
    return figure


def draw_images(panel: Any, images: np.ndarray) -> None:
    """Draw images (F, H, W) or (F, H, W, 3) side by side."""
    line = np.concatenate([np.pad(one, [(0, 0), (0, 1)] + [(0, 0)] * (one.ndim - 2)) for one in images], axis=1)
    panel.imshow(line, cmap="gray", interpolation="nearest")
    panel.set(xticks=[], yticks=[])
    panel.grid(False)


def draw_spikes(panel: Any, spikes: np.ndarray) -> None:
    """Draw spikes (T, n) as ticks over steps."""
    step, neuron = np.nonzero(spikes)
    panel.plot(step, neuron, "|", color=BLACK, markersize=3)
    panel.set(xlim=(-0.5, len(spikes) - 0.5), ylim=(-1, max(spikes.shape[1], 1)), xlabel="step")


def draw_course(panel: Any, true: np.ndarray, *found: np.ndarray, names: tuple[str, ...] = ("network",)) -> None:
    """Draw where the digit was (T, 2) and where networks say it was, right of the middle."""
    panel.plot(true[:, 0], color=BLACK, label="digit, right")
    for course, name, color in zip(found, names, COLORS, strict=False):
        panel.plot(course[:, 0], color=color or BLUE, label=name, linewidth=2)
    panel.set(xlabel="step")
    panel.legend(ncols=len(found) + 1)
