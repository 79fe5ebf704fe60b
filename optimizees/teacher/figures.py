"""Pictures of a network that learns from a teacher: its error over examples, its internal model, its spikes.

As in figure 2 of 004 (D, E, H, I). Legend: E examples, I inputs, N neurons, S steps of 1 ms an example.
"""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from l2l_snn.evaluation import Evaluation
from l2l_snn.results.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILLION, new_figure, save, styled
from optimizees.teacher.functions import Episodes, backpropagation_predictions, sample_episodes
from optimizees.teacher.learner import Learner

MODELS = (1, 2, 4, 7, 10, 20)  # numbers of examples after which the internal model is shown
GRID = 21  # points along each input


def draw(teacher: Any, params: dict[str, Any], evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write error.png, internal_model.png and raster.png of one individual.

    Args:
        teacher: the `Teacher`.
        params: decoded weights.
        evaluation: of one individual, with artifacts.
        folder: where the files go.

    Returns:
        Their paths.
    """
    one = {name: value[0] for name, value in evaluation.artifacts.items()}
    files = [save(draw_errors(teacher, one), folder / "error.png")]
    files.append(save(draw_models(teacher.learner, params, one), folder / "internal_model.png"))
    files.append(save(draw_raster(teacher.learner, one), folder / "raster.png"))
    return files


@styled
def draw_errors(teacher: Any, one: dict[str, np.ndarray], functions: int = 200) -> Figure:
    """Return the figure of squared errors over examples: the network, the linear predictor, backpropagation.

    Args:
        teacher: the `Teacher`.
        one: artifacts errors, linear_errors (E,).
        functions: target networks that the curve of backpropagation averages over.
    """
    figure, axes = new_figure()
    n = np.arange(1, len(one["errors"]) + 1)
    axes.plot(n, one["linear_errors"], color=ORANGE, label="optimal linear predictor of all examples before")
    if teacher.family == "network":
        axes.plot(
            n,
            _predict_by_backpropagation(teacher, functions),
            color=GREEN,
            label="backpropagation in the teacher's network",
        )
    axes.plot(n, one["errors"], color=BLUE, label="spiking network, fixed weights")
    highest = 1.5 * max(one["errors"].max(), np.median(one["linear_errors"]))
    axes.set(xlabel="example", ylabel="mean squared error", ylim=(0, highest), xlim=(1, len(n)))
    axes.set_title(f"Functions never seen: means over {teacher.episodes} episodes")
    axes.legend()
    return figure


def _predict_by_backpropagation(teacher: Any, functions: int) -> np.ndarray:
    sample = partial(sample_episodes, "network", episodes=functions, examples=teacher.examples, gain=teacher.gain)
    x, y = map(np.asarray, jax.jit(sample)(jax.random.key(0))[0])
    return ((backpropagation_predictions(x, y, gain=teacher.gain) - y) ** 2).mean(axis=0)


@styled
def draw_models(learner: Learner, params: dict[str, Any], one: dict[str, np.ndarray]) -> Figure:
    """Return the figure of what the network would answer over all inputs, after n examples of the first episode.

    Args:
        learner: the network.
        params: decoded weights.
        one: artifacts x (E, I), y (E,) of the episode.
    """
    x, y = one["x"], one["y"]
    shown = [n for n in MODELS if n <= len(y)]
    axis = np.linspace(-1, 1, GRID)
    grid = axis[:, None] if x.shape[1] == 1 else np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    weights = {name: jnp.asarray(value, jnp.float32) for name, value in params.items()}
    key = jax.random.key(0)
    states = jax.jit(learner.states)(weights, key, Episodes(x[None], y[None]))
    ask = jax.jit(learner.asked)
    after = [jax.tree.map(lambda leaf, n=n: leaf[n - 1], states) for n in shown]
    points = jnp.asarray(grid, jnp.float32)
    answers = [np.asarray(ask(weights, key, state, y[n - 1], points)) for n, state in zip(shown, after, strict=True)]
    figure, panels = new_figure(2, 3, size=(15.0, 9.0), sharex=True, sharey=True)
    low, high = min(y.min(), *(a.min() for a in answers)), max(y.max(), *(a.max() for a in answers))
    mesh = None
    for panel, n, answer in zip(panels.flat, shown, answers, strict=False):
        panel.set_title(f"after {n} example{'s' * (n > 1)}")
        if x.shape[1] == 1:
            order = np.argsort(x[:, 0])
            panel.plot(5 * x[order, 0], y[order], ".", color=GREY, label="function")
            panel.plot(5 * axis, answer, color=BLUE, label="network")
            panel.plot(5 * x[:n, 0], y[:n], "o", color=VERMILLION, markersize=9, label="examples seen")
            continue
        mesh = panel.pcolormesh(axis, axis, answer.reshape(GRID, GRID), vmin=low, vmax=high)
        panel.scatter(*x[:n].T, c=y[:n], vmin=low, vmax=high, edgecolors="white", s=70)
        panel.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
        panel.grid(False)
    if mesh is None:
        figure.supxlabel("x")
        figure.supylabel("answer")
        panels.flat[0].legend()
    else:
        figure.supxlabel("input 1")
        figure.supylabel("input 2")
        figure.colorbar(mesh, ax=panels, pad=0.02).set_label("answer; dots: examples seen")
    figure.suptitle("What the network would answer to every input")
    return figure


@styled
def draw_raster(learner: Learner, one: dict[str, np.ndarray]) -> Figure:
    """Return the figure of spikes and answers in the first examples of an episode.

    Args:
        learner: the network.
        one: artifacts spikes_in (S E, sources), spikes (S E, N), y and answers (E,).
    """
    figure, panels = new_figure(4, 1, size=(14.0, 11.0), sharex=True, height_ratios=(3, 3, 3, 2))
    regular, T = learner.lsnn.regular, len(one["spikes"])
    rows = (("sources", one["spikes_in"]), ("regular", one["spikes"][:, :regular]))
    rows += (("adaptive", one["spikes"][:, regular:]),)
    for panel, (name, spikes) in zip(panels, rows, strict=False):
        panel.plot(*np.nonzero(spikes), "|", color=BLACK, markersize=3)
        panel.set(ylabel=name, ylim=(-1, max(spikes.shape[1], 1)))
    E = T // learner.lsnn.step_ms
    edges = np.arange(E + 1) * learner.lsnn.step_ms
    panels[3].stairs(one["y"][:E], edges, color=GREY, label="function", linewidth=3)
    panels[3].stairs(one["answers"][:E], edges, color=BLUE, label="answer", linewidth=3)
    panels[3].set(xlabel="time (ms)", ylabel="value", xlim=(0, T))
    panels[3].legend(loc="upper right", ncols=2)
    figure.suptitle("Spikes of an episode's first examples")
    return figure
