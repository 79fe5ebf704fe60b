"""Pictures of the embodied arm: figures 2.2, 3.1-3.5 and A.1 of Brand 2024.

Legend: E epochs, T steps of the body, A angles of tests; I sensory neurons, N of the reservoir, M motor neurons and
muscles.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import MaxNLocator

from l2l_snn.body import Activation, Forces, HillMuscle
from l2l_snn.results.figures import (
    BLACK,
    BLUE,
    COLORS,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    new_figure,
    save,
    styled,
)

POPULATIONS = {"sensory": GREEN, "reservoir": BLUE, "motor": ORANGE}
MUSCLES = (VERMILLION, SKY, PURPLE, GREEN)


@styled
def learning(curves: Mapping[str, Sequence[np.ndarray]], path: Path, title: str = "Learning to stand") -> Path:
    """Draw the loss over epochs, a thin line a life and a thick one for the median (figure 3.1 A).

    Args:
        curves: name -> (E,) rad^2 of each life.
        path: the file to write.
        title: the subject.
    """
    figure, axes = new_figure()
    for color, (name, lives) in zip(COLORS, curves.items(), strict=False):
        lives, epochs = np.array(lives), np.arange(1, len(lives[0]) + 1)
        if len(lives) > 1:
            axes.plot(epochs, lives.T, color=color, linewidth=0.6, alpha=0.4)
        axes.plot(epochs, np.median(lives, axis=0), color=color, label=name or None)
    axes.set(xlabel="epoch", ylabel="mean squared angle (rad\u00b2)", yscale="log", title=title)
    if any(curves):
        figure.legend(loc="outside right center")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return save(figure, path)


@styled
def first_and_last(found: Mapping[str, np.ndarray], path: Path) -> Path:
    """Draw the mean loss of the first and of the last 10 epochs (figure 3.1 C, D); name -> (lives, E) rad^2."""
    figure, axes = new_figure()
    for x, lives in enumerate(found.values()):
        ends = lives[:, :10].mean(axis=1), lives[:, -10:].mean(axis=1)
        for at, (values, color) in zip((x - 0.2, x + 0.2), zip(ends, (GREY, BLUE), strict=True), strict=True):
            axes.bar(at, np.median(values), 0.38, color=color)
            axes.plot(np.full(len(values), at), values, "o", color=BLACK, markersize=5)
    axes.set(yscale="log", ylabel="mean squared angle (rad\u00b2)", title="First 10 epochs (grey) and last 10 (blue)")
    axes.set_xticks(range(len(found)), list(found))
    axes.set_xlabel("initial range of the trained weights")
    return save(figure, path)


@styled
def weights(found: Mapping[str, np.ndarray], path: Path) -> Path:
    """Draw how one weight changes over epochs (figure 3.1 B); name -> (E,) mV/ms."""
    figure, axes = new_figure()
    for color, (name, w) in zip(COLORS, found.items(), strict=False):
        axes.plot(np.arange(1, len(w) + 1), w - w[0], color=color, label=name)
    axes.set(
        xlabel="epoch", ylabel="change of one weight (mV/ms)", title="The weight that moves most from epoch 1 to 2"
    )
    figure.legend(loc="outside right center")
    return save(figure, path)


@styled
def behaviour(cases: Mapping[str, Mapping[str, np.ndarray]], step: float, path: Path) -> Path:
    """Draw spikes, activation, torque and angle over time (figure 3.2).

    Args:
        cases: title -> sensory (T, I), reservoir (T, N), motor (T, M) spikes a step; level (T, M); torque (T, J) N m; q
            (T, J) rad.
        step: s.
        path: the file to write.
    """
    heights = [0.6, 2.6, 0.6, 1.0, 1.0, 1.2]
    figure, panels = new_figure(
        6, len(cases), size=(9.0 * len(cases) + 3.0, 13.0), sharex=True, squeeze=False,
        gridspec_kw={"height_ratios": heights},
    )  # fmt: skip
    for column, (title, case) in zip(panels.T, cases.items(), strict=True):
        time = step * np.arange(1, len(case["q"]) + 1)
        for panel, (name, color) in zip(column, POPULATIONS.items(), strict=False):
            when, neuron = np.nonzero(case[name])
            panel.plot(time[when], neuron, "|", color=color, markersize=3 if name == "reservoir" else 12)
            panel.set(ylim=(-0.7, case[name].shape[1] - 0.3))
            panel.grid(visible=False)
        for m, color in zip(range(case["level"].shape[1]), MUSCLES, strict=False):
            column[3].plot(time, case["level"][:, m], color=color, linewidth=1.5)
        column[4].plot(time, 1000 * case["torque"], color=BLUE, linewidth=1.5)
        column[5].plot(time, np.degrees(case["q"]), color=VERMILLION)
        column[5].axhline(0, color=BLACK, linewidth=1)
        column[5].set_xlabel("time (s)")
        column[0].set_title(title)
    labels = (*POPULATIONS, "activation", "torque\n(mN m)", "angle\n(degrees)")
    for panel, label in zip(panels[:, 0], labels, strict=True):
        panel.set_ylabel(label)
    return save(figure, path)


@styled
def rates(found: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path) -> Path:
    """Draw mean and largest firing rates over epochs (figure 3.3); population -> ((lives, E), (lives, E)) Hz."""
    figure, panels = new_figure(1, 2, size=(16.0, 6.75), sharey=True)
    for panel, kind, title in zip(panels, (0, 1), ("mean of a population", "its fastest neuron"), strict=True):
        for name, values in found.items():
            epochs = np.arange(1, values[kind].shape[1] + 1)
            panel.plot(epochs, values[kind].T, color=POPULATIONS[name], linewidth=0.7, alpha=0.4)
            panel.plot(epochs, np.median(values[kind], axis=0), color=POPULATIONS[name], label=name)
        panel.axhline(100, color=VERMILLION, linestyle=":", label="100 Hz")
        panel.set(xlabel="epoch", title=title, yscale="symlog")
    panels[0].set_ylabel("firing rate (Hz)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return save(figure, path)


@styled
def tested_courses(found: Mapping[str, np.ndarray], angles: Sequence[float], step: float, path: Path) -> Path:
    """Draw angles over time with frozen weights (figure 3.5 A); name -> (A, T) rad, a panel each."""
    figure, panels = new_figure(1, len(found), size=(6.0 * len(found) + 4.0, 6.0), sharey=True, squeeze=False)
    for panel, (name, q) in zip(panels[0], found.items(), strict=True):
        for color, angle, course in zip(COLORS, angles, np.degrees(q), strict=False):
            panel.plot(step * np.arange(1, len(course) + 1), course, color=color, linewidth=2, label=f"{angle:g}\u00b0")
        panel.axhspan(-5, 5, color=GREY, alpha=0.2)
        panel.set(xlabel="time (s)", title=name)
    panels[0, 0].set_ylabel("angle (degrees)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside right center")
    return save(figure, path)


@styled
def tested_losses(found: Mapping[str, tuple[np.ndarray, np.ndarray]], angles: Sequence[float], path: Path) -> Path:
    """Draw summed losses of tests (figure 3.5 B); name -> ((lives, A), (lives, A)) over 1000 and all steps, rad^2."""
    figure, panels = new_figure(1, 2, size=(16.0, 6.75))
    for panel, kind, title in zip(panels, (0, 1), ("first 1000 steps", "4000 steps"), strict=True):
        width = 0.8 / len(found)
        for i, (color, (name, losses)) in enumerate(zip(COLORS, found.items(), strict=False)):
            at = np.arange(len(angles)) + (i - (len(found) - 1) / 2) * width
            panel.bar(at, np.median(losses[kind], axis=0), width, color=color, label=name)
        panel.set_xticks(range(len(angles)), [f"{angle:g}\u00b0" for angle in angles])
        panel.set(xlabel="first angle", title=title)
    panels[0].set_ylabel("summed squared angle (rad\u00b2)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return save(figure, path)


@styled
def muscle(activation: Activation, hill: HillMuscle, path: Path) -> Path:
    """Draw a twitch, and force over length and over velocity (figure 2.2 B-D)."""
    import jax.numpy as jnp

    figure, panels = new_figure(1, 3, size=(18.0, 5.5))
    state, level = activation.init(1), []
    for t in range(1000):
        state = activation.step(state, jnp.array([float(t == 40)]))
        level.append(float(state.level[0]))
    time = activation.dt * np.arange(1, 1001)
    panels[0].plot(time, level, color=PURPLE, label="activation")
    begin, end = 41 * activation.dt, (41 + activation.pulse) * activation.dt
    panels[0].plot([begin, begin, end, end], [0, 1, 1, 0], "--", color=GREY, label="stimulation")
    panels[0].set(xlabel="time (ms)", title="a twitch")
    fibre = np.linspace(0.2, 1.8, 100)
    pull = hill.pull(np.ones(100), fibre, np.zeros(100))
    parts = {
        "total": (pull.active + pull.passive, ORANGE),
        "passive": (pull.passive, GREEN),
        "active": (pull.active, BLUE),
    }
    for name, (force, color) in parts.items():
        panels[1].plot(fibre, force / hill.f_max, color=color, linestyle="--" if name == "active" else "-", label=name)
    panels[1].set(xlabel="fibre length (resting lengths)", ylabel="force (F_max)", ylim=(0, 2))
    speed = np.linspace(-1, 1.5, 100)
    moving = hill.pull(np.ones(100), np.ones(100), hill.v_max * speed)
    panels[2].plot(speed, moving.active / hill.f_max, color=ORANGE)
    panels[2].set(xlabel="shortening (v_max)", ylabel="force (F_max)")
    for panel in panels[:2]:
        panel.legend()
    return save(figure, path)


@styled
def stiffness(
    found: Mapping[str, Forces], q: np.ndarray, spikes: np.ndarray, level: np.ndarray, step: float, path: Path
) -> Path:
    """Draw what muscles do at an angle that goes to and fro, a column a tendon ratio (figure 2.2 E).

    Args:
        found: name -> forces in each step (T, ...).
        q: (T,) rad.
        spikes: (T, 2) of flexor and extensor.
        level: (T, 2) activation.
        step: s.
        path: the file to write.
    """
    figure, panels = new_figure(5, len(found), size=(6.0 * len(found) + 2.0, 13.0), sharex=True, sharey="row")
    time = step * np.arange(1, len(q) + 1)
    for column, (name, forces) in zip(panels.T, found.items(), strict=True):
        column[0].plot(time, 1000 * forces.torque[:, 0], color=BLUE)
        for m, color in zip(range(2), MUSCLES, strict=False):
            column[1].plot(time, forces.force.active[:, m] + forces.force.passive[:, m], color=color)
            column[2].plot(time, forces.force.active[:, m], color=color)
            column[2].plot(time, forces.force.passive[:, m], color=color, linestyle=":")
            column[3].plot(time, level[:, m], color=color)
            at = time[spikes[:, m] > 0]
            column[4].plot(at, np.full(len(at), m), "|", color=color, markersize=12)
        column[4].plot(time, 2.5 + np.degrees(q) / 40, color=BLACK)
        column[4].set(xlabel="time (s)", yticks=[0, 1, 2.5])
        column[4].set_yticklabels(["flexor", "extensor", "angle"])
        column[0].set_title(name)
    labels = ("torque (mN m)", "force (N)", "active, passive\n(dots) (N)", "activation", "")
    for panel, label in zip(panels[:, 0], labels, strict=True):
        panel.set_ylabel(label)
    return save(figure, path)


@styled
def isolated(cases: Mapping[str, Mapping[str, np.ndarray]], step: float, path: Path) -> Path:
    """Draw the network that follows a shifted sine (figure A.1), a column a case.

    Args:
        cases: name -> artifacts of one `ShiftedSine`.
        step: s.
        path: the file to write.
    """
    figure, panels = new_figure(
        4, len(cases), size=(9.0 * len(cases) + 2.0, 14.0), squeeze=False,
        gridspec_kw={"height_ratios": [0.5, 2.0, 1.3, 1.3]},
    )  # fmt: skip
    for column, (name, case) in zip(panels.T, cases.items(), strict=True):
        time = step * np.arange(1, len(case["target"]) + 1)
        for panel, (population, color) in zip(column, POPULATIONS.items(), strict=False):
            if population in case:
                when, neuron = np.nonzero(case[population])
                panel.plot(time[when], neuron, "|", color=color, markersize=12 if population == "sensory" else 3)
                panel.set(ylabel=population, xlim=(0, time[-1]))
                panel.grid(visible=False)
        column[2].plot(np.arange(1, len(case["loss"]) + 1), case["loss"], "o-", color=BLACK)
        column[2].set(xlabel="iteration", ylabel="loss (mV\u00b2)", ylim=(0, None))
        for output, color, label in zip(case["output"], (GREY, BLUE), ("first", "last"), strict=True):
            column[3].plot(time, output, color=color, linewidth=1.5, label=f"{label} iteration")
        column[3].plot(time, case["target"], color=VERMILLION, linestyle="--", label="target")
        column[3].set(xlabel="time (s)", ylabel="potential (mV)", xlim=(0, time[-1]))
        column[0].set_title(name)
    figure.legend(*panels[3, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return save(figure, path)


@styled
def scaling(neurons: Sequence[int], found: Mapping[str, tuple[Sequence[float], Sequence[float]]], path: Path) -> Path:
    """Draw compile and run time against the size of the reservoir (figure 3.4 A); name -> (s, s a second)."""
    figure, panels = new_figure(1, 2, size=(16.0, 6.75))
    for panel, kind, title in zip(panels, (0, 1), ("compilation (s)", "a second of the arm (s)"), strict=True):
        for color, (name, times) in zip(COLORS, found.items(), strict=False):
            values = np.array(times[kind], float)
            panel.plot(np.array(neurons)[: len(values)], values, "o-", color=color, label=name)
        panel.set(xscale="log", xlabel="neurons of the reservoir", title=title)
        panel.set_xticks(neurons, [str(n) for n in neurons])
        panel.minorticks_off()
    panels[0].set_ylim(0, None)
    panels[1].set_yscale("log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center")
    return save(figure, path)


@styled
def memory(steps: np.ndarray, megabytes: np.ndarray, path: Path) -> Path:
    """Draw the memory of a process (n,) MB over steps of the body (n,) (figure 3.4 C)."""
    figure, axes = new_figure()
    axes.plot(steps, megabytes, color=BLACK)
    axes.set(xlabel="steps of the body", ylabel="memory of the process (MB)", ylim=(0, None))
    return save(figure, path)
