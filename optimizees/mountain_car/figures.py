"""Pictures of one Mountain Car individual: what its outputs say, one episode, its spikes, and a film.

Units are MountainCar-v0's: position on the track (no unit, -1.2 to 0.6), velocity in track units a step.

Legend: T environment steps, n spikes. Actions and output neurons are 0 left, 1 none, 2 right.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from l2l_snn.results.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, new_figure, save, styled
from l2l_snn.validate import check_range, check_shape, message

ACTIONS = ("left", "none", "right")
COLORS = (BLUE, GREY, VERMILLION)  # of the three actions
POSITION = "position (track units)"
VELOCITY = "velocity (track units / step)"
GOAL = 0.5  # position of the flag
FPS = 20  # the film's steps a second
HOLD = 30  # frames that the last picture of the film stays
# the car's outline, track units: along the track, and up from it
CAR = np.array([[-0.11, 0.11, 0.11, 0.06, 0.03, -0.06, -0.1], [0.04, 0.04, 0.1, 0.11, 0.17, 0.17, 0.1]])


def output_maps(
    spike_map: np.ndarray,
    positions: np.ndarray,
    velocities: np.ndarray,
    folder: Path,
    *,
    trajectory: tuple[np.ndarray, np.ndarray] | None = None,
    step_ms: float = 20.0,
) -> list[Path]:
    """Draw how many spikes each output neuron gives for each state of the car, as `output_maps.png` in `folder`.

    Args:
        spike_map: (3, V, X) spikes of each output neuron in one window of `step_ms`.
        positions: (X,) middles, or (X + 1,) edges, of the positions' bins, X >= 2.
        velocities: (V,) middles, or (V + 1,) edges, of the velocities' bins, V >= 2.
        folder: where the file goes.
        trajectory: position (T + 1,) and velocity (T + 1,) of an episode to draw on top.
        step_ms: length of the window, ms.

    Returns:
        The path of the file, in a list.
    """
    figure = draw_output_maps(spike_map, positions, velocities, trajectory, step_ms)
    return [save(figure, Path(folder, "output_maps.png"))]


@styled
def draw_output_maps(
    spike_map: np.ndarray,
    positions: np.ndarray,
    velocities: np.ndarray,
    trajectory: tuple[np.ndarray, np.ndarray] | None = None,
    step_ms: float = 20.0,
) -> Figure:
    """Return the figure that `output_maps` writes."""
    spike_map = check_shape("spike_map", spike_map, (3, None, None))
    x_edges = _find_edges("positions", positions, spike_map.shape[2])
    y_edges = _find_edges("velocities", velocities, spike_map.shape[1])
    highest = max(float(spike_map.max()), 1.0)
    figure, panels = new_figure(1, 3, size=(15.0, 6.0), sharex=True, sharey=True)
    meshes = []
    for panel, name, spikes in zip(panels, ACTIONS, spike_map, strict=True):
        meshes.append(panel.pcolormesh(x_edges, y_edges, spikes, cmap="viridis", vmin=0, vmax=highest))
        panel.axvline(GOAL, color="white", linestyle=":")
        if trajectory is not None:
            position, velocity = trajectory
            panel.plot(position, velocity, color="white", linewidth=4.5)
            panel.plot(position, velocity, color=VERMILLION, linewidth=2.5, label="episode")
            panel.plot(position[:1], velocity[:1], "o", color=VERMILLION, markeredgecolor="white", markersize=13)
        panel.set(xlabel=POSITION, title=name, xlim=(x_edges[0], x_edges[-1]), ylim=(y_edges[0], y_edges[-1]))
        panel.grid(False)
    panels[0].set_ylabel(VELOCITY)
    panels[0].xaxis.set_major_locator(MaxNLocator(5))
    bar = figure.colorbar(meshes[0], ax=panels, pad=0.02)
    bar.set_label(f"spikes in {step_ms:g} ms")
    bar.locator = MaxNLocator(8, integer=True)
    path = "; red: an episode from its start (dot)" if trajectory is not None else ""
    figure.suptitle(f"Spikes of the three output neurons for each state of the car{path}", fontsize=19)
    return figure


def _find_edges(argument: str, values: np.ndarray, bins: int) -> np.ndarray:
    """Return the (bins + 1,) edges of bins that are given by their edges or by their middles."""
    values = check_shape(argument, values, (None,))
    if values.size == bins + 1:
        return values
    if values.size != bins or bins < 2:
        expected = f"{bins} middles (2 or more) or {bins + 1} edges of bins, as in spike_map"
        raise ValueError(message(argument, expected, values.size))
    middle = (values[1:] + values[:-1]) / 2
    return np.concatenate([[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]])


def episode(
    position: np.ndarray,
    velocity: np.ndarray,
    counts: np.ndarray,
    actions: np.ndarray,
    step_ms: float,
    path: Path,
    goal: float = GOAL,
) -> Path:
    """Draw position, velocity, the rates of the three output neurons and the actions over one episode.

    Args:
        position: (T + 1,) before each step and after the last one.
        velocity: (T + 1,) likewise, track units a step.
        counts: (T, 3) spikes of each output neuron in each step.
        actions: (T,) 0 left, 1 none, 2 right.
        step_ms: simulated time of one step, ms.
        path: the file to write.
        goal: position of the flag.

    Returns:
        The path.
    """
    return save(draw_episode(position, velocity, counts, actions, step_ms, goal), path)


@styled
def draw_episode(
    position: np.ndarray,
    velocity: np.ndarray,
    counts: np.ndarray,
    actions: np.ndarray,
    step_ms: float = 20.0,
    goal: float = GOAL,
) -> Figure:
    """Return the figure that `episode` writes."""
    position, velocity, counts, actions = _check_episode(position, velocity, counts, actions)
    check_range("step_ms", step_ms, 0.0, open_low=True)
    steps = len(actions)
    edges = np.arange(steps + 1)
    rates = counts / (step_ms / 1000.0)  # (T, 3) Hz
    figure, panels = new_figure(
        6, 1, size=(12.0, 10.0), sharex=True, gridspec_kw={"height_ratios": [2.4, 1.7, 1.0, 1.0, 1.0, 0.35]}
    )
    panels[0].plot(edges, position, color=BLACK)
    panels[0].axhline(goal, color=GREEN, linestyle="--")
    panels[0].annotate("flag", (0, goal), (4, -4), textcoords="offset points", va="top", color=GREEN, fontweight="bold")
    panels[0].set(ylabel="position\n(track units)", ylim=(min(-1.25, position.min()), max(0.65, position.max())))
    panels[1].axhline(0.0, color=GREY, linewidth=1.5)
    panels[1].plot(edges, velocity, color=BLACK)
    panels[1].set(ylabel="velocity\n(units / step)")
    top = 1.08 * max(rates.max(), 1.0)
    for panel, name, color, rate in zip(panels[2:5], ACTIONS, COLORS, rates.T, strict=True):
        panel.stairs(rate, edges, color=color, fill=True)
        panel.set(ylabel=f"{name}\n(Hz)", ylim=(0.0, top))
        panel.yaxis.set_major_locator(MaxNLocator(2))
    strip = panels[5]
    norm = BoundaryNorm([-0.5, 0.5, 1.5, 2.5], 3)
    strip.pcolormesh(edges, [0.0, 1.0], actions[None, :], cmap=ListedColormap(COLORS), norm=norm)
    strip.set(yticks=[], xlabel=f"environment step ({step_ms:g} ms each)", xlim=(0, steps))
    strip.set_ylabel("action", rotation=0, ha="right", va="center")
    strip.grid(False)
    figure.align_ylabels(panels[:5])
    handles = [Patch(color=color, label=name) for name, color in zip(ACTIONS, COLORS, strict=True)]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title="output neuron, and action taken")
    panels[0].set_title(f"One episode: {_describe_outcome(position, goal)}")
    return figure


def _check_episode(position: Any, velocity: Any, counts: Any, actions: Any) -> tuple[np.ndarray, ...]:
    """Return an episode's four arrays once their shapes agree."""
    actions = check_shape("actions", actions, (None,))
    steps = len(actions)
    if not steps or not np.isin(actions, (0, 1, 2)).all():
        raise ValueError(message("actions", "one or more of 0 (left), 1 (none), 2 (right)", np.unique(actions)))
    return (
        check_shape("position", position, (steps + 1,), "one before each action and one after the last"),
        check_shape("velocity", velocity, (steps + 1,), "one before each action and one after the last"),
        check_shape("counts", counts, (steps, 3)),
        actions,
    )


def _describe_outcome(position: np.ndarray, goal: float) -> str:
    """Return whether and when the flag was reached, in words."""
    reached = np.flatnonzero(position >= goal)
    if reached.size:
        return f"flag reached in {reached[0]} steps"
    return f"flag not reached in {len(position) - 1} steps (highest position {position.max():.2f})"


def hill(position: Any) -> Any:
    """Return the height of MountainCar-v0's track at a position of any shape, as gymnasium draws it."""
    return 0.45 * np.sin(3.0 * np.asarray(position)) + 0.55


def animation(
    position: np.ndarray, velocity: np.ndarray, counts: np.ndarray, actions: np.ndarray, path: Path, goal: float = GOAL
) -> Path:
    """Write a GIF of an episode: the car on its hill, and the output neurons' spikes in each step.

    The film has T + 1 frames, one for each state; the last one, without spikes, stays for a while.

    Args:
        position: (T + 1,) before each step and after the last one.
        velocity: (T + 1,) likewise, track units a step.
        counts: (T, 3) spikes of each output neuron in each step.
        actions: (T,) 0 left, 1 none, 2 right.
        path: the file to write; its name ends in .gif.
        goal: position of the flag.

    Returns:
        The path.
    """
    position, velocity, counts, actions = _check_episode(position, velocity, counts, actions)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, show = _make_film(position, velocity, counts, actions, goal)
    writer = PillowWriter(fps=FPS)
    with writer.saving(figure, path, dpi=80):
        for step in range(len(position)):
            show(step)
            writer.grab_frame()
        for _ in range(HOLD):  # equal frames become one that lasts longer
            writer.grab_frame()
    return path


@styled
def _make_film(
    position: np.ndarray, velocity: np.ndarray, counts: np.ndarray, actions: np.ndarray, goal: float
) -> tuple[Figure, Any]:
    """Return the film's figure, and the function of a step's number that changes its artists."""
    figure = Figure(figsize=(6.0, 4.0))  # no constrained layout: it would be solved anew for each frame
    track = figure.add_axes((0.03, 0.04, 0.63, 0.78))
    bars = figure.add_axes((0.76, 0.19, 0.22, 0.56))
    x = np.linspace(-1.2, 0.6, 200)
    track.fill_between(x, hill(x), -0.1, color="#DDDDDD", linewidth=0)
    track.plot(x, hill(x), color=BLACK)
    foot = float(hill(goal))
    track.plot([goal, goal], [foot, foot + 0.25], color=BLACK)
    track.fill([goal, goal - 0.16, goal], [foot + 0.25, foot + 0.19, foot + 0.13], color=GREEN)
    (car,) = track.fill(*CAR, color=ORANGE, edgecolor=BLACK, zorder=5)
    (wheels,) = track.plot([], [], "o", color=BLACK, markersize=8, zorder=6)
    (arrow,) = track.plot([], [], color=VERMILLION, linewidth=5, zorder=4)
    track.set(xlim=(-1.25, 0.65), ylim=(-0.1, 1.35))
    track.axis("off")
    heights = bars.bar(range(3), [0, 0, 0], color=COLORS)
    bars.set(xticks=range(3), ylim=(0, 1.05 * max(int(counts.max()), 1)), ylabel="spikes")
    bars.set_xticklabels(("left", "none", "right"), fontsize=14, rotation=45)
    bars.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    bars.grid(axis="x", visible=False)
    text = figure.text(0.03, 0.97, "", va="top", fontsize=15, linespacing=1.3)
    outcome = _describe_outcome(position, goal)

    def show(step: int) -> None:
        acts = step < len(actions)
        push = int(actions[step]) - 1 if acts else 0
        angle = np.arctan(1.35 * np.cos(3.0 * position[step]))  # the slope of the hill

        def placed(along: Any, up: Any) -> np.ndarray:
            x = position[step] + np.cos(angle) * np.asarray(along) - np.sin(angle) * np.asarray(up)
            return np.array(
                [x, hill(position[step]) + np.sin(angle) * np.asarray(along) + np.cos(angle) * np.asarray(up)]
            )

        car.set_xy(placed(*CAR).T)
        wheels.set_data(*placed([-0.06, 0.06], [0.03, 0.03]))
        arrow.set_data(*placed([0.1 * push, 0.3 * push], [0.08, 0.08]))
        then = ("push left", "no push", "push right")[push + 1] if acts else outcome
        speed = f"{velocity[step]:+.3f}".replace("-", "\N{MINUS SIGN}")
        text.set_text(f"step {step} of {len(actions)}, velocity {speed} / step\n{then}")
        for bar, height in zip(heights, counts[step] if acts else (0, 0, 0), strict=True):
            bar.set_height(height)

    return figure, show
