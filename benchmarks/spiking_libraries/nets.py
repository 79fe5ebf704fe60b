"""The three networks that all sides run: sizes, inputs, weights and targets, from numpy alone.

A neuron is leaky integrate-and-fire in steps, without units: threshold 1, one decay for all.

    V[t] = beta V[t-1] + I[t] - s[t-1]        I = input spikes @ weights, arriving in the same step
    s[t] = 1 where V[t] > 1, else 0           surrogate derivative 1 / (1 + |V - 1|)^2, the one that all libraries have

    a   600-64-64-600, T = 500, B = 16. Loss: mean square of the output spike counts minus a target.
    b   80-220-10, T = 784, B = 32; the 220 are recurrent and adapt: threshold 1 + a[t], a[t] = rho a[t-1] +
        (1 - rho) s[t-1] (Bellec et al. 2018). The 10 integrate: y[t] = beta y[t-1] + spikes @ weights. Loss:
        cross-entropy of y's mean over time.
    c   60-10-3, T = 200, B = 256 networks side by side, each with weights and one input of its own. Loss as in a.

`reference` is the same in plain numpy: what a side prints as its loss and rates is compared with it.

Legend: T steps, B samples (in c: networks), N0, N1, ... neurons of the input and of each layer.
"""

from typing import NamedTuple

import numpy as np

BETA = float(np.exp(-1 / 20))  # a membrane's decay in a step, also of the readout of b
RHO = float(np.exp(-1 / 700))  # the adaptation's decay in a step
RATE = 0.05  # of the input spikes, 1 / step
NAMES = ("a", "b", "c")


class Net(NamedTuple):
    """One of the three; arrays are float32 but for the labels of b."""

    name: str
    spikes: np.ndarray  # (T, B, N0) input
    weights: list[
        np.ndarray
    ]  # (n_pre, n_post) of each projection, in b: input, recurrent, readout; c: (B, n_pre, n_post)
    target: np.ndarray  # a, c: (B, N_last) spike counts; b: (B,) labels, int64


def make(name: str, seed: int = 1) -> Net:
    """Return the network `name` with its input; the same numbers on every side."""
    rng = np.random.default_rng(seed)

    def normal(gain: float, *shape: int) -> np.ndarray:
        return (gain / np.sqrt(shape[-2]) * rng.standard_normal(shape)).astype(np.float32)

    def bernoulli(*shape: int) -> np.ndarray:
        return (rng.random(shape) < RATE).astype(np.float32)

    if name == "a":
        weights = [normal(2.0, 600, 64), normal(2.5, 64, 64), normal(3.0, 64, 600)]
        return Net(name, bernoulli(500, 16, 600), weights, rng.integers(0, 50, (16, 600)).astype(np.float32))
    if name == "b":
        weights = [normal(2.5, 80, 220), normal(0.2, 220, 220), normal(1.0, 220, 10)]
        return Net(name, bernoulli(784, 32, 80), weights, rng.integers(0, 10, 32))
    if name == "c":
        weights = [normal(2.0, 256, 60, 10), normal(2.5, 256, 10, 3)]
        return Net(name, bernoulli(200, 256, 60), weights, rng.integers(0, 20, (256, 3)).astype(np.float32))
    raise ValueError(f"name: expected one of {', '.join(NAMES)}, got {name!r}")


def reference(net: Net) -> tuple[float, list[float]]:
    """Return the loss, and each spiking layer's rate in spikes a neuron and step, from numpy in float64."""
    weights = [w.astype(np.float64) for w in net.weights]
    batch = net.spikes.shape[1]
    if net.name == "b":
        w_in, w_rec, w_out = weights
        v, a, s, total = (np.zeros((batch, 220)) for _ in range(4))
        y, mean = np.zeros((batch, 10)), np.zeros((batch, 10))
        for x in net.spikes:
            a = RHO * a + (1 - RHO) * s
            v = BETA * v + x @ w_in + s @ w_rec - s
            s = (v > 1 + a).astype(float)
            total += s
            y = BETA * y + s @ w_out
            mean += y / len(net.spikes)
        log_p = mean - np.log(np.exp(mean).sum(1, keepdims=True))
        return float(-log_p[np.arange(batch), net.target].mean()), [float(total.mean() / len(net.spikes))]
    layers = [np.zeros((batch, w.shape[-1])) for w in weights]
    counts = [np.zeros_like(v) for v in layers]
    fired = [np.zeros_like(v) for v in layers]
    for x in net.spikes:
        s = x
        for k, w in enumerate(weights):
            current = np.einsum("bi,bij->bj", s, w) if net.name == "c" else s @ w
            layers[k] = BETA * layers[k] + current - fired[k]
            s = fired[k] = (layers[k] > 1).astype(float)
            counts[k] += s
    return float(((counts[-1] - net.target) ** 2).mean()), [float(c.mean() / len(net.spikes)) for c in counts]
