"""Hybrid networks as optimizees: their own gradient trains them, and evolution may search their hybrid units.

What the genome is, says a field:

- `genome: weights`: an evaluation is a minibatch, its fitness the negative loss, with the gradient (GradientAscent), or
  without (an evolution strategy).
- `genome: units`: windows, kernels and numbers of the hybrid units. An evaluation trains a network that has them, from
  first weights drawn from its seed, by its gradient, and the fitness is its score over examples that it never saw.

Legend: P individuals, D search coordinates.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.seeding import jax_key, seed_words
from l2l_snn.space import Free, Integer, Real, Space
from l2l_snn.validate import Count, Positive, check_fields, message

Batch: TypeAlias = Mapping[str, np.ndarray]  # name -> examples, (B, ...)
Part: TypeAlias = Literal["training", "validation", "test"]


@dataclass(frozen=True)
class Training:
    """How a network is trained: by Adam (Kingma & Ba 2015), in units of z."""

    batch: Count = 64  # B, examples of a minibatch
    iterations: Count = 300  # of a lesson
    learning_rate: Positive = 0.03
    tests: Count = 256  # examples of a score; those of `genome: units`

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class HybridNetwork(BatchOptimizee):
    """A network of spiking and artificial parts, joined by hybrid units.

    Metrics: `loss` and what the network adds; with `genome: units` also `score`, larger is better.
    """

    fitness_label = "fitness: -loss, or the score after training"
    side_by_side = False  # a minibatch is work enough
    has_grad = True
    genome: Literal["weights", "units"] = "weights"
    training: Training = Training()

    @property
    @abstractmethod
    def weights(self) -> Space:
        """The search space of its weights."""

    @property
    @abstractmethod
    def units(self) -> Space:
        """The search space of its hybrid units."""

    @property
    @abstractmethod
    def designed(self) -> dict[str, Any]:
        """What its fields say of its hybrid units; the names are those of `units`."""

    @abstractmethod
    def sample(self, generator: np.random.Generator) -> Batch:
        """Return a minibatch for training all its weights."""

    @abstractmethod
    def lessons(self, generator: np.random.Generator) -> Iterable[Iterator[Batch]]:
        """Return the minibatches of a whole training; in each lesson Adam begins anew."""

    @abstractmethod
    def exams(self, generator: np.random.Generator, part: Part) -> Iterable[Batch]:
        """Return minibatches that say how good a trained network is; `generator` begins as that of `lessons`."""

    @abstractmethod
    def objective(
        self, weights: Mapping[str, Any], units: Mapping[str, Any], key: Any, batch: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Return what is to become small, and metrics with `loss` and `score`; traced, pure.

        Args:
            weights, units: name -> jax array.
            key: a `jax.random` key, of whatever is random in it.
            batch: what `sample`, `lessons` or `exams` gave. Names `shown.*` among the metrics are for pictures.
        """

    def make_space(self) -> Space:
        return self.weights if self.genome == "weights" else self.units

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Evaluate P individuals, one after the other; artifacts are those of the first example, `shown.*`."""
        if with_grad and self.genome == "units":
            todo = "take an optimizer that needs only the fitness, or genome: weights"
            raise ValueError(message("genome", "weights, where a gradient is asked for", "units", todo))
        rows, grads = [], []
        for one, seed in zip(np.asarray(z), seeds, strict=True):
            if self.genome == "units":
                units = self.space.decode(one)
                found = self.score(self.train(units, int(seed)), units, int(seed), "validation")
                rows.append({"fitness": found["score"]} | found)
                continue
            batch = self.sample(np.random.default_rng(int(seed)))
            run = _compile_objective(self, with_grad)
            (cost, found), grad = jax.device_get(run(np.float32(one), self.designed, seed_words(int(seed)), batch))
            rows.append({"fitness": -cost} | found)
            grads.append(grad)
        arrays = {name: np.array([row[name] for row in rows], np.float64) for name in rows[0] if "." not in name}
        shown = [name for name in rows[0] if "." in name] if with_artifacts else []
        artifacts = {name: np.stack([row[name] for row in rows]) for name in shown}
        return Evaluation(arrays.pop("fitness"), arrays, artifacts, -np.array(grads, np.float64) if with_grad else None)

    def train(
        self,
        units: Mapping[str, Any],
        seed: int,
        begin: np.ndarray | None = None,
        after: Callable[[int, np.ndarray], None] = lambda lesson, z: None,
    ) -> np.ndarray:
        """Return the weights' z (D,) after all lessons.

        Args:
            units: of the hybrid units, as `units` decodes them.
            seed: of first weights, examples and whatever is random.
            begin: (D,) the first z; None: a sample of the space.
            after: called with each lesson's number and the z after it.
        """
        first, examples = (np.random.default_rng([seed, i]) for i in range(2))
        z = jnp.asarray(self.weights.sample(first, 1)[0] if begin is None else begin, jnp.float32)
        fresh, step = _compile_step(self)
        units, words = _as_arrays(units), seed_words(seed)
        for number, lesson in enumerate(self.lessons(examples)):
            memory = fresh(z)
            for i, batch in enumerate(lesson):
                z, memory = step(z, memory, units, words, np.int32(1000 * number + i), batch)
            after(number, np.asarray(z))
        return np.asarray(z)

    def score(self, z: np.ndarray, units: Mapping[str, Any], seed: int, part: Part) -> dict[str, Any]:
        """Return the metrics of a trained network, means over its exams; what is `shown.*` is the last exam's."""
        found = [self.measure(z, units, exam) for exam in self.exams(np.random.default_rng([seed, 1]), part)]
        means = {name: float(np.mean([one[name] for one in found])) for name in found[0] if "." not in name}
        return means | {name: value for name, value in found[-1].items() if "." in name}

    def measure(self, z: np.ndarray, units: Mapping[str, Any], batch: Batch, seed: int = 0) -> dict[str, Any]:
        """Return the metrics of a network over given examples."""
        run = _compile_objective(self, False)
        return jax.device_get(run(np.float32(z), _as_arrays(units), seed_words(seed), batch)[0][1])

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write what the network did with the first example (`example.png`)."""
        from optimizees.hybrid import figures

        shown = {name[6:]: value[0] for name, value in evaluation.artifacts.items() if name.startswith("shown.")}
        return [figures.example(shown, folder / "example.png")] if shown else []


class Artificial:
    """A network of Flax whose parameters are entries of a search space.

    Weights begin with variance 1 / n_pre, times a gain, biases at 0.

    Args:
        name: what the names of its parameters begin with.
        module: of `flax.linen`.
        inputs: shapes of its arguments.
        gain: of the first weights' standard deviation.
    """

    def __init__(self, name: str, module: Any, *inputs: tuple[int, ...], gain: float = 1.0):
        self.name, self.module, self.inputs, self.gain = name, module, inputs, gain

    @cached_property
    def _variables(self) -> Any:
        return jax.eval_shape(self.module.init, jax.random.key(0), *(jnp.zeros(shape) for shape in self.inputs))

    @cached_property
    def _leaves(self) -> dict[str, Any]:
        leaves = jax.tree_util.tree_leaves_with_path(self._variables["params"])
        return {"_".join([self.name, *(str(part.key) for part in path)]): leaf for path, leaf in leaves}

    def parameters(self) -> dict[str, Free | Real | Integer]:
        """Return its entries of the space, in the order of Flax's tree."""
        shapes = {name: leaf.shape for name, leaf in self._leaves.items()}
        return {
            name: Free(shape, self.gain * float(np.prod(shape[:-1])) ** -0.5 if len(shape) > 1 else 0.05)
            for name, shape in shapes.items()
        }

    def __call__(self, weights: Mapping[str, Any], *x: Any) -> Any:
        """Return what it makes of x, with its parameters among the weights."""
        leaves = [weights[name] for name in self._leaves]
        return self.module.apply(jax.tree.unflatten(jax.tree.structure(self._variables), leaves), *x)


def _as_arrays(units: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return numbers as arrays of one dtype each, so that what was compiled for others fits."""
    return {name: np.asarray(value, np.float32) for name, value in units.items()}


@lru_cache(maxsize=16)
def _compile_objective(network: HybridNetwork, with_grad: bool) -> Any:
    """Return the jitted function of z (D,), units, a seed's words and a batch -> ((cost, found), gradient or None)."""

    def cost(z: Any, units: Any, words: Any, batch: Any) -> Any:
        return network.objective(network.weights.decode(z), units, jax_key(words), batch)

    return jax.jit(jax.value_and_grad(cost, has_aux=True) if with_grad else lambda *args: (cost(*args), None))


@lru_cache(maxsize=16)
def _compile_step(network: HybridNetwork) -> tuple[Any, Any]:
    """Return what begins Adam's memory, and the jitted step (z, memory, units, words, number, batch) -> z, memory."""
    import optax

    rule = optax.adam(network.training.learning_rate)

    def step(z: Any, memory: Any, units: Any, words: Any, number: Any, batch: Any) -> Any:
        def cost(z: Any) -> Any:
            key = jax.random.fold_in(jax_key(words), number)
            return network.objective(network.weights.decode(z), units, key, batch)[0]

        updates, memory = rule.update(jax.grad(cost)(z), memory, z)
        return optax.apply_updates(z, updates), memory

    return rule.init, jax.jit(step, donate_argnums=1)
