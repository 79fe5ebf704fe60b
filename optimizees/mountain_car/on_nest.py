"""The spiking network that drives the Mountain Car, on NEST, and gymnasium's car.

Legend: C cars, T environment steps, H hidden neurons, B bins.
"""

from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np

from l2l_snn.snn import nest
from optimizees.mountain_car.task import ACTIONS, GOAL, NONE, POSITIONS, VELOCITIES, CarNetwork, Episodes


def drive_cars(
    network: CarNetwork, steps: int, w_hidden: np.ndarray, w_out: np.ndarray, seeds: np.ndarray, record: bool
) -> Episodes:
    """Drive C cars side by side in one kernel.

    Args:
        network: the network.
        steps: T, the longest episode.
        w_hidden: (C, H, 2 B) pA.
        w_out: (C, 3, H) pA.
        seeds: (C,) of gymnasium's reset.
        record: also return all spikes.
    """
    copies = len(seeds)
    kernel = build_kernel(network, copies, record)
    kernel.load([w_hidden, w_out])
    cars = make_cars(copies)
    observation = np.array([car.reset(seed=int(seed))[0] for car, seed in zip(cars, seeds, strict=True)])  # (C, 2)
    track = np.full((copies, steps + 1, 2), np.nan)
    track[:, 0] = observation
    actions = np.full((copies, steps), -1)
    counts = np.zeros((copies, steps, ACTIONS), dtype=np.int64)
    over = np.zeros(copies, dtype=bool)
    for step in range(steps):
        kernel.run(network.drive_delay)
        driven = encode(observation, network.bins)
        driven[over] = -1
        kernel.drive(driven, network.drive)
        kernel.run(network.step_ms - network.drive_delay)
        counts[:, step] = kernel.counts()
        chosen = decode(counts[:, step])
        for i in np.flatnonzero(~over):
            observation[i] = cars[i].step(int(chosen[i]))[0]
            track[i, step + 1] = observation[i]
            actions[i, step] = chosen[i]
            if observation[i, 0] >= GOAL:
                kernel.halt(int(i))
                over[i] = True
        if over.all():
            break
    return Episodes(track, actions, counts, kernel.recorded() if record else None)


def spike_map(network: CarNetwork, w_hidden: np.ndarray, w_out: np.ndarray) -> np.ndarray:
    """Return spikes of the output neurons in one step from rest in every state: (3, B velocities, B positions).

    The weights are those of one car, (H, 2 B) and (3, H), pA.
    """
    bins = network.bins
    kernel = build_kernel(network, bins, False)
    weights = [np.repeat(w[None], bins, axis=0) for w in (w_hidden, w_out)]
    rows = []
    for velocity in range(bins):
        kernel.load(weights)
        kernel.drive(np.stack([np.full(bins, velocity), bins + np.arange(bins)], axis=1), network.drive)
        kernel.run(network.step_ms)
        rows.append(kernel.counts())
    return np.stack(rows).transpose(2, 0, 1)


def encode(observation: np.ndarray, bins: int) -> np.ndarray:
    """Return the driven input neurons (C, 2) of observations (C, 2): velocity bin, then B + position bin.

    Bins are equal; a value outside, where float32 rounding can put one, counts to the outermost.
    """
    driven = np.empty((len(observation), 2), dtype=np.int64)
    for column, (values, interval) in enumerate(((observation[:, 1], VELOCITIES), (observation[:, 0], POSITIONS))):
        driven[:, column] = np.searchsorted(np.linspace(*interval, bins + 1)[1:-1], values, side="right")
    return driven + np.array([0, bins])


def decode(counts: np.ndarray) -> np.ndarray:
    """Return the actions (C,) of spike counts (C, 3): the neuron with most spikes; none (1) where the first two tie.

    >>> decode(np.array([[3, 0, 1], [0, 2, 2], [0, 0, 1], [4, 1, 4]])).tolist()
    [0, 1, 2, 1]
    """
    ordered = np.sort(counts, axis=1)
    return np.where(ordered[:, -1] > ordered[:, -2], counts.argmax(axis=1), NONE)


def build_kernel(network: CarNetwork, copies: int, record: bool) -> nest.FeedForward:
    """Return the kernel with `copies` networks at rest, for drives of an environment step."""
    layers = (2 * network.bins, network.hidden, ACTIONS)
    params = (("t_ref", network.t_ref),)
    spec = nest.FeedForwardSpec(layers, network.model, params, network.delay, network.resolution, record)
    return nest.feed_forward(spec, copies)


@lru_cache(maxsize=1)
def _kept_cars() -> list[Any]:
    return []


def make_cars(n: int) -> list[Any]:
    """Return n Mountain Cars of this process, without wrappers: the episode's length is ours."""
    pool = _kept_cars()
    while len(pool) < n:
        pool.append(gymnasium.make("MountainCar-v0").unwrapped)
    return pool[:n]
