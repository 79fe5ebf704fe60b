"""Plain PyTorch: the recurrences of nets.py by hand, eager and with the loop's body compiled.

VENV/bin/python benchmarks/spiking_libraries/peer_pytorch.py --net a
"""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from measure import Twin, main
from nets import BETA, RHO, Net
from torch import Tensor
from torch_side import class_loss, count_loss, parameters, twin

CHUNK = {"a": 20, "b": 16, "c": 20}  # steps compiled together; a divisor of T


class Spike(torch.autograd.Function):
    """The step function of V - threshold with the derivative of a fast sigmoid."""

    @staticmethod
    def forward(ctx, v: Tensor) -> Tensor:
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        (v,) = ctx.saved_tensors
        return grad / (v.abs() + 1).square()


def lif(current: Tensor, v: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the spikes (C, B, N) of C steps, then V and the spikes of the last of them."""
    spikes = []
    for i in current.unbind(0):
        v = BETA * v + i - s
        s = Spike.apply(v - 1)
        spikes.append(s)
    return torch.stack(spikes), v, s


def adaptive(current: Tensor, w_rec: Tensor, v: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the spikes (C, B, N) of C recurrent steps, then V, the adaptation and the spikes of the last of them."""
    spikes = []
    for i in current.unbind(0):
        a = RHO * a + (1 - RHO) * s
        v = BETA * v + torch.addmm(i, s, w_rec) - s
        s = Spike.apply(v - 1 - a)
        spikes.append(s)
    return torch.stack(spikes), v, a, s


def integrate(current: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the leaky integral (C, B, N) of C steps, and the last of it."""
    values = []
    for i in current.unbind(0):
        y = BETA * y + i
        values.append(y)
    return torch.stack(values), y


def over_time(step: Callable, current: Tensor, chunk: int, *state: Tensor) -> Tensor:
    """Return the first result of `step`, called with `chunk` steps at a time, over all T."""
    outputs = []
    for part in current.split(chunk):
        output, *state = step(part, *state)
        outputs.append(output)
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def build(net: Net, compiled: bool) -> Twin:
    """Return the net by hand: each layer's products for all steps at once, then its loop."""
    x = torch.from_numpy(net.spikes)
    weights = parameters(net)
    batch = x.shape[1]
    chunk = CHUNK[net.name] if compiled else len(x)
    wrap = partial(torch.compile, fullgraph=True, dynamic=False) if compiled else lambda step: step
    take_lif, take_adaptive, take_integral = wrap(lif), wrap(adaptive), wrap(integrate)

    def zeros(n: int) -> Tensor:
        return torch.zeros(batch, n)

    def spiking(current: Tensor) -> Tensor:
        return over_time(take_lif, current, chunk, zeros(current.shape[-1]), zeros(current.shape[-1]))

    def run_a() -> tuple[Tensor, list[Tensor]]:
        layers = [x]
        for w in weights:
            layers.append(spiking(layers[-1] @ w))
        return count_loss(layers[-1], net), layers[1:]

    def run_b() -> tuple[Tensor, list[Tensor]]:
        w_in, w_rec, w_out = weights

        def step(current: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
            return take_adaptive(current, w_rec, *state)

        spikes = over_time(step, x @ w_in, chunk, zeros(220), zeros(220), zeros(220))
        readout = over_time(take_integral, spikes @ w_out, chunk, zeros(10))
        return class_loss(readout, net), [spikes]

    def run_c() -> tuple[Tensor, list[Tensor]]:
        layers = [x]
        for w in weights:
            current = torch.bmm(layers[-1].transpose(0, 1), w)  # (B, T, N): one product a network, all steps at once
            layers.append(spiking(current.transpose(0, 1).contiguous()))
        return count_loss(layers[-1], net), layers[1:]

    run = {"a": run_a, "b": run_b, "c": run_c}[net.name]
    name = "PyTorch, compiled" if compiled else "PyTorch"
    note = (
        f"torch.compile of {chunk} steps at a time" if compiled else "eager, products of a layer for all steps at once"
    )
    return twin(name, torch.__version__, note, run, weights, compiled)


def twins(net: Net) -> Iterator[Callable[[], Twin]]:
    """Return what makes each variant."""
    yield partial(build, net, False)
    yield partial(build, net, True)


if __name__ == "__main__":
    main(twins)
