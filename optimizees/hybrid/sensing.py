"""The hybrid sensing network: where is a moving digit? Frames tell what there is, events where it goes.

An artificial pathway sees the frames, 10 a second, a spiking one the events, 200 steps a second. Hybrid units join
them: one makes of what the first says at each frame numbers at each step, others make numbers of spikes, with a long
window (how often) and a short one (when). A small artificial layer reads the position at each step from both (Zhao et
al. 2022, where the task is tracking in recordings of a hybrid camera; the stand-in is `l2l_snn.data.moving`).

Legend: B examples, F frames, T steps of 5 ms, n event pixels, M numbers of the artificial pathway, N spiking neurons.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np

from l2l_snn.data.moving import FRAME_STEPS, SIDE, read_tracks
from l2l_snn.snn.cells import IterativeLIF
from l2l_snn.snn.hybrid import HybridUnit, exponential_kernel, learning, rate_kernel, truncated
from l2l_snn.snn.network import Network, Population, Projection
from l2l_snn.snn.surrogate import rectangular
from l2l_snn.space import Free, Integer, Real, Space
from l2l_snn.validate import AtLeast, Count, Positive, Share, check_fields
from optimizees.hybrid.network import Artificial, Batch, HybridNetwork, Part

LONGEST = 2 * FRAME_STEPS  # steps, of kernels that are learned or searched
KERNELS = ("kernel_rate", "kernel_timing", "kernel_what")
POOL = 2  # squares of so many event pixels become one
GRID = SIDE // POOL


@dataclass(frozen=True)
class Recordings:
    """Which recordings of moving digits are seen."""

    frames: Annotated[int, AtLeast(2)] = 3  # F, 100 ms each; the first 100 ms don't count
    count: Count = 1000  # for training
    validation: Count = 200
    test: Count = 300

    def __post_init__(self) -> None:
        check_fields(self)

    def read(self, part: Part) -> Any:
        """Return the tracks of a part; digits of test are those of MNIST's, and no digit is in two parts."""
        if part == "test":
            return read_tracks("t10k", self.test, self.frames)
        start, count = (0, self.count) if part == "training" else (self.count, self.validation)
        return read_tracks("train", count, self.frames, start)


@dataclass(frozen=True)
class Sensing(HybridNetwork):
    """HSN: frames through a convolutional network, events through spiking neurons, position at each step.

    `ways` takes one pathway away, for the single-way twins: its numbers are 0. Which weights learn is `learned`: all;
    only the kernels ("alone"); these with what is before and behind them ("neighbours"); all but the kernels, which
    then stay as they are designed ("designed"). Metrics: `error`, the mean distance to the digit's centre, px, after
    the first 100 ms; `rate`, spikes a step. The score is -error. Needs Flax: pip install "l2l-snn[flax]".
    """

    recordings: Recordings = Recordings()
    ways: Literal["both", "frames", "events"] = "both"
    learned: Literal["everything", "neighbours", "alone", "designed"] = "everything"
    hidden: Count = 64  # N
    features: Count = 24  # M
    head: Count = 48  # neurons of the layer that reads the position
    number: Annotated[int, AtLeast(1)] = 64  # spiking neurons that have hybrid units, at most N
    window: Annotated[int, AtLeast(1)] = FRAME_STEPS  # steps, of the long window
    tau: Positive = 2.0  # steps, of the kernel in the short window
    decay: Share = 0.8  # of a potential in a step of 5 ms
    v_th: Positive = 0.5
    width: Positive = 1.0  # of the surrogate derivative, a rectangle

    @cached_property
    def frame_network(self) -> Artificial:
        """The artificial pathway: frames (..., H, W, 1) in [0, 1] -> numbers (..., M)."""
        from flax import linen

        layers = [linen.Conv(8, (5, 5), (2, 2)), linen.relu, linen.Conv(16, (3, 3), (2, 2)), linen.relu]
        layers += [lambda x: x.reshape(*x.shape[:-3], -1), linen.Dense(self.features), linen.relu]
        return Artificial("what", linen.Sequential(layers), (1, SIDE, SIDE, 1), gain=1.4)

    @cached_property
    def head_network(self) -> Artificial:
        """What reads the position (..., 2) from the numbers of both and the age of a frame."""
        from flax import linen

        layers = [linen.Dense(self.head), linen.relu, linen.Dense(2)]
        return Artificial("head", linen.Sequential(layers), (1, 2 * self.features + 2 * self.hidden + 1), gain=1.4)

    @cached_property
    def weights(self) -> Space:
        """Those of both pathways and of the head, and how the units' kernels differ from the designed ones."""
        n, N = 2 * GRID**2, self.hidden
        where = {"where_w": Free((n, N), 4 * n**-0.5), "where_b": Free((N,), 0.05)}
        kernels = {name: Free((LONGEST,), 0.02) for name in KERNELS}
        return Space(**self.frame_network.parameters(), **where, **kernels, **self.head_network.parameters())

    @cached_property
    def units(self) -> Space:
        """Long window and kernel of the short one, and how many neurons have units."""
        number = Integer(1, max(2, self.hidden))
        return Space(window=Integer(2, LONGEST), tau=Real(0.3, 10.0, log=True), number=number)

    @property
    def designed(self) -> dict[str, Any]:
        return {"window": self.window, "tau": self.tau, "number": self.number}

    def sample(self, generator: np.random.Generator) -> Batch:
        tracks = self.recordings.read("training")
        chosen = generator.integers(0, len(tracks.frames), self.training.batch)
        return {name: value[chosen] for name, value in tracks._asdict().items()}

    def lessons(self, generator: np.random.Generator) -> Iterable[Iterator[Batch]]:
        return [(self.sample(generator) for _ in range(self.training.iterations))]

    def exams(self, generator: np.random.Generator, part: Part) -> Iterable[Batch]:
        return [self.recordings.read(part)._asdict()]

    def kernels(self, weights: Mapping[str, Any], units: Mapping[str, Any]) -> dict[str, Any]:
        """Return the units' kernels (LONGEST,) by name: as designed, and what was learned beside it.

        That of what the frames tell reaches back to the frame before, with one weight now: numbers are held.
        """
        long = truncated(jnp.asarray(rate_kernel(LONGEST), jnp.float32), units["window"])
        long = long / long.sum()
        designs = long, exponential_kernel(LONGEST, units["tau"]), jnp.eye(1, LONGEST)[0]
        return {name: design + weights[name] for name, design in zip(KERNELS, designs, strict=True)}

    def scope(self) -> list[str]:
        """Return the names of the weights that learn; see `learned`."""
        names = list(self.weights.parameters)
        if self.learned == "everything":
            return names
        if self.learned == "designed":
            return [name for name in names if name not in KERNELS]
        return [name for name in names if name in KERNELS or (self.learned == "neighbours" and not self._is_far(name))]

    def _is_far(self, name: str) -> bool:
        """Return whether a weight belongs to no layer that a unit joins: only the first convolution does not."""
        return name in list(self.frame_network.parameters())[:2]

    def objective(
        self, weights: Mapping[str, Any], units: Mapping[str, Any], key: Any, batch: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        weights = learning(weights, self.scope())
        if self.learned == "designed":
            weights |= {name: jnp.zeros(LONGEST) for name in KERNELS}
        kernels = self.kernels(weights, units)
        B, T = len(batch["frames"]), batch["events"].shape[1]
        what = self.what(weights, batch["frames"])
        held = HybridUnit(LONGEST, kernels["kernel_what"], held=FRAME_STEPS)(what)  # (T, B, M)
        before = HybridUnit(LONGEST, jnp.eye(LONGEST)[FRAME_STEPS], held=FRAME_STEPS)(what)
        spikes, seen = self.where(weights, batch["events"])
        has_unit = (jnp.arange(self.hidden) < units["number"]).astype(jnp.float32)
        wheres = [HybridUnit(LONGEST, kernels[name])(spikes * has_unit[None, None]) for name in KERNELS[:2]]
        parts = [(self.ways != "events") * held, (self.ways != "events") * before]
        parts += [(self.ways != "frames") * one for one in wheres]
        age = jnp.broadcast_to((jnp.arange(T) % FRAME_STEPS / FRAME_STEPS)[:, None, None], (T, B, 1))
        position = self.head_network(weights, jnp.concatenate([*parts, age], axis=-1))  # (T, B, 2) px / 5
        apart = 5.0 * position - jnp.swapaxes(batch["position"], 0, 1)
        late = apart[FRAME_STEPS:]
        loss = jnp.square(late / 5.0).sum(axis=-1).mean()
        error = jnp.sqrt(jnp.square(late).sum(axis=-1) + 1e-12).mean()
        found = {"loss": loss, "error": error, "score": -error, "rate": spikes.mean(), "seen": seen.mean()}
        found |= {"shown.spikes": spikes[:, 0], "shown.events": seen[:, 0], "shown.frames": batch["frames"][0]}
        found |= {"shown.position": 5.0 * position[:, 0], "shown.true": batch["position"][0]}
        return loss, found

    def what(self, weights: Mapping[str, Any], frames: Any) -> Any:
        """Return the artificial pathway's numbers (F, B, M) for frames (B, F, H, W) uint8."""
        return jnp.swapaxes(self.frame_network(weights, frames[..., None] / jnp.float32(255)), 0, 1)

    def where(self, weights: Mapping[str, Any], events: Any) -> tuple[Any, Any]:
        """Return spikes (T, B, N) of the spiking pathway and what it got, (T, B, n), for packed events."""
        B, T = events.shape[:2]
        seen = jnp.unpackbits(events, axis=-1).reshape(B, T, 2, GRID, POOL, GRID, POOL).max(axis=(4, 6))
        seen = jnp.swapaxes(seen.reshape(B, T, -1), 0, 1).astype(jnp.float32)
        cell = IterativeLIF(self.decay, self.v_th, rectangular(self.width))
        populations = {"events": Population(seen.shape[-1]), "where": Population(self.hidden, cell)}
        net = Network(populations, {"w": Projection("events", "where", delay=0.0)}, dt=5.0)
        state = net.init({"w": weights["where_w"]}, batch=B)
        _, record = net.rollout(state, spikes={"events": seen}, currents={"where": weights["where_b"]})
        return record.spikes["where"], seen

    def operations(self, rate: float, seen: float) -> dict[str, float]:
        """Return operations in a second of input, by part: multiply-adds, of spikes additions.

        Args:
            rate: spikes of a neuron of the spiking pathway in a step.
            seen: events of a pixel in a step.
        """
        steps, frames = 200.0, 10.0
        h, w, N, M = SIDE // 2, SIDE // 4, self.hidden, self.features
        counted = {
            "frames": frames * (h * h * 25 * 8 + w * w * 9 * 8 * 16 + w * w * 16 * M),
            "events": steps * (seen * 2 * GRID**2 * N + 2 * N),  # synapses of those that fire; leak and threshold
            "units": 0.0,
            "head": steps * (self.head * 2 + self.head),
        }
        if self.ways != "events":
            counted["units"] += 2 * steps * M * (LONGEST / FRAME_STEPS + 1)  # held: one number a frame in the window
            counted["head"] += steps * 2 * M * self.head
        if self.ways != "frames":
            unit = HybridUnit(LONGEST, np.ones(LONGEST))
            counted["units"] += 2 * unit.operations(int(steps), min(self.number, N), rate)
            counted["head"] += steps * 2 * min(self.number, N) * self.head
        silent = {"events": "frames", "frames": "events"}.get(self.ways)
        return {name: value for name, value in counted.items() if name != silent}
