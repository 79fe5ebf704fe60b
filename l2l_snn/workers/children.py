"""Processes that an evaluation starts, so that they work beside the threads and signal handlers of a worker.

A forked copy of a process with threads (JAX, NEST's OpenMP, Ray) waits for ever for those threads; one that inherits
a handler of SIGTERM may survive the end of its pool, which waits for it.
"""

import multiprocessing
import os
import signal
import sys
import threading
from functools import cache


def prepare_children(*modules: str) -> None:
    """Let `multiprocessing` start the processes of evaluations afresh, unless the user's code has chosen otherwise.

    Args:
        modules: what the main module and the optimizee's are, imported once for all of them.
    """
    _reset_forked_children()
    try:
        multiprocessing.set_start_method("forkserver")  # Python's own default from 3.14 on
    except (RuntimeError, ValueError):  # chosen already, or this system has none
        return
    multiprocessing.set_forkserver_preload(list(modules))  # by name: Python 3.11 leaves "__main__" out


@cache
def _reset_forked_children() -> None:
    """Let processes that are forked all the same be ended by SIGTERM, and print past a live panel."""

    masks = threading.local()

    def block() -> None:  # one that comes before the child has its handler would be lost
        masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def unblock() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.before)

    def reset() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        unblock()
        for name in ("stdout", "stderr"):
            setattr(sys, name, getattr(getattr(sys, name), "rich_proxied_file", getattr(sys, name)))

    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=reset)
