"""Runs in TensorBoard: event files that `tensorboard --logdir FOLDER` shows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from l2l_snn.trackers.track import finite, missing
from l2l_snn.trackers.tracker import Tracker


class TensorBoardTracker(Tracker):
    """Writes scalars, the job as a table and pictures into FOLDER/RUN.

    Args:
        folder: where the folders of runs are.
    """

    def __init__(self, folder: str = "runs/tensorboard"):
        self.folder = folder
        self._writer: Any = None
        self._last = 0  # generation

    def begin(self, run: str, job: Mapping[str, str | float | bool]) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise missing("tensorboardX", "tensorboard", error) from error
        self._writer = SummaryWriter(str(Path(self.folder) / run))
        rows = "\n".join(f"| {key} | {value} |" for key, value in job.items())
        self._writer.add_text("job", f"| key | value |\n| --- | --- |\n{rows}")

    def log(self, generation: int, values: Mapping[str, float]) -> None:
        self._last = generation
        for name, value in finite(values).items():
            self._writer.add_scalar(name, value, generation)

    def picture(self, name: str, path: Path) -> None:
        from matplotlib.image import imread

        self._writer.add_image(name, imread(path)[:, :, :3], self._last, dataformats="HWC")

    def end(self, state: str) -> None:
        self._writer.add_text("state", state, self._last)
        self._writer.close()
