"""Pictures of one episode of CartPole: position and angle with their limits, and a film.

Legend: A actions, T control steps of the episode.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure

from l2l_snn.results.figures import BLACK, BLUE, GREEN, ORANGE, VERMILLION, new_figure, save, styled
from optimizees.agent.figures import Episode, draw_actions
from optimizees.cartpole.task import ANGLE, POSITION

FPS = 50  # a control step is 20 ms
MOST = 250  # frames of a film: longer episodes are shown to here
POLE = 1.0  # m, drawn length


@styled
def episode(lived: Episode, path: Path) -> Path:
    """Draw position and angle over an episode, their limits, and the actions."""
    state, action = lived.observed, lived.action
    figure, panels = new_figure(3, 1, sharex=True, gridspec_kw={"height_ratios": (3, 3, 1)})
    for panel, column, limit, label in (
        (panels[0], 0, POSITION, "position (m)"),
        (panels[1], 2, ANGLE, "angle (rad)"),
    ):
        panel.plot(state[:, column], color=BLUE)
        panel.set(ylabel=label, ylim=(-1.15 * limit, 1.15 * limit))
        for sign in (-1, 1):
            panel.axhline(sign * limit, color=VERMILLION, linestyle=":")
    draw_actions(panels[2], action)
    panels[2].set(xlabel="control step", yticks=(0, 1), ylim=(-0.2, 1.2))
    panels[2].set_yticklabels(("left", "right"))
    panels[0].set_title(f"One episode with the last weights: {len(action)} steps")
    return save(figure, path)


def animation(lived: Episode, path: Path) -> Path:
    """Write a GIF of the episode's first 250 steps: cart, pole, push, and the activity of both motor populations."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, show = _make_film(lived)
    writer = PillowWriter(fps=FPS)
    with writer.saving(figure, path, dpi=60):
        for step in range(min(len(lived.action), MOST)):
            show(step)
            writer.grab_frame()
    return path


@styled
def _make_film(lived: Episode) -> tuple[Figure, Any]:
    """Return the film's figure, and the function of a step's number that changes its artists."""
    state, action, activity = lived
    figure = Figure(figsize=(7.0, 4.0))  # no constrained layout: it would be solved anew for each frame
    track = figure.add_axes((0.03, 0.08, 0.68, 0.72))
    bars = figure.add_axes((0.8, 0.19, 0.18, 0.56))
    track.plot([-POSITION, POSITION], [0, 0], color=BLACK)
    (cart,) = track.plot([], [], color=ORANGE, linewidth=14, solid_capstyle="butt")
    (pole,) = track.plot([], [], color=BLUE, linewidth=6, solid_capstyle="round")
    (push,) = track.plot([], [], color=VERMILLION, linewidth=5)
    track.set(xlim=(-POSITION - 0.3, POSITION + 0.3), ylim=(-0.3, 1.4))
    track.axis("off")
    heights = bars.bar(range(2), [0, 0], color=(GREEN, VERMILLION))
    bars.set(xticks=range(2), ylim=(0, 1.05 * max(activity.max(initial=0), 0.1)), ylabel="spikes")
    bars.set_xticklabels(("left", "right"))
    bars.grid(axis="x", visible=False)
    text = figure.text(0.03, 0.97, "", va="top", fontsize=15)

    def show(step: int) -> None:
        x, _, angle, _ = state[step]
        sign = 1 if action[step] == 1 else -1
        cart.set_data([x - 0.25, x + 0.25], [0.07, 0.07])
        pole.set_data([x, x + POLE * np.sin(angle)], [0.14, 0.14 + POLE * np.cos(angle)])
        push.set_data([x + 0.28 * sign, x + 0.55 * sign], [0.07, 0.07])
        text.set_text(f"step {step} of {len(action)}")
        for bar, height in zip(heights, activity[step], strict=True):
            bar.set_height(height)

    return figure, show
