"""Pictures of classification: what a network does with an example. Legend: T steps, n neurons, K classes."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from matplotlib.figure import Figure

from l2l_snn.results.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, new_figure, save, styled
from l2l_snn.snn.surrogate import gaussian, heaviside, polynomial, rectangular, sigmoid


def example(shown: Mapping[str, np.ndarray], path: Path) -> Path:
    """Draw what a network did with one example: spikes layer by layer, the readout's softmax as a map.

    Args:
        shown: name -> (T, n) spikes; "readout": (T, K) probabilities.
        path: the file to write.

    Returns:
        The path.
    """
    return save(draw_example(shown), path)


@styled
def draw_example(shown: Mapping[str, np.ndarray]) -> Figure:
    """Return the figure that `example` writes."""
    figure, panels = new_figure(len(shown), 1, size=(14.0, 2.8 * len(shown)), sharex=True, squeeze=False)
    for (name, values), panel in zip(shown.items(), panels[:, 0], strict=True):
        panel.set_ylabel(name)
        if name == "readout":
            panel.imshow(values.T, aspect="auto", origin="lower", vmin=0, vmax=1, interpolation="nearest")
            panel.grid(False)
            continue
        step, neuron = np.nonzero(values)
        panel.plot(step, neuron, "|", color=BLACK, markersize=3)
        panel.set_ylim(-1, max(values.shape[1], 1))
    panels[-1, 0].set(xlabel="step", xlim=(0, len(next(iter(shown.values())))))
    figure.suptitle("What the network did with one example")
    return figure


def curves(path: Path) -> Path:
    """Draw a spike over the potential, and the four curves that stand for its derivative (figure 6 of Labady 2023).

    Args:
        path: the file to write.

    Returns:
        The path.
    """
    return save(draw_curves(), path)


@styled
def draw_curves() -> Figure:
    """Return the figure that `curves` writes; widths are those of the printed equations with every a = 1."""
    figure, (left, right) = new_figure(1, 2, size=(14.0, 5.5))
    v = np.linspace(-3, 3, 601)
    left.plot(v, np.asarray(heaviside(v)), color=BLACK, label="spike")
    left.vlines(0.0, 0.0, 1.2, color=VERMILLION, label="its derivative: 0 but at threshold")
    left.hlines(0.0, -3, 3, color=VERMILLION)
    named = (("h1 rectangular", rectangular()), ("h2 polynomial", polynomial()), ("h3 sigmoid", sigmoid()))
    for (name, spike), color in zip((*named, ("h4 Gaussian", gaussian())), (BLUE, ORANGE, GREEN, GREY), strict=True):
        right.plot(v, np.asarray(jax.vmap(jax.grad(spike))(v)), color=color, label=name)
    for panel, title in ((left, "A: the spike"), (right, "B: in place of its derivative")):
        panel.set(xlabel="u - V_th", title=title)
        panel.legend(loc="center left" if panel is left else "upper right")
    return figure


def connections(shares: Mapping[str, float], path: Path) -> Path:
    """Draw who connects to whom after rewiring (as Bellec et al. 2018, section 4, show it).

    Args:
        shares: "X+ to E" -> share of the places from sources of that sign, or neurons of that kind, to the others that
            are connected; pairs that are left out have no places.
        path: the file to write.

    Returns:
        The path.
    """
    return save(draw_connections(shares), path)


@styled
def draw_connections(shares: Mapping[str, float]) -> Figure:
    """Return the figure that `connections` writes."""
    pairs = {tuple(pair.split(" to ")): 100 * share for pair, share in shares.items()}
    rows, columns = (list(dict.fromkeys(pair[i] for pair in pairs)) for i in (0, 1))
    percent = np.array([[pairs.get((row, column), np.nan) for column in columns] for row in rows])
    figure, panel = new_figure(size=(7.0, 6.0))
    image = panel.imshow(percent, cmap="Blues", vmin=0)
    for (i, j), value in np.ndenumerate(percent):
        if np.isfinite(value):
            shade = "white" if value > 0.6 * np.nanmax(percent) else BLACK
            panel.text(j, i, f"{value:.1f}", ha="center", va="center", color=shade)
    panel.set(xlabel="to", ylabel="from", title="connected places, %")
    panel.set_xticks(range(len(columns)), columns)
    panel.set_yticks(range(len(rows)), rows)
    panel.grid(False)
    figure.colorbar(image, ax=panel)
    return figure
