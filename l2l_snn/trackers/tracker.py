"""The interface of trackers: what a tool that follows experiments is told of a run. Users subclass `Tracker`.

class Printer(Tracker):
    def begin(self, run, job):
        print(run, job["optimizer.class"])

    def log(self, generation, values):
        print(generation, values["best_so_far"])

    def end(self, state):
        print(state)

l2l_snn.run(Bowl(), SNES(), trackers=[Printer()])        # live
track(store, "bowl-1", Printer())                        # trackers/track.py: a stored run
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path


class Tracker(ABC):
    """A tool that follows experiments; one instance follows one run."""

    @abstractmethod
    def begin(self, run: str, job: Mapping[str, str | float | bool]) -> None:
        """Begin with a run, or go on with it where this tool knows it already.

        Args:
            run: its name.
            job: its parameters, dotted key -> value: "optimizer.population" -> 32.
        """

    @abstractmethod
    def log(self, generation: int, values: Mapping[str, float]) -> None:
        """Take the values of a generation.

        Args:
            generation: its number, from 0.
            values: best_so_far, mean, failed, evaluations (of the run so far), evaluations_per_s; nan where all failed.
        """

    def picture(self, name: str, path: Path) -> None:  # noqa: B027
        """Take a picture, a PNG file; the default leaves it."""

    @abstractmethod
    def end(self, state: str) -> None:
        """End with a run that is finished, stopped or failed."""
