"""Rasters: the spikes of an episode as ticks, one panel a layer.

Legend: n spikes, T simulation steps.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from l2l_snn.results.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, new_figure, save, styled
from l2l_snn.validate import check_range, check_shape, message


def raster(
    times: np.ndarray,
    neurons: np.ndarray,
    layers: Mapping[str, tuple[int, int]],
    duration: float,
    path: Path,
    *,
    title: str = "Spikes of one episode",
    step_ms: float | None = None,
) -> Path:
    """Draw each spike of an episode as a tick, one panel a layer.

    Args:
        times: (n,) ms.
        neurons: (n,) index of the neuron that fired.
        layers: name -> (first, last) index of its neurons, both included; a panel each, from the top.
        duration: end of the time axis, ms.
        path: the file to write.
        title: the subject.
        step_ms: length of a step of the environment, ms; given, an axis above counts these steps.

    Returns:
        The path.
    """
    return save(draw_raster(times, neurons, layers, duration, title, step_ms), path)


@styled
def draw_raster(
    times: np.ndarray,
    neurons: np.ndarray,
    layers: Mapping[str, tuple[int, int]],
    duration: float,
    title: str = "Spikes of one episode",
    step_ms: float | None = None,
) -> Figure:
    """Return the figure that `raster` writes."""
    times = check_shape("times", times, (None,))
    neurons = check_shape("neurons", neurons, times.shape, "one for each spike time")
    check_range("duration", duration, 0.0, open_low=True)
    if not layers:
        raise ValueError(message("layers", "at least one name: (first, last)", "none"))
    sizes = np.array([last - first + 1 for first, last in layers.values()])
    if (sizes < 1).any():
        raise ValueError(message("layers", "first <= last", dict(layers)))
    shares = np.maximum(sizes, 0.14 * sizes.sum())  # a layer of 3 stays visible beside one of 60
    figure, panels = new_figure(
        len(layers), 1, size=(12.0, 8.0), sharex=True, squeeze=False, gridspec_kw={"height_ratios": shares}
    )
    colors = (BLUE, GREEN, VERMILLION, PURPLE, ORANGE, SKY, BLACK)
    for row, (panel, (name, (first, last))) in enumerate(zip(panels[:, 0], layers.items(), strict=True)):
        mine = (neurons >= first) & (neurons <= last)
        panel.vlines(times[mine], neurons[mine] - 0.42, neurons[mine] + 0.42, colors=colors[row % 7], linewidth=1.2)
        panel.set(xlim=(0.0, duration), ylim=(first - 0.7, last + 0.7))
        panel.set_ylabel(f"{name}\n{mine.sum():,} spikes", rotation=0, ha="right", va="center")
        few = int(np.clip(6 * shares[row] / shares.max(), 2, 6))
        panel.set_yticks(sorted({int(k) for k in np.linspace(first, last, min(few, int(sizes[row]))).round()}))
        panel.grid(axis="y", visible=False)
    panels[-1, 0].set_xlabel("time (ms)")
    figure.suptitle(title, fontsize=19)
    figure.supylabel("neuron", fontsize=17)
    if step_ms is not None:
        above = panels[0, 0].secondary_xaxis("top", functions=(lambda t: t / step_ms, lambda k: k * step_ms))
        above.set_xlabel("environment step")
    return figure


def trains_raster(trains: Mapping[str, np.ndarray], dt: float, path: Path) -> Path:
    """Draw spike trains (T, neurons) of each layer, numbered through; a step has `dt` ms. See `raster`."""
    ends = np.cumsum([train.shape[1] for train in trains.values()])
    starts = [0, *ends[:-1]]
    layers = {name: (int(start), int(end) - 1) for name, start, end in zip(trains, starts, ends, strict=True)}
    spikes = [np.nonzero(train) for train in trains.values()]
    times = np.concatenate([(time + 1) * dt for time, _ in spikes])
    neurons = np.concatenate([neuron + first for (_, neuron), (first, _) in zip(spikes, layers.values(), strict=True)])
    return raster(times, neurons, layers, max(1, *map(len, trains.values())) * dt, path)
