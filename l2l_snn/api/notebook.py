"""What a Jupyter notebook sees of a run: one panel that is drawn anew, and pictures where a cell ends with a figure."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from io import BytesIO
from typing import Any

from l2l_snn.loop.progress import Progress, describe_progress

PAUSE = 0.25  # s between two drawings


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook, where output is HTML."""
    shell = _find_shell()
    return shell is not None and getattr(shell, "kernel", None) is not None


@contextmanager
def shown_in_notebook(name: str) -> Iterator[Callable[[Progress], None]]:
    """Yield the function that shows a generation's progress in the output of the cell, in place of the one before."""
    from IPython.display import HTML, display  # pyright: ignore[reportMissingImports]

    handle = display(HTML(f"<b>{escape(name)}</b>: starting"), display_id=True)
    last: list[Progress] = []
    drawn_at = -PAUSE

    def draw(progress: Progress) -> None:
        nonlocal drawn_at
        last[:] = [progress]
        if time.monotonic() - drawn_at >= PAUSE:
            drawn_at = time.monotonic()
            last.clear()
            handle.update(HTML(panel(name, progress)))

    try:
        yield draw
    finally:
        for progress in last:
            handle.update(HTML(panel(name, progress)))


def panel(name: str, progress: Progress) -> str:
    """Return the progress after a generation as HTML."""
    share = 100 * (progress.generation + 1) / progress.generations
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(key)}</th><td style='text-align:right'>{escape(value)}</td></tr>"
        for key, value in describe_progress(progress)
    )
    bar = f"<progress style='width:100%' max='100' value='{share:.1f}'>{share:.0f} %</progress>"
    return f"<div style='display:inline-block'><b>{escape(name)}</b><table>{rows}</table>{bar}</div>"


def teach_figures() -> None:
    """Let a notebook show a matplotlib figure that ends a cell, as it does once pyplot is imported."""
    shell = _find_shell()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["image/png"]
    place = ("matplotlib.figure", "Figure")
    known = {getattr(kind, "__name__", "") for kind in formatter.type_printers}
    if place not in formatter.deferred_printers and "Figure" not in known:
        formatter.for_type_by_name(*place, _as_png)


def _as_png(figure: Any) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def _find_shell() -> Any:
    """Return IPython's shell, None where there is none; IPython isn't imported for it."""
    found = sys.modules.get("IPython")
    return None if found is None else found.get_ipython()
