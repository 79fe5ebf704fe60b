"""The other side of a benchmark, in a Python that has PyTorch: a process that answers lines with lines of JSON."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def peer(python: str, script: str, data: Path) -> Iterator[Callable[[str], dict]]:
    """Run `python script --side data` on one thread; give the function that asks it a line and returns its answer."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [python, script, "--side", str(data)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def ask(text: str) -> dict:
            print(text, file=stdin, flush=True)
            return json.loads(stdout.readline())

        yield ask
