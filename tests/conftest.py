"""Strict settings for every test, here and in the worker processes that tests start: set before jax is imported."""

import os
import signal

import pytest
from jaxtyping import install_import_hook
from shapes import CHECKED

os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"  # (N,) with (T, N) must be said, not guessed
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["PJRT_NPROC"] = "1"
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["PYNEST_QUIET"] = "1"
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell in the background lets it be ignored; children inherit that

install_import_hook(CHECKED, "shapes.checked")  # here, before any test imports them


@pytest.fixture(scope="module")
def compiled_soon():
    """Let XLA leave its optimisations out, which take longer than all runs of a module's tests, and change no claim."""
    import jax

    name = "JAX_DISABLE_MOST_OPTIMIZATIONS"  # for processes that tests start
    os.environ[name] = "1"
    jax.config.update(name.lower(), True)
    yield
    jax.config.update(name.lower(), False)
    del os.environ[name]


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server, or a skip where it isn't installed; tests that use it share the xdist group "postgres"."""
    from postgres import Server

    with Server() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgres"))])
def store_url(request, tmp_path):
    """The URL of a new store, on each of the two databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/l2l.db"
    return request.getfixturevalue("postgres").store()
