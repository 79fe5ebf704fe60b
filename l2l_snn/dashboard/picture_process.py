"""One picture for understanding a run, by `l2l_snn.results.insight`, in a process of its own: it needs matplotlib.

    L2L_STORE=sqlite:///l2l.db python -m l2l_snn.dashboard.picture_process '{"run": "a-1", "kind": "slices"}'

prints {"png": "base64", "missing": ""}, or {"png": "", "missing": "why there is none"}, or {"error": "..."}.
"""

import base64
import os
import tempfile
from pathlib import Path
from typing import Any

from l2l_snn.dashboard import processes


def draw_picture(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return a picture, or what the run hasn't that it would show.

    Raises:
        StoreError: the run can't be read.
    """
    from l2l_snn.results.insight import draw

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        try:
            draw(os.environ["L2L_STORE"], arguments["run"], arguments["kind"], path)
        except (ValueError, ImportError) as error:
            return {"png": "", "missing": str(error)}
        return {"png": base64.b64encode(path.read_bytes()).decode(), "missing": ""}


if __name__ == "__main__":
    processes.answer(draw_picture)
