"""Gated and simple recurrent networks without spikes, as baselines of sequential classification; by Flax.

Legend: B examples, T steps, n inputs of a step, K classes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import jax
import jax.numpy as jnp

from l2l_snn.space import Free, Space
from l2l_snn.validate import Count, message
from optimizees.classify.classifier import Answer, Classifier


@dataclass(frozen=True)
class Gated(Classifier):
    """An LSTM (Hochreiter & Schmidhuber 1997), a GRU or a simple recurrent network that sees a pixel or a frame a step.

    Scores are a linear readout of the last state, or of each frame's. Needs Flax: pip install "l2l-snn[flax]".
    """

    kind: Literal["lstm", "gru", "rnn"] = "lstm"
    units: Count = 128  # as the source of `SequentialLSNN` has them

    def cross_check(self) -> None:
        super().cross_check()
        if self.data.events:
            raise ValueError(message("data.set", "pictures, to be shown pixel by pixel, or speech", self.data.set))

    @cached_property
    def module(self) -> Any:
        """The network, as Flax has it: (B, T, n) -> (B, K), of speech (B, T, K)."""
        from flax import linen

        cell = {"lstm": linen.OptimizedLSTMCell, "gru": linen.GRUCell, "rnn": linen.SimpleCell}[self.kind]
        layers = [linen.RNN(cell(self.units)), linen.Dense(self.classes)]
        return linen.Sequential(layers if self.data.speech else [layers[0], lambda states: states[:, -1], layers[1]])

    @cached_property
    def _variables(self) -> dict[str, Any]:
        """Flax's tree, "params", with shapes in place of parameters."""
        return jax.eval_shape(
            self.module.init, jax.random.key(0), jnp.zeros((1, 2, self.data.inputs if self.data.speech else 1))
        )

    @cached_property
    def _shapes(self) -> dict[str, Any]:
        """Names and shapes of its parameters, in the order of the tree."""
        leaves = jax.tree_util.tree_leaves_with_path(self._variables["params"])
        return {"_".join(str(part.key) for part in path): leaf for path, leaf in leaves}

    def make_space(self) -> Space:
        """Return all parameters, weights of variance 1 / n_pre and biases around 0, those of a forget gate around 1."""

        def choose(name: str, shape: tuple[int, ...]) -> Free:
            if len(shape) == 2:
                return Free(shape, scale=shape[0] ** -0.5)
            return Free(shape, 0.1, 1.0 if name.endswith("hf_bias") else 0.0)

        return Space(**{name: choose(name, leaf.shape) for name, leaf in self._shapes.items()})

    def answer(self, params: dict[str, Any], key: Any, x: Any) -> Answer:
        leaves = [params[name] for name in self._shapes]
        tree = jax.tree.unflatten(jax.tree.structure(self._variables), leaves)
        return Answer(self.module.apply(tree, x if self.data.speech else x.reshape(len(x), -1, 1)))
