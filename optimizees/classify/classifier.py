"""Supervised classification: a base class for optimizees whose inner loop is a network that answers to examples.

An evaluation is a minibatch drawn from its seed; its fitness is the negative loss, less what the network charges for
its activity. By gradient, with the shards of a minibatch on as many workers as there are (GradientAscent.evaluations),
or by an evolution strategy (`seeds: generation`), the optimizee and its job are the same. A subclass is a network:

    @dataclass(frozen=True)
    class Linear(Classifier):
        def make_space(self):
            return Space(w=Free((784, 10), scale=1 / 28))

        def answer(self, params, key, x):
            return Answer(x.reshape(len(x), -1) @ params["w"])

Legend: P individuals, D search coordinates, B examples of a minibatch, H rows and W columns of pixels, K classes; of
events T steps and n = 2 x 34 x 34 pixels that became brighter or darker; of speech F frames of n = 39 features.
"""

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.data import events, speech
from l2l_snn.data.images import CLASSES, SIDE, Part, Pictures, read_pictures
from l2l_snn.data.mel import FEATURES
from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.seeding import jax_key, seed_words
from l2l_snn.validate import Count, CountFromZero, check_fields, message

SetName: TypeAlias = Literal["mnist", "fashion_mnist", "digit_events", "n_mnist", "flite_speech", "timit"]
AT_ONCE = 250  # examples answered together where no gradient is wanted ...
PIECES_AT_ONCE = 50  # ... and of speech


class Answer(NamedTuple):
    """What a network makes of B examples."""

    scores: Any  # (B, K), of speech (B, F, K); the largest is its answer
    cost: Any = 0.0  # () charged beside the loss
    rates: Any = 0.0  # () mean rate of its neurons, Hz; per step where a step has no duration
    shown: Any = None  # name -> (T, n) of the first example, for pictures


@dataclass(frozen=True)
class Examples:
    """Which examples are shown."""

    set: SetName = "mnist"  # `l2l data` says which are there
    batch: Count = 100  # B, examples of an evaluation
    pool: Literal[1, 2, 4, 7] = 1  # squares of so many pixels become one; of pictures
    steps: Count = 30  # T, into which the 300 ms of events are cut
    frames: Count = 100  # F, of a piece of speech, 10 ms each
    normalised_over: speech.Over = "set"  # what features of speech have mean 0 and variance 1 over
    held_out: CountFromZero = 5000  # the last of the training set, never trained
    validate: CountFromZero = 0  # how many of these an evaluation answers, always the same

    def __post_init__(self) -> None:
        check_fields(self)
        if self.validate > self.held_out:
            raise ValueError(message("validate", f"no more than held_out, {self.held_out}", self.validate))

    @property
    def events(self) -> bool:
        """Whether examples are events in time, and not pictures."""
        return self.set in ("digit_events", "n_mnist")

    @property
    def speech(self) -> bool:
        """Whether examples are pieces of speech, with a class for each frame."""
        return self.set in ("flite_speech", "timit")

    @property
    def in_time(self) -> bool:
        """Whether examples are in time by themselves, and not pictures."""
        return self.events or self.speech

    @property
    def inputs(self) -> int:
        """n, pixels of a picture or of a step of events, features of a frame."""
        if self.speech:
            return FEATURES
        return 2 * events.SIDE**2 if self.events else (SIDE // self.pool) ** 2

    @property
    def channels_and_side(self) -> tuple[int, int]:
        """Maps of an input, and rows or columns of one."""
        return (2, events.SIDE) if self.events else (1, SIDE // self.pool)

    def read(self, part: Part) -> Pictures:
        """Return a part of the set; of events x is (S, T, n / 8), packed; of speech (S, F, n) and y (S, F)."""
        if self.events:
            return Pictures(*events.read_spikes(self.set, part, self.steps))
        if self.speech:
            return Pictures(*speech.read_frames(self.set, part, self.frames, self.normalised_over))
        return read_pictures(self.set, part, self.pool)

    def training(self) -> Pictures:
        """Return what is trained, in the order of the files."""
        x, y = self.read("train")
        if len(x) < self.held_out + self.batch:
            expected = f"at least {self.batch + self.held_out} examples, batch + held_out"
            raise ValueError(message(f"data set {self.set}", expected, len(x)))
        return Pictures(x[: len(x) - self.held_out], y[: len(x) - self.held_out])

    def validation(self) -> Pictures:
        """Return what is held out."""
        x, y = self.read("train")
        return Pictures(x[len(x) - self.held_out :], y[len(x) - self.held_out :])

    def testing(self) -> Pictures:
        """Return what is for testing."""
        return self.read("t10k")

    def sample(self, seed: int) -> Pictures:
        """Return a minibatch, B different examples."""
        x, y = self.training()
        chosen = np.random.default_rng(seed).choice(len(x), self.batch, replace=False)
        return Pictures(x[chosen], y[chosen])


@dataclass(frozen=True)
class Classifier(BatchOptimizee):
    """A network that answers to examples; one evaluation is a minibatch.

    Metrics: `loss` and `accuracy` of the minibatch, `rate`; with `data.validate` also `validation_loss` and
    `validation_accuracy`. Early stopping is a stop by stagnation of the validation's loss:

        optimizee: {..., fitness: validation, data: {validate: 1000}}
        stop: {stagnation: 200}

    The gradient stays that of the minibatch, and the best individual is the one that generalises best.
    """

    fitness_label = "fitness: -(loss + costs)"
    side_by_side = False  # the examples of one network are work enough
    has_grad = True
    data: Examples = Examples()
    loss: Literal["cross_entropy", "mean_square"] = "cross_entropy"  # of softmax(scores), or of scores and one-hot
    fitness: Literal["training", "validation"] = "training"  # loss of the minibatch, or of what is held out

    @abstractmethod
    def answer(self, params: dict[str, Any], key: Any, x: Any) -> Answer:
        """Return what a network makes of examples; traced, pure.

        Args:
            params: name -> jax array.
            key: a `jax.random` key, of whatever is random in it.
            x: (B, H, W) float32, grey values in [0, 1]; of events (B, T, n) in {0, 1}; of speech (B, F, n).
        """

    def cross_check(self) -> None:
        if self.fitness == "validation" and not self.data.validate:
            raise ValueError(message("data.validate", "how many examples to validate with", 0))

    @property
    def classes(self) -> int:
        """K."""
        return len(speech.PHONES) if self.data.speech else CLASSES

    def objective(self, params: dict[str, Any], key: Any, x: Any, y: Any) -> tuple[Any, dict[str, Any]]:
        """Return what is to become small, and loss, accuracy and rate; traced.

        Args:
            params, key: as for `answer`.
            x: (B, H, W) uint8, packed events (B, T, n / 8), or speech (B, F, n).
            y: (B,) classes; of speech (B, F), NONE where there is no frame.
        """
        if self.data.events:
            x = jnp.unpackbits(x, axis=-1, count=self.data.inputs).astype(jnp.float32)
        elif not self.data.speech:
            x = x / jnp.float32(255)
        answer = self.answer(params, key, x)
        if self.loss == "cross_entropy":
            log_p = jax.nn.log_softmax(answer.scores)
            losses = -jnp.take_along_axis(log_p, y[..., None].astype(jnp.int32), axis=-1)[..., 0]
        else:
            right = jax.nn.one_hot(y, self.classes, dtype=answer.scores.dtype)
            losses = ((answer.scores - right) ** 2).sum(axis=-1)
        there = y != speech.NONE if self.data.speech else None
        loss = losses.mean(where=there)
        accuracy = (answer.scores.argmax(axis=-1) == y).mean(where=there)
        found = {"loss": loss, "accuracy": accuracy, "rate": jnp.asarray(answer.rates, jnp.float32)}
        return loss + answer.cost, found | {f"shown.{name}": value for name, value in (answer.shown or {}).items()}

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Evaluate P individuals, one after the other; artifacts are the first example's, `shown.*`."""
        run, rows, grads = _compile_objective(self, with_grad), [], []
        for one, seed in zip(np.asarray(z, np.float32), seeds, strict=True):
            x, y = self.data.sample(int(seed))
            (cost, found), grad = jax.device_get(run(one, seed_words(seed), x, y))
            rows.append({"fitness": -cost} | found | self._validate_network(one))
            grads.append(grad)
        arrays = {name: np.array([row[name] for row in rows], np.float64) for name in rows[0] if "." not in name}
        fitness = arrays.pop("fitness")
        if self.fitness == "validation":
            fitness = -arrays["validation_loss"]
        shown = [name for name in rows[0] if "." in name] if with_artifacts else []
        artifacts = {name: np.stack([row[name] for row in rows]) for name in shown}
        grad = -np.array(grads, np.float64) if with_grad else None
        return Evaluation(fitness, arrays, artifacts, grad)

    def _validate_network(self, z: np.ndarray) -> dict[str, float]:
        if not self.data.validate:
            return {}
        x, y = self.data.validation()
        loss, accuracy = self.measure(z, Pictures(x[: self.data.validate], y[: self.data.validate]))
        return {"validation_loss": loss, "validation_accuracy": accuracy}

    def measure(self, z: np.ndarray, examples: Pictures) -> tuple[float, float]:
        """Return the mean loss and the accuracy of a network over given examples.

        Args:
            z: (D,) search coordinates.
            examples: of the set; a few hundred are answered at once.
        """
        run, loss, right, total = _compile_objective(self, False), 0.0, 0.0, 0
        size = PIECES_AT_ONCE if self.data.speech else AT_ONCE
        for i in range(0, len(examples.x), size):
            x, y = examples.x[i : i + size], examples.y[i : i + size]
            (_, found), _ = run(np.asarray(z, np.float32), seed_words(i), x, y)
            answers = int(np.sum(y != speech.NONE))  # all of pictures, which have ten classes
            loss, right = loss + float(found["loss"]) * answers, right + float(found["accuracy"]) * answers
            total += answers
        return loss / total, right / total

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write what the network did with the first example (`example.png`)."""
        from optimizees.classify import figures

        shown = {name[6:]: value[0] for name, value in evaluation.artifacts.items() if name.startswith("shown.")}
        return [figures.example(shown, folder / "example.png")] if shown else []


@lru_cache(maxsize=16)
def _compile_objective(classifier: Classifier, with_grad: bool) -> Any:
    """Return the jitted function of z (D,), a seed's words, x and y -> ((cost, found), gradient or None)."""

    def cost(z: Any, words: Any, x: Any, y: Any) -> Any:
        return classifier.objective(classifier.space.decode(z), jax_key(words), x, y)

    return jax.jit(jax.value_and_grad(cost, has_aux=True) if with_grad else lambda *args: (cost(*args), None))
