"""The limit: the matrix products of each net and nothing else, with PyTorch's BLAS where it is, else with numpy's.

    python benchmarks/spiking_libraries/limit.py --net a

Products that a net may take for all steps at once are one product here; the feedback of net b, which has to wait for
the step before it, is one in each step. Backward, each has two more of the same size, but that the input needs no
gradient. Multiplying by spikes costs what any numbers cost here; who skips zeros could be below this limit.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from measure import Twin, main, threads
from nets import Net

try:
    import torch
except ImportError:
    torch = None

Array = Any  # of numpy, or a tensor


def build(net: Net) -> Twin:
    """Return the products of `net` as a twin without a loss."""
    rng = np.random.default_rng(2)
    steps, batch, _ = net.spikes.shape
    if torch is not None:
        torch.set_num_threads(threads())
    convert = (lambda x: x) if torch is None else torch.from_numpy
    multiply = np.matmul if torch is None else torch.matmul

    def sequence(n: int) -> Array:
        shape = (batch, steps, n) if net.name == "c" else (steps * batch, n)
        return convert(rng.standard_normal(shape, dtype=np.float32))

    def product(source: Array, weight: Array, target: Array, by_step: bool) -> None:
        if not by_step:
            multiply(source, weight, out=target)
            return
        for t in range(0, steps * batch, batch):
            multiply(source[t : t + batch], weight, out=target[t : t + batch])

    weights = [convert(w) for w in net.weights]
    before = [sequence(w.shape[-2]) for w in net.weights]  # what each projection multiplies
    after = [sequence(w.shape[-1]) for w in net.weights]  # what it gives, also its gradient
    behind = [sequence(w.shape[-2]) for w in net.weights]  # the gradient of what it multiplies
    waits = [net.name == "b" and k == 1 for k in range(len(weights))]  # for the step before it

    def forward() -> float:
        for x, w, y, wait in zip(before, weights, after, waits, strict=True):
            product(x, w, y, wait)
        return 0.0

    def gradients() -> tuple[float, list[Array]]:
        forward()
        for k, (w, y) in enumerate(zip(weights, after, strict=True)):
            if k:
                product(y, w.swapaxes(-1, -2), behind[k], waits[k])
        return 0.0, [multiply(x.swapaxes(-1, -2), y) for x, y in zip(before, after, strict=True)]

    version = f"numpy {np.__version__}" if torch is None else f"torch {torch.__version__}"
    return Twin("limit", version, False, "no network: its matrix products alone", forward, gradients, None)


def twins(net: Net) -> Iterator[Callable[[], Twin]]:
    """Return what makes the twin."""
    yield partial(build, net)


if __name__ == "__main__":
    main(twins)
