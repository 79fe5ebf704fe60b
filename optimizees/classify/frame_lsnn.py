"""Speech classified frame by frame by long short-term memory spiking networks (Bellec et al. 2018, section 4).

The text gives 300 LIF (200 excitatory, 100 inhibitory) and 100 excitatory adaptive neurons with 20 % of the connections
and an adaptation of 200 ms. It says neither how features become inputs nor how long a frame lasts: see the fields.

Legend: B examples, F frames of 39 features, T = F frame_ms steps of 1 ms, C input neurons, N neurons, K = 61 phones.
"""

from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import AdaptiveLIF
from l2l_snn.snn.network import Network
from l2l_snn.snn.surrogate import triangle
from l2l_snn.space import Free, Space
from l2l_snn.validate import Count, CountFromZero, NotNegative, Positive, check_multiple, message
from optimizees.classify.classifier import Answer, Classifier, Examples
from optimizees.classify.lsnn import build_lsnn

SPAN = 1.5  # standard deviations of a feature, from which to which thresholds lie


@dataclass(frozen=True)
class FrameLSNN(Classifier):
    """Regular and adaptive LIF neurons that name the phone of every frame; with `adaptive: 0` it is the source's "LIF".

    Scores of a frame are the mean of K leaky readouts while it lasts. Excitatory and inhibitory are kinds that only
    DEEP R keeps to (`benchmarks/experiments/classify.py --rewire 0.2`).
    """

    data: Examples = Examples(set="flite_speech", batch=16, held_out=60)
    excitatory: Count = 200  # LIF neurons
    inhibitory: CountFromZero = 100  # LIF neurons
    adaptive: CountFromZero = 100  # adaptive LIF neurons, excitatory
    frame_ms: Count = 5  # that a frame of 10 ms of speech lasts
    code: Literal["current", "thresholds"] = "current"  # features as currents; or neurons that fire once in each frame
    thresholds: Count = 5  # of these for each feature: each fires if the feature is above its threshold
    gain: Positive = 0.1  # standard deviation of the first input to a neuron, of features of variance 1
    tau_m: Positive = 20.0  # ms, membrane, also of the readout
    tau_a: Positive = 200.0  # ms, adaptation
    beta: NotNegative = 1.8  # ms, rise of the threshold for each unit of adaptation
    v_th: Positive = 0.01  # of both kinds
    t_ref: NotNegative = 2.0  # ms
    delay: Positive = 5.0  # ms, of recurrent synapses
    damping: Positive = 0.3  # of the surrogate derivative
    price: NotNegative = 0.1  # of the squared distance of each neuron's rate to `target_rate`, spikes / ms, summed
    target_rate: NotNegative = 10.0  # Hz

    def cross_check(self) -> None:
        super().cross_check()
        if not self.data.speech:
            raise ValueError(message("data.set", "speech, timit or flite_speech", self.data.set))
        check_multiple("delay", self.delay, 1.0, "the network's step")

    @property
    def regular(self) -> int:
        """Neurons that don't adapt, the first ones."""
        return self.excitatory + self.inhibitory

    @property
    def neurons(self) -> int:
        """N."""
        return self.regular + self.adaptive

    @property
    def sources(self) -> int:
        """Rows of the input weights: C neurons, or features."""
        return self.data.inputs * (self.thresholds if self.code == "thresholds" else 1)

    def make_space(self) -> Space:
        """Return w_in (C, N), w_rec (N, N), w_out (N, K), the last two of variance 1 / n_pre, and b_out (K,)."""
        n, K = self.neurons, self.classes
        gain = self.gain if self.code == "current" else 1.0
        return Space(
            w_in=Free((self.sources, n), scale=gain * self.sources**-0.5),
            w_rec=Free((n, n), scale=n**-0.5),
            w_out=Free((n, K), scale=n**-0.5),
            b_out=Free((K,), scale=0.1),
        )

    def network(self) -> Network:
        """Return neurons "lsnn", the regular ones first (beta 0), and readouts "out"; with thresholds sources "in"."""
        beta = np.where(np.arange(self.neurons) >= self.regular, self.beta, 0.0)
        cell = AdaptiveLIF(self.tau_m, self.v_th, self.t_ref, beta, self.tau_a, triangle(self.damping))
        sources = self.sources if self.code == "thresholds" else 0
        return build_lsnn(sources, self.neurons, self.classes, cell, (0.0, self.delay))

    def encode(self, x: Any) -> Any:
        """Return features of every step, or sources' spikes (T, B, C), of frames (B, F, 39); traced."""
        frames = jnp.swapaxes(x, 0, 1)
        if self.code == "current":
            return jnp.repeat(frames, self.frame_ms, axis=0)
        limits = jnp.asarray(np.linspace(-SPAN, SPAN, self.thresholds + 2)[1:-1], x.dtype)
        above = (frames[..., None] >= limits[None, None, None]).reshape(*frames.shape[:2], -1)
        first = jnp.zeros((self.frame_ms, 1, 1), x.dtype).at[0].set(1.0)
        return (above[:, None] * first[None]).reshape(-1, *above.shape[1:])

    def answer(self, params: dict[str, Any], key: Any, x: Any) -> Answer:
        net, given = self.network(), self.encode(x)
        state = net.init({name: params[name] for name in net.projections}, batch=len(x))
        inputs: dict[str, Any] = {"spikes": {"in": given}}
        if self.code == "current":
            inputs = {"currents": {"lsnn": given @ params["w_in"]}}
        _, kept = net.rollout(state, **inputs, record=("spikes.lsnn", "spikes.out"), reverse_only=True)
        readout, spikes = kept.spikes["out"], kept.spikes["lsnn"]
        frames = readout.reshape(-1, self.frame_ms, *readout.shape[1:]).mean(axis=1)  # (F, B, K)
        scores = jnp.swapaxes(frames, 0, 1) + params["b_out"][None, None]
        rates = spikes.mean(axis=(0, 1))  # spikes / ms
        cost = self.price * jnp.sum((rates - self.target_rate / 1000) ** 2)
        shown = {"regular": spikes[:, 0, : self.regular]}
        shown |= {"adaptive": spikes[:, 0, self.regular :]} if self.adaptive else {}
        shown |= {"readout": jnp.repeat(jax.nn.softmax(scores[0]), self.frame_ms, axis=0)}
        return Answer(scores, cost, 1000 * rates.mean(), shown)
