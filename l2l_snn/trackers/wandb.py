"""Runs in Weights & Biases: on its server, or offline (WANDB_MODE=offline) in a folder that `wandb sync` sends."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2l_snn.trackers.track import finite, missing
from l2l_snn.trackers.tracker import Tracker


class WandbTracker(Tracker):
    """Logs to a project a run with this name and id; one that is there already goes on.

    Args:
        project: its name.
        folder: where files are kept; the current one by default.
        mode: "online", "offline" or "disabled"; by default what WANDB_MODE says.
    """

    def __init__(self, project: str = "l2l", folder: str | None = None, mode: Any = None):
        self.project, self.folder, self.mode = project, folder, mode
        self._run: Any = None

    def begin(self, run: str, job: Mapping[str, str | float | bool]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing("wandb", "wandb", error) from error
        options = {"project": self.project, "dir": self.folder, "mode": self.mode, "config": dict(job)}
        settings = wandb.Settings(silent=True, console="off")
        self._run = wandb.init(id=run, name=run, resume="allow", settings=settings, **options)

    def log(self, generation: int, values: Mapping[str, float]) -> None:
        self._run.log(finite(values), step=generation)

    def picture(self, name: str, path: Path) -> None:
        import wandb

        self._run.log({name: wandb.Image(str(path))})

    def end(self, state: str) -> None:
        self._run.finish(exit_code=0 if state == "finished" else 1)
