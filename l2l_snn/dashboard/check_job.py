"""Check what the page is about to start, in a process of its own: building a job imports the user's modules.

    python -m l2l_snn.dashboard.check_job '{"file": "jobs/smoke.yaml", "settings": ["generations=5"]}'

prints {"generations": 5} or {"error": "..."}. With "run" in place of "file", the job of a stored run is checked.
"""

import os
from pathlib import Path
from typing import Any

from l2l_snn.dashboard import processes


def check(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return how many generations a job has.

    Raises:
        l2l_snn.loop.errors.USER_ERRORS: it can't be built.
    """
    from l2l_snn.loop import job as jobs
    from l2l_snn.storage.store import Store

    settings = arguments["settings"]
    if "file" in arguments:
        job, _, _ = jobs.load(Path(arguments["file"]), settings)
    else:
        with Store(os.environ["L2L_STORE"], create=False) as store:
            job, _, _ = jobs.stored_job(store, arguments["run"], settings)
    return {"generations": job.generations}


if __name__ == "__main__":
    processes.answer(check)
