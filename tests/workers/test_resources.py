import pytest

from l2l_snn.workers.base import EvaluatorError
from l2l_snn.workers.ray_pool import RayWorkers
from l2l_snn.workers.resources import THREADS, Resources
from optimizees.functions import Function

GIB = 2.0**30
SMALL = {"CPU": 2.0, "memory": 4 * GIB, "node:10.0.0.1": 1.0, "object_store_memory": GIB}
LARGE = {"CPU": 4.0, "GPU": 2.0, "memory": 64 * GIB, "loihi": 1.0, "accelerator_type:H100": 1.0}
ODD = {"CPU": 1.0, "akida": 1.0, "memory": 4 * GIB}


@pytest.mark.parametrize(
    ("need", "small", "large"),
    [
        ({}, 2, 4),
        ({"cpus": 0.1}, 20, 40),
        ({"cpus": 3}, 0, 1),
        ({"gpus": 0.5}, 0, 4),
        ({"gpus": 1 / 3, "cpus": 0.5}, 0, 6),
        ({"memory": "3 GiB"}, 1, 4),
        ({"custom": {"loihi": 0.5}}, 0, 2),
    ],
)
def test_a_node_holds_as_many_workers_as_its_scarcest_resource_lets(need, small, large):
    assert (Resources(**need).fits(SMALL), Resources(**need).fits(LARGE)) == (small, large)


@pytest.mark.parametrize(
    ("need", "text"),
    [
        ({"gpus": 3}, "resources.gpus: expected at most what a node has, got 3; the nodes have "),
        ({"cpus": 5}, "resources.cpus: expected at most what a node has, got 5; the nodes have "),
        ({"memory": "9 TiB"}, "resources.memory: expected at most what a node has, got 9.22e+03 GiB; the nodes have "),
        ({"custom": {"fpga": 1}}, "resources.custom.fpga: expected at most what a node has, got 1; the nodes have "),
        (
            {"custom": {"akida": 1}, "cpus": 2},
            "resources: expected what one node has at once, got cpus 2, custom.akida 1; the nodes have ",
        ),
        ({"cpus": 1}, "no worker could start: the nodes have "),
    ],
)
def test_why_there_is_no_worker_is_said_with_what_the_nodes_have(need, text):
    said = Resources(**need).why_none([SMALL, LARGE, ODD, SMALL], {"CPU": 0.5})
    assert said.startswith(text)
    assert "2 x (CPU 2, memory 4 GiB), (CPU 4, GPU 2, loihi 1, memory 64 GiB), (CPU 1, akida 1, memory 4 GiB)" in said
    assert said.endswith("and of all that (CPU 0.5) is free") == text.startswith("no worker")


def test_a_cluster_without_nodes_is_said():
    assert Resources().why_none([], {}) == "the Ray cluster has no node"


@pytest.mark.parametrize(("cpus", "threads"), [(0.25, "1"), (1, "1"), (2.9, "2"), (8, "8")])
def test_a_worker_has_a_thread_for_each_whole_cpu(cpus, threads):
    environment = Resources(cpus=cpus).environment()
    assert {environment[name] for name in THREADS} == {threads}


def test_a_worker_without_a_gpu_sees_none_and_one_with_a_share_takes_its_share_of_the_memory():
    none, whole, half = (Resources(gpus=gpus).environment() for gpus in (0, 1, 0.5))
    assert (none["JAX_PLATFORMS"], none["CUDA_VISIBLE_DEVICES"]) == ("cpu", "")
    assert set(whole) == set(THREADS)
    assert half["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.450"


def test_a_worker_larger_than_this_machine_is_refused_also_by_number():
    workers = RayWorkers(Function("sphere"), 1, resources=Resources(cpus=10_000))
    with pytest.raises(EvaluatorError, match=r"resources.cpus: expected at most what a node has, got 10000; the nodes"):
        workers.open()
