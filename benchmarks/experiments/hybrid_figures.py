"""Tables and pictures of what benchmarks/experiments/hybrid.py has left in a folder: docs/results/hybrid.md.

    python benchmarks/experiments/hybrid_figures.py runs/hybrid docs/results/hybrid

What isn't there is left out. Legend: K tasks, S seeds.
"""

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from l2l_snn.results.figures import BLACK, BLUE, GREY, ORANGE, new_figure, save, styled
from optimizees.hybrid.figures import draw_course, draw_images, draw_spikes
from optimizees.hybrid.scenes import KINDS, WORDS, make_questions

SIMILAR = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
NAMES = {"modulated": "modulated", "alone": "spiking branch alone", "slower": "alone, learning rate / 5"}
STYLES = {"modulated": BLUE, "alone": ORANGE, "slower": GREY}


def load(folder: Path, experiment: str, which: str) -> dict[int, dict[str, np.ndarray]]:
    """Return the results of one network, by seed."""
    paths = sorted(folder.glob(f"{experiment}-{which}-*.npz"))
    return {int(path.stem.split("-")[-1]): dict(np.load(path, allow_pickle=False)) for path in paths}


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean, and in brackets each value."""
    return f"{np.mean(values):.{digits}f} ({', '.join(f'{value:.{digits}f}' for value in values)})"


@styled
def modulation(runs: dict[str, dict[int, dict[str, Any]]], out: Path) -> None:
    """Print accuracies; draw them over tasks and over similarity, thresholds, and correlations of activity."""
    figure, (left, right) = new_figure(1, 2, size=(15.0, 6.0))
    for which, rows in runs.items():
        tables = np.stack([row["table"] for row in rows.values()])  # (S, K, K)
        seen = np.array([[table[k, : k + 1].mean() for k in range(len(table))] for table in tables])
        before, last = tables[:, -1, :-1].mean(axis=1), tables[:, -1].mean(axis=1)
        text = f"{which}: tasks before the last {spread(before)}, all {spread(last)}, "
        print(f"{text}just learned {spread(np.array([np.diag(table).mean() for table in tables]))}")
        left.plot(np.arange(1, seen.shape[1] + 1), seen.T, color=STYLES[which], linewidth=1, alpha=0.5)
        left.plot(np.arange(1, seen.shape[1] + 1), seen.mean(axis=0), color=STYLES[which], label=NAMES[which])
        unlearned = np.stack([row["unlearned"].mean(axis=0) for row in rows.values()])  # (S, similarities)
        print(f"  unlearned by similarity {np.round(unlearned.mean(axis=0), 3).tolist()}")
        right.plot(SIMILAR, unlearned.T, color=STYLES[which], linewidth=1, alpha=0.5)
        right.plot(SIMILAR, unlearned.mean(axis=0), "o-", color=STYLES[which], label=NAMES[which])
    left.set(xlabel="tasks learned", ylabel="accuracy over these tasks", ylim=(0, 1))
    right.set(xlabel="similarity to a learned task", ylabel="accuracy on the unlearned task", ylim=(0, 1))
    for panel in (left, right):
        panel.axhline(0.1, color=BLACK, linestyle=":", linewidth=1.5, label="chance")
    left.legend(loc="lower left")
    save(figure, out / "modulation_accuracy.png")
    figure, panels = new_figure(1, 3, size=(20.0, 6.5))
    first = next(iter(runs["modulated"].values()))
    shown = np.asarray(first["thresholds"])
    image = panels[0].imshow(shown[:, :150] < shown.max() / 2, aspect="auto", interpolation="nearest", cmap="Blues")
    panels[0].set(title="neurons with the low threshold", xlabel="neuron (150 of all)", ylabel="task")
    for panel, which in zip(panels[1:], ("modulated", "alone"), strict=True):
        if which in runs:
            activity = np.asarray(next(iter(runs[which].values()))["activity"])
            image = panel.imshow(np.corrcoef(activity), vmin=-0.2, vmax=1, interpolation="nearest")
            title = "correlation of hidden activity,\n" + NAMES[which]
            panel.set(title=title, xlabel="task")
    for panel in panels:
        panel.grid(False)
    figure.colorbar(image, ax=panels[2])
    save(figure, out / "modulation.png")


@styled
def sensing(runs: dict[str, dict[int, dict[str, Any]]], out: Path) -> None:
    """Print errors and operations; draw what is seen of one recording, and where networks say that the digit is."""
    for which, rows in runs.items():
        one = next(iter(rows.values()))
        mega = dict(zip(one["parts"].tolist(), np.round(one["operations"] / 1e6, 2).tolist(), strict=True))
        errors = [float(row["error"]) for row in rows.values()]
        print(f"{which}: error {spread(errors)} px, 10^6 operations / s {mega}, sum {sum(mega.values()):.2f}")
    both = next(iter(runs["both"].values()))
    figure, panels = new_figure(4, 1, size=(13.0, 14.0))
    draw_images(panels[0], both["frames"])
    panels[0].set_title("frames, 100 ms apart")
    draw_spikes(panels[1], both["events"])
    panels[1].set(title="events (pixels, darker and brighter) in steps of 5 ms", ylabel="pixel")
    draw_spikes(panels[2], both["spikes"])
    panels[2].set(title="spikes of the where pathway", ylabel="neuron")
    courses = {which: next(iter(rows.values()))["position"] for which, rows in runs.items()}
    names = {"both": "hybrid", "frames": "frames only", "events": "events only"}
    draw_course(panels[3], both["true"], *courses.values(), names=tuple(names[which] for which in courses))
    panels[3].set(title="position", ylabel="px right of the middle")
    save(figure, out / "sensing.png")


@styled
def reasoning(runs: dict[str, dict[int, dict[str, Any]]], out: Path) -> None:
    """Print accuracies by kind of question; draw them, and scenes with their questions."""
    figure, panels = new_figure(1, 5, size=(20.0, 5.0), gridspec_kw={"width_ratios": [1, 1, 1, 1, 3]})
    examples = make_questions(8, 3)
    for i, panel in enumerate(panels[:4]):
        draw_images(panel, examples.scene[i + 4][None])
        words = [WORDS[word] for word in examples.words[i + 4] if word]
        panel.set_title(" ".join(words[:2]) + "\n" + " ".join(words[2:]), fontsize=13)
    bars = [(which, share) for which in runs for share in ("0", "0.1", "0.3")]
    for i, (which, share) in enumerate(bars):
        rows = runs[which].values()
        found = {kind: [float(row[f"{kind}_{share}"]) for row in rows] for kind in ("accuracy", *KINDS)}
        print(f"{which}, {share} removed: " + ", ".join(f"{kind} {spread(value)}" for kind, value in found.items()))
        heights = [np.mean(found[kind]) for kind in KINDS]
        color, alpha = (BLUE if which == "spiking" else ORANGE), {"0": 1.0, "0.1": 0.6, "0.3": 0.3}[share]
        label, x = f"{which}, {100 * float(share):.0f} % removed", np.arange(4) + (i - (len(bars) - 1) / 2) * 0.14
        panels[4].bar(x, heights, 0.13, color=color, alpha=alpha, label=label)
    panels[4].set(xticks=range(4), xticklabels=KINDS, ylim=(0, 1.35), ylabel="accuracy")
    panels[4].legend(ncols=2, fontsize=11, loc="upper center")
    save(figure, out / "reasoning.png")


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="what hybrid.py was given as --out")
    parser.add_argument("out", type=Path, help="folder of the pictures")
    options = parser.parse_args()
    folder, out = options.folder, options.out
    drawn = {"modulation": (modulation, NAMES), "sensing": (sensing, ("both", "frames", "events"))}
    drawn["reasoning"] = (reasoning, ("spiking", "twin"))
    for experiment, (draw, names) in drawn.items():
        runs = {which: rows for which in names if (rows := load(folder, experiment, which))}
        if runs:
            print(experiment, {which: list(rows) for which, rows in runs.items()})
            draw(runs, out)
    for which in ("designed", "alone", "neighbours", "everything"):
        if rows := load(folder, "units", which):
            before, after = (spread([float(row[name]) for row in rows.values()]) for name in ("before", "error"))
            print(f"units, {which}: error {before} before, {after} px after")


if __name__ == "__main__":
    main()
