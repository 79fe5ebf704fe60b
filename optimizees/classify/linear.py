"""A linear map from a frame of speech to its phone: what a network in time has to be better than."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from l2l_snn.space import Free, Space
from l2l_snn.validate import CountFromZero, message
from optimizees.classify.classifier import Answer, Classifier, Examples


@dataclass(frozen=True)
class LinearFrames(Classifier):
    """Softmax regression of each frame, and of those around it. Legend: B examples, F frames, K = 61 phones."""

    data: Examples = Examples(set="flite_speech", batch=16, held_out=60)
    context: CountFromZero = 0  # frames on each side that are seen too; beyond the ends zeros

    def cross_check(self) -> None:
        super().cross_check()
        if not self.data.speech:
            raise ValueError(message("data.set", "speech, timit or flite_speech", self.data.set))

    def make_space(self) -> Space:
        """Return w (39 (2 context + 1), K) and b (K,)."""
        n = self.data.inputs * (2 * self.context + 1)
        return Space(w=Free((n, self.classes), scale=n**-0.5), b=Free((self.classes,), scale=0.1))

    def answer(self, params: dict[str, Any], key: Any, x: Any) -> Answer:
        F, c = x.shape[1], self.context
        padded = jnp.pad(x, ((0, 0), (c, c), (0, 0)))
        seen = jnp.concatenate([padded[:, i : i + F] for i in range(2 * c + 1)], axis=-1)
        return Answer(seen @ params["w"] + params["b"][None, None])
