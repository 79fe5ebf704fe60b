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
