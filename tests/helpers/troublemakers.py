"""Optimizees that misbehave in the ways real ones do; imported by workers too."""

import ctypes
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from l2l_snn import BatchOptimizee, Evaluation, Optimizee, Real, Space


@dataclass(frozen=True)
class Troublemaker(Optimizee):
    """A noisy sphere; the individuals with x[0] > 0.5 make trouble."""

    trouble: str = "none"
    marker: str = ""  # path of a file that exists once the trouble has happened; "" for trouble every time
    pause: float = 0.0  # s, an evaluation's length
    began: str = ""  # path of a file that is made each time that the trouble begins
    space = Space(x=Real(-1, 1, shape=(3,)))

    def evaluate(self, params, seed):
        x = params["x"]
        if self.pause:
            time.sleep(self.pause)
        fitness = -float(x @ x) + 0.01 * np.random.default_rng(seed).standard_normal()
        if self.trouble != "none" and x[0] > 0.5 and self._first():
            if self.began:
                Path(self.began).touch()
            if self.trouble == "raise":
                raise FloatingPointError("v diverged at 31.0 ms")
            if self.trouble == "nan":
                return np.nan
            if self.trouble == "shape":
                return np.zeros(2)
            if self.trouble == "text":
                return "high"
            if self.trouble == "exit":
                sys.exit(0)
            if self.trouble == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "node":  # a worker's parent is the raylet, which its node can't live without
                assert Path(f"/proc/{os.getppid()}/comm").read_text().strip() == "raylet"
                os.kill(os.getppid(), signal.SIGKILL)
                time.sleep(60.0)
            if self.trouble == "hang":
                time.sleep(1000.0)
            if self.trouble == "stuck":  # in C code that keeps Python's lock, as a simulator may
                ctypes.PyDLL(None).sleep(1000)
        return fitness, {"norm": float(np.linalg.norm(x))}

    def _first(self) -> bool:
        if not self.marker:
            return True
        try:
            os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


@dataclass(frozen=True)
class Threads(Optimizee):
    """Tells how many threads the libraries of its worker may use, -1 where nothing limits them, and JAX has in use."""

    space = Space(x=Real(-1, 1))

    def evaluate(self, params, seed):
        blas = float(os.environ.get("OPENBLAS_NUM_THREADS", "-1"))
        openmp = float(os.environ.get("OMP_NUM_THREADS", "-1"))
        import jax

        jax.numpy.ones(8).sum().block_until_ready()
        names = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
        return 0.0, {"blas": blas, "openmp": openmp, "xla": float(names.count("tf_XLAEigen"))}


@dataclass(frozen=True)
class BatchTroublemaker(BatchOptimizee):
    """The same sphere as one batch: a single bad individual spoils the call."""

    trouble: str = "none"
    space = Space(x=Real(-1, 1, shape=(3,)))

    def evaluate_batch(self, z, seeds, *, with_grad=False, with_artifacts=False):
        x = self.space.decode_columns(z)["x"]
        if self.trouble == "raise" and (x[:, 0] > 0.5).any():
            raise FloatingPointError("v diverged at 31.0 ms")
        fitness = -(x**2).sum(axis=1)
        if self.trouble == "shape":
            fitness = fitness[:-1]
        if self.trouble == "type":
            return fitness
        if self.trouble == "nan":
            fitness = np.where(x[:, 0] > 0.5, np.nan, fitness)
        return Evaluation(fitness, {"first": x[:, 0]})
