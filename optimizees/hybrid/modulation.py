"""The hybrid modulation network: an artificial backbone sets the thresholds of a spiking branch, task by task.

The backbone is trained to say how similar tasks are: the cosine of its signals for two tasks shall be their similarity.
Through hybrid units the signal becomes thresholds, so that other neurons of the branch work in other tasks and the same
ones in similar tasks: what was learned before is left alone (Zhao et al. 2022, Fig. 3; sizes and tasks' details are
ours).

A task is a permutation of the pixels of digits; the similarity of two is 1 - their Hamming distance / n. What the
backbone sees of a task are means of pictures without labels.

Legend: B examples, n pixels, N neurons, T steps, C contexts of a batch, K tasks seen side by side.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from l2l_snn.data.images import CLASSES, SIDE, read_pictures
from l2l_snn.snn.cells import IterativeLIF
from l2l_snn.snn.hybrid import HybridUnit, exponential_kernel, to_thresholds, truncated
from l2l_snn.snn.network import Network, Population
from l2l_snn.snn.surrogate import rectangular
from l2l_snn.space import Free, Integer, Real, Space
from l2l_snn.validate import AtLeast, Count, Positive, Share, check_fields, message
from optimizees.hybrid.network import Artificial, Batch, HybridNetwork, Part

BASES, VARIANTS = 8, 4  # permutations of a similarity lesson, and of each so many that share pixels with it


@dataclass(frozen=True)
class Tasks:
    """Digits with permuted pixels."""

    set: Literal["mnist", "fashion_mnist"] = "mnist"  # `l2l data` says which are there
    pool: Literal[1, 2, 4] = 2  # squares of so many pixels become one
    count: Count = 10  # tasks, learned one after the other
    held_out: Count = 5000  # the last of the training set, for validation
    context: Count = 128  # pictures of a mean that the backbone sees
    contexts: Count = 4  # C, such means beside a minibatch

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def pixels(self) -> int:
        """n."""
        return (SIDE // self.pool) ** 2

    def permutations(self, generator: np.random.Generator) -> np.ndarray:
        """Return the tasks' permutations (count, n), independent of each other."""
        return np.stack([generator.permutation(self.pixels) for _ in range(self.count)])

    def examples(
        self, permutation: np.ndarray, generator: np.random.Generator, batch: int, part: Part = "training"
    ) -> Batch:
        """Return pictures x (B, n) uint8 with labels y (B,), and contexts (C, n), of a task."""
        x, y = read_pictures(self.set, "t10k" if part == "test" else "train", self.pool)
        if part != "test":
            if len(x) <= self.held_out:
                expected = f"less than the {len(x)} pictures for training"
                raise ValueError(message("tasks.held_out", expected, self.held_out))
            kept = slice(len(x) - self.held_out, None) if part == "validation" else slice(len(x) - self.held_out)
            x, y = x[kept], y[kept]
        chosen = generator.integers(0, len(x), batch)
        pictures = x[chosen].reshape(batch, -1)[:, permutation]
        return {"x": pictures, "y": y[chosen], "contexts": self.means(permutation[None], generator, self.contexts)[0]}

    def means(self, permutations: np.ndarray, generator: np.random.Generator, count: int = 1) -> np.ndarray:
        """Return means of pictures (K, count, n) float32 that are never tested, each of others."""
        x, _ = read_pictures(self.set, "train", self.pool)
        chosen = generator.integers(0, max(1, len(x) - self.held_out), (len(permutations), count, self.context))
        pictures = x[chosen].reshape(*chosen.shape, -1).mean(axis=2, dtype=np.float32)
        return np.stack([one[:, order] for one, order in zip(pictures, permutations, strict=True)])

    def related(self, generator: np.random.Generator) -> Batch:
        """Return means (K, n) of tasks, some of them related, and how similar each two are, (K, K)."""
        shares = generator.uniform(size=(BASES, VARIANTS))
        bases = [generator.permutation(self.pixels) for _ in range(BASES)]
        tasks = np.stack([vary(base, q, generator) for base, row in zip(bases, shares, strict=True) for q in row])
        return {"means": self.means(tasks, generator)[:, 0], "similar": similarity(tasks)}


def vary(permutation: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Return a permutation (n,) in which a share of the places, chosen at random, are permuted once more."""
    places = generator.choice(len(permutation), round(share * len(permutation)), replace=False)
    varied = permutation.copy()
    varied[places] = permutation[np.roll(places, 1)]  # in a cycle: every chosen place changes
    return varied


def similarity(permutations: np.ndarray) -> np.ndarray:
    """Return (K, K) float32, 1 - the Hamming distance of permutations (K, n) / n."""
    return (permutations[:, None] == permutations[None]).mean(axis=2, dtype=np.float32)


@dataclass(frozen=True)
class Modulation(HybridNetwork):
    """HMN: layers n - N - 10 of iterative LIF neurons and a readout, under thresholds that a backbone sets.

    With `modulated: false` it is the spiking branch alone. Lessons: first similarity, which the backbone alone learns,
    then task after task, which the branch alone learns. Metrics: `accuracy` and `rate`, of `genome: weights` also
    `dissimilarity`, the mean square of what the backbone got wrong. The score is the mean accuracy over all tasks,
    after the last. Needs Flax: pip install "l2l-snn[flax]".
    """

    tasks: Tasks = Tasks()
    hidden: Count = 800  # N
    backbone: Count = 128  # neurons of the backbone's hidden layer
    backbone_iterations: Count = 400  # of the lesson of similarity
    steps: Count = 6  # T
    modulated: bool = True
    share: Share = 0.08  # of the neurons that a task has, roughly: those with the strongest signals
    window: Annotated[int, AtLeast(1)] = 6  # W of the unit that makes numbers of spikes
    tau: Positive = 20.0  # steps, of its exponential kernel
    decay: Share = 0.5  # of a potential in a step
    v_low: Positive = 0.3  # threshold of neurons that work
    v_high: Positive = 30.0  # of those that don't
    width: Positive = 1.0  # of the surrogate derivative, a rectangle

    def cross_check(self) -> None:
        if not self.v_low < self.v_high:
            raise ValueError(message("v_low", f"below v_high, {self.v_high:g}", self.v_low))
        if self.window > self.steps:
            raise ValueError(message("window", f"no more than steps, {self.steps}", self.window))

    @cached_property
    def context_network(self) -> Artificial:
        """The backbone: means (..., n) -> signals (..., N)."""
        from flax import linen

        layers = [linen.Dense(self.backbone), linen.relu, linen.Dense(self.hidden)]
        return Artificial("backbone", linen.Sequential(layers), (1, self.tasks.pixels))

    @cached_property
    def weights(self) -> Space:
        """The backbone's, w1 (n, N), b1 (N,), w2 (N, 10) and b2 (10,)."""
        n, N = self.tasks.pixels, self.hidden
        branch = {"w1": Free((n, N), n**-0.5), "b1": Free((N,), 0.1), "w2": Free((N, CLASSES), N**-0.5)}
        return Space(**self.context_network.parameters(), **branch, b2=Free((CLASSES,), 0.1))

    @cached_property
    def units(self) -> Space:
        """Share of the neurons that a task has; window and kernel of the unit that reads the branch."""
        window, tau = Integer(1, max(2, self.steps)), Real(0.5, 4.0 * self.steps, log=True)
        return Space(share=Real(0.01, 0.5, log=True), window=window, tau=tau)

    @property
    def designed(self) -> dict[str, Any]:
        return {"share": self.share, "window": self.window, "tau": self.tau}

    def sample(self, generator: np.random.Generator) -> Batch:
        """Return a minibatch of one of the tasks of `lessons`' seed 0, with a minibatch of related tasks."""
        orders = self.tasks.permutations(np.random.default_rng(0))
        order = orders[generator.integers(len(orders))]
        return {**self.tasks.examples(order, generator, self.training.batch), **self.tasks.related(generator)}

    def lessons(self, generator: np.random.Generator) -> Iterable[Iterator[Batch]]:
        orders, training = self.tasks.permutations(generator), self.training
        if self.modulated:
            yield (self.tasks.related(generator) for _ in range(self.backbone_iterations))
        for order in orders:
            yield (self.tasks.examples(order, generator, training.batch) for _ in range(training.iterations))

    def exams(self, generator: np.random.Generator, part: Part) -> Iterable[Batch]:
        return [
            self.tasks.examples(order, generator, self.training.tests, part)
            for order in self.tasks.permutations(generator)
        ]

    def signals(self, weights: Mapping[str, Any], means: Any) -> Any:
        """Return the backbone's signals (..., N) for means (..., n), of standardised grey values."""
        means = means - means.mean(axis=-1, keepdims=True)
        return self.context_network(weights, means / (means.std(axis=-1, keepdims=True) + 1e-6))

    def thresholds(self, weights: Mapping[str, Any], units: Mapping[str, Any], contexts: Any) -> Any:
        """Return the branch's thresholds (N,) for the contexts (C, n) of a task."""
        if not self.modulated:
            return jnp.full(self.hidden, self.v_low)
        signals = jax.lax.stop_gradient(self.signals(weights, contexts))
        return to_thresholds(len(contexts), self.v_low, self.v_high, units["share"])(signals)[-1]

    def branch(self, weights: Mapping[str, Any], units: Mapping[str, Any], v_th: Any, x: Any) -> tuple[Any, Any]:
        """Return scores (B, 10) and spikes (T, B, N) for pictures (B, n) in [0, 1]."""
        cell = IterativeLIF(self.decay, v_th, rectangular(self.width))
        net = Network({"hidden": Population(self.hidden, cell)}, {}, dt=1.0)
        drive = x @ weights["w1"] + weights["b1"][None]
        drive = jnp.broadcast_to(drive, (self.steps, *drive.shape))
        _, record = net.rollout(net.init({}, batch=len(x)), currents={"hidden": drive})
        kernel = truncated(exponential_kernel(self.steps, units["tau"]), units["window"])
        read = HybridUnit(self.steps, kernel, stride=self.steps)
        return read(record.spikes["hidden"])[0] @ weights["w2"] + weights["b2"][None], record.spikes["hidden"]

    def objective(
        self, weights: Mapping[str, Any], units: Mapping[str, Any], key: Any, batch: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        cost, found = 0.0, {}
        if "means" in batch:
            s = self.signals(weights, batch["means"])
            s = s - s.mean(axis=1, keepdims=True)
            s = s / (jnp.linalg.norm(s, axis=1, keepdims=True) + 1e-6)
            found["dissimilarity"] = jnp.square(s @ s.T - batch["similar"]).mean()
            cost = cost + found["dissimilarity"]
        if "x" in batch:
            v_th = self.thresholds(weights, units, batch["contexts"])
            scores, spikes = self.branch(weights, units, v_th, batch["x"] / jnp.float32(255))
            log_p = jax.nn.log_softmax(scores)
            loss = -jnp.take_along_axis(log_p, batch["y"][:, None].astype(jnp.int32), axis=1).mean()
            accuracy = (scores.argmax(axis=1) == batch["y"]).mean()
            found |= {"loss": loss, "accuracy": accuracy, "score": accuracy, "rate": spikes.mean()}
            found |= {
                "shown.hidden": spikes[:, 0],
                "shown.activity": spikes.mean(axis=(0, 1)),
                "shown.thresholds": v_th,
            }
            cost = cost + loss
        return cost, found
