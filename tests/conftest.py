"""Strict settings for every test, here and in the worker processes that tests start: set before jax is imported."""

import os

os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"  # (N,) with (T, N) must be said, not guessed
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["PJRT_NPROC"] = "1"
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["PYNEST_QUIET"] = "1"
