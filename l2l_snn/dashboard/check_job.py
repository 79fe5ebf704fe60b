"""Check what the page is about to start, in a process of its own: building a job imports the user's modules.

    python -m l2l_snn.dashboard.check_job '{"file": "jobs/smoke.yaml", "settings": ["generations=5"]}'

prints {"generations": 5} or {"error": "..."}. With "run" in place of "file", the job of a stored run is checked.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def check(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what is worth knowing of the job, or why it can't be run."""
    from l2l_snn.loop import job as jobs
    from l2l_snn.loop.errors import USER_ERRORS
    from l2l_snn.storage.store import Store

    settings = arguments["settings"]
    try:
        if "file" in arguments:
            job, _, _ = jobs.load(Path(arguments["file"]), settings)
        else:
            with Store(os.environ["L2L_STORE"], create=False) as store:
                job, _, _ = jobs.stored_job(store, arguments["run"], settings)
    except USER_ERRORS as error:
        return {"error": str(error)}
    return {"generations": job.generations}


if __name__ == "__main__":
    print(json.dumps(check(json.loads(sys.argv[1]))))
