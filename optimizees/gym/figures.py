"""Pictures of navigation: ways in the arena, spikes of an episode, and how both change with training.

Legend: H actions, B episodes, G points of training.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.patches import Circle

from l2l_snn.results.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, new_figure, save, styled
from optimizees.gym.arena import GOAL, Arena

PATHS = ("first path", "second path", "last path")


@styled
def draw_ways(arena: Arena, rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], path: Path) -> Path:
    """Draw the first, the second and the last path of an episode (004, figure 3C, D), a row for each name.

    Args:
        arena: for the goal's size.
        rows: name -> places (H, 2) before each action, rewards (H,), the goal's place (2,).
        path: the file.
    """
    figure, panels = new_figure(len(rows), 3, size=(11.4, 4.0 * len(rows)), squeeze=False)
    for row, (name, (places, rewards, goal)) in zip(panels, rows.items(), strict=True):
        ends = np.flatnonzero(rewards == GOAL) + 1
        pieces = np.split(places, ends)
        chosen = [pieces[0], pieces[1] if len(ends) > 1 else None, pieces[len(ends) - 1] if len(ends) > 2 else None]
        for axes, title, way in zip(row, PATHS, chosen, strict=True):
            axes.add_patch(Circle((0, 0), 1.0, fill=False, color=BLACK, linewidth=2))
            axes.add_patch(Circle((float(goal[0]), float(goal[1])), arena.goal, color=ORANGE, alpha=0.6, linewidth=0))
            axes.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal", xticks=(), yticks=())
            axes.set_xlabel("no such path" if way is None else f"{arena.action_ms * len(way):.0f} ms")
            if row is panels[0]:
                axes.set_title(title)
            if way is not None:
                axes.plot(*way.T, ".-", color=BLUE, markersize=6, linewidth=1.5)
                axes.plot(*way[0], "o", color=GREEN, markersize=10)
        row[0].set_ylabel(name)
    figure.suptitle("From the green dot to the goal (orange) on the border", fontsize=19)
    return save(figure, path)


@styled
def draw_learning(runs: Mapping[str, Mapping[str, np.ndarray]], optimum: float, path: Path) -> Path:
    """Draw goals an episode and lengths of paths over training (004, figure 3A, B), a thin line a run, a thick mean.

    Args:
        runs: name -> `episodes` (G,), `goals` (G,), `paths` (3, G) ms; the same G in all.
        optimum: ms, the mean length of straight ways, as a dotted line.
        path: the file.
    """
    figure, (left, right) = new_figure(1, 2, size=(14.0, 5.6))
    length = min(len(run["episodes"]) for run in runs.values())
    episodes = next(iter(runs.values()))["episodes"][:length]
    goals = np.stack([run["goals"][:length] for run in runs.values()])
    paths = np.stack([run["paths"][:, :length] for run in runs.values()])
    for run in runs.values():
        left.plot(run["episodes"], run["goals"], color=GREY, linewidth=1)
    left.plot(episodes, goals.mean(axis=0), color=BLACK)
    left.set(xlabel="training episodes", ylabel="goals in an episode of 2 s", ylim=(0, None))
    for k, (name, color) in enumerate(zip(PATHS, (VERMILLION, BLUE, SKY), strict=True)):
        for run in runs.values():
            right.plot(run["episodes"], run["paths"][k], color=color, linewidth=0.8, alpha=0.5)
        right.plot(episodes, np.nanmean(paths[:, k], axis=0), color=color, label=name)
    right.axhline(optimum, color=GREY, linestyle=":", linewidth=2, label="straight to the goal")
    right.set(xlabel="training episodes", ylabel="median length (ms)", ylim=(0, None))
    right.legend()
    return save(figure, path)
