"""Pictures shown pixel by pixel to long short-term memory spiking networks (Bellec et al. 2018, section 4).

The text gives sizes, time constants of adaptation and accuracies; numbers beyond these are those of the authors' code
(LSNN-official, sequential MNIST).

Legend: B examples, T steps of 1 ms, S pixels, C input neurons, N neurons, A of them adaptive, K classes.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import AdaptiveLIF
from l2l_snn.snn.coding import bernoulli_spikes, place_code, threshold_crossings
from l2l_snn.snn.network import Network
from l2l_snn.snn.surrogate import triangle
from l2l_snn.space import Free, Space
from l2l_snn.validate import AtLeast, Count, CountFromZero, NotNegative, Positive, check_multiple, message
from optimizees.classify.classifier import Answer, Classifier
from optimizees.classify.lsnn import build_lsnn


@dataclass(frozen=True)
class SequentialLSNN(Classifier):
    """Regular and adaptive LIF neurons, all connected; they answer while a further input neuron fires.

    Scores are the mean of K leaky readouts over the last `answer_ms`. With `adaptive: 0` it is the source's "LIF".

    Not the source's: its delays are drawn for each synapse from 1 to 10 ms; here all are `delay`, their mean, since the
    engine then takes five steps at once.
    """

    regular: CountFromZero = 120  # LIF neurons
    adaptive: CountFromZero = 100  # A, adaptive LIF neurons
    pixel_ms: Count = 1  # ms that a pixel is shown; the source has 1 and 2
    code: Literal["crossings", "population"] = "crossings"  # of grey values: see `threshold_crossings`, `place_code`
    thresholds: Annotated[int, AtLeast(2)] = 40  # of crossings; C = 2 thresholds; population: as many neurons
    cue_ms: Count = 56  # after the last pixel a further input neuron fires in every step; the answer falls there
    answer_ms: Count = 28  # at the end
    tau_m: Positive = 20.0  # ms, membrane, also of the readout
    tau_a: Positive = 700.0  # ms, adaptation; the source has 1400 for pixels of 2 ms
    beta: NotNegative = 1.8  # ms, rise of the threshold for each unit of adaptation
    v_th: Positive = 0.01  # of both kinds
    t_ref: NotNegative = 5.0  # ms
    delay: Positive = 5.0  # ms, of input and recurrent synapses
    damping: Positive = 0.3  # of the surrogate derivative
    price: NotNegative = 0.1  # of the squared distance of each neuron's rate to `target_rate`, spikes / ms, summed
    target_rate: NotNegative = 10.0  # Hz

    def cross_check(self) -> None:
        super().cross_check()
        if self.data.in_time:
            raise ValueError(message("data.set", "pictures, to be shown pixel by pixel", self.data.set))
        if not self.neurons:
            raise ValueError(message("regular + adaptive", "at least one neuron", 0))
        if self.answer_ms > self.cue_ms:
            raise ValueError(message("answer_ms", f"no more than cue_ms, {self.cue_ms}", self.answer_ms))
        check_multiple("delay", self.delay, 1.0, "the network's step")

    @property
    def neurons(self) -> int:
        """N."""
        return self.regular + self.adaptive

    @property
    def sources(self) -> int:
        """C."""
        return 2 * self.thresholds

    def make_space(self) -> Space:
        """Return w_in (C, N), w_rec (N, N), w_out (N, K), all of variance 1 / n_pre, and b_out (K,)."""
        n, K = self.neurons, self.classes
        return Space(
            w_in=Free((self.sources, n), scale=self.sources**-0.5),
            w_rec=Free((n, n), scale=n**-0.5),
            w_out=Free((n, K), scale=n**-0.5),
            b_out=Free((K,), scale=0.1),
        )

    def network(self) -> Network:
        """Return sources "in", neurons "lsnn", the regular ones first (beta 0), and readouts "out"."""
        beta = np.where(np.arange(self.neurons) >= self.regular, self.beta, 0.0)
        cell = AdaptiveLIF(self.tau_m, self.v_th, self.t_ref, beta, self.tau_a, triangle(self.damping))
        return build_lsnn(self.sources, self.neurons, self.classes, cell, (self.delay, self.delay))

    def encode(self, key: Any, x: Any) -> Any:
        """Return the sources' spikes (T, B, C) of pictures (B, H, W) in [0, 1]; traced."""
        pixels = jnp.repeat(x.reshape(len(x), -1).T, self.pixel_ms, axis=0)  # (S pixel_ms, B)
        if self.code == "crossings":
            spikes = threshold_crossings(pixels, self.thresholds)
        else:
            p = place_code(pixels, 0.0, 1.0, self.sources - 1, sharpness=50.0, floor=0.0)
            spikes = bernoulli_spikes(key, p)
        T, B, n = spikes.shape
        spikes = jnp.concatenate([spikes, jnp.zeros((self.cue_ms, B, n), spikes.dtype)])
        cue = jnp.broadcast_to((jnp.arange(T + self.cue_ms) >= T)[:, None, None], (T + self.cue_ms, B, 1))
        return jnp.concatenate([spikes, cue.astype(spikes.dtype)], axis=-1)

    def answer(self, params: dict[str, Any], key: Any, x: Any) -> Answer:
        net, spikes = self.network(), self.encode(key, x)
        state = net.init({name: params[name] for name in net.projections}, batch=len(x))
        record = ("spikes.lsnn", "spikes.out")
        _, kept = net.rollout(state, spikes={"in": spikes}, record=record, reverse_only=True)
        scores = kept.spikes["out"][-self.answer_ms :].mean(axis=0) + params["b_out"][None]
        rates = kept.spikes["lsnn"].mean(axis=(0, 1))  # spikes / ms
        cost = self.price * jnp.sum((rates - self.target_rate / 1000) ** 2)
        order = {"in": spikes[:, 0], "regular": kept.spikes["lsnn"][:, 0, : self.regular]}
        order |= {"adaptive": kept.spikes["lsnn"][:, 0, self.regular :]} if self.adaptive else {}
        shown = order | {"readout": jax.nn.softmax(kept.spikes["out"][:, 0] + params["b_out"][None])}
        return Answer(scores, cost, 1000 * rates.mean(), shown)
