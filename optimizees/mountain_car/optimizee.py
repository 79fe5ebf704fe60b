"""Mountain Car driven by a spiking network (Labady 2023, section 3.3; Yegenoglu et al. 2022, section 3.1).

Position and velocity are cut into equal bins with one input neuron each; the neurons of the current bins are driven
by a direct current; a hidden layer projects to three output neurons (left, none, right). Each environment step
simulates 20 ms; the output neuron with most spikes is the action, a tie means none. The network's state carries over
from step to step. Fitness is the highest position reached; the flag stands at 0.5. In the mode `mlp`, the baseline of
artificial neurons, the genome is the weights of a multilayer perceptron that sees position and velocity.

Legend: P individuals, E episodes of each, H hidden neurons, B bins, T environment steps.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from l2l_snn.evaluation import Evaluation
from l2l_snn.optimizee import BatchOptimizee
from l2l_snn.space import Real, Space
from l2l_snn.validate import Count, Positive
from optimizees.mountain_car.task import ACTIONS, GOAL, POSITIONS, VELOCITIES, CarNetwork, Episodes


@dataclass(frozen=True)
class MountainCar(BatchOptimizee):
    """The published network; its published numbers are the defaults.

    A batch runs in one simulation on both back ends: NEST's kernel is one a process, so this is no `JaxOptimizee`.

    Two deviations from the published code, both where it indexes outside a layer: a value that float32 rounding puts
    just outside the range counts to the first or last bin. The direct currents are set in the neurons, not sent by
    60 generators: `drive_delay` makes up for the time that takes, and spikes are equal one for one.
    """

    fitness_label: ClassVar[str] = "fitness: highest position (track units)"
    network: CarNetwork = CarNetwork()
    weight_limit: Positive = 20.0  # weights are evolved in [-weight_limit, weight_limit] ...
    weight_scale: Positive = 100.0  # ... and multiplied by this, pA
    steps: Count = 109  # T at most; the report says 110, the published code runs 109
    episodes: Count = 1  # E, starts an individual is tried from; fitness is the mean
    backend: Literal["nest", "jax"] = "nest"  # the same spikes; NEST on many CPUs, JAX for many individuals at once
    precision: Literal["float64", "float32"] = "float64"  # of the network in JAX; float32 may differ in late spikes
    mode: Literal["snn", "mlp"] = "snn"  # mlp: a perceptron in the network's place
    mlp_hidden: Count = 5  # hidden units of the perceptron

    def make_space(self) -> Space:
        """Return weights to hidden neurons from velocity and position (H, B each), then to output neurons (3, H).

        Of an mlp: those of `perceptron.py`.
        """
        if self.mode == "mlp":
            from optimizees.mountain_car.perceptron import mlp_space

            return Space(**mlp_space(self.mlp_hidden))
        limit, hidden, bins = self.weight_limit, self.network.hidden, self.network.bins
        return Space(
            w_velocity=Real(-limit, limit, shape=(hidden, bins)),
            w_position=Real(-limit, limit, shape=(hidden, bins)),
            w_out=Real(-limit, limit, shape=(ACTIONS, hidden)),
        )

    def evaluate_batch(
        self, z: np.ndarray, seeds: np.ndarray, *, with_grad: bool = False, with_artifacts: bool = False
    ) -> Evaluation:
        """Drive P * E cars side by side; metrics are means over an individual's episodes.

        Metrics: `reached` (share of episodes that reach the flag), `steps` (environment steps until the flag, or
        all), `final_position`. Artifacts, of each individual's first episode, padded with nan or -1:
        position, velocity (P, T + 1), actions (P, T), counts (P, T, 3) spikes of the output neurons, spike_times (P, n)
        in ms and spike_neurons (P, n) counted through the layers. Of an mlp there are no spikes, and counts is 1 for
        the output that acted.
        """
        starts = np.array([start for seed in seeds for start in self.start_seeds(int(seed))])
        track, actions, counts, spikes = self._drive_cars(z, starts, with_artifacts)
        highest = np.nanmax(track[:, 1:, 0], axis=1).reshape(-1, self.episodes)
        reached = (highest >= GOAL).mean(axis=1)
        taken = (actions >= 0).sum(axis=1).reshape(-1, self.episodes)
        final = track[np.arange(len(track)), (actions >= 0).sum(axis=1), 0]
        metrics = {
            "reached": reached,
            "steps": taken.mean(axis=1),
            "final_position": final.reshape(-1, self.episodes).mean(axis=1),
        }
        artifacts, first = {}, slice(None, None, self.episodes)
        if with_artifacts:
            artifacts = {
                "position": track[first, :, 0],
                "velocity": track[first, :, 1],
                "actions": actions[first],
                "counts": counts[first],
            }
        if spikes is not None:
            times, neurons = _pad_spikes(spikes, len(track))
            artifacts |= {"spike_times": times[first], "spike_neurons": neurons[first]}
        return Evaluation(highest.mean(axis=1), metrics, artifacts)

    def spike_map(self, params: dict[str, Any]) -> np.ndarray:
        """Return spikes of the output neurons in one step from rest in every state: (3, B velocities, B positions)."""
        from optimizees.mountain_car import on_nest

        w_hidden, w_out = self.weights(self.space.encode(params)[None])
        return on_nest.spike_map(self.network, w_hidden[0], w_out[0])

    def draw(self, params: dict[str, Any], evaluation: Evaluation, folder: Path, *, video: bool = False) -> list[Path]:
        """Write output neurons over the state space, one episode, its spike raster, and with `video` an animation.

        Of an mlp: the episode and the animation.
        """
        from l2l_snn.results.raster import raster
        from optimizees.mountain_car import figures

        one = {name: value[0] for name, value in evaluation.artifacts.items()}
        taken = int((one["actions"] >= 0).sum())
        position, velocity = one["position"][: taken + 1], one["velocity"][: taken + 1]
        counts, actions = one["counts"][:taken], one["actions"][:taken]
        network = self.network
        files = [figures.episode(position, velocity, counts, actions, network.step_ms, folder / "episode.png", GOAL)]
        if self.mode == "snn":
            fired = one["spike_neurons"] >= 0
            names = ("velocity", "position", "hidden", "output")
            edges = np.cumsum([0, network.bins, network.bins, network.hidden, ACTIONS])
            layers = {name: (int(edges[i]), int(edges[i + 1]) - 1) for i, name in enumerate(names)}
            bins = (np.linspace(*POSITIONS, network.bins + 1), np.linspace(*VELOCITIES, network.bins + 1))
            trajectory, map_of = (position, velocity), self.spike_map(params)
            spikes = (one["spike_times"][fired], one["spike_neurons"][fired])
            maps = figures.output_maps(map_of, *bins, folder, trajectory=trajectory, step_ms=network.step_ms)
            drawn = raster(*spikes, layers, taken * network.step_ms, folder / "raster.png", step_ms=network.step_ms)
            files = [*maps, *files, drawn]
        if video:
            files.append(figures.animation(position, velocity, counts, actions, folder / "episode.gif"))
        return files

    def start_seeds(self, seed: int) -> list[int]:
        """Return the gymnasium seeds of an evaluation's episodes; of a single one, the evaluation's own."""
        if self.episodes == 1:
            return [seed]
        return np.random.SeedSequence(seed).generate_state(self.episodes).tolist()

    def weights(self, z: np.ndarray) -> list[np.ndarray]:
        """Return the weights of P genomes, pA: [(P, H, 2 B), (P, 3, H)]."""
        params = {
            name: values.reshape(len(z), *self.space.parameters[name].shape) * self.weight_scale
            for name, values in self.space.decode_columns(z).items()
        }
        return [np.concatenate([params["w_velocity"], params["w_position"]], axis=2), params["w_out"]]

    def _drive_cars(self, z: np.ndarray, seeds: np.ndarray, record: bool) -> Episodes:
        if self.mode == "mlp":
            from optimizees.mountain_car import perceptron

            shapes = {name: parameter.shape for name, parameter in self.space.parameters.items()}
            columns = {name: w.reshape(len(z), *shapes[name]) for name, w in self.space.decode_columns(z).items()}
            net = {name: np.repeat(w, self.episodes, axis=0) for name, w in columns.items()}
            return perceptron.drive_cars(self.steps, net, seeds)
        w_hidden, w_out = (np.repeat(w, self.episodes, axis=0) for w in self.weights(z))
        if self.backend == "nest":
            from optimizees.mountain_car import on_nest

            return on_nest.drive_cars(self.network, self.steps, w_hidden, w_out, seeds, record)
        from optimizees.mountain_car import in_jax

        return in_jax.drive_cars(self.network, self.steps, w_hidden, w_out, seeds, record, self.precision)


def _pad_spikes(spikes: tuple[np.ndarray, np.ndarray, np.ndarray], copies: int) -> tuple[np.ndarray, np.ndarray]:
    """Return spikes as one row a copy: times (C, n) padded with nan, neurons (C, n) padded with -1."""
    times, copy, neuron = spikes
    n = np.bincount(copy, minlength=copies)
    order = np.lexsort((neuron, times, copy))
    column = np.arange(len(times)) - np.repeat(np.cumsum(n) - n, n)
    padded_times = np.full((copies, n.max(initial=0)), np.nan)
    padded_neurons = np.full(padded_times.shape, -1)
    padded_times[copy[order], column] = times[order]
    padded_neurons[copy[order], column] = neuron[order]
    return padded_times, padded_neurons
