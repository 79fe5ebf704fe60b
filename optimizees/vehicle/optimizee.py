"""A vehicle that learns to reach a target round obstacles by reward-modulated STDP.

After Bing et al. 2019 (Labady 2023, section 2.4). A life begins with random weights. The vehicle drives through N
training worlds and learns in every window of one control step, dw = eta r STDP g; then it drives, without learning, in
W worlds that it has never seen. Fitness: the share of these in which it reaches the target, minus the share in which it
collides. The genome is the rule and what its teacher asks for; the middle of the space is set by hand and works:

    vehicle = Vehicle()
    evaluation = vehicle.evaluate_batch(vehicle.by_hand[None], np.array([1]))

In the mode `mlp`, the baseline of artificial neurons, the genome is the weights of a small multilayer perceptron that
drives in the W worlds; nothing learns. No teacher tells it where to turn, so its fitness is `progress`: with reached
minus collided, evolution finds that standing still collides with nothing, and stays there.

World, motion and sensors are those of `optimizees/vehicle/world.py`, network and rule those of `vehicle_agent.py`, the
perceptron that of `vehicle_drive.py`, and `vehicle_env.py` is the same world for gymnasium.

Not Bing's: they train two networks with a hidden layer, one for the obstacles and one for the target, on
recorded data, and switch between them; here one layer of synapses learns both, while driving.

Legend: P individuals, N training worlds, W unseen ones, V of these that are shown, T control steps, S simulation steps
of each, C target cells, K sectors, M neurons of each motor population.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Real, Space
from l2l_snn.validate import check_choice, check_count, check_range, message


@dataclass(frozen=True)
class Vehicle(BatchOptimizee):
    """The vehicle and its life; what evolution finds is in `space`."""

    mode: Literal["rstdp", "mlp"] = "rstdp"
    worlds: int = 20  # N
    budget: int = 4000  # control steps of learning at most
    tests: int = 200  # W
    shown: int = 4  # V
    reward: Literal["real", "random"] = "real"  # random: every reward with a sign by chance; a control
    obstacles: int = 8  # in a world, at most
    blocking: int = 2  # of these, next to the straight way
    sectors: int = 6  # K
    sight: float = 1.0  # m, at which proximity begins
    steps: int = 300  # T, control steps of 50 ms in which the target has to be reached
    cells: int = 12  # C, place cells for the angle of the target
    width: float = 0.6  # of a place field (standard deviation), in distances between neighbours
    motor: int = 10  # M
    rate: float = 1000.0  # Hz, all sensors together
    full: float = 100.0  # Hz, rate of a motor population at which its wheel turns at full speed
    tau_m: float = 10.0  # ms, membrane time constant
    t_ref: float = 2.0  # ms, refractory time
    delay: float = 1.0  # ms, of all synapses
    resolution: float = 1.0  # ms, simulation step
    mlp_hidden: int = 16  # hidden units of the perceptron

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, ("rstdp", "mlp"))
        check_choice("reward", self.reward, ("real", "random"))
        for name in ("worlds", "tests", "shown", "obstacles", "steps", "motor", "mlp_hidden"):
            check_count(name, getattr(self, name))
        check_count("tests", self.tests, self.shown, "the worlds that are shown are among them")
        check_count("blocking", self.blocking, 0)
        check_count("cells", self.cells, 3)
        check_count("sectors", self.sectors, 2)
        check_count("budget", self.budget, self.steps, "a drive has to fit in")
        if self.sectors % 2:
            raise ValueError(message("sectors", "an even number", self.sectors, "half of them are on each side"))
        for name in ("width", "sight", "rate", "full", "tau_m", "resolution"):
            check_range(name, getattr(self, name), 0.0, open_low=True)
        check_range("t_ref", self.t_ref, 0.0)
        window = 1000 * self._arena.tick
        for name, value in {"delay": self.delay, "t_ref": self.t_ref, "window": window}.items():
            ratio = value / self.resolution
            if abs(ratio - round(ratio)) > 1e-6 or (name == "delay" and ratio < 0.5):
                raise ValueError(message(name, f"a multiple of the resolution, {self.resolution} ms", value))

    @property
    def fitness_label(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the fitness is, for pictures."""
        return "fitness: progress" if self.mode == "mlp" else "fitness: share reached - share collided"

    @property
    def space(self) -> Space:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The rule and its teacher; the middle of each range is the value set by hand in `Learning`. Or the mlp."""
        from optimizees.agent.perceptron import mlp_space
        from optimizees.vehicle.brain import Learning

        if self.mode == "mlp":
            return Space(**mlp_space(self.sectors + 2, self.mlp_hidden, 2))
        ratio = {"cruise": 1.5, "w_max": 2.0, "sharp": 2.0, "shy": 2.0}
        hand = Learning()._asdict()
        own = {k: Real(v / ratio.get(k, 4.0), v * ratio.get(k, 4.0), log=True) for k, v in hand.items()}
        return Space(**own)

    @property
    def by_hand(self) -> np.ndarray:
        """The genome (D,) whose values are set by hand.

        Raises:
            ValueError: in the mode mlp, whose weights nobody has set.
        """
        if self.mode == "mlp":
            raise ValueError(message("mode", "rstdp", self.mode, "weights of an mlp are not set by hand"))
        return np.full(self.space.size, 0.5)

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Let P vehicles learn, then drive; an individual's worlds, training and unseen, follow from its seed.

        Metrics, of the W unseen worlds: `reached`, `collided`, `late` (shares), `progress` (mean share by which the
        distance to the target has shrunk at the end, 1 where it is reached), `detour` (mean length of a way that
        reached its target over `vehicle.shortest`; nan if none did), and `untrained_reached`, `untrained_collided` with
        the weights before learning in the same worlds. Of the training: `training_reached`, `training_collided`,
        `training_late` (numbers of worlds), `training_steps` (control steps), `drift` (mV, mean change of a weight).
        An mlp has the first five.

        Artifacts: training_outcome and training_length (P, N; control steps), 0 where not driven; training_error
        (P, budget) by how much of full speed the wheels were off, nan where not driven; before.sensor_motor and
        after.sensor_motor (P, C + K, 2 M) mV; outcome (P, 2, W), untrained first. Of the first V unseen worlds: path
        (P, 2, V, T, 2) m and heading (P, 2, V, T), nan where the drive is over, untrained first; target (P, V, 2),
        centers (P, V, O, 2) and radii (P, V, O) m. Of the first one, after learning: wheels (P, T, 2), sensor
        (P, T S, C + K) and motor (P, T S, 2 M) bool. Of an mlp: outcome, path and heading with 1 instead of 2, and the
        worlds and wheels.
        """
        rows = [self._live(z[i], int(seeds[i]), with_artifacts) for i in range(len(z))]
        found = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        metrics = {name: value.astype(np.float64) for name, value in found.items() if value.ndim == 1}
        artifacts = {name: value for name, value in found.items() if value.ndim > 1}
        fitness = metrics["progress"] if self.mode == "mlp" else metrics["reached"] - metrics["collided"]
        return Evaluation(fitness, metrics, artifacts)

    def _live(self, z: np.ndarray, seed: int, with_artifacts: bool) -> dict[str, np.ndarray]:
        """Return metrics and artifacts of one individual: its W worlds, driven side by side, fill the processor."""
        import jax

        with jax.enable_x64(False):
            live, show = _compiled(self)
            metrics, artifacts = live(np.asarray(z, np.float32), np.uint32(seed))
            if with_artifacts:
                nets = artifacts.pop("nets")
                metrics = metrics | artifacts | show(nets, np.uint32(seed))
        return {name: np.asarray(value) for name, value in metrics.items()}

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write ways and weights before and after, the training, the spikes of one drive, and with `video` its film.

        Of an mlp: its ways and the film.
        """
        from optimizees.agent.figures import raster
        from optimizees.vehicle import figures
        from optimizees.vehicle.world import World

        one, arena = {name: value[0] for name, value in evaluation.artifacts.items()}, self._arena
        worlds = [World(*(one[name][v] for name in World._fields)) for v in range(self.shown)]
        names = ("driven",) if self.mode == "mlp" else ("before", "after")
        ways = {name: (one["path"][i], one["outcome"][i, : self.shown]) for i, name in enumerate(names)}
        on = np.isfinite(one["heading"][-1, 0])
        files = [figures.paths(arena, worlds, ways, folder / "paths.png")]
        if self.mode == "rstdp":
            S = len(one["motor"]) // self.steps
            sensor, motor = one["sensor"][: on.sum() * S], one["motor"][: on.sum() * S]
            spikes = {"target": sensor[:, : self.cells], "proximity": sensor[:, self.cells :]}
            spikes |= {"left": motor[:, : self.motor], "right": motor[:, self.motor :]}
            before, after = one["before.sensor_motor"], one["after.sensor_motor"]
            outcome, length, error = (one[f"training_{name}"] for name in ("outcome", "length", "error"))
            files += [
                figures.weights(before, after, self.cells, self.sectors, folder / "weights.png"),
                figures.learning(outcome, length, error, folder / "learning.png"),
                raster(spikes, self.resolution, folder / "raster.png"),
            ]
        if video:
            way, heading, wheels = one["path"][-1, 0][on], one["heading"][-1, 0][on], one["wheels"][on]
            files.append(figures.animation(arena, worlds[0], way, heading, wheels, folder / "drive.gif"))
        return files

    @property
    def _arena(self) -> Any:
        from optimizees.vehicle.world import Arena

        return Arena(**{name: getattr(self, name) for name in ("obstacles", "blocking", "sectors", "sight", "steps")})

    @property
    def _brain(self) -> Any:
        from optimizees.vehicle.brain import Brain

        return Brain(*(getattr(self, name) for name in Brain._fields))


class _Keys(NamedTuple):
    weights: Any
    training: Any
    unseen: Any


@lru_cache(maxsize=8)
def _compiled(vehicle: Vehicle) -> tuple[Any, Any]:
    """Return jitted functions: (z (D,), seed) -> metrics, artifacts; (their `nets`, seed) -> more of the artifacts.

    `nets`: weights before and after learning, or the perceptron, with the number of them leading.
    """
    import jax
    import jax.numpy as jnp

    from optimizees.agent.perceptron import Perceptron
    from optimizees.vehicle import brain as agent
    from optimizees.vehicle import drive as road
    from optimizees.vehicle.world import COLLIDED, LATE, REACHED

    brain, arena, space = vehicle._brain, vehicle._arena, vehicle.space

    def keys_of(seed: Any) -> _Keys:
        return _Keys(*jax.random.split(jax.random.key(seed), 3))

    def driver(net: Any) -> road.Driver:
        return road.Artificial(arena, net) if vehicle.mode == "mlp" else agent.Spiking(brain, arena, net)

    def tested(nets: Any, key: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        unseen = jax.random.split(key, vehicle.tests)
        drives, best = jax.vmap(lambda net: road.drive(arena, driver(net), unseen))(nets)
        last = drives.outcome[-1]
        reached = last == REACHED
        metrics = {
            "reached": reached.mean(),
            "collided": (last == COLLIDED).mean(),
            "late": (last == LATE).mean(),
            "progress": drives.progress[-1].mean(),
            "detour": jnp.where(reached, drives.length[-1] / best[-1], 0.0).sum() / reached.sum(),
        }
        return metrics, {"outcome": drives.outcome, "nets": nets}

    def perceptron(z: Any, seed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        params = {name: value[None] for name, value in space.decode(z).items()}
        return tested(Perceptron(**params), keys_of(seed).unseen)

    def live(z: Any, seed: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        learning, keys = agent.Learning(**space.decode(z)), keys_of(seed)
        first = agent.first_weights(brain, arena, learning, keys.weights)
        course = {"worlds": vehicle.worlds, "budget": vehicle.budget, "reward": vehicle.reward}
        lessons = agent.learn(brain, arena, learning, first, keys.training, **course)
        metrics, artifacts = tested(jnp.stack([first, lessons.weights]), keys.unseen)
        untrained = artifacts["outcome"][0]
        return metrics | {
            "untrained_reached": (untrained == REACHED).mean(),
            "untrained_collided": (untrained == COLLIDED).mean(),
            "training_reached": (lessons.outcomes == REACHED).sum(),
            "training_collided": (lessons.outcomes == COLLIDED).sum(),
            "training_late": (lessons.outcomes == LATE).sum(),
            "training_steps": lessons.ticks,
            "drift": jnp.abs(lessons.weights - first).mean(),
        }, artifacts | {
            "training_outcome": lessons.outcomes,
            "training_length": lessons.steps,
            "training_error": lessons.errors,
            "before.sensor_motor": first,
            "after.sensor_motor": lessons.weights,
        }

    def show(nets: Any, seed: Any) -> dict[str, Any]:
        unseen = jax.random.split(keys_of(seed).unseen, vehicle.tests)[: vehicle.shown]
        each = jax.vmap(lambda net: jax.vmap(lambda key: road.record(arena, driver(net), key))(unseen))
        worlds, _, moments = each(nets)
        found = {
            "path": jnp.where(moments.on[..., None], moments.state.position, jnp.nan),
            "heading": jnp.where(moments.on, moments.state.heading, jnp.nan),
            **{name: value[0] for name, value in worlds._asdict().items()},
            "wheels": moments.wheels[-1, 0],
        }
        for name, spikes in zip(("sensor", "motor"), moments.seen, strict=False):  # of an mlp, none
            found[name] = spikes[-1, 0].reshape(-1, spikes.shape[-1]) > 0
        return found

    return jax.jit(perceptron if vehicle.mode == "mlp" else live), jax.jit(show)
