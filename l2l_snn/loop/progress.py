"""How a run shows itself while it runs: one live panel on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from l2l_snn.evaluation import describe_number
from l2l_snn.loop.job import Job
from l2l_snn.loop.tally import Tally
from l2l_snn.storage.records import Generation


@dataclass(frozen=True)
class Progress:
    """What the loop tells after each committed generation."""

    generation: int  # its number, from 0
    generations: int  # how many there will be at most
    evaluations: int  # of the whole run
    failed: int  # of this generation
    best: float  # best score of the run so far; nan if there is none
    mean: float  # mean score of this generation; nan if all failed
    evaluations_per_s: float  # of this generation
    seconds_left: float  # if all generations run; nan if that can't be told yet

    @staticmethod
    def after(job: Job, tally: Tally, generation: Generation, pace: float) -> "Progress":
        """Return the progress of a run with this tally after a generation; `pace` is the s that each takes, or nan."""
        P, evaluation = len(generation.z), generation.evaluation
        scores = evaluation.score[~evaluation.failed]
        return Progress(
            generation=generation.number,
            generations=job.generations,
            evaluations=tally.evaluations,
            failed=P - scores.size,
            best=tally.best if np.isfinite(tally.best) else np.nan,
            mean=float(scores.mean()) if scores.size else np.nan,
            evaluations_per_s=P / generation.elapsed,
            seconds_left=pace * (job.generations - tally.number),
        )


def describe_start(ready: bool) -> str:
    """Return what is done until the first generation is there; `ready`: workers are there already."""
    return "evaluating the first generation" if ready else "starting Ray and its workers"


@contextmanager
def show_progress(name: str, live: bool, first: str) -> Iterator[Callable[[Progress], None]]:
    """Yield the function that shows a generation's progress.

    Args:
        name: the run.
        first: what is done until the first generation is there.
        live: whether the output is a terminal that can be drawn on; else one line a generation, at most one a second.
    """
    if live:
        with _make_panel(name, first) as tell:
            yield tell
        return
    print(first, flush=True)
    last: list[Progress] = []
    told_at = -1.0

    def line(progress: Progress) -> None:
        nonlocal told_at
        last[:] = [progress]
        if time.monotonic() - told_at >= 1.0:
            told_at = time.monotonic()
            last.clear()
            print("  ".join(f"{key} {value}" for key, value in describe_progress(progress)), flush=True)

    try:
        yield line
    finally:
        for progress in last:  # the last generation is always told
            print("  ".join(f"{key} {value}" for key, value in describe_progress(progress)), flush=True)


@contextmanager
def _make_panel(name: str, first: str) -> Iterator[Callable[[Progress], None]]:
    from rich.live import Live
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    def drawn(progress: Progress) -> Panel:
        grid = Table.grid(padding=(0, 2))
        for key, value in describe_progress(progress):
            grid.add_row(f"[bold]{key}", value)
        grid.add_row("", ProgressBar(total=progress.generations, completed=progress.generation + 1, width=50))
        return Panel(grid, title=name, expand=False)

    with Live(Panel(first, title=name, expand=False), refresh_per_second=4) as display:
        yield lambda progress: display.update(drawn(progress))


def describe_progress(progress: Progress) -> list[tuple[str, str]]:
    """Return what is shown of a generation: (name, value)."""
    return [
        ("generation", str(progress.generation)),
        ("done", f"{progress.generation + 1}/{progress.generations}"),
        ("best", describe_number(progress.best)),
        ("mean", describe_number(progress.mean)),
        ("failed", str(progress.failed)),
        ("evaluations/s", f"{progress.evaluations_per_s:.1f}"),
        ("time left", _describe_time(progress.seconds_left)),
    ]


def _describe_time(seconds: float) -> str:
    """Return seconds as h:mm:ss; "-" for nan."""
    if np.isnan(seconds):
        return "-"
    minutes, seconds = divmod(max(seconds, 0.0), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02d}:{int(seconds):02d}"
