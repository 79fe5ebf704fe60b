"""The errors that a user can mend, each with a text of one line: the command line and the page show it and go on."""

from l2l_snn.loop.job_file import JobError
from l2l_snn.storage.database import StoreError
from l2l_snn.workers.base import EvaluatorError

USER_ERRORS = (JobError, StoreError, EvaluatorError, ValueError, TypeError, OSError, ImportError)
LATER = 75  # exit status where the store's server couldn't be reached: the same may go well later (EX_TEMPFAIL)


def exit_status(error: Exception) -> int:
    """Return the exit status of a command that ends with one of these errors."""
    return LATER if isinstance(error, StoreError) and error.lost else 2
