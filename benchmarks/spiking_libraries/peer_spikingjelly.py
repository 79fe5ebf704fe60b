"""SpikingJelly: LIFNode in both its step modes, and in net b also FlexSN, its neuron from a function of one step.

    VENV/bin/python benchmarks/spiking_libraries/peer_spikingjelly.py --net a

Its fused kernels are for GPUs; on a CPU its operators loop over steps in Python, forward and backward.
"""

from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version

import torch
from measure import Twin, main
from nets import BETA, RHO, Net
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor
from torch_side import class_loss, count_loss, linear, parameters, twin

VERSION = version("spikingjelly")
TAU = 1 / (1 - BETA)  # it decays by 1 - 1 / tau
SURROGATE = surrogate.SuperSpike(alpha=1.0)  # alpha / (1 + |x|)^2


def lif(step_mode: str) -> neuron.LIFNode:
    """Return the neuron of nets.py, but that a reset decays with V."""
    return neuron.LIFNode(TAU, decay_input=False, v_reset=None, surrogate_function=SURROGATE, step_mode=step_mode)


def integrate(current: Tensor) -> Tensor:
    """Return the leaky integral (T, B, N) of `current` from NonSpikingLIFNode, which multiplies inputs by 1 / tau."""
    node = neuron.NonSpikingLIFNode(TAU)
    node.v = torch.zeros_like(current[0])
    values = []
    for i in (TAU * current).unbind(0):  # its own `forward` indexes the input, which is slower backward
        node.neuronal_charge(i)
        values.append(node.v)
    return torch.stack(values)


def feed_forward(net: Net, step_mode: str) -> Twin:
    """Return net a or c of LIFNode in step mode "m", all steps in a call, or "s"."""
    x = torch.from_numpy(net.spikes)
    layers = parameters(net) if net.name == "c" else [linear(w) for w in parameters(net)]
    neurons = [lif(step_mode) for _ in layers]

    def product(spikes: Tensor, layer: Tensor) -> Tensor:
        if net.name == "a":
            return layer(spikes)
        return torch.bmm(spikes.transpose(0, 1), layer).transpose(0, 1).contiguous()

    def run() -> tuple[Tensor, list[Tensor]]:
        spikes = [x]
        for layer, node in zip(layers, neurons, strict=True):
            functional.reset_net(node)
            current = product(spikes[-1], layer)
            spikes.append(node(current) if step_mode == "m" else torch.stack([node(i) for i in current.unbind(0)]))
        return count_loss(spikes[-1], net), spikes[1:]

    weights = layers if net.name == "c" else [layer.weight for layer in layers]
    if step_mode == "m":
        return twin("SpikingJelly, multi-step", VERSION, "LIFNode, reset by subtraction", run, weights)
    return twin("SpikingJelly, single-step", VERSION, "LIFNode in a loop, reset by subtraction", run, weights)


def adaptive_step(i: Tensor, v: Tensor, a: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the spikes of one step of nets.py's net b and the new state, from its input `i` and V, a and s before."""
    a = RHO * a + (1 - RHO) * s
    v = BETA * v + i - s
    s = surrogate.super_spike.apply(v - 1 - a, 1.0)
    return s, v, a, s


def recurrent(net: Net, flexible: bool) -> Twin:
    """Return net b: a layer of feedback around LIFNode or FlexSN (whose step takes no matrix) in single-step mode."""
    x = torch.from_numpy(net.spikes)
    inputs, feedback, readout = (linear(w) for w in parameters(net))
    node = neuron.FlexSN(adaptive_step, num_states=3, step_mode="s") if flexible else lif("s")

    def run() -> tuple[Tensor, list[Tensor]]:
        functional.reset_net(node)
        s, spikes = torch.zeros(x.shape[1], 220), []
        for i in inputs(x).unbind(0):
            s = node(i + feedback(s))
            spikes.append(s)
        hidden = torch.stack(spikes)
        return class_loss(integrate(readout(hidden)), net), [hidden]

    weights = [inputs.weight, feedback.weight, readout.weight]
    if flexible:
        return twin("SpikingJelly, FlexSN", VERSION, "adapts: a step of our own in its FlexSN", run, weights)
    note = "LIFNode in a loop, without adaptation (it has none)"
    return twin("SpikingJelly, single-step", VERSION, note, run, weights)


def twins(net: Net) -> Iterator[Callable[[], Twin]]:
    """Return what makes each variant."""
    if net.name == "b":
        yield partial(recurrent, net, False)
        yield partial(recurrent, net, True)
    else:
        yield partial(feed_forward, net, "m")
        yield partial(feed_forward, net, "s")


if __name__ == "__main__":
    main(twins)
