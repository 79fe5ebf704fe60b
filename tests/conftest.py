"""Strict settings for every test, here and in the worker processes that tests start: set before jax is imported."""

import os
import signal

import pytest
from jaxtyping import install_import_hook
from places import ROOT
from shapes import CHECKED

os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"  # (N,) with (T, N) must be said, not guessed
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["PJRT_NPROC"] = "1"
# XLA compiles in two thirds of the time without it, and most of the tests' time is compilation
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false".strip()
for library in ("OMP", "OPENBLAS", "MKL"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
os.environ["PYNEST_QUIET"] = "1"
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell in the background lets it be ignored; children inherit that

# what one process compiled the others take: workers of a pool, commands, the other half of the tests
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

install_import_hook(CHECKED, "shapes.checked")  # here, before any test imports them

# begins with the longest, in turn one that waits for other processes and one that computes
LONGEST = (
    "workers/test_ray_pool",
    "snn/test_network",
    "optimizees/test_cue_association",
    "cli/test_cli",
    "optimizers/test_evosax_adapter",
    "snn/test_gradients",
    "cluster/test_cluster_faults",
    "optimizees/",
    "cluster/",
    "dashboard/",
    "snn/",
)


def pytest_collection_modifyitems(items):
    """Begin with the files that take longest, so that the processes, a file each at a time, end together."""
    items.sort(
        key=lambda item: next((k for k, part in enumerate(LONGEST) if f"tests/{part}" in item.nodeid), len(LONGEST))
    )


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
    """A PostgreSQL server, or a skip where it isn't installed."""
    from postgres import Server

    with Server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    """The URL of a new store, on each of the two databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/l2l.db"
    return request.getfixturevalue("postgres").store()
