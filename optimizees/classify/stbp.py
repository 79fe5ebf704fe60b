"""Spatio-temporal backpropagation (Wu et al. 2018; Labady 2023, section 2.6): layers of iterative LIF neurons.

Legend: B examples, T steps, H rows and W columns of pixels, K classes, n_0 inputs, n_1, ... neurons of each layer; of
convolutions k side of a kernel, C_0 maps of the input, C_1, ... of each layer.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from l2l_snn.snn import surrogate
from l2l_snn.snn.cells import IterativeLIF
from l2l_snn.snn.coding import bernoulli_spikes
from l2l_snn.snn.convolution import Convolution
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.space import Free, Space
from l2l_snn.validate import Count, Positive, Share, message
from optimizees.classify.classifier import Answer, Classifier

CURVES = {
    "rectangular": surrogate.rectangular,  # h1
    "polynomial": surrogate.polynomial,  # h2
    "sigmoid": surrogate.sigmoid,  # h3
    "gaussian": surrogate.gaussian,  # h4
}
UNROLLED = 8  # steps; with more, compiling takes longer than it saves


@dataclass(frozen=True)
class STBP(Classifier):
    """Convolutional and then fully connected layers; scores are the rates of K output neurons, in spikes a step.

    Wu's 15C5-P2-40C5-P2-300-10 is `convolutions: [15, 40]`, `hidden: [300]`: the mean over squares (P2) of what a
    convolutional layer fires is what the next layer gets.

    Sizes, steps, decay and threshold aren't in Labady's text; these are those of Wu's code for MNIST: the grey values
    are a constant input current, events are spikes, the loss is the mean square of rates minus one-hot.
    """

    loss: Literal["cross_entropy", "mean_square"] = "mean_square"
    convolutions: tuple[Count, ...] = ()  # C_1, ... maps of each convolutional layer
    kernel: Count = 5  # k, side of their kernels; no padding
    pool: Count = 2  # behind each of them, squares of so many neurons become their mean
    hidden: tuple[Count, ...] = (512,)  # neurons of each hidden layer that is fully connected
    steps: Count = 8  # T; of events it is `data.steps`
    code: Literal["current", "bernoulli"] = "current"  # grey values as currents, or as the chance of a spike in a step
    decay: Share = 0.5  # of the potential in a step, tau in the source
    v_th: Positive = 0.3
    curve: Literal["rectangular", "polynomial", "sigmoid", "gaussian"] = "rectangular"  # h1 to h4, eq. 4-7
    a: Positive = 1.0  # a1 to a4: the curve's width; of h2 the inverse of its square

    def cross_check(self) -> None:
        super().cross_check()
        if self.data.speech:
            raise ValueError(message("data.set", "pictures or events", self.data.set))
        _ = self.layers  # which refuses kernels larger than what they look at

    @cached_property
    def layers(self) -> tuple[Convolution | None, ...]:
        """The convolution into layer 1, 2, ...; None: fully connected.

        The first of them behind convolutions looks at a whole pooled map, with a kernel of its size.
        """
        found: list[Convolution] = []
        shape, pool = (*self.data.channels_and_side, self.data.channels_and_side[1]), 1
        for channels in self.convolutions:
            found.append(Convolution(shape, channels, self.kernel, pool=pool))
            shape, pool = found[-1].post_shape, self.pool
        rest: list[Convolution | None] = [None] * (len(self.hidden) + 1)
        if self.convolutions:
            n = (*self.hidden, self.classes)[0]
            rest[0] = Convolution(shape, n, max(shape[1] // pool, 1), pool=pool)
        return (*found, *rest)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """(n_0, n_1, ..., K) neurons."""
        maps = [int(np.prod(layer.post_shape)) for layer in self.layers[: len(self.convolutions)] if layer]
        return (self.data.inputs, *maps, *self.hidden, self.classes)

    def make_space(self) -> Space:
        """Return the parameters of each layer, of variance 1 / (3 n_pre), n_pre the synapses of a neuron.

        Weights w1 (n_0, n_1), of a convolution (k, k, C_0, C_1); biases b1 (n_1,), or one for each map, (C_1,).
        """
        parameters = {}
        for i, (pre, post, layer) in enumerate(zip(self.sizes, self.sizes[1:], self.layers, strict=False), 1):
            shape = (pre, post) if layer is None else layer.weight_shape
            scale = (3 * np.prod(shape[:-1])) ** -0.5  # of PyTorch's uniform initial weights, as in the source's code
            parameters |= {f"w{i}": Free(shape, scale=scale), f"b{i}": Free(shape[-1:], scale=scale)}
        return Space(**parameters)

    def network(self) -> Network:
        """Return the layers "1", "2", ..., with a source "0" before them where inputs are spikes."""
        cell = IterativeLIF(self.decay, self.v_th, CURVES[self.curve](self.a))
        first = 0 if self.code == "bernoulli" or self.data.events else 1
        names = range(first, len(self.sizes))
        populations = {str(i): Population(self.sizes[i], cell if i else None) for i in names}
        projections = {
            f"w{i + 1}": Projection(str(i), str(i + 1), delay=0.0, convolution=self.layers[i]) for i in names[:-1]
        }
        return Network(populations, projections, dt=1.0)

    def to_nir(self, params: dict[str, Any], step: float = 0.1) -> Any:
        """Return the trained network for other simulators and hardware; see `l2l_snn.snn.interchange.to_nir`.

        Args:
            params: decoded weights and biases.
            step: ms that a step lasts there.
        """
        from l2l_snn.snn.interchange import to_nir

        net = replace(self, code="bernoulli").network()  # with the pixels as sources, whatever they send
        biases = {str(i): self._repeat_bias(i, params[f"b{i}"]) for i in range(1, len(self.sizes))}
        return to_nir(net, {name: params[name] for name in net.projections}, biases, step)

    def _repeat_bias(self, i: int, bias: Any) -> Any:
        """Return the bias of every neuron of layer i (n_i,), of which those of a map share one."""
        return jnp.repeat(jnp.asarray(bias), self.sizes[i] // len(bias))

    def answer(self, params: dict[str, Any], key: Any, x: Any) -> Answer:
        net, B, last = self.network(), len(x), len(self.sizes) - 1
        spikes, steps = {}, self.steps
        currents = {str(i): self._repeat_bias(i, params[f"b{i}"]) for i in range(1, last + 1)}
        x = x if self.data.events else x.reshape(B, -1)
        if self.data.events:
            spikes, steps = {"0": jnp.swapaxes(x, 0, 1)}, self.data.steps
        elif self.code == "bernoulli":
            spikes = {"0": bernoulli_spikes(key, jnp.broadcast_to(x, (self.steps, *x.shape)))}
        else:
            first = self.layers[0]
            drive = (x @ params["w1"] if first is None else first.send(x, params["w1"])) + currents["1"][None]
            currents["1"] = jnp.broadcast_to(drive, (self.steps, *drive.shape))
        state = net.init({name: params[name] for name in net.projections}, batch=B)
        _, record = net.rollout(state, spikes=spikes, currents=currents, steps=steps, unroll=steps <= UNROLLED)
        hidden = [record.spikes[str(i)].mean() for i in range(1, last)]
        shown = {f"layer {i}": record.spikes[str(i)][:, 0] for i in range(1, last + 1)}
        scores = record.spikes[str(last)].mean(axis=0)
        return Answer(scores, rates=jnp.mean(jnp.stack(hidden)) if hidden else scores.mean(), shown=shown)
