"""Pictures of one CartPole agent: its learning curve, its weights, one episode, its spikes, and a film.

Legend: N episodes, T control steps of the episode that is shown, S simulation steps of each.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from l2l_snn.figures import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILLION, new_figure, save, styled
from optimizees.tasks.cartpole import ANGLE, POSITION

FPS = 50  # a control step is 20 ms
MOST = 250  # frames of a film: longer episodes are shown to here
POLE = 1.0  # m, drawn length


@styled
def returns(values: np.ndarray, path: Path, title: str = "Return of each episode of one life") -> Path:
    """Draw the return (N,) of each episode, nan where it was not lived, and its running mean over ten."""
    lived = values[np.isfinite(values)]
    figure, axes = new_figure()
    axes.plot(np.arange(1, len(lived) + 1), lived, "o", color=SKY, markersize=6, label="episode")
    if len(lived) >= 10:
        mean = np.convolve(lived, np.full(10, 0.1), mode="valid")
        axes.plot(np.arange(10, len(lived) + 1), mean, color=BLUE, label="mean of the last ten")
    axes.set(xlabel="episode", ylabel="return (steps)", title=title, ylim=(0, None))
    axes.legend(loc="upper left")
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
    axes.set(xlabel="episode", ylabel="return (steps): median and quartiles", title=title, ylim=(0, None))
    axes.legend(loc="upper left")
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
    panels[0, 0].legend()
    return save(figure, path)


@styled
def episode(state: np.ndarray, action: np.ndarray, path: Path) -> Path:
    """Draw position and angle (T + 1, 4) over an episode, their limits, and the actions (T,)."""
    figure, panels = new_figure(3, 1, sharex=True, gridspec_kw={"height_ratios": (3, 3, 1)})
    for panel, column, limit, label in (
        (panels[0], 0, POSITION, "position (m)"),
        (panels[1], 2, ANGLE, "angle (rad)"),
    ):
        panel.plot(state[:, column], color=BLUE)
        panel.set(ylabel=label, ylim=(-1.15 * limit, 1.15 * limit))
        for sign in (-1, 1):
            panel.axhline(sign * limit, color=VERMILLION, linestyle=":")
    panels[2].step(np.arange(len(action)), action, where="post", color=BLACK, linewidth=1.5)
    panels[2].set(xlabel="control step", yticks=(0, 1), ylim=(-0.2, 1.2))
    panels[2].set_yticklabels(("left", "right"))
    panels[0].set_title(f"One episode with the last weights: {len(action)} steps")
    return save(figure, path)


@styled
def raster(spikes: Mapping[str, np.ndarray], steps: int, step_ms: float, resolution: float, path: Path) -> Path:
    """Draw the spikes (T S, neurons) of each population in the first `steps` control steps, 100 at most."""
    shown = round(min(steps, 100) * step_ms / resolution)
    sizes = [values.shape[1] for values in spikes.values()]
    shares = np.maximum(sizes, 0.14 * sum(sizes))
    figure, panels = new_figure(
        len(spikes), 1, size=(12.0, 8.0), sharex=True, squeeze=False, gridspec_kw={"height_ratios": shares}
    )
    for color, panel, (name, values) in zip((BLUE, GREEN, VERMILLION), panels[:, 0], spikes.items(), strict=True):
        time, neuron = np.nonzero(values[:shown])
        panel.vlines((time + 1) * resolution, neuron - 0.42, neuron + 0.42, colors=color, linewidth=1.0)
        panel.set(xlim=(0, max(shown, 1) * resolution), ylim=(-0.7, values.shape[1] - 0.3))
        panel.set_ylabel(f"{name}\n{len(time):,} spikes", rotation=0, ha="right", va="center")
        panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        panel.grid(axis="y", visible=False)
    panels[-1, 0].set_xlabel("time (ms)")
    figure.suptitle("Spikes of one episode", fontsize=19)
    return save(figure, path)


def animation(state: np.ndarray, action: np.ndarray, motor: np.ndarray, substeps: float, path: Path) -> Path:
    """Write a GIF of the episode's first 250 steps: cart, pole, push, and the spikes of both motor populations.

    Args:
        state: (T + 1, 4).
        action: (T,) 0 left, 1 right.
        motor: (at least T S, 2 M) spikes, of the left population first.
        substeps: S.
        path: the file; its name ends in .gif.
    """
    steps, S = min(len(action), MOST), round(substeps)
    counts = motor[: steps * S].reshape(steps, S, 2, -1).sum(axis=(1, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, show = _film(state, action, counts)
    writer = PillowWriter(fps=FPS)
    with writer.saving(figure, path, dpi=60):
        for step in range(steps):
            show(step)
            writer.grab_frame()
    return path


@styled
def _film(state: np.ndarray, action: np.ndarray, counts: np.ndarray) -> tuple[Figure, object]:
    """Return the film's figure, and the function of a step's number that changes its artists."""
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
    bars.set(xticks=range(2), ylim=(0, 1.05 * max(int(counts.max(initial=0)), 1)), ylabel="spikes")
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
        for bar, height in zip(heights, counts[step], strict=True):
            bar.set_height(height)

    return figure, show
