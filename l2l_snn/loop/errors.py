"""The errors that a user can mend, each with a text of one line: the command line and the page show it and go on."""

from l2l_snn.loop.job_file import JobError
from l2l_snn.storage.database import StoreError
from l2l_snn.workers.base import EvaluatorError

USER_ERRORS = (JobError, StoreError, EvaluatorError, ValueError, TypeError, OSError, ImportError)
