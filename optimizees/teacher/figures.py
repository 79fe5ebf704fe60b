"""Pictures of a network that learns from a teacher: its error over examples, its internal model, its spikes.

As in figure 2 of 004 (C, D, E with its insert, G, H, I).

Legend: B functions, E examples, I inputs, N neurons, S steps of 1 ms an example.
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
from optimizees.teacher.functions import (
    Episodes,
    backpropagation_predictions,
    evaluate_function,
    linear_predictions,
    sample_episodes,
    straight_examples,
)
from optimizees.teacher.learner import Learner

MODELS = (1, 2, 4, 7, 10, 20)  # numbers of examples after which the internal model is shown
GRID = 21  # points along each input


def draw(teacher: Any, params: dict[str, Any], evaluation: Evaluation, folder: Path) -> list[Path]:
    """Write error.png, internal_model.png, functions.png and raster.png of an individual, of sinuses straight_line.png.

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
    files.append(save(draw_functions(teacher), folder / "functions.png"))
    files.append(save(draw_raster(teacher.learner, one), folder / "raster.png"))
    if teacher.family == "sinus":
        x, y = straight_examples(amplitude=3.0, phase=0.8, examples=max(MODELS))
        title = "What the network would answer where all examples lie on a straight line"
        figure = draw_models(teacher.learner, params, {"x": x[0], "y": y[0]}, title, sinus=(3.0, 0.8))
        files.append(save(figure, folder / "straight_line.png"))
    return files


@styled
def draw_errors(teacher: Any, one: dict[str, np.ndarray], functions: int = 200) -> Figure:
    """Return the figure of squared errors over examples: the network, the linear predictor, backpropagation.

    Beside it a single function, the first episode's. Its cross is the example from which on five answers have, in
    the mean, at most twice the error of the episode's second half.

    Args:
        teacher: the `Teacher`.
        one: artifacts errors, linear_errors, y, answers (E,) and x (E, I).
        functions: target networks that the curve of backpropagation averages over.
    """
    figure, (axes, alone) = new_figure(1, 2, size=(16.0, 6.75), width_ratios=(3, 2))
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
    single = (one["answers"] - one["y"]) ** 2
    linear = (linear_predictions(one["x"][None], one["y"][None])[0] - one["y"]) ** 2
    alone.plot(n, linear, color=ORANGE)
    alone.plot(n, single, color=BLUE)
    good = _find_good(single)
    alone.plot(n[good], single[good], "x", color=VERMILLION, markersize=14, markeredgewidth=4, clip_on=False)
    alone.set(xlim=(1, len(n)), ylim=(0, 1.1 * max(single.max(), np.median(linear))))
    alone.set(xlabel="example", ylabel="squared error", title="One of them")
    return figure


def _find_good(errors: np.ndarray) -> int:
    """Return from which example on, counted from 0, five answers have at most twice the error of the second half."""
    late = errors[len(errors) // 2 :].mean()
    means = np.array([errors[i : i + 5].mean() for i in range(len(errors))])
    return int(np.argmax(means <= 2 * late))


@styled
def draw_functions(teacher: Any, count: int = 8) -> Figure:
    """Return the figure of functions of the family, of target networks where both inputs are the same (figure 2G).

    Args:
        teacher: the `Teacher`.
        count: functions, drawn from a key of their own.
    """
    sample = partial(sample_episodes, teacher.family, episodes=count, examples=1, gain=teacher.gain)
    functions, axis = jax.jit(sample)(jax.random.key(0))[1], np.linspace(-1, 1, 101, dtype=np.float32)
    inputs = 1 if teacher.family == "sinus" else 2
    points = jnp.asarray(np.repeat(axis[:, None], inputs, axis=1))
    curves = jax.vmap(lambda function: evaluate_function(teacher.family, function, points, teacher.gain))(functions)
    figure, axes = new_figure()
    axes.plot(axis * (5 if teacher.family == "sinus" else 1), np.asarray(curves).T)
    axes.set(xlabel="x" if teacher.family == "sinus" else "input 1 = input 2", ylabel="function")
    axes.set_title(f"{count} functions of the family")
    return figure


@styled
def draw_training(errors: np.ndarray, batch_linear: float, after: np.ndarray) -> Figure:
    """Return the figure of the error over training, and after it on functions never met (figure 2C).

    Args:
        errors: (generations,) mean squared error of each generation's functions.
        batch_linear: that of the optimal linear predictor which is fitted to all examples of each function.
        after: (B,) of the trained network, in each of B functions that training never had.
    """
    figure, (left, right) = new_figure(1, 2, size=(12.0, 5.0), sharey=True, width_ratios=(3, 1))
    width = max(1, len(errors) // 100)
    blocks = errors[: len(errors) // width * width].reshape(-1, width)
    middle = (np.arange(len(blocks)) + 0.5) * width
    left.fill_between(middle, *np.quantile(blocks, (0.25, 0.75), axis=1), color=BLUE, alpha=0.3, linewidth=0)
    left.plot(middle, np.median(blocks, axis=1), color=BLUE, label="spiking network")
    for panel in (left, right):
        panel.axhline(batch_linear, color=ORANGE, label="optimal linear predictor of all examples")
    left.set(xlabel="iteration", ylabel="mean squared error", xlim=(0, len(errors)), title="during training")
    right.boxplot(after, whis=(5, 95), showfliers=False)
    right.plot(1, after.mean(), "o", color=BLUE)
    right.set(xticks=(), title="after it", xlabel=f"{len(after)} functions")
    left.set_ylim(0, 1.2 * max(np.quantile(blocks, 0.9), batch_linear, np.quantile(after, 0.95)))
    left.legend()
    return figure


def _predict_by_backpropagation(teacher: Any, functions: int) -> np.ndarray:
    sample = partial(sample_episodes, "network", episodes=functions, examples=teacher.examples, gain=teacher.gain)
    x, y = map(np.asarray, jax.jit(sample)(jax.random.key(0))[0])
    return ((backpropagation_predictions(x, y, gain=teacher.gain) - y) ** 2).mean(axis=0)


@styled
def draw_models(
    learner: Learner,
    params: dict[str, Any],
    one: dict[str, np.ndarray],
    title: str = "What the network would answer to every input",
    *,
    sinus: tuple[float, float] | None = None,
) -> Figure:
    """Return the figure of what the network would answer over all inputs, after n examples of an episode.

    Args:
        learner: the network.
        params: decoded weights.
        one: x (E, I), y (E,) of the episode.
        title: of the figure.
        sinus: amplitude and phase of the function where its examples don't show it, and a line that joins them; else
            the episode's points are the function.
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
            if sinus:
                panel.plot(5 * axis, sinus[0] * np.sin(5 * axis + sinus[1]), color=GREY, label="function")
                panel.plot(5 * axis, np.polyval(np.polyfit(x[:, 0], y, 1), axis), ":", color=BLACK, label="line")
            else:
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
    figure.suptitle(title)
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
