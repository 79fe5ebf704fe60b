"""The hybrid reasoning network: artificial parsers say what there is and what is asked, spiking neurons answer.

A parser makes concepts of each cell of a scene, another one a program of a question's words. Hybrid units make spikes
of both: concepts are groups of neurons, and the program gates their synapses. Neurons of a thing fire where all
concepts that are asked for are there at once; others fire for concepts of the things that fit; a layer behind them
reads how many fire, and the answer is the winner of the readouts (Zhao et al. 2022, Fig. 5, in words; sizes and
synapses are ours).

Legend: B examples, C cells, V concepts, T steps, G neurons of a group, H of the last layer, K answers.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.snn.cells import IterativeLIF
from l2l_snn.snn.hybrid import HybridUnit, evenly_spaced, exponential_kernel, to_spikes, truncated
from l2l_snn.snn.network import Network, Population
from l2l_snn.snn.surrogate import rectangular
from l2l_snn.space import Free, Integer, Real, Space
from l2l_snn.validate import AtLeast, Below1, Count, NotNegative, Positive, check_fields, message
from optimizees.hybrid.network import Artificial, Batch, HybridNetwork, Part
from optimizees.hybrid.scenes import ANSWERS, CELL, CONCEPTS, GRID, KINDS, LENGTH, WORDS, make_questions

V, K = len(CONCEPTS), len(ANSWERS)
FEATURES = 2 + V  # how many things fit each of two demands, and of each concept among those that fit the first


@dataclass(frozen=True)
class Scenes:
    """How many scenes with questions there are."""

    count: Count = 3000  # for training
    validation: Count = 400
    test: Count = 1200

    def __post_init__(self) -> None:
        check_fields(self)

    def read(self, part: Part) -> Any:
        """Return the questions of a part; none is in two."""
        seeds = {"training": (self.count, 1), "validation": (self.validation, 2), "test": (self.test, 3)}
        return make_questions(*seeds[part])


@dataclass(frozen=True)
class Reasoning(HybridNetwork):
    """HRN; with `spiking: false` its artificial twin, of the same weights, with rectified numbers in place of spikes.

    Metrics: `accuracy`, and that of each kind of question (`count`, `compare`, `exist`, `query`); `concepts` and
    `program`, how often the parsers are right altogether; `rate`, spikes a step of the last layer. The score is the
    accuracy. Lessons: first the parsers alone, then everything. Needs Flax: pip install "l2l-snn[flax]".
    """

    scenes: Scenes = Scenes()
    spiking: bool = True
    steps: Count = 6  # T
    group: Count = 3  # G
    number: Annotated[int, AtLeast(1)] = 3  # neurons of each group that work, at most G
    hidden: Count = 96  # H
    parser: Count = 96  # neurons of the scene parser's layer
    words: Count = 48  # neurons of the question parser
    window: Annotated[int, AtLeast(1)] = 6  # steps, of the units that read the last layer, at most T
    tau: Positive = 40.0  # steps, of their exponential kernel
    decay: Below1 = 0.2  # of a potential in a step
    v_th: Positive = 0.6  # of all neurons
    width: Positive = 1.0  # of the surrogate derivative, a rectangle
    parser_iterations: Count = 500  # of the first lesson
    taught: NotNegative = 1.0  # weight of the parsers' own losses beside that of the answer
    removed: Below1 = 0.0  # share of the neurons between parsers and answers that are silent, drawn from the seed

    def cross_check(self) -> None:
        if self.window > self.steps:
            raise ValueError(message("window", f"no more than steps, {self.steps}", self.window))

    @cached_property
    def scene_network(self) -> Artificial:
        """The scene parser: cells (..., CELL * CELL * 3) in [0, 1] -> logits of concepts (..., V)."""
        from flax import linen

        layers = [linen.Dense(self.parser), linen.relu, linen.Dense(V)]
        return Artificial("scene", linen.Sequential(layers), (1, CELL * CELL * 3), gain=1.4)

    @cached_property
    def question_network(self) -> Artificial:
        """The question parser: words one-hot (B, L, words) -> logits of demands, kind and what may answer."""
        from flax import linen

        read = linen.RNN(linen.GRUCell(self.words))
        layers = [read, lambda states: states[:, -1], linen.Dense(2 * V + len(KINDS) + V)]
        return Artificial("question", linen.Sequential(layers), (1, LENGTH, len(WORDS)))

    @cached_property
    def weights(self) -> Space:
        """Those of both parsers; of the last layer for each kind of question, and of the readouts."""
        n = len(KINDS)
        last = {"w_hidden": Free((n, FEATURES, self.hidden), 0.5), "b_hidden": Free((n, self.hidden), 0.3)}
        readout = {"w_out": Free((self.hidden, K), 1.5 * self.hidden**-0.5), "b_out": Free((K,), 0.05)}
        return Space(**self.scene_network.parameters(), **self.question_network.parameters(), **last, **readout)

    @cached_property
    def units(self) -> Space:
        """Window and kernel of the units that read the last layer; neurons of each group."""
        window, tau = Integer(1, max(2, self.steps)), Real(0.5, 4.0 * self.steps, log=True)
        return Space(window=window, tau=tau, number=Integer(1, max(2, self.group)))

    @property
    def designed(self) -> dict[str, Any]:
        return {"window": self.window, "tau": self.tau, "number": self.number}

    def sample(self, generator: np.random.Generator) -> Batch:
        questions = self.scenes.read("training")
        chosen = generator.integers(0, len(questions.answer), self.training.batch)
        return {name: value[chosen] for name, value in questions._asdict().items()}

    def lessons(self, generator: np.random.Generator) -> Iterable[Iterator[Batch]]:
        yield (self._without_answers(self.sample(generator)) for _ in range(self.parser_iterations))
        yield (self.sample(generator) for _ in range(self.training.iterations))

    def _without_answers(self, batch: Batch) -> Batch:
        return {name: value for name, value in batch.items() if name != "answer"}

    def exams(self, generator: np.random.Generator, part: Part) -> Iterable[Batch]:
        return [self.scenes.read(part)._asdict()]

    def parse(self, weights: Mapping[str, Any], batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return logits of concepts (B, C, V), and of the program (B, 3 V + 4): demands, kind, what may answer."""
        scene = batch["scene"] / jnp.float32(255)
        cells = scene.reshape(-1, GRID, CELL, GRID, CELL, 3).swapaxes(2, 3).reshape(len(scene), GRID**2, -1)
        words = jax.nn.one_hot(batch["words"], len(WORDS))
        return self.scene_network(weights, cells), self.question_network(weights, words)

    def objective(
        self, weights: Mapping[str, Any], units: Mapping[str, Any], key: Any, batch: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        concepts, program = self.parse(weights, batch)
        truth = {name: batch[name].astype(jnp.float32) for name in ("concepts", "demands", "asked")}
        kinds = jax.nn.one_hot(batch["kind"], len(KINDS))
        right = jnp.concatenate([truth["demands"].reshape(-1, 2 * V), kinds, truth["asked"]], axis=1)
        own = _binary_loss(concepts, truth["concepts"]) + _binary_loss(program, right)
        if "answer" not in batch:
            return own, {"own": own}
        scores, spikes = self.answer(weights, units, key, jax.nn.sigmoid(concepts), jax.nn.sigmoid(program))
        log_p = jax.nn.log_softmax(scores)
        loss = -jnp.take_along_axis(log_p, batch["answer"][:, None].astype(jnp.int32), axis=1).mean()
        correct = (scores.argmax(axis=1) == batch["answer"]).astype(jnp.float32)
        found = {"loss": loss, "accuracy": correct.mean(), "score": correct.mean(), "rate": spikes.mean()}
        for i, kind in enumerate(KINDS):
            found[kind] = (correct * kinds[:, i]).sum() / jnp.maximum(kinds[:, i].sum(), 1)
        found["concepts"] = ((concepts > 0) == (truth["concepts"] > 0)).all(axis=(1, 2)).mean()
        found["program"] = ((program > 0) == (right > 0)).all(axis=1).mean()
        found |= {"shown.scene": batch["scene"][0] / jnp.float32(255), "shown.hidden": spikes[:, 0]}
        return loss + self.taught * own, found | {"shown.scores": scores[0]}

    def answer(
        self, weights: Mapping[str, Any], units: Mapping[str, Any], key: Any, concepts: Any, program: Any
    ) -> tuple[Any, Any]:
        """Return scores (B, K) and spikes of the last layer (T, B, H), given concepts (B, C, V) and the program."""
        first, last = jax.random.split(key)
        kinds = program[:, 2 * V : 2 * V + len(KINDS)]
        features = self.find(units, first, concepts, program)
        currents = jnp.einsum("bk,tbf,kfh->tbh", kinds, features, weights["w_hidden"])
        currents = currents + (kinds @ weights["b_hidden"])[None]
        spikes = self.advance(currents) * self.kept(last, (self.hidden,))
        kernel = truncated(exponential_kernel(len(spikes), units["tau"]), units["window"] if self.spiking else 1)
        read = HybridUnit(len(spikes), kernel / kernel.sum(), stride=len(spikes))(spikes)[0]
        return read @ weights["w_out"] + weights["b_out"][None], spikes

    def find(self, units: Mapping[str, Any], key: Any, concepts: Any, program: Any) -> Any:
        """Return what reaches the last layer, (T, B, FEATURES): how many things fit, and how many of each concept.

        A neuron of a thing gets 1 - sum_v gate_v (1 - what v's group sends), one for a concept of it what the thing's
        group and the concept's send together, less 1: both fire where nothing that is asked for is missing.
        """
        demands, asked = program[:, : 2 * V].reshape(-1, 2, V), program[:, 2 * V + len(KINDS) :]
        keys = jax.random.split(key, 3)
        sent = self.send(units, keys[0], concepts)  # (T, B, C, V): what a concept's group sends
        lacking = jnp.einsum("bdv,tbcv->tbcd", demands, 1 - sent)
        things = self.fire(units, keys[1], sent[..., :1] - lacking)  # (T, B, C, 2)
        among = self.fire(units, keys[2], things[..., :1] + sent - 1)  # (T, B, C, V)
        return jnp.concatenate([things.sum(axis=2), among.sum(axis=2) * asked[None]], axis=-1)

    def kept(self, key: Any, shape: tuple[int, ...]) -> Any:
        """Return (1, ..., 1 or 0) which of the neurons work: all but the share that is removed, to the nearest one."""
        size = int(np.prod(shape))
        order = jax.random.permutation(key, size)
        return (order >= round(self.removed * size)).astype(jnp.float32).reshape(1, 1, *shape)

    def send(self, units: Mapping[str, Any], key: Any, concepts: Any) -> Any:
        """Return (T, B, C, V) the mean of what the neurons of each concept's group send; of a twin the numbers."""
        phases = (np.arange(self.group) + 0.5) / self.group  # neurons of a group don't fire together
        numbers = jnp.broadcast_to(concepts[None, ..., None], (1, *concepts.shape, self.group))
        if self.spiking:
            numbers = to_spikes(self.steps, evenly_spaced(jnp.asarray(phases, jnp.float32).reshape(1, 1, 1, -1)))(
                numbers
            )
        return self.pool(units, key, numbers)

    def fire(self, units: Mapping[str, Any], key: Any, currents: Any) -> Any:
        """Return the mean of what groups of neurons send that all get these currents (T, B, C, n)."""
        T, B = currents.shape[:2]
        one = self.advance(currents.reshape(T, B, -1)).reshape(currents.shape)
        return self.pool(units, key, jnp.broadcast_to(one[..., None], (*one.shape, self.group)))

    def pool(self, units: Mapping[str, Any], key: Any, sent: Any) -> Any:
        """Return the mean over the neurons of groups (T, B, C, n, G), those removed sending nothing."""
        works = (jnp.arange(self.group) < units["number"]).astype(jnp.float32)
        kept = self.kept(key, sent.shape[2:]) * works.reshape(1, 1, 1, 1, -1)
        return (sent * kept).sum(axis=-1) / works.sum()

    def advance(self, currents: Any) -> Any:
        """Return spikes (T, B, n) of neurons that get currents; of a twin the currents, rectified."""
        if not self.spiking:
            return jnp.maximum(currents, 0)
        cell = IterativeLIF(self.decay, self.v_th, rectangular(self.width))
        net = Network({"n": Population(currents.shape[-1], cell)}, {}, dt=1.0)
        return net.rollout(net.init({}, batch=currents.shape[1]), currents={"n": currents})[1].spikes["n"]


def _binary_loss(logits: Any, right: Any) -> Any:
    """Return the binary cross-entropy of logits (B, ...), summed within examples, in the mean over them."""
    loss = jnp.maximum(logits, 0) - logits * right + jnp.log1p(jnp.exp(-jnp.abs(logits)))
    return loss.reshape(len(logits), -1).sum(axis=1).mean()
