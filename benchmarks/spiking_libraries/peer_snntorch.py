"""snnTorch: Leaky and RLeaky, and in net a its two neurons that take all steps at once.

VENV/bin/python benchmarks/spiking_libraries/peer_snntorch.py --net a
"""

from collections.abc import Callable, Iterator
from functools import partial

import snntorch
import torch
from measure import Twin, main
from nets import BETA, Net
from snntorch import surrogate
from torch import Tensor
from torch_side import class_loss, count_loss, linear, parameters, twin

VERSION = snntorch.__version__
SURROGATE = surrogate.fast_sigmoid(slope=1)


def over_time(neuron: Callable, current: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
    """Return what `neuron` gives at all steps of `current` (T, B, N)."""
    outputs = []
    for i in current.unbind(0):
        result = neuron(i, *state)
        state = result[-len(state) :]  # Leaky takes the potential alone, RLeaky spikes and potential
        outputs.append(result)
    return tuple(torch.stack(values) for values in zip(*outputs, strict=True))


def by_step(net: Net) -> Twin:
    """Return the net of Leaky, in net b of RLeaky: a Python loop over steps."""
    x = torch.from_numpy(net.spikes)

    def leaky(**options: object) -> snntorch.Leaky:
        return snntorch.Leaky(beta=BETA, spike_grad=SURROGATE, **options)

    if net.name == "b":
        inputs, recurrent, readout = (linear(w) for w in parameters(net))
        hidden = snntorch.RLeaky(beta=BETA, linear_features=220, spike_grad=SURROGATE)
        hidden.recurrent = recurrent  # its own has a bias
        integrator = leaky(reset_mechanism="none")

        def run() -> tuple[Tensor, list[Tensor]]:
            zeros = torch.zeros(x.shape[1], 220)
            spikes, _ = over_time(hidden, inputs(x), zeros, zeros)
            _, potential = over_time(integrator, readout(spikes), torch.zeros(x.shape[1], 10))
            return class_loss(potential, net), [spikes]

        note = "RLeaky: recurrent, without adaptation (it has none); readout Leaky without reset"
        return twin("snnTorch", VERSION, note, run, [inputs.weight, recurrent.weight, readout.weight])

    layers = parameters(net) if net.name == "c" else [linear(w) for w in parameters(net)]
    neurons = [leaky() for _ in layers]

    def product(spikes: Tensor, layer: Tensor) -> Tensor:
        if net.name == "a":
            return layer(spikes)
        return torch.bmm(spikes.transpose(0, 1), layer).transpose(0, 1).contiguous()

    def run() -> tuple[Tensor, list[Tensor]]:
        spikes = [x]
        for layer, neuron in zip(layers, neurons, strict=True):
            current = product(spikes[-1], layer)
            spikes.append(over_time(neuron, current, torch.zeros_like(current[0]))[0])
        return count_loss(spikes[-1], net), spikes[1:]

    weights = layers if net.name == "c" else [layer.weight for layer in layers]
    return twin("snnTorch", VERSION, "Leaky, reset by subtraction", run, weights)


def parallel(net: Net) -> Twin:
    """Return net a of LeakyParallel: the recurrence is a torch.nn.RNN, its weights are the layer's."""
    x = torch.from_numpy(net.spikes)
    layers = []
    for w in net.weights:
        layer = snntorch.LeakyParallel(*w.shape, beta=BETA, bias=False, spike_grad=SURROGATE)
        with torch.no_grad():
            layer.rnn.weight_ih_l0.copy_(torch.from_numpy(w.T))
        layers.append(layer)

    def run() -> tuple[Tensor, list[Tensor]]:
        spikes = [x]
        for layer in layers:
            spikes.append(layer(spikes[-1]))
        return count_loss(spikes[-1], net), spikes[1:]

    note = "another neuron: no reset, V >= 0; its decay is a matrix product"
    return twin("snnTorch, LeakyParallel", VERSION, note, run, [layer.rnn.weight_ih_l0 for layer in layers])


def kernel(net: Net) -> Twin:
    """Return net a of StateLeaky: a causal convolution with the exponential kernel, no loop."""
    x = torch.from_numpy(net.spikes)
    layers = [linear(w) for w in parameters(net)]
    decay = 1 - 1 / 20  # its kernel is exp(-(1 - beta) t)
    neurons = [snntorch.StateLeaky(decay, layer.out_features, spike_grad=SURROGATE) for layer in layers]

    def run() -> tuple[Tensor, list[Tensor]]:
        spikes = [x]
        for layer, neuron in zip(layers, neurons, strict=True):
            spikes.append(neuron(layer(spikes[-1]))[0])
        return count_loss(spikes[-1], net), spikes[1:]

    note = "another neuron: no reset; all steps in one convolution"
    return twin("snnTorch, StateLeaky", VERSION, note, run, [layer.weight for layer in layers])


def twins(net: Net) -> Iterator[Callable[[], Twin]]:
    """Return what makes each variant."""
    yield partial(by_step, net)
    if net.name == "a":
        yield partial(parallel, net)
        yield partial(kernel, net)


if __name__ == "__main__":
    main(twins)
