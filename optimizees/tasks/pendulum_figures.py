"""Pictures of one agent in a task of angles, the pendulum's or the acrobot's: its returns and one episode.

Legend: N episodes, T control steps.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from l2l_snn.figures import BLACK, BLUE, SKY, new_figure, save, styled


@styled
def returns(values: np.ndarray, path: Path) -> Path:
    """Draw the return (N,) of each episode, nan where it was not lived, and their mean."""
    lived = values[np.isfinite(values)]
    figure, axes = new_figure()
    axes.plot(np.arange(1, len(lived) + 1), lived, "o", color=SKY, markersize=8)
    axes.axhline(lived.mean(), color=BLUE, label=f"mean {lived.mean():.1f}")
    axes.set(xlabel="episode", ylabel="return", title="Return of each episode")
    axes.legend(loc="upper left")
    return save(figure, path)


@styled
def episode(observed: Mapping[str, np.ndarray], action: np.ndarray, label: str, path: Path) -> Path:
    """Draw what was observed and done over an episode.

    Args:
        observed: label -> (T + 1,) or (T,), one panel each.
        action: (T,).
        label: of the action.
        path: the file.
    """
    figure, panels = new_figure(len(observed) + 1, 1, size=(12.0, 2.2 * (len(observed) + 1)), sharex=True)
    for panel, (name, values) in zip(panels, observed.items(), strict=False):
        panel.plot(values, color=BLUE)
        panel.set_ylabel(name)
    panels[-1].step(np.arange(len(action)), action, where="post", color=BLACK, linewidth=1.5)
    panels[-1].set(xlabel="control step", ylabel=label)
    panels[0].set_title(f"One episode with the last weights: {len(action)} steps")
    figure.align_ylabels()
    return save(figure, path)
