"""The job of a stored run, ready to be built again."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from l2l_snn.loop.job import Job
    from l2l_snn.storage.store import Store, StoredRun


def stored_job(store: "Store", name: str, settings: list[str]) -> tuple["Job", "StoredRun"]:
    """Return a stored run's job, with settings changed, and the run; its modules can be imported after this."""
    from l2l_snn.loop import job as jobs

    stored = store.load(name)
    jobs.find_modules(Path(stored.manifest["file"]).parent)
    return jobs.change(jobs.Job.model_validate(stored.manifest["job"]), settings), stored
