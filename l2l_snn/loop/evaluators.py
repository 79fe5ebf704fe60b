"""The evaluator of a job: this process, or Ray workers here or on a cluster."""

from l2l_snn.loop.job import Job
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.validate import message
from l2l_snn.workers.evaluator import Evaluator
from l2l_snn.workers.in_process import Inline
from l2l_snn.workers.ray_pool import RayPool


def make_evaluator(
    job: Job, optimizee: BatchOptimizee, workers: int | None, inline: bool, address: str | None
) -> Evaluator:
    """Return what evaluates a job: this process, or workers here or on a cluster.

    Args:
        job: the job.
        optimizee: built from it.
        workers: how many at most; by default what fits on all CPUs.
        inline: evaluate in this process, without Ray.
        address: "auto" or "host:port" of a Ray cluster to join; None for a Ray of its own.

    Raises:
        ValueError: two of them exclude each other, or the job has a timeout and there are no workers.
    """
    if not inline:
        return RayPool(
            optimizee,
            job.chunk,
            job.max_tries,
            workers,
            resources=job.resources,
            timeout=job.timeout,
            address=address,
        )
    if address is not None or workers is not None:
        option = "--address" if address is not None else "--workers"
        raise ValueError(message(option, "an evaluation by workers", "--inline", "leave one of them out"))
    if job.timeout is not None:
        todo = "leave out --inline, or --set timeout=null"
        raise ValueError(message("timeout", "workers, which can be ended", "--inline", todo))
    return Inline(optimizee, job.chunk, job.max_tries)
