"""A film of the arm with its muscles, spikes and activations. Legend: as in `figures.py`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

from l2l_snn.body import Limb
from l2l_snn.results.figures import BLACK, GREY, styled
from optimizees.arm.figures import MUSCLES, POPULATIONS

FPS = 25


def animation(limb: Limb, case: Mapping[str, np.ndarray], path: Path) -> Path:
    """Write a GIF of the arm with its muscles, spikes and activations beside it, of the first 2.5 s.

    Args:
        limb: the arm; of several hinges the first is drawn.
        case: as of `figures.behaviour`.
        path: the file to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    step = limb.skeleton.timestep
    stride = max(1, round(1 / FPS / step))
    figure, show = _make_film(limb, case)
    writer = PillowWriter(fps=FPS)
    with writer.saving(figure, path, dpi=60):
        for t in range(0, min(len(case["q"]), round(2.5 / step)), stride):
            show(t)
            writer.grab_frame()
    return path


@styled
def _make_film(limb: Limb, case: Mapping[str, np.ndarray]) -> tuple[Figure, Any]:
    """Return a film's figure and the function of a step that changes its artists."""
    figure = Figure(figsize=(12.0, 6.0), dpi=60)
    ground = figure.add_axes((0.02, 0.05, 0.42, 0.9))
    spikes, levels = figure.add_axes((0.55, 0.45, 0.42, 0.5)), figure.add_axes((0.55, 0.12, 0.42, 0.26))
    strands = limb.skeleton.strands[:2]
    rod = 2 * limb.skeleton.centre[2]
    ground.set(xlim=(-1.1 * rod, 1.1 * rod), ylim=(-0.2 * rod, 1.15 * rod), aspect="equal", xticks=[], yticks=[])
    ground.axhline(0, color=GREY)
    ground.grid(visible=False)
    muscles = [ground.plot([], [], color=color)[0] for color, _ in zip(MUSCLES, strands, strict=False)]
    (arm,) = ground.plot([], [], color=BLACK, linewidth=8, solid_capstyle="round")
    text = ground.text(0, 1.08 * rod, "", ha="center")
    time = limb.skeleton.timestep * np.arange(1, len(case["q"]) + 1)
    row = 0  # of the raster, from below
    for name, apart, size in (("motor", 8, 6), ("sensory", 8, 6), ("reservoir", 1, 3)):
        when, neuron = np.nonzero(case[name])
        spikes.plot(time[when], row + apart * neuron, "|", color=POPULATIONS[name], markersize=size)
        row += apart * case[name].shape[1] + 8
    spikes.set(xlim=(0, 1), yticks=[], ylabel="motor, sensory,\nreservoir")
    for color, level in zip(MUSCLES, case["level"].T, strict=False):
        levels.plot(time, level, color=color, linewidth=2)
    levels.set(xlim=(0, 1), ylim=(0, 1.05), xlabel="time (s)", ylabel="activation")
    now = [axes.axvline(0, color=BLACK, linewidth=1) for axes in (spikes, levels)]

    def show(t: int) -> None:
        q = float(case["q"][t, 0])
        arm.set_data([0, rod * np.sin(q)], [0, rod * np.cos(q)])
        for line, strand, level in zip(muscles, strands, case["level"][t], strict=False):
            end = strand.arm[2]
            line.set_data([strand.ground[0], end * np.sin(q)], [0, end * np.cos(q)])
            line.set_linewidth(2 + 8 * level)
        text.set_text(f"{np.degrees(q):.0f}\u00b0 after {time[t]:.2f} s")
        left = max(0.0, time[t] - 0.8)
        for axes, line in zip((spikes, levels), now, strict=True):
            axes.set_xlim(left, left + 1)
            line.set_xdata([time[t]] * 2)

    return figure, show
