"""Repeat one stored evaluation in a process of its own: it runs the user's modules.

    L2L_STORE=sqlite:///l2l.db python -m l2l_snn.dashboard.replay_process \
        '{"run": "a-1", "generation": 3, "individual": 2, "results": "runs"}'

prints {"same": true, "files": ["runs/a-1/g3_i2/raster.png"]} or {"error": "..."}, and to stderr what `l2l replay` does.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from l2l_snn.dashboard import processes


def repeat(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return whether the fitness is the same, and the files of the pictures.

    Raises:
        JobError, StoreError, ValueError, TypeError, OSError, ImportError: it can't be repeated.
    """
    from l2l_snn.loop.replay import replay
    from l2l_snn.storage.store import Store

    with Store(os.environ["L2L_STORE"], create=False) as store:
        done = replay(store, arguments["run"], [], arguments["generation"], arguments["individual"])
        print(done.report(), file=sys.stderr)
        try:
            files = done.draw(Path(arguments["results"]) / done.subfolder)
        except Exception:  # of the user's code; the fitness has an answer all the same
            traceback.print_exc()
            files = []
    for file in files:
        print(f"wrote {file}", file=sys.stderr)
    return {"same": done.same, "files": [str(file) for file in files]}


if __name__ == "__main__":
    processes.answer(repeat)
